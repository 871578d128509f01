//! Where a zone's application answers, and how it is spoken to.
//!
//! Nothing here is an open connection or a health: this is what the operator has said. What becomes of it is kept by
//! the edge, which compares two of these to know what a new configuration leaves as it was.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::{Hostname, Ttl};

/// The application behind a zone: one or several backends that are all the same to a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// At least one, but for [`Upstream::nowhere`].
    pub backends: Vec<Backend>,
    /// Which of them the next request goes to.
    pub balance: Balance,
    /// The protocol that all of them speak.
    pub protocol: Protocol,
    /// How it is found out that one does not answer before a request does; `None` to learn it from requests alone.
    pub health: Option<HealthCheck>,
    /// The `Host` that the application receives: its own, or the zone's.
    pub host_header: HostHeader,
    /// How long anything may take.
    pub limits: UpstreamLimits,
    /// Whether answers are compressed for clients that accept it.
    pub compress: bool,
}

impl Upstream {
    /// No backend at all, of a zone that is [`Ways::Asked`](super::Ways::Asked): no connection is ever made.
    pub fn nowhere() -> Self {
        Self {
            backends: Vec::new(),
            balance: Balance::default(),
            protocol: Protocol::default(),
            health: None,
            host_header: HostHeader::Zone,
            limits: UpstreamLimits::default(),
            compress: false,
        }
    }

    /// Plain HTTP/1.1 at one address, everything else as when the file says nothing.
    pub fn at(address: SocketAddr) -> Self {
        let target = Target::Address(address);
        Self { backends: vec![Backend { target, weight: 1, tls: None }], ..Self::nowhere() }
    }
}

/// One place where the application answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backend {
    /// Where.
    pub target: Target,
    /// Its share of the requests, against the weights of the others: 1 to 100. Each address of a name has it.
    pub weight: u8,
    /// `None` for plain HTTP.
    pub tls: Option<UpstreamTls>,
}

/// Where a connection goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// To this address.
    Address(SocketAddr),
    /// To the addresses that a name has at the time.
    Name {
        /// The name, in lower case. No [`Hostname`]: container platforms have names with underscores.
        host: Box<str>,
        /// The port, never 0.
        port: u16,
    },
    /// To a Unix socket: an absolute path without NUL, at most [`Target::SOCKET_BYTES_MAX`].
    Socket(PathBuf),
}

impl Target {
    /// What the kernel's address of a Unix socket has room for, its closing zero aside (unix(7)).
    pub const SOCKET_BYTES_MAX: usize = 107;
}

/// As logs and metrics name it; an operator finds it in the file.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How the next backend is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// In turns, as many as each one's weight, spread evenly.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way for its weight.
    LeastLoaded,
}

/// What is spoken with the application.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 and nothing else; with prior knowledge where there is no TLS (RFC 9113 section 3.3).
    Http2,
    /// The same, and `te: trailers` with every request, which gRPC servers ask for.
    Grpc,
}

impl Protocol {
    /// Whether many requests share a connection, and none can be upgraded.
    pub const fn is_http2(self) -> bool {
        match self {
            Self::Http1 => false,
            Self::Http2 | Self::Grpc => true,
        }
    }
}

/// TLS towards the application. Always verified: there is no switch to turn that off (SEC-R80, X6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamTls {
    /// The name that is sent as SNI and that the certificate must carry. Never empty: pingora would not verify.
    pub server_name: Hostname,
    /// Certificates that are trusted instead of the system's, each in DER.
    pub roots: Option<Arc<Vec<Vec<u8>>>>,
    /// What the gateway proves itself with, where the application wants to know who connects.
    pub client: Option<Arc<ClientIdentity>>,
}

/// The gateway's certificate towards an application, and the key to it.
#[derive(Clone, Eq, PartialEq)]
pub struct ClientIdentity {
    /// The certificate and those between it and its root, each in DER; at least one.
    pub chain: Vec<Vec<u8>>,
    /// The private key, in DER.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(..)")
    }
}

/// Which `Host` the application receives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostHeader {
    /// The zone's own, so that the application's links work.
    Zone,
    /// A fixed one.
    Fixed(String),
}

/// A question that every backend is asked again and again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// The path that is asked for; `None` to be content with a connection, TLS and HTTP/2 included.
    pub path: Option<String>,
    /// The status of a good answer; `None` for any from 200 to 399.
    pub status: Option<u16>,
    /// From one question to the next.
    pub interval: Ttl,
    /// How long one answer may take in all.
    pub timeout: Ttl,
    /// Bad answers in a row until a backend is left alone.
    pub fall: u8,
    /// Good answers in a row until it is used again.
    pub rise: u8,
}

/// How long anything upstream may take. What is silent by nature, WebSockets and event streams, is held to `connect`
/// and `write` alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpstreamLimits {
    /// The longest wait for a connection, TLS included.
    pub connect_max: Ttl,
    /// The longest silence while an answer's head is awaited; what is uploaded meanwhile is no silence.
    pub first_byte_max: Ttl,
    /// The longest silence while an answer is read.
    pub read_max: Ttl,
    /// The longest time one write may take.
    pub write_max: Ttl,
    /// How long an unused connection is kept.
    pub idle_max: Ttl,
    /// The longest time for a request and its answer in all; `None` for any.
    pub request_max: Option<Ttl>,
}

impl UpstreamLimits {
    /// A silence, or the time of a whole request where that is shorter: nobody is waited for longer than that.
    pub fn within_request(&self, silence: Ttl) -> Ttl {
        self.request_max.map_or(silence, |most| most.min(silence))
    }
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connect_max: Ttl::seconds_const(3),
            first_byte_max: Ttl::seconds_const(60),
            read_max: Ttl::seconds_const(60),
            write_max: Ttl::seconds_const(30),
            idle_max: Ttl::seconds_const(60),
            request_max: None,
        }
    }
}
