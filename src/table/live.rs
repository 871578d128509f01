//! The live sessions in memory: found by key on the hot path, counted by user at admission.
//!
//! Two maps. One finds a session by the digest of its token; its key is uniform already, so it is its own hash, and
//! nobody outside can choose it. The other holds each user's slots; whoever admits, ends or prunes holds the user's
//! entry, so a count and what follows from it are one step (R87). No guard of either lives across an await: a slot
//! is *reserved* under the entry, the store commits without it, and the reservation then becomes the session, or
//! falls away and frees the slot.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::base::{SessionId, SessionKey, TokenDigest, UnixTime, UserId};
use crate::directory::Slots;
use crate::session::{Admission, Class, EndReason, Held, Liveness, Session, admit};

/// The sessions in memory.
#[derive(Debug, Default)]
pub(super) struct LiveTable {
    by_key: DashMap<SessionKey, Arc<Session>, KeyIsHash>,
    users: DashMap<UserId, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Shared by all sessions of the user: raising it kills the older ones.
    epoch: Arc<AtomicU64>,
    sessions: Vec<Arc<Session>>,
    reserved: Vec<Reserved>,
}

#[derive(Debug)]
struct Reserved {
    id: SessionId,
    class: Class,
    /// Sessions that end when this one begins. Nobody else may choose them meanwhile.
    leaving: Vec<SessionId>,
}

/// A slot that is held while the store commits. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Reservation {
    table: Arc<LiveTable>,
    user: UserId,
    id: SessionId,
}

impl LiveTable {
    /// The session of that token, ended or not.
    pub(super) fn find(&self, token: &TokenDigest) -> Option<Arc<Session>> {
        let found = self.by_key.get(&token.key())?;
        found.record.token.matches(token).then(|| Arc::clone(&found))
    }

    /// Holds a slot for a session that is about to begin, or returns the live sessions of its class.
    pub(super) fn reserve(
        self: &Arc<Self>,
        user: UserId,
        id: SessionId,
        class: Class,
        leaving: &[SessionId],
        slots: Slots,
        now: UnixTime,
    ) -> Result<Reservation, Vec<Arc<Session>>> {
        let mut entry = self.users.entry(user).or_default();
        entry.sessions.retain(|session| session.liveness(now) == Liveness::Live);
        let claimed: Vec<SessionId> = entry.reserved.iter().flat_map(|r| r.leaving.iter().copied()).collect();
        let leaving: Vec<SessionId> = leaving.iter().copied().filter(|id| !claimed.contains(id)).collect();
        let live =
            entry.sessions.iter().map(|session| Held { id: session.record.id, class: session.record.class });
        let live = live.filter(|held| !claimed.contains(&held.id));
        let held = live.chain(entry.reserved.iter().map(|r| Held { id: r.id, class: r.class }));
        match admit(class, held, &leaving, slots) {
            Admission::Admitted => {
                entry.reserved.push(Reserved { id, class, leaving });
                Ok(Reservation { table: Arc::clone(self), user, id })
            }
            Admission::Full => {
                Err(entry.sessions.iter().filter(|session| session.record.class == class).cloned().collect())
            }
        }
    }

    /// Puts a session from the store in its place, live or as the memory of one that has ended.
    pub(super) fn restore(&self, session: Arc<Session>, now: UnixTime) {
        if session.liveness(now) == Liveness::Live {
            self.users.entry(session.record.user).or_default().sessions.push(Arc::clone(&session));
        }
        self.by_key.insert(session.key(), session);
    }

    /// The epoch that all sessions of a user look at, at least `epoch`.
    pub(super) fn epoch(&self, user: UserId, epoch: u64) -> Arc<AtomicU64> {
        let entry = self.users.entry(user).or_default();
        entry.epoch.fetch_max(epoch, Ordering::AcqRel);
        Arc::clone(&entry.epoch)
    }

    /// Ends one session of a user. `false`: it is not here, or had ended.
    pub(super) fn end(&self, user: UserId, id: SessionId, reason: EndReason) -> bool {
        let Some(mut entry) = self.users.get_mut(&user) else { return false };
        let Some(at) = entry.sessions.iter().position(|session| session.record.id == id) else { return false };
        entry.sessions.swap_remove(at).end(reason)
    }

    /// Raises a user's epoch and ends every session that is older.
    pub(super) fn raise_epoch(&self, user: UserId, epoch: u64, reason: EndReason) {
        let mut entry = self.users.entry(user).or_default();
        // The reason first: a request between the two must not find a death without one.
        entry.sessions.retain(|session| {
            let stays = session.record.epoch >= epoch;
            if !stays {
                session.end(reason);
            }
            stays
        });
        entry.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// The user's live sessions, oldest first.
    pub(super) fn of_user(&self, user: UserId, now: UnixTime) -> Vec<Arc<Session>> {
        let Some(entry) = self.users.get(&user) else { return Vec::new() };
        let mut live: Vec<_> =
            entry.sessions.iter().filter(|session| session.liveness(now) == Liveness::Live).cloned().collect();
        drop(entry);
        live.sort_by_key(|session| (session.record.started_at, session.record.id));
        live
    }

    /// Notices deadlines that have passed, and forgets what ended before `forget`. Returns the sessions whose
    /// deadline was noticed here, so that the store learns of it.
    pub(super) fn sweep(
        &self,
        now: UnixTime,
        forget: impl Fn(&Session) -> bool,
    ) -> Vec<(Arc<Session>, EndReason)> {
        let mut expired = Vec::new();
        self.by_key.retain(|_, session| {
            let before = session.end_reason();
            if let (None, Liveness::Ended(reason)) = (before, session.liveness(now)) {
                expired.push((Arc::clone(session), reason));
                return true;
            }
            before.is_none() || !forget(session)
        });
        self.users.retain(|_, entry| {
            entry.sessions.retain(|session| session.end_reason().is_none());
            // A user without sessions whose epoch nobody looks at can be forgotten.
            !(entry.sessions.is_empty() && entry.reserved.is_empty() && Arc::strong_count(&entry.epoch) == 1)
        });
        expired
    }

    /// How many sessions of each class are live: web, mobile.
    pub(super) fn count(&self) -> (usize, usize) {
        let live = self.by_key.iter().filter(|session| session.end_reason().is_none());
        live.fold((0, 0), |(web, mobile), session| match session.record.class {
            Class::Web => (web + 1, mobile),
            Class::Mobile => (web, mobile + 1),
        })
    }
}

impl Reservation {
    /// The committed session takes the slot, and those that leave for it end with their reasons.
    pub(super) fn commit(self, session: Arc<Session>, leaving: &[(SessionId, EndReason)]) {
        let mut entry = self.table.users.entry(self.user).or_default();
        for (id, reason) in leaving {
            if let Some(at) = entry.sessions.iter().position(|session| session.record.id == *id) {
                entry.sessions.swap_remove(at).end(*reason);
            }
        }
        entry.sessions.push(Arc::clone(&session));
        self.table.by_key.insert(session.key(), session);
        // The slot passes from the reservation to the session under one guard; the drop finds nothing to free.
        entry.reserved.retain(|reserved| reserved.id != self.id);
        drop(entry);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(mut entry) = self.table.users.get_mut(&self.user) {
            entry.reserved.retain(|reserved| reserved.id != self.id);
        }
    }
}

/// A session's key is part of a SHA-256: it needs no hashing.
#[derive(Clone, Copy, Debug, Default)]
struct KeyIsHash;

impl BuildHasher for KeyIsHash {
    type Hasher = TakesKey;

    fn build_hasher(&self) -> TakesKey {
        TakesKey(0)
    }
}

#[derive(Debug)]
struct TakesKey(u64);

impl Hasher for TakesKey {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a uniform number is uniform")]
        let low = key as u64;
        self.0 = low;
    }
}
