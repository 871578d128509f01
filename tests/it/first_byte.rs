//! The wait for an answer's head has a limit of its own: it is neither longer nor shorter than its zone says, whatever
//! silence its body may keep, and what is cut by it takes nobody else's connection along.

use crate::harness::{A, Authority, Gateway, H2, Play, Upstream, WALL, Wire, acceptor, read, tls_before, within};

struct Bench {
    upstream: Upstream,
    gateway: Gateway,
    cookie: String,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.gateway.log());
        }
    }
}

impl Bench {
    async fn new(limits: &str) -> Self {
        let upstream = Upstream::start().await;
        let gateway = Gateway::start_before(format!("url: 'http://{}', {limits}", upstream.address()), "").await;
        Self::of(upstream, gateway).await
    }

    async fn of(upstream: Upstream, gateway: Gateway) -> Self {
        let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
        Self { upstream, gateway, cookie }
    }

    fn get(&self, path: &str, fields: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{}{fields}\r\n", self.cookie)
    }

    /// A request that the application has, and has not answered: the client's side and its own.
    async fn begun(&mut self, path: &str, fields: &str) -> (Wire, Wire) {
        self.upstream.on(path, Play::Take);
        let mut wire = self.gateway.connect(A).await;
        wire.send(self.get(path, fields)).await;
        let (_, application) = self.upstream.taken().await;
        (wire, application)
    }

    /// Fails unless an answer that does not begin is given up, which takes a second at least.
    async fn assert_late(&mut self, path: &str, fields: &str) {
        let (mut wire, application) = self.begun(path, fields).await;
        assert_eq!(wire.reply().await.status, 504, "{path}");
        application.assert_ended("the gateway has given up").await;
        self.until_logged(path, "upstream_first_byte_timeout").await;
    }

    async fn until_logged(&self, path: &str, reason: &str) {
        let (path, reason) = (format!("\"path\":\"{path}\""), format!("\"reason\":\"{reason}\""));
        let mut interval = tokio::time::interval(std::time::Duration::from_millis(50));
        let look = async {
            loop {
                if let Some(line) = self.gateway.log().lines().find(|line| line.contains(&path)) {
                    assert!(line.contains(&reason), "{line}");
                    return;
                }
                interval.tick().await;
            }
        };
        within(look).await;
    }
}

const EVENTS: &str = "Accept: text/event-stream\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
                       AAAAAAAAAAAAAAAAAAAAAA==\r\n";

#[tokio::test]
async fn f12_a_late_head_is_504_and_what_has_begun_may_be_silent_longer() {
    let mut bench = Bench::new("first_byte_max: 1s, read_max: 20s").await;
    let (mut wire, mut application) = bench.begun("/begun", "").await;
    // None of these connections is kept: nobody reads them afterwards.
    application.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nha").await;
    let (mut stream, mut events) = bench.begun("/events", EVENTS).await;
    events.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\nContent-Length: 4\r\n\r\nha").await;
    let (mut socket, mut peer) = bench.begun("/socket", UPGRADE).await;
    peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(socket.head().await.unwrap().status, 101);

    // All of them are silent for as long as these three take.
    bench.assert_late("/late", "").await;
    bench.assert_late("/late-events", EVENTS).await;
    bench.assert_late("/late-socket", UPGRADE).await;
    application.send("ha").await;
    assert_eq!(wire.reply().await.body, "haha");
    events.send("ha").await;
    assert_eq!(stream.reply().await.body, "haha");
    peer.send("hello").await;
    assert_eq!(socket.exactly(5).await.unwrap(), b"hello");

    // What is interim begins the wait anew, and is no answer.
    let (mut wire, mut application) = bench.begun("/interim", "").await;
    application.send("HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n").await;
    assert_eq!(wire.head().await.unwrap().status, 103);
    assert_eq!(wire.reply().await.status, 504);
    bench.until_logged("/interim", "upstream_first_byte_timeout").await;

    // Nobody is left with a connection that was cut: kept ones are used again, and the backend is there.
    let before = bench.upstream.connections();
    let mut wire = bench.gateway.connect(A).await;
    for _ in 0..5 {
        assert_eq!(wire.ask(bench.get("/x", "")).await.status, 200);
    }
    assert!(bench.upstream.connections() <= before + 1, "one connection carries one request after the other");
    bench.gateway.assert_well();
}

#[tokio::test]
async fn f12_a_head_may_be_awaited_longer_than_a_body_may_be_silent() {
    let mut bench = Bench::new("first_byte_max: 20s, read_max: 1s").await;
    let (mut patient, mut thinking) = bench.begun("/thinks", "").await;
    // The body ends with its connection here, and must not be taken for whole when we end that.
    let framings = [
        ("/chunks", "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"),
        ("/close", "Connection: close\r\n\r\npart"),
    ];
    for (path, rest) in framings {
        let (mut wire, mut application) = bench.begun(path, "").await;
        application.send(format!("HTTP/1.1 200 OK\r\n{rest}")).await;
        let reply = wire.reply().await;
        assert_eq!((reply.status, reply.whole, reply.body.as_str()), (200, false, "part"), "{path}");
        bench.until_logged(path, "upstream_silence_timeout").await;
    }
    // Where the length is known, pingora holds back what is not whole. A client that got nothing would take its connection for
    // one that was stale, and ask again.
    let (mut wire, mut application) = bench.begun("/length", "").await;
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
    let reply = wire.reply().await;
    assert_eq!((reply.status, reply.whole, reply.body.as_str()), (200, false, "part"));
    bench.until_logged("/length", "upstream_silence_timeout").await;
    thinking.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(patient.reply().await.body, "ok", "it has waited for all of them");
    bench.gateway.assert_well();
}

#[tokio::test]
async fn f12_what_is_uploaded_is_no_silence_and_a_reload_changes_the_wait() {
    let mut bench = Bench::new("read_max: 20s").await;
    // As every zone has been: one limit, and one long wait that began under it.
    let (mut old, mut of_old) = bench.begun("/old", "").await;
    bench.gateway.edit("read_max: 20s", "read_max: 20s, first_byte_max: 1s");
    let (code, told, problems) = bench.gateway.reload().await;
    assert_eq!(code, 0, "{told}{problems}");
    // Also on a connection that was kept from before.
    bench.assert_late("/late", "").await;
    bench.assert_late("/later", "").await;
    of_old.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(old.reply().await.body, "ok", "a request ends with what it began with");

    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.get("/x", "Content-Length: 8\r\n").replace("GET", "POST")).await;
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(400));
    for _ in 0..8 {
        interval.tick().await;
        wire.send("x").await;
    }
    assert_eq!(wire.reply().await.status, 200);
}

#[tokio::test]
async fn f12_the_wait_ends_below_tls_as_well() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &authority.pem).unwrap();
    let upstream = Upstream::start().await;
    let leaf = authority.leaf("app.test", false);
    let tls = tls_before(upstream.address(), acceptor(&leaf, None, &[])).await;
    let limits = "first_byte_max: 1s, read_max: 20s, server_name: app.test";
    let zone = format!("url: 'https://{tls}', {limits}, ca_file: {}", ca_file.display());
    let mut bench = Bench::of(upstream, Gateway::start_before(zone, "").await).await;
    assert_eq!(bench.gateway.connect(A).await.ask(bench.get("/x", "")).await.status, 200);
    bench.assert_late("/late", "").await;
    assert_eq!(bench.gateway.connect(A).await.ask(bench.get("/x", "")).await.status, 200);
}

/// While the client has no room, nobody listens to the application.
#[tokio::test]
async fn f12_a_client_that_pauses_is_no_silence_of_its_application() {
    let mut bench = Bench::new("first_byte_max: 20s, read_max: 1s").await;
    let (mut wire, mut application) = bench.begun("/large", "").await;
    // More than the system takes for a client that does not read.
    let length = 32 * 1024 * 1024;
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let sending = tokio::spawn(async move {
        application.send(head).await;
        application.try_send("x".repeat(length)).await.map(|()| application)
    });
    assert_eq!(wire.head().await.unwrap().status, 200);
    // A pause longer than `read_max`, which is what is asked about: nothing is waited for.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(wire.exactly(length).await.map_or_else(|got| got.len(), |got| got.len()), length);
    drop(sending.await.unwrap().unwrap());
    bench.gateway.assert_well();
}

/// Over HTTP/2 it is a stream's window that is full. A small answer waits in the gateway meanwhile, and its connection to the
/// application is given up; of a large one the application has not sent all.
#[tokio::test]
async fn f12_a_stream_that_gets_no_window_is_no_silence_of_its_application() {
    let mut bench = Bench::new("read_max: 1s").await;
    let cookie = bench.cookie.trim().strip_prefix("Cookie: ").unwrap().to_owned();
    let mut answers = Vec::new();
    for (path, length) in [("/small", 200 * 1024), ("/large", 8 * 1024 * 1024)] {
        let mut client = H2::new(bench.gateway.connect_h2(A).await).await;
        bench.upstream.on(path, Play::Take);
        let request = http::Request::get(format!("https://{A}{path}")).header("cookie", &cookie).body(()).unwrap();
        let (answer, mut stream) = client.begin(request).await;
        stream.send_data(bytes::Bytes::new(), true).unwrap();
        let (_, mut application) = bench.upstream.taken().await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let sending = tokio::spawn(async move {
            application.send(head).await;
            application.try_send("x".repeat(length)).await.map(|()| application)
        });
        answers.push((within(answer).await.unwrap(), length, sending, client));
    }
    // A pause longer than `read_max`, which is what is asked about: nothing is waited for.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    for (answer, length, sending, _client) in answers {
        assert_eq!(read(answer).await.unwrap().body.len(), length);
        drop(sending.await.unwrap().unwrap());
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn f12_a_connection_that_nobody_needs_is_closed_after_its_time() {
    let mut bench = Bench::new("idle_max: 2s").await;
    let (mut wire, mut application) = bench.begun("/x", "").await;
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(wire.reply().await.body, "ok");
    let began = std::time::Instant::now();
    application.assert_ended("nobody needed it").await;
    let took = began.elapsed();
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
}

/// What the client says of the answer takes no limit away: what the application says of it does.
#[tokio::test]
async fn f12_who_asks_for_events_and_gets_none_is_held_to_the_time_of_requests() {
    let mut bench = Bench::new("read_max: 20s, request_max: 2s").await;
    for (path, fields) in [("/mute", ""), ("/mute-events", EVENTS), ("/mute-socket", UPGRADE)] {
        let began = std::time::Instant::now();
        let (mut wire, _application) = bench.begun(path, fields).await;
        assert_eq!(wire.reply().await.status, 504, "{path}");
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{path}: {:?}", began.elapsed());
    }
    for (path, kind, whole) in [("/other", "text/plain", false), ("/events", "text/event-stream", true)] {
        let (mut wire, mut application) = bench.begun(path, EVENTS).await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: ";
        application.send(format!("{head}{kind}\r\n\r\n")).await;
        let drip = async {
            let mut interval = tokio::time::interval(std::time::Duration::from_millis(300));
            for _ in 0..12 {
                interval.tick().await;
                if application.try_send("1\r\nx\r\n").await.is_err() {
                    return;
                }
            }
            let _ = application.try_send("0\r\n\r\n").await;
        };
        let (reply, ()) = tokio::join!(wire.reply(), drip);
        assert_eq!((reply.status, reply.whole), (200, whole), "{path}");
    }
    bench.until_logged("/other", "upstream_request_timeout").await;
    // Nor is the application left alone for whom it answers slowly.
    let backend = format!("{{zone=\"{A}\",backend=\"{}\"}}", bench.upstream.address());
    let metrics = bench.gateway.metrics().await;
    assert!(metrics.contains(&format!("upstream_ejections_total{backend} 1\n")), "three were mute: {metrics}");
}
