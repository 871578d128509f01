//! Files: what may be opened, what is in them, copies and what becomes of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

async fn opened(path: &Path) -> String {
    match Store::open(path, &master()).await {
        Ok(_) => "opened".into(),
        Err(fault) => fault.to_string(),
    }
}

#[tokio::test]
async fn a_new_store_is_for_its_owner_only_and_one_that_others_may_read_is_refused() {
    let world = World::new().await;
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let mode = fs::metadata(world.folder.path().join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    fs::set_permissions(&world.path, fs::Permissions::from_mode(0o640)).unwrap();
    let told = opened(&world.path).await;
    assert_eq!(
        told,
        format!("{} may be read by other users (mode 640): run `chmod 600` on it", world.path.display())
    );
}

#[tokio::test]
async fn a_file_that_took_the_place_of_the_one_that_was_looked_at_is_not_opened() {
    let world = World::new().await;
    world.store.close().await;
    let looked_at = private_file(&world.path).unwrap();
    let aside = world.folder.path().join("aside.db");
    fs::rename(&world.path, &aside).unwrap();
    fs::write(&world.path, "").unwrap();
    fs::set_permissions(&world.path, fs::Permissions::from_mode(0o644)).unwrap();
    let opened = Store::open_checked(looked_at, &master()).await;
    assert!(matches!(opened, Err(StoreFault::Replaced(_))), "{opened:?}");
    let tables = SqliteConnectOptions::new().filename(&world.path).read_only(true);
    let pool = SqlitePool::connect_with(tables).await.unwrap();
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(&pool).await.unwrap();
    assert_eq!(tables, 0, "and no table is made there");
}

#[tokio::test]
async fn a_store_of_a_newer_program_is_refused_and_left_as_it_is() {
    let world = World::new().await;
    world
        .by_hand(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'later', 1, x'00', 0)",
        )
        .await
        .unwrap();
    world.store.close().await;
    let told = opened(&world.path).await;
    assert!(told.starts_with("the store was written by a newer zonegate: start that version"), "{told}");
}

#[tokio::test]
async fn a_command_does_not_bring_a_store_up_to_date_that_an_older_gateway_runs_on() {
    let world = World::new().await;
    let gateway = hold(&world.path).unwrap();
    assert!(Store::open_beside(&world.path, &master()).await.is_ok(), "one of this version");
    world.by_hand("DELETE FROM _sqlx_migrations WHERE version > 1").await.unwrap();
    let told = Store::open_beside(&world.path, &master()).await.unwrap_err().to_string();
    assert!(told.contains("is in use by an older zonegate"), "{told}");
    drop(gateway);
    let told = Store::open_beside(&world.path, &master()).await.unwrap_err();
    assert!(!matches!(told, StoreFault::OlderGateway(_)), "nobody runs, and so it is tried: {told}");
}

#[tokio::test]
async fn f13_no_store_is_restored_under_a_gateway_that_is_about_to_open_it() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    world.store.close().await;
    let gateway = hold(&world.path).unwrap();
    assert!(matches!(restore(&world.path, &copy, &master(), NOW).await, Err(StoreFault::InUse(..))));
    drop(gateway);
    assert!(restore(&world.path, &copy, &master(), NOW).await.is_ok());
}

#[tokio::test]
async fn f13_what_a_command_commits_is_not_taken_away_by_a_restore_and_none_begins_during_one() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    world.store.close().await;
    let told = |fault: StoreFault| {
        assert!(matches!(fault, StoreFault::InUse(..)), "{fault}");
        fault.to_string()
    };
    let (one, other) =
        (Store::open_beside(&world.path, &master()).await, Store::open_beside(&world.path, &master()).await);
    let (one, other) = (one.unwrap(), other.unwrap());
    for command in [one, other] {
        // Whether it has a connection open at the moment is not what it is about.
        command.close().await;
        let refused = told(restore(&world.path, &copy, &master(), NOW).await.unwrap_err());
        assert!(
            refused
                .ends_with("store.db is in use: another command is working on it; try again once that has ended")
        );
    }
    // From here on as a restore does.
    let held = hold::hold_off_commands(&world.path).unwrap();
    let refused = told(Store::open_beside(&world.path, &master()).await.unwrap_err());
    assert!(refused.contains("store.db is in use: `zonegate restore` is putting another store in its place"));
    drop(held);
    restore(&world.path, &copy, &master(), NOW).await.unwrap();
    Store::open_beside(&world.path, &master()).await.unwrap();
}

#[tokio::test]
async fn f13_a_log_whose_store_is_lost_is_not_laid_over_the_restored_one() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    world.store.create_user(ACME, &user("late@acme.example"), &event(EventKind::UserCreated)).await.unwrap();
    let log = PathBuf::from(format!("{}-wal", world.path.display()));
    let left = fs::read(&log).unwrap();
    assert!(!left.is_empty(), "what a gateway that is killed leaves");
    world.store.close().await;
    fs::remove_file(&world.path).unwrap();
    fs::write(&log, &left).unwrap();
    let kept = restore(&world.path, &copy, &master(), NOW).await.unwrap().unwrap();
    assert_eq!(fs::read(format!("{}-wal", kept.display())).unwrap(), left, "nothing is thrown away");
    let store = Store::open(&world.path, &master()).await.unwrap();
    assert!(store.account(&"late@acme.example".parse().unwrap()).await.unwrap().is_none());
    store.close().await;
    let next = restore(&world.path, &copy, &master(), NOW).await.unwrap().unwrap();
    assert!(next != kept && next.exists(), "no other store is kept beside that log");
    assert_eq!(fs::read(format!("{}-wal", kept.display())).unwrap(), left);
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "Dear diary, ".repeat(1000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let told = opened(&path).await;
    assert!(told.contains("notes.txt is not a store of zonegate"), "{told}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "Dear diary, ".repeat(1000));

    let path = folder.path().join("other.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let other = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE recipe (id INTEGER)").execute(&other).await.unwrap();
    other.close().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let told = opened(&path).await;
    assert!(told.contains("other.db is not a store of zonegate"), "{told}");

    assert!(opened(folder.path()).await.contains("may be read by other users"));
    let told = opened(&folder.path().join("nowhere/store.db")).await;
    assert!(told.contains("nowhere/store.db: No such file or directory"), "{told}");
}

#[tokio::test]
async fn another_master_key_is_told_at_the_start_and_not_at_the_first_log_in() {
    let world = World::new().await;
    let other = Store::open(&world.path, &MasterKey::from_bytes([8; 32])).await;
    assert!(matches!(other, Err(StoreFault::WrongMasterKey)));
    assert_eq!(opened(&world.path).await, "opened");
}

/// A store that has every sort of secret.
async fn with_secrets() -> World {
    let world = World::new().await;
    let hash = PasswordHash::from_phc("$argon2id$v=19$canary".into());
    world.store.set_password(world.alice, &hash, 5, &event(EventKind::PasswordSet)).await.unwrap();
    assert!(world.enrol(&world.store, 1).await);
    let key = SigningKeyRow {
        kid: "kid".into(),
        algorithm: KeyAlgorithm::default(),
        pkcs8: PRIVATE_KEY.to_vec(),
        created_at: NOW,
        retired_at: None,
    };
    world.store.add_signing_key(&key, Actor::Operator).await.unwrap();
    assert_eq!(world.begin(world.epoch().await, 1).await, Begin::Begun);
    world
}

#[tokio::test]
async fn k3_the_file_and_its_copies_hold_no_secret_that_opens_anything() {
    let world = with_secrets().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let mut seen = 0;
    for entry in fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        seen += usize::from(holds(b"alice@acme.example"));
        for secret in [&SECRET[..], PRIVATE_KEY, &[7; 32], &[1; 33]] {
            assert!(!holds(secret), "{}", path.display());
        }
    }
    assert!(seen >= 2, "the store and its copy were looked into");
    let account = world.account("alice@acme.example").await.unwrap();
    assert_eq!(account.totp.unwrap().secret.as_bytes(), &SECRET, "and yet it reads back");
    assert_eq!(world.store.signing_keys().await.unwrap()[0].pkcs8, PRIVATE_KEY);
}

#[tokio::test]
async fn k3_a_sealed_secret_is_worth_nothing_in_another_row() {
    let world = with_secrets().await;
    let bob =
        world.store.create_user(ACME, &user("bob@acme.example"), &event(EventKind::UserCreated)).await.unwrap();
    world.by_hand("INSERT INTO totp SELECT id, (SELECT secret FROM totp), 30, 0, 0 FROM account WHERE username LIKE 'bob@%'").await.unwrap();
    assert!(matches!(world.store.account_by_id(bob).await, Err(StoreFault::Corrupt("a sealed secret"))));
}

#[tokio::test]
async fn f13_a_restored_store_is_the_copy_and_every_session_of_it_is_dead() {
    let world = with_secrets().await;
    let copy = world.folder.path().join("copy.db");
    let epoch_of_the_copy = world.epoch().await;
    world.store.backup_to(&copy).await.unwrap();
    let before = world.account("alice@acme.example").await.unwrap();

    // What happens after the copy was made, and must not come undone: two epochs, one user.
    for _ in 0..2 {
        world.store.end_user(world.alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
    }
    let epochs_since = world.epoch().await;
    world.store.create_user(ACME, &user("late@acme.example"), &event(EventKind::UserCreated)).await.unwrap();

    let in_use = restore(&world.path, &copy, &master(), NOW).await;
    assert!(matches!(in_use, Err(StoreFault::InUse(..))), "{in_use:?}");
    world.store.close().await;
    let kept = restore(&world.path, &copy, &master(), NOW).await.unwrap().unwrap();
    assert!(kept.exists());

    let store = Store::open(&world.path, &master()).await.unwrap();
    let after = store.account(&"alice@acme.example".parse().unwrap()).await.unwrap().unwrap();
    let shown = |account: &Account| {
        let mut account = account.clone();
        (account.user.epoch, account.user.flow_epoch) = (0, 0);
        if let Some(totp) = &mut account.totp {
            totp.last_step = 0;
        }
        format!("{account:?}")
    };
    assert_eq!(shown(&after), shown(&before));
    assert!(store.signing_keys().await.unwrap().is_empty(), "a key may have been withdrawn since");
    assert!(store.account(&"late@acme.example".parse().unwrap()).await.unwrap().is_none());
    assert!(store.live_sessions().await.unwrap().is_empty());
    assert!(after.user.epoch > epochs_since && epochs_since > epoch_of_the_copy, "no epoch comes back");
    let step = NOW.seconds() / 30;
    assert!(!store.accept_totp(world.alice, step).await.unwrap(), "a code of this minute may have been used");
    assert!(store.accept_totp(world.alice, step + 2).await.unwrap());
    assert_eq!(store.events(None, 1).await.unwrap()[0].kind, "store_restored");
    store.close().await;

    // A second restore keeps what the first has kept.
    let second = restore(&world.path, &copy, &master(), NOW).await.unwrap().unwrap();
    assert!(kept.exists() && second.exists() && kept != second);
}

#[tokio::test]
async fn a_copy_that_is_none_or_of_another_key_changes_nothing() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    assert!(matches!(world.store.backup_to(&copy).await, Err(StoreFault::Taken(_))), "never overwritten");
    world.store.close().await;
    let stays = fs::read(&world.path).unwrap();
    let (absent, empty, text) =
        (world.folder.path().join("absent"), world.folder.path().join("empty"), world.folder.path().join("text"));
    fs::write(&empty, "").unwrap();
    fs::write(&text, "not a database at all, not a database at all").unwrap();
    assert!(matches!(restore(&world.path, &absent, &master(), NOW).await, Err(StoreFault::Missing(_))));
    for file in [&empty, &text] {
        let told = restore(&world.path, file, &master(), NOW).await;
        assert!(matches!(&told, Err(StoreFault::NotAStore(named)) if named == file), "{told:?}");
    }
    let other = restore(&world.path, &copy, &MasterKey::from_bytes([8; 32]), NOW).await;
    assert!(matches!(other, Err(StoreFault::WrongMasterKey)), "{other:?}");
    assert_eq!(fs::read(&world.path).unwrap(), stays);
    let left: Vec<_> =
        fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restor")), "{left:?}");
}

#[tokio::test]
async fn a_store_that_is_damaged_beyond_reading_can_be_restored() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    world.store.close().await;
    fs::write(&world.path, "a disk that went bad").unwrap();
    assert!(opened(&world.path).await.contains("is not a store of zonegate"));
    let kept = restore(&world.path, &copy, &master(), NOW).await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), "a disk that went bad");
    assert_eq!(opened(&world.path).await, "opened");
}

#[tokio::test]
async fn two_processes_see_each_others_writes_at_once() {
    let world = World::new().await;
    let other = Arc::new(Store::open(&world.path, &master()).await.unwrap());
    other.set_active(world.alice, false, &event(EventKind::UserDisabled)).await.unwrap();
    assert!(!world.account("alice@acme.example").await.unwrap().user.active);
    let seq = world.store.last_revocation().await.unwrap();
    assert_eq!(other.last_revocation().await.unwrap(), seq);
    world.store.end_user(world.alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
    assert_eq!(other.revocations_since(seq).await.unwrap().len(), 1);
}
