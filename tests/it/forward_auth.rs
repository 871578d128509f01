//! Forward-auth with the real proxies and the snippets that people copy; and the questions themselves, by hand.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::{A, Front, Gateway, Received, Reply, Upstream, WALL, Wire, Wishes};

/// The person is in `screens`.
const ACCESS: &str = "      - { path: /health, allow: public }
      - { below: /admin, groups: [admins] }
      - { below: /welcome, allow: optional }
";
const PAGE: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// What a client may send to be taken for somebody, or for asking something else.
const FORGED: [&str; 31] = [
    "X.Forwarded.User",
    "remote.user",
    "X-Forwarded-User",
    "X_Forwarded_User",
    "x_forwarded_email",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "Remote-User",
    "Remote_User",
    "Remote-Groups",
    "X-Zonegate-Assertion",
    "X_Zonegate_Assertion",
    "X-Zonegate-Location",
    "X-Original-Method",
    "X-Original-URI",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Forwarded-Host",
    "X-Forwarded-Method",
    "X-Forwarded-Uri",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded_User",
    "X-Forwarded_Email",
    "X+Forwarded+User",
    "X-User",
    "X-Auth-Request-User",
    "X-Remote-User",
    "X-Real-IP",
];

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")
}

fn forged(value: &str) -> String {
    FORGED.iter().map(|name| format!("{name}: {value}\r\n")).collect()
}

/// The values of every field whose name an application may take for this one.
fn folded<'a>(received: &'a Received, name: &str) -> Vec<&'a str> {
    let fold = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    received.fields.iter().filter(|(key, _)| fold(key) == name).map(|(_, value)| value.as_str()).collect()
}

/// Fails unless the application was told of exactly this person.
#[track_caller]
fn assert_told(received: &Received, user: Option<&str>) {
    let user: Vec<_> = user.into_iter().collect();
    assert_eq!(folded(received, "x-forwarded-user"), user, "{received:#?}");
    assert_eq!(folded(received, "x-forwarded-email"), user, "{received:#?}");
    assert_eq!(folded(received, "x-zonegate-assertion").len(), user.len(), "{received:#?}");
    for name in ["x-forwarded-groups", "x-forwarded-preferred-username", "remote-user", "remote-groups"] {
        assert!(folded(received, name).is_empty(), "{name}: {received:#?}");
    }
    let text = format!("{received:?}");
    assert!(!text.contains("Host-zg_") && !text.contains("mallory"), "{received:#?}");
}

/// What a client may name in `Connection`, so that a proxy takes it out.
const NOMINATED: &str = "X-Forwarded-User, X-Forwarded-Email, X-Zonegate-Assertion, X-Forwarded-For, Cookie";

/// Paths that mean one thing here and another there.
const AMBIGUOUS: [&str; 5] = ["/a/../admin", "/a/%2e%2e/admin", "/%2561dmin", "/;x/admin", "/a//admin"];

/// What other gateways assert identity under.
const FOREIGN: [&str; 6] = [
    "X-Pomerium-Jwt-Assertion",
    "Cf-Access-Authenticated-User-Email",
    "X-Goog-Authenticated-User-Email",
    "X-Ms-Client-Principal-Name",
    "Tailscale-User-Login",
    "X-Webauth-User",
];

/// nginx takes out what it was told by whole names only, so that nothing is let through with what other gateways assert.
async fn lets_through_no_foreign_identity(front: &Front) {
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", front.gateway.log_in(A, WALL).await);
    for name in FOREIGN {
        for (path, cookie) in [("/health", ""), ("/tickets/42", cookie.as_str())] {
            let fields = format!("{cookie}{name}: mallory\r\n");
            let reply = front.connect().await.ask(request("GET", path, &fields)).await;
            assert_eq!(reply.status, 403, "{name} at {path}: {reply:?}");
        }
    }
    front.upstream.assert_silent("the application is told of nobody else");
}

/// Everything that a browser and a stranger see through a proxy in front.
async fn through(front: &Front, nominated: &str, ambiguous: &[&str]) {
    let Front { gateway, upstream, .. } = front;
    let mut wire = front.connect().await;

    // Nobody: pages are led to the log-in, programs are told, public paths are open.
    let reply = wire.ask(request("GET", "/tickets/42?view=full&x=1", PAGE)).await;
    assert!(matches!(reply.status, 302 | 303), "{reply:?} {}", front.log());
    let login = format!("{}/.zonegate/login?return_to=%2Ftickets%2F42%3Fview%3Dfull%26x%3D1", front.origin());
    assert_eq!(reply.field("location"), Some(login.as_str()));
    let reply = wire.ask(request("GET", "/tickets", "Accept: application/json\r\n")).await;
    assert_eq!(reply.status, 401, "{reply:?}");
    let told: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((&told["error"], &told["reason"]), (&"unauthenticated".into(), &"no_session".into()));
    upstream.assert_silent("nobody is let through");
    for path in ["/health", "/welcome/x"] {
        let reply = wire.ask(request("GET", path, &forged("mallory"))).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{path} {}", front.log());
        assert_told(&upstream.only(), None);
    }

    // The pages of the log-in, through the proxy.
    let reply = wire.ask(request("GET", "/.zonegate/login?return_to=%2Ftickets", PAGE)).await;
    assert!(reply.status == 200 && reply.body.contains("name=\"username\""), "{reply:?}");
    let reply = wire.ask(request("GET", "/.well-known/zonegate/jwks.json", "")).await;
    assert!(reply.status == 200 && reply.body.contains("\"keys\""), "{reply:?}");

    // Somebody: named to the application, whatever else was sent; and no cookie of ours.
    let token = gateway.log_in(A, WALL).await;
    let cookie = format!("Cookie: theme=dark; __Host-zg_session={token}; lang=en\r\n");
    for path in ["/tickets/42", "/welcome"] {
        let reply = wire.ask(request("GET", path, &format!("{cookie}{}", forged("mallory")))).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{path} {}", front.log());
        let received = upstream.only();
        assert_told(&received, Some(WALL));
        assert_eq!(received.all("cookie"), ["theme=dark; lang=en"]);
        assert!(received.line.starts_with(&format!("GET {path} ")), "{received:?}");
    }
    // Nor does what a client says of its connection take our fields away, or the question.
    for fields in [
        format!("{cookie}Connection: {nominated}\r\n{}", forged("mallory")),
        format!("{cookie}Connection: keep-alive, {nominated}\r\nX-Forwarded_User: mallory\r\n"),
    ] {
        let reply = wire.ask(request("GET", "/tickets/42", &fields)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{fields:?} {}", front.log());
        assert_told(&upstream.only(), Some(WALL));
    }
    for protocol in ["h2c", "h2c, websocket", "TLS/1.2", "x"] {
        let fields =
            format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABk\r\n");
        let reply = wire.ask(request("GET", "/health", &fields)).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{protocol} {}", front.log());
        let received = upstream.only();
        for name in ["upgrade", "http2-settings"] {
            assert!(received.all(name).is_empty(), "{protocol}: {received:#?}");
        }
    }
    let only_ours = format!("Cookie: __Host-zg_session={token}\r\nContent-Length: 5\r\n");
    let reply = wire.ask(request("POST", "/tickets", &only_ours) + "hello").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    let received = upstream.only();
    assert_told(&received, Some(WALL));
    assert_eq!((received.line.as_str(), &received.body[..]), ("POST /tickets HTTP/1.1", &b"hello"[..]));
    assert!(received.all("cookie").is_empty(), "{received:?}");

    // The rules are those of the path that is asked for, and not of the one that the client says it is.
    for lie in ["/health", "/welcome", "/.zonegate/login", "/tickets"] {
        for path in ["/admin/users", "/Admin", "/admin;x/y"] {
            let reply = wire.ask(request("GET", path, &format!("{cookie}{}", forged(lie)))).await;
            assert_eq!(reply.status, 403, "{path} {lie}: {reply:?}");
        }
        let reply = wire.ask(request("GET", "/tickets", &forged(lie))).await;
        assert_eq!(reply.status, 401, "{lie}: {reply:?}");
    }
    upstream.assert_silent("a forged address opens nothing");

    // What a browser may not ask, and what no proxy should pass on unasked.
    for dialect in ["nginx", "caddy", "traefik"] {
        let path = format!("/.zonegate/auth/{dialect}");
        let reply = wire.ask(request("GET", &path, &format!("{cookie}{}", forged("/health")))).await;
        assert_eq!(reply.status, 404, "{reply:?}");
        assert!(reply.all("x-zonegate-assertion").is_empty(), "{reply:?}");
    }
    for path in ambiguous {
        let reply = front.connect().await.ask(request("GET", path, &cookie)).await;
        assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
    }
    upstream.assert_silent("ambiguous paths");

    // A WebSocket: let through from the zone's own pages, and not from elsewhere.
    upstream.say("/ws", "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
    let fields = |origin: &str| format!("{cookie}{UPGRADE}Origin: {origin}\r\n");
    let reply = front.connect().await.ask(request("GET", "/ws", &fields(&front.origin()))).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    let received = upstream.only();
    assert_eq!(received.all("upgrade"), ["websocket"]);
    assert_told(&received, Some(WALL));
    let reply = front.connect().await.ask(request("GET", "/ws", &fields("https://evil.test"))).await;
    assert_eq!(reply.status, 403, "{reply:?}");

    // Log-out counts at once; the client is told why where it can be.
    gateway.command(&["session", "end", "--user", WALL]).await;
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(50));
    let ended = loop {
        interval.tick().await;
        let reply = wire.ask(request("GET", "/tickets", &cookie)).await;
        if reply.status != 200 {
            break reply;
        }
    };
    assert!(ended.status == 401 && ended.body.contains("revoked"), "{ended:?}");
    // Those before the end.
    upstream.received();
}

#[tokio::test]
async fn nginx_with_its_snippet_lets_through_what_the_gate_does() {
    let mut front = Front::nginx(ACCESS).await;
    lets_through_no_foreign_identity(&front).await;
    through(&front, NOMINATED, &AMBIGUOUS).await;
    // A request for another host than this server's is nobody's, however it is written.
    for text in [
        "GET https://b.test/health HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: b.test\r\n\r\n",
    ] {
        assert_eq!(front.connect().await.ask(text).await.status, 421, "{text}");
    }
    front.upstream.assert_silent("that host is not here");
    // The gateway is gone: nobody is let through, and it is no fault of the client's.
    let asked_at = front.asked_at;
    front.gateway.kill().await;
    assert!(TcpStream::connect(asked_at).await.is_err());
    let reply = front.connect().await.ask(request("GET", "/health", "")).await;
    assert_eq!((reply.status, reply.field("retry-after")), (503, Some("2")), "{reply:?}");
    front.upstream.assert_silent("the gateway is gone");
}

/// By hand, with a Traefik 3 on the path: `cargo test --features test-clock --test it -- --ignored traefik`.
#[tokio::test]
#[ignore = "needs traefik, which Debian does not have"]
async fn traefik_with_its_snippet_lets_through_what_the_gate_does() {
    let mut front = Front::traefik(ACCESS).await;
    let [ambiguous @ .., merged] = AMBIGUOUS;
    through(&front, NOMINATED.trim_end_matches(", Cookie"), &ambiguous).await;
    // It merges slashes before anybody is asked, and the application receives what was asked about.
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", front.gateway.log_in(A, WALL).await);
    assert_eq!(front.connect().await.ask(request("GET", merged, &cookie)).await.status, 200);
    assert_eq!(front.upstream.only().line, "GET /a/admin HTTP/1.1");
    assert_eq!(front.connect().await.ask(request("GET", "//admin", &cookie)).await.status, 403);
    // The cookie that a client gives away like that is gone before anybody asks: it is nobody.
    let fields = format!("{cookie}Connection: {NOMINATED}\r\n{}", forged("mallory"));
    assert_eq!(front.connect().await.ask(request("GET", "/tickets", &fields)).await.status, 401);
    front.gateway.kill().await;
    let reply = front.connect().await.ask(request("GET", "/health", "")).await;
    assert!(reply.status >= 500, "nobody can be asked: {reply:?}");
    front.upstream.assert_silent("nobody is let through");
}

#[tokio::test]
async fn caddy_with_its_snippet_lets_through_what_the_gate_does() {
    let mut front = Front::caddy(ACCESS).await;
    through(&front, NOMINATED, &AMBIGUOUS).await;
    let foreign: String = FOREIGN.iter().map(|name| format!("{name}: mallory\r\n")).collect();
    assert_eq!(front.connect().await.ask(request("GET", "/health", &foreign)).await.status, 200);
    assert_told(&front.upstream.only(), None);
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", front.gateway.log_in(A, WALL).await);
    let reply = front.connect().await.ask(request("GET", "/admin", &format!("{cookie}{PAGE}"))).await;
    assert!(reply.status == 403 && reply.body.contains(WALL), "our own page: {reply:?}");
    front.gateway.kill().await;
    let reply = front.connect().await.ask(request("GET", "/health", "")).await;
    assert!(matches!(reply.status, 502 | 503), "{reply:?}");
    front.upstream.assert_silent("the gateway is gone");
}

async fn asked(wire: &mut Wire, dialect: &str, host: &str, fields: &str) -> Reply {
    wire.ask(format!("GET /.zonegate/auth/{dialect} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await
}

async fn gateway(trusted: &str) -> (Upstream, Gateway, Wire) {
    let (upstream, gateway, address) = gateway_at(trusted).await;
    (upstream, gateway, Wire::new(TcpStream::connect(address).await.unwrap()))
}

async fn gateway_at(trusted: &str) -> (Upstream, Gateway, SocketAddr) {
    let upstream = Upstream::start().await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("forward_auth: '{address}', trusted_proxies: [{trusted}]");
    let zone_a = format!("    forward_auth: true\n    access:\n{ACCESS}");
    let wishes = Wishes {
        listen: Box::leak(listen.into_boxed_str()),
        zone_a: Box::leak(zone_a.into_boxed_str()),
        ..Wishes::default()
    };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    (upstream, gateway, address)
}

#[tokio::test]
async fn a_question_has_each_field_of_its_proxy_once_and_no_other_is_read() {
    let (_upstream, gateway, mut wire) = gateway("127.0.0.1").await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let nginx = "X-Original-Method: GET\r\nX-Original-URI: /x\r\n";
    let forwarded = format!("X-Forwarded-Host: {A}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /x\r\n");
    let check = async |wire: &mut Wire, dialect: &str, host: &str, fields: &str, want: u16| {
        let reply = asked(wire, dialect, host, &format!("{cookie}{fields}")).await;
        assert_eq!(reply.status, want, "{dialect} {host} {fields}: {reply:?}");
        assert_eq!(reply.all("x-forwarded-user").len(), usize::from(want == 200));
        reply
    };
    let reply = check(&mut wire, "nginx", A, nginx, 200).await;
    assert_eq!((reply.field("x-forwarded-user"), reply.field("cookie")), (Some(WALL), None));
    // What Caddy copies has to be there, or a placeholder's text would be.
    let health = forwarded.replace("/x", "/health");
    for (dialect, want) in [("caddy", Some("")), ("traefik", None)] {
        let reply = asked(&mut wire, dialect, "x", &format!("{cookie}{health}")).await;
        for name in ["x-forwarded-user", "x-forwarded-email", "x-zonegate-assertion", "cookie"] {
            assert_eq!((reply.status, reply.field(name)), (200, want), "{dialect} {name}");
        }
    }
    for dialect in ["caddy", "traefik"] {
        check(&mut wire, dialect, "127.0.0.1", &forwarded, 200).await;
        // The other's fields do not count, and do not stand in for its own.
        check(&mut wire, dialect, A, nginx, 400).await;
        check(&mut wire, dialect, "x", &format!("{forwarded}X-Original-URI: /health\r\n"), 200).await;
        check(&mut wire, dialect, "x", &format!("{forwarded}X-Forwarded-Uri: /health\r\n"), 400).await;
        check(&mut wire, dialect, "x", &forwarded.replace(A, "b.test"), 404).await;
        check(&mut wire, dialect, "x", &forwarded.replace(A, "nowhere.test"), 421).await;
        check(&mut wire, dialect, "x", &forwarded.replace("/x", "/.zonegate/session"), 404).await;
        check(&mut wire, dialect, "x", &forwarded.replace("/x", "/.ZoneGate/x"), 404).await;
        check(&mut wire, dialect, "x", &forwarded.replace("/x", "/a/../b"), 400).await;
        check(&mut wire, dialect, "x", &forwarded.replace("GET", "TRACE"), 405).await;
        check(&mut wire, dialect, "x", &forwarded.replace(A, "alias.test"), 308).await;
    }
    check(&mut wire, "nginx", A, &forwarded, 400).await;
    check(&mut wire, "nginx", A, &format!("{nginx}X-Original-URI: /health\r\n"), 400).await;
    check(&mut wire, "nginx", A, "X-Original-URI: /x\r\n", 400).await;
    // nginx knows no refusal but 401 and 403.
    for (from, to, reason) in [
        ("/x", "/admin", "forbidden_by_rule"),
        ("/x", "/.zonegate/session", "gateway_path"),
        ("/x", "/a/../b", "ambiguous_path"),
        ("GET", "TRACE", "method"),
    ] {
        let reply = check(&mut wire, "nginx", A, &nginx.replace(from, to), 403).await;
        assert_eq!(reply.field("x-zonegate-reason"), Some(reason));
    }
    let reply = check(&mut wire, "nginx", "b.test", nginx, 403).await;
    assert_eq!(reply.field("x-zonegate-reason"), Some("not_this_way"));
    let reply = check(&mut wire, "nginx", "nowhere.test", nginx, 403).await;
    assert_eq!(reply.field("x-zonegate-reason"), Some("unknown_host"));
    // Nothing else is answered here: no page, no log-in, no health.
    for path in ["/", "/.zonegate/auth", "/.zonegate/login", "/.zonegate/session", "/livez", "/x"] {
        assert_eq!(
            wire.ask(format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{nginx}\r\n")).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn ingress_nginx_asks_for_one_host_and_tells_a_url_once() {
    let (_upstream, gateway, mut wire) = gateway("127.0.0.1").await;
    let cookie = format!("Cookie: theme=dark; __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let question = format!("X-Original-Method: GET\r\nX-Original-URL: https://{A}/x?y=/z\r\n");
    let mut check = async |host: &str, fields: &str, want: (u16, Option<&str>)| {
        // What it sends as well, and what counts for nothing.
        let more = "X-Auth-Request-Redirect: /health\r\nX-Sent-From: nginx-ingress-controller\r\nX-Original-URI: /health\r\n";
        let dialect = format!("ingress-nginx/{host}");
        let reply = asked(&mut wire, &dialect, "zonegate.svc:9480", &format!("{cookie}{more}{fields}")).await;
        assert_eq!((reply.status, reply.field("x-zonegate-reason")), want, "{host} {fields}: {reply:?}");
        assert_eq!(reply.all("x-forwarded-user").len(), usize::from(want.0 == 200));
        reply
    };
    let reply = check(A, &question, (200, None)).await;
    assert_eq!((reply.field("x-forwarded-user"), reply.field("cookie")), (Some(WALL), Some("theme=dark")));
    check(A, &question.replace("https://", "http://"), (200, None)).await;
    check(A, &question.replace(A, "A.Test:8443"), (200, None)).await;
    check("alias.test", &question, (200, None)).await;
    let reply = check(A, &question.replace(A, "alias.test"), (401, Some("canonical"))).await;
    let place = format!("https://{}/x?y=/z", gateway.authority(A));
    assert_eq!(reply.field("x-zonegate-location"), Some(place.as_str()));
    // Not the host that the proxy asks for, though the path is public there.
    let public = question.replace("/x?y=/z", "/health");
    for (named, host) in
        [("b.test", A), (A, "b.test"), (A, "nowhere.test"), ("nowhere.test", A), (A, "login.test")]
    {
        check(named, &public.replace(A, host), (403, Some("other_host"))).await;
    }
    for host in ["a.test/", "me@a.test", ""] {
        let fields = question.replace(&format!("{A}/x"), &format!("{host}/x"));
        let want = if host == "a.test/" { "ambiguous_path" } else { "host" };
        check(A, &fields, (403, Some(want))).await;
    }
    for (from, to, reason) in [
        ("/x", "/admin", "forbidden_by_rule"),
        ("/x", "/.zonegate/session", "gateway_path"),
        ("/x", "/a/../b", "ambiguous_path"),
        ("GET", "TRACE", "method"),
    ] {
        check(A, &question.replace(from, to), (403, Some(reason))).await;
    }
    for fields in [
        question.replace("X-Original-URL", "X-Original-UR"),
        format!("{question}X-Original-URL: https://{A}/health\r\n"),
        format!("{question}X-Original-Method: GET\r\n"),
        question.replace("https://", ""),
        question.replace("https://", "ftp://"),
        question.replace("/x?y=/z", ""),
        question.replace("/x?y=/z", "*"),
    ] {
        check(A, &fields, (400, None)).await;
    }
    // Without a host there is no such page.
    for path in ["ingress-nginx", "ingress-nginx/", "ingress-nginx/a.test/x"] {
        assert_eq!(asked(&mut wire, path, A, &format!("{cookie}{question}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn ingress_nginx_with_its_example_lets_through_what_the_gate_does() {
    let front = Front::ingress_nginx(ACCESS).await;
    lets_through_no_foreign_identity(&front).await;
    let Front { gateway, upstream, .. } = &front;
    let mut wire = front.connect().await;
    let reply = wire.ask(request("GET", "/tickets/42", PAGE)).await;
    let login = "https://a.test/.zonegate/login?return_to=/tickets/42";
    assert_eq!((reply.status, reply.field("location")), (302, Some(login)), "{}", front.log());
    let cookie = format!("Cookie: theme=dark; __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    // Names with "_", "." and other signs are thrown away by nginx (ignore_invalid_headers), as the controller leaves it.
    let plain = |name: &&&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let forged: String = FORGED.iter().filter(plain).map(|name| format!("{name}: mallory\r\n")).collect();
    for (path, fields, user) in [("/health", "", None), ("/tickets/42", cookie.as_str(), Some(WALL))] {
        let reply = wire.ask(request("GET", path, &format!("{fields}{forged}"))).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{path} {}", front.log());
        let received = upstream.only();
        assert_told(&received, user);
        assert_eq!(received.all("cookie"), if user.is_some() { vec!["theme=dark"] } else { vec![] });
    }
    assert_eq!(wire.ask(request("GET", "/admin", &cookie)).await.status, 403);
    let reply = wire.ask(request("GET", "/.zonegate/login", PAGE)).await;
    assert!(reply.status == 200 && reply.body.contains("name=\"username\""), "{reply:?}");
    // The proxy goes by the request line, and tells of the other: what is public in a.test is not public here.
    let crossed = format!("GET https://b.test/health HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n");
    assert_eq!(front.connect().await.ask(crossed).await.status, 403, "{}", front.log());
    upstream.assert_silent("it is another zone's application");
}

#[tokio::test]
async fn d9_neither_strangers_nor_questions_that_make_no_sense_fill_the_log() {
    const FLOOD: usize = 400;
    let (_upstream, strange, address) = gateway_at("192.0.2.1").await;
    for _ in 0..FLOOD {
        let wire = Wire::new(TcpStream::connect(address).await.unwrap());
        wire.assert_ended("192.0.2.1 may ask, and nobody else").await;
    }
    let (_upstream, trusted, mut wire) = gateway("127.0.0.1").await;
    for _ in 0..FLOOD {
        assert_eq!(asked(&mut wire, "caddy", A, "X-Forwarded-Method: \u{e9}\r\n").await.status, 400);
    }
    for (gateway, line) in [(strange, "listen.trusted_proxies"), (trusted, "exactly one such field")] {
        let lines = gateway.log().lines().filter(|told| told.contains(line)).count();
        assert!((1..FLOOD / 2).contains(&lines), "{lines} lines with {line:?}");
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_not_answered_and_on_other_listeners_there_is_no_such_page() {
    let (upstream, gateway, mut wire) = gateway("192.0.2.1").await;
    let token = gateway.log_in(A, WALL).await;
    let fields = format!(
        "Cookie: __Host-zg_session={token}\r\nX-Original-Method: GET\r\nX-Original-URI: /health\r\nX-Forwarded-Host: \
         {A}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /health\r\n"
    );
    let _ = wire.try_send(request("GET", "/.zonegate/auth/nginx", &fields)).await;
    wire.assert_ended("192.0.2.1 may ask, and nobody else").await;
    assert!(gateway.log().contains("listen.trusted_proxies"), "{}", gateway.log());
    for dialect in ["nginx", "caddy", "traefik", "ingress-nginx/a.test"] {
        let reply =
            gateway.connect(A).await.ask(request("GET", &format!("/.zonegate/auth/{dialect}"), &fields)).await;
        assert_eq!(reply.status, 404);
        assert!(
            reply.all("x-zonegate-assertion").is_empty() && reply.all("x-forwarded-user").is_empty(),
            "{reply:?}"
        );
    }
    // An ordinary request stays what it is.
    assert_eq!(gateway.connect(A).await.ask(request("GET", "/admin", &fields)).await.status, 403);
    upstream.assert_silent("the fields mean nothing here");
}
