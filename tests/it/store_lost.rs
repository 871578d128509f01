//! G4: while the store cannot be read, nobody is let through, and everybody is told to come back. R42, R107: the log-in page
//! is there, and leads to the status page.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use crate::harness::{A, Gateway, Upstream, WALL, Wishes};

#[tokio::test]
async fn g4_without_the_store_nothing_is_forwarded() {
    let upstream = Upstream::start().await;
    let zone_a = "    access: [{ path: /health, allow: public }]\n";
    let wishes = Wishes { zone_a, ..Wishes::default() };
    let brand = "brand: { links: { status: 'https://status.example/' } }\n";
    let mut gateway = Gateway::start_edited(upstream.address(), wishes, |text| format!("{brand}{text}")).await;
    let token = gateway.log_in(A, WALL).await;
    let get = |path: &str, fields: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n{fields}\r\n")
    };
    assert_eq!(gateway.connect(A).await.ask(get("/x", "")).await.status, 200);
    // A disk that gives back nothing but noise: the files stay as long as they were.
    for name in ["zonegate.db-wal", "zonegate.db-shm", "zonegate.db"] {
        let file = std::fs::OpenOptions::new().write(true).open(gateway.file(name));
        if let Ok(file) = file {
            let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
            file.write_all_at(&vec![0x5a; length], 0).unwrap();
        }
    }
    let lost = Instant::now();
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let refused = loop {
        interval.tick().await;
        let reply = gateway.connect(A).await.ask(get("/x", "")).await;
        if reply.status != 200 {
            break reply;
        }
        assert!(lost.elapsed() < Duration::from_secs(15), "still forwarded");
    };
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")), "{refused:?}");
    upstream.received();
    for fields in ["", "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n"] {
        let reply = gateway.connect(A).await.ask(get("/x", fields)).await;
        assert_eq!(reply.status, 503, "not a log-in page, which could not help: {reply:?}");
        assert!(reply.all("set-cookie").is_empty(), "the session may come back: {reply:?}");
    }
    // Strangers are asked to log in as ever, and cannot.
    let stranger = format!("GET /x HTTP/1.1\r\nHost: {A}\r\n\r\n");
    assert_eq!(gateway.connect(A).await.ask(stranger).await.status, 401);
    upstream.assert_silent("nobody is let through");
    let page = format!("GET /.zonegate/login HTTP/1.1\r\nHost: {A}\r\nAccept: text/html\r\n\r\n");
    let page = gateway.connect(A).await.ask(page).await;
    assert_eq!(page.status, 200, "R42: {page:?}");
    assert!(page.body.contains("id=\"form-username\""), "{page:?}");
    assert!(page.body.contains("href=\"https://status.example/\" id=\"link-status\""), "{page:?}");
    // What is public needs no store, with a session's cookie or without.
    assert_eq!(gateway.connect(A).await.ask(get("/health", "")).await.status, 200);
    assert!(upstream.only().all("x-zonegate-assertion").is_empty());
    gateway.assert_well();
}
