//! Broken files, each with everything that is told about it; whole ones are in `tests/examples.rs`.

mod changes;
mod directories;
mod environment;
mod examples;
mod properties;
mod rules;
mod upstream;

use std::collections::HashMap;
use std::path::PathBuf;

use super::*;

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// An outside that is made up: files by path, and an environment.
#[derive(Default)]
struct Outside {
    files: HashMap<PathBuf, Result<Vec<u8>, String>>,
    variables: Vec<(String, String)>,
}

impl Outside {
    fn new() -> Self {
        Self::default().file("/etc/zg/master.key", MASTER_KEY)
    }

    fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.into(), Ok(content.as_ref().to_vec()));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }
}

impl Surroundings for Outside {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.files.get(path).cloned().unwrap_or_else(|| Err(format!("{} cannot be read", path.display())))
    }
    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String> {
        match path.to_str().is_some_and(|path| path.contains("open-to-all")) {
            true => Err(format!("{} may be read by other users", path.display())),
            false => self.read(path),
        }
    }
    fn list(&self, path: &Path) -> Result<Vec<String>, String> {
        let inside = self.files.keys().filter(|file| file.parent() == Some(path));
        let names: Vec<_> = inside.map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
        if names.is_empty() { Err(format!("{} cannot be listed", path.display())) } else { Ok(names) }
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
    fn variables(&self, prefix: &str) -> Vec<(String, String)> {
        self.variables.iter().filter(|(name, _)| name.starts_with(prefix)).cloned().collect()
    }
}

/// A configuration that is right, on three lines.
const HEAD: &str = "master_key: file:master.key\nstore: { path: zonegate.db }\n\
                    zones: [{ host: a.example, upstream: { url: \"http://127.0.0.1:1\" } }]\n";

/// Each line that is told, without the file's name.
fn told(text: &str, outside: &Outside) -> Vec<String> {
    match load(text, "/etc/zg/z.yaml", outside) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            let lines = problems.to_string();
            lines
                .lines()
                .map(|line| line.strip_prefix("/etc/zg/z.yaml:").unwrap().trim_start().to_owned())
                .collect()
        }
    }
}

fn check_in(outside: &Outside, text: &str, want: &[&str]) {
    assert_eq!(told(text, outside), want, "\n{text}");
}

fn check(text: &str, want: &[&str]) {
    check_in(&Outside::new(), text, want);
}

/// What is told about lines added to a configuration that is right: they begin on line 4.
fn check_added(lines: &str, want: &[&str]) {
    check(&format!("{HEAD}{lines}"), want);
}

#[test]
fn a_configuration_that_is_right_has_no_problems() {
    check(HEAD, &[]);
    check(&format!("\u{feff}{}", HEAD.replace('\n', "\r\n")), &[]);
    // However much an operator has to say about it.
    check(&format!("listen:\n{}{HEAD}", "  # why\n".repeat(1000)), &[]);
}

#[test]
fn everything_is_told_at_once_in_the_order_of_the_file() {
    let text = "\
listen: { https: 443, admin: 0.0.0.0:9443 }
master_key: file:open-to-all.key
threads: many
zones:
  - host: a.example
    aliases: [b.example, b.example]
    headers: everything
    upstream: { url: https://10.0.0.1 }
  - host: A.example.
    idle_max: 8h
universal_host: b.example
limits: { keepalive: 60, head: 1MB, head: 64KiB, drain: 0s }
brand: { accent: '#ffffff', links: { help: help.example } }
";
    check(
        text,
        &[
            "store.path is missing: name the file that holds the directory, for example zonegate.db",
            "1: listen.https[0] \"443\" is not an address with a port, like 0.0.0.0:443 or [::]:443",
            "1: listen.admin \"0.0.0.0:9443\" can be reached from outside: give a loopback address like 127.0.0.1:9443, or a socket like unix:/run/zonegate/admin.sock (SEC-R91)",
            "2: master_key /etc/zg/open-to-all.key may be read by other users",
            "3: threads \"many\" is not a whole number from 0 to 1024",
            "6: zones[0].aliases[1] claims b.example, which is zones[0].aliases[0] (line 6) already: each host may appear once, as a zone, an alias or the universal host",
            "7: zones[0].headers \"everything\" is none of default, oauth2-proxy, remote; for your own names use custom_headers",
            "8: zones[0].upstream.url names an address, which no certificate is checked against: give server_name beside it",
            "9: zones[1].upstream is missing: give the application's address, for example upstream: { url: http://127.0.0.1:8080 }",
            "9: zones[1].host claims a.example, which is zones[0].host (line 5) already: each host may appear once, as a zone, an alias or the universal host",
            "10: zones[1].idle_max is not a key here; the keys are host, aliases, name, data_centre, description, language, preselectable, custom_headers, headers, audience, body_max, more_methods, background_paths, client_certificates, access, forward_auth, upstream",
            "11: universal_host claims b.example, which is zones[0].aliases[0] (line 6) already: each host may appear once, as a zone, an alias or the universal host",
            "12: limits.head stands on line 12 already: keep one of them",
            "12: limits.head \"1MB\" is not a size from 4KiB to 256KiB, written like 16KiB or 10MiB",
            "12: limits.keepalive \"60\" is not a length of time from 1s to 1h, written like 90s, 15m or 8h",
            "12: limits.drain \"0s\" is not a length of time from 1s to 10m, written like 90s, 15m or 8h",
            "13: brand.accent #ffffff is too pale to read on white (WCAG 2.2 asks for 4.5 to 1): choose a darker colour",
            "13: brand.links.help \"help.example\" is not a web address, like https://status.example.com/",
        ],
    );
}

#[test]
fn an_empty_file_is_told_what_it_needs() {
    for text in ["", "# only a remark\n", "---\n", "~\n"] {
        check(
            text,
            &[
                "master_key is missing: make one with `openssl rand -base64 32 > master.key && chmod 600 master.key` and give file:master.key",
                "store.path is missing: name the file that holds the directory, for example zonegate.db",
                "zones is missing: give at least one zone with host and upstream",
            ],
        );
    }
}

#[test]
fn a_file_of_another_shape_is_one_problem_and_not_ten() {
    check("- a\n- b\n", &["1: is a list, and must be a section with keys below it"]);
    check("just text", &["1: is a single value, and must be a section with keys below it"]);
    check_added(
        "security: strict\n",
        &["4: security is a single value, and must be a section with keys below it"],
    );
    check_added("limits: { head: [1, 2] }\n", &["4: limits.head is a list, and must be a single value"]);
    check(
        &HEAD.replace("{ url: \"http://127.0.0.1:1\" }", "http://127.0.0.1:1"),
        &["3: zones[0].upstream is a single value, and must be a section with keys below it"],
    );
    check(
        &HEAD.replace("[{ host: a.example", "{ host: a.example").replace("} }]", "} }"),
        &["3: zones is a section with keys, and must be a list (each item begins with '- ')"],
    );
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    check(
        "a: 1\nb: [1, 2\nc: 3\n",
        &["3: is not YAML that can be read: illegal placement of ':' indicator at line 3, column 2"],
    );
    check("a: 'open\n", &["1: is not YAML that can be read: unclosed quote at line 1, column 4"]);
    check(
        "a: 1\n\tb: 2\n",
        &["1: is not YAML that can be read: while scanning a plain scalar, found a tab at line 1, column 4"],
    );
    check(
        "a: *nobody\n",
        &["1: is not YAML that can be read: alias references unknown anchor at line 1, column 4"],
    );
    check("a: 1\n---\nb: 2\n", &["3: is not YAML that can be read: multiple YAML documents detected"]);
    check(
        &"[".repeat(100_000),
        &["1: is not YAML that can be read: recursion limit exceeded at line 1, column 256"],
    );
}

#[test]
fn a_key_that_stands_twice_is_told_with_both_lines() {
    check_added("threads: 1\nthreads: 2\n", &["5: threads stands on line 4 already: keep one of them"]);
    check_added(
        "log:\n  level: info\n  level: warn\n",
        &["6: log.level stands on line 5 already: keep one of them"],
    );
    check_added(
        "headers: default\n",
        &[
            "4: headers is not a key here; the keys are listen, master_key, store, certificates, acme, brand, security, hashing, limits, assertion, native_clients, log, sso, suite, traces, reload, name_servers, threads, universal_host, zones",
        ],
    );
}

#[test]
fn a_file_may_explain_itself_at_any_length() {
    let long = format!("{}threads: 1\n", "# what this is for\n".repeat(5000));
    check_added(&long, &[]);
}

#[test]
fn an_unknown_key_is_told_with_the_one_that_was_meant() {
    check_added("limts: {}\n", &["4: limts is not a key here; did you mean \"limits\"?"]);
    check_added(
        "log: { levle: info, foo: 1 }\n",
        &[
            "4: log.levle is not a key here; did you mean \"level\"?",
            "4: log.foo is not a key here; the keys are level, access, access_file",
        ],
    );
    check_added(
        "hashing: { memory_max: 1GiB }\n",
        &["4: hashing.memory_max is not a key here; the keys are memory, passes, lanes, threads, queue_max"],
    );
}

#[test]
fn values_out_of_bounds_are_told_with_the_bounds() {
    check_added(
        "security: { idle_max: 8, absolute_max: 31d, attempts_max: 0, totp_period: 45s }\n",
        &[
            "4: security.attempts_max \"0\" is not a whole number from 1 to 100",
            "4: security.totp_period \"45s\" is neither 30s nor 60s",
            "4: security.idle_max \"8\" is not a length of time from 1m to 720h, written like 90s, 15m or 8h",
            "4: security.absolute_max \"31d\" is not a length of time from 1m to 720h, written like 90s, 15m or 8h",
        ],
    );
    check_added(
        "limits: { head: 16, form: -1KiB, form_time: 1h, head_fields: 1e3 }\n",
        &[
            "4: limits.head \"16\" is not a size from 4KiB to 256KiB, written like 16KiB or 10MiB",
            "4: limits.head_fields \"1e3\" is not a whole number from 20 to 256",
            "4: limits.form \"-1KiB\" is not a size from 8KiB to 1MiB, written like 16KiB or 10MiB",
            "4: limits.form_time \"1h\" is not a length of time from 1s to 2m, written like 90s, 15m or 8h",
        ],
    );
    check_added(
        "threads: 99999999999999999999999\n",
        &["4: threads \"99999999999999999999999\" is not a whole number from 0 to 1024"],
    );
    check_added(
        "log: { level: loud, access: yes }\n",
        &[
            "4: log.level \"loud\" is none of error, warn, info, debug, trace",
            "4: log.access \"yes\" is none of off, json, combined",
        ],
    );
    check_added(
        "traces: { context: on, otlp: \"127.0.0.1:4318\", sampled: 1 }\n",
        &[
            "4: traces.context \"on\" is none of pass, new, off",
            "4: traces.otlp \"127.0.0.1:4318\" is not the address of a collector, written like http://127.0.0.1:4318, without a path",
            "4: traces.sampled \"1\" is not a percentage from 0% to 100%, written like 1% or 0.1%",
        ],
    );
    check_added(
        "traces: { otlp: 'https://user:secret@collector' }\nbrand: { links: { status: 'https://a:b@x' } }\n",
        &[
            "4: traces.otlp is not the address of a collector, written like http://127.0.0.1:4318, without a path",
            "5: brand.links.status has a name or a password before an @, and everybody would read it",
        ],
    );
    check_added(
        "traces: { sampled: 1% }\n",
        &["4: traces.sampled has no effect without traces.otlp: take it away, or say where spans are sent"],
    );
    check_added(
        "log: { access: off, access_file: access.log }\n",
        &[
            "4: log.access_file has no effect while log.access is off: take it away, or set log.access to json or combined",
        ],
    );
    check_added(
        "assertion: { algorithm: RS256, lifetime: 1h }\n",
        &[
            "4: assertion.algorithm \"RS256\" is neither ES256 nor EdDSA",
            "4: assertion.lifetime \"1h\" is not a length of time from 1m to 5m, written like 90s, 15m or 8h",
        ],
    );
    check_added(
        "security: { password: { length_min: 1.5, history: -1 } }\n",
        &[
            "4: security.password.length_min \"1.5\" is not a whole number from 1 to 64",
            "4: security.password.history \"-1\" is not a whole number from 0 to 24",
        ],
    );
}

#[test]
fn secrets_are_named_and_never_shown() {
    check(
        &HEAD.replace("file:master.key", "hunter2"),
        &["1: master_key must be a reference, file:PATH or env:NAME: secrets never stand in this file"],
    );
    check(
        &HEAD.replace("file:master.key", "file:absent.key"),
        &["1: master_key /etc/zg/absent.key cannot be read"],
    );
    check(
        &HEAD.replace("file:master.key", "file:open-to-all.key"),
        &["1: master_key /etc/zg/open-to-all.key may be read by other users"],
    );
    check(
        &HEAD.replace("file:master.key", "env:NOT_SET"),
        &["1: master_key names the environment variable NOT_SET, which is not set"],
    );
    check(
        &HEAD.replace("master_key: file:master.key\n", ""),
        &[
            "master_key is missing: make one with `openssl rand -base64 32 > master.key && chmod 600 master.key` and give file:master.key",
        ],
    );
    let outside = Outside::new().file("/etc/zg/short.key", "c2hvcnQ=");
    check_in(
        &outside,
        &HEAD.replace("file:master.key", "file:short.key"),
        &[
            "1: master_key is not a master key: 32 random bytes in base64, as `openssl rand -base64 32` prints them",
        ],
    );
    check(
        &HEAD.replace("http://127.0.0.1:1", "http://me:hunter2@10.0.0.1"),
        &["3: zones[0].upstream.url carries a user or password, which is never sent: give the bare address"],
    );
}

#[test]
fn listeners_are_addresses_and_admin_is_not_for_others() {
    check_added(
        "listen: { https: [localhost:443, '[::1]:443'], http: '80' }\n",
        &[
            "4: listen.https[0] \"localhost:443\" is not an address with a port, like 0.0.0.0:443 or [::]:443",
            "4: listen.http[0] \"80\" is not an address with a port, like 0.0.0.0:443 or [::]:443",
        ],
    );
    check_added(
        "listen: { admin: '192.168.1.1:9443' }\n",
        &[
            "4: listen.admin \"192.168.1.1:9443\" can be reached from outside: give a loopback address like 127.0.0.1:9443, or a socket like unix:/run/zonegate/admin.sock (SEC-R91)",
        ],
    );
    check_added(
        "listen: { admin: 'unix:' }\n",
        &["4: listen.admin names no socket: give its path, like unix:/run/zonegate/admin.sock"],
    );
    check_added(
        "listen: { admin: admin.sock }\n",
        &[
            "4: listen.admin \"admin.sock\" is neither a loopback address like 127.0.0.1:9443 nor a socket like unix:/run/zonegate/admin.sock",
        ],
    );
    check_added(
        &format!("listen: {{ admin: 'unix:/{}' }}\n", "x".repeat(107)),
        &["4: listen.admin is a path of 108 bytes, and a socket's has at most 107"],
    );
    check_added("listen: { https: ['127.0.0.1:443'], status: ['0.0.0.0:9090', '[::]:9090'] }\n", &[]);
    check_added(
        "listen: { admin: '127.0.0.1:443', status: ['127.0.0.1:443', all] }\n",
        &[
            "4: listen.status[1] \"all\" is not an address with a port, like 0.0.0.0:443 or [::]:443",
            "4: listen.https and its neighbours name 127.0.0.1:443 twice: only one can listen there",
        ],
    );
    check_added(
        "listen: { https: ['127.0.0.1:443'], http: ['127.0.0.1:443'] }\n",
        &["4: listen.https and its neighbours name 127.0.0.1:443 twice: only one can listen there"],
    );
    check_added(
        "listen: { public_port: 70000 }\n",
        &["4: listen.public_port \"70000\" is not a whole number from 0 to 65535"],
    );
}

#[test]
fn r12_a_host_belongs_to_one_zone_and_twofold_ones_are_told_whatever_else_is_wrong() {
    let text = "\
universal_host: www.example
master_key: file:master.key
store: { path: z.db }
zones:
  - host: a.example
  - host: b.example
    aliases: [a.example, WWW.example]
    upstream: { url: \"http://127.0.0.1:1\" }
  - aliases: [10.0.0.1, c.example/x]
";
    check(
        text,
        &[
            "5: zones[0].upstream is missing: give the application's address, for example upstream: { url: http://127.0.0.1:8080 }",
            "7: zones[1].aliases[0] claims a.example, which is zones[0].host (line 5) already: each host may appear once, as a zone, an alias or the universal host",
            "7: zones[1].aliases[1] claims www.example, which is universal_host (line 1) already: each host may appear once, as a zone, an alias or the universal host",
            "9: zones[2].host is missing: the hostname that people open, like desk.example.com",
            "9: zones[2].aliases[0] \"10.0.0.1\" is an IP address; zones are found by name",
            "9: zones[2].aliases[1] \"c.example/x\" must be a bare name, without scheme, port or path",
            "9: zones[2].upstream is missing: give the application's address, for example upstream: { url: http://127.0.0.1:8080 }",
        ],
    );
}

#[test]
fn identity_headers_are_a_preset_or_own_names_and_not_both() {
    let with = |lines: &str| HEAD.replace("host: a.example", &format!("host: a.example, {lines}"));
    check(
        &with("headers: X-User"),
        &[
            "3: zones[0].headers \"X-User\" is none of default, oauth2-proxy, remote; for your own names use custom_headers",
        ],
    );
    check(
        &with("headers: remote, custom_headers: { X-Me: username }"),
        &["3: zones[0].headers and custom_headers are given: choose one of them"],
    );
    check(
        &with("custom_headers: { X-Me: usrname, x y: email, Cookie: email, X-Forwarded-For: email }"),
        &[
            "3: zones[0].custom_headers.X-Me \"usrname\" is none of user_id, username, email, name, groups, tenant, zone, kind, method, session_id",
            "3: zones[0].custom_headers.x y cannot be an identity header's name: take one that nothing else uses, like X-Remote-User",
            "3: zones[0].custom_headers.Cookie cannot be an identity header's name: take one that nothing else uses, like X-Remote-User",
            "3: zones[0].custom_headers.X-Forwarded-For cannot be an identity header's name: take one that nothing else uses, like X-Remote-User",
        ],
    );
    check(
        &with("custom_headers: { X-Me: username, x-me: email }"),
        &[
            "3: zones[0].custom_headers.x-me is the same header as an earlier one: case makes no difference, nor to CGI and WSGI _ for -",
        ],
    );
}

#[test]
fn certificates_that_cannot_be_read_are_told_with_the_line_that_names_them() {
    check_added(
        "certificates: { directory: nowhere }\n",
        &["4: certificates.directory /etc/zg/nowhere cannot be listed"],
    );
    check_added(
        "certificates:\n  files:\n    - { chain: a.crt, key: open-to-all.key }\n    - { chain: b.crt }\n",
        &[
            "6: certificates.files[0] /etc/zg/a.crt cannot be read",
            "6: certificates.files[0] /etc/zg/open-to-all.key may be read by other users",
            "7: certificates.files[1].chain and key must both be given: the PEM files of the certificate and its key",
        ],
    );
    let outside =
        Outside::new().file("/etc/zg/certs/open-to-all.crt", "").file("/etc/zg/certs/open-to-all.key", "");
    check_in(&outside, HEAD, &["certificates.directory /etc/zg/certs/open-to-all.key may be read by other users"]);
}

#[test]
fn a_brand_that_people_cannot_read_is_refused() {
    check_added(
        "brand: { accent: teal, accent_dark: '#000000', logo: logo.gif }\n",
        &[
            "4: brand.logo \"logo.gif\" is neither an .svg nor a .png file",
            "4: brand.accent \"teal\" is not a colour of the form #rrggbb",
            "4: brand.accent_dark #000000 is too dark to read on the dark theme: choose a paler colour",
        ],
    );
    check_added(
        "brand: { texts: { en: { m2: No., code.titl: Hi }, fr: { m2: Non } } }\n",
        &[
            "4: brand.texts.en.code.titl is not the id of a text; did you mean \"code.title\"?",
            "4: brand.texts.fr is not a key here; the keys are en, de",
        ],
    );
}

#[test]
fn native_clients_have_names_of_their_own() {
    check_added(
        "native_clients: [{ id: a }, { label: B }, { id: a }]\n",
        &[
            "4: native_clients[1].id is missing: the name the program gives when it logs in",
            "4: native_clients[2].id \"a\" is another client's already",
        ],
    );
}

#[test]
fn o6_where_providers_may_be_is_read_whole_or_told_off() {
    let none = load(HEAD, "/etc/zg/z.yaml", &Outside::new()).unwrap().sso;
    assert_eq!(none, crate::sso::OutboundSettings::default(), "nobody is let in who was not named");
    check_added("sso: { networks: [10.20.0.0/16], timeout: 5s }\n", &[]);
    check_added(
        "sso: { networks: [intranet, 10.0.0.0/8], ca_file: nothing.pem, timeout: 2m, proxy: x }\n",
        &[
            "4: sso.networks[0] \"intranet\" is neither an address like 10.0.0.7 nor a range like 10.0.0.0/8 or fd00::/8",
            "4: sso.ca_file /etc/zg/nothing.pem cannot be read",
            "4: sso.timeout \"2m\" is not a length of time from 1s to 20s, written like 90s, 15m or 8h",
            "4: sso.proxy is not a key here; the keys are networks, ca_file, timeout",
        ],
    );
}

#[test]
fn r90_a_suite_is_read_whole_or_told_off() {
    let secret = Outside::new().variable("SUITE_SECRET", "hunter2");
    let full = "suite: { name: AcmeOne, issuer: 'https://one.example', client_id: zonegate, client_secret: env:SUITE_SECRET, \
                company_claim: org, home: 'https://one.example/', modules: [{ id: desk, name: Desk, url: 'https://desk.example/' }] }\n";
    let suite = load(&format!("{HEAD}{full}"), "/etc/zg/z.yaml", &secret).unwrap().suite.unwrap();
    assert_eq!(
        (suite.name.as_str(), suite.company_claim.as_str(), suite.modules_claim.as_str()),
        ("AcmeOne", "org", "modules")
    );
    assert_eq!((suite.modules[0].id.as_str(), suite.modules[0].url.as_str()), ("desk", "https://desk.example/"));
    assert!(suite.settings.logout, "a log-out here is one there (R96)");
    assert!(load(HEAD, "/etc/zg/z.yaml", &Outside::new()).unwrap().suite.is_none());
    check_added(
        "suite: { issuer: 'https://one.example', client_id: zonegate, username_claim: x, home: there,\n  modules: [{ id: 'a b', name: A, url: 'ftp://x' }, { id: a, url: 'https://a' }, { id: a, name: B, url: 'https://b' }] }\n",
        &[
            "4: suite.name is missing, for example name: AcmeOne",
            "4: suite.client_secret is missing: file:PATH or env:NAME",
            "4: suite.home \"there\" is not a web address, like https://status.example.com/",
            "4: suite.username_claim is not a key here; the keys are name, issuer, client_id, client_secret, max_age, client_authentication, signing_algorithm, scopes, acr, amr, hosts, home, company_claim, modules_claim, master_claim, modules",
            "5: suite.modules[0].id \"a b\" is no word of printable ASCII",
            "5: suite.modules[0].url \"ftp://x\" is not a web address, like https://status.example.com/",
            "5: suite.modules[1].name is missing, for example name: AcmeOne",
        ],
    );
}
