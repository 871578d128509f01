//! The access log as an operator has it: in a file, in the form that other programs read, rotated by the system's tools.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{A, Gateway, Upstream, WALL, Wishes, within};

const COMBINED: &str = "level: info, access: combined, access_file: access.log";

/// Asks for `path` and reads on until `file` has a line of it.
async fn ask(gateway: &Gateway, path: &str, fields: &str, file: &Path) -> String {
    let request = format!("GET {path}?token=canary-query-5523 HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n");
    gateway.connect(A).await.ask(request).await;
    let mut interval = tokio::time::interval(Duration::from_millis(10));
    within(async {
        loop {
            interval.tick().await;
            let text = fs::read_to_string(file).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.contains(path)) {
                return Ok::<_, std::io::Error>(line.to_owned());
            }
        }
    })
    .await
    .unwrap()
}

/// Asks until a line lands in `file`: those that were on their way when the writer was told may still land before.
async fn settle(gateway: &Gateway, file: &Path) {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    within(async {
        while !fs::read_to_string(file).is_ok_and(|text| text.contains("/settle")) {
            interval.tick().await;
            let request = format!("GET /settle HTTP/1.1\r\nHost: {A}\r\n\r\n");
            gateway.connect(A).await.ask(request).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_renamed_file_is_left_alone_after_a_signal_and_no_line_is_lost_on_the_way() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start_with(upstream.address(), Wishes { log: COMBINED, ..Wishes::default() }).await;
    let (file, renamed) = (gateway.file("access.log"), gateway.file("access.log.1"));
    let cookie = format!(
        "Cookie: __Host-zg_session={}\r\nReferer: https://{A}/from?secret=canary-query-5523\r\nUser-Agent: it/1.0\r\n",
        gateway.log_in(A, WALL).await
    );
    let line = ask(&gateway, "/before", &cookie, &file).await;
    let (start, end) = (
        format!("127.0.0.1 - {WALL} ["),
        format!("] \"GET /before HTTP/1.1\" 200 2 \"https://{A}/from\" \"it/1.0\""),
    );
    assert!(line.starts_with(&start) && line.ends_with(&end), "{line}");
    let stranger = ask(&gateway, "/stranger", "", &file).await;
    assert!(stranger.starts_with("127.0.0.1 - - [") && stranger.contains("\" 401 "), "{stranger}");

    fs::rename(&file, &renamed).unwrap();
    ask(&gateway, "/between", &cookie, &renamed).await;
    gateway.signal("USR1").await;
    settle(&gateway, &file).await;
    ask(&gateway, "/after", &cookie, &file).await;
    let (old, new) = (fs::read_to_string(&renamed).unwrap(), fs::read_to_string(&file).unwrap());
    let count = |path: &str| [&old, &new].map(|text| text.matches(path).count());
    assert_eq!((count("/before "), count("/between "), count("/after ")), ([1, 0], [1, 0], [0, 1]), "{old}{new}");
    for text in [&old, &new, &gateway.log()] {
        assert!(!text.contains("canary-query-5523"), "{text}");
    }
    assert!(!gateway.log().contains("/before"), "nor are there lines beside the file");
    gateway.assert_well();
}

#[tokio::test]
async fn a_reload_opens_the_file_anew_and_one_that_cannot_be_opened_changes_nothing() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start_with(upstream.address(), Wishes { log: COMBINED, ..Wishes::default() }).await;
    let file = gateway.file("access.log");
    ask(&gateway, "/one", "", &file).await;
    fs::rename(&file, gateway.file("access.log.1")).unwrap();
    gateway.command(&["reload"]).await;
    settle(&gateway, &file).await;
    ask(&gateway, "/two", "", &file).await;
    let configuration = gateway.file("zonegate.yaml");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, text.replace("access.log", "no/such/folder/access.log")).unwrap();
    let (code, _, refused) = gateway.reload().await;
    assert_eq!(code, 2);
    assert!(refused.contains("no/such/folder/access.log cannot be written"), "{refused}");
    ask(&gateway, "/three", "", &file).await;
    fs::write(&configuration, text.replace("access: combined", "access: json")).unwrap();
    gateway.command(&["reload"]).await;
    let line: serde_json::Value = serde_json::from_str(&ask(&gateway, "/four", "", &file).await).unwrap();
    assert_eq!((line["path"].as_str(), line["decision"].as_str()), (Some("/four"), Some("challenge")));
    gateway.assert_well();
}

#[tokio::test]
async fn d9_a_full_disk_costs_lines_and_no_request_and_is_said_and_counted() {
    let upstream = Upstream::start().await;
    let full = "level: info, access: json, access_file: /dev/full";
    let mut gateway = Gateway::start_with(upstream.address(), Wishes { log: full, ..Wishes::default() }).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    for _ in 0..20 {
        let reply = gateway.connect(A).await.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}\r\n")).await;
        assert_eq!(reply.status, 200);
    }
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let lost = async || {
        let metrics = gateway.metrics().await;
        let series = "zonegate_access_log_lost_total{reason=\"not_written\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse::<u64>().unwrap()
    };
    // The log-in is a request as well.
    while lost().await < 21 || !gateway.log().contains("lines of the access log were lost") {
        interval.tick().await;
    }
    assert_eq!(lost().await, 21);
    assert_eq!(gateway.log().matches("lines of the access log were lost").count(), 1, "not for each");
    gateway.assert_well();
}

async fn health(gateway: &Gateway, path: &str) -> (u16, String) {
    let answer = reqwest::get(gateway.admin(path)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_gateway_is_ready_while_the_store_can_be_read_and_written() {
    let upstream = Upstream::start().await;
    let mut gateway = Gateway::start(&upstream).await;
    assert_eq!(health(&gateway, "/readyz").await, (200, "ready\n".into()));
    // Moved away: what is written from here on is written where nobody looks.
    fs::rename(gateway.file("zonegate.db"), gateway.file("moved.db")).unwrap();
    let mut interval = tokio::time::interval(Duration::from_millis(100));
    let told = loop {
        interval.tick().await;
        let (status, told) = health(&gateway, "/readyz").await;
        if status != 200 {
            assert_eq!(status, 503);
            break told;
        }
    };
    assert!(["the store cannot be written\n", "the store does not answer\n"].contains(&told.as_str()), "{told}");
    fs::rename(gateway.file("moved.db"), gateway.file("zonegate.db")).unwrap();
    while health(&gateway, "/readyz").await.0 != 200 {
        interval.tick().await;
    }
    assert_eq!(health(&gateway, "/livez").await.0, 200);
    gateway.assert_well();
}
