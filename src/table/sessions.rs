//! Sessions, in memory and in the store at once: the one place that begins and ends them.
//!
//! What a reply says is committed first: a session exists for its browser only after the store has it, and an
//! ending is in the store before anybody is told. The other way round, what other processes commit (a command, one
//! day another node) is read from the store's list of revocations four times a second. The time of the last good
//! look is a lease: when it runs out, sessions that look alive may have been ended, and the gate refuses (G4).
//!
//! Activity is different: it may be lost. It is kept in memory and written behind in batches; a kill loses a few
//! seconds of it, which shortens an idle limit by as much and revives nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::census::Census;
use super::live::LiveTable;
use crate::assertion::{IdentityProblem, check_identity};
use crate::base::{FlowId, Hostname, SessionId, SessionKey, SessionToken, TokenDigest, Ttl, UnixTime, UserId};
use crate::directory::{Lifetimes, Slots};
use crate::gate::StoreHealth;
use crate::login::Proven;
use crate::machine::{Clock, EntropyFault, random};
use crate::session::{Class, Device, EndReason, Liveness, Principal, Session, SessionRecord};
use crate::store::{Account, Begin, Ending, LoadedSession, ProviderSessionRow, Store, StoreFault};
use crate::telemetry::{Actor, EventKind, SecurityEvent};
use crate::zone::{Zone, ZoneTable};

/// How often the store is asked what was revoked.
const TAIL_EVERY: Duration = Duration::from_millis(250);
/// How long sessions are trusted without an answer.
const LEASE_SECONDS: u64 = 5;
/// How often activity is written behind.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// How often deadlines are looked for that nobody asked about.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// At how many sessions each time: a million are looked at within a minute.
const SWEEP_MAX: usize = 250_000;
/// How long an ended session is remembered, so that its browser is told why: people come back in the morning to
/// a session that went idle in the evening (R89).
const TOMBSTONE: Ttl = Ttl::seconds_const(24 * 3600);
/// How many ended sessions are remembered; beyond that, the oldest are forgotten first.
const TOMBSTONES_MAX: u32 = 100_000;
/// How many sessions one commit writes: other writers wait as long.
const BATCH: usize = 500;
/// Activity that is closer together than this is one activity.
const TOUCH_EVERY: u64 = 5;
/// How often the store's old rows are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// How long rows of ended sessions stay in the store.
const RETENTION: u64 = 30 * 86400;

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    store: Store,
    clock: Arc<Clock>,
    table: Arc<LiveTable>,
    /// The zones in which sessions may live: see [`Sessions::confine`].
    zones: ArcSwap<HashSet<Hostname>>,
    /// Sessions whose activity has to be written behind. Bounded: each is in it once per interval.
    touched: Mutex<Vec<Arc<Session>>>,
    /// Ended sessions that the store knows to have ended.
    tombstones: Mutex<Tombstones>,
    /// How many were put there by the sweep, in the order of [`EndReason::ALL`].
    endings: [AtomicU64; EndReason::ALL.len()],
    tailed_to: AtomicU64,
    /// On the clock that nobody sets: a jump of the civil clock is no reason to distrust sessions.
    heard_at: AtomicU64,
    /// Another process has taken over: what it writes is read here, and nothing is written.
    handed_over: AtomicBool,
}

/// The ended sessions in the order in which their end was noticed.
#[derive(Debug, Default)]
struct Tombstones {
    known: HashSet<SessionKey>,
    order: VecDeque<(UnixTime, SessionKey)>,
}

impl Tombstones {
    fn add(&mut self, key: SessionKey, now: UnixTime) {
        if self.known.insert(key) {
            self.order.push_back((now, key));
        }
    }

    /// The next one to be forgotten at `now`.
    fn next(&mut self, now: UnixTime, most: usize) -> Option<SessionKey> {
        let (noticed_at, key) = *self.order.front()?;
        if self.order.len() <= most && now < noticed_at.plus(TOMBSTONE) {
            return None;
        }
        self.order.pop_front();
        self.known.remove(&key);
        Some(key)
    }
}

/// Why a session did not begin or end.
#[derive(Debug, thiserror::Error)]
pub enum SessionFault {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No randomness: no token may be made (S3).
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    /// The person's directory record does not fit into headers.
    #[error(transparent)]
    Identity(#[from] IdentityProblem),
    /// The process is going down. Whether the session began, the store knows.
    #[error("interrupted: the gateway is stopping")]
    Interrupted,
}

/// Everything a session begins with.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Proof that its person showed what they must.
    pub proven: &'a Proven,
    /// The flow that ends here.
    pub flow: FlowId,
    /// The person's account, read after the proof.
    pub account: &'a Account,
    /// The zone it is valid in.
    pub zone: &'a Zone,
    /// Which slots it takes.
    pub class: Class,
    /// What lists show of it.
    pub device: Device,
    /// How many a user may hold.
    pub slots: Slots,
    /// How long it lives.
    pub lifetimes: Lifetimes,
    /// Sessions of the same person that end when it begins, and why (R83, R88).
    pub leaving: Vec<(SessionId, EndReason)>,
    /// What is spent, until when at least, if a provider has ended it by now.
    pub endings_at_provider: Vec<(FlowId, UnixTime)>,
    /// What the security log says of it.
    pub event: SecurityEvent,
}

/// What came of it.
#[derive(Debug)]
pub enum Begun {
    /// The session, and the token for its browser: the only time it exists.
    Session(Arc<Session>, SessionToken),
    /// All slots of the class are held by these.
    Full(Vec<Arc<Session>>),
    /// The flow ended in a session before.
    FlowSpent,
    /// The person's credentials changed since the proof, or they were deactivated.
    EpochStale,
}

impl Sessions {
    /// Loads every live session, and recent endings, before anything is answered. Sessions of zones that are no longer
    /// there end first: they must not live again when such a zone comes back (C3).
    pub async fn load(store: Store, zones: &ZoneTable, clock: Arc<Clock>) -> Result<Arc<Self>, SessionFault> {
        let now = clock.now();
        let served = hosts(zones);
        let gone: Vec<_> =
            store.session_zones().await?.into_iter().filter(|zone| !served.contains(zone)).collect();
        if !gone.is_empty() {
            store.end_zones(&gone, now).await?;
        }
        // The place in the list first: what is revoked while we load is then seen twice and not missed.
        let tailed_to = store.last_revocation().await?;
        let sessions = Self {
            table: Arc::default(),
            zones: ArcSwap::from_pointee(served),
            touched: Mutex::default(),
            tombstones: Mutex::default(),
            endings: EndReason::ALL.map(|_| AtomicU64::new(0)),
            tailed_to: AtomicU64::new(tailed_to),
            heard_at: AtomicU64::new(clock.elapsed()),
            handed_over: AtomicBool::new(false),
            clock,
            store,
        };
        let since = UnixTime::from_seconds(now.seconds().saturating_sub(u64::from(TOMBSTONE.seconds())));
        // The oldest first: it is forgotten first.
        for ended in sessions.store.ended_sessions(since, TOMBSTONES_MAX).await?.into_iter().rev() {
            if let Some(session) = sessions.rebuild(&ended.session, Some(ended.reason), now) {
                lock(&sessions.tombstones).add(session.key(), now);
            }
        }
        let place = |loaded| drop(sessions.rebuild(&loaded, None, now));
        sessions.store.each_live_session(place).await?;
        Ok(Arc::new(sessions))
    }

    /// Takes sessions into the table that another process has begun in the same store.
    ///
    /// Of one that ends while they are read, [`Self::tail`] may hear before it is in the table: whatever was revoked since the
    /// beginning is obeyed once more.
    pub async fn catch_up(&self) -> Result<(), StoreFault> {
        let (now, heard) = (self.clock.now(), self.tailed_to.load(Ordering::Acquire));
        let place = |loaded: LoadedSession| {
            if !self.table.knows(loaded.record.token.key()) {
                self.rebuild(&loaded, None, now);
            }
        };
        self.store.each_live_session(place).await?;
        self.obey_since(heard).await.map(drop)
    }

    /// Puts the session in its place as it was. `None`: its person cannot be described to the application any more (the directory
    /// was changed); they log in again, and are refused with the reason. No reason to refuse everybody else.
    fn rebuild(&self, loaded: &LoadedSession, ended: Option<EndReason>, now: UnixTime) -> Option<Arc<Session>> {
        match check_identity(&loaded.principal) {
            Ok(()) => Some(self.table.restore(loaded, ended, now)),
            Err(problem) => {
                let record = &loaded.record;
                tracing::warn!(session = %record.id, user = %record.user, %problem, "a session was not loaded");
                None
            }
        }
    }

    /// The session of a token, ended or not. A hash and a lookup; nothing is remembered of a miss.
    pub fn find(&self, token: &SessionToken) -> Option<Arc<Session>> {
        self.table.find(&token.digest())
    }

    /// Begins a session: the slot is reserved, the store commits, and only then does the session exist.
    pub async fn begin(&self, new: NewSession<'_>, now: UnixTime) -> Result<Begun, SessionFault> {
        assert_eq!(new.proven.claimant().user, new.account.user.id, "a proof of somebody else");
        if new.account.tenant.zone != new.zone.host {
            // The company was moved to another zone while its person logged in: they start again, there.
            return Ok(Begun::EpochStale);
        }
        if !self.zones.load().contains(&new.zone.host) {
            // The zone was removed since the request began.
            return Ok(Begun::EpochStale);
        }
        let token = SessionToken::from_bytes(random()?);
        let id = SessionId::from_bytes(random()?);
        let user = &new.account.user;
        let leaving: Vec<SessionId> = new.leaving.iter().map(|(id, _)| *id).collect();
        let reserved = self.table.reserve(user.id, id, new.class, &leaving, new.slots, now);
        let reservation = match reserved {
            Ok(reservation) => reservation,
            Err(held) => return Ok(Begun::Full(held)),
        };
        let record = record(&new, id, token.digest(), now);
        let principal = Principal::of(user, &new.account.tenant);
        check_identity(&principal)?;
        let event = SecurityEvent {
            tenant: Some(record.tenant),
            user: Some(user.id),
            session: Some(id),
            class: Some(new.class),
            ..new.event
        };
        let leaving = new.leaving.into_iter().map(|(id, reason)| {
            let (kind, session, name) = (EventKind::SessionEnded, Some(id), Some(reason.name()));
            Ending { session: id, reason, event: SecurityEvent { kind, session, reason: name, ..event.clone() } }
        });
        let leaving: Vec<_> = leaving.collect();
        let provider = new.proven.provider().map(|proof| ProviderSessionRow::of(proof, new.endings_at_provider));
        let (store, table, flow_epoch) =
            (self.store.clone(), Arc::clone(&self.table), new.proven.claimant().epoch);
        // A task of its own: when the client hangs up, this future is dropped, and a session that the store has
        // must not be missing here.
        let committed = tokio::spawn(async move {
            match store.begin_session(&record, flow_epoch, &leaving, provider.as_ref(), &event).await? {
                Begin::FlowSpent => return Ok(Begun::FlowSpent),
                Begin::EpochStale => return Ok(Begun::EpochStale),
                Begin::Begun => {}
            }
            let session = table.session(&record, &principal, record.epoch);
            reservation.commit(&session, &leaving);
            Ok(Begun::Session(session, token))
        });
        committed.await.unwrap_or(Err(SessionFault::Interrupted))
    }

    /// Ends sessions of one user, in the store and then here. Ids of other users' sessions end nothing.
    pub async fn end(
        &self,
        user: UserId,
        sessions: &[SessionId],
        reason: EndReason,
        events: &[SecurityEvent],
        now: UnixTime,
    ) -> Result<(), SessionFault> {
        self.store.end_sessions(user, sessions, reason, now, events).await?;
        for session in sessions {
            self.table.end(user, *session, reason);
        }
        Ok(())
    }

    /// Ends every session of a user but one, and every log-in under way. `event` tells of each.
    pub async fn end_others(
        &self,
        user: UserId,
        kept: SessionId,
        reason: EndReason,
        event: &SecurityEvent,
    ) -> Result<(), SessionFault> {
        self.store.end_others(user, kept, reason, event).await?;
        Ok(self.tail().await?)
    }

    /// Lets sessions live in these zones and no others: those of a zone that is gone end, in the store first.
    ///
    /// *Why can none be missed?* A log-in that asks after the swap whether its zone is served is refused, whatever
    /// settings its request works with. One that asked before it rests on a proof of before, whose flow epoch the store
    /// raises in the commit that ends the sessions: either the store begins it earlier, and that commit ends it, or
    /// later, and refuses it as stale.
    ///
    /// *Why does none come back?* No statement takes an ending back, and [`Session::end`] happens once.
    ///
    /// Errors: the store did not commit. Then nothing has changed.
    pub async fn confine(&self, zones: &ZoneTable, now: UnixTime) -> Result<(), StoreFault> {
        let served = hosts(zones);
        let before = self.zones.swap(Arc::new(served.clone()));
        let gone: Vec<_> = before.difference(&served).cloned().collect();
        if gone.is_empty() {
            return Ok(());
        }
        if let Err(fault) = self.store.end_zones(&gone, now).await {
            self.zones.store(before);
            return Err(fault);
        }
        if let Err(fault) = self.tail().await {
            // They have ended. The next look finds it, and until then nobody reaches a host that is not served.
            tracing::warn!(%fault, "sessions of a removed zone end here a moment later");
        }
        Ok(())
    }

    /// The user's live sessions, oldest first.
    pub fn of_user(&self, user: UserId, now: UnixTime) -> Vec<Arc<Session>> {
        self.table.of_user(user, now)
    }

    /// Records activity of a live session, and writes it behind at some time.
    pub fn touch(&self, session: &Arc<Session>, now: UnixTime) {
        if now.seconds_since(session.last_seen()) < TOUCH_EVERY || !session.touch(now) {
            return;
        }
        // Contended at most once per session and interval.
        lock(&self.touched).push(Arc::clone(session));
    }

    /// Whether sessions that look alive can be trusted to be.
    pub fn health(&self) -> StoreHealth {
        if self.lag() <= LEASE_SECONDS { StoreHealth::Current } else { StoreHealth::Stale }
    }

    /// Seconds since the store was last heard of.
    pub fn lag(&self) -> u64 {
        self.clock.elapsed().saturating_sub(self.heard_at.load(Ordering::Relaxed))
    }

    /// How many sessions are live, and of how many users who may hold `slots`. It costs the same however many there are. One
    /// that expired counts until a sweep has come by.
    pub fn census(&self, slots: Slots) -> Census {
        self.table.census(slots)
    }

    /// How many sessions have ended for each reason since the start, whoever ended them. Up to a sweep late.
    pub fn endings(&self) -> impl Iterator<Item = (EndReason, u64)> {
        EndReason::ALL.into_iter().zip(self.endings.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Tails the store, writes activity behind and notices deadlines, until the store is closed.
    ///
    /// Side by side: a thousand sessions that expire at once, or a slow disk under the writes, must not delay the
    /// look at the revocations, or the lease runs out and everybody is refused.
    pub async fn run(self: Arc<Self>) {
        let tail = self.repeat(TAIL_EVERY, || self.tail());
        let write = self.repeat(WRITE_EVERY, || self.unless_handed_over(self.flush()));
        let sweep = self.repeat(SWEEP_EVERY, || self.unless_handed_over(self.sweep(self.clock.now())));
        let prune = self.repeat(PRUNE_EVERY, || self.unless_handed_over(self.prune(self.clock.now())));
        tokio::join!(tail, write, sweep, prune);
    }

    /// Does something again and again; one that fails is tried again at its next turn.
    async fn repeat<F: Future<Output = Result<(), StoreFault>>>(&self, every: Duration, work: impl Fn() -> F) {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            interval.tick().await;
            match work().await {
                Ok(()) => {}
                // The program ends: nobody has to look after that.
                Err(_) if self.store.is_closed() => return,
                Err(fault) => tracing::error!(%fault, "the session store does not answer"),
            }
        }
    }

    /// Whether the session is live. Once another process has taken over, only that one knows of what is done in it: it ends
    /// whoever is idle, and that is obeyed here.
    pub fn liveness(&self, session: &Session, now: UnixTime) -> Liveness {
        match self.handed_over.load(Ordering::Acquire) {
            true => session.liveness_but_idle(now),
            false => session.liveness(now),
        }
    }

    /// Another process has taken over. Its endings are still obeyed here, for requests that are under way.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    async fn unless_handed_over(
        &self,
        work: impl Future<Output = Result<(), StoreFault>>,
    ) -> Result<(), StoreFault> {
        if self.handed_over.load(Ordering::Acquire) { Ok(()) } else { work.await }
    }

    /// Obeys what was revoked since the last look, and renews the lease.
    pub async fn tail(&self) -> Result<(), StoreFault> {
        let asked_at = self.clock.elapsed();
        let heard = self.obey_since(self.tailed_to.load(Ordering::Acquire)).await?;
        self.tailed_to.fetch_max(heard, Ordering::AcqRel);
        self.heard_at.fetch_max(asked_at, Ordering::Relaxed);
        Ok(())
    }

    /// Obeys what was revoked after number `heard`, and gives the last one's. What was obeyed before does nothing.
    async fn obey_since(&self, mut heard: u64) -> Result<u64, StoreFault> {
        loop {
            let revocations = self.store.revocations_since(heard).await?;
            let Some(last) = revocations.last() else { return Ok(heard) };
            heard = last.seq;
            for revocation in &revocations {
                match revocation.session {
                    Some(session) => {
                        self.table.end(revocation.user, session, revocation.reason);
                    }
                    None => self.table.raise_epoch(revocation.user, revocation.epoch, revocation.reason),
                }
            }
        }
    }

    /// Writes activity behind. Call once more before the process ends.
    pub async fn flush(&self) -> Result<(), StoreFault> {
        let mut touched = std::mem::take(&mut *lock(&self.touched));
        touched.sort_unstable_by_key(|session| session.id);
        touched.dedup_by_key(|session| session.id);
        while !touched.is_empty() {
            let batch: Vec<_> = touched.iter().take(BATCH).map(|s| (s.id, s.last_seen())).collect();
            if let Err(fault) = self.store.write_last_seen(&batch).await {
                lock(&self.touched).append(&mut touched);
                return Err(fault);
            }
            touched.drain(..batch.len());
        }
        Ok(())
    }

    /// Tells the store of deadlines that have passed, whoever noticed them, and forgets old endings.
    pub async fn sweep(&self, now: UnixTime) -> Result<(), StoreFault> {
        let ended = {
            let tombstones = lock(&self.tombstones);
            self.table.sweep(now, SWEEP_MAX, |key| tombstones.known.contains(&key))
        };
        for batch in ended.chunks(BATCH) {
            let expired: Vec<_> = batch.iter().map(|(session, reason)| expiry(session, *reason, now)).collect();
            // What the store knows already it keeps as it is.
            self.store.end_expired(&expired, now).await?;
            let mut tombstones = lock(&self.tombstones);
            for (session, reason) in batch {
                session.assertion.store(None);
                tombstones.add(session.key(), now);
                self.count_ending(*reason);
            }
        }
        let mut tombstones = lock(&self.tombstones);
        while let Some(key) = tombstones.next(now, TOMBSTONES_MAX as usize) {
            self.table.forget(key);
        }
        Ok(())
    }

    fn count_ending(&self, reason: EndReason) {
        let at = EndReason::ALL.iter().position(|known| *known == reason);
        if let Some(count) = at.and_then(|at| self.endings.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn prune(&self, now: UnixTime) -> Result<(), StoreFault> {
        let before = UnixTime::from_seconds(now.seconds().saturating_sub(RETENTION));
        self.store.prune(before, now).await
    }
}

/// What is behind these locks is whole between two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hosts(zones: &ZoneTable) -> HashSet<Hostname> {
    zones.zones().iter().map(|zone| zone.host.clone()).collect()
}

fn expiry(session: &Session, reason: EndReason, now: UnixTime) -> (UserId, Ending) {
    let event = SecurityEvent {
        zone: Some(session.terms.zone.clone()),
        tenant: Some(session.terms.tenant),
        user: Some(session.user),
        session: Some(session.id),
        class: Some(session.class),
        reason: Some(reason.name()),
        ..SecurityEvent::new(EventKind::SessionEnded, Actor::System, now)
    };
    (session.user, Ending { session: session.id, reason, event })
}

fn record(new: &NewSession<'_>, id: SessionId, token: TokenDigest, now: UnixTime) -> SessionRecord {
    SessionRecord {
        id,
        token,
        flow: new.flow,
        user: new.account.user.id,
        tenant: new.account.tenant.id,
        zone: new.zone.host.clone(),
        // That nothing changed since the proof, the store makes sure of by the flow's epoch.
        epoch: new.account.user.epoch,
        class: new.class,
        method: new.proven.method(),
        factors: new.proven.factors().iter().copied().collect(),
        authenticated_at: new.proven.authenticated_at(),
        started_at: now,
        last_seen: now,
        lifetimes: new.lifetimes,
        device: new.device.clone(),
    }
}

#[cfg(test)]
mod tests;
