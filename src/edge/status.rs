//! The status listener: health and metrics for kubelets, Prometheus and balancers, at an address that others than this
//! machine's people reach (SEC-R91: never at one that carries requests).
//!
//! Its router has no command at all (`portal::status_router`), so nobody needs to be told apart. Whoever reaches it may be
//! anybody, though: so few connections are served at a time, and fewer of one source; each is over within [`OPEN_MAX`],
//! carries one request, and is read no further than [`READ_BYTES_MAX`]. Beyond that connections are closed without a word,
//! and the log says so now and then.

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::serve::Listener;
use http::HeaderValue;
use http::header::CONNECTION;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep};

use super::listen::{Place, Sources};
use super::seldom::Seldom;

/// Connections at a time, at all addresses together.
const CONNECTIONS_MAX: usize = 32;
/// Connections at a time of one source.
const PER_SOURCE_MAX: u32 = 8;
/// How long a connection may be open.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// How much is read of one: a head, generously.
const READ_BYTES_MAX: usize = 16 * 1024;

/// The room that the listener's addresses share.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    sources: Arc<Sources>,
    turned_away: Seldom,
}

impl Default for Room {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Self { places, sources: Arc::default(), turned_away: Seldom::default() }
    }
}

impl Room {
    /// A place for a connection; `None` when there is none left.
    fn enter(&self, peer: IpAddr) -> Option<(Place, OwnedSemaphorePermit)> {
        let share = self.sources.enter(peer, PER_SOURCE_MAX)?;
        Some((share, Arc::clone(&self.places).try_acquire_owned().ok()?))
    }
}

/// Answers until another process does.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    router: Router,
    room: Arc<Room>,
    mut handed_over: watch::Receiver<bool>,
) -> Result<()> {
    listener.set_nonblocking(true)?;
    let door = Door { listener: TcpListener::from_std(listener)?, room };
    // One request a connection: one that was kept would run into its end with some later request under way.
    let router = router.layer(axum::middleware::map_response(async |mut answer: Response| {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }));
    let until = async move {
        let _ = handed_over.wait_for(|done| *done).await;
    };
    axum::serve(door, router).with_graceful_shutdown(until).await
}

/// A listener that takes as many as there is room for.
struct Door {
    listener: TcpListener,
    room: Arc<Room>,
}

impl Listener for Door {
    type Io = Caller;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Caller, SocketAddr) {
        loop {
            let (socket, peer) = Listener::accept(&mut self.listener).await;
            if let Some(place) = self.room.enter(peer.ip()) {
                return (Caller::new(socket, place), peer);
            }
            if let Some(unwritten) = self.room.turned_away.write() {
                tracing::warn!(
                    %peer,
                    unwritten,
                    "no more connections are served at listen.status at a time: at most {CONNECTIONS_MAX}, \
                     {PER_SOURCE_MAX} of one address"
                );
            }
        }
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its limits, which breaks when it reaches one.
struct Caller {
    socket: TcpStream,
    end: Pin<Box<Sleep>>,
    /// Bytes that may still be read.
    left: usize,
    _place: (Place, OwnedSemaphorePermit),
}

impl Caller {
    fn new(socket: TcpStream, place: (Place, OwnedSemaphorePermit)) -> Self {
        Self { socket, end: Box::pin(sleep(OPEN_MAX)), left: READ_BYTES_MAX, _place: place }
    }

    /// What the socket says, unless the connection's time is over.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        ask: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        ask(Pin::new(&mut self.socket), context)
    }
}

impl AsyncRead for Caller {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = into.filled().len();
        let read = self.in_time(context, |socket, context| socket.poll_read(context, into));
        let came = into.filled().len().saturating_sub(before);
        match self.left.checked_sub(came) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(ErrorKind::InvalidData.into())),
        }
        read
    }
}

impl AsyncWrite for Caller {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.in_time(context, |socket, context| socket.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.in_time(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.in_time(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn d5_one_source_does_not_keep_the_others_from_asking() {
        let room = Room::default();
        let enter = |last: u8| room.enter(std::net::Ipv4Addr::new(192, 0, 2, last).into());
        let mut held: Vec<_> = (0..PER_SOURCE_MAX).map(|_| enter(1).unwrap()).collect();
        assert!(enter(1).is_none(), "its share");
        held.extend(
            (2..5).flat_map(|last| (0..PER_SOURCE_MAX).map(move |_| last)).map(|last| enter(last).unwrap()),
        );
        assert!(enter(9).is_none(), "all places");
        held.pop();
        assert!(enter(9).is_some());
        drop(held);
        assert_eq!(room.places.available_permits(), CONNECTIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn d1_a_connection_that_says_too_much_or_nothing_is_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (_over, handed_over) = watch::channel(false);
        tokio::spawn(serve(listener, Router::new(), Arc::default(), handed_over));
        // By the clock that stands still while anybody has something to do.
        let mut silent = TcpStream::connect(address).await.unwrap();
        let began = tokio::time::Instant::now();
        let mut heard = Vec::new();
        let _ = silent.read_to_end(&mut heard).await;
        assert!(heard.is_empty() && began.elapsed() >= OPEN_MAX, "{:?}", began.elapsed());
        let mut long = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /livez HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(READ_BYTES_MAX));
        let _ = long.write_all(head.as_bytes()).await;
        let began = tokio::time::Instant::now();
        let _ = long.read_to_end(&mut heard).await;
        assert!(!heard.starts_with(b"HTTP/1.1 2") && began.elapsed() < OPEN_MAX, "{:?}", began.elapsed());
    }
}
