//! ID tokens (O1, O5, O8, O9), user info and what is read of both (O11).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::*;
use super::provider::{CLIENT, ISSUER, NOW, Sent, Signer, base64url, named, settings, without};
use crate::base::{Ttl, UnixTime, Username};

type Want = Result<(), TokenProblem>;
/// What is altered, how, and what comes of it.
type Row = (&'static str, fn(&mut Sent), Want);

const OK: Want = Ok(());
const NOW_S: u64 = NOW.seconds();

fn check(rows: &[Row]) {
    for (name, alter, want) in rows {
        let mut sent = Sent::id_token();
        alter(&mut sent);
        assert_eq!(sent.verify().map(drop), *want, "{name}");
    }
}

#[test]
fn o1_a_right_token_is_accepted_with_every_algorithm() {
    let rows = [
        (Signer::Rs256, SigningAlgorithm::RS256),
        (Signer::Ps256, SigningAlgorithm::PS256),
        (Signer::Es256, SigningAlgorithm::ES256),
        (Signer::Es384, SigningAlgorithm::ES384),
        (Signer::Ed25519, SigningAlgorithm::EdDSA),
    ];
    for (signer, algorithm) in rows {
        let mut sent = Sent::id_token().signed_by(signer, algorithm);
        let token = sent.verify().unwrap_or_else(|problem| panic!("{signer:?} {problem}"));
        assert_eq!(token.subject().as_str(), "248289761001");
        sent.on_the_way = |text| flip_last_signature_bit(&text);
        assert_eq!(sent.verify().map(drop), Err(TokenProblem::BadSignature), "{signer:?}");
    }
}

/// The last bit that belongs to the signature, so that the text is still good base64url.
fn flip_last_signature_bit(text: &str) -> String {
    let (message, signature) = text.rsplit_once('.').unwrap();
    let mut bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    format!("{message}.{}", base64url(bytes))
}

#[test]
fn o1_basic_plan_each_defect_is_refused() {
    check(&[
        ("invalid-iss", |s| s.claims["iss"] = "https://other.example".into(), Err(TokenProblem::WrongIssuer)),
        ("iss with a slash", |s| s.claims["iss"] = format!("{ISSUER}/").into(), Err(TokenProblem::WrongIssuer)),
        ("iss in capitals", |s| s.claims["iss"] = ISSUER.to_uppercase().into(), Err(TokenProblem::WrongIssuer)),
        ("missing-iss", |s| without(&mut s.claims, "iss"), Err(TokenProblem::Missing("iss"))),
        ("iss is a list", |s| s.claims["iss"] = json!([ISSUER]), Err(TokenProblem::Malformed("iss"))),
        ("missing-sub", |s| without(&mut s.claims, "sub"), Err(TokenProblem::Missing("sub"))),
        ("empty sub", |s| s.claims["sub"] = "".into(), Err(TokenProblem::Malformed("sub"))),
        ("long sub", |s| s.claims["sub"] = "a".repeat(256).into(), Err(TokenProblem::Malformed("sub"))),
        ("sub is a number", |s| s.claims["sub"] = 7.into(), Err(TokenProblem::Malformed("sub"))),
        ("sub is null", |s| s.claims["sub"] = Value::Null, Err(TokenProblem::Malformed("sub"))),
        ("invalid-aud", |s| s.claims["aud"] = "other".into(), Err(TokenProblem::WrongAudience)),
        ("missing-aud", |s| without(&mut s.claims, "aud"), Err(TokenProblem::Missing("aud"))),
        ("missing-iat", |s| without(&mut s.claims, "iat"), Err(TokenProblem::Missing("iat"))),
        ("kid-absent-single-jwks", |s| without(&mut s.header, "kid"), OK),
        (
            "kid-absent-multiple-jwks",
            |s| {
                without(&mut s.header, "kid");
                s.keys.push(named(Signer::OtherRs256, "two"));
            },
            Err(TokenProblem::AmbiguousKey),
        ),
        (
            "idtoken-sig-none",
            |s| (s.header["alg"], s.signer) = ("none".into(), Signer::Nobody),
            Err(TokenProblem::WrongAlgorithm),
        ),
        ("invalid-sig-rs256", |s| s.on_the_way = |t| flip_last_signature_bit(&t), Err(TokenProblem::BadSignature)),
        ("nonce-invalid", |s| s.claims["nonce"] = "n-0S6_WzA2Mk".into(), Err(TokenProblem::WrongNonce)),
        ("nonce missing", |s| without(&mut s.claims, "nonce"), Err(TokenProblem::WrongNonce)),
        (
            "nonce is a list",
            |s| s.claims["nonce"] = json!(["n-0S6_WzA2Mj"]),
            Err(TokenProblem::Malformed("nonce")),
        ),
    ]);
}

#[test]
fn o1_an_invalid_es256_signature_is_refused() {
    let mut sent = Sent::id_token().signed_by(Signer::Es256, SigningAlgorithm::ES256);
    sent.on_the_way = |text| format!("{}.{}", text.rsplit_once('.').unwrap().0, base64url([0; 64]));
    assert_eq!(sent.verify().map(drop), Err(TokenProblem::BadSignature), "CVE-2022-21449: both halves are zero");
    sent.on_the_way = |text| format!("{}.{}", text.rsplit_once('.').unwrap().0, base64url([]));
    assert_eq!(sent.verify().map(drop), Err(TokenProblem::BadSignature), "an empty signature");
}

#[test]
fn o5_a_token_of_another_log_in_is_refused() {
    check(&[
        ("old nonce", |s| s.nonce = Some("of-this-log-in"), Err(TokenProblem::WrongNonce)),
        ("a longer nonce", |s| s.nonce = Some("n-0S6_WzA2Mj "), Err(TokenProblem::WrongNonce)),
        ("a shorter nonce", |s| s.nonce = Some("n-0S6_WzA2M"), Err(TokenProblem::WrongNonce)),
        ("an empty nonce", |s| s.claims["nonce"] = "".into(), Err(TokenProblem::WrongNonce)),
    ]);
}

#[test]
fn o8_the_header_decides_nothing() {
    const PUBLIC: &[u8] = b"a public key, as everybody may fetch it";
    check(&[
        (
            "None",
            |s| (s.header["alg"], s.signer) = ("None".into(), Signer::Nobody),
            Err(TokenProblem::WrongAlgorithm),
        ),
        ("none, signed", |s| s.header["alg"] = "none".into(), Err(TokenProblem::WrongAlgorithm)),
        ("alg missing", |s| without(&mut s.header, "alg"), Err(TokenProblem::WrongAlgorithm)),
        ("alg is a list", |s| s.header["alg"] = json!(["RS256"]), Err(TokenProblem::Malformed("alg"))),
        ("alg in small letters", |s| s.header["alg"] = "rs256".into(), Err(TokenProblem::WrongAlgorithm)),
        (
            "HS256 with the public key",
            |s| (s.header["alg"], s.signer) = ("HS256".into(), Signer::Hmac(PUBLIC)),
            Err(TokenProblem::WrongAlgorithm),
        ),
        ("HMAC that says RS256", |s| s.signer = Signer::Hmac(PUBLIC), Err(TokenProblem::BadSignature)),
        (
            "PS256 for RS256",
            |s| (s.header["alg"], s.signer) = ("PS256".into(), Signer::Ps256),
            Err(TokenProblem::WrongAlgorithm),
        ),
        ("PS256 that says RS256", |s| s.signer = Signer::Ps256, Err(TokenProblem::BadSignature)),
        ("ES256 for RS256", |s| s.header["alg"] = "ES256".into(), Err(TokenProblem::WrongAlgorithm)),
        ("crit", |s| s.header["crit"] = json!(["exp"]), Err(TokenProblem::Extension)),
        ("empty crit", |s| s.header["crit"] = json!([]), Err(TokenProblem::Extension)),
        ("b64=false", |s| s.header["b64"] = false.into(), Err(TokenProblem::Extension)),
        ("zip", |s| s.header["zip"] = "DEF".into(), Err(TokenProblem::Extension)),
        ("enc", |s| s.header["enc"] = "A256GCM".into(), Err(TokenProblem::Extension)),
        ("nested", |s| s.header["cty"] = "JWT".into(), Err(TokenProblem::Extension)),
        ("typ absent", |s| without(&mut s.header, "typ"), OK),
        ("typ in small letters", |s| s.header["typ"] = "jwt".into(), OK),
        ("an access token", |s| s.header["typ"] = "at+jwt".into(), Err(TokenProblem::WrongType)),
        ("a log-out token", |s| s.header["typ"] = "logout+jwt".into(), Err(TokenProblem::WrongType)),
        ("typ is a number", |s| s.header["typ"] = 1.into(), Err(TokenProblem::Malformed("typ"))),
        ("kid is a number", |s| s.header["kid"] = 1.into(), Err(TokenProblem::Malformed("kid"))),
        ("kid is a path", |s| s.header["kid"] = "../../dev/null".into(), Err(TokenProblem::UnknownKey)),
        ("kid is empty", |s| s.header["kid"] = "".into(), Err(TokenProblem::UnknownKey)),
        ("x5t and unknown members", |s| (s.header["x5t"], s.header["y"]) = ("a".into(), json!({})), OK),
    ]);
}

#[test]
fn o8_an_es256_token_is_not_verified_with_a_p384_key() {
    let mut sent = Sent::id_token().signed_by(Signer::Es256, SigningAlgorithm::ES256);
    sent.signer = Signer::Es384;
    assert_eq!(sent.verify().map(drop), Err(TokenProblem::BadSignature));
    let keys = json!({"keys": [named(Signer::Es384, "one")]}).to_string();
    let none = KeySet::read(keys.as_bytes(), SigningAlgorithm::ES256).map(drop);
    assert_eq!(none, Err(KeyProblem::NoUsableKey(SigningAlgorithm::ES256)));
}

#[test]
fn h8_keys_that_a_token_brings_along_are_not_read() {
    check(&[
        (
            "jwk",
            |s| (s.header["jwk"], s.signer) = (Signer::OtherRs256.jwk(), Signer::OtherRs256),
            Err(TokenProblem::BadSignature),
        ),
        (
            "jku",
            |s| (s.header["jku"], s.signer) = ("https://evil.example/keys".into(), Signer::OtherRs256),
            Err(TokenProblem::BadSignature),
        ),
        (
            "jwk, and its name",
            |s| {
                s.header["jwk"] = named(Signer::OtherRs256, "mine");
                s.header["kid"] = "mine".into();
                s.signer = Signer::OtherRs256;
            },
            Err(TokenProblem::UnknownKey),
        ),
        ("x5u beside the right key", |s| s.header["x5u"] = "https://evil.example/chain".into(), OK),
    ]);
}

#[test]
fn o8_only_the_compact_form_in_its_one_spelling_is_a_token() {
    check(&[
        ("nothing", |s| s.on_the_way = |_| String::new(), Err(TokenProblem::NotSigned)),
        ("two parts", |s| s.on_the_way = |t| t.rsplit_once('.').unwrap().0.into(), Err(TokenProblem::NotSigned)),
        (
            "no signature",
            |s| s.on_the_way = |t| format!("{}.", t.rsplit_once('.').unwrap().0),
            Err(TokenProblem::BadSignature),
        ),
        ("four parts", |s| s.on_the_way = |t| format!("{t}."), Err(TokenProblem::NotSigned)),
        ("encrypted", |s| s.on_the_way = |_| "eyJ9.a.b.c.d".into(), Err(TokenProblem::NotSigned)),
        ("padding", |s| s.on_the_way = |t| format!("{t}="), Err(TokenProblem::NotSigned)),
        ("a line end", |s| s.on_the_way = |t| format!("{t}\n"), Err(TokenProblem::NotSigned)),
        ("standard base64", |s| s.on_the_way = |t| format!("{t}+/+/"), Err(TokenProblem::NotSigned)),
        (
            "flattened JSON",
            |s| s.on_the_way = |t| format!("{{\"payload\":\"{t}\"}}"),
            Err(TokenProblem::BadHeader),
        ),
        ("header is a list", |s| s.header_text = Some("[]".into()), Err(TokenProblem::BadHeader)),
        ("header is no JSON", |s| s.header_text = Some("{".into()), Err(TokenProblem::BadHeader)),
        ("claims are a list", |s| s.claims_text = Some("[]".into()), Err(TokenProblem::BadClaims)),
        ("claims are no JSON", |s| s.claims_text = Some("a: b".into()), Err(TokenProblem::BadClaims)),
        (
            "alg twice",
            |s| s.header_text = Some(r#"{"alg":"none","alg":"RS256","kid":"one"}"#.into()),
            Err(TokenProblem::BadHeader),
        ),
        (
            "sub twice",
            |s| s.claims_text = Some(s.claims.to_string().replacen('{', r#"{"sub":"admin","#, 1)),
            Err(TokenProblem::BadClaims),
        ),
        ("64 KiB", |s| s.claims["x"] = "x".repeat(TOKEN_BYTES_MAX).into(), Err(TokenProblem::TooLong)),
        ("40 KB", |s| s.claims["x"] = "x".repeat(40_000).into(), OK),
    ]);
}

#[test]
fn o9_times_are_held_to_a_minute() {
    check(&[
        ("exp now", |s| s.claims["exp"] = NOW_S.into(), OK),
        ("exp 59 s ago", |s| s.claims["exp"] = (NOW_S - 59).into(), OK),
        ("exp 60 s ago", |s| s.claims["exp"] = (NOW_S - 60).into(), Err(TokenProblem::Expired)),
        ("exp in 1970", |s| s.claims["exp"] = 0.into(), Err(TokenProblem::Expired)),
        ("exp missing", |s| without(&mut s.claims, "exp"), Err(TokenProblem::Missing("exp"))),
        ("exp is a text", |s| s.claims["exp"] = "1900000000".into(), Err(TokenProblem::Malformed("exp"))),
        ("exp is negative", |s| s.claims["exp"] = (-1).into(), Err(TokenProblem::Malformed("exp"))),
        ("exp far away", |s| s.claims["exp"] = u64::MAX.into(), OK),
        ("exp farther away", |s| s.claims["exp"] = 1e300.into(), OK),
        ("iat in 60 s", |s| s.claims["iat"] = (NOW_S + 60).into(), OK),
        ("iat in 61 s", |s| s.claims["iat"] = (NOW_S + 61).into(), Err(TokenProblem::NotYet)),
        ("iat in a day", |s| s.claims["iat"] = (NOW_S + 86_400).into(), Err(TokenProblem::NotYet)),
        ("iat far away", |s| s.claims["iat"] = u64::MAX.into(), Err(TokenProblem::NotYet)),
        ("iat farther away", |s| s.claims["iat"] = 1e300.into(), Err(TokenProblem::NotYet)),
        ("iat 10 min ago", |s| s.claims["iat"] = (NOW_S - 600).into(), OK),
        ("iat 601 s ago", |s| s.claims["iat"] = (NOW_S - 601).into(), Err(TokenProblem::Stale)),
        ("iat a day ago", |s| s.claims["iat"] = (NOW_S - 86_400).into(), Err(TokenProblem::Stale)),
        ("iat is null", |s| s.claims["iat"] = Value::Null, Err(TokenProblem::Malformed("iat"))),
        ("nbf in 60 s", |s| s.claims["nbf"] = (NOW_S + 60).into(), OK),
        ("nbf in 61 s", |s| s.claims["nbf"] = (NOW_S + 61).into(), Err(TokenProblem::NotYet)),
        ("nbf long ago", |s| s.claims["nbf"] = 1.into(), OK),
    ]);
}

#[test]
fn o9_the_audience_is_us_and_nobody_else() {
    check(&[
        ("a list of us", |s| s.claims["aud"] = json!([CLIENT]), OK),
        ("us and another", |s| s.claims["aud"] = json!([CLIENT, "other"]), Err(TokenProblem::WrongAudience)),
        (
            "us and another, azp us",
            |s| (s.claims["aud"], s.claims["azp"]) = (json!(["other", CLIENT]), CLIENT.into()),
            Err(TokenProblem::WrongAudience),
        ),
        ("us twice", |s| s.claims["aud"] = json!([CLIENT, CLIENT]), Err(TokenProblem::WrongAudience)),
        ("an empty list", |s| s.claims["aud"] = json!([]), Err(TokenProblem::WrongAudience)),
        ("a list in a list", |s| s.claims["aud"] = json!([[CLIENT]]), Err(TokenProblem::WrongAudience)),
        ("null", |s| s.claims["aud"] = Value::Null, Err(TokenProblem::WrongAudience)),
        ("a prefix of us", |s| s.claims["aud"] = "zonegat".into(), Err(TokenProblem::WrongAudience)),
        ("azp us", |s| s.claims["azp"] = CLIENT.into(), OK),
        ("foreign azp", |s| s.claims["azp"] = "other".into(), Err(TokenProblem::WrongParty)),
        ("azp is a list", |s| s.claims["azp"] = json!([CLIENT]), Err(TokenProblem::Malformed("azp"))),
    ]);
}

#[test]
fn o9_what_was_asked_for_and_is_missing_was_not_shown() {
    check(&[
        ("acr not asked for", |s| s.claims["acr"] = "0".into(), OK),
        ("acr missing", |s| s.settings.acr = vec!["mfa".into()], Err(TokenProblem::WeakContext)),
        (
            "acr weaker",
            |s| (s.settings.acr, s.claims["acr"]) = (vec!["mfa".into()], "pwd".into()),
            Err(TokenProblem::WeakContext),
        ),
        (
            "acr is a list",
            |s| (s.settings.acr, s.claims["acr"]) = (vec!["mfa".into()], json!(["mfa"])),
            Err(TokenProblem::WeakContext),
        ),
        (
            "one acr of two",
            |s| (s.settings.acr, s.claims["acr"]) = (vec!["hw".into(), "mfa".into()], "mfa".into()),
            OK,
        ),
        ("amr missing", |s| s.settings.amr = vec!["otp".into()], Err(TokenProblem::WeakMethods)),
        (
            "amr without one",
            |s| (s.settings.amr, s.claims["amr"]) = (vec!["otp".into(), "pwd".into()], json!(["pwd"])),
            Err(TokenProblem::WeakMethods),
        ),
        (
            "amr is a text",
            |s| (s.settings.amr, s.claims["amr"]) = (vec!["otp".into()], "otp".into()),
            Err(TokenProblem::WeakMethods),
        ),
        (
            "amr with all",
            |s| (s.settings.amr, s.claims["amr"]) = (vec!["otp".into()], json!(["pwd", "otp", 7])),
            OK,
        ),
    ]);
}

#[test]
fn o9_an_authentication_is_as_recent_as_was_asked_for() {
    const HOUR: Option<Ttl> = Ttl::from_seconds(3600);
    fn shown_at(sent: &mut Sent, time: Value) {
        (sent.settings.max_age, sent.claims["auth_time"]) = (HOUR, time);
    }
    check(&[
        ("missing", |s| s.settings.max_age = HOUR, Err(TokenProblem::Missing("auth_time"))),
        ("an hour ago", |s| shown_at(s, (NOW_S - 3600).into()), OK),
        ("with the leeway", |s| shown_at(s, (NOW_S - 3660).into()), OK),
        ("past it", |s| shown_at(s, (NOW_S - 3661).into()), Err(TokenProblem::OldAuthentication)),
        ("in 1970", |s| shown_at(s, 0.into()), Err(TokenProblem::OldAuthentication)),
        ("in a minute", |s| shown_at(s, (NOW_S + 60).into()), OK),
        ("in the future", |s| shown_at(s, (NOW_S + 61).into()), Err(TokenProblem::OldAuthentication)),
        ("far away", |s| shown_at(s, u64::MAX.into()), Err(TokenProblem::OldAuthentication)),
        ("a text", |s| shown_at(s, "now".into()), Err(TokenProblem::Malformed("auth_time"))),
        (
            "the longest that can be asked for",
            |s| {
                shown_at(s, 1.into());
                s.settings.max_age = Ttl::from_seconds(u32::MAX);
            },
            OK,
        ),
        ("not asked for", |s| s.claims["auth_time"] = 0.into(), OK),
    ]);
}

/// OpenID Connect Core 1.0 appendix A.3 to A.6 use this access token, and RFC 7515's hash of it.
#[test]
fn an_at_hash_that_is_there_is_of_the_access_token() {
    const STANDARD: (&str, &str) = ("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ");
    check(&[
        ("the standard's", |s| (s.access_token, s.claims["at_hash"]) = (Some(STANDARD.0), STANDARD.1.into()), OK),
        ("of another", |s| s.claims["at_hash"] = STANDARD.1.into(), Err(TokenProblem::WrongAccessToken)),
        ("empty", |s| s.claims["at_hash"] = "".into(), Err(TokenProblem::WrongAccessToken)),
        ("a number", |s| s.claims["at_hash"] = 7.into(), Err(TokenProblem::Malformed("at_hash"))),
        ("without an access token", |s| (s.access_token, s.claims["at_hash"]) = (None, "x".into()), OK),
    ]);
    // The hash grows with the algorithm.
    use aws_lc_rs::digest::{SHA384, SHA512, digest};
    for (signer, algorithm, hash, length) in [
        (Signer::Es384, SigningAlgorithm::ES384, &SHA384, 24),
        (Signer::Ed25519, SigningAlgorithm::EdDSA, &SHA512, 32),
    ] {
        let mut sent = Sent::id_token().signed_by(signer, algorithm);
        sent.claims["at_hash"] = STANDARD.1.into();
        assert_eq!(sent.verify().map(drop), Err(TokenProblem::WrongAccessToken));
        sent.claims["at_hash"] = base64url(&digest(hash, b"access").as_ref()[..length]).into();
        assert_eq!(sent.verify().map(drop), Ok(()), "{signer:?}");
    }
}

#[test]
fn what_was_verified_can_be_read() {
    let mut sent = Sent::id_token();
    for (name, value) in [("sid", json!("s-1")), ("acr", json!("mfa")), ("amr", json!(["pwd", 7, "otp"]))] {
        sent.claims[name] = value;
    }
    sent.claims["auth_time"] = 1_799_999_000.into();
    sent.claims["groups"] = json!(["a"]);
    let token = sent.verify().unwrap();
    assert_eq!((token.sid(), token.acr()), (Some("s-1"), Some("mfa")));
    assert_eq!(token.amr().collect::<Vec<_>>(), ["pwd", "otp"]);
    assert_eq!(token.auth_time(), Some(UnixTime::from_seconds(1_799_999_000)));
    assert_eq!(token.claim("groups"), Some(&json!(["a"])));
    assert_eq!(format!("{token:?}"), "IdToken(..)", "K1: no claim in a log");
}

#[test]
fn a_providers_session_has_a_name_that_can_be_kept() {
    check(&[
        ("empty", |s| s.claims["sid"] = "".into(), Err(TokenProblem::Malformed("sid"))),
        ("long", |s| s.claims["sid"] = "x".repeat(256).into(), Err(TokenProblem::Malformed("sid"))),
        ("a line end", |s| s.claims["sid"] = "a\nb".into(), Err(TokenProblem::Malformed("sid"))),
        ("a number", |s| s.claims["sid"] = 7.into(), Err(TokenProblem::Malformed("sid"))),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No change of a token on its way is accepted, wherever it is made.
    #[test]
    fn no_altered_token_is_accepted(at in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>()) {
        const ALPHABET: &[u8] = b"ABCXYZabcxyz0189-_.=";
        let sent = Sent::id_token().signed_by(Signer::Ed25519, SigningAlgorithm::EdDSA);
        let right = sent.text();
        let mut bytes = right.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = ALPHABET[byte.index(ALPHABET.len())];
        let text = String::from_utf8(bytes).unwrap();
        prop_assume!(text != right);
        let expected = Expected { settings: &sent.settings, nonce: sent.nonce, access_token: None, now: NOW };
        prop_assert!(IdToken::verify(&text, &sent.key_set(), &expected).is_err());
    }
}

// ── user info and claims ──

fn subject(text: &str) -> Subject {
    Subject::parse(text).unwrap()
}

#[test]
fn o1_user_info_is_about_the_same_person_or_refused() {
    let check = |text: &str, want: Want| {
        assert_eq!(UserInfo::read(text.as_bytes(), &subject("a")).map(drop), want, "{text:.50}");
    };
    check(r#"{"sub":"a"}"#, OK);
    check(r#"{"sub":"b"}"#, Err(TokenProblem::WrongSubject));
    check(r#"{"sub":"A"}"#, Err(TokenProblem::WrongSubject));
    check(r#"{"sub":["a"]}"#, Err(TokenProblem::Malformed("sub")));
    check("{}", Err(TokenProblem::Missing("sub")));
    check(r#"{"sub":"b","sub":"a"}"#, Err(TokenProblem::BadClaims));
    check("eyJ.eyJ.sig", Err(TokenProblem::BadClaims));
    check(&format!(r#"{{"sub":"a","x":"{}"}}"#, "x".repeat(PUBLISHED_BYTES_MAX)), Err(TokenProblem::TooLong));
}

/// Claims of the ID token and of the user info, if it was asked for.
fn answer(token: Value, info: Option<Value>) -> (IdToken, Option<UserInfo>) {
    let mut sent = Sent::id_token();
    let Value::Object(claims) = token else { panic!("no claims") };
    sent.claims.as_object_mut().unwrap().extend(claims);
    let token = sent.verify().unwrap();
    let info = info.map(|mut info| {
        info["sub"] = token.subject().as_str().into();
        UserInfo::read(info.to_string().as_bytes(), token.subject()).unwrap()
    });
    (token, info)
}

#[test]
fn the_username_comes_from_the_id_token_else_from_the_user_info() {
    let check = |claim: &str, token: Value, info: Option<Value>, want: Result<&str, ClaimProblem>| {
        let settings = ProviderSettings { username_claim: claim.into(), ..settings() };
        let (token, info) = answer(token, info);
        let got = username(&settings, &token, info.as_ref());
        assert_eq!(got.as_ref().map(Username::as_str).map_err(|problem| *problem), want);
    };
    let name = |text: &str| json!({"preferred_username": text});
    check("preferred_username", name("Alice@Acme.Example"), None, Ok("alice@acme.example"));
    check("preferred_username", json!({}), Some(name("alice@acme.example")), Ok("alice@acme.example"));
    check("preferred_username", name("a@acme.example"), Some(name("b@acme.example")), Ok("a@acme.example"));
    check("preferred_username", json!({}), None, Err(ClaimProblem::Missing));
    check("preferred_username", json!({}), Some(json!({})), Err(ClaimProblem::Missing));
    check("preferred_username", name("alice"), None, Err(ClaimProblem::NotAUsername));
    check("preferred_username", name("a\r\nb@acme.example"), None, Err(ClaimProblem::NotAUsername));
    check("upn", json!({"upn": ["a@acme.example"]}), None, Err(ClaimProblem::NotAUsername));
    check("upn", json!({"upn": null}), Some(json!({"upn": "a@acme.example"})), Err(ClaimProblem::NotAUsername));
    // O11: an address that somebody typed at the provider is nobody's name.
    let email = |verified: Value| json!({"email": "a@acme.example", "email_verified": verified});
    check("email", email(true.into()), None, Ok("a@acme.example"));
    check("email", email(false.into()), None, Err(ClaimProblem::Unverified));
    check("email", json!({"email": "a@acme.example"}), None, Err(ClaimProblem::Unverified));
    check("email", json!({}), Some(email(true.into())), Ok("a@acme.example"));
    check("email", json!({"email": "b@acme.example"}), Some(email(true.into())), Err(ClaimProblem::Unverified));
}

#[test]
fn o11_an_address_counts_only_with_the_providers_word_for_it() {
    let check = |token: Value, info: Option<Value>, want: Option<&str>| {
        let (token, info) = answer(token, info);
        assert_eq!(verified_email(&token, info.as_ref()), want);
    };
    let email = |verified: Value| json!({"email": "a@x.example", "email_verified": verified});
    for word in [json!(true), json!("true")] {
        check(email(word.clone()), None, Some("a@x.example"));
        check(json!({}), Some(email(word)), Some("a@x.example"));
    }
    for word in [json!(false), json!("false"), json!(1), json!("TRUE"), json!(null), json!([true])] {
        check(email(word), None, None);
    }
    check(json!({"email": "a@x.example"}), None, None);
    check(json!({"email_verified": true}), None, None);
    check(json!({"email": 7, "email_verified": true}), None, None);
    // The word is about the address beside it.
    check(json!({"email": "a@x.example"}), Some(json!({"email_verified": true})), None);
    check(json!({"email_verified": true}), Some(json!({"email": "a@x.example"})), None);
    check(json!({"email": "a@x.example"}), Some(email(true.into())), None);
    check(json!({}), None, None);
}
