//! How often each of many may do something.

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// After so many questions, those who were quiet long enough are forgotten.
const TIDY_EVERY: u32 = 1024;

/// A rate for each `K`. Its memory is bounded by how many of them there are.
pub(super) struct Pace<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
    asked: AtomicU32,
}

impl<K: Clone + Eq + Hash> std::fmt::Debug for Pace<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pace")
    }
}

impl<K: Clone + Eq + Hash> Pace<K> {
    /// So much for each.
    pub(super) fn new(quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), asked: AtomicU32::new(0) }
    }

    /// Whether `who` may do it once more, by the machine's clock.
    pub(super) fn allows(&self, who: &K) -> bool {
        if self.asked.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(who).is_ok()
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.limiter.len()
    }
}
