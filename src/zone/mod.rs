//! Zones: which hostname leads where.
//!
//! A zone is one hosted instance of the application. It is keyed by its hostname and by nothing else: names
//! repeat ("Limited" twice in the shipped example), numbers have gaps, and a guess would hurt real users (R12).

mod rules;
mod table;
mod upstream;

pub use rules::{Allow, Members, Need, PathPattern, PatternProblem, Person, RULES_MAX, Rule, Rules, Ruling};
pub use table::{DuplicateHost, HostMatch, ZoneTable};
pub use upstream::{
    Backend, Balance, ClientIdentity, HealthCheck, HostHeader, Protocol, Target, Upstream, UpstreamLimits,
    UpstreamTls,
};

use std::sync::Arc;

use crate::base::Hostname;

/// One hosted instance of the application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone {
    /// The canonical hostname.
    pub host: Hostname,
    /// Hostnames that redirect to the canonical one.
    pub aliases: Vec<Hostname>,
    /// `https://host` or `https://host:port`: what browsers send as `Origin`, and the assertion's `iss`.
    pub origin: Arc<str>,
    /// The same without `https://`, as the `Host` and `X-Forwarded-Host` that the application receives.
    pub authority: http::HeaderValue,
    /// The name as the hosting page shows it. Not unique.
    pub name: String,
    /// The data centre's short name; may be empty.
    pub data_centre: String,
    /// Whom the zone is for, as the hosting page says it.
    pub description: String,
    /// The language of the log-in pages unless the browser asks for another that is complete.
    pub language: Language,
    /// Whether the zone is offered first for new tenants; never for "selected customers" zones (R16).
    pub preselectable: bool,
    /// Where the application answers; [`Upstream::nowhere`] where only other proxies know.
    pub upstream: Upstream,
    /// Whose certificates clients must or may show; `None` asks for none.
    pub client_certificates: Option<ClientCertificates>,
    /// Which identity headers the application receives beside the assertion.
    pub headers: HeaderPreset,
    /// The assertion's `aud`: who it is meant for.
    pub audience: Arc<str>,
    /// The longest request body that is passed on, in bytes.
    pub body_bytes_max: u64,
    /// Methods that are passed on beside the [`COMMON_METHODS`]: WebDAV's, mostly.
    pub more_methods: Vec<http::Method>,
    /// Who passes its requests on.
    pub ways: Ways,
    /// Who may ask for which paths.
    pub rules: Rules,
    /// Paths whose requests are no activity, because pages poll them on their own (D17). Each starts with `/`.
    pub background_paths: Vec<String>,
}

/// Methods that are for what is in between, or show what it has added (M10). In capitals; refused in any.
pub const INTERMEDIARY_METHODS: [&str; 3] = ["TRACE", "TRACK", "CONNECT"];

/// Methods that every application is asked with: those of RFC 9110 but the two for intermediaries, and PATCH.
pub const COMMON_METHODS: [http::Method; 7] = [
    http::Method::GET,
    http::Method::HEAD,
    http::Method::POST,
    http::Method::PUT,
    http::Method::PATCH,
    http::Method::DELETE,
    http::Method::OPTIONS,
];

/// Whether a method is written as methods are: capital letters and hyphens. HTTP tells `get` from `GET`, and some
/// servers do not.
pub fn is_plain_method(method: &http::Method) -> bool {
    let text = method.as_str();
    text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

impl Zone {
    /// Whether this is what is spoken with its application.
    pub fn speaks(&self, protocol: Protocol) -> bool {
        self.upstream.protocol == protocol
    }

    /// Whether HTTP/2 is.
    pub fn speaks_http2(&self) -> bool {
        self.upstream.protocol.is_http2()
    }

    /// Whether requests with this method are passed on (SEC-R76, M10).
    ///
    /// *Why a list, where everything else is the application's affair?* What a method means decides whether it has a
    /// body, whether it may be repeated and what a backend's own rules by method (`<Limit GET POST>`) let through;
    /// nobody has thought about one that nobody knows. Rejected: to pass on whatever is a token, which servers read
    /// differently (`get` is GET to some and an error to others).
    pub fn passes(&self, method: &http::Method) -> bool {
        COMMON_METHODS.contains(method) || self.more_methods.contains(method)
    }

    /// Whether a request for `path`, which may have a query, says nothing of a person being there: it is one of the
    /// background paths or below one.
    pub fn is_background(&self, path: &[u8]) -> bool {
        self.background_paths.iter().any(|known| {
            let known = known.trim_end_matches('/').as_bytes();
            path.strip_prefix(known).is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?')))
        })
    }
}

/// Who passes a zone's requests on once they are let through.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ways {
    /// This gateway.
    #[default]
    Through,
    /// A proxy in front, which asks about each (forward-auth); the gate lets none go the other way.
    Asked,
    /// Either.
    Both,
}

impl Ways {
    /// Whether this gateway passes requests on.
    pub const fn through(self) -> bool {
        match self {
            Self::Through | Self::Both => true,
            Self::Asked => false,
        }
    }

    /// Whether proxies in front may ask.
    pub const fn asked(self) -> bool {
        match self {
            Self::Asked | Self::Both => true,
            Self::Through => false,
        }
    }
}

/// What a zone asks of its clients' certificates. Such a certificate is one more thing that a client must have; who the
/// person is, the log-in says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificates {
    /// Whether there is no connection without one.
    pub required: bool,
    /// The authorities that are trusted for it, each in DER; at least one.
    pub roots: Arc<Vec<Vec<u8>>>,
    /// Whether the application receives it, in the fields of RFC 9440.
    pub passed_on: bool,
}

/// A language that the pages are complete in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl Language {
    /// The languages, in the order they are offered.
    pub const ALL: [Self; 2] = [Self::En, Self::De];

    /// The BCP 47 tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The language of a BCP 47 tag such as `de-AT`; `None` when the pages do not speak it.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }
}

/// Which plain identity headers an application receives. The signed assertion always comes along.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HeaderPreset {
    /// `X-Forwarded-User` and `X-Forwarded-Email`: what most applications behind a proxy read.
    #[default]
    Default,
    /// The same and `X-Forwarded-Groups`, `X-Forwarded-Preferred-Username`, as oauth2-proxy sends them.
    Oauth2Proxy,
    /// `Remote-User`, `Remote-Groups`, `Remote-Name`, `Remote-Email`, as Authelia sends them.
    Remote,
    /// Names of the operator's choice.
    Custom(Arc<[(http::HeaderName, IdentityField)]>),
}

/// What an identity header can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityField {
    /// The stable user id, the assertion's `sub`.
    UserId,
    /// `username@domain`.
    Username,
    /// The primary e-mail address.
    Email,
    /// The name people call the user by.
    DisplayName,
    /// The groups, separated by commas.
    Groups,
    /// The tenant's slug.
    Tenant,
    /// The zone's hostname.
    Zone,
    /// The user's kind.
    Kind,
    /// How the session was proved.
    Method,
    /// The session's id.
    SessionId,
}

#[cfg(test)]
mod tests {
    use crate::session::samples;
    use crate::zone::Zone;

    #[test]
    fn m10_a_zone_passes_on_what_is_common_and_what_it_names() {
        let zone = Zone {
            more_methods: vec![http::Method::from_bytes(b"PROPFIND").unwrap()],
            ..samples::zone("a.example")
        };
        for (method, want) in [
            ("GET", true),
            ("PATCH", true),
            ("PROPFIND", true),
            ("PROPPATCH", false),
            ("get", false),
            ("TRACE", false),
        ] {
            assert_eq!(zone.passes(&http::Method::from_bytes(method.as_bytes()).unwrap()), want, "{method}");
        }
    }

    #[test]
    fn d17_what_a_page_polls_is_no_activity_and_its_neighbours_are() {
        let background_paths = vec!["/api/poll".to_owned(), "/events/".to_owned()];
        let zone = Zone { background_paths, ..samples::zone("a.example") };
        for path in ["/api/poll", "/api/poll?since=7", "/api/poll/7", "/events", "/events/x"] {
            assert!(zone.is_background(path.as_bytes()), "{path}");
        }
        for path in ["/", "/api", "/api/polling", "/x/api/poll", "/?/api/poll", "/events2"] {
            assert!(!zone.is_background(path.as_bytes()), "{path}");
        }
    }
}
