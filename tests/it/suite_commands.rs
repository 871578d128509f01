//! What an operator does with the vendor's suite: says which tenant is which company of it, who must log in with it, who
//! need not; at the command line and with a file.

use zonegate::base::{MasterKey, UnixTime, Username};
use zonegate::sso::{Audience, Issuer, Subject};
use zonegate::store::{Linked, Store};
use zonegate::telemetry::{Actor, EventKind, SecurityEvent};

use crate::check::{Folder, GOOD};
use crate::commands::{done, installation, refused};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SUITE: &str = "suite: { name: AcmeOne, issuer: 'https://one.example', client_id: zonegate, client_authentication: private_key_jwt }\n";
const SET: &str = "tenant suite set acme --company c-1042";

fn with_suite() -> Folder {
    let folder = installation();
    configure(&folder);
    folder
}

/// Writes a suite into the configuration.
fn configure(folder: &Folder) {
    folder.write("zonegate.yaml", &format!("{SUITE}{GOOD}"), 0o644);
}

pub(crate) fn with_store<T>(folder: &Folder, work: impl AsyncFnOnce(&Store) -> T) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store =
            Store::open(&folder.path().join("zonegate.db"), &MasterKey::parse(KEY).unwrap()).await.unwrap();
        let done = work(&store).await;
        store.close().await;
        done
    })
}

/// The kinds and details of the events, the oldest first.
fn events(folder: &Folder) -> Vec<(String, String)> {
    let events = with_store(folder, async |store| store.events(None, 100).await.unwrap());
    let described = events.into_iter().rev().map(|event| (event.kind, event.detail.unwrap_or_default()));
    described.filter(|(kind, _)| kind == "suite_changed" || kind == "account_unlinked").collect()
}

/// What the first log-in with the suite writes down.
fn link(folder: &Folder, username: &str, subject: &str) {
    with_store(folder, async |store| {
        let username: Username = username.parse().unwrap();
        let account = store.account(&username).await.unwrap().unwrap();
        let (issuer, subject) = (Issuer::parse("https://one.example").unwrap(), Subject::parse(subject).unwrap());
        let event = SecurityEvent::new(EventKind::AccountLinked, Actor::User, UnixTime::from_seconds(1));
        let linked =
            store.link(account.tenant.id, &issuer, &subject, account.user.id, Audience::Suite, &event).await;
        assert_eq!(linked.unwrap(), Linked::Yes);
    });
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
fn v9_nobody_uses_a_suite_that_is_not_configured_or_as_no_company() {
    let folder = installation();
    let none = "the configuration has no suite that anybody could use: give it the section `suite`";
    check(&folder, SET, none);
    assert_eq!(shown(&folder, "tenant suite show acme", "suite"), "none is configured");
    configure(&folder);
    for command in ["tenant suite set acme", "tenant suite set acme --require"] {
        check(&folder, command, "AcmeOne must know which of its companies acme is: give --company ID");
    }
    check(&folder, "tenant suite set nobody --company c", "there is no tenant nobody: see `zonegate tenant list`");
    for (arguments, want) in [
        ("--company é", "is no company of the suite: 1 to 255 printable ASCII characters"),
        ("--require --no-require", "cannot be used with"),
        ("--provision --no-provision", "cannot be used with"),
    ] {
        let (code, told, problems) = folder.run(&format!("tenant suite set acme {arguments}"));
        assert_eq!((code, told.as_str()), (2, ""), "{arguments}");
        assert!(problems.iter().any(|line| line.contains(want)), "{arguments}: {problems:?}");
    }
    assert_eq!(shown(&folder, "tenant show acme", "suite"), "off");
    assert!(events(&folder).is_empty());
}

#[test]
fn v9_a_company_is_let_in_then_led_in_and_what_is_not_said_stays() {
    let folder = with_suite();
    assert_eq!(
        done(&folder, SET),
        "From their next log-in on, users of acme may log in with AcmeOne, as people of c-1042.\n"
    );
    assert_eq!(done(&folder, SET), "acme uses AcmeOne so already.\n");
    let alice = || shown(&folder, "user show alice@acme.example", "logs in with");
    assert_eq!(alice(), "password and code, or the suite");
    assert_eq!(
        done(&folder, "tenant suite set acme --require --provision"),
        "From their next log-in on, users of acme must log in with AcmeOne, as people of c-1042.\n\
         Nobody gets in while it is broken: consider `zonegate tenant suite exempt USERNAME`.\n"
    );
    assert_eq!(alice(), "the suite");
    assert_eq!(shown(&folder, "tenant show acme", "suite"), "required, as c-1042, provisioning");
    let row = |name| shown(&folder, "tenant suite show acme", name);
    assert_eq!((row("log-in with it"), row("company")), ("required".into(), "c-1042".into()));
    assert_eq!((row("provisions users"), row("exempt users")), ("yes".into(), "-".into()));
    assert!(row("redirect URI").ends_with("/.zonegate/suite/callback"));
    let told = done(&folder, "tenant suite set acme --company c-7 --no-provision");
    assert!(told.contains("must log in with AcmeOne, as people of c-7.\nLinks to people of another"), "{told}");
    assert_eq!((row("log-in with it"), row("provisions users")), ("required".into(), "no".into()));
    let told = done(&folder, "tenant suite off acme");
    assert!(
        told.ends_with("Users without a password: 1. `zonegate user list --tenant acme` names them.\n"),
        "{told}"
    );
    assert_eq!(done(&folder, "tenant suite off acme"), "The suite is off for acme already.\n");
    assert_eq!(alice(), "password and code");
    // Who they are there is still known, and nobody must who only may.
    done(&folder, "tenant suite set acme");
    assert_eq!(shown(&folder, "tenant show acme", "suite"), "allowed, as c-7");
    let details: Vec<_> = events(&folder).into_iter().map(|(_, detail)| detail).collect();
    let want = [
        "allowed, as c-1042",
        "required, as c-1042, provisioning",
        "required, as c-7",
        "off, as c-7",
        "allowed, as c-7",
    ];
    assert_eq!(details, want);
}

#[test]
fn d22_whoever_is_exempt_is_told_where_they_log_in() {
    let folder = with_suite();
    done(&folder, "user add cleo@acme.example --kind contractor");
    done(&folder, "user add ned@acme.example");
    let told = done(&folder, "tenant suite exempt alice@acme.example");
    let (first, rest) = told.split_once('\n').unwrap();
    assert!(first.starts_with("alice@acme.example is exempt from the suite, and logs in at https://a.example"));
    assert!(first.ends_with("/.zonegate/login?with=password"), "{first}");
    assert_eq!(
        rest,
        "Set a first password: zonegate user set-password alice@acme.example\n\
         acme does not require the suite, so that nothing changes yet.\n"
    );
    assert_eq!(done(&folder, "tenant suite exempt alice@acme.example"), "alice@acme.example is exempt already.\n");
    check(
        &folder,
        "tenant suite exempt cleo@acme.example",
        "cleo@acme.example is of the kind contractor, which does not log in with the suite anyway",
    );
    check(
        &folder,
        "tenant suite exempt bob@acme.example",
        "there is no user bob@acme.example: see `zonegate user list`",
    );
    let told = done(&folder, &format!("{SET} --require"));
    assert!(told.contains("\nExempt users: 1. They log in at https://a.example"), "{told}");
    assert!(told.ends_with("Users without an e-mail address by which it could know them: 1.\n"), "{told}");
    let ways = |name: &str| shown(&folder, &format!("user show {name}@acme.example"), "logs in with");
    assert_eq!(ways("alice"), "password and code, or the suite");
    assert_eq!((ways("ned").as_str(), ways("cleo").as_str()), ("the suite", "password and code"));
    assert_eq!(shown(&folder, "user show alice@acme.example", "exempt from suite"), "yes");
    assert_eq!(shown(&folder, "tenant suite show acme", "exempt users"), "alice@acme.example");
    assert_eq!(
        done(&folder, "tenant suite exempt --off alice@acme.example"),
        "From the next log-in on, alice@acme.example must log in with the suite.\n"
    );
    assert_eq!(ways("alice"), "the suite");
    let details: Vec<_> = events(&folder).into_iter().map(|(_, detail)| detail).collect();
    assert_eq!(details, ["exempt", "required, as c-1042", "not exempt"]);
}

#[test]
fn trap_17_a_company_whose_users_all_have_a_provider_is_told_that_nobody_can_use_the_suite() {
    let folder = with_suite();
    done(&folder, "tenant sso set acme --issuer https://idp.example --client-id zonegate");
    with_store(&folder, async |store| {
        let acme = store.tenant_by_slug("acme").await.unwrap().unwrap();
        let provider = store.provider(acme.id).await.unwrap().unwrap();
        let event = SecurityEvent::new(EventKind::ProviderTested, Actor::Operator, provider.changed_at);
        let noted = store.provider_was_tested(acme.id, &provider.settings, provider.changed_at, &event).await;
        assert!(noted.unwrap());
    });
    done(&folder, "tenant sso enable acme --for all");
    let told = done(&folder, SET);
    assert!(
        told.ends_with(
            "All users of acme log in at its own provider, so that nobody can: `zonegate tenant sso show acme`.\n"
        ),
        "{told}"
    );
    assert_eq!(shown(&folder, "user show alice@acme.example", "logs in with"), "single sign-on");
}

#[test]
fn r6_who_is_who_at_the_suite_is_seen_and_removed() {
    let folder = with_suite();
    done(&folder, SET);
    link(&folder, "alice@acme.example", "s-1");
    let listed = done(&folder, "tenant suite users acme");
    assert!(listed.starts_with("USERNAME            SUBJECT  ISSUER               LINKED\n"), "{listed}");
    assert!(listed.contains("\nalice@acme.example  s-1      https://one.example  "), "{listed}");
    assert_eq!(shown(&folder, "tenant suite show acme", "linked users"), "1");
    let linked = shown(&folder, "user show alice@acme.example", "linked");
    assert!(linked.starts_with("to s-1 at https://one.example (suite), since "), "{linked}");
    let unlink = "tenant suite unlink alice@acme.example";
    assert_eq!(
        done(&folder, unlink),
        "alice@acme.example is nobody at the suite any more, and the sessions that began there are ended.\n"
    );
    assert_eq!(done(&folder, unlink), "alice@acme.example was nobody at the suite.\n");
    assert_eq!(events(&folder)[1..], [("account_unlinked".to_owned(), "https://one.example".to_owned())]);
}

/// The directory file of an installation, with this said of Acme and of Alice.
fn apply(folder: &Folder, suite: &str, alice: &str, how: &str) -> (i32, String, Vec<String>) {
    let text = format!(
        "tenants: [{{ slug: acme, name: Acme, zone: a.example, domains: [acme.example, acme-labs.example], {suite} \
         users: [{{ username: alice@acme.example, email: alice@elsewhere.example {alice} }}, \
         {{ username: ned@acme.example, suite_exempt: true }}] }}]"
    );
    folder.write("directory.yaml", &text, 0o644);
    folder.run(&format!("apply -f directory.yaml {how}"))
}

#[test]
fn d22_a_file_says_who_uses_the_suite_and_applying_it_twice_changes_nothing_the_second_time() {
    let folder = with_suite();
    let (suite, alice) = ("suite: { company: c-1042, require: true, provision: true },", ", suite_exempt: true");
    // So that it says nothing else of her.
    assert_eq!(apply(&folder, "", "", "").0, 0);
    let told = "~ user alice@acme.example: suite_exempt false → true\n\
                ~ suite of acme: log-in \"off\" → \"required\", company \"\" → \"c-1042\", provision \"false\" → \"true\"\n";
    let dry = format!("{told}2 changes; nothing was written (--dry-run)\n");
    assert_eq!(apply(&folder, suite, alice, "--dry-run"), (0, dry, vec![]));
    assert_eq!(shown(&folder, "tenant show acme", "suite"), "off");
    assert_eq!(apply(&folder, suite, alice, ""), (0, format!("{told}2 changes made\n"), vec![]));
    assert_eq!(shown(&folder, "tenant show acme", "suite"), "required, as c-1042, provisioning");
    assert_eq!(shown(&folder, "tenant suite show acme", "exempt users"), "alice@acme.example ned@acme.example");
    let nothing = (0, "nothing to change\n".to_owned(), vec![]);
    assert_eq!(apply(&folder, suite, alice, ""), nothing);
    // What the file leaves out stays.
    assert_eq!(apply(&folder, "", "", ""), nothing);
    assert_eq!(
        apply(&folder, "suite: { company: c-1042 },", ", suite_exempt: false", "").1,
        "~ user alice@acme.example: suite_exempt true → false\n\
         ~ suite of acme: log-in \"required\" → \"allowed\", provision \"true\" → \"false\"\n2 changes made\n"
    );
    assert_eq!(
        apply(&folder, "suite: off,", "", "").1,
        "~ suite of acme: log-in \"allowed\" → \"off\"\n1 changes made\n"
    );
    assert_eq!(apply(&folder, "suite: off,", "", ""), nothing);
    assert_eq!(shown(&folder, "tenant show acme", "suite"), "off, as c-1042");
}

#[test]
fn v9_a_file_that_wants_a_suite_where_none_is_changes_nothing() {
    let folder = installation();
    for how in ["", "--dry-run"] {
        let (code, told, problems) = apply(&folder, "suite: { company: c-1042 },", "", how);
        assert_eq!((code, told.as_str()), (2, ""), "{how}");
        assert_eq!(problems[1..], ["acme cannot use a suite: the configuration has no section `suite`"]);
    }
    refused(
        &folder,
        "user show ned@acme.example",
        &["zonegate: there is no user ned@acme.example: see `zonegate user list`"],
    );
    // What is off is off everywhere.
    let (code, ..) = apply(&folder, "suite: off,", "", "");
    assert_eq!(code, 0);
}
