//! Making an application's answers smaller, where a zone asks for it.
//!
//! pingora carries a compressor with every request that does nothing until it is given a level. Its own way to use it
//! decides before our hooks see the answer's head, and knows neither `no-transform` nor event streams; so it stays at
//! level 0 until the head is here and has been looked at. What is compressed then goes through it piece by piece, and
//! is ended by pingora. Our own pages are not on this way, and a zone that does not ask pays nothing.
//!
//! *Answers with `Set-Cookie`?* Are compressed like any other: a cookie stands in the head, which is not. What must not
//! stand beside a client's own words in a compressed body is a secret *in the body* (BREACH); only the application
//! knows whether one does, which is why this is off unless somebody says otherwise.

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::Session as Exchange;

/// Little work for most of the gain; the same number means about that to each of the three algorithms.
const LEVEL: u32 = 4;

/// Compresses what follows, if this answer may be.
pub(super) fn apply(exchange: &mut Exchange, answer: &mut ResponseHeader) {
    if !is_eligible(exchange.req_header(), answer) {
        return;
    }
    // The client's head and not the application's copy: what it accepts has passed through unchanged.
    let head = exchange.as_downstream().req_header().clone();
    let compression = &mut exchange.upstream_compression;
    if compression.is_header_phase() {
        compression.adjust_level(LEVEL);
        compression.request_filter(&head);
        compression.response_header_filter(answer, false);
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
}
