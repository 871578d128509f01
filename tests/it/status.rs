//! The status listener over a socket: health and metrics for whoever reaches it, and nothing else (SEC-R91).

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::{A, Gateway, OK, Play, Reply, Upstream, WALL, Wire, Wishes, within};
use crate::upgrade::{BRISK, Successors};

async fn start(wishes: Wishes) -> (Upstream, Gateway, SocketAddr) {
    let upstream = Upstream::start().await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("status: ['{address}']").leak();
    let gateway = Gateway::start_with(upstream.address(), Wishes { listen, ..wishes }).await;
    (upstream, gateway, address)
}

/// One connection, one request; and its end.
async fn ask(address: SocketAddr, method: &str, path: &str) -> Reply {
    let mut wire = Wire::new(TcpStream::connect(address).await.unwrap());
    let command = "X-Zonegate-Command: 1\r\nContent-Length: 4\r\n";
    let more = if method == "POST" { command } else { "" };
    let body = if method == "POST" { "warn" } else { "" };
    let reply = wire.ask(format!("{method} {path} HTTP/1.1\r\nHost: 10.0.0.5\r\n{more}\r\n{body}")).await;
    wire.assert_ended("it carries one request").await;
    reply
}

#[tokio::test]
async fn sec_r91_the_status_listener_tells_how_it_goes_and_takes_no_command() {
    let (upstream, mut gateway, status) = start(Wishes::default()).await;
    for (path, want) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        let reply = ask(status, "GET", path).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, want), "{path}");
    }
    let reply = ask(status, "GET", "/metrics").await;
    assert!(reply.status == 200 && reply.body.contains("zonegate_build_info") && reply.body.ends_with("# EOF\n"));
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(status, "POST", path).await.status, 405, "{path}");
    }
    let others = ["/reload", "/upgrade", "/log-level", "/test/clock"];
    for path in others.into_iter().chain(["/", "/livez/", "//livez", "/.zonegate/login", "/tickets"]) {
        for method in ["GET", "POST"] {
            assert_eq!(ask(status, method, path).await.status, 404, "{method} {path}");
        }
    }
    assert!(gateway.metrics().await.contains("zonegate_configuration_generation 1\n"), "nothing was reloaded");
    upstream.assert_silent("no application is behind it");
    gateway.assert_well();
}

#[tokio::test]
async fn who_is_stopping_is_not_ready_and_finishes_what_is_under_way() {
    let (mut upstream, gateway, status) = start(Wishes::default()).await;
    let token = gateway.log_in(A, WALL).await;
    upstream.on("/slow", Play::Take);
    let mut client = gateway.connect(A).await;
    client.send(format!("GET /slow HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n")).await;
    let (_, mut application) = upstream.taken().await;
    assert_eq!(ask(status, "GET", "/readyz").await.status, 200);
    gateway.signal("TERM").await;
    let stopping = async {
        loop {
            let reply = ask(status, "GET", "/readyz").await;
            if reply.status == 503 {
                return reply.body;
            }
        }
    };
    assert_eq!(within(stopping).await, "stopping\n");
    assert_eq!(ask(status, "GET", "/livez").await.status, 200);
    application.send(OK).await;
    assert_eq!(client.reply().await.body, "ok");
}

#[tokio::test]
async fn the_status_listener_goes_over_to_the_next_process() {
    let (_upstream, mut gateway, status) = start(BRISK).await;
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;
    gateway.kill().await;
    assert_eq!(ask(status, "GET", "/readyz").await.status, 200);
}
