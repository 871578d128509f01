//! Several backends of one zone: who gets a request, who gets it when that one fails, and who never gets it twice.

use std::time::Duration;

use crate::harness::{A, B, Gateway, HALL, OK, Play, Reply, Upstream, WALL, Wire, Wishes, within};

struct Bench {
    gateway: Gateway,
    cookie: String,
}

impl Bench {
    /// In front of `upstream`, the whole section of the zone.
    async fn new(upstream: impl Into<String>) -> Self {
        Self::of(Gateway::start_before(upstream, "").await).await
    }

    async fn of(gateway: Gateway) -> Self {
        let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
        Self { gateway, cookie }
    }

    fn request(&self, method: &str, path: &str, fields: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {A}\r\n{}{fields}\r\n", self.cookie)
    }

    /// One request on a connection of its own.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let fields = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut wire = self.gateway.connect(A).await;
        wire.ask(self.request(method, path, &fields) + body).await
    }

    /// The number behind this line of the metrics.
    async fn metric(&self, name: &str, backend: &str, more: &str) -> i64 {
        let line = format!("zonegate_{name}{{zone=\"{A}\",backend=\"{backend}\"{more}}} ");
        let text = self.gateway.metrics().await;
        let found = text.lines().find_map(|found| found.strip_prefix(&line));
        found.unwrap_or_else(|| panic!("{line}\nis not in\n{text}")).parse().unwrap()
    }

    /// Waits until so many addresses of the backend are taken to be well.
    async fn until_well(&self, backend: &str, count: i64) {
        let look = async {
            let mut interval = tokio::time::interval(Duration::from_millis(50));
            while self.metric("upstream_healthy", backend, "").await != count {
                interval.tick().await;
            }
        };
        within(look).await;
    }

    /// Waits until the access log has a request for `path` with this reason.
    async fn until_logged(&self, path: &str, reason: &str) {
        let (path, reason) = (format!("\"path\":\"{path}\""), format!("\"reason\":\"{reason}\""));
        let look = async {
            let mut interval = tokio::time::interval(Duration::from_millis(50));
            loop {
                let log = self.gateway.log();
                if let Some(line) = log.lines().find(|line| line.contains(&path)) {
                    assert!(line.contains(&reason), "{line}");
                    return;
                }
                interval.tick().await;
            }
        };
        within(look).await;
    }
}

fn list(backends: &[&Upstream], more: &str) -> String {
    let urls: Vec<_> = backends.iter().map(|one| format!("{{ url: 'http://{}' }}", one.address())).collect();
    format!("backends: [{}], connect_max: 1s, {more}", urls.join(", "))
}

/// An address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn requests_go_round_by_weight() {
    let (heavy, light) = (Upstream::start().await, Upstream::start().await);
    let list = format!(
        "backends: [{{ url: 'http://{}', weight: 3 }}, {{ url: 'http://{}' }}]",
        heavy.address(),
        light.address()
    );
    let bench = Bench::new(list).await;
    for _ in 0..12 {
        assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
    }
    assert_eq!((heavy.received().len(), light.received().len()), (9, 3));
    assert_eq!(
        bench.metric("upstream_requests_total", &heavy.address().to_string(), ",outcome=\"answered\"").await,
        9
    );
}

#[tokio::test]
async fn the_least_loaded_backend_is_next() {
    let (mut first, second) = (Upstream::start().await, Upstream::start().await);
    first.on("/long", Play::Take);
    let bench = Bench::new(list(&[&first, &second], "balance: least_loaded")).await;
    let mut long = bench.gateway.connect(A).await;
    long.send(bench.request("GET", "/long", "")).await;
    let (_, mut held) = match tokio::time::timeout(Duration::from_secs(1), first.taken()).await {
        Ok(taken) => taken,
        // It went to the other one, which has answered: the next one goes to the first.
        Err(_) => {
            long.send(bench.request("GET", "/long", "")).await;
            first.taken().await
        }
    };
    first.received();
    second.received();
    for _ in 0..6 {
        assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
    }
    assert_eq!((first.received().len(), second.received().len()), (0, 6));
    held.send(OK).await;
}

#[tokio::test]
async fn f12_a_dead_backend_costs_nobody_a_request_whatever_its_method() {
    let (dead, live) = (nobody(), Upstream::start().await);
    let urls = format!("backends: [{{ url: 'http://{dead}' }}, {{ url: 'http://{}' }}]", live.address());
    let mut bench = Bench::new(urls).await;
    for round in 0..6 {
        for (method, body) in [("GET", ""), ("POST", "once"), ("PATCH", "once")] {
            let reply = bench.ask(method, "/x", body).await;
            assert_eq!(reply.status, 200, "{method} {round}");
            let received = live.only();
            assert_eq!(
                (received.line.as_str(), received.body.as_slice()),
                (&*format!("{method} /x HTTP/1.1"), body.as_bytes())
            );
        }
    }
    let dead = dead.to_string();
    assert!(bench.metric("upstream_ejections_total", &dead, "").await > 0);
    assert_eq!(bench.metric("upstream_healthy", &dead, "").await, 0);
    // A backend that is left alone is not asked by every request: one at the start, and one when its time is over.
    assert!(bench.metric("upstream_requests_total", &dead, ",outcome=\"not_connected\"").await < 6);
    bench.gateway.assert_well();
}

#[tokio::test]
async fn a_backend_that_comes_back_is_found_by_one_request() {
    let (there, live) = (nobody(), Upstream::start().await);
    let urls = format!("backends: [{{ url: 'http://{there}' }}, {{ url: 'http://{}' }}]", live.address());
    let bench = Bench::new(urls).await;
    for _ in 0..2 {
        assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
    }
    bench.until_well(&there.to_string(), 0).await;
    let back = Upstream::start_at(there).await;
    let look = async {
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        while back.received().is_empty() {
            interval.tick().await;
            assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
        }
    };
    within(look).await;
    assert_eq!(bench.metric("upstream_healthy", &there.to_string(), "").await, 1);
}

#[tokio::test]
async fn f12_a_request_that_was_sent_is_repeated_only_where_it_may_be() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut bench = Bench::new(list(&[&first, &second], "")).await;
    for (method, body, repeated) in [
        ("POST", "hi", false),
        ("PATCH", "hi", false),
        ("LOCK", "", false),
        ("POST", "", false),
        ("GET", "", true),
        ("HEAD", "", true),
        ("DELETE", "", true),
        ("PUT", "whole", true),
    ] {
        // Both break it off: whoever is asked first, a request that may not be repeated is seen once.
        for upstream in [&first, &second] {
            upstream.on("/x", Play::SayAndClose(Vec::new()));
        }
        let mut wire = bench.gateway.connect(A).await;
        wire.send(bench.request(method, "/x", &format!("Content-Length: {}\r\n", body.len())) + body).await;
        assert_eq!(wire.try_reply(method == "HEAD").await.unwrap().status, 502, "{method}");
        let seen = [first.received(), second.received()].concat();
        // A third time where a kept connection was found dead first.
        let allowed = if repeated { 2..=3 } else { 1..=1 };
        assert!(allowed.contains(&seen.len()), "{method}: {seen:#?}");
        assert!(seen.iter().all(|one| one.body == body.as_bytes()), "{method}: {seen:#?}");
        // Answers in between, or both would be left alone.
        for _ in 0..2 {
            assert_eq!(bench.ask("GET", "/y", "").await.status, 200);
        }
        first.received();
        second.received();
    }
    // One breaks it off, the other answers: nobody has seen that.
    first.on("/z", Play::SayAndClose(Vec::new()));
    for method in ["GET", "PUT"] {
        for _ in 0..2 {
            let body = if method == "PUT" { "whole" } else { "" };
            assert_eq!(bench.ask(method, "/z", body).await.status, 200);
            assert!(second.only().body == body.as_bytes());
        }
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn f12_nothing_is_repeated_once_an_answer_has_begun_or_the_body_is_gone() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let bench = Bench::new(list(&[&first, &second], "")).await;
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart";
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for answer in [begun, interim] {
        for upstream in [&first, &second] {
            upstream.on("/x", Play::SayAndClose(answer.into()));
        }
        let mut wire = bench.gateway.connect(A).await;
        wire.send(bench.request("GET", "/x", "")).await;
        let _ = wire.try_reply(false).await;
        wire.finish().await;
        let seen = first.received().len() + second.received().len();
        assert_eq!(seen, 1, "{answer:?}");
        for _ in 0..2 {
            assert_eq!(bench.ask("GET", "/y", "").await.status, 200);
        }
        first.received();
        second.received();
    }
}

/// A body of more than pingora keeps cannot be sent again, and must not be sent in half.
#[tokio::test]
async fn f12_a_body_that_is_gone_is_not_sent_again() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let upstreams = [list(&[&first, &second], "").leak() as &str, ""];
    let wishes = Wishes { upstreams, ..Wishes::default() };
    let bench = Bench::of(Gateway::start_with(nobody(), wishes).await).await;
    // The limit of the zone is 64 KiB, which is what pingora keeps: one byte less is sent again, whole, and within it.
    let body = "b".repeat(64 * 1024 - 1);
    first.on("/x", Play::SayAndClose(Vec::new()));
    for _ in 0..2 {
        assert_eq!(bench.ask("PUT", "/x", &body).await.status, 200, "counted once, however often it is sent");
        assert_eq!(second.only().body.len(), body.len());
        first.received();
    }
}

#[tokio::test]
async fn f12_a_kept_connection_that_dies_is_nobodys_fault_and_costs_only_what_may_not_be_repeated() {
    let mut upstream = Upstream::start().await;
    let bench = Bench::new(format!("url: 'http://{}'", upstream.address())).await;
    for method in ["GET", "POST"] {
        assert_eq!(bench.ask("GET", "/y", "").await.status, 200);
        upstream.received();
        upstream.on("/x", Play::Take);
        let mut wire = bench.gateway.connect(A).await;
        wire.send(bench.request(method, "/x", "Content-Length: 0\r\n")).await;
        let (received, held) = upstream.taken().await;
        assert_eq!(received.connection, upstream.connections() - 1, "on the kept connection");
        drop(held);
        if method == "GET" {
            let (again, mut held) = upstream.taken().await;
            assert!(again.connection > received.connection);
            held.send(OK).await;
            assert_eq!(wire.reply().await.status, 200);
        } else {
            assert_eq!(wire.reply().await.status, 502);
        }
        assert_eq!(upstream.received().len(), if method == "GET" { 2 } else { 1 });
    }
    let backend = upstream.address().to_string();
    assert_eq!(bench.metric("upstream_ejections_total", &backend, "").await, 0);
}

#[tokio::test]
async fn the_last_backend_is_tried_although_it_is_left_alone() {
    let upstream = Upstream::start().await;
    let bench = Bench::new(list(&[&upstream], "health: { path: /healthz, interval: 1s, fall: 1, rise: 1 }")).await;
    let backend = upstream.address().to_string();
    upstream.say("/healthz", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
    bench.until_well(&backend, 0).await;
    assert_eq!(bench.ask("GET", "/x", "").await.status, 200, "only its health check is wrong");
    for _ in 0..5 {
        upstream.on("/broken", Play::SayAndClose(Vec::new()));
        assert_eq!(bench.ask("POST", "/broken", "").await.status, 502);
    }
    assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
}

#[tokio::test]
async fn health_checks_take_a_backend_out_and_bring_it_back_and_carry_no_identity() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let health = "health: { path: '/healthz?full=1', status: 204, interval: 1s, timeout: 1s, fall: 2, rise: 1 }";
    for upstream in [&first, &second] {
        upstream.say("/healthz", "HTTP/1.1 204 No Content\r\n\r\n");
    }
    let bench = Bench::new(list(&[&first, &second], health)).await;
    let backend = first.address().to_string();
    // 200 is not the status that is good.
    first.say("/healthz", OK);
    bench.until_well(&backend, 0).await;
    let checks = first.received();
    assert!(checks.len() >= 2, "two in a row: {checks:#?}");
    for check in checks {
        assert_eq!(check.line, "GET /healthz?full=1 HTTP/1.1");
        assert_eq!(check.all("host"), [bench.gateway.authority(A)]);
        for field in ["cookie", "x-zonegate-assertion", "x-forwarded-user", "x-forwarded-for"] {
            assert!(check.all(field).is_empty(), "{field}");
        }
    }
    for _ in 0..6 {
        assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
    }
    let count = |upstream: &Upstream| upstream.received().iter().filter(|one| one.line.contains("/x")).count();
    assert_eq!((count(&first), count(&second)), (0, 6));
    first.say("/healthz", "HTTP/1.1 204 No Content\r\n\r\n");
    bench.until_well(&backend, 1).await;
    for _ in 0..6 {
        assert_eq!(bench.ask("GET", "/x", "").await.status, 200);
    }
    assert_eq!((count(&first), count(&second)), (3, 3));
}

#[tokio::test]
async fn a_health_check_without_a_path_is_content_with_a_connection() {
    let (there, live) = (nobody(), Upstream::start().await);
    let more = "health: { interval: 1s, fall: 1, rise: 1 }";
    let urls = format!("backends: [{{ url: 'http://{there}' }}, {{ url: 'http://{}' }}], {more}", live.address());
    let bench = Bench::new(urls).await;
    bench.until_well(&there.to_string(), 0).await;
    assert_eq!(bench.metric("upstream_healthy", &live.address().to_string(), "").await, 1);
    let _back = Upstream::start_at(there).await;
    bench.until_well(&there.to_string(), 1).await;
}

/// An alert for a backend that nobody has would never end.
#[tokio::test]
async fn monitoring_is_told_of_the_backends_in_use_and_of_no_others() {
    let (there, mut live) = (nobody(), Upstream::start().await);
    let health = "health: { interval: 1s, fall: 1, rise: 1 }";
    let (gone, stays) = (format!("{{ url: 'http://{there}' }}, "), live.address().to_string());
    let bench = Bench::new(format!("backends: [{gone}{{ url: 'http://{stays}' }}], {health}")).await;
    bench.until_well(&there.to_string(), 0).await;
    // A request of before, which goes on.
    live.on("/long", Play::Take);
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.request("GET", "/long", "")).await;
    let (_, mut application) = live.taken().await;
    bench.gateway.edit(&gone, "");
    let (code, told, problems) = bench.gateway.reload().await;
    assert_eq!(code, 0, "{told}{problems}");
    let healthy = async || {
        let text = bench.gateway.metrics().await;
        let lines = text.lines().filter(|line| line.starts_with("zonegate_upstream_healthy{"));
        lines.filter(|line| line.contains(A)).map(str::to_owned).collect::<Vec<_>>()
    };
    let only = [format!("zonegate_upstream_healthy{{zone=\"{A}\",backend=\"{stays}\"}} 1")];
    assert_eq!(healthy().await, only);
    application.send(OK).await;
    assert_eq!(wire.reply().await.status, 200);
    assert_eq!(healthy().await, only, "whatever becomes of what began before");
}

#[tokio::test]
async fn f12_each_time_limit_is_504_and_says_which_it_was() {
    // Takes connections and never says a word: no TLS.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = format!("url: 'https://{}', server_name: app.test, connect_max: 1s", mute.local_addr().unwrap());
    let bench = Bench::new(tls).await;
    assert_eq!(bench.ask("GET", "/connect", "").await.status, 504);
    bench.until_logged("/connect", "upstream_connect_timeout").await;

    let mut upstream = Upstream::start().await;
    let limits = "read_max: 1s, request_max: 3s";
    let bench = Bench::new(format!("url: 'http://{}', {limits}", upstream.address())).await;
    upstream.on("/first", Play::Take);
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.request("GET", "/first", "")).await;
    let (_, _held) = upstream.taken().await;
    assert_eq!(wire.reply().await.status, 504);
    bench.until_logged("/first", "upstream_first_byte_timeout").await;

    upstream.on("/silence", Play::Take);
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.request("GET", "/silence", "")).await;
    let (_, mut held) = upstream.taken().await;
    held.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").await;
    let reply = wire.reply().await;
    assert_eq!((reply.status, reply.whole, reply.body.as_str()), (200, false, "part"));
    bench.until_logged("/silence", "upstream_silence_timeout").await;

    // A piece every now and then is no silence, and yet not for ever.
    upstream.on("/whole", Play::Take);
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.request("GET", "/whole", "")).await;
    let (_, mut held) = upstream.taken().await;
    held.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let (reply, pieces) = tokio::join!(wire.reply(), drip(&mut held));
    assert!(!reply.whole && (5..=15).contains(&pieces), "{pieces} pieces");
    bench.until_logged("/whole", "upstream_request_timeout").await;

    // Streams are not held to it.
    upstream.on("/events", Play::Take);
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.request("GET", "/events", "Accept: text/event-stream\r\n")).await;
    let (_, mut held) = upstream.taken().await;
    held.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let whole = async {
        assert_eq!(drip(&mut held).await, 20);
        held.send("0\r\n\r\n").await;
    };
    let (reply, ()) = tokio::join!(wire.reply(), whole);
    assert!(reply.whole, "{reply:?}");
}

/// Sends a chunk every 300 ms, for 6 s at most; how many were taken.
async fn drip(wire: &mut Wire) -> usize {
    let mut interval = tokio::time::interval(Duration::from_millis(300));
    for sent in 0..20 {
        interval.tick().await;
        if wire.try_send("1\r\nx\r\n").await.is_err() {
            return sent;
        }
    }
    20
}

#[tokio::test]
async fn a_long_upload_is_not_cut_while_it_makes_progress() {
    let upstream = Upstream::start().await;
    let bench = Bench::new(format!("url: 'http://{}', read_max: 1s", upstream.address())).await;
    let mut wire = bench.gateway.connect(A).await;
    wire.send(bench.request("POST", "/x", "Content-Length: 8\r\n")).await;
    let mut interval = tokio::time::interval(Duration::from_millis(400));
    for _ in 0..8 {
        interval.tick().await;
        wire.send("x").await;
    }
    assert_eq!(wire.reply().await.status, 200);
    assert_eq!(upstream.only().body, b"xxxxxxxx");
}

#[tokio::test]
async fn each_zone_has_a_body_limit_of_its_own() {
    let upstream = Upstream::start().await;
    let wishes = Wishes { zone_b: "    body_max: 1KiB\n", ..Wishes::default() };
    let bench = Bench::of(Gateway::start_with(upstream.address(), wishes).await).await;
    let hall = format!("Cookie: __Host-zg_session={}\r\n", bench.gateway.log_in(B, HALL).await);
    for (zone, cookie, size, want) in [
        (A, &bench.cookie, 2048, 200),
        (B, &hall, 1024, 200),
        (B, &hall, 1025, 413),
        (A, &bench.cookie, 65_537, 413),
    ] {
        for chunked in [false, true] {
            let body = "b".repeat(size);
            let (framing, body) = match chunked {
                true => ("Transfer-Encoding: chunked".to_owned(), format!("{size:x}\r\n{body}\r\n0\r\n\r\n")),
                false => (format!("Content-Length: {size}"), body),
            };
            let mut wire = bench.gateway.connect(zone).await;
            wire.send(format!("POST /x HTTP/1.1\r\nHost: {zone}\r\n{cookie}{framing}\r\n\r\n")).await;
            let _ = wire.try_send(body).await;
            assert_eq!(wire.reply().await.status, want, "{zone} {size} {chunked}");
        }
    }
}
