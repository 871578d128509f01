//! Points on the civil clock and lengths of time, in whole seconds.
//!
//! Why not `std::time`? `SystemTime` reads the clock from anywhere and `Duration` hides its unit; here the
//! clock is read once a request at the edge and passed down, so that every rule is a table in a test.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A point on the civil clock: whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct UnixTime(u64);

impl UnixTime {
    /// Wraps whole seconds since the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Whole seconds since the Unix epoch.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// So many seconds later; saturates.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The point `ttl` later. Saturates, so that a huge lifetime cannot wrap around into the past.
    #[must_use]
    pub fn plus(self, ttl: Ttl) -> Self {
        Self(self.0.saturating_add(u64::from(ttl.0.get())))
    }

    /// Whole seconds from `earlier` to here; zero when `earlier` is in fact later (a clock set back).
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in UTC, as logs and exports write it: `2026-11-24T09:54:00Z`.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = i64::try_from(self.0).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        match stamp {
            Some(stamp) => write!(f, "{stamp}"),
            None => write!(f, "@{}", self.0),
        }
    }
}

/// A length of time in whole seconds. Never zero: a zero lifetime is a configuration error.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct Ttl(NonZeroU32);

impl Ttl {
    /// `None` for zero seconds.
    pub const fn from_seconds(seconds: u32) -> Option<Self> {
        match NonZeroU32::new(seconds) {
            Some(seconds) => Some(Self(seconds)),
            None => None,
        }
    }

    /// A lifetime known when the program is written; zero does not compile in a `const`.
    ///
    /// # Panics
    /// When `seconds` is zero.
    pub const fn seconds_const(seconds: u32) -> Self {
        assert!(seconds > 0, "a lifetime is at least one second");
        match NonZeroU32::new(seconds) {
            Some(seconds) => Self(seconds),
            None => Self(NonZeroU32::MIN),
        }
    }

    /// Whole seconds, at least one.
    pub const fn seconds(self) -> u32 {
        self.0.get()
    }
}

impl From<Ttl> for std::time::Duration {
    fn from(ttl: Ttl) -> Self {
        Self::from_secs(u64::from(ttl.seconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_lifetime_does_not_wrap_into_the_past() {
        let late = UnixTime::from_seconds(u64::MAX - 1);
        assert!(late.plus(Ttl::seconds_const(u32::MAX)) >= late);
    }

    #[test]
    fn a_clock_set_back_gives_no_time_passed() {
        assert_eq!(UnixTime::from_seconds(5).seconds_since(UnixTime::from_seconds(9)), 0);
    }

    #[test]
    fn prints_as_rfc_3339_in_utc() {
        assert_eq!(UnixTime::from_seconds(1_700_000_000).to_string(), "2023-11-14T22:13:20Z");
    }
}
