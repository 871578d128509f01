//! An operator who types things wrong is told the reason and what would be right, and nothing is changed.

use crate::check::{Folder, GOOD};

/// Runs a command that must be refused with these lines.
pub(crate) fn refused(folder: &Folder, command: &str, want: &[&str]) {
    let (code, told, problems) = folder.run(command);
    assert_eq!(
        (code, told.as_str(), problems),
        (2, "", want.iter().map(|line| (*line).to_owned()).collect()),
        "{command}"
    );
}

/// Runs a command that must do what it is told, and returns what it says.
pub(crate) fn done(folder: &Folder, command: &str) -> String {
    let (code, told, problems) = folder.run(command);
    assert_eq!((code, problems), (0, vec![]), "{command}");
    told
}

pub(crate) fn installation() -> Folder {
    let folder = Folder::new(GOOD);
    done(&folder, "tenant add acme --name Acme --zone a.example --domain acme.example --domain acme-labs.example");
    done(&folder, "user add alice@acme.example --email alice@elsewhere.example");
    folder
}

#[test]
fn names_that_are_taken_or_unknown_are_refused_with_what_there_is() {
    let folder = installation();
    let check = |command: &str, want: &str| refused(&folder, command, &[want]);
    check(
        "tenant add bolt --name Bolt --zone c.example --domain bolt.example",
        "zonegate: c.example is no zone of this installation: they are a.example",
    );
    check(
        "tenant add acme --name Acme --zone a.example --domain other.example",
        "zonegate: there is a tenant acme already: see `zonegate tenant show acme`",
    );
    check(
        "tenant add bolt --name Bolt --zone a.example --domain acme.example",
        "zonegate: acme.example is a domain of acme already: see `zonegate tenant show acme`",
    );
    check("tenant show nobody", "zonegate: there is no tenant nobody: see `zonegate tenant list`");
    check(
        "user add ALICE@acme.example",
        "zonegate: there is a user alice@acme.example already: see `zonegate user show alice@acme.example`",
    );
    check(
        "user add bob@bolt.example",
        "zonegate: no tenant has the domain bolt.example: see `zonegate tenant list`, or create one with `zonegate tenant \
         add`",
    );
    for command in
        ["user show", "user unlock", "user disable", "user reset-2fa", "session list --user", "session end --user"]
    {
        check(
            &format!("{command} bob@acme.example"),
            "zonegate: there is no user bob@acme.example: see `zonegate user list`",
        );
    }
    check("user list --tenant nobody", "zonegate: there is no tenant nobody: see `zonegate tenant list`");
    check("user set-password alice@acme.example", "zonegate: standard input holds no password");
    check("restore nothing.db", "zonegate: nothing.db does not exist");
    check(
        "restore zonegate.yaml",
        "zonegate: zonegate.yaml is no copy that `zonegate backup` wrote; nothing was changed",
    );
    check(
        "backup zonegate.db",
        "zonegate: zonegate.db is there already, and a backup never overwrites: name a new file",
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_what_would() {
    let folder = installation();
    for (command, want) in [
        ("tenant add Acme --name A --zone a.example --domain x.example", "must be 1 to 40 lower-case letters"),
        ("tenant add x --name A --zone https://a.example --domain x.example", "must be a bare name"),
        ("user add bob", "is not of the form username@domain.com"),
        (
            "user add bob@acme.example --kind robot",
            "is none of regular, contractor, co_managed, dashboard, api_only",
        ),
        ("user add bob@acme.example --level root", "is neither user nor admin"),
        ("user add bob@acme.example --email bob", "is no e-mail address, like alice@acme.example"),
        ("user add bob@acme.example --start-page https://x.example", "is not a path on this host"),
        ("session end 7", "is not an id (32 lower-case hexadecimal digits)"),
        ("user show bob", "is no username like alice@acme.example, and is not an id (32 lower-case"),
        ("user show @acme.example", "is not of the form username@domain.com"),
        ("user lsit", "a similar subcommand exists: 'list'"),
    ] {
        let (code, told, problems) = folder.run(command);
        assert_eq!((code, told.as_str()), (2, ""), "{command}");
        assert!(problems.iter().any(|line| line.contains(want)), "{command}: {problems:?}");
    }
    assert_eq!(done(&folder, "user list").lines().count(), 2, "a head and Alice");
}

#[test]
fn a_directory_that_cannot_be_applied_is_refused_whole_before_the_first_write() {
    let folder = installation();
    folder.write(
        "directory.yaml",
        "\
tenants:
  - slug: bolt
    zone: a.example
    domains: [bolt.example, acme-labs.example]
    users: [{ username: bob@bolt.example }]
  - slug: acme
    zone: a.example
    domains: [other.example]
",
        0o644,
    );
    let want = [
        "zonegate: directory.yaml cannot be applied, and nothing was changed:",
        "domain acme-labs.example of bolt is a domain of acme: take it away from there first, in a run of its own",
        "acme loses the domain acme.example, which alice@acme.example has: keep the domain",
    ];
    refused(&folder, "apply -f directory.yaml --dry-run", &want);
    refused(&folder, "apply -f directory.yaml", &want);
    assert!(!done(&folder, "tenant list").contains("bolt"));

    // A file that is wrong in itself is told with its lines.
    folder.write("directory.yaml", "tenants:\n  - slug: acme\n    zone: b.example\n", 0o644);
    refused(
        &folder,
        "apply -f directory.yaml",
        &[
            "directory.yaml:2: tenants[0].domains is missing: the domains that usernames end in, the primary one \
             first",
            "directory.yaml:3: tenants[0].zone b.example is no zone of the configuration; the zones are a.example",
        ],
    );
}

#[test]
fn who_stops_reading_neither_stops_an_apply_half_way_nor_turns_a_no_into_a_yes() {
    let folder = installation();
    folder.write(
        "directory.yaml",
        "\
tenants:
  - slug: bolt
    zone: a.example
    domains: [bolt.example]
    users: [{ username: bob@bolt.example }, { username: carol@bolt.example }]
",
        0o644,
    );
    assert_eq!(folder.run_unread("apply -f directory.yaml"), 0);
    assert_eq!(done(&folder, "apply -f directory.yaml"), "nothing to change\n", "all of it was done");
    assert_eq!(folder.run_unread("policy test --host a.example --path /"), 1);
    assert_eq!(folder.run_unread("policy test --host a.example --path / --user bob@bolt.example"), 0);
    assert_eq!(folder.run_unread("user list"), 0, "who only lists has nothing left to do");
}

#[test]
fn f13_a_restore_says_where_what_was_there_is_kept() {
    let folder = installation();
    done(&folder, "backup copy.db");
    done(&folder, "user add late@acme.example");
    assert_eq!(
        done(&folder, "restore copy.db"),
        "zonegate.db is as it was when the copy was made.\n\
         What was there before is kept in zonegate.db.before-restore-1.\n\
         Everybody has to log in again, and assertions are signed with a new key.\n"
    );
    assert!(!done(&folder, "user list").contains("late@"));
}

#[test]
fn policy_test_says_what_happens_and_by_which_rule() {
    let rules = "zones:
  - host: a.example
    aliases: [alias.example]
    upstream: { url: \"http://127.0.0.1:1\" }
    access:
      - { path: /health, allow: public }
      - { below: /reports, groups: [writers], name: writers only }
      - { below: /internal, allow: deny }
  - { host: b.example, upstream: { url: \"http://127.0.0.1:1\" } }
";
    let head: String = GOOD.split("zones:").next().unwrap().into();
    let line = head.lines().count() as u64;
    let folder = Folder::new(&format!("{head}{rules}"));
    done(&folder, "tenant add acme --name Acme --zone a.example --domain acme.example");
    done(&folder, "user add alice@acme.example --group writers");
    done(&folder, "user add bob@acme.example");
    let check = |arguments: &str, want: &str, code: u8, rule: Option<u64>| {
        let (got, text, problems) = folder.run(&format!("policy test --host {arguments}"));
        assert_eq!((got, problems), (i32::from(code), vec![]), "{arguments}: {text}");
        assert_eq!(text.lines().next(), Some(want), "{arguments}");
        let by = rule.map_or("By no rule.".to_owned(), |rule| format!("zonegate.yaml:{rule})."));
        assert!(text.lines().nth(1).unwrap().ends_with(&by), "{arguments}: {text}");
        let (_, json, _) = folder.run(&format!("policy test --json --host {arguments}"));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["rule"]["line"].as_u64(), rule, "{json}");
        assert_eq!(json["decision"] == "forward", code == 0, "{json}");
    };
    check(
        "a.example --path /health?x",
        "GET https://a.example/health?x is passed on, as nobody's.",
        0,
        Some(line + 6),
    );
    check(
        "a.example --path /reports/7",
        "GET https://a.example/reports/7 is not passed on: a log-in is needed (401 no_session).",
        1,
        Some(line + 7),
    );
    check(
        "A.Example. --path /reports/7 --user alice@acme.example",
        "GET https://A.Example./reports/7 is passed on, as alice@acme.example.",
        0,
        Some(line + 7),
    );
    check(
        "a.example --path /REPORTS/7 --method PUT --user bob@acme.example",
        "PUT https://a.example/REPORTS/7 is not passed on (403 forbidden_by_rule).",
        1,
        Some(line + 7),
    );
    check(
        "a.example --path /internal --user alice@acme.example",
        "GET https://a.example/internal is not passed on (403 forbidden_by_rule).",
        1,
        Some(line + 8),
    );
    check(
        "a.example --path /x --user bob@acme.example",
        "GET https://a.example/x is passed on, as bob@acme.example.",
        0,
        None,
    );
    check(
        "b.example --path /x --user bob@acme.example",
        "GET https://b.example/x is not passed on: a log-in is needed (401 unknown_session).",
        1,
        None,
    );
    check(
        "a.example --path /a/../b",
        "GET https://a.example/a/../b is not passed on (400 ambiguous_path).",
        1,
        None,
    );
    check("c.example --path /", "GET https://c.example/ is not passed on (421 unknown_host).", 1, None);
    check(
        "a.example --path /.zonegate/login",
        "GET https://a.example/.zonegate/login is answered by a page of zonegate's own.",
        1,
        None,
    );
    check(
        "alias.example --path /",
        "GET https://alias.example/ is redirected to the zone's own host (308).",
        1,
        None,
    );
    let bobs = folder.run("policy test --host a.example --path /reports --user bob@acme.example").1;
    assert!(bobs.contains("bob@acme.example: zone a.example, kind regular, groups none."), "{bobs}");
    done(&folder, "user disable alice@acme.example");
    let (code, text, _) = folder.run("policy test --host a.example --path /x --user alice@acme.example");
    assert!(code == 1 && text.contains("alice@acme.example is deactivated and cannot log in."), "{text}");
    refused(
        &folder,
        "policy test --host a.example --path / --user carol@acme.example",
        &["zonegate: there is no user carol@acme.example: see `zonegate user list`"],
    );
    done(&folder, "user add bot@acme.example --kind api_only");
    let (code, text, _) = folder.run("policy test --host a.example --path /x --user bot@acme.example");
    assert!(
        code == 1 && text.contains("bot@acme.example cannot log in yet: API credentials are not there yet."),
        "{text}"
    );
}
