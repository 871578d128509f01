//! Putting it together, running it, and stopping it.

use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::listeners::ListenerConfig;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::ProxyServiceBuilder;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use tokio::runtime::Runtime;

use super::access_log::AccessLog;
use super::proxy::{Edge, RequestIds};
use super::streams::Streams;
use super::tls::{CertificateProblem, Certificates, Opened, install_provider};
use super::upstream::{self, Peers};
use crate::config::{AdminListener, Settings};
use crate::machine::{Clock, EntropyFault, random};
use crate::portal::Portal;
use crate::portal::verifier::VerifierProblem;
use crate::store::{self, Hold, Store, StoreFault};
use crate::table::{KeyFault, KeyRing, SessionFault, Sessions};

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// Certificates that cannot be used, or are missing.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Certificates(Vec<CertificateProblem>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The sessions in it.
    #[error(transparent)]
    Sessions(#[from] SessionFault),
    /// The signing keys in it.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// The password verifier.
    #[error(transparent)]
    Verifier(#[from] VerifierProblem),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    /// An address that cannot be listened on.
    #[error("{0} cannot be listened on: {1}. Stop what listens there, or name another address below `listen`")]
    Listen(String, std::io::Error),
    /// The system refused a thread or the like.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
    /// A TLS listener could not be made.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Everything that runs, opened and not yet listening.
pub struct Gateway {
    settings: Arc<Settings>,
    portal: Arc<Portal>,
    certificates: Arc<Certificates>,
    background: Runtime,
    hold: Hold,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// Opens the store, loads sessions and keys, and checks certificates and addresses.
    pub fn open(settings: Settings) -> Result<Self, ServeFault> {
        install_provider();
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("background")
            .enable_all()
            .build()?;
        let settings = Arc::new(settings);
        let clock = Arc::new(Clock::new());
        let certificates = Certificates::load(&settings.certificates, &settings.zones, clock.now())
            .map_err(ServeFault::Certificates)?;
        let problems = upstream::check(&settings.zones);
        if !problems.is_empty() {
            return Err(ServeFault::Certificates(problems));
        }
        for address in settings.listeners.https.iter().chain(&settings.listeners.http) {
            std::net::TcpListener::bind(address)
                .map_err(|error| ServeFault::Listen(address.to_string(), error))?;
        }
        let hold = store::hold(&settings.store_path)?;
        let portal = background.block_on(async {
            let store = Store::open(&settings.store_path, &settings.master_key).await?;
            let sessions = Sessions::load(store.clone(), &settings.zones, Arc::clone(&clock)).await?;
            let keys = KeyRing::load(store.clone(), settings.assertion, clock.now()).await?;
            let portal = Portal::new(Arc::clone(&settings), store, sessions, keys, clock)?;
            Ok::<_, ServeFault>(Arc::new(portal))
        })?;
        Ok(Self { settings, portal, certificates, background, hold })
    }

    /// Listens and serves until `stop` or a signal, then waits for requests under way. `ready` is called once
    /// every listener answers.
    pub fn run(
        self,
        ready: impl FnOnce() + Send + 'static,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeFault> {
        let Self { settings, portal, certificates, background, hold } = self;
        let streams = Arc::new(Streams::default());
        let under_way = Arc::new(AtomicUsize::new(0));
        let (log, log_writer) = AccessLog::start(settings.log.access)?;
        let edge = Edge {
            router: crate::portal::router(Arc::clone(&portal)),
            sessions: Arc::clone(&portal.sessions),
            keys: Arc::clone(&portal.keys),
            clock: Arc::clone(&portal.clock),
            peers: background.block_on(Peers::start(&settings, &portal.metrics.upstreams, None)),
            streams: Arc::clone(&streams),
            log,
            under_way: Arc::clone(&under_way),
            ids: RequestIds { beginning: random()?, count: AtomicU64::new(0) },
            settings: Arc::clone(&settings),
            portal: Arc::clone(&portal),
        };
        let server = server(&settings, edge, &certificates)?;
        let admin = settings.listeners.admin.clone();
        background.block_on(listen_admin(admin, &portal))?;
        run_clock(&portal.clock)?;
        spawn_background(&background, &portal, &streams);
        background.spawn(announce(settings.listeners.https.clone(), ready));
        let drain = Duration::from_secs(u64::from(settings.limits.drain_max.seconds()));
        let watch = StopWatch { stop: tokio::sync::Mutex::new(Some(Box::pin(stop))), under_way, drain };
        server.run(RunArgs { shutdown_signal: Box::new(watch) });
        background.block_on(async {
            if let Err(fault) = portal.sessions.flush().await {
                tracing::error!(%fault, "the last activity of some sessions was not written");
            }
            portal.store.close().await;
        });
        log_writer.finish();
        background.shutdown_timeout(Duration::from_secs(1));
        drop(hold);
        Ok(())
    }
}

fn server(settings: &Settings, edge: Edge, certificates: &Arc<Certificates>) -> Result<Server, ServeFault> {
    let conf = ServerConf {
        threads: settings.threads,
        work_stealing: true,
        // Tries in all; which of them are safe, `upstream::Attempts` says.
        max_retries: 3,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        // Hot upgrades are not offered yet; a shared default path must not be created by accident.
        upgrade_sock: String::new(),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(Duration::from_secs(u64::from(settings.limits.keepalive_max.seconds())));
    let mut service = ProxyServiceBuilder::new(&server.configuration, edge).server_options(options).build();
    for address in &settings.listeners.https {
        let opened = Box::new(Opened(Arc::clone(certificates)));
        let mut tls = TlsSettings::with_callbacks(opened).map_err(|error| ServeFault::Tls(error.to_string()))?;
        tls.set_cert_resolver(Arc::clone(certificates) as Arc<_>);
        tls.enable_h2();
        service.add_listener(ListenerConfig::tcp(address.to_string()).tls(tls));
    }
    for address in &settings.listeners.http {
        service.add_listener(ListenerConfig::tcp(address.to_string()));
    }
    server.add_service(service);
    Ok(server)
}

/// The clock has a thread and a runtime of its own. On the one it watches, it would stand still together with
/// everything whose lateness it is there to show.
fn run_clock(clock: &Arc<Clock>) -> std::io::Result<()> {
    let clock = Arc::clone(clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("clock".into()).spawn(move || runtime.block_on(clock.run()))?;
    Ok(())
}

fn spawn_background(background: &Runtime, portal: &Arc<Portal>, streams: &Arc<Streams>) {
    background.spawn(Arc::clone(&portal.sessions).run());
    background.spawn(Arc::clone(&portal.keys).run(Arc::clone(&portal.clock)));
    let (streams, clock) = (Arc::clone(streams), Arc::clone(&portal.clock));
    background.spawn(async move { streams.run(&clock).await });
}

/// Opens the admin listener, where only this machine's people come.
async fn listen_admin(admin: Option<AdminListener>, portal: &Arc<Portal>) -> Result<(), ServeFault> {
    let router = crate::portal::admin_router(Arc::clone(portal));
    match admin {
        None => {}
        Some(AdminListener::Loopback(address)) => {
            let refused = |error| ServeFault::Listen(address.to_string(), error);
            let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
        Some(AdminListener::Unix(path)) => {
            let listener =
                unix_listener(&path).map_err(|error| ServeFault::Listen(path.display().to_string(), error))?;
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
    }
    Ok(())
}

fn unix_listener(path: &PathBuf) -> std::io::Result<tokio::net::UnixListener> {
    // A socket that nobody answers on is the remains of a process that was killed.
    if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Calls `ready` once every listener takes connections.
async fn announce(addresses: Vec<SocketAddr>, ready: impl FnOnce() + Send) {
    for address in addresses {
        let reachable = if address.ip().is_unspecified() {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
        } else {
            address
        };
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        while tokio::net::TcpStream::connect(reachable).await.is_err() {
            interval.tick().await;
        }
    }
    ready();
}

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits for a reason to stop, and then for what is under way: as long as that takes, and no longer than allowed.
struct StopWatch {
    stop: tokio::sync::Mutex<Option<Stop>>,
    under_way: Arc<AtomicUsize>,
    drain: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for StopWatch {
    async fn recv(&self) -> ShutdownSignal {
        let asked = async {
            match self.stop.lock().await.take() {
                Some(stop) => stop.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = asked => {}
            () = signalled() => {}
        }
        let drained = async {
            let mut interval = tokio::time::interval(Duration::from_millis(20));
            while self.under_way.load(Ordering::Acquire) > 0 {
                interval.tick().await;
            }
        };
        if tokio::time::timeout(self.drain, drained).await.is_err() {
            tracing::warn!(requests = self.under_way.load(Ordering::Acquire), "requests were cut off at the stop");
        }
        ShutdownSignal::FastShutdown
    }
}

/// SIGTERM, SIGINT or SIGQUIT. Without a handler the system's own default ends the process, which is what was asked.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::quit()) => {}
    }
}
