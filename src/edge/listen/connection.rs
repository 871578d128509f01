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

use super::told::Told;
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
    pub(super) told: Told,
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

    /// What a write came to, told to the watch.
    fn written(&mut self, context: &Context<'_>, wrote: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => self.watch.took(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.no_room(context),
        }
        wrote
    }

    fn no_room<T>(&mut self, context: &Context<'_>) -> Poll<Result<T>> {
        self.watch.no_room();
        self.pending(context)
    }

    /// Pending, unless the connection has become late in the meantime.
    fn pending<T>(&mut self, context: &Context<'_>) -> Poll<Result<T>> {
        let Self { told, watch, .. } = self;
        told.of(context.waker(), |waker| watch.wake_later(waker));
        match self.watch.check() {
            Ok(()) => Poll::Pending,
            Err(late) => Poll::Ready(Err(late)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.watch.check()?;
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        match &read {
            Poll::Ready(Ok(())) if into.filled().len() > before => self.watch.arrived(),
            Poll::Ready(_) => {}
            Poll::Pending => return self.pending(context),
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
