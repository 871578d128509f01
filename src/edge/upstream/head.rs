//! The head that the application receives.
//!
//! It is made from pingora's copy of the client's, taken apart into one plain map. *Why not remove and insert
//! in the copy itself?* It keeps every header in two maps (values, and names with their case), so that each touch
//! costs twice. And why one pass over all names, not a list of names to remove? What passes is what `is_protected`
//! lets pass, in whatever spelling, and not what somebody forgot to remove.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{CONNECTION, COOKIE, HOST, TE, TRAILER, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use pingora::http::RequestHeader;

use crate::assertion::{ASSERTION_HEADER, identity, is_protected};
use crate::base::RequestId;
use crate::edge::fields::{Fields, is_websocket};
use crate::edge::hygiene;
use crate::edge::tls::ClientCertificate;
use crate::gate::{Bearer, Grant};
use crate::zone::{HostHeader, Protocol, Zone};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
/// Who has passed a request on already (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// The fields that the gateway adds to nearly every head, beside those that describe a person: room for them is made at
/// once, and no more of it than that, because a larger table is dearer to fill.
const OWN_FIELDS: usize = 5;

/// What the gateway says of a request, beside who it is.
#[derive(Debug)]
pub struct Provenance<'a> {
    /// The client's address, as the application reads it.
    pub address: HeaderValue,
    /// The request's name in logs.
    pub request: RequestId,
    /// The signed assertion of the session that the grant is for; `None` exactly where it is for nobody.
    pub assertion: Option<HeaderValue>,
    /// The certificate that the client's connection was opened with.
    pub client_certificate: Option<&'a ClientCertificate>,
    /// By what this process knows a request that it has passed on before.
    pub mark: &'a Mark,
}

/// A name of this process's that nobody else has: what a request carries that it comes back with, if it does.
///
/// A gateway that is among its own backends, or two that are each other's, would pass a request round until neither has
/// a connection left (SEC-R79). *Why is only a request of nobody marked?* A person's comes back without our cookie, which
/// no application gets, and ends at the log-in. *And why not with `Via`?* Web servers take it for a proxy that cannot be
/// sent what is compressed (nginx: `gzip_proxied`), and what is open to everybody is style sheets and scripts.
#[derive(Clone, Debug)]
pub struct Mark(HeaderValue);

impl Mark {
    /// Of random bytes.
    pub fn new(random: [u8; 8]) -> Self {
        let text = format!("zonegate-{:016x}", u64::from_be_bytes(random));
        // Letters, digits and a hyphen.
        Self(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("zonegate")))
    }

    /// Whether a request with these fields was passed on by this process before.
    pub(in crate::edge) fn is_on(&self, fields: &Fields<'_>) -> bool {
        let is_ours = |name: &[u8]| name.trim_ascii() == self.0.as_bytes();
        let is_on = |field: &HeaderValue| field.as_bytes().split(|byte| *byte == b',').any(is_ours);
        fields.passed_on.first().is_some() && fields.all.get_all(CDN_LOOP).iter().any(is_on)
    }
}

/// Forgets in which case a client wrote its names, before pingora copies its head for the application.
///
/// The application's head is written from the plain map. The names as they were written would be copied only to be
/// dropped, which costs more than it does to find the session. `accepted`: its path has passed `check_path`, so that it
/// stands in the URI as it came.
pub(in crate::edge) fn forget_case(accepted: &mut RequestHeader) {
    // HTTP/2 has no case, and a flag that would be lost here.
    if accepted.has_case() {
        let taken = std::mem::replace(accepted, nothing());
        *accepted = RequestHeader::from(Parts::from(taken));
    }
}

/// Makes the head that the application receives. `copy`: pingora's, with all of the client's fields; only on the way from
/// HTTP/1 to HTTP/2 those for one hop are gone already. `version`: the client's. What the client's `Connection` names is
/// taken out before anything of ours is there, so that `Connection: X-Forwarded-User` can remove nothing of it (H4).
///
/// Errors only if a value of our own were none, or its person could not be described: neither is so for a session that
/// began. What is left then says nothing.
pub fn head(
    copy: &mut RequestHeader,
    version: Version,
    grant: &Grant,
    provenance: Provenance<'_>,
) -> pingora::Result<()> {
    let zone = grant.zone();
    let send_end_stream = copy.send_end_stream();
    let mut parts = Parts::from(std::mem::replace(copy, nothing()));
    // Path and query alone: the authority of HTTP/2 and of absolute targets is the client's word for the host.
    if parts.uri.authority().is_some() || parts.uri.scheme().is_some() {
        parts.uri = parts.uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
    }

    let described =
        match grant.bearer() {
            Bearer::Nobody => None,
            Bearer::Person(session) => Some(identity(session, &zone.headers).map_err(|problem| {
                pingora::Error::explain(pingora::ErrorType::InternalError, problem.to_string())
            })?),
        };
    let fields = &mut parts.headers;
    sanitise(fields, version, zone);
    fields.reserve(OWN_FIELDS + described.as_ref().map_or(0, |described| described.fields.len()));
    fields.append(X_FORWARDED_FOR, provenance.address);
    fields.append(X_FORWARDED_PROTO, HTTPS);
    fields.append(X_FORWARDED_HOST, zone.authority.clone());
    fields.append(X_REQUEST_ID, id(provenance.request)?);
    match (described, provenance.assertion) {
        (None, None) => {
            fields.append(CDN_LOOP, provenance.mark.0.clone());
        }
        (Some(described), Some(assertion)) => {
            for (name, value) in &described.fields {
                fields.append(name, value.clone());
            }
            fields.append(ASSERTION_HEADER, assertion);
        }
        // Somebody without proof, or proof for nobody: better no request than half an identity.
        (None, Some(_)) | (Some(_), None) => return Err(no_value()),
    }
    if zone.speaks(Protocol::Grpc) {
        // gRPC servers refuse a client that cannot take trailers, and on the way from HTTP/1 the field is taken away.
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(certificate) = provenance.client_certificate.filter(|_| passes_certificates_on(zone)) {
        fields.insert(CLIENT_CERT, certificate.leaf.clone());
        if let Some(chain) = &certificate.chain {
            fields.insert(CLIENT_CERT_CHAIN, chain.clone());
        }
    }

    *copy = RequestHeader::from(parts);
    if let Some(end) = send_end_stream {
        copy.set_send_end_stream(end);
    }
    Ok(())
}

/// Leaves of a client's fields what the application may see: nothing that only the gateway says or that was for us alone,
/// the cookies without ours, as one field, and the host that the application knows.
///
/// One pass, in which what has a new value gets it where it stands: to ask the map for a name costs as much as to look at
/// three fields.
fn sanitise(fields: &mut HeaderMap, version: Version, zone: &Zone) {
    let mut cookies = hygiene::foreign_cookies(fields);
    let has_cookies = cookies.is_some();
    // What is said of trailers goes from one HTTP/2 connection to another, as they do.
    let goes_on =
        |name: &HeaderName| version == Version::HTTP_2 && zone.speaks_http2() && matches!(*name, TE | TRAILER);
    let (mut cookie_fields, mut host_fields) = (0_usize, 0_usize);
    let mut upgrade = None;
    let mut refused = hygiene::named_by_connection(fields);
    for (name, value) in fields.iter_mut() {
        match *name {
            _ if is_protected(name.as_str(), &zone.headers) => refused.push(name.clone()),
            COOKIE => {
                cookie_fields += 1;
                if let Some(cookies) = cookies.take() {
                    *value = cookies;
                }
            }
            HOST => {
                host_fields += 1;
                *value = host(zone);
            }
            _ if hygiene::is_for_one_hop(name) && !goes_on(name) => {
                if *name == UPGRADE {
                    upgrade.get_or_insert(is_websocket(value));
                }
                refused.push(name.clone());
            }
            _ => {}
        }
    }
    for name in refused {
        fields.remove(name);
    }
    // All of them are in the first one.
    if cookie_fields > 1
        && let Some(joined) = fields.get(COOKIE).cloned()
    {
        fields.insert(COOKIE, joined);
    }
    if cookie_fields > 0 && !has_cookies {
        fields.remove(COOKIE);
    }
    if host_fields != 1 {
        fields.insert(HOST, host(zone));
    }
    // The one protocol that a connection may be changed to, asked for in our words.
    if upgrade == Some(true) && version == Version::HTTP_11 && !zone.speaks_http2() {
        fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

fn passes_certificates_on(zone: &Zone) -> bool {
    zone.client_certificates.as_ref().is_some_and(|asked| asked.passed_on)
}

/// A head that says nothing, in the place of one that was taken.
fn nothing() -> RequestHeader {
    RequestHeader::from(http::Request::new(()).into_parts().0)
}

pub(super) fn host(zone: &Zone) -> HeaderValue {
    match &zone.upstream.host_header {
        HostHeader::Zone => zone.authority.clone(),
        // Checked when the configuration was read; were it none, the zone's own is never wrong.
        HostHeader::Fixed(host) => HeaderValue::try_from(host).unwrap_or_else(|_| zone.authority.clone()),
    }
}

/// An address as the application reads it.
pub(in crate::edge) fn written(address: IpAddr) -> pingora::Result<HeaderValue> {
    let text = match address {
        IpAddr::V4(v4) => dotted(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| v6.to_string(), dotted),
    };
    HeaderValue::try_from(text).map_err(|_| no_value())
}

/// What formatting would write, for a quarter of its instructions.
fn dotted(address: Ipv4Addr) -> String {
    let octets = address.octets();
    let digits = octets.map(|octet| if octet >= 100 { 3 } else { 1 + usize::from(octet >= 10) });
    // With nothing to spare, so that the text becomes the value as it is.
    let mut text = String::with_capacity(digits.iter().sum::<usize>() + 3);
    let digit = |number: u8| char::from(b'0' + number % 10);
    for octet in octets {
        if !text.is_empty() {
            text.push('.');
        }
        if octet >= 100 {
            text.push(digit(octet / 100));
        }
        if octet >= 10 {
            text.push(digit(octet / 10));
        }
        text.push(digit(octet));
    }
    text
}

fn id(request: RequestId) -> pingora::Result<HeaderValue> {
    HeaderValue::from_bytes(&request.digits()).map_err(|_| no_value())
}

fn no_value() -> Box<pingora::Error> {
    pingora::Error::explain(pingora::ErrorType::InternalError, "a header value of our own")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::samples;
    use crate::zone::{HeaderPreset, IdentityField};

    #[test]
    fn a_head_without_the_case_of_its_names_says_the_same() {
        for path in ["/", "/a/b?x=/../&y=%2e", "/caf%C3%A9", "/a;v=1/b", "/?", "/a?b?c"] {
            hygiene::check_path(path.as_bytes()).unwrap();
            let mut head = RequestHeader::build("PUT", path.as_bytes(), None).unwrap();
            head.set_version(Version::HTTP_11);
            for (name, value) in [("X-Some-Case", "1"), ("x-some-case", "2"), ("HOST", "a.example")] {
                head.append_header(name, value).unwrap();
            }
            let before = head.clone();
            forget_case(&mut head);
            assert!(!head.has_case());
            assert_eq!(head.raw_path(), path.as_bytes());
            assert_eq!(
                (&head.method, &head.uri, head.version, &head.headers),
                (&before.method, &before.uri, before.version, &before.headers),
            );
        }
    }

    proptest! {
        /// Whatever comes in whatever order and however often, one pass leaves what removing and inserting would.
        #[test]
        fn one_pass_leaves_what_may_pass(
            given in prop::collection::vec(
                (0_usize..18, "[a-z]=[a-z]|__Host-zg_session=x|websocket|WebSocket|close, X-Other, |accept,cookie|"),
                0..18,
            ),
            custom: bool,
            (version, speaks_http2) in prop::sample::select(vec![
                (Version::HTTP_10, false), (Version::HTTP_11, false), (Version::HTTP_2, false),
                (Version::HTTP_11, true), (Version::HTTP_2, true),
            ]),
        ) {
            const NAMES: [&str; 18] = [
                "host", "cookie", "accept", "x-forwarded-for", "x_forwarded_user", "x-who", "x-other", "via", "te",
                "upgrade", "connection", "proxy-authorization", "trailer", "keep-alive", "proxy-connection",
                "http2-settings", "proxy-authenticate", "transfer-encoding",
            ];
            // RFC 9110 section 7.6.1, and what browsers and proxies send besides.
            const ONE_HOP: [&str; 10] = [
                "connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
                "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
            ];
            let mut zone = samples::zone("a.example");
            if custom {
                let own = (HeaderName::from_static("x-who"), IdentityField::Username);
                zone.headers = HeaderPreset::Custom([own].into());
            }
            if speaks_http2 {
                zone.upstream.protocol = Protocol::Http2;
            }
            let mut fields = HeaderMap::new();
            for (name, value) in &given {
                fields.append(NAMES[*name], value.parse().unwrap());
            }
            let mut want = fields.clone();
            let websocket = want.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
            let named = want.get_all(CONNECTION).iter().flat_map(|value| value.to_str().unwrap().split(','));
            let named: Vec<_> = named.map(|name| name.trim().to_ascii_lowercase()).collect();
            let both_http2 = version == Version::HTTP_2 && speaks_http2;
            let one_hop = ONE_HOP.into_iter().filter(|name| !(both_http2 && ["te", "trailer"].contains(name)));
            for name in named.iter().map(String::as_str).chain(one_hop) {
                want.remove(name);
            }
            for name in NAMES.iter().filter(|name| is_protected(name, &zone.headers)) {
                want.remove(*name);
            }
            match hygiene::foreign_cookies(&want) {
                Some(cookies) => want.insert(COOKIE, cookies),
                None => want.remove(COOKIE),
            };
            want.insert(HOST, host(&zone));
            if websocket && version == Version::HTTP_11 && !speaks_http2 {
                want.insert(CONNECTION, "Upgrade".parse().unwrap());
                want.insert(UPGRADE, "websocket".parse().unwrap());
            }
            sanitise(&mut fields, version, &zone);
            prop_assert_eq!(fields, want);
        }
    }

    #[test]
    fn an_address_is_written_as_everybody_writes_it() {
        for octet in 0..=255 {
            let v4 = Ipv4Addr::new(octet, 0, 255 - octet, octet);
            assert_eq!(written(v4.into()).unwrap(), v4.to_string());
            assert_eq!(written(v4.to_ipv6_mapped().into()).unwrap(), v4.to_string());
        }
        assert_eq!(written("2001:db8::1".parse().unwrap()).unwrap(), "2001:db8::1");
    }
}
