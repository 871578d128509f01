//! The vocabulary every other module speaks: points in time, names, ids and secrets as types of their own.
//!
//! Nothing here decides anything. A value of one of these types is well-formed by construction, so the rules
//! above never meet an empty hostname, a username in two spellings, or a lifetime of zero.

pub mod csv;
mod hex;
mod host;
mod id;
mod network;
mod path;
mod seal;
mod secret;
mod time;
mod username;

pub use hex::{hex_bytes, hex_digit};
pub use host::{ByHost, Hostname, HostnameProblem};
pub use id::{FlowId, IdProblem, RequestId, SessionId, TenantId, UserId};
pub use network::{NetworkProblem, Networks, Source};
pub use path::{LocalPath, is_gateway_path};
pub use seal::{MasterKey, SealKey, SealProblem};
pub use secret::{BrowserToken, SessionKey, SessionToken, TokenDigest};
pub use time::{Ttl, UnixTime};
pub use username::{Domain, Username, UsernameProblem};
