//! What a request must be before anybody asks what it means.
//!
//! As an ingress that injects identity we are the worst place for a request that two parsers read differently. So
//! whatever could be read in two ways is refused, not repaired: a missing or odd `Host`, a transfer coding other
//! than `chunked`, a length beside it, control bytes, paths that change when somebody normalises them.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::RequestHeader;

use super::fields::{AnswerFields, CLEAR_SITE_DATA, Fields, Found};
use crate::base::{hex_digit, is_gateway_path};
use crate::config::Limits;
use crate::gate::Place;
use crate::portal::cookies;
use crate::zone::{INTERMEDIARY_METHODS, is_plain_method};

/// Interim answers (100, 103) that are passed on for one request. An application needs two.
const INTERIM_MAX: u8 = 16;

/// A request that is refused before it is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// What the client is told.
    pub status: StatusCode,
    /// What the log is told.
    pub reason: &'static str,
    /// Whether the connection ends with this answer: when its framing is in doubt.
    pub close: bool,
}

impl Refused {
    const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, close: false }
    }

    const fn framing(reason: &'static str) -> Self {
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
        return Err(Refused { close, ..Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method") });
    }
    if !is_plain_method(method) {
        return Err(Refused::new(StatusCode::NOT_IMPLEMENTED, "method"));
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
            Err(Refused { close: true, ..Refused::new(StatusCode::EXPECTATION_FAILED, "expectation") })
        }
    }
}

fn check_size(head: &RequestHeader, fields: &Fields<'_>, limits: &Limits) -> Result<(), Refused> {
    let too_large =
        Refused { close: true, ..Refused::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large") };
    if head.headers.len() > limits.head_fields_max {
        return Err(too_large);
    }
    if fields.bytes + head.raw_path().len() > limits.head_bytes_max { Err(too_large) } else { Ok(()) }
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
        return Err(Refused::framing("line_end"));
    }
    // pingora cuts a fragment off, where others read on. (A space or a control byte in the target it escapes before
    // anybody is asked: that is decided about, and forwarded, in the one reading.)
    let target = raw.trim_ascii_start();
    let target = target.get(..memchr::memchr(b'\n', target).unwrap_or_default()).unwrap_or_default();
    if memchr::memchr(b'#', target).is_some() { Err(Refused::framing("fragment")) } else { Ok(()) }
}

/// Whether a path that was refused has a control byte in it, or its escape: pingora has made the one of the other, and to
/// others the target ends there, and what they take for the version and the next lines is in doubt (M1).
fn has_control(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let escaped = |three: &[u8]| matches!(three, [b'%', b'0' | b'1', _] | [b'%', b'7', b'f' | b'F']);
    path.iter().any(u8::is_ascii_control) || path.windows(3).any(escaped)
}

/// Message length by one rule (SEC-R71; M1, M3).
fn check_framing(version: Version, fields: &Fields<'_>, raw: &[u8]) -> Result<(), Refused> {
    if fields.disguised {
        return Err(Refused::framing("disguised_length"));
    }
    match fields.codings {
        Found::Nothing => {}
        Found::One(_) | Found::Several(_) if version != Version::HTTP_11 => {
            return Err(Refused::framing("transfer_encoding_version"));
        }
        Found::One(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            // The parser has dropped a length beside a coding; the raw head still shows it.
            if has_field(raw, b"content-length") {
                return Err(Refused::framing("length_beside_coding"));
            }
        }
        Found::One(_) | Found::Several(_) => return Err(Refused::framing("transfer_encoding")),
    }
    match fields.lengths {
        Found::Nothing => Ok(()),
        Found::One(length) if is_plain_length(length.as_bytes()) => Ok(()),
        Found::One(_) | Found::Several(_) => Err(Refused::framing("content_length")),
    }
}

fn is_plain_length(length: &[u8]) -> bool {
    let plain = !length.is_empty() && length.len() <= 19 && length.iter().all(u8::is_ascii_digit);
    // `05` is five by the book, and five in octal or an error to some.
    plain && (length.len() == 1 || length.first() != Some(&b'0'))
}

fn has_field(raw: &[u8], name: &[u8]) -> bool {
    raw.split(|byte| *byte == b'\n').skip(1).any(|line| {
        line.split(|byte| *byte == b':').next().is_some_and(|key| key.trim_ascii().eq_ignore_ascii_case(name))
    })
}

/// A path that everybody reads the same way, or none (M9).
///
/// Refused: bytes that are not visible ASCII, a fragment, backslashes, empty or dot segments (also before `;`), and
/// escapes of any of these or of what is not UTF-8.
pub fn check_path(raw: &[u8]) -> Result<(), Refused> {
    if is_simple_path(raw) || is_unambiguous(raw) {
        Ok(())
    } else {
        Err(Refused::new(StatusCode::BAD_REQUEST, "ambiguous_path"))
    }
}

/// What a byte is in a path that needs no second look.
#[derive(Clone, Copy)]
enum PathByte {
    /// Of a name.
    Plain,
    /// A slash or a dot: odd behind a slash.
    Separator,
    /// The query begins.
    Query,
    /// It may be there, in some places.
    Doubtful,
    /// It may be nowhere.
    Never,
}

const PATH_BYTES: [PathByte; 256] = {
    let mut table = [PathByte::Never; 256];
    let mut byte = 0;
    while byte < table.len() {
        #[expect(clippy::indexing_slicing, reason = "the loop ends with the table")]
        {
            table[byte] = match byte as u8 {
                b'/' | b'.' => PathByte::Separator,
                b'?' => PathByte::Query,
                b'\\' | b'%' | b';' => PathByte::Doubtful,
                b'#' | 0..0x21 | 0x7f.. => PathByte::Never,
                _ => PathByte::Plain,
            };
        }
        byte += 1;
    }
    table
};

fn path_byte(byte: u8) -> PathByte {
    PATH_BYTES.get(usize::from(byte)).copied().unwrap_or(PathByte::Never)
}

/// Whether a path is so plain that one look at each byte settles it, as nearly all are. Of any other one
/// [`is_unambiguous`] decides: this only spares its passes, and says yes to nothing that it would refuse.
fn is_simple_path(raw: &[u8]) -> bool {
    let mut bytes = raw.iter().copied();
    if bytes.next() != Some(b'/') {
        return false;
    }
    let mut behind_slash = true;
    while let Some(byte) = bytes.next() {
        match path_byte(byte) {
            PathByte::Plain => behind_slash = false,
            PathByte::Separator if behind_slash => return false,
            PathByte::Separator => behind_slash = byte == b'/',
            PathByte::Query => return bytes.all(|byte| !matches!(path_byte(byte), PathByte::Never)),
            PathByte::Doubtful | PathByte::Never => return false,
        }
    }
    true
}

/// [`check_path`] in full.
fn is_unambiguous(raw: &[u8]) -> bool {
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    let visible = raw.iter().all(|byte| (0x21..=0x7e).contains(byte) && *byte != b'#');
    if !visible || path.first() != Some(&b'/') || path.contains(&b'\\') {
        // `OPTIONS *` asks about the server, and the server is not the application.
        return false;
    }
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || name == b"." || name == b".." {
            return false;
        }
    }
    !path.contains(&b'%') || escapes_are_harmless(path)
}

fn escapes_are_harmless(path: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(hex_digit);
        let (Some(high), Some(low)) = (digit(), digit()) else { return false };
        let byte = high << 4 | low;
        if byte < 0x20 || matches!(byte, b'/' | b'\\' | b'.' | b'%' | 0x7f) {
            return false;
        }
        decoded.push(byte);
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// The host a request is for, without its port, as it was written. No allocation.
///
/// The authority of HTTP/2 and of absolute targets wins; pingora has refused one that differs from `Host`.
pub fn host<'a>(head: &'a RequestHeader, fields: &Fields<'a>) -> Result<&'a str, Refused> {
    let odd = Refused::new(StatusCode::BAD_REQUEST, "host");
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
    let odd = Refused::new(StatusCode::BAD_REQUEST, "host");
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

/// Whose path it is. `raw` has passed [`check_path`].
pub fn place(raw: &[u8]) -> Place {
    if is_gateway_path(raw) { Place::Ours } else { Place::Application }
}

/// Whether a cookie of this name is ours in some spelling: never sent to the application, never taken from it.
fn is_our_cookie(pair: &[u8]) -> bool {
    const OURS: &[u8] = b"__host-zg_";
    // A cookie without a name, `=__Host-zg_session=x`, comes back from some browsers as if it had ours.
    let start = pair.iter().position(|byte| !matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(pair.len());
    let name = pair.get(start..).unwrap_or_default().split(|byte| *byte == b'=').next().unwrap_or_default();
    name.windows(OURS.len()).any(|window| window.eq_ignore_ascii_case(OURS))
}

/// The client's cookies without ours, over all fields, as one field (RFC 9113 section 8.2.3; SEC-R39).
pub fn foreign_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields = headers.get_all(COOKIE);
    let mut joined = Vec::with_capacity(fields.iter().map(HeaderValue::len).sum());
    cookies::pairs(&fields).filter(|pair| !pair.is_empty() && !is_our_cookie(pair)).for_each(|pair| {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(pair);
    });
    // Pieces of valid values, joined by valid bytes. Boxed, the bytes need no second allocation to be shared.
    let joined = bytes::Bytes::from(joined.into_boxed_slice());
    (!joined.is_empty()).then(|| HeaderValue::from_maybe_shared(joined).ok()).flatten()
}

/// Checks what the parser of answers lets through, and the client would be left alone with (M7).
///
/// `heads`: how many have come for this request, with this one. What is wrong is for the log.
pub(super) fn check_answer(
    status: StatusCode,
    fields: &AnswerFields<'_>,
    wants_websocket: bool,
    heads: u8,
) -> Result<(), &'static str> {
    if status == StatusCode::SWITCHING_PROTOCOLS && !wants_websocket {
        return Err("a switch of protocols that nobody asked for");
    }
    if status.is_informational() && heads > INTERIM_MAX {
        return Err("interim answers without end");
    }
    match fields.codings {
        Found::Nothing => Ok(()),
        Found::One(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        Found::One(_) | Found::Several(_) => Err("a transfer coding that is not chunked"),
    }
}

/// Whether an answer that cannot have a body says that it has one (RFC 9110 sections 8.6, 15.3.5 and 15.4.5). A 304 may say
/// how long the whole would be; that what follows is not it, no proxy can tell.
pub(super) fn announces_what_cannot_be(status: StatusCode, fields: &AnswerFields<'_>) -> bool {
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        return false;
    }
    let length = fields.lengths.first().is_some_and(|length| length.as_bytes() != b"0");
    length || fields.codings.first().is_some()
}

/// The one length of an answer that gives it several times. That they agree has been checked; what reads the answer
/// behind us may not forgive it (RFC 9110 section 8.6).
pub(super) fn one_length(fields: &AnswerFields<'_>) -> Option<HeaderValue> {
    let first = match fields.lengths {
        Found::Nothing => return None,
        Found::One(only) if !only.as_bytes().contains(&b',') => return None,
        Found::One(first) | Found::Several(first) => first,
    };
    let one = first.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
    HeaderValue::from_bytes(one.trim_ascii()).ok()
}

/// What an application may clear in a browser: all that is its own. `"cookies"` and `"*"` would take our cookies along,
/// and log the person out of a session that goes on here and keeps its slot (H9).
///
/// Given back is what is left of the fields; `None` for nothing.
pub(super) fn foreign_clearing(headers: &HeaderMap) -> Option<HeaderValue> {
    const OWN: [&[u8]; 5] =
        [b"\"cache\"", b"\"storage\"", b"\"executionContexts\"", b"\"prefetchCache\"", b"\"prerenderCache\""];
    let fields = headers.get_all(CLEAR_SITE_DATA).iter();
    let types = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let kept: Vec<_> = types.filter(|kind| OWN.contains(kind)).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b", "[..])).ok() }
}

/// Whether the application tries to set a cookie of ours (H9).
pub fn sets_our_cookie(headers: &HeaderMap) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|value| is_our_cookie(value.as_bytes()))
}

/// The cookies that the application may set.
pub fn foreign_set_cookies(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(SET_COOKIE).iter().filter(|value| !is_our_cookie(value.as_bytes())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn m9_paths_that_somebody_could_read_differently_are_refused() {
        for path in [
            "",
            "*",
            "x",
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/../b",
            "/a/.;x/b",
            "/..;/a",
            "/a\\b",
            "/a#b",
            "/a b",
            "/%2e%2e/a",
            "/a%2fb",
            "/a%5Cb",
            "/a%00",
            "/a%0ab",
            "/a%7f",
            "/%c0%ae",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%252e/",
            "/\u{e9}",
            "/a\tb",
        ] {
            assert!(check_path(path.as_bytes()).is_err(), "{path:?}");
        }
        for path in [
            "/",
            "/a/b",
            "/a/",
            "/a/b?x=/../&y=%2e",
            "/caf%C3%A9",
            "/a%20b",
            "/a;v=1/b",
            "/.hidden",
            "/a..b",
            "/...",
            "/~a",
        ] {
            assert_eq!(check_path(path.as_bytes()), Ok(()), "{path:?}");
        }
    }

    proptest! {
        /// The short way says yes to nothing that the whole check refuses.
        #[test]
        fn m9_a_simple_path_is_one_in_full(
            odd in "[/.?%;#\\\\a2e\t\u{e9}]{0,12}", plain in "/[a-z/.]{0,9}(\\?[a-z%=/]{0,5})?",
        ) {
            for path in [odd, plain] {
                prop_assert!(!is_simple_path(path.as_bytes()) || is_unambiguous(path.as_bytes()), "{:?}", path);
            }
        }
    }

    #[test]
    fn most_paths_are_simple() {
        for path in ["/", "/tickets/42?view=full", "/a/", "/a.b/c_d-e~f", "/a?b=/../%2e;c"] {
            assert!(is_simple_path(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn our_paths_are_ours_in_every_spelling() {
        for path in [
            "/.zonegate",
            "/.zonegate/",
            "/.zonegate/login?x",
            "/.ZoneGate/login",
            "/%2Ezonegate/login",
            "/.zone%67ate/login",
            "/.zonegate;x=y/login",
            "/.zonegate./login",
            "/.zonegate%20/x",
            "/.well-known/zonegate/jwks.json",
            "/.Well-Known/ZONEGATE/jwks.json",
        ] {
            assert_eq!(place(path.as_bytes()), Place::Ours, "{path:?}");
        }
        for path in ["/", "/zonegate", "/.zonegated", "/a/.zonegate/", "/.well-known/security.txt", "/.zonegate-x"]
        {
            assert_eq!(place(path.as_bytes()), Place::Application, "{path:?}");
        }
    }

    fn head(fields: &[(&'static str, &str)]) -> RequestHeader {
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
        let check = |raw: &str| check_lines(raw.as_bytes()).map_err(|refused| refused.reason);
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
    fn m1_a_control_byte_in_a_path_is_seen() {
        for path in ["/a\tb", "/\u{7f}", "/a%09b", "/%00", "/%1F?x", "/%7f"] {
            assert!(has_control(path.as_bytes()), "{path:?}");
        }
        for path in ["/a%20b", "/%2e", "/a?b=%0d%0a", "/%7e", "/%"] {
            assert!(!has_control(path.as_bytes()), "{path:?}");
        }
    }

    #[test]
    fn m7_an_answer_without_a_body_may_say_that_it_has_one() {
        for (status, field, want) in [
            (204, ("content-length", "6"), true),
            (204, ("transfer-encoding", "chunked"), true),
            (204, ("content-length", "0"), false),
            (204, ("x", "y"), false),
            (304, ("content-length", "6"), true),
            (304, ("etag", "x"), false),
            (200, ("content-length", "6"), false),
        ] {
            let head = head(&[field]);
            let fields = AnswerFields::of(&head.headers);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(announces_what_cannot_be(status, &fields), want, "{status} {field:?}");
        }
    }

    #[test]
    fn m3_a_body_has_one_length() {
        let check = |fields: &[(&'static str, &str)], raw: &'static str| {
            let head = head(fields);
            check_framing(head.version, &Fields::of(&head.headers), raw.as_bytes())
                .map_err(|refused| refused.reason)
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

    #[test]
    fn m7_an_answer_has_one_length_and_switches_only_what_was_asked_for() {
        let check = |status: u16, fields: &[(&'static str, &str)], websocket: bool, heads: u8| {
            let mut head = ResponseHeader::build(status, None).unwrap();
            for (name, value) in fields {
                head.append_header(*name, *value).unwrap();
            }
            check_answer(head.status, &AnswerFields::of(&head.headers), websocket, heads).is_ok()
        };
        assert!(check(200, &[("content-length", "2")], false, 1));
        assert!(check(200, &[("transfer-encoding", "Chunked")], false, 1));
        for coding in ["gzip", "gzip, chunked", "identity", ""] {
            assert!(!check(200, &[("transfer-encoding", coding)], false, 1), "{coding}");
        }
        assert!(!check(200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false, 1));
        assert!(check(101, &[], true, 1) && !check(101, &[], false, 1));
        assert!(check(103, &[], false, INTERIM_MAX) && !check(103, &[], false, INTERIM_MAX + 1));
        assert!(check(200, &[], false, INTERIM_MAX + 1));
        let lengths = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            one_length(&AnswerFields::of(&head(&fields).headers))
        };
        assert_eq!(lengths(&["2"]), None);
        assert_eq!(lengths(&[]), None);
        assert_eq!(lengths(&["2", "2"]).unwrap(), "2");
        assert_eq!(lengths(&["2, 2"]).unwrap(), "2");
    }

    #[test]
    fn h9_an_application_clears_what_is_its_own() {
        let check = |fields: &[&str], want: Option<&str>| {
            let fields: Vec<_> = fields.iter().map(|value| ("clear-site-data", *value)).collect();
            let got = foreign_clearing(&head(&fields).headers);
            assert_eq!(got.as_ref().map(|value| value.to_str().unwrap()), want, "{fields:?}");
        };
        check(&["\"cache\""], Some("\"cache\""));
        check(&["\"cache\", \"cookies\",\"storage\""], Some("\"cache\", \"storage\""));
        check(&["\"cookies\"", "\"storage\""], Some("\"storage\""));
        for all in ["\"*\"", "\"cookies\"", "*", "cookies", "\"COOKIES\"", "", "\"cookies", "\"clientHints\""] {
            check(&[all], None);
        }
    }

    #[test]
    fn sec_r39_our_cookies_never_reach_the_application_and_the_rest_is_one_field() {
        let check = |fields: &[&str], want: Option<&str>| {
            let fields: Vec<_> = fields.iter().map(|value| ("cookie", *value)).collect();
            let got = foreign_cookies(&head(&fields).headers);
            assert_eq!(got.as_ref().map(|value| value.to_str().unwrap()), want, "{fields:?}");
        };
        check(&["a=b"], Some("a=b"));
        check(&["a=b; __Host-zg_session=x; c=d"], Some("a=b; c=d"));
        check(&["__Host-zg_session=x"], None);
        check(&["a=b", "__Host-zg_browser=x", "c=d"], Some("a=b; c=d"));
        check(&["__HOST-ZG_SESSION=x; a=b"], Some("a=b"));
        check(&["\"; __Host-zg_session=x; \"=y; a=b"], Some("\"; \"=y; a=b"));
        check(&["=__Host-zg_session=x; ==__Host-zg_browser=y; =a=b"], Some("=a=b"));
        check(&[], None);
    }
}
