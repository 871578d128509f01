//! Log-outs that a provider takes part in: told by it, over the back channel or through the browser, and telling it.
//!
//! A provider ends sessions that its own word began and no others, a tenant's own of that tenant, the suite of all that
//! use it: a local session of the same person stays (R117). What we end ourselves is ended before anybody else is asked,
//! so that a provider which is down keeps nothing alive (O15).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use url::Url;

use super::super::answer::{Answer, framed_by, html, json, see_other};
use super::super::form::{Form, query};
use super::super::login::LOGIN;
use super::super::{Portal, Visit, cookies};
use super::{Failed, Refused, Registration};
use crate::base::{BrowserToken, FlowId, TenantId, TokenDigest, UnixTime};
use crate::login::{PROOF_MAX, Proven};
use crate::session::{EndReason, Method, Session};
use crate::sso::{Audience, Issuer, LogoutToken, TRANSACTION_MAX};
use crate::store::{ProviderSession, SessionOfProvider, StoreFault};
use crate::table::SessionFault;
use crate::telemetry::{Actor, EventKind, SecurityEvent};

/// The provider tells of more log-outs than one may (O14).
const TOO_OFTEN: &str = "logout_tokens_too_often";

/// `POST …/backchannel-logout` (OpenID Connect Back-Channel Logout 1.0 section 2.5).
pub(super) async fn back_channel(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    registration: Registration,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let form = Form::read(&headers, body, portal.settings.limits.form_bytes_max).await;
    let token = form.as_ref().ok().and_then(|form| form.field("logout_token")).unwrap_or_default();
    let refused = match portal.told_to_end(&registration, token, &visit).await {
        Ok(()) => return json(StatusCode::OK, &serde_json::json!({})),
        Err(Failed::Refused(refused)) => refused,
        Err(Failed::Trouble(trouble)) => return portal.trouble(&visit, &headers, &trouble),
    };
    if refused.reason == TOO_OFTEN {
        return portal.refusal(&visit, &headers, StatusCode::TOO_MANY_REQUESTS);
    }
    if let Err(fault) = portal.note_refused(&visit, &registration, &refused).await {
        return portal.store_fault(&visit, &headers, &fault);
    }
    // The specification's answer, whatever was wrong: who sends forgeries learns nothing of it.
    json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": "invalid_request" }))
}

/// `GET …/frontchannel-logout?iss=…&sid=…`, which the provider's page shows in a frame (OpenID
/// Connect Front-Channel Logout 1.0 section 2). Browsers send no cookie with it: the provider's session is what counts,
/// and both its parameters must be there (SEC-R52).
pub(super) async fn front_channel(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    registration: Registration,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let issuer = &registration.settings().issuer;
    let sid = query(&uri, "sid").filter(|sid| !sid.is_empty());
    let (Some(sid), true) = (sid, query(&uri, "iss").as_deref() == Some(issuer.as_str())) else {
        let refused = Refused::because("frontchannel_parameters");
        return match portal.note_refused(&visit, &registration, &refused).await {
            Ok(()) => portal.refusal(&visit, &headers, StatusCode::BAD_REQUEST),
            Err(fault) => portal.store_fault(&visit, &headers, &fault),
        };
    };
    match portal.end_of_provider(&registration, ProviderSession::Sid(&sid), &visit).await {
        Ok(()) => framed_by(html(StatusCode::OK, String::new()), &issuer.origin()),
        Err(fault) => portal.session_fault(&visit, &headers, &fault),
    }
}

/// `GET …/logged-out`: back from the provider's log-out. Whoever did not set out from here sees
/// the log-in page like everybody else, and no word on it (SEC-R50).
pub(super) async fn back_again(
    State(portal): State<Arc<Portal>>,
    registration: Registration,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let ours = query(&uri, "state")
        .zip(cookies::browser(&headers))
        .is_some_and(|(state, browser)| portal.logout_state.holds(&state, &registration.zone.host, &browser));
    let query = match (ours, registration.tenant()) {
        (true, Some(_)) => "reason=logged_out",
        // Whose log-out tells its modules (M17).
        (true, None) => "reason=logged_out&provider=suite",
        (false, _) => "with=username",
    };
    see_other(&format!("{LOGIN}?{query}"))
}

impl Portal {
    async fn told_to_end(&self, registration: &Registration, text: &str, visit: &Visit) -> Result<(), Failed> {
        let settings = registration.settings();
        let token = self.providers.logout_token(settings, text, visit.now).await?;
        // A token is obeyed once: one that is sent again later would end sessions that began since. It is spent last: whose
        // gateway is killed in the middle of it is told again, and must not be answered that this was done.
        let once = once(registration, &token);
        let replayed = || Failed::from(Refused::because("logout_token_replayed"));
        if self.store.is_spent_until(once, visit.now).await? {
            return Err(replayed());
        }
        // With both, the session decides: the subject's others are not meant (OpenID Connect Back-Channel Logout 1.0
        // section 2.6).
        let who = match (token.sid(), token.subject()) {
            (Some(sid), _) => ProviderSession::Sid(sid),
            (None, Some(subject)) => ProviderSession::Subject(subject),
            (None, None) => return Err(Refused::because("logout_token_names_nobody").into()),
        };
        // Only who proves to be the provider uses its rate up: each that is obeyed is two commits, and all tenants share one disk.
        if !self.told.allows(&registration.tenant_id()) {
            return Err(Refused::because(TOO_OFTEN).into());
        }
        // First: a log-in that waits for a choice has no session yet that could be ended (R117).
        let over = over(registration.tenant_id(), &settings.issuer, who);
        self.store.spend_until(over, visit.now.plus(TRANSACTION_MAX).plus(PROOF_MAX)).await?;
        self.end_of_provider(registration, who, visit).await?;
        if self.store.spend(once, token.acceptable_until()).await? { Ok(()) } else { Err(replayed()) }
    }

    /// Whether the provider has said, since it proved who somebody is, that this is over.
    pub(in crate::portal) async fn is_over_at_provider(
        &self,
        proven: &Proven,
        tenant: TenantId,
    ) -> Result<bool, StoreFault> {
        for (mark, until) in endings_at_provider(proven, tenant) {
            if self.store.is_spent_until(mark, until).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the sessions that the provider began, of the tenant whose it is or of all where it is the suite, by its own
    /// session or its subject.
    async fn end_of_provider(
        &self,
        registration: &Registration,
        who: ProviderSession<'_>,
        visit: &Visit,
    ) -> Result<(), SessionFault> {
        let (tenant, issuer) = (registration.tenant_id(), &registration.settings().issuer);
        let reason = EndReason::LoggedOut;
        for found in self.store.provider_sessions(tenant, issuer, who).await? {
            let SessionOfProvider { user, session, tenant } = found;
            let event = SecurityEvent {
                request: Some(visit.request),
                zone: Some(registration.zone.host.clone()),
                tenant: Some(tenant),
                user: Some(user),
                session: Some(session),
                reason: Some("provider_log_out"),
                ..SecurityEvent::new(EventKind::SessionEnded, Actor::Provider, visit.now)
            };
            self.sessions.end(user, &[session], reason, &[event], visit.now).await?;
        }
        Ok(())
    }

    async fn note_refused(
        &self,
        visit: &Visit,
        registration: &Registration,
        refused: &Refused,
    ) -> Result<(), StoreFault> {
        let event = SecurityEvent {
            request: Some(visit.request),
            zone: Some(registration.zone.host.clone()),
            tenant: registration.tenant_id(),
            address: Some(visit.address),
            reason: Some(refused.reason),
            detail: refused.detail.clone(),
            ..SecurityEvent::new(EventKind::RequestForged, Actor::Stranger, visit.now)
        };
        self.strangers.note(event).await
    }

    /// What is left to do at the provider of somebody who has logged out here, if their session came from one that wants
    /// to know (R118, R96). Whatever comes of it, the person is logged out here.
    pub(in crate::portal) async fn provider_logout(
        &self,
        visit: &Visit,
        session: &Session,
        browser: Option<&BrowserToken>,
    ) -> ProviderLogout {
        match self.end_session_url(visit, session, browser).await {
            Ok(None) => ProviderLogout::Nothing,
            Ok(Some(url)) => ProviderLogout::Go(url),
            Err(failed) => {
                tracing::warn!(?failed, session = %session.id, "the log-out did not reach the provider");
                match self.store.queue_provider_logout(session.id, visit.now).await {
                    Ok(_) => ProviderLogout::Unreached,
                    Err(fault) => {
                        tracing::error!(%fault, session = %session.id, "its provider will not be told of a log-out");
                        ProviderLogout::Unreached
                    }
                }
            }
        }
    }

    async fn end_session_url(
        &self,
        visit: &Visit,
        session: &Session,
        browser: Option<&BrowserToken>,
    ) -> Result<Option<Url>, Failed> {
        let registration = match session.method {
            Method::Sso => self.registration(visit, &session.terms.tenant_slug).await?,
            Method::Suite => self.suite(visit),
            Method::Local | Method::Api => None,
        };
        let (Some(registration), Some(browser)) = (registration, browser) else { return Ok(None) };
        let settings = registration.settings();
        let Some(at_provider) = self.store.provider_session(session.id).await? else { return Ok(None) };
        if !settings.logout || at_provider.issuer != settings.issuer {
            return Ok(None);
        }
        let metadata = self.providers.metadata(settings).await?;
        let Some(mut url) = metadata.end_session_endpoint.clone() else { return Ok(None) };
        // Its metadata are kept for an hour, and a browser that is sent to a dead host sees an error of its own.
        self.providers.answers(settings).await?;
        let back = format!("{}{}/logged-out", registration.zone.origin, registration.address());
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &settings.client_id)
            .append_pair("post_logout_redirect_uri", &back)
            .append_pair("state", &self.logout_state.token(&registration.zone.host, browser));
        if let Some(hint) = &at_provider.id_token {
            query.append_pair("id_token_hint", hint.reveal());
        }
        drop(query);
        Ok(Some(url))
    }
}

/// What is left to do at a provider after a log-out here.
#[derive(Debug)]
pub(in crate::portal) enum ProviderLogout {
    /// Nothing.
    Nothing,
    /// The browser goes there, and logs out there as well.
    Go(Url),
    /// It could not be told; it will be, for a day (D19).
    Unreached,
}

/// What is spent, and until when at least, once the provider has said that a log-in is over since somebody was sent there:
/// its own session, or all of the person's. *Why not since it answered?* Its answer may be long on its way, and a session that
/// was over before it came would never be told of again. Only the back channel is remembered: what it says is signed, and
/// the front channel is anybody's.
pub(in crate::portal) fn endings_at_provider(proven: &Proven, tenant: TenantId) -> Vec<(FlowId, UnixTime)> {
    let Some(proof) = proven.provider() else { return Vec::new() };
    let tenant = match proof.audience() {
        Audience::Tenant => Some(tenant),
        Audience::Suite => None,
    };
    let until = proof.asked_at().plus(TRANSACTION_MAX).plus(PROOF_MAX);
    let whose = [proof.sid().map(ProviderSession::Sid), Some(ProviderSession::Subject(proof.subject()))];
    whose.into_iter().flatten().map(|who| (over(tenant, proof.issuer(), who), until)).collect()
}

/// What is spent when a log-out token is obeyed: its `jti`, which is its issuer's own.
fn once(registration: &Registration, token: &LogoutToken) -> FlowId {
    let tenant = registration.tenant_id();
    id_of(&[whose(tenant.as_ref()), token.jti().as_bytes()])
}

/// What is spent when a provider says that a session is over, or all of somebody's.
fn over(tenant: Option<TenantId>, issuer: &Issuer, who: ProviderSession<'_>) -> FlowId {
    let (kind, name) = match who {
        ProviderSession::Sid(sid) => (b"\0sid\0".as_slice(), sid),
        ProviderSession::Subject(subject) => (b"\0sub\0".as_slice(), subject.as_str()),
    };
    id_of(&[whose(tenant.as_ref()), issuer.as_str().as_bytes(), kind, name.as_bytes()])
}

fn whose(tenant: Option<&TenantId>) -> &[u8] {
    tenant.map_or(b"suite".as_slice(), |tenant| tenant.as_bytes())
}

fn id_of(parts: &[&[u8]]) -> FlowId {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *TokenDigest::of(&parts.concat()).as_bytes();
    FlowId::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}
