//! Log-ins at providers: at a tenant's own (R97–R102) and at the vendor's suite (R90–R96), the way there and back.
//!
//! Each tenant has addresses of its own, the one that providers answer to among them, and the suite has its own: so the
//! answer of one provider cannot be taken for another's (RFC 9700 section 4.4). Nothing is remembered of those who are on
//! their way: what must be known when they come back travels sealed in `state`, bound to their browser, and is spent once.

mod callback;
mod initiate;
mod logout;
mod logout_retry;
mod refused;
mod suite;

pub(super) use initiate::{Question, question};
pub(super) use logout::{ProviderLogout, endings_at_provider};

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};

use self::refused::{Failed, Refused, SetOut};
use super::administration::{ADMIN_SSO, ADMIN_SUITE};
use super::answer::{Answer, see_other};
use super::form::query;
use super::outcome::Trouble;
use super::{Portal, Realm, Visit, cookies, device};
use crate::base::{BrowserToken, FlowId, LocalPath, TenantId, Username};
use crate::directory::{SsoScope, Tenant};
use crate::machine::random;
use crate::pages::Again;
use crate::session::{Class, Method};
use crate::sso::{
    Audience, ClassTicket, ClientSecret, Nonce, ProviderSettings, Purpose, Suite, TestTicket, Transaction,
    Verifier, authorization_url,
};
use crate::store::{Provider, StoreFault};
use crate::zone::Zone;

pub(super) fn routes() -> Router<Arc<Portal>> {
    [TENANT, SUITE].into_iter().fold(Router::new(), |router, prefix| {
        router
            .route(prefix, get(begin))
            .route(&format!("{prefix}/callback"), get(callback::take))
            .route(&format!("{prefix}/initiate"), get(initiate::ask).post(initiate::go))
            .route(&format!("{prefix}/backchannel-logout"), post(logout::back_channel))
            .route(&format!("{prefix}/frontchannel-logout"), get(logout::front_channel))
            .route(&format!("{prefix}/logged-out"), get(logout::back_again))
    })
}

const TENANT: &str = "/.zonegate/sso/{tenant}";
/// In the address of a provider's log-in: a native client's class, under seal.
const CLIENT: &str = "client";
/// The address of the suite's log-in.
pub(super) const SUITE: &str = "/.zonegate/suite";

/// The address of a tenant's log-in, below its zone's origin (D26).
pub(super) fn address(slug: &str) -> String {
    TENANT.replace("{tenant}", slug)
}

/// The address where somebody of a tenant shows their provider once more who they are, and comes back to `path`.
pub(super) fn anew(slug: &str, path: &str) -> String {
    format!("{}?anew&return_to={path}", address(slug))
}

/// The same at the suite.
pub(super) fn anew_at_suite(path: &str) -> String {
    format!("{SUITE}?anew&return_to={path}")
}

/// What we are to one provider, in the zone that was asked.
pub(super) struct Registration {
    pub(super) zone: Arc<Zone>,
    pub(super) provider: OpenIdProvider,
}

/// For whose people a provider speaks.
pub(super) enum OpenIdProvider {
    /// One tenant's: its own.
    Tenant(Box<Tenant>, Box<Provider>),
    /// Those of all companies that the suite knows.
    Suite(Box<Suite>),
}

impl Registration {
    /// A tenant of the zone, with the provider it has.
    pub(super) fn of_tenant(zone: &Arc<Zone>, tenant: Tenant, provider: Provider) -> Self {
        Self { zone: Arc::clone(zone), provider: OpenIdProvider::Tenant(Box::new(tenant), Box::new(provider)) }
    }

    /// What the provider is to us.
    pub(super) fn settings(&self) -> &ProviderSettings {
        match &self.provider {
            OpenIdProvider::Tenant(_, provider) => &provider.settings,
            OpenIdProvider::Suite(suite) => &suite.settings,
        }
    }

    fn secret(&self) -> Option<&ClientSecret> {
        match &self.provider {
            OpenIdProvider::Tenant(_, provider) => provider.secret.as_ref(),
            OpenIdProvider::Suite(suite) => suite.secret.as_ref(),
        }
    }

    fn audience(&self) -> Audience {
        match &self.provider {
            OpenIdProvider::Tenant(..) => Audience::Tenant,
            OpenIdProvider::Suite(_) => Audience::Suite,
        }
    }

    /// How those log in whom the provider lets in.
    fn method(&self) -> Method {
        match &self.provider {
            OpenIdProvider::Tenant(..) => Method::Sso,
            OpenIdProvider::Suite(_) => Method::Suite,
        }
    }

    /// The tenant for whose people alone the provider speaks.
    pub(super) fn tenant(&self) -> Option<&Tenant> {
        match &self.provider {
            OpenIdProvider::Tenant(tenant, _) => Some(tenant),
            OpenIdProvider::Suite(_) => None,
        }
    }

    fn tenant_id(&self) -> Option<TenantId> {
        self.tenant().map(|tenant| tenant.id)
    }

    /// Whether anybody logs in there.
    pub(super) fn is_open(&self) -> bool {
        self.tenant().is_none_or(|tenant| tenant.sso != SsoScope::Off)
    }

    /// What people know it by.
    pub(super) fn name(&self) -> &str {
        match &self.provider {
            OpenIdProvider::Tenant(tenant, _) => &tenant.name,
            OpenIdProvider::Suite(suite) => &suite.name,
        }
    }

    fn address(&self) -> String {
        self.tenant().map_or_else(|| SUITE.into(), |tenant| address(&tenant.slug))
    }

    /// The address of a log-in that leads there afterwards.
    pub(super) fn address_to(&self, return_to: Option<&LocalPath>) -> String {
        let Some(return_to) = return_to else { return self.address() };
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("return_to", return_to.as_str());
        format!("{}?{}", self.address(), query.finish())
    }

    /// Where the provider sends people back to. Made of the configuration, never of what was asked (V2).
    pub(super) fn redirect_uri(&self) -> String {
        format!("{}{}/callback", self.zone.origin, self.address())
    }

    /// Where another try begins: for administrators at the settings, and nowhere where it would end as this one did.
    fn again(&self, visit: &Visit, refused: &Refused) -> Option<String> {
        match refused.purpose {
            Purpose::Bind => Some(ADMIN_SUITE.into()),
            // Whoever has the address that the command printed came from no page of ours.
            Purpose::Test => visit.session.is_some().then(|| ADMIN_SSO.into()),
            Purpose::LogIn if !self.is_open() => None,
            Purpose::LogIn => match refused.refusal.again() {
                Again::There => Some(self.address()),
                Again::Anew => Some(format!("{}?anew", self.address())),
                Again::Nowhere => None,
            },
        }
    }
}

/// The registration whose address was asked; 404 where the zone has no tenant of that name with a provider, or the
/// installation no suite.
impl FromRequestParts<Arc<Portal>> for Registration {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, portal: &Arc<Portal>) -> Result<Self, Answer> {
        let refused = IntoResponse::into_response;
        let Extension(visit) = Extension::<Visit>::from_request_parts(parts, portal).await.map_err(refused)?;
        let named = RawPathParams::from_request_parts(parts, portal).await;
        let slug = named.as_ref().map(|named| named.iter().next().map(|(_, slug)| slug));
        let headers = &parts.headers;
        let found = match slug {
            Ok(Some(slug)) => portal.registration(&visit, slug).await,
            Ok(None) => Ok(portal.suite(&visit)),
            // What cannot be read as a name is none's.
            Err(_) => Ok(None),
        };
        match found {
            Ok(Some(registration)) => Ok(registration),
            Ok(None) => Err(portal.refusal(&visit, headers, StatusCode::NOT_FOUND)),
            Err(fault) => Err(portal.store_fault(&visit, headers, &fault)),
        }
    }
}

/// What somebody sets out with.
pub(super) struct Errand<'a> {
    pub(super) return_to: Option<LocalPath>,
    /// What they typed.
    pub(super) username: Option<Username>,
    /// Whom the provider may suggest.
    pub(super) hint: Option<&'a str>,
    pub(super) purpose: Purpose,
    /// Whose tenant's it is, where the provider speaks for more than one.
    pub(super) tenant: Option<TenantId>,
    /// Which slots the session takes, where it is not the browser that says so.
    pub(super) class: Option<Class>,
    /// What this very answer names the browser, where it had no name.
    pub(super) browser: Option<&'a BrowserToken>,
    /// Whether the provider may not take a log-in of before for an answer.
    pub(super) anew: bool,
}

impl Errand<'_> {
    /// To log in, and to go there afterwards.
    pub(super) const fn log_in(return_to: Option<LocalPath>) -> Self {
        Self {
            return_to,
            username: None,
            hint: None,
            purpose: Purpose::LogIn,
            tenant: None,
            class: None,
            browser: None,
            anew: false,
        }
    }
}

/// `GET /.zonegate/sso/{tenant}`: to the provider without a word typed. With `test`, an administrator's trial of a
/// provider that may not be enabled yet (D25).
async fn begin(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    registration: Registration,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let ticket = query(&uri, "test");
    let is_trial = ticket.is_some_and(|ticket| {
        let host = &registration.zone.host;
        registration
            .tenant_id()
            .is_some_and(|tenant| TestTicket::open(&ticket, &portal.sso_test_key, tenant, host, visit.now).is_ok())
    });
    if !registration.is_open() && !is_trial {
        return portal.refusal(&visit, &headers, StatusCode::NOT_FOUND);
    }
    let return_to: Option<LocalPath> = query(&uri, "return_to").and_then(|text| text.parse().ok());
    // A company that shares the zone could send anybody to its own provider, which would log them in as somebody of its
    // own, here and, by the cookie that remembers it, from then on. The suite is nobody's of theirs, and its launcher
    // leads from one product to the next without a question (R94).
    let client = query(&uri, CLIENT);
    if registration.tenant().is_some() && !is_trial && was_sent_by_another_page(&headers) {
        let asked = Question { target: return_to.as_ref(), client: client.as_deref(), ..Question::default() };
        return question(&portal, &registration, asked, &visit, &headers);
    }
    let errand = Errand {
        purpose: if is_trial { Purpose::Test } else { Purpose::LogIn },
        class: client.and_then(|client| portal.sealed_class(&registration, &client, &visit)),
        anew: query(&uri, "anew").is_some(),
        ..Errand::log_in(return_to)
    };
    portal.to_provider(&registration, errand, &visit, &headers).await
}

/// Whether a page of another origin sent the browser here. What was typed, kept as a bookmark or sent by a page of ours was
/// not; a browser that does not say so is taken for one that was typed into.
fn was_sent_by_another_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| !matches!(site, b"none" | b"same-origin"))
}

impl Portal {
    /// What we are to the provider of the tenant of that short name, if it lives in the zone that was asked and has one.
    pub(super) async fn registration(
        &self,
        visit: &Visit,
        slug: &str,
    ) -> Result<Option<Registration>, StoreFault> {
        let Realm::Zone(zone) = &visit.realm else { return Ok(None) };
        let tenant = self.store.tenant_by_slug(slug).await?;
        match tenant.filter(|tenant| tenant.zone == zone.host) {
            Some(tenant) => self.registration_of(zone, tenant).await,
            None => Ok(None),
        }
    }

    async fn registration_of(&self, zone: &Arc<Zone>, tenant: Tenant) -> Result<Option<Registration>, StoreFault> {
        let provider = self.store.provider(tenant.id).await?;
        Ok(provider.map(|provider| Registration::of_tenant(zone, tenant, provider)))
    }

    /// What we are to the suite, in the zone that was asked.
    pub(super) fn suite(&self, visit: &Visit) -> Option<Registration> {
        let (Realm::Zone(zone), Some(suite)) = (&visit.realm, &self.settings.suite) else { return None };
        Some(Registration { zone: Arc::clone(zone), provider: OpenIdProvider::Suite(Box::new(suite.clone())) })
    }

    /// What the address of a provider's log-in carries for a native client, whose session is of `class` whatever browser the
    /// client opens (R82, R100, D42). `tenant`: whose provider it is, where it is not the suite.
    pub(super) fn class_ticket(
        &self,
        visit: &Visit,
        tenant: Option<TenantId>,
        class: Class,
    ) -> Result<String, Trouble> {
        let ticket = ClassTicket::new(tenant, self.host(visit), class, visit.now);
        Ok(format!("{CLIENT}={}", ticket.seal(&self.class_key, random()?)?))
    }

    /// What such an address said. One that was made up, or is for another provider, or too old, says nothing.
    fn sealed_class(&self, registration: &Registration, client: &str, visit: &Visit) -> Option<Class> {
        let (tenant, host) = (registration.tenant_id(), &registration.zone.host);
        ClassTicket::open(client, &self.class_key, tenant, host, visit.now).ok()
    }

    /// Where another try begins, as what this one was.
    fn again(
        &self,
        registration: &Registration,
        refused: &Refused,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Option<String> {
        let address = registration.again(visit, refused)?;
        let foreign = refused.class.filter(|class| *class != device::class(headers));
        let client = foreign.filter(|_| refused.purpose == Purpose::LogIn).and_then(|class| {
            // Without one, the session takes the browser's slot: no reason to keep somebody out.
            self.class_ticket(visit, registration.tenant_id(), class).ok()
        });
        Some(match client {
            Some(client) if address.contains('?') => format!("{address}&{client}"),
            Some(client) => format!("{address}?{client}"),
            None => address,
        })
    }

    /// To the provider of `tenant`, whose username somebody typed.
    pub(super) async fn to_provider_of(
        &self,
        tenant: Tenant,
        errand: Errand<'_>,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Result<Answer, Trouble> {
        let Realm::Zone(zone) = &visit.realm else {
            return Ok(self.refusal(visit, headers, StatusCode::NOT_FOUND));
        };
        let (slug, id) = (tenant.slug.clone(), tenant.id);
        match self.registration_of(zone, tenant).await? {
            Some(registration) => Ok(self.to_provider(&registration, errand, visit, headers).await),
            None => {
                tracing::error!(tenant = %slug, "single sign-on is on and no provider is set: `zonegate tenant sso`");
                let set_out = SetOut::with(&errand, Some(id), headers);
                match self.of_who_set_out(Refused::because("no_provider").into(), &set_out).await {
                    Failed::Refused(refused) => {
                        Ok(self.not_logged_in(visit, headers, refused, Some(id), None).await)
                    }
                    Failed::Trouble(trouble) => Err(trouble),
                }
            }
        }
    }

    /// Sends a browser to the provider.
    pub(super) async fn to_provider(
        &self,
        registration: &Registration,
        errand: Errand<'_>,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Answer {
        let set_out = SetOut::with(&errand, registration.tenant_id(), headers);
        let failed = match self.authorization(registration, errand, visit, headers).await {
            Ok(answer) => return answer,
            Err(failed) => failed,
        };
        match self.of_who_set_out(failed, &set_out).await {
            Failed::Refused(refused) => {
                let again = self.again(registration, &refused, visit, headers);
                self.not_logged_in(visit, headers, refused, registration.tenant_id(), again.as_deref()).await
            }
            Failed::Trouble(trouble) => self.trouble(visit, headers, &trouble),
        }
    }

    async fn authorization(
        &self,
        registration: &Registration,
        errand: Errand<'_>,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Result<Answer, Failed> {
        let settings = registration.settings();
        let metadata = self.providers.metadata(settings).await?;
        let known = cookies::browser(headers).or(errand.browser.cloned());
        let browser = match known.clone() {
            Some(browser) => browser,
            None => BrowserToken::from_bytes(random()?),
        };
        let transaction = Transaction {
            id: FlowId::from_bytes(random()?),
            audience: registration.audience(),
            tenant: errand.tenant.or(registration.tenant_id()),
            host: registration.zone.host.clone(),
            issuer: settings.issuer.clone(),
            browser: browser.digest(),
            class: errand.class.unwrap_or_else(|| device::class(headers)),
            return_to: errand.return_to,
            username: errand.username,
            purpose: errand.purpose,
            anew: errand.anew,
            nonce: Nonce::from_bytes(random()?),
            verifier: Verifier::from_bytes(random()?),
            started_at: visit.now,
        };
        let state = transaction.seal(&self.transaction_key, random()?)?;
        // What somebody is called here is what they are called at their own company; at the suite it need not be.
        let typed = transaction.username.as_ref().filter(|_| registration.tenant().is_some());
        let hint = errand.hint.or(typed.map(Username::as_str));
        let redirect_uri = registration.redirect_uri();
        let url = authorization_url(&metadata, settings, &redirect_uri, &state, &transaction, hint);
        let mut answer = see_other(url.as_str());
        if known.is_none() {
            answer.headers_mut().append(header::SET_COOKIE, cookies::set_browser(&browser));
        }
        Ok(answer)
    }
}
