//! What the store tells of itself: nothing that did not happen, and whether it can be written.

use super::*;

impl World {
    fn told(&self, kind: EventKind) -> u64 {
        self.store.meter().events.all().find(|(other, _)| *other == kind).unwrap().1
    }

    fn writes(&self) -> u64 {
        self.store.meter().writes.counts().iter().sum()
    }
}

#[tokio::test]
async fn an_event_is_told_of_once_it_is_committed_and_never_before() {
    let world = World::new().await;
    assert_eq!((world.told(EventKind::UserCreated), world.told(EventKind::SessionEnded)), (1, 0));
    let mut tx = world.store.begin().await.unwrap();
    events::append(&mut tx, &event(EventKind::SessionEnded)).await.unwrap();
    drop(tx);
    assert_eq!(world.told(EventKind::SessionEnded), 0, "taken back");
    let mut tx = world.store.begin().await.unwrap();
    events::append(&mut tx, &event(EventKind::SessionEnded)).await.unwrap();
    assert_eq!(world.told(EventKind::SessionEnded), 0, "not yet");
    tx.commit().await.unwrap();
    assert_eq!(world.told(EventKind::SessionEnded), 1);
}

#[tokio::test]
async fn a_probe_writes_only_when_nothing_else_was_written() {
    let world = World::new().await;
    let before = world.writes();
    world.store.check_writable(NOW).await.unwrap();
    assert_eq!(world.writes(), before, "the world has just been made");
    world.store.meter().write_failed();
    world.store.check_writable(NOW).await.unwrap();
    world.store.check_writable(NOW).await.unwrap();
    assert_eq!(world.writes(), before + 1, "one for both");
    let row: (Vec<u8>,) =
        sqlx::query_as("SELECT value FROM meta WHERE key = 'probe'").fetch_one(&world.store.read).await.unwrap();
    assert_eq!(row.0, rows::seconds(NOW).to_be_bytes());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_said_to_be_so_and_is_found_mended_without_a_log_in() {
    let world = World::new().await;
    let no_room = "CREATE TRIGGER no_room BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'full'); END";
    world.by_hand(no_room).await.unwrap();
    world.store.meter().write_failed();
    let failed = world.store.meter().failed().1;
    for _ in 0..2 {
        assert!(world.store.check_writable(NOW).await.is_err());
    }
    assert_eq!(world.store.meter().failed().1, failed + 2);
    world.by_hand("DROP TRIGGER no_room").await.unwrap();
    world.store.check_writable(NOW).await.unwrap();
}

#[tokio::test]
async fn a_log_in_that_may_not_begin_says_nothing_of_the_disk_and_one_that_is_broken_does() {
    let world = World::new().await;
    assert_eq!(world.begin(0, 1).await, Begin::Begun);
    let (told, writes, failed) =
        (world.told(EventKind::LoginSucceeded), world.writes(), world.store.meter().failed());
    assert_eq!(told, 1);
    assert_eq!(world.begin(0, 1).await, Begin::FlowSpent);
    assert_eq!(world.begin(7, 2).await, Begin::EpochStale);
    assert_eq!(world.told(EventKind::LoginSucceeded), told);
    assert_eq!((world.writes(), world.store.meter().failed()), (writes, failed));
    world.by_hand("PRAGMA query_only = 1").await.unwrap();
    let broken =
        world.store.begin_session(&world.record(0, 3), 0, &[], None, &event(EventKind::LoginSucceeded)).await;
    assert!(matches!(broken, Err(StoreFault::Unavailable(_))), "{broken:?}");
    assert_eq!(world.store.meter().failed().1, failed.1 + 1);
}
