//! What an operator does day by day: passwords, a directory that is applied again, a restore, a look whether all is well,
//! and the files that make a service of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::check::{Folder, GOOD, WIDE};
use crate::commands::{done, installation, refused};
use crate::suite_commands::with_store;

fn set_password(folder: &Folder, password: &str) -> (i32, String) {
    let (code, told, problems) = folder.run_with("user set-password alice@acme.example", &format!("{password}\n"));
    assert_eq!(code == 0, problems.is_empty(), "{told} {problems:?}");
    (code, problems.concat())
}

#[test]
fn r44_r46_a_password_that_breaks_a_rule_is_refused_by_the_command_with_the_reason() {
    let folder = installation();
    let base = "kX9!".repeat(16);
    for (password, want) in [
        (format!("{base}a"), "use at most 64 characters"),
        ("kX9!kX9! kX9!".to_owned(), "spaces and single quotes are not allowed"),
        (" kX9!kX9!kX9!".to_owned(), "spaces and single quotes are not allowed"),
        ("kX9!kX9!'kX9!".to_owned(), "spaces and single quotes are not allowed"),
        ("kX9!kX9".to_owned(), "use at least 8 characters"),
        // A password that was cut would be set, and nobody would know.
        (base.repeat(70), "use at most 64 characters"),
        ("é".repeat(600), "use at most 64 characters"),
    ] {
        let (code, told) = set_password(&folder, &password);
        assert_eq!((code, told), (2, format!("zonegate: the password is refused: {want}")), "{password}");
    }
    assert!(done(&folder, "user show alice@acme.example").contains("none yet"), "nothing was set");
    assert_eq!(set_password(&folder, &base).0, 0);
}

#[test]
fn r45_r47_none_of_the_last_passwords_comes_back_by_the_command() {
    let folder = installation();
    folder.write("zonegate.yaml", &format!("hashing: {{ memory: 7MiB, passes: 1 }}\n{GOOD}"), 0o644);
    let password = |number: u32| format!("kqzvwxj-{number}");
    let reused = "zonegate: the password is refused: choose a password that is none of your last 5";
    for number in 1..=5 {
        assert_eq!(set_password(&folder, &password(number)), (0, String::new()));
    }
    for number in 1..=5 {
        assert_eq!(set_password(&folder, &password(number)), (2, reused.to_owned()), "{number}");
    }
    assert_eq!(set_password(&folder, &password(6)).0, 0);
    assert_eq!(set_password(&folder, &password(2)), (2, reused.to_owned()));
    assert_eq!(set_password(&folder, &password(1)).0, 0, "five others came after it");
}

#[test]
fn a_user_is_found_by_the_id_that_logs_carry() {
    let folder = installation();
    let by_name = done(&folder, "user show alice@acme.example");
    let id = by_name.lines().find_map(|line| line.strip_prefix("id ")).unwrap().trim().to_owned();
    assert_eq!(done(&folder, &format!("user show {id}")), by_name);
    assert!(done(&folder, "user list").contains(&id));
    let nobody = "0".repeat(32);
    refused(
        &folder,
        &format!("user show {nobody}"),
        &[&format!("zonegate: there is no user with the id {nobody}: see `zonegate user list`")],
    );
}

/// Applies a file that says this of Acme and of Alice.
fn apply(folder: &Folder, tenant: &str, alice: &str) -> String {
    let text = format!(
        "tenants: [{{ slug: acme, zone: a.example, domains: [acme.example, acme-labs.example] {tenant}, \
         users: [{{ username: alice@acme.example {alice} }}] }}]"
    );
    folder.write("directory.yaml", &text, 0o644);
    done(folder, "apply -f directory.yaml")
}

#[test]
fn what_a_directory_file_leaves_out_stays_and_what_it_changes_is_logged_with_its_values() {
    let folder = installation();
    let told = apply(
        &folder,
        ", name: Acme Ltd, security: { attempts_max: 5, idle_max: 4h }",
        ", name: Alice, level: admin, kind: contractor, groups: [staff], start_page: /t",
    );
    assert_eq!(
        told,
        "~ tenant acme: security.attempts_max \"default\" → \"5\", security.idle_max \"default\" → \"14400s\", name \"Acme\" → \
         \"Acme Ltd\"\n\
         ~ user alice@acme.example: level \"user\" → \"admin\", kind \"regular\" → \"contractor\", groups \"\" → \"staff\", name \
         \"\" → \"Alice\", start_page \"\" → \"/t\"\n\
         2 changes made\n"
    );
    // Neither level nor limits nor anything else falls back because a file does not say it.
    assert_eq!(apply(&folder, "", ""), "nothing to change\n");
    done(&folder, "user disable alice@acme.example");
    assert_eq!(apply(&folder, "", ""), "nothing to change\n");
    assert_eq!(
        apply(&folder, ", security: {}", ", active: true, groups: [], email: '', start_page: ''"),
        "~ tenant acme: security.attempts_max \"5\" → \"default\", security.idle_max \"14400s\" → \"default\"\n\
         ~ user alice@acme.example: active \"false\" → \"true\", groups \"staff\" → \"\", email \"alice@elsewhere.example\" → \
         \"\", start_page \"/t\" → \"\"\n\
         2 changes made\n"
    );
    // R121. Cut where the log cuts, with what somebody may do first.
    let events = with_store(&folder, async |store| store.events(None, 100).await.unwrap());
    let events: Vec<_> =
        events.into_iter().rev().map(|event| (event.kind, event.detail.unwrap_or_default())).collect();
    let detail = |kind: &str, at: usize| {
        let of_kind: Vec<_> = events.iter().filter(|(found, _)| found == kind).collect();
        of_kind.get(at).unwrap_or_else(|| panic!("{events:?}")).1.clone()
    };
    assert_eq!(
        detail("tenant_changed", 2),
        "security.attempts_max \"5\" -> \"default\", security.idle_max \"14400s\" -> \"default\""
    );
    assert!(
        detail("user_changed", 0)
            .starts_with("level \"user\" -> \"admin\", kind \"regular\" -> \"contractor\", groups"),
        "{events:?}"
    );
    assert!(detail("user_enabled", 0).starts_with("active \"false\" -> \"true\", groups"), "{events:?}");
}

#[test]
fn r20_who_applies_new_users_is_told_to_tell_them() {
    let folder = installation();
    let file = |users: &str| {
        let text =
            format!("tenants: [{{ slug: bolt, zone: a.example, domains: [bolt.example], users: [{users}] }}]");
        folder.write("directory.yaml", &text, 0o644);
    };
    let hint = "Tell the new users their usernames yourself.\n\
                Set a first password for those who log in with one: zonegate user set-password USERNAME\n";
    file("{ username: bot@bolt.example, kind: api_only }");
    assert!(!done(&folder, "apply -f directory.yaml").contains("Tell"), "nobody is there to be told");
    file("{ username: bob@bolt.example }");
    assert!(!done(&folder, "apply -f directory.yaml --dry-run").contains("Tell"));
    assert_eq!(
        done(&folder, "apply -f directory.yaml"),
        format!("+ user bob@bolt.example (regular)\n{hint}1 changes made\n")
    );
    // A program of before does not become a person because the file says no kind.
    file("{ username: bot@bolt.example, suite_exempt: true }");
    refused(
        &folder,
        "apply -f directory.yaml",
        &[
            "zonegate: directory.yaml cannot be applied, and nothing was changed:",
            "bot@bolt.example cannot be exempt from the suite: users of the kind api_only do not use it",
        ],
    );
}

#[test]
fn a_store_that_root_restores_stays_the_services() {
    let folder = installation();
    done(&folder, "backup copy.db");
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        eprintln!("left out: only root can give files away");
        return;
    }
    let (path, lock) = (folder.path().join("zonegate.db"), folder.path().join("zonegate.db.lock"));
    let owner = |path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    std::os::unix::fs::chown(&path, Some(65_534), Some(65_533)).unwrap();
    done(&folder, "restore copy.db");
    assert_eq!((owner(&path), owner(&lock)), ((65_534, 65_533), (65_534, 65_533)));
    // Where there is none, whose the folder is.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65_532), Some(65_531)).unwrap();
    done(&folder, "restore copy.db");
    assert_eq!(owner(&path), (65_532, 65_531));
}

/// A gateway that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn health_is_one_line_and_an_exit_code() {
    let folder = Folder::new(GOOD);
    let unset = "zonegate: listen.admin is not set, so no gateway can be asked: set it and restart the gateway";
    for (command, signal) in [("health", ""), ("top --once", ""), ("log-level debug", "")] {
        refused(&folder, command, &[&format!("{unset}{signal}")]);
    }
    refused(&folder, "reload", &[&format!("{unset}, or send it SIGHUP")]);
    refused(&folder, "upgrade", &[&format!("{unset}, or send it SIGUSR2")]);

    let folder = Folder::new(&GOOD.replace("listen: {", "listen: { admin: 'unix:admin.sock',"));
    folder.certificate("a", "a.example", WIDE);
    let silent = |why: &str| {
        let want = format!(
            "zonegate: the gateway does not answer at admin.sock: {why}. Is it running, and with this listen.admin?"
        );
        assert_eq!(folder.run("health"), (1, String::new(), vec![want]));
    };
    silent("No such file or directory (os error 2)");
    let gateway = folder.command("serve").stderr(Stdio::null()).spawn().unwrap();
    let mut gateway = Running(gateway);
    let started = Instant::now();
    let ready = loop {
        match folder.run("health") {
            (0, told, problems) => break (told, problems),
            (_, _, problems) => assert!(started.elapsed() < Duration::from_secs(60), "{problems:?}"),
        }
    };
    assert_eq!(ready, ("ready\n".to_owned(), vec![]));
    // A restart would be no way to another master key.
    folder.write("master.key", "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", 0o600);
    refused(
        &folder,
        "reload",
        &[
            "master_key is not what zonegate was started with, and the store cannot be read with another: take the change \
           back",
        ],
    );
    gateway.0.kill().unwrap();
    gateway.0.wait().unwrap();
    silent("Connection refused (os error 111)");
}

#[test]
fn systemd_accepts_the_unit() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("left out: no systemd-analyze");
        return;
    };
    assert!(found.status.success());
    let folder = tempfile::tempdir().unwrap();
    let unit = include_str!("../../config/systemd/zonegate.service");
    let unit = unit.replace("/usr/local/bin/zonegate", env!("CARGO_BIN_EXE_zonegate"));
    let path = folder.path().join("zonegate.service");
    fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !told.contains("zonegate.service"), "{told}");
}
