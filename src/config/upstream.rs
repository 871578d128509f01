//! What a zone of the file says of its application.
//!
//! *Is a name looked up here?* No. It was, and a name that had no address yet was an error. But containers start in any
//! order, and what is right must not depend on who is up; so a name stays a name, the edge looks it up and says so when
//! it cannot, and until it can the zone answers 502.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::Surroundings;
use super::section::{Scalar, Section};
use super::settings::path;
use crate::base::{Hostname, LocalPath, Ttl, is_gateway_path};
use crate::zone::{
    Backend, Balance, ClientIdentity, HealthCheck, HostHeader, Protocol, Target, Upstream, UpstreamLimits,
    UpstreamTls,
};

/// More than any application here has, and few enough to look at each for every request.
const BACKENDS_MAX: usize = 64;
/// What an hour has: the most that any limit may be, but the one for whole requests.
const HOUR: u32 = 3600;

pub(super) fn read(section: Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Option<Upstream> {
    let tls = Tls {
        server_name: section.optional("server_name"),
        roots: section.scalar("ca_file").and_then(|scalar| roots(&section, &scalar, directory, outside)),
        client: client(&section, directory, outside),
    };
    let host_header = host_header(&section);
    let balance = one_of(
        &section,
        "balance",
        &[("round_robin", Balance::RoundRobin), ("least_loaded", Balance::LeastLoaded)],
    );
    let protocol = one_of(
        &section,
        "protocol",
        &[("http1", Protocol::Http1), ("http2", Protocol::Http2), ("grpc", Protocol::Grpc)],
    );
    let limits = limits(&section, protocol);
    let compress = section.flag("compress", false);
    let health = section.section_if_map("health").map(health);
    let backends = backends(&section, &tls, directory);
    section.finish();
    Some(Upstream { backends: backends?, balance, protocol, health, host_header, limits, compress })
}

/// What holds for all backends that begin with https.
struct Tls {
    server_name: Option<Hostname>,
    roots: Option<Arc<Vec<Vec<u8>>>>,
    client: Option<Arc<ClientIdentity>>,
}

/// The value of a key that is one of a few words; the first is the default.
fn one_of<T: Copy + Default>(section: &Section<'_>, name: &str, words: &[(&str, T)]) -> T {
    let Some(scalar) = section.scalar(name) else { return T::default() };
    match words.iter().find(|(word, _)| *word == scalar.text) {
        Some((_, value)) => *value,
        None => {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            section.report_at(&scalar, format!("{:?} is none of {}", scalar.text, known.join(", ")));
            T::default()
        }
    }
}

fn host_header(section: &Section<'_>) -> HostHeader {
    let Some(scalar) = section.scalar("host_header").filter(|scalar| scalar.text != "zone") else {
        return HostHeader::Zone;
    };
    if scalar.text.parse::<http::uri::Authority>().is_err() || scalar.text.contains('@') {
        let text =
            format!("{:?} is neither `zone` nor a host like app.internal or app.internal:8443", scalar.text);
        section.report_at(&scalar, text);
    }
    HostHeader::Fixed(scalar.text.to_owned())
}

fn limits(section: &Section<'_>, protocol: Protocol) -> UpstreamLimits {
    let usual = UpstreamLimits::default();
    let limit = |name: &str, default, most| section.duration(name, default, 1..=most);
    let read_max = limit("read_max", usual.read_max, HOUR);
    if let Some(scalar) = section.scalar("first_byte_max").filter(|_| protocol.is_http2()) {
        // One connection carries many requests there, and could not be ended for the sake of one.
        section.report_at(&scalar, "is only for protocol http1: over HTTP/2 read_max holds for both");
    }
    UpstreamLimits {
        connect_max: limit("connect_max", usual.connect_max, 60),
        first_byte_max: limit("first_byte_max", read_max, HOUR),
        read_max,
        write_max: limit("write_max", usual.write_max, HOUR),
        idle_max: limit("idle_max", usual.idle_max, HOUR),
        request_max: section.scalar("request_max").map(|_| limit("request_max", usual.read_max, 24 * HOUR)),
    }
}

fn health(section: Section<'_>) -> HealthCheck {
    let path = section.scalar("path").map(|scalar| {
        if scalar.text.parse::<LocalPath>().is_err() || is_gateway_path(scalar.text.as_bytes()) {
            section.report_at(&scalar, format!("{:?} is not a path, like /healthz", scalar.text));
        }
        scalar.text.to_owned()
    });
    let status = section.number_if_any("status", 200..=599).and_then(|status| u16::try_from(status).ok());
    if let Some(scalar) = section.scalar("status").filter(|_| path.is_none()) {
        section.report_at(&scalar, "is of no use without path: without one only a connection is made");
    }
    let times = |name: &str, default| u8::try_from(section.number(name, default, 1..=100)).unwrap_or(u8::MAX);
    let check = HealthCheck {
        path,
        status,
        interval: section.duration("interval", Ttl::seconds_const(10), 1..=HOUR),
        timeout: section.duration("timeout", Ttl::seconds_const(3), 1..=60),
        fall: times("fall", 3),
        rise: times("rise", 2),
    };
    section.finish();
    check
}

/// `url` alone, or the list; `None` with a problem reported.
fn backends(section: &Section<'_>, tls: &Tls, directory: &Path) -> Option<Vec<Backend>> {
    let url = section.scalar("url");
    let list = section.sections("backends");
    let mut urls: Vec<&str> = url.iter().map(|scalar| scalar.text).collect();
    let backends = match (&url, list.is_empty()) {
        (None, true) => {
            if !section.is_broken("backends") {
                let text = "is missing: the application's address, for example http://127.0.0.1:8080";
                section.report(section.line, "url", text);
            }
            return None;
        }
        (Some(url), true) => backend(section, url, 1, tls, directory).map(|backend| vec![backend]),
        (Some(url), false) => {
            section.report_at(url, "and backends are given: put the address into the list as well");
            None
        }
        (None, false) => {
            let many = list.len() > BACKENDS_MAX;
            if many {
                section.report(section.line, "backends", format!("are more than {BACKENDS_MAX}"));
            }
            let total = list.len();
            let mut backends: Vec<Backend> = Vec::new();
            for item in list {
                let weight = u8::try_from(item.number("weight", 1, 1..=100)).unwrap_or(1);
                let url = item.scalar("url");
                if url.is_none() {
                    item.report(item.line, "url", "is missing: each backend has one, like http://10.0.0.1:8080");
                }
                urls.extend(url.iter().map(|scalar| scalar.text));
                let found = url.as_ref().and_then(|url| {
                    let found = backend(&item, url, weight, tls, directory)?;
                    if backends.iter().any(|earlier| earlier.target == found.target) {
                        item.report_at(url, "stands in the list already: raise its weight instead");
                    }
                    Some(found)
                });
                backends.extend(found);
                item.finish();
            }
            (backends.len() == total && !many).then_some(backends)
        }
    };
    if !urls.iter().any(|url| url.starts_with("https:")) {
        let verified = "is only for an upstream that begins with https: nothing is verified on plain HTTP";
        let shown = "is only for an upstream that begins with https: nothing is shown on plain HTTP";
        for (name, text) in [
            ("server_name", verified),
            ("ca_file", verified),
            ("client_certificate", shown),
            ("client_key", shown),
        ] {
            if let Some(scalar) = section.scalar(name) {
                section.report_at(&scalar, text);
            }
        }
    }
    backends
}

fn backend(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    weight: u8,
    tls: &Tls,
    directory: &Path,
) -> Option<Backend> {
    let wrong = |text: String| {
        section.report_at(scalar, text);
        None
    };
    if let Some(socket) = scalar.text.strip_prefix("unix:") {
        return match socket_path(directory, socket) {
            Ok(path) => Some(Backend { target: Target::Socket(path), weight, tls: None }),
            Err(text) => wrong(text),
        };
    }
    let shape = "is not an address like http://127.0.0.1:8080 or https://app.internal:8443";
    let Ok(url) = url::Url::parse(scalar.text) else { return wrong(format!("{:?} {shape}", scalar.text)) };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong(format!("begins with {:?}, and must begin with http://, https:// or unix:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not shown: there is a password in it.
        return wrong("carries a user or password, which is never sent: give the bare address".into());
    }
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let (Some(host), Some(port @ 1..), true) = (url.host_str(), url.port_or_known_default(), plain) else {
        return wrong(format!("{:?} {shape}: no path, query or fragment, and a port that is not 0", scalar.text));
    };
    let bare = host.trim_matches(['[', ']']);
    let tls = match url.scheme() {
        "http" => None,
        _ => match tls.server_name.clone().or_else(|| bare.parse().ok()) {
            Some(server_name) => {
                Some(UpstreamTls { server_name, roots: tls.roots.clone(), client: tls.client.clone() })
            }
            None => {
                return wrong(
                    "names an address, which no certificate is checked against: give server_name beside it".into(),
                );
            }
        },
    };
    let target = match bare.parse::<IpAddr>() {
        Ok(address) => Target::Address(SocketAddr::new(address, port)),
        Err(_) => Target::Name { host: bare.trim_end_matches('.').into(), port },
    };
    Some(Backend { target, weight, tls })
}

fn socket_path(directory: &Path, text: &str) -> Result<PathBuf, String> {
    let path = path(directory, text);
    let bytes = path.as_os_str().len();
    if text.is_empty() || text.starts_with("//") || text.contains('\0') {
        return Err("names no socket: give its path, like unix:/run/app/app.sock".into());
    }
    if bytes > Target::SOCKET_BYTES_MAX {
        return Err(format!(
            "is a path of {bytes} bytes, and a socket's has at most {}",
            Target::SOCKET_BYTES_MAX
        ));
    }
    Ok(path)
}

fn certificates(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<Vec<Vec<u8>>> {
    let pem = pem(section, scalar, directory, outside)?;
    Some(CertificateDer::pem_slice_iter(&pem).flatten().map(|der| der.to_vec()).collect())
}

/// A file that holds certificates and nothing that is none; `None` with a problem reported.
pub(super) fn pem(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<Vec<u8>> {
    let pem = outside.read(&path(directory, scalar.text)).map_err(|text| section.report_at(scalar, text)).ok()?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Some(pem),
        Ok(_) | Err(_) => {
            section.report_at(scalar, "holds no certificate in PEM form");
            None
        }
    }
}

/// The certificates of authorities, in DER; `None` with a problem reported.
pub(super) fn roots(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<Arc<Vec<Vec<u8>>>> {
    certificates(section, scalar, directory, outside).map(Arc::new)
}

/// Who is asked for the addresses of names.
pub(super) fn name_servers(root: &Section<'_>) -> Vec<SocketAddr> {
    let given = root.scalars("name_servers");
    let server = |scalar: &Scalar<'_>| {
        let found = scalar.text.parse().ok().or_else(|| Some(SocketAddr::new(scalar.text.parse().ok()?, 53)));
        if found.is_none() {
            let text = format!("{:?} is not an address, like 10.0.0.2 or 10.0.0.2:53", scalar.text);
            root.report_at(scalar, text);
        }
        found
    };
    given.iter().filter_map(server).collect()
}

/// The gateway's own certificate and key; both or neither.
fn client(section: &Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Option<Arc<ClientIdentity>> {
    let certificate = section.scalar("client_certificate");
    let key = section.scalar("client_key");
    match (certificate, key) {
        (None, None) => None,
        (Some(certificate), None) => {
            section.report_at(&certificate, "has no key: give client_key beside it");
            None
        }
        (None, Some(key)) => {
            section.report_at(&key, "is the key of nothing: give client_certificate beside it");
            None
        }
        (Some(certificate), Some(key)) => {
            let chain = certificates(section, &certificate, directory, outside);
            let pem = outside.read_secret(&path(directory, key.text)).map(Zeroizing::new);
            let pem = pem.map_err(|text| section.report_at(&key, text)).ok()?;
            let Ok(der) = PrivateKeyDer::from_pem_slice(&pem) else {
                section.report_at(&key, "holds no private key in PEM form");
                return None;
            };
            Some(Arc::new(ClientIdentity { chain: chain?, key: Zeroizing::new(der.secret_der().to_vec()) }))
        }
    }
}
