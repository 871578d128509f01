//! zonegate: an identity-provider gateway.
//!
//! One binary stands in front of an existing multi-zone web application: it routes each zone's hostname,
//! enforces how a person proves who they are, keeps each user to their session slots, and passes a proven
//! identity upstream in headers and a signed assertion. Start with `ARCHITECTURE.md`.
//!
//! The modules are listed in dependency order, which is also the reading order: a module imports only those
//! above it, and a test (`tests/it/tidy.rs`) holds that. The first group is pure: no clock, socket, file,
//! randomness or lock, and it compiles alone with `--no-default-features`. The second group does the I/O.

// ── pure ──
pub mod base;
pub mod zone;
pub mod directory;
pub mod credential;
pub mod session;
pub mod assertion;
pub mod gate;
pub mod login;
pub mod sso;
pub mod pages;
pub mod config;
pub mod telemetry;

// ── edge ──
#[cfg(feature = "edge")]
pub mod machine;
#[cfg(feature = "edge")]
pub mod store;
#[cfg(feature = "edge")]
pub mod table;
#[cfg(feature = "edge")]
pub mod idp;
#[cfg(feature = "edge")]
pub mod portal;
#[cfg(feature = "edge")]
pub mod edge;
#[cfg(feature = "edge")]
pub mod cli;
