//! What is known of one address of a backend: whether it answers, and how much it has to do.
//!
//! All of it is atomics, because every request looks and some write. Two ways lead out of use, and they are kept
//! apart: health checks say *unwell* until they say otherwise, and faults that requests met *eject* for a time that
//! doubles. When that time is over, the first request that comes by finds out whether it is back, and the others wait
//! for what it learns: a backend that hangs must not get a whole second's requests each time it is given a chance.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// Requests that a backend may break off in a row before it is left alone. One alone may have been the request's fault.
const FAULTS_MAX: u32 = 3;
/// How long it is left alone the first time.
const OUT_FIRST_MS: u64 = 1_000;
/// How often that time doubles at most: to 64 s.
const DOUBLINGS_MAX: u32 = 6;

/// One address of a backend, over changes of the configuration that leave it as it was.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Requests under way.
    pub(super) in_flight: AtomicU32,
    /// Requests in a row that it broke off.
    faults: AtomicU32,
    /// How often it was left alone without an answer since.
    ejections: AtomicU32,
    /// Until when it is left alone, as [`now_ms`] counts; 0 when it is not.
    out_until: AtomicU64,
    /// What the health checks say.
    unwell: AtomicBool,
    /// Health checks in a row that contradict `unwell`.
    contrary: AtomicU32,
}

/// Whether a request may go there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// It was left alone and its time is over: this request, and no other, finds out.
    Trial,
    /// It is left alone, until then.
    Out(u64),
    /// Its health checks fail.
    Unwell,
}

/// Milliseconds since the program first asked, never 0.
pub(super) fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
}

impl Standing {
    /// Whether a request may go there. Reads the clock only when something is wrong.
    pub(super) fn fitness(&self, now: impl FnOnce() -> u64) -> Fitness {
        if self.unwell.load(Ordering::Relaxed) {
            return Fitness::Unwell;
        }
        let until = self.out_until.load(Ordering::Relaxed);
        if until == 0 {
            return Fitness::Fit;
        }
        let now = now();
        if until > now {
            return Fitness::Out(until);
        }
        let next = now + self.out_ms();
        match self.out_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Fitness::Trial,
            Err(other) => Fitness::Out(other),
        }
    }

    /// When there is nobody fit: who is tried nevertheless. The smaller, the better.
    pub(super) fn badness(&self) -> (bool, u64) {
        (self.unwell.load(Ordering::Relaxed), self.out_until.load(Ordering::Relaxed))
    }

    /// Whether it is in use, for monitoring.
    pub(super) fn is_well(&self) -> bool {
        !self.unwell.load(Ordering::Relaxed) && self.out_until.load(Ordering::Relaxed) == 0
    }

    /// It has answered; whether that was news.
    pub(super) fn answered(&self) -> bool {
        if self.faults.load(Ordering::Relaxed) != 0 {
            self.faults.store(0, Ordering::Relaxed);
        }
        if self.out_until.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.ejections.store(0, Ordering::Relaxed);
        self.out_until.store(0, Ordering::Relaxed);
        true
    }

    /// No connection could be made; whether it is left alone from now on. Nobody's request can be at fault, so once is
    /// enough. `trial`: the request was the one that had to find out.
    pub(super) fn not_connected(&self, now: u64, trial: bool) -> bool {
        // Requests that were under way together fail together: that is one fault, not many.
        if !trial && self.out_until.load(Ordering::Relaxed) > now {
            return false;
        }
        self.out_until.store(now + self.out_ms(), Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// It broke a request off; whether it is left alone from now on.
    pub(super) fn broke_off(&self, now: u64, trial: bool) -> bool {
        let faults = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        (trial || faults >= FAULTS_MAX) && self.not_connected(now, trial)
    }

    fn out_ms(&self) -> u64 {
        OUT_FIRST_MS << self.ejections.load(Ordering::Relaxed).min(DOUBLINGS_MAX)
    }

    /// What a health check found; whether that changed anything. Whoever passes is back at once, also from faults.
    pub(super) fn checked(&self, good: bool, fall: u8, rise: u8) -> bool {
        let back = good && self.answered();
        let unwell = self.unwell.load(Ordering::Relaxed);
        if good != unwell {
            self.contrary.store(0, Ordering::Relaxed);
            return back;
        }
        let needed = u32::from(if unwell { rise } else { fall });
        if self.contrary.fetch_add(1, Ordering::Relaxed) + 1 < needed {
            return back;
        }
        self.contrary.store(0, Ordering::Relaxed);
        self.unwell.store(!unwell, Ordering::Relaxed);
        true
    }

    /// Takes it to be well, whatever health checks have found: nobody checks it any more, and nobody would ever say that it
    /// is back.
    pub(super) fn forget_checks(&self) {
        self.contrary.store(0, Ordering::Relaxed);
        self.unwell.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitness(standing: &Standing, now: u64) -> Fitness {
        standing.fitness(|| now)
    }

    #[test]
    fn a_backend_that_cannot_be_connected_to_is_left_alone_for_longer_each_time() {
        let standing = Standing::default();
        assert_eq!(fitness(&standing, 1), Fitness::Fit);
        let mut now = 1;
        for (round, want) in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 64_000].into_iter().enumerate() {
            assert!(standing.not_connected(now, round > 0));
            assert!(!standing.not_connected(now, false), "what fails together is one fault");
            assert_eq!(fitness(&standing, now + want - 1), Fitness::Out(now + want));
            now += want;
            assert_eq!(fitness(&standing, now), Fitness::Trial);
            assert!(matches!(fitness(&standing, now), Fitness::Out(_)), "one request finds out");
        }
        assert!(standing.answered(), "that is news");
        assert!(!standing.answered());
        assert_eq!(fitness(&standing, now), Fitness::Fit);
        assert!(standing.not_connected(now, false));
        assert_eq!(fitness(&standing, now), Fitness::Out(now + 1_000), "it begins anew");
    }

    #[test]
    fn three_faults_in_a_row_are_one_too_many_and_an_answer_makes_good_for_two() {
        let standing = Standing::default();
        for _ in 0..5 {
            assert!(!standing.broke_off(1, false));
            assert!(!standing.broke_off(1, false));
            standing.answered();
        }
        assert!(!standing.broke_off(1, false));
        assert!(!standing.broke_off(1, false));
        assert!(standing.broke_off(1, false));
        assert_eq!(fitness(&standing, 1_001), Fitness::Trial);
        assert!(standing.broke_off(1_002, true), "its chance is used");
        assert_eq!(fitness(&standing, 1_002), Fitness::Out(3_002));
    }

    #[test]
    fn health_checks_flip_after_so_many_in_a_row_and_forgive_faults() {
        let standing = Standing::default();
        assert!(!standing.checked(false, 2, 3));
        assert!(!standing.checked(true, 2, 3));
        assert!(!standing.checked(false, 2, 3));
        assert_eq!(fitness(&standing, 1), Fitness::Fit);
        assert!(standing.checked(false, 2, 3));
        assert_eq!(fitness(&standing, 1), Fitness::Unwell);
        assert!(!standing.checked(true, 2, 3));
        assert!(!standing.checked(true, 2, 3));
        assert_eq!(fitness(&standing, 1), Fitness::Unwell);
        assert!(standing.checked(true, 2, 3));
        assert_eq!(fitness(&standing, 1), Fitness::Fit);
        standing.not_connected(1, false);
        assert!(standing.checked(true, 2, 3), "who passes is back at once");
        assert!(standing.is_well());
    }
}
