//! Lines of the log that strangers can cause, written at a rate that a disk can bear.
//!
//! Such a line tells the operator of something to mend, once; written as often as somebody knocks it would fill the disk
//! (D9). Beyond the rate they are counted, and the next line says how many there were.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lines a minute, when it goes on.
const RATE: NonZeroU32 = NonZeroU32::new(6).unwrap();
/// Lines at once.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// Rate limit for one kind of log line.
#[derive(Debug)]
pub(super) struct Seldom {
    limiter: DefaultDirectRateLimiter,
    unwritten: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        let limiter = RateLimiter::direct(Quota::per_minute(RATE).allow_burst(BURST));
        Self { limiter, unwritten: AtomicU64::new(0) }
    }
}

impl Seldom {
    /// Whether a line is to be written: then how many were not, since the last one.
    pub(super) fn write(&self) -> Option<u64> {
        if self.limiter.check().is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unwritten.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d9_a_flood_is_a_few_lines_and_a_number() {
        let seldom = Seldom::default();
        let written = (0..100_000).filter(|_| seldom.write().is_some()).count() as u64;
        // The rate goes on while this runs.
        assert!((u64::from(BURST.get())..1000).contains(&written), "{written} lines");
        assert_eq!(written + seldom.unwritten.load(Ordering::Relaxed), 100_000, "nothing is dropped in silence");
    }
}
