//! What an open port meets (groups D, M12, X): slow and silent clients, too many of them, balancers and proxies that
//! name the client, and the names, versions and certificates of TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{A, B, Gateway, H2, HALL, Play, SHARED, Upstream, WALL, Wire, Wishes, within};

const HASTY: &str = "head_time: 2s, handshake: 2s, keepalive: 3s, stall: 2s, body_rate: 1KiB, form_time: 2s";

async fn start(limits: &'static str, listen: &'static str) -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(upstream.address(), Wishes { limits, listen, ..Wishes::default() }).await;
    (upstream, gateway)
}

/// Sends a piece now and then, and fails unless the other side ends the connection meanwhile.
async fn trickle(
    mut wire: impl AsyncWriteExt + AsyncReadExt + Unpin,
    pieces: impl Iterator<Item = &'static [u8]>,
) {
    let began = Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(300));
    let mut heard = [0; 4096];
    'pieces: for piece in pieces {
        // Until it is written: what is heard in between (settings, tickets) is no reason to leave it out.
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    if wire.write_all(piece).await.is_err() || wire.flush().await.is_err() {
                        break 'pieces;
                    }
                    break;
                }
                read = wire.read(&mut heard) => match read {
                    Ok(0) | Err(_) => break 'pieces,
                    Ok(_) => {}
                }
            }
        }
        assert!(began.elapsed() < Duration::from_secs(12), "it may go on for ever");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1200), "nobody waited: {took:?}");
}

#[tokio::test]
async fn d1_a_head_that_trickles_in_ends_the_connection_and_others_are_served() {
    let (upstream, mut gateway) = start(HASTY, "").await;
    let token = gateway.log_in(A, WALL).await;
    let head: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ";
    let slow = || std::iter::once(head).chain(std::iter::repeat(&b"y"[..]));
    let first = gateway.try_tls(Some(A), &[b"http/1.1"]).await.unwrap();
    // The second head of a connection has a deadline as well.
    let mut second = Wire::new(gateway.try_tls(Some(A), &[b"http/1.1"]).await.unwrap());
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    assert_eq!(second.ask(&request).await.status, 200);
    let plain = gateway.connect_socket().await;
    let plain_http = gateway.connect_plain_socket().await;
    let silent = gateway.try_tls(Some(A), &[b"http/1.1"]).await.unwrap();
    // A frame of HTTP/2 that never ends.
    let h2 = gateway.connect_h2(A).await;
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let headers = [preface, b"\0\x40\0\x01\x04\0\0\0\x01"].concat().leak();
    tokio::join!(
        trickle(first, slow()),
        trickle(second.into_socket(), slow()),
        trickle(plain, std::iter::once(&b"\x16\x03\x01\x02\0\x01"[..]).chain(std::iter::repeat(&b"\0"[..]))),
        trickle(plain_http, slow()),
        trickle(silent, std::iter::repeat(&b""[..])),
        trickle(h2, std::iter::once(&*headers).chain(std::iter::repeat(&b"\x82"[..]))),
        async {
            let mut wire = gateway.connect(A).await;
            for _ in 0..20 {
                assert_eq!(wire.ask(&request).await.status, 200);
            }
        },
    );
    assert_eq!(upstream.received().len(), 21, "no slow head became a request");
    let metrics = gateway.metrics().await;
    assert!(metrics.contains(r#"connections_closed_total{reason="head_timeout"}"#), "{metrics}");
    assert!(metrics.contains(r#"connections_closed_total{reason="handshake_timeout"}"#), "{metrics}");
    gateway.assert_well();
}

#[tokio::test]
async fn d2_a_body_that_trickles_in_is_refused() {
    let (upstream, gateway) = start(HASTY, "").await;
    let token = gateway.log_in(A, WALL).await;
    let fields = format!("Host: {A}\r\nCookie: __Host-zg_session={token}\r\nContent-Length: 60000\r\n");
    let mut interval = tokio::time::interval(Duration::from_millis(250));
    // What a client says that it wants takes no limit away.
    for more in ["", "Accept: text/event-stream\r\n", "Expect: 100-continue\r\n"] {
        let mut wire = gateway.connect(A).await;
        wire.send(format!("POST /x HTTP/1.1\r\n{fields}{more}\r\n")).await;
        let began = Instant::now();
        while wire.try_send("y").await.is_ok() && began.elapsed() < Duration::from_secs(4) {
            interval.tick().await;
        }
        let mut reply = wire.reply().await;
        if reply.status == 100 {
            reply = wire.reply().await;
        }
        assert_eq!(reply.status, 408, "{more:?}");
    }
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = Request::post(format!("https://{A}/x")).header("cookie", format!("__Host-zg_session={token}"));
    let (answer, mut body) = client.begin(request.body(()).unwrap()).await;
    let began = Instant::now();
    while body.send_data("y".into(), false).is_ok() && began.elapsed() < Duration::from_secs(4) {
        interval.tick().await;
    }
    match within(answer).await {
        Ok(answer) => assert_eq!(answer.status(), 408),
        Err(reset) => assert!(reset.is_reset(), "{reset}"),
    }
    assert!(upstream.received().is_empty(), "no whole request");
}

#[tokio::test]
async fn d2_an_answer_that_is_no_stream_has_its_limit_whatever_was_asked_for() {
    let upstream = Upstream::start().await;
    let wishes = Wishes { upstream: "read_max: 1s", ..Wishes::default() };
    let mut gateway = Gateway::start_with(upstream.address(), wishes).await;
    let token = gateway.log_in(A, WALL).await;
    let mut upstream = upstream;
    for (path, said) in [("/silent", ""), ("/half", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")] {
        upstream.on(path, Play::Take);
        let mut wire = gateway.connect(A).await;
        let cookie = format!("Cookie: __Host-zg_session={token}\r\nAccept: text/event-stream\r\n");
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n")).await;
        let (_, mut application) = upstream.taken().await;
        let _ = application.try_send(said).await;
        let began = Instant::now();
        let rest = wire.rest().await;
        assert!(began.elapsed() < Duration::from_secs(8), "{path}: {:?} {rest}", began.elapsed());
        assert!(!said.is_empty() || rest.starts_with("HTTP/1.1 50"), "{path}: {rest}");
    }
    // One that is a stream may be silent for longer.
    upstream.on("/events", Play::Take);
    let mut wire = gateway.connect(A).await;
    let cookie = format!("Cookie: __Host-zg_session={token}\r\nAccept: text/event-stream\r\n");
    wire.send(format!("GET /events HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n")).await;
    let mut application = loop {
        let (received, application) = upstream.taken().await;
        // Tries of the requests before come as well.
        if received.line.starts_with("GET /events ") {
            break application;
        }
    };
    application.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 0\n\n").await;
    assert_eq!(wire.head().await.unwrap().status, 200);
    let mut interval = tokio::time::interval(Duration::from_secs(4));
    interval.tick().await;
    interval.tick().await;
    application.send("data: 1\n\n").await;
    wire.until(b"data: 1").await.expect("a stream that goes on");
    gateway.assert_well();
}

#[tokio::test]
async fn d2_requests_over_http_2_are_shared_out_like_connections() {
    let upstream = Upstream::start().await;
    let wishes = Wishes { limits: "connections_per_source: 6", ..Wishes::default() };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    let token = gateway.log_in(A, WALL).await;
    let mut upstream = upstream;
    upstream.on("/held", Play::Take);
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = |path: &str| {
        let request =
            Request::get(format!("https://{A}{path}")).header("cookie", format!("__Host-zg_session={token}"));
        request.body(()).unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..6 {
        let (answer, mut body) = client.begin(request("/held")).await;
        body.send_data("".into(), true).unwrap();
        held.push((answer, upstream.taken().await));
    }
    let refused = client.ask(request("/x"), b"").await;
    assert!(refused.is_err(), "one too many: {refused:?}");
    drop(held);
    let again = async {
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        while client.ask(request("/x"), b"").await.is_err() {
            interval.tick().await;
        }
    };
    within(again).await;
}

#[tokio::test]
async fn d2_who_takes_nothing_of_an_answer_is_let_go() {
    let (upstream, mut gateway) = start(HASTY, "").await;
    let token = gateway.log_in(A, WALL).await;
    // More than the buffers on the way hold.
    let length = 64 * 1024 * 1024;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'y');
    upstream.on("/large", Play::SayAndClose(answer));
    let mut wire = gateway.connect(A).await;
    wire.send(format!("GET /large HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n")).await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request =
        Request::get(format!("https://{A}/large")).header("cookie", format!("__Host-zg_session={token}"));
    // Nothing is read of it, so that its window stays shut.
    let (answer, mut body) = client.begin(request.body(()).unwrap()).await;
    body.send_data("".into(), true).unwrap();
    let answer = within(answer).await.unwrap();
    let wait = async {
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        while gateway.under_way().await > 0 {
            interval.tick().await;
        }
    };
    within(wait).await;
    drop((wire, answer));
    gateway.assert_well();
}

#[tokio::test]
async fn d5_a_source_holds_its_share_of_connections_and_gets_it_back() {
    let (_upstream, gateway) = start("connections_per_source: 5", "").await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(gateway.try_tls(Some(A), &[b"http/1.1"]).await.unwrap());
    }
    assert!(gateway.try_tls(Some(A), &[b"http/1.1"]).await.is_err(), "one too many");
    drop(held.pop());
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let again = async {
        while gateway.try_tls(Some(A), &[b"http/1.1"]).await.is_err() {
            interval.tick().await;
        }
    };
    within(again).await;
    assert!(gateway.metrics().await.contains(r#"connections_refused_total{reason="source"}"#));
    let told = gateway.log();
    let told: Vec<_> = told.lines().filter(|line| line.contains("limits.connections_per_source")).collect();
    assert!(told.iter().all(|line| line.contains("WARN") && line.contains("127.0.0.1")), "{told:?}");
    // How often it was tried in between depends on the machine.
    assert!((1..30).contains(&told.len()) && told[0].contains("listen.proxy_protocol_from"), "{told:?}");
}

#[tokio::test]
async fn d7_beyond_all_connections_new_ones_are_closed_and_the_gateway_goes_on() {
    let (_upstream, mut gateway) = start("connections: 8", "").await;
    let token = gateway.log_in(A, WALL).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(&request).await.status, 200);
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(gateway.connect_socket().await);
    }
    assert_eq!(wire.ask(&request).await.status, 200, "who is there is served");
    drop(held);
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let again = async {
        while gateway.try_tls(Some(A), &[b"http/1.1"]).await.is_err() {
            interval.tick().await;
        }
    };
    within(again).await;
    gateway.assert_well();
}

#[tokio::test]
async fn l3_a_source_that_tries_too_many_log_ins_is_told_to_wait_and_loses_no_attempt() {
    let (_upstream, gateway) = start("logins_per_source: 20", "").await;
    let mut statuses = Vec::new();
    let began = Instant::now();
    for number in 0..40 {
        let mut wire = gateway.connect(A).await;
        let body = format!(r#"{{"client":"mobile","username":"nobody{number}@acme.example","password":"x"}}"#);
        let length = body.len();
        let head = format!(
            "POST /.zonegate/api/login HTTP/1.1\r\nHost: {A}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        statuses.push(wire.ask(head + &body).await.status);
    }
    let shed = statuses.iter().filter(|status| **status == 429).count();
    // Twenty a minute come back meanwhile, and on a busy machine log-ins take their time.
    let back = usize::try_from(began.elapsed().as_secs() / 3 + 1).unwrap();
    assert!((20_usize.saturating_sub(back)..=20).contains(&shed), "{statuses:?} in {:?}", began.elapsed());
    assert!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
}

/// Whom the application is told that the request is from.
async fn told(upstream: &Upstream, mut wire: Wire, fields: &str) -> String {
    assert_eq!(wire.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")).await.status, 200);
    let received = upstream.only();
    let values = received.all("x-forwarded-for").into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert!(received.all("forwarded").is_empty(), "{received:?}");
    values.join("|")
}

#[tokio::test]
async fn h6_only_a_trusted_proxy_names_the_client_and_only_in_its_field() {
    let forged = "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=198.51.100.9\r\nX-Real-IP: 203.0.113.8\r\n";
    for (listen, want) in [
        ("", "127.0.0.1"),
        ("trusted_proxies: [10.0.0.0/8]", "127.0.0.1"),
        ("trusted_proxies: [127.0.0.0/8]", "203.0.113.7"),
        ("trusted_proxies: [127.0.0.1], client_address: forwarded", "198.51.100.9"),
    ] {
        let (upstream, gateway) = start("", listen).await;
        let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
        let wire = gateway.connect(A).await;
        assert_eq!(told(&upstream, wire, &format!("{cookie}{forged}")).await, want, "{listen:?}");
        let wire = gateway.connect(A).await;
        let garbage = "X-Forwarded-For: 203.0.113.7, <script>\r\nForwarded: for=198.51.100.9, for=unknown\r\n";
        assert_eq!(told(&upstream, wire, &format!("{cookie}{garbage}")).await, "127.0.0.1", "{listen:?}");
    }
}

/// TLS on a socket on which something was said before.
async fn tls_on(gateway: &Gateway, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder().with_root_certificates(gateway.roots()).with_no_client_auth();
    within(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(A).unwrap(), socket)).await
}

#[tokio::test]
async fn m12_a_listed_balancer_names_the_client_of_a_connection_and_must() {
    let (upstream, mut gateway) = start(HASTY, "proxy_protocol_from: [127.0.0.2]").await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let v2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x7f\0\0\x01\x12\x34\x01\xbb";
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, want) in [
        (&b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n"[..], "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.2"),
        (v2, "203.0.113.9"),
        (local, "127.0.0.2"),
    ] {
        // In one piece and byte by byte.
        for size in [header.len(), 1] {
            let mut socket = gateway.connect_socket_from("127.0.0.2").await;
            for piece in header.chunks(size) {
                socket.write_all(piece).await.unwrap();
            }
            let wire = Wire::new(tls_on(&gateway, socket).await.unwrap());
            assert_eq!(told(&upstream, wire, &cookie).await, want, "{}", header.escape_ascii());
        }
    }
    // Without one, with a wrong one, with two, and from whoever is not listed.
    let text: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 443\r\n";
    for (from, said) in [
        ("127.0.0.2", &b""[..]),
        ("127.0.0.2", b"PROXY TCP4 203.0.113.7\r\n"),
        ("127.0.0.2", &text.repeat(2)),
        ("127.0.0.3", text),
        ("127.0.0.3", v2),
    ] {
        let mut socket = gateway.connect_socket_from(from).await;
        socket.write_all(said).await.unwrap();
        assert!(tls_on(&gateway, socket).await.is_err(), "{from} {}", said.escape_ascii());
    }
    // Who says nothing at all.
    let mut silent = gateway.connect_socket_from("127.0.0.2").await;
    let began = Instant::now();
    let _ = within(silent.read(&mut [0; 16])).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The plain listener reads it as well.
    let mut socket = gateway.connect_plain_socket_from("127.0.0.2").await;
    socket.write_all(text).await.unwrap();
    let reply = Wire::new(socket).ask(format!("GET / HTTP/1.1\r\nHost: {A}\r\n\r\n")).await;
    assert_eq!(reply.status, 308);
    gateway.assert_well();
}

#[tokio::test]
async fn x_tls_1_3_alone_when_that_is_asked_for() {
    let reaches = async |gateway: &Gateway, versions: &[&'static SupportedProtocolVersion]| {
        let config = ClientConfig::builder_with_protocol_versions(versions);
        let config = config.with_root_certificates(gateway.roots()).with_no_client_auth();
        let socket = gateway.connect_socket().await;
        let name = ServerName::try_from(A).unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, socket)).await.is_ok()
    };
    let (_upstream, gateway) = start("", "").await;
    assert!(reaches(&gateway, &[&version::TLS12]).await && reaches(&gateway, &[&version::TLS13]).await);
    let (_upstream, gateway) = start("", "tls_min: 1.3").await;
    assert!(!reaches(&gateway, &[&version::TLS12]).await && reaches(&gateway, &[&version::TLS13]).await);
}

#[tokio::test]
async fn x_a_client_that_comes_back_resumes() {
    let (_upstream, gateway) = start("", "").await;
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let config = ClientConfig::builder_with_protocol_versions(versions);
        let config = Arc::new(config.with_root_certificates(gateway.roots()).with_no_client_auth());
        let mut kinds = Vec::new();
        for name in [A, A, B] {
            let socket = gateway.connect_socket().await;
            let connector = TlsConnector::from(Arc::clone(&config));
            let mut stream = within(connector.connect(ServerName::try_from(name).unwrap(), socket)).await.unwrap();
            // An answer comes with the tickets before it.
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let _ = within(stream.read_to_end(&mut Vec::new())).await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds[1], HandshakeKind::Resumed, "{kinds:?}");
        assert_ne!(kinds[2], HandshakeKind::Resumed, "another host has another certificate: {kinds:?}");
    }
}

/// With its head and its body in a record each, it would be encrypted and opened twice.
#[tokio::test]
async fn a_small_answer_is_one_record_of_tls() {
    let (upstream, mut gateway) = start("", "").await;
    let token = gateway.log_in(A, WALL).await;
    let body = "y".repeat(1000);
    upstream.say("/small", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = tls_on(&gateway, gateway.connect_socket().await).await.unwrap();
    let request = format!("GET /small HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    // Tickets come before the first.
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(body.as_bytes()) {
        assert_ne!(within(stream.read_buf(&mut answer)).await.unwrap(), 0, "{}", answer.escape_ascii());
    }
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut record = [0; 5];
    within(async { while stream.get_ref().0.peek(&mut record).await.unwrap() < record.len() {} }).await;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    assert!(length > body.len(), "the first record has {length} bytes");
    gateway.assert_well();
}

/// An authority and somebody it vouches for.
fn clients() -> (String, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["device-7".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    (pem, vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

async fn with_certificate(
    gateway: &Gateway,
    name: &'static str,
    shown: Option<&(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> std::io::Result<Wire> {
    let config = ClientConfig::builder().with_root_certificates(gateway.roots());
    let config = match shown {
        Some((chain, key)) => config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
        None => config.with_no_client_auth(),
    };
    let connector = TlsConnector::from(Arc::new(config));
    let socket = gateway.connect_socket().await;
    let mut stream = within(connector.connect(ServerName::try_from(name).unwrap(), socket)).await?;
    // TLS 1.3 tells the client of a refusal only once it listens.
    stream.write_all(b"OPTIONS * HTTP/1.1\r\n").await?;
    Ok(Wire::new(stream))
}

#[tokio::test]
async fn sec_r81_a_zone_that_asks_for_client_certificates_has_them_on_its_own_connections_only() {
    let (pem, chain, key) = clients();
    let (_, stranger, strangers_key) = clients();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.pem");
    std::fs::write(&file, pem).unwrap();
    let ours = (chain, key);
    let strangers = (stranger, strangers_key);
    for mode in ["required", "optional"] {
        let asked =
            format!("    client_certificates: {{ ca_file: '{}', mode: {mode}, pass_on: true }}\n", file.display());
        let upstream = Upstream::start().await;
        let wishes = Wishes { zone_b: asked.leak(), ..Wishes::default() };
        let mut gateway = Gateway::start_with(upstream.address(), wishes).await;
        let ask = async |shown, host: &str, more: &str| {
            let mut wire = with_certificate(&gateway, B, shown).await.ok()?;
            wire.try_send(format!("Host: {B}\r\n\r\nGET /x HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).await.ok()?;
            let first = wire.try_reply(false).await?;
            assert!(first.status >= 400, "OPTIONS * is nobody's");
            Some(first.status)
        };
        let without = ask(None, B, "").await;
        assert_eq!(without.is_none(), mode == "required", "{without:?}");
        assert_eq!(ask(Some(&strangers), B, "").await, None, "an authority that the zone does not know");
        assert!(ask(Some(&ours), B, "").await.is_some());

        // Another zone's connection does not do, nor does this one for another zone (X1).
        let mut wire = gateway.connect(A).await;
        assert_eq!(wire.ask(format!("GET /x HTTP/1.1\r\nHost: {B}\r\n\r\n")).await.status, 421);
        let mut wire = gateway.connect(SHARED[0]).await;
        assert_eq!(wire.ask(format!("GET /x HTTP/1.1\r\nHost: {B}\r\n\r\n")).await.status, 421);
        gateway.assert_well();
    }
}

#[tokio::test]
async fn rfc_9440_the_application_gets_the_certificate_that_was_shown_and_none_that_was_sent() {
    let (pem, chain, key) = clients();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.pem");
    std::fs::write(&file, pem).unwrap();
    let asked =
        format!("    client_certificates: {{ ca_file: '{}', mode: optional, pass_on: true }}\n", file.display());
    let upstream = Upstream::start().await;
    let wishes = Wishes { zone_b: asked.leak(), ..Wishes::default() };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    let token = gateway.log_in(B, HALL).await;
    let forged = "Client-Cert: :AAAA:\r\nClient_Cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n";
    let request = format!("GET /x HTTP/1.1\r\nHost: {B}\r\nCookie: __Host-zg_session={token}\r\n{forged}\r\n");
    let shown = (chain, key);
    for (shown, want) in [(Some(&shown), 1), (None, 0)] {
        let config = ClientConfig::builder().with_root_certificates(gateway.roots());
        let config = match shown {
            Some((chain, key)) => config.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
            None => config.with_no_client_auth(),
        };
        let socket = gateway.connect_socket().await;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = within(connector.connect(ServerName::try_from(B).unwrap(), socket)).await.unwrap();
        assert_eq!(Wire::new(stream).ask(&request).await.status, 200);
        let received = upstream.only();
        let values = received.all("client-cert");
        assert_eq!(values.len(), want, "{received:?}");
        assert!(received.all("client-cert-chain").is_empty() && received.all("client_cert").is_empty());
        if let (Some((chain, _)), Some(value)) = (shown, values.first()) {
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(&chain[0]);
            assert_eq!(*value, format!(":{encoded}:"));
        }
    }
}

/// When the system has no file descriptor left, the loop waits, and takes connections again once there are some.
#[tokio::test]
async fn d7_a_process_without_file_descriptors_recovers_by_itself() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(upstream.address(), Wishes::default()).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let process = gateway.number().to_string();
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let limit = |files: usize| {
        let mut command = std::process::Command::new("prlimit");
        let set = command.args(["--pid", &process, &format!("--nofile={files}:{files}")]).status().unwrap();
        assert!(set.success());
    };
    limit(open + 8);
    let mut crowd = Vec::new();
    for _ in 0..32 {
        crowd.push(gateway.connect_socket().await);
    }
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while !gateway.log().contains("no connection can be accepted for the moment") {
            interval.tick().await;
        }
    })
    .await;
    drop(crowd);
    let reply = within(async {
        gateway.connect(A).await.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n")).await
    });
    assert_eq!(reply.await.status, 200);
}
