//! The edge: the only folder that names pingora. It reads what a request is, asks the gate, and does what the gate
//! says.
//!
//! The order of a request: `listen` has its connection, `hygiene` refuses what could mean two things, `facts` reads host, place and session,
//! `gate::decide` decides, and then either the portal's router answers, or a challenge or refusal is written, or
//! `upstream` builds the application's head from the grant. There is no way to an upstream request but a grant.

mod access_log;
mod acme;
mod admin;
pub mod client;
mod compress;
mod facts;
pub mod fields;
mod forward_auth;
mod generation;
mod handover;
pub mod hygiene;
mod listen;
mod proxy;
mod reasons;
mod refusals;
mod reload;
mod rescue;
mod seldom;
mod serve;
mod status;
mod streams;
mod tls;
mod traces;
pub mod upstream;

pub use facts::find_host;
pub use handover::{Inherited, Predecessor};
pub use listen::proxy_header;
pub use reasons::Reason;
pub use reload::Source;
pub use serve::{Gateway, ServeFault};
pub use tls::{CertificateProblem, Certificates, ClientCertificate, Extent, install_provider};
pub use upstream::check as check_upstreams;

#[cfg(test)]
mod tests;
