//! HTTP/2 as no library writes it: what becomes a request towards the application is one, and carries what HTTP/2 said
//! (M3: H2.CL, H2.TE, line breaks in fields; M8, M10).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{A, Gateway, Upstream, WALL, within};

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

async fn outcome(gateway: &Gateway, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> Outcome {
    let pieces: Vec<_> = body.into_iter().collect();
    in_pieces(gateway, fields, &pieces).await
}

/// A request whose body comes in these frames.
async fn in_pieces(gateway: &Gateway, fields: &[(&[u8], &[u8])], body: &[&[u8]]) -> Outcome {
    let mut socket = gateway.connect_h2(A).await;
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    let end = |last: bool| if last { END_STREAM } else { 0 };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS | end(body.is_empty()), 1, &block));
    for (at, piece) in body.iter().enumerate() {
        bytes.extend(frame(DATA, end(at + 1 == body.len()), 1, piece));
    }
    within(socket.write_all(&bytes)).await.unwrap();
    loop {
        let mut head = [0; 9];
        if within(socket.read_exact(&mut head)).await.is_err() {
            return Outcome::Gone;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2]) | usize::from(head[0]) << 16];
        within(socket.read_exact(&mut payload)).await.unwrap();
        match head[3] {
            // The first field is the status, and 200 is the eighth entry of the table that everybody has.
            HEADERS if payload[0] == 0x88 => return Outcome::Answered200,
            HEADERS => return Outcome::AnsweredOtherwise,
            RESET => return Outcome::Reset,
            GOAWAY => return Outcome::Gone,
            _ => {}
        }
    }
}

#[tokio::test]
async fn m3_m8_what_http_2_forbids_is_never_forwarded() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream).await;
    let cookie = format!("__Host-zg_session={}", gateway.log_in(A, WALL).await);
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

    assert_eq!(outcome(&gateway, &with(&[]), Some(b"hi")).await, Outcome::Answered200);
    let received = upstream.only();
    assert_eq!((received.line.as_str(), received.body.as_slice()), ("POST /x HTTP/1.1", &b"hi"[..]));
    assert_eq!(outcome(&gateway, &with(&[(b"content-length", b"2")]), Some(b"hi")).await, Outcome::Answered200);
    assert_eq!(upstream.only().body, b"hi");
    assert_eq!(outcome(&gateway, &with(&[(b"te", b"trailers")]), None).await, Outcome::Answered200);
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
        // Lengths.
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
    for fields in bad {
        let got = outcome(&gateway, &fields, Some(b"hi")).await;
        let received = upstream.received();
        if got == Outcome::Answered200 || !received.is_empty() {
            let shown = fields.iter().filter(|(name, _)| *name != b"cookie");
            let shown: Vec<_> =
                shown.map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())).collect();
            let lines: Vec<_> = received.iter().map(|received| &received.line).collect();
            wrong.push(format!("{shown:?}: {got:?} {lines:?}"));
        }
    }
    // A length without a body.
    let got = outcome(&gateway, &with(&[(b"content-length", b"5")]), None).await;
    if got == Outcome::Answered200 || !upstream.received().is_empty() {
        wrong.push(format!("a length without a body: {got:?}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing lingers.
    assert_eq!(outcome(&gateway, &with(&[]), Some(b"hi")).await, Outcome::Answered200);
    assert_eq!(upstream.only().body, b"hi");
    gateway.assert_well();
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
