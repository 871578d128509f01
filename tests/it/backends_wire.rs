//! How backends are spoken to: TLS that proves both sides, HTTP/2 and gRPC, Unix sockets, and names that move.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::harness::{
    A, Authority, B, Gateway, H2, HALL, Leaf, Play, Reply, Upstream, WALL, Wishes, acceptor, tls_before, within,
};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";

async fn cookie(gateway: &Gateway, zone: &str, user: &str) -> String {
    format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(zone, user).await)
}

async fn get(gateway: &Gateway, zone: &str, cookie: &str, path: &str) -> Reply {
    gateway.connect(zone).await.ask(format!("GET {path} HTTP/1.1\r\nHost: {zone}\r\n{cookie}\r\n")).await
}

/// Files of a test, in a folder that goes with it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }
}

#[tokio::test]
async fn x6_zones_with_other_authorities_do_not_share_connections_to_one_address() {
    let (ours, other) = (Authority::new(), Authority::new());
    let upstream = Upstream::start().await;
    let address = tls_before(upstream.address(), acceptor(&ours.leaf("app.test", false), None, &[])).await;
    let files = Files::new();
    let zone = |ca: String| format!("url: 'https://{address}', server_name: app.test, ca_file: '{ca}'");
    let (ours, other) = (files.write("ours.pem", &ours.pem), files.write("other.pem", &other.pem));
    let mut gateway = Gateway::start_before(zone(ours), zone(other)).await;
    let (wall, hall) = (cookie(&gateway, A, WALL).await, cookie(&gateway, B, HALL).await);
    for _ in 0..3 {
        assert_eq!(get(&gateway, A, &wall, "/a").await.status, 200);
        assert_eq!(get(&gateway, B, &hall, "/b").await.status, 502, "a connection is kept, and it is not for B");
    }
    let lines: Vec<_> = upstream.received().into_iter().map(|one| one.line).collect();
    assert_eq!(lines, ["GET /a HTTP/1.1"; 3]);
    assert_eq!(upstream.connections(), 1, "A's own requests share one");
    gateway.assert_well();
}

#[tokio::test]
async fn x6_an_application_that_asks_who_connects_is_shown_the_gateways_certificate() {
    let (theirs, clients) = (Authority::new(), Authority::new());
    let upstream = Upstream::start().await;
    let asks = acceptor(&theirs.leaf("app.test", false), Some(&clients), &[]);
    let address = tls_before(upstream.address(), asks).await;
    let files = Files::new();
    let ca = files.write("ca.pem", &theirs.pem);
    let show = |name: &str, leaf: &Leaf| {
        let certificate = files.write(&format!("{name}.pem"), &leaf.certificate.pem());
        let key = files.write(&format!("{name}.key"), &leaf.key.serialize_pem());
        format!("client_certificate: '{certificate}', client_key: '{key}'")
    };
    let right = show("right", &clients.leaf("gateway.test", false));
    let wrong = show("wrong", &theirs.leaf("gateway.test", false));
    let zone =
        |client: &str| format!("url: 'https://{address}', server_name: app.test, ca_file: '{ca}', {client}");
    for (a, b) in [(right.as_str(), ""), (right.as_str(), wrong.as_str())] {
        let mut gateway = Gateway::start_before(zone(a), zone(b)).await;
        let (wall, hall) = (cookie(&gateway, A, WALL).await, cookie(&gateway, B, HALL).await);
        for fields in ["", "Accept: text/event-stream\r\n"] {
            assert_eq!(get(&gateway, A, &format!("{wall}{fields}"), "/a").await.status, 200);
            assert_eq!(get(&gateway, B, &format!("{hall}{fields}"), "/b").await.status, 502);
        }
        assert!(upstream.received().iter().all(|one| one.line.contains("/a")));
        gateway.assert_well();
    }
}

#[tokio::test]
async fn a_unix_socket_carries_requests_and_websockets() {
    let mut upstream = Upstream::start().await;
    let files = Files::new();
    let path = files.0.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = upstream.address();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut application = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut socket, &mut application).await;
            });
        }
    });
    let mut gateway = Gateway::start_before(format!("url: 'unix:{}'", path.display()), "").await;
    let wall = cookie(&gateway, A, WALL).await;
    for _ in 0..3 {
        assert_eq!(get(&gateway, A, &wall, "/x").await.status, 200);
        assert_eq!(upstream.only().all("host"), [gateway.authority(A)]);
    }
    assert_eq!(upstream.connections(), 1, "it is kept");
    upstream.on("/ws", Play::Take);
    let mut wire = gateway.connect(A).await;
    wire.send(format!("GET /ws HTTP/1.1\r\nHost: {A}\r\n{wall}{UPGRADE}\r\n")).await;
    let (_, mut application) = upstream.taken().await;
    application.send(SWITCH).await;
    assert_eq!(wire.head().await.unwrap().status, 101);
    wire.send("there").await;
    assert_eq!(application.exactly(5).await, Ok(b"there".to_vec()));
    application.send("back").await;
    assert_eq!(wire.exactly(4).await, Ok(b"back".to_vec()));
    // It ends with its session, like any other.
    let token = wall.trim_end().strip_prefix("Cookie: ").unwrap();
    let out = format!(
        "POST /.zonegate/api/logout HTTP/1.1\r\nHost: {A}\r\nCookie: {token}\r\nContent-Length: 0\r\n\r\n"
    );
    let _ = gateway.connect(A).await.ask(out).await;
    gateway.advance(25 * 3600).await;
    wire.assert_ended("the session has ended").await;
    gateway.assert_well();
}

/// What an HTTP/2 application received.
#[derive(Clone, Debug)]
struct Heard {
    connection: usize,
    authority: String,
    scheme: String,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// An application that speaks HTTP/2 and nothing else. It answers every request with its body and with trailers.
struct Http2 {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    /// How many requests it listens to, whose end has not come.
    under_way: watch::Sender<usize>,
}

impl Http2 {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let under_way = watch::Sender::new(0);
        let (hearing, listening) = (Arc::clone(&heard), under_way.clone());
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                let (tls, hearing) = (tls.clone(), (Arc::clone(&hearing), listening.clone()));
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, connection, hearing).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, connection, hearing).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, heard, under_way }
    }

    async fn holds(&self, requests: usize) {
        within(self.under_way.subscribe().wait_for(|held| *held == requests)).await.unwrap();
    }

    fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

type Hearing = (Arc<Mutex<Vec<Heard>>>, watch::Sender<usize>);

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, connection: usize, hearing: Hearing) {
    let (heard, under_way) = hearing;
    let Ok(mut exchange) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((request, mut respond))) = exchange.accept().await {
        let (heard, under_way) = (Arc::clone(&heard), under_way.clone());
        tokio::spawn(async move {
            let (parts, mut stream) = request.into_parts();
            let mut body = Vec::new();
            under_way.send_modify(|held| *held += 1);
            while let Some(Ok(piece)) = stream.data().await {
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            under_way.send_modify(|held| *held -= 1);
            heard.lock().unwrap().push(Heard {
                connection,
                authority: parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
                scheme: parts.uri.scheme_str().unwrap_or_default().to_owned(),
                path: parts.uri.path().to_owned(),
                headers: parts.headers,
                body: body.clone(),
            });
            let answer = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            // Not when the request was broken off.
            let Ok(mut send) = respond.send_response(answer, false) else { return };
            send.send_data(Bytes::from(body), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-zonegate-forged", "y".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        });
    }
}

#[tokio::test]
async fn http2_and_grpc_backends_get_the_head_the_body_and_give_their_trailers() {
    let authority = Authority::new();
    let files = Files::new();
    let ca = files.write("ca.pem", &authority.pem);
    let leaf = authority.leaf("app.test", false);
    for (protocol, tls) in [("http2", false), ("http2", true), ("grpc", false), ("grpc", true)] {
        let application = Http2::start(tls.then(|| acceptor(&leaf, None, &[b"h2"]))).await;
        let address = application.address;
        let upstream = match tls {
            true => {
                format!("url: 'https://{address}', server_name: app.test, ca_file: '{ca}', protocol: {protocol}")
            }
            false => format!("url: 'http://{address}', protocol: {protocol}"),
        };
        let mut gateway = Gateway::start_before(upstream, "").await;
        let token = gateway.log_in(A, WALL).await;
        let name = gateway.authority(A);
        let mut client = H2::new(gateway.connect_h2(A).await).await;
        for round in 0..3 {
            let request = Request::post(format!("https://{name}/svc/Method"))
                .header("cookie", format!("__Host-zg_session={token}"))
                .header("content-type", "application/grpc")
                .header("x-forwarded-user", "forged")
                .header("proxy-authorization", "Basic eA==");
            let request = if round == 0 { request } else { request.header("te", "trailers") };
            let reply = client.ask(request.body(()).unwrap(), b"message").await.unwrap();
            assert_eq!((reply.status.as_u16(), reply.body.as_slice()), (200, b"message".as_slice()));
            assert_eq!(reply.trailers["grpc-status"], "0");
            assert!(!reply.trailers.contains_key("x-zonegate-forged"));
        }
        // From HTTP/1.1 as well, without the trailers that it may not take, and without what it says of its connection.
        let wall = format!("Cookie: __Host-zg_session={token}\r\n");
        let hops = "Connection: close, X-Edge-Secret\r\nX-Edge-Secret: s\r\nProxy-Authorization: Basic eA==\r\nUpgrade: x\r\n";
        let body = format!("{hops}Content-Length: 2\r\n\r\nhi");
        let reply = gateway.connect(A).await.ask(format!("POST /h1 HTTP/1.1\r\nHost: {A}\r\n{wall}{body}")).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.whole), (200, "hi", true));
        let heard = application.heard();
        assert_eq!(heard.len(), 4);
        for (round, one) in heard.iter().enumerate() {
            assert_eq!(
                (one.authority.as_str(), one.scheme.as_str()),
                (name.as_str(), if tls { "https" } else { "http" })
            );
            assert_eq!(one.path, if round < 3 { "/svc/Method" } else { "/h1" });
            assert_eq!(one.body, if round < 3 { b"message".as_slice() } else { b"hi" });
            assert_eq!(one.headers["x-forwarded-user"], WALL);
            assert_eq!(one.headers.get_all("x-zonegate-assertion").iter().count(), 1);
            assert!(!one.headers.contains_key("cookie") && !one.headers.contains_key("host"));
            for hop in ["connection", "x-edge-secret", "proxy-authorization", "upgrade", "trailer"] {
                assert!(!one.headers.contains_key(hop), "{round}: {hop}");
            }
            assert_eq!(one.connection, 0, "they share one");
            if protocol == "grpc" {
                assert_eq!(one.headers["te"], "trailers", "{round}");
            }
        }
        // A WebSocket has no way there, and is told so; it is not passed on as something else.
        let reply =
            gateway.connect(A).await.ask(format!("GET /ws HTTP/1.1\r\nHost: {A}\r\n{wall}{UPGRADE}\r\n")).await;
        assert_eq!(reply.status, 501);
        let events = "Accept: text/event-stream\r\n";
        assert_eq!(get(&gateway, A, &format!("{wall}{events}"), "/events").await.status, 200);
        let paths: Vec<_> = application.heard().into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["/events"]);
        gateway.assert_well();
    }
}

#[tokio::test]
async fn an_application_without_http2_gets_nothing_in_its_place() {
    let authority = Authority::new();
    let files = Files::new();
    let ca = files.write("ca.pem", &authority.pem);
    let plain = Upstream::start().await;
    let leaf = authority.leaf("app.test", false);
    for protocols in [&[][..], &[b"http/1.1".as_slice()]] {
        let address = tls_before(plain.address(), acceptor(&leaf, None, protocols)).await;
        let upstream =
            format!("url: 'https://{address}', server_name: app.test, ca_file: '{ca}', protocol: http2");
        let mut gateway = Gateway::start_before(upstream, "").await;
        let wall = cookie(&gateway, A, WALL).await;
        assert_eq!(get(&gateway, A, &wall, "/x").await.status, 502);
        plain.assert_silent("no falling back");
        gateway.assert_well();
    }
}

#[tokio::test]
async fn a_long_upload_over_http2_is_not_cut_while_it_makes_progress() {
    let application = Http2::start(None).await;
    let upstream = format!("url: 'http://{}', protocol: http2, read_max: 1s", application.address);
    let gateway = Gateway::start_before(upstream, "").await;
    let wall = cookie(&gateway, A, WALL).await;
    let mut wire = gateway.connect(A).await;
    wire.send(format!("POST /x HTTP/1.1\r\nHost: {A}\r\n{wall}Transfer-Encoding: chunked\r\n\r\n")).await;
    let mut interval = tokio::time::interval(Duration::from_millis(400));
    for _ in 0..8 {
        interval.tick().await;
        wire.send("1\r\nx\r\n").await;
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.reply().await.status, 200);
    assert_eq!(application.heard()[0].body, b"xxxxxxxx");
}

#[tokio::test]
async fn a_conversation_over_http2_ends_with_its_session_although_the_application_is_silent() {
    let application = Http2::start(None).await;
    let gateway =
        Gateway::start_before(format!("url: 'http://{}', protocol: grpc", application.address), "").await;
    let token = gateway.log_in(A, WALL).await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = Request::post(format!("https://{}/svc/Talk", gateway.authority(A)))
        .header("cookie", format!("__Host-zg_session={token}"))
        .body(())
        .unwrap();
    let (answer, mut stream) = client.begin(request).await;
    stream.send_data(Bytes::from_static(b"before"), false).unwrap();
    gateway.advance(25 * 3600).await;
    let talk = async {
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        // Until the stream is reset: the first piece after the clock has moved is one too many.
        while stream.send_data(Bytes::from_static(b"after"), false).is_ok() {
            interval.tick().await;
        }
    };
    within(talk).await;
    drop(answer);
    assert!(application.heard().iter().all(|one| !one.body.ends_with(b"after")), "nothing of it arrives");
}

/// Over HTTP/2 and over HTTP/1 on the client's side; another session's conversation on the same connections goes on.
#[tokio::test]
async fn s7_a_conversation_over_http2_in_which_nobody_speaks_ends_with_its_session() {
    let application = Http2::start(None).await;
    let upstream = format!("url: 'http://{}', protocol: grpc, read_max: 60s", application.address);
    let gateway = Gateway::start_before(upstream, "").await;
    let (token, other) = (gateway.log_in(A, WALL).await, gateway.log_in(A, WALL).await);
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let talk = |token: &str| {
        let request = Request::post(format!("https://{}/svc/Talk", gateway.authority(A)));
        request.header("cookie", format!("__Host-zg_session={token}")).body(()).unwrap()
    };
    let (answer, mut stream) = client.begin(talk(&token)).await;
    stream.send_data(Bytes::from_static(b"x"), false).unwrap();
    let (others_answer, mut others) = client.begin(talk(&other)).await;
    others.send_data(Bytes::from_static(b"still "), false).unwrap();
    let mut wire = gateway.connect(A).await;
    let wall = format!("Cookie: __Host-zg_session={token}\r\n");
    wire.send(format!(
        "POST /svc/Talk HTTP/1.1\r\nHost: {A}\r\n{wall}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    ))
    .await;
    application.holds(3).await;
    let reply = get(&gateway, A, &wall, "/.zonegate/session").await;
    let session: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    gateway.command(&["session", "end", session["session"]["id"].as_str().unwrap()]).await;
    let ended = Instant::now();
    assert!(within(answer).await.is_err(), "it is seen to break off");
    wire.assert_ended("the session has ended").await;
    application.holds(1).await;
    assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", ended.elapsed());
    others.send_data(Bytes::from_static(b"here"), true).unwrap();
    let mut answer = within(others_answer).await.unwrap().into_body();
    assert_eq!(within(answer.data()).await.unwrap().unwrap(), "still here");
    // Both are in the log, like whatever has an end.
    let cut = || gateway.log().lines().filter(|line| line.contains("session_ended")).count();
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while cut() < 2 {
            interval.tick().await;
        }
    })
    .await;
}

/// A name server that knows one name, `app.test`, and whatever address the test gives it, for a second.
struct NameServer {
    address: SocketAddr,
    told: Arc<Mutex<Option<Ipv4Addr>>>,
}

impl NameServer {
    async fn start(first: Option<Ipv4Addr>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let told = Arc::new(Mutex::new(first));
        let telling = Arc::clone(&told);
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let answer = answer(&query[..length], *telling.lock().unwrap());
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self { address, told }
    }

    fn tell(&self, address: Option<Ipv4Addr>) {
        *self.told.lock().unwrap() = address;
    }
}

/// RFC 1035 section 4: the question back, and an A record of one second if that was asked for and there is one.
fn answer(query: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..name_end + 4];
    let wants_a = query[name_end..name_end + 2] == [0, 1];
    let record = address.filter(|_| wants_a);
    let mut out = query[..2].to_vec();
    // A response, recursion available; NXDOMAIN where nothing is known at all.
    out.extend([
        0x81,
        if address.is_none() { 0x83 } else { 0x80 },
        0,
        1,
        0,
        u8::from(record.is_some()),
        0,
        0,
        0,
        0,
    ]);
    out.extend_from_slice(question);
    if let Some(address) = record {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        out.extend(address.octets());
    }
    out
}

#[tokio::test]
async fn a_name_is_looked_up_again_when_its_answer_grows_old_and_need_not_be_there_at_the_start() {
    let first = Upstream::start().await;
    let port = first.address().port();
    let second = Upstream::start_at(([127, 0, 0, 2], port).into()).await;
    let names = NameServer::start(None).await;
    let upstream = format!("url: 'http://app.test:{port}', connect_max: 1s").leak() as &str;
    let name_server = format!("'{}'", names.address).leak() as &str;
    let wishes = Wishes { upstreams: [upstream, ""], name_server, ..Wishes::default() };
    let mut gateway = Gateway::start_with(first.address(), wishes).await;
    let wall = cookie(&gateway, A, WALL).await;
    assert_eq!(get(&gateway, A, &wall, "/x").await.status, 502, "nothing else waits for the name");
    assert!(gateway.log().contains("cannot be looked up"), "{}", gateway.log());
    for (told, upstream) in [([127, 0, 0, 1], &first), ([127, 0, 0, 2], &second), ([127, 0, 0, 1], &first)] {
        upstream.received();
        names.tell(Some(told.into()));
        let look = async {
            let mut interval = tokio::time::interval(Duration::from_millis(100));
            while upstream.received().is_empty() {
                interval.tick().await;
                let _ = get(&gateway, A, &wall, "/x").await;
            }
        };
        within(look).await;
    }
    // A name server that fails, or says that there is no such name, takes nothing away.
    names.tell(None);
    second.received();
    first.received();
    let mut interval = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..8 {
        interval.tick().await;
        assert_eq!(get(&gateway, A, &wall, "/x").await.status, 200);
    }
    assert_eq!((first.received().len(), second.received().len()), (8, 0));
    gateway.assert_well();
}

/// What gzip made of this, undone (RFC 1952, RFC 1951), by somebody else's hand.
fn gunzip(bytes: &[u8]) -> String {
    use std::io::Read as _;
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn answers_are_compressed_only_where_the_zone_the_client_and_the_answer_say_so() {
    let upstream = Upstream::start().await;
    let address = upstream.address();
    let gateway = Gateway::start_before(
        format!("url: 'http://{address}', compress: true"),
        format!("url: 'http://{address}'"),
    )
    .await;
    let (wall, hall) = (cookie(&gateway, A, WALL).await, cookie(&gateway, B, HALL).await);
    let text = "all work and no play ".repeat(2000);
    let length = text.len();
    let plain = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"v1\"\r\nContent-Length: {length}\r\n\r\n{text}"
    );
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n0\r\n\r\n"
    );
    let accepts = "Accept-Encoding: gzip\r\n";
    for answer in [&plain, &chunked] {
        upstream.say("/x", answer);
        // Over HTTP/1.1, raw.
        let mut wire = gateway.connect(A).await;
        wire.send(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{wall}{accepts}\r\n")).await;
        let head = wire.head().await.unwrap();
        assert_eq!((head.field("content-encoding"), head.field("content-length")), (Some("gzip"), None));
        assert_eq!(head.field("vary").map(str::to_ascii_lowercase).as_deref(), Some("accept-encoding"));
        assert!(head.field("etag").is_none_or(|tag| tag == "W/\"v1\""), "{head:?}");
        let mut body = Vec::new();
        loop {
            match wire.chunk().await.unwrap() {
                piece if piece.is_empty() => break,
                piece => body.extend(piece),
            }
        }
        assert!(body.len() < length / 10 && gunzip(&body) == text);
        // Over HTTP/2.
        let mut client = H2::new(gateway.connect_h2(A).await).await;
        let token = wall.trim_end().strip_prefix("Cookie: ").unwrap();
        let request = Request::get(format!("https://{}/x", gateway.authority(A)));
        let request = request.header("cookie", token).header("accept-encoding", "gzip").body(()).unwrap();
        let reply = client.ask(request, b"").await.unwrap();
        assert_eq!(reply.headers["content-encoding"], "gzip");
        assert_eq!(gunzip(&reply.body), text);
        // Not asked for by the client, or by the zone.
        for (zone, fields) in [(A, wall.clone()), (B, format!("{hall}{accepts}"))] {
            let reply = get(&gateway, zone, &fields, "/x").await;
            assert_eq!((reply.field("content-encoding"), reply.body.as_str()), (None, text.as_str()));
        }
    }
    upstream.say("/x", plain.replace("ETag", "Cache-Control: no-transform\r\nETag"));
    let reply = get(&gateway, A, &format!("{wall}{accepts}"), "/x").await;
    assert_eq!(
        (reply.field("content-encoding"), reply.field("etag"), reply.body.len()),
        (None, Some("\"v1\""), length)
    );
    // Our own pages never are.
    let reply = get(&gateway, A, &format!("Accept: text/html\r\n{accepts}"), "/.zonegate/login").await;
    assert_eq!((reply.status, reply.field("content-encoding")), (200, None));
}
