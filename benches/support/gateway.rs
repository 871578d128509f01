//! zonegate as an operator runs it, with one user who is logged in already.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zonegate::base::{FlowId, MasterKey, SessionToken, TenantId, UnixTime};
use zonegate::config::{self, Surroundings};
use zonegate::credential::TotpSecret;
use zonegate::directory::{
    Lifetimes, SecurityLevel, SecurityOverrides, Slots, SsoScope, SuiteAccess, Tenant, TotpPeriod, UserKind,
};
use zonegate::login::{AfterPassword, Authenticator, AwaitPassword, Claimant, Proven};
use zonegate::machine::{Clock, random};
use zonegate::session::{Class, Device};
use zonegate::store::{Account, NewUser, Store};
use zonegate::table::{Begun, NewSession, Sessions};
use zonegate::telemetry::{Actor, EventKind, SecurityEvent};
use zonegate::zone::Zone;

use super::{Certificate, HOST, crowd, free_port};

/// A configuration to serve, and the cookie of its one session, if it has one, or those of some of its many.
pub(crate) struct SetUp {
    pub(crate) config: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) cookies: Vec<String>,
}

/// How many of many sessions are used at the same time: so many that no cache of the processor holds them, and so few
/// that each one's assertion, which is signed once a minute, costs the same in a crowd as elsewhere.
const IN_USE: u64 = 8192;

/// The disk, without the checks of modes: the files are this program's own.
struct Folder;

impl Surroundings for Folder {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    }
    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.read(path)
    }
    fn list(&self, _: &Path) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn variables(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl SetUp {
    /// Its store and settings, while no gateway runs.
    pub(crate) async fn open(&self) -> (Store, config::Settings) {
        let text = std::fs::read_to_string(&self.config).expect("the file that was written");
        let settings = config::load(&text, &self.config.to_string_lossy(), &Folder).expect("the same as before");
        let store = Store::open(&settings.store_path, &settings.master_key).await.expect("the store");
        (store, settings)
    }
}

/// Puts everything into `folder`, which it makes. With a `crowd` of people, each of them has a session. Without a `way`
/// to log in, nobody has one, and every path is public. Without a certificate, TLS has ended before it.
pub(crate) async fn prepare(
    folder: &Path,
    upstream: SocketAddr,
    certificate: Option<&Certificate>,
    access_log: bool,
    crowd: Option<u64>,
    way: Option<LogIn>,
) -> SetUp {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).expect("a directory");
    let master = MasterKey::from_bytes(random().expect("randomness"));
    let key_file = folder.join("master.key");
    std::fs::write(&key_file, master.reveal()).expect("a file");
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).expect("a private file");
    let port = free_port();
    let rules = if way.is_none() { "access: [{ below: /, allow: public }], " } else { "" };
    let listen = match certificate {
        None => format!("listen: {{ behind_tls: [127.0.0.1:{port}], trusted_proxies: [127.0.0.1] }}\n"),
        Some(certificate) => format!(
            "listen: {{ https: [127.0.0.1:{port}] }}\ncertificates: {{ files: [{{ chain: {}, key: {} }}] }}\n",
            certificate.chain.display(),
            certificate.key.display(),
        ),
    };
    let text = format!(
        "{listen}master_key: file:master.key\nstore: {{ path: store.db }}\nthreads: 1\n\
         log: {{ access: {access_log} }}\nnative_clients: [{{ id: bench, label: Bench }}]\n\
         limits: {{ connections_per_source: 100000, logins_per_source: 1000000 }}\n\
         zones: [{{ host: {HOST}, {rules}upstream: {{ url: \"http://{upstream}\" }} }}]\n",
    );
    let config = folder.join("zonegate.yaml");
    std::fs::write(&config, &text).expect("a file");
    let settings = config::load(&text, &config.to_string_lossy(), &Folder).expect("a configuration that is right");
    let store = Store::open(&settings.store_path, &master).await.expect("a new store");
    let zone = settings.zones.zones().first().expect("one zone");
    let clock = Arc::new(Clock::new());
    let now = clock.now();
    create_tenant(&store, zone, now).await;
    let cookie = match way {
        None => None,
        Some(way) => {
            let account = create_person(&store, "wall", now).await;
            let sessions = Sessions::load(store.clone(), &settings.zones, clock).await.expect("sessions");
            Some(cookie_of(&begin(&sessions, zone, &account, way, now).await))
        }
    };
    store.close().await;
    let cookies = match crowd {
        None => cookie.into_iter().collect(),
        Some(count) => {
            crowd::fill(&settings.store_path, count, now).await;
            // From all over the crowd.
            let serials = (0..count).step_by(usize::try_from((count / IN_USE).max(1)).expect("a step"));
            let serials = serials.take(IN_USE as usize);
            serials.map(|serial| cookie_of(&crowd::token(serial))).collect()
        }
    };
    SetUp { config, address: SocketAddr::from(([127, 0, 0, 1], port)), cookies }
}

/// How the session of the bench was proved.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogIn {
    /// With a password: a screen on a wall, which needs no second factor.
    Local,
    /// By the word of the tenant's own provider.
    SingleSignOn,
}

fn cookie_of(token: &SessionToken) -> String {
    format!("__Host-zg_session={}", token.reveal())
}

/// The only tenant of the bench.
const TENANT: TenantId = TenantId::from_bytes([1; 16]);

fn event(kind: EventKind, now: UnixTime) -> SecurityEvent {
    SecurityEvent::new(kind, Actor::System, now)
}

pub(crate) async fn create_tenant(store: &Store, zone: &Zone, now: UnixTime) {
    let tenant = Tenant {
        id: TENANT,
        slug: "bench".into(),
        name: "Bench".into(),
        zone: zone.host.clone(),
        domains: vec!["bench.example".parse().expect("a domain")],
        suite: SuiteAccess::default(),
        sso: SsoScope::Off,
        sso_exempt: None,
        overrides: SecurityOverrides::default(),
    };
    store.create_tenant(&tenant, &event(EventKind::TenantChanged, now)).await.expect("a tenant");
}

/// A screen on a wall, which needs no second factor.
pub(crate) async fn create_person(store: &Store, name: &str, now: UnixTime) -> Account {
    let user = NewUser {
        username: format!("{name}@bench.example").parse().expect("a username"),
        email: Some(format!("{name}@bench.example")),
        display_name: "Wall".into(),
        kind: UserKind::Dashboard,
        level: SecurityLevel::User,
        groups: vec!["staff".into()],
        active: true,
        start_page: None,
    };
    store.create_user(TENANT, &user, &event(EventKind::UserCreated, now)).await.expect("a user");
    store.account(&user.username).await.expect("the store").expect("the user")
}

/// Begins a session by the shortest way that the flow's types allow.
pub(crate) async fn begin(
    sessions: &Sessions,
    zone: &Arc<Zone>,
    account: &Account,
    way: LogIn,
    now: UnixTime,
) -> SessionToken {
    let claimant = Claimant::of(&account.user);
    let proven = match way {
        LogIn::Local => {
            let (secret, period) = (TotpSecret::from_bytes([0; 20]), TotpPeriod::Thirty);
            let missing = Authenticator::Missing { secret, period };
            match AwaitPassword::new(account.user.username.clone()).password_was_right(claimant, missing, now) {
                AfterPassword::Done(proven) => proven,
                AfterPassword::Code(_) | AfterPassword::Enrolment(_) => panic!("a screen needs no second factor"),
            }
        }
        LogIn::SingleSignOn => {
            let proof = serde_json::json!({
                "audience": "tenant", "issuer": "https://login.bench.example", "subject": "248289761001", "sid": "s-1",
            });
            Proven::by_provider(claimant, serde_json::from_value(proof).expect("a proof"), now)
        }
    };
    let new = NewSession {
        proven: &proven,
        flow: FlowId::from_bytes(random().expect("randomness")),
        account,
        zone,
        class: Class::Web,
        device: Device::default(),
        slots: Slots::default(),
        lifetimes: Lifetimes::default(),
        leaving: Vec::new(),
        endings_at_provider: Vec::new(),
        event: event(EventKind::LoginSucceeded, now),
    };
    match sessions.begin(new, now).await.expect("a session") {
        Begun::Session(_, token) => token,
        other @ (Begun::Full(_) | Begun::FlowSpent | Begun::EpochStale) => {
            panic!("a first session must begin: {other:?}")
        }
    }
}
