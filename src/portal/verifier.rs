//! The one place that holds a password or a code against what is stored, for every way in: the form, native
//! clients, the account page.
//!
//! Everything else follows from the order of things here. An attempt is taken from the budget before anything is
//! compared, so a hundred parallel guesses cost at most the budget (L1). A name nobody has, an account that may not
//! log in this way and one without a password are hashed against a dummy of the same cost and answered with the
//! same word, so nothing tells them apart (SEC-R11). Locked is answered before hashing, for names nobody has as
//! well (R59).
//!
//! Attempts on one name take turns. Otherwise a person whose eight right log-ins arrive at once would be told that
//! the account is locked, because seven of them hold an attempt each.
//!
//! A right password gives its own attempt back, and only that one: with the code still to come it proves too
//! little to forget earlier failures (R58, SEC-R10).

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::pool::{HashPool, PoolFault};
use super::strangers::Strangers;
use crate::base::{Hostname, MasterKey, RequestId, UnixTime, Username};
use crate::config::HashingSettings;
use crate::credential::{
    HashCost, HashProblem, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MAX, PasswordHash, Pepper, TotpCode, accept,
    hash_password, normalise, verify_password,
};
use crate::directory::{Methods, SecurityDefaults, methods};
use crate::machine::{EntropyFault, random};
use crate::session::Class;
use crate::store::{Account, BudgetKey, Debit, Store, StoreFault};
use crate::telemetry::{Actor, EventKind, SecurityEvent};

/// NFC may shorten a text, but no password of 256 bytes comes from one of this length.
const RAW_BYTES_MAX: usize = 16 * PASSWORD_BYTES_MAX;

/// How many attempts wait for their turn at most, over all names.
const WAITING_MAX: usize = 4096;
/// How many of them on one name: whoever floods one must not use up the room of all.
const WAITING_PER_TURN_MAX: usize = 128;
/// Names share turns by hash: a fixed number of locks cannot be filled up by inventing names.
const TURNS: usize = 1024;

/// The guarded verifier.
#[derive(Debug)]
pub struct Verifier {
    turns: Vec<Turn>,
    waiting: Semaphore,
    /// Attempts that were debited for a right password while the store could not give them back: they are, before
    /// the next one is debited. Bounded by the directory; a restart forgets it.
    owed: StdMutex<HashMap<BudgetKey, u8>>,
    store: Store,
    strangers: Arc<Strangers>,
    pool: HashPool,
    secrets: Arc<Secrets>,
    shadow_key: aws_lc_rs::hmac::Key,
    security: SecurityDefaults,
    computed: Arc<AtomicU64>,
}

/// One of the places where attempts on the same name queue.
#[derive(Debug)]
struct Turn {
    lock: Mutex<()>,
    room: Semaphore,
}

impl Turn {
    fn new() -> Self {
        Self { lock: Mutex::default(), room: Semaphore::new(WAITING_PER_TURN_MAX) }
    }
}

/// A turn that is held, with the room it takes.
struct Held<'a> {
    _among_all: SemaphorePermit<'a>,
    _among_these: SemaphorePermit<'a>,
    _lock: MutexGuard<'a, ()>,
}

#[derive(Debug)]
struct Secrets {
    pepper: Pepper,
    cost: HashCost,
    /// What a password is held against when there is nothing to hold it against.
    dummy: PasswordHash,
}

/// Where an attempt comes from: for the log, and for the wall between zones.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The zone that was asked.
    pub zone: &'a Hostname,
    /// With which sort of client.
    pub class: Class,
    /// From which address.
    pub address: IpAddr,
    /// In which request.
    pub request: RequestId,
    /// When.
    pub now: UnixTime,
}

impl Attempt<'_> {
    /// An event of this request.
    pub fn event(&self, kind: EventKind, actor: Actor) -> SecurityEvent {
        SecurityEvent {
            request: Some(self.request),
            zone: Some(self.zone.clone()),
            class: Some(self.class),
            address: Some(self.address),
            ..SecurityEvent::new(kind, actor, self.now)
        }
    }
}

/// What came of holding a secret against what is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict<T> {
    /// It was right.
    Right(T),
    /// It was wrong, or there is nothing it could be right for. The client must not learn which.
    Wrong,
    /// No attempt is left (R52): either none was before, or this was the last one and wrong.
    Locked,
}

/// Why nothing was held against anything, or nobody knows with what result.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFault {
    /// More log-ins than the hashing pool takes. No attempt was counted.
    #[error("too many log-ins at once")]
    Overloaded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A hashing thread failed.
    #[error(transparent)]
    Pool(#[from] PoolFault),
}

/// Why a verifier could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifierProblem {
    /// The configured cost is impossible.
    #[error(transparent)]
    Hash(#[from] HashProblem),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    /// The hashing threads could not be started.
    #[error("the hashing threads could not be started: {0}")]
    Threads(#[from] std::io::Error),
}

/// Why an account that exists is not asked for its password: the log's word for it.
type Ineligible = &'static str;

impl Verifier {
    /// Starts the hashing threads. `security`: what holds where a tenant sets nothing else.
    pub fn new(
        store: Store,
        strangers: Arc<Strangers>,
        master: &MasterKey,
        hashing: HashingSettings,
        security: SecurityDefaults,
    ) -> Result<Self, VerifierProblem> {
        let pepper = Pepper::of(master);
        // Nobody knows the dummy's password, and being right would not help.
        let unknown: [u8; 16] = random()?;
        let text = u128::from_be_bytes(unknown).to_string();
        let dummy = hash_password(&text, random()?, &pepper, hashing.cost)?;
        Ok(Self {
            turns: std::iter::repeat_with(Turn::new).take(TURNS).collect(),
            waiting: Semaphore::new(WAITING_MAX),
            owed: StdMutex::default(),
            store,
            strangers,
            pool: HashPool::start(hashing.threads, hashing.queue_max)?,
            secrets: Arc::new(Secrets { pepper, cost: hashing.cost, dummy }),
            shadow_key: master.derive_mac("shadow budget v1"),
            security,
            computed: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Holds `password` against the account of `username` in the zone of the attempt.
    ///
    /// Right only for an active account of this zone's tenant that logs in by password. The attempt is counted
    /// unless the password is right; for accounts of a single sign-on it is neither evaluated nor counted (R8).
    pub async fn check_password(
        &self,
        username: &Username,
        password: &str,
        attempt: &Attempt<'_>,
    ) -> Result<Verdict<Box<Account>>, VerifyFault> {
        // Both questions are asked for every name, so that the time tells nothing.
        let tenant = self.store.tenant_by_domain(username.domain()).await?;
        let account = self.store.account(username).await?;
        // Of the account's own tenant, whatever became of its domain; else what the domain's users have.
        let tenant = account.as_ref().map(|account| &account.tenant).or(tenant.as_ref());
        let overrides = tenant.map(|tenant| tenant.overrides).unwrap_or_default();
        let limit = self.security.with(&overrides).attempts_max;
        let key = match &account {
            Some(account) => BudgetKey::User(account.user.id),
            None => self.shadow(username),
        };
        if self.store.is_locked(key, limit).await? {
            return self.locked(attempt, account.as_ref()).await;
        }
        let Some(_turn) = self.turn(key).await else { return self.shed(attempt).await };
        self.settle(key).await?;
        // The place comes before the attempt: what the pool cannot take must not cost one.
        let Some(place) = self.pool.place() else { return self.shed(attempt).await };
        let used = match self.store.debit(key, limit, attempt.now).await? {
            Debit::Taken { used } => used,
            Debit::Locked => return self.locked(attempt, account.as_ref()).await,
        };
        let asked = match &account {
            Some(account) => eligible(account, attempt.zone).cloned(),
            None => Err("unknown_user"),
        };
        let (hash, ineligible) = match asked {
            Ok(hash) => (Some(hash), None),
            Err(reason) => (None, Some(reason)),
        };
        let held = match could_be_password(password) {
            None => Hold::wrong(),
            Some(password) => {
                let secrets = Arc::clone(&self.secrets);
                let computed = Arc::clone(&self.computed);
                place.run(move || secrets.hold(&password, hash.as_ref(), &computed)).await?
            }
        };
        match (account, ineligible) {
            (Some(account), None) if held.right => {
                self.give_back(key).await;
                self.rehash(&account, held.fresh).await;
                Ok(Verdict::Right(Box::new(account)))
            }
            (account, Some(SSO_ONLY)) => {
                self.give_back(key).await;
                self.log(attempt, EventKind::LoginFailed, account.as_ref(), SSO_ONLY).await?;
                Ok(Verdict::Wrong)
            }
            (account, reason) => {
                let reason = reason.unwrap_or("wrong_password");
                self.failed(attempt, account.as_ref(), reason, used, limit).await
            }
        }
    }

    /// Holds a code against the account's authenticator and uses its step up. Right once (SEC-R20, P1); a right
    /// one gives all attempts back, in the same commit (R58).
    pub async fn check_code(
        &self,
        account: &Account,
        code: &TotpCode,
        attempt: &Attempt<'_>,
    ) -> Result<Verdict<()>, VerifyFault> {
        let limit = self.security.with(&account.tenant.overrides).attempts_max;
        let user = account.user.id;
        let key = BudgetKey::User(user);
        if self.store.is_locked(key, limit).await? {
            return self.locked(attempt, Some(account)).await;
        }
        let Some(_turn) = self.turn(key).await else { return self.shed(attempt).await };
        self.settle(key).await?;
        let used = match self.store.debit(key, limit, attempt.now).await? {
            Debit::Taken { used } => used,
            Debit::Locked => return self.locked(attempt, Some(account)).await,
        };
        let step = account
            .totp
            .as_ref()
            .and_then(|totp| accept(&totp.secret, totp.period, code, Some(totp.last_step), attempt.now));
        let reason = match step {
            None => "wrong_code",
            // What was read may be old by now: the store's condition decides, not the comparison.
            Some(step) if self.store.accept_totp(user, step).await? => return Ok(Verdict::Right(())),
            Some(_) => "used_code",
        };
        self.failed(attempt, Some(account), reason, used, limit).await
    }

    /// How many hashes were computed since the start: what the tests of the budget count, and a metric.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// How many passwords wait to be hashed or are being hashed.
    pub fn busy(&self) -> usize {
        self.pool.busy()
    }

    /// Takes every place in the pool.
    #[cfg(test)]
    pub(super) fn fill(&self) -> Vec<super::pool::Place<'_>> {
        std::iter::from_fn(|| self.pool.place()).collect()
    }

    fn shadow(&self, username: &Username) -> BudgetKey {
        let tag = aws_lc_rs::hmac::sign(&self.shadow_key, username.as_str().as_bytes());
        let mut subject = [0; 16];
        subject.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        BudgetKey::Shadow(subject)
    }

    /// Waits until nobody else tries this name; `None` when too many wait already.
    async fn turn(&self, key: BudgetKey) -> Option<Held<'_>> {
        // Ids and keyed hashes are uniform, and nobody outside can choose them.
        let [a, b, ..] = match key {
            BudgetKey::User(user) => *user.as_bytes(),
            BudgetKey::Shadow(subject) => subject,
        };
        let turn = self.turns.get(usize::from(u16::from_le_bytes([a, b])) % TURNS)?;
        let (among_these, among_all) = (turn.room.try_acquire().ok()?, self.waiting.try_acquire().ok()?);
        Some(Held { _among_all: among_all, _among_these: among_these, _lock: turn.lock.lock().await })
    }

    /// Gives an attempt back, now or, when the store cannot, before the next one: a right password locks nobody out.
    async fn give_back(&self, key: BudgetKey) {
        if let Err(fault) = self.store.refund(key).await {
            tracing::warn!(%fault, "an attempt is given back later");
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            let count = owed.entry(key).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Gives back what is owed. The caller holds the turn.
    async fn settle(&self, key: BudgetKey) -> Result<(), StoreFault> {
        loop {
            if !self.owed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key) {
                return Ok(());
            }
            self.store.refund(key).await?;
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            match owed.get_mut(&key) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => {
                    owed.remove(&key);
                }
            }
        }
    }

    /// Keeps the hash of today's cost. A failure costs nothing but the next try.
    async fn rehash(&self, account: &Account, fresh: Option<PasswordHash>) {
        let (Some(fresh), Some(old)) = (fresh, &account.password) else { return };
        if let Err(fault) = self.store.rehash(account.user.id, &old.hash, &fresh).await {
            tracing::warn!(%fault, "a password keeps the hash of an earlier cost");
        }
    }

    async fn locked<T>(
        &self,
        attempt: &Attempt<'_>,
        account: Option<&Account>,
    ) -> Result<Verdict<T>, VerifyFault> {
        self.strangers.note(told(attempt, EventKind::LoginFailed, account, "locked")).await?;
        Ok(Verdict::Locked)
    }

    async fn shed<T>(&self, attempt: &Attempt<'_>) -> Result<T, VerifyFault> {
        self.strangers.note(attempt.event(EventKind::LoginShed, Actor::Stranger)).await?;
        Err(VerifyFault::Overloaded)
    }

    async fn failed<T>(
        &self,
        attempt: &Attempt<'_>,
        account: Option<&Account>,
        reason: &'static str,
        used: u8,
        limit: NonZeroU8,
    ) -> Result<Verdict<T>, VerifyFault> {
        self.log(attempt, EventKind::LoginFailed, account, reason).await?;
        if used < limit.get() {
            return Ok(Verdict::Wrong);
        }
        self.log(attempt, EventKind::AccountLocked, account, reason).await?;
        Ok(Verdict::Locked)
    }

    async fn log(
        &self,
        attempt: &Attempt<'_>,
        kind: EventKind,
        account: Option<&Account>,
        reason: &'static str,
    ) -> Result<(), StoreFault> {
        self.store.append_event(&told(attempt, kind, account, reason)).await
    }
}

fn told(attempt: &Attempt<'_>, kind: EventKind, account: Option<&Account>, reason: &'static str) -> SecurityEvent {
    SecurityEvent {
        tenant: account.map(|account| account.tenant.id),
        user: account.map(|account| account.user.id),
        reason: Some(reason),
        ..attempt.event(kind, Actor::Stranger)
    }
}

const SSO_ONLY: Ineligible = "sso_only";

/// The hash to hold a password against, if this account may log in with one here.
fn eligible<'a>(account: &'a Account, zone: &Hostname) -> Result<&'a PasswordHash, Ineligible> {
    let password = account.password.as_ref().ok_or("no_password");
    match methods(&account.tenant, &account.user) {
        Methods::Sso => Err(SSO_ONLY),
        Methods::Api => Err("api_only"),
        Methods::Local | Methods::LocalAndSuite if !account.user.active => Err("inactive"),
        // A tenant's users exist in its zone only: the wall holds even when the name was posted elsewhere.
        Methods::Local | Methods::LocalAndSuite if account.tenant.zone != *zone => Err("other_zone"),
        Methods::Local | Methods::LocalAndSuite => password.map(|password| &password.hash),
    }
}

/// What came of holding a password against a hash.
struct Hold {
    right: bool,
    /// Its hash at today's cost, when it was right and kept at another.
    fresh: Option<PasswordHash>,
}

impl Hold {
    const fn wrong() -> Self {
        Self { right: false, fresh: None }
    }
}

impl Secrets {
    /// Holds a password against `hash`, or against the dummy: the same work either way.
    fn hold(&self, password: &str, hash: Option<&PasswordHash>, computed: &AtomicU64) -> Hold {
        computed.fetch_add(1, Ordering::Relaxed);
        let Some(hash) = hash else { return self.hold_dummy(password) };
        match verify_password(password, hash, &self.pepper) {
            Ok(true) if hash.has_cost(self.cost) => Hold { right: true, fresh: None },
            Ok(true) => {
                let fresh =
                    random().ok().and_then(|salt| hash_password(password, salt, &self.pepper, self.cost).ok());
                Hold { right: true, fresh }
            }
            Ok(false) => Hold::wrong(),
            Err(problem) => {
                // A damaged row must not be told from a wrong password by its time.
                tracing::error!(%problem, "a stored password cannot be used");
                self.hold_dummy(password)
            }
        }
    }

    fn hold_dummy(&self, password: &str) -> Hold {
        let _ = verify_password(password, &self.dummy, &self.pepper);
        Hold::wrong()
    }
}

/// The password as it is hashed; `None` for a text that is too long to be one: it is wrong without being hashed
/// (R44), whoever's it would be.
fn could_be_password(text: &str) -> Option<Zeroizing<String>> {
    if text.len() > RAW_BYTES_MAX {
        return None;
    }
    let normal = Zeroizing::new(normalise(text));
    let fits = normal.len() <= PASSWORD_BYTES_MAX && normal.chars().count() <= PASSWORD_CHARS_MAX;
    fits.then_some(normal)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::portal::tests::fixture::{Fixture, PASSWORD, code, name};

    /// The verdict on a password, without the account.
    async fn password(verifier: &Verifier, world: &Fixture, who: &str, password: &str) -> Verdict<()> {
        match verifier.check_password(&name(who), password, &world.attempt(0)).await.unwrap() {
            Verdict::Right(_) => Verdict::Right(()),
            Verdict::Wrong => Verdict::Wrong,
            Verdict::Locked => Verdict::Locked,
        }
    }

    async fn used(world: &Fixture, who: &str) -> u8 {
        world.store.account(&name(who)).await.unwrap().unwrap().attempts_used
    }

    #[tokio::test]
    async fn r52_the_seventh_failure_locks_and_the_right_password_is_refused_unseen() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for _ in 1..=6 {
            assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
        }
        assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Locked);
        let computed = verifier.computed();
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Locked);
        assert_eq!(verifier.computed(), computed, "nothing is hashed for a locked account");
        world.unlock(&name("alice")).await;
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
    }

    #[tokio::test]
    async fn r59_names_nobody_has_lock_alike() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for who in ["nobody", "ian", "ada", "nora"] {
            for attempt in 1..=9 {
                let want = if attempt < 7 { Verdict::Wrong } else { Verdict::Locked };
                assert_eq!(password(&verifier, &world, who, PASSWORD).await, want, "{who} {attempt}");
            }
        }
        assert_eq!(verifier.computed(), 4 * 7, "each is hashed as often as a real one");
    }

    #[tokio::test]
    async fn l1_a_hundred_parallel_guesses_cost_seven_computations() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for who in ["alice", "nobody"] {
            let before = verifier.computed();
            let guesses = (0..100).map(|_| async {
                let attempt = world.attempt(0);
                verifier.check_password(&name(who), "wrong", &attempt).await
            });
            let verdicts = join_all(guesses).await;
            assert!(!verdicts.iter().any(|verdict| matches!(verdict, Ok(Verdict::Right(_)))));
            assert_eq!(verifier.computed() - before, 7, "{who}");
        }
        assert_eq!(used(&world, "alice").await, 7);
    }

    #[tokio::test]
    async fn fifty_right_passwords_at_once_lock_nobody_out() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        let log_ins = (0..50).map(|_| password(&verifier, &world, "alice", PASSWORD));
        assert!(join_all(log_ins).await.into_iter().all(|verdict| verdict == Verdict::Right(())));
        assert_eq!(used(&world, "alice").await, 0);
    }

    #[tokio::test]
    async fn l2_of_a_hundred_with_one_right_at_most_seven_wrong_ones_are_computed() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        let guesses = (0..100).map(|number| {
            let (verifier, world) = (&verifier, &world);
            let text = if number == 50 { PASSWORD } else { "wrong" };
            async move { verifier.check_password(&name("alice"), text, &world.attempt(0)).await }
        });
        let verdicts = join_all(guesses).await;
        let right = verdicts.iter().filter(|verdict| matches!(verdict, Ok(Verdict::Right(_)))).count() as u64;
        assert!(right <= 1);
        assert_eq!(verifier.computed(), 7 + right, "seven wrong ones, whoever won");
        assert_eq!(used(&world, "alice").await, 7);
    }

    #[tokio::test]
    async fn an_attempt_that_the_store_could_not_give_back_is_given_back_before_the_next_one() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for _ in 0..6 {
            password(&verifier, &world, "alice", "wrong").await;
        }
        let id = world.store.account(&name("alice")).await.unwrap().unwrap().user.id;
        verifier.owed.lock().unwrap().insert(BudgetKey::User(id), 5);
        assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
        assert_eq!(used(&world, "alice").await, 2);
        assert!(verifier.owed.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn sec_r7_a_right_password_is_kept_at_todays_cost() {
        let world = Fixture::new().await;
        let cost = HashCost { memory_kib: 16, passes: 2, lanes: 1 };
        let hashing = HashingSettings { cost, threads: 1, queue_max: 4 };
        let strangers = Arc::new(Strangers::new(world.store.clone()));
        let master = crate::portal::tests::fixture::master();
        let security = SecurityDefaults::default();
        let verifier = Verifier::new(world.store.clone(), strangers, &master, hashing, security).unwrap();
        let kept = async || world.store.account(&name("alice")).await.unwrap().unwrap().password.unwrap().hash;
        assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
        assert!(!kept().await.has_cost(cost));
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
        assert!(kept().await.has_cost(cost));
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
    }

    #[tokio::test]
    async fn p1_the_same_code_twenty_times_in_parallel_is_right_once() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        let account = world.store.account(&name("alice")).await.unwrap().unwrap();
        let shown: TotpCode = code(0).parse().unwrap();
        let verdicts = join_all((0..20).map(|_| async {
            let attempt = world.attempt(0);
            verifier.check_code(&account, &shown, &attempt).await.unwrap()
        }));
        let right = verdicts.await.into_iter().filter(|verdict| *verdict == Verdict::Right(())).count();
        assert_eq!(right, 1);
    }

    #[tokio::test]
    async fn p4_a_hundred_parallel_wrong_codes_use_up_the_same_seven_attempts() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for _ in 0..4 {
            assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
        }
        let account = world.store.account(&name("alice")).await.unwrap().unwrap();
        let wrong: TotpCode = code(300).parse().unwrap();
        let verdicts = join_all((0..100).map(|_| async {
            let attempt = world.attempt(0);
            verifier.check_code(&account, &wrong, &attempt).await.unwrap()
        }));
        let verdicts = verdicts.await;
        let count = |want| verdicts.iter().filter(|verdict| **verdict == want).count();
        assert_eq!((count(Verdict::Right(())), count(Verdict::Wrong), count(Verdict::Locked)), (0, 2, 98));
        let right: TotpCode = code(0).parse().unwrap();
        assert_eq!(verifier.check_code(&account, &right, &world.attempt(0)).await.unwrap(), Verdict::Locked);
    }

    #[tokio::test]
    async fn r58_a_right_password_gives_back_its_own_attempt_only_and_a_right_code_all() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for _ in 0..6 {
            password(&verifier, &world, "alice", "wrong").await;
        }
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
        assert_eq!(used(&world, "alice").await, 6);
        let account = world.store.account(&name("alice")).await.unwrap().unwrap();
        let right: TotpCode = code(0).parse().unwrap();
        assert_eq!(verifier.check_code(&account, &right, &world.attempt(0)).await.unwrap(), Verdict::Right(()));
        assert_eq!(used(&world, "alice").await, 0);
    }

    #[tokio::test]
    async fn l6_right_password_and_wrong_code_in_turn_lock_after_seven() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        let wrong: TotpCode = code(300).parse().unwrap();
        for turn in 1..=7 {
            assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()), "{turn}");
            let account = world.store.account(&name("alice")).await.unwrap().unwrap();
            let want = if turn < 7 { Verdict::Wrong } else { Verdict::Locked };
            assert_eq!(verifier.check_code(&account, &wrong, &world.attempt(0)).await.unwrap(), want, "{turn}");
        }
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Locked);
    }

    #[tokio::test]
    async fn r8_under_single_sign_on_a_password_is_neither_evaluated_nor_counted() {
        let world = Fixture::new().await;
        world.sso_for_all().await;
        let verifier = world.verifier();
        for _ in 0..9 {
            assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Wrong);
        }
        assert_eq!(used(&world, "alice").await, 0);
        let events = world.store.events(None, 1).await.unwrap();
        assert_eq!(events[0].reason.as_deref(), Some("sso_only"));
    }

    #[tokio::test]
    async fn r44_what_is_too_long_to_be_a_password_fails_without_being_hashed_and_counts() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for text in ["x".repeat(65), "x".repeat(1 << 20), "\u{1d504}".repeat(65)] {
            assert_eq!(password(&verifier, &world, "alice", &text).await, Verdict::Wrong);
        }
        assert_eq!((verifier.computed(), used(&world, "alice").await), (0, 3));
    }

    #[tokio::test]
    async fn c3_an_account_of_another_zone_is_nobody_here() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        let max = "max@muc.example".parse().unwrap();
        let verdict = verifier.check_password(&max, PASSWORD, &world.attempt(0)).await.unwrap();
        assert!(matches!(verdict, Verdict::Wrong));
        let zone = "de.localhost".parse().unwrap();
        let there = Attempt { zone: &zone, ..world.attempt(0) };
        assert!(matches!(verifier.check_password(&max, PASSWORD, &there).await.unwrap(), Verdict::Right(_)));
    }

    #[tokio::test]
    async fn a_tenants_own_limit_holds_for_names_nobody_has_in_its_domain_too() {
        let world = Fixture::new().await;
        let mut tenant = world.store.tenant_by_slug("acme").await.unwrap().unwrap();
        tenant.overrides.attempts_max = NonZeroU8::new(2);
        world
            .store
            .update_tenant(&tenant, &crate::portal::tests::fixture::event(EventKind::TenantChanged))
            .await
            .unwrap();
        let verifier = world.verifier();
        for who in ["alice", "nobody"] {
            assert_eq!(password(&verifier, &world, who, "wrong").await, Verdict::Wrong, "{who}");
            assert_eq!(password(&verifier, &world, who, "wrong").await, Verdict::Locked, "{who}");
        }
    }

    #[tokio::test]
    async fn d4_what_the_pool_cannot_take_is_refused_before_it_costs_an_attempt() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        let held = verifier.fill();
        let refused = verifier.check_password(&name("alice"), PASSWORD, &world.attempt(0)).await;
        assert!(matches!(refused, Err(VerifyFault::Overloaded)));
        drop(held);
        assert_eq!(used(&world, "alice").await, 0);
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
    }

    #[tokio::test]
    async fn sec_r87_every_failure_and_the_lock_are_logged_with_their_reason() {
        let world = Fixture::new().await;
        let verifier = world.verifier();
        for _ in 0..8 {
            password(&verifier, &world, "alice", "wrong").await;
        }
        let id = world.store.account(&name("alice")).await.unwrap().unwrap().user.id;
        let events = world.store.events(Some(id), 20).await.unwrap();
        let told: Vec<_> = events.iter().rev().map(|e| (e.kind.as_str(), e.reason.as_deref())).collect();
        let failed = ("login_failed", Some("wrong_password"));
        assert_eq!(told[told.len() - 9..told.len() - 2], [failed; 7]);
        assert_eq!(
            told[told.len() - 2..],
            [("account_locked", Some("wrong_password")), ("login_failed", Some("locked")),]
        );
    }
}
