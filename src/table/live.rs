//! The live sessions in memory: found by key on the hot path, counted by user at admission.
//!
//! Two tables. One finds a session by the digest of its token, which is uniform already, so it is its own hash, and
//! nobody outside can choose it. The other holds each user's slots; whoever admits, ends or prunes holds the user's
//! entry, so a count and what follows from it are one step (R87). No guard of either lives across an await: a slot
//! is *reserved* under the entry, the store commits without it, and the reservation then becomes the session, or
//! falls away and frees the slot.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::census::Census;
use super::sharded::{SHARDS, Sharded};
use super::users::{Reserved, Seats, Users};
use crate::base::{SessionId, SessionKey, TokenDigest, UnixTime, UserId};
use crate::directory::Slots;
use crate::session::{
    Admission, Class, EndReason, Liveness, Principal, Session, SessionRecord, SharedPrincipal, Terms, admit,
};
use crate::store::{Ending, LoadedSession};

/// The sessions in memory.
#[derive(Debug, Default)]
pub struct LiveTable {
    by_key: Sharded<Arc<Session>>,
    users: Users,
    /// The part that the next sweep begins with.
    swept: AtomicUsize,
    terms: Interner<Terms>,
    groups: Interner<[String]>,
}

/// Values that many sessions have in common, each kept once.
#[derive(Debug)]
struct Interner<T: ?Sized>(Mutex<HashSet<Arc<T>>>);

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    /// The value that is kept, which is this one unless there is its like.
    fn share(&self, value: impl Borrow<T> + Into<Arc<T>>) -> Arc<T> {
        let mut kept = self.lock();
        if let Some(known) = kept.get(value.borrow()) {
            return Arc::clone(known);
        }
        let new = value.into();
        kept.insert(Arc::clone(&new));
        new
    }

    /// Forgets what no session has any more.
    fn prune(&self) {
        self.lock().retain(|value| Arc::strong_count(value) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot that is held while the store commits. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Reservation {
    table: Arc<LiveTable>,
    user: UserId,
    id: SessionId,
}

/// A session's key is part of a SHA-256: it needs no hashing.
const fn hash_of(key: SessionKey) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "half of a uniform number is uniform")]
    let low = key.get() as u64;
    low
}

impl LiveTable {
    /// The session of that token, ended or not.
    pub fn find(&self, token: &TokenDigest) -> Option<Arc<Session>> {
        let (key, hash) = (token.key(), hash_of(token.key()));
        let part = self.by_key.read(hash);
        part.find(hash, |session| session.key() == key).filter(|found| found.token.matches(token)).cloned()
    }

    /// Whether there is a session of this key, ended or not.
    pub(super) fn knows(&self, key: SessionKey) -> bool {
        self.by_key.read(hash_of(key)).find(hash_of(key), |session| session.key() == key).is_some()
    }

    fn insert(&self, session: Arc<Session>) {
        let (key, hash) = (session.key(), hash_of(session.key()));
        let mut part = self.by_key.write(hash);
        let place = part.entry(hash, |known| known.key() == key, |known| hash_of(known.key()));
        place.insert(session);
    }

    /// Makes a session that shares with others what they have in common, and with those of the same user the epoch,
    /// which is at least `epoch` from then on.
    pub(super) fn session(&self, record: &SessionRecord, principal: &Principal, epoch: u64) -> Arc<Session> {
        self.session_seated(record, principal, epoch, |_, _| {})
    }

    /// The same, and `seat` gives it its place while nobody else sees the user's.
    fn session_seated(
        &self,
        record: &SessionRecord,
        principal: &Principal,
        epoch: u64,
        seat: impl FnOnce(&mut Seats, &Arc<Session>),
    ) -> Arc<Session> {
        let terms = self.terms.share(Terms::of(record, principal));
        let groups = self.groups.share(principal.groups.as_slice());
        let principal = SharedPrincipal::new(principal, groups);
        self.users.with(record.user, |seats| {
            // As long as the directory says the same of the user, their sessions have one copy of it.
            let known =
                seats.sessions.iter().map(|session| &session.principal).find(|known| ***known == principal);
            let principal = known.cloned().unwrap_or_else(|| Arc::new(principal));
            let session = Arc::new(Session::sharing(record, principal, terms, seats.epoch(epoch)));
            seat(seats, &session);
            session
        })
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
        self.users.with(user, |seats| {
            seats.leave_ended(now);
            let claimed: Vec<SessionId> = seats.reserved.iter().flat_map(|r| r.leaving.iter().copied()).collect();
            let leaving: Vec<SessionId> = leaving.iter().copied().filter(|id| !claimed.contains(id)).collect();
            match admit(class, seats.held(), &leaving, slots) {
                Admission::Admitted => {
                    seats.reserved.push(Reserved { id, class, leaving, ended: None });
                    Ok(Reservation { table: Arc::clone(self), user, id })
                }
                Admission::Full => {
                    Err(seats.sessions.iter().filter(|session| session.class == class).cloned().collect())
                }
            }
        })
    }

    /// Puts a session from the store in its place, live or, with its end's reason, as the memory of one that was.
    pub fn restore(&self, loaded: &LoadedSession, ended: Option<EndReason>, now: UnixTime) -> Arc<Session> {
        let LoadedSession { record, principal, user_epoch } = loaded;
        let session = self.session_seated(record, principal, *user_epoch, |seats, session| {
            if let Some(reason) = ended {
                session.end(reason);
            }
            if session.liveness(now) == Liveness::Live {
                seats.sessions.push(Arc::clone(session));
            }
        });
        self.insert(Arc::clone(&session));
        session
    }

    /// Ends one session of a user. `false`: it is not here, or had ended.
    pub(super) fn end(&self, user: UserId, id: SessionId, reason: EndReason) -> bool {
        let ended = self.users.with_known(user, |seats| {
            if seats.sessions.iter().any(|session| session.id == id) {
                return seats.end(id, reason);
            }
            // Committed by the store, revoked by another process and tailed, all before its log-in came back here.
            let begun = seats.reserved.iter_mut().find(|reserved| reserved.id == id);
            begun.is_some_and(|reserved| reserved.ended.replace(reason).is_none())
        });
        ended.unwrap_or(false)
    }

    /// Raises a user's epoch and ends every session that is older.
    pub(super) fn raise_epoch(&self, user: UserId, epoch: u64, reason: EndReason) {
        self.users.with(user, |seats| {
            // The reason first: a request between the two must not find a death without one.
            seats.sessions.retain(|session| {
                let stays = session.epoch >= epoch;
                if !stays {
                    session.end(reason);
                }
                stays
            });
            seats.epoch.fetch_max(epoch, Ordering::AcqRel);
        });
    }

    /// The user's live sessions, oldest first.
    pub(super) fn of_user(&self, user: UserId, now: UnixTime) -> Vec<Arc<Session>> {
        let mut live = self.users.sessions(user);
        live.retain(|session| session.liveness(now) == Liveness::Live);
        live.sort_by_key(|session| (session.started_at, session.id));
        live
    }

    /// Looks at the next sessions, at most `most` or few more, and at as large a part of the users; the next sweep goes on
    /// after them. Gives those that have ended by `now` and why, but for those whose key is `known`.
    ///
    /// This is where a deadline is noticed that no request noticed, users who hold nothing are forgotten, and sessions that
    /// nobody is using give memory back. *Why in parts?* Whoever looks at ten million sessions at once has no time for
    /// requests.
    pub(super) fn sweep(
        &self,
        now: UnixTime,
        most: usize,
        known: impl Fn(SessionKey) -> bool,
    ) -> Vec<(Arc<Session>, EndReason)> {
        let mut ended = Vec::new();
        let parts = self.by_key.stretch(self.swept.load(Ordering::Relaxed), most);
        self.swept.store(if parts.end < SHARDS { parts.end } else { 0 }, Ordering::Relaxed);
        self.by_key.for_each_in(parts.clone(), |session| match session.liveness(now) {
            Liveness::Ended(_) if known(session.key()) => {}
            Liveness::Ended(reason) => ended.push((Arc::clone(session), reason)),
            Liveness::Live => session.shed(now),
        });
        self.users.sweep(parts, now);
        self.terms.prune();
        self.groups.prune();
        ended
    }

    /// Forgets a session that has ended; a live one stays.
    pub(super) fn forget(&self, key: SessionKey) {
        let mut part = self.by_key.write(hash_of(key));
        let place = part.find_entry(hash_of(key), |session| session.key() == key);
        if let Ok(place) = place
            && place.get().end_reason().is_some()
        {
            place.remove();
        }
    }

    /// How many there are, and of whom.
    pub(super) fn census(&self, slots: Slots) -> Census {
        self.users.census(slots)
    }
}

impl Reservation {
    /// The committed session takes the slot, and those that leave for it end with their reasons.
    pub(super) fn commit(self, session: &Arc<Session>, leaving: &[Ending]) {
        self.table.users.with(self.user, |seats| {
            for ending in leaving {
                seats.end(ending.session, ending.reason);
            }
            let revoked = seats.reserved.iter().find(|reserved| reserved.id == self.id).and_then(|own| own.ended);
            match revoked {
                Some(reason) => {
                    session.end(reason);
                }
                None => seats.sessions.push(Arc::clone(session)),
            }
            self.table.insert(Arc::clone(session));
            // The slot passes from the reservation to the session under one guard; the drop finds nothing to free.
            seats.reserved.retain(|reserved| reserved.id != self.id);
        });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.table.users.with_known(self.user, |seats| {
            seats.reserved.retain(|reserved| reserved.id != self.id);
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::samples;
    use crate::telemetry::{Actor, EventKind, SecurityEvent};

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

    fn displaced(session: SessionId) -> Ending {
        let event = SecurityEvent::new(EventKind::SessionEnded, Actor::Operator, NOW);
        Ending { session, reason: EndReason::Displaced, event }
    }

    fn reserve(table: &Arc<LiveTable>, n: u8, leaving: &[SessionId]) -> Result<Reservation, Vec<Arc<Session>>> {
        table.reserve(user(), id(n), Class::Web, leaving, Slots::default(), NOW)
    }

    fn commit(table: &LiveTable, n: u8, reservation: Reservation) -> Arc<Session> {
        let session = table.session(&record(n), &samples::principal(), record(n).epoch);
        reservation.commit(&session, &[]);
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

    proptest! {
        /// Whatever log-ins begin, for whatever class and in whosever place, and however each of them ends.
        #[test]
        fn r87_no_order_of_log_ins_and_failures_leaves_more_sessions_than_slots(
            steps in prop::collection::vec((0_usize..4, any::<bool>(), prop::collection::vec(0_usize..4, 0..3)), 1..40),
        ) {
            let (table, slots) = (Arc::new(LiveTable::default()), Slots::default());
            let mut under_way: Vec<(u8, Class, Vec<SessionId>, Reservation)> = Vec::new();
            for (n, (step, mobile, leaving)) in (0_u8..).zip(steps) {
                let class = if mobile { Class::Mobile } else { Class::Web };
                let live = table.of_user(user(), NOW);
                let leaving: Vec<_> = leaving.into_iter().filter_map(|at| Some(live.get(at)?.id)).collect();
                let at = leaving.len().min(under_way.len().saturating_sub(1));
                match step {
                    0 | 1 => {
                        if let Ok(reservation) = table.reserve(user(), id(n), class, &leaving, slots, NOW) {
                            under_way.push((n, class, leaving, reservation));
                        }
                    }
                    _ if under_way.is_empty() => {}
                    2 => drop(under_way.remove(at)),
                    _ => {
                        let (n, class, leaving, reservation) = under_way.remove(at);
                        let record = SessionRecord { class, ..record(n) };
                        let session = table.session(&record, &samples::principal(), record.epoch);
                        let leaving = leaving.into_iter().map(displaced);
                        reservation.commit(&session, &leaving.collect::<Vec<_>>());
                    }
                }
                let live = table.of_user(user(), NOW);
                for class in [Class::Web, Class::Mobile] {
                    let count = live.iter().filter(|session| session.class == class).count();
                    prop_assert!(count <= usize::from(slots.of(class).get()), "{count} of {class:?}");
                }
            }
        }
    }

    #[test]
    fn r87_a_session_of_the_other_class_that_is_to_leave_holds_its_slot_until_it_left() {
        let table = Arc::new(LiveTable::default());
        let reserve =
            |n, class, leaving: &[_]| table.reserve(user(), id(n), class, leaving, Slots::default(), NOW);
        let record = SessionRecord { class: Class::Mobile, ..record(1) };
        let mobile = table.session(&record, &samples::principal(), record.epoch);
        reserve(1, Class::Mobile, &[]).unwrap().commit(&mobile, &[]);
        let web = reserve(2, Class::Web, &[id(1)]).unwrap();
        assert!(reserve(3, Class::Mobile, &[]).is_err(), "the log-in in its place may fail");
        drop(web);
        assert_eq!(mobile.liveness(NOW), Liveness::Live);
    }

    #[test]
    fn a_revocation_that_overtakes_its_log_in_is_not_lost() {
        let table = Arc::new(LiveTable::default());
        let reservation = reserve(&table, 1, &[]).unwrap();
        assert!(table.end(user(), id(1), EndReason::Revoked));
        let session = commit(&table, 1, reservation);
        assert_eq!(session.end_reason(), Some(EndReason::Revoked));
        assert!(table.of_user(user(), NOW).is_empty(), "and holds no slot");
        assert!(table.find(&session.token).is_some(), "but its browser is told why");
        let reservation = reserve(&table, 2, &[]).unwrap();
        table.raise_epoch(user(), record(2).epoch + 1, EndReason::Revoked);
        let session = commit(&table, 2, reservation);
        assert_eq!(session.liveness(NOW), Liveness::Ended(EndReason::Revoked));
    }

    /// What can happen to sessions. Numbers say which one of those that there are.
    #[derive(Clone, Debug)]
    enum Act {
        Reserve {
            user: u8,
            class: Class,
            leaving: Vec<usize>,
        },
        Commit(usize),
        Fail(usize),
        /// Loaded at a start, found in the store of another process, or of a person with a new name.
        Restore {
            user: u8,
            class: Class,
            name: bool,
            age: u64,
            ended: bool,
        },
        End {
            user: u8,
            session: usize,
        },
        RaiseEpoch(u8),
        Wait(u64),
        /// A request comes.
        Look {
            user: u8,
            session: usize,
        },
        Sweep(usize),
        Forget,
    }

    fn any_act() -> impl Strategy<Value = Act> {
        let class = || prop_oneof![Just(Class::Web), Just(Class::Mobile)];
        let hours = || (0..10_u64).prop_map(|hours| hours * 3600);
        let (user, place) = (|| 0..3_u8, || 0..4_usize);
        prop_oneof![
            4 => (user(), class(), prop::collection::vec(place(), 0..2))
                .prop_map(|(user, class, leaving)| Act::Reserve { user, class, leaving }),
            4 => place().prop_map(Act::Commit),
            1 => place().prop_map(Act::Fail),
            2 => (user(), class(), any::<bool>(), hours(), prop::bool::weighted(0.2))
                .prop_map(|(user, class, name, age, ended)| Act::Restore { user, class, name, age, ended }),
            2 => (user(), place()).prop_map(|(user, session)| Act::End { user, session }),
            1 => user().prop_map(Act::RaiseEpoch),
            1 => hours().prop_map(Act::Wait),
            1 => (user(), place()).prop_map(|(user, session)| Act::Look { user, session }),
            1 => prop_oneof![Just(1), Just(usize::MAX)].prop_map(Act::Sweep),
            1 => Just(Act::Forget),
        ]
    }

    /// What a walk over the users finds.
    fn walked(table: &LiveTable, slots: Slots) -> Census {
        let mut census = Census::default();
        table.users.for_each(|sessions| {
            let of = |class| sessions.iter().filter(|session| session.class == class).count() as u64;
            let (web, mobile) = (of(Class::Web), of(Class::Mobile));
            census.web += web;
            census.mobile += mobile;
            census.users += u64::from(web + mobile > 0);
            census.full_web += u64::from(web >= u64::from(slots.web.get()));
            census.full_mobile += u64::from(mobile >= u64::from(slots.mobile.get()));
        });
        census
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However sessions come and go, and however many a user may hold by now.
        #[test]
        fn the_count_is_what_a_walk_would_find(acts in prop::collection::vec(any_act(), 1..80)) {
            let slots = |web: u8, mobile: u8| Slots { web: web.try_into().unwrap(), mobile: mobile.try_into().unwrap() };
            let (table, mut now) = (Arc::new(LiveTable::default()), NOW);
            let user = |user| UserId::from_bytes([user; 16]);
            let mut epochs = [5_u64; 3];
            let mut under_way: Vec<(SessionRecord, Vec<SessionId>, Reservation)> = Vec::new();
            for (n, act) in (0..).zip(acts) {
                let seated = |of| table.users.sessions(user(of));
                let record = |of: u8, class, at| SessionRecord {
                    user: user(of), class, epoch: epochs[usize::from(of)], started_at: at, last_seen: at, ..record(n)
                };
                match act {
                    Act::Reserve { user: of, class, leaving } => {
                        let leaving: Vec<_> = leaving.iter().filter_map(|at| Some(seated(of).get(*at)?.id)).collect();
                        if let Ok(reservation) = table.reserve(user(of), id(n), class, &leaving, Slots::default(), now) {
                            under_way.push((record(of, class, now), leaving, reservation));
                        }
                    }
                    Act::Commit(at) if at < under_way.len() => {
                        let (record, leaving, reservation) = under_way.remove(at);
                        let session = table.session(&record, &samples::principal(), record.epoch);
                        let leaving: Vec<_> = leaving.into_iter().map(displaced).collect();
                        reservation.commit(&session, &leaving);
                    }
                    Act::Fail(at) if at < under_way.len() => drop(under_way.remove(at)),
                    Act::Commit(_) | Act::Fail(_) => {}
                    Act::Restore { user: of, class, name, age, ended } => {
                        let at = UnixTime::from_seconds(now.seconds() - age);
                        let mut principal = samples::principal();
                        if name {
                            principal.display_name = "Alice Oak".into();
                        }
                        let loaded =
                            LoadedSession { record: record(of, class, at), principal, user_epoch: epochs[usize::from(of)] };
                        table.restore(&loaded, ended.then_some(EndReason::LoggedOut), now);
                    }
                    Act::End { user: of, session } => {
                        // One that is there, or one that is about to begin.
                        let begins = || under_way.get(session).map(|(record, ..)| record.id);
                        let there = seated(of).get(session).map(|session| session.id).or_else(begins);
                        table.end(user(of), there.unwrap_or(id(n)), EndReason::LoggedOut);
                    }
                    Act::RaiseEpoch(of) => {
                        epochs[usize::from(of)] += 1;
                        table.raise_epoch(user(of), epochs[usize::from(of)], EndReason::Revoked);
                    }
                    Act::Wait(seconds) => now = now.plus_seconds(seconds),
                    Act::Look { user: of, session } => {
                        seated(of).get(session).map(|session| session.liveness(now));
                    }
                    Act::Sweep(most) => drop(table.sweep(now, most, |_| false)),
                    Act::Forget => {
                        let mut keys = Vec::new();
                        table.by_key.for_each(|session| keys.push(session.key()));
                        keys.into_iter().for_each(|key| table.forget(key));
                    }
                }
                for slots in [Slots::default(), slots(1, 1), slots(2, 3), slots(100, 255)] {
                    prop_assert_eq!(table.census(slots), walked(&table, slots), "{:?}", slots);
                }
            }
            // And those that are counted are the live ones, once a sweep has been everywhere.
            // From where the last one stopped, and from the beginning.
            for _ in 0..2 {
                table.sweep(now, usize::MAX, |_| false);
            }
            let (mut web, mut mobile, mut users) = (0, 0, HashSet::new());
            table.by_key.for_each(|session| {
                if session.liveness(now) == Liveness::Live {
                    *(if session.class == Class::Web { &mut web } else { &mut mobile }) += 1;
                    users.insert(session.user);
                }
            });
            let census = table.census(Slots::default());
            prop_assert_eq!((census.web, census.mobile, census.users), (web, mobile, users.len() as u64));
        }
    }

    #[test]
    fn a_user_is_forgotten_with_the_last_session_and_not_before() {
        let table = Arc::new(LiveTable::default());
        let session = commit(&table, 1, reserve(&table, 1, &[]).unwrap());
        session.end(EndReason::LoggedOut);
        table.sweep(NOW, usize::MAX, |_| false);
        assert_eq!(table.users.len(), 1, "the epoch must outlive whoever looks at it");
        table.forget(session.key());
        drop(session);
        table.sweep(NOW, usize::MAX, |_| false);
        assert_eq!((table.users.len(), table.by_key.len()), (0, 0));
    }

    #[test]
    fn a_sweep_looks_at_some_and_the_next_ones_at_the_others() {
        let table = Arc::new(LiveTable::default());
        for n in 1..=3 {
            commit(&table, n, reserve(&table, n, &[]).unwrap()).end(EndReason::LoggedOut);
        }
        let found =
            |most| table.sweep(NOW, most, |_| false).iter().map(|(session, _)| session.id).collect::<Vec<_>>();
        assert_eq!(found(usize::MAX).len(), 3);
        let mut turns: Vec<_> = (0..3).flat_map(|_| found(1)).collect();
        turns.sort_unstable();
        assert_eq!(turns, [1, 2, 3].map(id), "each once");
    }

    #[test]
    fn forgetting_never_takes_a_live_session() {
        let table = Arc::new(LiveTable::default());
        let session = commit(&table, 1, reserve(&table, 1, &[]).unwrap());
        table.forget(session.key());
        assert!(table.find(&session.token).is_some());
    }

    #[test]
    fn what_sessions_have_in_common_is_kept_once_and_only_as_long_as_they_live() {
        let table = Arc::new(LiveTable::default());
        let (alice, bob) = (user(), UserId::from_bytes([9; 16]));
        let restore = |user, n, principal: Principal| {
            let record = SessionRecord { user, ..record(n) };
            table.restore(&LoadedSession { record, principal, user_epoch: 5 }, None, NOW)
        };
        let first = restore(alice, 1, samples::principal());
        let second = restore(alice, 2, samples::principal());
        let other = restore(bob, 3, Principal { username: "bob@acme.example".into(), ..samples::principal() });
        assert!(Arc::ptr_eq(&first.principal, &second.principal), "one person");
        assert!(Arc::ptr_eq(&first.terms, &other.terms), "one company");
        assert!(std::ptr::eq(first.principal.groups(), other.principal.groups()), "the same groups");
        let moved = restore(alice, 4, Principal { groups: vec!["board".into()], ..samples::principal() });
        assert_eq!((first.principal.groups().len(), moved.principal.groups()), (2, &["board".to_owned()][..]));
        assert!(Arc::ptr_eq(first.user_epoch(), moved.user_epoch()), "one epoch, whatever they are called");
        for (user, session) in [(alice, first), (alice, second), (bob, other), (alice, moved)] {
            assert!(table.end(user, session.id, EndReason::LoggedOut));
            table.forget(session.key());
        }
        table.sweep(NOW, usize::MAX, |_| true);
        assert_eq!((table.users.len(), table.terms.lock().len(), table.groups.lock().len()), (0, 0, 0));
    }

    #[test]
    fn whoever_comes_down_to_one_session_is_counted_like_anybody() {
        let table = Arc::new(LiveTable::default());
        let sessions = [1, 2, 3].map(|n| commit(&table, n, reserve(&table, n, &[]).unwrap()));
        assert!(table.end(user(), id(1), EndReason::LoggedOut) && table.end(user(), id(2), EndReason::LoggedOut));
        let ids = |table: &LiveTable| table.of_user(user(), NOW).iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!(ids(&table), [id(3)]);
        table.raise_epoch(user(), sessions[2].epoch + 1, EndReason::Revoked);
        assert_eq!((sessions[2].end_reason(), ids(&table).len()), (Some(EndReason::Revoked), 0));
        let late = commit(&table, 4, reserve(&table, 4, &[]).unwrap());
        assert_eq!(late.liveness(NOW), Liveness::Ended(EndReason::Revoked), "the raised epoch outlives them");
    }
}
