//! Bearer secrets that browsers hold. Their text goes into a cookie and nowhere else: memory, store and logs
//! know only the SHA-256, so that a dump or a backup opens nothing (SEC-R30, K3).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::ZeroizeOnDrop;

/// The length of a token in its cookie: 32 bytes as base64url without padding (RFC 4648 section 5).
const TOKEN_TEXT_BYTES: usize = 43;

/// SHA-256 of a bearer secret: what the store keeps in its place.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Hashes a secret.
    pub fn of(secret: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Wraps a digest as the store returned it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as the store keeps them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The live table's key.
    pub const fn key(&self) -> SessionKey {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.0;
        SessionKey(u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
    }

    /// Compares without telling by its time where the two differ.
    pub fn matches(&self, other: &Self) -> bool {
        // Eight bytes at a time, which costs a tenth; what differs is gathered without a way out in between.
        let ((own, _), (others, _)) = (self.0.as_chunks::<8>(), other.0.as_chunks::<8>());
        let difference = own.iter().zip(others).fold(0, |difference, (own, other)| {
            difference | (u64::from_le_bytes(*own) ^ u64::from_le_bytes(*other))
        });
        difference.ct_eq(&0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// The first 16 bytes of a token's digest: uniform, so the table needs no hash of its own, and clients cannot
/// choose it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionKey(u128);

impl SessionKey {
    /// The key as a number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes that the caller drew from a secure source.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Reads a cookie's value: exactly 43 characters of base64url. No allocation.
            pub fn parse(value: &[u8]) -> Option<Self> {
                if value.len() != TOKEN_TEXT_BYTES {
                    return None;
                }
                let mut bytes = [0; 32];
                match URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) {
                    Ok(32) => Some(Self(bytes)),
                    Ok(_) | Err(_) => None,
                }
            }

            /// The cookie's value. The only way to the secret.
            pub fn reveal(&self) -> String {
                URL_SAFE_NO_PAD.encode(self.0)
            }

            /// What everybody but the browser keeps of it.
            pub fn digest(&self) -> TokenDigest {
                TokenDigest::of(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

token! {
    /// The value of `__Host-zg_session`.
    SessionToken
}
token! {
    /// The value of `__Host-zg_browser`, which binds flows to one browser.
    BrowserToken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_cookie_and_nothing_else_parses() {
        let token = SessionToken::from_bytes([7; 32]);
        let text = token.reveal();
        assert_eq!(SessionToken::parse(text.as_bytes()).map(|t| t.digest()), Some(token.digest()));
        for bad in ["", &text[1..], &format!("{text}="), &format!("+{}", &text[1..]), &"A".repeat(1 << 20)] {
            assert!(SessionToken::parse(bad.as_bytes()).is_none());
        }
    }

    #[test]
    fn digests_match_only_when_every_bit_does() {
        let digest = TokenDigest::of(b"a secret");
        assert!(digest.matches(&TokenDigest::of(b"a secret")));
        for bit in 0..256 {
            let mut other = digest;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert!(!digest.matches(&other) && !other.matches(&digest), "bit {bit}");
        }
    }

    #[test]
    fn k1_debug_shows_no_secret() {
        let token = SessionToken::from_bytes([7; 32]);
        assert_eq!(
            format!("{token:?} {:?} {:?}", token.digest(), token.digest().key()),
            "SessionToken(..) TokenDigest(..) SessionKey(..)"
        );
    }
}
