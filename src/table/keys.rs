//! The key ring: which key signs assertions, which are published, and the assertion of each session.
//!
//! A key's life: made and published; signs from [`PUBLISHED_AHEAD`] later, so that a backend which keeps the key
//! set for as long as it was told never meets an unknown key; retired by the next key, whose turn to sign comes as
//! late, so until then the old one signs on; published for the overlap after that; removed. The very first key,
//! and one that replaces a leaked key at once, signs immediately: there is nothing older to trust.
//!
//! Which keys there are is the store's to say, so a rotation by command in another process is picked up within a
//! second. While the store cannot be read the keys at hand go on, but so does time: overlaps still end.
//!
//! *Why is the ring no part of the sessions?* It fails differently: without the store sessions cannot be trusted,
//! but a session that is trusted can be vouched for with the keys at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use serde_json::json;
use zeroize::Zeroizing;

use super::signer::{Signer, generate};
use crate::assertion::{AssertionSettings, Claims, KeyAlgorithm, LIFETIME_MAX, LIFETIME_MIN};
use crate::base::{Ttl, UnixTime};
use crate::machine::{Clock, EntropyFault, random};
use crate::session::{CachedAssertion, Session};
use crate::store::{SigningKeyRow, Store, StoreFault};
use crate::telemetry::Actor;
use crate::zone::Zone;

/// What the key set's response says of its age: the `Cache-Control` value.
pub const JWKS_CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// How long a new key is published before it signs: twice the key set's age in caches.
pub const PUBLISHED_AHEAD: Ttl = Ttl::seconds_const(120);

/// An assertion is not sent in the last seconds of its life: it has a way to go, and clocks differ.
const USE_BEFORE_EXPIRY_SECONDS: u64 = 5;

/// How often the store is asked which keys there are.
const POLL: Duration = Duration::from_secs(1);

/// Why no assertion, or no key, could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The store gave no keys or took none.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No randomness: nothing may be signed.
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    /// A stored key is not a private key of its algorithm, or not the one its id names.
    #[error("a signing key in the store cannot be read: rotate the keys at once")]
    Unreadable,
    /// No key is left. The next load makes one.
    #[error("there is no key to sign with: rotate the keys")]
    NoKey,
    /// An assertion could not be written down. Its parts are bounded and always can.
    #[error("the assertion could not be written")]
    Unwritable,
}

/// How a new key takes over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rotation {
    /// The old key signs until the new one is known everywhere, and stays published for the overlap.
    Overlap,
    /// The old keys are gone from the key set at once: one has leaked. Backends refuse requests until they have
    /// read the key set again.
    AtOnce,
}

/// The keys that sign and are published, and the way to a session's assertion.
#[derive(Debug)]
pub struct KeyRing {
    store: Store,
    settings: ArcSwap<AssertionSettings>,
    ring: ArcSwap<Ring>,
    generation: AtomicU64,
    signed: AtomicU64,
    unsigned: AtomicU64,
}

/// What monitoring asks of the keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyFacts {
    /// When the key that signs was made.
    pub signing_since: UnixTime,
    /// How many keys are published.
    pub published: u64,
    /// Assertions signed since the start.
    pub signed: u64,
    /// Assertions that could not be signed.
    pub unsigned: u64,
}

#[derive(Debug)]
struct Ring {
    keys: Vec<Arc<Key>>,
    signing: Arc<Key>,
    jwks: Bytes,
}

#[derive(Debug)]
struct Key {
    signer: Arc<Signer>,
    life: Life,
}

/// When a key came and went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Life {
    created_at: UnixTime,
    retired_at: Option<UnixTime>,
}

impl Life {
    /// The last assertion is signed when the successor's turn comes, and verified for the overlap after that.
    fn is_published(self, overlap: Ttl, now: UnixTime) -> bool {
        self.retired_at.is_none_or(|retired| now < retired.plus(PUBLISHED_AHEAD).plus(overlap))
    }

    fn may_sign(self, now: UnixTime) -> bool {
        self.created_at.plus(PUBLISHED_AHEAD) <= now
    }
}

/// Which of the published keys signs: the youngest that has been published long enough, or else the oldest.
fn signing(published: &[Life], now: UnixTime) -> Option<usize> {
    let age = |(_, life): &(usize, &Life)| (life.created_at, life.retired_at.is_none());
    let ready = published.iter().enumerate().filter(|(_, life)| life.may_sign(now)).max_by_key(age);
    ready.or_else(|| published.iter().enumerate().min_by_key(age)).map(|(at, _)| at)
}

impl Ring {
    fn new(keys: Vec<Arc<Key>>, overlap: Ttl, now: UnixTime) -> Result<Self, KeyFault> {
        let keys: Vec<_> = keys.into_iter().filter(|key| key.life.is_published(overlap, now)).collect();
        let lives: Vec<_> = keys.iter().map(|key| key.life).collect();
        let signing = signing(&lives, now).and_then(|at| keys.get(at)).ok_or(KeyFault::NoKey)?;
        let jwks: Vec<_> = keys.iter().map(|key| key.signer.jwk()).collect::<Result<_, _>>()?;
        let jwks = Bytes::from(json!({ "keys": jwks }).to_string());
        Ok(Self { signing: Arc::clone(signing), jwks, keys })
    }

    /// The key of a stored row; only a row that is new here is parsed.
    fn key(&self, row: SigningKeyRow) -> Result<Arc<Key>, KeyFault> {
        let life = row_life(&row);
        match self.keys.iter().find(|key| key.signer.kid() == row.kid && key.life == life) {
            Some(known) => Ok(Arc::clone(known)),
            None => parse(row),
        }
    }
}

fn row_life(row: &SigningKeyRow) -> Life {
    Life { created_at: row.created_at, retired_at: row.retired_at }
}

fn parse(row: SigningKeyRow) -> Result<Arc<Key>, KeyFault> {
    let life = row_life(&row);
    let pkcs8 = Zeroizing::new(row.pkcs8);
    let signer = Arc::new(Signer::from_pkcs8(row.algorithm, &pkcs8)?);
    if signer.kid() != row.kid {
        return Err(KeyFault::Unreadable);
    }
    Ok(Arc::new(Key { signer, life }))
}

/// Makes a new signing key in the store and returns its id. A running gateway picks it up by itself.
pub async fn rotate_signing_key(
    store: &Store,
    algorithm: KeyAlgorithm,
    rotation: Rotation,
    actor: Actor,
    now: UnixTime,
) -> Result<String, KeyFault> {
    let pkcs8 = generate(algorithm)?;
    let kid = Signer::from_pkcs8(algorithm, &pkcs8)?.kid().to_owned();
    let row =
        SigningKeyRow { kid: kid.clone(), algorithm, pkcs8: pkcs8.to_vec(), created_at: now, retired_at: None };
    let added = store.add_signing_key(&row, actor).await;
    drop(Zeroizing::new(row.pkcs8));
    added?;
    match rotation {
        Rotation::Overlap => {}
        Rotation::AtOnce => {
            // Everything that was retired up to now, the predecessor included.
            store.remove_signing_keys(UnixTime::from_seconds(now.seconds().saturating_add(1))).await?;
        }
    }
    Ok(kid)
}

/// The configuration refuses other lifetimes; beyond these a stolen assertion would live too long.
fn bounded(settings: AssertionSettings) -> AssertionSettings {
    let lifetime = settings.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX);
    AssertionSettings { lifetime, overlap: settings.overlap.max(lifetime), ..settings }
}

/// Makes the first key, and a new one when the operator changed the algorithm.
async fn make_current(store: &Store, algorithm: KeyAlgorithm, now: UnixTime) -> Result<(), KeyFault> {
    let rows = store.signing_keys().await?;
    let current = rows.iter().find(|row| row.retired_at.is_none());
    if current.is_none_or(|row| row.algorithm != algorithm) {
        rotate_signing_key(store, algorithm, Rotation::Overlap, Actor::System, now).await?;
    }
    Ok(())
}

impl KeyRing {
    /// Reads the keys; makes the first one, and a new one when the operator changed the algorithm.
    pub async fn load(store: Store, settings: AssertionSettings, now: UnixTime) -> Result<Arc<Self>, KeyFault> {
        let settings = bounded(settings);
        make_current(&store, settings.algorithm, now).await?;
        let keys = store.signing_keys().await?.into_iter().map(parse).collect::<Result<_, _>>()?;
        let ring = ArcSwap::from_pointee(Ring::new(keys, settings.overlap, now)?);
        let settings = ArcSwap::from_pointee(settings);
        Ok(Arc::new(Self {
            store,
            settings,
            ring,
            generation: AtomicU64::new(0),
            signed: AtomicU64::new(0),
            unsigned: AtomicU64::new(0),
        }))
    }

    /// Makes a key of the algorithm that is asked for, unless the current one is of it. All that can go wrong with new
    /// settings goes wrong here; [`KeyRing::adopt`] follows.
    pub async fn prepare(&self, settings: AssertionSettings, now: UnixTime) -> Result<(), KeyFault> {
        make_current(&self.store, settings.algorithm, now).await
    }

    /// Works with these settings from here on. What is cached is signed anew by the next request of its session.
    pub fn adopt(&self, settings: AssertionSettings) {
        let settings = bounded(settings);
        if **self.settings.load() != settings {
            self.settings.store(Arc::new(settings));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// The published keys as a JWK Set (RFC 7517 section 5), prebuilt. To be sent as `application/jwk-set+json`
    /// with [`JWKS_CACHE_CONTROL`].
    pub fn jwks(&self) -> Bytes {
        self.ring.load().jwks.clone()
    }

    /// The id of the key that signs at present.
    pub fn signing_kid(&self) -> String {
        self.ring.load().signing.signer.kid().to_owned()
    }

    /// The key that signs at present: also says to identity providers who we are (`private_key_jwt`).
    pub fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.ring.load().signing.signer)
    }

    /// What monitoring asks.
    pub fn facts(&self) -> KeyFacts {
        let ring = self.ring.load();
        KeyFacts {
            signing_since: ring.signing.life.created_at,
            published: ring.keys.len() as u64,
            signed: self.signed.load(Ordering::Relaxed),
            unsigned: self.unsigned.load(Ordering::Relaxed),
        }
    }

    /// The session's assertion, as it goes upstream in [`crate::assertion::ASSERTION_HEADER`].
    ///
    /// A hit neither allocates nor locks. From 70 % of its lifetime on, one request signs the next while the
    /// others go on with the present one. Errors only when nothing could be signed and nothing is left to send.
    pub fn assertion(&self, session: &Session, zone: &Zone, now: UnixTime) -> Result<HeaderValue, KeyFault> {
        let generation = self.generation.load(Ordering::Acquire);
        let cached = session.assertion.load();
        let Some(present) = cached.as_deref().filter(|present| present.is_usable(zone, now)) else {
            return self.sign(session, zone, now, generation);
        };
        let due = present.is_due(now, generation);
        if !due || present.refreshing.swap(true, Ordering::AcqRel) {
            return Ok(present.value.clone());
        }
        match self.sign(session, zone, now, generation) {
            Ok(value) => Ok(value),
            Err(fault) => {
                // The present one still serves, and the next request tries again.
                tracing::warn!(%fault, "an assertion could not be renewed");
                present.refreshing.store(false, Ordering::Release);
                Ok(present.value.clone())
            }
        }
    }

    #[cold]
    fn sign(
        &self,
        session: &Session,
        zone: &Zone,
        now: UnixTime,
        generation: u64,
    ) -> Result<HeaderValue, KeyFault> {
        let signed = self.try_sign(session, zone, now, generation);
        let count = if signed.is_ok() { &self.signed } else { &self.unsigned };
        count.fetch_add(1, Ordering::Relaxed);
        signed
    }

    /// `generation` was read before the ring is: a rotation in between makes this one stale, never fresh.
    fn try_sign(
        &self,
        session: &Session,
        zone: &Zone,
        now: UnixTime,
        generation: u64,
    ) -> Result<HeaderValue, KeyFault> {
        let lifetime = self.settings.load().lifetime;
        let claims = Claims::new(zone, session, now, lifetime, random()?);
        let payload = serde_json::to_vec(&claims).map_err(|_| KeyFault::Unwritable)?;
        let jws = self.ring.load().signing.signer.sign(&payload)?;
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(jws)).map_err(|_| KeyFault::Unwritable)?;
        value.set_sensitive(true);
        let seconds = u64::from(lifetime.seconds());
        let after = |seconds: u64| UnixTime::from_seconds(now.seconds().saturating_add(seconds));
        session.assertion.store(Some(Arc::new(CachedAssertion {
            // The first clone of a value allocates its reference count; later ones, on hits, do not.
            value: value.clone(),
            issuer: Arc::clone(&zone.origin),
            audience: Arc::clone(&zone.audience),
            issued_at: now,
            refresh_at: after(seconds * 7 / 10),
            expires_at: after(seconds.saturating_sub(USE_BEFORE_EXPIRY_SECONDS)),
            generation,
            refreshing: AtomicBool::new(false),
        })));
        Ok(value)
    }

    /// Reads the keys anew, and lets time pass for those at hand when the store cannot be read.
    pub async fn refresh(&self, now: UnixTime) -> Result<(), KeyFault> {
        let present = self.ring.load_full();
        let (keys, fault) = match self.read(&present, now).await {
            Ok(keys) => (keys, None),
            Err(fault) => (present.keys.clone(), Some(fault)),
        };
        let ring = Ring::new(keys, self.settings.load().overlap, now)?;
        let changed = ring.signing.signer.kid() != present.signing.signer.kid();
        self.ring.store(Arc::new(ring));
        if changed {
            self.generation.fetch_add(1, Ordering::Release);
        }
        fault.map_or(Ok(()), Err)
    }

    async fn read(&self, present: &Ring, now: UnixTime) -> Result<Vec<Arc<Key>>, KeyFault> {
        let rows = self.store.signing_keys().await?;
        let overlap = self.settings.load().overlap;
        if rows.iter().any(|row| !row_life(row).is_published(overlap, now)) {
            // `is_published` backwards: retired at or before this point in time.
            let span = u64::from(PUBLISHED_AHEAD.seconds()) + u64::from(overlap.seconds());
            let before = UnixTime::from_seconds(now.seconds().saturating_sub(span).saturating_add(1));
            self.store.remove_signing_keys(before).await?;
        }
        rows.into_iter().map(|row| present.key(row)).collect()
    }

    /// Follows the store until the task is dropped.
    pub async fn run(self: Arc<Self>, clock: Arc<Clock>) {
        let mut interval = tokio::time::interval(POLL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            interval.tick().await;
            let outcome = self.refresh(clock.now()).await;
            match &outcome {
                Err(fault) if !failing => {
                    tracing::warn!(%fault, "the signing keys cannot be read; those at hand go on");
                }
                Ok(()) if failing => tracing::info!("the signing keys can be read again"),
                Ok(()) | Err(_) => {}
            }
            failing = outcome.is_err();
        }
    }
}

#[cfg(test)]
mod tests;
