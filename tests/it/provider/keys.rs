//! What a provider signs with. Written out here, so that the verifier under test is not its own judge.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Base64url without padding, as all of JOSE has it.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A key pair with its name.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

/// RSA keys, made when they are wanted and shared by all tests of a process: each takes a while. The last one is nobody's.
static RSA: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];

impl SigningKey {
    /// The `nth` of a provider's keys for `algorithm`: `RS256`, `PS256` or `ES256`. Differs from the one before it.
    pub(crate) fn nth(algorithm: &str, nth: usize) -> Self {
        Self::new(algorithm, &format!("key-{nth}"), nth % 2)
    }

    /// A key of no provider's, under a name of the test's choice.
    pub(crate) fn stray(algorithm: &str, kid: &str) -> Self {
        Self::new(algorithm, kid, 2)
    }

    fn new(algorithm: &str, kid: &str, slot: usize) -> Self {
        let pair = match algorithm {
            "RS256" | "PS256" => Pair::Rsa(RsaKeyPair::from_pkcs8(RSA[slot].get_or_init(rsa)).unwrap()),
            "ES256" => Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            other => panic!("no keys for {other}"),
        };
        Self { kid: kid.into(), pair }
    }

    /// As a key set lists it.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                // RFC 8017 appendix A.1.1, of a modulus of 2048 bits and the usual exponent: two heads of four bytes, a zero,
                // the modulus, and the exponent with its head.
                let der = pair.public_key().as_ref();
                assert_eq!((der.len(), &der[der.len() - 5..]), (270, &[2, 3, 1, 0, 1][..]));
                json!({ "kty": "RSA", "use": "sig", "kid": self.kid, "n": base64url(&der[9..265]), "e": "AQAB" })
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "use": "sig", "kid": self.kid, "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
        }
    }

    fn signature(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }

    /// A token with this header and these claims, signed as the header says if this key can.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let signature = self.signature(algorithm, message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }
}

fn rsa() -> Vec<u8> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
}

/// The claims of a token that was signed with ES256 and the private half of `jwk`.
pub(super) fn verified_es256(token: &str, jwk: &Value) -> Option<Value> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, claims) = message.split_once('.')?;
    let part = |name: &str| from_base64url(jwk[name].as_str()?);
    let point = [vec![4], part("x")?, part("y")?].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(message.as_bytes(), &from_base64url(signature)?).ok()?;
    let header: Value = serde_json::from_slice(&from_base64url(header)?).ok()?;
    (header["alg"] == "ES256").then_some(())?;
    serde_json::from_slice(&from_base64url(claims)?).ok()
}
