//! Log-ins that come at once: in one commit, and each for itself.

use futures_util::future::join_all;
use futures_util::poll;

use super::*;

impl World {
    /// Commits since the world began.
    fn commits(&self) -> u64 {
        self.store.meter().commits.counts().iter().sum()
    }

    /// A log-in of a user, told of in the security log as hers.
    async fn log_in(&self, user: UserId, number: u8) -> Result<Begin, StoreFault> {
        let record = SessionRecord { user, ..self.record(0, number) };
        let event =
            SecurityEvent { user: Some(user), session: Some(record.id), ..event(EventKind::LoginSucceeded) };
        self.store.begin_session(&record, 0, &[], None, &event).await
    }

    /// Which sessions live, and of which a log-in is told.
    async fn begun(&self) -> (Vec<u8>, Vec<u8>) {
        let number = |id: SessionId| id.as_bytes()[0];
        let mut live: Vec<_> =
            self.store.live_sessions().await.unwrap().iter().map(|live| number(live.record.id)).collect();
        let told = self.store.events(None, 1000).await.unwrap().into_iter();
        let mut told: Vec<_> =
            told.filter(|row| row.kind == "login_succeeded").filter_map(|row| row.session).map(number).collect();
        live.sort_unstable();
        told.sort_unstable();
        (live, told)
    }

    async fn bob(&self) -> UserId {
        self.store.create_user(ACME, &user("bob@acme.example"), &event(EventKind::UserCreated)).await.unwrap()
    }
}

#[tokio::test]
async fn log_ins_that_come_at_once_share_a_commit_and_each_has_its_line_in_the_log() {
    let world = World::new().await;
    let before = world.commits();
    let outcomes = join_all((1..=100).map(|number| world.log_in(world.alice, number))).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == Begin::Begun));
    // The first is alone when it begins; the others wait for it.
    assert_eq!(world.commits() - before, 3, "one, sixty-four, and the rest");
    let everyone: Vec<u8> = (1..=100).collect();
    assert_eq!(world.begun().await, (everyone.clone(), everyone));
}

#[tokio::test]
async fn of_log_ins_that_come_at_once_those_that_may_not_begin_leave_nothing_and_spoil_nothing() {
    let world = World::new().await;
    let bob = world.bob().await;
    world.store.set_active(bob, false, &event(EventKind::UserDisabled)).await.unwrap();
    let twice =
        SessionRecord { id: SessionId::from_bytes([9; 16]), token: TokenDigest::of(b"9"), ..world.record(0, 2) };
    let event = event(EventKind::LoginSucceeded);
    let (first, second, stale, again, last) = tokio::join!(
        biased;
        world.log_in(world.alice, 1),
        world.log_in(world.alice, 2),
        world.log_in(bob, 3),
        world.store.begin_session(&twice, 0, &[], None, &event),
        world.log_in(world.alice, 4),
    );
    assert_eq!([first.unwrap(), second.unwrap(), last.unwrap()], [Begin::Begun; 3]);
    assert_eq!((stale.unwrap(), again.unwrap()), (Begin::EpochStale, Begin::FlowSpent));
    assert_eq!(world.begun().await, (vec![1, 2, 4], vec![1, 2, 4]));
}

#[tokio::test]
async fn a_log_in_that_breaks_in_the_middle_is_undone_and_the_others_of_its_commit_begin() {
    let world = World::new().await;
    let bob = world.bob().await;
    world
        .by_hand(
            "CREATE TRIGGER no_line BEFORE INSERT ON security_event WHEN NEW.kind = 'login_succeeded' AND \
             (SELECT username FROM account WHERE id = NEW.account) LIKE 'bob@%' \
             BEGIN SELECT RAISE(ABORT, 'no line'); END",
        )
        .await
        .unwrap();
    let (first, second, broken, last) = tokio::join!(
        biased;
        world.log_in(world.alice, 1),
        world.log_in(world.alice, 2),
        world.log_in(bob, 3),
        world.log_in(world.alice, 4),
    );
    assert_eq!([first.unwrap(), second.unwrap(), last.unwrap()], [Begin::Begun; 3]);
    assert!(broken.unwrap_err().to_string().contains("no line"));
    assert!(world.log_in(bob, 5).await.is_err(), "alone as well");
    assert_eq!(world.begun().await, (vec![1, 2, 4], vec![1, 2, 4]));
    world.by_hand("DROP TRIGGER no_line").await.unwrap();
    assert_eq!(world.log_in(bob, 3).await.unwrap(), Begin::Begun, "and the connection is as good as before");
}

#[tokio::test]
async fn a_log_in_that_is_dropped_while_it_writes_for_others_takes_none_of_them_along() {
    let world = World::new().await;
    let held = world.store.hold_writes().await.unwrap();
    let mut first = Box::pin(world.log_in(world.alice, 1));
    let mut second = Box::pin(world.log_in(world.alice, 2));
    let mut third = Box::pin(world.log_in(world.alice, 3));
    for log_in in [&mut first, &mut second, &mut third] {
        assert!(poll!(log_in.as_mut()).is_pending());
    }
    let mut held_again = Box::pin(world.store.hold_writes());
    assert!(poll!(held_again.as_mut()).is_pending());
    drop(held);
    assert_eq!(first.await.unwrap(), Begin::Begun);
    let held = held_again.await.unwrap();
    assert!(poll!(second.as_mut()).is_pending(), "it writes for the third");
    drop(second);
    drop(held);
    assert_eq!(third.await.unwrap(), Begin::Begun);
    assert_eq!(world.log_in(world.alice, 4).await.unwrap(), Begin::Begun);
    assert_eq!(
        world.begun().await,
        (vec![1, 3, 4], vec![1, 3, 4]),
        "and nothing is left of the one that went away"
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_written_tells_everybody_who_waits() {
    let world = World::new().await;
    world.store.close().await;
    let outcomes = join_all((1..=5).map(|number| world.log_in(world.alice, number))).await;
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
}

#[tokio::test]
async fn f13_a_store_that_another_process_writes_is_still_read() {
    let world = World::new().await;
    world.store.hold_writes().await.unwrap().for_good().await;
    assert!(!world.store.is_closed());
    assert!(world.store.revocations_since(0).await.is_ok());
    world.store.close().await;
    assert!(world.store.is_closed());
}

#[tokio::test]
async fn a_log_in_that_is_dropped_while_it_is_written_is_whole_or_was_never_and_the_next_one_begins() {
    let world = World::new().await;
    for number in 1..=60 {
        let mut log_in = Box::pin(world.log_in(world.alice, number));
        for _ in 0..number % 5 {
            if poll!(log_in.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // One by itself, and two in a transaction.
    assert_eq!(world.log_in(world.alice, 61).await.unwrap(), Begin::Begun);
    let (first, second) = tokio::join!(world.log_in(world.alice, 62), world.log_in(world.alice, 63));
    assert_eq!([first.unwrap(), second.unwrap()], [Begin::Begun; 2]);
    let (live, told) = world.begun().await;
    assert_eq!(live, told, "each with its line in the log");
    assert!(live.ends_with(&[61, 62, 63]));
}
