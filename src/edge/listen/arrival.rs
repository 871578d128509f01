//! What a request needs to know of its connection, and the way to end it from elsewhere.
//!
//! It travels as a value of the task that serves the request, because pingora has no place for it. Without it, which is
//! only where nobody of ours serves, nothing is let through.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use http::HeaderValue;

use super::last_waker::LastWaker;
use super::watch::Watch;
use crate::edge::tls::{ClientCertificate, TlsArrival};
use crate::edge::upstream;

tokio::task_local! {
    static ARRIVAL: Arc<Arrival>;
}

/// Who opened a connection, and by what transport.
#[derive(Debug)]
pub(in crate::edge) struct Origin {
    /// The other end: the client, or a proxy that may be trusted to name it.
    pub(in crate::edge) peer: IpAddr,
    /// That, as applications read it: written once, where each request would.
    written: Option<HeaderValue>,
    pub(in crate::edge) way: Transport,
    watch: Arc<Watch>,
}

/// What is below HTTP.
#[derive(Debug)]
pub(in crate::edge) enum Transport {
    /// TLS that ends here.
    Tls(TlsArrival),
    /// Nothing, and a trusted proxy at the other end, which is to say whether its client has come by TLS.
    BehindTls,
    /// Nothing.
    Plain,
}

impl Origin {
    pub(super) fn new(peer: IpAddr, way: Transport, watch: Arc<Watch>) -> Self {
        Self { peer, written: upstream::written(peer).ok(), way, watch }
    }

    /// The certificate that the client has proved to hold to us.
    pub(in crate::edge) const fn client_certificate(&self) -> Option<&ClientCertificate> {
        match &self.way {
            Transport::Tls(tls) => tls.client.as_ref(),
            Transport::BehindTls | Transport::Plain => None,
        }
    }

    /// A request's head is complete.
    pub(in crate::edge) fn busy(&self) {
        self.watch.busy();
    }

    /// The address of a request's client as the application reads it: the peer's, unless a proxy names another.
    pub(in crate::edge) fn written(&self, address: IpAddr) -> pingora::Result<HeaderValue> {
        match &self.written {
            Some(written) if address == self.peer => Ok(written.clone()),
            Some(_) | None => upstream::written(address),
        }
    }
}

/// How a request arrived. HTTP/1: one per connection; HTTP/2: one per request.
#[derive(Debug)]
pub(in crate::edge) struct Arrival {
    /// The connection that it has come over.
    pub(in crate::edge) origin: Arc<Origin>,
    /// The request is to end at once, and who serves it.
    cut: AtomicBool,
    serving: AtomicWaker,
}

/// Lets requests that are served by `serving` know how they have come.
pub(super) async fn arriving<T>(arrival: Arc<Arrival>, serving: impl Future<Output = T>) -> T {
    ARRIVAL.scope(arrival, serving).await
}

impl Arrival {
    /// Of the request that this task serves.
    pub(in crate::edge) fn here() -> Option<Arc<Self>> {
        ARRIVAL.try_with(Arc::clone).ok()
    }

    pub(super) fn over(origin: Arc<Origin>) -> Self {
        Self { origin, cut: AtomicBool::new(false), serving: AtomicWaker::new() }
    }

    /// A request is over, and another may come.
    pub(super) fn idle(&self) {
        self.origin.watch.idle();
    }

    /// Drops the request, whatever it waits for: its stream is reset, or its connection closed, on both sides.
    ///
    /// Over HTTP/1 the request may have ended in this very moment, and the next one goes instead: its client sees a kept
    /// connection that was closed under it, as it may at any time.
    pub(in crate::edge) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.serving.wake();
    }

    /// Serves a request until its end, or until it is cut.
    ///
    /// *Why not a channel or a `Notify`?* Each puts whoever waits into a list, and takes them out again, for every request;
    /// and hardly one of them is ever cut.
    pub(super) async fn until_cut<T>(&self, serving: impl Future<Output = Option<T>>) -> Option<T> {
        let mut serving = pin!(serving);
        let mut last_waker = LastWaker::default();
        poll_fn(|context| {
            let served = serving.as_mut().poll(context);
            if served.is_pending() {
                // Before the look, so that who cuts in between finds somebody to wake.
                last_waker.renew(context.waker(), |waker| self.serving.register(waker));
                if self.cut.load(Ordering::Acquire) {
                    return Poll::Ready(None);
                }
            }
            served
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::watch::{Allowed, Watches};
    use super::*;

    #[tokio::test]
    async fn a_request_is_cut_whenever_its_end_is_told() {
        let second = Duration::from_secs(1);
        let watch = Watches::new().open(Allowed { head: second, idle: second, stall: second });
        let arrival =
            Arc::new(Arrival::over(Arc::new(Origin::new([192, 0, 2, 1].into(), Transport::Plain, watch))));
        assert_eq!(arrival.until_cut(async { Some(1) }).await, Some(1));
        let (waiting, other) = (Arc::clone(&arrival), Arc::clone(&arrival));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let serving = async move {
            begun.send(()).unwrap();
            std::future::pending::<Option<u8>>().await
        };
        let served = tokio::spawn(async move { waiting.until_cut(serving).await });
        begins.await.unwrap();
        other.cut();
        assert_eq!(served.await.unwrap(), None, "while it waits");
        assert_eq!(arrival.until_cut(std::future::pending::<Option<u8>>()).await, None, "before it waits");
    }
}
