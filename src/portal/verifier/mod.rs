//! The one place that holds a password or a code against what is stored, for every way in: the form, native
//! clients, the account page.
//!
//! Everything else follows from the order of things here. An attempt is taken from the budget before anything is
//! compared, so a hundred parallel guesses cost at most the budget (L1). A name nobody has, an account that may not
//! log in this way and one without a password are hashed against a dummy of the same cost and answered with the
//! same word, so nothing tells them apart (SEC-R11). Locked is answered before hashing, for names nobody has as
//! well (R59).
//!
//! A right password gives its own attempt back, and only that one: with the code still to come it proves too
//! little to forget earlier failures (R58, SEC-R10).

mod shed;
mod turns;

pub use shed::Shed;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use self::turns::Turns;
use super::pool::{HashPool, PoolFault};
use super::strangers::Strangers;
use super::throttle::Throttle;
use crate::base::{Hostname, MasterKey, RequestId, UnixTime, Username};
use crate::config::HashingSettings;
use crate::credential::{
    HashCost, HashProblem, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MAX, PasswordHash, Pepper, TotpCode, accept,
    hash_password, normalise, verify_password,
};
use crate::directory::{Methods, SecurityDefaults, methods, must_use_suite};
use crate::machine::{EntropyFault, Stopwatch, random};
use crate::session::Class;
use crate::store::{Account, BudgetKey, Debit, Owner, Store, StoreFault};
use crate::telemetry::{Actor, Durations, EventKind, SecurityEvent};

/// NFC may shorten a text, but no password of 256 bytes comes from one of this length.
const RAW_BYTES_MAX: usize = 16 * PASSWORD_BYTES_MAX;

/// The guarded verifier, under one snapshot of the settings. What counts and queues is shared with the snapshots before
/// and after it.
#[derive(Debug)]
pub struct Verifier {
    turns: Arc<Turns>,
    /// Attempts that were debited for a right password while the store could not give them back: they are, before
    /// the next one is debited. Bounded by the directory; a restart forgets it.
    owed: Arc<Mutex<HashMap<BudgetKey, Owed>>>,
    store: Store,
    strangers: Arc<Strangers>,
    throttle: Arc<Throttle>,
    pool: Arc<HashPool>,
    secrets: Arc<Secrets>,
    shadow_key: aws_lc_rs::hmac::Key,
    security: SecurityDefaults,
    /// Whether there is a suite: while there is none, nobody must use it.
    has_suite: bool,
    computed: Arc<AtomicU64>,
    took: Arc<Durations>,
}

/// How many attempts are to be given back, and whether one of them locked the account.
#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    count: u8,
    locks: bool,
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

/// Whether a password or a code was right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict<T> {
    /// It was right.
    Right(T),
    /// It was wrong, or there is nothing that it could be compared with. The client must not learn which.
    Wrong,
    /// No attempt is left (R52): there was none before this one, or this one was wrong and the last.
    Locked,
}

/// Why it is not known whether a password or a code was right.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFault {
    /// It was turned away before it was compared.
    #[error("too many log-ins at once ({})", .0.name())]
    Shed(Shed),
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

/// Why an account that exists is not asked for its password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ineligible {
    /// Its tenant's own provider says who it is.
    SsoOnly,
    /// The suite does.
    SuiteOnly,
    /// It is a program's.
    ApiOnly,
    /// It is switched off.
    Inactive,
    /// It is of another zone's tenant.
    OtherZone,
    /// It has none.
    NoPassword,
}

impl Ineligible {
    /// The name in logs.
    const fn name(self) -> &'static str {
        match self {
            Self::SsoOnly => "sso_only",
            Self::SuiteOnly => "suite_only",
            Self::ApiOnly => "api_only",
            Self::Inactive => "inactive",
            Self::OtherZone => "other_zone",
            Self::NoPassword => "no_password",
        }
    }

    /// Whether somebody else says who it is, so that a password is no attempt (R8).
    const fn is_asked_elsewhere(self) -> bool {
        match self {
            Self::SsoOnly | Self::SuiteOnly => true,
            Self::ApiOnly | Self::Inactive | Self::OtherZone | Self::NoPassword => false,
        }
    }
}

impl Verifier {
    /// Starts the hashing threads. `security`: what holds where a tenant sets nothing else. `has_suite`: whether the
    /// installation has the vendor's suite.
    pub(super) fn new(
        store: Store,
        strangers: Arc<Strangers>,
        throttle: Throttle,
        master: &MasterKey,
        hashing: HashingSettings,
        security: SecurityDefaults,
        has_suite: bool,
    ) -> Result<Self, VerifierProblem> {
        let pepper = Pepper::of(master);
        let dummy = dummy(&pepper, hashing.cost)?;
        Ok(Self {
            turns: Arc::new(Turns::new()),
            owed: Arc::default(),
            store,
            strangers,
            throttle: Arc::new(throttle),
            pool: Arc::new(HashPool::start(hashing.threads, hashing.queue_max)?),
            secrets: Arc::new(Secrets { pepper, cost: hashing.cost, dummy }),
            shadow_key: master.derive_mac("shadow budget v1"),
            security,
            has_suite,
            computed: Arc::new(AtomicU64::new(0)),
            took: Arc::default(),
        })
    }

    /// The same under other settings: hashes of their cost from here on, on the same threads. May compute a hash.
    pub(super) fn under(
        &self,
        hashing: HashingSettings,
        security: SecurityDefaults,
        logins_per_source: NonZeroU32,
        has_suite: bool,
    ) -> Result<Self, VerifierProblem> {
        let secrets = if self.secrets.cost == hashing.cost {
            Arc::clone(&self.secrets)
        } else {
            let pepper = self.secrets.pepper.clone();
            let dummy = dummy(&pepper, hashing.cost)?;
            Arc::new(Secrets { pepper, cost: hashing.cost, dummy })
        };
        Ok(Self {
            turns: Arc::clone(&self.turns),
            owed: Arc::clone(&self.owed),
            store: self.store.clone(),
            strangers: Arc::clone(&self.strangers),
            throttle: Throttle::under(&self.throttle, logins_per_source),
            pool: Arc::clone(&self.pool),
            secrets,
            shadow_key: self.shadow_key.clone(),
            security,
            has_suite,
            computed: Arc::clone(&self.computed),
            took: Arc::clone(&self.took),
        })
    }

    /// Makes the hashing threads and their queue, which all snapshots share, those of `hashing`.
    pub fn resize(&self, hashing: HashingSettings) -> Result<(), VerifierProblem> {
        Ok(self.pool.resize(hashing.threads, hashing.queue_max)?)
    }

    /// Whether one more log-in from `address` is taken, which costs a commit: a stranger can begin one for nothing.
    pub fn takes(&self, address: IpAddr) -> bool {
        self.throttle.allows(address)
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
        if !self.throttle.allows(attempt.address) {
            return self.shed(attempt, Shed::Source).await;
        }
        // A storm is turned away before the store is asked four times for each of it.
        if self.pool.is_full() {
            return self.shed(attempt, Shed::Queue).await;
        }
        // Both questions are asked for every name, so that the time tells nothing.
        let tenant = self.store.tenant_by_domain(username.domain()).await?;
        let owner = self.store.owner(username).await?;
        // Of the account's own tenant, whatever became of its domain; else what the domain's users have.
        let overrides = owner.map(|owner| owner.overrides).or(tenant.map(|tenant| tenant.overrides));
        let limit = self.security.with(&overrides.unwrap_or_default()).attempts_max;
        let key = match owner {
            Some(owner) if !self.is_asked_elsewhere(&owner) => BudgetKey::User(owner.user),
            // Whose password is not evaluated has no attempts to lose (R8), and is answered, try by try, like a name
            // that nobody has (E5).
            Some(_) | None => self.shadow(username),
        };
        if self.store.is_locked(key).await? && !self.owes(key) {
            return self.locked(attempt, owner).await;
        }
        // Only now, when a hash is computed next to which this takes no time.
        let account = self.store.account(username).await?;
        let Some(_turn) = self.turns.take(key).await else { return self.shed(attempt, Shed::Account).await };
        self.settle(key).await?;
        // The place comes before the attempt: what the pool cannot take must not cost one.
        let Some(place) = self.pool.place() else { return self.shed(attempt, Shed::Queue).await };
        let locks = match self.store.debit(key, limit, attempt.now).await? {
            Debit::Taken { locks } => locks,
            Debit::Locked => return self.locked(attempt, owner).await,
        };
        let asked = account.as_ref().map(|account| eligible(account, attempt.zone, self.has_suite).cloned());
        let (hash, ineligible) = match asked {
            Some(Ok(hash)) => (Some(hash), None),
            Some(Err(ineligible)) => (None, Some(ineligible)),
            None => (None, None),
        };
        let held = match could_be_password(password) {
            None => Hold::wrong(),
            Some(password) => {
                let secrets = Arc::clone(&self.secrets);
                let computed = Arc::clone(&self.computed);
                let took = Arc::clone(&self.took);
                let job = move || {
                    let begun = Stopwatch::start();
                    let held = secrets.hold(&password, hash.as_ref(), &computed);
                    took.observe(begun.elapsed());
                    held
                };
                place.run(job).await?
            }
        };
        match (account, ineligible) {
            (Some(account), None) if held.right => {
                self.give_back(key, locks).await;
                self.rehash(&account, held.fresh).await;
                Ok(Verdict::Right(Box::new(account)))
            }
            (Some(account), Some(ineligible)) if ineligible.is_asked_elsewhere() => {
                self.log(attempt, EventKind::LoginFailed, Some(&account), ineligible.name()).await?;
                match key {
                    BudgetKey::Shadow(_) if locks => Ok(Verdict::Locked),
                    BudgetKey::Shadow(_) => Ok(Verdict::Wrong),
                    // It was switched on a moment ago.
                    BudgetKey::User(_) => {
                        self.give_back(key, locks).await;
                        Ok(Verdict::Wrong)
                    }
                }
            }
            (None, _) => self.failed(attempt, None, "unknown_user", locks).await,
            (Some(account), ineligible) => {
                let reason = ineligible.map_or("wrong_password", Ineligible::name);
                self.failed(attempt, Some(&account), reason, locks).await
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
        if !self.throttle.allows(attempt.address) {
            return self.shed(attempt, Shed::Source).await;
        }
        let limit = self.security.with(&account.tenant.overrides).attempts_max;
        let user = account.user.id;
        let key = BudgetKey::User(user);
        if self.store.is_locked(key).await? && !self.owes(key) {
            return self.locked(attempt, Some(owner_of(account))).await;
        }
        let Some(_turn) = self.turns.take(key).await else { return self.shed(attempt, Shed::Account).await };
        self.settle(key).await?;
        let locks = match self.store.debit(key, limit, attempt.now).await? {
            Debit::Taken { locks } => locks,
            Debit::Locked => return self.locked(attempt, Some(owner_of(account))).await,
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
        self.failed(attempt, Some(account), reason, locks).await
    }

    /// How many hashes were computed since the start: what the tests of the budget count, and a metric.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// How many passwords wait to be hashed or are being hashed.
    pub fn busy(&self) -> usize {
        self.pool.busy()
    }

    /// How many may, before more are turned away.
    pub fn room(&self) -> usize {
        self.pool.most()
    }

    /// How long hashing took.
    pub const fn hash_durations(&self) -> &Arc<Durations> {
        &self.took
    }

    /// Takes every place in the pool.
    #[cfg(test)]
    pub(super) fn fill(&self) -> Vec<super::pool::Place<'_>> {
        std::iter::from_fn(|| self.pool.place()).collect()
    }

    /// Whether somebody else says who that is, and no password does.
    const fn is_asked_elsewhere(&self, owner: &Owner) -> bool {
        owner.at_provider || (self.has_suite && owner.must_use_suite)
    }

    fn shadow(&self, username: &Username) -> BudgetKey {
        let tag = aws_lc_rs::hmac::sign(&self.shadow_key, username.as_str().as_bytes());
        let mut subject = [0; 16];
        subject.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        BudgetKey::Shadow(subject)
    }

    /// Gives an attempt back, now or, when the store cannot, before the next one: a right password locks nobody out.
    async fn give_back(&self, key: BudgetKey, locks: bool) {
        if let Err(fault) = self.store.refund(key, locks).await {
            tracing::warn!(%fault, "an attempt is given back later");
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            let owed = owed.entry(key).or_default();
            *owed = Owed { count: owed.count.saturating_add(1), locks: owed.locks || locks };
        }
    }

    /// Whether something is to be given back: the lock may be of a right password, then.
    fn owes(&self, key: BudgetKey) -> bool {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }

    /// Gives back what is owed. The caller holds the turn.
    async fn settle(&self, key: BudgetKey) -> Result<(), StoreFault> {
        loop {
            let due = self.owed.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
            let Some(due) = due else { return Ok(()) };
            self.store.refund(key, due.locks).await?;
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            match owed.get_mut(&key) {
                Some(left) if left.count > 1 => *left = Owed { count: left.count - 1, locks: false },
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

    async fn locked<T>(&self, attempt: &Attempt<'_>, owner: Option<Owner>) -> Result<Verdict<T>, VerifyFault> {
        self.strangers.note(told(attempt, EventKind::LoginFailed, owner, "locked")).await?;
        Ok(Verdict::Locked)
    }

    async fn shed<T>(&self, attempt: &Attempt<'_>, shed: Shed) -> Result<T, VerifyFault> {
        let event = attempt.event(EventKind::LoginShed, Actor::Stranger);
        self.strangers.note(SecurityEvent { reason: Some(shed.name()), ..event }).await?;
        Err(VerifyFault::Shed(shed))
    }

    async fn failed<T>(
        &self,
        attempt: &Attempt<'_>,
        account: Option<&Account>,
        reason: &'static str,
        locks: bool,
    ) -> Result<Verdict<T>, VerifyFault> {
        self.log(attempt, EventKind::LoginFailed, account, reason).await?;
        if !locks {
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
        self.store.append_event(&told(attempt, kind, account.map(owner_of), reason)).await
    }
}

fn owner_of(account: &Account) -> Owner {
    Owner {
        user: account.user.id,
        tenant: account.tenant.id,
        overrides: account.tenant.overrides,
        at_provider: methods(&account.tenant, &account.user) == Methods::Sso,
        must_use_suite: must_use_suite(&account.tenant, &account.user),
    }
}

/// What passwords are held against when there is nothing to hold them against. Nobody knows its password, and being
/// right would not help.
fn dummy(pepper: &Pepper, cost: HashCost) -> Result<PasswordHash, VerifierProblem> {
    let unknown: [u8; 16] = random()?;
    let text = u128::from_be_bytes(unknown).to_string();
    Ok(hash_password(&text, random()?, pepper, cost)?)
}

fn told(attempt: &Attempt<'_>, kind: EventKind, owner: Option<Owner>, reason: &'static str) -> SecurityEvent {
    SecurityEvent {
        tenant: owner.map(|owner| owner.tenant),
        user: owner.map(|owner| owner.user),
        reason: Some(reason),
        ..attempt.event(kind, Actor::Stranger)
    }
}

/// The hash to hold a password against, if this account may log in with one here.
fn eligible<'a>(account: &'a Account, zone: &Hostname, has_suite: bool) -> Result<&'a PasswordHash, Ineligible> {
    let password = account.password.as_ref().ok_or(Ineligible::NoPassword);
    match methods(&account.tenant, &account.user) {
        Methods::Sso => Err(Ineligible::SsoOnly),
        Methods::Api => Err(Ineligible::ApiOnly),
        Methods::LocalAndSuite if has_suite && must_use_suite(&account.tenant, &account.user) => {
            Err(Ineligible::SuiteOnly)
        }
        Methods::Local | Methods::LocalAndSuite if !account.user.active => Err(Ineligible::Inactive),
        // A tenant's users exist in its zone only: the wall holds even when the name was posted elsewhere.
        Methods::Local | Methods::LocalAndSuite if account.tenant.zone != *zone => Err(Ineligible::OtherZone),
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
mod tests;
