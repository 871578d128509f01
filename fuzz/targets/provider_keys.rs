//! No key set makes a token that nobody signed acceptable (O7, O8).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::base::UnixTime;
use zonegate::sso::{Expected, IdToken, Issuer, KeySet, ProviderSettings, SigningAlgorithm, TokenProblem};

/// Headers without a `kid`, by algorithm, and claims that would be right: only the signature decides.
fn token(algorithm: SigningAlgorithm, signature: &str) -> String {
    let header = match algorithm {
        SigningAlgorithm::RS256 => "eyJhbGciOiJSUzI1NiJ9",
        SigningAlgorithm::PS256 => "eyJhbGciOiJQUzI1NiJ9",
        SigningAlgorithm::ES256 => "eyJhbGciOiJFUzI1NiJ9",
        SigningAlgorithm::ES384 => "eyJhbGciOiJFUzM4NCJ9",
        SigningAlgorithm::EdDSA => "eyJhbGciOiJFZERTQSJ9",
    };
    let claims = concat!(
        "eyJpc3MiOiJodHRwczovL2EuZXhhbXBsZSIsImF1ZCI6InVzIiwic3ViIjoiYSIsIm5vbmNlIjoibiIsImlhdCI6MTgwMDAwMDAwMCwi",
        "ZXhwIjoxODAwMDAwMDYwfQ"
    );
    format!("{header}.{claims}.{signature}")
}

fuzz_target!(|input: (u8, &[u8], &str)| {
    let (algorithm, keys, signature) = input;
    let algorithm = SigningAlgorithm::ALL[usize::from(algorithm) % SigningAlgorithm::ALL.len()];
    let Ok(keys) = KeySet::read(keys, algorithm) else { return };
    let settings = ProviderSettings {
        issuer: Issuer::parse("https://a.example").unwrap(),
        client_id: "us".into(),
        client_authentication: Default::default(),
        signing_algorithm: algorithm,
        scopes: vec![],
        username_claim: "upn".into(),
        hosts: vec![],
        acr: vec![],
        amr: vec![],
        max_age: None,
        provisioning: false,
        logout: false,
    };
    let now = UnixTime::from_seconds(1_800_000_000);
    let expected = Expected { settings: &settings, nonce: Some("n"), access_token: None, now };
    let problem = IdToken::verify(&token(algorithm, signature), &keys, &expected).map(drop).unwrap_err();
    // The header is right, so that the key was looked for.
    let early =
        matches!(problem, TokenProblem::BadHeader | TokenProblem::WrongAlgorithm | TokenProblem::Extension);
    assert!(!early, "{problem}");
});
