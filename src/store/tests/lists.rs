//! Lists of people: what is found, what is not read for it, and who does not wait for it.

use std::time::Duration;

use super::*;
use crate::sso::{Audience, Issuer, Subject};
use crate::store::lists::LISTS;

const BOLT: TenantId = TenantId::from_bytes([5; 16]);

async fn add(world: &World, tenant: TenantId, name: &str, display_name: &str) -> UserId {
    let new = NewUser { display_name: display_name.into(), ..user(name) };
    world.store.create_user(tenant, &new, &event(EventKind::UserCreated)).await.unwrap()
}

/// Acme's Alice, and others of two companies.
async fn populated() -> World {
    let world = World::new().await;
    let bolt = tenant(BOLT, "bolt", &["bolt.example"]);
    world.store.create_tenant(&bolt, &event(EventKind::TenantChanged)).await.unwrap();
    add(&world, ACME, "zoe@acme.example", "Zoë ÄHNLICH").await;
    // The sign for kelvin, whose small letter is an ASCII one.
    add(&world, ACME, "kim@acme.example", "\u{212a}im O'Hara").await;
    add(&world, ACME, "bob@acme.example", "50% off_sale").await;
    add(&world, BOLT, "bea@bolt.example", "Alice Ähnlich").await;
    world
}

#[tokio::test]
async fn people_are_found_whatever_the_case_and_only_in_their_own_company() {
    let world = populated().await;
    let found = async |wanted: &str| {
        let found = world.store.users_found(ACME, wanted, 200).await.unwrap();
        assert_eq!(found.count, found.rows.len());
        let name = |listed: &Listed| listed.user.username.as_str().split_once('@').unwrap().0.to_owned();
        found.rows.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    for (wanted, names) in [
        ("", "alice bob kim zoe"),
        ("ALICE", "alice"),
        ("acme.EXAMPLE", "alice bob kim zoe"),
        ("ähnLICH", "zoe"),
        ("zoË", "zoe"),
        ("kim o'h", "kim"),
        ("%", "bob"),
        ("_", "bob"),
        ("bea", ""),
        ("\0", ""),
    ] {
        assert_eq!(found(wanted).await, names, "{wanted:?}");
    }
    let first = world.store.users_found(ACME, "", 2).await.unwrap();
    assert_eq!((first.count, first.rows.len()), (4, 2));
    assert_eq!(first.rows[1].user.username.as_str(), "bob@acme.example");
    assert_eq!(world.store.users_found(ACME, "", 0).await.unwrap().count, 4);
}

#[tokio::test]
async fn a_list_says_of_a_user_what_their_account_says_and_opens_no_secret() {
    let world = populated().await;
    let hash = PasswordHash::from_phc("$argon2id$v=19$canary".into());
    world.store.set_password(world.alice, &hash, 5, &event(EventKind::PasswordSet)).await.unwrap();
    assert!(world.enrol(&world.store, 1).await);
    world.store.debit(BudgetKey::User(world.alice), limit(1), NOW).await.unwrap();
    world.store.set_suite_exempt(world.alice, true, &event(EventKind::SuiteChanged)).await.unwrap();
    let account = world.account("alice@acme.example").await.unwrap();
    // Whoever opens a secret finds this one broken.
    world.by_hand("UPDATE totp SET secret = x'00'").await.unwrap();
    let found = world.store.users_found(ACME, "alice", 200).await.unwrap();
    let exempt = world.store.suite_exempt(ACME, 200).await.unwrap();
    assert_eq!((found.count, exempt.count), (1, 1));
    for listed in [&found.rows[0], &exempt.rows[0]] {
        assert_eq!(format!("{:?}", listed.user), format!("{:?}", account.user));
        assert!(listed.has_password && listed.locked);
    }
    let others = world.store.users_found(ACME, "", 200).await.unwrap();
    assert!(others.rows.iter().skip(1).all(|listed| !listed.has_password && !listed.locked));
    assert_eq!(world.store.usernames(ACME).await.unwrap().len(), 4);
    assert_eq!(world.store.suite_exempt(BOLT, 200).await.unwrap().count, 0);
}

#[tokio::test]
async fn links_are_found_by_name_or_subject_and_cut_and_counted() {
    let world = populated().await;
    let issuer = Issuer::parse("https://login.example").unwrap();
    let other = Issuer::parse("https://other.example").unwrap();
    let told = event(EventKind::AccountLinked);
    let pairs = [
        (ACME, "bob@acme.example", "Bob-1"),
        (ACME, "kim@acme.example", "kim-50%"),
        (BOLT, "bea@bolt.example", "Bob-1"),
    ];
    for (tenant, name, subject) in pairs {
        let user = world.account(name).await.unwrap().user.id;
        let subject = Subject::parse(subject).unwrap();
        for issuer in [&issuer, &other] {
            world.store.link(tenant, issuer, &subject, user, Audience::Tenant, &told).await.unwrap();
        }
    }
    let at = (Audience::Tenant, &issuer);
    let found = async |wanted: &str| world.store.links_found(ACME, at, wanted, 200).await.unwrap();
    for (wanted, names) in [
        ("", vec!["bob", "kim"]),
        ("BOB@", vec!["bob"]),
        ("Bob-", vec!["bob"]),
        ("bob-", vec![]),
        ("50%", vec!["kim"]),
    ] {
        let found = found(wanted).await;
        let shown: Vec<_> =
            found.rows.iter().map(|link| link.username.as_str().split_once('@').unwrap().0).collect();
        assert_eq!((shown, found.count), (names.clone(), names.len()), "{wanted}");
        assert!(found.rows.iter().all(|link| link.issuer == issuer));
    }
    let first = world.store.links_found(ACME, at, "", 1).await.unwrap();
    assert_eq!((first.count, first.rows.len()), (2, 1));
    assert_eq!(world.store.links_found(ACME, (Audience::Suite, &issuer), "", 9).await.unwrap().count, 0);
    assert_eq!(world.store.links(ACME, Audience::Tenant).await.unwrap().len(), 4);
}

#[tokio::test]
async fn g4_what_every_request_rests_on_waits_for_no_reader() {
    let world = World::new().await;
    world.store.end_user(world.alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(world.store.read.acquire().await.unwrap());
    }
    assert!(world.store.read.try_acquire().is_none(), "every reader is taken");
    assert_eq!(world.store.last_revocation().await.unwrap(), 1);
    assert_eq!(world.store.revocations_since(0).await.unwrap().len(), 1);
    assert!(world.store.signing_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn lists_leave_readers_to_log_ins_and_one_too_many_is_refused_in_time() {
    let world = populated().await;
    let issuer = Issuer::parse("https://login.example").unwrap();
    let lists = u32::try_from(LISTS).unwrap();
    assert!(lists < READERS);
    let turns = world.store.lists.acquire_many(lists).await.unwrap();
    assert!(world.account("alice@acme.example").await.is_some());
    tokio::time::pause();
    let busy = |outcome: Result<(), StoreFault>| assert!(matches!(outcome, Err(StoreFault::Busy)), "{outcome:?}");
    let begun = tokio::time::Instant::now();
    busy(world.store.users_found(ACME, "", 200).await.map(drop));
    busy(world.store.suite_exempt(ACME, 200).await.map(drop));
    busy(world.store.links_found(ACME, (Audience::Tenant, &issuer), "", 200).await.map(drop));
    busy(world.store.links(ACME, Audience::Tenant).await.map(drop));
    busy(world.store.usernames(ACME).await.map(drop));
    busy(world.store.administrators(ACME).await.map(drop));
    assert!(begun.elapsed() < 6 * BUSY_MAX + Duration::from_millis(100));
    tokio::time::resume();
    drop(turns);
    assert_eq!(world.store.users_found(ACME, "", 200).await.unwrap().count, 4);
}

#[tokio::test]
async fn a_list_reads_no_other_tenants_people() {
    let world = World::new().await;
    for query in [
        "SELECT username, display_name FROM account WHERE tenant = $1 ORDER BY username",
        "SELECT link.*, account.username FROM account JOIN link ON link.account = account.id \
         AND link.audience = $2 WHERE account.tenant = $1 ORDER BY account.username, link.issuer",
    ] {
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(plan).bind(vec![0]).bind("sso").fetch_all(&world.store.read).await.unwrap();
        let steps: Vec<_> = rows.into_iter().map(|(.., step)| step).collect();
        assert!(steps[0].contains("account_tenant_username (tenant=?)"), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{steps:?}");
    }
}
