//! The machine we run on: its clock, its randomness and what it says of this process. Nothing else reads them.
//!
//! Why a module of its own? So that a search for the name shows every place where the outside comes in, and so
//! that a test can put the clock where it wants it without the rules knowing.

mod process;

pub use process::{Process, give_way, process};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

use crate::base::UnixTime;

/// The civil clock in whole seconds, read from an atomic that [`Clock::tick`] refreshes, so that a request costs
/// a load and no system call.
#[derive(Debug)]
pub struct Clock {
    seconds: AtomicU64,
    started: Instant,
    elapsed: AtomicU64,
    #[cfg(feature = "test-clock")]
    ahead: AtomicU64,
}

impl Clock {
    /// A clock that shows the present.
    pub fn new() -> Self {
        let clock = Self {
            seconds: AtomicU64::new(0),
            started: Instant::now(),
            elapsed: AtomicU64::new(0),
            #[cfg(feature = "test-clock")]
            ahead: AtomicU64::new(0),
        };
        clock.tick();
        clock
    }

    /// The time of the last tick, at most a quarter of a second ago while [`Clock::run`] runs.
    pub fn now(&self) -> UnixTime {
        UnixTime::from_seconds(self.seconds.load(Ordering::Relaxed))
    }

    /// Whole seconds since this clock was made, as of the last tick. Runs on whatever happens to the civil clock.
    pub fn elapsed(&self) -> u64 {
        self.elapsed.load(Ordering::Relaxed)
    }

    /// Reads the system's clock.
    pub fn tick(&self) {
        // Before 1970 the clock is broken; second zero expires nothing and issues assertions nobody accepts.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        #[cfg(feature = "test-clock")]
        let since = since.saturating_add(self.ahead.load(Ordering::Relaxed));
        self.seconds.store(since, Ordering::Relaxed);
        self.elapsed.store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// Ticks four times a second, for ever.
    pub async fn run(&self) {
        let mut interval = tokio::time::interval(Duration::from_millis(250));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            self.tick();
        }
    }

    /// As if `seconds` had passed since the clock was made, until the next tick.
    #[cfg(test)]
    pub(crate) fn pretend_elapsed(&self, seconds: u64) {
        self.elapsed.store(seconds, Ordering::Relaxed);
    }

    /// Puts the clock `seconds` ahead of the system's. Only in builds for tests.
    #[cfg(feature = "test-clock")]
    pub fn set_ahead(&self, seconds: u64) {
        self.ahead.store(seconds, Ordering::Relaxed);
        self.tick();
    }
}

/// The civil time to the fraction of a second, for whoever is told when something happened. A system call.
pub fn civil_time() -> SystemTime {
    SystemTime::now()
}

/// Measures how long something takes.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// It begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// So long ago.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The operating system's generator gave nothing: no id, token or key may be made (S3).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct EntropyFault;

/// `N` bytes from the operating system's secure generator.
pub fn random<const N: usize>() -> Result<[u8; N], EntropyFault> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| EntropyFault)?;
    Ok(bytes)
}
