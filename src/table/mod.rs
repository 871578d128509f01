//! The live side of what the store keeps: sessions, and the keys that sign what the application is told.

mod census;
mod keys;
mod live;
mod sessions;
mod sharded;
mod signer;
mod users;

pub use census::Census;
pub use keys::{JWKS_CACHE_CONTROL, KeyFacts, KeyFault, KeyRing, PUBLISHED_AHEAD, Rotation, rotate_signing_key};
pub use live::LiveTable;
pub use sessions::{Begun, NewSession, SessionFault, Sessions};
pub use signer::Signer;
