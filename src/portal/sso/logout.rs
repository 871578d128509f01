//! Log-outs that a provider takes part in: told by it, over the back channel or through the browser, and telling it.
//!
//! A provider ends sessions that its own word began, of its own tenant, and no others: a local session of the same
//! person stays (R117). What we end ourselves is ended before anybody else is asked, so that a provider which is down
//! keeps nothing alive (O15).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use url::Url;

use super::super::answer::{Answer, framed_by, html, json, see_other};
use super::super::form::Form;
use super::super::{Portal, Visit, cookies};
use super::{Company, Failed, Refused, address, query};
use crate::base::{BrowserToken, FlowId, TokenDigest};
use crate::session::{EndReason, Method, Session};
use crate::sso::LogoutToken;
use crate::store::{ProviderSession, StoreFault};
use crate::table::SessionFault;
use crate::telemetry::{Actor, EventKind, SecurityEvent};

/// `POST /.zonegate/sso/{tenant}/backchannel-logout` (OpenID Connect Back-Channel Logout 1.0 section 2.5).
pub(super) async fn back_channel(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    company: Company,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let form = Form::read(&headers, body, portal.settings.limits.form_bytes_max).await;
    let token = form.as_ref().ok().and_then(|form| form.field("logout_token")).unwrap_or_default();
    let refused = match portal.told_to_end(&company, token, &visit).await {
        Ok(()) => return json(StatusCode::OK, &serde_json::json!({})),
        Err(Failed::Refused(refused)) => refused,
        Err(Failed::Trouble(trouble)) => return portal.trouble(&visit, &headers, &trouble),
    };
    if let Err(fault) = portal.note_refused(&visit, &company, &refused).await {
        return portal.store_fault(&visit, &headers, &fault);
    }
    // The specification's answer, whatever was wrong: who sends forgeries learns nothing of it.
    json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": "invalid_request" }))
}

/// `GET /.zonegate/sso/{tenant}/frontchannel-logout?iss=…&sid=…`, which the provider's page shows in a frame (OpenID
/// Connect Front-Channel Logout 1.0 section 2). Browsers send no cookie with it: the provider's session is what counts,
/// and both its parameters must be there (SEC-R52).
pub(super) async fn front_channel(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    company: Company,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let issuer = &company.provider.settings.issuer;
    let sid = query(&uri, "sid").filter(|sid| !sid.is_empty());
    let (Some(sid), true) = (sid, query(&uri, "iss").as_deref() == Some(issuer.as_str())) else {
        let refused = Refused::because("frontchannel_parameters");
        return match portal.note_refused(&visit, &company, &refused).await {
            Ok(()) => portal.refusal(&visit, &headers, StatusCode::BAD_REQUEST),
            Err(fault) => portal.store_fault(&visit, &headers, &fault),
        };
    };
    match portal.end_of_provider(&company, ProviderSession::Sid(&sid), &visit).await {
        Ok(()) => framed_by(html(StatusCode::OK, String::new()), &issuer.origin()),
        Err(fault) => portal.session_fault(&visit, &headers, &fault),
    }
}

/// `GET /.zonegate/sso/{tenant}/logged-out`: back from the provider's log-out. Whoever did not set out from here sees
/// the log-in page like everybody else, and no word on it (SEC-R50).
pub(super) async fn back_again(
    State(portal): State<Arc<Portal>>,
    company: Company,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let ours = query(&uri, "state")
        .zip(cookies::browser(&headers))
        .is_some_and(|(state, browser)| portal.logout_state.holds(&state, &company.zone.host, &browser));
    see_other(if ours { "/.zonegate/login?reason=logged_out" } else { "/.zonegate/login?with=username" })
}

impl Portal {
    async fn told_to_end(&self, company: &Company, text: &str, visit: &Visit) -> Result<(), Failed> {
        let settings = &company.provider.settings;
        let token = self.providers.logout_token(settings, text, visit.now).await?;
        // A token is obeyed once: one that is sent again later would end sessions that began since.
        if !self.store.spend(once(company, &token), token.acceptable_until()).await? {
            return Err(Refused::because("logout_token_replayed").into());
        }
        // With both, the session decides: the subject's others are not meant (OpenID Connect Back-Channel Logout 1.0
        // section 2.6).
        let who = match (token.sid(), token.subject()) {
            (Some(sid), _) => ProviderSession::Sid(sid),
            (None, Some(subject)) => ProviderSession::Subject(subject),
            (None, None) => return Err(Refused::because("logout_token_names_nobody").into()),
        };
        Ok(self.end_of_provider(company, who, visit).await?)
    }

    /// Ends the sessions that the tenant's provider began, by its own session or its subject.
    async fn end_of_provider(
        &self,
        company: &Company,
        who: ProviderSession<'_>,
        visit: &Visit,
    ) -> Result<(), SessionFault> {
        let (tenant, issuer) = (company.tenant.id, &company.provider.settings.issuer);
        let reason = EndReason::LoggedOut;
        for (user, session) in self.store.provider_sessions(Some(tenant), issuer, who).await? {
            let event = SecurityEvent {
                request: Some(visit.request),
                zone: Some(company.zone.host.clone()),
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

    async fn note_refused(&self, visit: &Visit, company: &Company, refused: &Refused) -> Result<(), StoreFault> {
        let event = SecurityEvent {
            request: Some(visit.request),
            zone: Some(company.zone.host.clone()),
            tenant: Some(company.tenant.id),
            address: Some(visit.address),
            reason: Some(refused.reason),
            detail: refused.detail.clone(),
            ..SecurityEvent::new(EventKind::RequestForged, Actor::Stranger, visit.now)
        };
        self.strangers.note(event).await
    }

    /// Where the browser of somebody who has logged out here logs out at their provider as well, if the tenant wants
    /// that (R118). `None` also when the provider cannot be asked where: the person is logged out here all the same.
    pub(in crate::portal) async fn provider_log_out(
        &self,
        visit: &Visit,
        session: &Session,
        browser: Option<&BrowserToken>,
    ) -> Option<Url> {
        match self.end_session_url(visit, session, browser).await {
            Ok(url) => url,
            Err(failed) => {
                tracing::warn!(?failed, session = %session.id, "the log-out did not reach the provider");
                None
            }
        }
    }

    async fn end_session_url(
        &self,
        visit: &Visit,
        session: &Session,
        browser: Option<&BrowserToken>,
    ) -> Result<Option<Url>, Failed> {
        let (Method::Sso, Some(browser)) = (session.method, browser) else { return Ok(None) };
        let Some(company) = self.company(visit, &session.terms.tenant_slug).await? else { return Ok(None) };
        let settings = &company.provider.settings;
        let Some(at_provider) = self.store.provider_session(session.id).await? else { return Ok(None) };
        if !settings.logout || at_provider.issuer != settings.issuer {
            return Ok(None);
        }
        let metadata = self.providers.metadata(settings).await?;
        let Some(mut url) = metadata.end_session_endpoint.clone() else { return Ok(None) };
        let back = format!("{}{}/logged-out", company.zone.origin, address(&company.tenant.slug));
        let mut query = url.query_pairs_mut();
        query
            .append_pair("client_id", &settings.client_id)
            .append_pair("post_logout_redirect_uri", &back)
            .append_pair("state", &self.logout_state.token(&company.zone.host, browser));
        if let Some(hint) = &at_provider.id_token {
            query.append_pair("id_token_hint", hint.reveal());
        }
        drop(query);
        Ok(Some(url))
    }
}

/// What is spent when a log-out token is obeyed: its `jti`, which is its issuer's own.
fn once(company: &Company, token: &LogoutToken) -> FlowId {
    let text = [company.tenant.id.as_bytes().as_slice(), token.jti().as_bytes()].concat();
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *TokenDigest::of(&text).as_bytes();
    FlowId::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}
