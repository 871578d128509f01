//! A small world for tests: one store in a directory of its own, a tenant, people of every kind.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{self, HeaderMap, HeaderValue, StatusCode, header};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::assertion::AssertionSettings;
use crate::base::{Hostname, MasterKey, RequestId, SessionToken, TenantId, Ttl, UnixTime, UserId, Username};
use crate::config::{
    AccessLines, HashingSettings, Limits, Listeners, LogLevel, LogSettings, NativeClient, Settings, Share,
    TraceContext, TraceSettings,
};
use crate::credential::{HashCost, Pepper, TotpSecret, current_code, hash_password};
use crate::directory::{
    SecurityDefaults, SecurityLevel, SecurityOverrides, SsoScope, SuiteAccess, Tenant, TotpPeriod, UserKind,
};
use crate::machine::Clock;
use crate::pages::Brand;
use crate::portal::login::LOGIN;
use crate::portal::native::API_LOGIN;
use crate::portal::strangers::Strangers;
use crate::portal::throttle::Throttle;
use crate::portal::verifier::{Attempt, Verifier};
use crate::portal::{Portal, Realm, Visit, cookies};
use crate::session::{Class, Ended, Liveness, Session};
use crate::sso::{Issuer, OutboundSettings, ProviderSettings};
use crate::store::{NewUser, SsoSet, Store};
use crate::table::{KeyRing, Sessions};
use crate::telemetry::{Actor, EventKind, SecurityEvent};
use crate::zone::{HeaderPreset, HostMatch, Language, Upstream, Zone, ZoneTable};

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

    pub(crate) async fn tenant(&self, id: u8, slug: &str, zone: &str) {
        let tenant = Tenant {
            id: TenantId::from_bytes([id; 16]),
            slug: slug.into(),
            name: slug.to_uppercase(),
            zone: zone.parse().unwrap(),
            domains: vec![format!("{slug}.example").parse().unwrap()],
            suite: SuiteAccess::default(),
            sso: SsoScope::Off,
            sso_exempt: None,
            overrides: SecurityOverrides::default(),
        };
        self.store.create_tenant(&tenant, &event(EventKind::TenantChanged)).await.unwrap();
    }

    pub(crate) async fn user(
        &self,
        tenant: u8,
        username: &str,
        kind: UserKind,
        password: bool,
        enrolled: bool,
    ) -> UserId {
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
            let epoch = self.store.account_by_id(id).await.unwrap().unwrap().user.flow_epoch;
            let (secret, event) = (secret(), event(EventKind::SecondFactorEnrolled));
            let kept = self.store.enrol_totp(id, epoch, &secret, TotpPeriod::Thirty, 0, &event);
            assert!(kept.await.unwrap());
        }
        id
    }

    /// Makes an administrator of somebody, or no administrator any more.
    pub(crate) async fn set_level(&self, username: &str, level: SecurityLevel) {
        let user = self.store.account(&username.parse().unwrap()).await.unwrap().unwrap().user;
        let new = NewUser {
            username: user.username,
            email: user.email,
            display_name: user.display_name,
            kind: user.kind,
            level,
            groups: user.groups,
            active: user.active,
            start_page: user.start_page,
        };
        self.store.update_user(user.id, &new, &event(EventKind::UserChanged)).await.unwrap();
    }

    /// A throttle that stops nobody.
    pub(crate) fn generous() -> Throttle {
        Throttle::new(NonZeroU32::MAX)
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let hashing = HashingSettings { cost: CHEAP, threads: 2, queue_max: 64 };
        let strangers = Arc::new(Strangers::new(self.store.clone()));
        Verifier::new(
            self.store.clone(),
            strangers,
            Self::generous(),
            &master(),
            hashing,
            SecurityDefaults::default(),
            true,
        )
        .unwrap()
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
        self.provider_tested().await;
        let acme = TenantId::from_bytes([1; 16]);
        let set = self.store.set_sso(acme, SsoScope::All, None, &event(EventKind::SsoChanged)).await.unwrap();
        assert_eq!(set, SsoSet::Yes);
    }

    /// A provider of that tenant, which works and nobody must use.
    pub(crate) async fn provider_tested(&self) {
        let acme = TenantId::from_bytes([1; 16]);
        let settings =
            ProviderSettings::new(Issuer::parse("https://login.acme.example").unwrap(), "zonegate".into());
        let changed = event(EventKind::ProviderChanged);
        self.store.set_provider(acme, &settings, None, &changed).await.unwrap();
        let tested = event(EventKind::ProviderTested);
        assert!(self.store.provider_was_tested(acme, &settings, at(0), &tested).await.unwrap());
    }

    /// The same, at a provider in a network that is not public: nobody gets there.
    pub(crate) async fn sso_out_of_reach(&self) {
        self.sso_for_all().await;
        let settings = ProviderSettings::new(Issuer::parse("https://127.0.0.1:9").unwrap(), "zonegate".into());
        let acme = TenantId::from_bytes([1; 16]);
        self.store.set_provider(acme, &settings, None, &event(EventKind::ProviderChanged)).await.unwrap();
    }

    /// And out again.
    pub(crate) async fn sso_for_nobody(&self) {
        let acme = TenantId::from_bytes([1; 16]);
        let set = self.store.set_sso(acme, SsoScope::Off, None, &event(EventKind::SsoChanged)).await.unwrap();
        assert_eq!(set, SsoSet::Yes);
    }
}

/// The whole portal in process, as one or more browsers see it.
pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) portal: Arc<Portal>,
    router: Router,
}

pub(crate) fn zone(host: &str, language: Language) -> Zone {
    let origin: Arc<str> = format!("https://{host}:8443").into();
    Zone {
        host: host.parse().unwrap(),
        authority: HeaderValue::try_from(format!("{host}:8443")).unwrap(),
        aliases: vec![],
        origin: Arc::clone(&origin),
        name: host.into(),
        data_centre: String::new(),
        description: String::new(),
        language,
        preselectable: true,
        upstream: Upstream::at(([127, 0, 0, 1], 1).into()),
        headers: HeaderPreset::Default,
        audience: origin,
        body_bytes_max: 1 << 20,
        more_methods: vec![],
        ways: Default::default(),
        rules: Default::default(),
        background_paths: vec![],
        client_certificates: None,
    }
}

fn settings(directory: &Path) -> Settings {
    let zones = vec![zone("desk.localhost", Language::En), zone("de.localhost", Language::De)];
    let client = |id: &str, label: &str| NativeClient { id: id.into(), label: label.into() };
    Settings {
        listeners: Listeners::default(),
        public_port: 8443,
        zones: ZoneTable::new(zones, Some("login.localhost".parse().unwrap())).unwrap(),
        name_servers: vec![],
        certificates: vec![],
        acme: None,
        store_path: directory.join("store.db"),
        master_key: master(),
        security: SecurityDefaults::default(),
        hashing: HashingSettings { cost: CHEAP, threads: 2, queue_max: 64 },
        limits: Limits { head_bytes_max: 16384, drain_max: Ttl::seconds_const(10), ..Limits::default() },
        assertion: AssertionSettings::default(),
        native_clients: vec![client("livemobile", "LiveMobile"), client("outlook", "Outlook")],
        brand: Brand::default(),
        sso: OutboundSettings::default(),
        suite: None,
        log: LogSettings { level: LogLevel::Info, access: AccessLines::Off, access_file: None },
        traces: TraceSettings { context: TraceContext::Pass, otlp: None, sampled: Share(0) },
        watch: false,
        threads: 1,
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// One whose operator decided differently.
    pub(crate) async fn with(decide: impl FnOnce(&mut Settings)) -> Self {
        // The way to providers wants one, and the process has one, whoever comes first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let fixture = Fixture::new().await;
        let mut settings = settings(fixture._directory.path());
        decide(&mut settings);
        let settings = Arc::new(settings);
        let clock = Arc::new(Clock::new());
        let sessions = Sessions::load(fixture.store.clone(), &settings.zones, Arc::clone(&clock)).await.unwrap();
        let keys = KeyRing::load(fixture.store.clone(), settings.assertion, at(0)).await.unwrap();
        let portal = Portal::new(settings, fixture.store.clone(), sessions, keys, clock).unwrap();
        let portal = Arc::new(portal);
        Self { fixture, router: crate::portal::router(Arc::clone(&portal)), portal }
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser {
            world: self,
            host: "desk.localhost",
            now: Cell::new(0),
            unsure: Cell::new(false),
            agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            cookies: RefCell::default(),
        }
    }

    pub(crate) fn session(&self, browser: &Browser<'_>) -> Option<Arc<Session>> {
        let value = browser.cookie(cookies::SESSION)?;
        let session = self.portal.sessions.find(&SessionToken::parse(value.as_bytes())?)?;
        (session.liveness(at(browser.now.get())) == Liveness::Live).then_some(session)
    }
}

/// One browser: it keeps cookies, sends `Origin` with forms, and has a time.
pub(crate) struct Browser<'a> {
    pub(crate) world: &'a World,
    pub(crate) host: &'static str,
    pub(crate) now: Cell<u64>,
    pub(crate) agent: &'static str,
    /// The store was not heard of for longer than the lease.
    pub(crate) unsure: Cell<bool>,
    pub(crate) cookies: RefCell<BTreeMap<String, String>>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    /// The sealed flow in the page.
    pub(crate) fn flow(&self) -> String {
        let rest = self.body.split("name=\"flow\" value=\"").nth(1);
        let rest = rest.unwrap_or_else(|| panic!("{} has no flow: {}", self.status, self.body));
        rest.split('"').next().unwrap().to_owned()
    }

    /// The authenticator's secret that the page shows.
    pub(crate) fn secret(&self) -> TotpSecret {
        let key =
            self.body.split("id=\"manual-key\">").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
        let bytes = totp_rs::Secret::try_from_base32(key).unwrap();
        TotpSecret::from_bytes(bytes.as_bytes().try_into().unwrap())
    }

    /// Which page it is, by the id of its form.
    #[track_caller]
    pub(crate) fn expect_page(self, id: &str) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        assert!(self.body.contains(&format!("id=\"{id}\"")), "not {id}: {}", self.body);
        self
    }

    /// The message above the form.
    #[track_caller]
    pub(crate) fn expect_message(self, id: &str) -> Self {
        assert!(self.body.contains(&format!("data-message=\"{id}\"")), "no {id}: {}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn expect_notice(self, text: &str) -> Self {
        assert!(self.body.contains("id=\"notice\"") && self.body.contains(text), "no {text}: {}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn expect_in(self, target: &str) -> Self {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        assert_eq!(self.headers[header::LOCATION], target);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }
}

impl Browser<'_> {
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.borrow().get(name).cloned()
    }

    /// The present, for this browser.
    pub(crate) fn at(&self, seconds: u64) -> &Self {
        self.now.set(seconds);
        self
    }

    pub(crate) fn visit(&self) -> Visit {
        let now = at(self.now.get());
        let found = self.cookie(cookies::SESSION).and_then(|value| SessionToken::parse(value.as_bytes()));
        let found = found.and_then(|token| self.world.portal.sessions.find(&token));
        let zones = &self.world.portal.settings.zones;
        let (realm, found) = match zones.find(self.host) {
            HostMatch::Zone(zone) => {
                (Realm::Zone(Arc::clone(zone)), found.filter(|session| session.terms.zone == zone.host))
            }
            HostMatch::Universal => (Realm::Universal, None),
            HostMatch::Alias(_) | HostMatch::Unknown => panic!("{}", self.host),
        };
        let left = found.clone().filter(|session| session.liveness(now) != Liveness::Live);
        let (session, ended) = match found.map(|session| (session.liveness(now), session)) {
            Some((Liveness::Live, _)) if self.unsure.get() => (None, None),
            Some((Liveness::Live, session)) => (Some(session), None),
            Some((Liveness::Ended(reason), session)) => {
                (None, Some(Ended { reason, idle_max: session.terms.lifetimes.idle_max }))
            }
            None => (None, None),
        };
        Visit {
            realm,
            now,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            request: RequestId::from_bytes([8; 16]),
            session,
            ended,
            left,
            unsure: self.unsure.get(),
        }
    }

    /// Sends a request with what this browser would add, and keeps the cookies that come.
    pub(crate) async fn send(&self, request: http::request::Builder, body: String) -> Got {
        let cookies: Vec<_> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = request.body(Body::from(body)).unwrap();
        if !cookies.is_empty() {
            request.headers_mut().insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        request.headers_mut().insert(header::USER_AGENT, self.agent.parse().unwrap());
        request.extensions_mut().insert(self.visit());
        let answer = self.world.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        for line in parts.headers.get_all(header::SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.borrow_mut().insert(name.into(), value.into());
        }
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Got { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn open(&self, path: &str) -> Got {
        let request = http::Request::get(path).header(header::ACCEPT, "text/html");
        self.send(request, String::new()).await
    }

    pub(crate) fn form(&self) -> http::request::Builder {
        http::Request::post(LOGIN)
            .header(header::ACCEPT, "text/html")
            .header(header::ORIGIN, format!("https://{}:8443", self.host))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
    }

    pub(crate) async fn post(&self, fields: &[(&str, &str)]) -> Got {
        self.send(self.form(), encoded(fields)).await
    }

    /// Answers a page of the flow with one more field.
    pub(crate) async fn answer(&self, page: &Got, name: &str, value: &str) -> Got {
        self.post(&[("flow", &page.flow()), (name, value)]).await
    }

    /// Username given: the password page.
    pub(crate) async fn up_to_password(&self, username: &str) -> Got {
        let page = self.open(LOGIN).await.expect_page("form-username");
        self.answer(&page, "username", username).await
    }

    /// Username and the right password given: whatever comes next.
    pub(crate) async fn up_to_code(&self, username: &str) -> Got {
        let page = self.up_to_password(username).await.expect_page("form-password");
        self.answer(&page, "password", PASSWORD).await
    }

    /// A whole log-in with the code of the browser's present: whatever comes next.
    pub(crate) async fn log_in(&self, username: &str) -> Got {
        let page = self.up_to_code(username).await.expect_page("form-code");
        self.answer(&page, "code", &code(self.now.get())).await
    }

    /// JSON to the native clients' address.
    pub(crate) async fn tell(&self, body: &serde_json::Value) -> Got {
        let request = http::Request::post(API_LOGIN).header(header::CONTENT_TYPE, "application/json");
        self.send(request, body.to_string()).await
    }
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}
