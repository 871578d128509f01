//! G2 over real sockets: one request in is exactly one request out, or none. What could be read in two ways is
//! refused, and where the framing is in doubt the connection ends (M1–M3, M8–M11).

use crate::harness::{A, Bench, OK, Want};

use Want::{Body, Dropped, Ended, Forwarded, Refused};

#[tokio::test]
async fn m1_m2_a_head_that_two_parsers_read_differently_is_refused() {
    let mut bench = Bench::new().await;
    for (request, want) in [
        // The request line.
        ("GET /x\r\n\r\n", Dropped),
        ("GET /x HTTP/0.9\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("GET /x HTTP/1.2\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("GET /x HTTP/2.0\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1x\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("GET /x http/1.1\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("GET\t/x\tHTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("G@ET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        (" GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("GET /x\0 HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Ended(400)),
        ("GET /x\r/y HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Dropped),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Dropped),
        // The fields.
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: b\r\n folded\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n @\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\n Host: a.test\r\n@\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A : b\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A\t: b\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: b\0c\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX\0A: b\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: b\rc\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: b\x0bc\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: b\x7f\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nno colon\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n: empty name\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX(A): b\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-\u{e9}: b\r\n\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: b\r\r\n\r\n", Dropped),
        // What everybody reads alike.
        ("\r\nGET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Forwarded("GET /x")),
        ("GET /x HTTP/1.1\r\nhOsT:a.test\r\n@\r\nX-A:\tb\t \r\nX-Empty:\r\n\r\n", Forwarded("GET /x")),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-A: \u{e9}\u{ff}\r\n\r\n", Forwarded("GET /x")),
    ] {
        bench.check(request, want).await;
    }
    bench.finish();
}

#[tokio::test]
async fn m3_a_body_whose_length_is_in_doubt_ends_the_connection() {
    let mut bench = Bench::new().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n";
    for coding in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunk",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\n folded",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chun\rked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5 5",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length: ",
        "Content-Length: 99999999999999999999",
        "Content-Length: 18446744073709551616",
        "Content-Length : 5",
        "Content-Length: \u{b2}",
        "Content-Length: 05",
        "Content-Length: 005",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
    ] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\n{coding}\r\n\r\n0\r\n\r\n{smuggled}");
        bench.check(&request, Ended(400)).await;
    }
    // A name that somebody takes for it is in doubt; one that says something more is no coding, and the length counts.
    for (odd, want) in [
        ("Transfer_Encoding: chunked", Ended(400)),
        ("Transfer.Encoding: chunked", Ended(400)),
        ("Transfer-Encoding-: chunked", Ended(400)),
        ("Transfer-Encoding\u{20}: x", Ended(400)),
        ("X-Transfer-Encoding: chunked", Forwarded("POST /x")),
        ("TransferEncoding: chunked", Forwarded("POST /x")),
    ] {
        let request =
            format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\n{odd}\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
        bench.check(&request, want).await;
    }
    for version in ["1.0", "0.9"] {
        let request = format!(
            "POST /x HTTP/{version}\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        );
        bench.check(&request, Dropped).await;
    }
    // The one coding that everybody knows.
    for coding in ["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED"] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\n{coding}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        bench.check(&request, Forwarded("POST /x")).await;
    }
    bench.finish();
}

#[tokio::test]
async fn m3_chunks_that_are_none_end_the_connection_and_the_request_upstream_stays_unfinished() {
    let mut bench = Bench::new().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n";
    for (chunks, ends_in_the_middle) in [
        ("x\r\nhi\r\n0\r\n\r\n", false),
        ("-2\r\nhi\r\n0\r\n\r\n", false),
        ("+2\r\nhi\r\n0\r\n\r\n", false),
        ("0x2\r\nhi\r\n0\r\n\r\n", false),
        ("2 2\r\nhi\r\n0\r\n\r\n", false),
        ("2\r\nhiX\r\n0\r\n\r\n", false),
        ("2\r\nhi0\r\n\r\n", false),
        ("2\nhi\n0\n\n", false),
        ("2\rhi\r0\r\r", false),
        ("ffffffffffffffff1\r\nhi\r\n0\r\n\r\n", false),
        ("fffffffffffffffe\r\nhi\r\n0\r\n\r\n", true),
        ("2\r\nhi\r\n", false),
        ("9999\r\nhi\r\n", true),
    ] {
        for at in 0..bench.targets.len() {
            let mut wire = bench.gateway.connect(bench.targets[at].zone).await;
            let head = "POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = wire.try_send(bench.targets[at].fill(&format!("{head}{chunks}{smuggled}"))).await;
            if ends_in_the_middle {
                wire.finish().await;
            }
            let status = wire.try_reply(false).await.map_or(0, |reply| reply.status);
            let rest = wire.rest().await;
            let received = bench.received(at);
            let refused = (400..500).contains(&status) || (status == 0 && ends_in_the_middle);
            if !refused || !received.is_empty() || !rest.is_empty() {
                let name = bench.targets[at].name;
                bench.wrong.push(format!("{name}: {chunks:?}: {status} {rest:?}, it received {received:#?}"));
            }
            if let Err(why) = bench.bystander(at).await {
                bench.wrong.push(format!("{chunks:?}: then somebody else {why}"));
            }
        }
    }
    // What pingora's parser takes: extensions, and an empty size for the last chunk. One request, and nothing behind it.
    for (chunks, body) in [("2;a=\"\0\"\r\nhi\r\n0;b\r\nX: y\r\n\r\n", "hi"), ("\r\n2\r\nhi\r\n0\r\n\r\n", "")] {
        let mut wire = bench.gateway.connect(A).await;
        let head = "POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n";
        wire.send(bench.with_session(&format!("{head}{chunks}{smuggled}"))).await;
        assert_eq!(wire.reply().await.status, 200, "{chunks:?}");
        wire.assert_ended("bytes behind the body are no request").await;
        let received = bench.upstream.only();
        assert_eq!((received.line.as_str(), received.body.as_slice()), ("POST /x HTTP/1.1", body.as_bytes()));
        assert_eq!(received.all("x").len(), 0, "a trailer is not a field");
    }
    bench.finish();
}

#[tokio::test]
async fn m8_a_host_is_one_zone_or_none() {
    let mut bench = Bench::new().await;
    for (fields, want) in [
        ("@", Refused(400)),
        ("Host:\r\n@", Refused(400)),
        ("Host: a.test\r\nHost: a.test\r\n@", Dropped),
        ("Host: a.test\r\nHost: b.test\r\n@", Dropped),
        ("Host: a.test, b.test\r\n@", Refused(400)),
        ("Host: a.test b.test\r\n@", Refused(400)),
        ("Host: user@a.test\r\n@", Refused(400)),
        ("Host: a.test/\r\n@", Refused(400)),
        ("Host: a.test?x\r\n@", Refused(400)),
        ("Host: a.test#x\r\n@", Refused(400)),
        ("Host: a.test\\x\r\n@", Refused(400)),
        ("Host: http://a.test\r\n@", Refused(400)),
        ("Host: a.test:x\r\n@", Refused(400)),
        ("Host: a.test:443x\r\n@", Refused(400)),
        ("Host: a.test:443:443\r\n@", Refused(421)),
        ("Host: a.test:-1\r\n@", Refused(400)),
        ("Host: %61.test\r\n@", Refused(400)),
        ("Host: [::1]\r\n@", Refused(421)),
        ("Host: [::1]:443\r\n@", Refused(421)),
        ("Host: 127.0.0.1\r\n@", Refused(421)),
        ("Host: nobody.test\r\n@", Refused(421)),
        ("Host: x.a.test\r\n@", Refused(421)),
        ("Host: a.test.evil.example\r\n@", Refused(421)),
        ("Host: a.test..\r\n@", Refused(421)),
        ("Host: .a.test\r\n@", Refused(421)),
        ("Host: *\r\n@", Refused(400)),
        ("Host: \u{e9}.test\r\n@", Refused(400)),
        ("Host: xn--a.test\r\n@", Refused(421)),
        ("Host: a.test\r\n@", Forwarded("GET /x")),
        ("Host: A.TEST\r\n@", Forwarded("GET /x")),
        ("Host: a.test.\r\n@", Forwarded("GET /x")),
        ("Host: a.test:443\r\n@", Forwarded("GET /x")),
        ("Host: A.Test.:8443\r\n@", Forwarded("GET /x")),
    ] {
        let fields = fields.replace("user@", "user\u{1}").replace('\u{1}', "%40");
        bench.check(&format!("GET /x HTTP/1.1\r\n{fields}\r\n\r\n"), want).await;
    }
    // An address in the request line beside the field: both say the same zone, or nobody answers.
    for (target, host, want) in [
        ("https://a.test/x", "a.test", Refused(400)),
        ("https://b.test/x", "a.test", Dropped),
        ("http://a.test/x", "b.test", Dropped),
        ("//a.test/x", "a.test", Refused(400)),
        ("a.test:443", "a.test", Refused(400)),
        ("*", "a.test", Refused(400)),
    ] {
        bench.check(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n@\r\n\r\n"), want).await;
    }
    bench.finish();
}

#[tokio::test]
async fn m9_a_path_means_one_place_and_ours_are_never_forwarded() {
    let mut bench = Bench::new().await;
    for path in [
        "//x",
        "/x//y",
        "/./x",
        "/x/.",
        "/x/..",
        "/x/../y",
        "/%2e/x",
        "/x/%2E%2e/y",
        "/x%2fy",
        "/x%5cy",
        "/x\\y",
        "/..;/x",
        "/x/..;a=b/y",
        "/%c0%ae%c0%ae/x",
        "/%ff",
        "/%",
        "/%4",
        "/%zz",
        "/%252e",
        "/%u002e/x",
        "/x/;/../y",
        "/x/../.zonegate/session",
        "/%2e%2e/.zonegate/session",
        "//.zonegate/session",
        "/.zonegate//session",
        "/.zonegate%2fsession",
        "/.zonegate\\session",
        "/x/..;/.zonegate/session",
        "/./.zonegate/session",
        "/.zonegate/../x",
        "/.zonegate/%2e%2e/x",
    ] {
        bench.check(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n"), Refused(400)).await;
    }
    for path in [
        "/.zonegate",
        "/.zonegate/",
        "/.zonegate/none",
        "/.ZONEGATE/none",
        "/%2ezonegate/none",
        "/.%7Aonegate/none",
        "/.zonegate;x=y/none",
        "/.zonegate;/none",
        "/.zonegate./none",
        "/.zonegate%20/none",
        "/.well-known/zonegate/none",
        "/.Well-Known/ZoneGate/none",
        "/.well%2dknown/zonegate/none",
    ] {
        for method in ["GET", "POST", "PUT", "OPTIONS"] {
            let want = if path.contains("%2e") { Refused(400) } else { Refused(404) };
            let request =
                format!("{method} {path}?x=/y HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: 0\r\n\r\n");
            bench.check(&request, want).await;
        }
    }
    // pingora escapes control bytes itself, and where others let a target end there, the framing is in doubt.
    for path in ["/x%00", "/x%0d%0aSet-Cookie:%20a=b", "/x%09HTTP/1.1", "/x\tHTTP/1.1", "/\u{1}", "/x\u{7f}"] {
        bench.check(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n"), Ended(400)).await;
    }
    // A fragment is never sent, and somebody would cut it off where somebody else reads on.
    bench.check("GET /x#y HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Ended(400)).await;
    bench.check("GET /.zonegate/none#/../x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Ended(400)).await;
    for path in [
        "/x?a=/../b&c=%2e%2f//&return_to=/.zonegate/",
        "/x;v=1/y",
        "/caf%C3%A9",
        "/a%20b",
        "/.hidden",
        "/.zonegated/x",
    ] {
        let line: &'static str = format!("GET {path}").leak();
        bench.check(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n"), Forwarded(line)).await;
    }
    bench.finish();
}

#[tokio::test]
async fn m10_sec_r76_only_methods_that_somebody_thought_about_are_forwarded() {
    let mut bench = Bench::new().await;
    for (request, want) in [
        ("TRACE /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(405)),
        ("TRACE /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: 2\r\n\r\nhi", Ended(405)),
        ("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n@\r\n\r\n", Ended(405)),
        ("CONNECT /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Ended(405)),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(400)),
        ("OPTIONS /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Forwarded("OPTIONS /x")),
        ("PATCH /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: 2\r\n\r\nhi", Body("PATCH /x", "hi")),
        ("DELETE /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Forwarded("DELETE /x")),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: 2\r\n\r\nhi", Body("GET /x", "hi")),
        // WebDAV is for zones that ask for it, and these do not.
        ("PROPFIND /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("BREW /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("M-SEARCH /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("PRI /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("get /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("Get /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("GET! /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("GET_ /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)),
        ("TRACK /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(405)),
        ("trace /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(405)),
        ("Connect /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(405)),
        ("HEAD /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Forwarded("HEAD /x")),
    ] {
        bench.check(request, want).await;
    }
    // The first zone asks for it.
    bench.check_one(0, "LOCK /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Forwarded("LOCK /x")).await;
    for at in 1..bench.targets.len() {
        bench.check_one(at, "LOCK /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(501)).await;
    }
    bench.finish();
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let bench = Bench::alone().await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    bench.upstream.say("/chunked", chunked);
    for path in ["/x", "/chunked"] {
        let mut wire = bench.gateway.connect(A).await;
        let reply =
            wire.ask(bench.with_session(&format!("GET {path} HTTP/1.0\r\nHost: a.test\r\n@\r\n\r\n"))).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{reply:?}");
        assert_eq!(reply.field("transfer-encoding"), None, "{reply:?}");
        assert_eq!(bench.upstream.only().line, format!("GET {path} HTTP/1.1"));
        wire.assert_ended("nobody asked to keep it").await;
    }
    let mut wire = bench.gateway.connect(A).await;
    let reply = wire.ask(bench.with_session("GET /x HTTP/1.0\r\n@\r\n\r\n")).await;
    assert_eq!(reply.status, 400, "no host, no zone");
    bench.upstream.assert_silent("no host");
    bench.finish();
}

#[tokio::test]
async fn m11_no_tunnel_without_101() {
    let bench = Bench::alone().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    // Everything but a WebSocket is an ordinary request, without the wish.
    for upgrade in ["h2c", "TLS/1.0", "h2c, websocket", "foo", "websocket2", "websocket, h2c", "HTTP/2.0", ""] {
        let mut wire = bench.gateway.connect(A).await;
        let request = format!(
            "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        let reply = wire.ask(bench.with_session(&request)).await;
        assert!(matches!(reply.status, 200 | 400), "{upgrade}: {reply:?}");
        for received in bench.upstream.received() {
            let hop = ["upgrade", "http2-settings", "connection"].map(|name| received.all(name).len());
            assert_eq!(hop, [0, 0, 0], "{upgrade}: {received:#?}");
        }
        // What follows is a request of its own, and asks for its own session.
        let _ = wire.try_send(smuggled).await;
        if let Some(reply) = wire.try_reply(false).await {
            assert_eq!(reply.status, 401, "{upgrade}: {reply:?}");
        }
        bench.upstream.assert_silent(upgrade);
    }
    // A WebSocket that the application refuses, with bytes before and after the refusal.
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for (answer, more) in [
        (String::from_utf8(OK.to_vec()).unwrap(), ""),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".into(), ""),
        ("HTTP/1.1 426 No\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n".into(), ""),
        (String::from_utf8(OK.to_vec()).unwrap(), "Content-Length: 4\r\n"),
        (String::from_utf8(OK.to_vec()).unwrap(), "Transfer-Encoding: chunked\r\n"),
    ] {
        bench.upstream.say("/ws", &answer);
        let request = format!("GET /ws HTTP/1.1\r\nHost: a.test\r\n@\r\n{upgrade}{more}\r\n");
        for at_once in [true, false] {
            let mut wire = bench.gateway.connect(A).await;
            let first = if at_once { format!("{request}{smuggled}") } else { request.clone() };
            let _ = wire.try_send(bench.with_session(&first)).await;
            if more.is_empty() || at_once {
                let reply = wire.reply().await;
                assert_ne!(reply.status, 101, "{reply:?}");
            }
            let _ = wire.try_send(smuggled).await;
            wire.finish().await;
            while let Some(reply) = wire.try_reply(false).await {
                assert!((400..500).contains(&reply.status) || reply.status == 502, "{more} {reply:?}");
            }
            let all = bench.upstream.received();
            assert!(all.iter().all(|received| received.line == "GET /ws HTTP/1.1"), "{all:#?}");
            assert!(all.len() < 2, "{all:#?}");
        }
    }
    bench.finish();
}

#[tokio::test]
async fn m11_a_handshake_has_no_body_and_is_a_get() {
    let mut bench = Bench::new().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    bench.upstream.say("/ws", switch);
    for (method, more) in [
        ("GET", "Content-Length: 4\r\n\r\nGET "),
        ("GET", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("POST", "Content-Length: 0\r\n\r\n"),
        ("POST", "Content-Length: 2\r\n\r\nhi"),
        ("OPTIONS", "\r\n"),
    ] {
        let request = format!("{method} /ws HTTP/1.1\r\nHost: a.test\r\n@\r\n{upgrade}{more}");
        bench.check(&request, Ended(400)).await;
    }
    bench.finish();
}

#[tokio::test]
async fn pipelined_requests_are_never_answered_for_each_other() {
    let bench = Bench::alone().await;
    bench.upstream.say("/one", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    bench.upstream.say("/two", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo");
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n");
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.with_session(&format!("{}{}", request("/one"), request("/two")))).await;
    let mut bodies = vec![wire.reply().await.body];
    wire.finish().await;
    while let Some(reply) = wire.try_reply(false).await {
        bodies.push(reply.body);
    }
    assert!(bodies == ["one"] || bodies == ["one", "two"], "{bodies:?}");
    let mut lines: Vec<_> = bench.upstream.received().into_iter().map(|received| received.line).collect();
    lines.dedup();
    assert_eq!(lines.len(), bodies.len(), "{lines:?}");
    // A request for another zone behind one that is refused is still only what it is.
    let mut wire = bench.gateway.connect(A).await;
    let bad = "POST //x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: 40\r\n\r\n";
    wire.send(bench.with_session(&format!("{bad}{}", "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"))).await;
    assert_eq!(wire.reply().await.status, 400);
    wire.finish().await;
    while let Some(reply) = wire.try_reply(false).await {
        assert!(reply.status >= 400, "{reply:?}");
    }
    bench.upstream.assert_silent("a refused body holds no request");
    bench.finish();
}
