//! Ending WebSockets and event streams with their session (SEC-R86, H7).
//!
//! pingora has no hook that fires on a connection that is silent. So the upstream connection of a stream is opened
//! by us, belongs to that stream alone, and is known here by a second handle; once a second the sessions that have
//! open streams are looked at, and the handle of a dead one is shut down. The upstream side then ends, and with it
//! the client's. Streams that are not silent are also checked with every piece they carry.
//!
//! An application that speaks HTTP/2 has one connection for many requests, and any of them may be a conversation in which
//! nobody speaks. *Why has not each a connection of its own, like a stream?* gRPC makes a request of every call, and they
//! would cost a connection each. There the request is cut instead: the task that serves it drops it, which resets its
//! streams on both sides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::generation::InUse;
use super::listen::Arrival;
use super::upstream::Line;
use crate::base::UnixTime;
use crate::session::{Liveness, Session};
use crate::table::Sessions;
use crate::zone::{Zone, ZoneTable};

/// A stream: lives as long as its request.
#[derive(Debug)]
pub(super) struct OpenStream {
    owner: Owner,
    handle: Mutex<Option<Handle>>,
    /// It was cut because its owner is gone.
    let_go: AtomicBool,
}

/// What a stream ends with, besides its request.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// A person's: with the session.
    Session(Arc<Session>),
    /// Nobody's, on a path that is open to everybody: with the zone, and some time after another process has taken over,
    /// which would otherwise never be alone.
    Zone(Arc<Zone>),
}

/// What a stream is ended by: its connection, or the request itself.
#[derive(Debug)]
enum Handle {
    Line(Arc<Line>),
    Request(Arc<Arrival>),
}

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<Vec<Weak<OpenStream>>>,
    /// When those end that are nobody's.
    last_of_nobody: OnceLock<Instant>,
}

impl Streams {
    /// Registers a stream that is about to be connected.
    pub(super) fn open(&self, owner: Owner) -> Arc<OpenStream> {
        self.register(owner, None)
    }

    /// Registers a request that is to be cut when its session ends.
    pub(super) fn hold(&self, session: &Arc<Session>, arrival: &Arc<Arrival>) -> Arc<OpenStream> {
        self.register(Owner::Session(Arc::clone(session)), Some(Handle::Request(Arc::clone(arrival))))
    }

    fn register(&self, owner: Owner, handle: Option<Handle>) -> Arc<OpenStream> {
        let stream = Arc::new(OpenStream { owner, handle: Mutex::new(handle), let_go: AtomicBool::new(false) });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&stream));
        stream
    }

    /// Ends what is nobody's after that time: another process serves.
    pub(super) fn let_go_within(&self, time: Duration) {
        // The first word counts: it is said once.
        let _ = self.last_of_nobody.set(Instant::now() + time);
    }

    /// Cuts streams whose owners are gone, for ever.
    pub(super) async fn run(&self, in_use: &InUse) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let portal = Arc::clone(&in_use.load().portal);
            self.cut(&portal.sessions, &portal.settings.zones, portal.clock.now());
        }
    }

    fn cut(&self, sessions: &Sessions, zones: &ZoneTable, now: UnixTime) {
        let is_last = self.last_of_nobody.get().is_some_and(|last| Instant::now() > *last);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let is_over = match &stream.owner {
                Owner::Session(session) => sessions.liveness(session, now) != Liveness::Live,
                Owner::Zone(zone) => is_last || zones.zone(&zone.host).is_none(),
            };
            if is_over {
                stream.let_go.store(true, Ordering::Relaxed);
                stream.shut_down();
            }
            // Until the request is gone: its connection may still be being made.
            true
        });
    }
}

impl OpenStream {
    /// It is connected.
    pub(super) fn goes_over(&self, line: &Arc<Line>) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handle::Line(Arc::clone(line)));
    }

    /// Its connection is gone; there may be another one.
    pub(super) fn hangs_up(&self) {
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it was nobody's and has lost what it ends with.
    pub(super) fn was_let_go(&self) -> bool {
        matches!(self.owner, Owner::Zone(_)) && self.let_go.load(Ordering::Relaxed)
    }

    fn shut_down(&self) {
        match self.handle.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Handle::Line(line)) => line.shut_down(),
            Some(Handle::Request(arrival)) => arrival.cut(),
            None => {}
        }
    }
}
