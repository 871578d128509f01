//! Single sign-on: the way to a tenant's own identity provider, and back with its word (R97–R102).
//!
//! Each tenant has addresses of its own, the one that providers answer to among them: so the answer of one provider
//! cannot be taken for another's (RFC 9700 section 4.4). Nothing is remembered of those who are on their way: what must
//! be known when they come back travels sealed in `state`, bound to their browser, and is spent once.

mod callback;
mod initiate;
mod logout;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::administration::ADMIN_SSO;
use super::answer::{Answer, html, see_other};
use super::flow::Trouble;
use super::{Portal, Realm, Visit, cookies, device};
use crate::base::{BrowserToken, FlowId, LocalPath, SealProblem, TenantId, Username};
use crate::directory::{SsoScope, Tenant};
use crate::idp::ProviderFault;
use crate::machine::{EntropyFault, random};
use crate::pages::{Page, ProviderErrorPage};
use crate::sso::{Audience, Nonce, Purpose, TestTicket, Transaction, Verifier, authorization_url};
use crate::store::{Provider, StoreFault};
use crate::table::SessionFault;
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};
use crate::zone::Zone;

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new()
        .route("/.zonegate/sso/{tenant}", get(begin))
        .route("/.zonegate/sso/{tenant}/callback", get(callback::take))
        .route("/.zonegate/sso/{tenant}/initiate", get(initiate::ask).post(initiate::go))
        .route("/.zonegate/sso/{tenant}/backchannel-logout", post(logout::back_channel))
        .route("/.zonegate/sso/{tenant}/frontchannel-logout", get(logout::front_channel))
        .route("/.zonegate/sso/{tenant}/logged-out", get(logout::back_again))
}

/// The address of a tenant's log-in, below its zone's origin (D26).
pub(super) fn address(slug: &str) -> String {
    format!("/.zonegate/sso/{slug}")
}

/// The address where somebody of a tenant shows their provider once more who they are, and comes back to `path`.
pub(super) fn anew(slug: &str, path: &str) -> String {
    format!("{}?anew&return_to={path}", address(slug))
}

/// A tenant of the zone that was asked, with the provider it has.
pub(super) struct Company {
    pub(super) zone: Arc<Zone>,
    pub(super) tenant: Tenant,
    pub(super) provider: Provider,
}

impl Company {
    /// Where the provider sends people back to. Made of the configuration, never of what was asked (V2).
    pub(super) fn redirect_uri(&self) -> String {
        format!("{}{}/callback", self.zone.origin, address(&self.tenant.slug))
    }

    /// Where another try begins. While single sign-on is off, nowhere but at the settings, for who came from there: nobody
    /// else tries a provider that nobody uses yet but at the address that the command printed.
    fn again(&self, visit: &Visit) -> Option<String> {
        match self.tenant.sso {
            SsoScope::Off => visit.session.is_some().then(|| ADMIN_SSO.into()),
            SsoScope::Selected | SsoScope::All => Some(address(&self.tenant.slug)),
        }
    }
}

/// The company whose address was asked; 404 where the zone has none of that name with a provider.
impl FromRequestParts<Arc<Portal>> for Company {
    type Rejection = Answer;

    async fn from_request_parts(parts: &mut Parts, portal: &Arc<Portal>) -> Result<Self, Answer> {
        let refused = IntoResponse::into_response;
        let Extension(visit) = Extension::<Visit>::from_request_parts(parts, portal).await.map_err(refused)?;
        let slug = Path::<String>::from_request_parts(parts, portal).await;
        let headers = &parts.headers;
        // What cannot be read as a name is none's.
        let Ok(Path(slug)) = slug else { return Err(portal.refusal(&visit, headers, StatusCode::NOT_FOUND)) };
        match portal.company(&visit, &slug).await {
            Ok(Some(company)) => Ok(company),
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
    /// What this very answer names the browser, where it had no name.
    pub(super) browser: Option<&'a BrowserToken>,
    /// Whether the provider is asked not to take a log-in of before for an answer (`prompt`, OpenID Connect Core 1.0
    /// section 3.1.2.1).
    pub(super) anew: bool,
}

impl Errand<'_> {
    /// To log in, and to go there afterwards.
    pub(super) const fn log_in(return_to: Option<LocalPath>) -> Self {
        Self { return_to, username: None, hint: None, purpose: Purpose::LogIn, browser: None, anew: false }
    }
}

/// Why somebody comes back from a provider, or does not get there, without a session. People are told one of a few
/// neutral texts; the log is told which.
#[derive(Debug)]
pub(super) struct Refused {
    /// Our own word for it.
    pub(super) reason: &'static str,
    /// The id of the text.
    pub(super) text: &'static str,
    /// A stranger's words, made harmless.
    pub(super) detail: Option<Snippet>,
}

impl Refused {
    /// The provider did not confirm it (M19).
    pub(super) const fn because(reason: &'static str) -> Self {
        Self { reason, text: "m19.refused", detail: None }
    }
}

impl From<ProviderFault> for Refused {
    fn from(fault: ProviderFault) -> Self {
        let text = if fault.is_passing() { "m19.unreachable" } else { "m19.refused" };
        Self { reason: fault.name(), text, detail: Some(Snippet::of(&fault.to_string())) }
    }
}

/// Why a step towards a session was not made.
#[derive(Debug)]
pub(super) enum Failed {
    /// What came, from the provider or the browser, is not accepted.
    Refused(Refused),
    /// Our side failed.
    Trouble(Trouble),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<ProviderFault> for Failed {
    fn from(fault: ProviderFault) -> Self {
        Self::Refused(fault.into())
    }
}

macro_rules! troubles {
    ($($fault:ty),*) => {$(
        impl From<$fault> for Failed {
            fn from(fault: $fault) -> Self {
                Self::Trouble(fault.into())
            }
        }
    )*};
}
troubles!(Trouble, StoreFault, SessionFault, EntropyFault, SealProblem);

/// `GET /.zonegate/sso/{tenant}`: to the provider without a word typed. With `test`, an administrator's trial of a
/// provider that may not be enabled yet (D25).
async fn begin(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    company: Company,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let ticket = query(&uri, "test");
    let is_trial = ticket.is_some_and(|ticket| {
        let (tenant, host) = (company.tenant.id, &company.zone.host);
        TestTicket::open(&ticket, &portal.sso_test_key, tenant, host, visit.now).is_ok()
    });
    if company.tenant.sso == SsoScope::Off && !is_trial {
        return portal.refusal(&visit, &headers, StatusCode::NOT_FOUND);
    }
    let errand = Errand {
        purpose: if is_trial { Purpose::Test } else { Purpose::LogIn },
        anew: query(&uri, "anew").is_some(),
        ..Errand::log_in(query(&uri, "return_to").and_then(|text| text.parse().ok()))
    };
    portal.to_provider(&company, errand, &visit, &headers).await
}

/// The first value of that name in the query.
pub(super) fn query(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

impl Portal {
    /// The tenant of that short name, if it lives in the zone that was asked and has a provider.
    pub(super) async fn company(&self, visit: &Visit, slug: &str) -> Result<Option<Company>, StoreFault> {
        let Realm::Zone(zone) = &visit.realm else { return Ok(None) };
        let tenant = self.store.tenant_by_slug(slug).await?;
        match tenant.filter(|tenant| tenant.zone == zone.host) {
            Some(tenant) => self.company_of(zone, tenant).await,
            None => Ok(None),
        }
    }

    async fn company_of(&self, zone: &Arc<Zone>, tenant: Tenant) -> Result<Option<Company>, StoreFault> {
        let provider = self.store.provider(tenant.id).await?;
        Ok(provider.map(|provider| Company { zone: Arc::clone(zone), tenant, provider }))
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
        match self.company_of(zone, tenant).await? {
            Some(company) => Ok(self.to_provider(&company, errand, visit, headers).await),
            None => {
                tracing::error!(tenant = %slug, "single sign-on is on and no provider is set: `zonegate tenant sso`");
                let refused = Refused::because("no_provider");
                Ok(self.not_logged_in(visit, headers, refused, Some(id), None).await)
            }
        }
    }

    /// Sends a browser to the provider.
    pub(super) async fn to_provider(
        &self,
        company: &Company,
        errand: Errand<'_>,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Answer {
        let again = company.again(visit);
        match self.authorization(company, errand, visit, headers).await {
            Ok(answer) => answer,
            Err(Failed::Refused(refused)) => {
                self.not_logged_in(visit, headers, refused, Some(company.tenant.id), again.as_deref()).await
            }
            Err(Failed::Trouble(trouble)) => self.trouble(visit, headers, &trouble),
        }
    }

    async fn authorization(
        &self,
        company: &Company,
        errand: Errand<'_>,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Result<Answer, Failed> {
        let settings = &company.provider.settings;
        let metadata = self.providers.metadata(settings).await?;
        let known = cookies::browser(headers).or(errand.browser.cloned());
        let browser = match known.clone() {
            Some(browser) => browser,
            None => BrowserToken::from_bytes(random()?),
        };
        let transaction = Transaction {
            id: FlowId::from_bytes(random()?),
            audience: Audience::Tenant,
            tenant: Some(company.tenant.id),
            host: company.zone.host.clone(),
            issuer: settings.issuer.clone(),
            browser: browser.digest(),
            class: device::class(headers),
            return_to: errand.return_to,
            username: errand.username,
            purpose: errand.purpose,
            nonce: Nonce::from_bytes(random()?),
            verifier: Verifier::from_bytes(random()?),
            started_at: visit.now,
        };
        let state = transaction.seal(&self.transaction_key, random()?)?;
        let hint = errand.hint.or(transaction.username.as_ref().map(Username::as_str));
        let mut url = authorization_url(&metadata, settings, &company.redirect_uri(), &state, &transaction, hint);
        if errand.anew {
            url.query_pairs_mut().append_pair("prompt", "login");
        }
        let mut answer = see_other(url.as_str());
        if known.is_none() {
            answer.headers_mut().append(header::SET_COOKIE, cookies::set_browser(&browser));
        }
        Ok(answer)
    }

    /// P14, and a line in the log.
    pub(super) async fn not_logged_in(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        refused: Refused,
        tenant: Option<TenantId>,
        again: Option<&str>,
    ) -> Answer {
        let event = SecurityEvent {
            request: Some(visit.request),
            zone: Some(self.host(visit)),
            tenant,
            address: Some(visit.address),
            reason: Some(refused.reason),
            detail: refused.detail,
            ..SecurityEvent::new(EventKind::LoginFailed, Actor::Stranger, visit.now)
        };
        if let Err(fault) = self.strangers.note(event).await {
            return self.store_fault(visit, headers, &fault);
        }
        let page = ProviderErrorPage { text: refused.text, reference: &visit.request.to_string(), again };
        html(StatusCode::FORBIDDEN, page.html(&self.chrome(visit, headers)))
    }
}
