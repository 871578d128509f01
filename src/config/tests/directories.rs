//! Directory files, and everything that is told about broken ones.

use super::*;
use crate::zone::ZoneTable;

fn check_directory(text: &str, want: &[&str]) {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let told =
        load_directory(text, "d.yaml", &zones).map_or_else(|problems| problems.to_string(), |_| String::new());
    assert_eq!(told.lines().collect::<Vec<_>>(), want, "\n{text}");
}

#[test]
fn names_that_yaml_would_change_stay_as_they_were_typed() {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let text = "tenants: [{ slug: 007, zone: a.example, domains: [a.example], users: [{ username: a@a.example, \
                groups: [yes, on, 1_000, 012, null] }] }]";
    let told = load_directory(text, "d.yaml", &zones).unwrap_err().to_string();
    assert_eq!(told, "d.yaml:1: tenants[0].users[0].groups[4] is nothing, and must be a single value");
    let tenants = load_directory(&text.replace(", null", ""), "d.yaml", &zones).unwrap();
    assert_eq!(tenants[0].slug, "007");
    assert_eq!(tenants[0].users[0].groups, ["yes", "on", "1_000", "012"]);
}

#[test]
fn a_directory_file_is_told_everything_at_once() {
    check_directory("", &["d.yaml: tenants is missing: the list of tenants, each with slug, zone and domains"]);
    check_directory(
        "tenant: []\n",
        &[
            "d.yaml: tenants is missing: the list of tenants, each with slug, zone and domains",
            "d.yaml:1: tenant is not a key here; did you mean \"tenants\"?",
        ],
    );
    check_directory(
        "tenants:\n  - acme\n",
        &["d.yaml:2: tenants[0] is a single value, and must be a section with keys below it"],
    );
    let text = "\
tenants:
  - slug: Acme
    zone: b.example
    domains: [acme.example, 10.0.0.1]
    sso: all
    security: { attempts_max: 0, idle_max: 8, totp_period: 1m }
    users:
      - username: alice
      - username: eve@elsewhere.example
        email: eve
        kind: robot
        level: root
        active: maybe
        start_page: https://elsewhere.example/
        password: hunter2
        grops: [a]
  - slug: bolt
    zone: a.example
    domains: [acme.example]
    users: [{ username: bob@acme.example }, { username: BOB@acme.example }, { username: c@bolt.example }]
  - slug: bolt
";
    check_directory(
        text,
        &[
            "d.yaml:2: tenants[0].slug is no short name: use 1 to 40 lower-case letters, digits and -",
            "d.yaml:3: tenants[0].zone b.example is no zone of the configuration; the zones are a.example",
            "d.yaml:4: tenants[0].domains[1] \"10.0.0.1\" is an IP address; zones are found by name",
            "d.yaml:5: tenants[0].sso is not in this version: only off",
            "d.yaml:6: tenants[0].security.idle_max \"8\" is not a length of time from 1m to 720h, written like 90s, 15m or 8h",
            "d.yaml:6: tenants[0].security.attempts_max \"0\" is not a whole number from 1 to 100",
            "d.yaml:6: tenants[0].security.totp_period is neither 30s nor 60s",
            "d.yaml:8: tenants[0].users[0].username \"alice\" is not of the form username@domain.com",
            "d.yaml:10: tenants[0].users[1].email \"eve\" is no e-mail address, like alice@acme.example",
            "d.yaml:11: tenants[0].users[1].kind \"robot\" is none of regular, contractor, co_managed, dashboard, api_only",
            "d.yaml:12: tenants[0].users[1].level \"root\" is none of user, admin",
            "d.yaml:13: tenants[0].users[1].active \"maybe\" is neither true nor false",
            "d.yaml:14: tenants[0].users[1].start_page \"https://elsewhere.example/\" is not a path on this host: it must start with one '/', in printable ASCII without '\\'",
            "d.yaml:15: tenants[0].users[1].password never stands in this file: set it with `zonegate user set-password`",
            "d.yaml:16: tenants[0].users[1].grops is not a key here; did you mean \"groups\"?",
            "d.yaml:19: tenants[1].domains[0] acme.example is described on line 4 already: say it once",
            "d.yaml:20: tenants[1].users[1].username bob@acme.example is described on line 20 already: say it once",
            "d.yaml:20: tenants[1].users[2].username c@bolt.example does not end in a domain of its tenant: acme.example",
            "d.yaml:21: tenants[2].slug bolt is described on line 17 already: say it once",
            "d.yaml:21: tenants[2].zone is missing, for example zone: desk.example.com",
            "d.yaml:21: tenants[2].domains is missing: the domains that usernames end in, the primary one first",
        ],
    );
}

#[test]
fn h9_k1_what_no_header_takes_or_a_terminal_obeys_is_refused_where_it_is_set() {
    let person = |fields: &str| {
        format!(
            "tenants:\n  - {{ slug: a, zone: a.example, domains: [a.example], users: [{{ username: u@a.example, {fields} }}] }}\n"
        )
    };
    let long = format!("groups: [{}]", vec!["x".repeat(255); 17].join(", "));
    check_directory(
        &person(&long),
        &[
            "d.yaml:2: tenants[0].users[0].groups is longer than the 4096 bytes that a header takes, once encoded: shorten it",
        ],
    );
    // Four bytes a character, three letters each once encoded.
    check_directory(
        &person(&format!("name: \"{}\"", "🦀".repeat(342))),
        &[
            "d.yaml:2: tenants[0].users[0].name is longer than the 4096 bytes that a header takes, once encoded: shorten it",
        ],
    );
    check_directory(&person(&format!("name: \"{}\", groups: [{}]", "🦀".repeat(341), "x".repeat(4096))), &[]);
    let text = "holds a control character or one that turns the line around, which terminals and pages obey";
    check_directory(
        &person(r#"name: "\e[31mred", groups: [ok, "a\nb"]"#),
        &[
            &format!(r#"d.yaml:2: tenants[0].users[0].name "\u{{1b}}[31mred" {text}"#),
            &format!(r#"d.yaml:2: tenants[0].users[0].groups[1] "a\nb" {text}"#),
        ],
    );
}
