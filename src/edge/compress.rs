//! Making an application's answers smaller, where a zone asks for it.
//!
//! pingora carries a compressor with every request that does nothing until it is given a level. Its own way to use it
//! decides before our hooks see the answer's head, and knows neither `no-transform` nor event streams; so it stays at
//! level 0 until the head is here and has been looked at. What is compressed then goes through it piece by piece, and
//! is ended by pingora. Our own pages are not on this way, and a zone that does not ask pays nothing.
//!
//! *Which coding?* pingora takes the first that a client names, also one that it names to forbid it (`gzip;q=0`), and writes
//! what it cannot read into its log. So the client's field is read here, and pingora is given the one coding that came of it.
//!
//! *Answers with `Set-Cookie`?* Are compressed like any other: a cookie stands in the head, which is not. What must not
//! stand beside a client's own words in a compressed body is a secret *in the body* (BREACH); only the application
//! knows whether one does, which is why this is off unless somebody says otherwise.

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::Session as Exchange;

/// Little work for most of the gain; the same number means about that to each of the three algorithms.
const LEVEL: u32 = 4;
/// Those that pingora has.
const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];
/// What may stand around a word.
const BLANKS: [char; 2] = [' ', '\t'];
/// The greatest weight, and that of whoever says none.
const WHOLE: u16 = 1000;

/// Compresses what follows, if this answer may be.
pub(super) fn apply(exchange: &mut Exchange, answer: &mut ResponseHeader) {
    if !is_eligible(exchange.req_header(), answer) {
        return;
    }
    // The client's head and not the application's copy: what it accepts has passed through unchanged.
    let Ok(asked) = asking_for(wanted(&exchange.as_downstream().req_header().headers)) else { return };
    let compression = &mut exchange.upstream_compression;
    if compression.is_header_phase() {
        compression.adjust_level(LEVEL);
        compression.request_filter(&asked);
        // Also where nothing is compressed: it says by what the answer varies.
        compression.response_header_filter(answer, false);
    }
}

/// A head that asks for this coding and no other.
fn asking_for(coding: Option<&'static str>) -> pingora::Result<RequestHeader> {
    let mut head = RequestHeader::build(Method::GET, b"/", Some(1))?;
    if let Some(coding) = coding {
        head.insert_header(ACCEPT_ENCODING, coding)?;
    }
    Ok(head)
}

/// The coding that a client likes best of those that there are, and of several the first; `None` when it likes none better
/// than none, or what it likes cannot be read (RFC 9110 section 12.5.3). One that says nothing gets none, and `*` is no
/// coding: who has no list may not know any.
fn wanted(fields: &HeaderMap) -> Option<&'static str> {
    let (mut best, mut plain) = (None, 0);
    for value in fields.get_all(ACCEPT_ENCODING) {
        for element in value.to_str().ok()?.split(',') {
            let (name, weight) = match element.split_once(';') {
                Some((name, parameter)) => (name, weight(parameter)?),
                None => (element, WHOLE),
            };
            let name = name.trim_matches(BLANKS);
            if let Some(known) = CODINGS.into_iter().find(|known| known.eq_ignore_ascii_case(name)) {
                if best.is_none_or(|(_, most)| weight > most) {
                    best = Some((known, weight));
                }
            } else if name.eq_ignore_ascii_case("identity") {
                plain = weight;
            }
        }
    }
    best.filter(|(_, weight)| *weight > 0 && *weight >= plain).map(|(coding, _)| coding)
}

/// A weight in thousandths: 0 to 1 with at most three digits behind the point (RFC 9110 section 12.4.2).
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    let (whole, part) = value.trim_matches(BLANKS).split_once('.').unwrap_or((value.trim_matches(BLANKS), ""));
    let is_short = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !name.trim_matches(BLANKS).eq_ignore_ascii_case("q") || !is_short {
        return None;
    }
    match (whole, format!("{part:0<3}").parse().ok()?) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(WHOLE),
        _ => None,
    }
}

fn is_eligible(head: &RequestHeader, answer: &ResponseHeader) -> bool {
    let fields = &answer.headers;
    let refused = |name: HeaderName| fields.contains_key(name);
    // Without chunks, HTTP/1.0 could not tell a whole answer from half of one.
    head.version != Version::HTTP_10
        && head.method != Method::HEAD
        && answer.status.is_success()
        && answer.status != StatusCode::NO_CONTENT
        && answer.status != StatusCode::PARTIAL_CONTENT
        && ![CONTENT_ENCODING, CONTENT_RANGE, TRAILER].into_iter().any(refused)
        // "An intermediary MUST NOT transform the content" (RFC 9111 section 5.2.2.6).
        && !says(fields, CACHE_CONTROL, "no-transform")
        // Pieces would wait for one another.
        && !says(fields, CONTENT_TYPE, "text/event-stream")
        // Its messages are compressed one by one, or not, and trailers follow them.
        && !says(fields, CONTENT_TYPE, "application/grpc")
}

fn says(fields: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let mut values = fields.get_all(name).iter();
    values.any(|value| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, status: u16, fields: &[(&'static str, &'static str)], want: bool) {
        let head = RequestHeader::build(method, b"/", None).unwrap();
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        assert_eq!(is_eligible(&head, &answer), want, "{method} {status} {fields:?}");
    }

    #[test]
    fn only_a_whole_answer_that_may_be_transformed_is() {
        let html = ("content-type", "text/html");
        check("GET", 200, &[html], true);
        check("POST", 201, &[html, ("set-cookie", "a=b")], true);
        check("HEAD", 200, &[html], false);
        for status in [101, 204, 206, 301, 304, 404, 500] {
            check("GET", status, &[html], false);
        }
        check("GET", 200, &[html, ("content-encoding", "br")], false);
        check("GET", 200, &[html, ("content-range", "bytes 0-1/2")], false);
        check("GET", 200, &[html, ("trailer", "x")], false);
        check(
            "GET",
            200,
            &[html, ("cache-control", "private"), ("cache-control", "max-age=1, No-Transform")],
            false,
        );
        check("GET", 200, &[("content-type", "text/event-stream; charset=utf-8")], false);
        check("GET", 200, &[("content-type", "application/grpc-web+proto")], false);
    }
    #[test]
    fn rfc_9110_12_5_3_nobody_gets_a_coding_that_they_forbid_or_like_less_than_another() {
        let check = |values: &[&str], want: Option<&str>| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(ACCEPT_ENCODING, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(wanted(&fields), want, "{values:?}");
        };
        check(&[], None);
        check(&["gzip"], Some("gzip"));
        check(&["gzip, deflate, br, zstd"], Some("gzip"));
        check(&["deflate", "BR , gzip"], Some("br"));
        check(&["gzip;q=0"], None);
        check(&["gzip; q=0.000, br ; Q = 0.5"], Some("br"));
        check(&["gzip;q=0.5, br;q=1.0"], Some("br"));
        check(&["gzip;q=0.5, identity"], None);
        check(&["gzip, identity;q=0.5, *;q=0"], Some("gzip"));
        check(&["*"], None);
        check(&["identity, *;q=0"], None);
        for unreadable in
            ["gzip;q=2", "gzip;q=1.5", "gzip;q=0.1234", "gzip;q", "gzip;x=1", "gzip, br;q=-1", "gzip\u{e9}"]
        {
            check(&[unreadable], None);
        }
        for coding in [None, Some("br")] {
            let asked = asking_for(coding).unwrap();
            assert_eq!(asked.headers.get(ACCEPT_ENCODING).map(|value| value.to_str().unwrap()), coding);
        }
    }
}
