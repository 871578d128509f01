//! The listeners of the file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::section::{Scalar, Section};
use super::settings::path;
use crate::base::Networks;
use crate::zone::Target;

/// Where to listen, and whom to believe there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listeners {
    /// TLS: zones and the universal host.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP, which redirects.
    pub http: Vec<SocketAddr>,
    /// Plain HTTP, on which proxies of `trusted_proxies` pass requests on that came to them by TLS.
    pub behind_tls: Vec<SocketAddr>,
    /// Health, metrics; nobody from outside.
    pub admin: Option<AdminListener>,
    /// Plain HTTP, on which whoever reaches it is told of health and metrics, and nothing else.
    pub status: Vec<SocketAddr>,
    /// Plain HTTP, on which proxies of `trusted_proxies` ask about requests (forward-auth).
    pub forward_auth: Option<SocketAddr>,
    /// Balancers that pass connections on and name the client in a PROXY header, which they must send.
    pub proxy_protocol_from: Networks,
    /// Proxies that pass requests on and are believed when they name the client.
    pub trusted_proxies: Networks,
    /// Where they name it.
    pub client_address: ForwardedField,
    /// The oldest TLS that is spoken.
    pub tls_min: TlsVersion,
}

/// The admin listener: never on an address that others reach.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminListener {
    /// A Unix socket, mode 0600. Its path has at most [`Target::SOCKET_BYTES_MAX`] bytes.
    Unix(PathBuf),
    /// A loopback address.
    Loopback(SocketAddr),
}

/// The field in which trusted proxies name the client. One, and never the other as well: whoever may write the one that
/// nobody looks after chooses the address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedField {
    /// The field in which they say how a request came to them, and what it must be like.
    pub const fn scheme_field(self) -> &'static str {
        match self {
            Self::XForwardedFor => "X-Forwarded-Proto: https",
            Self::Forwarded => "Forwarded: proto=https",
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward secrecy only.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

pub(super) fn read(section: Section<'_>, directory: &Path) -> (Listeners, u16) {
    let addresses = |name: &str| -> (Vec<_>, Vec<_>) {
        let given = section.scalars(name);
        let read = given.iter().filter_map(|scalar| address(&section, scalar)).collect();
        (given, read)
    };
    let (given_https, https) = addresses("https");
    let (_, http) = addresses("http");
    let (given_behind_tls, behind_tls) = addresses("behind_tls");
    // Where somebody else ends TLS there need be no port for it here.
    let https = if given_https.is_empty() && given_behind_tls.is_empty() {
        vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 443))]
    } else {
        https
    };
    let (_, status) = addresses("status");
    let forward_auth = section.scalar("forward_auth");
    let asked_at = forward_auth.as_ref().and_then(|scalar| address(&section, scalar));
    let admin = section.scalar("admin").and_then(|scalar| admin_listener(&section, &scalar, directory));
    let loopback = match &admin {
        Some(AdminListener::Loopback(address)) => Some(*address),
        Some(AdminListener::Unix(_)) | None => None,
    };
    let mut taken = std::collections::HashSet::new();
    for address in https
        .iter()
        .chain(&http)
        .chain(&behind_tls)
        .chain(&status)
        .chain(&asked_at)
        .chain(&loopback)
        .filter(|address| address.port() != 0)
    {
        if !taken.insert(*address) {
            section.report(
                section.line,
                "https",
                format!("and its neighbours name {address} twice: only one can listen there"),
            );
        }
    }
    let first = https.first().map_or(443, SocketAddr::port);
    let public_port = section.number("public_port", u64::from(first), 0..=65535);
    let proxy_protocol_from = networks(&section, "proxy_protocol_from");
    let trusted_proxies = networks(&section, "trusted_proxies");
    if trusted_proxies.is_empty() {
        for (scalar, does) in forward_auth
            .iter()
            .map(|scalar| (scalar, "asks"))
            .chain(given_behind_tls.iter().map(|scalar| (scalar, "passes requests on")))
        {
            let text =
                format!("answers only those in trusted_proxies: name the address of the proxy that {does} there");
            section.report_at(scalar, text);
        }
    }
    let client_address = choice(
        &section,
        "client_address",
        &[("x-forwarded-for", ForwardedField::XForwardedFor), ("forwarded", ForwardedField::Forwarded)],
    );
    if let (true, Some(scalar)) = (trusted_proxies.is_empty(), section.scalar("client_address")) {
        section.report_at(&scalar, "is read from nobody as long as trusted_proxies names nobody");
    }
    let tls_min = choice(&section, "tls_min", &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]);
    section.finish();
    let listeners = Listeners {
        https,
        http,
        behind_tls,
        admin,
        status,
        forward_auth: asked_at,
        proxy_protocol_from,
        trusted_proxies,
        client_address,
        tls_min,
    };
    (listeners, u16::try_from(public_port).unwrap_or(443))
}

fn address(section: &Section<'_>, scalar: &Scalar<'_>) -> Option<SocketAddr> {
    match scalar.text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let text = format!("{:?} is not an address with a port, like 0.0.0.0:443 or [::]:443", scalar.text);
            section.report_at(scalar, text);
            None
        }
    }
}

fn admin_listener(section: &Section<'_>, scalar: &Scalar<'_>, directory: &Path) -> Option<AdminListener> {
    if let Some(socket) = scalar.text.strip_prefix("unix:") {
        if socket.is_empty() {
            section.report_at(scalar, "names no socket: give its path, like unix:/run/zonegate/admin.sock");
            return None;
        }
        let socket = path(directory, socket);
        let bytes = socket.as_os_str().len();
        if bytes > Target::SOCKET_BYTES_MAX {
            let most = Target::SOCKET_BYTES_MAX;
            section.report_at(scalar, format!("is a path of {bytes} bytes, and a socket's has at most {most}"));
            return None;
        }
        return Some(AdminListener::Unix(socket));
    }
    let Ok(address) = scalar.text.parse::<SocketAddr>() else {
        let text = format!(
            "{:?} is neither a loopback address like 127.0.0.1:9443 nor a socket like unix:/run/zonegate/admin.sock",
            scalar.text
        );
        section.report_at(scalar, text);
        return None;
    };
    if address.ip().is_loopback() {
        Some(AdminListener::Loopback(address))
    } else {
        let text = format!(
            "{:?} can be reached from outside: give a loopback address like 127.0.0.1:9443, or a socket like \
             unix:/run/zonegate/admin.sock (SEC-R91)",
            scalar.text
        );
        section.report_at(scalar, text);
        None
    }
}

/// A list of addresses and ranges.
pub(super) fn networks(section: &Section<'_>, name: &str) -> Networks {
    let range = |scalar: &Scalar<'_>| match Networks::range(scalar.text) {
        Ok(range) => Some(range),
        Err(problem) => {
            section.report_at(scalar, problem.to_string());
            None
        }
    };
    Networks::new(section.scalars(name).iter().filter_map(range).collect())
}

/// One of a few words, the default when nothing is said.
fn choice<T: Copy + Default>(section: &Section<'_>, name: &str, known: &[(&str, T)]) -> T {
    let Some(scalar) = section.scalar(name) else { return T::default() };
    if let Some((_, chosen)) = known.iter().find(|(word, _)| *word == scalar.text) {
        return *chosen;
    }
    let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
    section.report_at(&scalar, format!("{:?} is none of {}", scalar.text, words.join(", ")));
    T::default()
}
