//! What an application may do wrong, and what its clients see of it (M7, F12): a page or a problem detail without our
//! insides, a body that is visibly cut off, and never a byte of somebody else's answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use crate::harness::{A, Gateway, H2, OK, Play, Reply, Upstream, WALL, Wire, Wishes};

const PERSON: &str = "Accept: text/html\r\n";
const PROGRAM: &str = "Accept: application/json\r\n";

struct Bench {
    upstream: Upstream,
    gateway: Gateway,
    cookie: String,
}

impl Bench {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let wishes = Wishes { upstream: "read_max: 1s", ..Wishes::default() };
        let gateway = Gateway::start_with(upstream.address(), wishes).await;
        let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
        Self { upstream, gateway, cookie }
    }

    fn request(&self, method: &str, path: &str, fields: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {A}\r\n{}{fields}\r\n", self.cookie)
    }

    async fn connect(&self) -> Wire {
        self.gateway.connect(A).await
    }

    /// Other people's requests get their own answers, on new connections and on those that are kept.
    async fn assert_clean(&self, why: &str) {
        self.upstream.received();
        for _ in 0..3 {
            let mut wire = self.connect().await;
            for _ in 0..2 {
                let reply = wire.ask(self.request("GET", "/next", "")).await;
                assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "after {why:?}");
            }
        }
        let lines: Vec<_> = self.upstream.received().into_iter().map(|received| received.line).collect();
        assert_eq!(lines, ["GET /next HTTP/1.1"; 6], "after {why:?}");
    }
}

/// Fails unless it is an error of ours in the form that was asked for, and says nothing of our insides.
#[track_caller]
fn assert_error(reply: &Reply, status: u16, fields: &str, upstream: SocketAddr) {
    assert_eq!((reply.status, reply.whole), (status, true), "{reply:?}");
    let kind = reply.field("content-type").unwrap();
    if fields == PERSON {
        assert!(kind.starts_with("text/html") && reply.body.contains("<html"), "{reply:?}");
    } else {
        assert_eq!(kind, "application/problem+json", "{reply:?}");
        let problem: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            (problem["status"].as_u64(), problem["type"].as_str()),
            (Some(status.into()), Some("about:blank"))
        );
    }
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let text = format!("{reply:?}").to_lowercase();
    for inside in
        ["127.0.0.1", &upstream.port().to_string(), "pingora", "upstream", "rust", "panic", "refused", "src/"]
    {
        assert!(!text.contains(inside), "{inside}: {reply:?}");
    }
}

#[tokio::test]
async fn f12_an_application_that_is_not_there_is_502_for_everybody() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut gateway = Gateway::start_with(gone, Wishes::default()).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let mut wire = gateway.connect(A).await;
    for fields in [PERSON, PROGRAM, ""] {
        for (method, body) in [("GET", ""), ("POST", "Content-Length: 0\r\n")] {
            let request = format!("{method} /x HTTP/1.1\r\nHost: {A}\r\n{cookie}{fields}{body}\r\n");
            let _ = wire.try_send(&request).await;
            let reply = match wire.try_reply(false).await {
                Some(reply) => reply,
                None => {
                    wire = gateway.connect(A).await;
                    wire.ask(&request).await
                }
            };
            assert_error(&reply, 502, fields, gone);
        }
    }
    let request = format!("HEAD /x HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n");
    let mut wire = gateway.connect(A).await;
    wire.send(request).await;
    assert_eq!(wire.try_reply(true).await.unwrap().status, 502);
    wire.assert_ended("an answer to HEAD has no body").await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    for method in ["HEAD", "GET"] {
        let request = http::Request::builder().method(method).uri(format!("https://{A}/x"));
        let request = request.header("cookie", cookie.trim().trim_start_matches("Cookie: ")).body(()).unwrap();
        let reply = client.ask(request, b"").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.is_empty()), (502, method == "HEAD"));
    }
    let mut wire = gateway.connect(A).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let reply = wire.ask(format!("GET /ws HTTP/1.1\r\nHost: {A}\r\n{cookie}{upgrade}\r\n")).await;
    assert_error(&reply, 502, "", gone);
    gateway.assert_well();
}

#[tokio::test]
async fn f12_an_application_that_says_nothing_is_504() {
    let mut bench = Bench::new().await;
    for fields in [PERSON, PROGRAM] {
        for method in ["GET", "POST"] {
            bench.upstream.on("/hang", Play::Take);
            let mut wire = bench.connect().await;
            wire.send(bench.request(method, "/hang", &format!("{fields}Content-Length: 0\r\n"))).await;
            let (_, held) = bench.upstream.taken().await;
            assert_error(&wire.reply().await, 504, fields, bench.upstream.address());
            held.assert_ended("the gateway has given up").await;
        }
    }
    assert_eq!(bench.upstream.received().len(), 4, "nothing is tried again");
    bench.assert_clean("hang").await;
    bench.gateway.assert_well();
}

#[tokio::test]
async fn m7_an_answer_that_is_none_is_502() {
    let mut bench = Bench::new().await;
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    let huge = head(&format!("X: {}\r\nContent-Length: 0", "y".repeat(2 * 1024 * 1024)));
    let many: String = (0..400).map(|at| format!("X-{at}: y\r\n")).collect();
    for answer in [
        "garbage\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".into(),
        "<html>no head</html>\r\n\r\n".into(),
        "HTTP/1.1\r\n\r\n".into(),
        "HTTP/1.1 OK\r\n\r\n".into(),
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n".into(),
        head("Content-Length: 2\r\nContent-Length: 3"),
        head("Content-Length: two"),
        head("Content-Length: -2"),
        head("Content-Length: +2"),
        head("Content-Length: 99999999999999999999999"),
        head("X\0: y\r\nContent-Length: 0"),
        head("X: y\0z\r\nContent-Length: 0"),
        head("no colon\r\nContent-Length: 0"),
        huge,
        head(&format!("{many}Content-Length: 0")),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nstolen".into(),
        "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 2\r\n\r\nok".into(),
        String::new(),
        "HTTP/1.1 200 OK\r\nContent-Le".into(),
    ] {
        for fields in [PERSON, PROGRAM] {
            bench.upstream.on("/x", Play::SayAndClose(answer.clone().into_bytes()));
            let mut wire = bench.connect().await;
            wire.send(bench.request("POST", "/x", &format!("{fields}Content-Length: 2\r\n")) + "hi").await;
            let reply = wire.reply().await;
            let shown = &answer[..answer.len().min(80)];
            assert_eq!(reply.status, 502, "{shown:?}");
            assert_error(&reply, 502, fields, bench.upstream.address());
            wire.assert_ended("nothing is behind an error").await;
            assert_eq!(bench.upstream.received().len(), 1, "{shown:?}: what was posted is not posted again");
        }
        bench.assert_clean(&answer[..answer.len().min(80)]).await;
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn m7_bytes_behind_an_answer_are_nobodys() {
    let mut bench = Bench::new().await;
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    for (method, answer, want) in [
        ("GET", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{second}"), "ok"),
        (
            "GET",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{second}"),
            "ok",
        ),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{second}"), ""),
        ("GET", format!("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nstolen{second}"), ""),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nstolen{second}"), ""),
        ("HEAD", format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen{second}"), ""),
        (
            "HEAD",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nstolen\r\n0\r\n\r\n{second}"),
            "",
        ),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\0\0\0garbage".to_owned(), "ok"),
    ] {
        bench.upstream.say("/x", &answer);
        let mut wire = bench.connect().await;
        wire.send(bench.request(method, "/x", "")).await;
        let reply = wire.try_reply(method == "HEAD").await.unwrap();
        assert_eq!(reply.body, want, "{method} {answer:?}");
        // The same client's next request is answered for itself too, where the connection goes on.
        let _ = wire.try_send(bench.request("GET", "/next", "")).await;
        if let Some(reply) = wire.try_reply(false).await {
            assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{method} {answer:?}");
        }
        bench.assert_clean(&answer).await;
    }
    bench.gateway.assert_well();
}

/// An application that answers HEAD with a body may send it when the connection is another client's already.
#[tokio::test]
async fn m7_a_connection_that_answered_head_answers_nobody_else() {
    let mut bench = Bench::new().await;
    for _ in 0..20 {
        let mut wire = bench.connect().await;
        wire.send(bench.request("HEAD", "/x", "")).await;
        assert_eq!(wire.try_reply(true).await.unwrap().status, 200);
        let reply = bench.connect().await.ask(bench.request("GET", "/next", "")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
        let received = bench.upstream.received();
        let lines: Vec<_> = received.iter().map(|received| received.line.as_str()).collect();
        assert_eq!(lines, ["HEAD /x HTTP/1.1", "GET /next HTTP/1.1"]);
        assert_ne!(received[0].connection, received[1].connection, "{received:#?}");
    }
    bench.gateway.assert_well();
}

/// The same after the other answers without a body, when their head says that there is one. The bytes come when the
/// client has the head already, and in pieces.
#[tokio::test]
async fn m7_a_body_that_was_announced_where_there_is_none_comes_late_and_to_nobody() {
    let mut bench = Bench::new().await;
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    let mut over_http2 = H2::new(bench.gateway.connect_h2(A).await).await;
    for (method, status, head, body) in [
        ("GET", 204, "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", "stolen"),
        (
            "DELETE",
            204,
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "6\r\nstolen\r\n0\r\n\r\n",
        ),
        ("POST", 204, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\n"),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", "stolen"),
        (
            "GET",
            304,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
            "6\r\nstolen\r\n0\r\n\r\n",
        ),
        ("HEAD", 304, "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", "stolen"),
        ("HEAD", 200, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "stolen"),
        ("HEAD", 200, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "6\r\nstolen\r\n0\r\n\r\n"),
        ("HEAD", 200, "HTTP/1.1 200 OK\r\n\r\n", "stolen"),
    ] {
        // Over HTTP/2 it is one whole answer of many on the connection.
        bench.upstream.say("/x", head);
        let request = http::Request::builder().method(method).uri(format!("https://{A}/x"));
        let request =
            request.header("cookie", bench.cookie.trim().trim_start_matches("Cookie: ")).body(()).unwrap();
        let reply = over_http2.ask(request, b"").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.len()), (status, 0), "{method} {head:?}");
        assert!(status != 204 || !reply.headers.contains_key("content-length"), "{head:?}: {reply:?}");
        // At once; in two pieces; never.
        for pieces in [&[body, second][..], &[&body[..1], &body[1..], second], &[]] {
            bench.upstream.on("/x", Play::Take);
            let mut wire = bench.connect().await;
            wire.send(bench.request(method, "/x", "Content-Length: 0\r\n")).await;
            let (_, mut held) = bench.upstream.taken().await;
            held.send(head).await;
            assert_eq!(wire.try_reply(true).await.unwrap().status, status, "{method} {head:?}");
            for piece in pieces {
                let _ = held.try_send(piece).await;
                // Each meets whatever the gateway has made of the connection by now, and another client's request.
                let reply = bench.connect().await.ask(bench.request("GET", "/next", "")).await;
                assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{method} {head:?} {piece:?}");
            }
            held.assert_ended(&format!("{method} {head:?} {pieces:?}: this connection is nobody else's")).await;
            // The client's own next request, where its connection goes on.
            let _ = wire.try_send(bench.request("GET", "/next", "")).await;
            if let Some(reply) = wire.try_reply(false).await {
                assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{method} {head:?}");
            }
            bench.assert_clean(head).await;
        }
    }
    bench.gateway.assert_well();
}

/// An answer that announces no body leaves its connection to the next request, as any whole answer does. What comes on it
/// before that request ends it; what comes behind it is no answer, because it is none. (Bytes that are an answer would
/// be taken for one: that an application answers a request that it has not read, no proxy can see.)
#[tokio::test]
async fn m7_a_body_that_nobody_announced_begins_no_answer() {
    let mut bench = Bench::new().await;
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut took_over = 0;
        for early in [true, false, false, false, false] {
            bench.upstream.on("/x", Play::Take);
            let mut wire = bench.connect().await;
            wire.send(bench.request("GET", "/x", "")).await;
            let (_, mut held) = bench.upstream.taken().await;
            held.send(head).await;
            assert!(matches!(wire.try_reply(true).await.unwrap().status, 204 | 304), "{head:?}");
            if early {
                held.send("stolen").await;
                held.assert_ended("what nobody asked for ends the connection").await;
                continue;
            }
            // On the same connection, which is on the same thread as the application's.
            wire.send(bench.request("GET", "/next", "")).await;
            let mut answer = std::pin::pin!(wire.reply());
            let reply = tokio::select! {
                reply = &mut answer => reply,
                request = held.until(b"\r\n\r\n") => {
                    if request.is_ok() {
                        took_over += 1;
                        let _ = held.try_send("stolen").await;
                        let _ = held.try_send(OK).await;
                    }
                    answer.await
                }
            };
            assert!(!reply.body.contains("stolen"), "{head:?}: {reply:?}");
            assert!(
                reply.status == 502 || (reply.status, reply.body.as_str()) == (200, "ok"),
                "{head:?}: {reply:?}"
            );
        }
        assert!(took_over > 0, "{head:?}: whole answers leave their connection to others");
        bench.assert_clean(head).await;
    }
    bench.gateway.assert_well();
}

/// What an application says wrong on its HTTP/1.1 is one stream's affair on the client's HTTP/2.
#[tokio::test]
async fn m7_a_wrong_answer_ends_its_own_stream_and_no_other() {
    let mut bench = Bench::new().await;
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    let mut client = H2::new(bench.gateway.connect_h2(A).await).await;
    for (method, answer) in [
        ("GET", "garbage\r\n\r\n".to_owned()),
        ("GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nstolen".into()),
        ("GET", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{second}")),
        ("GET", format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{second}")),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n2\r\nok\r\n0\r\n\r\n".into()),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nok\r\n0\r\n\r\n".into()),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n".into()),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok".into()),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n".into()),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok".into()),
        ("GET", format!("HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nstolen{second}")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nstolen{second}")),
        ("HEAD", format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen{second}")),
        ("GET", format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(2 * 1024 * 1024))),
        ("GET", "HTTP/1.1 200 OK\r\nConnection: x\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nX: y\r\nContent-Length: 2\r\n\r\nok".into()),
        ("GET", "HTTP/1.1 200 OK\r\n:status: 500\r\nContent-Length: 2\r\n\r\nok".into()),
        ("GET", "HTTP/1.1 200 OK\r\nX-Upper: y\r\nContent-Length: 2\r\n\r\nok".into()),
    ] {
        let shown = &answer[..answer.len().min(80)];
        bench.upstream.on("/x", Play::SayAndClose(answer.clone().into_bytes()));
        let request = |method: &str, path: &str| {
            let request = http::Request::builder().method(method).uri(format!("https://{A}{path}"));
            request.header("cookie", bench.cookie.trim().trim_start_matches("Cookie: ")).body(()).unwrap()
        };
        match client.ask(request(method, "/x"), b"").await {
            Ok(reply) => {
                let body = String::from_utf8_lossy(&reply.body);
                assert!(!body.contains("stolen"), "{shown:?}: {reply:?}");
                assert!(matches!(reply.status.as_u16(), 200 | 204 | 304 | 502), "{shown:?}: {reply:?}");
                for hop in ["connection", "keep-alive", "upgrade", "transfer-encoding"] {
                    assert!(!reply.headers.contains_key(hop), "{shown:?}: {reply:?}");
                }
            }
            // A body that breaks off is seen to: its own stream is reset, and not the connection.
            Err(error) => assert!(error.is_reset(), "{shown:?}: {error}"),
        }
        let next = client.ask(request("GET", "/next"), b"").await.unwrap();
        assert_eq!((next.status.as_u16(), next.body.as_slice()), (200, &b"ok"[..]), "after {shown:?}");
        bench.assert_clean(shown).await;
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn m7_two_lengths_are_one_body_or_none() {
    let mut bench = Bench::new().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
    ] {
        bench.upstream.on("/x", Play::SayAndClose(answer.into()));
        let mut wire = bench.connect().await;
        let reply = wire.ask(bench.request("GET", "/x", "")).await;
        if reply.status == 200 {
            // The reader of answers fails on two lengths.
            assert!(reply.body == "ok" && reply.whole, "{answer:?}: {reply:?}");
        } else {
            assert_error(&reply, 502, "", bench.upstream.address());
        }
        bench.assert_clean(answer).await;
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn f12_a_body_that_breaks_off_is_seen_to_break_off() {
    let mut bench = Bench::new().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n50\r\nmore",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart!!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nffffffffffffffffff\r\n",
    ] {
        for play in [Play::SayAndClose(answer.into()), Play::SayAndReset(answer.into())] {
            bench.upstream.on("/x", play);
            let mut wire = bench.connect().await;
            wire.send(bench.request("GET", "/x", "")).await;
            // Nothing at all is seen as well: the break may come while the head still waits to be written.
            if let Some(reply) = wire.try_reply(false).await {
                let told = reply.status == 502 || !reply.whole;
                assert!(told, "{answer:?}: {reply:?}");
                assert!(!reply.body.contains("HTTP/1.1"), "{answer:?}: {reply:?}");
            }
            wire.assert_ended("an answer is not behind an answer").await;
            bench.assert_clean(answer).await;
        }
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn f12_what_is_not_idempotent_is_sent_once() {
    let mut bench = Bench::new().await;
    for method in ["POST", "PATCH", "LOCK"] {
        // A connection is kept a moment after its answer was seen, so it may take more than one try to get one.
        let mut kept = false;
        for _ in 0..50 {
            let connections = bench.upstream.connections();
            bench.upstream.on("/x", Play::SayAndClose(Vec::new()));
            let mut wire = bench.connect().await;
            let reply = wire.ask(bench.request(method, "/x", "Content-Length: 2\r\n") + "hi").await;
            assert_error(&reply, 502, "", bench.upstream.address());
            let received = bench.upstream.received();
            assert_eq!(received.len(), 1, "{method}: {received:#?}");
            kept = received[0].connection < connections;
            if kept {
                break;
            }
            bench.assert_clean("nothing").await;
        }
        assert!(kept, "{method} was never sent on a kept connection");
    }
    // What may be sent again is, also behind half a head, and not for ever.
    for half in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        bench.upstream.on("/x", Play::SayAndClose(half.into()));
        let mut wire = bench.connect().await;
        assert_error(&wire.ask(bench.request("GET", "/x", "")).await, 502, "", bench.upstream.address());
        let count = bench.upstream.received().len();
        assert!((1..=3).contains(&count), "{count}");
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn m7_interim_answers_are_passed_on_and_not_for_ever() {
    let mut bench = Bench::new().await;
    bench.upstream.say("/x", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK].concat());
    let mut wire = bench.connect().await;
    wire.send(bench.request("GET", "/x", "")).await;
    let first = wire.head().await.unwrap();
    let last = if first.status == 103 { wire.reply().await } else { first };
    assert_eq!((last.status, last.body.as_str()), (200, "ok"));
    // To HTTP/1.0 there are none (RFC 9110 section 15.2).
    let mut wire = bench.connect().await;
    let reply = wire.ask(bench.request("GET", "/x", "").replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));

    bench.upstream.on("/endless", Play::Take);
    let mut wire = bench.connect().await;
    wire.send(bench.request("GET", "/endless", "")).await;
    let (_, mut application) = bench.upstream.taken().await;
    let talking = tokio::spawn(async move {
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
        let mut sent = 0;
        while sent < 1_000_000 && application.try_send(&interim).await.is_ok() {
            sent += 100;
        }
        sent
    });
    let mut interim = 0;
    let status = loop {
        match wire.head().await {
            Some(reply) if reply.status == 103 => interim += 1,
            Some(reply) => break reply.status,
            None => break 0,
        }
    };
    assert_eq!(status, 502);
    assert!(interim <= 100, "{interim} interim answers were passed on");
    assert!(talking.await.unwrap() < 1_000_000, "the gateway listens for ever");
    bench.assert_clean("endless interim answers").await;
    bench.gateway.assert_well();
}

/// A gateway that is its own application: the request goes round once, and not until there are no connections left.
#[tokio::test]
async fn sec_r79_a_request_that_comes_back_is_not_passed_on_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wishes = Wishes { zone_a: "    access: [{ below: /open, allow: public }]\n", ..Wishes::default() };
    let gateway = Arc::new(Gateway::start_with(listener.local_addr().unwrap(), wishes).await);
    let rounds = Arc::new(AtomicUsize::new(0));
    let (back, counted) = (Arc::clone(&gateway), Arc::clone(&rounds));
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let back = Arc::clone(&back);
            tokio::spawn(async move {
                let mut to = back.try_tls(Some(A), &[b"http/1.1"]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    for path in ["/open/1", "/open/2"] {
        let mut wire = gateway.connect(A).await;
        let reply = wire.ask(format!("GET {path} HTTP/1.1\r\nHost: {A}\r\nCDN-Loop: another\r\n\r\n")).await;
        assert_eq!(reply.status, 508, "{reply:?}");
    }
    assert!(rounds.load(Ordering::Relaxed) <= 2, "{rounds:?} connections");
    // Somebody's request comes back as nobody's.
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n")).await.status, 401);
}
