//! zonegate as an operator runs it, with one user who is logged in already.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zonegate::base::{FlowId, MasterKey, TenantId};
use zonegate::config::{self, Surroundings};
use zonegate::credential::TotpSecret;
use zonegate::directory::{
    Lifetimes, SecurityLevel, SecurityOverrides, Slots, SsoScope, SuiteAccess, Tenant, TotpPeriod, UserKind,
};
use zonegate::login::{AfterPassword, Authenticator, AwaitPassword, Claimant, Proven};
use zonegate::machine::{Clock, random};
use zonegate::session::{Class, Device};
use zonegate::store::{NewUser, Store};
use zonegate::table::{Begun, NewSession, Sessions};
use zonegate::telemetry::{Actor, EventKind, SecurityEvent};

use super::{Certificate, HOST, crowd};

/// A configuration to serve, and the cookie of its one session, or those of some of its many.
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

/// Puts everything into `folder`, which it makes. With a `crowd` of people, each of them has a session.
pub(crate) async fn prepare(
    folder: &Path,
    upstream: SocketAddr,
    certificate: &Certificate,
    access_log: bool,
    crowd: Option<u64>,
    way: LogIn,
) -> SetUp {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).expect("a directory");
    let master = MasterKey::from_bytes(random().expect("randomness"));
    let key_file = folder.join("master.key");
    std::fs::write(&key_file, master.reveal()).expect("a file");
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).expect("a private file");
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let text = format!(
        "listen: {{ https: [127.0.0.1:{port}] }}\nmaster_key: file:master.key\nstore: {{ path: store.db }}\nthreads: 1\n\
         log: {{ access: {access_log} }}\nnative_clients: [{{ id: bench, label: Bench }}]\n\
         limits: {{ connections_per_source: 100000, logins_per_source: 1000000 }}\ncertificates: {{ files: [{{ chain: {}, key: {} }}] }}\n\
         zones: [{{ host: {HOST}, upstream: {{ url: \"http://{upstream}\" }} }}]\n",
        certificate.chain.display(),
        certificate.key.display(),
    );
    let config = folder.join("zonegate.yaml");
    std::fs::write(&config, &text).expect("a file");
    let settings = config::load(&text, &config.to_string_lossy(), &Folder).expect("a configuration that is right");
    let store = Store::open(&settings.store_path, &master).await.expect("a new store");
    let cookie = begin_session(&store, &settings, way).await;
    store.close().await;
    let cookies = match crowd {
        None => vec![cookie],
        Some(count) => {
            crowd::fill(&settings.store_path, count, Clock::new().now()).await;
            // From all over the crowd.
            let serials = (0..count).step_by(usize::try_from((count / IN_USE).max(1)).expect("a step"));
            let serials = serials.take(IN_USE as usize);
            serials.map(|serial| format!("__Host-zg_session={}", crowd::token(serial).reveal())).collect()
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

/// Takes the shortest way that the flow's types allow.
async fn begin_session(store: &Store, settings: &config::Settings, way: LogIn) -> String {
    let clock = Arc::new(Clock::new());
    let now = clock.now();
    let event = |kind| SecurityEvent::new(kind, Actor::System, now);
    let zone = Arc::clone(settings.zones.zones().first().expect("one zone"));
    let tenant = Tenant {
        id: TenantId::from_bytes([1; 16]),
        slug: "bench".into(),
        name: "Bench".into(),
        zone: zone.host.clone(),
        domains: vec!["bench.example".parse().expect("a domain")],
        suite: SuiteAccess::default(),
        sso: SsoScope::Off,
        sso_exempt: None,
        overrides: SecurityOverrides::default(),
    };
    store.create_tenant(&tenant, &event(EventKind::TenantChanged)).await.expect("a tenant");
    let user = NewUser {
        username: "wall@bench.example".parse().expect("a username"),
        email: Some("wall@bench.example".into()),
        display_name: "Wall".into(),
        kind: UserKind::Dashboard,
        level: SecurityLevel::User,
        groups: vec!["staff".into()],
        active: true,
        start_page: None,
    };
    store.create_user(tenant.id, &user, &event(EventKind::UserCreated)).await.expect("a user");
    let account = store.account(&user.username).await.expect("the store").expect("the user");
    let claimant = Claimant::of(&account.user);
    let proven = match way {
        LogIn::Local => {
            let (secret, period) = (TotpSecret::from_bytes([0; 20]), TotpPeriod::Thirty);
            let missing = Authenticator::Missing { secret, period };
            match AwaitPassword::new(user.username).password_was_right(claimant, missing, now) {
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
    let sessions = Sessions::load(store.clone(), &settings.zones, clock).await.expect("sessions");
    let new = NewSession {
        proven: &proven,
        flow: FlowId::from_bytes([2; 16]),
        account: &account,
        zone: &zone,
        class: Class::Web,
        device: Device::default(),
        slots: Slots::default(),
        lifetimes: Lifetimes::default(),
        leaving: Vec::new(),
        event: event(EventKind::LoginSucceeded),
    };
    match sessions.begin(new, now).await.expect("a session") {
        Begun::Session(_, token) => format!("__Host-zg_session={}", token.reveal()),
        other @ (Begun::Full(_) | Begun::FlowSpent | Begun::EpochStale) => {
            panic!("a first session must begin: {other:?}")
        }
    }
}
