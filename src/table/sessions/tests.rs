//! Sessions under races, restarts, other processes and a store that does not answer.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::base::{MasterKey, TenantId};
use crate::directory::{SecurityLevel, SecurityOverrides, SsoScope, SuiteAccess, Tenant, UserKind};
use crate::login::{AfterPassword, Authenticator, AwaitPassword, Claimant};
use crate::session::{Liveness, samples};
use crate::store::NewUser;

struct World {
    store: Store,
    sessions: Arc<Sessions>,
    zones: ZoneTable,
    clock: Arc<Clock>,
    path: PathBuf,
    _directory: TempDir,
}

fn master() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

fn event(kind: EventKind) -> SecurityEvent {
    SecurityEvent::new(kind, Actor::Operator, UnixTime::from_seconds(1))
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let store = Store::open(&path, &master()).await.unwrap();
        let tenant = Tenant {
            id: TenantId::from_bytes([4; 16]),
            slug: "acme".into(),
            name: "Acme".into(),
            zone: "a.example".parse().unwrap(),
            domains: vec!["acme.example".parse().unwrap()],
            suite: SuiteAccess::default(),
            sso: SsoScope::Off,
            sso_exempt: None,
            overrides: SecurityOverrides::default(),
        };
        store.create_tenant(&tenant, &event(EventKind::TenantChanged)).await.unwrap();
        let zones = ZoneTable::new(vec![samples::zone("a.example"), samples::zone("b.example")], None).unwrap();
        let clock = Arc::new(Clock::new());
        let sessions = Sessions::load(store.clone(), &zones, Arc::clone(&clock)).await.unwrap();
        Self { store, sessions, zones, clock, path, _directory: directory }
    }

    async fn user(&self, name: &str, groups: Vec<String>) -> Account {
        let new = NewUser {
            username: format!("{name}@acme.example").parse().unwrap(),
            email: None,
            display_name: name.into(),
            kind: UserKind::Regular,
            level: SecurityLevel::User,
            groups,
            active: true,
            start_page: None,
        };
        let tenant = TenantId::from_bytes([4; 16]);
        let id = self.store.create_user(tenant, &new, &event(EventKind::UserCreated)).await.unwrap();
        self.store.account_by_id(id).await.unwrap().unwrap()
    }

    /// Seconds from the start of the test; the gateway's clock stands still.
    fn at(&self, seconds: u64) -> UnixTime {
        UnixTime::from_seconds(self.clock.now().seconds() + seconds)
    }

    async fn log_in(&self, account: &Account, class: Class, leaving: Vec<(SessionId, EndReason)>) -> Begun {
        self.try_log_in(account, class, leaving, FlowId::from_bytes(random().unwrap())).await.unwrap()
    }

    async fn try_log_in(
        &self,
        account: &Account,
        class: Class,
        leaving: Vec<(SessionId, EndReason)>,
        flow: FlowId,
    ) -> Result<Begun, SessionFault> {
        let now = self.clock.now();
        let proven = proven(account, now);
        let new = NewSession {
            proven: &proven,
            flow,
            account,
            zone: self.zones.zone(&"a.example".parse().unwrap()).unwrap(),
            class,
            device: Device::default(),
            slots: Slots::default(),
            lifetimes: Lifetimes::default(),
            leaving,
            endings_at_provider: Vec::new(),
            event: event(EventKind::LoginSucceeded),
        };
        self.sessions.begin(new, now).await
    }

    async fn web(&self, account: &Account) -> (Arc<Session>, SessionToken) {
        begun(self.log_in(account, Class::Web, vec![]).await)
    }

    /// What another process sees of the user's sessions.
    async fn stored(&self, account: &Account) -> usize {
        let live = self.store.live_sessions().await.unwrap();
        live.iter().filter(|loaded| loaded.record.user == account.user.id).count()
    }

    async fn restart(&self) -> Arc<Sessions> {
        let store = Store::open(&self.path, &master()).await.unwrap();
        Sessions::load(store, &self.zones, Arc::clone(&self.clock)).await.unwrap()
    }

    /// The same file, as a command in another process has it open.
    async fn elsewhere(&self) -> Store {
        Store::open(&self.path, &master()).await.unwrap()
    }

    fn live(&self, account: &Account) -> usize {
        self.sessions.of_user(account.user.id, self.clock.now()).len()
    }
}

fn proven(account: &Account, now: UnixTime) -> Proven {
    let claimant = Claimant {
        user: account.user.id,
        username: account.user.username.clone(),
        epoch: account.user.flow_epoch,
        kind: account.user.kind,
    };
    let due = AwaitPassword::new(account.user.username.clone());
    match due.password_was_right(claimant, Authenticator::Enrolled, now) {
        AfterPassword::Code(due) => due.code_was_accepted(now),
        AfterPassword::Enrolment(_) | AfterPassword::Done(_) => panic!("an authenticator is enrolled"),
    }
}

fn begun(outcome: Begun) -> (Arc<Session>, SessionToken) {
    match outcome {
        Begun::Session(session, token) => (session, token),
        other @ (Begun::Full(_) | Begun::FlowSpent | Begun::EpochStale) => panic!("no session: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r81_s6_fifty_parallel_log_ins_for_three_slots_leave_exactly_three() {
    let world = Arc::new(World::new().await);
    for round in 0..20 {
        let account = Arc::new(world.user(&format!("user{round}"), vec![]).await);
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (world, account) = (Arc::clone(&world), Arc::clone(&account));
                tokio::spawn(async move {
                    matches!(world.log_in(&account, Class::Web, vec![]).await, Begun::Session(..))
                })
            })
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += usize::from(task.await.unwrap());
        }
        assert_eq!((admitted, world.live(&account), world.stored(&account).await), (3, 3, 3), "round {round}");
        // R82: and the phone's slot was not touched.
        begun(world.log_in(&account, Class::Mobile, vec![]).await);
    }
    let again = world.restart().await;
    let census = again.census(Slots::default());
    assert_eq!((census.web, census.mobile), (60, 20), "recounted after a restart");
    assert_eq!((census.users, census.full_web, census.full_mobile), (20, 20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r83_r87_of_log_ins_that_chose_the_same_victim_one_gets_its_slot() {
    let world = Arc::new(World::new().await);
    for round in 0..20 {
        let account = Arc::new(world.user(&format!("user{round}"), vec![]).await);
        let victim = world.web(&account).await.0;
        world.web(&account).await;
        world.web(&account).await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (world, account, victim) = (Arc::clone(&world), Arc::clone(&account), victim.id);
                tokio::spawn(async move {
                    let leaving = vec![(victim, EndReason::Displaced)];
                    matches!(world.log_in(&account, Class::Web, leaving).await, Begun::Session(..))
                })
            })
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += usize::from(task.await.unwrap());
        }
        assert_eq!((admitted, world.live(&account), world.stored(&account).await), (1, 3, 3), "round {round}");
        assert_eq!(victim.end_reason(), Some(EndReason::Displaced));
    }
}

#[tokio::test]
async fn r81_the_full_answer_lists_the_sessions_of_that_class_and_begins_none() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let mine = [world.web(&account).await.0, world.web(&account).await.0, world.web(&account).await.0];
    begun(world.log_in(&account, Class::Mobile, vec![]).await);
    let Begun::Full(held) = world.log_in(&account, Class::Web, vec![]).await else { panic!("all slots are held") };
    let ids = |sessions: &[Arc<Session>]| {
        let mut ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(&held), ids(&mine));
    assert_eq!(world.stored(&account).await, 4);
}

#[tokio::test]
async fn r88_the_same_browsers_old_session_is_replaced_and_not_counted_twice() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let mut last = world.web(&account).await;
    world.web(&account).await;
    world.web(&account).await;
    for _ in 0..5 {
        let leaving = vec![(last.0.id, EndReason::Replaced)];
        let next = begun(world.log_in(&account, Class::Web, leaving).await);
        assert_eq!(last.0.end_reason(), Some(EndReason::Replaced));
        assert_eq!((world.live(&account), world.stored(&account).await), (3, 3));
        last = next;
    }
}

#[tokio::test]
async fn nobody_ends_another_users_session_by_naming_it() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice", vec![]).await, world.user("bob", vec![]).await);
    let (victim, token) = world.web(&bob).await;
    begun(world.log_in(&alice, Class::Web, vec![(victim.id, EndReason::Displaced)]).await);
    let id = [victim.id];
    world.sessions.end(alice.user.id, &id, EndReason::Revoked, &[], world.at(0)).await.unwrap();
    assert_eq!(victim.liveness(world.at(0)), Liveness::Live);
    assert_eq!(world.stored(&bob).await, 1);
    assert!(world.restart().await.find(&token).unwrap().end_reason().is_none());
}

#[tokio::test]
async fn a_refused_log_in_frees_its_slot() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let flow = FlowId::from_bytes([1; 16]);
    begun(world.try_log_in(&account, Class::Web, vec![], flow).await.unwrap());
    let loud = world.user("loud", vec!["x".repeat(5000)]).await;
    for _ in 0..5 {
        let twice = world.try_log_in(&account, Class::Web, vec![], flow).await.unwrap();
        assert!(matches!(twice, Begun::FlowSpent));
        let mut stale = world.store.account_by_id(account.user.id).await.unwrap().unwrap();
        stale.user.epoch += 1;
        assert!(matches!(world.log_in(&stale, Class::Web, vec![]).await, Begun::EpochStale));
        let mut moved = world.store.account_by_id(account.user.id).await.unwrap().unwrap();
        moved.tenant.zone = "b.example".parse().unwrap();
        assert!(matches!(world.log_in(&moved, Class::Web, vec![]).await, Begun::EpochStale));
        // H9: somebody who cannot be described to the application gets no session.
        let refused = world.try_log_in(&loud, Class::Web, vec![], flow).await;
        assert!(matches!(refused, Err(SessionFault::Identity(_))));
    }
    assert_eq!(world.live(&account), 1);
    world.web(&account).await;
    world.web(&account).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_no_session_that_only_the_store_knows() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let mut log_in = Box::pin(world.log_in(&account, Class::Web, vec![]));
    assert!(futures_util::poll!(log_in.as_mut()).is_pending(), "the commit is under way");
    drop(log_in);
    let both = async {
        while world.stored(&account).await == 0 || world.live(&account) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("the store and the table agree");
}

#[tokio::test]
async fn a_restart_loses_no_session_and_still_tells_why_one_ended() {
    let world = World::new().await;
    let account = world.user("alice", vec!["staff".into()]).await;
    let (session, token) = world.web(&account).await;
    let (gone, gone_token) = world.web(&account).await;
    world.sessions.end(account.user.id, &[gone.id], EndReason::LoggedOut, &[], world.at(0)).await.unwrap();
    world.sessions.touch(&session, world.at(100));
    world.sessions.flush().await.unwrap();
    let again = world.restart().await;
    let found = again.find(&token).expect("still here");
    assert_eq!(found.liveness(world.at(0)), Liveness::Live);
    assert_eq!(found.last_seen(), world.at(100));
    assert_eq!(found.principal, session.principal);
    assert_eq!(again.find(&gone_token).unwrap().end_reason(), Some(EndReason::LoggedOut));
    assert_eq!(again.of_user(account.user.id, world.at(0)).len(), 1);
}

#[tokio::test]
async fn s2_a_token_that_only_begins_like_a_sessions_finds_nothing() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (session, token) = world.web(&account).await;
    assert!(world.sessions.find(&token).is_some());
    assert!(world.sessions.find(&SessionToken::from_bytes([9; 32])).is_none());
    let mut like = *session.token.as_bytes();
    like[31] ^= 1;
    let like = TokenDigest::from_bytes(like);
    assert_eq!(like.key(), session.key(), "the table's key is the same");
    assert!(world.sessions.table.find(&like).is_none());
}

#[tokio::test]
async fn an_idle_session_is_ended_in_the_store_too_whoever_noticed_it() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (seen, _) = world.web(&account).await;
    world.web(&account).await;
    let late = world.at(8 * 3600);
    // A request comes before the sweep does.
    assert_eq!(seen.liveness(late), Liveness::Ended(EndReason::Idle));
    world.sessions.sweep(late).await.unwrap();
    assert_eq!(world.stored(&account).await, 0);
    let ended = world.store.ended_sessions(world.at(0), 10).await.unwrap();
    assert!(ended.len() == 2 && ended.iter().all(|ended| ended.reason == EndReason::Idle));
    let told = || async {
        let rows = world.store.events(Some(account.user.id), 100).await.unwrap();
        rows.iter().filter(|row| row.kind == EventKind::SessionEnded.name()).count()
    };
    assert_eq!(told().await, 2);
    world.sessions.sweep(late).await.unwrap();
    assert_eq!(told().await, 2, "once each");
}

#[tokio::test]
async fn f13_who_is_idle_is_known_by_the_process_that_serves_and_the_one_of_before_hears_of_it() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (session, _) = world.web(&account).await;
    let late = world.at(8 * 3600);
    world.sessions.hand_over();
    // What is done in the other process does not move the time of this one.
    assert_eq!(world.sessions.liveness(&session, late), Liveness::Live);
    world.store.end_expired(&[expiry(&session, EndReason::Idle, late)], late).await.unwrap();
    world.sessions.tail().await.unwrap();
    assert_eq!(world.sessions.liveness(&session, late), Liveness::Ended(EndReason::Idle));
    let day = world.at(25 * 3600);
    let (session, _) = world.web(&account).await;
    assert_eq!(world.sessions.liveness(&session, day), Liveness::Ended(EndReason::Expired));
}

#[tokio::test]
async fn r86_r89_the_reason_is_remembered_over_night_and_forgotten_in_the_end() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (idle, idle_token) = world.web(&account).await;
    let (displaced, displaced_token) = world.web(&account).await;
    // Untouched for an hour, then displaced: the hour must not count as time in the grave.
    let hour = world.at(3600);
    let id = [displaced.id];
    world.sessions.end(account.user.id, &id, EndReason::Displaced, &[], hour).await.unwrap();
    world.sessions.sweep(hour).await.unwrap();
    world.sessions.sweep(world.at(9 * 3600)).await.unwrap();
    world.sessions.sweep(world.at(20 * 3600)).await.unwrap();
    let why = |token| world.sessions.find(token).and_then(|session| session.end_reason());
    assert_eq!(why(&displaced_token), Some(EndReason::Displaced));
    assert_eq!(why(&idle_token), Some(EndReason::Idle));
    world.sessions.sweep(world.at(26 * 3600)).await.unwrap();
    assert_eq!(why(&displaced_token), None);
    assert!(idle.end_reason().is_some(), "what somebody still holds stays ended");
}

#[tokio::test]
async fn tombstones_are_bounded_and_the_oldest_goes_first() {
    let mut tombstones = Tombstones::default();
    let keys = [b"a", b"b", b"c"].map(|text| TokenDigest::of(text).key());
    for (at, key) in (0..).zip(keys) {
        tombstones.add(key, UnixTime::from_seconds(at));
        tombstones.add(key, UnixTime::from_seconds(99));
    }
    let now = UnixTime::from_seconds(5);
    assert_eq!((tombstones.next(now, 2), tombstones.next(now, 2)), (Some(keys[0]), None));
    let later = UnixTime::from_seconds(1).plus(TOMBSTONE);
    assert_eq!((tombstones.next(later, 2), tombstones.next(later, 2)), (Some(keys[1]), None));
}

#[tokio::test]
async fn an_epoch_raised_by_another_process_ends_every_session_within_the_tails_interval() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (session, token) = world.web(&account).await;
    tokio::spawn(Arc::clone(&world.sessions).run());
    let ended = event(EventKind::SessionEnded);
    world.elsewhere().await.end_user(account.user.id, EndReason::Revoked, &ended).await.unwrap();
    let seen = async {
        while session.liveness(world.at(0)) == Liveness::Live {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), seen).await.expect("within a second of the end (S4)");
    assert_eq!(world.sessions.find(&token).unwrap().end_reason(), Some(EndReason::Revoked));
    assert_eq!(world.live(&account), 0, "and its slot is free");
    let fresh = world.store.account_by_id(account.user.id).await.unwrap().unwrap();
    assert_eq!(
        world.web(&fresh).await.0.liveness(world.at(0)),
        Liveness::Live,
        "a log-in after it is none of them"
    );
}

#[tokio::test]
async fn one_session_ended_by_another_process_is_the_only_one_that_ends() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (first, second) = (world.web(&account).await.0, world.web(&account).await.0);
    let id = [first.id];
    let other = world.elsewhere().await;
    other.end_sessions(account.user.id, &id, EndReason::Revoked, world.at(0), &[]).await.unwrap();
    assert_eq!(first.liveness(world.at(0)), Liveness::Live, "not heard of yet");
    world.sessions.tail().await.unwrap();
    assert_eq!(first.end_reason(), Some(EndReason::Revoked));
    assert_eq!(second.liveness(world.at(0)), Liveness::Live);
}

#[tokio::test]
async fn g4_without_the_store_nobody_is_trusted_after_the_lease_and_again_once_it_answers() {
    let world = World::new().await;
    let table = |from: &'static str, to: &'static str| {
        let url = format!("sqlite://{}", world.path.display());
        async move {
            use sqlx::Connection as _;
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let rename = sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
            sqlx::query(rename).execute(&mut connection).await.unwrap();
        }
    };
    world.sessions.tail().await.unwrap();
    table("revocation", "elsewhere").await;
    world.sessions.tail().await.unwrap_err();
    world.clock.pretend_elapsed(LEASE_SECONDS);
    assert_eq!(world.sessions.health(), StoreHealth::Current);
    world.clock.pretend_elapsed(LEASE_SECONDS + 1);
    world.sessions.tail().await.unwrap_err();
    assert_eq!(world.sessions.health(), StoreHealth::Stale);
    table("elsewhere", "revocation").await;
    world.sessions.tail().await.unwrap();
    assert_eq!(world.sessions.health(), StoreHealth::Current);
}

#[tokio::test]
async fn activity_is_written_behind_once_an_interval_and_not_lost_to_a_failed_write() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (session, token) = world.web(&account).await;
    for second in 0..30 {
        world.sessions.touch(&session, world.at(second));
    }
    assert_eq!(lock(&world.sessions.touched).len(), 5, "at 5, 10, 15, 20 and 25 seconds");
    world.store.close().await;
    world.sessions.flush().await.unwrap_err();
    assert_eq!(lock(&world.sessions.touched).len(), 1, "kept for the next time");
    assert_eq!(world.restart().await.find(&token).unwrap().last_seen(), world.at(0), "a kill loses only activity");
}

impl World {
    /// The zones without that of the tenant.
    fn without_a(&self) -> ZoneTable {
        ZoneTable::new(vec![samples::zone("b.example")], None).unwrap()
    }
}

#[tokio::test]
async fn c3_no_session_of_a_removed_zone_lives_or_begins_and_none_comes_back_with_the_zone() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (session, token) = world.web(&account).await;
    world.sessions.confine(&world.without_a(), world.at(1)).await.unwrap();
    assert_eq!(session.end_reason(), Some(EndReason::Revoked));
    assert_eq!((world.stored(&account).await, world.live(&account)), (0, 0));
    // A request that began before the reload has the zone still in its hands, and may prove a password only now.
    let late = world.store.account_by_id(account.user.id).await.unwrap().unwrap();
    for account in [&account, &late] {
        assert!(matches!(world.log_in(account, Class::Web, vec![]).await, Begun::EpochStale));
    }
    world.sessions.confine(&world.zones, world.at(2)).await.unwrap();
    assert_eq!(world.sessions.find(&token).unwrap().end_reason(), Some(EndReason::Revoked));
    assert_eq!(world.restart().await.find(&token).unwrap().end_reason(), Some(EndReason::Revoked));
    // A password that was proved before the removal counts no longer; one that is proved now does.
    assert!(matches!(world.log_in(&account, Class::Web, vec![]).await, Begun::EpochStale));
    let events = world.store.events(None, 100).await.unwrap();
    let told = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((told("session_ended"), told("zone_removed")), (1, 1));
    let account = world.store.account_by_id(account.user.id).await.unwrap().unwrap();
    world.web(&account).await;
}

#[tokio::test]
async fn c3_a_zone_that_is_missing_at_a_start_loses_its_sessions_too() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (_, token) = world.web(&account).await;
    let store = world.elsewhere().await;
    let without = Sessions::load(store, &world.without_a(), Arc::clone(&world.clock)).await.unwrap();
    assert!(without.of_user(account.user.id, world.at(0)).is_empty());
    assert_eq!(world.restart().await.find(&token).unwrap().end_reason(), Some(EndReason::Revoked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c3_log_ins_that_race_with_the_removal_of_their_zone_leave_nothing_alive() {
    let world = World::new().await;
    let accounts =
        [world.user("alice", vec![]).await, world.user("bob", vec![]).await, world.user("carol", vec![]).await];
    let without = world.without_a();
    let log_ins = futures_util::future::join_all(
        accounts.iter().flat_map(|account| [account; 3]).map(|account| world.log_in(account, Class::Web, vec![])),
    );
    let (begun, confined) = tokio::join!(log_ins, world.sessions.confine(&without, world.at(1)));
    confined.unwrap();
    for begun in begun {
        match begun {
            Begun::Session(session, _) => assert_eq!(session.end_reason(), Some(EndReason::Revoked)),
            Begun::EpochStale => {}
            Begun::Full(_) | Begun::FlowSpent => panic!("three slots for three log-ins: {begun:?}"),
        }
    }
    for account in &accounts {
        assert_eq!((world.stored(account).await, world.live(account)), (0, 0));
    }
}

#[tokio::test]
async fn a_store_that_cannot_end_sessions_keeps_their_zone() {
    let world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let (session, _) = world.web(&account).await;
    world.store.close().await;
    assert!(world.sessions.confine(&world.without_a(), world.at(1)).await.is_err());
    assert_eq!(session.end_reason(), None);
    assert!(world.sessions.zones.load().contains(&session.terms.zone));
}

#[tokio::test]
async fn f13_a_session_that_ended_while_another_process_s_were_read_has_ended() {
    let mut world = World::new().await;
    let account = world.user("alice", vec![]).await;
    let heard = world.sessions.tailed_to.load(Ordering::Acquire);
    let theirs = world.restart().await;
    let ours = std::mem::replace(&mut world.sessions, theirs);
    let (begun, _) = world.web(&account).await;
    world.sessions = ours;
    let read = world.store.live_sessions().await.unwrap();
    let (user, reason, now) = (account.user.id, EndReason::Revoked, world.clock.now());
    world.elsewhere().await.end_sessions(user, &[begun.id], reason, now, &[]).await.unwrap();
    // Told before it is in its place.
    world.sessions.tail().await.unwrap();
    for loaded in &read {
        world.sessions.rebuild(loaded, None, now);
    }
    assert_eq!(world.live(&account), 1);
    world.sessions.obey_since(heard).await.unwrap();
    assert_eq!(world.live(&account), 0);
}
