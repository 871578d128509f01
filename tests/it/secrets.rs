//! K1: no password, code, cookie or authenticator secret in any log, metric or file, at the most talkative level.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{A, Demo, Gateway, Upstream, Visitor, WALL, Wishes, code, within};

const ALICE: &str = "alice@acme.example";
const BOB: &str = "bob@acme.example";

/// Typed where a password belongs, in different places.
const WRONG: &str = "Canary-Wrong-Password-7361";
/// Put into the first page's hidden field by a password manager, with the username (R41).
const FILLED: &str = "Canary-Filled-Password-8812";
const IN_QUERY: &str = "canary-query-value-5523";

fn everything_below(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { everything_below(&path, out) } else { out.push(path) }
    }
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
}

#[tokio::test]
async fn k1_no_secret_reaches_a_log_a_metric_or_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start_with(folder.path(), &[("ZONEGATE_LOG__LEVEL", "trace"), ("RUST_LOG", "trace")]).await;
    let user = demo.user(ALICE).clone();

    // A log-in with everything that can go wrong on the way.
    let visitor = Visitor::new(&demo);
    let login = format!("{}.zonegate/login", user.zone);
    let flow = visitor.open(&login).await.field("flow").unwrap();
    let both = [("flow", flow.as_str()), ("username", &user.username), ("password", FILLED)];
    let page = visitor.post(&login, &both).await.unwrap();
    assert!(page.has("form-password"), "R41: what was filled in is ignored: {}", page.body);
    assert!(!page.body.contains(FILLED));
    let page = visitor.answer(&page, "password", WRONG).await.unwrap();
    let page = visitor.answer(&page, "password", user.password.as_ref().unwrap()).await.unwrap();
    let secret = user.totp_secret.clone().unwrap();
    let old_code = code(&secret, demo.now() / 30 - 5);
    let page = visitor.answer(&page, "code", &old_code).await.unwrap();
    let good_code = demo.fresh_code(&user, 30).await;
    visitor.answer(&page, "code", &good_code).await.unwrap();
    let session = visitor.cookie(&user.zone, "__Host-zg_session").expect("a session");
    let browser = visitor.cookie(&user.zone, "__Host-zg_browser").expect("a bound browser");
    assert!(visitor.echo(&user.zone).await.is_ok());
    visitor.ask(&format!("{}tickets?token={IN_QUERY}", user.zone)).await;

    // Somebody who is shown a secret, and a program.
    let bob = demo.user(BOB).clone();
    let setting_up = Visitor::new(&demo).give_password(&bob).await.unwrap();
    let shown = setting_up.body.split("id=\"manual-key\"").nth(1).and_then(|rest| rest.split(['>', '<']).nth(1));
    let shown: String = shown.unwrap().chars().filter(char::is_ascii_alphanumeric).collect();
    assert_eq!(shown.len(), 32, "the page shows the key to type: {shown}");
    let metrics = reqwest::get(format!("{}metrics", demo.admin())).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("zonegate_"), "{metrics}");
    demo.stop().await;

    let mut files = Vec::new();
    everything_below(folder.path(), &mut files);
    let log = fs::read(folder.path().join("stderr")).unwrap();
    assert!(contains(&log, "login_succeeded"), "the log has something to say");
    let mut found = Vec::new();
    let mut texts = vec![("metrics".to_owned(), metrics.into_bytes())];
    texts.extend(files.iter().map(|file| (file.display().to_string(), fs::read(file).unwrap())));
    for (place, text) in &texts {
        let secrets = [
            ("wrong password", WRONG),
            ("password at the username", FILLED),
            ("password", user.password.as_ref().unwrap()),
            ("other password", bob.password.as_ref().unwrap()),
            ("authenticator secret", &secret),
            ("offered secret", &shown),
            ("session cookie", &session),
            ("browser cookie", &browser),
            ("query value", IN_QUERY),
        ];
        found.extend(
            secrets.into_iter().filter(|(_, secret)| contains(text, secret)).map(|(what, _)| (what, place)),
        );
    }
    // Six digits occur by chance in numbers: look for them as a word of their own.
    let log = String::from_utf8_lossy(&log);
    let words: Vec<_> = log.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for code in [&old_code, &good_code] {
        assert!(!words.contains(&code.as_str()), "a code is in the log");
    }
    assert!(found.is_empty(), "{found:?}");
}

/// What is not understood is what a parser would like to show. pingora does, whole, cookies and all; and at the most
/// talkative level it takes every head for text.
#[tokio::test]
async fn k1_g9_nothing_of_a_message_that_cannot_be_read_reaches_the_log() {
    const CANARY: &str = "canary-4711";
    let head = format!("HTTP/1.1 200 OK\r\nSet-Cookie: session={CANARY}\r\nContent-Type: text/html\r\n");
    let upstream = Upstream::start().await;
    let answers: [(&str, Vec<u8>, u16); 6] = [
        ("/health", format!("{head}no field\r\n\r\n{CANARY}").into(), 502),
        ("/field", format!("{head}no field\r\n\r\n{CANARY}").into(), 502),
        ("/status", format!("HTTP/1.1 2x0 {CANARY}\r\n\r\n").into(), 502),
        ("/length", format!("{head}Content-Length: {CANARY}\r\n\r\n").into(), 502),
        ("/coding", format!("{head}Transfer-Encoding: chunked\r\n\r\n{CANARY}\r\n").into(), 200),
        ("/bytes", [head.as_bytes(), b"X: \xff\xfe\r\nContent-Length: 2\r\n\r\nok"].concat(), 200),
    ];
    for (path, answer, _) in &answers {
        upstream.say(path, answer);
    }
    let wishes = Wishes {
        log: "level: trace, access: true",
        upstream: "read_max: 2s, compress: true, health: { path: /health, interval: 1s, timeout: 1s, fall: 1 }",
        ..Wishes::default()
    };
    let mut gateway = Gateway::start_with(upstream.address(), wishes).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    for (path, _, status) in &answers {
        let fields = format!("{cookie}Accept-Encoding: gzip;;{CANARY}\r\n");
        let mut wire = gateway.connect(A).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n")).await;
        assert_eq!(wire.head().await.map(|head| head.status), Some(*status), "{path}");
    }
    let mut wire = gateway.connect(A).await;
    let form = "POST /.zonegate/login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    wire.send(format!("{form}Host: {A}\r\n\r\n{CANARY}\r\n")).await;
    wire.rest().await;
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let log = within(async {
        loop {
            interval.tick().await;
            let log = gateway.log();
            let has = |what: &str| log.contains(what);
            if has("a backend is not well")
                && answers.iter().all(|(path, ..)| has(&format!("\"path\":\"{path}\"")))
            {
                return log;
            }
        }
    })
    .await;
    let told: Vec<_> = log.lines().filter(|line| contains(line.as_bytes(), CANARY)).collect();
    assert!(told.is_empty(), "{told:#?}");
    // What there is to know of it is told.
    assert!(log.contains("a request failed") && log.contains("Upstream InvalidHTTPHeader"), "{log}");
    gateway.assert_well();
}
