//! One request's tries: whom it goes to, what is learnt when that fails, and whether it may go to another.
//!
//! The rules, from the strictest: a request whose connection could not be made has reached nobody, and may go to
//! another whatever it is. A request that was sent may be sent again only when its method may be repeated (RFC 9110
//! section 9.2.2), its body is still all there, and nothing of an answer has come. Three tries in all.
//!
//! *And when half an answer's head has come?* That counts as nothing. What decides whether a request may be sent twice is
//! its method and not how far the first answer came; of half a head nobody has been told anything, and no client could
//! tell it from none. (From the first whole head on, an interim one included, it is passed on, and there is no way back.)
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
use crate::edge::rescue::{Known, TOO_LONG};
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
    /// Whether there has been one.
    pub(in crate::edge) const fn has_begun(&self) -> bool {
        self.count > 0
    }

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
            Some(stream) => hold_for_stream(&mut peer, stream, &peers.silences),
            None if may_be_long && zone.speaks_http2() => {
                peer.options.read_timeout = peer.options.read_timeout.map(|usual| usual.max(UPLOAD_MAX));
            }
            None => {}
        }
        Some(peer)
    }

    /// The head of the last answer came.
    pub(in crate::edge) fn answered(&self, zone: &Zone) {
        let Some(UnderWay(Choice { member, .. })) = &self.under_way else { return };
        member.metrics.answered.inc();
        if member.standing.answered() {
            tracing::info!(zone = %zone.host, backend = %member.template._address, "a backend answers again");
        }
    }

    /// No connection could be made: says in `error` whether the request goes to another. It has reached nobody, so its
    /// method does not matter.
    pub(in crate::edge) fn not_connected(&mut self, peers: &Peers, zone: &Zone, error: &mut Error) {
        error.set_retry(false);
        let (Some(UnderWay(choice)), Some(pool)) = (&self.under_way, peers.pool(zone)) else { return };
        let Choice { member, trial } = choice;
        let counter = if is_timeout(error) { &member.metrics.timed_out } else { &member.metrics.not_connected };
        counter.inc();
        // Out of sockets, for example: the next backend cannot be connected to either.
        if error.etype() == &ErrorType::InternalError {
            return;
        }
        if is_broken_connection(error) {
            // A connection was there, and had no place for another request: a kept one of HTTP/2 that has just died.
            if member.standing.broke_off(now_ms(), *trial) {
                ejected(pool, member, error);
            }
            error.set_retry(self.count < TRIES_MAX);
            return;
        }
        if member.standing.not_connected(now_ms(), *trial) {
            ejected(pool, member, error);
        }
        self.tried.push(Arc::clone(&member.standing));
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
        // All of its time together was too long, and a piece of the request or of the answer has just passed: the backend has
        // not hung, and who of the two was slow is not known. A backend that says nothing meets another limit.
        let slow = error.etype() == &TOO_LONG;
        let late = slow || is_timeout(error);
        let counter = if late { &choice.member.metrics.timed_out } else { &choice.member.metrics.broke_off };
        counter.inc();
        // A kept connection that was closed while it was not in use says nothing of the backend, but others like it may
        // be lying there: the same backend is as good as any.
        let stale = broken.reused && (asked || is_broken_connection(error));
        if !stale && !slow && (broken.sent || !late) {
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
    let (zone, backend, fault) = (&pool.zone.host, &member.template._address, Known(error));
    tracing::warn!(%zone, %backend, %fault, "a backend is left alone for a while");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::metrics::UpstreamMetrics;
    use crate::session::samples;
    use crate::zone::{Backend, Target};

    /// Nobody listens at these addresses, and nobody connects to them.
    fn peers(backends: u16) -> (Peers, Zone) {
        let mut zone = samples::zone("a.example");
        let target = |port: u16| Target::Address(([127, 0, 0, 1], port).into());
        let backend = |port: u16| Backend { target: target(port), weight: 1, tls: None };
        zone.upstream.backends = (1..=backends).map(backend).collect();
        (Peers::of(&[Arc::new(zone.clone())], &UpstreamMetrics::default(), None), zone)
    }

    fn fault(kind: ErrorType) -> Box<Error> {
        Error::explain(kind, "a test").into_up()
    }

    const SENT: Broken = Broken { reused: false, repeatable: true, sent: true };

    #[test]
    fn who_cannot_be_connected_to_is_not_asked_again_and_all_others_are() {
        let (peers, zone) = peers(3);
        let mut attempts = Attempts::default();
        let mut asked = Vec::new();
        for want in [true, true, false] {
            asked.push(attempts.next(&peers, &zone, None, false).unwrap()._address.to_string());
            let mut error = fault(ErrorType::ConnectRefused);
            attempts.not_connected(&peers, &zone, &mut error);
            assert_eq!(error.retry(), want);
        }
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), 3);
        assert!(peers.pool(&zone).unwrap().members().iter().all(|member| !member.standing.is_well()));
    }

    #[test]
    fn no_request_is_tried_more_than_three_times_whatever_fails() {
        for backends in [1, 9] {
            for kind in [ErrorType::ConnectTimedout, ErrorType::H2Error] {
                let (peers, zone) = peers(backends);
                let mut attempts = Attempts::default();
                let mut tries = 0;
                loop {
                    drop(attempts.next(&peers, &zone, None, false).unwrap());
                    tries += 1;
                    let mut error = fault(kind.clone());
                    attempts.not_connected(&peers, &zone, &mut error);
                    if !error.retry() {
                        break;
                    }
                }
                assert_eq!(tries, if backends == 1 && kind == ErrorType::ConnectTimedout { 1 } else { 3 });
            }
        }
    }

    #[test]
    fn our_own_want_of_sockets_is_no_backends_fault() {
        let (peers, zone) = peers(2);
        let mut attempts = Attempts::default();
        drop(attempts.next(&peers, &zone, None, false).unwrap());
        let mut error = fault(ErrorType::InternalError);
        attempts.not_connected(&peers, &zone, &mut error);
        assert!(!error.retry());
        assert!(peers.pool(&zone).unwrap().members().iter().all(|member| member.standing.is_well()));
    }

    #[test]
    fn f12_what_was_sent_is_sent_again_only_where_it_may_be_and_helps() {
        let check = |backends, broken: Broken, kind: ErrorType, want: bool| {
            let (peers, zone) = peers(backends);
            let mut attempts = Attempts::default();
            drop(attempts.next(&peers, &zone, None, false).unwrap());
            let mut error = fault(kind.clone());
            attempts.broke_off(&peers, &zone, broken, &mut error);
            assert_eq!(error.retry(), want, "{backends} {broken:?} {kind:?}");
        };
        check(2, SENT, ErrorType::ConnectionClosed, true);
        check(2, SENT, ErrorType::ReadError, true);
        check(2, Broken { repeatable: false, ..SENT }, ErrorType::ConnectionClosed, false);
        // Nobody else is there.
        check(1, SENT, ErrorType::ConnectionClosed, false);
        // A kept connection: the same backend is as good.
        check(1, Broken { reused: true, ..SENT }, ErrorType::ConnectionClosed, true);
        check(1, Broken { reused: true, repeatable: false, sent: true }, ErrorType::ConnectionClosed, false);
        // What takes too long takes too long elsewhere; what was no answer was one all the same.
        for kind in [ErrorType::ReadTimedout, ErrorType::WriteTimedout, ErrorType::InvalidHTTPHeader] {
            check(2, SENT, kind, false);
        }
    }

    #[test]
    fn f12_what_met_a_connection_that_was_just_given_up_goes_over_another_one() {
        let (peers, zone) = peers(1);
        let mut attempts = Attempts::default();
        drop(attempts.next(&peers, &zone, None, false).unwrap());
        let mut error = crate::edge::rescue::given_up();
        attempts.broke_off(&peers, &zone, Broken { reused: true, ..SENT }, &mut error);
        assert!(error.retry());
        assert!(peers.pool(&zone).unwrap().members()[0].standing.is_well());
    }

    #[test]
    fn a_client_that_stops_sending_is_no_backends_fault_and_a_backend_that_hangs_is() {
        for (sent, well) in [(false, true), (true, false)] {
            let (peers, zone) = peers(1);
            for _ in 0..3 {
                let mut attempts = Attempts::default();
                drop(attempts.next(&peers, &zone, None, false).unwrap());
                let broken = Broken { sent, ..SENT };
                attempts.broke_off(&peers, &zone, broken, &mut fault(ErrorType::ReadTimedout));
            }
            assert_eq!(peers.pool(&zone).unwrap().members()[0].standing.is_well(), well);
        }
    }

    #[test]
    fn request_max_is_over_for_slow_clients_too_and_no_backend_is_left_alone_for_it() {
        let (peers, zone) = peers(2);
        for sent in [true, false, true, true, true] {
            let mut attempts = Attempts::default();
            drop(attempts.next(&peers, &zone, None, false).unwrap());
            let mut error = fault(TOO_LONG);
            attempts.broke_off(&peers, &zone, Broken { sent, ..SENT }, &mut error);
            assert!(!error.retry(), "it would take as long again");
        }
        let members = peers.pool(&zone).unwrap().members();
        assert!(members.iter().all(|member| member.standing.is_well()));
        let counts = members.iter().map(|member| (member.metrics.timed_out.get(), member.metrics.broke_off.get()));
        assert_eq!(counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)), (5, 0));
    }

    #[test]
    fn what_was_cut_with_its_session_is_no_backends_fault() {
        let (peers, zone) = peers(1);
        for _ in 0..5 {
            let mut attempts = Attempts::default();
            drop(attempts.next(&peers, &zone, None, false).unwrap());
            let mut error = crate::edge::rescue::session_ended();
            attempts.broke_off(&peers, &zone, SENT, &mut error);
            assert!(!error.retry());
        }
        assert!(peers.pool(&zone).unwrap().members()[0].standing.is_well());
    }

    #[test]
    fn a_request_is_under_way_until_it_is_over_however_it_ends() {
        let (peers, zone) = peers(1);
        let load =
            |peers: &Peers| peers.pool(&zone).unwrap().members()[0].standing.in_flight.load(Ordering::Relaxed);
        let mut attempts = Attempts::default();
        for _ in 0..2 {
            drop(attempts.next(&peers, &zone, None, false).unwrap());
            assert_eq!(load(&peers), 1);
        }
        drop(attempts);
        assert_eq!(load(&peers), 0);
    }
}
