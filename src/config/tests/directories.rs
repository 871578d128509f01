//! Directory files, and everything that is told about broken ones.

use super::*;
use crate::directory::{SuiteAccess, SuiteMode};
use crate::zone::ZoneTable;

fn check_directory(text: &str, want: &[&str]) {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let told = load_directory(text, "d.yaml", &zones, &Outside::new())
        .map_or_else(|problems| problems.to_string(), |_| String::new());
    assert_eq!(told.lines().collect::<Vec<_>>(), want, "\n{text}");
}

#[test]
fn names_that_yaml_would_change_stay_as_they_were_typed() {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let text = "tenants: [{ slug: 007, zone: a.example, domains: [a.example], users: [{ username: a@a.example, \
                groups: [yes, on, 1_000, 012, 1.10, 1e3, 0x10, +5, True, 108204268033311374519, &a 1.0, *a, \"0x1\", null] }] }]";
    let told = load_directory(text, "d.yaml", &zones, &Outside::new()).unwrap_err().to_string();
    assert_eq!(told, "d.yaml:1: tenants[0].users[0].groups[13] is nothing, and must be a single value");
    let tenants = load_directory(&text.replace(", null", ""), "d.yaml", &zones, &Outside::new()).unwrap();
    assert_eq!(tenants[0].slug, "007");
    assert_eq!(
        tenants[0].users[0].groups.clone().unwrap(),
        [
            "yes",
            "on",
            "1_000",
            "012",
            "1.10",
            "1e3",
            "0x10",
            "+5",
            "True",
            "108204268033311374519",
            "1.0",
            "1.0",
            "0x1",
        ]
    );
}

#[test]
fn a_number_is_found_again_behind_whatever_stands_before_it() {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let file = "# Größe 😀\r\ntenants:\r\n  - { slug: 0x7, name: Café, zone: a.example, domains: [a.example], users: [] }\r\n";
    for text in [file.to_owned(), format!("\u{feff}{file}"), file.replace("\r\n", "\n"), format!("--- \n{file}")] {
        let tenants = load_directory(&text, "d.yaml", &zones, &Outside::new());
        let told = tenants.map_or_else(|problems| problems.to_string(), |tenants| tenants[0].slug.clone());
        assert_eq!(told, "0x7", "{text:?}");
    }
}

#[test]
fn what_a_file_does_not_say_is_told_from_that_there_is_none() {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let read = |tenant: &str, user: &str| {
        let text = format!(
            "tenants: [{{ slug: a, zone: a.example, domains: [a.example] {tenant}, \
             users: [{{ username: u@a.example {user} }}] }}]"
        );
        load_directory(&text, "d.yaml", &zones, &Outside::new()).unwrap().remove(0)
    };
    let silent = read("", "");
    assert_eq!((silent.name, silent.overrides), (None, None));
    let user = &silent.users[0];
    assert_eq!((&user.name, user.kind, user.level, &user.groups, user.active), (&None, None, None, &None, None));
    assert_eq!((&user.email, &user.start_page), (&Said::Nothing, &Said::Nothing));
    let none = read(", security: {}", ", email: '', start_page: '', groups: []");
    assert_eq!(none.overrides, Some(crate::directory::SecurityOverrides::default()));
    let user = &none.users[0];
    assert_eq!((&user.email, &user.start_page, &user.groups), (&Said::None, &Said::None, &Some(vec![])));
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
            "d.yaml:5: tenants[0].sso is neither off nor a section with issuer, client_id and for",
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

#[test]
fn sec_r91_a_provider_is_told_off_whole_and_its_secret_never_stands_in_the_file() {
    let tenant = |sso: &str, users: &str| {
        format!(
            "tenants:\n  - {{ slug: a, zone: a.example, domains: [a.example], users: [{users}], sso: {sso} }}\n"
        )
    };
    check_directory(&tenant("off", ""), &[]);
    check_directory(&tenant("{ issuer: https://idp.example, client_id: x, for: all }", ""), &[]);
    check_directory(
        &tenant("{}", ""),
        &[
            "d.yaml:2: tenants[0].sso.issuer is missing, for example issuer: https://login.acme.example",
            "d.yaml:2: tenants[0].sso.client_id is missing, for example client_id: zonegate",
            "d.yaml:2: tenants[0].sso.for is missing, for example for: all",
        ],
    );
    check_directory(
        &tenant("[]", ""),
        &["d.yaml:2: tenants[0].sso is a list, and must be a section with keys below it"],
    );
    let wrong = "{ issuer: 'http://idp.example', client_id: é, client_secret: hunter2, for: some, \
                 client_authentication: none, signing_algorithm: HS256, scopes: ['a b'], username_claim: '', \
                 hosts: ['https://x.example'], amr: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q], max_age: 1s, \
                 provision: maybe, emergency_admin: root, secret: x }";
    check_directory(
        &tenant(wrong, ""),
        &[
            "d.yaml:2: tenants[0].sso.issuer \"http://idp.example\" must begin with https://",
            "d.yaml:2: tenants[0].sso.client_id \"é\" is no client identifier: printable ASCII",
            "d.yaml:2: tenants[0].sso.client_secret must be a reference, file:PATH or env:NAME: secrets never stand in this file",
            "d.yaml:2: tenants[0].sso.max_age \"1s\" is not a length of time from 2s to 720h, written like 90s, 15m or 8h",
            "d.yaml:2: tenants[0].sso.client_authentication \"none\" is none of client_secret_basic, client_secret_post, private_key_jwt",
            "d.yaml:2: tenants[0].sso.signing_algorithm \"HS256\" is none of RS256, PS256, ES256, ES384, EdDSA",
            "d.yaml:2: tenants[0].sso.scopes[0] \"a b\" is no word of printable ASCII",
            "d.yaml:2: tenants[0].sso.amr has more than 16 entries",
            "d.yaml:2: tenants[0].sso.hosts[0] \"https://x.example\" must be a bare name, without scheme, port or path",
            "d.yaml:2: tenants[0].sso.for \"some\" is none of off, selected, all",
            "d.yaml:2: tenants[0].sso.emergency_admin \"root\" is not of the form username@domain.com",
            "d.yaml:2: tenants[0].sso.username_claim \"\" is no word of printable ASCII",
            "d.yaml:2: tenants[0].sso.provision \"maybe\" is neither true nor false",
            "d.yaml:2: tenants[0].sso.secret is not a key here; the keys are issuer, client_id, client_secret, max_age, client_authentication, signing_algorithm, scopes, acr, amr, hosts, for, emergency_admin, username_claim, provision, logout",
        ],
    );
    let users = "{ username: u@a.example, sso_subject: s }, { username: v@a.example, sso_subject: s }, \
                 { username: w@a.example, sso_subject: \"\u{e9}\" }";
    check_directory(
        &tenant("off", users),
        &[
            "d.yaml:2: tenants[0].users[1].sso_subject s is described on line 2 already: say it once",
            "d.yaml:2: tenants[0].users[2].sso_subject is no subject: 1 to 255 printable ASCII characters",
        ],
    );
}

#[test]
fn k1_a_providers_secret_comes_from_where_the_file_says_and_is_not_shown() {
    let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
    let text = "tenants: [{ slug: a, zone: a.example, domains: [a.example], sso: { issuer: https://idp.example, \
                client_id: x, client_secret: file:idp.secret, for: selected } }]";
    let outside = Outside::new().file("/etc/zg/idp.secret", "canary\n");
    let tenants = load_directory(text, "/etc/zg/d.yaml", &zones, &outside).unwrap();
    let provider = tenants[0].sso.as_ref().unwrap().provider.as_ref().unwrap();
    assert_eq!(provider.secret.as_ref().unwrap().reveal(), "canary");
    assert!(!format!("{tenants:?}").contains("canary"));
    let empty = Outside::new().file("/etc/zg/idp.secret", "\n");
    let told = load_directory(text, "/etc/zg/d.yaml", &zones, &empty).unwrap_err().to_string();
    let want =
        "/etc/zg/d.yaml:1: tenants[0].sso.client_secret holds no client secret: one line of at most 2048 bytes";
    assert_eq!(told, want);
}

#[test]
fn d22_a_tenants_suite_is_off_or_a_company_of_it() {
    let suite = |text: &str| {
        let tenant = format!("tenants:\n  - {{ slug: a, zone: a.example, domains: [a.example], {text} }}\n");
        let zones = ZoneTable::new(vec![crate::session::samples::zone("a.example")], None).unwrap();
        load_directory(&tenant, "d.yaml", &zones, &Outside::new()).map(|tenants| tenants[0].suite.clone())
    };
    assert_eq!(suite("users: []").unwrap(), None, "what is there stays");
    assert_eq!(suite("suite: off").unwrap(), Some(SuiteAccess::default()));
    let access = suite("suite: { company: c-1042, require: true, provision: true }").unwrap().unwrap();
    assert_eq!(access.mode, SuiteMode::Required);
    assert_eq!((access.company.unwrap().as_str(), access.provisioning), ("c-1042", true));
    assert_eq!(suite("suite: { company: C }").unwrap().unwrap().mode, SuiteMode::Allowed);
    let told = |text: &str| suite(text).unwrap_err().to_string();
    assert_eq!(told("suite: on"), "d.yaml:2: tenants[0].suite is neither off nor a section with company");
    assert!(told("suite: { require: true }").contains("suite.company is missing, for example company: c-1042"));
    assert!(
        told("suite: { company: é }")
            .contains("suite.company \"é\" is no company of the suite: 1 to 255 printable")
    );
}
