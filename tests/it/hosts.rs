//! Which host a request is for, and on whose connection: R11–R15, X1, X2, X4; and where a log-in leads (W1).

use http::Request;

use crate::harness::{A, B, Gateway, H2, HALL, LOGIN, SHARED, Upstream, WALL};

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    (upstream, gateway)
}

fn get(host: &str, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

const PERSON: &str = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n";

#[tokio::test]
async fn r12_an_unknown_host_is_421_whatever_is_asked_for() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    for path in ["/", "/x", "/.zonegate/login", "/.zonegate/session", "/.well-known/zonegate/jwks.json"] {
        for fields in ["", PERSON, &format!("Cookie: __Host-zg_session={token}\r\n")] {
            let mut wire = gateway.connect(A).await;
            let reply = wire.ask(get("nobody.test", path, fields)).await;
            assert_eq!(reply.status, 421, "{path} {fields}");
            assert!(reply.all("set-cookie").is_empty(), "{reply:?}");
            assert!(!reply.body.contains(A) && !reply.body.contains(B), "no tenant is named: {reply:?}");
        }
    }
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let reply = client.ask(Request::get("https://nobody.test/x").body(()).unwrap(), b"").await.unwrap();
    assert_eq!(reply.status, 421);
    upstream.assert_silent("nobody answers there");
}

#[tokio::test]
async fn x1_x4_a_connection_carries_only_hosts_that_its_certificate_covers() {
    let (upstream, gateway) = start().await;
    let (in_a, in_b) = (gateway.log_in(A, WALL).await, gateway.log_in(B, HALL).await);
    for (name, host, token, want) in [
        (A, A, &in_a, 200),
        (B, B, &in_b, 200),
        (A, B, &in_b, 421),
        (B, A, &in_a, 421),
        (LOGIN, A, &in_a, 421),
        (A, LOGIN, &in_a, 421),
        (B, "alias.test", &in_a, 421),
        (A, "alias.test", &in_a, 308),
        ("alias.test", A, &in_a, 200),
        (SHARED[0], A, &in_a, 421),
        (A, SHARED[0], &in_a, 421),
        (SHARED[0], SHARED[0], &in_a, 401),
        // One certificate for both: what browsers do with such zones goes on working.
        (SHARED[0], SHARED[1], &in_a, 401),
    ] {
        let cookie = format!("__Host-zg_session={token}");
        let mut wire = gateway.connect(name).await;
        let reply = wire.ask(get(host, "/x", &format!("Cookie: {cookie}\r\n"))).await;
        assert_eq!(reply.status, want, "{name} then {host}");
        let mut client = H2::new(gateway.connect_h2(name).await).await;
        let authority = gateway.authority(host);
        let request = Request::get(format!("https://{authority}/x")).header("cookie", cookie);
        let reply = client.ask(request.body(()).unwrap(), b"").await.unwrap();
        assert_eq!(reply.status, want, "{name} then {host} on HTTP/2");
        let got = upstream.received().len();
        assert_eq!(got, if want == 200 { 2 } else { 0 }, "{name} then {host}");
    }
}

#[tokio::test]
async fn x2_a_name_nobody_answers_for_gets_no_handshake() {
    let (upstream, gateway) = start().await;
    for name in [
        None,
        Some("nobody.test"),
        Some("x.a.test"),
        Some("shared.test"),
        Some("x.one.shared.test"),
        Some("127.0.0.1"),
    ] {
        let refused = gateway.try_tls(name, &[b"http/1.1"]).await.expect_err("a handshake");
        assert!(!refused.to_string().contains(A), "{refused}");
    }
    // The case of a name says nothing.
    assert!(gateway.try_tls(Some("A.Test"), &[]).await.is_ok());
    upstream.assert_silent("there was no connection");
}

#[tokio::test]
async fn an_alias_leads_to_the_canonical_host_and_keeps_path_query_and_method() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let authority = gateway.authority(A);
    for host in ["alias.test", "ALIAS.test.", "alias.test:8443"] {
        for (method, path) in
            [("GET", "/"), ("GET", "/x/y?a=b&c=%2F"), ("POST", "/x"), ("GET", "/.zonegate/login?return_to=/x")]
        {
            let mut wire = gateway.connect("alias.test").await;
            let fields = format!("Cookie: __Host-zg_session={token}\r\nContent-Length: 0\r\n");
            let reply = wire.ask(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
            assert_eq!(reply.status, 308, "{host} {method} {path}");
            assert_eq!(reply.field("location"), Some(&*format!("https://{authority}{path}")));
            assert!(reply.all("set-cookie").is_empty());
        }
    }
    upstream.assert_silent("an alias has no application");
}

#[tokio::test]
async fn the_plain_listener_only_redirects() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    for (host, want) in [(A, A), ("A.TEST:80", A), ("alias.test", A), (LOGIN, LOGIN), (SHARED[1], SHARED[1])] {
        let authority = gateway.authority(want);
        for path in ["/x?a=b", "/.zonegate/login"] {
            let mut wire = gateway.connect_plain().await;
            let cookie = format!("Cookie: __Host-zg_session={token}\r\n");
            let reply = wire.ask(get(host, path, &cookie)).await;
            assert_eq!(
                (reply.status, reply.field("location")),
                (308, Some(&*format!("https://{authority}{path}")))
            );
            assert!(reply.all("set-cookie").is_empty());
            // The connection carries another one, and a body that nobody reads is no request.
            let body = get(host, "/smuggled", "");
            let length = body.len();
            let request = format!("POST /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}");
            assert_eq!(wire.ask(request).await.status, 308);
            wire.finish().await;
            let more = wire.try_reply(false).await;
            assert!(more.is_none(), "an answer to a body: {more:?}");
        }
    }
    for (request, want) in [
        (get("nobody.test", "/x", ""), 421),
        ("GET /x HTTP/1.1\r\n\r\n".into(), 400),
        (get(A, "//evil.example/", ""), 400),
        ("GET http://evil.example/x HTTP/1.1\r\nHost: a.test\r\n\r\n".into(), 400),
    ] {
        let mut wire = gateway.connect_plain().await;
        assert_eq!(wire.ask(&request).await.status, want, "{request:?}");
    }
    upstream.assert_silent("the plain listener has no application");
}

#[tokio::test]
async fn r14_the_universal_host_has_no_session_and_no_application() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let cookie = format!("Cookie: __Host-zg_session={token}\r\n");
    for path in ["/", "/x", "/.zonegate/session", "/.zonegate/account", "/.zonegate/logout", "/.zonegate/login"] {
        for fields in [cookie.clone(), format!("{cookie}{PERSON}")] {
            let mut wire = gateway.connect(LOGIN).await;
            let reply = wire.ask(get(LOGIN, path, &fields)).await;
            assert!(!reply.body.contains(WALL), "{path}: {reply:?}");
            let given =
                |line: &&str| line.strip_prefix("__Host-zg_session=").is_some_and(|rest| !rest.starts_with(';'));
            assert!(!reply.all("set-cookie").iter().any(|line| given(&&**line)), "{path}: {reply:?}");
            assert_ne!(reply.status, 500, "{path}");
        }
    }
    let body = r#"{"client":"mobile","username":"wall@acme.example","password":"Granite-Window-74"}"#;
    let mut wire = gateway.connect(LOGIN).await;
    let length = body.len();
    let reply = wire
        .ask(format!(
            "POST /.zonegate/api/login HTTP/1.1\r\nHost: {LOGIN}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    assert_eq!((reply.status, reply.all("set-cookie").len()), (421, 0), "{reply:?}");
    upstream.assert_silent("the universal host has no application");
}

/// Logs in at the pages, from `login` on, and gives where that leads.
async fn led_to(gateway: &Gateway, query: &str) -> String {
    let mut wire = gateway.connect(A).await;
    let page = wire.ask(get(A, &format!("/.zonegate/login{query}"), PERSON)).await;
    assert_eq!(page.status, 200, "{query}: {page:?}");
    let cookie = page.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let mut page = page;
    for (name, value) in [("username", WALL), ("password", "Granite-Window-74")] {
        let flow = page.body.split("name=\"flow\"").nth(1).unwrap().split("value=\"").nth(1).unwrap();
        let flow = flow.split('"').next().unwrap();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("flow", flow), (name, value)])
            .finish();
        let (length, origin) = (body.len(), gateway.authority(A));
        let fields = format!(
            "{PERSON}Cookie: {cookie}\r\nOrigin: https://{origin}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
        );
        page = wire.ask(format!("POST /.zonegate/login HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n{body}")).await;
    }
    assert_eq!(page.status, 303, "{query}: {page:?}");
    assert!(format!("{:?}", page.all("set-cookie")).contains("__Host-zg_session="), "{page:?}");
    page.field("location").unwrap().to_owned()
}

#[tokio::test]
async fn w1_a_log_in_leads_to_a_place_on_its_own_host_or_home() {
    let (upstream, gateway) = start().await;
    let b = format!("https://{}/x", gateway.authority(B));
    let other_port = format!("https://{A}:1/x");
    for target in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\\/evil.example",
        "https:evil.example",
        "https://evil.example/",
        "https:/evil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "@evil.example",
        "/@evil.example/..//x",
        "/x\r\nSet-Cookie: a=b",
        "/x%0d%0aSet-Cookie:%20a=b",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "/.//evil.example",
        "/..//evil.example",
        "/x/..//evil.example",
        "/%2e%2e//evil.example",
        "/\u{2028}x",
        "/x#//evil.example",
        "evil.example",
        "",
        "x",
        "?x",
        &b,
        &other_port,
        "/.zonegate/logout",
        "/.zonegate/login?return_to=/x",
        "/.ZONEGATE/logout",
        "/%2ezonegate/logout",
        "/.zonegate;/logout",
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(target.as_bytes()).collect();
        let led = led_to(&gateway, &format!("?return_to={encoded}")).await;
        assert_eq!(led, "/", "{target:?}");
    }
    assert_eq!(led_to(&gateway, "?return_to=/x&return_to=//evil.example").await, "/x");
    assert_eq!(led_to(&gateway, "?return_to=//evil.example&return_to=/x").await, "/");
    assert_eq!(led_to(&gateway, "").await, "/");
    assert_eq!(led_to(&gateway, "?return_to=%2Fx%2Fy%3Fa%3Db%2526c").await, "/x/y?a=b%26c");
    upstream.assert_silent("a log-in asks no application");
}
