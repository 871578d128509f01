//! The store's promises, against a real file.

use std::num::NonZeroU8;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::base::{FlowId, SessionId, TenantId, TokenDigest, Ttl, UserId, Username};
use crate::credential::{PasswordHash, TotpSecret};
use crate::directory::{SecurityLevel, SecurityOverrides, SsoScope, SuiteAccess, Tenant, TotpPeriod, UserKind};
use crate::session::{EndReason, SessionRecord, samples};

mod begins;
mod files;
mod lists;
mod loading;
mod meter;
mod migrations;
mod providers;
mod suite;

const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);
const ACME: TenantId = TenantId::from_bytes([4; 16]);
const SECRET: [u8; 20] = *b"canary-totp-secret-1";
const PRIVATE_KEY: &[u8] = b"canary-private-key";

fn master() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

fn event(kind: EventKind) -> SecurityEvent {
    SecurityEvent::new(kind, Actor::Operator, NOW)
}

fn limit(most: u8) -> NonZeroU8 {
    NonZeroU8::new(most).unwrap()
}

/// A store with one tenant and its user Alice.
struct World {
    store: Store,
    path: PathBuf,
    alice: UserId,
    folder: TempDir,
}

fn tenant(id: TenantId, slug: &str, domains: &[&str]) -> Tenant {
    Tenant {
        id,
        slug: slug.into(),
        name: slug.to_uppercase(),
        zone: "a.example".parse().unwrap(),
        domains: domains.iter().map(|domain| domain.parse().unwrap()).collect(),
        suite: SuiteAccess::default(),
        sso: SsoScope::Off,
        sso_exempt: None,
        overrides: SecurityOverrides::default(),
    }
}

fn user(name: &str) -> NewUser {
    NewUser {
        username: name.parse().unwrap(),
        email: None,
        display_name: "Alice Ash".into(),
        kind: UserKind::Regular,
        level: SecurityLevel::User,
        groups: vec!["staff".into()],
        active: true,
        start_page: None,
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = Store::open(&path, &master()).await.unwrap();
        let acme = tenant(ACME, "acme", &["acme.example", "acme-labs.example"]);
        store.create_tenant(&acme, &event(EventKind::TenantChanged)).await.unwrap();
        let alice = user("alice@acme.example");
        let alice = store.create_user(ACME, &alice, &event(EventKind::UserCreated)).await.unwrap();
        Self { store, path, alice, folder }
    }

    async fn account(&self, name: &str) -> Option<Account> {
        self.store.account(&name.parse::<Username>().unwrap()).await.unwrap()
    }

    async fn epoch(&self) -> u64 {
        self.account("alice@acme.example").await.unwrap().user.epoch
    }

    async fn enrol(&self, store: &Store, step: u64) -> bool {
        let secret = TotpSecret::from_bytes(SECRET);
        let event = event(EventKind::SecondFactorEnrolled);
        store.enrol_totp(self.alice, self.epoch().await, &secret, TotpPeriod::Thirty, step, &event).await.unwrap()
    }

    fn record(&self, epoch: u64, number: u8) -> SessionRecord {
        SessionRecord {
            id: SessionId::from_bytes([number; 16]),
            token: TokenDigest::of(&[number]),
            flow: FlowId::from_bytes([number; 16]),
            user: self.alice,
            tenant: ACME,
            epoch,
            ..samples::record("a.example")
        }
    }

    async fn begin(&self, epoch: u64, number: u8) -> Begin {
        self.store
            .begin_session(&self.record(epoch, number), epoch, &[], None, &event(EventKind::LoginSucceeded))
            .await
            .unwrap()
    }

    /// One statement, as somebody with the file in hand would run it.
    async fn by_hand(&self, statement: &'static str) -> Result<(), String> {
        sqlx::query(statement).execute(&self.store.write).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

// ── what may happen once, or so many times ──

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_a_hundred_guesses_at_once_from_two_processes_never_cost_more_than_the_budget() {
    let world = World::new().await;
    let stores = [world.store.clone(), Store::open(&world.path, &master()).await.unwrap()];
    for key in [BudgetKey::User(world.alice), BudgetKey::Shadow([9; 16])] {
        let guesses = (0..100).map(|at| {
            let store = stores[at % 2].clone();
            tokio::spawn(async move { store.debit(key, limit(7), NOW).await })
        });
        let mut taken = Vec::new();
        for guess in guesses.collect::<Vec<_>>() {
            if let Debit::Taken { locks } = guess.await.unwrap().unwrap() {
                taken.push(locks);
            }
        }
        taken.sort_unstable();
        assert_eq!(taken, [false, false, false, false, false, false, true], "the last one locks");
    }
    let alice = world.account("alice@acme.example").await.unwrap();
    assert_eq!((alice.attempts_used, alice.locked_at), (7, Some(NOW)), "R52");
}

#[tokio::test]
async fn r58_a_refund_gives_back_one_attempt_and_never_more_than_were_taken() {
    let world = World::new().await;
    let key = BudgetKey::User(world.alice);
    world.store.refund(key, false).await.unwrap();
    for used in 1..=2 {
        let taken = Debit::Taken { locks: used == 2 };
        assert_eq!(world.store.debit(key, limit(2), NOW).await.unwrap(), taken);
    }
    assert_eq!(world.store.debit(key, limit(2), NOW).await.unwrap(), Debit::Locked);
    world.store.refund(key, true).await.unwrap();
    assert_eq!(world.account("alice@acme.example").await.unwrap().locked_at, None);
    assert_eq!(world.store.debit(key, limit(2), NOW).await.unwrap(), Debit::Taken { locks: true });
    assert_eq!(world.account("alice@acme.example").await.unwrap().attempts_used, 2);
    assert!(world.store.unlock(world.alice, &event(EventKind::AccountUnlocked)).await.unwrap(), "R56");
    assert!(!world.store.unlock(world.alice, &event(EventKind::AccountUnlocked)).await.unwrap());
}

#[tokio::test]
async fn r55_r57_another_limit_unlocks_nobody_and_locks_at_the_next_attempt_only() {
    let world = World::new().await;
    for key in [BudgetKey::User(world.alice), BudgetKey::Shadow([9; 16])] {
        let debit = async |most: u8| world.store.debit(key, limit(most), NOW).await.unwrap();
        for _ in 1..=2 {
            assert_eq!(debit(7).await, Debit::Taken { locks: false });
        }
        assert!(!world.store.is_locked(key).await.unwrap());
        assert_eq!(debit(1).await, Debit::Taken { locks: true }, "lowered: this one locks, and is told so");
        assert!(world.store.is_locked(key).await.unwrap());
        assert_eq!(debit(7).await, Debit::Locked, "raised: whoever is locked stays so (R57)");
        // Its own lock goes with a right password; another attempt's does not.
        world.store.refund(key, false).await.unwrap();
        assert!(world.store.is_locked(key).await.unwrap());
        world.store.refund(key, true).await.unwrap();
        assert!(!world.store.is_locked(key).await.unwrap());
        assert_eq!(debit(7).await, Debit::Taken { locks: false });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_codes_step_is_accepted_once_and_none_before_it() {
    let world = World::new().await;
    assert!(!world.store.accept_totp(world.alice, 10).await.unwrap(), "no authenticator yet");
    assert!(world.enrol(&world.store, 100).await);
    assert!(!world.enrol(&world.store, 101).await, "there is one already");
    let other = Store::open(&world.path, &master()).await.unwrap();
    let tries = (0..20).map(|at| {
        let store = if at % 2 == 0 { world.store.clone() } else { other.clone() };
        let alice = world.alice;
        tokio::spawn(async move { store.accept_totp(alice, 101).await.unwrap() })
    });
    let mut accepted = 0;
    for attempt in tries.collect::<Vec<_>>() {
        accepted += usize::from(attempt.await.unwrap());
    }
    assert_eq!(accepted, 1);
    assert!(!world.store.accept_totp(world.alice, 100).await.unwrap());
    assert!(world.store.accept_totp(world.alice, 102).await.unwrap());
}

#[tokio::test]
async fn a_flow_ends_in_one_session_and_a_spent_thing_is_spent_for_all() {
    let world = World::new().await;
    let epoch = world.epoch().await;
    assert_eq!(world.begin(epoch, 1).await, Begin::Begun);
    let again = SessionRecord {
        id: SessionId::from_bytes([2; 16]),
        token: TokenDigest::of(b"2"),
        ..world.record(epoch, 1)
    };
    assert_eq!(
        world
            .store
            .begin_session(&again, again.epoch, &[], None, &event(EventKind::LoginSucceeded))
            .await
            .unwrap(),
        Begin::FlowSpent
    );
    let flow = FlowId::from_bytes([5; 16]);
    let other = Store::open(&world.path, &master()).await.unwrap();
    assert!(world.store.spend(flow, NOW).await.unwrap());
    assert!(!other.spend(flow, NOW).await.unwrap());
}

#[tokio::test]
async fn no_session_begins_under_an_epoch_that_is_over_or_for_a_user_who_may_not() {
    let world = World::new().await;
    let old = world.epoch().await;
    assert_eq!(world.begin(old, 1).await, Begin::Begun);
    let hash = PasswordHash::from_phc("$argon2id$canary".into());
    world.store.set_password(world.alice, &hash, 5, &event(EventKind::PasswordSet)).await.unwrap();
    assert!(world.store.live_sessions().await.unwrap().is_empty(), "a new password ends every session");
    assert_eq!(world.begin(old, 2).await, Begin::EpochStale);
    assert_eq!(world.begin(world.epoch().await, 3).await, Begin::Begun);
    world.store.set_active(world.alice, false, &event(EventKind::UserDisabled)).await.unwrap();
    assert_eq!(world.begin(world.epoch().await, 4).await, Begin::EpochStale, "D33");
    let told: Vec<_> = world.store.revocations_since(0).await.unwrap();
    assert_eq!(told.iter().map(|revocation| revocation.epoch).collect::<Vec<_>>(), [old + 1, old + 2]);
}

#[tokio::test]
async fn a_late_write_revives_nothing_and_the_first_reason_stays() {
    let world = World::new().await;
    world.begin(world.epoch().await, 1).await;
    let session = SessionId::from_bytes([1; 16]);
    let end = async |reason| world.store.end_sessions(world.alice, &[session], reason, NOW, &[]).await.unwrap();
    world.store.end_sessions(UserId::from_bytes([9; 16]), &[session], EndReason::Revoked, NOW, &[]).await.unwrap();
    assert_eq!(world.store.live_sessions().await.unwrap().len(), 1, "another user's session cannot be ended");
    end(EndReason::LoggedOut).await;
    end(EndReason::Revoked).await;
    world.store.write_last_seen(&[(session, NOW.plus(Ttl::seconds_const(60)))]).await.unwrap();
    assert!(world.store.live_sessions().await.unwrap().is_empty());
    let ended = world.store.ended_sessions(UnixTime::from_seconds(0), 10).await.unwrap();
    assert_eq!(ended.iter().map(|ended| ended.reason).collect::<Vec<_>>(), [EndReason::LoggedOut]);
    assert!(ended[0].session.record.last_seen < NOW);
}

// ── walls ──

#[tokio::test]
async fn d32_usernames_are_one_in_every_case_and_a_domain_belongs_to_one_tenant() {
    let world = World::new().await;
    let create =
        async |name: &str| world.store.create_user(ACME, &user(name), &event(EventKind::UserCreated)).await;
    assert!(matches!(create("ALICE@ACME.example").await, Err(StoreFault::Taken(_))));
    assert!(matches!(create("bob@bolt.example").await, Err(StoreFault::Missing(_))), "not a domain of the tenant");
    assert!(world.account("Alice@Acme.Example").await.is_some());

    let bolt = tenant(TenantId::from_bytes([5; 16]), "bolt", &["bolt.example", "acme.example"]);
    let made = world.store.create_tenant(&bolt, &event(EventKind::TenantChanged)).await;
    assert!(matches!(made, Err(StoreFault::Taken(what)) if what == "domain acme.example"));
    assert_eq!(world.store.tenants().await.unwrap().len(), 1, "and nothing of it is left");
    let acme = world.store.tenant_by_domain("acme.example").await.unwrap().unwrap();
    assert_eq!(acme.id, ACME);
}

#[tokio::test]
async fn d32_a_domain_cannot_be_taken_from_under_its_users() {
    let world = World::new().await;
    let update = async |domains: &[&str]| {
        world.store.update_tenant(&tenant(ACME, "acme", domains), &event(EventKind::TenantChanged)).await
    };
    let lost = update(&["acme-labs.example"]).await;
    assert!(matches!(&lost, Err(StoreFault::DomainInUse(..))), "{lost:?}");
    assert!(lost.unwrap_err().to_string().contains("alice@acme.example"));
    assert_eq!(world.store.tenant_by_domain("acme.example").await.unwrap().unwrap().id, ACME);
    update(&["acme.example"]).await.unwrap();
    assert!(
        world.store.tenant_by_domain("acme-labs.example").await.unwrap().is_none(),
        "one that nobody has can go"
    );
}

#[tokio::test]
async fn c3_a_tenant_that_moves_to_another_zone_takes_no_session_along() {
    let world = World::new().await;
    world.begin(world.epoch().await, 1).await;
    let moved = Tenant { zone: "b.example".parse().unwrap(), ..tenant(ACME, "acme", &["acme.example"]) };
    world.store.update_tenant(&moved, &event(EventKind::TenantChanged)).await.unwrap();
    assert!(world.store.live_sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_loses_a_group_or_is_of_another_kind_loses_what_went_with_it_at_once() {
    let world = World::new().await;
    let record = |groups: &[&str]| NewUser {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..user("alice@acme.example")
    };
    let mut number = 0;
    let mut survives = async |new: &NewUser| {
        number += 1;
        assert_eq!(world.begin(world.epoch().await, number).await, Begin::Begun);
        world.store.update_user(world.alice, new, &event(EventKind::UserChanged)).await.unwrap();
        let id = SessionId::from_bytes([number; 16]);
        world.store.live_sessions().await.unwrap().iter().any(|live| live.record.id == id)
    };
    let named =
        NewUser { display_name: "Alice Beech".into(), email: Some("a@acme.example".into()), ..record(&["staff"]) };
    assert!(survives(&named).await, "a name");
    assert!(survives(&record(&["admins", "staff"])).await, "a group that was given");
    assert!(survives(&record(&["staff", "admins"])).await, "the same in another order");
    assert!(!survives(&record(&["staff", "board"])).await, "a group that was taken away");
    let ended = world.store.ended_sessions(UnixTime::from_seconds(0), 10).await.unwrap();
    assert_eq!(ended[0].reason, EndReason::Revoked);
    assert!(!survives(&record(&[])).await);
    assert!(!survives(&NewUser { kind: UserKind::Contractor, ..record(&[]) }).await, "another kind");
    assert!(!survives(&NewUser { active: false, ..record(&[]) }).await);
}

// ── the security log ──

#[tokio::test]
async fn r121_each_session_that_ends_with_an_epoch_has_a_line_of_its_own_behind_what_ended_it() {
    let world = World::new().await;
    let (store, alice) = (&world.store, world.alice);
    let disabled = NewUser { active: false, ..user("alice@acme.example") };
    let moved = Tenant { zone: "b.example".parse().unwrap(), ..tenant(ACME, "acme", &["acme.example"]) };
    let mut begun = 0;
    for (act, first) in [
        ("session end", None),
        ("set-password", Some("password_set")),
        ("reset-2fa", Some("second_factor_reset")),
        ("apply", Some("user_changed")),
        ("disable", Some("user_disabled")),
        ("move", Some("tenant_changed")),
    ] {
        store.set_active(alice, true, &event(EventKind::UserEnabled)).await.unwrap();
        for _ in 0..2 {
            begun += 1;
            assert_eq!(world.begin(world.epoch().await, begun).await, Begin::Begun);
        }
        let seen = store.events(None, 1).await.unwrap()[0].seq;
        match act {
            "session end" => {
                store.end_user(alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
            }
            "set-password" => {
                let hash = PasswordHash::from_phc("$argon2id$canary".into());
                store.set_password(alice, &hash, 5, &event(EventKind::PasswordSet)).await.unwrap();
            }
            "reset-2fa" => {
                store.reset_totp(alice, &event(EventKind::SecondFactorReset)).await.unwrap();
            }
            "apply" => store.update_user(alice, &disabled, &event(EventKind::UserChanged)).await.unwrap(),
            "disable" => store.set_active(alice, false, &event(EventKind::UserDisabled)).await.unwrap(),
            _ => store.update_tenant(&moved, &event(EventKind::TenantChanged)).await.unwrap(),
        }
        let mut events = store.events(None, 10).await.unwrap();
        events.retain(|row| row.seq > seen);
        events.reverse();
        let (acts, ended): (Vec<_>, Vec<_>) = events.iter().partition(|row| row.session.is_none());
        assert_eq!(acts.first().map(|row| row.kind.as_str()), first, "{act}");
        assert!(acts.len() < 2 && events.last().unwrap().session.is_some(), "{act}: {events:?}");
        let mut ids: Vec<_> = ended.iter().map(|row| row.session.unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, [begun - 1, begun].map(|number| SessionId::from_bytes([number; 16])), "{act}");
        for row in ended {
            assert_eq!((row.kind.as_str(), row.actor.as_str()), ("session_ended", "operator"), "{act}");
            assert_eq!((row.user, row.tenant, row.at), (Some(alice), Some(ACME), NOW), "{act}");
            assert_eq!((row.zone.as_deref(), row.class.as_deref()), (Some("a.example"), Some("web")), "{act}");
            assert_eq!(row.reason.as_deref(), Some("revoked"), "{act}");
        }
    }
    // Nobody is logged in: that somebody ended it all is written down nevertheless.
    store.end_user(alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
    let told = &store.events(None, 1).await.unwrap()[0];
    assert_eq!((told.kind.as_str(), told.session), ("session_ended", None));
}

#[tokio::test]
async fn a_session_that_does_not_read_back_ends_with_the_others() {
    let world = World::new().await;
    world.begin(world.epoch().await, 1).await;
    world.by_hand("UPDATE session SET zone = 'not a host', class = 'watch'").await.unwrap();
    world.store.set_active(world.alice, false, &event(EventKind::UserDisabled)).await.unwrap();
    assert!(world.store.live_sessions().await.unwrap().is_empty());
    assert_eq!(world.store.events(None, 1).await.unwrap()[0].session, Some(SessionId::from_bytes([1; 16])));
}

#[tokio::test]
async fn r121_the_security_log_is_appended_to_and_never_changed_not_even_by_hand() {
    let world = World::new().await;
    for statement in [
        "UPDATE security_event SET actor = 'nobody'",
        "DELETE FROM security_event",
        "DELETE FROM security_event WHERE seq = 1",
        "UPDATE security_event SET seq = seq + 100",
        // Deletes without asking the trigger of deletion.
        "INSERT OR REPLACE INTO security_event (seq, at, kind, actor) VALUES (1, 0, 'x', 'x')",
    ] {
        let told = world.by_hand(statement).await.unwrap_err();
        assert!(told.contains("the security log is append-only"), "{statement}: {told}");
    }
    world.store.prune(NOW.plus(Ttl::seconds_const(1)), NOW.plus(Ttl::seconds_const(1))).await.unwrap();
    let kinds: Vec<_> = world.store.events(None, 10).await.unwrap().into_iter().map(|row| row.kind).collect();
    assert_eq!(kinds, ["user_created", "tenant_changed"]);
}

#[tokio::test]
async fn a3_an_effect_and_its_record_stand_or_fall_together() {
    let world = World::new().await;
    world
        .by_hand("CREATE TRIGGER full BEFORE INSERT ON security_event BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await
        .unwrap();
    let disabled = world.store.set_active(world.alice, false, &event(EventKind::UserDisabled)).await;
    assert!(disabled.is_err());
    assert!(world.account("alice@acme.example").await.unwrap().user.active);
}

// ── rows that are not ours ──

#[tokio::test]
async fn a_row_that_does_not_read_back_is_a_fault_that_names_its_table() {
    let world = World::new().await;
    assert!(world.enrol(&world.store, 1).await);
    let told = async |statement| {
        world.by_hand(statement).await.unwrap();
        world.store.account_by_id(world.alice).await.unwrap_err().to_string()
    };
    let damaged = |what: &str| format!("the store is damaged: {what} does not read back");
    assert_eq!(told("UPDATE totp SET period = 31").await, damaged("totp"));
    assert_eq!(told("UPDATE totp SET secret = x'00'").await, damaged("a sealed secret"));
    world.by_hand("DELETE FROM totp").await.unwrap();
    assert_eq!(told("UPDATE account SET kind = 'robot'").await, damaged("account"));
    assert_eq!(told("UPDATE account SET kind = 'regular', epoch = -1").await, damaged("account"));
    assert_eq!(told("UPDATE account SET epoch = 0; UPDATE tenant SET sso = '{'").await, damaged("tenant"));
}

#[tokio::test]
async fn f4_a_disk_that_was_full_is_written_to_again_once_there_is_room() {
    let world = World::new().await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&world.store.write).await.unwrap();
    // For this connection the disk is full; the one that takes its place finds room.
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
        .execute(&world.store.write)
        .await
        .unwrap();
    let mut filled = false;
    for number in 0..2_000 {
        let name = format!("user{number}@acme.example");
        if world.store.create_user(ACME, &user(&name), &event(EventKind::UserCreated)).await.is_err() {
            filled = true;
            break;
        }
    }
    assert!(filled, "the disk was never full");
    world.store.create_user(ACME, &user("late@acme.example"), &event(EventKind::UserCreated)).await.unwrap();
    world.store.end_user(world.alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
    assert!(world.account("late@acme.example").await.is_some());
}

#[tokio::test]
async fn f6_a_store_whose_file_was_replaced_is_no_longer_trusted() {
    let world = World::new().await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    let aside = world.folder.path().join("aside.db");
    std::fs::rename(&world.path, &aside).unwrap();
    let replaced = |fault: StoreFault| matches!(fault, StoreFault::Replaced(_));
    assert!(replaced(world.store.revocations_since(0).await.unwrap_err()), "moved away");
    std::fs::rename(&copy, &world.path).unwrap();
    assert!(replaced(world.store.revocations_since(0).await.unwrap_err()), "the lease runs out");
    let late = world.store.create_user(ACME, &user("late@acme.example"), &event(EventKind::UserCreated)).await;
    assert!(replaced(late.unwrap_err()), "and nothing is acknowledged");
    std::fs::rename(&aside, &world.path).unwrap();
    world.store.revocations_since(0).await.unwrap();
}

#[tokio::test]
async fn f6_no_write_of_one_statement_is_acknowledged_in_a_file_that_nobody_looks_at() {
    let world = World::new().await;
    let (store, key, flow) = (&world.store, BudgetKey::User(world.alice), FlowId::from_bytes([5; 16]));
    let hash = PasswordHash::from_phc("$argon2id$canary".into());
    std::fs::rename(&world.path, world.folder.path().join("aside.db")).unwrap();
    let before = store.meter().failed().1;
    let outcomes = [
        store.spend(flow, NOW).await.map(drop),
        store.spend_until(flow, NOW).await,
        store.refund(key, false).await,
        store.refund(BudgetKey::Shadow([9; 16]), false).await,
        store.rehash(world.alice, &hash, &hash).await,
        store.remove_signing_keys(NOW).await.map(drop),
        store.begin_session(&world.record(0, 1), 0, &[], None, &event(EventKind::LoginSucceeded)).await.map(drop),
    ];
    for outcome in &outcomes {
        assert!(matches!(outcome, Err(StoreFault::Replaced(_))), "{outcome:?}");
    }
    assert_eq!(store.meter().failed().1 - before, outcomes.len() as u64, "and each is counted");
}

#[tokio::test]
async fn what_fails_is_counted_wherever_it_is_read_or_written() {
    let world = World::new().await;
    let (store, alice) = (&world.store, world.alice);
    let hash = PasswordHash::from_phc("$argon2id$canary".into());
    for table in ["spent", "attempts", "password", "signing_key", "session", "revocation", "tenant"] {
        let away = sqlx::AssertSqlSafe(format!("ALTER TABLE {table} RENAME TO {table}_away"));
        sqlx::query(away).execute(&store.write).await.unwrap();
    }
    let before = store.meter().failed();
    assert!(store.spend(FlowId::from_bytes([5; 16]), NOW).await.is_err());
    assert!(store.refund(BudgetKey::User(alice), false).await.is_err());
    assert!(store.rehash(alice, &hash, &hash).await.is_err());
    assert!(store.remove_signing_keys(NOW).await.is_err());
    assert!(store.owner(&"alice@acme.example".parse().unwrap()).await.is_err());
    assert!(store.password_history(alice, 5).await.is_err());
    assert!(store.ended_sessions(NOW, 1).await.is_err());
    assert!(store.last_revocation().await.is_err());
    assert!(store.session_zones().await.is_err());
    let after = store.meter().failed();
    assert_eq!((after.0 - before.0, after.1 - before.1), (5, 4));
}
