//! Sealing: authenticated encryption for everything secret at rest, and for state that travels through a browser.
//!
//! Why AES-256-GCM-SIV (RFC 8452)? Flows are sealed at the rate strangers ask for pages, with random nonces: a
//! plain GCM key would have to be counted and rotated, and one repeated nonce would give the key away. Here a
//! repeat only tells that two texts were equal. One key per purpose, derived from the master key (RFC 5869).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::ZeroizeOnDrop;

/// The format's first byte, so that a later cipher can be told apart.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The installation's one secret: 32 bytes, from a file or the environment, never in the store.
#[derive(Clone, ZeroizeOnDrop)]
pub struct MasterKey([u8; 32]);

/// Why something sealed could not be made or opened. Says nothing of the content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealProblem {
    /// Not 32 bytes in base64.
    #[error("is not a master key: 32 random bytes in base64, as `openssl rand -base64 32` prints them")]
    NotAKey,
    /// Too short, of an unknown version, sealed under another key or for another purpose, or altered.
    #[error("was not sealed by this key, or was altered")]
    Forged,
    /// The library refused to seal (a text over 64 GiB).
    #[error("could not be sealed")]
    NotSealed,
}

impl MasterKey {
    /// Wraps 32 bytes that the caller drew from a secure source.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the text form: 32 bytes in standard base64; surrounding white space is ignored.
    pub fn parse(text: &str) -> Result<Self, SealProblem> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SealProblem::NotAKey)?;
        bytes.try_into().map(Self).map_err(|_| SealProblem::NotAKey)
    }

    /// Whether both are the same key, without telling by the time where they differ.
    pub fn is(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), &other.0).into()
    }

    /// The text form, for a key file that is being made.
    pub fn reveal(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The key for one purpose (HKDF-SHA256, `info` = purpose). Purposes are literals such as `"flow v1"`.
    pub fn derive(&self, purpose: &'static str) -> SealKey {
        SealKey(self.derive_bytes(purpose))
    }

    /// 32 bytes for one purpose that is neither sealing nor keyed hashing.
    pub fn derive_bytes(&self, purpose: &'static str) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(purpose, &mut bytes);
        bytes
    }

    /// A key for keyed hashing under one purpose.
    pub fn derive_mac(&self, purpose: &'static str) -> aws_lc_rs::hmac::Key {
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.derive_bytes(purpose))
    }

    fn fill(&self, purpose: &'static str, out: &mut [u8; 32]) {
        let info = [purpose.as_bytes()];
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"zonegate").extract(&self.0);
        // Fails only for outputs over 255 blocks; a zero key must never be used, so the bug stops here.
        let filled = prk.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(out));
        assert!(filled.is_ok(), "HKDF-SHA256 gives 32 bytes");
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Seals and opens for one purpose.
#[derive(Clone, ZeroizeOnDrop)]
pub struct SealKey([u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// Seals `plain` so that it opens only with the same `context`.
    ///
    /// - Shape: `version(1) nonce(12) ciphertext tag(16)`.
    /// - `nonce`: 12 bytes that the caller drew from a secure source.
    /// - Source: RFC 8452.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealProblem> {
        let mut out = Vec::with_capacity(1 + NONCE_BYTES + plain.len() + AES_256_GCM_SIV.tag_len());
        out.extend_from_slice(plain);
        self.key()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut out)
            .map_err(|_| SealProblem::NotSealed)?;
        let head = [VERSION].into_iter().chain(nonce);
        out.splice(0..0, head);
        Ok(out)
    }

    /// Opens what [`SealKey::seal`] sealed with the same `context`.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealProblem> {
        let (&VERSION, rest) = sealed.split_first().ok_or(SealProblem::Forged)? else {
            return Err(SealProblem::Forged);
        };
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealProblem::Forged)?;
        let mut body = body.to_vec();
        let plain = self
            .key()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut body)
            .map_err(|_| SealProblem::Forged)?;
        let length = plain.len();
        body.truncate(length);
        Ok(body)
    }

    fn key(&self) -> Result<LessSafeKey, SealProblem> {
        UnboundKey::new(&AES_256_GCM_SIV, &self.0).map(LessSafeKey::new).map_err(|_| SealProblem::NotSealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(purpose: &'static str) -> SealKey {
        MasterKey::from_bytes([3; 32]).derive(purpose)
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_and_context_only() {
        let sealed = key("flow v1").seal([1; 12], b"zone", b"plain").unwrap();
        assert_eq!(key("flow v1").open(b"zone", &sealed).unwrap(), b"plain");
        assert_eq!(key("flow v1").open(b"other", &sealed), Err(SealProblem::Forged));
        assert_eq!(key("totp v1").open(b"zone", &sealed), Err(SealProblem::Forged));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = key("flow v1").seal([1; 12], b"", b"plain").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key("flow v1").open(b"", &bad), Err(SealProblem::Forged), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(key("flow v1").open(b"", &sealed[..length]).is_err());
        }
    }

    #[test]
    fn a_master_key_survives_its_text_and_short_ones_are_refused() {
        let text = format!(" {}\n", MasterKey::from_bytes([9; 32]).reveal());
        assert!(MasterKey::parse(&text).is_ok());
        assert!(MasterKey::parse("c2hvcnQ=").is_err());
    }
}
