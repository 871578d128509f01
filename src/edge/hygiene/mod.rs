//! What a request must be before anybody asks what it means; and what of an answer is passed on (`answer`), and of cookies
//! in both directions (`cookies`); and what ends with the connection that it came by (`hops`).
//!
//! As an ingress that injects identity we are the worst place for a request that two parsers read differently. So
//! whatever could be read in two ways is refused, not repaired: a missing or odd `Host`, a transfer coding other
//! than `chunked`, a length beside it, control bytes, paths that change when somebody normalises them (`path`).

mod answer;
mod cookies;
mod hops;
mod path;

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::RequestHeader;

use self::path::has_control;
use super::fields::{Fields, Found};
use super::reasons::Reason;
use crate::config::Limits;
use crate::zone::{INTERMEDIARY_METHODS, Zone, is_plain_method};

pub(super) use self::answer::{announces_what_cannot_be, check_answer, foreign_clearing, one_length};
pub use self::cookies::{foreign_cookies, foreign_set_cookies, sets_our_cookie};
pub use self::hops::{is_for_one_hop, named_by_connection};
pub use self::path::{check_path, place};

/// A request that is refused before it is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// What the client is told.
    pub status: StatusCode,
    /// What the log is told.
    pub reason: Reason,
    /// Whether the connection ends with this answer: when its framing is in doubt.
    pub close: bool,
}

impl Refused {
    const fn new(status: StatusCode, reason: Reason) -> Self {
        Self { status, reason, close: false }
    }

    const fn framing(reason: Reason) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, close: true }
    }
}

/// Checks everything about a head that does not depend on who answers. Given back is what was found in its fields.
///
/// `raw` is the head as it came, which HTTP/2 is not asked for: there is no text in it.
pub fn check_head<'a>(
    head: &'a RequestHeader,
    raw: impl FnOnce() -> bytes::Bytes,
    limits: &Limits,
) -> Result<Fields<'a>, Refused> {
    let fields = Fields::of(&head.headers);
    check_size(head, &fields, limits)?;
    let raw = if head.version == Version::HTTP_2 { bytes::Bytes::new() } else { raw() };
    check_lines(&raw)?;
    check_framing(head.version, &fields, &raw)?;
    check_expectation(&fields)?;
    hops::check_connection(&fields)?;
    check_target(&head.method, head.raw_path())
        .map_err(|refused| Refused { close: refused.close || has_control(head.raw_path()), ..refused })?;
    Ok(fields)
}

/// The part of [`check_head`] that the request line decides: what no rule of a zone is asked about.
pub fn check_target(method: &Method, target: &[u8]) -> Result<(), Refused> {
    // In any case: to HTTP `trace` is another method, and to some applications it is not.
    if INTERMEDIARY_METHODS.iter().any(|forbidden| method.as_str().eq_ignore_ascii_case(forbidden)) {
        // Behind CONNECT there is no length and no request, but whatever the client had for the tunnel.
        let close = method == Method::CONNECT;
        return Err(Refused { close, ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, Reason::Method) });
    }
    if !is_plain_method(method) {
        return Err(Refused::new(StatusCode::NOT_IMPLEMENTED, Reason::Method));
    }
    check_path(target)
}

/// The one expectation that there is (RFC 9110 section 10.1.1). Another one is met by nobody, and servers differ in
/// whether they wait with the body: the connection ends.
fn check_expectation(fields: &Fields<'_>) -> Result<(), Refused> {
    match fields.expectations {
        Found::Nothing => Ok(()),
        Found::One(one) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        Found::One(_) | Found::Several(_) => {
            Err(Refused { close: true, ..Refused::new(StatusCode::EXPECTATION_FAILED, Reason::Expectation) })
        }
    }
}

/// A WebSocket that another site's page opens would ride on the session (SEC-R86). Programs send no origin.
pub(super) fn check_websocket_origin(headers: &HeaderMap, zone: &Zone) -> Result<(), Refused> {
    let own = |origin: &HeaderValue| origin.as_bytes() == zone.origin.as_bytes();
    if headers.get_all(ORIGIN).iter().all(own) {
        Ok(())
    } else {
        Err(Refused::new(StatusCode::FORBIDDEN, Reason::WebsocketOrigin))
    }
}

fn check_size(head: &RequestHeader, fields: &Fields<'_>, limits: &Limits) -> Result<(), Refused> {
    let too_large =
        Refused { close: true, ..Refused::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Reason::HeadTooLarge) };
    if head.headers.len() > limits.head_fields_max {
        return Err(too_large);
    }
    let line = head.method.as_str().len() + head.raw_path().len();
    if fields.bytes + line > limits.head_bytes_max { Err(too_large) } else { Ok(()) }
}

/// Lines end as they must (SEC-R72; M1). pingora takes a line feed alone for an end, which a server may (RFC 9112 section
/// 2.2); to a balancer before us that does not, `X: y\nTransfer-Encoding: chunked` is one field, and the body that it
/// has let through is our next request.
fn check_lines(raw: &[u8]) -> Result<(), Refused> {
    // All pairs of bytes without a way out in between, so that the compiler compares sixteen at a time. A search from one
    // line feed to the next costs twice as much.
    let behind = raw.get(1..).unwrap_or_default();
    let bare = raw
        .iter()
        .zip(behind)
        .fold(raw.first() == Some(&b'\n'), |bare, (before, byte)| bare | ((*byte == b'\n') & (*before != b'\r')));
    if bare {
        return Err(Refused::framing(Reason::LineEnd));
    }
    // pingora cuts a fragment off, where others read on. (A space or a control byte in the target it escapes before
    // anybody is asked: that is decided about, and forwarded, in the one reading.)
    let target = raw.trim_ascii_start();
    let target = target.get(..memchr::memchr(b'\n', target).unwrap_or_default()).unwrap_or_default();
    if memchr::memchr(b'#', target).is_some() { Err(Refused::framing(Reason::Fragment)) } else { Ok(()) }
}

/// Message length by one rule (SEC-R71; M1, M3).
fn check_framing(version: Version, fields: &Fields<'_>, raw: &[u8]) -> Result<(), Refused> {
    if fields.disguised {
        return Err(Refused::framing(Reason::DisguisedLength));
    }
    match fields.codings {
        Found::Nothing => {}
        Found::One(_) | Found::Several(_) if version != Version::HTTP_11 => {
            return Err(Refused::framing(Reason::TransferEncodingVersion));
        }
        Found::One(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            // The parser has dropped a length beside a coding; the raw head still shows it.
            if has_field(raw, b"content-length") {
                return Err(Refused::framing(Reason::LengthBesideCoding));
            }
        }
        Found::One(_) | Found::Several(_) => return Err(Refused::framing(Reason::TransferEncoding)),
    }
    match fields.lengths {
        Found::Nothing => Ok(()),
        Found::One(length) if is_plain_length(length.as_bytes()) => Ok(()),
        Found::One(_) | Found::Several(_) => Err(Refused::framing(Reason::ContentLength)),
    }
}

fn is_plain_length(length: &[u8]) -> bool {
    let plain = !length.is_empty() && length.len() <= 19 && length.iter().all(u8::is_ascii_digit);
    // `05` is five by the book, and five in octal or an error to some.
    plain && (length.len() == 1 || length.first() != Some(&b'0'))
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    // The first line is the request line.
    raw.split(|byte| *byte == b'\n').skip(1).any(|line| {
        line.split(|byte| *byte == b':').next().is_some_and(|key| key.trim_ascii().eq_ignore_ascii_case(name))
    })
}

/// The host a request is for, without its port, as it was written. No allocation.
///
/// The authority of HTTP/2 and of absolute targets wins; pingora has refused one that differs from `Host`.
pub fn host<'a>(head: &'a RequestHeader, fields: &Fields<'a>) -> Result<&'a str, Refused> {
    let odd = Refused::new(StatusCode::BAD_REQUEST, Reason::Host);
    let authority = match (head.uri.authority(), fields.hosts) {
        (Some(authority), _) => authority.as_str(),
        // What is not visible ASCII is no part of a name.
        (None, Found::One(field)) => std::str::from_utf8(field.as_bytes()).map_err(|_| odd)?,
        (None, Found::Nothing | Found::Several(_)) => return Err(odd),
    };
    bare_host(authority)
}

/// The name in an authority, without its port, as it was written.
pub(super) fn bare_host(authority: &str) -> Result<&str, Refused> {
    let odd = Refused::new(StatusCode::BAD_REQUEST, Reason::Host);
    // From its end, where a port is.
    let (name, port) = match authority.bytes().rposition(|byte| byte == b':') {
        Some(colon) if !authority.ends_with(']') => {
            let (name, port) = authority.split_at_checked(colon).ok_or(odd)?;
            (name, port.get(1..))
        }
        Some(_) | None => (authority, None),
    };
    // An empty one is the default (RFC 3986 section 3.2.3).
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let port_is_number = port.is_none_or(|port| digits(port) && (port.is_empty() || port.parse::<u16>().is_ok()));
    let plain = name.bytes().all(|byte| HOST_BYTES.get(usize::from(byte)) == Some(&true));
    if name.is_empty() || !plain || !port_is_number { Err(odd) } else { Ok(name) }
}

/// Which bytes a host may be written with.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::indexing_slicing, reason = "the loop ends with the table")]
        {
            table[byte] = (byte as u8).is_ascii_alphanumeric()
                || matches!(byte as u8, b'-' | b'.' | b'_' | b'[' | b']' | b':');
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn head(fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        head.set_version(Version::HTTP_11);
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    #[test]
    fn m8_a_host_is_one_plain_name() {
        let named = |fields: &[(&'static str, &str)]| {
            let head = head(fields);
            host(&head, &Fields::of(&head.headers)).map(str::to_owned)
        };
        for (value, want) in [
            ("a.example", "a.example"),
            ("A.Example:8443", "A.Example"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            // An empty port is the default one (RFC 3986 section 3.2.3).
            ("a.example:", "a.example"),
        ] {
            assert_eq!(named(&[("host", value)]).as_deref(), Ok(want), "{value}");
        }
        for value in [
            "",
            ":443",
            "a@b.example",
            "a.example/x",
            "a b",
            "a.example:x",
            "a,b",
            "a.example:123456",
            "a.example:65536",
        ] {
            assert!(named(&[("host", value)]).is_err(), "{value:?}");
        }
        assert!(named(&[]).is_err());
        assert!(named(&[("host", "a.example"), ("host", "a.example")]).is_err());
    }

    #[test]
    fn m1_a_line_ends_in_one_way() {
        let check = |raw: &str| check_lines(raw.as_bytes()).map_err(|refused| refused.reason.name());
        for raw in ["", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nReferer: #\r\n\r\n"] {
            assert_eq!(check(raw), Ok(()), "{raw:?}");
        }
        for raw in
            ["\n", "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nX: y\nZ: \r\n\r\n", "a\r\n\n", "\nGET"]
        {
            assert_eq!(check(raw), Err("line_end"), "{raw:?}");
        }
        for raw in ["GET /a#b HTTP/1.1\r\n\r\n", "\r\nGET /# HTTP/1.1\r\n\r\n"] {
            assert_eq!(check(raw), Err("fragment"), "{raw:?}");
        }
    }

    #[test]
    fn m3_a_body_has_one_length() {
        let check = |fields: &[(&'static str, &str)], raw: &'static str| {
            let head = head(fields);
            check_framing(head.version, &Fields::of(&head.headers), raw.as_bytes())
                .map_err(|refused| refused.reason.name())
        };
        assert_eq!(check(&[("content-length", "5")], ""), Ok(()));
        assert_eq!(
            check(&[("transfer-encoding", "chunked")], "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n"),
            Ok(())
        );
        for value in ["gzip, chunked", "chunked, identity", "identity", "xchunked", "chunked;q=1", ""] {
            assert_eq!(check(&[("transfer-encoding", value)], ""), Err("transfer_encoding"), "{value}");
        }
        assert_eq!(
            check(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], ""),
            Err("transfer_encoding")
        );
        let both = "POST / HTTP/1.1\r\nContent-Length : 5\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(check(&[("transfer-encoding", "chunked")], both), Err("length_beside_coding"));
        for value in ["-1", "+5", "05", "00", "5,5", " ", "0x5", "99999999999999999999"] {
            assert_eq!(check(&[("content-length", value)], ""), Err("content_length"), "{value}");
        }
    }
}
