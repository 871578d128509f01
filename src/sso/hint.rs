//! An ID token as it is kept for one purpose: to tell its provider whose session ends there (`id_token_hint`, OpenID
//! Connect RP-Initiated Logout 1.0 section 2).
//!
//! It was verified when it came, and nobody is let in by it again. Still it tells who somebody is, and some providers
//! end a session for whoever shows it: it is sealed in the store and shown nowhere.

use std::fmt;

use zeroize::ZeroizeOnDrop;

/// A verified ID token, in its compact form.
#[derive(Clone, ZeroizeOnDrop)]
pub struct IdTokenHint(String);

impl IdTokenHint {
    /// Wraps a token that was verified.
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// For the one request that carries it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdTokenHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdTokenHint(..)")
    }
}
