//! HTTP/2 as no library writes it: what becomes a request towards the application is one, and carries what HTTP/2 said
//! (M3: H2.CL, H2.TE, line breaks in fields; M8, M10).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::{A, Bench, Gateway, Upstream, WALL, shown, within};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field, spelled out: no table, no compression (RFC 7541 section 6.2.2).
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        if text.len() < 127 {
            out.push(u8::try_from(text.len()).unwrap());
        } else {
            out.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
        out.extend_from_slice(text);
    }
    out
}

/// What became of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered200,
    AnsweredOtherwise,
    Reset,
    Gone,
}

/// A connection whose every frame the test writes.
struct Frames {
    socket: TlsStream<TcpStream>,
    next: u32,
}

impl Frames {
    async fn open(gateway: &Gateway, zone: &str) -> Self {
        let mut socket = gateway.connect_h2(zone).await;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        within(socket.write_all(&bytes)).await.unwrap();
        Self { socket, next: 1 }
    }

    /// A request whose body comes in these frames, what became of it, and the body that came back.
    async fn ask(&mut self, fields: &[Field<'_>], body: &[&[u8]]) -> (Outcome, Vec<u8>) {
        let stream = self.next;
        self.next += 2;
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        let end = |last: bool| if last { END_STREAM } else { 0 };
        let mut bytes = frame(HEADERS, END_HEADERS | end(body.is_empty()), stream, &block);
        for (at, piece) in body.iter().enumerate() {
            bytes.extend(frame(DATA, end(at + 1 == body.len()), stream, piece));
        }
        if within(self.socket.write_all(&bytes)).await.is_err() {
            return (Outcome::Gone, Vec::new());
        }
        let mut outcome = None;
        let mut got = Vec::new();
        loop {
            let mut head = [0; 9];
            if within(self.socket.read_exact(&mut head)).await.is_err() {
                return (Outcome::Gone, got);
            }
            let mut payload =
                vec![0; usize::from(head[1]) << 8 | usize::from(head[2]) | usize::from(head[0]) << 16];
            if within(self.socket.read_exact(&mut payload)).await.is_err() {
                return (Outcome::Gone, got);
            }
            let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match head[3] {
                GOAWAY => return (Outcome::Gone, got),
                RESET if of == stream => return (outcome.unwrap_or(Outcome::Reset), got),
                // The first field is the status, and 200 is the eighth entry of the table that everybody has.
                HEADERS if of == stream && payload[0] == 0x88 => outcome = Some(Outcome::Answered200),
                HEADERS if of == stream => outcome = Some(Outcome::AnsweredOtherwise),
                DATA if of == stream => got.extend(payload),
                _ => {}
            }
            let ended = matches!(head[3], HEADERS | DATA) && head[4] & END_STREAM != 0 && of == stream;
            if ended {
                return (outcome.unwrap_or(Outcome::AnsweredOtherwise), got);
            }
        }
    }
}

type Field<'a> = (&'a [u8], &'a [u8]);

async fn outcome(gateway: &Gateway, fields: &[Field<'_>], body: Option<&[u8]>) -> Outcome {
    let pieces: Vec<_> = body.into_iter().collect();
    in_pieces(gateway, fields, &pieces).await
}

/// A request whose body comes in these frames.
async fn in_pieces(gateway: &Gateway, fields: &[Field<'_>], body: &[&[u8]]) -> Outcome {
    Frames::open(gateway, A).await.ask(fields, body).await.0
}

fn replaced(value: &[u8], zone: &str) -> Vec<u8> {
    // One byte a character, so that what is no UTF-8 stays what it is.
    let text: String = value.iter().copied().map(char::from).collect();
    text.replace(A, zone).chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

#[tokio::test]
async fn m3_m8_what_http_2_forbids_is_never_forwarded() {
    let mut bench = Bench::new().await;
    let cookie = format!("__Host-zg_session={}", bench.targets[0].token);
    let session: (&[u8], &[u8]) = (b"cookie", cookie.as_bytes());
    let good: [(&[u8], &[u8]); 4] =
        [(b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/x"), (b":authority", A.as_bytes())];
    let with = |more: &[(&'static [u8], &'static [u8])]| [&good[..], &[session], more].concat();
    let instead = |name: &[u8], value: &'static [u8]| {
        let mut fields = with(&[]);
        fields.iter_mut().filter(|(known, _)| *known == name).for_each(|field| field.1 = value);
        fields
    };
    let without = |name: &[u8]| with(&[]).into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>();

    let (gateway, upstream) = (&bench.gateway, &bench.upstream);
    assert_eq!(outcome(gateway, &with(&[]), Some(b"hi")).await, Outcome::Answered200);
    let received = upstream.only();
    assert_eq!((received.line.as_str(), received.body.as_slice()), ("POST /x HTTP/1.1", &b"hi"[..]));
    assert_eq!(outcome(gateway, &with(&[(b"content-length", b"2")]), Some(b"hi")).await, Outcome::Answered200);
    assert_eq!(upstream.only().body, b"hi");
    assert_eq!(outcome(gateway, &with(&[(b"te", b"trailers")]), None).await, Outcome::Answered200);
    assert!(upstream.only().all("te").is_empty());

    let mut bad = Vec::new();
    for (name, value) in [
        // What is of one connection (RFC 9113 section 8.2.2).
        (&b"connection"[..], &b"keep-alive"[..]),
        (b"connection", b"x-forwarded-user"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"upgrade", b"websocket"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"transfer_encoding", b"chunked"),
        (b"content_length", b"30"),
        // What would be another field, or another request, in HTTP/1.1.
        (b"X-Upper", b"y"),
        (b"x", b"y\r\nX-Forwarded-User: forged"),
        (b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        (b"x", b"y\nz"),
        (b"x", b"y\rz"),
        (b"x", b"y\0z"),
        (b"x: y\r\nx-forwarded-user", b"forged"),
        (b"x:y", b"z"),
        (b"x y", b"z"),
        (b"x\0", b"z"),
        (b"", b"z"),
        (b"x\xff", b"z"),
        // Pseudo-fields behind fields, twice, or unknown.
        (b":path", b"/y"),
        (b":method", b"GET"),
        (b":authority", b"a.test"),
        (b":x", b"y"),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        // What waits, and for what nobody knows.
        (b"expect", b"200-ok"),
        // Lengths.
        (b"content-length", b"02"),
        (b"content-length", b"5"),
        (b"content-length", b"1"),
        (b"content-length", b"-2"),
        (b"content-length", b"+2"),
        (b"content-length", b"2, 2"),
        (b"content-length", b"2x"),
        (b"content-length", b""),
        // Another host beside the authority.
        (b"host", b"b.test"),
        (b"host", b"evil.example"),
    ] {
        bad.push(with(&[(name, value)]));
    }
    bad.push(with(&[(b"content-length", b"2"), (b"content-length", b"3")]));
    for name in [&b":method"[..], b":scheme", b":path", b":authority"] {
        bad.push(without(name));
    }
    for (name, values) in [
        (
            &b":method"[..],
            &[
                &b""[..],
                b"GET /smuggled HTTP/1.1\r\nX: y\r\n\r\nGET",
                b"GET ",
                b"GE T",
                b"TRACE",
                b"trace",
                b"post",
                b"BREW",
                b"PRI",
                b"CONNECT",
            ][..],
        ),
        (
            b":path",
            &[
                &b""[..],
                b"x",
                b"*",
                b"/x HTTP/1.1\r\nX-Forwarded-User: forged\r\nX: y",
                b"/x y",
                b"/x\0",
                b"//x",
                b"/x/../y",
                b"/\xff",
                b"https://a.test/x",
            ],
        ),
        (
            b":authority",
            &[
                &b""[..],
                b"b.test",
                b"nobody.test",
                b"user@a.test",
                b"a.test\r\nX: y",
                b"a.test/x",
                b"a.test:x",
                b"a.test b.test",
                b"a.test,b.test",
                b"[::1]",
            ],
        ),
        (b":scheme", &[&b"https://a.test/x?"[..], b"ht tp", b"https\r\nX: y"]),
    ] {
        bad.extend(values.iter().map(|value| instead(name, value)));
    }
    let mut wrong = Vec::new();
    for at in 0..bench.targets.len() {
        let (zone, token) = (bench.targets[at].zone, bench.targets[at].token.clone());
        let own = format!("__Host-zg_session={token}");
        for fields in &bad {
            // The vector says "a.test", and this zone is another.
            let there = |value: &[u8]| String::from_utf8_lossy(value).contains(A).then(|| replaced(value, zone));
            let values: Vec<_> = fields
                .iter()
                .map(
                    |(name, value)| if *name == b"cookie" { Some(own.clone().into_bytes()) } else { there(value) },
                )
                .collect();
            let fields: Vec<Field<'_>> = fields
                .iter()
                .zip(&values)
                .map(|((name, value), other)| (*name, other.as_deref().unwrap_or(value)))
                .collect();
            let mut frames = Frames::open(&bench.gateway, zone).await;
            let (got, _) = frames.ask(&fields, &[b"hi"]).await;
            let received = bench.received(at);
            let mut fault = None;
            if got == Outcome::Answered200 || !received.is_empty() {
                fault = Some(shown(&received));
            } else if got != Outcome::Gone {
                // The connection goes on, and so must the next request: with its own answer.
                let next = bench.next_sentinel();
                let sentinel: [Field<'_>; 5] = [
                    (b":method", b"GET"),
                    (b":scheme", b"https"),
                    (b":path", next.as_bytes()),
                    (b":authority", zone.as_bytes()),
                    (b"cookie", own.as_bytes()),
                ];
                let (outcome, body) = frames.ask(&sentinel, &[]).await;
                let status = if outcome == Outcome::Answered200 { 200 } else { 0 };
                fault = bench.judge_sentinel(at, &next, status, &String::from_utf8_lossy(&body)).err();
            }
            if let Some(fault) = fault.or(bench.bystander(at).await.err()) {
                let shown = fields.iter().filter(|(name, _)| *name != b"cookie");
                let shown: Vec<_> = shown
                    .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
                    .collect();
                wrong.push(format!("{}: {shown:?}: {got:?} {fault}", bench.targets[at].name));
            }
        }
    }
    let gateway = &bench.gateway;
    let upstream = &bench.upstream;
    // A length without a body.
    let got = outcome(gateway, &with(&[(b"content-length", b"5")]), None).await;
    if got == Outcome::Answered200 || !upstream.received().is_empty() {
        wrong.push(format!("a length without a body: {got:?}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing lingers.
    assert_eq!(outcome(gateway, &with(&[]), Some(b"hi")).await, Outcome::Answered200);
    assert_eq!(upstream.only().body, b"hi");
    bench.finish();
}

#[tokio::test]
async fn m3_an_empty_frame_is_no_byte_of_a_body_and_its_end_is_one_end() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let cookie = format!("__Host-zg_session={}", gateway.log_in(A, WALL).await);
    let head: [(&[u8], &[u8]); 5] = [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/x"),
        (b":authority", A.as_bytes()),
        (b"cookie", cookie.as_bytes()),
    ];
    let length = |value: &'static [u8]| -> (&[u8], &[u8]) { (b"content-length", value) };
    for (more, pieces, want) in [
        (vec![], &[&b""[..]][..], ""),
        (vec![], &[b"hi", b""], "hi"),
        (vec![], &[b"", b"h", b"", b"", b"i", b"", b""], "hi"),
        (vec![length(b"2")], &[b"hi", b""], "hi"),
        (vec![length(b"2")], &[b"", b"hi", b"", b""], "hi"),
        (vec![length(b"0")], &[b""], ""),
    ] {
        // Often enough to use the same connection upstream again: what is left there would be found now.
        for _ in 0..4 {
            let fields = [&head[..], &more[..]].concat();
            assert_eq!(in_pieces(&gateway, &fields, pieces).await, Outcome::Answered200, "{pieces:?}");
            let received = upstream.only();
            assert_eq!((received.line.as_str(), received.body.as_slice()), ("POST /x HTTP/1.1", want.as_bytes()));
        }
    }
    assert!(upstream.connections() < 12, "connections were kept");
}
