//! Numbers that are added to by many threads at once without a lock: durations in buckets, and events by kind.
//!
//! They live here, and not with what prints them, so that whoever measures need not know who asks: the store counts its
//! commits and has never heard of Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::EventKind;

/// Upper bounds of the buckets of durations, in microseconds. From what a page in memory takes to what nobody waits for.
pub const BOUNDS_MICROS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// How long something took, again and again.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Durations {
    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_MICROS.len());
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many fell into each bucket of [`BOUNDS_MICROS`] and, last, beyond them.
    pub fn counts(&self) -> [u64; BOUNDS_MICROS.len() + 1] {
        std::array::from_fn(|at| self.counts.get(at).map_or(0, |count| count.load(Ordering::Relaxed)))
    }

    /// All of it together, in microseconds.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros.load(Ordering::Relaxed)
    }
}

/// How many security events of each kind there were.
#[derive(Debug)]
pub struct EventTally([AtomicU64; EventKind::ALL.len()]);

impl EventTally {
    /// One more of this kind.
    pub fn add(&self, kind: EventKind) {
        if let Some(count) = self.0.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each kind with its number.
    pub fn all(&self) -> impl Iterator<Item = (EventKind, u64)> {
        EventKind::ALL.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl Default for EventTally {
    fn default() -> Self {
        Self(EventKind::ALL.map(|_| AtomicU64::new(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_bucket_that_ends_at_or_after_it() {
        let durations = Durations::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001, u64::MAX >> 20] {
            durations.observe(Duration::from_micros(micros));
        }
        let counts = durations.counts();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (2, 1, 1, 2));
        assert_eq!(counts.iter().sum::<u64>(), 6);
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let tally = EventTally::default();
        EventKind::ALL.into_iter().for_each(|kind| tally.add(kind));
        tally.add(EventKind::AccountLocked);
        for (kind, count) in tally.all() {
            assert_eq!(count, if kind == EventKind::AccountLocked { 2 } else { 1 }, "{}", kind.name());
        }
    }
}
