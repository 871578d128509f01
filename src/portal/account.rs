//! My settings: who I am, here and at providers, my sessions, and ending them (P13; R6, R86, SEC-R36).
//!
//! Ending somebody's sessions is what a thief would do first, so that it wants a proof of who is asking ([`confirm`]).
//! A session's id of another person is answered like one that nobody has.
//!
//! [`confirm`]: super::confirm

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::answer::{Answer, done, html, outward, page_status, see_other};
use super::person::Person;
use super::{Portal, Visit, cookies};
use crate::base::{SessionId, UserId};
use crate::directory::{SecurityLevel, SsoScope, Tenant};
use crate::pages::{AccountPage, LinkView, Page, SessionRow};
use crate::session::{EndReason, Session};
use crate::sso::{Audience, Issuer};
use crate::store::{LinkRow, StoreFault};
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

/// "My settings".
pub(super) const ACCOUNT: &str = "/.zonegate/account";

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new()
        .route(ACCOUNT, get(show))
        .route("/.zonegate/account/sessions", post(end_sessions))
        .route("/.zonegate/account/links", post(unlink))
}

async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    match portal.person(&visit, &headers) {
        Ok(person) => {
            let done = query.as_deref().and_then(|query| query.strip_prefix("done="));
            portal.account_page(&visit, &person, &headers, done.and_then(notice), None).await
        }
        Err(answer) => answer,
    }
}

/// What the page says after something was done, by its name in the address.
fn notice(done: &str) -> Option<&'static str> {
    match done {
        "ended" => Some("account.ended"),
        "others" => Some("account.ended.others"),
        "unlinked" => Some("account.unlinked"),
        "authenticator" => Some("account.newqr.done"),
        "enrolled" => Some("account.newqr.first.done"),
        _ => None,
    }
}

async fn end_sessions(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.end_sessions(&visit, &headers, body).await
}

async fn unlink(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.unlink(&visit, &headers, body).await
}

impl Portal {
    async fn account_page(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        notice: Option<&'static str>,
        error: Option<&'static str>,
    ) -> Answer {
        let session = &person.session;
        let account = match self.store.account_by_id(session.user).await {
            Ok(Some(account)) => account,
            Ok(None) => return self.refusal(visit, headers, StatusCode::NOT_FOUND),
            Err(fault) => return self.store_fault(visit, headers, &fault),
        };
        let links = match self.store.links_of(session.user).await {
            Ok(links) => links,
            Err(fault) => return self.store_fault(visit, headers, &fault),
        };
        let (csrf, fresh_browser) = match self.form_token(visit, person, headers) {
            Ok(token) => token,
            Err(answer) => return answer,
        };
        let own_issuer = match self.own_issuer(&account.tenant).await {
            Ok(issuer) => issuer,
            Err(fault) => return self.store_fault(visit, headers, &fault),
        };
        let confirmation = self.confirmation(&person.session, &account, visit, ACCOUNT);
        let slots = self.settings.security.with(&account.tenant.overrides).slots;
        let page = AccountPage {
            username: account.user.username.as_str(),
            display_name: &account.user.display_name,
            email: account.user.email.as_deref(),
            company: &account.tenant.name,
            sessions: self.sessions.of_user(session.user, visit.now).iter().map(|s| row(s, session.id)).collect(),
            slots: (slots.web.get(), slots.mobile.get()),
            // Whoever logs in elsewhere is asked for no code here, and could not confirm a new authenticator (R68).
            enrolled: self.has_password_that_counts(&account).then_some(account.totp.is_some()),
            links: links
                .into_iter()
                .map(|link| self.link_view(link, &account.tenant, own_issuer.as_ref()))
                .collect(),
            administers: account.user.level == SecurityLevel::Admin,
            confirm: confirmation.shown(),
            csrf: &csrf,
            notice,
            error,
        };
        let mut answer = html(page_status(error), page.html(&self.chrome(visit, headers)));
        if let Some(browser) = fresh_browser {
            answer.headers_mut().append(SET_COOKIE, cookies::set_browser(&browser));
        }
        // Log Out may lead to the provider.
        outward(answer)
    }

    /// Who the tenant's own provider is, where there is one.
    async fn own_issuer(&self, tenant: &Tenant) -> Result<Option<Issuer>, StoreFault> {
        Ok(self.store.provider(tenant.id).await?.map(|provider| provider.settings.issuer))
    }

    fn link_view(&self, link: LinkRow, tenant: &Tenant, own_issuer: Option<&Issuer>) -> LinkView {
        let suite = self.settings.suite.as_ref();
        let suite = suite.filter(|suite| link.audience == Audience::Suite && link.issuer == suite.settings.issuer);
        LinkView {
            removable: is_removable(tenant, own_issuer, &link),
            field: field(link.audience),
            name: suite.map_or_else(|| link.issuer.as_str().to_owned(), |suite| suite.name.clone()),
            issuer: link.issuer.into(),
            subject: link.subject.into(),
            linked_at: link.linked_at,
        }
    }

    async fn end_sessions(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let person = self.person(visit, headers)?;
        let form = self.form(visit, &person, headers, body).await?;
        let (user, own) = (person.session.user, person.session.id);
        let others = form.field("action") == Some("others");
        let live = self.sessions.of_user(user, visit.now);
        let named = form.field("session").unwrap_or_default();
        let chosen = live.iter().map(|session| session.id).find(|id| id.to_string() == named);
        // The password is asked whatever was chosen: the answer must not tell which ids exist.
        if let Some(error) = self.unconfirmed(visit, &person, headers, &form).await? {
            return Ok(self.account_page(visit, &person, headers, None, Some(error)).await);
        }
        let (reason, event) = (EndReason::Revoked, ended(&person, visit));
        let end = match (others, chosen) {
            (true, _) => self.sessions.end_others(user, own, reason, &event).await,
            (false, Some(id)) => {
                let event = SecurityEvent { session: Some(id), ..event };
                self.sessions.end(user, &[id], reason, &[event], visit.now).await
            }
            (false, None) => Ok(()),
        };
        end.map_err(|fault| self.session_fault(visit, headers, &fault))?;
        Ok(done(ACCOUNT, if others { "others" } else { "ended" }))
    }

    async fn unlink(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let person = self.person(visit, headers)?;
        let form = self.form(visit, &person, headers, body).await?;
        let again = async |error| Ok(self.account_page(visit, &person, headers, None, Some(error)).await);
        if let Some(error) = self.unconfirmed(visit, &person, headers, &form).await? {
            return again(error).await;
        }
        let user = person.session.user;
        let account = self.store.account_by_id(user).await;
        let account = account.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let links = self.store.links_of(user).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let named = |link: &LinkRow| form.field(field(link.audience)) == Some(link.issuer.as_str());
        let link = links.into_iter().find(named);
        let Some((account, link)) = account.zip(link) else { return Ok(see_other(ACCOUNT)) };
        let own_issuer = self.own_issuer(&account.tenant).await;
        let own_issuer = own_issuer.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        if !is_removable(&account.tenant, own_issuer.as_ref(), &link) {
            return again("account.unlinked.not").await;
        }
        let detail = Some(Snippet::of(link.issuer.as_str()));
        let event = SecurityEvent { detail, ..person.event(visit, EventKind::AccountUnlinked) };
        let unlinked = self.remove_link(user, link.audience, &link.issuer, &event).await;
        unlinked.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        Ok(done(ACCOUNT, "unlinked"))
    }

    /// Removes a link, and ends the sessions that began there: here as well as in the store, before anything is answered.
    pub(super) async fn remove_link(
        &self,
        user: UserId,
        audience: Audience,
        issuer: &Issuer,
        event: &SecurityEvent,
    ) -> Result<(), StoreFault> {
        self.store.unlink(user, audience, issuer, event).await?;
        self.sessions.tail().await
    }
}

/// The field of the form that names the issuer of a link. One issuer may be both, the company's own provider and the
/// suite: who removes one of the two links must not lose the other.
const fn field(audience: Audience) -> &'static str {
    match audience {
        Audience::Tenant => "issuer",
        Audience::Suite => "suite_issuer",
    }
}

/// Whether people may remove a link of theirs themselves. `own_issuer`: the provider that the tenant has now.
///
/// *Why not where single sign-on is for selected users?* The link is what selects them. Who removes it would get in with
/// a password again, past what the company has decided (R8). One at a former provider selects nobody.
fn is_removable(tenant: &Tenant, own_issuer: Option<&Issuer>, link: &LinkRow) -> bool {
    match (link.audience, tenant.sso) {
        (Audience::Suite, _) | (Audience::Tenant, SsoScope::Off | SsoScope::All) => true,
        (Audience::Tenant, SsoScope::Selected) => own_issuer != Some(&link.issuer),
    }
}

/// What the log says of a session that the person ended, whichever it was.
fn ended(person: &Person, visit: &Visit) -> SecurityEvent {
    SecurityEvent { reason: Some(EndReason::Revoked.name()), ..person.event(visit, EventKind::SessionEnded) }
}

/// One line of a list of sessions.
pub(super) fn row(session: &Session, current: SessionId) -> SessionRow {
    SessionRow {
        id: session.id.to_string(),
        device: session.device_label().to_owned(),
        address: session.device_address().to_owned(),
        class: session.class,
        started_at: session.started_at,
        last_seen: session.last_seen(),
        current: session.id == current,
    }
}
