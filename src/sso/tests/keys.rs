//! What a provider publishes as its keys (O7, O8).

use serde_json::{Value, json};

use super::super::*;
use super::provider::{Sent, Signer, base64url, named};

const RS256: SigningAlgorithm = SigningAlgorithm::RS256;
const NONE: KeyProblem = KeyProblem::NoUsableKey(RS256);

fn check(name: &str, bytes: &[u8], want: Result<(), KeyProblem>) {
    assert_eq!(KeySet::read(bytes, RS256).map(drop), want, "{name}");
}

/// The right key, altered.
fn altered(alter: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut jwk = named(Signer::Rs256, "one");
    alter(&mut jwk);
    json!({"keys": [jwk]}).to_string().into_bytes()
}

#[test]
fn a_key_set_is_an_object_with_keys() {
    for bad in ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[],"keys":[]}"#] {
        check(bad, bad.as_bytes(), Err(KeyProblem::NotAKeySet));
    }
    check("no key", br#"{"keys":[]}"#, Err(NONE));
    check("no objects", br#"{"keys":[1,"a",null,[]]}"#, Err(NONE));
    check("the longest and one more", &vec![b' '; PUBLISHED_BYTES_MAX + 1], Err(KeyProblem::TooLong));
}

#[test]
fn o7_only_a_strong_key_for_signatures_of_the_pinned_algorithm_is_usable() {
    type Alter = fn(&mut Value);
    let good: [(&str, Alter); 6] = [
        ("as it is", |_| {}),
        ("use=sig", |jwk| jwk["use"] = "sig".into()),
        ("key_ops with verify", |jwk| jwk["key_ops"] = json!(["verify"])),
        ("alg=RS256", |jwk| jwk["alg"] = "RS256".into()),
        ("no kid", |jwk| super::provider::without(jwk, "kid")),
        ("members that are not read", |jwk| (jwk["x5c"], jwk["x5u"]) = (json!(["a"]), "http://x".into())),
    ];
    for (name, alter) in good {
        check(name, &altered(alter), Ok(()));
    }
    let bad: [(&str, Alter); 22] = [
        ("use=enc", |jwk| jwk["use"] = "enc".into()),
        ("use is a list", |jwk| jwk["use"] = json!(["sig"])),
        ("key_ops without verify", |jwk| jwk["key_ops"] = json!(["encrypt"])),
        ("key_ops is a text", |jwk| jwk["key_ops"] = "verify".into()),
        ("alg=RS512", |jwk| jwk["alg"] = "RS512".into()),
        ("alg=PS256", |jwk| jwk["alg"] = "PS256".into()),
        ("alg=RSA-OAEP", |jwk| jwk["alg"] = "RSA-OAEP".into()),
        ("kid is a number", |jwk| jwk["kid"] = 7.into()),
        ("kty missing", |jwk| super::provider::without(jwk, "kty")),
        ("kty=EC", |jwk| jwk["kty"] = "EC".into()),
        ("kty=rsa", |jwk| jwk["kty"] = "rsa".into()),
        ("a published private key", |jwk| jwk["d"] = "AQAB".into()),
        ("no modulus", |jwk| super::provider::without(jwk, "n")),
        ("an empty modulus", |jwk| jwk["n"] = "".into()),
        ("512 bits", |jwk| jwk["n"] = base64url([0xff; 64]).into()),
        ("1024 bits", |jwk| jwk["n"] = base64url([0xff; 128]).into()),
        ("2047 bits", |jwk| jwk["n"] = base64url([&[0x7f][..], &[0xff; 255]].concat()).into()),
        ("2048 bits, most of them zero", |jwk| {
            jwk["n"] = base64url([&[0; 128][..], &[0xff; 128]].concat()).into();
        }),
        ("16384 bits", |jwk| jwk["n"] = base64url([0xff; 2048]).into()),
        ("an even exponent", |jwk| jwk["e"] = "AQAA".into()),
        ("an exponent of one", |jwk| jwk["e"] = "AQ".into()),
        ("an exponent of nothing", |jwk| jwk["e"] = "".into()),
    ];
    for (name, alter) in bad {
        check(name, &altered(alter), Err(NONE));
    }
}

#[test]
fn keys_of_other_kinds_stand_beside_without_harm() {
    let mut sent = Sent::id_token();
    let mut encrypts = named(Signer::OtherRs256, "one");
    encrypts["use"] = "enc".into();
    let others = [
        encrypts,
        named(Signer::Es256, "one"),
        named(Signer::Ed25519, "two"),
        named(Signer::Hmac(b"secret"), "one"),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "one"}),
        json!("not a key"),
    ];
    sent.keys.splice(0..0, others);
    assert_eq!(sent.verify().map(drop), Ok(()));
}

#[test]
fn points_are_on_their_curve_and_have_its_length() {
    let cases = [
        (Signer::Es256, SigningAlgorithm::ES256, "P-256"),
        (Signer::Es384, SigningAlgorithm::ES384, "P-384"),
        (Signer::Ed25519, SigningAlgorithm::EdDSA, "Ed25519"),
    ];
    for (signer, algorithm, curve) in cases {
        let usable = |alter: &dyn Fn(&mut Value)| {
            let mut jwk = signer.jwk();
            alter(&mut jwk);
            KeySet::read(json!({"keys": [jwk]}).to_string().as_bytes(), algorithm).is_ok()
        };
        assert!(usable(&|_| {}), "{curve}");
        for other in ["P-256", "P-384", "P-521", "secp256k1", "Ed25519", "X25519", ""] {
            assert_eq!(usable(&|jwk| jwk["crv"] = other.into()), other == curve, "{curve} as {other}");
        }
        assert!(!usable(&|jwk| jwk["x"] = "AQAB".into()), "{curve}: short");
        assert!(!usable(&|jwk| jwk["x"] = base64url([0xff; 128]).into()), "{curve}: long");
        assert!(!usable(&|jwk| jwk["d"] = "AQAB".into()), "{curve}: private");
        if curve != "Ed25519" {
            let x = signer.jwk()["x"].clone();
            assert!(!usable(&|jwk| jwk["y"] = x.clone()), "{curve}: off the curve");
        }
    }
}

#[test]
fn o7_a_token_names_its_key_and_new_keys_are_asked_for_when_it_is_unknown() {
    let check = |name: &str, alter: &dyn Fn(&mut Sent), want: Result<(), TokenProblem>| {
        let mut sent = Sent::id_token();
        alter(&mut sent);
        assert_eq!(sent.verify().map(drop), want, "{name}");
    };
    let two = || named(Signer::OtherRs256, "two");
    check("the other of two", &|s| s.keys.push(two()), Ok(()));
    check("rotated away", &|s| s.keys = vec![two()], Err(TokenProblem::UnknownKey));
    check("a random name", &|s| s.header["kid"] = "f3a1".into(), Err(TokenProblem::UnknownKey));
    check("case differs", &|s| s.header["kid"] = "ONE".into(), Err(TokenProblem::UnknownKey));
    check(
        "one name, two keys",
        &|s| s.keys.push(named(Signer::OtherRs256, "one")),
        Err(TokenProblem::AmbiguousKey),
    );
    check("one key twice", &|s| s.keys.push(named(Signer::Rs256, "one")), Err(TokenProblem::AmbiguousKey));
    check("the key has no name", &|s| s.keys = vec![Signer::Rs256.jwk()], Err(TokenProblem::UnknownKey));
    check(
        "the name of another key",
        &|s| {
            s.keys.push(two());
            s.header["kid"] = "two".into();
        },
        Err(TokenProblem::BadSignature),
    );
}

#[test]
fn keys_from_before_the_algorithm_was_changed_are_fetched_again() {
    let sent = Sent::id_token().signed_by(Signer::Ps256, SigningAlgorithm::PS256);
    let old = KeySet::read(json!({"keys": sent.keys}).to_string().as_bytes(), RS256).unwrap();
    let expected =
        Expected { settings: &sent.settings, nonce: sent.nonce, access_token: sent.access_token, now: sent.now };
    assert_eq!(IdToken::verify(&sent.text(), &old, &expected).map(drop), Err(TokenProblem::UnknownKey));
    assert_eq!(sent.verify().map(drop), Ok(()));
}
