//! Somebody else's list of requests by how dangerous their framing is (M1): what is severe or ambiguous ends with 400
//! and its connection, what is harmless arrives as it was said, and each exception has its reason here.
//!
//! The list is `tests/data/desync.tsv`, which says where it is from. 659 cases are spoken of; its source has 159 (and 662
//! lines that give a name). Host and session are added behind the request line, and a body of the length that the head
//! gives.

use std::path::Path;

use crate::harness::{Bench, Want};
use Want::{Body, Dropped, Ended, Refused, Silent};

/// What is meant to become a request of its own, should somebody take the head before it for whole.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-User: forged\r\n\r\n";

/// Content in a GET or HEAD has no meaning, but a length by the one rule that every body has (RFC 9110 section 9.3.1,
/// RFC 9112 section 6.3). Applications use it (searches, and clients that send `{}` with everything), so it is passed
/// on, and every backend is asked whether it reads it as the body that it is.
const CONTENT_WITHOUT_MEANING: [&str; 6] =
    ["ambiguous-13", "ambiguous-14", "ambiguous-15", "ambiguous-16", "real-life-01", "real-life-02"];

/// What the list lets through, and we do not.
const REFUSED: [(&str, Want, &str); 26] = [
    ("rfc-compliant-09", Ended(400), ONLY_CHUNKED),
    ("rfc-compliant-10", Ended(400), ONLY_CHUNKED),
    ("rfc-compliant-11", Ended(400), ONLY_CHUNKED),
    ("more-compliant-06", Ended(400), ONLY_CHUNKED),
    ("more-compliant-08", Ended(400), ONLY_CHUNKED),
    ("more-compliant-09", Ended(400), ONLY_CHUNKED),
    ("more-compliant-10", Ended(400), ONLY_CHUNKED),
    ("more-compliant-07", Ended(413), "4 MB, where these zones allow 64 KiB"),
    ("rfc-compliant-12", Ended(400), "a fragment is never sent (RFC 9112 section 3.2)"),
    ("rfc-compliant-13", Refused(400), "a target is of ASCII (RFC 3986 section 2)"),
    ("rfc-compliant-14", Dropped, "a request has a target (RFC 9112 section 3.2)"),
    ("uri-specific-11", Ended(400), CONTROLS),
    ("uri-specific-13", Ended(400), CONTROLS),
    ("uri-specific-14", Ended(400), CONTROLS),
    ("acceptable-01", Dropped, NAMES),
    ("acceptable-02", Dropped, NAMES),
    ("acceptable-03", Dropped, NAMES),
    ("acceptable-04", Dropped, NAMES),
    ("bad-characters-12", Dropped, NAMES),
    ("bad-characters-13", Dropped, NAMES),
    ("bad-characters-14", Dropped, VALUES),
    ("bad-characters-15", Dropped, VALUES),
    ("acceptable-07", Dropped, VERSIONS),
    ("acceptable-08", Dropped, VERSIONS),
    ("acceptable-09", Dropped, VERSIONS),
    ("uri-specific-02", Dropped, VERSIONS),
];
const ONLY_CHUNKED: &str =
    "a server need not know codings but chunked, and has no parameters of it (RFC 9112 section 6.1)";
const CONTROLS: &str = "an escaped control byte in a path is a byte to somebody (M9)";
const NAMES: &str = "a name is a token, with a colon behind it (RFC 9112 section 5.1)";
const VALUES: &str = "a value has no control bytes (RFC 9110 section 5.5)";
const VERSIONS: &str = "HTTP/1.0 and 1.1 are what is spoken here, and the version ends its line";

struct Case {
    id: String,
    tier: String,
    line: String,
    fields: String,
}

impl Case {
    /// As it is sent, with what stands behind its head.
    fn with(&self, behind: &str) -> String {
        // The bench puts the session's cookie for `@`.
        let at = |text: &str| text.replace('@', "\u{e000}");
        format!("{}\r\nHost: a.test\r\n@\r\n{}\r\n{behind}", at(&self.line), at(&self.fields))
    }

    /// Its own fields, as they must arrive: without those of the connection, and without what the gateway says itself.
    fn told(&self) -> Vec<(String, String)> {
        const OTHERS: [&str; 4] = ["connection", "content-length", "transfer-encoding", "x-forwarded-for"];
        let fields = self.fields.lines().filter_map(|line| line.split_once(':'));
        let fields =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        fields.filter(|(name, _)| !OTHERS.contains(&name.as_str())).collect()
    }

    /// A body of the length that the head gives, and as it is sent.
    fn body(&self) -> (String, String) {
        let value = |name: &str| {
            let fields = self.fields.lines().filter_map(|line| line.split_once(':'));
            fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        match (value("transfer-encoding"), value("content-length")) {
            (Some(_), _) => ("hi".into(), "2\r\nhi\r\n0\r\n\r\n".into()),
            (None, Some(length)) => {
                let body = "x".repeat(length.parse().unwrap());
                (body.clone(), body)
            }
            (None, None) => Default::default(),
        }
    }

    /// Method and target, as the backends write them down.
    fn asked(&self) -> &'static str {
        let asked = self.line.strip_suffix(" HTTP/1.1").unwrap_or(&self.line);
        asked.replace(' ', "%20").replacen("%20", " ", 1).leak()
    }
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/desync.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let cases = lines.map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        let text = |column: &str| serde_json::from_str::<String>(column).unwrap();
        let [id, tier, _, line, fields] = columns[..] else { panic!("not five columns: {line:?}") };
        Case { id: id.into(), tier: tier.into(), line: text(line), fields: text(fields) }
    });
    cases.collect()
}

fn of_tiers(tiers: [&str; 2]) -> Vec<Case> {
    let cases = cases();
    assert!(
        cases.iter().all(|case| ["compliant", "acceptable", "ambiguous", "severe"].contains(&case.tier.as_str()))
    );
    cases.into_iter().filter(|case| tiers.contains(&case.tier.as_str())).collect()
}

#[test]
fn the_list_is_whole_and_its_exceptions_are_of_it() {
    let count = |tiers| of_tiers(tiers).len();
    assert_eq!((count(["severe", "ambiguous"]), count(["compliant", "acceptable"])), (116, 43));
    let cases = cases();
    let named = CONTENT_WITHOUT_MEANING.into_iter().chain(REFUSED.iter().map(|(id, ..)| *id));
    for id in named {
        assert_eq!(cases.iter().filter(|case| case.id == id).count(), 1, "{id}");
    }
}

#[tokio::test]
async fn m1_what_is_severe_or_ambiguous_is_400_and_ends_its_connection() {
    let mut bench = Bench::new().await;
    for case in of_tiers(["severe", "ambiguous"]) {
        if CONTENT_WITHOUT_MEANING.contains(&case.id.as_str()) {
            continue;
        }
        let before = bench.wrong.len();
        let request = case.with(SMUGGLED);
        // Whether or not something stands behind it.
        bench.check_one(0, &case.with(""), Ended(400)).await;
        bench.check_one(0, &request, Ended(400)).await;
        bench.check_never(&request).await;
        bench.check_one(0, &request.replace('@', "X-Nobody: 1"), Silent).await;
        bench.wrong[before..].iter_mut().for_each(|wrong| wrong.insert_str(0, &format!("{}: ", case.id)));
    }
    bench.finish();
}

#[tokio::test]
async fn m1_what_is_harmless_arrives_as_it_was_said_or_is_refused_for_a_reason() {
    let mut bench = Bench::new().await;
    for case in of_tiers(["compliant", "acceptable"]) {
        let before = bench.wrong.len();
        let refused = REFUSED.iter().find(|(id, ..)| *id == case.id);
        let (body, sent) = if matches!(refused, Some((_, Dropped, _))) { <_>::default() } else { case.body() };
        let request = case.with(&sent);
        match refused {
            Some((_, want, _)) => bench.check_one(0, &request, *want).await,
            None => {
                let received = bench.check_and_take(&request, Body(case.asked(), body.leak())).await;
                // The recording application is the first; the others tell names as CGI does.
                let told = received.first().map_or(&[][..], |first| &first.fields);
                for (name, value) in case.told() {
                    let arrived =
                        |(known, got): &(String, String)| known.eq_ignore_ascii_case(&name) && *got == value;
                    if !told.iter().any(arrived) {
                        bench.wrong.push(format!("{name}: {value:?} is not among {told:?}"));
                    }
                }
            }
        }
        bench.wrong[before..].iter_mut().for_each(|wrong| wrong.insert_str(0, &format!("{}: ", case.id)));
    }
    bench.finish();
}

#[tokio::test]
async fn m1_content_that_has_no_meaning_has_a_length() {
    let mut bench = Bench::new().await;
    for case in cases().iter().filter(|case| CONTENT_WITHOUT_MEANING.contains(&case.id.as_str())) {
        let (body, sent) = case.body();
        bench.check(&case.with(&sent), Body(case.asked(), body.leak())).await;
        bench.check_one(0, &case.with(&sent).replace('@', "X-Nobody: 1"), Silent).await;
    }
    bench.finish();
}
