//! How many sessions there are and of how many users, counted where what a user holds changes (`users`).
//!
//! *Why not by a walk when somebody asks?* Monitoring asks every few seconds, and a walk over ten million sessions takes a
//! second of a processor that requests want.
//!
//! *Why how many users hold how many, and not the sums alone?* How many a user may hold is a setting that a reload changes:
//! who holds all of them is known only to whoever brings the setting of that moment.
//!
//! *Why is one that nobody has used for too long counted until its seat is taken from it?* It ends by the mere passing of
//! time, and nobody is there to count it down: the next sweep does, or the next log-in of its user.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::directory::Slots;
use crate::session::{Class, Session};

/// The most sessions of a class that a user can hold: [`Slots`] knows no larger number.
const HELD_MAX: usize = u8::MAX as usize;

/// How many sessions are live.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// On desktops and tablets.
    pub web: u64,
    /// On phones.
    pub mobile: u64,
    /// Users who have one.
    pub users: u64,
    /// Users who hold as many web sessions as they may.
    pub full_web: u64,
    /// The same of mobile ones.
    pub full_mobile: u64,
}

/// How many sessions of each class a user holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Holding {
    web: u8,
    mobile: u8,
}

impl Holding {
    pub(super) fn of(sessions: &[Arc<Session>]) -> Self {
        sessions.iter().fold(Self::default(), |held, session| match session.class {
            Class::Web => Self { web: held.web.saturating_add(1), ..held },
            Class::Mobile => Self { mobile: held.mobile.saturating_add(1), ..held },
        })
    }

    fn is_any(self) -> bool {
        self != Self::default()
    }
}

/// How many users hold how many sessions.
#[derive(Debug, Default)]
pub(super) struct Holders {
    web: ByNumber,
    mobile: ByNumber,
    of_any: AtomicU64,
}

/// Users by the number that they hold of one class, from 1 on.
#[derive(Debug)]
struct ByNumber([AtomicU64; HELD_MAX]);

impl Default for ByNumber {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::default()))
    }
}

impl Holders {
    /// A user holds something else than `before`. Call it while nobody else can change what the user holds.
    pub(super) fn change(&self, before: Holding, after: Holding) {
        self.web.change(before.web, after.web);
        self.mobile.change(before.mobile, after.mobile);
        match (before.is_any(), after.is_any()) {
            (false, true) => {
                self.of_any.fetch_add(1, Ordering::Relaxed);
            }
            (true, false) => {
                self.of_any.fetch_sub(1, Ordering::Relaxed);
            }
            (false, false) | (true, true) => {}
        }
    }

    /// How many there are, where a user may hold `slots`. Who begins or ends one at this very moment may be counted as before,
    /// as after, or in between.
    pub(super) fn census(&self, slots: Slots) -> Census {
        let (web, full_web) = self.web.sums(slots.web.get());
        let (mobile, full_mobile) = self.mobile.sums(slots.mobile.get());
        Census { web, mobile, users: self.of_any.load(Ordering::Relaxed), full_web, full_mobile }
    }
}

impl ByNumber {
    fn change(&self, before: u8, after: u8) {
        if before == after {
            return;
        }
        // What is more first: each is counted down after it was counted up, so that no number is ever below zero.
        if let Some(count) = self.of(after) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(count) = self.of(before) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Nobody counts those who hold none.
    fn of(&self, held: u8) -> Option<&AtomicU64> {
        self.0.get(usize::from(held).checked_sub(1)?)
    }

    /// The sessions, and the users who hold at least `full`.
    fn sums(&self, full: u8) -> (u64, u64) {
        (1..).zip(&self.0).fold((0, 0), |(sessions, users), (held, count)| {
            let count = count.load(Ordering::Relaxed);
            (sessions + held * count, users + if held < u64::from(full) { 0 } else { count })
        })
    }
}
