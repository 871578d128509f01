//! The live side: the key ring that signs what the application is told.

mod keys;
mod signer;

pub use keys::{JWKS_CACHE_CONTROL, KeyFault, KeyRing, PUBLISHED_AHEAD, Rotation, rotate_signing_key};
