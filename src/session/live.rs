//! A session as the hot path sees it: everything a request needs is prebuilt, and what changes is an atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue};

use super::{Class, EndReason, Factors, Method, Principal, SessionRecord, SharedPrincipal, Terms};
use crate::base::{FlowId, SessionId, SessionKey, TokenDigest, UnixTime, UserId};
use crate::zone::{HeaderPreset, Zone};

/// Whether a session may still be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Liveness {
    /// It may.
    Live,
    /// It may not, and this is what its browser is told.
    Ended(EndReason),
}

/// A live session.
///
/// Once it has ended it stays ended: the reason is written once, and neither a later clock nor a clock set back
/// revives it.
///
/// *Why are its parts not those of [`SessionRecord`] and [`Principal`]?* A gateway holds millions of sessions. What they
/// have in common is shared, and what is left of one fits into 192 bytes, its counts of references included (a test
/// holds it); as record and principal it was twice that, and fifteen allocations.
#[derive(Debug)]
pub struct Session {
    /// The public name.
    pub id: SessionId,
    /// SHA-256 of the token in the browser's cookie.
    pub token: TokenDigest,
    /// The flow that ended in this session.
    pub flow: FlowId,
    /// Whose it is.
    pub user: UserId,
    /// Whose it is, as the application is told.
    pub principal: Arc<SharedPrincipal>,
    /// Tenant, zone and limits.
    pub terms: Arc<Terms>,
    /// The user's epoch at log-in; a later epoch kills the session.
    pub epoch: u64,
    /// When the factors were shown; zero where that is not known, because an `Option` would take eight bytes more.
    authenticated_at: UnixTime,
    /// When it began.
    pub started_at: UnixTime,
    /// Which slots it takes.
    pub class: Class,
    /// How it was proved.
    pub method: Method,
    /// With which factors.
    pub factors: Factors,
    /// The plain identity headers, once a request needed them: see [`crate::assertion::identity`].
    pub identity: IdentityCache,
    /// The signed assertion, once one was needed.
    pub assertion: AssertionCache,
    /// The device's label and address, a line each: an address has no line's end in it.
    device: Box<str>,
    last_seen: AtomicU64,
    ended: AtomicU8,
    user_epoch: Arc<AtomicU64>,
}

impl Session {
    /// A session that has just begun or was loaded from the store, not ended, and that shares nothing but its epoch.
    pub fn new(record: &SessionRecord, principal: &Principal, user_epoch: Arc<AtomicU64>) -> Self {
        let groups = principal.groups.as_slice().into();
        let shared = SharedPrincipal::new(principal, groups);
        Self::sharing(record, shared.into(), Terms::of(record, principal).into(), user_epoch)
    }

    /// The same with what others have too: `principal` is the user's, and `terms` are [`Terms::of`] the record.
    ///
    /// `user_epoch` is shared by all sessions of the user: whoever raises it above the epoch of the record kills
    /// them all with one store, and no late write brings one back.
    pub fn sharing(
        record: &SessionRecord,
        principal: Arc<SharedPrincipal>,
        terms: Arc<Terms>,
        user_epoch: Arc<AtomicU64>,
    ) -> Self {
        Self {
            id: record.id,
            token: record.token,
            flow: record.flow,
            user: record.user,
            principal,
            terms,
            epoch: record.epoch,
            authenticated_at: record.authenticated_at.unwrap_or_default(),
            started_at: record.started_at,
            class: record.class,
            method: record.method,
            factors: record.factors,
            identity: IdentityCache::default(),
            assertion: AssertionCache::default(),
            device: [record.device.label.as_str(), &record.device.address].join("\n").into(),
            last_seen: AtomicU64::new(record.last_seen.seconds()),
            ended: AtomicU8::new(0),
            user_epoch,
        }
    }

    /// The table's key.
    pub const fn key(&self) -> SessionKey {
        self.token.key()
    }

    /// `Firefox on Windows`, `LiveMobile`: for people, never for decisions.
    pub fn device_label(&self) -> &str {
        self.device.rsplit_once('\n').unwrap_or_default().0
    }

    /// The address the log-in came from.
    pub fn device_address(&self) -> &str {
        self.device.rsplit_once('\n').unwrap_or_default().1
    }

    /// The user's epoch now, which all sessions of the user look at.
    pub const fn user_epoch(&self) -> &Arc<AtomicU64> {
        &self.user_epoch
    }

    /// The last activity.
    pub fn last_seen(&self) -> UnixTime {
        UnixTime::from_seconds(self.last_seen.load(Ordering::Relaxed))
    }

    /// Whether the session may be used at `now`. A deadline that was seen once is final.
    pub fn liveness(&self, now: UnixTime) -> Liveness {
        match self.limits(now) {
            Liveness::Live => Liveness::Live,
            Liveness::Ended(reason) => {
                self.end(reason);
                Liveness::Ended(self.end_reason().unwrap_or(reason))
            }
        }
    }

    /// The same where activity is noted elsewhere: whether the session is idle is not decided here.
    pub fn liveness_but_idle(&self, now: UnixTime) -> Liveness {
        match self.limits(now) {
            Liveness::Ended(EndReason::Idle) if self.end_reason().is_none() => Liveness::Live,
            limits @ (Liveness::Live | Liveness::Ended(_)) => limits,
        }
    }

    fn limits(&self, now: UnixTime) -> Liveness {
        if let Some(reason) = self.end_reason() {
            return Liveness::Ended(reason);
        }
        if self.user_epoch.load(Ordering::Acquire) > self.epoch {
            return Liveness::Ended(EndReason::Revoked);
        }
        self.terms.lifetimes.check(self.started_at, self.last_seen(), now)
    }

    /// Drops what was made for requests, once no request can have come for as long as an assertion is used: most
    /// sessions are idle most of the time, and these are four times as large as all the rest of one.
    pub fn shed(&self, now: UnixTime) {
        if self.assertion.load().as_ref().is_some_and(|signed| signed.expires_at <= now) {
            self.assertion.store(None);
            self.identity.store(None);
        }
    }

    /// Records activity. Returns whether the value changed, so that it must be written back at some time.
    /// Never moves backwards, and does not write when nothing changed: the cache line stays shared.
    pub fn touch(&self, now: UnixTime) -> bool {
        let now = now.seconds();
        self.last_seen.load(Ordering::Relaxed) < now && self.last_seen.fetch_max(now, Ordering::Relaxed) < now
    }

    /// Ends the session. Returns whether this call did it; the first reason stays.
    pub fn end(&self, reason: EndReason) -> bool {
        self.ended.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// When the factors were shown, if that is known: see [`SessionRecord::authenticated_at`].
    pub fn authenticated_at(&self) -> Option<UnixTime> {
        Some(self.authenticated_at).filter(|at| *at != UnixTime::default())
    }

    /// Why the session ended, if it has been ended.
    pub fn end_reason(&self) -> Option<EndReason> {
        EndReason::from_repr(self.ended.load(Ordering::Acquire))
    }
}

/// The plain identity headers of a session.
///
/// *Why do they carry what they were made for?* A reload may change a zone's preset while its sessions live and while
/// requests of the settings before it are under way. Whoever sends headers compares: no walk over all sessions has to
/// be complete, and none can be overtaken by a session that begins.
#[derive(Debug, Eq, PartialEq)]
pub struct IdentityHeaders {
    /// The preset that they were made for, and that they are good for.
    pub preset: HeaderPreset,
    /// Names and values, in the order they are sent.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

/// A session's current identity headers; empty until the first request needs them.
pub type IdentityCache = ArcSwapOption<IdentityHeaders>;

/// A signed assertion as it goes upstream.
#[derive(Debug)]
pub struct CachedAssertion {
    /// The compact JWS.
    pub value: HeaderValue,
    /// Its `iss`: the zone's origin when it was signed.
    pub issuer: Arc<str>,
    /// Its `aud`: whom the zone's assertions were meant for then. A reload may change it.
    pub audience: Arc<str>,
    /// When it was signed; before that, the clock was set back and nobody would accept it.
    pub issued_at: UnixTime,
    /// From here on a new one is signed, while this one may still be used.
    pub refresh_at: UnixTime,
    /// From here on it must not be sent.
    pub expires_at: UnixTime,
    /// The key ring's generation it was signed under: a rotation makes it stale.
    pub generation: u64,
    /// Set by the one request that signs the next one; the others go on with this one meanwhile.
    pub refreshing: AtomicBool,
}

impl CachedAssertion {
    /// Whether it may be sent to the zone's application at `now`.
    pub fn is_usable(&self, zone: &Zone, now: UnixTime) -> bool {
        // Compared by pointer first: the text is looked at only after a reload.
        let meant_for_it = self.issuer == zone.origin && self.audience == zone.audience;
        meant_for_it && self.issued_at <= now && now < self.expires_at
    }

    /// Whether the next one is due at `now`, under the key ring's present generation.
    pub fn is_due(&self, now: UnixTime, generation: u64) -> bool {
        self.refresh_at <= now || self.generation != generation
    }
}

/// A session's current assertion; empty until the first request needs one.
pub type AssertionCache = ArcSwapOption<CachedAssertion>;
