//! A request's end: what monitoring, the collector and the access log are told of it, once, whichever way it ended.

use std::sync::Arc;

use http::Method;
use pingora::http::RequestHeader;
use pingora::prelude::Session as Exchange;

use super::{Edge, Passage};
use crate::config::AccessLines;
use crate::edge::access_log::{self, AccessLog, Combined, Record};
use crate::edge::reasons::Reason;
use crate::edge::traces::{About, Spans};
use crate::machine::civil_time;
use crate::portal::metrics::Finished;
use crate::session::Liveness;

/// What is known of a request at its end, besides what it carried along.
struct End<'a> {
    method: &'a Method,
    target: &'a [u8],
    status: u16,
    bytes_in: u64,
    bytes_out: u64,
}

/// What is told of a request that is cut: it comes to no end of its own, at which it would be told of.
pub(in crate::edge) struct Cut {
    log: AccessLog,
    spans: Option<Arc<Spans>>,
    method: Method,
    path: Box<[u8]>,
    combined: Option<Box<Combined>>,
    /// Of the answer, once it has begun.
    pub(super) status: u16,
}

impl Cut {
    pub(super) fn of(edge: &Edge, passage: &Passage, head: &RequestHeader) -> Self {
        let (method, path) = (access_log::method(&head.method), access_log::path(head.raw_path()));
        let (log, spans) = (edge.log.clone(), edge.spans.clone());
        Self { log, spans, method, path, combined: combined(passage, head), status: 0 }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Some((_, cut)) = self.held.take() else { return };
        let portal = &self.generation.portal;
        let lives = |session| portal.sessions.liveness(session, portal.clock.now()) == Liveness::Live;
        let stopped = self.session.as_deref().is_some_and(lives);
        self.reason = Some(if stopped { Reason::Stopped } else { Reason::SessionEnded });
        let Cut { log, spans, method, path, combined, status } = *cut;
        let (bytes_in, bytes_out) = (self.body_bytes, 0);
        let end = End { method: &method, target: &path, status, bytes_in, bytes_out };
        self.tell(&log, spans.as_deref(), &end, |_| combined);
    }
}

impl Edge {
    /// Tells of a request that has come to its end.
    pub(super) fn tell_of_end(&self, exchange: &Exchange, passage: &mut Passage) {
        if let Some(stream) = &passage.stream
            && self.still_lives(passage).is_err()
        {
            // Its application's connection was shut down, and pingora may have taken that for a good end.
            let why = if stream.was_let_go() { Reason::Stopped } else { Reason::SessionEnded };
            passage.reason = passage.reason.or(Some(why));
        }
        // From here on nothing is awaited that it could be cut at, so that it is told of once. pingora still writes the client's
        // last bytes; the application's connection may be another request's by then, and is not ours to end.
        (passage.held, passage.stream, passage.listening) = (None, None, None);
        let head = exchange.req_header();
        let end = End {
            method: &head.method,
            target: head.raw_path(),
            status: exchange.response_written().map_or(0, |answer| answer.status.as_u16()),
            bytes_in: exchange.body_bytes_read() as u64,
            bytes_out: exchange.body_bytes_sent() as u64,
        };
        passage.tell(&self.log, self.spans.as_deref(), &end, |passage| combined(passage, head));
    }
}

impl Passage {
    fn tell(
        &mut self,
        log: &AccessLog,
        spans: Option<&Spans>,
        end: &End<'_>,
        combined: impl FnOnce(&Self) -> Option<Box<Combined>>,
    ) {
        let End { method, target, status, bytes_in, bytes_out } = *end;
        let (decision, reason, took) = (self.decision, self.reason.map(Reason::name), self.began.elapsed());
        let finished = Finished { decision, reason, status, took, bytes_in, bytes_out };
        self.generation.portal.metrics.request(self.place.as_ref(), finished);
        if let (Some(spans), Some(trace)) = (spans, &self.trace) {
            spans.tell(
                trace,
                &About {
                    id: self.request,
                    method,
                    path: access_log::without_query(target),
                    zone: self.zone.as_ref().map(|zone| zone.host.as_str()),
                    address: self.address,
                    status,
                    decision,
                    reason,
                    began: self.began,
                    ended: civil_time(),
                },
            );
        }
        let combined = match self.generation.settings.log.access {
            AccessLines::Off => return,
            AccessLines::Json | AccessLines::Combined => combined(self),
        };
        log.write(Record {
            at: self.now,
            request: self.request,
            zone: self.zone.take(),
            session: self.session.take(),
            address: self.address,
            method: access_log::method(method),
            path: access_log::path(target),
            status,
            decision,
            reason,
            rule: self.rule.take(),
            took,
            bytes_in,
            bytes_out,
            combined,
        });
    }
}

/// What a line in this form has beside the others'.
fn combined(passage: &Passage, head: &RequestHeader) -> Option<Box<Combined>> {
    match passage.generation.settings.log.access {
        AccessLines::Off | AccessLines::Json => None,
        AccessLines::Combined => Some(Combined::of(head.version, &head.headers)),
    }
}
