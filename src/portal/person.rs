//! Who is asking, and may this form be believed: the questions that every page of a signed-in person asks first.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answer::{Answer, json, see_other, wants_html};
use super::form::Form;
use super::login::{LOGIN, UNSENT};
use super::verifier::{Attempt, Verdict, VerifyFault};
use super::{Portal, Realm, Visit, cookies, csrf};
use crate::base::{BrowserToken, LocalPath};
use crate::machine::random;
use crate::session::{Ended, Liveness, Session};
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
            // What they send is a commit as a rule (D9); what others make their browser send uses nothing up.
            if !self.forms.allows(&person.session.user) {
                return Err(refuse(StatusCode::TOO_MANY_REQUESTS));
            }
            // Whoever sends a form is there, as much as whoever uses the application (D17).
            self.sessions.touch(&person.session, visit.now);
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
        if let Err(fault) = self.denials.note(event).await {
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
        let bytes = random().map_err(|fault| self.unavailable(visit, headers, "no form can be made", &fault))?;
        let browser = BrowserToken::from_bytes(bytes);
        Ok((self.csrf.token(&person.zone.host, &browser), Some(browser)))
    }

    /// The answer when our side failed: the log is told what, the client that.
    pub(super) fn unavailable(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        what: &'static str,
        fault: &dyn Display,
    ) -> Answer {
        tracing::error!(%fault, request = %visit.request, "{what}");
        self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The answer when the store does not do what it must.
    pub(super) fn store_fault(&self, visit: &Visit, headers: &HeaderMap, fault: &StoreFault) -> Answer {
        self.unavailable(visit, headers, "the store failed", fault)
    }

    /// The answer when a session could not be ended.
    pub(super) fn session_fault(&self, visit: &Visit, headers: &HeaderMap, fault: &SessionFault) -> Answer {
        self.unavailable(visit, headers, "a session could not be changed", fault)
    }

    /// What came of a password or code that a form of this person's carried, or else the id of what to say. `wrong`: that of a
    /// wrong one. Who is turned away for a moment is told so on the page that they are on: another one
    /// would lose what they have chosen there.
    pub(super) fn said_of<T>(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        verdict: Result<Verdict<T>, VerifyFault>,
        wrong: &'static str,
    ) -> Result<Result<T, &'static str>, Answer> {
        match verdict {
            Ok(Verdict::Right(right)) => Ok(Ok(right)),
            Ok(Verdict::Wrong) => Ok(Err(wrong)),
            Ok(Verdict::Locked) => Ok(Err("m3")),
            Err(VerifyFault::Shed(shed)) => Ok(Err(shed.text())),
            Err(fault @ (VerifyFault::Store(_) | VerifyFault::Pool(_))) => {
                Err(self.unavailable(visit, headers, "nothing could be verified", &fault))
            }
        }
    }
}

/// On the answer "log in first" to a person: what the log-in page is to say. Where it leads back to is written into it where
/// the address that was asked is known.
#[derive(Clone, Copy)]
struct LogInFirst {
    ended: Option<Ended>,
}

/// Writes that into such an answer. `path`: what was asked. `sent`: with a form, which counts for nothing now. What was typed
/// into it is gone, and the person has to know.
pub(super) fn lead_back(answer: &mut Answer, path: &str, sent: bool) {
    let Some(LogInFirst { ended }) = answer.extensions().get().copied() else { return };
    let page = LocalPath::returned_to(path).map(|page| format!("return_to={page}", page = page.as_str()));
    let words = [ended.map(Ended::query), sent.then(|| format!("{UNSENT}=1")), page];
    let query: Vec<_> = words.into_iter().flatten().collect();
    if let Ok(location) = HeaderValue::try_from(format!("{LOGIN}?{}", query.join("&")))
        && !query.is_empty()
    {
        answer.headers_mut().insert(header::LOCATION, location);
    }
}

/// "Log in first": the log-in page for people, which says why; JSON for programs.
pub(super) fn unauthenticated(visit: &Visit, zone: &Zone, headers: &HeaderMap) -> Answer {
    if wants_html(headers) {
        let mut answer = see_other(LOGIN);
        answer.extensions_mut().insert(LogInFirst { ended: visit.ended });
        return answer;
    }
    let reason = visit.ended.map_or("no_session", |ended| ended.reason.name());
    json(
        StatusCode::UNAUTHORIZED,
        &serde_json::json!({
            "error": "unauthenticated",
            "reason": reason,
            "login_url": format!("{}{LOGIN}", zone.origin),
        }),
    )
}
