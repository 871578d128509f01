//! Single sign-on through the whole gateway, against a provider that does what the test tells it.
//!
//! A log-in here goes the way of a browser: to the gateway, to the provider, back with what the provider made of it. What
//! is held each time: the answer, what the provider was asked and what it was not, whether there is a session, whether
//! anything about anybody's account has changed, and the one line in the security log.

mod crossing;
mod crowds;
mod durable;
mod endings;
mod modules;
mod people;
mod suite;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;
use url::Url;
use zonegate::base::{MasterKey, TenantId, UnixTime, UserId, Username};
use zonegate::directory::{SecurityLevel, SsoScope, UserKind};
use zonegate::machine::Clock;
use zonegate::sso::{Audience, ClientSecret, ProviderSettings};
use zonegate::store::{EventRow, NewUser, SsoSet, Store, StoreFault};
use zonegate::telemetry::{Actor, EventKind, SecurityEvent};

use crate::harness::{A, Answer, B, Gateway, Upstream, Visitor, WALL, Wishes, within};
use crate::provider::{CLIENT_SECRET, Provider};

/// The gateway's master key, as its tests have it.
const MASTER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Whom the provider knows unless it is told otherwise.
const ALICE: &str = "alice@acme.example";
const BOB: &str = "bob@acme.example";
/// An administrator.
const ROOT: &str = "root@acme.example";
/// Of another company: never at acme's provider.
const CAROL: &str = "carol@acme.example";
/// A program.
const BOT: &str = "bot@acme.example";
/// Whose account is off.
const IAN: &str = "ian@acme.example";

/// What people are told when it did not go well: one of these, whatever the reason.
const NEUTRAL: [&str; 4] = [
    "No account is set up for this identity. Ask your administrator.",
    "This log-in took too long, or was completed already. Begin again.",
    "The identity provider did not confirm the log-in.",
    "The identity provider cannot be reached at the moment. Try again in a moment.",
];

/// A gateway, a tenant's provider, an application.
struct World {
    gateway: Gateway,
    provider: Provider,
    upstream: Upstream,
    store: Store,
    acme: TenantId,
    /// How often the provider was made one that is not known yet.
    cold: Cell<u16>,
    _folder: TempDir,
}

fn now() -> UnixTime {
    Clock::new().now()
}

fn noted(kind: EventKind) -> SecurityEvent {
    SecurityEvent::new(kind, Actor::Operator, now())
}

fn name(text: &str) -> Username {
    text.parse().unwrap()
}

/// What the store says. A busy machine may let it wait for longer than a gateway would.
async fn patiently<T>(question: impl AsyncFn() -> Result<T, StoreFault>) -> T {
    within(async {
        loop {
            match question().await {
                Err(StoreFault::Unavailable(_)) => {}
                answer => return answer.unwrap(),
            }
        }
    })
    .await
}

fn location(answer: &Answer) -> String {
    let location = answer.location().unwrap_or_else(|| panic!("{} leads nowhere: {}", answer.url, answer.body));
    location.into()
}

impl World {
    /// Everybody of acme logs in at its provider.
    async fn start() -> Self {
        Self::start_for(SsoScope::All).await
    }

    async fn start_for(scope: SsoScope) -> Self {
        Self::start_with(scope, |_, _| String::new()).await
    }

    /// `sections`: what the configuration holds beside the way to providers.
    async fn start_with(scope: SsoScope, sections: impl Fn(&Provider, &Path) -> String) -> Self {
        let (upstream, provider, folder) =
            (Upstream::start().await, Provider::start().await, tempfile::tempdir().unwrap());
        let ca = folder.path().join("providers.pem");
        std::fs::write(&ca, provider.ca()).unwrap();
        let section =
            format!("sso: {{ networks: [127.0.0.0/8, '::1'], ca_file: '{}', timeout: 20s }}\n", ca.display());
        let section = section + &sections(&provider, folder.path());
        let with_section = |text: &str| format!("{section}{text}");
        let gateway = Gateway::start_edited(upstream.address(), Wishes::default(), with_section).await;
        let master = MasterKey::parse(MASTER).unwrap();
        let store = Store::open(&gateway.file("zonegate.db"), &master).await.unwrap();
        let acme = store.tenant_by_slug("acme").await.unwrap().unwrap().id;
        let world = Self { gateway, provider, upstream, store, acme, cold: Cell::new(0), _folder: folder };
        for (name, kind, level) in [
            (ALICE, UserKind::Regular, SecurityLevel::User),
            (BOB, UserKind::Contractor, SecurityLevel::User),
            (ROOT, UserKind::Regular, SecurityLevel::Admin),
            (CAROL, UserKind::CoManaged, SecurityLevel::User),
            (BOT, UserKind::ApiOnly, SecurityLevel::User),
            (IAN, UserKind::Regular, SecurityLevel::User),
        ] {
            world.person(name, kind, level).await;
        }
        world.store.set_active(world.id(IAN).await, false, &noted(EventKind::UserDisabled)).await.unwrap();
        world.is_provider_of(world.acme).await;
        world.is_for(scope, None).await;
        world
    }

    /// Enters somebody, with the password that everybody has here.
    async fn person(&self, username: &str, kind: UserKind, level: SecurityLevel) {
        let new = NewUser {
            username: name(username),
            email: Some(username.into()),
            display_name: username.split('@').next().unwrap().into(),
            kind,
            level,
            groups: Vec::new(),
            active: true,
            start_page: None,
        };
        let tenant = self.store.tenant_by_domain(new.username.domain()).await.unwrap().unwrap();
        let user = self.store.create_user(tenant.id, &new, &noted(EventKind::UserCreated)).await.unwrap();
        let wall = self.store.account(&name(WALL)).await.unwrap().unwrap().password.unwrap().hash;
        self.store.set_password(user, &wall, 5, &noted(EventKind::PasswordSet)).await.unwrap();
    }

    async fn id(&self, username: &str) -> UserId {
        self.store.account(&name(username)).await.unwrap().unwrap().user.id
    }

    /// The settings as an operator would make them.
    fn settings(&self) -> ProviderSettings {
        serde_json::from_value(self.provider.settings()).unwrap()
    }

    /// Gives a tenant this world's provider, tried.
    async fn is_provider_of(&self, tenant: TenantId) {
        let (settings, secret) = (self.settings(), ClientSecret::parse(CLIENT_SECRET));
        let changed = noted(EventKind::ProviderChanged);
        self.store.set_provider(tenant, &settings, secret.as_ref(), &changed).await.unwrap();
        let tested = noted(EventKind::ProviderTested);
        assert!(self.store.provider_was_tested(tenant, &settings, now(), &tested).await.unwrap());
    }

    /// Says who of acme must use it.
    async fn is_for(&self, scope: SsoScope, exempt: Option<UserId>) {
        let set = self.store.set_sso(self.acme, scope, exempt, &noted(EventKind::SsoChanged)).await.unwrap();
        assert_eq!(set, SsoSet::Yes);
    }

    /// Changes acme's provider settings. Nothing is known of the provider afterwards.
    async fn set(&self, change: impl FnOnce(&mut ProviderSettings)) {
        self.cold.set(self.cold.get() + 1);
        let mut settings = self.settings();
        settings.hosts = vec![format!("cold-{}.example", self.cold.get()).parse().unwrap()];
        change(&mut settings);
        // The gateway's clock goes in steps and may be behind: what is changed now could be of its next second, and no trial
        // that it makes now would be one of these settings.
        let at = UnixTime::from_seconds(now().seconds() - 2);
        let event = SecurityEvent { at, ..noted(EventKind::ProviderChanged) };
        self.store.set_provider(self.acme, &settings, None, &event).await.unwrap();
    }

    /// Somebody else at the provider: this subject, with this address.
    fn is(&self, subject: &str, email: &str) {
        let claims = serde_json::json!({ "email": email, "email_verified": true });
        self.provider.script(|script| {
            script.subject = subject.into();
            script.sid = format!("session-of-{subject}");
            script.claims = claims.clone();
            script.info = claims;
        });
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.gateway.authority(A))
    }

    fn url_in_b(&self, path: &str) -> String {
        format!("https://{}{path}", self.gateway.authority(B))
    }

    /// The same, below acme's own address.
    fn sso(&self, path: &str) -> String {
        self.url(&format!("/.zonegate/sso/acme{path}"))
    }

    fn browser(&self) -> Visitor {
        Visitor::before(&self.gateway)
    }

    /// Sets out: the gateway's answer.
    async fn set_out(&self, visitor: &Visitor) -> Answer {
        visitor.open(&self.sso("")).await
    }

    /// What the provider tells a browser that `answer` sends to it: where it goes from there.
    #[track_caller]
    fn at_provider(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{} {}", answer.url, answer.body);
        self.provider.authorize(&location(answer))
    }

    /// As far as the way back.
    async fn way_back(&self, visitor: &Visitor) -> String {
        let answer = self.set_out(visitor).await;
        self.at_provider(&answer)
    }

    /// The whole way. Where the gateway refuses to set out, that is its answer.
    async fn try_log_in(&self, visitor: &Visitor) -> Answer {
        let answer = self.set_out(visitor).await;
        if answer.status != StatusCode::SEE_OTHER {
            return answer;
        }
        let back = self.at_provider(&answer);
        visitor.open(&back).await
    }

    /// The same, into a session.
    async fn log_in(&self, visitor: &Visitor) -> Answer {
        let answer = self.try_log_in(visitor).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{} {}", answer.body, self.gateway.log());
        assert!(self.has_session(visitor), "{answer:?}");
        answer
    }

    fn has_session(&self, visitor: &Visitor) -> bool {
        visitor.cookie(&self.url("/"), "__Host-zg_session").is_some_and(|token| !token.is_empty())
    }

    /// Whom the application takes somebody for; `None`: it is not asked.
    async fn known_as(&self, visitor: &Visitor) -> Option<String> {
        self.upstream.received();
        visitor.ask(&self.url("/page")).await;
        let received = self.upstream.received();
        received.first().map(|request| request.all("x-forwarded-user").join(", "))
    }

    /// Waits until somebody's session is over: what another process ends, the gateway hears of in a moment.
    async fn is_ended(&self, visitor: &Visitor) {
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        let ended = async {
            while self.known_as(visitor).await.is_some() {
                interval.tick().await;
            }
        };
        within(ended).await;
    }

    async fn events(&self) -> Vec<EventRow> {
        let mut events = patiently(async || self.store.events(None, 1000).await).await;
        events.reverse();
        events
    }

    async fn live(&self) -> usize {
        patiently(async || self.store.live_sessions().await).await.len()
    }

    /// Everything that is kept about people: their accounts, links and sessions.
    async fn kept(&self) -> String {
        let accounts = patiently(async || self.store.accounts(None).await).await;
        let accounts: Vec<_> =
            accounts.iter().map(|account| (&account.user, account.attempts_used, account.locked_at)).collect();
        let mut links = patiently(async || self.store.links(self.acme, Audience::Tenant).await).await;
        links.extend(patiently(async || self.store.links(self.acme, Audience::Suite).await).await);
        format!("{accounts:#?} {links:#?} {}", self.live().await)
    }

    /// Looks what `work` comes to.
    async fn watched(&self, work: impl AsyncFnOnce() -> Answer) -> Seen {
        let (kept, seq) = (self.kept().await, self.events().await.last().map_or(0, |event| event.seq));
        self.provider.asked();
        self.upstream.received();
        let answer = work().await;
        let events = self.events().await.into_iter().filter(|event| event.seq > seq).collect();
        let asked = self.provider.asked().into_iter().map(|asked| asked.path).collect();
        let changed = self.kept().await != kept;
        self.upstream.assert_silent("a log-in is ours alone");
        Seen { answer, asked, events, changed }
    }
}

/// What something came to.
#[derive(Debug)]
struct Seen {
    answer: Answer,
    /// What the provider was asked, by its path.
    asked: Vec<String>,
    /// What is new in the security log.
    events: Vec<EventRow>,
    /// Whether anything about anybody is different.
    changed: bool,
}

impl Seen {
    /// P14: a neutral page that names the request, one line in the log with the reason, nothing else.
    #[track_caller]
    fn expect_refused(&self, what: &str, reason: &str, asked: &[&str]) {
        self.expect_refused_with(&NEUTRAL, what, reason, asked);
    }

    /// The same, with one of these texts.
    #[track_caller]
    fn expect_refused_with(&self, texts: &[&str], what: &str, reason: &str, asked: &[&str]) {
        let Self { answer, events, .. } = self;
        let told: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.reason.as_deref())).collect();
        assert_eq!(told, [("login_failed", Some(reason))], "{what}: {} {}", answer.status, answer.body);
        let from = (events[0].class.as_deref(), events[0].address.is_some());
        assert_eq!(from, (Some("web"), true), "R121: {what}");
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {}", answer.body);
        assert_eq!(texts.iter().filter(|text| answer.body.contains(**text)).count(), 1, "{what}: {}", answer.body);
        assert!(!answer.body.contains(reason), "{what}: {}", answer.body);
        let reference = format!("id=\"reference\">{}<", events[0].request.as_ref().unwrap());
        assert!(answer.body.contains(&reference) && answer.has("back"), "{what}: {}", answer.body);
        let cookies = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        let cookies: Vec<_> = cookies.filter(|cookie| !cookie.starts_with("__Host-zg_browser=")).collect();
        assert!(cookies.is_empty(), "{what}: {cookies:?}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
        assert_eq!(answer.headers["x-frame-options"], "DENY", "W5: {what}");
        assert_eq!(self.asked, asked, "{what}");
        assert!(!self.changed, "{what}: somebody's account has changed");
    }

    /// A session, and the line that says so.
    #[track_caller]
    fn expect_in(&self, what: &str, asked: &[&str]) {
        let Self { answer, events, .. } = self;
        let told: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.reason.as_deref())).collect();
        assert!(told.contains(&("login_succeeded", None)), "{what}: {told:?} {}", answer.body);
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{what}: {}", answer.body);
        assert_eq!(answer.location().unwrap().path(), "/", "{what}");
        assert_eq!(self.asked, asked, "{what}");
    }
}

/// A query's value.
fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The same address with that parameter changed, or left out.
fn with_parameter(url: &str, name: &str, value: Option<&str>) -> String {
    let mut url = Url::parse(url).unwrap();
    let pairs: Vec<_> =
        url.query_pairs().filter(|(key, _)| key != name).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    if let Some(value) = value {
        url.query_pairs_mut().append_pair(name, value);
    }
    url.into()
}

/// An edit of one claim, or of one member: `null` takes it away.
fn put(name: &'static str, value: serde_json::Value) -> crate::provider::Edit {
    Box::new(move |document| {
        let object = document.as_object_mut().unwrap();
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.into(), value.clone());
        }
    })
}
