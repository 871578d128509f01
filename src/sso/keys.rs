//! The keys that a provider publishes (RFC 7517), read for the one algorithm that its tokens are pinned to.
//!
//! A set may hold anything: keys for encryption, for other algorithms, of other kinds. Those are passed over, as RFC 7517
//! section 5 wants it, and so are keys that are too weak or not well made: what is not in a [`KeySet`] verifies nothing.
//!
//! *Why not `jsonwebtoken` for the signatures?* It would take the one `match` of `public_key` off us, and parse
//! the key anew for each token, and ask a provider that is global to the process. The header, the times and the audience
//! would be ours either way. aws-lc-rs is in the pure half already.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json::Object;
use super::{PUBLISHED_BYTES_MAX, SigningAlgorithm, TokenProblem};

/// The shortest RSA modulus, in bits (RFC 7518 section 3.3). The longest is aws-lc's 8192.
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// A provider's public keys that can verify its tokens.
pub struct KeySet {
    algorithm: SigningAlgorithm,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    public: ParsedPublicKey,
}

/// Why a provider's keys cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyProblem {
    /// Longer than [`PUBLISHED_BYTES_MAX`].
    #[error("is longer than {PUBLISHED_BYTES_MAX} bytes")]
    TooLong,
    /// Not an object with an array `keys`, or with a member twice.
    #[error("is no set of keys (RFC 7517)")]
    NotAKeySet,
    /// Nothing that could verify the pinned algorithm: other kinds, other uses, weak or broken keys.
    #[error("holds no usable key for {}", .0.name())]
    NoUsableKey(SigningAlgorithm),
}

impl KeySet {
    /// Reads what stands at `jwks_uri`, and keeps what verifies `algorithm`.
    pub fn read(bytes: &[u8], algorithm: SigningAlgorithm) -> Result<Self, KeyProblem> {
        if bytes.len() > PUBLISHED_BYTES_MAX {
            return Err(KeyProblem::TooLong);
        }
        let set = Object::read(bytes).ok_or(KeyProblem::NotAKeySet)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeyProblem::NotAKeySet)?;
        let keys: Vec<Key> = listed.iter().filter_map(|value| Key::read(value.as_object()?, algorithm)).collect();
        match keys.is_empty() {
            true => Err(KeyProblem::NoUsableKey(algorithm)),
            false => Ok(Self { algorithm, keys }),
        }
    }

    /// Whether `signature` over `message` was made with the key that the token names, or with the only one there is.
    pub(super) fn verify(
        &self,
        algorithm: SigningAlgorithm,
        id: Option<&str>,
        message: &str,
        signature: &[u8],
    ) -> Result<(), TokenProblem> {
        // Keys that were kept from before the algorithm was changed are none of the right ones.
        if self.algorithm != algorithm {
            return Err(TokenProblem::UnknownKey);
        }
        let mut named = self.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let key = named.next().ok_or(TokenProblem::UnknownKey)?;
        // Trying one after the other would let whoever adds a key under a name in use sign as well.
        if named.next().is_some() {
            return Err(TokenProblem::AmbiguousKey);
        }
        key.public.verify_sig(message.as_bytes(), signature).map_err(|_| TokenProblem::BadSignature)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({}, {} keys)", self.algorithm.name(), self.keys.len())
    }
}

impl Key {
    fn read(jwk: &Map<String, Value>, algorithm: SigningAlgorithm) -> Option<Self> {
        // A private half that is published proves nothing any more.
        if !is_for_signatures(jwk) || !absent_or(jwk, "alg", algorithm.name()) || jwk.contains_key("d") {
            return None;
        }
        let id = match jwk.get("kid") {
            Some(id) => Some(id.as_str()?.to_owned()),
            None => None,
        };
        Some(Self { id, public: public_key(jwk, algorithm)? })
    }
}

fn absent_or(jwk: &Map<String, Value>, name: &str, want: &str) -> bool {
    jwk.get(name).is_none_or(|value| value.as_str() == Some(want))
}

/// RFC 7517 sections 4.2 and 4.3.
fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let verifies = |value: &Value| {
        value.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    };
    absent_or(jwk, "use", "sig") && jwk.get("key_ops").is_none_or(verifies)
}

/// RFC 7518 section 6, RFC 8037 section 2.
fn public_key(jwk: &Map<String, Value>, algorithm: SigningAlgorithm) -> Option<ParsedPublicKey> {
    match algorithm {
        SigningAlgorithm::RS256 => rsa(jwk, &RSA_PKCS1_2048_8192_SHA256),
        SigningAlgorithm::PS256 => rsa(jwk, &RSA_PSS_2048_8192_SHA256),
        SigningAlgorithm::ES256 => point(jwk, "P-256", 32, &ECDSA_P256_SHA256_FIXED),
        SigningAlgorithm::ES384 => point(jwk, "P-384", 48, &ECDSA_P384_SHA384_FIXED),
        SigningAlgorithm::EdDSA => edwards(jwk),
    }
}

fn rsa(jwk: &Map<String, Value>, parameters: &'static RsaParameters) -> Option<ParsedPublicKey> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let bits = (n.len() * 8).checked_sub(n.first()?.leading_zeros() as usize)?;
    let is_strong = (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits);
    // With an exponent of one, every text is its own signature.
    let raises = e.last()? % 2 == 1 && e != [1];
    if !is(jwk, "kty", "RSA") || !is_strong || !raises {
        return None;
    }
    RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
}

fn point(
    jwk: &Map<String, Value>,
    curve: &str,
    length: usize,
    algorithm: &'static dyn VerificationAlgorithm,
) -> Option<ParsedPublicKey> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if !is(jwk, "kty", "EC") || !is(jwk, "crv", curve) || x.len() != length || y.len() != length {
        return None;
    }
    // Uncompressed (SEC 1 section 2.3.3). That it lies on the curve is looked at when it is parsed.
    ParsedPublicKey::new(algorithm, [&[4], x.as_slice(), &y].concat()).ok()
}

fn edwards(jwk: &Map<String, Value>) -> Option<ParsedPublicKey> {
    let x = bytes(jwk, "x")?;
    if !is(jwk, "kty", "OKP") || !is(jwk, "crv", "Ed25519") || x.len() != 32 {
        return None;
    }
    ParsedPublicKey::new(&ED25519, x).ok()
}

fn is(jwk: &Map<String, Value>, name: &str, want: &str) -> bool {
    jwk.get(name).and_then(Value::as_str) == Some(want)
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()
}
