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

use super::sessions::Census;
use crate::base::{SessionId, SessionKey, TokenDigest, UnixTime, UserId};
use crate::directory::Slots;
use crate::session::{Admission, Class, EndReason, Held, Liveness, Session, admit};
use crate::telemetry::SecurityEvent;

/// How many parts each map is locked in. A sweep holds one part at a time: a thousandth of the sessions.
const SHARDS: usize = 1024;

/// The sessions in memory.
#[derive(Debug)]
pub struct LiveTable {
    by_key: DashMap<SessionKey, Arc<Session>, KeyIsHash>,
    users: DashMap<UserId, Entry>,
}

impl Default for LiveTable {
    fn default() -> Self {
        let by_key = DashMap::with_capacity_and_hasher_and_shard_amount(0, KeyIsHash, SHARDS);
        Self { by_key, users: DashMap::with_shard_amount(SHARDS) }
    }
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
    /// It was ended between the store's commit and its place in the table.
    ended: Option<EndReason>,
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
    pub fn find(&self, token: &TokenDigest) -> Option<Arc<Session>> {
        let found = self.by_key.get(&token.key())?;
        found.record.token.matches(token).then(|| Arc::clone(&found))
    }

    /// Whether there is a session of this key, ended or not.
    pub(super) fn knows(&self, key: SessionKey) -> bool {
        self.by_key.contains_key(&key)
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
                entry.reserved.push(Reserved { id, class, leaving, ended: None });
                Ok(Reservation { table: Arc::clone(self), user, id })
            }
            Admission::Full => {
                Err(entry.sessions.iter().filter(|session| session.record.class == class).cloned().collect())
            }
        }
    }

    /// Puts a session from the store in its place, live or as the memory of one that has ended.
    pub fn restore(&self, session: Arc<Session>, now: UnixTime) {
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
        if let Some(at) = entry.sessions.iter().position(|session| session.record.id == id) {
            return entry.sessions.swap_remove(at).end(reason);
        }
        // Committed by the store, revoked by another process and tailed, all before its log-in came back here.
        let begun = entry.reserved.iter_mut().find(|reserved| reserved.id == id);
        begun.is_some_and(|reserved| reserved.ended.replace(reason).is_none())
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

    /// The sessions that have ended by `now`, but for those whose key is `known`. Deadlines that have passed are
    /// noticed here if no request noticed them before.
    pub(super) fn ended(
        &self,
        now: UnixTime,
        known: impl Fn(SessionKey) -> bool,
    ) -> Vec<(Arc<Session>, EndReason)> {
        let mut ended = Vec::new();
        for held in &self.by_key {
            let session = held.value();
            if let Liveness::Ended(reason) = session.liveness(now)
                && !known(session.key())
            {
                ended.push((Arc::clone(session), reason));
            }
        }
        self.users.retain(|_, entry| {
            entry.sessions.retain(|session| session.liveness(now) == Liveness::Live);
            // A user without sessions whose epoch nobody looks at can be forgotten.
            !(entry.sessions.is_empty() && entry.reserved.is_empty() && Arc::strong_count(&entry.epoch) == 1)
        });
        ended
    }

    /// Forgets a session that has ended; a live one stays.
    pub(super) fn forget(&self, key: SessionKey) {
        self.by_key.remove_if(&key, |_, session| session.end_reason().is_some());
    }

    /// How many there are, and of whom.
    pub(super) fn census(&self, slots: Slots) -> Census {
        let mut census = Census::default();
        for entry in &self.users {
            let live = entry.sessions.iter().filter(|session| session.end_reason().is_none());
            let (web, mobile) = live.fold((0, 0), |(web, mobile), session| match session.record.class {
                Class::Web => (web + 1, mobile),
                Class::Mobile => (web, mobile + 1),
            });
            census.web += web;
            census.mobile += mobile;
            census.users += u64::from(web + mobile > 0);
            census.full_web += u64::from(web >= u64::from(slots.web.get()));
            census.full_mobile += u64::from(mobile >= u64::from(slots.mobile.get()));
        }
        census
    }
}

impl Reservation {
    /// The committed session takes the slot, and those that leave for it end with their reasons.
    pub(super) fn commit(self, session: Arc<Session>, leaving: &[(SessionId, EndReason, SecurityEvent)]) {
        let mut entry = self.table.users.entry(self.user).or_default();
        for (id, reason, _) in leaving {
            if let Some(at) = entry.sessions.iter().position(|session| session.record.id == *id) {
                entry.sessions.swap_remove(at).end(*reason);
            }
        }
        let revoked = entry.reserved.iter().find(|reserved| reserved.id == self.id).and_then(|own| own.ended);
        match revoked {
            Some(reason) => {
                session.end(reason);
            }
            None => entry.sessions.push(Arc::clone(&session)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{SessionRecord, samples};

    const NOW: UnixTime = samples::START;

    fn id(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    fn record(n: u8) -> SessionRecord {
        SessionRecord { id: id(n), token: TokenDigest::of(&[n]), ..samples::record("a.example") }
    }

    fn user() -> UserId {
        record(0).user
    }

    fn reserve(table: &Arc<LiveTable>, n: u8, leaving: &[SessionId]) -> Result<Reservation, Vec<Arc<Session>>> {
        table.reserve(user(), id(n), Class::Web, leaving, Slots::default(), NOW)
    }

    fn commit(table: &LiveTable, n: u8, reservation: Reservation) -> Arc<Session> {
        let epoch = table.epoch(user(), record(n).epoch);
        let session = Arc::new(Session::new(record(n), samples::principal(), epoch));
        reservation.commit(Arc::clone(&session), &[]);
        session
    }

    #[test]
    fn s6_a_crash_between_reservation_and_commit_frees_the_slot() {
        let table = Arc::new(LiveTable::default());
        let held = [1, 2, 3].map(|n| reserve(&table, n, &[]).unwrap());
        assert!(reserve(&table, 4, &[]).is_err(), "a reserved slot is held");
        drop(held);
        assert!(reserve(&table, 5, &[]).is_ok());
        assert!(table.of_user(user(), NOW).is_empty());
    }

    #[test]
    fn a_victim_whose_successor_failed_lives_on_and_can_be_chosen_again() {
        let table = Arc::new(LiveTable::default());
        let sessions = [1, 2, 3].map(|n| commit(&table, n, reserve(&table, n, &[]).unwrap()));
        let first = reserve(&table, 4, &[id(1)]).unwrap();
        assert!(reserve(&table, 5, &[id(1)]).is_err(), "promised already");
        drop(first);
        assert_eq!(sessions[0].liveness(NOW), Liveness::Live);
        assert!(reserve(&table, 6, &[id(1)]).is_ok());
    }

    #[test]
    fn a_revocation_that_overtakes_its_log_in_is_not_lost() {
        let table = Arc::new(LiveTable::default());
        let reservation = reserve(&table, 1, &[]).unwrap();
        assert!(table.end(user(), id(1), EndReason::Revoked));
        let session = commit(&table, 1, reservation);
        assert_eq!(session.end_reason(), Some(EndReason::Revoked));
        assert!(table.of_user(user(), NOW).is_empty(), "and holds no slot");
        assert!(table.find(&session.record.token).is_some(), "but its browser is told why");
        let reservation = reserve(&table, 2, &[]).unwrap();
        table.raise_epoch(user(), record(2).epoch + 1, EndReason::Revoked);
        let session = commit(&table, 2, reservation);
        assert_eq!(session.liveness(NOW), Liveness::Ended(EndReason::Revoked));
    }

    #[test]
    fn a_user_is_forgotten_with_the_last_session_and_not_before() {
        let table = Arc::new(LiveTable::default());
        let session = commit(&table, 1, reserve(&table, 1, &[]).unwrap());
        session.end(EndReason::LoggedOut);
        table.ended(NOW, |_| false);
        assert_eq!(table.users.len(), 1, "the epoch must outlive whoever looks at it");
        table.forget(session.key());
        drop(session);
        table.ended(NOW, |_| false);
        assert_eq!((table.users.len(), table.by_key.len()), (0, 0));
    }

    #[test]
    fn forgetting_never_takes_a_live_session() {
        let table = Arc::new(LiveTable::default());
        let session = commit(&table, 1, reserve(&table, 1, &[]).unwrap());
        table.forget(session.key());
        assert!(table.find(&session.record.token).is_some());
    }
}
