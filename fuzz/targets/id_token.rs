//! Whatever a provider signs: what is accepted as an ID token says all that it must, and is no log-out token; and what
//! nobody signed is neither (O1, O8, O9, O14).
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use zonegate::base::UnixTime;
use zonegate::sso::{Expected, IdToken, Issuer, KeySet, LogoutToken, ProviderSettings, SigningAlgorithm};

const NOW: u64 = 1_800_000_000;
/// What a right token has. A run leaves one out and adds what it likes.
const CLAIMS: [&str; 7] = [
    r#""iss":"https://a.example""#,
    r#""aud":"us""#,
    r#""sub":"a""#,
    r#""nonce":"n""#,
    r#""iat":1800000000"#,
    r#""exp":1800000060"#,
    r#""jti":"j","events":{"http://schemas.openid.net/event/backchannel-logout":{}}"#,
];

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(KEY.public_key().as_ref());
    let text = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
    KeySet::read(text.as_bytes(), SigningAlgorithm::EdDSA).unwrap()
});
static SETTINGS: LazyLock<ProviderSettings> = LazyLock::new(|| ProviderSettings {
    issuer: Issuer::parse("https://a.example").unwrap(),
    client_id: "us".into(),
    client_authentication: Default::default(),
    signing_algorithm: SigningAlgorithm::EdDSA,
    scopes: vec![],
    username_claim: "upn".into(),
    hosts: vec![],
    acr: vec![],
    amr: vec![],
    max_age: None,
    provisioning: false,
    logout: false,
});

fn accepted(text: &str) -> (bool, bool) {
    let now = UnixTime::from_seconds(NOW);
    let expected = Expected { settings: &SETTINGS, nonce: Some("n"), access_token: None, now };
    let id_token = IdToken::verify(text, &KEYS, &expected).is_ok();
    (id_token, LogoutToken::verify(text, &KEYS, &SETTINGS, now).is_ok())
}

fuzz_target!(|input: (u8, &str, &str)| {
    let (left_out, header, extra) = input;
    assert_eq!(accepted(extra), (false, false), "nobody signed this");
    let kept: Vec<&str> = CLAIMS
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != usize::from(left_out))
        .map(|(_, claim)| *claim)
        .collect();
    let claims = format!("{{{}{extra}}}", kept.join(","));
    let header = format!(r#"{{"alg":"EdDSA"{header}}}"#);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(message.as_bytes()).as_ref());
    let (is_id_token, is_logout_token) = accepted(&format!("{message}.{signature}"));
    assert!(!(is_id_token && is_logout_token), "{header} {claims}");
    if !is_id_token && !is_logout_token {
        return;
    }
    // Found another way than the code under test does.
    let claims: Value = serde_json::from_str(&claims).unwrap();
    let header: Value = serde_json::from_str(&header).unwrap();
    assert!(header["alg"] == "EdDSA" && header.get("crit").is_none(), "{header}");
    assert!(
        claims["iss"] == "https://a.example" && (claims["aud"] == "us" || claims["aud"][0] == "us"),
        "{claims}"
    );
    assert!(claims["iat"].as_f64().is_some_and(|iat| (iat - NOW as f64).abs() <= 600.0), "{claims}");
    if is_id_token {
        assert!(claims["nonce"] == "n" && claims["sub"].is_string(), "{claims}");
        assert!(claims["exp"].as_f64().is_some_and(|exp| exp > NOW as f64 - 60.0), "{claims}");
    } else {
        assert!(claims.get("nonce").is_none() && claims["jti"].is_string(), "{claims}");
        assert!(claims["sub"].is_string() || claims["sid"].is_string(), "{claims}");
    }
});
