//! A trusted proxy that has ended TLS and passes requests on (`listen.behind_tls`): whom it may be, what it must say, and
//! that behind it everything holds as if TLS had ended here.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{A, B, Gateway, Reply, Upstream, WALL, Wire, Wishes, free_port};

const HTTPS: &str = "X-Forwarded-Proto: https\r\n";
const NAVIGATION: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";

struct World {
    upstream: Upstream,
    gateway: Gateway,
    behind_tls: SocketAddr,
}

impl World {
    /// Behind proxies at 127.0.0.1. `more`: of the section `listen`.
    async fn start(more: &str, zone_b: &'static str) -> Self {
        let behind_tls = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let listen = format!("behind_tls: ['{behind_tls}'], trusted_proxies: [127.0.0.1]{more}").leak();
        let upstream = Upstream::start().await;
        let wishes = Wishes { listen, zone_b, ..Wishes::default() };
        let gateway = Gateway::start_with(upstream.address(), wishes).await;
        Self { upstream, gateway, behind_tls }
    }

    async fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.behind_tls).await.unwrap())
    }

    async fn connect_from(&self, address: &str) -> Wire {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        Wire::new(socket.connect(self.behind_tls).await.unwrap())
    }

    async fn ask(&self, host: &str, fields: &str) -> Reply {
        self.connect().await.ask(format!("GET /x?y HTTP/1.1\r\nHost: {host}\r\n{NAVIGATION}{fields}\r\n")).await
    }
}

#[tokio::test]
async fn h1_a_request_behind_a_trusted_proxy_has_its_session_and_its_identity() {
    let mut world = World::start("", "").await;
    let token = world.gateway.log_in(A, WALL).await;
    let cookie = format!("Cookie: __Host-zg_session={token}\r\n");
    let forged = "X-Forwarded-User: root\r\nForwarded: for=198.51.100.1;proto=http\r\n";
    let from = "X-Forwarded-For: 203.0.113.7\r\n";
    // Kept: the second request is asked of its own.
    let mut wire = world.connect().await;
    for _ in 0..2 {
        let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}{HTTPS}{forged}{from}\r\n");
        assert_eq!(wire.ask(request).await.status, 200);
        let received = world.upstream.only();
        assert_eq!(received.all("x-forwarded-for"), ["203.0.113.7"]);
        assert_eq!(received.all("x-forwarded-proto"), ["https"]);
        assert_eq!(received.all("forwarded"), [""; 0]);
        assert_eq!(received.all("x-zonegate-assertion").len(), 1);
        assert!(!format!("{received:?}").contains("root"), "{received:?}");
    }
    let stranger = world.ask(A, HTTPS).await;
    assert_eq!(stranger.status, 303);
    assert!(stranger.field("location").unwrap().starts_with("/.zonegate/login?"), "{stranger:?}");
    let page =
        world.connect().await.ask(format!("GET /.zonegate/login HTTP/1.1\r\nHost: {A}\r\n{HTTPS}\r\n")).await;
    assert_eq!(page.status, 200);
    assert!(page.all("set-cookie").iter().all(|cookie| cookie.contains("; Secure")), "{page:?}");
    assert_eq!(world.ask("nobody.test", HTTPS).await.status, 421);
    world.upstream.assert_silent("nobody was signed in");
    world.gateway.assert_well();
}

#[tokio::test]
async fn sec_r80_what_has_not_come_by_tls_is_not_answered_behind_a_proxy_either() {
    let mut world = World::start("", "").await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", world.gateway.log_in(A, WALL).await);
    let to_https = format!("https://{}/x?y", world.gateway.authority(A));
    for said in ["http", "https, http", "ws"] {
        let reply = world.ask(A, &format!("{cookie}X-Forwarded-Proto: {said}\r\n")).await;
        assert_eq!((reply.status, reply.field("location")), (308, Some(&*to_https)), "{said}");
    }
    for fields in ["", "X-Forwarded-Proto:\r\n", "X-Forwarded-Proto: on\r\n", "Forwarded: proto=https\r\n"] {
        assert_eq!(world.ask(A, &format!("{cookie}{fields}")).await.status, 400, "{fields:?}");
    }
    world.upstream.assert_silent("none of them came by TLS");
    let log = world.gateway.log();
    assert!(log.contains("X-Forwarded-Proto: https"), "the operator is told what to set: {log}");
    world.gateway.assert_well();
}

#[tokio::test]
async fn h6_the_scheme_is_read_from_the_field_that_names_the_client() {
    let world = World::start(", client_address: forwarded", "").await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", world.gateway.log_in(A, WALL).await);
    let said = "Forwarded: for=203.0.113.7;proto=https\r\nX-Forwarded-Proto: http\r\n";
    assert_eq!(world.ask(A, &format!("{cookie}{said}")).await.status, 200);
    assert_eq!(world.upstream.only().all("x-forwarded-for"), ["203.0.113.7"]);
    assert_eq!(world.ask(A, &format!("{cookie}{HTTPS}")).await.status, 400);
}

#[tokio::test]
async fn h6_whoever_is_no_trusted_proxy_is_not_heard_where_tls_has_ended() {
    let mut world = World::start("", "").await;
    let token = world.gateway.log_in(A, WALL).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n{HTTPS}\r\n");
    let mut stranger = world.connect_from("127.0.0.2").await;
    // It may be closed before the request is written.
    let _ = stranger.try_send(&request).await;
    stranger.assert_ended("a stranger's").await;
    let mut kept = world.connect().await;
    assert_eq!(kept.ask(&request).await.status, 200);
    world.upstream.only();
    // Whoever is one no more is told so, and not heard again.
    world.gateway.edit("trusted_proxies: [127.0.0.1]", "trusted_proxies: [127.0.0.3]");
    let (status, said, told) = world.gateway.reload().await;
    assert_eq!(status, 0, "{said}{told}");
    assert_eq!(kept.ask(&request).await.status, 403);
    kept.assert_ended("it is trusted no more").await;
    world.upstream.assert_silent("nobody who may has asked");
    assert_eq!(world.gateway.metric("zonegate_connections_closed_total{reason=\"stranger\"}").await, 1.0);
    assert!(world.gateway.log().contains("listen.trusted_proxies"));
    world.gateway.assert_well();
}

#[tokio::test]
async fn sec_r81_no_certificate_is_shown_to_us_behind_a_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.pem");
    let made = rcgen::generate_simple_self_signed([]).unwrap();
    std::fs::write(&file, made.cert.pem()).unwrap();
    for (mode, want) in [("required", 421), ("optional", 303)] {
        let asked = format!("    client_certificates: {{ ca_file: '{}', mode: {mode} }}\n", file.display()).leak();
        let world = World::start("", asked).await;
        let shown = format!("{HTTPS}Client-Cert: :AAAA:\r\n");
        assert_eq!(world.ask(B, &shown).await.status, want, "{mode}");
        assert_eq!(world.ask(A, HTTPS).await.status, 303);
    }
}

#[tokio::test]
async fn nothing_but_http_1_is_spoken_where_tls_has_ended() {
    let mut world = World::start("", "").await;
    let mut http2 = world.connect().await;
    http2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(http2.rest().await.starts_with("HTTP/1.1 400 "));
    let mut tls = TcpStream::connect(world.behind_tls).await.unwrap();
    tls.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n").await.unwrap();
    assert!(Wire::new(tls).rest().await.starts_with("HTTP/1.1 400 "));
    world.gateway.assert_well();
}
