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

use std::fmt::Debug;
use std::io::{ErrorKind, Result};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{ErrorType, OrErr as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::listen::Arrival;
use crate::machine::Clock;
use crate::session::{Liveness, Session};

/// A stream: lives as long as its request.
#[derive(Debug)]
pub(super) struct OpenStream {
    /// Whose it is; one that is nobody's has no session to end with.
    session: Option<Arc<Session>>,
    handles: Mutex<Vec<Handle>>,
    /// How long the application may be silent until it has said that this is a stream: the client's word for it must not
    /// be what takes its limits away.
    silence_max: Duration,
    heard_at: Mutex<Instant>,
    endless: AtomicBool,
}

/// What a stream is ended by: a second handle to its connection, or the request itself.
#[derive(Debug)]
enum Handle {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
    Request(Arc<Arrival>),
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
        }
    }
}

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<Vec<Weak<OpenStream>>>,
}

impl Streams {
    /// Registers a stream that is about to be connected.
    pub(super) fn open(&self, session: Option<&Arc<Session>>, silence_max: Duration) -> Arc<OpenStream> {
        self.register(OpenStream {
            session: session.cloned(),
            handles: Mutex::default(),
            silence_max,
            heard_at: Mutex::new(Instant::now()),
            endless: AtomicBool::new(false),
        })
    }

    /// Registers a request that is to be cut when its session ends. How long it may be silent is not decided here.
    pub(super) fn hold(&self, session: &Arc<Session>, arrival: &Arc<Arrival>) -> Arc<OpenStream> {
        self.register(OpenStream {
            session: Some(Arc::clone(session)),
            handles: Mutex::new(vec![Handle::Request(Arc::clone(arrival))]),
            silence_max: Duration::MAX,
            heard_at: Mutex::new(Instant::now()),
            endless: AtomicBool::new(true),
        })
    }

    fn register(&self, stream: OpenStream) -> Arc<OpenStream> {
        let stream = Arc::new(stream);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&stream));
        stream
    }

    /// Cuts streams of dead sessions, for ever.
    pub(super) async fn run(&self, clock: &Clock) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.cut(clock);
        }
    }

    fn cut(&self, clock: &Clock) {
        let now = clock.now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            let is_over = match stream.session.as_ref().map(|session| session.liveness(now)) {
                None | Some(Liveness::Live) => stream.is_too_silent(),
                Some(Liveness::Ended(_)) => true,
            };
            if is_over {
                stream.shut_down();
            }
            // Until the request is gone: its connection may still be being made.
            true
        });
    }
}

impl OpenStream {
    /// The application has said something.
    pub(super) fn heard(&self) {
        if !self.endless.load(Ordering::Relaxed) {
            *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// The application has said that it is one.
    pub(super) fn is_endless(&self) {
        self.endless.store(true, Ordering::Relaxed);
    }

    fn is_too_silent(&self) -> bool {
        let silence = || self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        !self.endless.load(Ordering::Relaxed) && silence() > self.silence_max
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

/// `connect_max`: pingora leaves the time to connect to whoever connects.
pub(super) fn connector(stream: &Arc<OpenStream>, connect_max: Duration) -> Arc<dyn L4Connect + Send + Sync> {
    Arc::new(Connector { stream: Arc::clone(stream), connect_max })
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let connecting = async {
            match address {
                SocketAddr::Inet(address) => self.tcp(TcpStream::connect(address).await?),
                SocketAddr::Unix(address) => {
                    let path = address.as_pathname().ok_or(ErrorKind::InvalidInput)?;
                    self.unix(UnixStream::connect(path).await?)
                }
            }
        };
        let refused = "connecting to the application for a stream";
        let connected = tokio::time::timeout(self.connect_max, connecting).await;
        let connected = connected.or_err(ErrorType::ConnectTimedout, refused)?;
        connected.map_err(|error| {
            // A want of sockets is ours, and no reason to leave the backend alone.
            let refusal = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
            let kind = if refusal { ErrorType::ConnectRefused } else { ErrorType::ConnectError };
            pingora::Error::because(kind, refused, error)
        })
    }
}

impl Connector {
    fn tcp(&self, socket: TcpStream) -> Result<Stream> {
        socket.set_nodelay(true)?;
        let socket = socket.into_std()?;
        self.hold(Handle::Tcp(socket.try_clone()?));
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
        self.hold(Handle::Unix(socket.try_clone()?));
        let nodelay = |_: &UnixStream| Ok(());
        Ok(VirtualSocketStream::new(Box::new(WritesFirst {
            socket: UnixStream::from_std(socket)?,
            held: 0,
            nodelay,
        }))
        .into())
    }

    fn hold(&self, handle: Handle) {
        self.stream.handles.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
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
