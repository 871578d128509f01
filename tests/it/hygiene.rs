//! G1 over real sockets: the application never sees an identity that the gateway did not assert, nor the gateway's
//! cookies; and cannot set them.

use http::Request;

use crate::harness::{A, B, Gateway, H2, HALL, Received, Reply, Upstream, WALL};

/// The words that no application may ever receive.
const FORGED: &str = "forged";

/// Every name that somebody may read as identity, address or routing.
const NAMES: [&str; 34] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Client-Cert",
    "X-Zonegate-Assertion",
    "X-Zonegate-User",
    "X-Request-Id",
    "X-Real-IP",
    "X-Client-IP",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Authentik-Username",
    "Remote-User",
    "Remote-Groups",
    "Remote-Email",
    "Forwarded",
    "Client-Cert",
    "Client-Cert-Chain",
    "True-Client-IP",
    "CF-Connecting-IP",
];

/// The spellings that a parser behind CGI, WSGI or PHP folds into one.
fn spellings(name: &str) -> [String; 6] {
    let every_second = name.split('-').enumerate().fold(String::new(), |mut all, (at, part)| {
        all.push_str(if at == 0 { "" } else { ["_", "-"][at % 2] });
        all.push_str(part);
        all
    });
    [
        name.to_owned(),
        name.to_ascii_uppercase(),
        name.replace('-', "_").to_ascii_lowercase(),
        name.replace('-', "."),
        format!("{name}_"),
        every_second,
    ]
}

fn get(host: &str, path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

fn cookie(token: &str) -> String {
    format!("Cookie: __Host-zg_session={token}\r\n")
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.', ' '], "-").trim_end_matches('-').to_owned()
}

/// Fails unless the request says who `user` is, once, and nothing that the client made up.
#[track_caller]
fn assert_identity(received: &Received, user: &str, preset: &[(&str, &str)], authority: &str) {
    let mut want = vec![
        ("x-forwarded-user", user),
        ("x-forwarded-email", user),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", authority),
        ("host", authority),
    ];
    want.extend(preset);
    let folded: Vec<_> = received.fields.iter().map(|(name, value)| (fold(name), value.as_str())).collect();
    let all = |wanted: &str| {
        folded.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    for (name, value) in want {
        assert_eq!(all(name), [value], "{name}: {received:#?}");
    }
    let assertion = all("x-zonegate-assertion");
    assert!(matches!(assertion[..], [one] if one.split('.').count() == 3), "{received:#?}");
    assert!(matches!(all("x-request-id")[..], [one] if one.len() == 32), "{received:#?}");
    let text = format!("{received:?}").to_ascii_lowercase();
    assert!(!text.contains(FORGED) && !text.contains("host-zg_"), "{received:#?}");
    // Nothing of ours under a name that is not ours to the letter.
    let known =
        ["x-forwarded-user", "x-forwarded-email", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let known =
        known.iter().chain(preset.iter().map(|(name, _)| name)).chain(&["x-request-id", "x-zonegate-assertion"]);
    let known: Vec<_> = known.collect();
    for (name, _) in &received.fields {
        let folded = fold(name);
        let ours = [
            "x-forwarded",
            "x-zonegate",
            "x-request-id",
            "x-real",
            "remote-",
            "forwarded",
            "client-cert",
            "x-original",
            "x-auth",
        ];
        if ours.iter().any(|prefix| folded.starts_with(prefix)) {
            assert!(known.iter().any(|known| name.eq_ignore_ascii_case(known)), "{name}: {received:#?}");
        }
    }
}

const OAUTH2_PROXY: [(&str, &str); 2] =
    [("x-forwarded-groups", "screens,doors"), ("x-forwarded-preferred-username", HALL)];

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    (upstream, gateway)
}

#[tokio::test]
async fn h1_h2_h3_no_spelling_of_an_identity_field_gets_through_on_http_1() {
    let (upstream, gateway) = start().await;
    for (zone, user, preset) in [(A, WALL, &[][..]), (B, HALL, &OAUTH2_PROXY[..])] {
        let token = gateway.log_in(zone, user).await;
        let authority = gateway.authority(zone);
        let mut wire = gateway.connect(zone).await;
        let spelled: Vec<_> = NAMES.iter().flat_map(|name| spellings(name)).collect();
        for names in spelled.chunks(12) {
            // Each twice, around the session's cookie.
            let forged: String = names.iter().map(|name| format!("{name}: {FORGED}, {FORGED}\r\n")).collect();
            let fields = format!("{forged}{}{forged}", cookie(&token));
            let reply = wire.ask(get(zone, "/x", &fields)).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{names:?}");
            assert_identity(&upstream.only(), user, preset, &authority);

            // A WebSocket's handshake is a request like any other.
            upstream.say("/ws", "HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
            let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
            let mut wire = gateway.connect(zone).await;
            assert_eq!(wire.ask(get(zone, "/ws", &format!("{upgrade}{fields}"))).await.status, 400);
            assert_identity(&upstream.only(), user, preset, &authority);
        }
    }
}

#[tokio::test]
async fn h1_without_a_session_no_forged_field_opens_anything() {
    let (upstream, gateway) = start().await;
    let mut wire = gateway.connect(A).await;
    let spelled: Vec<_> = NAMES.iter().flat_map(|name| spellings(name)).collect();
    for names in spelled.chunks(24) {
        let forged: String = names.iter().map(|name| format!("{name}: {WALL}\r\n")).collect();
        for upgrade in [
            "",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        ] {
            let reply = wire.ask(get(A, "/x", &format!("{forged}{upgrade}"))).await;
            assert_eq!(reply.status, 401, "{names:?}");
        }
        let reply = wire.ask(get(A, "/.zonegate/session", &forged)).await;
        assert_eq!(reply.status, 401, "{names:?}");
    }
    upstream.assert_silent("nobody is logged in");
}

#[tokio::test]
async fn h1_h2_h3_no_spelling_of_an_identity_field_gets_through_on_http_2() {
    let (upstream, gateway) = start().await;
    for (zone, user, preset) in [(A, WALL, &[][..]), (B, HALL, &OAUTH2_PROXY[..])] {
        let token = gateway.log_in(zone, user).await;
        let authority = gateway.authority(zone);
        let mut client = H2::new(gateway.connect_h2(zone).await).await;
        let spelled: Vec<_> = NAMES.iter().flat_map(|name| spellings(name)).collect();
        for names in spelled.chunks(12) {
            let request = |with_session: bool| {
                let mut request = Request::get(format!("https://{authority}/x"));
                for name in names.iter().chain(names) {
                    request = request.header(name.to_ascii_lowercase(), format!("{FORGED}, {FORGED}"));
                }
                if with_session {
                    request = request.header("cookie", format!("__Host-zg_session={token}"));
                }
                request.body(()).unwrap()
            };
            assert_eq!(client.ask(request(true), b"").await.unwrap().status, 200, "{names:?}");
            assert_identity(&upstream.only(), user, preset, &authority);
            assert_eq!(client.ask(request(false), b"").await.unwrap().status, 401, "{names:?}");
            upstream.assert_silent("nobody is logged in");
        }
    }
}

#[tokio::test]
async fn h4_a_client_cannot_nominate_our_fields_away() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(B, HALL).await;
    let authority = gateway.authority(B);
    let many: Vec<_> = (0..300).map(|at| format!("x-{at}")).collect();
    let mut forwarded = 0;
    for nominated in [
        "close, X-Forwarded-User",
        "X-Forwarded-User, X-Forwarded-Groups",
        "x_forwarded_user",
        "X-Zonegate-Assertion",
        "keep-alive, X-Zonegate-Assertion, X-Request-Id",
        "X-Forwarded-For",
        "X-Forwarded-Host, X-Forwarded-Proto",
        "Forwarded, X-Real-IP, Client-Cert",
        "Host",
        "Cookie",
        "\"X-Forwarded-User\"",
        "close,, ,X-Forwarded-User,",
        "X-Forwarded-User\r\nConnection: X-Zonegate-Assertion",
        &many.join(","),
    ] {
        let mut wire = gateway.connect(B).await;
        let fields = format!("{}Connection: {nominated}\r\nX-Forwarded-User: {FORGED}\r\n", cookie(&token));
        let reply = wire.ask(get(B, "/x", &fields)).await;
        match reply.status {
            200 => {
                assert_identity(&upstream.only(), HALL, &OAUTH2_PROXY, &authority);
                forwarded += 1;
            }
            status => {
                // The nomination of the cookie may have taken the session along.
                assert!(matches!(status, 400 | 401), "{nominated}: {status}");
                upstream.assert_silent(nominated);
            }
        }
    }
    assert!(forwarded > 0, "something is let through, or the test shows nothing");
}

#[tokio::test]
async fn h6_a_body_cannot_become_another_method() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let mut wire = gateway.connect(A).await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X_Method_Override", "X-Original-Method"] {
        let fields = format!("{}{name}: DELETE\r\nContent-Length: 2\r\n", cookie(&token));
        let request = format!("POST /x?y=1 HTTP/1.1\r\nHost: {A}\r\n{fields}\r\nhi");
        assert_eq!(wire.ask(request).await.status, 200);
        let received = upstream.only();
        assert_eq!((received.line.as_str(), &received.body[..]), ("POST /x?y=1 HTTP/1.1", &b"hi"[..]));
        assert!(!format!("{received:?}").contains("DELETE"), "{received:#?}");
    }
}

#[tokio::test]
async fn h9_the_application_cannot_set_our_cookies_or_fields() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let ours = [
        "Set-Cookie: __Host-zg_session=stolen; Path=/; Secure",
        "set-cookie: __HOST-ZG_BROWSER=stolen; Path=/; Secure",
        "Set-Cookie:\t __host-Zg_session =stolen",
        "Set-Cookie:  __Host-zg_other=stolen",
        "Set-Cookie: \"__Host-zg_session\"=stolen",
        "Set-Cookie: =__Host-zg_session=stolen",
        "X-Zonegate-Assertion: stolen",
        "x-zonegate-user: stolen",
        "X_Zonegate_User: stolen",
        "X.Zonegate.User: stolen",
    ];
    let theirs =
        ["Set-Cookie: app=1; Path=/", "Set-Cookie: zg_session=2", "X-App: kept", "Clear-Site-Data: \"cache\""];
    // Fields that take our cookies from the browser set them, in a way.
    let clearing = ["clear-site-data: \"*\"", "Clear-Site-Data: \"cookies\", \"storage\""];
    let theirs = [&theirs[..], &clearing[..]].concat();
    let answer = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n{}\r\nContent-Length: 2\r\n\r\nok",
        ours.join("\r\n"),
        theirs.join("\r\n")
    );
    upstream.say("/x", &answer);
    let judge = |reply: &Reply| {
        let text = format!("{reply:?}").to_ascii_lowercase();
        assert!(
            !text.contains("stolen") && !text.contains("__host-zg") && !text.contains("zonegate"),
            "{reply:#?}"
        );
        assert_eq!(reply.all("set-cookie"), ["app=1; Path=/", "zg_session=2"]);
        assert_eq!(reply.field("x-app"), Some("kept"));
        assert_eq!(reply.field("clear-site-data"), Some("\"cache\", \"storage\""));
    };
    let mut wire = gateway.connect(A).await;
    judge(&wire.ask(get(A, "/x", &cookie(&token))).await);
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    let request = Request::get(format!("https://{A}/x")).header("cookie", format!("__Host-zg_session={token}"));
    let reply = client.ask(request.body(()).unwrap(), b"").await.unwrap();
    let fields = reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    judge(&Reply { status: reply.status.as_u16(), fields: fields.collect(), body: String::new(), whole: true });

    // A switch to another protocol is an answer too, and so is an interim one.
    let ours = ours.join("\r\n");
    upstream.say(
        "/ws",
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{ours}\r\n\r\n"),
    );
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let mut wire = gateway.connect(A).await;
    wire.send(get(A, "/ws", &format!("{upgrade}{}", cookie(&token)))).await;
    let reply = wire.head().await.unwrap();
    assert_eq!(reply.status, 101);
    assert!(!format!("{reply:?}").contains("stolen"), "{reply:#?}");
    upstream.say(
        "/early",
        format!("HTTP/1.1 103 Early Hints\r\n{ours}\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    );
    let mut wire = gateway.connect(A).await;
    wire.send(get(A, "/early", &cookie(&token))).await;
    loop {
        let reply = wire.reply().await;
        assert!(!format!("{reply:?}").contains("stolen"), "{reply:#?}");
        if reply.status == 200 {
            break;
        }
    }
}

#[tokio::test]
async fn sec_r39_our_cookies_stay_and_the_others_become_one_field() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let session = format!("__Host-zg_session={token}");
    let mut wire = gateway.connect(A).await;
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    for (fields, want) in [
        (vec![session.clone()], None),
        (vec![format!("a=1; {session}; b=2")], Some("a=1; b=2")),
        (vec!["a=1".into(), session.clone(), "b=2; c=3".into()], Some("a=1; b=2; c=3")),
        (vec!["a=1; __Host-zg_browser=x".into(), session.clone()], Some("a=1")),
        (vec![session.clone(), "__HOST-ZG_SESSION=y; a=1; __host-zg_x=1".into()], Some("a=1")),
        (vec![format!(";; a=1 ;;{session};;")], Some("a=1")),
        (vec![session.clone(), "a=\"x y\"; b=\u{7f}é".replace('\u{7f}', "")], None),
    ] {
        let lines: String = fields.iter().map(|field| format!("Cookie: {field}\r\n")).collect();
        assert_eq!(wire.ask(get(A, "/x", &lines)).await.status, 200, "{fields:?}");
        let received = upstream.only();
        let got = received.all("cookie");
        match want {
            Some(want) => assert_eq!(got, [want], "{fields:?}"),
            None => assert!(!format!("{got:?}").contains("zg_") && got.len() < 2, "{fields:?} {got:?}"),
        }
        let mut request = Request::get(format!("https://{A}/x"));
        for field in &fields {
            request = request.header("cookie", http::HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        assert_eq!(client.ask(request.body(()).unwrap(), b"").await.unwrap().status, 200, "{fields:?}");
        assert_eq!(upstream.only().all("cookie"), got, "{fields:?}");
    }
    // Two of ours: somebody else set one, and nobody knows which.
    for fields in [
        vec![format!("{session}; {session}")],
        vec![session.clone(), session.clone()],
        vec![format!("{session};__Host-zg_session=")],
    ] {
        let lines: String = fields.iter().map(|field| format!("Cookie: {field}\r\n")).collect();
        let reply = wire.ask(get(A, "/x", &lines)).await;
        assert_eq!(reply.status, 401, "{fields:?}");
        assert!(reply.body.contains("unreadable_cookie"), "{reply:?}");
        upstream.assert_silent("two sessions are none");
    }
}

#[tokio::test]
async fn s2_s5_a_token_that_is_not_ours_to_the_last_letter_opens_nothing() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(get(A, "/x", &cookie(&token))).await.status, 200);
    upstream.only();
    let mut forged = vec![
        String::new(),
        token[1..].to_owned(),
        token[..token.len() - 1].to_owned(),
        format!("{token}="),
        format!("{token}A"),
        format!("{token}\u{80}"),
        format!("\"{token}\""),
        format!(" {token} x"),
        token.to_ascii_lowercase(),
        "A".repeat(43),
        "\u{2000}".into(),
        "../../etc/passwd".into(),
        "x".repeat(6000),
    ];
    // Each letter changed, one at a time: the last one's spare bits are not a second spelling of the token.
    for at in 0..token.len() {
        let mut letters: Vec<_> = token.chars().collect();
        letters[at] = if letters[at] == 'B' { 'C' } else { 'B' };
        forged.push(letters.into_iter().collect());
    }
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        forged.push(format!("{}{last}", &token[..token.len() - 1]));
    }
    for forged in forged.iter().filter(|forged| **forged != token) {
        let reply = wire.ask(get(A, "/x", &cookie(forged))).await;
        assert_eq!(reply.status, 401, "{forged:?}");
    }
    for name in
        ["__host-zg_session", "__Host-zg_session ", "$Version=1; __Host-zg_sessio", "\u{2000}__Host-zg_session"]
    {
        let reply = wire.ask(get(A, "/x", &format!("Cookie: {name}={token}\r\n"))).await;
        assert_eq!(reply.status, 401, "{name:?}");
    }
    // A million letters are over the limit of a head before they are anything else.
    let mut other = gateway.connect(A).await;
    let _ = other.try_send(get(A, "/x", &cookie(&"x".repeat(1_000_000)))).await;
    if let Some(reply) = other.try_reply(false).await {
        assert_eq!(reply.status, 431);
    }
    // A session is nothing in another zone.
    let mut other = gateway.connect(B).await;
    let reply = other.ask(get(B, "/x", &cookie(&token))).await;
    assert!(reply.status == 401 && reply.body.contains("unknown_session"), "{reply:?}");
    upstream.assert_silent("no token was ours");
}
