//! Access rules over real sockets: who is let through to which path, what the application is told, and what is logged.

use http::Request;
use zonegate::base::MasterKey;
use zonegate::store::Store;

use crate::harness::{A, B, Gateway, H2, HALL, Play, Received, Upstream, WALL, Wishes, within};

/// The person is in `screens` and of the kind `dashboard`.
const RULES: &str = "    access:
      - { path: /health, allow: public }
      - { below: /static, methods: [GET], allow: public, name: style }
      - { below: /welcome, allow: optional }
      - { below: /screens, groups: [screens], kinds: [dashboard] }
      - { below: /reports, methods: [GET], allow: signed_in }
      - { below: /reports, groups: [writers] }
      - { below: /internal, allow: deny }
";
const FORGED: [&str; 9] = [
    "X-Forwarded-User",
    "X_Forwarded_User",
    "x.forwarded.email",
    "Remote-User",
    "X-Zonegate-Assertion",
    "X_ZONEGATE_ASSERTION",
    "X-Forwarded-For",
    "Forwarded",
    "X-Auth-Request-User",
];
const PAGE: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let wishes = Wishes { zone_a: RULES, ..Wishes::default() };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    (upstream, gateway)
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")
}

fn cookie(token: &str) -> String {
    format!("Cookie: theme=dark; __Host-zg_session={token}\r\n")
}

/// Fails unless the request says that it is nobody's, and no word of what the client made up.
#[track_caller]
fn assert_nobody(received: &Received, authority: &str) {
    let known = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"];
    for (name, value) in &received.fields {
        let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
        let ours = ["x-forwarded", "x-zonegate", "remote-", "forwarded", "x-auth"];
        let allowed = known.contains(&name.as_str()) || !ours.iter().any(|prefix| name.starts_with(prefix));
        assert!(allowed && !value.contains("forged") && !value.contains("Host-zg_"), "{name}: {received:#?}");
    }
    assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.all("host"), [authority]);
}

#[tokio::test]
async fn h1_a_public_path_is_nobodys_whoever_asks_and_whatever_they_forge() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let authority = gateway.authority(A);
    let forged: String = FORGED.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let mut wire = gateway.connect(A).await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    for path in ["/health", "/static/app.css", "/static", "/welcome"] {
        for cookie in ["", "Cookie: __Host-zg_session=garbage; theme=dark\r\n", "Cookie: __Host-zg_browser=x\r\n"]
        {
            let reply = wire.ask(request("GET", path, &format!("{forged}{cookie}"))).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{path} {cookie}");
            assert_nobody(&upstream.only(), &authority);
        }
        let mut request = Request::get(format!("https://{A}{path}")).header("cookie", "__Host-zg_session=x");
        for name in FORGED {
            request = request.header(name, "forged");
        }
        assert_eq!(client.ask(request.body(()).unwrap(), b"").await.unwrap().status, 200);
        assert_nobody(&upstream.only(), &authority);
    }
    // With a session: only where it is wanted.
    let reply = wire.ask(request("GET", "/health", &format!("{forged}{}", cookie(&token)))).await;
    assert_eq!(reply.status, 200);
    let received = upstream.only();
    assert_nobody(&received, &authority);
    assert_eq!(received.all("cookie"), ["theme=dark"]);
    assert_eq!(wire.ask(request("GET", "/welcome", &format!("{forged}{}", cookie(&token)))).await.status, 200);
    let received = upstream.only();
    assert_eq!(received.all("x-forwarded-user"), [WALL]);
    assert_eq!(received.all("x-zonegate-assertion").len(), 1);
    assert!(!format!("{received:?}").contains("forged"));
    // A session of another zone is nobody's here.
    let other = gateway.log_in(B, HALL).await;
    assert_eq!(wire.ask(request("GET", "/welcome", &cookie(&other))).await.status, 200);
    assert_nobody(&upstream.only(), &authority);
}

#[tokio::test]
async fn m9_what_is_not_surely_public_needs_a_session() {
    let (upstream, gateway) = start().await;
    let mut wire = gateway.connect(A).await;
    for (request_line, want) in [
        ("GET /Health", 401),
        ("GET /health/", 401),
        ("GET /health;x", 401),
        ("GET /health/x", 401),
        ("GET /%68ealth", 401),
        ("POST /static/app.css", 401),
        ("get /static/app.css", 501),
        ("GET /STATIC/app.css", 401),
        ("GET /x?/../health", 401),
        ("GET /?/static/app.css", 401),
        ("GET /staticx", 401),
        ("GET /;/health", 400),
        ("GET /%20/health", 400),
        ("GET /static/../screens", 400),
        ("GET /static/..;/screens", 400),
        ("GET /static/%2e%2e/screens", 400),
        ("GET /static//screens", 400),
        ("GET /static/..%2fscreens", 400),
        ("GET /static%5c..%5cscreens", 400),
        ("GET /static/%252e%252e/screens", 400),
        ("GET /static/%c0%ae%c0%ae/screens", 400),
        ("GET /static/%00/../screens", 400),
    ] {
        let (method, path) = request_line.split_once(' ').unwrap();
        assert_eq!(wire.ask(request(method, path, "Content-Length: 0\r\n")).await.status, want, "{request_line}");
    }
    upstream.assert_silent("none of them is public");
}

#[tokio::test]
async fn who_lacks_what_a_rule_asks_for_is_told_and_logged_and_not_sent_to_log_in() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let mut wire = gateway.connect(A).await;
    let cookie = cookie(&token);
    for (method, path, want) in [
        ("GET", "/screens/7", 200),
        ("GET", "/Screens/7", 200),
        ("GET", "/reports/7", 200),
        ("HEAD", "/reports/7", 200),
        ("POST", "/reports/7", 403),
        ("DELETE", "/REPORTS/7", 403),
        ("GET", "/internal", 403),
        ("GET", "/anything", 200),
    ] {
        wire.send(request(method, path, &format!("{cookie}Content-Length: 0\r\n"))).await;
        let reply = wire.try_reply(method == "HEAD").await.unwrap();
        assert_eq!(reply.status, want, "{method} {path}");
        assert_eq!(upstream.received().len(), usize::from(want == 200), "{method} {path}");
    }
    // Programs get a problem of ours, people a page with a way out; neither is led to the log-in, nor loses the cookie.
    let reply = wire.ask(request("POST", "/reports/7", &format!("{cookie}Content-Length: 0\r\n"))).await;
    assert_eq!(reply.field("content-type"), Some("application/problem+json"));
    let told: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((&told["status"], &told["reason"]), (&403.into(), &"forbidden_by_rule".into()));
    let reply = wire.ask(request("GET", "/internal/x", &format!("{cookie}{PAGE}"))).await;
    assert_eq!((reply.status, reply.field("location")), (403, None));
    assert!(reply.body.contains(WALL) && reply.body.contains("id=\"logout\""), "{}", reply.body);
    assert!(reply.all("set-cookie").is_empty() && reply.field("cache-control") == Some("no-store"));
    let german = request("GET", "/internal/x", &format!("{cookie}{PAGE}Accept-Language: de\r\n"));
    assert!(wire.ask(german).await.body.contains("Kein Zugang"));
    // Strangers: sent to log in where that could help, and told no where it could not.
    assert_eq!(wire.ask(request("GET", "/screens/7", PAGE)).await.status, 303);
    assert_eq!(wire.ask(request("POST", "/reports", "Content-Length: 0\r\n")).await.status, 401);
    let reply = wire.ask(request("GET", "/internal", PAGE)).await;
    assert_eq!(reply.status, 403);
    assert!(!reply.body.contains("id=\"logout\""), "{}", reply.body);

    // The security log has the person, the access log has everything.
    let key = MasterKey::parse(&std::fs::read_to_string(gateway.file("master.key")).unwrap()).unwrap();
    let store = Store::open(&gateway.file("zonegate.db"), &key).await.unwrap();
    let events = store.events(None, 1000).await.unwrap();
    let denied: Vec<_> = events.iter().filter(|event| event.kind == "access_denied").collect();
    assert_eq!(denied.len(), 6, "{denied:?}");
    assert!(denied.iter().all(|event| event.reason.as_deref() == Some("forbidden_by_rule")));
    for (path, status, rule) in
        [("/reports/7", 403, "access[5]"), ("/reports/7", 200, "access[4]"), ("/internal", 403, "access[6]")]
    {
        let line = logged(&gateway, path, status).await;
        assert_eq!(line["rule"], rule);
        assert!(line.get("user").is_some(), "who it was: {line}");
    }
    assert!(logged(&gateway, "/anything", 200).await.get("rule").is_none());
    assert_eq!(logged(&gateway, "/reports/7", 403).await["reason"], "forbidden_by_rule");
}

/// The first line of the access log for this path and status, once it is written.
async fn logged(gateway: &Gateway, path: &str, status: u16) -> serde_json::Value {
    within(async {
        let mut interval = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            interval.tick().await;
            let log = gateway.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            if let Some(line) = lines.find(|line| line["path"] == path && line["status"] == status) {
                return line;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_public_path_is_no_activity_and_an_optional_one_is() {
    let (_upstream, gateway) = start().await;
    let (idle, active) = (gateway.log_in(A, WALL).await, gateway.log_in(A, WALL).await);
    gateway.advance(7 * 3600).await;
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(request("GET", "/health", &cookie(&idle))).await.status, 200);
    assert_eq!(wire.ask(request("GET", "/welcome", &cookie(&active))).await.status, 200);
    gateway.advance(9 * 3600).await;
    let reply = wire.ask(request("GET", "/x", &cookie(&idle))).await;
    assert!(reply.status == 401 && reply.body.contains("idle"), "{reply:?}");
    assert_eq!(wire.ask(request("GET", "/x", &cookie(&active))).await.status, 200);
}

#[tokio::test]
async fn a_websocket_of_nobody_flows_on_a_public_path() {
    let (upstream, gateway) = start().await;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    upstream.on("/static/live", Play::Echo(switch.into()));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let mut wire = gateway.connect(A).await;
    wire.send(request("GET", "/static/live", upgrade)).await;
    assert_eq!(wire.head().await.unwrap().status, 101);
    wire.send("hello").await;
    assert_eq!(wire.exactly(5).await.unwrap(), b"hello");
    assert_nobody(&upstream.only(), &gateway.authority(A));
    // Another site's page does not open it either.
    let mut wire = gateway.connect(A).await;
    let reply = wire.ask(request("GET", "/static/live", &format!("{upgrade}Origin: https://evil.test\r\n"))).await;
    assert_eq!(reply.status, 403);
}
