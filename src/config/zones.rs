//! The zones of the file.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use super::Surroundings;
use super::section::{Scalar, Section};
use super::settings::path;
use crate::base::{Hostname, Ttl};
use crate::zone::{HeaderPreset, HostHeader, IdentityField, Language, Upstream, UpstreamTls, Zone, ZoneTable};

/// What the names of custom identity headers may carry, as the file writes it.
const FIELDS: [(&str, IdentityField); 10] = [
    ("user_id", IdentityField::UserId),
    ("username", IdentityField::Username),
    ("email", IdentityField::Email),
    ("name", IdentityField::DisplayName),
    ("groups", IdentityField::Groups),
    ("tenant", IdentityField::Tenant),
    ("zone", IdentityField::Zone),
    ("kind", IdentityField::Kind),
    ("method", IdentityField::Method),
    ("session_id", IdentityField::SessionId),
];

pub(super) fn read(
    root: &Section<'_>,
    public_port: u16,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<ZoneTable> {
    let universal: Option<Hostname> = root.optional("universal_host");
    let sections = root.sections("zones");
    if sections.is_empty() {
        root.report(0, "zones", "is missing: give at least one zone with host and upstream");
        return None;
    }
    let total = sections.len();
    let mut lines = Vec::new();
    let mut zones = Vec::new();
    for section in sections {
        let line = section.line;
        let key = section.path.clone();
        if let Some(zone) = zone(section, public_port, directory, outside) {
            lines.extend(zone.aliases.iter().chain([&zone.host]).map(|host| (host.clone(), line, key.clone())));
            zones.push(zone);
        }
    }
    let complete = zones.len() == total;
    match ZoneTable::new(zones, universal) {
        Ok(table) if complete => Some(table),
        Ok(_) => None,
        Err(duplicates) => {
            for duplicate in duplicates {
                let place = lines.iter().rev().find(|(host, _, _)| *host == duplicate.0);
                let line = place.map_or(0, |(_, line, _)| *line);
                root.report(line, place.map_or("universal_host", |(_, _, key)| key), duplicate.to_string());
            }
            None
        }
    }
}

fn zone(section: Section<'_>, public_port: u16, directory: &Path, outside: &dyn Surroundings) -> Option<Zone> {
    let host: Option<Hostname> = section.optional("host");
    if section.scalar("host").is_none() {
        section.report(section.line, "host", "is missing: the hostname that people open, like desk.example.com");
    }
    let aliases = section.scalars("aliases").iter().filter_map(|scalar| section.parse(scalar)).collect();
    let text = |name: &str| section.scalar(name).map(|scalar| scalar.text.to_owned());
    let name = text("name");
    let data_centre = text("data_centre").unwrap_or_default();
    let description = text("description").unwrap_or_default();
    let language = language(&section);
    let preselectable = section.flag("preselectable", true);
    let headers = headers(&section);
    let audience = text("audience");
    let body_bytes_max = section.size("body_max", 100 * 1024 * 1024, 1024..=100 * 1024 * 1024 * 1024);
    let upstream = match section.section_if_map("upstream") {
        Some(upstream) => upstream_of(upstream, directory, outside),
        None => {
            let text =
                "is missing: give the application's address, for example upstream: { url: http://127.0.0.1:8080 }";
            section.report(section.line, "upstream", text);
            None
        }
    };
    section.finish();
    let host = host?;
    let authority = if public_port == 443 { host.to_string() } else { format!("{host}:{public_port}") };
    let origin: Arc<str> = format!("https://{authority}").into();
    Some(Zone {
        name: name.unwrap_or_else(|| host.to_string()),
        audience: audience.map_or_else(|| Arc::clone(&origin), Into::into),
        origin,
        // A hostname and a number are always a header's value.
        authority: http::HeaderValue::try_from(authority).ok()?,
        aliases,
        data_centre,
        description,
        language,
        preselectable,
        upstream: upstream?,
        headers,
        body_bytes_max,
        host,
    })
}

fn language(section: &Section<'_>) -> Language {
    let Some(scalar) = section.scalar("language") else { return Language::default() };
    Language::from_tag(scalar.text).unwrap_or_else(|| {
        let known: Vec<_> = Language::ALL.iter().map(|language| language.tag()).collect();
        section.report_at(&scalar, format!("{:?} is no language of the pages: {}", scalar.text, known.join(", ")));
        Language::default()
    })
}

/// A preset's name, or a section of header name to field.
fn headers(section: &Section<'_>) -> HeaderPreset {
    let custom = section.section_if_map("custom_headers");
    let preset = section.scalar("headers");
    let chosen = match preset.as_ref().map(|scalar| scalar.text) {
        None | Some("default") => HeaderPreset::Default,
        Some("oauth2-proxy") => HeaderPreset::Oauth2Proxy,
        Some("remote") => HeaderPreset::Remote,
        Some(other) => {
            let text = format!(
                "{other:?} is none of default, oauth2-proxy, remote; for your own names use custom_headers"
            );
            section.report(preset.as_ref().map_or(0, |s| s.line), "headers", text);
            HeaderPreset::Default
        }
    };
    let Some(custom) = custom else { return chosen };
    if let Some(preset) = &preset {
        section.report_at(preset, "and custom_headers are given: choose one of them");
    }
    let mut names = Vec::new();
    for scalar in custom.entries() {
        let name = http::HeaderName::from_str(&scalar.key).ok().filter(|name| !is_reserved(name.as_str()));
        let field = FIELDS.iter().find(|(known, _)| *known == scalar.text).map(|(_, field)| *field);
        match (name, field) {
            (Some(name), Some(field)) => names.push((name, field)),
            (None, _) => custom.report(scalar.line, &scalar.key, "cannot be an identity header's name"),
            (_, None) => {
                let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
                custom.report(
                    scalar.line,
                    &scalar.key,
                    format!("{:?} is none of {}", scalar.text, known.join(", ")),
                );
            }
        }
    }
    custom.finish();
    HeaderPreset::Custom(names)
}

/// Names that mean something to HTTP itself, and must not be taken for identity.
fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 13] = [
        "host",
        "cookie",
        "set-cookie",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "upgrade",
        "trailer",
        "expect",
        "accept",
        "x-zonegate-assertion",
    ];
    RESERVED.contains(&name) || name.starts_with("sec-") || name.starts_with("proxy-")
}

fn upstream_of(section: Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Option<Upstream> {
    let url = section.scalar("url");
    if url.is_none() {
        section.report(
            section.line,
            "url",
            "is missing: the application's address, for example http://127.0.0.1:8080",
        );
    }
    let server_name: Option<Hostname> = section.optional("server_name");
    let roots = section.scalar("ca_file").and_then(|scalar| roots(&section, &scalar, directory, outside));
    let host_header = match section.scalar("host_header").map(|scalar| scalar.text) {
        None | Some("zone") => HostHeader::Zone,
        Some(fixed) => HostHeader::Fixed(fixed.to_owned()),
    };
    let limit = |name: &str, default, most| section.duration(name, Ttl::seconds_const(default), 1..=most);
    let (connect_max, read_max) = (limit("connect_max", 3, 60), limit("read_max", 60, 3600));
    let (write_max, idle_max) = (limit("write_max", 30, 3600), limit("idle_max", 60, 3600));
    let target = url.and_then(|url| target(&section, &url, server_name, roots, outside));
    section.finish();
    let (addresses, tls) = target?;
    Some(Upstream { addresses, tls, host_header, connect_max, read_max, write_max, idle_max })
}

fn target(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    server_name: Option<Hostname>,
    roots: Option<Arc<Vec<Vec<u8>>>>,
    outside: &dyn Surroundings,
) -> Option<(Vec<SocketAddr>, Option<UpstreamTls>)> {
    let wrong = |text: String| {
        section.report_at(scalar, text);
        None
    };
    let shape = "is not an address like http://127.0.0.1:8080 or https://app.internal:8443";
    let Ok(url) = url::Url::parse(scalar.text) else { return wrong(format!("{:?} {shape}", scalar.text)) };
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    let (Some(host), Some(port), true) = (url.host_str(), url.port_or_known_default(), plain) else {
        return wrong(format!("{:?} {shape}: no path, query or user", scalar.text));
    };
    let bare = host.trim_matches(['[', ']']);
    let tls = match url.scheme() {
        "http" => None,
        "https" => match server_name.or_else(|| bare.parse().ok()) {
            Some(server_name) => Some(UpstreamTls { server_name, roots }),
            None => {
                return wrong(
                    "names an address, which no certificate is checked against: give server_name beside it".into(),
                );
            }
        },
        other => return wrong(format!("begins with {other:?}, and must begin with http or https")),
    };
    let addresses = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => match outside.resolve(bare, port) {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return wrong(format!("{bare} has no address")),
            Err(text) => return wrong(format!("{bare} cannot be found: {text}")),
        },
    };
    Some((addresses, tls))
}

fn roots(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<Arc<Vec<Vec<u8>>>> {
    use rustls_pki_types::pem::PemObject as _;
    let pem = outside.read(&path(directory, scalar.text)).map_err(|text| section.report_at(scalar, text)).ok()?;
    let found: Result<Vec<_>, _> = rustls_pki_types::CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Some(Arc::new(found.iter().map(|der| der.to_vec()).collect())),
        Ok(_) | Err(_) => {
            section.report_at(scalar, "holds no certificate in PEM form");
            None
        }
    }
}
