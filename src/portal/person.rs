//! Who is asking, and may this form be believed: the questions that every page of a signed-in person asks first.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json, see_other, wants_html};
use super::form::Form;
use super::verifier::{Attempt, VerifyFault};
use super::{Portal, Realm, Visit, cookies, csrf};
use crate::base::BrowserToken;
use crate::machine::random;
use crate::session::{Liveness, Session};
use crate::store::StoreFault;
use crate::table::SessionFault;
use crate::telemetry::{EventKind, SecurityEvent};
use crate::zone::Zone;

/// A signed-in person at one of our pages.
pub(super) struct Person {
    pub(super) zone: Arc<Zone>,
    pub(super) session: Arc<Session>,
}

impl Person {
    /// An event about this person, in their own name.
    pub(super) fn event(&self, visit: &Visit, kind: EventKind) -> SecurityEvent {
        visit.event(&self.session, kind)
    }

    /// What the verifier must know of an attempt to prove who this is once more.
    pub(super) fn attempt<'a>(&'a self, visit: &Visit) -> Attempt<'a> {
        Attempt {
            zone: &self.zone.host,
            class: self.session.class,
            address: visit.address,
            request: visit.request,
            now: visit.now,
        }
    }
}

impl Portal {
    /// The person whose session the request proves; else what to answer.
    pub(super) fn person(&self, visit: &Visit, headers: &HeaderMap) -> Result<Person, Answer> {
        let Realm::Zone(zone) = &visit.realm else {
            return Err(self.refusal(visit, headers, StatusCode::NOT_FOUND));
        };
        if visit.unsure {
            return Err(self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE));
        }
        // A form takes its time to arrive, and its session may have ended since.
        match visit.session.as_ref().filter(|session| session.liveness(visit.now) == Liveness::Live) {
            Some(session) => Ok(Person { zone: Arc::clone(zone), session: Arc::clone(session) }),
            None => Err(unauthenticated(visit, zone, headers)),
        }
    }

    /// A form that the person sent from our own page in their own browser. Anything else is refused and logged.
    pub(super) async fn form(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Form, Answer> {
        self.form_up_to(self.settings.limits.form_bytes_max, visit, person, headers, body).await
    }

    /// The same, of a size that is not the usual one.
    pub(super) async fn form_up_to(
        &self,
        bytes_max: usize,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Form, Answer> {
        let refuse = |status| self.refusal(visit, headers, status);
        let ours = csrf::came_from(headers, &person.zone.origin);
        let form = match ours {
            true => Form::read(headers, body, bytes_max).await.map_err(refuse)?,
            false => return Err(self.forged_by(visit, person, headers, "foreign_origin").await),
        };
        let browser = cookies::browser(headers);
        if browser.is_some_and(|browser| {
            self.csrf.holds(form.field("csrf").unwrap_or_default(), &person.zone.host, &browser)
        }) {
            Ok(form)
        } else {
            Err(self.forged_by(visit, person, headers, "foreign_form").await)
        }
    }

    /// The answer to a form that somebody else made the browser send.
    pub(super) async fn forged_by(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
        reason: &'static str,
    ) -> Answer {
        let event = SecurityEvent { reason: Some(reason), ..person.event(visit, EventKind::RequestForged) };
        if let Err(fault) = self.store.append_event(&event).await {
            return self.store_fault(visit, headers, &fault);
        }
        self.refusal(visit, headers, StatusCode::FORBIDDEN)
    }

    /// The token for this person's forms, and the browser cookie to set when there is none yet.
    pub(super) fn form_token(
        &self,
        visit: &Visit,
        person: &Person,
        headers: &HeaderMap,
    ) -> Result<(String, Option<BrowserToken>), Answer> {
        if let Some(browser) = cookies::browser(headers) {
            return Ok((self.csrf.token(&person.zone.host, &browser), None));
        }
        let bytes = random().map_err(|fault| {
            tracing::error!(%fault, "no form can be made");
            self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE)
        })?;
        let browser = BrowserToken::from_bytes(bytes);
        Ok((self.csrf.token(&person.zone.host, &browser), Some(browser)))
    }

    /// The answer when the store does not do what it must.
    pub(super) fn store_fault(&self, visit: &Visit, headers: &HeaderMap, fault: &StoreFault) -> Answer {
        tracing::error!(%fault, request = %visit.request, "the store failed");
        self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The answer when a session could not be ended.
    pub(super) fn session_fault(&self, visit: &Visit, headers: &HeaderMap, fault: &SessionFault) -> Answer {
        tracing::error!(%fault, request = %visit.request, "a session could not be changed");
        self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The answer when a password or code could not be checked.
    pub(super) fn verify_fault(&self, visit: &Visit, headers: &HeaderMap, fault: &VerifyFault) -> Answer {
        tracing::error!(%fault, request = %visit.request, "nothing could be verified");
        self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// "Log in first": the log-in page for people, which says why; JSON for programs (design.md section 4).
pub(super) fn unauthenticated(visit: &Visit, zone: &Zone, headers: &HeaderMap) -> Answer {
    if wants_html(headers) {
        return match visit.ended {
            Some(ended) => see_other(&format!("/.zonegate/login?{}", ended.query())),
            None => see_other("/.zonegate/login"),
        };
    }
    let reason = visit.ended.map_or("no_session", |ended| ended.reason.name());
    json(
        StatusCode::UNAUTHORIZED,
        &serde_json::json!({
            "error": "unauthenticated",
            "reason": reason,
            "login_url": format!("{}/.zonegate/login", zone.origin),
        }),
    )
}
