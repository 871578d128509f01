//! Connecting to applications: the pool's connections over HTTP/1, and those that belong to one stream.
//!
//! Both have a [`Line`](super::Line) beside them, by which they are ended from elsewhere.

use std::fmt::Debug;
use std::io::Result;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::GetProxyDigest as _;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::PeerOptions;
use pingora::{Error, ErrorType, OrErr as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, UnixSocket};

use super::silence::Silences;
use crate::edge::streams::OpenStream;

/// How long a connection may take to be made; every template says so itself.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Has a peer's connections made here. pingora leaves the time to connect to whoever connects. `stream`: whom its one
/// connection belongs to; `None` for the pool's.
pub(super) fn connect_ourselves(
    options: &mut PeerOptions,
    silences: &Arc<Silences>,
    stream: Option<&Arc<OpenStream>>,
) {
    options.custom_l4 = Some(Arc::new(Connector {
        silences: Arc::clone(silences),
        stream: stream.cloned(),
        speaks_http2: options.alpn.get_min_http_version() == 2,
        connect_max: options.connection_timeout.unwrap_or(CONNECT_MAX),
    }));
}

#[derive(Debug)]
struct Connector {
    silences: Arc<Silences>,
    stream: Option<Arc<OpenStream>>,
    speaks_http2: bool,
    connect_max: Duration,
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let connecting = async {
            match address {
                SocketAddr::Inet(address) => {
                    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
                    let socket = socket.or_err(ErrorType::InternalError, "a socket for a connection")?;
                    let socket = socket.connect(*address).await.map_err(not_connected)?;
                    self.connected(socket, |socket| socket.set_nodelay(true))
                }
                SocketAddr::Unix(address) => {
                    // Only such paths are made of a configuration.
                    let path = address.as_pathname().unwrap_or_else(|| "".as_ref());
                    let socket =
                        UnixSocket::new_stream().or_err(ErrorType::InternalError, "a socket for a connection")?;
                    let socket = socket.connect(path).await.map_err(not_connected)?;
                    // Sockets on this machine have nothing to delay.
                    self.connected(socket, |_| Ok(()))
                }
            }
        };
        let connected = tokio::time::timeout(self.connect_max, connecting).await;
        let connected = connected.or_err(ErrorType::ConnectTimedout, "no connection in time").flatten();
        connected.map_err(|error| error.more_context(format!("connecting to {address}")))
    }
}

impl Connector {
    fn connected<S>(&self, socket: S, nodelay: fn(&S) -> Result<()>) -> pingora::Result<Stream>
    where
        S: AsyncRead + AsyncWrite + AsFd + Debug + Unpin + Send + Sync + Into<Stream> + 'static,
    {
        let line = self.silences.open(&socket, self.speaks_http2);
        let line = line.or_err(ErrorType::InternalError, "a second handle to a connection")?;
        let mut stream: Stream = match &self.stream {
            None => socket.into(),
            Some(stream) => {
                stream.goes_over(&line);
                VirtualSocketStream::new(Box::new(WritesFirst { socket, held: 0, nodelay })).into()
            }
        };
        stream.set_proxy_digest(line.digest()?);
        Ok(stream)
    }
}

/// Classified as pingora does, except that a want of ports is ours, and no reason to leave the backend alone. (A want of file
/// descriptors has shown when the socket was made.)
fn not_connected(error: std::io::Error) -> Box<Error> {
    use std::io::ErrorKind;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's, and it grows")]
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ErrorType::ConnectNoRoute,
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse | ErrorKind::PermissionDenied => {
            ErrorType::InternalError
        }
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "no connection", error)
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
    /// Sets TCP_NODELAY, where there is such a thing.
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
