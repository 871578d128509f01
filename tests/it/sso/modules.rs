//! The relying-party modules of the OpenID Foundation, held to the stricter outcome of each, and what a library would
//! leave to us: one thing of a right answer is changed, and what comes of it is a row (`tests/OIDC.md`).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use zonegate::base::Ttl;
use zonegate::sso::{ClientAuthentication, ProviderSettings};

use super::{ALICE, World, parameter, put, with_parameter};
use crate::provider::{
    CLIENT_ID, CLIENT_SECRET, Edit, KEYS, METADATA, Play, Script, Signature, SigningKey, TOKENS, USER_INFO,
    base64url,
};

/// What a provider that is not known yet is asked for a log-in, and in which order.
const ALL: &[&str] = &[METADATA, TOKENS, KEYS, USER_INFO];
/// The same, where the ID token is refused: the person's data are not asked for.
const NO_INFO: &[&str] = &[METADATA, TOKENS, KEYS];
/// The same, where it is signed with an unknown key: the keys are looked at once more.
const LOOKED_AGAIN: &[&str] = &[METADATA, TOKENS, KEYS, KEYS];
const NO_KEYS: &[&str] = &[METADATA, TOKENS];

type KeyChange = fn(&mut Value);

fn shifted(name: &'static str, seconds: i64) -> Edit {
    Box::new(move |claims| claims[name] = json!(claims[name].as_i64().unwrap() + seconds))
}

fn as_it_is(_: &mut Script) {}

fn usual(_: &mut ProviderSettings) {}

/// A log-in at a provider that is honest but for `script`, and that nothing is known of.
async fn log_in(
    world: &World,
    settings: impl FnOnce(&mut ProviderSettings),
    script: impl FnOnce(&mut Script),
) -> super::Seen {
    world.provider.behave();
    world.set(settings).await;
    world.provider.script(script);
    let visitor = world.browser();
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    assert_eq!(world.has_session(&visitor), seen.answer.status == 303, "{seen:?}");
    seen
}

async fn refused(world: &World, what: &str, script: impl FnOnce(&mut Script), reason: &str, asked: &[&str]) {
    log_in(world, usual, script).await.expect_refused(what, reason, asked);
}

#[tokio::test]
async fn basic_an_honest_answer_is_a_session_of_the_person_it_names() {
    let world = World::start().await;
    let visitor = world.browser();
    let there = super::location(&world.set_out(&visitor).await);
    for name in ["state", "nonce", "code_challenge"] {
        assert!(parameter(&there, name).unwrap().len() >= 43, "{name} of {there}");
    }
    assert_eq!(parameter(&there, "code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(parameter(&there, "redirect_uri"), Some(world.sso("/callback")));
    assert_eq!(parameter(&there, "scope").as_deref(), Some("openid email"));
    let back = world.provider.authorize(&there);
    world.provider.asked();
    visitor.open(&back).await;
    let info = world.provider.asked().into_iter().find(|asked| asked.path == USER_INFO).unwrap();
    assert!(info.fields["authorization"].to_str().unwrap().starts_with("Bearer access-") && info.query.is_empty());
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    let kinds: Vec<_> = world.events().await.into_iter().map(|event| event.kind).collect();
    assert!(kinds.ends_with(&["account_linked".into(), "login_succeeded".into()]), "{kinds:?}");
}

#[tokio::test]
async fn what_may_differ_between_honest_providers_is_accepted() {
    let world = World::start().await;
    let accepted = async |what, settings: fn(&mut ProviderSettings), script: fn(&mut Script), asked| {
        log_in(&world, settings, script).await.expect_in(what, asked);
    };
    accepted("nothing out of the ordinary (idtoken-sig-rs256)", usual, as_it_is, ALL).await;
    accepted("no kid, one key", usual, |s| s.token_header = put("kid", Value::Null), ALL).await;
    accepted("no typ", usual, |s| s.token_header = put("typ", Value::Null), ALL).await;
    accepted("a list of one audience", usual, |s| s.token_claims = put("aud", json!([CLIENT_ID])), ALL).await;
    accepted("azp, and it is us", usual, |s| s.token_claims = put("azp", json!(CLIENT_ID)), ALL).await;
    accepted("no at_hash", usual, |s| s.token_claims = put("at_hash", Value::Null), ALL).await;
    accepted("half a minute ahead", usual, |s| s.ahead = 30, ALL).await;
    accepted("half a minute behind", usual, |s| s.ahead = -30, ALL).await;
    accepted("a key for something else beside", usual, |s| s.keys = Box::new(with_foreign_keys), ALL).await;
    let no_endpoint: fn(&mut Script) = |s| s.metadata = put("userinfo_endpoint", Value::Null);
    accepted("no user info", usual, no_endpoint, NO_INFO).await;
    let moved: fn(&mut Script) = |s| {
        s.metadata = Box::new(|m| m["jwks_uri"] = json!(format!("{}?run=7", m["jwks_uri"].as_str().unwrap())));
    };
    accepted("keys where the metadata say (discovery-jwks-uri-keys)", usual, moved, ALL).await;
    let no_iss: fn(&mut Script) = |s| {
        s.metadata = put("authorization_response_iss_parameter_supported", Value::Null);
        s.callback = put("iss", Value::Null);
    };
    accepted("no iss in the answer, and none promised", usual, no_iss, ALL).await;
    let plain: fn(&mut Script) = |s| s.metadata = put("code_challenge_methods_supported", json!(["plain"]));
    accepted("S256 is sent whether it is offered or not (O4)", usual, plain, ALL).await;
    let at_info: fn(&mut Script) = |s| s.claims = json!({});
    accepted("the claims in the user info alone (scope-userinfo-claims)", usual, at_info, ALL).await;
    let strong: fn(&mut Script) = |s| s.claims = json!({ "acr": "gold", "amr": ["pwd", "hwk"] });
    let wanted: fn(&mut ProviderSettings) = |s| {
        (s.acr, s.amr) = (vec!["silver".into(), "gold".into()], vec!["hwk".into()]);
        s.max_age = Ttl::from_seconds(600);
    };
    accepted("as strong and as fresh as was asked for", wanted, strong, ALL).await;
}

fn with_foreign_keys(keys: &mut Value) {
    let mut encryption = SigningKey::stray("RS256", "key-enc").jwk();
    encryption["use"] = json!("enc");
    let all = keys["keys"].as_array_mut().unwrap();
    all.insert(0, encryption);
    all.insert(0, SigningKey::stray("ES256", "key-ec").jwk());
    all.insert(0, json!({ "kty": "oct", "k": "AAAA", "kid": "secret" }));
}

#[tokio::test]
async fn basic_14_we_prove_who_we_are_as_it_is_configured() {
    let world = World::start().await;
    let jwks = world.browser().ask(&world.url("/.well-known/zonegate/jwks.json")).await.json();
    let ours = jwks["keys"].as_array().unwrap().iter().find(|key| key["crv"] == "P-256").unwrap().clone();
    for way in ClientAuthentication::ALL {
        world.provider.behave();
        let ours = ours.clone();
        world.provider.script(|s| (s.authentication, s.client_key) = (way.name(), ours));
        world.set(usual).await;
        let visitor = world.browser();
        world.watched(async || world.try_log_in(&visitor).await).await.expect_in(way.name(), ALL);
    }
}

#[tokio::test]
async fn an_id_token_with_one_thing_wrong_is_refused_and_nobody_is_asked_for_more() {
    let world = World::start().await;
    log_in(&world, usual, as_it_is).await.expect_in("the person is known", ALL);
    let claim = async |what, edit, reason| {
        refused(&world, what, |s| s.token_claims = edit, reason, NO_INFO).await;
    };
    claim("invalid-iss", put("iss", json!("https://other.example")), "token_wrong_issuer").await;
    claim("missing-iss", put("iss", Value::Null), "token_claim_missing").await;
    claim("missing-sub", put("sub", Value::Null), "token_claim_missing").await;
    claim("a number for a subject", put("sub", json!(7)), "token_claim_malformed").await;
    claim("invalid-aud", put("aud", json!("somebody")), "token_wrong_audience").await;
    claim("missing-aud", put("aud", Value::Null), "token_claim_missing").await;
    claim("us and another", put("aud", json!([CLIENT_ID, "another"])), "token_wrong_audience").await;
    claim("foreign azp", put("azp", json!("another")), "token_wrong_party").await;
    claim("missing-iat", put("iat", Value::Null), "token_claim_missing").await;
    claim("iat a day ago", shifted("iat", -86_400), "token_stale").await;
    claim("iat eleven minutes ago", shifted("iat", -11 * 60), "token_stale").await;
    claim("iat tomorrow", shifted("iat", 86_400), "token_not_yet").await;
    claim("exp past", shifted("exp", -300 - 90), "token_expired").await;
    claim("missing-exp", put("exp", Value::Null), "token_claim_missing").await;
    claim("nbf in a century", put("nbf", json!(5_000_000_000_u64)), "token_not_yet").await;
    claim("nonce-invalid", put("nonce", json!("another")), "token_wrong_nonce").await;
    claim("missing-nonce", put("nonce", Value::Null), "token_wrong_nonce").await;
    claim("bad at_hash", put("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")), "token_wrong_access_token").await;
    claim("a token without end", put("x", json!("x".repeat(70_000))), "token_too_long").await;
    let header = async |what, edit, reason| {
        refused(&world, what, |s| s.token_header = edit, reason, NO_INFO).await;
    };
    header("crit", put("crit", json!(["exp"])), "token_extension").await;
    header("b64", put("b64", json!(false)), "token_extension").await;
    header("an access token's typ", put("typ", json!("at+jwt")), "token_wrong_type").await;
    header("a log-out token's typ", put("typ", json!("logout+jwt")), "token_wrong_type").await;
    header("PS256 for RS256", put("alg", json!("PS256")), "token_wrong_algorithm").await;
    header("RS384", put("alg", json!("RS384")), "token_wrong_algorithm").await;
}

#[tokio::test]
async fn a_token_that_the_provider_did_not_sign_is_refused_whatever_it_says_of_itself() {
    let world = World::start().await;
    log_in(&world, usual, as_it_is).await.expect_in("the person is known", ALL);
    for none in ["none", "None", "NONE", ""] {
        let unsigned = |s: &mut Script| {
            s.token_header = put("alg", json!(none));
            s.signature = Signature::Missing;
        };
        refused(&world, "idtoken-sig-none", unsigned, "token_wrong_algorithm", NO_INFO).await;
    }
    let flipped = |s: &mut Script| s.signature = Signature::Flipped;
    refused(&world, "invalid-sig-rs256", flipped, "token_bad_signature", NO_INFO).await;
    let cut = |s: &mut Script| s.signature = Signature::Missing;
    refused(&world, "no signature", cut, "token_bad_signature", NO_INFO).await;
    let published = SigningKey::nth("RS256", 1).jwk()["n"].as_str().unwrap().as_bytes().to_vec();
    for secret in [CLIENT_SECRET.as_bytes().to_vec(), published] {
        let hmac = |s: &mut Script| {
            s.token_header = put("alg", json!("HS256"));
            s.signature = Signature::Hmac(secret);
        };
        refused(&world, "invalid-sig-hs256", hmac, "token_wrong_algorithm", NO_INFO).await;
    }
    let stranger = |s: &mut Script| s.signature = Signature::With(SigningKey::stray("RS256", "key-1"));
    refused(&world, "a stranger's key of the same name", stranger, "token_bad_signature", NO_INFO).await;
    let key = SigningKey::stray("RS256", "brought");
    let jwk = key.jwk();
    let brought = |s: &mut Script| {
        s.token_header = Box::new(move |header| {
            header["kid"] = json!("brought");
            header["jwk"] = jwk.clone();
            header["jku"] = json!("https://keys.evil.example/");
            header["x5u"] = json!("https://keys.evil.example/");
        });
        s.signature = Signature::With(key);
    };
    refused(&world, "a key that comes with the token", brought, "token_unknown_key", LOOKED_AGAIN).await;
    let nested = |s: &mut Script| {
        s.token_answer = Box::new(|answer| {
            let header = base64url(json!({ "alg": "RSA-OAEP", "enc": "A128GCM", "cty": "JWT" }).to_string());
            answer["id_token"] = json!(format!("{header}.AAAA.AAAA.{}.AAAA", base64url("x")));
        });
    };
    refused(&world, "an encrypted token", nested, "token_not_signed", NO_INFO).await;

    world.provider.script(|s| s.algorithm = "ES256");
    world.provider.rotate();
    log_in(&world, usual, as_it_is).await.expect_in("ES256", ALL);
    refused(&world, "invalid-sig-es256", |s| s.signature = Signature::Flipped, "token_bad_signature", NO_INFO)
        .await;
    let rs256 = |s: &mut Script| {
        s.token_header = put("alg", json!("RS256"));
        s.signature = Signature::With(SigningKey::stray("RS256", "key-2"));
    };
    refused(&world, "RS256 for ES256", rs256, "token_wrong_algorithm", NO_INFO).await;
}

#[tokio::test]
async fn keys_that_are_several_weak_or_for_something_else_verify_nothing() {
    let world = World::start().await;
    let several = |s: &mut Script| {
        s.keys = Box::new(|keys| {
            let other = SigningKey::stray("RS256", "other").jwk();
            keys["keys"].as_array_mut().unwrap().push(other);
        });
        s.token_header = put("kid", Value::Null);
    };
    refused(&world, "kid-absent-multiple-jwks", several, "token_ambiguous_key", NO_INFO).await;
    let twice = |s: &mut Script| {
        s.keys = Box::new(|keys| {
            let mut other = SigningKey::stray("RS256", "other").jwk();
            other["kid"] = keys["keys"][0]["kid"].clone();
            keys["keys"].as_array_mut().unwrap().push(other);
        });
    };
    refused(&world, "two keys of one name", twice, "token_ambiguous_key", NO_INFO).await;
    let unusable: [(&str, KeyChange); 5] = [
        ("a key for encryption", |key| key["use"] = json!("enc")),
        ("a key of another algorithm", |key| key["alg"] = json!("PS256")),
        ("1024 bits", |key| key["n"] = json!(base64url([0xC5; 128]))),
        ("an exponent of one", |key| key["e"] = json!("AQ")),
        ("a published private half", |key| key["d"] = json!("AQAB")),
    ];
    for (what, change) in unusable {
        let keys = |s: &mut Script| s.keys = Box::new(move |keys| change(&mut keys["keys"][0]));
        refused(&world, what, keys, "provider_keys", NO_INFO).await;
    }
    refused(&world, "no keys", |s| s.keys = put("keys", json!([])), "provider_keys", NO_INFO).await;
}

#[tokio::test]
async fn config_5_6_keys_rotate_with_one_look_and_the_old_one_is_over() {
    let world = World::start().await;
    log_in(&world, usual, as_it_is).await.expect_in("the first", ALL);
    world.provider.rotate();
    let visitor = world.browser();
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    seen.expect_in("signing-key-rotation-just-before-signing", &[TOKENS, KEYS, USER_INFO]);
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    seen.expect_in("signing-key-rotation", &[TOKENS, USER_INFO]);
    world.provider.script(|s| {
        s.token_header = put("kid", json!("key-1"));
        s.signature = Signature::With(SigningKey::nth("RS256", 1));
    });
    let stranger = world.browser();
    let seen = world.watched(async || world.try_log_in(&stranger).await).await;
    // The keys were looked at less than a minute ago: who has an old key does not make us ask again.
    seen.expect_refused("the old key", "token_unknown_key", &[TOKENS]);
}

#[tokio::test]
async fn metadata_of_another_issuer_or_that_cannot_work_lead_nowhere() {
    let world = World::start().await;
    let metadata = async |what, edit| {
        refused(&world, what, |s| s.metadata = edit, "provider_metadata", &[METADATA]).await;
    };
    let slash: Edit = Box::new(|m| m["issuer"] = json!(format!("{}/", m["issuer"].as_str().unwrap())));
    metadata("discovery-issuer-mismatch", put("issuer", json!("https://other.example"))).await;
    metadata("the issuer with a slash", slash).await;
    metadata("no issuer", put("issuer", Value::Null)).await;
    metadata("no keys", put("jwks_uri", Value::Null)).await;
    metadata("keys by http", put("jwks_uri", json!("http://localhost/keys"))).await;
    metadata("keys elsewhere", put("jwks_uri", json!("https://keys.evil.example/keys"))).await;
    metadata("tokens elsewhere", put("token_endpoint", json!("https://169.254.169.254/token"))).await;
    metadata("browsers sent elsewhere", put("authorization_endpoint", json!("https://evil.example/"))).await;
    metadata("no code flow", put("response_types_supported", json!(["id_token"]))).await;
    metadata("another algorithm", put("id_token_signing_alg_values_supported", json!(["none", "HS256"]))).await;
}

#[tokio::test]
async fn basic_11_what_the_provider_says_of_somebody_else_ends_the_log_in() {
    let world = World::start().await;
    log_in(&world, usual, as_it_is).await.expect_in("the person is known", ALL);
    let info = async |what, edit, reason| refused(&world, what, |s| s.user_info = edit, reason, ALL).await;
    info("userinfo-invalid-sub", put("sub", json!("another")), "token_wrong_subject").await;
    info("no subject", put("sub", Value::Null), "token_claim_missing").await;
    let html = Play::Say { status: 200, kind: "text/html", body: "<h1>hello</h1>".into() };
    world.provider.behave();
    world.set(usual).await;
    world.provider.play(USER_INFO, html);
    let visitor = world.browser();
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    seen.expect_refused("a page", "provider_answer", ALL);
}

#[tokio::test]
async fn o9_what_was_asked_for_and_does_not_come_back_counts_as_not_given() {
    let world = World::start().await;
    log_in(&world, usual, as_it_is).await.expect_in("the person is known", ALL);
    let weak = async |what, settings: fn(&mut ProviderSettings), script: fn(&mut Script), reason| {
        log_in(&world, settings, script).await.expect_refused(what, reason, NO_INFO);
    };
    let acr: fn(&mut ProviderSettings) = |s| s.acr = vec!["gold".into()];
    let amr: fn(&mut ProviderSettings) = |s| s.amr = vec!["hwk".into(), "pwd".into()];
    let age: fn(&mut ProviderSettings) = |s| s.max_age = Ttl::from_seconds(60);
    weak("no acr", acr, as_it_is, "token_weak_context").await;
    weak("weaker acr", acr, |s| s.claims = json!({ "acr": "silver" }), "token_weak_context").await;
    weak("no amr", amr, as_it_is, "token_weak_methods").await;
    weak("one of two methods", amr, |s| s.claims = json!({ "amr": ["pwd"] }), "token_weak_methods").await;
    weak("too long ago", age, |s| s.logged_in_ago = 180, "token_old_authentication").await;
    weak("no auth_time", age, |s| s.token_claims = put("auth_time", Value::Null), "token_claim_missing").await;
}

#[tokio::test]
async fn o6_a_token_endpoint_that_answers_anything_else_logs_nobody_in() {
    let world = World::start().await;
    log_in(&world, usual, as_it_is).await.expect_in("the person is known", ALL);
    let say = |status, kind, body: &str| Play::Say { status, kind, body: body.into() };
    let huge = format!("{{\"error\":\"invalid_grant\",\"error_description\":\"{}\"}}", "x".repeat(200_000));
    for (what, play, reason) in [
        ("a redirect", Play::Redirect { status: 307, to: "https://evil.example/".into() }, "provider_answer"),
        ("a page", say(200, "text/html", "<script>alert(1)</script>"), "provider_answer"),
        ("half an answer", say(200, "application/json", "{\"access_token\":\"a\""), "provider_answer"),
        ("no", say(400, "application/json", "{\"error\":\"invalid_grant\"}"), "code_refused"),
        ("O10: a long no", say(400, "application/json", &huge), "code_refused"),
        ("a broken one", say(500, "text/plain", "oops"), "provider_answer"),
        ("10 MB", Play::Large(10 << 20), "provider_answer"),
        ("10 MB, not announced", Play::Endless(10 << 20), "provider_answer"),
        ("a connection that breaks", Play::Break, "provider_unreachable"),
    ] {
        world.provider.behave();
        world.set(usual).await;
        world.provider.play(TOKENS, play);
        let visitor = world.browser();
        let seen = world.watched(async || world.try_log_in(&visitor).await).await;
        // A code is sent once, whatever comes of it.
        seen.expect_refused(what, reason, NO_KEYS);
        let detail = seen.events[0].detail.as_deref().unwrap();
        assert!(detail.len() < 1000 && !detail.contains('\n'), "{what}: {detail}");
    }
    let other_kind = |s: &mut Script| s.token_answer = put("token_type", json!("DPoP"));
    refused(&world, "another kind of token", other_kind, "provider_answer", NO_KEYS).await;
    let no_id_token = |s: &mut Script| s.token_answer = put("id_token", Value::Null);
    refused(&world, "no ID token", no_id_token, "provider_answer", NO_KEYS).await;
}

#[tokio::test]
async fn o5_a_token_of_another_log_in_is_refused() {
    let world = World::start().await;
    let kept = Arc::new(Mutex::new(Value::Null));
    let of_edit = Arc::clone(&kept);
    let keep = move |s: &mut Script| {
        s.token_answer = Box::new(move |answer| *of_edit.lock().unwrap() = answer["id_token"].clone());
    };
    log_in(&world, usual, keep).await.expect_in("the first", ALL);
    let old = kept.lock().unwrap().clone();
    refused(&world, "an old one", |s| s.token_answer = put("id_token", old), "token_wrong_nonce", NO_INFO).await;
}

#[tokio::test]
async fn o4_a_code_of_somebody_elses_log_in_is_refused_by_the_provider() {
    let world = World::start().await;
    let (attacker, victim) = (world.browser(), world.browser());
    let code = parameter(&world.way_back(&attacker).await, "code").unwrap();
    let back = with_parameter(&world.way_back(&victim).await, "code", Some(&code));
    let seen = world.watched(async || victim.open(&back).await).await;
    seen.expect_refused("an injected code", "code_refused", &[TOKENS]);
    assert!(!world.has_session(&victim));
}

#[tokio::test]
async fn k1_k3_what_a_log_in_carries_stands_in_no_log_and_not_in_the_store() {
    let world = World::start().await;
    let kept = Arc::new(Mutex::new(Value::Null));
    let of_edit = Arc::clone(&kept);
    world.provider.script(|s| s.token_answer = Box::new(move |answer| *of_edit.lock().unwrap() = answer.clone()));
    let visitor = world.browser();
    let back = world.way_back(&visitor).await;
    visitor.open(&back).await;
    world.known_as(&visitor).await;
    // And one that goes wrong, of which there is more to say.
    let strange = with_parameter(&world.way_back(&visitor).await, "code", Some("canary-code"));
    visitor.open(&strange).await;
    let answer = kept.lock().unwrap().clone();
    let token = |name: &str| answer[name].as_str().unwrap().to_owned();
    let (state, code) = (parameter(&back, "state").unwrap(), parameter(&back, "code").unwrap());
    let verifier = world.provider.asked().into_iter().find_map(|asked| asked.form.get("code_verifier").cloned());
    let secrets = [
        ("the code", code),
        ("a code that is none", "canary-code".into()),
        ("the state", state),
        ("the verifier", verifier.unwrap()),
        ("the access token", token("access_token")),
        ("the ID token", token("id_token")),
        ("the client secret", CLIENT_SECRET.into()),
    ];
    // Its lines are written in batches.
    crate::harness::within(async {
        while !world.gateway.log().contains("/sso/acme/call") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut places = vec![("the log", world.gateway.log().into_bytes())];
    for name in ["zonegate.db", "zonegate.db-wal"] {
        places.push((name, std::fs::read(world.gateway.file(name)).unwrap()));
    }
    for (what, secret) in secrets {
        for (place, bytes) in &places {
            let found = bytes.windows(secret.len()).any(|piece| piece == secret.as_bytes());
            assert!(!found, "{what} stands in {place}");
        }
    }
}
