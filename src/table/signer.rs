//! One signing key, ready to sign: its private part, its key id and its public form.
//!
//! *Why not `jsonwebtoken` here?* Its `encode` parses the PKCS #8 key anew for every signature. What is left is to
//! join three base64url texts; the signature itself is aws-lc's. The tests verify what comes out with
//! `jsonwebtoken`, and with the libraries of two other languages.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::keys::KeyFault;
use crate::assertion::{KeyAlgorithm, jose_header};
use crate::machine::EntropyFault;

/// A key pair that signs: assertions for applications, and what proves to an identity provider who we are.
pub struct Signer {
    pair: Pair,
    kid: String,
    /// The protected header in base64url, with the dot behind it: the same for every assertion.
    head: String,
}

enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.kid)
    }
}

/// A new private key, PKCS #8 in DER, from the system's generator.
pub(super) fn generate(algorithm: KeyAlgorithm) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let document = match algorithm {
        KeyAlgorithm::Es256 => {
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).and_then(|pair| pair.to_pkcs8v1())
        }
        KeyAlgorithm::EdDsa => Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()),
    };
    let document = document.map_err(|_| KeyFault::Entropy(EntropyFault))?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

impl Signer {
    /// Reads a private key, PKCS #8 in DER.
    pub fn from_pkcs8(algorithm: KeyAlgorithm, pkcs8: &[u8]) -> Result<Self, KeyFault> {
        let pair = match algorithm {
            KeyAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Pair::Es256)
            }
            KeyAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).map(Pair::EdDsa),
        };
        let pair = pair.map_err(|_| KeyFault::Unreadable)?;
        let kid = thumbprint(&pair)?;
        let mut head = URL_SAFE_NO_PAD.encode(jose_header(algorithm, &kid));
        head.push('.');
        Ok(Self { pair, kid, head })
    }

    /// The key id: the JWK's SHA-256 thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK (RFC 7517 section 4, RFC 8037 section 2).
    pub fn jwk(&self) -> Result<Value, KeyFault> {
        let mut jwk = required_members(&self.pair)?;
        let algorithm = match self.pair {
            Pair::Es256(_) => KeyAlgorithm::Es256,
            Pair::EdDsa(_) => KeyAlgorithm::EdDsa,
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("alg".into(), algorithm.name().into());
            members.insert("kid".into(), self.kid.as_str().into());
            members.insert("use".into(), "sig".into());
        }
        Ok(jwk)
    }

    /// Signs a payload: a JWS in compact form (RFC 7515 section 7.1).
    pub fn sign(&self, payload: &[u8]) -> Result<String, KeyFault> {
        let signature_chars = 87; // 64 bytes, and the dot before them
        let mut text = String::with_capacity(self.head.len() + payload.len().div_ceil(3) * 4 + signature_chars);
        text.push_str(&self.head);
        URL_SAFE_NO_PAD.encode_string(payload, &mut text);
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()),
            Pair::EdDsa(pair) => pair.try_sign(text.as_bytes()),
        };
        let signature = signature.map_err(|_| KeyFault::Entropy(EntropyFault))?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut text);
        Ok(text)
    }
}

/// SHA-256 over the required members in the order of their names, without white space (RFC 7638 section 3).
fn thumbprint(pair: &Pair) -> Result<String, KeyFault> {
    let members = required_members(pair)?;
    let member = |name: &str| members.get(name).map(|value| format!("\"{name}\":{value}"));
    let text: Vec<_> = ["crv", "kty", "x", "y"].into_iter().filter_map(member).collect();
    let text = format!("{{{}}}", text.join(","));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    Ok(URL_SAFE_NO_PAD.encode(digest))
}

fn required_members(pair: &Pair) -> Result<Value, KeyFault> {
    match pair {
        Pair::Es256(pair) => {
            // An uncompressed point: 4, x, y (SEC 1 section 2.3.3).
            let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or(KeyFault::Unreadable)?;
            let (x, y) = point.split_at_checked(32).ok_or(KeyFault::Unreadable)?;
            Ok(json!({
                "crv": "P-256", "kty": "EC", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            }))
        }
        Pair::EdDsa(pair) => {
            Ok(json!({ "crv": "Ed25519", "kty": "OKP", "x": URL_SAFE_NO_PAD.encode(pair.public_key()) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_id_is_the_thumbprint_of_rfc_8037_appendix_a() {
        // The seed of RFC 8037 appendix A.1 in PKCS #8; A.2 gives the public key and A.3 the thumbprint.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        pkcs8.extend(seed);
        let signer = Signer::from_pkcs8(KeyAlgorithm::EdDsa, &pkcs8).unwrap();
        assert_eq!(signer.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(signer.jwk().unwrap()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }

    #[test]
    fn a_key_of_another_kind_or_a_torn_one_is_unreadable() {
        for (made, read) in
            [(KeyAlgorithm::Es256, KeyAlgorithm::EdDsa), (KeyAlgorithm::EdDsa, KeyAlgorithm::Es256)]
        {
            let pkcs8 = generate(made).unwrap();
            assert!(matches!(Signer::from_pkcs8(read, &pkcs8), Err(KeyFault::Unreadable)));
            assert!(matches!(Signer::from_pkcs8(made, &pkcs8[1..]), Err(KeyFault::Unreadable)));
            assert!(Signer::from_pkcs8(made, &pkcs8).is_ok());
        }
    }
}
