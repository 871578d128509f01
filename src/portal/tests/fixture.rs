//! A small world for tests: one store in a directory of its own, a tenant, people of every kind.

use std::net::{IpAddr, Ipv4Addr};

use tempfile::TempDir;

use crate::base::{Hostname, MasterKey, RequestId, TenantId, UnixTime, UserId, Username};
use crate::config::HashingSettings;
use crate::credential::{HashCost, Pepper, TotpSecret, current_code, hash_password};
use crate::directory::{
    SecurityDefaults, SecurityLevel, SecurityOverrides, SsoScope, Tenant, TotpPeriod, UserKind,
};
use crate::portal::verifier::{Attempt, Verifier};
use crate::session::Class;
use crate::store::{NewUser, Store};
use crate::telemetry::{Actor, EventKind, SecurityEvent};

/// The start of the tests' time: a multiple of 60, so that both sorts of authenticator begin a step there.
pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const PASSWORD: &str = "Blue-kite-77!";
const CHEAP: HashCost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(START + seconds)
}

pub(crate) fn master() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

pub(crate) fn name(local: &str) -> Username {
    format!("{local}@acme.example").parse().unwrap()
}

pub(crate) fn secret() -> TotpSecret {
    TotpSecret::from_bytes([42; 20])
}

/// What everybody's authenticator shows `seconds` after the start.
pub(crate) fn code(seconds: u64) -> String {
    current_code(&secret(), TotpPeriod::Thirty, at(seconds))
}

pub(crate) fn event(kind: EventKind) -> SecurityEvent {
    SecurityEvent::new(kind, Actor::Operator, at(0))
}

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) zone: Hostname,
    _directory: TempDir,
}

impl Fixture {
    /// Tenant `acme` in zone `desk.localhost` with alice and bob (enrolled), dora (a dashboard), erin (not
    /// enrolled), ian (inactive), ada (a program), nora (no password); tenant `muc` in zone
    /// `de.localhost` with max.
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store.db"), &master()).await.unwrap();
        let fixture = Self { store, zone: "desk.localhost".parse().unwrap(), _directory: directory };
        fixture.tenant(1, "acme", "desk.localhost").await;
        fixture.tenant(2, "muc", "de.localhost").await;
        fixture.user(1, "alice@acme.example", UserKind::Regular, true, true).await;
        fixture.user(1, "bob@acme.example", UserKind::Contractor, true, true).await;
        fixture.user(1, "dora@acme.example", UserKind::Dashboard, true, false).await;
        fixture.user(1, "erin@acme.example", UserKind::Regular, true, false).await;
        let ian = fixture.user(1, "ian@acme.example", UserKind::Regular, true, true).await;
        fixture.store.set_active(ian, false, &event(EventKind::UserDisabled)).await.unwrap();
        fixture.user(1, "ada@acme.example", UserKind::ApiOnly, true, false).await;
        fixture.user(1, "nora@acme.example", UserKind::Regular, false, false).await;
        fixture.user(2, "max@muc.example", UserKind::Regular, true, true).await;
        fixture
    }

    async fn tenant(&self, id: u8, slug: &str, zone: &str) {
        let tenant = Tenant {
            id: TenantId::from_bytes([id; 16]),
            slug: slug.into(),
            name: slug.to_uppercase(),
            zone: zone.parse().unwrap(),
            domains: vec![format!("{slug}.example").parse().unwrap()],
            suite: false,
            sso: SsoScope::Off,
            overrides: SecurityOverrides::default(),
        };
        self.store.create_tenant(&tenant, &event(EventKind::TenantChanged)).await.unwrap();
    }

    async fn user(&self, tenant: u8, username: &str, kind: UserKind, password: bool, enrolled: bool) -> UserId {
        let new = NewUser {
            username: username.parse().unwrap(),
            email: None,
            display_name: username.split('@').next().unwrap().to_uppercase(),
            kind,
            level: SecurityLevel::User,
            groups: vec![],
            active: true,
            start_page: None,
        };
        let tenant = TenantId::from_bytes([tenant; 16]);
        let id = self.store.create_user(tenant, &new, &event(EventKind::UserCreated)).await.unwrap();
        if password {
            let hash = hash_password(PASSWORD, [3; 16], &Pepper::of(&master()), CHEAP).unwrap();
            self.store.set_password(id, &hash, 5, &event(EventKind::PasswordSet)).await.unwrap();
        }
        if enrolled {
            let epoch = self.store.account_by_id(id).await.unwrap().unwrap().user.epoch;
            let (secret, event) = (secret(), event(EventKind::SecondFactorEnrolled));
            let kept = self.store.enrol_totp(id, epoch, &secret, TotpPeriod::Thirty, 0, &event);
            assert!(kept.await.unwrap());
        }
        id
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let hashing = HashingSettings { cost: CHEAP, threads: 2, queue_max: 64 };
        Verifier::new(self.store.clone(), &master(), hashing, SecurityDefaults::default()).unwrap()
    }

    pub(crate) fn attempt(&self, seconds: u64) -> Attempt<'_> {
        Attempt {
            zone: &self.zone,
            class: Class::Web,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request: RequestId::from_bytes([8; 16]),
            now: at(seconds),
        }
    }

    pub(crate) async fn unlock(&self, username: &Username) {
        let id = self.store.account(username).await.unwrap().unwrap().user.id;
        assert!(self.store.unlock(id, &event(EventKind::AccountUnlocked)).await.unwrap());
    }

    /// Puts the whole tenant of alice under single sign-on.
    pub(crate) async fn sso_for_all(&self) {
        let mut tenant = self.store.tenant_by_slug("acme").await.unwrap().unwrap();
        tenant.sso = SsoScope::All;
        self.store.update_tenant(&tenant, &event(EventKind::TenantChanged)).await.unwrap();
    }
}
