//! The key ring: what it signs is verified with another library, and what it must not publish is looked for.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::base::MasterKey;
use crate::session::samples::{self, START};

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(START.seconds() + seconds)
}

/// A store in a directory that is removed with it.
async fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), &MasterKey::from_bytes([7; 32])).await.unwrap();
    (dir, store)
}

async fn ring(algorithm: KeyAlgorithm) -> (tempfile::TempDir, Store, Arc<KeyRing>) {
    let (dir, store) = store().await;
    let settings = AssertionSettings { algorithm, ..AssertionSettings::default() };
    let ring = KeyRing::load(store.clone(), settings, at(0)).await.unwrap();
    (dir, store, ring)
}

fn kids(ring: &KeyRing) -> Vec<String> {
    let set: JwkSet = serde_json::from_slice(&ring.jwks()).unwrap();
    set.keys.into_iter().map(|key| key.common.key_id.unwrap()).collect()
}

/// What the README tells backends to do: allow one algorithm, find the key by its id, check issuer and audience.
fn verify(jwks: &[u8], algorithm: Algorithm, assertion: &HeaderValue, audience: &str) -> Result<Value, String> {
    let text = assertion.to_str().unwrap();
    let header = jsonwebtoken::decode_header(text).map_err(|error| error.to_string())?;
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    let set: JwkSet = serde_json::from_slice(jwks).unwrap();
    let key = set.find(&header.kid.unwrap()).ok_or("unknown key")?;
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[audience]);
    rules.set_issuer(&["https://a.example"]);
    // Times are checked by the tests, which live in 1970.
    rules.validate_exp = false;
    rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    let key = DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<Value>(text, &key, &rules).map(|good| good.claims).map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_assertion_verifies_against_the_published_keys_in_its_own_zone_only() {
    for (ours, theirs) in [(KeyAlgorithm::Es256, Algorithm::ES256), (KeyAlgorithm::EdDsa, Algorithm::EdDSA)] {
        let (_dir, _store, ring) = ring(ours).await;
        let session = samples::session(&samples::record("a.example"));
        let assertion = ring.assertion(&session, &samples::zone("a.example"), at(10)).unwrap();
        assert!(assertion.is_sensitive(), "never indexed by HPACK, never printed");
        let claims = verify(&ring.jwks(), theirs, &assertion, "aud:a.example").unwrap();
        assert_eq!(claims["sub"], "03030303030303030303030303030303");
        assert_eq!(claims["exp"], at(70).seconds());
        verify(&ring.jwks(), theirs, &assertion, "aud:b.example").unwrap_err();
        let other = KeyRing::load(store().await.1, AssertionSettings::default(), at(0)).await.unwrap();
        assert_eq!(verify(&other.jwks(), theirs, &assertion, "aud:a.example"), Err("unknown key".into()));
    }
}

#[tokio::test]
async fn k3_neither_the_key_set_nor_debug_shows_a_private_key() {
    for algorithm in KeyAlgorithm::ALL {
        let (_dir, store, ring) = ring(algorithm).await;
        let set: Value = serde_json::from_slice(&ring.jwks()).unwrap();
        let members: Vec<_> = set["keys"][0].as_object().unwrap().keys().cloned().collect();
        let allowed = ["alg", "crv", "kid", "kty", "use", "x", "y"];
        assert!(members.iter().all(|member| allowed.contains(&member.as_str())), "{members:?}");
        let secret = store.signing_keys().await.unwrap().remove(0).pkcs8;
        assert!(
            !format!("{ring:?}").contains(&format!("{:?}", &secret[secret.len() - 8..]).replace(['[', ']'], ""))
        );
    }
}

#[tokio::test]
async fn one_assertion_serves_until_seventy_percent_of_its_life() {
    let (_dir, _store, ring) = ring(KeyAlgorithm::Es256).await;
    let (session, zone) = (samples::session(&samples::record("a.example")), samples::zone("a.example"));
    let sent = |seconds| ring.assertion(&session, &zone, at(seconds)).unwrap();
    let first = sent(0);
    assert_eq!(sent(41), first);
    let second = sent(42);
    assert_ne!(second, first);
    assert_eq!(sent(43), second);
    // Nobody asked for a while: the old one is not sent in its last seconds, nor after them.
    let third = sent(42 + 56);
    assert_ne!(third, second);
    // A clock that was set back: verifiers with the right time would refuse one from the future.
    assert_ne!(sent(42 + 55), third);
}

#[tokio::test]
async fn while_one_request_signs_the_others_go_on_with_the_present_one() {
    let (_dir, _store, ring) = ring(KeyAlgorithm::Es256).await;
    let (session, zone) = (samples::session(&samples::record("a.example")), samples::zone("a.example"));
    let present = ring.assertion(&session, &zone, at(0)).unwrap();
    session.assertion.load().as_deref().unwrap().refreshing.store(true, Ordering::Release);
    assert_eq!(ring.assertion(&session, &zone, at(50)).unwrap(), present);
    assert_ne!(ring.assertion(&session, &zone, at(55)).unwrap(), present, "but not beyond its life");
}

#[tokio::test]
async fn eight_threads_renew_an_assertion_once() {
    let (_dir, _store, ring) = ring(KeyAlgorithm::Es256).await;
    let (session, zone) = (samples::session(&samples::record("a.example")), samples::zone("a.example"));
    let present = ring.assertion(&session, &zone, at(0)).unwrap();
    let mut sent: Vec<_> = std::thread::scope(|scope| {
        let ask = || ring.assertion(&session, &zone, at(45)).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    sent.retain(|value| *value != present);
    sent.dedup();
    assert_eq!(sent.len(), 1, "one new assertion, whoever got it");
}

#[tokio::test]
async fn a_rotation_by_another_process_is_picked_up_and_loses_no_request() {
    let (dir, _store, ring) = ring(KeyAlgorithm::Es256).await;
    let (session, zone) = (samples::session(&samples::record("a.example")), samples::zone("a.example"));
    let old = ring.signing_kid();
    let start = 1000;
    let other = Store::open(&dir.path().join("store.db"), &MasterKey::from_bytes([7; 32])).await.unwrap();
    let new = rotate_signing_key(&other, KeyAlgorithm::Es256, Rotation::Overlap, Actor::Operator, at(start)).await;
    let new = new.unwrap();
    // A backend that caches the key set for as long as it is told never meets an unknown key.
    let mut cached = (ring.jwks(), at(start));
    for second in start..start + 400 {
        ring.refresh(at(second)).await.unwrap();
        if at(second).seconds_since(cached.1) >= 60 {
            cached = (ring.jwks(), at(second));
        }
        let assertion = ring.assertion(&session, &zone, at(second)).unwrap();
        verify(&cached.0, Algorithm::ES256, &assertion, "aud:a.example").unwrap();
        let signer = if second < start + 120 { &old } else { &new };
        assert_eq!(&ring.signing_kid(), signer, "second {second}");
        let header = jsonwebtoken::decode_header(assertion.to_str().unwrap()).unwrap();
        assert_eq!(header.kid.as_ref(), Some(signer), "a rotation makes the cached assertion stale");
    }
}

#[tokio::test]
async fn sec_r64_a_retired_key_is_published_for_the_overlap_and_then_gone_from_the_store_too() {
    let (_dir, store, ring) = ring(KeyAlgorithm::Es256).await;
    let old = ring.signing_kid();
    let new = rotate_signing_key(&store, KeyAlgorithm::Es256, Rotation::Overlap, Actor::Operator, at(500)).await;
    let new = new.unwrap();
    let week = u64::from(AssertionSettings::default().overlap.seconds());
    ring.refresh(at(500 + 120 + week - 1)).await.unwrap();
    assert!(kids(&ring).contains(&old) && kids(&ring).contains(&new));
    assert_eq!(store.signing_keys().await.unwrap().len(), 2);
    ring.refresh(at(500 + 120 + week)).await.unwrap();
    assert_eq!(kids(&ring), [new]);
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_leaked_key_is_gone_at_once() {
    let (_dir, store, ring) = ring(KeyAlgorithm::Es256).await;
    let (session, zone) = (samples::session(&samples::record("a.example")), samples::zone("a.example"));
    let forged = ring.assertion(&session, &zone, at(499)).unwrap();
    let new = rotate_signing_key(&store, KeyAlgorithm::EdDsa, Rotation::AtOnce, Actor::Operator, at(500)).await;
    ring.refresh(at(500)).await.unwrap();
    assert_eq!(kids(&ring), [new.unwrap()]);
    assert_eq!(verify(&ring.jwks(), Algorithm::ES256, &forged, "aud:a.example"), Err("unknown key".into()));
    let fresh = ring.assertion(&session, &zone, at(500)).unwrap();
    verify(&ring.jwks(), Algorithm::EdDSA, &fresh, "aud:a.example").unwrap();
}

#[tokio::test]
async fn a_restart_keeps_the_key_and_another_algorithm_brings_a_new_one() {
    let (_dir, store, first) = ring(KeyAlgorithm::Es256).await;
    let again = KeyRing::load(store.clone(), AssertionSettings::default(), at(9)).await.unwrap();
    assert_eq!(again.signing_kid(), first.signing_kid());
    let settings = AssertionSettings { algorithm: KeyAlgorithm::EdDsa, ..AssertionSettings::default() };
    let changed = KeyRing::load(store, settings, at(1000)).await.unwrap();
    assert_eq!((kids(&changed).len(), changed.signing_kid()), (2, first.signing_kid()), "published ahead");
    changed.refresh(at(1120)).await.unwrap();
    assert_ne!(changed.signing_kid(), first.signing_kid());
}

#[tokio::test]
async fn an_assertion_is_never_sent_to_whom_it_is_not_meant_for() {
    let (_dir, _store, ring) = ring(KeyAlgorithm::Es256).await;
    let session = samples::session(&samples::record("a.example"));
    let before = samples::zone("a.example");
    let after = Zone { audience: "other".into(), ..samples::zone("a.example") };
    // Requests of two generations take turns on one session.
    for _ in 0..3 {
        for zone in [&before, &after] {
            let assertion = ring.assertion(&session, zone, at(1)).unwrap();
            verify(&ring.jwks(), Algorithm::ES256, &assertion, &zone.audience).unwrap();
        }
    }
    let (one, same) = (samples::zone("a.example"), samples::zone("a.example"));
    assert_eq!(ring.assertion(&session, &one, at(1)).unwrap(), ring.assertion(&session, &same, at(1)).unwrap());
}

#[tokio::test]
async fn other_settings_hold_for_what_is_signed_next_and_another_algorithm_brings_a_key() {
    let (_dir, _store, ring) = ring(KeyAlgorithm::Es256).await;
    let session = samples::session(&samples::record("a.example"));
    let zone = samples::zone("a.example");
    ring.assertion(&session, &zone, at(1)).unwrap();
    let algorithm = KeyAlgorithm::EdDsa;
    let settings =
        AssertionSettings { algorithm, lifetime: Ttl::seconds_const(90), ..AssertionSettings::default() };
    ring.prepare(settings, at(1)).await.unwrap();
    ring.adopt(settings);
    let claims =
        verify(&ring.jwks(), Algorithm::ES256, &ring.assertion(&session, &zone, at(2)).unwrap(), "aud:a.example");
    assert_eq!(claims.unwrap()["exp"], at(92).seconds(), "what was cached is signed anew");
    ring.refresh(at(2)).await.unwrap();
    assert_eq!(kids(&ring).len(), 2);
    ring.prepare(settings, at(3)).await.unwrap();
    ring.refresh(at(3)).await.unwrap();
    assert_eq!(kids(&ring).len(), 2, "one key for one change");
}

#[tokio::test]
async fn without_the_store_the_keys_at_hand_go_on() {
    let (_dir, store, ring) = ring(KeyAlgorithm::Es256).await;
    let (session, zone) = (samples::session(&samples::record("a.example")), samples::zone("a.example"));
    store.close().await;
    assert!(matches!(ring.refresh(at(100)).await, Err(KeyFault::Store(_))));
    let assertion = ring.assertion(&session, &zone, at(100)).unwrap();
    verify(&ring.jwks(), Algorithm::ES256, &assertion, "aud:a.example").unwrap();
}

fn any_life() -> impl Strategy<Value = Life> {
    (0_u64..1000, prop::option::of(0_u64..1000)).prop_map(|(created, lived)| Life {
        created_at: at(created),
        retired_at: lived.map(|lived| at(created + lived)),
    })
}

proptest! {
    /// There is always a key to sign with, and never one that caches may not know while another would do.
    #[test]
    fn some_published_key_signs(lives in prop::collection::vec(any_life(), 1..6), now in 0_u64..3000) {
        let chosen = lives[signing(&lives, at(now)).unwrap()];
        prop_assert!(chosen.may_sign(at(now)) || !lives.iter().any(|life| life.may_sign(at(now))));
        let younger = lives.iter().any(|life| life.may_sign(at(now)) && life.created_at > chosen.created_at);
        prop_assert!(!younger);
    }
}
