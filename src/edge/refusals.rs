//! What a client is told that is not let through: by the proxy here, or by one in front that asked.

use http::header::{HeaderMap, SET_COOKIE};
use http::{Method, StatusCode};

use crate::gate::{Challenge, ChallengeReason, Client, Forbidden};
use crate::portal::answer::{self, Answer};
use crate::portal::login::LOGIN;
use crate::portal::{Portal, Visit, cookies};
use crate::session::Ended;
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

/// A request as its client sent it, wherever it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub(super) method: &'a Method,
    /// Raw path and query.
    pub(super) target: &'a [u8],
    pub(super) headers: &'a HeaderMap,
}

/// Where a navigation logs in and comes back from: a path on the zone's own host. `ended`: the session that did.
pub(super) fn login(target: &[u8], ended: Option<Ended>) -> String {
    let target = String::from_utf8_lossy(target);
    let mut location = format!("{LOGIN}?return_to=");
    location.extend(url::form_urlencoded::byte_serialize(target.as_bytes()));
    if let Some(ended) = ended {
        location.push('&');
        location.push_str(&ended.query());
    }
    location
}

/// The client must log in: people are taken there, programs are told.
///
/// `base`: what the log-in's address begins with; nothing where the client resolves it itself.
pub(super) fn challenge(
    portal: &Portal,
    visit: &Visit,
    sent: Sent<'_>,
    challenge: Challenge<'_>,
    base: &str,
) -> Answer {
    let Challenge { zone, client, reason } = challenge;
    let Sent { method, target, headers } = sent;
    let unsafe_form = method != Method::GET
        && method != Method::HEAD
        && answer::wants_html(headers)
        && !headers.contains_key("x-requested-with");
    let mut answer = match client {
        Client::Navigation => answer::see_other(&format!("{base}{}", login(target, visit.ended))),
        Client::Program if unsafe_form => portal.refusal(visit, headers, StatusCode::UNAUTHORIZED),
        Client::Program => {
            let login_url = format!("{}{LOGIN}", zone.origin);
            let told = serde_json::json!({
                "error": "unauthenticated", "reason": reason.name(), "login_url": login_url,
            });
            answer::json(StatusCode::UNAUTHORIZED, &told)
        }
    };
    // Only a person has been told once they have the page. A script in the background must not use up the cookie
    // that lets the person's next page say why the session ended (R86), nor overtake a log-in in another tab.
    if client == Client::Navigation && reason != ChallengeReason::NoSession {
        answer.headers_mut().append(SET_COOKIE, cookies::clear_session());
    }
    portal.secure(answer)
}

/// A person, the visit's, whom a rule did not let through is a line in the security log (SEC-R87). Strangers on a closed
/// path are in the access log alone: scanners would fill the other.
pub(super) async fn note_denial(portal: &Portal, visit: &Visit, rule: &str) {
    let Some(session) = &visit.session else { return };
    let event = SecurityEvent {
        reason: Some(Forbidden::REASON),
        detail: Some(Snippet::of(rule)),
        ..visit.event(session, EventKind::AccessDenied)
    };
    if let Err(fault) = portal.denials.note(event).await {
        tracing::error!(%fault, "a refusal is not in the security log");
    }
}
