//! How often one source may try to log in (L3).
//!
//! The budget of an account stops who guesses one account's password; this stops who tries one password on every
//! account. It is generous, because a company's people share one address at nine o'clock, and an attempt that it refuses
//! costs nobody an attempt.
//!
//! The memory is bounded: beyond [`SOURCES_MAX`] sources, neighbours share. Strangers with many addresses make it
//! stricter for others, then, and never looser for themselves.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::Quota;

use super::pace::Pace;
use crate::base::Source;

/// Sources that are told apart.
const SOURCES_MAX: usize = 50_000;

/// The sources of late.
pub(super) struct Throttle {
    per_minute: NonZeroU32,
    pace: Pace<Source>,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Throttle")
    }
}

impl Throttle {
    /// `per_minute` attempts a source, all at once if need be.
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        Self { per_minute, pace: Pace::new(Quota::per_minute(per_minute)) }
    }

    /// This one, with all that it remembers, as long as the rate is the same; else one that begins anew.
    pub(super) fn under(this: &Arc<Self>, per_minute: NonZeroU32) -> Arc<Self> {
        if this.per_minute == per_minute { Arc::clone(this) } else { Arc::new(Self::new(per_minute)) }
    }

    /// Whether one more attempt from `address` is taken.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let source = if self.pace.len() < SOURCES_MAX { Source::of(address) } else { Source::wide(address) };
        self.pace.allows(&source)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SIXTY: NonZeroU32 = NonZeroU32::new(60).unwrap();

    #[test]
    fn l3_a_source_that_tries_too_often_is_stopped_and_its_neighbour_is_not() {
        let throttle = Throttle::new(SIXTY);
        let (sprayer, neighbour) = (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into());
        let taken = (0..1000).filter(|_| throttle.allows(sprayer)).count();
        assert!((60..=62).contains(&taken), "{taken}");
        assert!(throttle.allows(neighbour));
    }

    #[test]
    fn d5_a_million_addresses_take_bounded_memory_and_open_nothing() {
        let throttle = Throttle::new(SIXTY);
        for number in 0..1_000_000_u32 {
            throttle.allows(Ipv4Addr::from_bits(0x0a00_0000 + number).into());
        }
        assert!(throttle.pace.len() <= SOURCES_MAX + 65_536, "{}", throttle.pace.len());
        // The last neighbourhood has nothing left, but for what it gets back in the time that this takes: one a second. On a
        // slow machine the table has forgotten enough meanwhile for the address to be counted by itself: sixty more.
        let last = || throttle.allows(Ipv4Addr::from_bits(0x0a00_0000 + 999_999).into());
        let begun = std::time::Instant::now();
        while last() {}
        let taken = (0..1000).filter(|_| last()).count();
        assert!(taken as u64 <= begun.elapsed().as_secs() + 61, "{taken}");
    }
}
