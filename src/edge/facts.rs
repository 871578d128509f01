//! What a request is: read once, before anything is decided.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use super::fields::Fields;
use crate::base::{SessionToken, UnixTime};
use crate::gate::{Client, Facts, Presented};
use crate::portal::cookies::{self, Sent};
use crate::session::{Ended, Liveness, Session};
use crate::table::Sessions;
use crate::zone::{HostMatch, Zone, ZoneTable};

/// What answers under `host`, which may be written in any case and with a trailing dot.
pub fn find_host<'a>(zones: &'a ZoneTable, host: &str) -> HostMatch<'a> {
    if host.ends_with('.') || host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return zones.find(&host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase());
    }
    zones.find(host)
}

/// What came in our session cookie: the owner of what [`Presented`] lends to the gate.
#[derive(Debug)]
pub(super) enum Cookie {
    /// As [`Presented::Nothing`].
    Nothing,
    /// As [`Presented::Unreadable`].
    Unreadable,
    /// As [`Presented::Unknown`].
    Unknown,
    /// As [`Presented::Session`].
    Session(Arc<Session>),
}

impl Cookie {
    pub(super) fn read(headers: &HeaderMap, sessions: &Sessions) -> Self {
        match cookies::sent(headers, cookies::SESSION) {
            Sent::Nothing => Self::Nothing,
            Sent::Several => Self::Unreadable,
            Sent::One(value) => match SessionToken::parse(value) {
                None => Self::Unreadable,
                Some(token) => sessions.find(&token).map_or(Self::Unknown, Self::Session),
            },
        }
    }

    pub(super) const fn presented(&self) -> Presented<'_> {
        match self {
            Self::Nothing => Presented::Nothing,
            Self::Unreadable => Presented::Unreadable,
            Self::Unknown => Presented::Unknown,
            Self::Session(session) => Presented::Session(session),
        }
    }
}

/// What the client can make use of when it is not let through.
///
/// A navigation is what a browser says is one. A client that says nothing is taken at its word when it wants HTML.
pub(super) fn client(method: &Method, fields: &Fields<'_>) -> Client {
    if method != Method::GET && method != Method::HEAD {
        return Client::Program;
    }
    if fields.requested_with.first().is_some() || fields.asks_for_websocket() {
        return Client::Program;
    }
    match fields.fetch_modes.first().map(http::HeaderValue::as_bytes) {
        Some(b"navigate") => Client::Navigation,
        Some(_) => Client::Program,
        None if crate::portal::answer::wants_html(fields.all) => Client::Navigation,
        None => Client::Program,
    }
}

/// What a request asks for that the gate does not decide about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// An answer that may go on for as long as the session does: a WebSocket, or an event stream. Whether it is one, the
    /// answer says.
    pub(super) stream: bool,
    /// A WebSocket.
    pub(super) websocket: bool,
    /// What is said of the body's length.
    pub(super) body_length: Option<u64>,
}

impl Wishes {
    pub(super) fn of(method: &Method, fields: &Fields<'_>) -> Self {
        let websocket = fields.asks_for_websocket();
        let events = |accepted: &http::HeaderValue| names_event_stream(accepted.as_bytes());
        // An event stream is what a GET without a body asks for.
        let stream = websocket || (*method == Method::GET && fields.accepted.first().is_some_and(events));
        Self { stream, websocket, body_length: fields.body_length() }
    }
}

/// Whether `text/event-stream` is among what is accepted. Found by its dash, which is rare there: a search for the whole
/// text costs more than twice as much, and every request pays for it.
fn names_event_stream(accepted: &[u8]) -> bool {
    memchr::memchr_iter(b'-', accepted).any(|dash| {
        let (before, after) = accepted.split_at_checked(dash).unwrap_or_default();
        before.ends_with(b"text/event") && after.starts_with(b"-stream")
    })
}

/// Whether an answer is an event stream.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let essence = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Why the session that was presented for this zone has ended.
pub(super) fn ended(facts: &Facts<'_>, zone: &Zone, now: UnixTime) -> Option<Ended> {
    let session = presented_for(facts, zone)?;
    match session.liveness(now) {
        Liveness::Ended(reason) => Some(Ended { reason, idle_max: session.terms.lifetimes.idle_max }),
        Liveness::Live => None,
    }
}

/// The session that was presented for this zone, live or not.
pub(super) fn presented_for<'a>(facts: &Facts<'a>, zone: &Zone) -> Option<&'a Arc<Session>> {
    match facts.presented {
        Presented::Session(session) => Some(session).filter(|session| session.terms.zone == zone.host),
        Presented::Nothing | Presented::Unreadable | Presented::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn check(method: &str, fields: &[(&'static str, &str)], want: Client) {
        let field = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let headers = fields.iter().map(field).collect();
        assert_eq!(client(&method.parse().unwrap(), &Fields::of(&headers)), want, "{method} {fields:?}");
    }

    #[test]
    fn only_a_navigation_is_ever_redirected() {
        let browser = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        check("GET", &[browser], Client::Navigation);
        check("GET", &[browser, ("sec-fetch-mode", "navigate")], Client::Navigation);
        check("HEAD", &[browser], Client::Navigation);
        check("POST", &[browser, ("sec-fetch-mode", "navigate")], Client::Program);
        check("GET", &[browser, ("sec-fetch-mode", "cors")], Client::Program);
        check("GET", &[browser, ("x-requested-with", "XMLHttpRequest")], Client::Program);
        check("GET", &[("accept", "*/*")], Client::Program);
        check("GET", &[("accept", "application/json")], Client::Program);
        check("GET", &[("sec-fetch-mode", "navigate"), ("upgrade", "websocket")], Client::Program);
        check("GET", &[], Client::Program);
    }

    #[test]
    fn an_event_stream_is_found_wherever_it_is_accepted() {
        for accepted in ["text/event-stream", "text/html, text/event-stream;q=0.5", "a/b-c,text/event-stream"] {
            assert!(names_event_stream(accepted.as_bytes()), "{accepted}");
        }
        for other in
            ["", "*/*", "text/html", "text/event", "event-stream", "-", "text/event--stream", "text/events-stream"]
        {
            assert!(!names_event_stream(other.as_bytes()), "{other}");
        }
    }
}
