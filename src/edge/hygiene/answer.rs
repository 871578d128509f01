//! What of an application's answer is refused or taken out of it before its client sees it, but for cookies.

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::edge::fields::{AnswerFields, CLEAR_SITE_DATA, Found};

/// Interim answers (100, 103) that are passed on for one request. An application needs two.
const INTERIM_MAX: u8 = 16;

/// Checks what the parser of answers lets through, and the client would be left alone with (M7).
///
/// `heads`: how many have come for this request, with this one. What is wrong is for the log.
pub(in crate::edge) fn check_answer(
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
pub(in crate::edge) fn announces_what_cannot_be(status: StatusCode, fields: &AnswerFields<'_>) -> bool {
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        return false;
    }
    let length = fields.lengths.first().is_some_and(|length| length.as_bytes() != b"0");
    length || fields.codings.first().is_some()
}

/// The one length of an answer that gives it several times. That they agree has been checked; what reads the answer
/// behind us may not forgive it (RFC 9110 section 8.6).
pub(in crate::edge) fn one_length(fields: &AnswerFields<'_>) -> Option<HeaderValue> {
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
pub(in crate::edge) fn foreign_clearing(headers: &HeaderMap) -> Option<HeaderValue> {
    const OWN: [&[u8]; 5] =
        [b"\"cache\"", b"\"storage\"", b"\"executionContexts\"", b"\"prefetchCache\"", b"\"prerenderCache\""];
    let fields = headers.get_all(CLEAR_SITE_DATA).iter();
    let types = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let kept: Vec<_> = types.filter(|kind| OWN.contains(kind)).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b", "[..])).ok() }
}

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;

    use super::super::tests::head;
    use super::*;

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
}
