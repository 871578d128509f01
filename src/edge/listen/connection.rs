//! A client's connection as pingora reads and writes it: the stream below, and the watch that holds its deadlines.
//!
//! A head that is none, over HTTP/1, is answered by pingora before anybody here is asked: with its own name, and with none
//! of the fields that our answers carry. *How is that made ours?* Nothing else is written while a connection is not busy
//! with a request, so what is written then is that answer, and ours goes out in its place.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::last_waker::LastWaker;
use super::watch::Watch;

/// A connection. What pingora asks of one and nobody here needs (digests of sockets and times, made anew for each
/// request) is answered with nothing: who connected and how is in [`super::Origin`].
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) watch: Arc<Watch>,
    pub(super) alpn: ALPN,
    pub(super) number: UniqueIDType,
    /// Our refusal has gone out.
    pub(super) refused: bool,
    /// Whom the watch wakes.
    pub(super) last_waker: LastWaker,
}

/// What is answered to a head that is none. In which form it is wanted cannot be known.
const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: 57\r\n\
Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; \
frame-ancestors 'none'\r\nConnection: close\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400}";

impl<S> Connection<S> {
    /// Whether what is written now is pingora's answer to a head that is none.
    fn has_no_request(&self) -> bool {
        self.alpn == ALPN::H1 && !self.watch.is_busy()
    }

    fn no_room<T>(&mut self, context: &Context<'_>) -> Poll<Result<T>> {
        self.watch.no_room();
        self.pending(context)
    }

    /// Pending, unless the connection has become late in the meantime.
    fn pending<T>(&mut self, context: &Context<'_>) -> Poll<Result<T>> {
        let Self { last_waker, watch, .. } = self;
        last_waker.renew(context.waker(), |waker| watch.wake_later(waker));
        match self.watch.check() {
            Ok(()) => Poll::Pending,
            Err(late) => Poll::Ready(Err(late)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.watch.check()?;
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        match &read {
            Poll::Ready(Ok(())) if into.filled().len() > before => self.watch.arrived(),
            Poll::Ready(_) => {}
            Poll::Pending => {
                self.catch_up(context);
                return self.pending(context);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.watch.check()?;
        if self.has_no_request() {
            return self.refuse(context, bytes.len());
        }
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.watch.check()?;
        if self.has_no_request() {
            return self.refuse(context, pieces.iter().map(|piece| piece.len()).sum());
        }
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.written(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.watch.check()?;
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        match &flushed {
            Poll::Ready(Ok(())) => self.watch.took_all(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.no_room(context),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.watch.check()?;
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        if shut.is_pending() { self.no_room(context) } else { shut }
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// What a write came to, told to the watch.
    fn written(&mut self, context: &mut Context<'_>, wrote: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => {
                self.watch.took(*bytes);
                self.catch_up(context);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.no_room(context),
        }
        wrote
    }

    /// Where the client had no room, whether it has taken everything by now. Nobody else may ask for a long time: an answer
    /// whose length is known is flushed at its end, and until then the application may pause.
    fn catch_up(&mut self, context: &mut Context<'_>) {
        if self.watch.is_stalled()
            && let Poll::Ready(Ok(())) = Pin::new(&mut self.stream).poll_flush(context)
        {
            self.watch.took_all();
        }
    }

    /// Writes our refusal, once, as if it were the `length` bytes of pingora's.
    fn refuse(&mut self, context: &mut Context<'_>, length: usize) -> Poll<Result<usize>> {
        if !self.refused {
            // The stream below has a buffer with room for all of it, and nothing in it.
            match Pin::new(&mut self.stream).poll_write(context, REFUSAL) {
                Poll::Ready(Ok(_)) => self.refused = true,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => return self.no_room(context),
            }
        }
        Poll::Ready(Ok(length))
    }
}

#[async_trait]
impl<S: AsyncWrite + Send + Unpin> Shutdown for Connection<S> {
    async fn shutdown(&mut self) {
        // An error means that the client was faster.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl<S> UniqueID for Connection<S> {
    fn id(&self) -> UniqueIDType {
        self.number
    }
}

impl<S> Ssl for Connection<S> {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(self.alpn.clone())
    }
}

impl<S: Send> Peek for Connection<S> {}

impl<S> GetTimingDigest for Connection<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<S> GetProxyDigest for Connection<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl<S> GetSocketDigest for Connection<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, BufWriter};

    use super::super::watch::{Allowed, Late, Watches};
    use super::*;

    /// A connection whose client has room for `room` bytes, and the client. It takes a second to be stalled.
    fn to_a_client_with(
        room: usize,
    ) -> (Watches, Connection<impl AsyncRead + AsyncWrite + Unpin>, impl AsyncRead + Unpin) {
        let (ours, theirs) = tokio::io::duplex(room);
        let watches = Watches::new();
        let (second, long) = (Duration::from_secs(1), Duration::from_secs(60));
        let watch = watches.open(Allowed { head: long, idle: long, stall: second });
        watch.busy();
        let stream = BufWriter::with_capacity(64, ours);
        let (number, last_waker) = (1, LastWaker::default());
        (watches, Connection { stream, watch, alpn: ALPN::H1, number, refused: false, last_waker }, theirs)
    }

    /// Whether so many bytes are taken at once.
    async fn takes(connection: &mut Connection<impl AsyncRead + AsyncWrite + Unpin>, count: usize) -> bool {
        poll_fn(|context| {
            let wrote = Pin::new(&mut *connection).poll_write(context, &vec![b'x'; count]);
            Poll::Ready(matches!(wrote, Poll::Ready(Ok(wrote)) if wrote == count))
        })
        .await
    }

    #[tokio::test]
    async fn d2_a_client_that_has_taken_everything_is_not_stalled_while_the_application_pauses() {
        let (watches, mut connection, mut client) = to_a_client_with(100);
        assert!(takes(&mut connection, 100).await, "by the client's side of the pipe");
        assert!(takes(&mut connection, 60).await, "gathered");
        assert!(!takes(&mut connection, 10).await, "no room");
        client.read_exact(&mut [0; 60]).await.unwrap();
        // The application's last bytes for a while: gathered, and flushed by nobody.
        assert!(takes(&mut connection, 10).await);
        client.read_exact(&mut [0; 100]).await.unwrap();
        // Whoever waits for the client is woken, and looks.
        let read = poll_fn(|context| {
            let mut none = [0; 1];
            Poll::Ready(Pin::new(&mut connection).poll_read(context, &mut ReadBuf::new(&mut none)))
        });
        assert!(read.await.is_pending());
        watches.sweep(2_000, &|late| panic!("{late:?}"));
    }

    #[tokio::test]
    async fn d2_a_client_that_takes_nothing_is_stalled() {
        let (watches, mut connection, _client) = to_a_client_with(100);
        assert!(takes(&mut connection, 100).await && !takes(&mut connection, 100).await);
        let told = std::sync::Mutex::new(Vec::new());
        watches.sweep(2_000, &|late| told.lock().unwrap().push(late));
        assert_eq!(told.into_inner().unwrap(), [Late::Stalled]);
    }
}
