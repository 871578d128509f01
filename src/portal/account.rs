//! My settings: who I am, my sessions, and ending them (P13; SEC-R36, R86).
//!
//! Ending somebody's sessions is what a thief would do first. So it needs the password, unless the person proved
//! who they are in the last ten minutes. A session's id of another person is answered like one that nobody has.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::answer::{Answer, html, see_other};
use super::form::Form;
use super::person::Person;
use super::verifier::Verdict;
use super::{Portal, Visit, cookies};
use crate::base::{SessionId, Ttl};
use crate::pages::{AccountPage, Page, SessionRow};
use crate::session::{EndReason, Session};
use crate::telemetry::{EventKind, SecurityEvent};

/// How long a log-in counts as a proof of who is asking.
const FRESH: Ttl = Ttl::seconds_const(10 * 60);

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route("/.zonegate/account", get(show)).route("/.zonegate/account/sessions", post(end_sessions))
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
        "authenticator" => Some("account.newqr.done"),
        _ => None,
    }
}

async fn end_sessions(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    match portal.end_sessions(&visit, &headers, body).await {
        Ok(answer) | Err(answer) => answer,
    }
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
        let (csrf, fresh_browser) = match self.form_token(visit, person, headers) {
            Ok(token) => token,
            Err(answer) => return answer,
        };
        let slots = self.settings.security.with(&account.tenant.overrides).slots;
        let page = AccountPage {
            username: account.user.username.as_str(),
            display_name: &account.user.display_name,
            email: account.user.email.as_deref(),
            company: &account.tenant.name,
            sessions: self.sessions.of_user(session.user, visit.now).iter().map(|s| row(s, session.id)).collect(),
            slots: (slots.web.get(), slots.mobile.get()),
            enrolled: account.totp.is_some(),
            reauthenticate: !is_fresh(&person.session, visit),
            csrf: &csrf,
            notice,
            error,
        };
        let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let mut answer = html(status, page.html(&self.chrome(visit, headers)));
        if let Some(browser) = fresh_browser {
            answer.headers_mut().append(SET_COOKIE, cookies::set_browser(&browser));
        }
        answer
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
        if !is_fresh(&person.session, visit)
            && let Some(error) = self.password_problem(visit, &person, headers, &form).await?
        {
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
        Ok(see_other(if others { "/.zonegate/account?done=others" } else { "/.zonegate/account?done=ended" }))
    }

    /// Asks for the person's password once more. `Some`: what to say; it was not right.
    async fn password_problem(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        form: &Form,
    ) -> Result<Option<&'static str>, Answer> {
        let user = person.session.user;
        let account =
            self.store.account_by_id(user).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let Some(account) = account else { return Ok(Some("m2")) };
        let attempt = person.attempt(visit);
        let verdict = self
            .verifier
            .check_password(&account.user.username, form.field("password").unwrap_or_default(), &attempt)
            .await;
        match verdict.map_err(|fault| self.verify_fault(visit, headers, &fault))? {
            Verdict::Right(found) if found.user.id == user => Ok(None),
            Verdict::Right(_) | Verdict::Wrong => Ok(Some("m2")),
            Verdict::Locked => Ok(Some("m3")),
        }
    }
}

fn is_fresh(session: &Session, visit: &Visit) -> bool {
    visit.now < session.authenticated_at.plus(FRESH)
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
