//! The verification snippets that backends copy, against good assertions and forged ones (H8).
//!
//! Every forgery has one defect, and where the format lets it, a signature by our own key: what is tested is the
//! check, not the signature. Needs python3 with venv, node and npm; the libraries come from their registries and
//! are kept in `ZONEGATE_CACHE`, or else beside the build.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use zonegate::assertion::{AssertionSettings, KeyAlgorithm};
use zonegate::base::{MasterKey, UnixTime};
use zonegate::store::Store;
use zonegate::table::{KeyRing, Rotation, rotate_signing_key};
use zonegate::telemetry::Actor;

use crate::samples::{AUDIENCE, ISSUER, session, zone};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snippets");

/// What the gateway sends, and the private key it was signed with.
struct Gateway {
    jwks: Vec<u8>,
    assertion: String,
    pkcs8: Vec<u8>,
}

impl Gateway {
    /// A gateway with `algorithm`, whose first key was retired at once.
    async fn start(algorithm: KeyAlgorithm) -> (Self, String) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.db"), &MasterKey::from_bytes([7; 32])).await.unwrap();
        let settings = AssertionSettings { algorithm, ..AssertionSettings::default() };
        let ring = KeyRing::load(store.clone(), settings, now()).await.unwrap();
        let sign =
            |ring: &KeyRing| ring.assertion(&session(now()), &zone(), now()).unwrap().to_str().unwrap().to_owned();
        let retired = sign(&ring);
        rotate_signing_key(&store, algorithm, Rotation::AtOnce, Actor::Operator, now()).await.unwrap();
        ring.refresh(now()).await.unwrap();
        let pkcs8 = store.signing_keys().await.unwrap().remove(0).pkcs8;
        (Self { jwks: ring.jwks().to_vec(), assertion: sign(&ring), pkcs8 }, retired)
    }

    fn part(&self, at: usize) -> Value {
        let part = self.assertion.split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    /// The good assertion with one member of its payload replaced or, by `null`, removed, and signed again.
    fn with(&self, name: &str, value: Value) -> String {
        let mut payload = self.part(1);
        replace(&mut payload, name, value);
        sign(&self.pkcs8, &self.part(0).to_string(), &payload.to_string())
    }

    /// The same for its header.
    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.part(0);
        replace(&mut header, name, value);
        sign(&self.pkcs8, &header.to_string(), &self.part(1).to_string())
    }

    /// The good payload under `header`, with whatever stands for a signature.
    fn under(&self, header: &str, signature: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let text = signing_input(header, &self.part(1).to_string());
        let signature = signature(text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn replace(object: &mut Value, name: &str, value: Value) {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.into(), value);
    }
}

fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn sign(pkcs8: &[u8], header: &str, payload: &str) -> String {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
    let text = signing_input(header, payload);
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn now() -> UnixTime {
    UnixTime::from_seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Whether a verifier accepts; `Err` with the reason when it refuses. Anything else is a broken verifier.
type Verdict = Result<Value, String>;

/// The ways to verify: the two snippets, and a Rust library.
struct Verifiers {
    python: PathBuf,
    node: PathBuf,
}

impl Verifiers {
    /// Installs the snippets' libraries unless they are there.
    fn install() -> Self {
        let cache =
            std::env::var_os("ZONEGATE_CACHE").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
        let home = cache.join("snippets");
        fs::create_dir_all(&home).unwrap();
        for file in ["verify.py", "verify.mjs", "requirements.txt", "package.json"] {
            fs::copy(Path::new(FOLDER).join(file), home.join(file)).unwrap();
        }
        let wanted =
            ["requirements.txt", "package.json"].map(|file| fs::read_to_string(home.join(file)).unwrap()).concat();
        let marker = home.join("installed");
        if fs::read_to_string(&marker).ok().as_deref() != Some(&wanted) {
            run(
                Command::new("python3").args(["-m", "venv", "venv"]).current_dir(&home),
                "python3 with python3-venv",
            );
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
            run(Command::new(home.join("venv/bin/python")).args(pip).current_dir(&home), "a way to PyPI");
            let npm = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
            run(Command::new("npm").args(npm).current_dir(&home), "npm and a way to its registry");
            fs::write(&marker, wanted).unwrap();
        }
        Self { python: home.join("venv/bin/python"), node: home }
    }

    fn python(&self, keys: &Path, assertion: &str) -> Verdict {
        verdict(Command::new(&self.python).arg(self.node.join("verify.py")), keys, assertion)
    }

    fn node(&self, keys: &Path, assertion: &str) -> Verdict {
        verdict(Command::new("node").arg(self.node.join("verify.mjs")), keys, assertion)
    }
}

fn run(command: &mut Command, needs: &str) {
    let shown = format!("{command:?}");
    let out = command.output();
    match out {
        Ok(out) if out.status.success() => {}
        Ok(out) => panic!("{shown} failed; this test needs {needs}:\n{}", String::from_utf8_lossy(&out.stderr)),
        Err(error) => panic!("{shown} cannot be started ({error}); this test needs {needs}"),
    }
}

fn verdict(command: &mut Command, keys: &Path, assertion: &str) -> Verdict {
    let command = command.arg(keys).args([ISSUER, AUDIENCE]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().unwrap().write_all(assertion.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let problem = String::from_utf8(out.stderr).unwrap();
    match (out.status.code(), problem.strip_prefix("refused: ")) {
        (Some(0), _) => Ok(serde_json::from_slice(&out.stdout).unwrap()),
        (Some(1), Some(reason)) => Err(reason.trim().to_owned()),
        _ => panic!("the verifier broke: {problem}"),
    }
}

/// What a Rust backend does.
fn rust(keys: &Path, assertion: &str) -> Verdict {
    let text = |error: jsonwebtoken::errors::Error| error.to_string();
    let header = jsonwebtoken::decode_header(assertion).map_err(text)?;
    if header.typ.as_deref() != Some("JWT") || header.crit.is_some() {
        return Err("not an assertion of ours".into());
    }
    let set: JwkSet = serde_json::from_slice(&fs::read(keys).unwrap()).unwrap();
    let key = header.kid.and_then(|kid| set.find(&kid)).ok_or("unknown key")?;
    let algorithm: Algorithm = key.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut rules = Validation::new(algorithm);
    rules.set_audience(&[AUDIENCE]);
    rules.set_issuer(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    rules.validate_nbf = true;
    rules.leeway = 5;
    let claims = jsonwebtoken::decode::<Value>(assertion, &DecodingKey::from_jwk(key).unwrap(), &rules);
    let claims = claims.map_err(text)?.claims;
    if claims.get("sid").is_none() { Err("sid".into()) } else { Ok(claims) }
}

/// Every forgery by name.
fn forgeries(gateway: &Gateway, retired: String) -> Vec<(&'static str, String)> {
    let kid = gateway.part(0)["kid"].as_str().unwrap().to_owned();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &gateway.pkcs8).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    // SubjectPublicKeyInfo of a P-256 point (RFC 5480), as a PEM file holds it.
    let mut spki = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00".to_vec();
    spki.extend(&point);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&spki));
    let hs256 = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid }).to_string();
        gateway.under(&header, |text| hmac::sign(&key, text).as_ref().to_vec())
    };
    let thief = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let thief_signs = |header: Value| {
        gateway
            .under(&header.to_string(), |text| thief.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec())
    };
    let stolen = thief.public_key().as_ref();
    let thief_key = json!({
        "kty": "EC", "crv": "P-256", "kid": "thief", "alg": "ES256",
        "x": URL_SAFE_NO_PAD.encode(&stolen[1..33]), "y": URL_SAFE_NO_PAD.encode(&stolen[33..]),
    });
    let seconds = now().seconds();
    let mut altered = gateway.part(1);
    replace(&mut altered, "username", json!("root@acme.example"));
    let parts: Vec<_> = gateway.assertion.split('.').collect();
    vec![
        ("alg none", gateway.under(&json!({ "alg": "none", "typ": "JWT", "kid": kid }).to_string(), |_| vec![])),
        ("alg None", gateway.under(&json!({ "alg": "None", "typ": "JWT", "kid": kid }).to_string(), |_| vec![])),
        (
            "two algs",
            gateway.under(&format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}","alg":"none"}}"#), |_| vec![]),
        ),
        ("HS256 with the public point", hs256(&point)),
        ("HS256 with the public key in DER", hs256(&spki)),
        ("HS256 with the public key in PEM", hs256(pem.as_bytes())),
        ("another algorithm than the key's", gateway.with_header("alg", json!("EdDSA"))),
        ("an unknown algorithm", gateway.with_header("alg", json!("ES256K"))),
        ("another type", gateway.with_header("typ", json!("at+jwt"))),
        ("no type", gateway.with_header("typ", Value::Null)),
        ("no key id", thief_signs(json!({ "alg": "ES256", "typ": "JWT" }))),
        ("a key id that is a path", gateway.with_header("kid", json!("../../../../../../dev/null"))),
        ("a retired key", retired),
        (
            "its own key along",
            thief_signs(json!({ "alg": "ES256", "typ": "JWT", "kid": "thief", "jwk": thief_key })),
        ),
        (
            "its own key along under our id",
            thief_signs(json!({ "alg": "ES256", "typ": "JWT", "kid": kid, "jwk": thief_key })),
        ),
        (
            "an address of keys along",
            thief_signs(json!({ "alg": "ES256", "typ": "JWT", "kid": "thief", "jku": "http://127.0.0.1:9/" })),
        ),
        ("an extension nobody knows", gateway.with_header("crit", json!(["https://a.example/none"]))),
        ("another zone's audience", gateway.with("aud", json!("https://desk.b.example"))),
        ("no audience", gateway.with("aud", Value::Null)),
        ("another issuer", gateway.with("iss", json!("https://b.example"))),
        ("no issuer", gateway.with("iss", Value::Null)),
        ("expired", gateway.with("exp", json!(seconds - 30))),
        ("no expiry", gateway.with("exp", Value::Null)),
        ("not yet valid", gateway.with("nbf", json!(seconds + 60))),
        ("no session", gateway.with("sid", Value::Null)),
        (
            "altered after signing",
            format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(altered.to_string()), parts[2]),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a signature of zeros", gateway.under(&gateway.part(0).to_string(), |_| vec![0; 64])),
        ("cut short", gateway.assertion[..gateway.assertion.len() - 4].to_owned()),
        ("nothing", String::new()),
    ]
}

#[tokio::test]
async fn h8_every_verifier_accepts_ours_and_refuses_each_forgery() {
    let verifiers = Verifiers::install();
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("jwks.json");
    let verdicts = |assertion: &str| {
        [
            ("python", verifiers.python(&keys, assertion)),
            ("node", verifiers.node(&keys, assertion)),
            ("rust", rust(&keys, assertion)),
        ]
    };
    let accepted = |gateway: &Gateway| {
        fs::write(&keys, &gateway.jwks).unwrap();
        for (verifier, verdict) in verdicts(&gateway.assertion) {
            let claims = verdict.unwrap_or_else(|reason| panic!("{verifier} refuses ours: {reason}"));
            assert_eq!(claims["username"], "jörg@acme.example", "{verifier}");
            assert_eq!(claims["groups"], json!(["staff, all"]), "{verifier}");
        }
    };
    accepted(&Gateway::start(KeyAlgorithm::EdDsa).await.0);
    let (gateway, retired) = Gateway::start(KeyAlgorithm::Es256).await;
    accepted(&gateway);
    // The forger's tools work: signed again without a change, it is accepted.
    let same = gateway.with("username", json!("root@acme.example"));
    assert!(verdicts(&same).into_iter().all(|(_, verdict)| verdict.unwrap()["username"] == "root@acme.example"));
    for (name, forged) in forgeries(&gateway, retired) {
        for (verifier, verdict) in verdicts(&forged) {
            assert!(verdict.is_err(), "{verifier} accepts a forgery: {name}");
        }
    }
}
