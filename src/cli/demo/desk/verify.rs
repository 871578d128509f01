//! How a backend verifies the assertion: signature by a published key, issuer, audience, time.
//!
//! Written as a real backend would write it: the keys come over https from the zone's own address, verified with
//! the demo's certificate authority; they are kept, and fetched again, at most four times a second, when an
//! assertion names a key that is not among them. Nothing of an assertion is believed before its signature is good.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::RwLock;

/// The header that carries the assertion.
const HEADER: &str = "x-zonegate-assertion";

/// The shortest time between two fetches of one zone's keys.
const REFETCH_AFTER: Duration = Duration::from_millis(250);

/// A zone that this application takes assertions from.
#[derive(Clone, Debug)]
pub(crate) struct ZoneKeys {
    /// The assertion's `iss`, and where the keys are published.
    pub origin: String,
    /// The assertion's `aud`: this application.
    pub audience: String,
}

/// What became of a request's assertion.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    /// Whether everything was checked and good. Only then may `claims` be believed.
    pub verified: bool,
    /// The token's header, as it was sent.
    pub header: Option<Value>,
    /// The claims, as they were sent.
    pub claims: Option<Value>,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Verdict {
    /// A claim of a verified assertion.
    pub(crate) fn claim(&self, name: &str) -> Option<&str> {
        self.claims.as_ref().filter(|_| self.verified)?.get(name)?.as_str()
    }
}

/// Fetches and keeps the zones' keys, and verifies with them.
#[derive(Debug)]
pub(crate) struct Verifier {
    client: reqwest::Client,
    zones: Vec<ZoneKeys>,
    kept: RwLock<HashMap<String, Kept>>,
    fetches: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    keys: JwkSet,
    fetched: tokio::time::Instant,
}

impl Verifier {
    /// A verifier for `zones`, whose keys `client` fetches. The client follows no redirect and trusts only the
    /// authority that certifies the zones.
    pub(crate) fn new(client: reqwest::Client, zones: Vec<ZoneKeys>) -> Self {
        Self { client, zones, kept: RwLock::default(), fetches: AtomicU64::new(0) }
    }

    /// Verifies the assertion among `headers`. Exactly one must be there.
    pub(crate) async fn verify(&self, headers: &HeaderMap) -> Verdict {
        let mut values = headers.get_all(HEADER).iter();
        let token = match (values.next().map(|value| value.to_str()), values.next()) {
            (None, _) => return rejected(None, None, "the request carries no assertion"),
            (Some(Ok(token)), None) => token,
            (Some(_), _) => return rejected(None, None, "the request carries no single readable assertion"),
        };
        let (header, claims) = (part(token, 0), part(token, 1));
        match self.check(token, claims.as_ref()).await {
            Ok(claims) => Verdict { verified: true, header, claims: Some(claims), problem: None },
            Err(problem) => rejected(header, claims, &problem),
        }
    }

    async fn check(&self, token: &str, unverified: Option<&Value>) -> Result<Value, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|e| format!("unreadable: {e}"))?;
        let kid = header.kid.ok_or("the header names no key")?;
        // The issuer only picks among zones we know; it is checked again below, under the signature.
        let issuer = unverified.and_then(|claims| claims.get("iss")?.as_str()).unwrap_or_default();
        let zone = self.zones.iter().find(|zone| zone.origin == issuer).ok_or("issued by an unknown zone")?;
        let key = self.key(zone, &kid).await?;
        // A list and not the header's choice: a token must not pick how it is checked (RFC 8725 section 3.1).
        let mut rules = Validation::new(header.alg);
        if !matches!(header.alg, Algorithm::ES256 | Algorithm::EdDSA) {
            return Err("signed with an algorithm that the gateway does not use".into());
        }
        rules.leeway = 5;
        rules.set_audience(&[&zone.audience]);
        rules.set_issuer(&[&zone.origin]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        match jsonwebtoken::decode::<Value>(token, &key, &rules) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(format!("not valid: {error}")),
        }
    }

    async fn key(&self, zone: &ZoneKeys, kid: &str) -> Result<DecodingKey, String> {
        if let Some(kept) = self.kept.read().await.get(&zone.origin) {
            if let Some(jwk) = kept.keys.find(kid) {
                return DecodingKey::from_jwk(jwk).map_err(|e| format!("unusable key: {e}"));
            }
            if kept.fetched.elapsed() < REFETCH_AFTER {
                return Err(format!("signed with key {kid}, which {} does not publish", zone.origin));
            }
        }
        let mut kept = self.kept.write().await;
        let keys = self.fetch(zone).await?;
        let found = keys.find(kid).map(DecodingKey::from_jwk);
        kept.insert(zone.origin.clone(), Kept { keys, fetched: tokio::time::Instant::now() });
        match found {
            Some(key) => key.map_err(|e| format!("unusable key: {e}")),
            None => Err(format!("signed with key {kid}, which {} does not publish", zone.origin)),
        }
    }

    async fn fetch(&self, zone: &ZoneKeys) -> Result<JwkSet, String> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let url = format!("{}/.well-known/zonegate/jwks.json", zone.origin);
        let answer = self.client.get(&url).timeout(Duration::from_secs(5)).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        match answer {
            Ok(answer) => answer.json().await.map_err(|e| format!("{url} is no key set: {e}")),
            Err(error) => Err(format!("the keys could not be fetched: {error}")),
        }
    }
}

fn rejected(header: Option<Value>, claims: Option<Value>, problem: &str) -> Verdict {
    Verdict { verified: false, header, claims, problem: Some(problem.into()) }
}

/// The JSON of one part of a compact JWS (RFC 7515 section 3.1), unverified.
fn part(token: &str, index: usize) -> Option<Value> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(index)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, routing::get};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    struct Signer {
        pem: String,
        jwk: Value,
    }

    fn signer(kid: &str) -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.public_key_raw();
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        });
        Signer { pem: pair.serialize_pem(), jwk }
    }

    fn token(signer: &Signer, kid: &str, claims: &Value) -> HeaderMap {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid.into());
        let key = EncodingKey::from_ec_pem(signer.pem.as_bytes()).unwrap();
        let token = jsonwebtoken::encode(&header, claims, &key).unwrap();
        HeaderMap::from_iter([(HEADER.parse().unwrap(), token.parse().unwrap())])
    }

    async fn zone_with(keys: Value) -> (Verifier, String) {
        let app = Router::new().route("/.well-known/zonegate/jwks.json", get(move || async move { Json(keys) }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let zone = ZoneKeys { origin: origin.clone(), audience: "desk".into() };
        (Verifier::new(client, vec![zone]), origin)
    }

    const LATE: u64 = 4_102_444_800;

    #[tokio::test]
    async fn a_good_assertion_is_verified_and_the_keys_are_fetched_once() {
        let signer = signer("k1");
        let (verifier, origin) = zone_with(json!({"keys": [signer.jwk]})).await;
        let claims = json!({"iss": origin, "aud": "desk", "sub": "u", "exp": LATE});
        for _ in 0..3 {
            let verdict = verifier.verify(&token(&signer, "k1", &claims)).await;
            assert!(verdict.verified, "{verdict:?}");
            assert_eq!(verdict.claim("sub"), Some("u"));
        }
        assert_eq!(verifier.fetches.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn whatever_is_off_is_not_verified_and_yields_no_claim() {
        let (ours, theirs) = (signer("k1"), signer("k1"));
        let (verifier, origin) = zone_with(json!({"keys": [ours.jwk]})).await;
        let good = json!({"iss": origin, "aud": "desk", "sub": "u", "exp": LATE});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        for (what, headers) in [
            ("foreign signature", token(&theirs, "k1", &good)),
            ("unknown key", token(&ours, "k2", &good)),
            ("foreign issuer", token(&ours, "k1", &with("iss", json!("https://evil.example")))),
            ("other audience", token(&ours, "k1", &with("aud", json!("other")))),
            ("expired", token(&ours, "k1", &with("exp", json!(1_000)))),
            ("nothing", HeaderMap::new()),
        ] {
            let verdict = verifier.verify(&headers).await;
            assert!(!verdict.verified && verdict.problem.is_some(), "{what}: {verdict:?}");
            assert_eq!(verdict.claim("sub"), None, "{what}");
        }
        let mut twice = token(&ours, "k1", &good);
        twice.append(HEADER, twice[HEADER].clone());
        assert!(!verifier.verify(&twice).await.verified);
    }
}
