//! What an operator does with single sign-on: configures it, tries it, puts it to use, says who is who; at the command
//! line and with a file.

use zonegate::base::{MasterKey, UnixTime, Username};
use zonegate::sso::{TICKET_PURPOSE, TestTicket};
use zonegate::store::Store;
use zonegate::telemetry::{Actor, EventKind, SecurityEvent};

use crate::check::{Folder, GOOD};
use crate::commands::{done, installation, refused};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SET: &str = "tenant sso set acme --issuer https://idp.example --client-id zonegate";
const UNTESTED: &str = "the provider of acme was not tried as it is configured now, and nobody may depend on it: run `zonegate \
                        tenant sso test acme`, open the address it prints, and then do this again";

fn with_store<T>(folder: &Folder, work: impl AsyncFnOnce(&Store) -> T) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store =
            Store::open(&folder.path().join("zonegate.db"), &MasterKey::parse(KEY).unwrap()).await.unwrap();
        let done = work(&store).await;
        store.close().await;
        done
    })
}

/// What the page at the end of a round trip writes down.
fn tried(folder: &Folder) {
    with_store(folder, async |store| {
        let acme = store.tenant_by_slug("acme").await.unwrap().unwrap();
        let provider = store.provider(acme.id).await.unwrap().unwrap();
        let event = SecurityEvent::new(EventKind::ProviderTested, Actor::Operator, provider.changed_at);
        let noted = store.provider_was_tested(acme.id, &provider.settings, provider.changed_at, &event).await;
        assert!(noted.unwrap());
    });
}

fn give_password(folder: &Folder, who: &str) {
    let who: Username = who.parse().unwrap();
    with_store(folder, async |store| {
        let who = store.account(&who).await.unwrap().unwrap().user.id;
        let hash = zonegate::credential::PasswordHash::from_phc("$argon2id$".into());
        let event = SecurityEvent::new(EventKind::PasswordSet, Actor::Operator, UnixTime::from_seconds(1));
        store.set_password(who, &hash, 5, &event).await.unwrap();
    });
}

fn kinds(folder: &Folder) -> Vec<String> {
    let events = with_store(folder, async |store| store.events(None, 100).await.unwrap());
    events.into_iter().rev().map(|event| event.kind).collect()
}

/// The value of a row that `show` prints.
fn shown(folder: &Folder, command: &str, row: &str) -> String {
    let text = done(folder, command);
    let line = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix("  "));
    line.unwrap_or_else(|| panic!("no {row} in\n{text}")).trim().to_owned()
}

fn check(folder: &Folder, command: &str, want: &str) {
    refused(folder, command, &[&format!("zonegate: {want}")]);
}

#[test]
fn d25_a_provider_is_configured_tried_and_put_to_use_in_this_order() {
    let folder = installation();
    check(
        &folder,
        "tenant sso show acme",
        "acme has no provider: say which with `zonegate tenant sso set acme --issuer URL --client-id ID`",
    );
    check(
        &folder,
        "tenant sso set acme --issuer https://idp.example",
        "a provider begins with --issuer and --client-id: give both",
    );
    check(&folder, "tenant sso show nobody", "there is no tenant nobody: see `zonegate tenant list`");
    assert_eq!(
        done(&folder, SET),
        "https://idp.example is the provider of acme.\n\
         Give its client secret: zonegate tenant sso secret acme\n\
         Try it before anybody has to use it: zonegate tenant sso test acme\n"
    );
    assert_eq!(done(&folder, SET), "The provider of acme is configured so already.\n");
    folder.write("idp.secret", "canary-secret\n", 0o644);
    let exposed = "idp.secret has the mode 644, so that others than its owner and group may use it: run `chmod 640 \
                   idp.secret`, or `chmod 600 idp.secret`";
    check(&folder, "tenant sso secret acme --file idp.secret", exposed);
    folder.write("idp.secret", "canary-secret\n", 0o600);
    done(&folder, "tenant sso secret acme --file idp.secret");
    check(&folder, "tenant sso secret acme", "there is no client secret: one line of at most 2048 bytes");

    check(&folder, "tenant sso enable acme --for all", UNTESTED);
    tried(&folder);
    assert_eq!(
        done(&folder, "tenant sso enable acme --for all"),
        "From their next log-in on, all users of acme log in at the provider.\n\
         Nobody gets in while it is broken: consider --emergency-admin USERNAME.\n"
    );
    assert_eq!(shown(&folder, "user show alice@acme.example", "logs in with"), "single sign-on");
    assert_eq!(shown(&folder, "tenant show acme", "single sign-on for"), "all users");
    let text = done(&folder, "tenant sso show acme");
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(shown(&folder, "tenant sso show acme", "must be used by"), "all users");
    let callback = shown(&folder, "tenant sso show acme", "redirect URI");
    assert!(callback.ends_with("/.zonegate/sso/acme/callback"), "{callback}");

    check(
        &folder,
        "tenant sso remove acme",
        "all users of acme log in there: run `zonegate tenant sso disable acme` first",
    );
    let told = done(&folder, "tenant sso disable acme");
    assert!(told.contains("1 of them have no password yet"), "{told}");
    assert_eq!(shown(&folder, "user show alice@acme.example", "logs in with"), "password and code");
    assert_eq!(done(&folder, "tenant sso remove acme"), "acme has no provider any more.\n");
    assert_eq!(
        kinds(&folder)[2..],
        [
            "provider_changed",
            "provider_changed",
            "provider_tested",
            "sso_changed",
            "sso_changed",
            "provider_changed"
        ]
    );
}

#[test]
fn what_is_set_replaces_what_was_and_what_is_not_given_stays() {
    let folder = installation();
    done(&folder, &format!("{SET} --scope profile --scope email --max-age 8h --provision --host keys.example"));
    done(&folder, "tenant sso set acme --amr mfa --signing-algorithm ES256 --provision=false");
    let row = |name| shown(&folder, "tenant sso show acme", name);
    assert_eq!(row("scopes"), "profile email");
    assert_eq!((row("max age"), row("provisions users")), ("28800 s".into(), "no".into()));
    assert_eq!(
        (row("signing algorithm"), row("amr"), row("further hosts")),
        ("ES256".into(), "mfa".into(), "keys.example".into())
    );
    done(&folder, "tenant sso set acme --scope= --max-age any --host=");
    assert_eq!((row("scopes"), row("max age"), row("further hosts")), ("-".into(), "any".into(), "-".into()));
    for (arguments, want) in [
        ("--issuer http://idp.example", "must begin with https://"),
        ("--signing-algorithm HS256", "is none of RS256, PS256, ES256, ES384, EdDSA"),
        ("--client-authentication none", "is none of client_secret_basic, client_secret_post, private_key_jwt"),
        ("--max-age 8", "is neither a length of time up to 720h, like 15m, nor any"),
        ("--scope a\"b", "is no word of printable ASCII"),
        ("--host https://x.example", "must be a bare name"),
    ] {
        let (code, told, problems) = folder.run(&format!("tenant sso set acme {arguments}"));
        assert_eq!((code, told.as_str()), (2, ""), "{arguments}");
        assert!(problems.iter().any(|line| line.contains(want)), "{arguments}: {problems:?}");
    }
}

#[test]
fn d25_the_address_to_try_a_provider_at_holds_a_ticket_for_that_tenant_alone() {
    let folder = installation();
    done(&folder, SET);
    let told = done(&folder, "tenant sso test acme");
    let address = told.lines().last().unwrap();
    let (page, ticket) = address.split_once("?test=").unwrap();
    assert!(page.starts_with("https://a.example:") && page.ends_with("/.zonegate/sso/acme"), "{page}");
    let acme = with_store(&folder, async |store| store.tenant_by_slug("acme").await.unwrap().unwrap().id);
    let key = MasterKey::parse(KEY).unwrap().derive(TICKET_PURPOSE);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let opened = TestTicket::open(ticket, &key, acme, &"a.example".parse().unwrap(), UnixTime::from_seconds(now));
    assert_eq!(opened.map(|ticket| ticket.tenant), Ok(acme));
}

#[test]
fn d25_the_emergency_administrator_is_one_who_gets_in() {
    let folder = installation();
    done(&folder, "tenant add bolt --name Bolt --zone a.example --domain bolt.example");
    done(&folder, "user add root@acme.example --level admin");
    done(&folder, "user add bot@acme.example --level admin --kind api_only");
    done(&folder, "user add root@bolt.example --level admin");
    done(&folder, SET);
    tried(&folder);
    let enable = |who: &str| format!("tenant sso enable acme --for all --emergency-admin {who}");
    for (who, want) in [
        ("alice@acme.example", "alice@acme.example is no administrator"),
        ("bot@acme.example", "bot@acme.example cannot log in"),
        ("root@bolt.example", "acme has no user root@bolt.example"),
        ("root@acme.example", "root@acme.example has no password yet: set one first"),
    ] {
        check(&folder, &enable(who), want);
    }
    give_password(&folder, "root@acme.example");
    done(&folder, &enable("root@acme.example"));
    assert_eq!(shown(&folder, "user show root@acme.example", "logs in with"), "password and code");
    assert_eq!(shown(&folder, "tenant sso show acme", "emergency admin"), "root@acme.example");
    // Whoever it was stays so when more is not said.
    done(&folder, "tenant sso enable acme --for selected");
    assert_eq!(shown(&folder, "tenant sso show acme", "emergency admin"), "root@acme.example");
}

#[test]
fn who_is_who_is_listed_and_comes_back_from_a_spreadsheet_whole_or_not_at_all() {
    let folder = installation();
    done(&folder, "tenant add bolt --name Bolt --zone a.example --domain bolt.example");
    done(&folder, "user add bob@acme.example");
    done(&folder, "user add eve@bolt.example");
    done(&folder, SET);
    done(&folder, "tenant sso link alice@acme.example =cmd");
    assert_eq!(
        done(&folder, "tenant sso link alice@acme.example =cmd"),
        "alice@acme.example is =cmd at https://idp.example.\n"
    );
    check(
        &folder,
        "tenant sso link alice@acme.example other",
        "alice@acme.example is somebody else there already: `zonegate tenant sso unlink alice@acme.example` first",
    );
    check(&folder, "tenant sso link bob@acme.example =cmd", "=cmd is another user already: unlink that one first");
    assert!(
        shown(&folder, "user show alice@acme.example", "linked")
            .starts_with("to =cmd at https://idp.example (sso), since ")
    );
    let table = done(&folder, "tenant sso links acme --csv");
    assert!(table.starts_with("username,subject,linked_at\r\nalice@acme.example,'=cmd,"), "{table}");

    folder.write("links.csv", &format!("{table}\r\nbob@acme.example,b\r\n"), 0o644);
    done(&folder, "tenant sso unlink alice@acme.example");
    assert_eq!(
        done(&folder, "tenant sso import acme links.csv"),
        "Linked users of acme at https://idp.example: 2.\n"
    );
    let listed = done(&folder, "tenant sso links acme");
    assert!(listed.contains("alice@acme.example  =cmd") && listed.contains("bob@acme.example    b"), "{listed}");
    assert_eq!(
        done(&folder, "tenant sso import acme links.csv"),
        "Linked users of acme at https://idp.example: 2.\n"
    );

    done(&folder, "tenant sso unlink bob@acme.example");
    folder.write(
        "wrong.csv",
        "Subject,Username\nc,bob@acme.example\n,bob\nd,eve@bolt.example\n\ne,alice@acme.example\n",
        0o644,
    );
    refused(
        &folder,
        "tenant sso import acme wrong.csv",
        &[
            "zonegate: wrong.csv is not imported, and nothing was changed:",
            "wrong.csv:3: \"bob\" is not of the form username@domain.com",
            "wrong.csv:3: \"\" is no subject: 1 to 255 printable ASCII characters",
            "wrong.csv:4: there is no user eve@bolt.example",
        ],
    );
    folder.write(
        "wrong.csv",
        "username,subject\nbob@acme.example,c\nalice@acme.example,e\nbob@acme.example,f\n",
        0o644,
    );
    let somebody =
        |name: &str| format!("{name} is somebody else there already: `zonegate tenant sso unlink {name}` first");
    refused(
        &folder,
        "tenant sso import acme wrong.csv",
        &[
            "zonegate: wrong.csv is not imported, and nothing was changed:",
            &format!("wrong.csv:3: {}", somebody("alice@acme.example")),
            &format!("wrong.csv:4: {}", somebody("bob@acme.example")),
        ],
    );
    folder.write("wrong.csv", "name,subject\n", 0o644);
    refused(
        &folder,
        "tenant sso import acme wrong.csv",
        &[
            "zonegate: wrong.csv is not imported, and nothing was changed:",
            "wrong.csv:1: must name the columns, username and subject among them",
        ],
    );
    assert!(!done(&folder, "tenant sso links acme").contains("bob@"), "nothing of it");
}

#[test]
fn applying_twice_changes_nothing_the_second_time() {
    let folder = Folder::new(GOOD);
    let example = include_str!("../../config/examples/directory.yaml").replace("desk.example.com", "a.example");
    folder.write("directory.yaml", &example, 0o644);
    folder.write("acme-idp.secret", "canary-secret\n", 0o600);
    let apply = || folder.run("apply -f directory.yaml");
    let later = format!("! single sign-on of acme stays for nobody: {UNTESTED}\n");
    let locked_out =
        "! single sign-on of acme stays for nobody: alice@acme.example has no password yet: set one first\n";
    let (code, told, _) = folder.run("apply -f directory.yaml --dry-run");
    assert!(told.contains(locked_out), "{told}");
    assert!(told.ends_with("\n8 changes; nothing was written (--dry-run)\n"), "{told}");
    assert_eq!(code, 0);
    assert!(kinds(&folder).is_empty());
    let (code, told, _) = apply();
    assert!(told.contains("~ user bob@acme-labs.example: sso_subject \"248289761001\"\n"), "{told}");
    assert!(told.contains(locked_out) && told.ends_with("\n8 changes made\n"), "{told}");
    assert!(code == 1 && !told.contains("canary"), "not all of it was done");
    give_password(&folder, "alice@acme.example");
    assert_eq!(apply(), (1, format!("{later}nothing to change\n"), vec![]));

    tried(&folder);
    let enabled = "~ single sign-on of acme: for \"nobody\" → \"selected users\", emergency_admin \"\" → \"alice@acme.example\"\n";
    assert_eq!(apply(), (0, format!("{enabled}1 changes made\n"), vec![]));
    assert_eq!(apply(), (0, "nothing to change\n".into(), vec![]));
    assert_eq!(shown(&folder, "user show bob@acme-labs.example", "logs in with"), "single sign-on");

    // The secret that is there is no new one, so that the provider stays tested where nothing else is to be tried.
    let provisioned = example.replace("provision: false\n", "provision: true\n");
    assert_ne!(provisioned, example, "the example has changed");
    folder.write("directory.yaml", &provisioned, 0o644);
    assert_eq!(folder.run("apply -f directory.yaml").0, 0);
    let wider = provisioned.replace("for: selected", "for: all");
    assert_ne!(wider, provisioned, "the example has changed");
    folder.write("directory.yaml", &wider, 0o644);
    let (code, told, _) = apply();
    assert!(code == 0 && told.contains("for \"selected users\" → \"all users\""), "{told}");
    // A new one is one to try, and a dry run knows it.
    folder.write("acme-idp.secret", "another\n", 0o600);
    folder.write("directory.yaml", &wider.replace("for: all", "for: selected"), 0o644);
    assert_eq!(apply().0, 0);
    folder.write("acme-idp.secret", "canary-secret\n", 0o600);
    folder.write("directory.yaml", &wider, 0o644);
    let (code, told, _) = folder.run("apply -f directory.yaml --dry-run");
    assert!(code == 0 && told.contains(&later.replace("nobody: ", "selected users: ")), "{told}");
    // Who is to get in when nobody does is one who can.
    for (from, to, want) in [
        ("level: admin", "level: user", "is no administrator"),
        ("active: true", "active: false", "cannot log in"),
    ] {
        folder.write("directory.yaml", &wider.replacen(from, to, 1), 0o644);
        let (code, _, told) = apply();
        assert!(code == 2 && told.concat().contains(want), "{told:?}");
    }
    folder.write("directory.yaml", &example, 0o644);
    assert_eq!(apply().0, 0);

    // What the file leaves out stays; what it says is done.
    let (head, rest) = example.split_once("    sso:\n").unwrap();
    let (_, tail) = rest.split_once("\n\n").unwrap();
    folder.write("directory.yaml", &format!("{head}\n{tail}"), 0o644);
    assert_eq!(apply(), (0, "nothing to change\n".into(), vec![]));
    folder.write("directory.yaml", &format!("{head}    sso: off\n{tail}"), 0o644);
    let (code, told, _) = apply();
    assert_eq!(code, 0);
    assert!(told.starts_with("~ single sign-on of acme: for \"selected users\" → \"nobody\""), "{told}");
    assert_eq!(shown(&folder, "tenant show acme", "single sign-on for"), "nobody");
    assert!(
        shown(&folder, "tenant show acme", "identity provider")
            .starts_with("https://login.acme.example/realms/acme")
    );
}

#[test]
fn a_file_moves_subjects_from_one_to_another_and_takes_none_from_who_is_not_in_it() {
    let folder = installation();
    done(&folder, "user add bob@acme.example");
    done(&folder, "user add carol@acme.example");
    done(&folder, SET);
    for (name, subject) in [("alice", "a"), ("bob", "b"), ("carol", "c")] {
        done(&folder, &format!("tenant sso link {name}@acme.example {subject}"));
    }
    let apply = |alice: &str, bob: &str| {
        let users = format!(
            "[{{ username: alice@acme.example, email: alice@elsewhere.example, sso_subject: {alice} }}, \
             {{ username: bob@acme.example, sso_subject: {bob} }}]"
        );
        let text = format!(
            "tenants: [{{ slug: acme, name: Acme, zone: a.example, domains: [acme.example, acme-labs.example], users: {users} }}]"
        );
        folder.write("directory.yaml", &text, 0o644);
        folder.run("apply -f directory.yaml")
    };
    let (code, told, problems) = apply("b", "a");
    assert_eq!((code, problems), (0, vec![]), "{told}");
    let listed = done(&folder, "tenant sso links acme");
    assert!(listed.contains("alice@acme.example  b") && listed.contains("bob@acme.example    a"), "{listed}");
    let (code, told, problems) = apply("b", "c");
    assert_eq!((code, told.as_str()), (2, ""));
    assert_eq!(problems[1..], ["bob@acme.example cannot be c: that is carol@acme.example"]);
    let (_, _, problems) = apply("b", "b");
    assert!(problems[0].contains("sso_subject b is described on line 1 already: say it once"), "{problems:?}");
}
