//! What monitoring is promised: every metric is explained and every one that a dashboard or an alert asks for exists,
//! held against what a running gateway prints.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::harness::{A, Gateway, LOGIN, Upstream, WALL};

const REFERENCE: &str = include_str!("../../config/metrics.md");
const DASHBOARD: &str = include_str!("../../config/grafana/zonegate.json");
const ALERTS: &str = include_str!("../../config/prometheus/alerts.yaml");
const REASONS: &str = include_str!("../../config/reasons.md");

/// A metric as the reference or the gateway has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Metric {
    kind: String,
    /// `None`: there is no series of it yet.
    labels: Option<BTreeSet<String>>,
}

/// What the gateway prints, by the names that are asked for.
fn printed(text: &str) -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            metrics.insert(format!("{name}{suffix}"), Metric { kind: kind.into(), labels: None });
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let name = if metrics.contains_key(name) { name } else { base.unwrap() };
            let keys =
                labels.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(key, _)| key.to_owned());
            let known = metrics.get_mut(name).unwrap_or_else(|| panic!("{line} has no type"));
            known.labels.get_or_insert_default().extend(keys.filter(|key| key != "le"));
        }
    }
    metrics
}

fn explained() -> BTreeMap<String, Metric> {
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| `")?.splitn(4, '|').collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("a row of four cells: {line}") };
        assert!(meaning.trim_end_matches(['|', ' ']).len() > 3, "{line}");
        let metric = Metric { kind: kind.trim().into(), labels: Some(words(labels)) };
        Some((name.trim().trim_end_matches('`').to_owned(), metric))
    };
    REFERENCE.lines().filter_map(row).collect()
}

/// The metrics that an expression asks for.
fn asked(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("zonegate_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// The series names that the gateway's metrics give.
fn series(metrics: &BTreeMap<String, Metric>) -> BTreeSet<String> {
    let names = metrics.iter().flat_map(|(name, metric)| match metric.kind.as_str() {
        "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
        _ => vec![name.clone()],
    });
    names.collect()
}

/// A gateway that has let somebody in, refused somebody and been read anew.
async fn busy() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&upstream).await;
    let token = gateway.log_in(A, WALL).await;
    let cookie = format!("Cookie: __Host-zg_session={token}\r\n");
    let ask = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: {A}\r\n{fields}\r\n");
    assert_eq!(gateway.connect(A).await.ask(ask("/x", &cookie)).await.status, 200);
    assert_eq!(gateway.connect(A).await.ask(ask("/x", "")).await.status, 401);
    (upstream, gateway)
}

#[tokio::test]
async fn every_metric_is_explained_and_none_is_explained_that_is_not_there() {
    let (_upstream, gateway) = busy().await;
    let text = gateway.metrics().await;
    assert!(text.ends_with("# EOF\n"), "the end is told from a break");
    let (printed, explained) = (printed(&text), explained());
    let names = |metrics: &BTreeMap<String, Metric>| metrics.keys().cloned().collect::<BTreeSet<_>>();
    let (there, told) = (names(&printed), names(&explained));
    let missing: Vec<_> = there.difference(&told).collect();
    let stale: Vec<_> = told.difference(&there).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "config/metrics.md lacks {missing:?} and has {stale:?} too much"
    );
    for (name, metric) in &printed {
        let told = &explained[name];
        assert_eq!(metric.kind, told.kind, "{name}");
        if metric.labels.is_some() {
            assert_eq!(metric.labels, told.labels, "labels of {name}");
        }
        let unit = ["_seconds", "_bytes", "_total", "_info", "_fds"].iter().any(|unit| name.ends_with(unit));
        assert!(unit || metric.kind == "gauge", "{name} has no unit");
    }
    let k4 = ["user", "username", "address", "path", "session", "tenant"];
    let labels = printed.values().filter_map(|metric| metric.labels.as_ref()).flatten();
    assert_eq!(labels.filter(|label| k4.contains(&label.as_str())).count(), 0);
    // The application's address is the operator's own word.
    let of_clients: Vec<_> = text.lines().filter(|line| !line.contains("backend=")).collect();
    for secret in [WALL, "127.0.0.1", "/x"] {
        assert!(!of_clients.iter().any(|line| line.contains(secret)), "{secret}");
    }
}

#[test]
fn every_reason_is_explained_and_none_is_explained_that_nobody_gives() {
    let row = |line: &'static str| {
        let cells: Vec<_> = line.strip_prefix("| `")?.trim_end_matches(" |").splitn(4, " | ").collect();
        let [name, statuses, meaning, advice] = cells[..] else { panic!("a row of four cells: {line}") };
        assert!(statuses.split(", ").all(|status| status.parse::<u16>().is_ok()), "{line}");
        assert!(meaning.len() > 3 && advice.len() > 3, "{line}");
        Some(name.trim_end_matches('`'))
    };
    let explained: Vec<_> = REASONS.lines().filter_map(row).collect();
    let told: BTreeSet<_> = explained.iter().copied().collect();
    assert_eq!(explained.len(), told.len(), "each once");
    let given: BTreeSet<_> = zonegate::edge::Reason::all().map(zonegate::edge::Reason::name).collect();
    let (missing, stale) =
        (given.difference(&told).collect::<Vec<_>>(), told.difference(&given).collect::<Vec<_>>());
    assert!(
        missing.is_empty() && stale.is_empty(),
        "config/reasons.md lacks {missing:?} and has {stale:?} too much"
    );
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_only_for_what_is_there() {
    let (_upstream, gateway) = busy().await;
    let there = series(&printed(&gateway.metrics().await));
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<_> =
        panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        [
            "Traffic",
            "Latency",
            "Log-ins",
            "Sessions",
            "Upstreams",
            "Store and hashing",
            "TLS certificates",
            "Process"
        ]
    );
    let mut drawn = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            assert_eq!(
                target["datasource"]["uid"], "${datasource}",
                "whoever imports it chooses: {}",
                panel["title"]
            );
            let asked = asked(target["expr"].as_str().unwrap());
            assert!(!asked.is_empty() && asked.is_subset(&there), "{}: {asked:?}", panel["title"]);
            drawn.extend(asked);
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    for query in variables.iter().filter_map(|variable| variable["definition"].as_str()) {
        assert!(asked(query).is_subset(&there), "{query}");
    }
    let stem = |name: &String| {
        ["_bucket", "_sum", "_count"].iter().fold(name.clone(), |n, s| n.trim_end_matches(s).into())
    };
    let (all, drawn): (BTreeSet<_>, BTreeSet<_>) =
        (there.iter().map(stem).collect(), drawn.iter().map(stem).collect());
    let forgotten: Vec<_> = all.difference(&drawn).collect();
    assert!(forgotten.is_empty(), "the dashboard draws everything there is, but for {forgotten:?}");
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[tokio::test]
async fn every_alert_asks_for_what_is_there_and_says_what_to_do() {
    let (_upstream, gateway) = busy().await;
    let there = series(&printed(&gateway.metrics().await));
    let Rules { groups } = serde_saphyr::from_str(ALERTS).unwrap();
    let alerts: Vec<_> = groups.into_iter().flat_map(|group| group.rules).collect();
    assert!(alerts.len() >= 6);
    for Alert { alert, expr, labels, annotations } in alerts {
        let asked = asked(&expr);
        assert!(!asked.is_empty() && asked.is_subset(&there), "{alert}: {asked:?}");
        assert!(["warning", "critical"].contains(&labels["severity"].as_str()), "{alert}");
        assert!(annotations["summary"].len() > 10 && annotations["description"].len() > 10, "{alert}");
    }
}

#[tokio::test]
async fn what_happens_is_counted_where_it_is_said_to_be() {
    let (_upstream, gateway) = busy().await;
    let text = gateway.metrics().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let value = |series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse::<f64>().unwrap()
    };
    for (series, want) in [
        (format!(r#"zonegate_requests_total{{zone="{A}",decision="forward",status="2xx"}}"#), 1.0),
        (format!(r#"zonegate_requests_total{{zone="{A}",decision="challenge",status="4xx"}}"#), 1.0),
        (r#"zonegate_refusals_total{decision="challenge",reason="no_session"}"#.into(), 1.0),
        (format!(r#"zonegate_response_body_bytes_total{{zone="{A}"}}"#), 2.0),
        (r#"zonegate_logins_total{outcome="session",method="local",class="mobile"}"#.into(), 1.0),
        (r#"zonegate_security_events_total{kind="login_succeeded"}"#.into(), 1.0),
        (r#"zonegate_sessions{class="mobile"}"#.into(), 1.0),
        ("zonegate_session_users".into(), 1.0),
        (r#"zonegate_session_limit{class="web"}"#.into(), 100.0),
        ("zonegate_password_hashes_total".into(), 1.0),
        ("zonegate_password_hash_seconds_count".into(), 1.0),
        ("zonegate_assertions_signed_total".into(), 1.0),
        ("zonegate_signing_keys".into(), 1.0),
        (r#"zonegate_store_faults_total{operation="write"}"#.into(), 0.0),
        (format!(r#"zonegate_zone_requests_under_way{{zone="{A}"}}"#), 0.0),
        (format!(r#"zonegate_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), 1.0),
    ] {
        if series.contains("response_body_bytes") {
            assert!(value(&series) >= want, "{series}");
        } else {
            assert_eq!(value(&series).to_bits(), f64::to_bits(want), "{series}");
        }
    }
    for name in [A, LOGIN, "*.shared.test"] {
        let until = value(&format!(r#"zonegate_certificate_expiry_timestamp_seconds{{name="{name}"}}"#));
        assert!(until > now as f64, "{name}: {until}");
    }
    assert!(value("process_start_time_seconds") <= now as f64 + 1.0);
    assert!(value("zonegate_store_commit_seconds_count") >= 1.0);
    assert!(value("zonegate_store_read_seconds_count") >= 1.0);
}

#[tokio::test]
async fn top_shows_it_in_a_terminal() {
    let (_upstream, gateway) = busy().await;
    let text = gateway.command(&["top", "--once"]).await;
    for shown in [env!("CARGO_PKG_VERSION"), A, "log-ins/s", "mobile 1", "users 1", "store        lag "] {
        assert!(text.contains(shown), "{shown} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "nobody clears a file");
}
