//! What a reload takes over, what it refuses, and what an operator is told of it.

use super::*;

/// A configuration in which every section stands, with one of its texts replaced.
fn with(from: &str, to: &str) -> Settings {
    let text = "\
listen: { https: ['127.0.0.1:443'], http: ['127.0.0.1:80'], admin: '127.0.0.1:9443' }
master_key: file:master.key
store: { path: zonegate.db }
certificates: { files: [{ chain: a.crt, key: a.key }] }
universal_host: login.example
security: { idle_max: 8h }
hashing: { passes: 2 }
limits: { form: 16KiB }
assertion: { lifetime: 60s }
native_clients: [{ id: mobile }]
brand: { product: Desk, logo: logo.svg }
log: { level: info, access: true }
reload: { watch: true }
threads: 2
zones:
  - { host: a.example, upstream: { url: 'https://app.internal', ca_file: root.pem } }
  - { host: b.example, headers: remote, upstream: { url: 'http://127.0.0.1:1' } }
";
    assert!(text.contains(from), "{from}");
    let root = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let outside = ["root.pem", "a.crt", "other.crt"]
        .into_iter()
        .fold(Outside::new(), |outside, name| outside.file(&format!("/etc/zg/{name}"), format!("{name}\n{root}")));
    let outside = outside.file("/etc/zg/other.pem", root.replace("MAA=", "MAAA")).file("/etc/zg/a.key", "key");
    let outside = outside.file("/etc/zg/logo.svg", "<svg/>").file("/etc/zg/other.svg", "<svg>other</svg>");
    let outside = outside.file("/etc/zg/other.key", "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    load(&text.replace(from, to), "/etc/zg/z.yaml", &outside).unwrap_or_else(|problems| panic!("{problems}"))
}

fn between(from: &str, to: &str) -> Changes {
    Changes::between(&with("", ""), &with(from, to))
}

#[test]
fn what_a_running_process_cannot_take_over_is_named() {
    for (from, to, key) in [
        ("127.0.0.1:443'", "127.0.0.1:444', '127.0.0.1:443'", "listen.https"),
        ("127.0.0.1:80", "127.0.0.1:81", "listen.http"),
        ("127.0.0.1:9443", "127.0.0.1:9444", "listen.admin"),
        ("9443'", "9443', status: ['127.0.0.1:9090']", "listen.status"),
        ("9443'", "9443', public_port: 8443", "listen.public_port"),
        ("zonegate.db", "other.db", "store.path"),
        ("file:master.key", "file:other.key", "master_key"),
        ("threads: 2", "threads: 3", "threads"),
        ("threads: 2", "threads: 2\ntraces: { otlp: 'http://127.0.0.1:4318' }", "traces.otlp"),
    ] {
        assert!(between(from, to).needs_restart.contains(&key), "{key}");
    }
}

#[test]
fn what_it_can_take_over_is_told_by_section() {
    assert!(between("", "").is_empty());
    for (from, to, want) in [
        ("9443'", "9443', tls_min: '1.3'", "listen"),
        ("login.example", "in.example", "universal_host"),
        ("a.crt", "other.crt", "certificates"),
        ("idle_max: 8h", "idle_max: 7h", "security"),
        ("passes: 2", "passes: 3", "hashing"),
        ("form: 16KiB", "form: 17KiB", "limits"),
        ("60s", "90s", "assertion"),
        ("id: mobile", "id: phone", "native_clients"),
        ("threads: 2", "threads: 2\nsso: { timeout: 5s }", "sso"),
        ("logo.svg", "other.svg", "brand"),
        ("Desk", "Helpdesk", "brand"),
        ("level: info", "level: warn", "log"),
        ("access: true", "access: false", "log"),
        ("watch: true", "watch: false", "reload"),
        ("threads: 2", "threads: 2\ntraces: { context: new }", "traces"),
    ] {
        let want = Changes { sections: vec![want], ..Changes::default() };
        assert_eq!(between(from, to), want, "{from} -> {to}");
    }
}

#[test]
fn zones_are_told_by_name() {
    let host = |name: &str| vec![name.parse::<Hostname>().unwrap()];
    for (from, to) in
        [("remote", "default"), ("127.0.0.1:1'", "127.0.0.1:2'"), ("b.example,", "b.example, name: B,")]
    {
        let want = Changes { zones_changed: host("b.example"), ..Changes::default() };
        assert_eq!(between(from, to), want, "{from} -> {to}");
    }
    let other_root = between("root.pem", "other.pem");
    assert_eq!(other_root.zones_changed, host("a.example"), "the content of a file counts, not only its name");
    let renamed = between("b.example", "c.example");
    assert_eq!(
        (renamed.zones_added.clone(), renamed.zones_removed.clone()),
        (host("c.example"), host("b.example"))
    );
    assert_eq!(renamed.to_string(), "Zones added: c.example.\nZones removed, their sessions ended: b.example.");
    // A host that only redirects has no sessions of its own any more.
    let alias = between("- { host: b.example, headers: remote, upstream: { url: 'http://127.0.0.1:1' } }", "");
    assert_eq!(alias.zones_removed, host("b.example"));
}
