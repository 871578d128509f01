//! Each user's sessions, as admission counts them.
//!
//! Nearly everybody holds one session and is not logging in just now. Such an entry is a pointer to the session, which
//! knows its user and the user's epoch; only who holds more, or none that is alive, has seats of their own.
//!
//! Whoever changes what a user holds does it through [`Users::change`], which counts it (`census`).

use std::hash::BuildHasher as _;
use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use super::census::{Census, Holders, Holding};
use super::sharded::Sharded;
use crate::base::{SessionId, UnixTime, UserId};
use crate::directory::Slots;
use crate::session::{Class, EndReason, Held, Liveness, Session};

/// The users who hold sessions or log in.
#[derive(Debug, Default)]
pub(super) struct Users {
    entries: Sharded<Entry>,
    /// In a place of its own: requests read what lies beside it, and must not wait for whoever counts.
    holders: Box<Holders>,
    hasher: RandomState,
}

#[derive(Debug)]
enum Entry {
    /// One session, and no log-in under way.
    One(Arc<Session>),
    /// Anything else.
    Seats(Box<Seats>),
}

/// What a user holds.
#[derive(Debug)]
pub(super) struct Seats {
    user: UserId,
    /// Shared by all sessions of the user: raising it kills the older ones.
    pub(super) epoch: Arc<AtomicU64>,
    pub(super) sessions: Vec<Arc<Session>>,
    pub(super) reserved: Vec<Reserved>,
}

/// A slot of a session that the store is about to commit.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) id: SessionId,
    pub(super) class: Class,
    /// Sessions that end when this one begins. Nobody else may choose them meanwhile.
    pub(super) leaving: Vec<SessionId>,
    /// It was ended between the store's commit and its place in the table.
    pub(super) ended: Option<EndReason>,
}

impl Users {
    /// Does something with a user's seats, which are empty if nothing was known of the user. Nobody else sees them
    /// meanwhile.
    pub(super) fn with<R>(&self, user: UserId, act: impl FnOnce(&mut Seats) -> R) -> R {
        let hash = self.hasher.hash_one(user);
        let mut part = self.entries.write(hash);
        let hash_of = |entry: &Entry| self.hasher.hash_one(entry.user());
        let entry = part.entry(hash, |entry| entry.user() == user, hash_of);
        let entry = entry.or_insert_with(|| Entry::Seats(Box::new(Seats::of_nobody(user)))).into_mut();
        self.change(entry, act)
    }

    /// The same with a user of whom something is known.
    pub(super) fn with_known<R>(&self, user: UserId, act: impl FnOnce(&mut Seats) -> R) -> Option<R> {
        let hash = self.hasher.hash_one(user);
        let mut part = self.entries.write(hash);
        let entry = part.find_mut(hash, |entry| entry.user() == user)?;
        Some(self.change(entry, act))
    }

    /// Does something with the seats of an entry, and counts what they hold then.
    fn change<R>(&self, entry: &mut Entry, act: impl FnOnce(&mut Seats) -> R) -> R {
        let seats = entry.open();
        let before = Holding::of(&seats.sessions);
        let outcome = act(seats);
        self.holders.change(before, Holding::of(&seats.sessions));
        entry.fold();
        outcome
    }

    /// The user's sessions; some may have ended.
    pub(super) fn sessions(&self, user: UserId) -> Vec<Arc<Session>> {
        let hash = self.hasher.hash_one(user);
        let part = self.entries.read(hash);
        part.find(hash, |entry| entry.user() == user).map(|entry| entry.sessions().to_vec()).unwrap_or_default()
    }

    /// Takes sessions that have ended from their seats, and forgets users without sessions whose epoch nobody looks at, in
    /// some parts of the table.
    pub(super) fn sweep(&self, parts: Range<usize>, now: UnixTime) {
        self.entries.retain_in(parts, |entry| {
            if let Entry::One(session) = entry
                && session.liveness(now) == Liveness::Live
            {
                return true;
            }
            self.change(entry, |seats| {
                seats.leave_ended(now);
                !(seats.sessions.is_empty() && seats.reserved.is_empty() && Arc::strong_count(&seats.epoch) == 1)
            })
        });
    }

    /// How many sessions the users hold.
    pub(super) fn census(&self, slots: Slots) -> Census {
        self.holders.census(slots)
    }

    /// Looks at each user's sessions.
    #[cfg(test)]
    pub(super) fn for_each(&self, mut look: impl FnMut(&[Arc<Session>])) {
        self.entries.for_each(|entry| look(entry.sessions()));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    fn user(&self) -> UserId {
        match self {
            Self::One(session) => session.user,
            Self::Seats(seats) => seats.user,
        }
    }

    fn sessions(&self) -> &[Arc<Session>] {
        match self {
            Self::One(session) => slice::from_ref(session),
            Self::Seats(seats) => &seats.sessions,
        }
    }

    fn open(&mut self) -> &mut Seats {
        loop {
            match self {
                Self::Seats(seats) => return seats,
                Self::One(session) => *self = Self::Seats(Box::new(Seats::of(session))),
            }
        }
    }

    /// Takes as little space as what is in it allows.
    fn fold(&mut self) {
        if let Self::Seats(seats) = self
            && seats.reserved.is_empty()
            && let [only] = seats.sessions.as_slice()
        {
            *self = Self::One(Arc::clone(only));
        }
    }
}

impl Seats {
    fn of_nobody(user: UserId) -> Self {
        Self { user, epoch: Arc::default(), sessions: Vec::new(), reserved: Vec::new() }
    }

    fn of(only: &Arc<Session>) -> Self {
        let (epoch, sessions) = (Arc::clone(only.user_epoch()), vec![Arc::clone(only)]);
        Self { user: only.user, epoch, sessions, reserved: Vec::new() }
    }

    /// The epoch that all sessions of the user look at, at least `epoch`.
    pub(super) fn epoch(&self, epoch: u64) -> Arc<AtomicU64> {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
        Arc::clone(&self.epoch)
    }

    /// What counts against the user's slots: every live session, and every log-in under way that may add one to its class.
    ///
    /// A log-in that takes the place of a session of its class adds none: either it succeeds and that session ends, or it
    /// fails and that session stays. So only the session is counted.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        let live = self.sessions.iter().map(|session| Held { id: session.id, class: session.class });
        let begin = self.reserved.iter().filter(|own| {
            !self.sessions.iter().any(|session| session.class == own.class && own.leaving.contains(&session.id))
        });
        live.chain(begin.map(|own| Held { id: own.id, class: own.class }))
    }

    /// Takes sessions that have ended from their seats.
    pub(super) fn leave_ended(&mut self, now: UnixTime) {
        self.sessions.retain(|session| session.liveness(now) == Liveness::Live);
    }

    /// Ends one session. `false`: it is not here, or had ended.
    pub(super) fn end(&mut self, id: SessionId, reason: EndReason) -> bool {
        let at = self.sessions.iter().position(|session| session.id == id);
        at.is_some_and(|at| self.sessions.swap_remove(at).end(reason))
    }
}
