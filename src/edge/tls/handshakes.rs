//! Handshakes that wait for requests.
//!
//! What a server computes for a handshake (a key exchange and a signature) takes as long as ten requests. A thread that
//! is offered two hundred at once would compute them one after the other, and a request that is ready meanwhile waits
//! for all of them: its runtime asks the system for news only after sixty turns, or when nothing else is to be done. So
//! on each thread one handshake is computed at a time, and before each the runtime asks for news and does what there is.
//!
//! *Why not a bound on handshakes under way?* Most of a handshake is waiting for the client, and a stranger who sends
//! half of one would hold a place for as long as it may last (D1). What waits here has all that it waits for: the hello
//! is complete, and the turn ends with the computation. And handshakes are held up by requests no further than that: a
//! runtime that never runs out of work still asks for news after sixty turns, and then one more is computed.

use tokio::sync::{Semaphore, SemaphorePermit};

/// The handshakes of one request thread.
#[derive(Debug)]
pub(in crate::edge) struct Handshakes(Semaphore);

impl Default for Handshakes {
    fn default() -> Self {
        Self(Semaphore::const_new(1))
    }
}

/// Whoever holds it may compute. Not to be held while waiting for anything.
pub(super) struct Turn<'a>(#[expect(dead_code, reason = "holding it is its purpose")] Option<SemaphorePermit<'a>>);

impl Handshakes {
    /// Waits until those before have been computed, and for whatever else the thread has to do then.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // An error would mean that it was closed, which nobody does; without turns handshakes are still made.
        let turn = Turn(self.0.acquire().await.ok());
        // Woken only after the runtime has asked the system for news.
        tokio::task::yield_now().await;
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::task::JoinSet;

    use super::*;

    /// On one thread, like a lane: what is said over a socket between two handshakes is heard before the second.
    #[tokio::test]
    async fn d4_a_crowd_of_handshakes_holds_up_no_request() {
        const CROWD: usize = 200;
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let requests = tokio::spawn(async move {
            let mut byte = [0];
            while server.read_exact(&mut byte).await.is_ok() {
                server.write_all(&byte).await.unwrap();
            }
        });
        let (queue, computed) = (Arc::new(Handshakes::default()), Arc::new(AtomicUsize::new(0)));
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            let (queue, computed) = (Arc::clone(&queue), Arc::clone(&computed));
            crowd.spawn(async move {
                let turn = queue.turn().await;
                computed.fetch_add(1, Ordering::Relaxed);
                drop(turn);
            });
        }
        let mut most = 0;
        while computed.load(Ordering::Relaxed) < CROWD {
            let before = computed.load(Ordering::Relaxed);
            client.write_all(b"?").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
            most = most.max(computed.load(Ordering::Relaxed) - before);
        }
        assert!(most <= 4, "a request has waited for {most} handshakes");
        drop(client);
        requests.await.unwrap();
        assert!(crowd.join_all().await.len() == CROWD);
    }
}
