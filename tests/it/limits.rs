//! What is refused for its size or its slowness: 431, 413, 408, and connections that nobody uses.

use std::time::{Duration, Instant};

use http::Request;
use tokio::task::JoinSet;

use crate::harness::{A, Gateway, H2, Upstream, WALL, Wire, Wishes, within};

const SMALL: Wishes =
    Wishes { limits: "head: 8KiB, head_fields: 40, form: 8KiB, form_time: 1s, keepalive: 2s", ..Wishes::USUAL };
/// The zone's `body_max`.
const BODY_MAX: usize = 64 * 1024;

async fn start() -> (Upstream, Gateway, String) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(upstream.address(), SMALL).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    (upstream, gateway, cookie)
}

fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")
}

#[tokio::test]
async fn d3_a_head_over_the_limit_is_431_and_the_connection_ends() {
    let (upstream, gateway, cookie) = start().await;
    let many: String = (0..60).map(|at| format!("X-{at}: y\r\n")).collect();
    for more in [format!("X: {}\r\n", "y".repeat(9000)), many, format!("Cookie: a={}\r\n", "y".repeat(9000))] {
        for path in ["/x", "/.zonegate/login"] {
            let mut wire = gateway.connect(A).await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{cookie}{more}\r\n");
            assert_eq!(wire.ask(request).await.status, 431, "{path}");
            wire.assert_ended("who sends such heads sends them again").await;
        }
    }
    let long = format!("GET /x?{} HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n", "y".repeat(9000));
    assert_eq!(gateway.connect(A).await.ask(long).await.status, 431);
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = Request::get(format!("https://{A}/x")).header("x", "y".repeat(9000)).body(()).unwrap();
    let reply = client.ask(request, b"").await.unwrap();
    assert_eq!(reply.status, 431);
    assert!(String::from_utf8_lossy(&reply.body).contains("\"status\":431"), "{reply:?}");
    upstream.assert_silent("too large");
}

#[tokio::test]
async fn a_body_over_the_zones_limit_is_413() {
    let (upstream, gateway, cookie) = start().await;
    let whole = "y".repeat(BODY_MAX);
    let mut wire = gateway.connect(A).await;
    let reply = wire.ask(post("/x", &format!("{cookie}Content-Length: {BODY_MAX}\r\n")) + &whole).await;
    assert_eq!(reply.status, 200);
    assert_eq!(upstream.only().body.len(), BODY_MAX);
    // Told before: nothing goes upstream, and the body is not waited for.
    for length in [BODY_MAX + 1, usize::MAX / 2] {
        let mut wire = gateway.connect(A).await;
        let reply = wire.ask(post("/x", &format!("{cookie}Content-Length: {length}\r\n"))).await;
        assert_eq!(reply.status, 413, "{length}");
        wire.assert_ended("its body is still to come").await;
    }
    // Not told: it is counted.
    let mut wire = gateway.connect(A).await;
    wire.send(post("/x", &format!("{cookie}Transfer-Encoding: chunked\r\n"))).await;
    for _ in 0..9 {
        let _ = wire.try_send(format!("2000\r\n{}\r\n", "y".repeat(0x2000))).await;
    }
    let _ = wire.try_send("0\r\n\r\n").await;
    assert_eq!(wire.reply().await.status, 413);
    wire.assert_ended("its body was not read").await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let cookie = cookie.trim_end().strip_prefix("Cookie: ").unwrap();
    let request = || Request::post(format!("https://{A}/x")).header("cookie", cookie).body(()).unwrap();
    match client.ask(request(), "y".repeat(BODY_MAX + 1).as_bytes()).await {
        Ok(reply) => assert_eq!(reply.status, 413),
        Err(reset) => assert!(reset.is_reset(), "{reset}"),
    }
    assert_eq!(client.ask(request(), b"small").await.unwrap().status, 200, "the connection carries others");
    let received: Vec<_> = upstream.received().into_iter().map(|received| received.body).collect();
    assert_eq!(received, [b"small"], "a body that was refused is never whole");
}

#[tokio::test]
async fn a_form_over_the_limit_is_413_and_a_slow_one_408() {
    let (upstream, gateway, cookie) = start().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let origin = format!("Origin: https://{}\r\n", gateway.authority(A));
    for path in ["/.zonegate/login", "/.zonegate/logout", "/.zonegate/api/login", "/.zonegate/none"] {
        for (length, body) in [
            ("Content-Length: 9000\r\n".to_owned(), "y".repeat(9000)),
            ("Transfer-Encoding: chunked\r\n".into(), format!("2328\r\n{}\r\n0\r\n\r\n", "y".repeat(9000))),
            ("Content-Length: 100000000\r\n".into(), "y".repeat(9000)),
        ] {
            let mut wire = gateway.connect(A).await;
            wire.send(post(path, &format!("{cookie}{origin}{form}{length}"))).await;
            let _ = wire.try_send(body).await;
            assert_eq!(wire.reply().await.status, 413, "{path} {length}");
            wire.assert_ended("its body was not read").await;
        }
        let mut wire = gateway.connect(A).await;
        let began = Instant::now();
        wire.send(post(path, &format!("{cookie}{origin}{form}Content-Length: 100\r\n")) + "flow=").await;
        assert_eq!(wire.reply().await.status, 408, "{path}");
        assert!(began.elapsed() < Duration::from_secs(10), "{path}: {:?}", began.elapsed());
        wire.assert_ended("its body is still to come").await;
    }
    // HTTP/2 has no time limit of its own for a body.
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = Request::post(format!("https://{A}/.zonegate/login")).body(()).unwrap();
    let (answer, mut body) = client.begin(request).await;
    body.send_data("flow=".into(), false).unwrap();
    assert_eq!(within(answer).await.unwrap().status(), 408);
    upstream.assert_silent("forms are for us");
}

async fn ends(mut wire: Wire, at_least: Duration, why: &str) {
    let began = Instant::now();
    let rest = wire.rest().await;
    assert!(rest.is_empty(), "{why}: {rest:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{why}: {:?}", began.elapsed());
    assert!(began.elapsed() >= at_least, "{why}: {:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let (_upstream, gateway, cookie) = start().await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n");
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(&request).await.status, 200);
    assert_eq!(wire.ask(&request).await.status, 200, "it was kept");
    ends(wire, Duration::from_secs(1), "nothing more is asked").await;
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(format!("GET /.zonegate/session HTTP/1.1\r\nHost: {A}\r\n\r\n")).await.status, 401);
    ends(wire, Duration::from_secs(1), "nothing more is asked of us").await;
    // Whoever wants it to end need not wait.
    let mut wire = gateway.connect(A).await;
    assert_eq!(
        wire.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}Connection: close\r\n\r\n")).await.status,
        200
    );
    wire.assert_ended("that was asked for").await;
    let mut client = gateway.connect_h2(A).await;
    let began = Instant::now();
    let mut bytes = Vec::new();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tokio::io::AsyncWriteExt::write_all(&mut client, preface).await.unwrap();
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut client, &mut bytes)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

async fn is_under_way(gateway: &Gateway) {
    while gateway.under_way().await == 0 {
        tokio::task::yield_now().await;
    }
}

/// People close windows all day, and strangers do it on purpose.
#[tokio::test]
async fn d9_who_takes_a_request_back_fills_no_log_and_is_no_fault_of_ours() {
    let (_upstream, mut gateway, _) = start().await;
    for path in ["/.zonegate/none", "/.zonegate/logout"] {
        let mut client = H2::new(gateway.connect_h2(A).await).await;
        let request = Request::post(format!("https://{A}{path}")).body(()).unwrap();
        let (answer, mut form) = client.begin(request).await;
        form.send_data("username=".into(), false).unwrap();
        within(is_under_way(&gateway)).await;
        form.send_reset(h2::Reason::CANCEL);
        within(answer).await.unwrap_err();
        let mut wire = gateway.connect(A).await;
        wire.send(post(path, "Content-Length: 100\r\n")).await;
        drop(wire);
    }
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let all_logged = async {
        while ["none", "logout"].map(|page| gateway.log().matches(&format!("/.zonegate/{page}")).count()) != [2, 2]
        {
            interval.tick().await;
        }
    };
    within(all_logged).await;
    let log = gateway.log();
    assert!(!log.contains("ERROR") && !log.contains("\"status\":5"), "{log}");
    gateway.assert_well();
}

/// A stranger's noise is one line of the access log, and none about itself.
#[tokio::test]
async fn d9_strangers_who_break_off_or_write_nonsense_are_no_errors_of_ours() {
    let (_upstream, mut gateway, _) = start().await;
    for _ in 0..3 {
        for beginning in ["G", "GET / HTTP/1.1\r\nHos"] {
            let mut wire = gateway.connect(A).await;
            wire.send(beginning).await;
            drop(wire);
        }
        let mut client = H2::new(gateway.connect_h2(A).await).await;
        let request = Request::post(format!("https://{A}/.zonegate/login")).header("content-length", "1");
        let (answer, mut form) = client.begin(request.body(()).unwrap()).await;
        let _ = form.send_data("too long".into(), true);
        let _ = within(answer).await;
    }
    let mut wire = gateway.connect(A).await;
    wire.send(post("/.zonegate/login", "Transfer-Encoding: chunked\r\n") + "no size\r\n").await;
    assert_eq!(wire.reply().await.status, 400);
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while !gateway.log().contains("\"reason\":\"client_fault\"") {
            interval.tick().await;
        }
    })
    .await;
    let log = gateway.log();
    assert!(!log.contains("\"level\":\"ERROR\"") && !log.contains("\"level\":\"WARN\""), "{log}");
    gateway.assert_well();
}

#[tokio::test]
async fn d4_a_flood_of_log_ins_is_shed_while_signed_in_traffic_goes_on() {
    const FLOOD: usize = 60;
    let upstream = Upstream::start().await;
    let slow = |text: &str| {
        text.replacen(
            "memory: 7MiB, passes: 1, threads: 1",
            "memory: 64MiB, passes: 2, threads: 1, queue_max: 4",
            1,
        )
    };
    let gateway = Gateway::start_edited(upstream.address(), Wishes::default(), slow).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let mut flood = JoinSet::new();
    for count in 0..FLOOD {
        let body = format!(
            r#"{{"client":"mobile","username":"nobody{count}@acme.example","password":"Wrong-Guess-00"}}"#
        );
        let json = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let mut wire = gateway.connect(A).await;
        flood.spawn(async move { wire.ask(post("/.zonegate/api/login", &json) + &body).await });
    }
    let mut signed_in = gateway.connect(A).await;
    let (mut proxied, mut shed) = (0, 0);
    while !flood.is_empty() {
        assert_eq!(signed_in.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n")).await.status, 200);
        proxied += 1;
        while let Some(reply) = flood.try_join_next() {
            let reply = reply.unwrap();
            match reply.status {
                503 => {
                    assert!(reply.field("retry-after").is_some(), "{reply:?}");
                    shed += 1;
                }
                status => assert_eq!(status, 401, "{reply:?}"),
            }
        }
    }
    assert!(shed > 0 && shed < FLOOD && proxied > 1, "{shed} of {FLOOD} were shed, beside {proxied} requests");
}
