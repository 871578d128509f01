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
mod samples;
#[cfg(feature = "edge")]
#[cfg(test)]
mod snippets;
#[cfg(test)]
mod tidy;

#[cfg(all(test, feature = "test-clock"))]
mod durable;
#[cfg(all(test, feature = "test-clock"))]
mod harness;
#[cfg(all(test, feature = "test-clock"))]
mod secrets;
#[cfg(all(test, feature = "test-clock"))]
mod wire;
