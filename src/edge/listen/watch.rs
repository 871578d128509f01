//! Deadlines of connections, held by one sweep over all of them.
//!
//! *Why not a timer for each?* A signed-in request on a kept connection would start and stop three: for the silence
//! before it, for its head and for each write. Here it stores a number, and four times a second all numbers are looked
//! at; who is late is woken and reads an error. A deadline is therefore exact to a quarter of a second, which nobody
//! who is slow on purpose can make use of.
//!
//! *Why are they not pingora's?* Its time limit for a head begins anew with every byte, so that a client which sends
//! one every ten seconds holds a connection for ever (D1).

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// How often all connections are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// No deadline: a request is under way, and others watch over it.
const NEVER: u64 = u64::MAX;
/// A client that takes this many bytes is not stalled, whatever is still to be written.
const TAKEN_BYTES: u64 = 16 * 1024;

/// How long connections may take for what.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Allowed {
    /// A request's whole head, from its first byte on; and the first one's, from the connection's beginning on.
    pub(in crate::edge) head: Duration,
    /// The silence between two requests.
    pub(in crate::edge) idle: Duration,
    /// A client that takes nothing of what is written to it.
    pub(in crate::edge) stall: Duration,
}

/// Why a connection was closed by its watch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::edge) enum Late {
    /// No whole head in time.
    Head,
    /// No further request.
    Idle,
    /// Nothing of the answer was taken.
    Stalled,
}

impl Late {
    /// The reason's name in metrics.
    pub(in crate::edge) const fn name(self) -> &'static str {
        match self {
            Self::Head => "head_timeout",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Idle => 2,
            Self::Stalled => 3,
        }
    }
}

/// Where a connection is, which decides what being late means.
const AWAITS_FIRST: u8 = 0;
const IDLE: u8 = 1;
const IN_HEAD: u8 = 2;
const BUSY: u8 = 3;

/// One connection's deadlines. Shared by its task, which moves them, and the sweep, which holds them.
#[derive(Debug)]
pub(in crate::edge) struct Watch {
    allowed: Allowed,
    now: Arc<AtomicU64>,
    place: AtomicU8,
    deadline: AtomicU64,
    /// Since when writes have found no room, in milliseconds; 0 while they do.
    stalled: AtomicU64,
    taken: AtomicU64,
    /// [`Late::code`], 0 while in time.
    late: AtomicU8,
    task: AtomicWaker,
}

impl Watch {
    /// A connection that has just begun, and owes its first head.
    fn new(allowed: Allowed, now: Arc<AtomicU64>) -> Self {
        let deadline = now.load(Ordering::Relaxed).saturating_add(millis(allowed.head));
        Self {
            allowed,
            now,
            place: AtomicU8::new(AWAITS_FIRST),
            deadline: AtomicU64::new(deadline),
            stalled: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            late: AtomicU8::new(0),
            task: AtomicWaker::new(),
        }
    }

    /// A request is over, and another may come.
    pub(in crate::edge) fn idle(&self) {
        self.place.store(IDLE, Ordering::Relaxed);
        self.deadline.store(self.after(self.allowed.idle), Ordering::Relaxed);
    }

    /// A request's head is there; its limits are the exchange's own from here on.
    pub(in crate::edge) fn busy(&self) {
        self.place.store(BUSY, Ordering::Relaxed);
        self.deadline.store(NEVER, Ordering::Relaxed);
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.place.load(Ordering::Relaxed) == BUSY
    }

    /// Bytes have arrived.
    pub(super) fn arrived(&self) {
        if self.place.load(Ordering::Relaxed) == IDLE {
            self.place.store(IN_HEAD, Ordering::Relaxed);
            self.deadline.store(self.after(self.allowed.head), Ordering::Relaxed);
        }
    }

    /// The client had no room for what is written.
    pub(super) fn no_room(&self) {
        if self.stalled.load(Ordering::Relaxed) == 0 {
            self.taken.store(0, Ordering::Relaxed);
            self.stalled.store(self.now.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
        }
    }

    /// Whether the client had no room, and has not taken everything since.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed) != 0
    }

    /// The client took `bytes`. One that takes a little now and then, to be served for ever, is stalled all the same.
    pub(super) fn took(&self, bytes: usize) {
        if self.is_stalled() {
            let taken = self.taken.load(Ordering::Relaxed).saturating_add(bytes as u64);
            self.taken.store(taken, Ordering::Relaxed);
            if taken >= TAKEN_BYTES {
                self.took_all();
            }
        }
    }

    /// The client took everything there was.
    pub(super) fn took_all(&self) {
        if self.is_stalled() {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }

    /// An error once the connection is late, for whoever reads or writes.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.late.load(Ordering::Acquire) {
            0 => Ok(()),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Whom to wake when the connection becomes late. Look at [`Self::check`] afterwards.
    pub(super) fn wake_later(&self, waker: &Waker) {
        self.task.register(waker);
    }

    fn after(&self, length: Duration) -> u64 {
        self.now.load(Ordering::Relaxed).saturating_add(millis(length))
    }

    /// Whether it is late at `now`; said once.
    fn sweep(&self, now: u64) -> Option<Late> {
        if self.late.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let stalled = self.stalled.load(Ordering::Relaxed);
        let late = if stalled != 0 && now.saturating_sub(stalled) >= millis(self.allowed.stall) {
            Late::Stalled
        } else if self.deadline.load(Ordering::Relaxed) > now {
            return None;
        } else if self.place.load(Ordering::Relaxed) == IDLE {
            Late::Idle
        } else {
            Late::Head
        };
        self.late.store(late.code(), Ordering::Release);
        self.task.wake();
        Some(late)
    }
}

/// All connections.
#[derive(Debug)]
pub(in crate::edge) struct Watches {
    began: Instant,
    now: Arc<AtomicU64>,
    open: Mutex<Vec<Weak<Watch>>>,
}

impl Watches {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), now: Arc::new(AtomicU64::new(1)), open: Mutex::default() }
    }

    /// A connection begins.
    pub(super) fn open(&self, allowed: Allowed) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(allowed, Arc::clone(&self.now)));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&watch));
        watch
    }

    /// Looks at all connections four times a second, for ever, and tells who was late.
    pub(super) async fn run(&self, told: impl Fn(Late) + Send) {
        let mut interval = tokio::time::interval(SWEEP);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.sweep(millis(self.began.elapsed()).saturating_add(1), &told);
        }
    }

    pub(super) fn sweep(&self, now: u64, told: &impl Fn(Late)) {
        self.now.store(now, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|watch| {
            let Some(watch) = watch.upgrade() else { return false };
            if let Some(late) = watch.sweep(now) {
                told(late);
            }
            true
        });
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> (Watches, Arc<Watch>) {
        let watches = Watches::new();
        let allowed = Allowed {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
        };
        let watch = watches.open(allowed);
        (watches, watch)
    }

    /// Who is told at `seconds`.
    fn at(watches: &Watches, seconds: u64) -> Vec<Late> {
        let told: Mutex<Vec<Late>> = Mutex::default();
        watches.sweep(seconds * 1000 + 1, &|late| told.lock().unwrap().push(late));
        told.into_inner().unwrap()
    }

    #[test]
    fn d1_a_head_has_one_deadline_however_many_bytes_arrive() {
        let (watches, watch) = watched();
        for second in 0..15 {
            assert_eq!(at(&watches, second), []);
            watch.arrived();
            assert!(watch.check().is_ok());
        }
        assert_eq!(at(&watches, 15), [Late::Head]);
        assert!(watch.check().is_err());
        assert_eq!(at(&watches, 16), [], "told once");
    }

    #[test]
    fn d1_a_later_head_counts_from_its_first_byte() {
        let (watches, watch) = watched();
        watch.busy();
        assert_eq!(at(&watches, 1000), []);
        watch.idle();
        assert_eq!(at(&watches, 1059), []);
        watch.arrived();
        assert_eq!(at(&watches, 1070), []);
        watch.arrived();
        assert_eq!(at(&watches, 1074), [Late::Head]);
    }

    #[test]
    fn d2_silence_between_requests_ends_with_its_limit() {
        let (watches, watch) = watched();
        watch.busy();
        watch.idle();
        assert_eq!(at(&watches, 59), []);
        assert_eq!(at(&watches, 60), [Late::Idle]);
    }

    #[test]
    fn d2_a_client_that_takes_a_little_now_and_then_is_stalled_all_the_same() {
        let (watches, watch) = watched();
        watch.busy();
        for second in 0..30 {
            assert_eq!(at(&watches, second), []);
            watch.no_room();
            watch.took(10);
        }
        assert_eq!(at(&watches, 30), [Late::Stalled]);
    }

    #[test]
    fn d2_one_that_is_slow_but_goes_on_is_left_alone() {
        let (watches, watch) = watched();
        watch.busy();
        for second in 0..200 {
            assert_eq!(at(&watches, second), []);
            watch.no_room();
            watch.took(1024);
        }
        watch.took_all();
        assert_eq!(at(&watches, 1000), []);
    }

    #[test]
    fn closed_connections_are_forgotten() {
        let (watches, watch) = watched();
        drop(watch);
        at(&watches, 1);
        assert!(watches.open.lock().unwrap().is_empty());
    }
}
