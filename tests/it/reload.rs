//! A changed configuration is taken over whole while requests go on, or refused with the reason (C1–C3, X7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::{A, B, Gateway, HALL, LOGIN, Play, Received, Reply, Upstream, WALL, Wishes, within};

async fn start() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    (upstream, gateway)
}

fn get(host: &str, path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: __Host-zg_session={token}\r\n\r\n")
}

async fn ask(gateway: &Gateway, host: &str, path: &str, token: &str) -> Reply {
    gateway.connect(host).await.ask(get(host, path, token)).await
}

/// Reloads, which must be taken over, and gives what was told.
async fn reload(gateway: &Gateway) -> String {
    let (code, told, problems) = gateway.reload().await;
    assert_eq!((code, problems.as_str()), (0, ""), "{told}");
    told
}

/// The claims of the assertion that arrived.
fn claims(received: &Received) -> Value {
    let assertion = received.all("x-zonegate-assertion")[0];
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// Waits for something that somebody else brings about.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        while !holds().await {
            interval.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn what_holds_for_requests_holds_from_the_next_one_on() {
    let (upstream, gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(get(A, "/x", &token)).await.status, 200);
    let before = upstream.only();
    assert_eq!(
        (before.all("x-forwarded-preferred-username").len(), claims(&before)["aud"].clone()),
        (0, { Value::from(format!("https://{}", gateway.authority(A))) })
    );

    // Headers and audience of a live session, on a connection that was there before.
    gateway.edit(
        "    aliases: [alias.test]\n",
        "    aliases: [alias.test]\n    headers: oauth2-proxy\n    audience: desk\n",
    );
    assert_eq!(reload(&gateway).await, "Configuration 2 is in use.\nZones changed: a.test.\n");
    assert_eq!(wire.ask(get(A, "/x", &token)).await.status, 200);
    let after = upstream.only();
    assert_eq!(after.all("x-forwarded-preferred-username"), [WALL]);
    assert_eq!(claims(&after)["aud"], "desk");
    gateway.edit("headers: oauth2-proxy", "custom_headers: { X-Who: username }");
    reload(&gateway).await;
    let sent = get(A, "/x", &token).replace("Cookie:", "X-Who: root\r\nCookie:");
    assert_eq!(wire.ask(sent).await.status, 200);
    let custom = upstream.only();
    assert_eq!(
        (custom.all("x-who"), custom.all("x-forwarded-user").len()),
        (vec![WALL], 0),
        "ours, and the client's not"
    );

    // Where requests go, and how large they may be.
    let other = Upstream::start().await;
    gateway.edit(&upstream.address().to_string(), &other.address().to_string());
    gateway.edit("body_max: 64KiB", "body_max: 1KiB");
    reload(&gateway).await;
    let post = format!(
        "POST /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\nContent-Length: 2000\r\n\r\n"
    );
    assert_eq!(gateway.connect(A).await.ask(post).await.status, 413);
    assert_eq!(wire.ask(get(A, "/x", &token)).await.status, 200);
    assert_eq!(other.received().len(), 1);
    upstream.assert_silent("its zone leads elsewhere");
    assert_eq!(ask(&gateway, B, "/x", &gateway.log_in(B, HALL).await).await.status, 200);
    assert_eq!(upstream.received().len(), 1, "the other zone's does not");

    // Limits, slots, lifetimes, clients, the signed assertion.
    let long = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nX: {}\r\n\r\n", "y".repeat(5000));
    assert_ne!(gateway.connect(A).await.ask(&long).await.status, 431);
    gateway.edit("head: 8KiB", "head: 4KiB");
    gateway.edit("web_sessions_max: 100", "web_sessions_max: 7, idle_max: 2h");
    gateway.edit("log: {", "assertion: { lifetime: 90s }\nlog: {");
    let told = reload(&gateway).await;
    assert_eq!(told, "Configuration 5 is in use.\nChanged elsewhere: security, limits, assertion.\n");
    assert_eq!(gateway.connect(A).await.ask(&long).await.status, 431);
    let fresh = gateway.log_in(A, WALL).await;
    let session: Value = serde_json::from_str(&ask(&gateway, A, "/.zonegate/session", &fresh).await.body).unwrap();
    assert_eq!(session["slots"]["web"]["limit"], 7, "{session}");
    let time = |field: &str| session["session"][field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!((time("idle_expires_at") - time("last_active_at")).as_secs(), 7200);
    assert_eq!(ask(&gateway, A, "/x", &fresh).await.status, 200);
    let claims = claims(&other.only());
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 90);
    assert_eq!(ask(&gateway, A, "/x", &token).await.status, 200, "the old session is alive after all of it");

    gateway.edit("log: {", "native_clients: [{ id: phone }]\nlog: {");
    reload(&gateway).await;
    let body = r#"{"client":"mobile","username":"wall@acme.example","password":"x"}"#;
    let login = format!(
        "POST /.zonegate/api/login HTTP/1.1\r\nHost: {A}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(gateway.connect(A).await.ask(login).await.body.contains("unknown_client"));
}

#[tokio::test]
async fn r120_a_menus_file_is_not_sent_again_until_the_brand_is_another() {
    let (_upstream, gateway) = start().await;
    let mut wire = gateway.connect(A).await;
    let style = |tag: &str| {
        format!("GET /.zonegate/assets/menu.css HTTP/1.1\r\nHost: {A}\r\nIf-None-Match: {tag}\r\n\r\n")
    };
    let old = wire.ask(style("\"none\"")).await;
    let tag = old.field("etag").unwrap().to_owned();
    let same = wire.ask(style(&tag)).await;
    assert_eq!((same.status, same.field("content-length")), (304, None), "its length would not be 0");
    gateway.edit("log: {", "brand: { accent: \"#7a1f5c\" }\nlog: {");
    reload(&gateway).await;
    let new = wire.ask(style(&tag)).await;
    assert_eq!((old.status, new.status), (200, 200));
    assert!(new.body.contains("#7a1f5c") && new.field("etag") != Some(&tag), "{new:?}");
}

#[tokio::test]
async fn what_holds_for_pages_hosts_logs_and_hashes_holds_too() {
    let (_upstream, mut gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let page = ask(&gateway, A, "/.zonegate/hosting", "").await.body;
    let stylesheet = |page: &str| {
        let from = page.find("/.zonegate/assets/style-").unwrap();
        page[from..].split('"').next().unwrap().to_owned()
    };
    let old_style = stylesheet(&page);
    gateway.edit("log: {", "brand: { product: Helpdesk Nine, accent: \"#7a1f5c\" }\nlog: {");
    reload(&gateway).await;
    let page = ask(&gateway, A, "/.zonegate/hosting", "").await.body;
    assert!(page.contains("Helpdesk Nine"), "{page}");
    assert_ne!(stylesheet(&page), old_style);
    for path in [stylesheet(&page), old_style] {
        assert_eq!(ask(&gateway, A, &path, "").await.status, 200, "a page of a moment ago has its {path}");
    }

    // The access log off, and on again.
    let lines = |path: &str| gateway.log().matches(&format!("\"path\":\"{path}\"")).count();
    ask(&gateway, A, "/seen", &token).await;
    until("a line for /seen", || async { lines("/seen") == 1 }).await;
    gateway.edit("access: true", "access: false");
    reload(&gateway).await;
    ask(&gateway, A, "/unseen", &token).await;
    gateway.edit("access: false", "access: true");
    reload(&gateway).await;
    ask(&gateway, A, "/seen", &token).await;
    until("another line for /seen", || async { lines("/seen") == 2 }).await;
    assert_eq!(lines("/unseen"), 0, "a line would have come before that of a later request");

    // The log's level, by file and by command.
    let told = |generation: u32| gateway.log().contains(&format!("\"generation\":{generation},"));
    assert!(told(4));
    gateway.edit("level: info", "level: error");
    reload(&gateway).await;
    assert!(!told(5), "{}", gateway.log());
    assert_eq!(gateway.ask(&["log-level", "info"]).await, (0, "The log's level is info.\n".into(), String::new()));
    gateway.edit("level: error", "level: info");
    reload(&gateway).await;
    assert!(told(6), "{}", gateway.log());
    let (code, _, problem) = gateway.ask(&["log-level", "loud"]).await;
    assert!(code == 2 && problem.contains("is none of error, warn, info, debug, trace"), "{problem}");

    // What a hash costs: the threads go on, and the password is still right.
    let hashes = gateway.metric("zonegate_password_hashes_total").await;
    gateway.edit("memory: 7MiB, passes: 1, threads: 1", "memory: 8MiB, passes: 2, threads: 3, queue_max: 5");
    reload(&gateway).await;
    gateway.log_in(A, WALL).await;
    assert!(gateway.metric("zonegate_password_hashes_total").await > hashes);
    // Signing keys: the new one is published, the old one still signs.
    gateway.edit("log: {", "assertion: { algorithm: EdDSA }\nlog: {");
    reload(&gateway).await;
    until("a second key", || async {
        let keys = ask(&gateway, A, "/.well-known/zonegate/jwks.json", "").await.body;
        keys.contains("EdDSA") && keys.contains("ES256")
    })
    .await;

    // Another universal host, an alias that is gone, a zone that is new.
    gateway.edit(&format!("universal_host: {LOGIN}"), "universal_host: in.test");
    gateway.edit("    aliases: [alias.test]\n", "");
    gateway.edit("zones:\n", "zones:\n  - { host: new.test, upstream: { url: 'http://127.0.0.1:9' } }\n");
    let (code, _, problems) = gateway.reload().await;
    assert_eq!((code, problems.lines().count()), (2, 2), "neither has a certificate: {problems}");
    gateway.certify("new", &["new.test", "in.test"]);
    let told = reload(&gateway).await;
    assert!(told.contains("Zones added: new.test."), "{told}");
    assert!(told.contains("Certificate for new.test, in.test until "), "{told}");
    assert_eq!(ask(&gateway, "in.test", "/.zonegate/login", "").await.status, 200);
    assert_eq!(ask(&gateway, "new.test", "/x", "").await.status, 401);
    assert_eq!(ask(&gateway, LOGIN, "/.zonegate/login", "").await.status, 421);
    assert_eq!(ask(&gateway, "alias.test", "/x", "").await.status, 421);
    assert_eq!(ask(&gateway, A, "/x", &token).await.status, 200, "and who was in is still in");
    assert_eq!(
        gateway.metric(r#"zonegate_requests_total{zone="new.test",decision="challenge",status="4xx"}"#).await,
        1.0
    );
    gateway.assert_well();
}

#[tokio::test]
async fn c1_a_configuration_that_is_wrong_is_refused_whole_with_every_reason() {
    let (_upstream, mut gateway) = start().await;
    let token = gateway.log_in(A, WALL).await;
    let right = std::fs::read_to_string(gateway.file("zonegate.yaml")).unwrap();
    let mut refused = 0.0;
    let file = gateway.file("zonegate.yaml").display().to_string();
    for (from, to, wants) in [
        ("zones:\n", "zones: [\n", &["is not YAML that can be read"][..]),
        ("log: {", "logs: {", &["logs is not a key here; did you mean \"log\"?"]),
        ("head: 8KiB", "head: 1KiB, form: many", &["limits.head", "limits.form"]),
        ("host: b.test", "host: a.test", &["zones[1].host claims a.test, which is zones[0].host"]),
        ("file:master.key", "file:other.key", &["master_key", "other.key cannot be read"]),
        ("file:master.key", "env:ZONEGATE_NOWHERE", &["ZONEGATE_NOWHERE, which is not set"]),
        ("host: b.test", "host: c.test", &["c.test is covered by no certificate"]),
    ] {
        // Beside it something that is right, which must not be taken over either.
        gateway.replace("zonegate.yaml", right.replacen(from, to, 1) + "brand: { product: Never }\n");
        let (code, told, problems) = gateway.reload().await;
        assert_eq!((code, told.as_str()), (2, ""), "{to}: {problems}");
        for want in wants {
            let of_the_file = |line: &&str| line.starts_with(&format!("{file}:")) && line.contains(want);
            assert!(problems.lines().any(|line| of_the_file(&line)), "{to}: {want}\nis not in\n{problems}");
        }
        // Where the file does not even say where the gateway listens, the command says what is wrong with it itself.
        refused += if from == "zones:\n" { 0.0 } else { 1.0 };
    }
    // One that could be read, and names what a running process cannot change.
    for (from, to, key) in [
        ("], http: [", ", '127.0.0.1:0'], http: [", "listen.https"),
        ("path: zonegate.db", "path: other.db", "store.path"),
        ("log: {", "threads: 7\nlog: {", "threads"),
        ("admin:", "public_port: 4443, admin:", "listen.public_port"),
    ] {
        gateway.replace("zonegate.yaml", right.replacen(from, to, 1) + "brand: { product: Never }\n");
        let (code, told, problems) = gateway.reload().await;
        assert_eq!((code, told.as_str()), (2, ""), "{to}: {problems}");
        assert_eq!(
            problems,
            format!(
                "{key} is not what zonegate was started with, and cannot change while it runs: restart it, or take the \
                 change back\n"
            )
        );
        refused += 1.0;
    }
    // X7: a certificate that is half there, and a key that is another's.
    let whole = std::fs::read(gateway.file("certs/a.pem")).unwrap();
    gateway.replace("zonegate.yaml", &right);
    gateway.replace("certs/a.pem", &whole[..whole.len() / 2]);
    assert_eq!(gateway.reload().await.0, 2);
    gateway.replace("certs/a.pem", &whole);
    let other = std::fs::read(gateway.file("certs/b.key")).unwrap();
    let key = std::fs::read(gateway.file("certs/a.key")).unwrap();
    gateway.replace("certs/a.key", other);
    let (code, _, problems) = gateway.reload().await;
    assert!(code == 2 && problems.contains("is not the key of the certificate in"), "{problems}");
    refused += 2.0;

    assert_eq!(ask(&gateway, A, "/x", &token).await.status, 200, "what was in use goes on");
    assert!(!ask(&gateway, A, "/.zonegate/hosting", "").await.body.contains("Never"));
    assert_eq!(gateway.metric(r#"zonegate_reloads_total{outcome="refused"}"#).await, refused);
    assert_eq!(gateway.metric(r#"zonegate_reloads_total{outcome="applied"}"#).await, 0.0);
    assert_eq!(gateway.metric("zonegate_configuration_generation").await, 1.0);
    assert!(gateway.log().contains("the configuration was refused; the one before stays in use"));

    gateway.replace("certs/a.key", key);
    assert_eq!(reload(&gateway).await, "Configuration 2 is in use.\nNothing differs from what was in use.\n");
    assert_eq!(gateway.metric("zonegate_configuration_generation").await, 2.0);
    assert!(gateway.metric("zonegate_reload_success_timestamp_seconds").await > 1.7e9);
    gateway.assert_well();
}

/// The zone `host` of the harness's configuration, as text.
fn zone_text(gateway: &Gateway, host: &str) -> String {
    let text = std::fs::read_to_string(gateway.file("zonegate.yaml")).unwrap();
    let from = text.find(&format!("  - host: {host}\n")).unwrap();
    let length = text[from + 1..].find("  - host: ").unwrap() + 1;
    text[from..from + length].to_owned()
}

#[tokio::test]
async fn c3_the_sessions_of_a_removed_zone_are_dead_also_when_it_comes_back() {
    let (mut upstream, gateway) = start().await;
    let (in_a, in_b) = (gateway.log_in(A, WALL).await, gateway.log_in(B, HALL).await);
    // Streams of both zones are open while it goes.
    upstream.on("/events", Play::Take);
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let mut streams = Vec::new();
    for (host, token) in [(B, &in_b), (A, &in_a)] {
        let mut wire = gateway.connect(host).await;
        wire.send(get(host, "/events", token).replace("Cookie:", "Accept: text/event-stream\r\nCookie:")).await;
        let (_, mut application) = upstream.taken().await;
        application.send(events).await;
        assert_eq!(wire.head().await.unwrap().status, 200);
        streams.push((wire, application));
    }
    let mut kept = gateway.connect(B).await;
    assert_eq!(kept.ask(get(B, "/x", &in_b)).await.status, 200);
    upstream.received();

    let text = zone_text(&gateway, B);
    gateway.edit(&text, "");
    assert_eq!(
        reload(&gateway).await,
        "Configuration 2 is in use.\nZones removed, their sessions ended: b.test.\n"
    );
    assert_eq!(kept.ask(get(B, "/x", &in_b)).await.status, 421, "from the first request on");
    upstream.assert_silent("nobody is let through to a zone that is gone");
    let (mut of_a, mut app_a) = streams.pop().unwrap();
    let (mut of_b, _app_b) = streams.pop().unwrap();
    of_b.rest().await;
    app_a.send("data: still here\n\n").await;
    of_a.until(b"still here\n\n").await.unwrap();
    assert!(!gateway.command(&["session", "list"]).await.contains(HALL), "they have ended in the store");

    gateway.edit("zones:\n", &format!("zones:\n{text}"));
    reload(&gateway).await;
    let reply = ask(&gateway, B, "/x", &in_b).await;
    assert!(reply.status == 401 && reply.body.contains("revoked"), "{reply:?}");
    assert_eq!(ask(&gateway, B, "/x", &gateway.log_in(B, HALL).await).await.status, 200, "a new one lives");

    // What ends sessions still reaches those that were there before, and their streams.
    gateway.command(&["session", "end", "--user", WALL]).await;
    of_a.rest().await;
    let reply = ask(&gateway, A, "/x", &in_a).await;
    assert!(reply.status == 401 && reply.body.contains("revoked"), "{reply:?}");
}

#[tokio::test]
async fn c2_a_hundred_reloads_under_load_fail_no_request_and_mix_no_answer() {
    const RELOADS: usize = 100;
    const REQUESTS_BETWEEN: usize = 30;
    let (upstream, mut gateway) = start().await;
    gateway.certify("a", &[A, "alias.test"]);
    reload(&gateway).await;
    let certificates = |gateway: &Gateway| {
        ["a.pem", "a.key"].map(|name| std::fs::read(gateway.file(&format!("certs/{name}"))).unwrap())
    };
    let first = certificates(&gateway);
    gateway.certify("a", &[A, "alias.test"]);
    let pairs = [first, certificates(&gateway)];
    let right = std::fs::read_to_string(gateway.file("zonegate.yaml")).unwrap();
    let texts = [
        "headers: default\n    audience: one\n    name: Zone One",
        "headers: oauth2-proxy\n    audience: two\n    name: Zone Two",
    ];
    let texts = texts
        .map(|zone| right.replacen("aliases: [alias.test]\n", &format!("aliases: [alias.test]\n    {zone}\n"), 1));
    let token = gateway.log_in(A, WALL).await;
    upstream.received();
    gateway.replace("zonegate.yaml", &texts[0]);
    reload(&gateway).await;

    let gateway = Arc::new(gateway);
    let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let visitor = |keeps: bool| {
        let (gateway, answered, over) = (Arc::clone(&gateway), Arc::clone(&answered), Arc::clone(&over));
        let token = token.clone();
        tokio::spawn(async move {
            let mut wire = gateway.connect(A).await;
            while !over.load(Ordering::SeqCst) {
                if !keeps {
                    wire = gateway.connect(A).await;
                }
                let reply = wire.ask(get(A, "/x", &token)).await;
                assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{reply:?}");
                let page = wire.ask(get(A, "/.zonegate/hosting", &token)).await;
                let names = ["Zone One", "Zone Two"].map(|name| page.body.contains(name));
                assert!(page.status == 200 && names[0] != names[1], "{page:?}");
                answered.fetch_add(2, Ordering::SeqCst);
            }
        })
    };
    let visitors: Vec<_> = [true, true, true, true, false, false].map(visitor).into();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for number in 1..=RELOADS {
        let before = answered.load(Ordering::SeqCst);
        until("requests between two reloads", || async {
            answered.load(Ordering::SeqCst) >= before + REQUESTS_BETWEEN
                || visitors.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
        let [chain, key] = &pairs[number % 2];
        gateway.replace("certs/a.pem", chain);
        gateway.replace("certs/a.key", key);
        gateway.replace("zonegate.yaml", &texts[number % 2]);
        let asked = client.post(gateway.admin("/reload")).header("x-zonegate-command", "1").send();
        let answer = within(asked).await.unwrap();
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }
    over.store(true, Ordering::SeqCst);
    for visitor in visitors {
        within(visitor).await.unwrap();
    }
    let received = upstream.received();
    assert_eq!(received.len() * 2, answered.load(Ordering::SeqCst), "each was asked once");
    let mut seen = [0, 0];
    for request in &received {
        let claims = claims(request);
        assert_eq!(claims["username"], WALL, "nobody came unauthenticated");
        let named = request.all("x-forwarded-preferred-username").len();
        assert_eq!(
            claims["aud"],
            ["one", "two"][named],
            "headers and assertion of one configuration: {request:?}"
        );
        seen[named] += 1;
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
    assert_eq!(gateway.metric("zonegate_configuration_generation").await, (RELOADS + 3) as f64);
    let mut gateway = Arc::into_inner(gateway).unwrap();
    gateway.assert_well();
}

#[tokio::test]
async fn files_that_are_replaced_are_read_once_they_stand_still() {
    let (_upstream, mut gateway) = start().await;
    let applied = |gateway: &Gateway| {
        let url = gateway.admin("/metrics");
        move || {
            let url = url.clone();
            async move { reqwest::get(url).await.unwrap().text().await.unwrap() }
        }
    };
    let metrics = applied(&gateway);
    gateway.edit("watch: false", "watch: true");
    reload(&gateway).await;

    gateway.edit("log: {", "brand: { product: Seen By Itself }\nlog: {");
    until("a change of the file", || async { metrics().await.contains("zonegate_configuration_generation 3") })
        .await;
    assert!(ask(&gateway, A, "/.zonegate/hosting", "").await.body.contains("Seen By Itself"));

    // A broken one changes nothing and is refused once, however long it stays.
    gateway.edit("brand: {", "brand: { product: [");
    let refused = "zonegate_reloads_total{outcome=\"refused\"} 1";
    until("a refusal", || async { metrics().await.contains(refused) }).await;
    assert!(ask(&gateway, A, "/.zonegate/hosting", "").await.body.contains("Seen By Itself"));
    gateway.edit("brand: { product: [", "brand: {");
    until("the mended file", || async { metrics().await.contains("zonegate_configuration_generation 4") }).await;
    assert!(metrics().await.contains(refused), "it was not tried again and again");

    // A renewed certificate, behind a link as certbot has it.
    let folder = gateway.file("certs");
    for name in ["a.pem", "a.key"] {
        std::fs::rename(folder.join(name), folder.join(format!("{name}.1"))).unwrap();
        std::os::unix::fs::symlink(format!("{name}.1"), folder.join(name)).unwrap();
    }
    gateway.certify("renewed", &[A, "alias.test"]);
    for name in ["a.pem", "a.key"] {
        let made = folder.join(name.replace("a.", "renewed."));
        std::fs::rename(made, folder.join(format!("{name}.2"))).unwrap();
        std::os::unix::fs::symlink(format!("{name}.2"), folder.join("link")).unwrap();
        std::fs::rename(folder.join("link"), folder.join(name)).unwrap();
    }
    let renewed = std::fs::read_to_string(folder.join("a.pem.2")).unwrap();
    let renewed = rustls::pki_types::pem::PemObject::from_pem_slice(renewed.as_bytes());
    let renewed: rustls::pki_types::CertificateDer<'_> = renewed.unwrap();
    until("the new certificate", || async {
        let tls = gateway.try_tls(Some(A), &[]).await.unwrap();
        tls.get_ref().1.peer_certificates().unwrap()[0] == renewed
    })
    .await;
    gateway.assert_well();
}

#[tokio::test]
async fn a_hangup_reloads_and_a_page_in_a_browser_does_not() {
    let (_upstream, mut gateway) = start().await;
    gateway.edit("log: {", "brand: { product: By Signal }\nlog: {");
    gateway.hang_up().await;
    until("the signal", || async { ask(&gateway, A, "/.zonegate/hosting", "").await.body.contains("By Signal") })
        .await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["/reload", "/log-level"] {
        for fields in [
            &[][..],
            &[("origin", "http://127.0.0.1:9443"), ("x-zonegate-command", "1")],
            &[("sec-fetch-site", "cross-site"), ("x-zonegate-command", "1")],
        ] {
            let request = client.post(gateway.admin(path)).body("trace");
            let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(request.send().await.unwrap().status(), 403, "{path} {fields:?}");
        }
        let url = gateway.admin(path);
        assert_eq!(client.get(url).header("x-zonegate-command", "1").send().await.unwrap().status(), 405);
    }
    assert_eq!(gateway.metric("zonegate_configuration_generation").await, 2.0);
    gateway.assert_well();
}

/// Where the configuration has the admin listener.
fn admin_of(text: &str) -> &str {
    let from = text.find("admin: '").unwrap() + "admin: '".len();
    text[from..].split('\'').next().unwrap()
}

#[tokio::test]
async fn commands_find_the_gateway_at_its_socket_and_say_so_when_they_do_not() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_edited(upstream.address(), Wishes::default(), |text| {
        text.replace(admin_of(text), "unix:admin.sock")
    })
    .await;
    gateway.edit("log: {", "brand: { product: Over A Socket }\nlog: {");
    assert_eq!(reload(&gateway).await, "Configuration 2 is in use.\nChanged elsewhere: brand.\n");
    let (code, told, _) = gateway.ask(&["log-level", "debug"]).await;
    assert_eq!((code, told.as_str()), (0, "The log's level is debug.\n"));

    // The file names another socket than the one that the gateway was started with.
    gateway.edit("unix:admin.sock", "unix:other.sock");
    let (code, told, problem) = gateway.reload().await;
    assert_eq!((code, told.as_str()), (1, ""));
    assert!(
        problem.contains("other.sock") && problem.contains("Is it running, and with this listen.admin?"),
        "{problem}"
    );
    gateway.hang_up().await;
    until("the refusal in the log", || async {
        gateway.log().contains("listen.admin is not what zonegate was started with")
    })
    .await;
}

/// What monitoring is told of the end of the certificate for this name.
async fn expiry(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("zonegate_certificate_expiry_timestamp_seconds{{name=\"{name}\"}}")).await
}

#[tokio::test]
async fn one_expired_certificate_keeps_no_other_zone_from_being_served() {
    const IN_2002: std::ops::Range<f64> = 1_009_000_000.0..1_010_000_000.0;
    let (_upstream, mut gateway) = start().await;
    // X7: one that has expired does not take the place of one that holds.
    gateway.certify_until("b", &[B], 2002);
    let (code, told, problems) = gateway.reload().await;
    assert_ne!(code, 0, "{told}");
    assert!(problems.contains("b.pem expired on Jan  1 00:00:00 2002"), "{problems}");
    assert!(gateway.try_tls(Some(B), &[]).await.is_ok(), "what was in use is");
    assert!(!IN_2002.contains(&expiry(&gateway, B).await));

    // A start serves what it can, and says so.
    gateway.restart().await;
    let token = gateway.log_in(A, WALL).await;
    assert_eq!(ask(&gateway, A, "/x", &token).await.status, 200);
    let refused = gateway.try_tls(Some(B), &[]).await.unwrap_err().to_string();
    assert!(refused.to_lowercase().contains("expired"), "it is served as it is: {refused}");
    assert!(IN_2002.contains(&expiry(&gateway, B).await));
    let line =
        |log: &str| log.lines().any(|line| line.contains("ERROR") && line.contains("b.pem") && line.contains(B));
    assert!(line(&gateway.log()), "{}", gateway.log());
    let (code, _, problems) = gateway.ask(&["check"]).await;
    assert!(code == 2 && problems.contains("b.pem expired on"), "{problems}");

    // And others are renewed beside it.
    gateway.certify("a", &[A, "alias.test"]);
    reload(&gateway).await;
    assert_eq!(ask(&gateway, A, "/x", &token).await.status, 200);
    gateway.certify("b", &[B]);
    reload(&gateway).await;
    assert!(gateway.try_tls(Some(B), &[]).await.is_ok());
    gateway.assert_well();
}
