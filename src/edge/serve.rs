//! Putting it together, running it, and stopping it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::access_log::{AccessLog, Opened, Writer};
use super::acme::{Acme, Challenges, Reloads};
use super::admin::AdminSocket;
use super::forward_auth;
use super::generation::{Generation, InUse};
use super::handover::{Handover, Inherited, Predecessor, PredecessorGone, Turn};
use super::listen::{Acceptor, Bound, Lane, Threads};
use super::proxy::{Edge, RequestIds};
use super::reload::{Reloader, Source};
use super::seldom::Seldom;
use super::status::{self, Room};
use super::streams::Streams;
use super::tls::{CertificateProblem, Certificates, install_provider};
use super::traces::Spans;
use super::upstream::{self, Mark, Peers};
use crate::config::Settings;
use crate::machine::{Clock, EntropyFault, random};
use crate::portal::metrics::Connections;
use crate::portal::{Control, Portal, PortalProblem};
use crate::store::{self, Hold, Store, StoreFault};
use crate::table::{KeyFault, KeyRing, SessionFault, Sessions};

/// How long the store may take to be closed. It is whole without that, too.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether a provider is to be told of a log-out.
const LOGOUT_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long connections may take to end once no request is under way.
const LAST_BYTES_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether what a stop waits for is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    /// What our pages work with.
    #[error(transparent)]
    Portal(#[from] PortalProblem),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    /// An address that cannot be listened on.
    #[error("{0} cannot be listened on: {1}. Stop what listens there, or name another address below `listen`")]
    Listen(String, std::io::Error),
    /// The way to the collector of traces.
    #[error("traces.otlp cannot be used: {0}")]
    Traces(String),
    /// The file of the access log.
    #[error("{0} cannot be written: {1}. Make its folder writable, or name another file below `log.access_file`")]
    AccessLog(String, std::io::Error),
    /// The process that started this one.
    #[error(transparent)]
    Predecessor(#[from] PredecessorGone),
    /// The system refused a thread or the like.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Everything that runs, opened and not yet listening.
pub struct Gateway {
    in_use: InUse,
    certificates: Arc<Certificates>,
    bound: Bound,
    admin: Option<AdminSocket>,
    background: Runtime,
    hold: Hold,
    predecessor: Option<Predecessor>,
    program: PathBuf,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// Opens the store, loads sessions and keys, and checks certificates and addresses. With a `predecessor`, everything
    /// is checked before the store is taken over from it.
    pub fn open(
        settings: Settings,
        mut inherited: Inherited,
        predecessor: Option<Predecessor>,
    ) -> Result<Self, ServeFault> {
        install_provider();
        // Whatever lies there later is started at an upgrade.
        let program = std::env::current_exe()?;
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("background")
            .enable_all()
            .build()?;
        // What the system allows, and not the soft limit that shells start programs with. If it says no, fewer
        // connections are taken.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        // A core dump would hold keys and passwords (K4). Lowering a limit is always allowed.
        let _ = rlimit::setrlimit(rlimit::Resource::CORE, 0, 0);
        let settings = Arc::new(settings);
        let clock = Arc::new(Clock::new());
        let certificates = Certificates::load(&settings, clock.now()).map_err(ServeFault::Certificates)?;
        let problems = upstream::check(&settings.zones);
        if !problems.is_empty() {
            return Err(ServeFault::Certificates(problems));
        }
        let bound = Bound::open(&settings.listeners, &mut inherited)
            .map_err(|(address, error)| ServeFault::Listen(address.to_string(), error))?;
        let admin =
            settings.listeners.admin.as_ref().map(|admin| AdminSocket::open(admin, &mut inherited)).transpose()?;
        for place in inherited.left() {
            tracing::warn!(place, "inherited a listening socket that no `listen` key names");
        }
        if let Some(predecessor) = &predecessor {
            predecessor.await_turn(&settings.store_path)?;
        }
        let hold = store::hold(&settings.store_path)?;
        let portal = background.block_on(async {
            let is_new = !settings.store_path.exists();
            let store = Store::open(&settings.store_path, &settings.master_key).await?;
            tell_of_emptiness(&store, &settings.store_path, is_new).await?;
            let sessions = Sessions::load(store.clone(), &settings.zones, Arc::clone(&clock)).await?;
            let keys = KeyRing::load(store.clone(), settings.assertion, clock.now()).await?;
            let portal = Portal::new(Arc::clone(&settings), store, sessions, keys, clock)?;
            Ok::<_, ServeFault>(portal)
        })?;
        portal.metrics.certificates(certificates.until());
        let peers = background.block_on(Peers::start(&settings, portal.metrics.upstreams(), None));
        let in_use = Arc::new(ArcSwap::from_pointee(Generation::new(1, portal, peers)));
        Ok(Self { in_use, certificates, bound, admin, background, hold, predecessor, program })
    }

    /// Listens and serves until `stop` or a signal, then waits for requests under way. `ready` is called once
    /// every listener answers. `source` is where a changed configuration is read; without one there is no reload.
    pub fn run(
        self,
        ready: impl FnOnce() + Send + 'static,
        stop: impl Future<Output = ()> + Send + 'static,
        source: Option<Arc<dyn Source>>,
    ) -> Result<(), ServeFault> {
        let mut running = self.start(source)?;
        ready();
        running.wait(stop);
        running.stop();
        Ok(())
    }

    /// Starts everything, and listens.
    fn start(self, source: Option<Arc<dyn Source>>) -> Result<Running, ServeFault> {
        let Self { in_use, certificates, mut bound, admin, background, hold, predecessor, program } = self;
        // Let go of at the end: once it is replaced, its keys and certificates have no business in memory.
        let first = in_use.load_full();
        let (settings, portal) = (&first.settings, &first.portal);
        let into = Opened::of(&settings.log).map_err(|error| no_access_log(settings, error))?;
        let spans = settings.traces.otlp.as_deref().map(Spans::to).transpose().map_err(ServeFault::Traces)?;
        let (log, log_writer) = AccessLog::start(into, &portal.metrics)?;
        let common = Common {
            in_use: Arc::clone(&in_use),
            streams: Arc::default(),
            log,
            spans: spans.map(Arc::new),
            turn: Turn::default(),
            challenges: Arc::default(),
            mark: Mark::new(random()?),
        };
        let (stop_accepting, stopping) = watch::channel(false);
        let threads = Threads::start(settings.threads)?;
        let lanes = common.lanes(&threads, portal)?;
        let counts = portal.metrics.connections().clone();
        let acceptor = Acceptor::new(lanes, Arc::clone(&certificates), Arc::clone(&in_use), counts, stopping);
        let mut sockets = bound.copies()?;
        sockets.extend(admin.as_ref().map(AdminSocket::copy).transpose()?);
        let (done, handed_over) = watch::channel(false);
        let handover = Arc::new(Handover {
            in_use: Arc::clone(&in_use),
            acceptor: Arc::clone(&acceptor),
            turn: common.turn.clone(),
            hold: tokio::sync::Mutex::new(Some(hold)),
            sockets,
            program,
            done,
            stop: stop_accepting.clone(),
        });
        let reloads = Arc::new(Reloads::default());
        let reloader = Arc::new(Reloader {
            in_use: Arc::clone(&in_use),
            certificates,
            redirect: log_writer.redirect(),
            source,
            turn: tokio::sync::Mutex::default(),
            upgrade: tokio::sync::Mutex::default(),
            handover: Arc::clone(&handover),
            reloads: Arc::clone(&reloads),
        });
        let (challenges, turn) = (Arc::clone(&common.challenges), common.turn.clone());
        background.spawn(Acme { reloader: Arc::clone(&reloader), challenges, turn, reloads }.run());
        let administered = background.block_on(async {
            let serve = |admin: AdminSocket| admin.serve(Arc::clone(&reloader), handed_over.clone());
            let administered = admin.map(serve).transpose()?;
            watch_signals(&reloader).map(|()| administered)
        })?;
        let room = Arc::new(Room::default());
        for listener in bound.take_status() {
            let router = crate::portal::status_router(Arc::clone(&reloader) as Arc<dyn Control>);
            background.spawn(status::serve(listener, router, Arc::clone(&room), handed_over.clone()));
        }
        run_clock(&portal.clock)?;
        spawn_background(&background, &first, &common.streams, &in_use);
        background.spawn(retry_provider_logouts(Arc::clone(&in_use), handed_over.clone()));
        background.spawn(Arc::clone(&acceptor).watch());
        if let Some(listener) = bound.take_forward_auth() {
            common.answer_proxies(&listener, &threads, &handed_over)?;
        }
        background.block_on(async { acceptor.open(bound) })?;
        if let Some(predecessor) = predecessor {
            predecessor.serving()?;
        }
        let Common { streams, spans, .. } = common;
        Ok(Running {
            in_use,
            streams,
            background,
            threads,
            acceptor,
            handover,
            handed_over,
            stop_accepting,
            administered,
            log_writer,
            spans,
        })
    }
}

/// What all request threads work with.
struct Common {
    in_use: InUse,
    streams: Arc<Streams>,
    log: AccessLog,
    spans: Option<Arc<Spans>>,
    turn: Turn,
    challenges: Arc<Challenges>,
    mark: Mark,
}

impl Common {
    /// A way through for each thread.
    fn lanes(&self, threads: &Threads, portal: &Portal) -> Result<Vec<Lane>, ServeFault> {
        let how = Arc::new(proxy_settings());
        let lane = |runtime| {
            let mut proxy = http_proxy(&how, self.edge(portal)?);
            // CONNECT is refused here as everything is, with an answer of ours.
            let mut options = HttpServerOptions::default();
            options.allow_connect_method_proxying = true;
            proxy.server_options = Some(options);
            Ok(Lane::new(runtime, proxy))
        };
        threads.runtimes().map(lane).collect()
    }

    fn edge(&self, portal: &Portal) -> Result<Edge, ServeFault> {
        Ok(Edge {
            in_use: Arc::clone(&self.in_use),
            sessions: Arc::clone(&portal.sessions),
            keys: Arc::clone(&portal.keys),
            clock: Arc::clone(&portal.clock),
            streams: Arc::clone(&self.streams),
            log: self.log.clone(),
            spans: self.spans.clone(),
            turn: self.turn.clone(),
            challenges: Arc::clone(&self.challenges),
            ids: request_ids()?,
            mark: self.mark.clone(),
            unsaid: Seldom::default(),
            faults: Seldom::default(),
        })
    }

    /// Answers proxies that ask. Each thread takes from one queue: they keep a few connections and spread over all.
    fn answer_proxies(
        &self,
        listener: &std::net::TcpListener,
        threads: &Threads,
        handed_over: &watch::Receiver<bool>,
    ) -> Result<(), ServeFault> {
        for runtime in threads.runtimes() {
            let (in_use, log, turn) = (Arc::clone(&self.in_use), self.log.clone(), self.turn.clone());
            let (ids, unread) = (request_ids()?, Seldom::default());
            let responder = forward_auth::Responder { in_use, log, turn, ids, unread };
            runtime.spawn(forward_auth::serve(listener.try_clone()?, responder, handed_over.clone()));
        }
        Ok(())
    }
}

fn request_ids() -> Result<RequestIds, ServeFault> {
    Ok(RequestIds { beginning: random()?, count: AtomicU64::new(0) })
}

/// Everything that runs, and listens.
struct Running {
    in_use: InUse,
    streams: Arc<Streams>,
    background: Runtime,
    threads: Threads,
    acceptor: Arc<Acceptor>,
    handover: Arc<Handover>,
    /// Turns true once another process serves.
    handed_over: watch::Receiver<bool>,
    stop_accepting: watch::Sender<bool>,
    /// Ends with the admin listener's last answer.
    administered: Option<JoinHandle<std::io::Result<()>>>,
    log_writer: Writer,
    spans: Option<Arc<Spans>>,
}

impl Running {
    /// Returns when it is to stop, or another process has taken over.
    fn wait(&mut self, stop: impl Future<Output = ()> + Send + 'static) {
        let handed_over = &mut self.handed_over;
        self.background.block_on(async {
            tokio::select! {
                () = stop => {}
                () = signalled() => {}
                _ = handed_over.wait_for(|done| *done) => {}
            }
        });
    }

    /// Takes no further connection, waits for what is under way, and writes what is to be written.
    fn stop(self) {
        let Self { in_use, streams, background, threads, acceptor, handover, administered, .. } = self;
        self.stop_accepting.send_replace(true);
        background.block_on(handover.settled());
        let handed_over = handover.turn.is_over();
        let last = in_use.load_full();
        let (settings, portal) = (&last.settings, &last.portal);
        background.block_on(async {
            if handed_over {
                // Idle connections may carry one more request each: their clients do not know yet. Once their time is over
                // there are none, and whatever is under way was asked for before. Nobody waits for this process to end, and
                // what it still carries has its own limits, of which a session's end is the last. What is nobody's has none.
                streams.let_go_within(settings.limits.drain_max.into());
                tokio::select! {
                    () = ends(&acceptor) => {}
                    () = signalled() => {}
                }
                // Whoever asked for the upgrade is being told of it.
                if let Some(administered) = administered {
                    let _ = tokio::time::timeout(LAST_BYTES_MAX, administered).await;
                }
            }
            acceptor.let_go().await;
            drain(&acceptor, portal.metrics.connections(), settings.limits.drain_max.into()).await;
        });
        threads.stop();
        background.block_on(async {
            if !handed_over && let Err(fault) = portal.sessions.flush().await {
                tracing::error!(%fault, "the last activity of some sessions was not written");
            }
            // One that is stuck must not keep the process.
            let _ = tokio::time::timeout(CLOSE_MAX, portal.store.close()).await;
        });
        self.log_writer.finish();
        if let Some(spans) = self.spans {
            spans.finish();
        }
        background.shutdown_timeout(Duration::from_secs(1));
        // And with it the hold on the store, unless another process has it.
        drop(handover);
    }
}

/// Nobody can log in from an empty store, and no page says why. As a rule it is not the one that was meant: a volume that is
/// not mounted, or another path.
async fn tell_of_emptiness(store: &Store, path: &Path, is_new: bool) -> Result<(), StoreFault> {
    if store.tenants().await?.is_empty() {
        let what = if is_new { "the store was just made" } else { "the store has no tenant" };
        tracing::warn!(
            store = %path.display(),
            "{what}: nobody can log in. Put tenants and users into it (`zonegate apply`), or name another file in store.path"
        );
    }
    Ok(())
}

fn proxy_settings() -> ServerConf {
    // Tries in all; which of them are safe, `upstream::Attempts` says.
    ServerConf { max_retries: 3, ..ServerConf::default() }
}

/// Waits for requests under way, as long as they take and no longer than allowed, and then a moment for the last bytes of
/// answers, which HTTP/2 writes once a request is over.
async fn drain(acceptor: &Acceptor, counts: &Connections, allowed: Duration) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    let requests = async {
        while counts.requests_under_way() > 0 {
            interval.tick().await;
        }
    };
    if tokio::time::timeout(allowed, requests).await.is_err() {
        tracing::warn!(requests = counts.requests_under_way(), "requests were cut off at the stop");
        return;
    }
    // Who is still there has asked for nothing.
    let _ = tokio::time::timeout(LAST_BYTES_MAX, ends(acceptor)).await;
}

/// Waits until no connection is open.
async fn ends(acceptor: &Acceptor) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    while !acceptor.is_empty() {
        interval.tick().await;
    }
}

/// The clock has a thread and a runtime of its own. On the one it watches, it would stand still together with
/// everything whose lateness it is there to show.
fn run_clock(clock: &Arc<Clock>) -> std::io::Result<()> {
    let clock = Arc::clone(clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("clock".into()).spawn(move || runtime.block_on(clock.run()))?;
    Ok(())
}

fn spawn_background(background: &Runtime, first: &Generation, streams: &Arc<Streams>, in_use: &InUse) {
    let portal = &first.portal;
    background.spawn(first.peers.silences().run());
    background.spawn(Arc::clone(&portal.sessions).run());
    background.spawn(Arc::clone(&portal.keys).run(Arc::clone(&portal.clock)));
    let (streams, in_use) = (Arc::clone(streams), Arc::clone(in_use));
    background.spawn(async move { streams.run(&in_use).await });
}

/// Tells providers of log-outs again that they could not be told of, until another process does (D19).
async fn retry_provider_logouts(in_use: InUse, mut handed_over: watch::Receiver<bool>) {
    let mut interval = tokio::time::interval(LOGOUT_RETRY_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = async { drop(handed_over.wait_for(|over| *over).await) } => return,
        }
        let portal = Arc::clone(&in_use.load().portal);
        if let Err(fault) = portal.retry_provider_logouts(portal.clock.now()).await {
            tracing::warn!(%fault, "providers could not be told of log-outs; they will be");
        }
    }
}

fn no_access_log(settings: &Settings, error: std::io::Error) -> ServeFault {
    let path = settings
        .log
        .access_file
        .as_ref()
        .map_or_else(|| "standard error".into(), |path| path.display().to_string());
    ServeFault::AccessLog(path, error)
}

/// Reloads on SIGHUP and when files change, hands over on SIGUSR2, and opens the access log anew on SIGUSR1, as nginx
/// does. Without a source SIGHUP and SIGUSR2 end the process, as the system has it.
fn watch_signals(reloader: &Arc<Reloader>) -> std::io::Result<()> {
    let rotated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1())?;
    tokio::spawn(Arc::clone(reloader).on_rotation(rotated));
    if let Some(source) = &reloader.source {
        let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        tokio::spawn(Arc::clone(reloader).on_signal(hangup));
        tokio::spawn(Arc::clone(reloader).on_change(Arc::clone(source)));
        let upgrade = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined2())?;
        tokio::spawn(Arc::clone(reloader).on_upgrade(upgrade));
    }
    Ok(())
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
