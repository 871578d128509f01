//! Ending WebSockets and event streams with their session (SEC-R86, H7).
//!
//! pingora has no hook that fires on a connection that is silent. So the upstream connection of a stream is opened
//! by us, belongs to that stream alone, and is known here by a second handle; once a second the sessions that have
//! open streams are looked at, and the handle of a dead one is shut down. The upstream side then ends, and with it
//! the client's. Streams that are not silent are also checked with every piece they carry.
//!
//! An application that speaks HTTP/2 has one connection for many requests, and any of them may be a conversation in which
//! nobody speaks. *Why has not each a connection of its own, like a stream?* gRPC makes a request of every call, and they
//! would cost a connection each. There the request is cut instead: the task that serves it drops it, which resets its
//! streams on both sides.
//!
//! *The wait for an answer's head* is looked after here as well, where a zone gives it a limit of its own (pingora has one
//! for head and body). The request's connection is one of the pool's then, so that the pool's connections of such a zone
//! carry a handle of theirs along. What is cut because the application kept still is told from what broke by itself:
//! the client of the one gets 504, and it is not tried again.

use std::fmt::Debug;
use std::io::{ErrorKind, Result};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::StatusCode;
use pingora::connectors::L4Connect;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{Digest, GetProxyDigest as _};
use pingora::{ErrorType, OrErr as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::generation::InUse;
use super::listen::Arrival;
use crate::base::UnixTime;
use crate::session::{Liveness, Session};
use crate::table::Sessions;
use crate::zone::{UpstreamLimits, Zone, ZoneTable};

/// A stream: lives as long as its request.
#[derive(Debug)]
pub(super) struct OpenStream {
    owner: Owner,
    handles: Mutex<Vec<Handle>>,
    patience: Patience,
    heard: Mutex<Heard>,
    /// Whom the answer is for. While they have no room for what has come of it, nobody listens to the application.
    client: Option<Arc<Arrival>>,
    /// It has said that this is a stream, or somebody else looks after its silence. Until then it is held to its limits: the
    /// client's word for it must not be what takes them away.
    endless: AtomicBool,
    /// It was cut because its owner is gone.
    let_go: AtomicBool,
}

/// What a stream ends with, besides its request.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// A person's: with the session.
    Session(Arc<Session>),
    /// Nobody's, on a path that is open to everybody: with the zone, and some time after another process has taken over,
    /// which would otherwise never be alone.
    Zone(Arc<Zone>),
    /// Nothing else: only the application's silence is looked after.
    Request,
}

/// How long an application may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    first_byte_max: Duration,
    silence_max: Duration,
}

impl Patience {
    const ENDLESS: Self = Self { first_byte_max: Duration::MAX, silence_max: Duration::MAX };

    /// A request that may take less than a silence is cut in a silence, too.
    pub(super) fn of(limits: &UpstreamLimits) -> Self {
        let shorter = |limit| limits.request_max.map_or(limit, |most| most.min(limit)).into();
        Self { first_byte_max: shorter(limits.first_byte_max), silence_max: shorter(limits.read_max) }
    }
}

/// What an application has said so far. One lock for all of it: a connection must not be cut at the moment when its answer
/// comes, goes back to the pool and fails the next request.
#[derive(Debug)]
struct Heard {
    at: Instant,
    answered: bool,
    /// It kept still for too long, and was cut.
    given_up: bool,
}

/// The connection was cut because the application kept still.
#[derive(Debug)]
pub(super) struct TooSilent;

/// What a stream is ended by: a second handle to its connection, or the request itself.
#[derive(Debug)]
enum Handle {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
    Request(Arc<Arrival>),
    /// One of the pool's, whose handle is its own.
    Pooled(Arc<ProxyDigest>),
}

impl Handle {
    fn shut_down(&self) -> Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            Self::Request(arrival) => {
                arrival.cut();
                Ok(())
            }
            Self::Pooled(digest) => match own_handle(digest) {
                Some(handle) => handle.shut_down(),
                None => Ok(()),
            },
        }
    }
}

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<Vec<Weak<OpenStream>>>,
    /// When those end that are nobody's.
    last_of_nobody: OnceLock<Instant>,
}

impl Streams {
    /// Registers a stream that is about to be connected.
    pub(super) fn open(&self, owner: Owner, patience: Patience, client: Option<&Arc<Arrival>>) -> Arc<OpenStream> {
        self.register(OpenStream::new(owner, patience, client.cloned()))
    }

    /// Registers a request that is to be cut when its session ends. How long it may be silent is not decided here.
    pub(super) fn hold(&self, session: &Arc<Session>, arrival: &Arc<Arrival>) -> Arc<OpenStream> {
        let held = OpenStream::new(Owner::Session(Arc::clone(session)), Patience::ENDLESS, None);
        held.mark_endless();
        held.hold(Handle::Request(Arc::clone(arrival)));
        self.register(held)
    }

    fn register(&self, stream: OpenStream) -> Arc<OpenStream> {
        let stream = Arc::new(stream);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&stream));
        stream
    }

    /// Ends what is nobody's after that time: another process serves.
    pub(super) fn let_go_within(&self, time: Duration) {
        // The first word counts: it is said once.
        let _ = self.last_of_nobody.set(Instant::now() + time);
    }

    /// Cuts streams whose owners are gone, for ever.
    pub(super) async fn run(&self, in_use: &InUse) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let portal = Arc::clone(&in_use.load().portal);
            self.cut(&portal.sessions, &portal.settings.zones, portal.clock.now());
        }
    }

    fn cut(&self, sessions: &Sessions, zones: &ZoneTable, now: UnixTime) {
        let is_last = self.last_of_nobody.get().is_some_and(|last| Instant::now() > *last);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let is_over = match &stream.owner {
                Owner::Session(session) => sessions.liveness(session, now) != Liveness::Live,
                Owner::Zone(zone) => is_last || zones.zone(&zone.host).is_none(),
                Owner::Request => false,
            };
            if is_over {
                stream.let_go.store(true, Ordering::Relaxed);
            }
            if is_over || stream.gives_up() {
                stream.shut_down();
            }
            // Until the request is gone: its connection may still be being made.
            true
        });
    }
}

impl OpenStream {
    fn new(owner: Owner, patience: Patience, client: Option<Arc<Arrival>>) -> Self {
        let heard = Heard { at: Instant::now(), answered: false, given_up: false };
        let (handles, heard) = (Mutex::default(), Mutex::new(heard));
        let (endless, let_go) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { owner, handles, patience, heard, client, endless, let_go }
    }

    fn state(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is connected: from here on the application may be waited for.
    fn hold(&self, handle: Handle) {
        self.state().at = Instant::now();
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// It goes over this connection of the pool from here on, and over no other.
    pub(super) fn goes_over(&self, digest: Option<&Digest>) {
        let handle = digest.and_then(|digest| digest.proxy_digest.clone()).map(Handle::Pooled);
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(handle) = handle {
            self.hold(handle);
        }
    }

    /// Something has passed, in either direction. Errors when it comes too late: the connection is gone.
    pub(super) fn heard(&self) -> std::result::Result<(), TooSilent> {
        if self.endless.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut heard = self.state();
        heard.at = Instant::now();
        if heard.given_up { Err(TooSilent) } else { Ok(()) }
    }

    /// The head of the answer has come. Errors as [`OpenStream::heard`].
    pub(super) fn answered(&self) -> std::result::Result<(), TooSilent> {
        self.state().answered = true;
        self.heard()
    }

    /// Whether it was nobody's and has lost what it ends with.
    pub(super) fn was_let_go(&self) -> bool {
        matches!(self.owner, Owner::Zone(_)) && self.let_go.load(Ordering::Relaxed)
    }

    /// Whether it was cut because the application kept still.
    pub(super) fn was_too_silent(&self) -> bool {
        self.state().given_up
    }

    /// The application has answered with a stream: from here on silence is no fault.
    pub(super) fn mark_endless(&self) {
        self.endless.store(true, Ordering::Relaxed);
    }

    /// Whether the application has kept still for too long. From then on what it says does not count.
    fn gives_up(&self) -> bool {
        // Connecting has a limit of its own.
        let connected = !self.handles.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if self.endless.load(Ordering::Relaxed) || !connected {
            return false;
        }
        let mut heard = self.state();
        if !heard.given_up && self.client.as_ref().is_some_and(|client| client.has_no_room()) {
            heard.at = Instant::now();
        }
        let Patience { first_byte_max, silence_max } = self.patience;
        let allowed = if heard.answered { silence_max } else { first_byte_max };
        heard.given_up |= heard.at.elapsed() > allowed;
        heard.given_up
    }

    fn shut_down(&self) {
        for handle in self.handles.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // An error means that the other side was faster.
            let _ = handle.shut_down();
        }
    }
}

/// Opens the upstream connection of one stream, and keeps a handle to it.
#[derive(Debug)]
struct Connector {
    stream: Arc<OpenStream>,
    connect_max: Duration,
}

/// Opens the connections of a pool whose requests may be cut by their handle.
#[derive(Debug)]
struct PooledConnector {
    connect_max: Duration,
}

/// For connections that many requests use, one after the other. `connect_max` as for [`connector`].
pub(super) fn pooled(connect_max: Duration) -> Arc<dyn L4Connect + Send + Sync> {
    Arc::new(PooledConnector { connect_max })
}

#[async_trait]
impl L4Connect for PooledConnector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let (mut stream, handle) = connect(address, self.connect_max, |socket| match socket {
            Socket::Tcp(socket) => {
                let socket = socket.into_std()?;
                let handle = Handle::Tcp(socket.try_clone()?);
                Ok((Stream::from(TcpStream::from_std(socket)?), handle))
            }
            Socket::Unix(socket) => {
                let socket = socket.into_std()?;
                let handle = Handle::Unix(socket.try_clone()?);
                Ok((Stream::from(UnixStream::from_std(socket)?), handle))
            }
        })
        .await?;
        // The one place of a connection that is given back with each of its requests.
        let nothing = ResponseHeader::build(StatusCode::OK, None)?;
        stream.set_proxy_digest(ProxyDigest::new(Box::new(nothing), Some(Box::new(handle))));
        Ok(stream)
    }
}

/// The handle of a connection that [`PooledConnector`] has made.
fn own_handle(digest: &ProxyDigest) -> Option<&Handle> {
    digest.user_data.as_ref()?.downcast_ref()
}

/// A connection to an application.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

async fn connect<T>(
    address: &SocketAddr,
    connect_max: Duration,
    then: impl FnOnce(Socket) -> Result<T> + Send,
) -> pingora::Result<T> {
    let connecting = async {
        match address {
            SocketAddr::Inet(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                then(Socket::Tcp(socket))
            }
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().ok_or(ErrorKind::InvalidInput)?;
                then(Socket::Unix(UnixStream::connect(path).await?))
            }
        }
    };
    let refused = "connecting to the application";
    let connected = tokio::time::timeout(connect_max, connecting).await;
    let connected = connected.or_err(ErrorType::ConnectTimedout, refused)?;
    connected.map_err(|error| {
        // A want of sockets is ours, and no reason to leave the backend alone.
        let refusal = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
        let kind = if refusal { ErrorType::ConnectRefused } else { ErrorType::ConnectError };
        pingora::Error::because(kind, refused, error)
    })
}

/// `connect_max`: pingora leaves the time to connect to whoever connects.
pub(super) fn connector(stream: &Arc<OpenStream>, connect_max: Duration) -> Arc<dyn L4Connect + Send + Sync> {
    Arc::new(Connector { stream: Arc::clone(stream), connect_max })
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        connect(address, self.connect_max, |socket| match socket {
            Socket::Tcp(socket) => self.tcp(socket),
            Socket::Unix(socket) => self.unix(socket),
        })
        .await
    }
}

impl Connector {
    fn tcp(&self, socket: TcpStream) -> Result<Stream> {
        let socket = socket.into_std()?;
        self.stream.hold(Handle::Tcp(socket.try_clone()?));
        let nodelay = |socket: &TcpStream| socket.set_nodelay(true);
        Ok(VirtualSocketStream::new(Box::new(WritesFirst {
            socket: TcpStream::from_std(socket)?,
            held: 0,
            nodelay,
        }))
        .into())
    }

    fn unix(&self, socket: UnixStream) -> Result<Stream> {
        let socket = socket.into_std()?;
        self.stream.hold(Handle::Unix(socket.try_clone()?));
        let nodelay = |_: &UnixStream| Ok(());
        Ok(VirtualSocketStream::new(Box::new(WritesFirst {
            socket: UnixStream::from_std(socket)?,
            held: 0,
            nodelay,
        }))
        .into())
    }
}

/// How many reads after a write find nothing.
const HELD_READS: u8 = 2;

/// A socket whose reads let what is still to be written go first.
///
/// pingora 0.9.1 reads the application's answer and the end of the client's (empty) body in no particular order. An
/// application that answers 101 before that end has been seen gets it for the end of the WebSocket, which is closed
/// the moment it was opened: one in ten, with an application on the same machine. Two reads that find nothing are
/// enough for the end to be seen first.
#[derive(Debug)]
struct WritesFirst<S> {
    socket: S,
    held: u8,
    /// Sockets on this machine have nothing to delay.
    nodelay: fn(&S) -> Result<()>,
}

impl<S: AsyncRead + Unpin> AsyncRead for WritesFirst<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if let Some(held) = self.held.checked_sub(1) {
            self.held = held;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WritesFirst<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.held = HELD_READS;
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Debug + Unpin + Send + Sync> VirtualSocket for WritesFirst<S> {
    fn set_socket_option(&self, option: VirtualSockOpt) -> Result<()> {
        // Keep-alive is the only other one, and nobody asks for it: a dead application is found out by the next write.
        if matches!(option, VirtualSockOpt::NoDelay) { (self.nodelay)(&self.socket) } else { Ok(()) }
    }
}
