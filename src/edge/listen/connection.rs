//! A client's connection as pingora reads and writes it: the stream below, and the watch that holds its deadlines.

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

use super::watch::Watch;

/// A connection. What pingora asks of one and nobody here needs (digests of sockets and times, made anew for each
/// request) is answered with nothing: who connected and how is in [`super::Arrival`].
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) watch: Arc<Watch>,
    pub(super) alpn: ALPN,
    pub(super) number: UniqueIDType,
}

impl<S> Connection<S> {
    /// What a write came to, told to the watch.
    fn written(&self, context: &Context<'_>, wrote: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(bytes)) => self.watch.took(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return self.no_room(context),
        }
        wrote
    }

    fn no_room<T>(&self, context: &Context<'_>) -> Poll<Result<T>> {
        self.watch.no_room();
        self.pending(context)
    }

    /// Pending, unless the connection has become late in the meantime.
    fn pending<T>(&self, context: &Context<'_>) -> Poll<Result<T>> {
        self.watch.wake_later(context.waker());
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
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.watch.check()?;
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
