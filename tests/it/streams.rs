//! Bodies that flow both ways, event streams and WebSockets: nothing is held back, and all of it ends with its session
//! (H7, S7, SEC-R86).

use std::time::{Duration, Instant};

use http::Request;

use crate::harness::{A, Gateway, H2, Play, Received, Upstream, WALL, Wire, within};

const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
/// How soon after the end of a session its streams end.
const CUT_MAX: Duration = Duration::from_secs(2);

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    for path in ["/x", "/ws", "/events"] {
        upstream.on(path, Play::Take);
    }
    (upstream, gateway)
}

fn cookie(token: &str) -> String {
    format!("Cookie: __Host-zg_session={token}\r\n")
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")
}

#[tokio::test]
async fn the_application_sees_the_first_piece_before_the_client_sends_the_last() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let mut wire = gateway.connect(A).await;
    wire.send(format!(
        "POST /x HTTP/1.1\r\nHost: {A}\r\n{}Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        cookie(&token)
    ))
    .await;
    let (_, mut application) = upstream.taken().await;
    assert_eq!(application.chunk().await.unwrap(), b"first");
    // And answers while the body is still coming.
    application.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    assert_eq!(wire.head().await.unwrap().status, 200);
    assert_eq!(wire.chunk().await.unwrap(), b"one");
    wire.send("4\r\nlast\r\n0\r\n\r\n").await;
    assert_eq!(application.chunk().await.unwrap(), b"last");
    assert_eq!(application.chunk().await.unwrap(), b"");
    application.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(wire.chunk().await.unwrap(), b"two");
    assert_eq!(wire.chunk().await.unwrap(), b"");
    drop(application);

    // The same with HTTP/2 towards the client.
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = Request::post(format!("https://{A}/x")).header("cookie", format!("__Host-zg_session={token}"));
    let (answer, mut body) = client.begin(request.body(()).unwrap()).await;
    body.send_data("first".into(), false).unwrap();
    let (_, mut application) = upstream.taken().await;
    assert_eq!(application.chunk().await.unwrap(), b"first");
    application.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut answer = within(answer).await.unwrap().into_body();
    assert_eq!(within(answer.data()).await.unwrap().unwrap(), "one");
    body.send_data("last".into(), true).unwrap();
    assert_eq!(application.chunk().await.unwrap(), b"last");
    assert_eq!(application.chunk().await.unwrap(), b"");
    application.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(within(answer.data()).await.unwrap().unwrap(), "two");
    while let Some(more) = within(answer.data()).await {
        assert_eq!(more.unwrap(), "", "its end");
    }
}

#[tokio::test]
async fn an_event_is_passed_on_as_it_comes() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    for accept in ["Accept: text/event-stream\r\n", ""] {
        let mut wire = gateway.connect(A).await;
        wire.send(get("/events", &format!("{}{accept}", cookie(&token)))).await;
        let (_, mut application) = upstream.taken().await;
        application.send(EVENTS).await;
        assert_eq!(wire.head().await.unwrap().field("content-type"), Some("text/event-stream"));
        for at in 0..5 {
            let event = format!("data: {at}\n\n");
            application.send(&event).await;
            assert_eq!(wire.chunk().await.unwrap(), event.as_bytes());
        }
        drop(application);
        assert_eq!(wire.chunk().await.unwrap(), b"", "it ends when the application ends it");
    }
}

/// An open WebSocket: the client's side, the application's side, and what the application was told.
async fn websocket(upstream: &mut Upstream, gateway: &Gateway, fields: &str) -> (Wire, Wire, Received) {
    let mut wire = gateway.connect(A).await;
    wire.send(get("/ws", &format!("{UPGRADE}{fields}"))).await;
    let (received, mut application) = upstream.taken().await;
    application.send(SWITCH).await;
    assert_eq!(wire.head().await.unwrap().status, 101);
    (wire, application, received)
}

#[tokio::test]
async fn h7_a_websocket_carries_every_byte_and_the_identity_of_its_handshake() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let origin = format!("https://{}", gateway.authority(A));
    for more in [String::new(), format!("Origin: {origin}\r\n")] {
        let fields = format!("{}{more}X-Forwarded-User: forged\r\n", cookie(&token));
        let (mut wire, mut application, received) = websocket(&mut upstream, &gateway, &fields).await;
        assert_eq!(received.all("x-forwarded-user"), [WALL]);
        assert_eq!(received.all("x-zonegate-assertion").len(), 1);
        assert_eq!(received.all("upgrade"), ["websocket"]);
        assert_eq!(received.all("sec-websocket-key"), ["AAAAAAAAAAAAAAAAAAAAAA=="]);
        assert!(received.all("cookie").is_empty());
        let every: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let (out, back) = tokio::join!(wire.send(&every), application.exactly(every.len()));
        let () = out;
        assert_eq!(back.unwrap(), every);
        application.send(b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").await;
        assert_eq!(wire.exactly(23).await.unwrap(), b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
        drop(application);
        wire.assert_ended("the application has gone").await;
        // And the other way round.
        let (wire, application, _) = websocket(&mut upstream, &gateway, &fields).await;
        drop(wire);
        application.assert_ended("the client has gone").await;
    }
}

/// pingora takes the end of the empty body for the end of the WebSocket when the application is quicker than itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_switches_at_once_keeps_its_websocket() {
    let (upstream, gateway) = start().await;
    upstream.on("/quick", Play::Echo(SWITCH.into()));
    let token = gateway.log_in(A, WALL).await;
    for round in 0..150 {
        let mut wire = gateway.connect(A).await;
        wire.send(get("/quick", &format!("{UPGRADE}{}", cookie(&token)))).await;
        assert_eq!(wire.head().await.unwrap().status, 101);
        wire.send("still here").await;
        assert_eq!(wire.exactly(10).await, Ok(b"still here".to_vec()), "round {round}");
    }
}

#[tokio::test]
async fn sec_r86_a_websocket_of_another_site_or_of_nobody_is_refused() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let own = gateway.authority(A);
    let port = own.split(':').nth(1).unwrap();
    for origin in [
        "https://evil.example".to_owned(),
        format!("https://b.test:{port}"),
        format!("http://{own}"),
        format!("https://{own}.evil.example"),
        "https://a.test".into(),
        "https://a.test:1".into(),
        "null".into(),
        String::new(),
        format!("https://{own}\r\nOrigin: https://evil.example"),
        format!("https://evil.example\r\nOrigin: https://{own}"),
        format!("https://{own} https://evil.example"),
        format!("https://{own}/"),
    ] {
        let mut wire = gateway.connect(A).await;
        let fields = format!("{UPGRADE}{}Origin: {origin}\r\n", cookie(&token));
        assert_eq!(wire.ask(get("/ws", &fields)).await.status, 403, "{origin}");
    }
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(get("/ws", UPGRADE)).await.status, 401);
    // In whatever way the wish is written, it is one.
    for upgrade in [
        UPGRADE.replace("websocket", "WebSocket"),
        UPGRADE.replace("websocket", "websocket, foo"),
        UPGRADE.replace("Upgrade: websocket", "Upgrade: foo\r\nUpgrade: websocket"),
    ] {
        let mut wire = gateway.connect(A).await;
        let fields = format!("{upgrade}{}Origin: https://evil.example\r\n", cookie(&token));
        let _ = wire.try_send(get("/next", &fields)).await;
        let reply = wire.reply().await;
        let plain = upstream.received().iter().all(|received| received.all("upgrade").is_empty());
        assert!(reply.status == 403 || plain, "{upgrade}: {reply:?}");
    }
    upstream.assert_silent("none of them was opened");
}

#[tokio::test]
async fn s7_streams_end_within_two_seconds_of_their_session_also_when_silent() {
    let (mut upstream, gateway) = start().await;
    for end in ["log out", "session end", "session end --user", "user disable"] {
        let token = gateway.log_in(A, WALL).await;
        let other = gateway.log_in(A, WALL).await;
        let (silent, silent_application, _) = websocket(&mut upstream, &gateway, &cookie(&token)).await;
        let (mut busy, mut busy_application, _) = websocket(&mut upstream, &gateway, &cookie(&token)).await;
        busy.send("x").await;
        assert_eq!(busy_application.exactly(1).await, Ok(b"x".to_vec()), "{end}");
        let (others, others_application, _) = websocket(&mut upstream, &gateway, &cookie(&other)).await;
        let mut events = gateway.connect(A).await;
        events.send(get("/events", &format!("{}Accept: text/event-stream\r\n", cookie(&token)))).await;
        let (_, mut events_application) = upstream.taken().await;
        events_application.send(EVENTS).await;
        events.head().await.unwrap();
        // A head that the application is still thinking about: no answer yet, and none after the end.
        let mut waiting = gateway.connect(A).await;
        waiting.send(get("/events", &format!("{}Accept: text/event-stream\r\n", cookie(&token)))).await;
        let (_, waiting_application) = upstream.taken().await;

        let ended = match end {
            "log out" => {
                let mut wire = gateway.connect(A).await;
                let origin = gateway.authority(A);
                let fields = format!("{}Origin: https://{origin}\r\nContent-Length: 0\r\n", cookie(&token));
                let ended = Instant::now();
                let reply =
                    wire.ask(format!("POST /.zonegate/logout HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")).await;
                assert_eq!(reply.status, 200, "{reply:?}");
                ended
            }
            "session end" => {
                let mut wire = gateway.connect(A).await;
                let reply = wire.ask(get("/.zonegate/session", &cookie(&token))).await;
                let session: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
                gateway.command(&["session", "end", session["session"]["id"].as_str().unwrap()]).await;
                Instant::now()
            }
            "session end --user" => {
                gateway.command(&["session", "end", "--user", WALL]).await;
                Instant::now()
            }
            _ => {
                gateway.command(&["user", "disable", WALL]).await;
                Instant::now()
            }
        };
        for (what, wire) in [
            ("the silent socket", silent),
            ("its application", silent_application),
            ("the busy socket", busy),
            ("its application", busy_application),
            ("the application of the events", events_application),
            ("the application that was thinking", waiting_application),
        ] {
            wire.assert_ended(what).await;
            assert!(ended.elapsed() < CUT_MAX, "{end}: {what} ends after {:?}", ended.elapsed());
        }
        let lines: Vec<_> = upstream.received().into_iter().map(|received| received.line).collect();
        assert_eq!(lines.len(), 5, "{end}: nothing is asked again for a session that has ended: {lines:?}");
        events.rest().await;
        assert!(ended.elapsed() < CUT_MAX, "{end}: the events end after {:?}", ended.elapsed());
        let status = waiting.head().await.map_or(0, |reply| reply.status);
        assert!(matches!(status, 0 | 401 | 502 | 503), "{end}: {status}");
        let (mut others, mut others_application) = (others, others_application);
        if matches!(end, "log out" | "session end") {
            others.send("still here").await;
            let got = others_application.exactly(10).await;
            assert_eq!(got, Ok(b"still here".to_vec()), "another session's goes on");
        } else {
            others.assert_ended("all sessions have ended").await;
        }
        let mut wire = gateway.connect(A).await;
        assert_eq!(wire.ask(get("/next", &cookie(&token))).await.status, 401, "{end}");
    }
}

#[tokio::test]
async fn s7_an_answer_that_flows_on_ends_with_its_session() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let mut wire = gateway.connect(A).await;
    wire.send(get("/x", &cookie(&token))).await;
    let (_, mut application) = upstream.taken().await;
    application.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    wire.head().await.unwrap();
    assert_eq!(wire.chunk().await.unwrap(), b"one");
    gateway.command(&["session", "end", "--user", WALL]).await;
    let ended = Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    while application.try_send("4\r\nmore\r\n").await.is_ok() {
        interval.tick().await;
        assert!(ended.elapsed() < CUT_MAX, "it flows on");
    }
    let rest = wire.rest().await;
    assert!(!rest.contains("\r\n0\r\n"), "it is seen to break off: {rest:?}");
}

#[tokio::test]
async fn s7_an_upload_ends_with_its_session() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    upstream.on("/upload", Play::Take);
    let mut wire = gateway.connect(A).await;
    let fields = format!("{}Transfer-Encoding: chunked\r\n", cookie(&token));
    wire.send(format!("PUT /upload HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n3\r\none\r\n")).await;
    let (_, mut application) = upstream.taken().await;
    assert_eq!(application.chunk().await.unwrap(), b"one");
    gateway.command(&["session", "end", "--user", WALL]).await;
    let ended = Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    while wire.try_send("4\r\nmore\r\n").await.is_ok() {
        interval.tick().await;
        assert!(ended.elapsed() < CUT_MAX, "it flows on");
    }
    let arrived = application.rest().await;
    assert!(!arrived.contains("0\r\n\r\n"), "the application sees that it is not whole: {arrived:?}");
    // Nor is it tried again.
    assert_eq!(upstream.only().line, "PUT /upload HTTP/1.1");
}

#[tokio::test]
async fn s7_events_on_http_2_come_one_by_one_and_end_with_their_session() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let other = gateway.log_in(A, WALL).await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = |token: &str| {
        let request = Request::get(format!("https://{A}/events")).header("accept", "text/event-stream");
        request.header("cookie", format!("__Host-zg_session={token}")).body(()).unwrap()
    };
    let mut streams = Vec::new();
    for token in [&token, &other] {
        let (answer, mut body) = client.begin(request(token)).await;
        body.send_data(Default::default(), true).unwrap();
        let (_, mut application) = upstream.taken().await;
        assert_eq!(application.chunk().await, Ok(Vec::new()), "the request's body is empty");
        application.send(EVENTS).await;
        let mut answer = within(answer).await.unwrap().into_body();
        application.send("data: 1\n\n").await;
        assert_eq!(within(answer.data()).await.unwrap().unwrap(), "data: 1\n\n");
        streams.push((application, answer));
    }
    let id = {
        let mut wire = gateway.connect(A).await;
        let reply = wire.ask(get("/.zonegate/session", &cookie(&token))).await;
        let session: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        session["session"]["id"].as_str().unwrap().to_owned()
    };
    gateway.command(&["session", "end", &id]).await;
    let ended = Instant::now();
    let (mut others_application, mut others) = streams.pop().unwrap();
    let (application, mut answer) = streams.pop().unwrap();
    application.assert_ended("its session has ended").await;
    while let Some(Ok(more)) = within(answer.data()).await {
        assert_eq!(more, "", "nothing comes after the end");
    }
    assert!(ended.elapsed() < CUT_MAX, "{:?}", ended.elapsed());
    // On the same connection, of another session.
    others_application.send("data: 2\n\n").await;
    assert_eq!(within(others.data()).await.unwrap().unwrap(), "data: 2\n\n");
}

#[tokio::test]
async fn a_session_that_runs_out_takes_its_silent_stream_along() {
    let (mut upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let (wire, application, _) = websocket(&mut upstream, &gateway, &cookie(&token)).await;
    gateway.advance(25 * 3600).await;
    let ended = Instant::now();
    wire.assert_ended("the absolute limit").await;
    application.assert_ended("the absolute limit").await;
    assert!(ended.elapsed() < CUT_MAX, "{:?}", ended.elapsed());
}

/// Whoever ends a session cuts what is under way, and must not find the application taken out of use for it.
#[tokio::test]
async fn s7_what_ends_with_its_session_is_told_so_and_is_nobodys_fault() {
    const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    let (mut upstream, mut gateway) = start().await;
    let accept = "Accept: text/event-stream\r\n";
    for path in ["/upload", "/answer"] {
        upstream.on(path, Play::Take);
    }
    for _ in 0..4 {
        let token = gateway.log_in(A, WALL).await;
        let cookie = cookie(&token);
        let mut upload = gateway.connect(A).await;
        let fields = format!("{cookie}Transfer-Encoding: chunked\r\n");
        upload.send(format!("PUT /upload HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n3\r\none\r\n")).await;
        let (_, mut uploading) = upstream.taken().await;
        assert_eq!(uploading.chunk().await.unwrap(), b"one");
        let mut answer = gateway.connect(A).await;
        answer.send(get("/answer", &cookie)).await;
        let (_, mut answering) = upstream.taken().await;
        answering.send(CHUNKS).await;
        answer.head().await.unwrap();
        let mut waiting = gateway.connect(A).await;
        waiting.send(get("/x", &format!("{cookie}{accept}"))).await;
        let (_, _thinking) = upstream.taken().await;
        let mut events = gateway.connect(A).await;
        events.send(get("/events", &format!("{cookie}{accept}"))).await;
        let (_, mut telling) = upstream.taken().await;
        telling.send(EVENTS.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n")).await;
        events.head().await.unwrap();
        let (socket, _peer, _) = websocket(&mut upstream, &gateway, &cookie).await;

        gateway.command(&["session", "end", "--user", WALL]).await;
        assert_eq!(waiting.reply().await.status, 401, "nothing was answered");
        upload.send("4\r\nmore\r\n").await;
        assert_eq!(upload.reply().await.status, 401, "nor here");
        answering.send("4\r\nmore\r\n").await;
        for mut wire in [answer, events] {
            assert!(!wire.rest().await.contains("0\r\n\r\n"), "it is seen to break off");
        }
        socket.assert_ended("its session has ended").await;
    }
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    for path in ["/upload", "/answer", "/x", "/events", "/ws"] {
        let path = format!("\"path\":\"{path}\"");
        let lines = within(async {
            loop {
                interval.tick().await;
                let log = gateway.log();
                let lines: Vec<_> = log.lines().filter(|line| line.contains(&path)).map(str::to_owned).collect();
                if lines.len() == 4 {
                    return lines;
                }
            }
        })
        .await;
        assert!(lines.iter().all(|line| line.contains("\"reason\":\"session_ended\"")), "{lines:#?}");
    }
    let metrics = gateway.metrics().await;
    let backend = format!("{{zone=\"{A}\",backend=\"{}\"", upstream.address());
    for series in [
        format!("zonegate_upstream_ejections_total{backend}}} 0"),
        format!("zonegate_upstream_requests_total{backend},outcome=\"broke_off\"}} 0"),
        format!("zonegate_upstream_requests_total{backend},outcome=\"timed_out\"}} 0"),
        format!("zonegate_upstream_healthy{backend}}} 1"),
    ] {
        assert!(metrics.lines().any(|line| line == series), "{series} is not in\n{metrics}");
    }
    assert!(!gateway.log().contains("\"level\":\"ERROR\""), "{}", gateway.log());
    gateway.assert_well();
}
