//! A request's end: what monitoring, the collector and the access log are told of it, once, whichever way it ended.

use http::Method;
use pingora::http::RequestHeader;
use pingora::prelude::Session as Exchange;

use super::{Edge, Passage};
use crate::config::AccessLines;
use crate::edge::access_log::{self, AccessLog, Combined, Record};
use crate::edge::traces::About;
use crate::machine::civil_time;
use crate::portal::metrics::Finished;

/// Of a request that ended with its session.
const SESSION_ENDED: &str = "session_ended";

/// What the log is told of a request that was cut: it came to no end of its own, at which it would have been logged.
pub(in crate::edge) struct Cut {
    log: AccessLog,
    method: Method,
    path: Box<[u8]>,
    combined: Option<Box<Combined>>,
    /// Of the answer, once it has begun.
    pub(super) status: u16,
}

impl Cut {
    pub(super) fn of(log: AccessLog, passage: &Passage, head: &RequestHeader) -> Self {
        let (method, path) = (access_log::method(&head.method), access_log::path(head.raw_path()));
        Self { log, method, path, combined: combined(passage, head), status: 0 }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Some((_, cut)) = self.held.take() else { return };
        let Cut { log, method, path, combined, status } = *cut;
        let (decision, reason, took) = (self.decision, Some(SESSION_ENDED), self.began.elapsed());
        let finished = Finished { decision, reason, status, took, bytes_in: self.body_bytes, bytes_out: 0 };
        self.generation.portal.metrics.request(self.place.as_ref(), finished);
        if matches!(self.generation.settings.log.access, AccessLines::Off) {
            return;
        }
        log.write(Record {
            at: self.now,
            request: self.request,
            zone: self.zone.take(),
            session: self.session.take(),
            address: self.address,
            method,
            path,
            status,
            decision,
            reason,
            rule: self.rule.take(),
            took,
            bytes_in: self.body_bytes,
            bytes_out: 0,
            combined,
        });
    }
}

impl Edge {
    /// Tells of a request that has come to its end.
    pub(super) fn tell_of_end(&self, exchange: &Exchange, passage: &mut Passage) {
        if passage.stream.is_some() && self.still_lives(passage).is_err() {
            // Its application's connection was shut down, and pingora may have taken that for a good end.
            passage.reason = passage.reason.or(Some(SESSION_ENDED));
        }
        // From here on nothing is awaited that it could be cut at, so that it is logged once. pingora still writes the client's
        // last bytes; the application's connection may be another request's by then, and is not ours to end.
        (passage.held, passage.awaited, passage.stream) = (None, None, None);
        let status = exchange.response_written().map_or(0, |answer| answer.status.as_u16());
        let took = passage.began.elapsed();
        let (bytes_in, bytes_out) = (exchange.body_bytes_read() as u64, exchange.body_bytes_sent() as u64);
        let Passage { decision, reason, .. } = *passage;
        let finished = Finished { decision, reason, status, took, bytes_in, bytes_out };
        passage.generation.portal.metrics.request(passage.place.as_ref(), finished);
        let head = exchange.req_header();
        if let (Some(spans), Some(trace)) = (&self.spans, &passage.trace) {
            spans.tell(
                trace,
                &About {
                    id: passage.request,
                    method: &head.method,
                    path: access_log::without_query(head.raw_path()),
                    zone: passage.zone.as_ref().map(|zone| zone.host.as_str()),
                    address: passage.address,
                    status,
                    decision,
                    reason,
                    began: passage.began,
                    ended: civil_time(),
                },
            );
        }
        let combined = match passage.generation.settings.log.access {
            AccessLines::Off => return,
            AccessLines::Json | AccessLines::Combined => combined(passage, head),
        };
        self.log.write(Record {
            at: passage.now,
            request: passage.request,
            zone: passage.zone.take(),
            session: passage.session.take(),
            address: passage.address,
            method: access_log::method(&head.method),
            path: access_log::path(head.raw_path()),
            status,
            decision,
            reason,
            rule: passage.rule.take(),
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
