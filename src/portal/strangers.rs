//! What strangers do, written into the security log at a rate that a disk can bear.
//!
//! An event is one synced commit, and somebody who has proved nothing can cause as many as they like: with forged
//! forms, on names that are locked already, while log-ins are shed. Written one by one they would hold up the
//! log-ins of everybody else and fill the disk (D7, D9). Beyond a rate they are counted instead, and the next line
//! that is written says how many there were. What costs a stranger a password hash is bounded by that, and is
//! always written.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::store::{Store, StoreFault};
use crate::telemetry::{SecurityEvent, Snippet};

/// Lines a second, when it goes on.
const RATE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Lines at once.
const BURST: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// The way of strangers' events into the log.
#[derive(Debug)]
pub struct Strangers {
    store: Store,
    limiter: DefaultDirectRateLimiter,
    unwritten: AtomicU64,
    unwritten_ever: AtomicU64,
}

impl Strangers {
    /// Into this store's log.
    pub fn new(store: Store) -> Self {
        let limiter = RateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST));
        Self { store, limiter, unwritten: AtomicU64::new(0), unwritten_ever: AtomicU64::new(0) }
    }

    /// How many were counted instead of written, since the start.
    pub fn unwritten(&self) -> u64 {
        self.unwritten_ever.load(Ordering::Relaxed)
    }

    /// Writes the event, or counts it.
    pub async fn note(&self, mut event: SecurityEvent) -> Result<(), StoreFault> {
        if self.limiter.check().is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            self.unwritten_ever.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let unwritten = self.unwritten.swap(0, Ordering::Relaxed);
        if unwritten > 0 {
            event.detail =
                Some(Snippet::of(&format!("{unwritten} events of strangers before this one were not written")));
        }
        self.store.append_event(&event).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::tests::fixture::{Fixture, event};
    use crate::telemetry::EventKind;

    #[tokio::test]
    async fn d9_a_flood_is_written_up_to_a_rate_and_the_rest_is_counted_in_the_open() {
        let world = Fixture::new().await;
        let strangers = Strangers::new(world.store.clone());
        for _ in 0..BURST.get() * 4 {
            strangers.note(event(EventKind::RequestForged)).await.unwrap();
        }
        let written = world.store.events(None, 10_000).await.unwrap();
        let lines = written.iter().filter(|line| line.kind == "request_forged").count() as u64;
        let counted = strangers.unwritten.load(Ordering::Relaxed)
            + written
                .iter()
                .filter_map(|line| line.detail.as_ref()?.split(' ').next()?.parse::<u64>().ok())
                .sum::<u64>();
        assert!(counted > 0, "{lines} lines");
        assert_eq!(strangers.unwritten(), counted);
        assert_eq!(lines + counted, u64::from(BURST.get() * 4), "nothing is dropped in silence");
    }
}
