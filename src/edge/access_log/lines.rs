//! The two forms of a request's line: JSON with everything that is known, and what Apache and nginx call combined.
//!
//! Neither has a place for a query: values that stand there are people's own (K1). Whatever a client writes, a request
//! is one line (A5).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;

use super::{Combined, METHOD_BYTES_MAX, Record};
use crate::base::{RequestId, SessionId, UnixTime, UserId};
use crate::telemetry::Snippet;

/// The longest piece of a client's that a combined line shows, in bytes.
const PIECE_BYTES_MAX: usize = 256;

/// A line in JSON, in the order of its fields; the first three are what the program's other lines begin with.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'static str,
    target: &'static str,
    request: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    method: &'a str,
    path: &'a str,
    status: u16,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    micros: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// Makes lines, one after the other. Many requests end in the same second, whose text is kept.
#[derive(Debug)]
pub(super) struct Formatter {
    second: UnixTime,
    json: String,
    combined: String,
}

impl Formatter {
    pub(super) fn new() -> Self {
        let mut formatter =
            Self { second: UnixTime::from_seconds(0), json: String::new(), combined: String::new() };
        formatter.set_second(UnixTime::from_seconds(0));
        formatter
    }

    /// Adds the record's line to `text`.
    pub(super) fn add(&mut self, record: &Record, text: &mut Vec<u8>) {
        if self.second != record.at {
            self.set_second(record.at);
        }
        match &record.combined {
            None => self.add_json(record, text),
            Some(more) => self.add_combined(record, more, text),
        }
    }

    fn set_second(&mut self, second: UnixTime) {
        self.second = second;
        self.json = second.to_string();
        let stamp = i64::try_from(second.seconds()).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        self.combined = stamp.map_or_else(|| "-".into(), |s| s.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
    }

    fn add_json(&self, record: &Record, text: &mut Vec<u8>) {
        let path = Snippet::of(&String::from_utf8_lossy(&record.path));
        let session = record.session.as_ref();
        let line = Line {
            timestamp: &self.json,
            level: "INFO",
            target: "access",
            request: record.request,
            zone: record.zone.as_ref().map(|zone| zone.host.as_str()),
            user: session.map(|session| session.user),
            session: session.map(|session| session.id),
            address: record.address,
            method: &method(&record.method),
            path: path.as_str(),
            status: record.status,
            decision: record.decision,
            reason: record.reason,
            rule: record.rule.as_deref(),
            micros: u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        };
        // Fields like these can always be written into memory.
        if serde_json::to_writer(&mut *text, &line).is_ok() {
            text.push(b'\n');
        }
    }

    fn add_combined(&self, record: &Record, more: &Combined, text: &mut Vec<u8>) {
        let mut line = String::with_capacity(256);
        match record.address {
            Some(address) => drop(write!(line, "{address}")),
            None => line.push('-'),
        }
        line.push_str(" - ");
        match &record.session {
            Some(session) => piece(&mut line, session.principal.username().as_bytes(), Spaces::Escaped),
            None => line.push('-'),
        }
        // The client left before there was an answer: nginx's number for it, because readers want one.
        let status = if record.status == 0 { 499 } else { record.status };
        let _ = write!(line, " [{}] \"{} ", self.combined, method(&record.method));
        piece(&mut line, &record.path, Spaces::Escaped);
        let _ = write!(line, " {:?}\" {status} {} \"", more.version, record.bytes_out);
        for (at, field) in [&more.referer, &more.agent].into_iter().enumerate() {
            if at > 0 {
                line.push_str("\" \"");
            }
            match field {
                Some(field) => piece(&mut line, field, Spaces::Kept),
                None => line.push('-'),
            }
        }
        line.push_str("\"\n");
        text.extend_from_slice(line.as_bytes());
    }
}

impl Combined {
    /// What a combined line shows of a request's head, cut to what is shown.
    ///
    /// *Why are the fields copied, when they could be shared with the head?* Each would keep its whole head in memory,
    /// and with a disk that stands still the queue would hold a quarter of a gigabyte of them.
    pub(in crate::edge) fn of(version: http::Version, fields: &http::HeaderMap) -> Box<Self> {
        // One more than is shown, which says that it was cut.
        let cut = |bytes: &[u8]| bytes.get(..=PIECE_BYTES_MAX).unwrap_or(bytes).into();
        let without_query = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(bytes.len());
            cut(bytes.get(..end).unwrap_or(bytes))
        };
        Box::new(Self {
            version,
            referer: fields.get(http::header::REFERER).map(|value| without_query(value.as_bytes())),
            agent: fields.get(http::header::USER_AGENT).map(|value| cut(value.as_bytes())),
        })
    }
}

/// A method, marked where it was cut.
fn method(method: &http::Method) -> Cow<'_, str> {
    let text = method.as_str();
    match text.get(..METHOD_BYTES_MAX) {
        Some(shown) if shown.len() < text.len() => Cow::Owned(format!("{shown}...")),
        Some(_) | None => Cow::Borrowed(text),
    }
}

/// What becomes of spaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spaces {
    /// They separate fields here.
    Escaped,
    /// The field stands in quotes.
    Kept,
}

/// A client's text as nginx writes it: what is not plain, and what would end the field, as `\xHH`.
fn piece(line: &mut String, bytes: &[u8], spaces: Spaces) {
    for byte in bytes.iter().take(PIECE_BYTES_MAX) {
        match byte {
            b' ' if spaces == Spaces::Escaped => line.push_str("\\x20"),
            b'"' | b'\\' => drop(write!(line, "\\x{byte:02X}")),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => drop(write!(line, "\\x{byte:02X}")),
        }
    }
    if bytes.len() > PIECE_BYTES_MAX {
        line.push_str("...");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use crate::session::samples;

    fn line(record: &Record) -> String {
        let mut text = Vec::new();
        Formatter::new().add(record, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a5_whatever_the_path_holds_a_request_is_one_line_of_json() {
        let text = line(&record("/a\"\r\n{}\u{202e}/b"));
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (field, want) in [
            ("timestamp", serde_json::json!(samples::START.to_string())),
            ("target", "access".into()),
            ("request", "ab".repeat(16).into()),
            ("zone", "a.example".into()),
            ("address", "192.0.2.1".into()),
            ("path", "/a\"\\u{d}\\u{a}{}\\u{202e}/b".into()),
            ("status", 200.into()),
            ("rule", "access[2]".into()),
            ("micros", 1234.into()),
            ("bytes_out", 7.into()),
        ] {
            assert_eq!(line[field], want, "{field} in {text}");
        }
        assert!(line.get("user").is_none(), "nobody is no field");
    }

    #[test]
    fn a5_a_combined_line_is_what_apache_and_nginx_write_and_no_text_of_a_client_ends_a_field() {
        let mut fields = http::HeaderMap::new();
        fields.insert("referer", "https://a.example/x?token=1#y".parse().unwrap());
        fields.insert("user-agent", http::HeaderValue::from_bytes(b"evil\" 200 \\ \xff\tagent").unwrap());
        let combined = Some(Combined::of(http::Version::HTTP_2, &fields));
        let session = Some(samples::session(&samples::record("a.example")));
        let at = UnixTime::from_seconds(1_700_000_000);
        let with = Record { combined, session, at, ..record("/a \"b\r\n") };
        let user = with.session.as_ref().unwrap().principal.username().to_owned();
        assert_eq!(
            line(&with),
            format!(
                "192.0.2.1 - {user} [14/Nov/2023:22:13:20 +0000] \"GET /a\\x20\\x22b\\x0D\\x0A HTTP/2.0\" 200 7 \
                 \"https://a.example/x\" \"evil\\x22 200 \\x5C \\xFF\\x09agent\"\n"
            )
        );
        let nothing = Some(Combined::of(http::Version::HTTP_11, &http::HeaderMap::new()));
        let bare = Record { combined: nothing, address: None, status: 0, at, ..record("/") };
        assert_eq!(line(&bare), "- - - [14/Nov/2023:22:13:20 +0000] \"GET / HTTP/1.1\" 499 7 \"-\" \"-\"\n");
    }

    #[test]
    fn a5_what_is_long_is_cut_before_it_waits() {
        let mut fields = http::HeaderMap::new();
        fields.insert("user-agent", "x".repeat(10_000).parse().unwrap());
        let combined = Combined::of(http::Version::HTTP_11, &fields);
        assert_eq!(combined.agent.as_ref().unwrap().len(), PIECE_BYTES_MAX + 1);
        let text = line(&Record { combined: Some(combined), ..record(&"/y".repeat(10_000)) });
        assert!(text.len() < 1000, "{}", text.len());
        assert!(text.contains("/y/y... HTTP/1.1") && text.contains("xxx...\""), "{text}");
    }

    #[test]
    fn d9_no_client_fills_the_memory_or_the_log_with_a_method_or_a_path() {
        let method = |length: usize| {
            let sent = http::Method::from_bytes("M".repeat(length).as_bytes()).unwrap();
            super::super::method(&sent)
        };
        assert_eq!(method(METHOD_BYTES_MAX).as_str().len(), METHOD_BYTES_MAX);
        assert_eq!(method(1 << 20).as_str().len(), METHOD_BYTES_MAX + 1);
        for sign in ["y", "é", "😀"] {
            let nothing = || Some(Combined::of(http::Version::HTTP_11, &http::HeaderMap::new()));
            let long = record(&format!("/{}?{}", sign.repeat(1 << 18), "q".repeat(1 << 18)));
            assert!(long.path.len() < 1024);
            for combined in [None, nothing()] {
                let text =
                    line(&Record { combined, method: method(1 << 20), path: long.path.clone(), ..record("") });
                assert!(text.len() < 2048 && !text.contains("qq"), "{text}");
                assert!(text.contains(&format!("\"{}...", "M".repeat(METHOD_BYTES_MAX))), "{text}");
                assert!(text.contains("...") || text.contains('…'), "{text}");
            }
        }
        let whole = Record { method: method(METHOD_BYTES_MAX), ..record("/a?b") };
        assert!(line(&whole).contains(&format!("\"{}\",\"path\":\"/a\"", "M".repeat(METHOD_BYTES_MAX))));
    }
}
