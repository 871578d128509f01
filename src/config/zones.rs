//! The zones of the file.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use super::Surroundings;
use super::listen::Listeners;
use super::problems::Place;
use super::rules;
use super::section::{Scalar, Section};
use super::upstream::{self, roots};
use crate::assertion::{begins_folded, is_same_folded};
use crate::base::{Hostname, LocalPath, is_gateway_path};
use crate::zone::{
    ClientCertificates, HeaderPreset, INTERMEDIARY_METHODS, IdentityField, Language, Upstream, Ways, Zone,
    ZoneTable, is_plain_method,
};

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

/// What could be read of the zones.
pub(super) struct Read {
    /// `None` only with a problem reported.
    pub(super) table: Option<ZoneTable>,
    /// Every claim to a hostname, in the order of the file.
    pub(super) hosts: Vec<(Hostname, Place)>,
    /// Whether each zone's host could be read.
    pub(super) hosts_are_all: bool,
}

/// What the rest of the file says that a zone's keys need.
#[derive(Clone, Copy)]
struct Entries {
    /// The port that browsers use.
    public_port: u16,
    /// Whether TLS ends here.
    tls: bool,
    /// Whether proxies may ask about requests.
    asked: bool,
}

/// `listeners`: as the file has them; `public_port`: the one that browsers use.
pub(super) fn read(
    root: &Section<'_>,
    listeners: &Listeners,
    public_port: u16,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Read {
    let universal: Option<(Hostname, Place)> =
        root.scalar("universal_host").and_then(|scalar| claim(root, &scalar));
    let mut hosts: Vec<_> = universal.iter().cloned().collect();
    let sections = root.sections("zones");
    if sections.is_empty() {
        if !root.is_broken("zones") {
            root.report(0, "zones", "is missing: give at least one zone with host and upstream");
        }
        return Read { table: None, hosts, hosts_are_all: false };
    }
    let total = sections.len();
    let asked = listeners.forward_auth.is_some();
    let entries = Entries { public_port, tls: !listeners.https.is_empty(), asked };
    let mut zones = Vec::new();
    let mut named = 0;
    for section in sections {
        let names = names(&section);
        named += usize::from(names.host.is_some());
        hosts.extend(names.host.iter().chain(&names.aliases).cloned());
        zones.extend(zone(section, names, entries, directory, outside));
    }
    hosts.sort_by_key(|(_, place)| place.line);
    let twice = twice(root, &hosts);
    let complete = zones.len() == total && !twice;
    if complete && asked && !zones.iter().any(|zone: &Zone| zone.ways.asked()) {
        root.report(0, "listen.forward_auth", "answers nobody: no zone says forward_auth: true");
    }
    let universal = universal.map(|(host, _)| host);
    // What the table refuses was found above, with its line.
    let table = if complete { ZoneTable::new(zones, universal).ok() } else { None };
    if !entries.tls {
        // Whoever ends TLS in front has the certificates.
        hosts.clear();
    }
    Read { table, hosts, hosts_are_all: named == total && entries.tls }
}

/// Reports hosts that are claimed twice, wherever the claims stand and whatever else is wrong with their zones.
fn twice(root: &Section<'_>, hosts: &[(Hostname, Place)]) -> bool {
    let mut found = false;
    for (at, (host, place)) in hosts.iter().enumerate() {
        if let Some((_, first)) = hosts.iter().take(at).find(|(earlier, _)| earlier == host) {
            found = true;
            let line = if first.line == 0 { String::new() } else { format!(" (line {})", first.line) };
            let text = format!(
                "claims {host}, which is {}{line} already: each host may appear once, as a zone, an alias or the \
                 universal host",
                first.key
            );
            root.report_in(place, text);
        }
    }
    found
}

fn claim(section: &Section<'_>, scalar: &Scalar<'_>) -> Option<(Hostname, Place)> {
    let host = section.parse(scalar)?;
    Some((host, Place { line: scalar.line, key: scalar.key.clone() }))
}

/// What a zone answers under.
struct Names {
    host: Option<(Hostname, Place)>,
    aliases: Vec<(Hostname, Place)>,
}

fn names(section: &Section<'_>) -> Names {
    let scalar = section.scalar("host");
    if scalar.is_none() && !section.says("host") {
        section.report(section.line, "host", "is missing: the hostname that people open, like desk.example.com");
    }
    let host = scalar.and_then(|scalar| claim(section, &scalar));
    let aliases = section.scalars("aliases").iter().filter_map(|scalar| claim(section, scalar)).collect();
    Names { host, aliases }
}

fn zone(
    section: Section<'_>,
    names: Names,
    entries: Entries,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<Zone> {
    let text = |name: &str| section.scalar(name).map(|scalar| scalar.text.to_owned());
    let name = text("name");
    let data_centre = text("data_centre").unwrap_or_default();
    let description = text("description").unwrap_or_default();
    let language = language(&section);
    let preselectable = section.flag("preselectable", true);
    let headers = headers(&section);
    let audience = text("audience");
    let body_bytes_max = section.size("body_max", 100 * 1024 * 1024, 1024..=100 * 1024 * 1024 * 1024);
    let more_methods = more_methods(&section);
    let background_paths = background_paths(&section);
    let client_certificates = section
        .section_if_map("client_certificates")
        .and_then(|asked| client_certificates(asked, entries.tls, directory, outside));
    let rules = rules::read(&section, &more_methods);
    let certain = client_certificates.as_ref().is_some_and(|asked| asked.required);
    let forward_auth = forward_auth(&section, entries.asked, certain);
    let upstream = match section.section_if_map("upstream") {
        Some(section) => Some(upstream::read(section, directory, outside)),
        None => {
            if !forward_auth {
                let text = "is missing: give the application's address, for example upstream: { url: http://127.0.0.1:8080 }";
                section.report(section.line, "upstream", text);
            }
            None
        }
    };
    section.finish();
    let (host, _) = names.host?;
    let public_port = entries.public_port;
    let authority = if public_port == 443 { host.to_string() } else { format!("{host}:{public_port}") };
    let origin: Arc<str> = format!("https://{authority}").into();
    Some(Zone {
        name: name.unwrap_or_else(|| host.to_string()),
        audience: audience.map_or_else(|| Arc::clone(&origin), Into::into),
        origin,
        // A hostname and a number are always a header's value.
        authority: http::HeaderValue::try_from(authority).ok()?,
        aliases: names.aliases.into_iter().map(|(alias, _)| alias).collect(),
        data_centre,
        description,
        language,
        preselectable,
        ways: match (&upstream, forward_auth) {
            (None, _) => Ways::Asked,
            (Some(_), false) => Ways::Through,
            (Some(_), true) => Ways::Both,
        },
        // A zone that has one which could not be read is not a zone without one.
        upstream: match upstream {
            Some(read) => read?,
            None => Upstream::nowhere(),
        },
        client_certificates,
        headers,
        body_bytes_max,
        more_methods,
        rules,
        background_paths,
        host,
    })
}

/// `asked`: whether proxies in front have an address to ask at. `certain`: whether clients must prove a certificate.
fn forward_auth(section: &Section<'_>, asked: bool, certain: bool) -> bool {
    let wanted = section.flag("forward_auth", false);
    if wanted && certain {
        // Whoever asks has ended the client's TLS, so that nobody has proved anything here: all would be let in without.
        let text = "cannot be together with client_certificates that are required: clients show theirs to the proxy that \
                    asks, which has to require them itself; say mode: optional, or leave one of the two out";
        section.report(section.line, "forward_auth", text);
    }
    if wanted && !asked {
        let text = "needs listen.forward_auth, the address at which the proxy in front asks";
        section.report(section.line, "forward_auth", text);
    }
    wanted
}

/// Methods that are passed on beside the common ones. Never those that show or open what is between (M10).
fn more_methods(section: &Section<'_>) -> Vec<http::Method> {
    let mut methods = Vec::new();
    for scalar in section.scalars("more_methods") {
        let intermediate = INTERMEDIARY_METHODS.contains(&scalar.text);
        let method = http::Method::from_bytes(scalar.text.as_bytes()).ok().filter(is_plain_method);
        match method {
            Some(method) if !intermediate => methods.push(method),
            Some(_) | None => {
                let text = format!(
                    "{:?} is no method that can be passed on: capital letters and -, like PROPFIND, and never TRACE, \
                     TRACK or CONNECT",
                    scalar.text
                );
                section.report_at(&scalar, text);
            }
        }
    }
    methods
}

fn background_paths(section: &Section<'_>) -> Vec<String> {
    let given = section.scalars("background_paths");
    for scalar in &given {
        let unfit = scalar.text.contains('?') || scalar.text == "/" || is_gateway_path(scalar.text.as_bytes());
        if unfit || scalar.text.parse::<LocalPath>().is_err() {
            let text = format!("{:?} is not a path on the zone, like /api/notifications", scalar.text);
            section.report_at(scalar, text);
        }
    }
    given.iter().map(|scalar| scalar.text.to_owned()).collect()
}

fn client_certificates(
    section: Section<'_>,
    tls: bool,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<ClientCertificates> {
    if !tls {
        let text = "needs listen.https: a client proves its certificate to whoever ends TLS, and here that is somebody else";
        section.report(section.line, "ca_file", text);
    }
    let ca_file = section.scalar("ca_file");
    if ca_file.is_none() {
        section.report(
            section.line,
            "ca_file",
            "is missing: the certificate of the authority that clients' are from",
        );
    }
    let required = match section.scalar("mode") {
        None => true,
        Some(scalar) => match scalar.text {
            "required" => true,
            "optional" => false,
            other => {
                section.report_at(&scalar, format!("{other:?} is neither required nor optional"));
                true
            }
        },
    };
    let passed_on = section.flag("pass_on", false);
    let roots = ca_file.and_then(|scalar| roots(&section, &scalar, directory, outside));
    section.finish();
    Some(ClientCertificates { required, roots: roots?, passed_on })
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
    let mut names: Vec<(http::HeaderName, IdentityField)> = Vec::new();
    for scalar in custom.entries() {
        let name = http::HeaderName::from_str(&scalar.key).ok().filter(|name| !is_reserved(name.as_str()));
        let field = FIELDS.iter().find(|(known, _)| *known == scalar.text).map(|(_, field)| *field);
        match (name, field) {
            (Some(name), Some(_))
                if names.iter().any(|(earlier, _)| is_same_folded(earlier.as_str(), name.as_str())) =>
            {
                custom.report(
                    scalar.line,
                    &scalar.key,
                    "is the same header as an earlier one: case makes no difference, nor to CGI and WSGI _ for -",
                );
            }
            (Some(name), Some(field)) => names.push((name, field)),
            (None, _) => custom.report(
                scalar.line,
                &scalar.key,
                "cannot be an identity header's name: take one that nothing else uses, like X-Remote-User",
            ),
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
    HeaderPreset::Custom(names.into())
}

/// Names that mean something to HTTP itself or that the gateway sets, and must not be taken for identity.
fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 20] = [
        "authorization",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
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
        "proxy",
        "keep-alive",
    ];
    RESERVED.iter().any(|reserved| is_same_folded(reserved, name))
        || ["x-zonegate", "sec-", "proxy-"].iter().any(|reserved| begins_folded(name, reserved))
}
