//! A new process takes over from a running gateway: no request fails, no session is lost, and a new process that cannot
//! start changes nothing.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::process::Command;

use crate::harness::{A, B, Gateway, H2, HALL, Play, Upstream, WALL, Wire, Wishes, within};

pub(crate) const BRISK: Wishes =
    Wishes { limits: "keepalive: 3s, drain: 2s, logins_per_source: 100000", ..Wishes::USUAL };

pub(crate) async fn run(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zonegate"));
    command.args(arguments).arg("--config").arg(gateway.file("zonegate.yaml"));
    // An upgrade waits half a minute for a process that hangs.
    let output = tokio::time::timeout(Duration::from_secs(90), command.stdin(Stdio::null()).output());
    let output = output.await.expect("the command ends").unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Ends the processes that gateways were handed over to.
pub(crate) struct Successors(pub(crate) Vec<String>);

impl Successors {
    /// Upgrades, and gives the number of the process that serves from there on.
    pub(crate) async fn upgrade(&mut self, gateway: &Gateway) -> String {
        let (status, said) = run(gateway, &["upgrade"]).await;
        assert_eq!(status, Some(0), "{said}\n{}", gateway.log());
        let number = said.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(number.parse::<u32>().is_ok(), "{said}");
        self.0.push(number.clone());
        number
    }
}

impl Drop for Successors {
    fn drop(&mut self) {
        for number in &self.0 {
            let _ = std::process::Command::new("kill").args(["-9", number]).stderr(Stdio::null()).status();
        }
    }
}

pub(crate) async fn is_gone(number: &str) {
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let path = format!("/proc/{number}/stat");
    // One that ended and was not waited for is a zombie.
    let there = || std::fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z "));
    within(async {
        while there() {
            interval.tick().await;
        }
    })
    .await;
}

/// What many clients saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    served: AtomicUsize,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn answered(&self, who: &str, status: u16) {
        self.served.fetch_add(1, Ordering::Relaxed);
        if status != 200 {
            self.wrong.lock().unwrap().push(format!("{who}: {status}"));
        }
    }

    fn failed(&self, who: &str, why: impl std::fmt::Debug) {
        self.wrong.lock().unwrap().push(format!("{who}: {why:?}"));
    }

    async fn has_served(&self, more: usize) {
        let want = self.served.load(Ordering::Relaxed) + more;
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        within(async {
            while self.served.load(Ordering::Relaxed) < want && self.wrong.lock().unwrap().is_empty() {
                interval.tick().await;
            }
        })
        .await;
    }
}

/// Keeps its connection until it is told that it ends.
async fn kept(gateway: &Gateway, seen: &Seen, request: &str, pause: Duration) {
    let mut wire = gateway.connect(A).await;
    let mut interval = tokio::time::interval(pause);
    while seen.goes_on() {
        interval.tick().await;
        if wire.try_send(request).await.is_err() {
            return seen.failed("kept", "closed without a word");
        }
        let Some(reply) = wire.try_reply(false).await else { return seen.failed("kept", "no answer") };
        seen.answered("kept", reply.status);
        if reply.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close")) {
            wire = gateway.connect(A).await;
        }
    }
}

async fn fresh(gateway: &Gateway, seen: &Seen, request: &str) {
    while seen.goes_on() {
        let Ok(socket) = gateway.try_tls(Some(A), &[b"http/1.1"]).await else {
            return seen.failed("fresh", "no connection");
        };
        let mut wire = Wire::new(socket);
        let _ = wire.try_send(request).await;
        match wire.try_reply(false).await {
            Some(reply) => seen.answered("fresh", reply.status),
            None => return seen.failed("fresh", "no answer"),
        }
    }
}

async fn multiplexed(gateway: &Gateway, seen: &Seen, token: &str) {
    let mut client = H2::new(gateway.connect_h2(A).await).await;
    while seen.goes_on() {
        let request =
            Request::get(format!("https://{A}/x")).header("cookie", format!("__Host-zg_session={token}"));
        if !client.is_open().await {
            client = H2::new(gateway.connect_h2(A).await).await;
        }
        match client.ask(request.body(()).unwrap(), b"").await {
            Ok(reply) => seen.answered("multiplexed", reply.status.as_u16()),
            Err(error) => return seen.failed("multiplexed", error),
        }
    }
}

async fn log_ins(gateway: &Gateway, seen: &Seen) {
    while seen.goes_on() {
        let token = gateway.log_in(A, WALL).await;
        let mut wire = gateway.connect(A).await;
        let reply =
            wire.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n")).await;
        seen.answered("logged in", reply.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_new_process_takes_over_and_no_request_fails() {
    let upstream = Upstream::start().await;
    let gateway = Arc::new(Gateway::start_with(upstream.address(), BRISK).await);
    let token = gateway.log_in(A, WALL).await;
    let request: Arc<str> =
        format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n").into();
    let seen = Arc::new(Seen::default());
    let mut clients = tokio::task::JoinSet::new();
    for pause in [1, 1, 20, 500] {
        let (gateway, seen, request) = (Arc::clone(&gateway), Arc::clone(&seen), Arc::clone(&request));
        clients.spawn(async move { kept(&gateway, &seen, &request, Duration::from_millis(pause)).await });
    }
    for _ in 0..2 {
        let (gateway, seen, request) = (Arc::clone(&gateway), Arc::clone(&seen), Arc::clone(&request));
        clients.spawn(async move { fresh(&gateway, &seen, &request).await });
    }
    for _ in 0..2 {
        let (gateway, seen, token) = (Arc::clone(&gateway), Arc::clone(&seen), token.clone());
        clients.spawn(async move { multiplexed(&gateway, &seen, &token).await });
    }
    {
        let (gateway, seen) = (Arc::clone(&gateway), Arc::clone(&seen));
        clients.spawn(async move { log_ins(&gateway, &seen).await });
    }
    let mut successors = Successors(Vec::new());
    seen.has_served(200).await;
    let first = successors.upgrade(&gateway).await;
    seen.has_served(300).await;
    let second = successors.upgrade(&gateway).await;
    assert_ne!(first, second);
    seen.has_served(300).await;
    is_gone(&first).await;
    seen.stop.store(true, Ordering::Relaxed);
    within(async { while clients.join_next().await.is_some() {} }).await;
    let wrong = seen.wrong.lock().unwrap().clone();
    assert!(wrong.is_empty(), "{wrong:?} of {}\n{}", seen.served.load(Ordering::Relaxed), gateway.log());
    // What was ended in between stays ended, and what lives goes on.
    let mut wire = gateway.connect(A).await;
    assert_eq!(wire.ask(&*request).await.status, 200);
    let (status, said) = run(&gateway, &["session", "end", "--user", WALL]).await;
    assert_eq!(status, Some(0), "{said}");
    let third = successors.upgrade(&gateway).await;
    assert_eq!(gateway.connect(A).await.ask(&*request).await.status, 401);
    assert_ne!(third, second);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_connection_of_before_serves_who_is_signed_in_and_sends_others_to_the_new_process() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(upstream.address(), BRISK).await;
    let token = gateway.log_in(A, WALL).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    let mut kept = [gateway.connect(A).await, gateway.connect(A).await, gateway.connect(A).await];
    for wire in &mut kept {
        assert_eq!(wire.ask(&request).await.status, 200);
    }
    let [mut signed_in, mut stranger, mut page] = kept;
    // A stream that began before.
    upstream.on("/stream", Play::Take);
    let mut stream = gateway.connect(A).await;
    stream.send(request.replace("/x", "/stream")).await;
    let mut upstream = upstream;
    let (_, mut application) = upstream.taken().await;
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha").await;
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;

    let reply = signed_in.ask(&request).await;
    assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
    let reply = stranger.ask(format!("GET /y?a=b HTTP/1.1\r\nHost: {A}\r\n\r\n")).await;
    assert_eq!(reply.status, 307);
    assert_eq!(reply.field("location"), Some(&*format!("https://{}/y?a=b", gateway.authority(A))));
    let body = "{}";
    let post = format!("POST /.zonegate/api/login HTTP/1.1\r\nHost: {A}\r\nContent-Type: application/json\r\n");
    let reply = page.ask(format!("{post}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(reply.status, 307);
    application.send("ha").await;
    assert_eq!(stream.reply().await.body, "haha", "what has begun ends");
    assert_eq!(gateway.connect(A).await.ask(&request).await.status, 200);
}

/// The old process ends with its last connection, and what came over it in its last moment is answered.
#[tokio::test(flavor = "multi_thread")]
async fn f13_a_request_that_began_at_the_end_of_the_old_process_is_answered() {
    let mut upstream = Upstream::start().await;
    let wishes = Wishes { limits: "keepalive: 6s, drain: 6s", ..Wishes::USUAL };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    let token = gateway.log_in(A, WALL).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    let mut kept = gateway.connect(A).await;
    assert_eq!(kept.ask(&request).await.status, 200);
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    // Nothing is under way by then.
    second.tick().await;
    upstream.on("/slow", Play::Take);
    kept.send(request.replace("/x", "/slow")).await;
    let (_, mut application) = upstream.taken().await;
    // Longer than any connection without a request would have been kept.
    for _ in 0..8 {
        second.tick().await;
    }
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(kept.reply().await.body, "ok", "{}", gateway.log());
}

/// Longer than any limit of a stop: nobody waits for the process of before, and it ends with its last connection.
#[tokio::test(flavor = "multi_thread")]
async fn f13_what_is_under_way_keeps_the_old_process_until_it_is_told_to_stop() {
    let mut upstream = Upstream::start().await;
    let wishes = Wishes { limits: "keepalive: 1s, drain: 1s", ..Wishes::USUAL };
    let mut gateway = Gateway::start_with(upstream.address(), wishes).await;
    let token = gateway.log_in(A, WALL).await;
    let request = format!("GET /slow HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    upstream.on("/slow", Play::Take);
    let mut successors = Successors(Vec::new());
    let mut wire = gateway.connect(A).await;
    wire.send(&request).await;
    let (_, mut application) = upstream.taken().await;
    let second = successors.upgrade(&gateway).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    application.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(wire.reply().await.body, "ok", "{}", gateway.log());
    drop(wire);
    assert!(within(gateway.ended()).await.success(), "with its last connection");
    // Whoever wants it to end sooner says so.
    let mut wire = gateway.connect(A).await;
    wire.send(&request).await;
    let (_, application) = upstream.taken().await;
    successors.upgrade(&gateway).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(std::process::Command::new("kill").arg(&second).status().unwrap().success());
    application.assert_ended("after `drain`").await;
    is_gone(&second).await;
    assert_eq!(gateway.connect(A).await.ask(request.replace("/slow", "/x")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_stream_that_is_nobodys_does_not_keep_the_old_process() {
    let mut upstream = Upstream::start().await;
    let zone_a = "    access: [{ path: /news, allow: public }]\n";
    let wishes = Wishes { limits: "keepalive: 1s, drain: 1s", zone_a, ..Wishes::USUAL };
    let mut gateway = Gateway::start_with(upstream.address(), wishes).await;
    upstream.on("/news", Play::Take);
    let mut wire = gateway.connect(A).await;
    wire.send(format!("GET /news HTTP/1.1\r\nHost: {A}\r\nAccept: text/event-stream\r\n\r\n")).await;
    let (_, mut application) = upstream.taken().await;
    application.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    assert_eq!(wire.head().await.unwrap().status, 200);
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;
    application.assert_ended("no session would end it").await;
    assert!(within(gateway.ended()).await.success(), "with its last connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_new_process_that_cannot_start_changes_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(upstream.address(), BRISK).await;
    let token = gateway.log_in(A, WALL).await;
    let request = format!("GET /x HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
    let mut wire = gateway.connect(A).await;
    let file = gateway.file("zonegate.yaml");
    let right = std::fs::read_to_string(&file).unwrap();
    let key = gateway.file("master.key");
    let right_key = std::fs::read(&key).unwrap();
    // A configuration that is wrong, and a key that the store refuses after it was let go.
    for (text, key_text) in [
        (right.replace("universal_host", "universal_hots"), right_key.clone()),
        (right.clone(), b"BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\n".to_vec()),
    ] {
        std::fs::write(&file, text).unwrap();
        std::fs::write(&key, key_text).unwrap();
        // Asked by signal, because the command reads the file as well.
        let number = gateway.number().to_string();
        let before = gateway.log().matches("no other process has taken over").count();
        assert!(std::process::Command::new("kill").args(["-USR2", &number]).status().unwrap().success());
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        within(async {
            while gateway.log().matches("no other process has taken over").count() == before {
                interval.tick().await;
            }
        })
        .await;
        std::fs::write(&file, &right).unwrap();
        std::fs::write(&key, &right_key).unwrap();
        assert_eq!(wire.ask(&request).await.status, 200, "{}", gateway.log());
        gateway.log_in(A, WALL).await;
        // It holds the store, as before.
        let (status, said) = run(&gateway, &["serve"]).await;
        assert_eq!(status, Some(1), "{said}");
    }
    // Another store has other sessions, and none of these.
    std::fs::write(&file, right.replace("zonegate.db", "other.db")).unwrap();
    let (status, said) = run(&gateway, &["upgrade"]).await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("store.path"), "{said}");
    assert!(!gateway.file("other.db").exists(), "nothing is made there");
    std::fs::write(&file, &right).unwrap();
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;
    assert_eq!(gateway.connect(A).await.ask(&request).await.status, 200);
    gateway.log_in(A, WALL).await;
}

#[tokio::test]
async fn a_proxy_that_asks_is_answered_by_whoever_serves() {
    let upstream = Upstream::start().await;
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("forward_auth: '{address}', trusted_proxies: [127.0.0.1]");
    let wishes =
        Wishes { listen: Box::leak(listen.into_boxed_str()), zone_a: "    forward_auth: true\n", ..BRISK };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    let mut successors = Successors(Vec::new());
    let token = gateway.log_in(A, WALL).await;
    let question = format!(
        "GET /.zonegate/auth/nginx HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\nX-Original-Method: \
         GET\r\nX-Original-URI: /x\r\n\r\n"
    );
    let connect = async || Wire::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let mut kept = connect().await;
    assert_eq!(kept.ask(&question).await.status, 200);
    successors.upgrade(&gateway).await;
    // A proxy asks again on a new connection when one that it has kept ends.
    kept.assert_ended("whoever serves answers").await;
    for _ in 0..10 {
        assert_eq!(connect().await.ask(&question).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_session_of_the_new_process_is_nobody_on_no_connection_of_before() {
    let upstream = Upstream::start().await;
    let wishes = Wishes { zone_b: "    access: [{ below: /open, allow: optional }]\n", ..BRISK };
    let gateway = Gateway::start_with(upstream.address(), wishes).await;
    let mut kept = [gateway.connect(B).await, gateway.connect(B).await];
    for wire in &mut kept {
        assert_eq!(wire.ask(format!("GET /open HTTP/1.1\r\nHost: {B}\r\n\r\n")).await.status, 200);
    }
    let mut successors = Successors(Vec::new());
    successors.upgrade(&gateway).await;
    let token = gateway.log_in(B, HALL).await;
    let [mut person, mut nobody] = kept;
    let cookie = format!("Cookie: __Host-zg_session={token}\r\n");
    let reply = person.ask(format!("GET /open HTTP/1.1\r\nHost: {B}\r\n{cookie}\r\n")).await;
    assert_eq!(reply.status, 307, "the application would take them for nobody");
    let reply = nobody.ask(format!("GET /open HTTP/1.1\r\nHost: {B}\r\n\r\n")).await;
    assert_eq!(reply.status, 200, "and this is nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_a_client_that_reads_nothing_holds_up_no_upgrade() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start_with(upstream.address(), BRISK).await;
    // The largest thing that we answer with ourselves.
    let logo = format!("<svg xmlns='http://www.w3.org/2000/svg'><!--{}--></svg>", "y".repeat(255 * 1024));
    std::fs::write(gateway.file("logo.svg"), logo).unwrap();
    let text = std::fs::read_to_string(gateway.file("zonegate.yaml")).unwrap();
    std::fs::write(gateway.file("zonegate.yaml"), format!("brand: {{ logo: logo.svg }}\n{text}")).unwrap();
    let (status, said) = run(&gateway, &["reload"]).await;
    assert_eq!(status, Some(0), "{said}");
    let page =
        gateway.connect(A).await.ask(format!("GET /.zonegate/login HTTP/1.1\r\nHost: {A}\r\n\r\n")).await.body;
    let at = page.split(['"', '\'']).find(|word| word.contains("/assets/") && word.contains("logo"));
    let at = at.unwrap_or_else(|| panic!("no logo in {page}"));
    let mut readers = Vec::new();
    for _ in 0..4 {
        // HTTP/2 with a window that stays as it is: 64 KiB of a quarter of a MiB.
        let mut client = H2::new(gateway.connect_h2(A).await).await;
        let request = Request::get(format!("https://{A}{at}")).body(()).unwrap();
        let (answer, mut body) = client.begin(request).await;
        body.send_data("".into(), true).unwrap();
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.status(), 200);
        readers.push((client, answer));
    }
    let mut successors = Successors(Vec::new());
    let began = std::time::Instant::now();
    successors.upgrade(&gateway).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(readers);
}
