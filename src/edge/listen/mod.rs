//! The listeners: from an accepted socket to a connection that pingora speaks HTTP on.
//!
//! *Why not pingora's own?* They begin with TLS: what comes before it (a PROXY header, a source's share of the
//! connections, a deadline for the handshake) has no place there, nor has a deadline for a request's head, a choice of
//! the TLS settings by the name that the client asks for, or a stop that waits for what is under way and no longer.
//! The price is the loop below, and that pingora has no place for what a request needs to know of its connection: its
//! [`Arrival`] travels beside it.
//!
//! A connection that is refused here (no share left, no handshake, late) is closed without a word, counted, and costs
//! nothing further. Nothing here can stop the loop: a fault of one connection ends that connection.

mod arrival;
mod connection;
mod lanes;
mod last_waker;
pub mod proxy_header;
mod socket;
mod sources;
mod watch;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp as _};
use pingora::protocols::ALPN;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use socket2::{Domain, SockRef, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch as signal;

use self::arrival::arriving;
pub(super) use self::arrival::{Arrival, Origin, Transport};
use self::connection::Connection;
pub(super) use self::lanes::{Lane, Threads};
use self::last_waker::LastWaker;
use self::socket::Socket;
pub(super) use self::sources::{Place, Sources};
use self::watch::{Allowed, Watches};
use super::generation::InUse;
use super::handover::Inherited;
use super::proxy::Edge;
use super::seldom::Seldom;
use super::tls::Certificates;
use crate::config::{Listeners, Settings};
use crate::portal::metrics::Connections;

/// Connections that wait to be accepted, at most (the system may allow fewer).
const BACKLOG: i32 = 4096;
/// One reading takes what a browser's request needs, one writing what a small answer does; larger ones take several.
const READ_BYTES: usize = 16 * 1024;
const WRITE_BYTES: usize = 4 * 1024;
/// File descriptors that are not connections' to the application: the store, logs, the admin and the status listener,
/// libraries.
const FILES_RESERVED: u64 = 96;
/// How long the loop waits when the system has no file descriptor left for it, before it asks again.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Sockets that listen.
#[derive(Debug)]
pub(super) struct Bound {
    https: Vec<std::net::TcpListener>,
    http: Vec<std::net::TcpListener>,
    behind_tls: Vec<std::net::TcpListener>,
    status: Vec<std::net::TcpListener>,
    forward_auth: Option<std::net::TcpListener>,
}

impl Bound {
    /// Listens on every address that is not inherited; from here on connections wait to be accepted. The error names the
    /// address.
    pub(super) fn open(listeners: &Listeners, inherited: &mut Inherited) -> Result<Self, (SocketAddr, io::Error)> {
        let mut bind = |addresses: &[SocketAddr]| -> Result<Vec<_>, _> {
            // `[::]` takes IPv4 as well, unless somebody else is to have that.
            let twin = |address: &SocketAddr| {
                addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port())
            };
            let one = |address: &SocketAddr| match inherited.tcp(*address) {
                Some(listener) => Ok(listener),
                None => bind(*address, address.is_ipv6() && twin(address)).map_err(|error| (*address, error)),
            };
            addresses.iter().map(one).collect()
        };
        let forward_auth = bind(listeners.forward_auth.as_slice())?.pop();
        let lists = [&listeners.https, &listeners.http, &listeners.behind_tls, &listeners.status];
        let [https, http, behind_tls, status] = lists.map(|list| bind(list));
        Ok(Self { https: https?, http: http?, behind_tls: behind_tls?, status: status?, forward_auth })
    }

    /// The one for proxies that ask, which no door is for.
    pub(super) const fn take_forward_auth(&mut self) -> Option<std::net::TcpListener> {
        self.forward_auth.take()
    }

    /// Those for whoever asks how it goes, which no door is for either.
    pub(super) fn take_status(&mut self) -> Vec<std::net::TcpListener> {
        std::mem::take(&mut self.status)
    }

    /// Copies of all, for another process.
    pub(super) fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        self.https
            .iter()
            .chain(&self.http)
            .chain(&self.behind_tls)
            .chain(&self.status)
            .chain(&self.forward_auth)
            .map(|listener| Ok(listener.try_clone()?.into()))
            .collect()
    }
}

fn bind(address: SocketAddr, only_v6: bool) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    // A restart takes the address from connections of before that are not quite gone.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What is spoken at an address.
#[derive(Clone, Copy, Debug)]
enum Port {
    /// TLS.
    Https,
    /// Plain HTTP, which only redirects.
    Http,
    /// Plain HTTP, from trusted proxies that have ended TLS.
    BehindTls,
}

/// A connection's part of what its source may hold.
enum Share {
    /// Nobody counts it.
    Uncounted,
    /// It is counted until this is dropped.
    Held(#[expect(dead_code, reason = "holding it is its purpose")] Place),
    /// There is none left.
    UsedUp,
}

/// Accepts connections, and holds what all of them share.
pub(super) struct Acceptor {
    lanes: Vec<Arc<Lane>>,
    certificates: Arc<Certificates>,
    watches: Watches,
    sources: Arc<Sources>,
    /// Requests over HTTP/2 of every source that has some under way.
    requests: Arc<Sources>,
    in_use: InUse,
    counts: Connections,
    open: AtomicU32,
    /// What the process's file descriptors carry.
    fits: u32,
    numbers: AtomicI32,
    /// Who connects where only trusted proxies may.
    strangers: Seldom,
    /// Sources that want more than their share.
    greedy: Seldom,
    stopping: ShutdownWatch,
    accepting: signal::Sender<bool>,
}

impl Acceptor {
    /// `stopping` turns true when no further connection is to be taken.
    pub(super) fn new(
        lanes: Vec<Lane>,
        certificates: Arc<Certificates>,
        in_use: InUse,
        counts: Connections,
        stopping: ShutdownWatch,
    ) -> Arc<Self> {
        Arc::new(Self {
            lanes: lanes.into_iter().map(Arc::new).collect(),
            certificates,
            watches: Watches::new(),
            sources: Arc::default(),
            requests: Arc::default(),
            in_use,
            counts,
            open: AtomicU32::new(0),
            fits: connections_that_fit(),
            numbers: AtomicI32::new(1),
            strangers: Seldom::default(),
            greedy: Seldom::default(),
            stopping,
            accepting: signal::Sender::new(true),
        })
    }

    /// Takes connections until `stopping`, by tasks of the current runtime's. Each connection is a task of its lane's.
    ///
    /// Where there is one lane, it takes its connections itself: passing one on costs a sixteenth of what a new connection
    /// does. *Why does not each of several take its own?* All of them would be woken for each connection, and one would
    /// have most.
    pub(super) fn open(self: &Arc<Self>, bound: Bound) -> io::Result<()> {
        let runtime = match &*self.lanes {
            [only] => only.runtime.clone(),
            _ => Handle::current(),
        };
        let _inside = runtime.enter();
        let Bound { https, http, behind_tls, status: _, forward_auth: _ } = bound;
        for (listeners, port) in [(https, Port::Https), (http, Port::Http), (behind_tls, Port::BehindTls)] {
            for listener in listeners {
                listener.set_nonblocking(true)?;
                pass_down(&listener)?;
                tokio::spawn(Arc::clone(self).accept(TcpListener::from_std(listener)?, port));
            }
        }
        Ok(())
    }

    /// Holds the deadlines of connections, for ever. *Why not on the runtime that serves them?* With one timer set, it
    /// looks at its timers and the clock again before each sleep, and under load there is a sleep for each request.
    pub(super) async fn watch(self: Arc<Self>) {
        self.watches.run(|late| self.counts.closed(late.name())).await;
    }

    /// Takes no further connection: they wait in the sockets' queues.
    pub(super) fn pause(&self) {
        self.accepting.send_replace(false);
    }

    /// Takes connections again.
    pub(super) fn go_on(&self) {
        self.accepting.send_replace(true);
    }

    /// Ends connections without a request. After `stopping`, when no other comes.
    pub(super) async fn let_go(&self) {
        for lane in &self.lanes {
            lane.proxy.http_cleanup().await;
        }
    }

    /// Whether no connection is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, port: Port) {
        let (mut stopping, mut accepting) = (self.stopping.clone(), self.accepting.subscribe());
        loop {
            let accept = async {
                // Ends with `self`, which this task holds.
                let _ = accepting.wait_for(|accepting| *accepting).await;
                let mut paused = accepting.clone();
                tokio::select! {
                    _ = paused.wait_for(|accepting| !*accepting) => None,
                    accepted = listener.accept() => Some(accepted),
                }
            };
            let accepted = tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                accepted = accept => accepted,
            };
            let Some(accepted) = accepted else { continue };
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer.ip(), port),
                Err(error) if is_the_connections_own(&error) => {}
                Err(error) => {
                    // No file descriptor or memory: others must go before another comes, and asking at once burns a core.
                    self.counts.refused("exhausted");
                    tracing::warn!(%error, "no connection can be accepted for the moment");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, socket: TcpStream, peer: IpAddr, port: Port) {
        // What holds for the connection from its beginning to its end; requests on it take what is in use then.
        let settings = Arc::clone(&self.in_use.load().settings);
        let behind_balancer = settings.listeners.proxy_protocol_from.contains(peer);
        // Whom a balancer speaks for is known once its header was read.
        let share = if behind_balancer { Share::Uncounted } else { self.share(&self.sources, &settings, peer) };
        if matches!(share, Share::UsedUp) {
            return self.turn_away(peer, "source");
        }
        let Some(opened) = Opened::count(self, &settings) else { return self.counts.refused("full") };
        let Some(taken) = Lane::take(&self.lanes) else { return self.counts.refused("full") };
        let Ok(socket) = taken.0.hand(socket) else { return self.counts.refused("exhausted") };
        let (acceptor, lane) = (Arc::clone(self), Arc::clone(&taken.0));
        lane.runtime.spawn(async move {
            let Ok(socket) = socket.here() else { return acceptor.counts.closed("exhausted") };
            let stream = BufReader::with_capacity(READ_BYTES, Socket(socket));
            acceptor.welcome(stream, &taken.0, &settings, peer, behind_balancer, port).await;
            drop((share, opened));
        });
    }

    /// Connections, or requests over HTTP/2, at a time.
    fn most(&self, settings: &Settings) -> u32 {
        match settings.limits.connections_max {
            0 => self.fits,
            most => most,
        }
    }

    fn share(&self, sources: &Arc<Sources>, settings: &Settings, address: IpAddr) -> Share {
        // A trusted proxy carries many clients' requests on its connections.
        if settings.listeners.trusted_proxies.contains(address) {
            return Share::Uncounted;
        }
        match sources.enter(address, settings.limits.connections_per_source) {
            Some(place) => Share::Held(place),
            None => Share::UsedUp,
        }
    }

    /// A connection, or a request over HTTP/2, is not taken: its source has as many as it may. Where that is a balancer that
    /// was not named, the operator sees it here and nowhere else.
    fn turn_away(&self, source: IpAddr, reason: &'static str) {
        self.counts.refused(reason);
        if let Some(unwritten) = self.greedy.write() {
            tracing::warn!(
                peer = %source,
                reason,
                unwritten,
                "refused beyond limits.connections_per_source: a balancer or proxy belongs into listen.proxy_protocol_from \
                 or listen.trusted_proxies"
            );
        }
    }

    /// From a socket to requests: PROXY header, TLS, HTTP.
    async fn welcome(
        self: &Arc<Self>,
        mut stream: BufReader<Socket>,
        lane: &Arc<Lane>,
        settings: &Settings,
        mut peer: IpAddr,
        behind_balancer: bool,
        port: Port,
    ) {
        let handshake_max = settings.limits.handshake_max.into();
        let mut share = Share::Uncounted;
        if behind_balancer {
            match tokio::time::timeout(handshake_max, proxy_header::read(&mut stream)).await {
                Err(_) => return self.counts.closed("proxy_header_timeout"),
                Ok(Err(fault)) => {
                    tracing::debug!(%peer, %fault, "a balancer's connection was closed");
                    return self.counts.closed("proxy_header");
                }
                Ok(Ok(None)) => {}
                Ok(Ok(Some(client))) => {
                    peer = client;
                    share = self.share(&self.sources, settings, client);
                    if matches!(share, Share::UsedUp) {
                        return self.turn_away(client, "source");
                    }
                }
            }
        }
        match port {
            Port::Https => {
                let handshake = self.certificates.shake_hands(stream, &lane.handshakes);
                match tokio::time::timeout(handshake_max, handshake).await {
                    Err(_) => self.counts.closed("handshake_timeout"),
                    Ok(Err(fault)) => {
                        tracing::debug!(%peer, %fault, "no TLS");
                        self.counts.closed("handshake");
                    }
                    Ok(Ok((stream, tls))) => {
                        self.speak(stream, lane, settings, peer, Transport::Tls(tls)).await;
                    }
                }
            }
            Port::Http => self.speak(stream, lane, settings, peer, Transport::Plain).await,
            Port::BehindTls if settings.listeners.trusted_proxies.contains(peer) => {
                self.speak(stream, lane, settings, peer, Transport::BehindTls).await;
            }
            Port::BehindTls => {
                self.counts.closed("stranger");
                if let Some(unwritten) = self.strangers.write() {
                    tracing::warn!(%peer, unwritten, "connected to listen.behind_tls, and is not in listen.trusted_proxies");
                }
            }
        }
        drop(share);
    }

    async fn speak<S>(
        self: &Arc<Self>,
        stream: S,
        lane: &Arc<Lane>,
        settings: &Settings,
        peer: IpAddr,
        way: Transport,
    ) where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug + 'static,
    {
        let limits = &settings.limits;
        let watch = self.watches.open(Allowed {
            head: limits.head_time_max.into(),
            idle: limits.keepalive_max.into(),
            stall: limits.stall_max.into(),
        });
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let several = matches!(&way, Transport::Tls(tls) if tls.http2);
        let alpn = if several { ALPN::H2 } else { ALPN::H1 };
        // Gathered above TLS and not below it: an answer's head and its body become one record, and not one each.
        let stream = BufWriter::with_capacity(WRITE_BYTES, stream);
        let connection = Connection {
            stream,
            watch: Arc::clone(&watch),
            alpn,
            number,
            refused: false,
            last_waker: LastWaker::default(),
        };
        let origin = Arc::new(Origin::new(peer, way, watch));
        if several {
            let mut options = HttpServerOptions::default();
            options.h2_idle_timeout = Some(limits.keepalive_max.into());
            let session =
                Arc::new(Several { acceptor: Arc::clone(self), lane: Arc::clone(lane), origin, options });
            session.process_new(Box::new(connection), &self.stopping).await;
        } else {
            let arrival = Arc::new(Arrival::over(origin));
            arriving(Arc::clone(&arrival), self.one_by_one(connection, &lane.proxy, &arrival)).await;
        }
    }

    /// HTTP/1: one request after the other.
    async fn one_by_one<S>(&self, connection: Connection<S>, proxy: &Arc<HttpProxy<Edge>>, arrival: &Arrival)
    where
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug + 'static,
    {
        let mut session = ServerSession::new_http1(Box::new(connection));
        // Without pingora's limit: the watch has its own.
        session.set_keepalive(if *self.stopping.borrow() { None } else { Some(0) });
        while let Some(reused) = arrival.until_cut(proxy.process_new_http(session, &self.stopping)).await {
            let (stream, kept) = reused.consume();
            session = ServerSession::new_http1(stream);
            if let Some(kept) = kept {
                kept.apply_to_session(&mut session);
            }
            arrival.idle();
        }
    }
}

/// HTTP/2: a connection with many requests, each a task of its own.
struct Several {
    acceptor: Arc<Acceptor>,
    lane: Arc<Lane>,
    origin: Arc<Origin>,
    options: HttpServerOptions,
}

#[async_trait]
impl HttpServerApp for Several {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // pingora ends a connection without requests; the watch had only the first head to wait for.
        self.origin.busy();
        // Over HTTP/1 a request has a connection, which was counted. Here a hundred have one, and each may need another
        // towards the application: one that is over the share is reset, and its client may send it again.
        let generation = self.acceptor.in_use.load();
        let settings = &generation.settings;
        if self.acceptor.counts.requests_under_way() >= i64::from(self.acceptor.most(settings)) {
            self.acceptor.counts.refused("requests_full");
            return None;
        }
        let share = self.acceptor.share(&self.acceptor.requests, settings, self.origin.peer);
        if matches!(share, Share::UsedUp) {
            self.acceptor.turn_away(self.origin.peer, "requests_of_source");
            return None;
        }
        drop(generation);
        let arrival = Arc::new(Arrival::over(Arc::clone(&self.origin)));
        let served = arrival.until_cut(self.lane.proxy.process_new_http(session, shutdown));
        let served = arriving(Arc::clone(&arrival), served).await;
        drop(share);
        served
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// A connection that is counted until it is dropped.
struct Opened(Arc<Acceptor>);

impl Opened {
    fn count(acceptor: &Arc<Acceptor>, settings: &Settings) -> Option<Self> {
        if acceptor.open.fetch_add(1, Ordering::AcqRel) >= acceptor.most(settings) {
            acceptor.open.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        acceptor.counts.opened();
        Some(Self(Arc::clone(acceptor)))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.counts.gone();
    }
}

/// Connections that the process's file descriptors carry: each may need two more towards the application.
fn connections_that_fit() -> u32 {
    let (soft, _) = rlimit::Resource::NOFILE.get().unwrap_or((1024, 1024));
    u32::try_from(soft.saturating_sub(FILES_RESERVED) / 3).unwrap_or(u32::MAX).max(16)
}

/// Sets what sockets have from the one that accepted them (tcp(7)), and would cost five system calls each.
fn pass_down(listener: &std::net::TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // What is written is meant to be sent.
    socket.set_tcp_nodelay(true)?;
    // Finds out within minutes that a client is gone which said nothing: nobody else does on a silent WebSocket.
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&probes)
}

/// Faults that say something of one connection only (`accept(2)`).
fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_socket_is_probed_and_sends_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        pass_down(&listener).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
    }

    #[test]
    fn ipv4_and_ipv6_are_listened_on_side_by_side() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        for order in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
            let https = order.map(|host| format!("{host}:{port}").parse().unwrap()).to_vec();
            let listeners = Listeners { https, ..Listeners::default() };
            let bound = Bound::open(&listeners, &mut Inherited::default()).unwrap();
            for host in ["127.0.0.1", "[::1]"] {
                std::net::TcpStream::connect(format!("{host}:{port}")).unwrap();
            }
            drop(bound);
        }
    }
}
