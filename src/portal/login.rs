//! The flow for browsers: P1, P2, P3, P6 and P8 at one address.
//!
//! A page is the answer to a form, and only the last step answers with a redirect; so Back and Reload meet a page
//! that can be sent again, and never a server error.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use axum::http::{self, Request, StatusCode, Uri};
use axum::routing::get;
use axum::{Extension, Router};

use super::answer::{self, Answer};
use super::flow::{Asking, Sent};
use super::form::{Form, query};
use super::outcome::{Outcome, Trouble};
use super::sso::{self, Errand, Question, Registration};
use super::verifier::Shed;
use super::{Portal, Realm, Visit, cookies, csrf, device};
use crate::base::{BrowserToken, LocalPath, Source, Ttl};
use crate::credential::otpauth_uri;
use crate::login::{Binding, Claimant, Entry, Flow, FlowProblem, Handover, Holder, Sender, Step, Wish};
use crate::machine::random;
use crate::pages::{
    AccountsPage, CodePage, EnrolPage, EnrolledPage, Page, PasswordPage, ProviderLink, SessionRow, SlotsPage,
    UsernamePage,
};
use crate::session::{EndReason, Ended, Method, Session};
use crate::telemetry::{Actor, EventKind, SecurityEvent};

/// The log-in page's address.
pub const LOGIN: &str = "/.zonegate/login";

/// In the log-in page's address: a form was sent that came to nothing, because its session was over.
pub(super) const UNSENT: &str = "unsent";

/// No idle limit is shorter.
const IDLE_MIN: Ttl = Ttl::seconds_const(60);

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route(LOGIN, get(show).post(take))
}

/// What stands above a form, besides what was wrong.
#[derive(Default)]
struct Above<'a> {
    error: Option<&'static str>,
    notice: Option<String>,
    username: &'a str,
    provider: Option<ProviderLink>,
    needs_suite: bool,
}

/// A request, with what answering it takes.
struct Here<'a> {
    portal: &'a Portal,
    asking: Asking<'a>,
    headers: &'a HeaderMap,
    browser: &'a BrowserToken,
}

async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    method: http::Method,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let known = cookies::browser(&headers);
    let answer = match known.clone().map_or_else(new_browser, Ok) {
        Ok(browser) => match first_page(&portal, &visit, (&method, &uri), &headers, &browser).await {
            Ok(mut answer) => {
                if query(&uri, "with").as_deref() == Some(Entry::Usual.name()) {
                    answer.headers_mut().append(header::SET_COOKIE, cookies::clear_tenant());
                }
                if known.is_none() {
                    answer.headers_mut().append(header::SET_COOKIE, cookies::set_browser(&browser));
                }
                Ok(answer)
            }
            Err(trouble) => Err(trouble),
        },
        Err(trouble) => Err(trouble),
    };
    answer.unwrap_or_else(|trouble| portal.trouble(&visit, &headers, &trouble))
}

fn new_browser() -> Result<BrowserToken, Trouble> {
    Ok(BrowserToken::from_bytes(random()?))
}

async fn first_page(
    portal: &Portal,
    visit: &Visit,
    (method, uri): (&http::Method, &Uri),
    headers: &HeaderMap,
    browser: &BrowserToken,
) -> Result<Answer, Trouble> {
    let host = portal.host(visit);
    let label = device::label(headers);
    let asking = Asking { visit, host: &host, label: &label };
    let here = Here { portal, asking, headers, browser };
    let query = |name: &str| query(uri, name);
    let return_to = match &visit.realm {
        Realm::Zone(_) => query("return_to").and_then(|text| text.parse::<LocalPath>().ok()),
        Realm::Universal => None,
    };
    let with = query("with");
    let entry = match with.as_deref() {
        Some("password") => Entry::Password,
        Some("suite") if portal.settings.suite.is_some() => Entry::Suite,
        Some(_) | None => Entry::Usual,
    };
    // A browser that has logged in at a provider goes there again, unless it was led here to be told something, or to
    // log in as somebody else (D26).
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let plain = pairs.all(|(name, _)| name == "return_to");
    if plain
        && visit.ended.is_none()
        && let Some(registration) = here.remembered().await?
    {
        let errand = Errand { browser: Some(browser), ..Errand::log_in(return_to) };
        return Ok(portal.to_provider(&registration, errand, visit, headers).await);
    }
    let flow = here.new_flow(return_to, entry)?;
    // Whoever only asks what is there (HEAD) does not use it up.
    if *method == http::Method::GET
        && let Some(sealed) = query("handover")
        && let Ok(handover) = Handover::open(&sealed, &portal.handover_key, &host, visit.now)
    {
        // Who typed the name is asked for it, and not who was led here: any page can have a link be opened again and again.
        if !portal.verifier.takes(handover.from) {
            return here.end(Outcome::Overloaded(flow, Shed::Source), handover.username.as_str()).await;
        }
        if !portal.store.spend(handover.id, handover.expires_at).await? {
            return here.page(&flow, Above::default());
        }
        let outcome = portal.username_known(flow, handover.username).await?;
        // The link says who typed the name as little as any other: it may have been sent, to log somebody in as whom a
        // company's provider likes (S12, SEC-R38). Two hosts share no cookie. The address alone says too little, as all of an
        // office have one; that a page of the same site led here, browsers say and no page can.
        if let Outcome::ToProvider(_, tenant, username) = &outcome
            && !(Source::of(handover.from) == Source::of(visit.address) && is_same_site(headers))
            && let Some(registration) = portal.registration(visit, &tenant.slug).await?
        {
            let (hint, browser) = (Some(username.as_str()), Some(browser));
            let asked = Question { hint, browser, ..Question::default() };
            return Ok(sso::question(portal, &registration, asked, visit, headers));
        }
        return here.end(outcome, "").await;
    }
    // What stands in the address was put there by the answer that led here, or by anybody: it chooses among texts.
    let told = || {
        let after = query("after").and_then(|text| Ttl::from_seconds(text.parse().ok()?));
        let idle_max = portal.idle_max(after);
        Some(Ended { reason: EndReason::from_name(&query("reason")?)?, idle_max })
    };
    let ended = visit.ended.or_else(told);
    // Whose session ended by itself reads why, and goes on at their provider with one click (R97, R98).
    let provider = match ended {
        Some(ended) if with.is_none() && is_over_by_itself(ended.reason) => here.remembered().await?,
        Some(_) | None => None,
    };
    let provider = provider.map(|registration| ProviderLink {
        company: registration.name().to_owned(),
        address: registration.address_to(flow.return_to.as_ref()),
    });
    let at_provider = query("provider");
    let ended = ended.map(|ended| match (ended.reason, at_provider.as_deref()) {
        (EndReason::LoggedOut, Some("unreached")) => here.text("m17.unreached"),
        (EndReason::LoggedOut, Some("suite")) if portal.settings.suite.is_some() => here.text("m17.suite"),
        (
            EndReason::LoggedOut
            | EndReason::Idle
            | EndReason::Expired
            | EndReason::Displaced
            | EndReason::Replaced
            | EndReason::Revoked,
            _,
        ) => here.ending(ended),
    });
    let unsent = query(UNSENT).map(|_| here.text("notice.unsent"));
    let notice = match (ended, unsent) {
        (Some(ended), Some(unsent)) => Some(format!("{ended} {unsent}")),
        (notice, None) | (None, notice) => notice,
    };
    here.page(&flow, Above { notice, provider, ..Above::default() })
}

/// Whether nobody ended a session that ended so: not its person, and nobody else.
const fn is_over_by_itself(reason: EndReason) -> bool {
    match reason {
        EndReason::Idle | EndReason::Expired => true,
        EndReason::LoggedOut | EndReason::Displaced | EndReason::Replaced | EndReason::Revoked => false,
    }
}

/// Whether the browser says that it was led here by a page of the same site (Fetch Metadata, `Sec-Fetch-Site`).
fn is_same_site(headers: &HeaderMap) -> bool {
    let mut said = headers.get_all("sec-fetch-site").iter();
    said.next().is_some_and(|site| site == "same-site" || site == "same-origin") && said.next().is_none()
}

async fn take(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    request: Request<Body>,
) -> Answer {
    let (Parts { headers, .. }, body) = request.into_parts();
    if !csrf::came_from(&headers, &portal.origin(&visit.realm)) {
        return portal.forged(&visit, &headers, "foreign_origin").await;
    }
    let form = match Form::read(&headers, body, portal.settings.limits.form_bytes_max).await {
        Ok(form) => form,
        Err(status) => return portal.refusal(&visit, &headers, status),
    };
    let Some(browser) = cookies::browser(&headers) else {
        return portal.forged(&visit, &headers, "no_browser_cookie").await;
    };
    let answer = answer_form(&portal, &visit, &headers, &form, &browser).await;
    answer.unwrap_or_else(|trouble| portal.trouble(&visit, &headers, &trouble))
}

async fn answer_form(
    portal: &Portal,
    visit: &Visit,
    headers: &HeaderMap,
    form: &Form,
    browser: &BrowserToken,
) -> Result<Answer, Trouble> {
    let host = portal.host(visit);
    let label = device::label(headers);
    let asking = Asking { visit, host: &host, label: &label };
    let here = Here { portal, asking, headers, browser };
    let sender = Sender { host: &host, holder: Holder::Browser(browser.digest()) };
    let typed = form.field("username").unwrap_or_default();
    let flow = match Flow::open(form.field("flow").unwrap_or_default(), &portal.flow_key, sender, visit.now) {
        Ok(flow) => flow,
        Err(FlowProblem::Expired(wish)) => return here.again(wish, typed),
        // Several pages that a new browser opened at once: it keeps the cookie of the last one. What was sent counts for nothing,
        // as if somebody else's page were behind it (W2), and the person goes on here.
        Err(FlowProblem::OtherBrowser(wish)) => {
            let mut answer = here.again(wish, typed)?;
            *answer.status_mut() = StatusCode::FORBIDDEN;
            return Ok(answer);
        }
        Err(problem @ (FlowProblem::Forged | FlowProblem::OtherHost | FlowProblem::OtherClient)) => {
            return Ok(portal.forged(visit, headers, problem.name()).await);
        }
    };
    let sent = Sent {
        username: form.field("username"),
        password: form.field("password"),
        code: form.field("code"),
        session: form.field("session"),
        keep: form.field("action") == Some("keep"),
        suite: form.field("action") == Some("suite"),
        account: form.field("account"),
    };
    let outcome = portal.advance(flow, sent, &asking).await?;
    here.end(outcome, typed).await
}

/// What a browser is answered when its log-in has come to `outcome` elsewhere than in a form of ours.
pub(super) async fn end(
    portal: &Portal,
    outcome: Outcome,
    asking: Asking<'_>,
    headers: &HeaderMap,
    browser: &BrowserToken,
) -> Result<Answer, Trouble> {
    Here { portal, asking, headers, browser }.end(outcome, "").await
}

impl Here<'_> {
    fn new_flow(&self, return_to: Option<LocalPath>, entry: Entry) -> Result<Flow, Trouble> {
        let binding = Binding::Browser(self.browser.digest());
        self.portal.begin_flow(&self.asking, binding, device::class(self.headers), return_to, entry)
    }

    /// The provider that this browser has logged in at, if anybody logs in there now (D26).
    async fn remembered(&self) -> Result<Option<Registration>, Trouble> {
        let Some(slug) = cookies::tenant(self.headers) else { return Ok(None) };
        let registration = self.portal.registration(self.asking.visit, slug).await?;
        Ok(registration.filter(Registration::is_open))
    }

    /// What the browser is answered. `typed`: as its username.
    async fn end(&self, outcome: Outcome, typed: &str) -> Result<Answer, Trouble> {
        match outcome {
            Outcome::Due(flow, message) => {
                let error = message.map(super::outcome::Message::id);
                self.page(&flow, Above { error, username: typed, ..Above::default() })
            }
            Outcome::Overloaded(flow, shed) => {
                let above = Above { error: Some(shed.text()), username: typed, ..Above::default() };
                let mut answer = self.page(&flow, above)?;
                *answer.status_mut() = shed.status();
                answer.headers_mut().insert(header::RETRY_AFTER, shed.retry_after());
                Ok(answer)
            }
            Outcome::Elsewhere(_, location) => Ok(answer::see_other(&location)),
            Outcome::ToProvider(flow, tenant, username) => {
                let (username, browser) = (Some(username), Some(self.browser));
                let errand = Errand { username, browser, ..Errand::log_in(flow.return_to) };
                self.portal.to_provider_of(*tenant, errand, self.asking.visit, self.headers).await
            }
            Outcome::ToSuite(flow, username) => {
                let Some(registration) = self.portal.suite(self.asking.visit) else {
                    return Ok(self.portal.refusal(self.asking.visit, self.headers, StatusCode::NOT_FOUND));
                };
                let (username, browser) = (Some(username), Some(self.browser));
                let errand = Errand { username, browser, ..Errand::log_in(flow.return_to) };
                Ok(self.portal.to_provider(&registration, errand, self.asking.visit, self.headers).await)
            }
            Outcome::SuiteRequired(flow, username) => {
                let username = username.as_str();
                self.page(&flow, Above { error: Some("m24"), username, needs_suite: true, ..Above::default() })
            }
            Outcome::Begun(session, token, target) => {
                let mut answer = answer::see_other(target.as_str());
                let fields = answer.headers_mut();
                fields.append(header::SET_COOKIE, cookies::set_session(&token));
                // The browser remembers which company it was, also of somebody who had to make room first (D26).
                match session.method {
                    Method::Sso => {
                        fields.append(header::SET_COOKIE, cookies::set_tenant(&session.terms.tenant_slug));
                    }
                    Method::Local | Method::Suite | Method::Api => {}
                }
                Ok(answer)
            }
            Outcome::Over(target) => Ok(answer::see_other(target.as_str())),
            Outcome::Restart(notice, wish) => {
                let notice = Some(self.text(notice.id()));
                self.page(&self.new_flow(wish.return_to, wish.entry)?, Above { notice, ..Above::default() })
            }
        }
    }

    /// The first page, for who sent one that counts for nothing.
    fn again(&self, wish: Wish, typed: &str) -> Result<Answer, Trouble> {
        let notice = Some(self.text("notice.expired"));
        let flow = self.new_flow(wish.return_to, wish.entry)?;
        self.page(&flow, Above { notice, username: typed, ..Above::default() })
    }

    fn text(&self, id: &'static str) -> String {
        self.portal.chrome(self.asking.visit, self.headers).t(id)
    }

    /// What a person whose session ended is told (M16, M17).
    fn ending(&self, ended: Ended) -> String {
        let chrome = self.portal.chrome(self.asking.visit, self.headers);
        match ended.reason {
            EndReason::LoggedOut => chrome.t("m17"),
            EndReason::Idle => chrome.fill("m16.idle", &[("hours", &chrome.duration(ended.idle_max.seconds()))]),
            EndReason::Expired => chrome.t("m16.expired"),
            EndReason::Displaced => chrome.t("m16.displaced"),
            EndReason::Replaced => chrome.t("m16.replaced"),
            EndReason::Revoked => chrome.t("m16.revoked"),
        }
    }

    /// The page of the step that is due.
    fn page(&self, flow: &Flow, above: Above<'_>) -> Result<Answer, Trouble> {
        let Above { error, notice, username, provider, needs_suite } = above;
        let chrome = &self.portal.chrome(self.asking.visit, self.headers);
        let sealed = self.portal.seal(flow)?;
        let sealed = sealed.as_str();
        let back = &first_page_of(flow);
        let html = match &flow.step {
            Step::Username => {
                UsernamePage { flow: sealed, username, error, notice, provider, needs_suite }.html(chrome)
            }
            Step::Password(step) => {
                PasswordPage { flow: sealed, username: step.username().as_str(), back, error }.html(chrome)
            }
            Step::Code(step) => {
                CodePage { flow: sealed, username: step.claimant().username.as_str(), back, error }.html(chrome)
            }
            Step::Enrolment(step) => {
                let product = &self.portal.settings.brand.product;
                let uri = otpauth_uri(product, &step.claimant().username, step.secret(), step.period());
                let key = &step.secret().to_base32();
                EnrolPage { flow: sealed, uri: &uri, key, back, error }.html(chrome)
            }
            Step::Enrolled(_) => EnrolledPage { flow: sealed }.html(chrome),
            Step::Account(step) => {
                let account = |one: &Claimant| (one.user.to_string(), one.username.to_string());
                let accounts = step.accounts().iter().map(account).collect();
                AccountsPage { flow: sealed, accounts, error }.html(chrome)
            }
            Step::Slot(step) => {
                let sessions = self.portal.slot_sessions(step, flow.class, &self.asking);
                SlotsPage { flow: sealed, sessions: sessions.iter().map(|s| row(s)).collect() }.html(chrome)
            }
        };
        // A username may lead to its company's provider. Every later page may be the last one, whose form leads into the
        // application; and where that redirects to is the application's affair. Browsers hold each of those redirects against the
        // policy of the page that the form was on: with a narrower one, the person is logged in and looks at a page on which nothing
        // happens (R43, D41).
        Ok(answer::outward(answer::html(StatusCode::OK, html)))
    }
}

/// Where somebody begins anew who does not go on with `flow`: with the same wish, at the username, whatever provider this
/// browser has logged in at (R40, D26).
fn first_page_of(flow: &Flow) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("with", flow.entry.name());
    if let Some(return_to) = &flow.return_to {
        query.append_pair("return_to", return_to.as_str());
    }
    format!("{LOGIN}?{}", query.finish())
}

fn row(session: &Session) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        device: session.device_label().to_owned(),
        address: session.device_address().to_owned(),
        class: session.class,
        started_at: session.started_at,
        last_seen: session.last_seen(),
        current: false,
    }
}

impl Portal {
    /// An idle limit that a session here may have had: what is said, as long as a tenant could set it, or else the
    /// installation's.
    fn idle_max(&self, said: Option<Ttl>) -> Ttl {
        let longest = self.settings.security.lifetimes.idle_max;
        said.filter(|said| (IDLE_MIN..=longest).contains(said)).unwrap_or(longest)
    }

    /// A request that did not come from our own page in its own browser: 403, and a line in the log (W2).
    pub(super) async fn forged(&self, visit: &Visit, headers: &HeaderMap, reason: &'static str) -> Answer {
        let event = SecurityEvent {
            request: Some(visit.request),
            zone: Some(self.host(visit)),
            address: Some(visit.address),
            reason: Some(reason),
            ..SecurityEvent::new(EventKind::RequestForged, Actor::Stranger, visit.now)
        };
        match self.strangers.note(event).await {
            Ok(()) => self.refusal(visit, headers, StatusCode::FORBIDDEN),
            Err(fault) => self.trouble(visit, headers, &fault.into()),
        }
    }

    /// The answer when a log-in could not be carried out.
    pub(super) fn trouble(&self, visit: &Visit, headers: &HeaderMap, trouble: &Trouble) -> Answer {
        self.unavailable(visit, headers, "a log-in could not be carried out", trouble)
    }
}
