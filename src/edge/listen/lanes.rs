//! The threads that carry requests: each has a runtime and connections to the applications of its own.
//!
//! *Why not one runtime whose threads share all tasks?* It pays for the sharing at every wake-up, also when there is
//! nothing to share: with one thread, one binary with either runtime differed by 7 to 19 % of a request's processor time
//! (`benches/README.md`; with several threads nothing was measured). And its threads share the pool of connections to the
//! applications, so that an answer can arrive at a thread that has to wake another. The price: a connection stays where
//! it began, and many busy streams on one HTTP/2 connection have one core between them. New connections go where the
//! fewest are open.
//!
//! Nothing here fails once it runs. A task that panics ends alone, as everywhere in tokio.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pingora::proxy::HttpProxy;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::edge::proxy::Edge;
use crate::edge::tls::Handshakes;

/// How long threads may take to end once they are told to.
const STOP_MAX: Duration = Duration::from_secs(1);

/// The threads, which run until this is dropped.
#[derive(Debug)]
pub(in crate::edge) struct Threads {
    threads: Vec<Thread>,
    /// Disconnected when all have ended.
    ended: Receiver<Infallible>,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    _stop: oneshot::Sender<Infallible>,
}

impl Threads {
    /// Starts `count` threads, at least one.
    pub(in crate::edge) fn start(count: usize) -> io::Result<Self> {
        let (running, ended) = channel();
        let threads = (0..count.max(1)).map(|_| Thread::start(running.clone())).collect::<io::Result<_>>()?;
        Ok(Self { threads, ended })
    }

    /// Their runtimes.
    pub(in crate::edge) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.threads.iter().map(|thread| &thread.runtime)
    }

    /// Ends them with whatever they still do, and waits a moment for it.
    pub(in crate::edge) fn stop(self) {
        drop(self.threads);
        // One that does not end in time ends with the process.
        let _ = self.ended.recv_timeout(STOP_MAX);
    }
}

impl Thread {
    fn start(running: Sender<Infallible>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("requests".into()).spawn(move || {
            // Ends when the sender is dropped: nothing can be sent.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(STOP_MAX);
            drop(running);
        })?;
        Ok(Self { runtime: handle, _stop: stop })
    }
}

/// What connections of one thread share.
pub(in crate::edge) struct Lane {
    pub(super) runtime: Handle,
    pub(super) proxy: Arc<HttpProxy<Edge>>,
    pub(super) handshakes: Handshakes,
    /// How many connections it has.
    open: AtomicU32,
}

impl Lane {
    /// A lane without connections.
    pub(in crate::edge) fn new(runtime: &Handle, proxy: HttpProxy<Edge>) -> Self {
        Self {
            runtime: runtime.clone(),
            proxy: Arc::new(proxy),
            handshakes: Handshakes::default(),
            open: AtomicU32::new(0),
        }
    }

    /// The one with the fewest connections, which counts another one from here on. `None` only if there are none.
    pub(super) fn take(lanes: &[Arc<Self>]) -> Option<Taken> {
        let lane = lanes.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed))?;
        lane.open.fetch_add(1, Ordering::Relaxed);
        Some(Taken(Arc::clone(lane)))
    }

    /// Takes a socket over from the runtime that accepted it, which is told of its readiness no longer.
    pub(super) fn hand(&self, socket: TcpStream) -> io::Result<Handed> {
        if self.runtime.id() == Handle::current().id() {
            Ok(Handed::Ours(socket))
        } else {
            socket.into_std().map(Handed::Anothers)
        }
    }
}

/// A socket on its way to its lane.
pub(super) enum Handed {
    /// Accepted by the lane's own runtime.
    Ours(TcpStream),
    /// Accepted by another.
    Anothers(std::net::TcpStream),
}

impl Handed {
    /// For the runtime that this is called on, which must be the lane's.
    pub(super) fn here(self) -> io::Result<TcpStream> {
        match self {
            Self::Ours(socket) => Ok(socket),
            Self::Anothers(socket) => TcpStream::from_std(socket),
        }
    }
}

/// A connection's lane. Counted until it is dropped.
pub(super) struct Taken(pub(super) Arc<Lane>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_run_side_by_side_and_end_when_they_are_told() {
        let threads = Threads::start(2).unwrap();
        let (here, there) = channel();
        // Each task blocks its thread until the other runs: on one thread they would wait for ever.
        let meet = Arc::new(std::sync::Barrier::new(2));
        for runtime in threads.runtimes() {
            let (meet, here) = (Arc::clone(&meet), here.clone());
            runtime.spawn(async move {
                meet.wait();
                here.send(std::thread::current().id()).unwrap();
                std::future::pending::<()>().await;
            });
        }
        drop(here);
        assert_ne!(there.recv().unwrap(), there.recv().unwrap());
        threads.stop();
    }
}
