//! Threads that do nothing but hash passwords.
//!
//! One log-in costs as much processor time as thousands of signed-in requests. On the proxy's own threads a burst
//! of log-ins would stop them; on unbounded threads it would take the machine. Here it waits in a bounded queue,
//! and what does not fit is refused at once, before it has cost an attempt.
//!
//! *How do they give way to requests?* By the system's scheduler: each is nice by ten, so that beside a request's thread
//! that wants the same core it gets a tenth of it. What it has begun to run it may run for a millisecond or two before it is
//! put off, which is what a request may still have to wait.
//!
//! *Why not nicer, or in the class for what is done when nothing else is (`SCHED_IDLE`)?* Both were tried: nineteen gets
//! fifteen parts in a thousand, the class three. With both cores kept busy by others of the same session, log-ins were not
//! through in the time that a browser waits. They are to become slow when requests take the whole machine, and not to stop:
//! a hash of 20 ms takes a fifth of a second then, and what does not fit into the queue is told to wait (503).
//! Coming back into the usual class for a job that has waited too long would need a privilege, and would let two hundred
//! wrong passwords buy what they are not to have.
//!
//! The parts are those of this process, or of its service or container, where the system gives each a share of its own.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, mpsc};

use tokio::sync::oneshot;

use crate::machine::give_way;

type Job = Box<dyn FnOnce() + Send>;

/// What a thread takes from the queue.
enum Order {
    Do(Job),
    /// The thread that takes this one ends: there are to be fewer.
    Leave,
}

/// The threads and their queue. Dropping it ends the threads once the queue is empty.
///
/// *Why is it resized, and not replaced, when its settings change?* Two pools would use the memory of both, and what
/// waits would be counted against neither.
#[derive(Debug)]
pub(super) struct HashPool {
    orders: mpsc::Sender<Order>,
    queue: Arc<Mutex<mpsc::Receiver<Order>>>,
    /// How many threads there are, or will be once those that were told to leave have.
    threads: Mutex<usize>,
    room: Arc<Room>,
}

/// How many jobs wait or are worked on, and how many may.
#[derive(Debug)]
struct Room {
    taken: AtomicUsize,
    most: AtomicUsize,
}

impl Room {
    fn take(self: &Arc<Self>) -> Option<Permit> {
        let most = self.most.load(Ordering::Relaxed);
        let more = |taken: usize| Some(taken + 1).filter(|taken| *taken <= most);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Permit(Arc::clone(self)))
    }
}

/// Dropped, its place is free.
#[derive(Debug)]
struct Permit(Arc<Room>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A place in the queue, taken before anything is promised.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pool: &'a HashPool,
    permit: Permit,
}

/// The job was not finished: its thread is gone or it panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a hashing thread failed")]
pub struct PoolFault;

impl HashPool {
    /// Starts `threads` threads, at least one, before which `queue_max` jobs may wait.
    pub(super) fn start(threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let (orders, queue) = mpsc::channel::<Order>();
        let room = Arc::new(Room { taken: AtomicUsize::new(0), most: AtomicUsize::new(0) });
        let pool = Self { orders, queue: Arc::new(Mutex::new(queue)), threads: Mutex::new(0), room };
        pool.resize(threads, queue_max)?;
        Ok(pool)
    }

    /// Changes how many threads there are and how many jobs may wait. What waits already is still done.
    ///
    /// Errors: the system refused a thread. Then there are as many as before.
    pub(super) fn resize(&self, threads: usize, queue_max: usize) -> std::io::Result<()> {
        let threads = threads.max(1);
        let mut present = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let leave = |count: usize| {
            for _ in 0..count {
                // The queue is this pool's own: it is there for as long as the pool is.
                let _ = self.orders.send(Order::Leave);
            }
        };
        for number in *present..threads {
            let queue = Arc::clone(&self.queue);
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            let run = move || {
                give_way_or_say_so();
                work(&queue);
            };
            if let Err(refused) = thread.spawn(run) {
                leave(number - *present);
                return Err(refused);
            }
        }
        leave(present.saturating_sub(threads));
        *present = threads;
        self.room.most.store(queue_max.saturating_add(threads), Ordering::Relaxed);
        Ok(())
    }

    /// Takes a place; `None` when the queue is full.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        Some(Place { pool: self, permit: self.room.take()? })
    }

    /// Whether a place would be refused now.
    pub(super) fn is_full(&self) -> bool {
        self.busy() >= self.most()
    }

    /// How many jobs wait or are being worked on.
    pub(super) fn busy(&self) -> usize {
        self.room.taken.load(Ordering::Relaxed)
    }

    /// How many may.
    pub(super) fn most(&self) -> usize {
        self.room.most.load(Ordering::Relaxed)
    }
}

impl Place<'_> {
    /// Runs `job` on one of the threads. When the caller goes away, the job is still done and its place kept
    /// until then: a client that hangs up cannot make room that is not there.
    pub(super) async fn run<T: Send + 'static>(
        self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolFault> {
        let (answer, answered) = oneshot::channel();
        let permit = self.permit;
        let job = Box::new(move || {
            let done = job();
            drop(permit);
            // Nobody listens any more when the client has hung up.
            let _ = answer.send(done);
        });
        self.pool.orders.send(Order::Do(job)).map_err(|_| PoolFault)?;
        answered.await.map_err(|_| PoolFault)
    }
}

/// Where the system refuses, log-ins are as they were before there was anything to ask it for: they take what they get.
fn give_way_or_say_so() {
    static SAID: Once = Once::new();
    if let Err(refused) = give_way() {
        SAID.call_once(|| {
            tracing::warn!(%refused, "log-ins do not give way to requests: the system does not allow it");
        });
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Order>>) {
    loop {
        // The lock is held while waiting: the others wait for the lock instead, which comes to the same.
        let order = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let job = match order {
            Ok(Order::Do(job)) => job,
            Ok(Order::Leave) | Err(_) => return,
        };
        // A panic costs this job its answer, not the pool its thread.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sheds_what_does_not_fit_and_takes_more_once_there_is_room() {
        let pool = HashPool::start(1, 3).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let mut held: Vec<_> = (0..=3).map(|_| pool.place().unwrap()).collect();
        assert!(pool.is_full());
        assert!(pool.place().is_none());
        assert_eq!(pool.busy(), 4);
        let first = held.pop().unwrap().run(move || gate.recv().is_ok());
        drop(held);
        assert!(!pool.is_full());
        assert!(pool.place().is_some());
        open.send(()).unwrap();
        assert_eq!(first.await, Ok(true));
        assert_eq!(pool.place().unwrap().run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn other_settings_change_the_room_and_lose_no_job() {
        let pool = HashPool::start(1, 0).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let waits = pool.place().unwrap().run(move || gate.recv().is_ok());
        assert!(pool.place().is_none());
        pool.resize(2, 1).unwrap();
        // The new thread does what comes while the old one is held up.
        assert_eq!(pool.place().unwrap().run(|| 7).await, Ok(7));
        pool.resize(1, 0).unwrap();
        assert!(pool.place().is_none(), "less room, and one place is taken");
        open.send(()).unwrap();
        assert_eq!(waits.await, Ok(true));
        assert_eq!(pool.place().unwrap().run(|| 8).await, Ok(8), "one thread is left");
        assert_eq!(*pool.threads.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_no_thread() {
        let pool = HashPool::start(1, 3).unwrap();
        let broken = pool.place().unwrap().run(|| if pool_is_broken() { panic!("on purpose") } else { 1 });
        assert_eq!(broken.await, Err(PoolFault));
        assert_eq!(pool.place().unwrap().run(|| 2).await, Ok(2));
    }

    fn pool_is_broken() -> bool {
        true
    }
}
