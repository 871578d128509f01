//! What one request carries along on its way, and what it may still take.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora::{Error, ErrorType, Result};

use super::ending::Cut;
use crate::base::{RequestId, UnixTime};
use crate::edge::generation::Generation;
use crate::edge::listen::Arrival;
use crate::edge::reasons::Reason;
use crate::edge::rescue;
use crate::edge::streams::{OpenStream, Owner, Streams};
use crate::edge::traces::Recorded;
use crate::edge::upstream::{Attempts, Line, Listening, Patience, TooSilent};
use crate::gate::Grant;
use crate::portal::metrics::{InZone, UnderWay};
use crate::session::Session;
use crate::zone::{Protocol, Zone};

/// Request ids: a random beginning drawn at start, and a count. Unique, and no system call.
#[derive(Debug)]
pub(in crate::edge) struct RequestIds {
    pub(in crate::edge) beginning: [u8; 8],
    pub(in crate::edge) count: AtomicU64,
}

impl RequestIds {
    /// Of this process: what it begins names that no other uses.
    pub(super) const fn salt(&self) -> u64 {
        u64::from_be_bytes(self.beginning)
    }

    pub(in crate::edge) fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId::from_bytes((u128::from(self.salt()) << 64 | u128::from(count)).to_be_bytes())
    }
}

/// What one request carries along.
pub(in crate::edge) struct Passage {
    /// The configuration that holds for this request.
    pub(super) generation: Arc<Generation>,
    pub(super) now: UnixTime,
    pub(super) began: Instant,
    pub(super) request: RequestId,
    /// The connection; `None` only outside our own listeners, where nothing is served.
    pub(super) arrival: Option<Arc<Arrival>>,
    pub(super) address: Option<IpAddr>,
    pub(super) zone: Option<Arc<Zone>>,
    /// Where it is counted; with `zone`, from [`Passage::enter`].
    pub(super) place: Option<InZone>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) grant: Option<Grant>,
    /// The handle by which a WebSocket or an event stream is cut.
    pub(super) stream: Option<Arc<OpenStream>>,
    /// Its turn on the connection to the application; none where several requests share that.
    pub(super) listening: Option<Listening>,
    /// The handle by which a request over HTTP/2 is cut when its session ends, and what is logged of it then.
    pub(super) held: Option<(Arc<OpenStream>, Box<Cut>)>,
    /// What a collector is told of it, where it is recorded.
    pub(super) trace: Option<Box<Recorded>>,
    /// The client says something of a trace.
    pub(super) says_trace: bool,
    /// This process has passed it on before.
    pub(super) has_been_here: bool,
    pub(super) attempts: Attempts,
    /// When the request and its answer must be over.
    pub(super) deadline: Option<Instant>,
    pub(super) decision: &'static str,
    pub(super) reason: Option<Reason>,
    /// The rule of the zone that decided.
    pub(super) rule: Option<Arc<str>>,
    pub(super) body_bytes: u64,
    /// When the body that is counted began to be waited for.
    pub(super) body_began: Instant,
    /// How many heads of answers have come, interim ones and the last.
    pub(super) answer_heads: u8,
    /// The last of them has.
    pub(super) has_answered: bool,
    /// The answer's body ends with its connection: it has neither a length nor chunks.
    pub(super) ends_with_connection: bool,
    pub(super) _under_way: UnderWay,
}

impl Passage {
    /// A request whose head is there, on the connection that this task serves.
    #[inline]
    pub(super) fn begin(generation: Arc<Generation>, now: UnixTime, request: RequestId) -> Self {
        let began = Instant::now();
        Self {
            _under_way: generation.portal.metrics.connections().request(),
            generation,
            now,
            began,
            request,
            arrival: Arrival::here(),
            address: None,
            zone: None,
            place: None,
            session: None,
            grant: None,
            stream: None,
            listening: None,
            held: None,
            trace: None,
            says_trace: false,
            has_been_here: false,
            attempts: Attempts::default(),
            deadline: None,
            decision: "refused",
            reason: None,
            rule: None,
            body_bytes: 0,
            body_began: began,
            answer_heads: 0,
            has_answered: false,
            ends_with_connection: false,
        }
    }

    /// It has come to this zone.
    pub(super) fn enter(&mut self, zone: &Arc<Zone>) {
        self.place = Some(self.generation.portal.metrics.enter(zone));
        self.zone = Some(Arc::clone(zone));
    }

    fn speaks_grpc(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.zone().upstream.protocol == Protocol::Grpc)
    }

    /// Whether the answer may be made smaller: streams never, they are read piece by piece.
    pub(super) fn compresses(&self) -> bool {
        self.stream.is_none() && self.grant.as_ref().is_some_and(|grant| grant.zone().upstream.compress)
    }

    /// Whether a body has come in more slowly than allowed, over all its time but the first minute or so: a byte every
    /// half minute keeps every other limit (D2). A conversation is not a body that is slow: once the answer has begun,
    /// both sides talk when they have something to say.
    pub(super) fn is_too_slow(&self) -> bool {
        if self.has_answered || self.speaks_grpc() {
            return false;
        }
        let limits = &self.generation.settings.limits;
        let allowed: Duration = limits.stall_max.into();
        let late = self.body_began.elapsed().saturating_sub(allowed);
        self.body_bytes < late.as_secs().saturating_mul(limits.body_rate_min)
    }

    /// Says how long the application may take, and what a stream ends with.
    pub(super) fn keeps_time(&mut self, streams: &Streams, grant: &Grant, may_be_stream: bool) {
        if let Some(most) = grant.zone().upstream.limits.request_max {
            self.deadline = Some(self.began + Duration::from_secs(u64::from(most.seconds())));
        }
        if may_be_stream {
            self.stream = Some(streams.open(match grant.session() {
                Some(session) => Owner::Session(Arc::clone(session)),
                None => Owner::Zone(Arc::clone(grant.zone())),
            }));
        }
    }

    /// It goes over this connection from here on. Fails when that was given up in this moment, before anything was sent.
    pub(super) fn goes_over(&mut self, line: Option<Arc<Line>>) -> Result<()> {
        self.listening = None;
        if let (Some(line), Some(grant)) = (line, &self.grant) {
            let patience = Patience::of(&grant.zone().upstream.limits);
            self.listening = Some(line.listen(patience).ok_or_else(rescue::given_up)?);
        }
        Ok(())
    }

    /// Its connection is gone: a second handle to it would keep the application waiting.
    pub(super) fn hangs_up(&mut self) {
        self.listening = None;
        if let Some(stream) = &self.stream {
            stream.hangs_up();
        }
    }

    /// The application says that its answer is one that goes on. Until then it is held to its limits: the client's word for
    /// it must not be what takes them away.
    pub(super) fn mark_endless(&mut self) {
        if self.stream.is_some() {
            self.deadline = None;
            if let Some(listening) = &mut self.listening {
                listening.mark_endless();
            }
        }
    }

    /// A piece of the request's body, or a head of an answer, passes. Fails when it comes too late.
    pub(super) fn hears(&self) -> Result<()> {
        self.heard(if self.has_answered { Listening::heard_of_answer } else { Listening::heard })
    }

    /// A piece of the answer's body has come, `end` for the last. Fails only where a cut would be taken for a good end.
    pub(super) fn hears_piece(&mut self, end: bool) -> Result<()> {
        let heard = self.heard(Listening::heard_of_answer);
        if end {
            // The answer is whole: what is still uploaded waits for nothing.
            self.listening = None;
        }
        // Of what was cut pingora knows that it is not whole, unless it ends with its connection; and what is whole may have
        // been waiting here for a client that takes its time.
        if end && self.ends_with_connection { heard } else { Ok(()) }
    }

    fn heard(&self, how: fn(&Listening) -> std::result::Result<(), TooSilent>) -> Result<()> {
        self.listening.as_ref().map_or(Ok(()), how).map_err(|TooSilent| too_silent())
    }

    /// Fails once a request has taken longer than its zone allows.
    pub(super) fn in_time(&self) -> Result<()> {
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => {
                Err(Error::explain(rescue::TOO_LONG, "the request has taken too long").into_up())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The application was cut because it kept still: whatever pingora saw of it.
pub(super) fn too_silent() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the application kept still for too long").into_up()
}
