//! The verifier against a real store: what is counted, what is told, and what it costs.

use std::num::NonZeroU8;

use futures_util::future::join_all;

use super::*;
use crate::portal::tests::fixture::{Fixture, PASSWORD, code, name};

/// The verdict on a password, without the account.
async fn password(verifier: &Verifier, world: &Fixture, who: &str, password: &str) -> Verdict<()> {
    match verifier.check_password(&name(who), password, &world.attempt(0)).await.unwrap() {
        Verdict::Right(_) => Verdict::Right(()),
        Verdict::Wrong => Verdict::Wrong,
        Verdict::Locked => Verdict::Locked,
    }
}

async fn used(world: &Fixture, who: &str) -> u8 {
    world.store.account(&name(who)).await.unwrap().unwrap().attempts_used
}

#[tokio::test]
async fn r52_the_seventh_failure_locks_and_the_right_password_is_refused_unseen() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for _ in 1..=6 {
        assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
    }
    assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Locked);
    let computed = verifier.computed();
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Locked);
    assert_eq!(verifier.computed(), computed, "nothing is hashed for a locked account");
    world.unlock(&name("alice")).await;
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
}

/// What takes time for a name that somebody has, and none for one that nobody has, tells which is which. That nothing
/// is opened is seen where opening would fail.
#[tokio::test]
async fn e1_a_locked_name_is_answered_before_anything_of_its_account_is_opened() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    world.store.by_hand("UPDATE totp SET secret = x'00'").await;
    assert!(world.store.account(&name("alice")).await.is_err(), "the account cannot be read");
    world.store.by_hand("DELETE FROM attempts").await;
    world.store.by_hand("INSERT INTO attempts (account, used, locked_at) SELECT id, 7, 0 FROM account").await;
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Locked);
}

#[tokio::test]
async fn r59_names_nobody_has_lock_alike() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for who in ["nobody", "ian", "ada", "nora"] {
        for attempt in 1..=9 {
            let want = if attempt < 7 { Verdict::Wrong } else { Verdict::Locked };
            assert_eq!(password(&verifier, &world, who, PASSWORD).await, want, "{who} {attempt}");
        }
    }
    assert_eq!(verifier.computed(), 4 * 7, "each is hashed as often as a real one");
}

#[tokio::test]
async fn l1_a_hundred_parallel_guesses_cost_seven_computations() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for who in ["alice", "nobody"] {
        let before = verifier.computed();
        let guesses = (0..100).map(|_| async {
            let attempt = world.attempt(0);
            verifier.check_password(&name(who), "wrong", &attempt).await
        });
        let verdicts = join_all(guesses).await;
        assert!(!verdicts.iter().any(|verdict| matches!(verdict, Ok(Verdict::Right(_)))));
        assert_eq!(verifier.computed() - before, 7, "{who}");
    }
    assert_eq!(used(&world, "alice").await, 7);
}

#[tokio::test]
async fn fifty_right_passwords_at_once_lock_nobody_out() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    let log_ins = (0..50).map(|_| password(&verifier, &world, "alice", PASSWORD));
    assert!(join_all(log_ins).await.into_iter().all(|verdict| verdict == Verdict::Right(())));
    assert_eq!(used(&world, "alice").await, 0);
}

#[tokio::test]
async fn l2_of_a_hundred_with_one_right_at_most_seven_wrong_ones_are_computed() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    let guesses = (0..100).map(|number| {
        let (verifier, world) = (&verifier, &world);
        let text = if number == 50 { PASSWORD } else { "wrong" };
        async move { verifier.check_password(&name("alice"), text, &world.attempt(0)).await }
    });
    let verdicts = join_all(guesses).await;
    let right = verdicts.iter().filter(|verdict| matches!(verdict, Ok(Verdict::Right(_)))).count() as u64;
    assert!(right <= 1);
    assert_eq!(verifier.computed(), 7 + right, "seven wrong ones, whoever won");
    assert_eq!(used(&world, "alice").await, 7);
}

#[tokio::test]
async fn an_attempt_that_the_store_could_not_give_back_is_given_back_before_the_next_one() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for _ in 0..6 {
        password(&verifier, &world, "alice", "wrong").await;
    }
    let id = world.store.account(&name("alice")).await.unwrap().unwrap().user.id;
    verifier.owed.lock().unwrap().insert(BudgetKey::User(id), Owed { count: 5, locks: false });
    assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
    assert_eq!(used(&world, "alice").await, 2);
    assert!(verifier.owed.lock().unwrap().is_empty());
    // The last one there was, and right: its lock goes with it.
    for _ in 0..4 {
        password(&verifier, &world, "alice", "wrong").await;
    }
    let seven = NonZeroU8::new(7).unwrap();
    let taken = world.store.debit(BudgetKey::User(id), seven, world.attempt(0).now).await.unwrap();
    assert_eq!(taken, Debit::Taken { locks: true });
    verifier.owed.lock().unwrap().insert(BudgetKey::User(id), Owed { count: 1, locks: true });
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
    assert_eq!(used(&world, "alice").await, 6);
}

#[tokio::test]
async fn sec_r7_a_right_password_is_kept_at_todays_cost() {
    let world = Fixture::new().await;
    let cost = HashCost { memory_kib: 16, passes: 2, lanes: 1 };
    let hashing = HashingSettings { cost, threads: 1, queue_max: 4 };
    let strangers = Arc::new(Strangers::new(world.store.clone()));
    let master = crate::portal::tests::fixture::master();
    let security = SecurityDefaults::default();
    let verifier =
        Verifier::new(world.store.clone(), strangers, Fixture::generous(), &master, hashing, security, true)
            .unwrap();
    let kept = async || world.store.account(&name("alice")).await.unwrap().unwrap().password.unwrap().hash;
    assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
    assert!(!kept().await.has_cost(cost));
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
    assert!(kept().await.has_cost(cost));
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
}

#[tokio::test]
async fn p1_the_same_code_twenty_times_in_parallel_is_right_once() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    let account = world.store.account(&name("alice")).await.unwrap().unwrap();
    let shown: TotpCode = code(0).parse().unwrap();
    let verdicts = join_all((0..20).map(|_| async {
        let attempt = world.attempt(0);
        verifier.check_code(&account, &shown, &attempt).await.unwrap()
    }));
    let right = verdicts.await.into_iter().filter(|verdict| *verdict == Verdict::Right(())).count();
    assert_eq!(right, 1);
}

#[tokio::test]
async fn p4_a_hundred_parallel_wrong_codes_use_up_the_same_seven_attempts() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for _ in 0..4 {
        assert_eq!(password(&verifier, &world, "alice", "wrong").await, Verdict::Wrong);
    }
    let account = world.store.account(&name("alice")).await.unwrap().unwrap();
    let wrong: TotpCode = code(300).parse().unwrap();
    let verdicts = join_all((0..100).map(|_| async {
        let attempt = world.attempt(0);
        verifier.check_code(&account, &wrong, &attempt).await.unwrap()
    }));
    let verdicts = verdicts.await;
    let count = |want| verdicts.iter().filter(|verdict| **verdict == want).count();
    assert_eq!((count(Verdict::Right(())), count(Verdict::Wrong), count(Verdict::Locked)), (0, 2, 98));
    let right: TotpCode = code(0).parse().unwrap();
    assert_eq!(verifier.check_code(&account, &right, &world.attempt(0)).await.unwrap(), Verdict::Locked);
}

#[tokio::test]
async fn r58_a_right_password_gives_back_its_own_attempt_only_and_a_right_code_all() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for _ in 0..6 {
        password(&verifier, &world, "alice", "wrong").await;
    }
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
    assert_eq!(used(&world, "alice").await, 6);
    let account = world.store.account(&name("alice")).await.unwrap().unwrap();
    let right: TotpCode = code(0).parse().unwrap();
    assert_eq!(verifier.check_code(&account, &right, &world.attempt(0)).await.unwrap(), Verdict::Right(()));
    assert_eq!(used(&world, "alice").await, 0);
}

#[tokio::test]
async fn l6_right_password_and_wrong_code_in_turn_lock_after_seven() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    let wrong: TotpCode = code(300).parse().unwrap();
    for turn in 1..=7 {
        assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()), "{turn}");
        let account = world.store.account(&name("alice")).await.unwrap().unwrap();
        let want = if turn < 7 { Verdict::Wrong } else { Verdict::Locked };
        assert_eq!(verifier.check_code(&account, &wrong, &world.attempt(0)).await.unwrap(), want, "{turn}");
    }
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Locked);
}

#[tokio::test]
async fn r8_under_single_sign_on_a_password_is_neither_evaluated_nor_counted() {
    let world = Fixture::new().await;
    world.sso_for_all().await;
    let verifier = world.verifier();
    for _ in 0..9 {
        password(&verifier, &world, "alice", PASSWORD).await;
    }
    assert_eq!(used(&world, "alice").await, 0);
    let events = world.store.events(None, 3).await.unwrap();
    let reasons: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.reason.as_deref())).collect();
    let refused = ("login_failed", Some("locked"));
    assert_eq!(reasons, [refused, refused, ("login_failed", Some("sso_only"))], "no account was locked");
}

#[tokio::test]
async fn e5_whoever_logs_in_at_a_provider_is_answered_like_a_name_nobody_has() {
    let world = Fixture::new().await;
    world.sso_for_all().await;
    let verifier = world.verifier();
    for turn in 1..=9 {
        let want = if turn < 7 { Verdict::Wrong } else { Verdict::Locked };
        for who in ["alice", "nobody"] {
            assert_eq!(password(&verifier, &world, who, PASSWORD).await, want, "{who}, {turn}");
        }
    }
    assert_eq!(verifier.computed(), 14, "and in the same time");
    // What was tried in the meantime is nothing that alice has to answer for when passwords count again.
    world.sso_for_nobody().await;
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
}

#[tokio::test]
async fn r44_what_is_too_long_to_be_a_password_fails_without_being_hashed_and_counts() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for text in ["x".repeat(65), "x".repeat(1 << 20), "\u{1d504}".repeat(65)] {
        assert_eq!(password(&verifier, &world, "alice", &text).await, Verdict::Wrong);
    }
    assert_eq!((verifier.computed(), used(&world, "alice").await), (0, 3));
}

#[tokio::test]
async fn c3_an_account_of_another_zone_is_nobody_here() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    let max = "max@muc.example".parse().unwrap();
    let verdict = verifier.check_password(&max, PASSWORD, &world.attempt(0)).await.unwrap();
    assert!(matches!(verdict, Verdict::Wrong));
    let zone = "de.localhost".parse().unwrap();
    let there = Attempt { zone: &zone, ..world.attempt(0) };
    assert!(matches!(verifier.check_password(&max, PASSWORD, &there).await.unwrap(), Verdict::Right(_)));
}

#[tokio::test]
async fn a_tenants_own_limit_holds_for_names_nobody_has_in_its_domain_too() {
    let world = Fixture::new().await;
    let mut tenant = world.store.tenant_by_slug("acme").await.unwrap().unwrap();
    tenant.overrides.attempts_max = NonZeroU8::new(2);
    world
        .store
        .update_tenant(&tenant, &crate::portal::tests::fixture::event(EventKind::TenantChanged))
        .await
        .unwrap();
    let verifier = world.verifier();
    for who in ["alice", "nobody"] {
        assert_eq!(password(&verifier, &world, who, "wrong").await, Verdict::Wrong, "{who}");
        assert_eq!(password(&verifier, &world, who, "wrong").await, Verdict::Locked, "{who}");
    }
}

#[tokio::test]
async fn d4_what_the_pool_cannot_take_is_refused_before_it_costs_an_attempt() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    let held = verifier.fill();
    let reads = || world.store.meter().reads.counts();
    let before = reads();
    let refused = verifier.check_password(&name("alice"), PASSWORD, &world.attempt(0)).await;
    assert!(matches!(refused, Err(VerifyFault::Shed(Shed::Queue))));
    assert_eq!(reads(), before, "nor is the store asked who that is");
    drop(held);
    assert_eq!(used(&world, "alice").await, 0);
    assert_eq!(password(&verifier, &world, "alice", PASSWORD).await, Verdict::Right(()));
}

#[tokio::test]
async fn sec_r87_every_failure_and_the_lock_are_logged_with_their_reason() {
    let world = Fixture::new().await;
    let verifier = world.verifier();
    for _ in 0..8 {
        password(&verifier, &world, "alice", "wrong").await;
    }
    let id = world.store.account(&name("alice")).await.unwrap().unwrap().user.id;
    let events = world.store.events(Some(id), 20).await.unwrap();
    let told: Vec<_> = events.iter().rev().map(|e| (e.kind.as_str(), e.reason.as_deref())).collect();
    let failed = ("login_failed", Some("wrong_password"));
    assert_eq!(told[told.len() - 9..told.len() - 2], [failed; 7]);
    assert_eq!(
        told[told.len() - 2..],
        [("account_locked", Some("wrong_password")), ("login_failed", Some("locked")),]
    );
}
