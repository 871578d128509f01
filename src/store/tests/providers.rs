//! Providers, links and what sessions keep of the ones they came from: within one tenant, sealed, and pruned.

use super::*;
use crate::sso::{Audience, ClientSecret, IdTokenHint, Issuer, ProviderSettings, Subject};
use crate::store::files::create_private;

const BOLT: TenantId = TenantId::from_bytes([5; 16]);
const CLIENT_SECRET: &str = "canary-client-secret";
const ID_TOKEN: &str = "canary.id.token";

fn issuer(host: &str) -> Issuer {
    Issuer::parse(&format!("https://{host}")).unwrap()
}

fn settings(host: &str) -> ProviderSettings {
    ProviderSettings::new(issuer(host), "zonegate".into())
}

fn secret() -> ClientSecret {
    ClientSecret::parse(CLIENT_SECRET).unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::parse(text).unwrap()
}

fn at(seconds: u64) -> UnixTime {
    NOW.plus_seconds(seconds)
}

fn part(audience: Audience, host: &str, who: &str, sid: Option<&str>) -> ProviderSessionRow {
    ProviderSessionRow {
        audience,
        issuer: issuer(host),
        subject: subject(who),
        sid: sid.map(str::to_owned),
        id_token: Some(IdTokenHint::new(ID_TOKEN.into())),
        modules: Vec::new(),
        endings: Vec::new(),
    }
}

impl World {
    /// With a second tenant, whose provider is the same issuer, and its user Bob.
    async fn two_tenants() -> (Self, UserId) {
        let world = Self::new().await;
        let bolt = tenant(BOLT, "bolt", &["bolt.example"]);
        world.store.create_tenant(&bolt, &event(EventKind::TenantChanged)).await.unwrap();
        let bob = user("bob@bolt.example");
        let bob = world.store.create_user(BOLT, &bob, &event(EventKind::UserCreated)).await.unwrap();
        (world, bob)
    }

    async fn set(&self, tenant: TenantId, settings: &ProviderSettings, secret: Option<&ClientSecret>) {
        self.store.set_provider(tenant, settings, secret, &event(EventKind::ProviderChanged)).await.unwrap();
    }

    async fn tested(&self, settings: &ProviderSettings, now: UnixTime) -> bool {
        let event = event(EventKind::ProviderTested);
        self.store.provider_was_tested(ACME, settings, now, &event).await.unwrap()
    }

    async fn link(&self, tenant: TenantId, who: &str, user: UserId) -> Linked {
        let event = event(EventKind::AccountLinked);
        self.store
            .link(tenant, &issuer("idp.example"), &subject(who), user, Audience::Tenant, &event)
            .await
            .unwrap()
    }

    async fn use_sso(&self, scope: SsoScope, exempt: Option<UserId>) -> SsoSet {
        self.store.set_sso(ACME, scope, exempt, &event(EventKind::SsoChanged)).await.unwrap()
    }

    async fn begin_from(&self, number: u8, part: &ProviderSessionRow) {
        let record = self.record(self.epoch().await, number);
        let flow_epoch = self.account("alice@acme.example").await.unwrap().user.flow_epoch;
        let event = event(EventKind::LoginSucceeded);
        let begun = self.store.begin_session(&record, flow_epoch, &[], Some(part), &event).await.unwrap();
        assert_eq!(begun, Begin::Begun);
    }

    async fn kinds(&self) -> Vec<String> {
        self.store.events(None, 100).await.unwrap().into_iter().map(|row| row.kind).collect()
    }
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date_with_everything_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    create_private(&path, None).unwrap();
    let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let migrations = MIGRATIONS.iter().filter(|migration| migration.version <= 2).cloned().collect();
    sqlx::migrate::Migrator {
        migrations: std::borrow::Cow::Owned(migrations),
        ..sqlx::migrate::Migrator::DEFAULT
    }
    .run(&pool)
    .await
    .unwrap();
    sqlx::raw_sql(
        "INSERT INTO tenant VALUES (x'04040404040404040404040404040404', 'acme', 'Acme', 'a.example', 0, '\"off\"', '{}');
         INSERT INTO tenant_domain VALUES ('acme.example', x'04040404040404040404040404040404', 0);
         INSERT INTO account VALUES (x'01010101010101010101010101010101', x'04040404040404040404040404040404', \
         'alice@acme.example', NULL, 'Alice', 'regular', 'user', '[]', 1, 0, NULL, 3, 4);
         INSERT INTO session VALUES (x'02020202020202020202020202020202', x'00', x'03', \
         x'01010101010101010101010101010101', x'04040404040404040404040404040404', 'a.example', 3, 'web', 'local', \
         '[]', 1, 1, 1, 60, 60, '', '', 5, 'logged_out');",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;

    let store = Store::open(&path, &master()).await.unwrap();
    let alice = store.account(&"alice@acme.example".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((alice.user.epoch, alice.user.flow_epoch, alice.tenant.sso_exempt), (3, 4, None));
    let session = SessionId::from_bytes([2; 16]);
    assert!(store.provider_session(session).await.unwrap().is_none(), "it came from no provider");
    let changed = event(EventKind::ProviderChanged);
    store.set_provider(ACME, &settings("idp.example"), Some(&secret()), &changed).await.unwrap();
    assert!(store.provider(ACME).await.unwrap().unwrap().secret.is_some());
    store.prune(NOW, NOW).await.unwrap();
    store.close().await;
    Store::open(&path, &master()).await.unwrap();
}

#[tokio::test]
async fn k3_what_is_shared_with_a_provider_is_sealed_for_its_tenant_and_issuer() {
    let (world, _) = World::two_tenants().await;
    world.set(ACME, &settings("idp.example"), Some(&secret())).await;
    world.begin_from(1, &part(Audience::Tenant, "idp.example", "a", None)).await;
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    let mut looked_into = 0;
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        looked_into += usize::from(holds("idp.example"));
        assert!(!holds(CLIENT_SECRET) && !holds(ID_TOKEN));
    }
    assert!(looked_into >= 2, "the store and its copy");
    let kept = world.store.provider(ACME).await.unwrap().unwrap();
    assert_eq!(kept.secret.as_ref().unwrap().reveal(), CLIENT_SECRET);
    let session = world.store.provider_session(SessionId::from_bytes([1; 16])).await.unwrap().unwrap();
    assert_eq!(session.id_token.as_ref().unwrap().reveal(), ID_TOKEN);
    let shown = format!("{kept:?} {session:?}");
    assert!(!shown.contains("canary"), "{shown}");

    // Moved to another tenant, or to another issuer, it opens nothing.
    world.by_hand("INSERT INTO provider SELECT id, (SELECT settings FROM provider), (SELECT secret FROM provider), 0, NULL FROM tenant WHERE slug = 'bolt'").await.unwrap();
    assert!(matches!(world.store.provider(BOLT).await, Err(StoreFault::Corrupt("a sealed secret"))));
    world
        .by_hand("UPDATE provider SET settings = replace(settings, 'idp.example', 'evil.example')")
        .await
        .unwrap();
    assert!(matches!(world.store.provider(ACME).await, Err(StoreFault::Corrupt("a sealed secret"))));
}

#[tokio::test]
async fn d27_a_secret_is_kept_until_another_is_given_and_never_sent_to_another_issuer() {
    let world = World::new().await;
    let kept =
        async || world.store.provider(ACME).await.unwrap().unwrap().secret.map(|kept| kept.reveal().to_owned());
    world.set(ACME, &settings("idp.example"), Some(&secret())).await;
    world.set(ACME, &ProviderSettings { logout: true, ..settings("idp.example") }, None).await;
    assert_eq!(kept().await.as_deref(), Some(CLIENT_SECRET));
    world.set(ACME, &settings("idp.example"), ClientSecret::parse("new").as_ref()).await;
    assert_eq!(kept().await.as_deref(), Some("new"));
    world.set(ACME, &settings("elsewhere.example"), None).await;
    assert_eq!(kept().await, None);
}

#[tokio::test]
async fn d25_nobody_must_use_a_provider_that_was_not_tried_as_it_is() {
    let world = World::new().await;
    let first = settings("idp.example");
    assert!(!world.tested(&first, NOW).await, "there is none");
    assert_eq!(world.use_sso(SsoScope::Selected, None).await, SsoSet::Untested);
    world.set(ACME, &first, Some(&secret())).await;
    assert_eq!(world.use_sso(SsoScope::All, None).await, SsoSet::Untested);
    assert!(!world.tested(&settings("other.example"), NOW).await, "another one was tried");
    let earlier = UnixTime::from_seconds(NOW.seconds() - 1);
    assert!(!world.tested(&first, earlier).await, "it was changed while it was tried");
    assert!(world.tested(&first, NOW).await);
    assert_eq!(world.use_sso(SsoScope::Selected, None).await, SsoSet::Yes);

    // What a test does not go through keeps it; a secret does not.
    world.set(ACME, &ProviderSettings { logout: true, ..first.clone() }, None).await;
    assert_eq!(world.store.provider(ACME).await.unwrap().unwrap().tested_at, Some(NOW));
    world.set(ACME, &first, Some(&secret())).await;
    assert_eq!(world.use_sso(SsoScope::All, None).await, SsoSet::Untested, "more people");
    assert_eq!(world.use_sso(SsoScope::Selected, Some(world.alice)).await, SsoSet::Yes, "no more people");
    assert!(!world.store.remove_provider(ACME, &event(EventKind::ProviderChanged)).await.unwrap(), "in use");
    assert_eq!(world.use_sso(SsoScope::Off, None).await, SsoSet::Yes);
    assert!(world.store.remove_provider(ACME, &event(EventKind::ProviderChanged)).await.unwrap());
    assert!(world.store.provider(ACME).await.unwrap().is_none());
}

#[tokio::test]
async fn d25_the_emergency_administrator_is_of_the_same_tenant() {
    let (world, bob) = World::two_tenants().await;
    world.set(ACME, &settings("idp.example"), None).await;
    assert!(world.tested(&settings("idp.example"), NOW).await);
    assert_eq!(world.use_sso(SsoScope::All, Some(bob)).await, SsoSet::NobodyExempt);
    assert_eq!(world.use_sso(SsoScope::All, Some(world.alice)).await, SsoSet::Yes);
    let alice = world.account("alice@acme.example").await.unwrap();
    assert_eq!((alice.tenant.sso, alice.tenant.sso_exempt), (SsoScope::All, Some(world.alice)));
    // A record that was read before is written back without turning it off.
    let old = tenant(ACME, "acme", &["acme.example"]);
    world.store.update_tenant(&old, &event(EventKind::TenantChanged)).await.unwrap();
    assert_eq!(world.account("alice@acme.example").await.unwrap().tenant.sso, SsoScope::All);
}

#[tokio::test]
async fn r8_a_password_that_was_proved_before_ends_in_no_session_after() {
    let world = World::new().await;
    let (epoch, before) = (world.epoch().await, 0);
    world.set(ACME, &settings("idp.example"), None).await;
    assert!(world.tested(&settings("idp.example"), NOW).await);
    assert_eq!(world.begin(epoch, 1).await, Begin::Begun);
    assert_eq!(world.use_sso(SsoScope::Selected, None).await, SsoSet::Yes);
    let login = event(EventKind::LoginSucceeded);
    let late = world.store.begin_session(&world.record(epoch, 2), before, &[], None, &login).await.unwrap();
    assert_eq!(late, Begin::EpochStale);
    assert_eq!(world.store.live_sessions().await.unwrap().len(), 1, "R10: what is open goes on");
    let flow_epoch = async || world.account("alice@acme.example").await.unwrap().user.flow_epoch;
    let unmarked = flow_epoch().await;
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    assert_eq!(flow_epoch().await, unmarked + 1, "she is one of the selected from now on");
}

#[tokio::test]
async fn o11_a_link_is_of_one_tenant_one_issuer_and_one_subject() {
    let (world, bob) = World::two_tenants().await;
    let idp = issuer("idp.example");
    let linked = async |tenant, issuer: &Issuer, who: &str| {
        let account = world.store.linked(tenant, issuer, &subject(who)).await.unwrap();
        account.map(|account| account.user.username.to_string())
    };
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    assert_eq!(world.link(BOLT, "a", bob).await, Linked::Yes, "the same subject in another tenant");
    assert_eq!(linked(ACME, &idp, "a").await.as_deref(), Some("alice@acme.example"));
    assert_eq!(linked(BOLT, &idp, "a").await.as_deref(), Some("bob@bolt.example"));
    for (tenant, issuer, who) in [
        (ACME, issuer("other.example"), "a"),
        (ACME, idp.clone(), "A"),
        (ACME, idp.clone(), "b"),
        (TenantId::from_bytes([6; 16]), idp.clone(), "a"),
    ] {
        assert_eq!(linked(tenant, &issuer, who).await, None, "{tenant} {issuer} {who}");
    }
    let (c, linked) = (subject("c"), event(EventKind::AccountLinked));
    let across = world.store.link(ACME, &idp, &c, bob, Audience::Tenant, &linked);
    assert!(matches!(across.await, Err(StoreFault::Missing(_))), "bob is nobody of acme's");
    assert_eq!(world.store.links(ACME, Audience::Tenant).await.unwrap().len(), 1);
    assert_eq!(world.store.links_of(bob).await.unwrap()[0].subject, subject("a"));
    world.set(ACME, &settings("idp.example"), None).await;
    assert!(world.store.provider(BOLT).await.unwrap().is_none(), "nor is a provider another tenant's");
}

#[tokio::test]
async fn one_account_has_one_subject_and_one_subject_one_account() {
    let world = World::new().await;
    world.set(ACME, &settings("idp.example"), None).await;
    let carol =
        world.store.create_user(ACME, &user("carol@acme.example"), &event(EventKind::UserCreated)).await.unwrap();
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    let told = world.kinds().await.len();
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes, "again");
    assert_eq!(world.link(ACME, "a", carol).await, Linked::SubjectTaken);
    assert_eq!(world.link(ACME, "b", world.alice).await, Linked::UserHasAnother);
    assert_eq!(world.kinds().await.len(), told, "what changes nothing is not told");
    assert!(world.account("alice@acme.example").await.unwrap().user.sso_selected, "R9");

    // All or none.
    let pairs = [(carol, subject("c")), (world.alice, subject("b"))];
    let all = async |pairs: &[(UserId, Subject)]| {
        let (event, idp) = (event(EventKind::AccountLinked), issuer("idp.example"));
        world.store.link_all(ACME, &idp, pairs, Audience::Tenant, &event).await.unwrap()
    };
    assert_eq!(all(&pairs).await, [Linked::Yes, Linked::UserHasAnother]);
    assert_eq!(world.store.links(ACME, Audience::Tenant).await.unwrap().len(), 1);
    assert_eq!(all(&pairs[..1]).await, [Linked::Yes]);
    assert_eq!(world.store.links(ACME, Audience::Tenant).await.unwrap().len(), 2);
}

#[tokio::test]
async fn r9_selected_are_those_who_are_linked_at_the_provider_that_the_company_has_now() {
    let world = World::new().await;
    let (a, b) = (settings("idp.example"), settings("other.example"));
    let check = async |want: bool, when: &str| {
        let username = "alice@acme.example";
        assert_eq!(world.account(username).await.unwrap().user.sso_selected, want, "{when}");
        let owner = world.store.owner(&username.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(owner.at_provider, want, "{when}: whose password counts");
    };
    let select = async |scope| {
        let event = event(EventKind::SsoChanged);
        assert_eq!(world.store.set_sso(ACME, scope, None, &event).await.unwrap(), SsoSet::Yes);
    };
    world.set(ACME, &a, None).await;
    assert!(world.tested(&a, NOW).await);
    select(SsoScope::Selected).await;
    check(false, "nobody is linked").await;
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    check(true, "linked").await;

    let epoch = async || world.account("alice@acme.example").await.unwrap().user.flow_epoch;
    let before = epoch().await;
    world.set(ACME, &b, None).await;
    assert!(epoch().await > before, "a log-in under way begins again");
    assert!(world.tested(&b, NOW).await);
    select(SsoScope::Selected).await;
    check(false, "the new provider knows nobody: whom the old one knew is not sent there").await;

    // A link at the new one, made and removed: the old one does not count for it.
    let (whom, linked) = (subject("b"), event(EventKind::AccountLinked));
    let link = world.store.link(ACME, &b.issuer, &whom, world.alice, Audience::Tenant, &linked);
    assert_eq!(link.await.unwrap(), Linked::Yes);
    check(true, "linked at the new one").await;
    let removed = event(EventKind::AccountUnlinked);
    assert!(world.store.unlink(world.alice, Audience::Tenant, &b.issuer, &removed).await.unwrap());
    check(false, "and no more").await;

    world.set(ACME, &a, None).await;
    check(true, "the old one is back, and so are its people").await;
}

#[tokio::test]
async fn d24_nobody_is_linked_whom_the_companys_own_provider_cannot_know() {
    let world = World::new().await;
    world.set(ACME, &settings("idp.example"), None).await;
    for (kind, want) in UserKind::ALL.map(|kind| (kind, kind.has_provider())) {
        let new = NewUser { kind, ..user(&format!("{}@acme.example", kind.name())) };
        let id = world.store.create_user(ACME, &new, &event(EventKind::UserCreated)).await.unwrap();
        let linked = if want { Linked::Yes } else { Linked::NotOfThisKind };
        assert_eq!(world.link(ACME, kind.name(), id).await, linked, "{kind:?}");
        assert_eq!(world.account(new.username.as_str()).await.unwrap().user.sso_selected, want, "{kind:?}");
    }
}

#[tokio::test]
async fn r6_a_link_that_is_removed_takes_its_sessions_along_and_no_others() {
    let world = World::new().await;
    world.set(ACME, &settings("idp.example"), None).await;
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    world.begin_from(1, &part(Audience::Tenant, "idp.example", "a", None)).await;
    world.begin_from(2, &part(Audience::Suite, "suite.example", "a", None)).await;
    let flow_epoch = world.account("alice@acme.example").await.unwrap().user.flow_epoch;
    let unlink = async || {
        let event = event(EventKind::AccountUnlinked);
        world.store.unlink(world.alice, Audience::Tenant, &issuer("idp.example"), &event).await.unwrap()
    };
    assert!(unlink().await);
    assert!(!unlink().await);
    let live: Vec<_> = world.store.live_sessions().await.unwrap().iter().map(|live| live.record.id).collect();
    assert_eq!(live, [SessionId::from_bytes([2; 16])]);
    let alice = world.account("alice@acme.example").await.unwrap().user;
    assert!(!alice.sso_selected && alice.flow_epoch > flow_epoch);
    assert_eq!(world.kinds().await[..2], ["session_ended", "account_unlinked"]);
    assert_eq!(world.store.revocations_since(0).await.unwrap().len(), 1, "a running gateway is told");
}

#[tokio::test]
async fn o14_a_provider_ends_the_live_sessions_of_its_own_tenant() {
    let (world, _) = World::two_tenants().await;
    let idp = issuer("idp.example");
    world.begin_from(1, &part(Audience::Tenant, "idp.example", "a", Some("s1"))).await;
    world.begin_from(2, &part(Audience::Tenant, "idp.example", "a", Some("s2"))).await;
    world.begin_from(3, &part(Audience::Suite, "idp.example", "a", Some("s1"))).await;
    let check = async |tenant, issuer: &Issuer, who: ProviderSession<'_>, want: &[u8]| {
        let found = world.store.provider_sessions(tenant, issuer, who).await.unwrap();
        let want: Vec<_> = want
            .iter()
            .map(|id| SessionOfProvider {
                user: world.alice,
                session: SessionId::from_bytes([*id; 16]),
                tenant: ACME,
            })
            .collect();
        assert_eq!(found, want, "{tenant:?} {issuer} {who:?}");
    };
    let a = subject("a");
    check(Some(ACME), &idp, ProviderSession::Sid("s1"), &[1]).await;
    check(Some(ACME), &idp, ProviderSession::Subject(&a), &[1, 2]).await;
    check(Some(BOLT), &idp, ProviderSession::Sid("s1"), &[]).await;
    check(Some(BOLT), &idp, ProviderSession::Subject(&a), &[]).await;
    check(Some(ACME), &issuer("other.example"), ProviderSession::Sid("s1"), &[]).await;
    check(Some(ACME), &idp, ProviderSession::Sid("S1"), &[]).await;
    check(None, &idp, ProviderSession::Sid("s1"), &[3]).await;
    check(None, &idp, ProviderSession::Subject(&a), &[3]).await;
    let first = SessionId::from_bytes([1; 16]);
    world.store.end_sessions(world.alice, &[first], EndReason::LoggedOut, NOW, &[]).await.unwrap();
    check(Some(ACME), &idp, ProviderSession::Subject(&a), &[2]).await;
}

#[tokio::test]
async fn d19_a_provider_is_told_for_a_day_and_then_nothing_is_left_of_its_token() {
    let world = World::new().await;
    let session = SessionId::from_bytes([1; 16]);
    let due = async |now| world.store.due_provider_logouts(now, 10).await.unwrap();
    world.begin_from(1, &part(Audience::Tenant, "idp.example", "a", Some("s"))).await;
    world.store.end_sessions(world.alice, &[session], EndReason::LoggedOut, NOW, &[]).await.unwrap();
    assert!(world.store.queue_provider_logout(session, NOW).await.unwrap());
    assert!(!world.store.queue_provider_logout(session, NOW).await.unwrap(), "once");
    assert!(!world.store.queue_provider_logout(SessionId::from_bytes([9; 16]), NOW).await.unwrap());
    let queued = &due(NOW).await[0];
    assert_eq!((queued.session, queued.tenant, queued.attempts), (session, ACME, 0));
    assert_eq!(queued.provider.id_token.as_ref().unwrap().reveal(), ID_TOKEN);
    world.store.provider_logout_failed(session, at(60)).await.unwrap();
    assert!(due(at(59)).await.is_empty());
    assert_eq!(due(at(60)).await[0].attempts, 1);

    let prune = async |now| world.store.prune(UnixTime::from_seconds(0), now).await.unwrap();
    let token = async || world.store.provider_session(session).await.unwrap().unwrap().id_token.is_some();
    prune(at(24 * 3600)).await;
    assert!(token().await && due(at(24 * 3600)).await.len() == 1, "a day is not over");
    prune(at(24 * 3600 + 1)).await;
    assert!(!token().await && due(at(24 * 3600 + 1)).await.is_empty());
    assert!(
        !world.store.queue_provider_logout(session, at(24 * 3600 + 1)).await.unwrap(),
        "nothing to tell it with"
    );
    world.store.prune(at(1), at(1)).await.unwrap();
    assert!(world.store.provider_session(session).await.unwrap().is_none(), "it goes with its session");
}

#[tokio::test]
async fn a_log_out_that_was_told_is_told_no_more() {
    let world = World::new().await;
    let session = SessionId::from_bytes([1; 16]);
    world.begin_from(1, &part(Audience::Suite, "suite.example", "a", None)).await;
    assert!(world.store.queue_provider_logout(session, NOW).await.unwrap());
    world.store.provider_logout_done(session).await.unwrap();
    assert!(world.store.due_provider_logouts(at(1), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn f13_a_restore_brings_providers_and_links_back_and_tells_providers_nothing() {
    let world = World::new().await;
    world.set(ACME, &settings("idp.example"), Some(&secret())).await;
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    world.begin_from(1, &part(Audience::Tenant, "idp.example", "a", None)).await;
    let session = SessionId::from_bytes([1; 16]);
    assert!(world.store.queue_provider_logout(session, NOW).await.unwrap());
    let copy = world.folder.path().join("copy.db");
    world.store.backup_to(&copy).await.unwrap();
    world.store.close().await;
    restore(&world.path, &copy, &master(), NOW).await.unwrap();
    let store = Store::open(&world.path, &master()).await.unwrap();
    assert_eq!(store.provider(ACME).await.unwrap().unwrap().secret.unwrap().reveal(), CLIENT_SECRET);
    assert!(store.linked(ACME, &issuer("idp.example"), &subject("a")).await.unwrap().is_some());
    assert!(store.due_provider_logouts(at(1), 10).await.unwrap().is_empty());
    assert!(store.provider_session(session).await.unwrap().is_none());
}

#[tokio::test]
async fn a_provider_or_link_that_does_not_read_back_is_a_fault_that_names_its_table() {
    let world = World::new().await;
    world.set(ACME, &settings("idp.example"), Some(&secret())).await;
    assert_eq!(world.link(ACME, "a", world.alice).await, Linked::Yes);
    let damaged = |what: &str| format!("the store is damaged: {what} does not read back");
    world.by_hand("UPDATE link SET issuer = 'nobody'").await.unwrap();
    assert_eq!(world.store.links(ACME, Audience::Tenant).await.unwrap_err().to_string(), damaged("link"));
    world.by_hand("UPDATE provider SET settings = '{}'").await.unwrap();
    assert_eq!(world.store.provider(ACME).await.unwrap_err().to_string(), damaged("provider"));
}

#[tokio::test]
async fn r117_a_log_in_that_the_provider_has_ended_by_now_does_not_begin() {
    let world = World::new().await;
    let mark = FlowId::from_bytes([9; 16]);
    let begin = async |number: u8, until: UnixTime| {
        let part = part(Audience::Tenant, "idp.example", "s-1", None);
        let part = ProviderSessionRow { endings: vec![(mark, until)], ..part };
        let record = world.record(world.epoch().await, number);
        let flow_epoch = world.account("alice@acme.example").await.unwrap().user.flow_epoch;
        let event = event(EventKind::LoginSucceeded);
        world.store.begin_session(&record, flow_epoch, &[], Some(&part), &event).await.unwrap()
    };
    assert_eq!(begin(1, at(60)).await, Begin::Begun, "nothing was said");
    world.store.spend_until(mark, at(60)).await.unwrap();
    assert_eq!(begin(2, at(60)).await, Begin::EpochStale, "in the same second");
    assert_eq!(begin(3, at(61)).await, Begin::Begun, "of before");
}
