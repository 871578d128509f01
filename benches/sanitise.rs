//! What does it cost to refuse nothing in a browser's head, and to build the application's head from it?

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot be set up has nothing to say")]

mod samples;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Method, Version};
use pingora::http::RequestHeader;
use zonegate::base::RequestId;
use zonegate::edge::{hygiene, upstream};
use zonegate::gate::{Asked, Client, Decision, Facts, Grant, Place, Presented, StoreHealth, Way, decide};

const HOST: &str = "ww7.desk.example";

/// What a browser sends: ten fields, four cookies, one of them ours.
fn browser() -> RequestHeader {
    let cookies =
        format!("theme=dark; __Host-zg_session={}; lang=en-GB; visit=3f2a9c", samples::token(1).reveal());
    let mut head = RequestHeader::build("GET", b"/tickets/42?view=full", None).unwrap();
    head.set_version(Version::HTTP_11);
    for (name, value) in [
        ("Host", HOST),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Referer", "https://ww7.desk.example/tickets"),
        ("Sec-Fetch-Dest", "document"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Cookie", &cookies),
    ] {
        head.append_header(name, value).unwrap();
    }
    head
}

fn grant() -> Grant {
    let zones = samples::zones(17);
    let session = samples::session(HOST, 1);
    let facts = Facts {
        asked: Asked::new(zones.find(HOST), Place::Application, &Method::GET, b"/tickets/42?view=full"),
        way: Way::Through,
        client: Client::Program,
        presented: Presented::Session(&session),
        store: StoreHealth::Current,
    };
    let Decision::Forward(grant) = decide(&facts, samples::START) else { panic!("the session is live") };
    grant
}

fn sanitise(c: &mut Criterion) {
    let head = browser();
    let limits = samples::limits();
    let mut raw = b"GET /tickets/42?view=full HTTP/1.1\r\n".to_vec();
    for (name, value) in &head.headers {
        raw.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let raw = bytes::Bytes::from([raw, b"\r\n".to_vec()].concat());
    c.bench_function("sanitise/check", |b| {
        b.iter(|| hygiene::check_head(black_box(&head), || raw.clone(), &limits).unwrap());
    });
    let grant = grant();
    // As long as a signed one.
    let assertion = HeaderValue::from_maybe_shared(bytes::Bytes::from("a".repeat(900))).unwrap();
    let mark = upstream::Mark::new([7; 8]);
    c.bench_function("sanitise/upstream_head", |b| {
        b.iter_batched(
            || head.clone(),
            |mut copy| {
                let provenance = upstream::Provenance {
                    address: HeaderValue::from_static("192.0.2.1"),
                    request: RequestId::from_bytes([7; 16]),
                    assertion: Some(assertion.clone()),
                    client_certificate: None,
                    mark: &mark,
                };
                upstream::head(&mut copy, Version::HTTP_11, &grant, provenance).unwrap();
                copy
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, sanitise);
criterion_main!(benches);
