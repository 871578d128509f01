//! The one integration binary: each further one would link pingora again.
//!
//! `tidy` reads the source and `snippets` runs what backends copy; both always run. Everything else drives the
//! built program over real sockets and needs the clock that tests can set: `cargo test --features test-clock`.
//!
//! The modules say `cfg(test)`, which is always true here, because that is how clippy knows that helpers beside
//! the tests may unwrap.

#[cfg(feature = "edge")]
#[cfg(test)]
mod allocations;
#[cfg(feature = "edge")]
#[cfg(test)]
mod check;
#[cfg(feature = "edge")]
#[cfg(test)]
mod commands;
#[cfg(feature = "edge")]
#[cfg(test)]
mod commands_operating;
#[cfg(feature = "edge")]
#[cfg(test)]
mod samples;
#[cfg(feature = "edge")]
#[cfg(test)]
mod snippets;
#[cfg(feature = "edge")]
#[cfg(test)]
mod sso_commands;
#[cfg(feature = "edge")]
#[cfg(test)]
mod suite_commands;
#[cfg(test)]
mod tidy;

#[cfg(feature = "test-clock")]
#[cfg(test)]
mod access_log;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod attacks;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod attacks_desync;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod backends;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod backends_wire;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod behind_tls;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod certificates;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod durable;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod faults;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod first_byte;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod forward_auth;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod frames;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod harness;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod hosts;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod hygiene;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod idp;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod limits;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod listeners;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod metrics;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod parsing;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod provider;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod reload;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod rules;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod secrets;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod sso;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod status;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod store_lost;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod streams;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod upgrade;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod upgrade_faults;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod traces;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod upstream_tls;
#[cfg(feature = "test-clock")]
#[cfg(test)]
mod wire;
