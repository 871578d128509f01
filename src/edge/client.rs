//! Who the client is, and how it came: the connection's other end, or what a trusted proxy says (SEC-R65, RFC 7239 sections
//! 5.2 and 5.4).
//!
//! Each proxy on the way adds the address that it saw to the right, and whatever a client sent itself stands to the
//! left of it. So the list is read from the right for as long as those who wrote it are trusted, and the first address
//! that is not a trusted proxy's is the client's. What cannot be read as an address ends the reading: the client is
//! then the proxy that passed it on, and never whatever stands further to the left.

use std::net::{IpAddr, SocketAddr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::Networks;
use crate::config::ForwardedField;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client's address; `peer` is the connection's other end.
pub fn address(peer: IpAddr, headers: &HeaderMap, trusted: &Networks, field: ForwardedField) -> IpAddr {
    // Most connections are the clients' own, and what they say of themselves is not even looked for.
    if !trusted.contains(peer) {
        return peer;
    }
    let mut client = peer;
    let mut hops = match field {
        ForwardedField::XForwardedFor => Hops::new(headers, &X_FORWARDED_FOR, hop),
        ForwardedField::Forwarded => Hops::new(headers, &FORWARDED, forwarded_hop),
    };
    while trusted.contains(client) {
        match hops.next() {
            Some(Some(address)) => client = address.to_canonical(),
            Some(None) | None => break,
        }
    }
    client
}

/// By what a client sent its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// HTTP over TLS.
    Https,
    /// Plain HTTP.
    Http,
}

/// What the trusted proxy at the other end says of how the request has come to it: the right-most word, which is its own.
/// `None`: nothing that can be read. Never ask on behalf of anybody else.
pub fn scheme(headers: &HeaderMap, field: ForwardedField) -> Option<Scheme> {
    let mut hops = match field {
        ForwardedField::XForwardedFor => Hops::new(headers, &X_FORWARDED_PROTO, scheme_named),
        ForwardedField::Forwarded => Hops::new(headers, &FORWARDED, forwarded_scheme),
    };
    hops.next()?
}

/// Some proxies write a WebSocket's own scheme.
fn scheme_named(text: &str) -> Option<Scheme> {
    let is = |names: [&str; 2]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    match (is(["https", "wss"]), is(["http", "ws"])) {
        (true, _) => Some(Scheme::Https),
        (false, true) => Some(Scheme::Http),
        (false, false) => None,
    }
}

/// The `proto` of one element.
fn forwarded_scheme(text: &str) -> Option<Scheme> {
    scheme_named(rfc7239::parse(text).next()?.ok()?.protocol?)
}

/// What stands in all fields of a name, the last one first; `None` for what cannot be read.
struct Hops<'a, T> {
    fields: std::iter::Rev<std::vec::IntoIter<&'a HeaderValue>>,
    text: Option<&'a str>,
    read: fn(&str) -> Option<T>,
}

impl<'a, T> Hops<'a, T> {
    fn new(headers: &'a HeaderMap, name: &HeaderName, read: fn(&str) -> Option<T>) -> Self {
        let fields: Vec<_> = headers.get_all(name).iter().collect();
        Self { fields: fields.into_iter().rev(), text: None, read }
    }
}

impl<T> Iterator for Hops<'_, T> {
    type Item = Option<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = match self.text.take() {
            Some(text) => text,
            None => match self.fields.next()?.to_str() {
                Ok(text) => text,
                Err(_) => return Some(None),
            },
        };
        let hop = match text.rsplit_once(',') {
            Some((before, last)) => {
                self.text = Some(before);
                last
            }
            None => text,
        };
        Some((self.read)(hop.trim_matches([' ', '\t'])))
    }
}

/// An address, as some proxies write it with its port.
fn hop(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(bare).or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The `for` of one element. "unknown" and obfuscated names are no addresses.
fn forwarded_hop(text: &str) -> Option<IpAddr> {
    let element = rfc7239::parse(text).next()?.ok()?;
    element.forwarded_for?.ip().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: ForwardedField, peer: &str, values: &[&str], want: &str) {
        let name = match field {
            ForwardedField::XForwardedFor => X_FORWARDED_FOR,
            ForwardedField::Forwarded => FORWARDED,
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted = Networks::new(vec![Networks::range("10.0.0.0/8").unwrap()]);
        let found = address(peer.parse().unwrap(), &headers, &trusted, field);
        assert_eq!(found.to_string(), want, "{peer} {values:?}");
    }

    #[test]
    fn h6_the_client_is_the_right_most_hop_that_no_trusted_proxy_is() {
        let check = |peer, values: &[&str], want| check(ForwardedField::XForwardedFor, peer, values, want);
        check("10.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &["198.51.100.1, 203.0.113.7, 10.0.0.9"], "203.0.113.7");
        check("10.0.0.1", &["198.51.100.1", "203.0.113.7,10.0.0.9"], "203.0.113.7");
        check("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7");
        check("10.0.0.1", &["[2001:db8::9]:4711"], "2001:db8::9");
        check("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7");
        check("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2");
    }

    #[test]
    fn h6_a_stranger_names_nobody() {
        check(ForwardedField::XForwardedFor, "203.0.113.7", &["10.0.0.1"], "203.0.113.7");
        check(ForwardedField::Forwarded, "203.0.113.7", &["for=10.0.0.1"], "203.0.113.7");
    }

    #[test]
    fn h6_what_is_no_address_hides_what_stands_to_its_left() {
        check(ForwardedField::XForwardedFor, "10.0.0.1", &["198.51.100.1, \u{fc}, 10.0.0.9"], "10.0.0.1");
        for garbage in ["", "unknown", "1.2.3", "203.0.113.7;", "\"203.0.113.7\"", "203.0.113.7 x"] {
            let value = format!("198.51.100.1, {garbage}");
            check(ForwardedField::XForwardedFor, "10.0.0.1", &[&value], "10.0.0.1");
            let value = format!("198.51.100.1, {garbage}, 10.0.0.9");
            check(ForwardedField::XForwardedFor, "10.0.0.1", &[&value], "10.0.0.9");
        }
    }

    #[test]
    fn h6_rfc_7239_is_read_with_its_ports_and_hidden_names() {
        let check = |values: &[&str], want| check(ForwardedField::Forwarded, "10.0.0.1", values, want);
        check(&["for=203.0.113.7"], "203.0.113.7");
        check(&["proto=https;For=\"203.0.113.7:4711\";by=10.0.0.1"], "203.0.113.7");
        check(&["for=198.51.100.1, for=\"[2001:db8::9]:4711\""], "2001:db8::9");
        check(&["for=198.51.100.1, for=_hidden"], "10.0.0.1");
        check(&["for=198.51.100.1, for=unknown"], "10.0.0.1");
        check(&["for=198.51.100.1, proto=https"], "10.0.0.1");
        check(&["for=198.51.100.1, nonsense"], "10.0.0.1");
    }

    #[test]
    fn the_scheme_is_what_the_proxy_at_the_other_end_wrote() {
        let (proto, forwarded) = (ForwardedField::XForwardedFor, ForwardedField::Forwarded);
        let (https, http) = (Some(Scheme::Https), Some(Scheme::Http));
        let checks: [(ForwardedField, &[&str], _); 15] = [
            (proto, &["https"], https),
            (proto, &["HTTPS"], https),
            (proto, &["wss"], https),
            (proto, &["http"], http),
            (proto, &["https, http"], http),
            (proto, &["http, https"], https),
            (proto, &["https", "http"], http),
            (proto, &[], None),
            (proto, &[""], None),
            (proto, &["https,"], None),
            (proto, &["https://"], None),
            (forwarded, &["for=203.0.113.7;proto=https"], https),
            (forwarded, &["proto=https, for=203.0.113.7;Proto=http"], http),
            (forwarded, &["proto=https, for=203.0.113.7"], None),
            (forwarded, &["https"], None),
        ];
        for (field, values, want) in checks {
            let name = if field == proto { X_FORWARDED_PROTO } else { FORWARDED };
            let other = if field == proto { FORWARDED } else { X_FORWARDED_PROTO };
            // The other field, which nobody looks after, says nothing.
            let mut headers = HeaderMap::from_iter([(other, HeaderValue::from_static("proto=https"))]);
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(scheme(&headers, field), want, "{values:?}");
        }
    }
}
