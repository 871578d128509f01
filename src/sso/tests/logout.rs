//! Log-out tokens (O14): each defect of the conformance suite, and the bounds.

use serde_json::{Value, json};

use super::super::*;
use super::provider::{CLIENT, NOW, Sent, Signer, named, without};

type Row = (&'static str, fn(&mut Sent), Result<(), TokenProblem>);

const OK: Result<(), TokenProblem> = Ok(());
const NOW_S: u64 = NOW.seconds();

fn check(rows: &[Row]) {
    for (name, alter, want) in rows {
        let mut sent = Sent::logout_token();
        alter(&mut sent);
        assert_eq!(sent.verify_logout().map(drop), *want, "{name}");
    }
}

#[test]
fn o14_a_right_token_says_who_and_until_when_to_remember_it() {
    let token = Sent::logout_token().verify_logout().unwrap();
    assert_eq!(token.subject().map(Subject::as_str), Some("248289761001"));
    assert_eq!((token.sid(), token.jti()), (Some("08a5019c"), "bWJq"));
    assert_eq!(token.issued_at().seconds(), NOW_S - 2);
    let mut late = Sent::logout_token();
    without(&mut late.claims, "exp");
    late.now = token.acceptable_until();
    assert_eq!(late.verify_logout().map(drop), Err(TokenProblem::Stale), "nothing is forgotten too early");
    assert_eq!(format!("{token:?}"), "LogoutToken(..)", "K1: no claim in a log");
}

#[test]
fn o14_each_defect_is_refused() {
    fn event(sent: &mut Sent, value: Value) {
        sent.claims["events"]["http://schemas.openid.net/event/backchannel-logout"] = value;
    }
    check(&[
        (
            "alg-none",
            |s| (s.header["alg"], s.signer) = ("none".into(), Signer::Nobody),
            Err(TokenProblem::WrongAlgorithm),
        ),
        ("wrong-alg", |s| s.header["alg"] = "RS512".into(), Err(TokenProblem::WrongAlgorithm)),
        ("no-event", |s| without(&mut s.claims, "events"), Err(TokenProblem::NoLogout)),
        (
            "wrong-event",
            |s| s.claims["events"] = json!({"http://schemas.openid.net/event/other": {}}),
            Err(TokenProblem::NoLogout),
        ),
        ("with-nonce", |s| s.claims["nonce"] = "n".into(), Err(TokenProblem::HasNonce)),
        ("a nonce of null", |s| s.claims["nonce"] = Value::Null, Err(TokenProblem::HasNonce)),
        ("wrong-aud", |s| s.claims["aud"] = "other".into(), Err(TokenProblem::WrongAudience)),
        ("more audiences", |s| s.claims["aud"] = json!([CLIENT, "other"]), Err(TokenProblem::WrongAudience)),
        ("wrong-iss", |s| s.claims["iss"] = "https://other.example".into(), Err(TokenProblem::WrongIssuer)),
        (
            "events is a list",
            |s| s.claims["events"] = json!(["…/backchannel-logout"]),
            Err(TokenProblem::NoLogout),
        ),
        ("the event is true", |s| event(s, true.into()), Err(TokenProblem::NoLogout)),
        ("the event is null", |s| event(s, Value::Null), Err(TokenProblem::NoLogout)),
        ("the event has members", |s| event(s, json!({"reason": "x"})), OK),
        ("iss missing", |s| without(&mut s.claims, "iss"), Err(TokenProblem::Missing("iss"))),
        ("aud missing", |s| without(&mut s.claims, "aud"), Err(TokenProblem::Missing("aud"))),
        ("iat missing", |s| without(&mut s.claims, "iat"), Err(TokenProblem::Missing("iat"))),
        ("jti missing", |s| without(&mut s.claims, "jti"), Err(TokenProblem::Missing("jti"))),
        ("jti empty", |s| s.claims["jti"] = "".into(), Err(TokenProblem::Malformed("jti"))),
        ("jti long", |s| s.claims["jti"] = "x".repeat(256).into(), Err(TokenProblem::Malformed("jti"))),
        ("sid only", |s| without(&mut s.claims, "sub"), OK),
        ("sub only", |s| without(&mut s.claims, "sid"), OK),
        (
            "neither",
            |s| {
                without(&mut s.claims, "sub");
                without(&mut s.claims, "sid");
            },
            Err(TokenProblem::Nobody),
        ),
        // A broken one must not turn "this session" into "all of them", nor the other way round.
        ("sid is null", |s| s.claims["sid"] = Value::Null, Err(TokenProblem::Malformed("sid"))),
        ("sub is null", |s| s.claims["sub"] = Value::Null, Err(TokenProblem::Malformed("sub"))),
        ("sid is a number", |s| s.claims["sid"] = 7.into(), Err(TokenProblem::Malformed("sid"))),
        ("other claims", |s| s.claims["trace_id"] = "x".into(), OK),
        ("typ=JWT", |s| s.header["typ"] = "JWT".into(), OK),
        ("typ absent", |s| without(&mut s.header, "typ"), OK),
        ("typ in capitals", |s| s.header["typ"] = "Logout+JWT".into(), OK),
        ("typ=at+jwt", |s| s.header["typ"] = "at+jwt".into(), Err(TokenProblem::WrongType)),
        ("typ=secevent+jwt", |s| s.header["typ"] = "secevent+jwt".into(), Err(TokenProblem::WrongType)),
        ("signed by another", |s| s.signer = Signer::OtherRs256, Err(TokenProblem::BadSignature)),
        ("another tenant's key", |s| s.keys = vec![named(Signer::OtherRs256, "x")], Err(TokenProblem::UnknownKey)),
        ("crit", |s| s.header["crit"] = json!(["jti"]), Err(TokenProblem::Extension)),
        ("64 KiB", |s| s.claims["x"] = "x".repeat(65_536).into(), Err(TokenProblem::TooLong)),
        ("16 KiB", |s| s.claims["x"] = "x".repeat(LOGOUT_TOKEN_BYTES_MAX).into(), Err(TokenProblem::TooLong)),
        ("8 KiB", |s| s.claims["x"] = "x".repeat(8192).into(), OK),
    ]);
}

#[test]
fn o14_an_old_token_ends_nothing() {
    check(&[
        ("iat 2 min ago", |s| s.claims["iat"] = (NOW_S - 120).into(), OK),
        ("iat 121 s ago", |s| s.claims["iat"] = (NOW_S - 121).into(), Err(TokenProblem::Stale)),
        ("iat in a minute", |s| s.claims["iat"] = (NOW_S + 60).into(), OK),
        ("iat in 61 s", |s| s.claims["iat"] = (NOW_S + 61).into(), Err(TokenProblem::NotYet)),
        ("iat far away", |s| s.claims["iat"] = u64::MAX.into(), Err(TokenProblem::NotYet)),
        ("exp missing", |s| without(&mut s.claims, "exp"), OK),
        ("exp a minute ago", |s| s.claims["exp"] = (NOW_S - 60).into(), Err(TokenProblem::Expired)),
        ("exp is a text", |s| s.claims["exp"] = "soon".into(), Err(TokenProblem::Malformed("exp"))),
        (
            "a long life does not help",
            |s| {
                (s.claims["iat"], s.claims["exp"]) = ((NOW_S - 200).into(), (NOW_S + 86_400).into());
            },
            Err(TokenProblem::Stale),
        ),
    ]);
}

#[test]
fn the_two_kinds_of_token_are_never_taken_for_each_other() {
    // Whatever `typ` says or leaves out.
    for kind in [Some("JWT"), None] {
        let mut pair = [Sent::id_token(), Sent::logout_token()];
        for sent in &mut pair {
            match kind {
                Some(kind) => sent.header["typ"] = kind.into(),
                None => without(&mut sent.header, "typ"),
            }
        }
        let [id_token, logout_token] = pair;
        assert_eq!(id_token.verify_logout().map(drop), Err(TokenProblem::HasNonce));
        assert_eq!(logout_token.verify().map(drop), Err(TokenProblem::WrongNonce));
        // Nor is an ID token that was made without a nonce.
        let mut plain = id_token;
        without(&mut plain.claims, "nonce");
        assert_eq!(plain.verify_logout().map(drop), Err(TokenProblem::NoLogout));
    }
}
