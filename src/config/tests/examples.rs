//! The files of `config/` are read as they are, and the reference documents exactly what the code takes.

use std::collections::BTreeSet;

use super::*;
use crate::zone::Language;

const REFERENCE: &str = include_str!("../../../config/zonegate.yaml");
const SEVENTEEN: &str = include_str!("../../../config/examples/seventeen-zones.yaml");
const SMALL: &str = include_str!("../../../config/examples/small.yaml");
const DEMO: &str = include_str!("../../../config/demo.yaml");
const FORWARD_AUTH: &str = include_str!("../../../config/examples/forward-auth/zonegate.yaml");
const DIRECTORY: &str = include_str!("../../../config/examples/directory.yaml");
const ZONES: &str = include_str!("../../../tests/data/zones.csv");

/// The file with its optional keys switched on: those behind `#` without a space.
pub(super) fn uncommented(text: &str) -> String {
    let switch = |line: &str| {
        let inner = line.trim_start();
        match inner.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-') => {
                format!("{}{key}\n", &line[..line.len() - inner.len()])
            }
            Some(_) | None => format!("{line}\n"),
        }
    };
    text.lines().map(switch).collect()
}

/// A file that comes with the source is right, in the folder it would lie in.
fn whole(text: &str, outside: &Outside) -> Settings {
    load(text, "/etc/zg/z.yaml", outside).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Everything that the optional keys of the reference name.
fn furnished() -> Outside {
    let root = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let outside = Outside::new().variable("SUITE_SECRET", "hunter2");
    let outside = outside.file("/etc/zg/internal-root.pem", root).file("/etc/zg/logo.svg", "<svg/>");
    let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let outside = outside.file("/etc/zg/zonegate-client.pem", root).file("/etc/zg/zonegate-client.key", key);
    let outside = outside.file("/etc/zg/clients-root.pem", root).file("/etc/zg/acme-root.pem", root);
    let outside = outside.file("/etc/zg/certs/README.md", "");
    let live = "/etc/letsencrypt/live/desk.example.com";
    outside.file(&format!("{live}/fullchain.pem"), root).file(&format!("{live}/privkey.pem"), "")
}

/// The keys of a file, as [`Findings::known`] writes them; keys that are the operator's own are left out.
fn keys(node: &Node, path: &str, into: &mut BTreeSet<String>) {
    let own = path.ends_with("custom_headers") || path.starts_with("brand.texts.");
    match &node.value {
        Value::Map(entries) if !own => {
            for (key, _, below) in entries {
                let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                keys(below, &key, into);
                into.insert(key);
            }
        }
        Value::List(items) => items.iter().for_each(|item| keys(item, &format!("{path}[]"), into)),
        Value::Map(_) | Value::Null | Value::Scalar(_) => {}
    }
}

#[test]
fn the_reference_documents_every_key_and_no_other() {
    let text = uncommented(REFERENCE);
    let findings = Findings::default();
    read(&text, "/etc/zg/z.yaml", &furnished(), &findings);
    let known: BTreeSet<_> = findings.known.borrow().iter().cloned().collect();
    let mut documented = BTreeSet::new();
    keys(&tree::parse(&text).unwrap(), "", &mut documented);
    assert_eq!(documented.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "unknown to the code");
    assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
}

#[test]
fn the_reference_shows_the_defaults() {
    let bare = whole(REFERENCE, &Outside::new());
    let full = whole(&uncommented(REFERENCE), &furnished());
    let shown = |settings: &Settings| {
        format!(
            "{:#?}",
            (
                &settings.listeners.https,
                settings.public_port,
                settings.security,
                settings.hashing,
                settings.limits,
                settings.assertion,
                &settings.native_clients,
                (settings.log.level, settings.log.access, settings.watch, settings.threads),
                (&settings.brand.product, settings.brand.accent, settings.brand.accent_dark),
            )
        )
    };
    assert_eq!(shown(&bare), shown(&full));
    let zone = |settings: &Settings| {
        let zone = &settings.zones.zones()[0];
        format!(
            "{:#?}",
            (
                &zone.name,
                zone.language,
                zone.preselectable,
                &zone.headers,
                &zone.audience,
                zone.body_bytes_max,
                &zone.upstream
            )
        )
    };
    assert_eq!(zone(&bare), zone(&full));
}

#[test]
fn r11_the_seventeen_zones_are_the_table_in_its_order() {
    let settings = whole(SEVENTEEN, &Outside::new().file("/etc/zg/certs/README.md", ""));
    let quoted = |text: &str| if text.contains(',') { format!("\"{text}\"") } else { text.to_owned() };
    let row = |zone: &std::sync::Arc<crate::zone::Zone>| {
        format!("{},{},{},{}\n", quoted(&zone.name), zone.data_centre, zone.host, quoted(&zone.description))
    };
    let rows: String = settings.zones.zones().iter().map(row).collect();
    assert_eq!(format!("name,data_centre,hostname,description\n{rows}"), ZONES);
    assert_eq!(settings.zones.zones().len(), 17);
    assert_eq!(settings.zones.universal().unwrap().as_str(), "www.autotask.net", "R14");
    for zone in settings.zones.zones() {
        assert_eq!(zone.preselectable, zone.name != "Limited", "R16: {}", zone.host);
        assert_eq!(zone.language == Language::De, zone.name == "DE 1", "{}", zone.host);
        let domain =
            if ["ww18", "ww19"].iter().any(|host| zone.host.as_str().starts_with(host)) { "com" } else { "net" };
        assert!(zone.host.as_str().ends_with(&format!(".autotask.{domain}")), "R13: {}", zone.host);
    }
}

#[test]
fn the_smallest_configuration_and_the_demos_are_whole() {
    let small = whole(SMALL, &Outside::new());
    assert_eq!(small.zones.zones()[0].host.as_str(), "wiki.example.com");
    // The demo makes its authority before it reads the file.
    let authority = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let outside = Outside::new().file("/etc/zg/ca.pem", authority);
    whole(DEMO, &outside.file("/etc/zg/suite.secret", "hunter2\n"));
    whole(FORWARD_AUTH, &Outside::new());
}

/// The secret that the directory example names.
fn idp_secret() -> Outside {
    Outside::new().file("acme-idp.secret", "hunter2\n")
}

#[test]
fn the_directory_example_fits_the_reference() {
    let settings = whole(REFERENCE, &Outside::new());
    let load = |text: &str| load_directory(text, "directory.yaml", &settings.zones, &idp_secret());
    assert!(load(&uncommented(DIRECTORY)).unwrap()[0].suite.is_some());
    let tenants = load(DIRECTORY).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(tenants.iter().map(|tenant| tenant.users.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(tenants[1].name, None, "what is not said stays");
    let shown = tenants[0].overrides.unwrap();
    assert!(shown.attempts_max.is_some());
    assert_eq!(shown.idle_max_seconds.map(crate::base::Ttl::seconds), Some(4 * 3600));
}

#[test]
fn the_directory_example_shows_every_key() {
    let settings = whole(REFERENCE, &Outside::new());
    let (root, findings) = (tree::parse(&uncommented(DIRECTORY)).unwrap(), Findings::default());
    directory::read(&root, &findings, &settings.zones, (Path::new(""), &idp_secret()));
    let mut shown = BTreeSet::new();
    keys(&root, "", &mut shown);
    // Known only to be refused with a better reason than "unknown".
    shown.insert("tenants[].users[].password".into());
    assert_eq!(findings.known.into_inner().into_iter().collect::<BTreeSet<_>>(), shown);
}

#[test]
fn a_file_may_explain_itself_at_any_length() {
    let comment = "# why\n".repeat(10_000);
    whole(&format!("{comment}{HEAD}{comment}"), &Outside::new());
    whole(&HEAD.replace("zones: [", &format!("zones:\n{comment}  [")), &Outside::new());
}
