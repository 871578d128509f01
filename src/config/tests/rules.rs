//! Access rules: broken ones with everything that is told about them, and what whole ones come to.

use super::*;
use crate::zone::Allow;

/// A zone whose rules begin on line 7.
fn text(rules: &str) -> String {
    format!(
        "master_key: file:master.key\nstore: {{ path: zonegate.db }}\nzones:\n  - host: a.example\n    upstream: {{ url: \
         \"http://127.0.0.1:1\" }}\n    access:\n{rules}"
    )
}

fn check(rules: &str, want: &[&str]) {
    let want: Vec<_> = want.iter().map(|line| line.replace("@", "zones[0].access")).collect();
    assert_eq!(told(&text(rules), &Outside::new()), want, "\n{rules}");
}

#[test]
fn rules_are_read_in_their_order() {
    let rules = "
    - { path: /health, allow: public }
    - { below: /, methods: [OPTIONS], allow: public, name: preflight }
    - { below: /hello, allow: optional }
    - { below: /reports, methods: GET, allow: signed_in }
    - { below: /reports, groups: [Writers, \"on call\"] }
    - { below: /admin, groups: [staff], kinds: [regular, co_managed] }
    - { below: /internal, allow: deny }
";
    let settings = load(&text(rules), "/etc/zg/z.yaml", &Outside::new()).unwrap_or_else(|p| panic!("{p}"));
    let list = settings.zones.zones()[0].rules.list();
    let names: Vec<_> = list.iter().map(|rule| (&*rule.name, rule.line)).collect();
    assert_eq!(names[..3], [("access[0]", 8), ("preflight", 9), ("access[2]", 10)]);
    let Allow::Members(members) = &list[5].allow else { panic!("{list:?}") };
    assert_eq!((&members.groups[..], &members.kinds[..]), (&["staff".into()][..], &["regular", "co_managed"][..]));
    assert_eq!(list[6].allow, Allow::Deny);
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_what_would_be_right() {
    check(
        "
    - { allow: public }
    - { path: /a, below: /b, allow: public }
    - { path: /a;x, allow: public }
    - { path: /.zonegate/login, allow: public }
    - { path: /b }
    - { path: /c, allow: everybody }
    - { path: /d, allow: public, groups: [staff] }
    - { path: /e, groups: [] }
    - { path: /f, kinds: [boss] }
    - { path: /g, methods: [get, TRACE, POST], allow: public }
    - { path: /h, methods: [], allow: public }
    - { path: /i, name: 'a/b', allow: public }
    - { path: /j, prefix: true, allow: public }
",
        &[
            "8: @[0].path is missing: give path for one path alone, or below for a path and everything below it",
            "9: @[1].below and path are given: choose one of them",
            "10: @[2].path \"/a;x\" is not a path that a rule can be for: it starts with one '/', is written as browsers send it (/caf%C3%A9), and has no query, no ';', no segment that ends in a dot, and is none of zonegate's own below /.zonegate",
            "11: @[3].path \"/.zonegate/login\" is not a path that a rule can be for: it starts with one '/', is written as browsers send it (/caf%C3%A9), and has no query, no ';', no segment that ends in a dot, and is none of zonegate's own below /.zonegate",
            "12: @[4].allow is missing: one of public, optional, signed_in, deny, or name groups or kinds",
            "13: @[5].allow \"everybody\" is none of public, optional, signed_in, deny",
            "14: @[6].allow and groups or kinds are given: these need a session already, leave allow out",
            "15: @[7].groups names nobody: for a rule that lets nobody through, say allow: deny",
            "16: @[8].kinds[0] \"boss\" is none of regular, contractor, co_managed, dashboard, api_only",
            "17: @[9].methods[0] \"get\" is not a method that the zone passes on, like GET; others are named in its more_methods",
            "17: @[9].methods[1] \"TRACE\" is not a method that the zone passes on, like GET; others are named in its more_methods",
            "18: @[10].methods names no method: leave it out for all of them",
            "19: @[11].name \"a/b\" is no name for logs: take at most 64 letters, digits, spaces and - _ .",
            "20: @[12].prefix is not a key here; the keys are path, below, methods, allow, groups, kinds, name",
        ],
    );
}

#[test]
fn a_rule_that_is_never_reached_is_an_error_that_says_by_which() {
    check(
        "
    - { below: /a, methods: [GET], allow: public, name: reading }
    - { below: /a, methods: [POST], groups: [writers] }
    - { path: /a/b, methods: [HEAD, POST], allow: deny }
    - { below: /, allow: signed_in }
    - { below: /c, allow: public }
",
        &[
            "10: @[2] is never reached: reading (line 8) and access[1] (line 9) above fits all that it fits. Put it above, or take it out",
            "12: @[4] is never reached: access[3] (line 11) above fits all that it fits. Put it above, or take it out",
        ],
    );
}

#[test]
fn a_zone_has_so_many_rules_and_no_more() {
    let rule = |at: usize| format!("    - {{ path: /{at}, allow: public }}\n");
    let rules = |count: usize| (0..count).map(rule).collect::<String>();
    check(&rules(128), &[]);
    check(&rules(129), &["4: @ has 129 rules, and a zone may have 128"]);
}

#[test]
fn where_somebody_else_ends_tls_nothing_of_tls_is_needed_but_who_that_is() {
    let text = |listen: &str, more: &str| {
        format!(
            "listen: {{ {listen} }}\nmaster_key: file:master.key\nstore: {{ path: zonegate.db }}\nzones:\n  - {{ host: \
             a.example, upstream: {{ url: 'http://127.0.0.1:1' }}{more} }}"
        )
    };
    let check = |listen: &str, more: &str, want: &[&str]| {
        assert_eq!(told(&text(listen, more), &Outside::new()), want, "{listen} {more}");
    };
    let (behind, trusted) = ("behind_tls: ['127.0.0.1:8080']", "trusted_proxies: [127.0.0.1]");
    let both = format!("{behind}, {trusted}");
    check(&both, "", &[]);
    let hosts = |listen: &str| inspect(&text(listen, ""), "/etc/zg/z.yaml", &Outside::new());
    let alone = hosts(&both);
    assert!(alone.hosts.is_empty() && !alone.hosts_are_all, "no certificate is asked for");
    let listeners = alone.settings.map(|settings| (settings.listeners.https, settings.public_port));
    assert_eq!(listeners, Some((Vec::new(), 443)), "browsers use the proxy's port");
    let beside = hosts(&format!("{both}, https: '0.0.0.0:8443'"));
    assert_eq!(beside.hosts.len(), 1, "TLS may end here as well");
    check(
        behind,
        "",
        &[
            "1: listen.behind_tls[0] answers only those in trusted_proxies: name the address of the proxy that passes requests on there",
        ],
    );
    let certificate = "5: zones[0].client_certificates.ca_file needs listen.https: a client proves its certificate to whoever ends TLS, and here that is somebody else";
    let asked = told(&text(&both, ", client_certificates: { ca_file: x.pem }"), &Outside::new());
    assert_eq!(asked.first().map(String::as_str), Some(certificate));
}

#[test]
fn a_zone_that_a_proxy_asks_about_needs_no_upstream_and_an_address_to_ask_at() {
    let text = |listen: &str, zone: &str| {
        format!(
            "listen: {{ {listen} }}\nmaster_key: file:master.key\nstore: {{ path: zonegate.db }}\nzones:\n  - {{ host: \
             a.example, {zone} }}"
        )
    };
    let check = |listen: &str, zone: &str, want: &[&str]| {
        assert_eq!(told(&text(listen, zone), &Outside::new()), want, "{listen} {zone}");
    };
    let (asked, trusted) = ("forward_auth: '127.0.0.1:9480'", "trusted_proxies: [127.0.0.1]");
    let both = format!("{asked}, {trusted}");
    let upstream = "upstream: { url: 'http://127.0.0.1:1' }";
    check(&both, "forward_auth: true", &[]);
    check(&both, &format!("forward_auth: true, {upstream}"), &[]);
    let settings = load(&text(&both, "forward_auth: true"), "/etc/zg/z.yaml", &Outside::new()).unwrap();
    assert_eq!(settings.zones.zones()[0].ways, crate::zone::Ways::Asked);
    let missing = "5: zones[0].upstream is missing: give the application's address, for example upstream: { url: http://127.0.0.1:8080 }";
    check(trusted, "forward_auth: false", &[missing]);
    check(
        trusted,
        "forward_auth: true",
        &["5: zones[0].forward_auth needs listen.forward_auth, the address at which the proxy in front asks"],
    );
    check(
        asked,
        "forward_auth: true",
        &[
            "1: listen.forward_auth answers only those in trusted_proxies: name the address of the proxy that asks there",
        ],
    );
    let nobody = told(&text(&both, upstream), &Outside::new());
    assert_eq!(nobody.len(), 1, "{nobody:?}");
    assert!(
        nobody[0].ends_with("listen.forward_auth answers nobody: no zone says forward_auth: true"),
        "{nobody:?}"
    );
    // An upstream that cannot be read is not taken for none.
    let broken = told(&text(&both, "forward_auth: true, upstream: { url: x }"), &Outside::new());
    assert_eq!(broken.len(), 1, "{broken:?}");
}

/// The proxy that asks has ended TLS: no certificate has been proved to us, and everybody would be let in without one.
#[test]
fn sec_r81_no_zone_requires_certificates_of_clients_that_show_them_to_somebody_else() {
    let outside =
        || Outside::new().file("/etc/zg/ca.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let text = |forward_auth: bool, mode: &str| {
        format!(
            "listen: {{ https: '0.0.0.0:8443', forward_auth: '127.0.0.1:9480', trusted_proxies: [127.0.0.1] }}\nmaster_key: \
             file:master.key\nstore: {{ path: zonegate.db }}\nzones:\n  - {{ host: a.example, forward_auth: \
             {forward_auth}, upstream: {{ url: 'http://127.0.0.1:1' }}, client_certificates: {{ ca_file: ca.pem{mode} }} \
             }}\n  - {{ host: b.example, forward_auth: true }}"
        )
    };
    let refused = "5: zones[0].forward_auth cannot be together with client_certificates that are required: clients show \
                   theirs to the proxy that asks, which has to require them itself; say mode: optional, or leave one of the \
                   two out";
    for (forward_auth, mode, want) in [
        (true, "", &[refused][..]),
        (true, ", mode: required", &[refused]),
        (true, ", mode: optional", &[]),
        (false, "", &[]),
    ] {
        check_in(&outside(), &text(forward_auth, mode), want);
    }
}
