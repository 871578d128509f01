//! One request's tries: whom it goes to, what is learnt when that fails, and whether it may go to another.
//!
//! The rules, from the strictest: a request whose connection could not be made has reached nobody, and may go to
//! another whatever it is. A request that was sent may be sent again only when its method may be repeated (RFC 9110
//! section 9.2.2), its body is still all there, and nothing of an answer has come. Three tries in all.
//!
//! *And after a time limit?* No. The client has waited that long already, and what hangs one backend hangs the next:
//! a request that is too expensive must not be handed round until it has stopped them all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use super::pool::{Choice, Member, Pool};
use super::standing::{Standing, now_ms};
use super::{Peers, hold_for_stream};
use crate::edge::streams::OpenStream;
use crate::zone::Zone;

/// The first try and two more.
const TRIES_MAX: u8 = 3;
/// How long the beginning of an answer is awaited over HTTP/2 while a body that may be long is on its way: there,
/// pingora counts from the request's head, and what is uploaded meanwhile does not count as a sign of life.
const UPLOAD_MAX: Duration = Duration::from_secs(3600);

/// What one request has tried.
#[derive(Debug, Default)]
pub(in crate::edge) struct Attempts {
    under_way: Option<UnderWay>,
    /// Who has failed it. Nearly always empty, and then no allocation.
    tried: Vec<Arc<Standing>>,
    count: u8,
}

/// What is known of a request that was broken off.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Broken {
    /// The connection had carried requests before: that it was closed is nobody's fault.
    pub(in crate::edge) reused: bool,
    /// Method and body allow it to be sent again, and nothing of an answer has come.
    pub(in crate::edge) repeatable: bool,
    /// The client had sent all of it. While it had not, a silence may be the client's.
    pub(in crate::edge) sent: bool,
}

/// A request that is with a backend.
#[derive(Debug)]
struct UnderWay(Choice);

impl UnderWay {
    fn new(choice: Choice) -> Self {
        choice.member.standing.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(choice)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.member.standing.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Attempts {
    /// The peer of the next try. `None` when there is nobody: no address is known, or none is left.
    ///
    /// `may_be_long`: the request has a body of more than a few pieces, or may have.
    pub(in crate::edge) fn next(
        &mut self,
        peers: &Peers,
        zone: &Zone,
        stream: Option<&Arc<OpenStream>>,
        may_be_long: bool,
    ) -> Option<Box<HttpPeer>> {
        self.under_way = None;
        let choice = peers.pool(zone)?.choose(&self.tried)?;
        let mut peer = Box::new(choice.member.template.clone());
        self.count += 1;
        self.under_way = Some(UnderWay::new(choice));
        match stream {
            Some(stream) => hold_for_stream(&mut peer, stream),
            None if may_be_long && zone.upstream.protocol.is_http2() => {
                peer.options.read_timeout = peer.options.read_timeout.map(|usual| usual.max(UPLOAD_MAX));
            }
            None => {}
        }
        Some(peer)
    }

    /// The head of the last answer came.
    pub(in crate::edge) fn answered(&self, peers: &Peers, zone: &Zone) {
        let Some(UnderWay(Choice { member, .. })) = &self.under_way else { return };
        member.metrics.answered.inc();
        if member.standing.answered()
            && let Some(pool) = peers.pool(zone)
        {
            tracing::info!(zone = %zone.host, backend = %member.template._address, "a backend answers again");
            pool.publish();
        }
    }

    /// No connection could be made: says in `error` whether the request goes to another.
    pub(in crate::edge) fn not_connected(&mut self, peers: &Peers, zone: &Zone, error: &mut Error) {
        error.set_retry(false);
        let (Some(UnderWay(choice)), Some(pool)) = (&self.under_way, peers.pool(zone)) else { return };
        let counter = if is_timeout(error) {
            &choice.member.metrics.timed_out
        } else {
            &choice.member.metrics.not_connected
        };
        counter.inc();
        // Out of sockets, for example: the next backend cannot be connected to either.
        if error.etype() == &ErrorType::InternalError {
            return;
        }
        if choice.member.standing.not_connected(now_ms(), choice.trial) {
            ejected(pool, &choice.member, error);
        }
        self.tried.push(Arc::clone(&choice.member.standing));
        error.set_retry(self.count < TRIES_MAX && pool.has_other(&self.tried));
    }

    /// The connection was there, and the request failed: says in `error` whether it is sent again.
    pub(in crate::edge) fn broke_off(&mut self, peers: &Peers, zone: &Zone, broken: Broken, error: &mut Error) {
        error.retry.decide_reuse(broken.reused);
        let asked = error.retry();
        error.set_retry(false);
        let (Some(UnderWay(choice)), Some(pool)) = (&self.under_way, peers.pool(zone)) else { return };
        if error.esource() != &ErrorSource::Upstream {
            return;
        }
        let late = is_timeout(error);
        let counter = if late { &choice.member.metrics.timed_out } else { &choice.member.metrics.broke_off };
        counter.inc();
        // A kept connection that was closed while it was not in use says nothing of the backend, but others like it may
        // be lying there: the same backend is as good as any.
        let stale = broken.reused && (asked || is_broken_connection(error));
        if !stale && (broken.sent || !late) {
            if choice.member.standing.broke_off(now_ms(), choice.trial) {
                ejected(pool, &choice.member, error);
            }
            self.tried.push(Arc::clone(&choice.member.standing));
        }
        let useful = stale || ((asked || is_broken_connection(error)) && pool.has_other(&self.tried));
        error.set_retry(broken.repeatable && !late && useful && self.count < TRIES_MAX);
    }
}

fn ejected(pool: &Pool, member: &Member, error: &Error) {
    member.metrics.ejections.inc();
    pool.publish();
    let why = error.etype().as_str();
    tracing::warn!(zone = %pool.zone.host, backend = %member.template._address, why, "a backend is left alone for a while");
}

fn is_timeout(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    )
}

/// The connection ended, or the backend said that it would; not: what came was no answer.
fn is_broken_connection(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError | ErrorType::H2Error
    )
}
