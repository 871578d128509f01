//! The status listener over a socket: health and metrics for whoever reaches it, and nothing else (SEC-R91).

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::{Gateway, Reply, Upstream, Wire, Wishes};
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
async fn the_status_listener_goes_over_to_the_next_process() {
    let (_upstream, mut gateway, status) = start(BRISK).await;
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;
    gateway.kill().await;
    assert_eq!(ask(status, "GET", "/readyz").await.status, 200);
}
