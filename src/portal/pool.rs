//! Threads that do nothing but hash passwords.
//!
//! One log-in costs as much processor time as thousands of signed-in requests. On the proxy's own threads a burst
//! of log-ins would stop them; on unbounded threads it would take the machine. Here it waits in a bounded queue,
//! and what does not fit is refused at once, before it has cost an attempt.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue. Dropping it ends the threads once the queue is empty.
#[derive(Debug)]
pub(super) struct HashPool {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    room_max: usize,
}

/// A place in the queue, taken before anything is promised.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pool: &'a HashPool,
    permit: OwnedSemaphorePermit,
}

/// The job was not finished: its thread is gone or it panicked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a hashing thread failed")]
pub struct PoolFault;

impl HashPool {
    /// Starts `threads` threads, at least one, before which `queue_max` jobs may wait.
    pub(super) fn start(threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("hash-{number}")).spawn(move || work(&queue))?;
        }
        let room_max = queue_max.saturating_add(threads).min(Semaphore::MAX_PERMITS);
        Ok(Self { jobs, room: Arc::new(Semaphore::new(room_max)), room_max })
    }

    /// Takes a place; `None` when the queue is full.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Place { pool: self, permit })
    }

    /// How many jobs wait or are being worked on.
    pub(super) fn busy(&self) -> usize {
        self.room_max.saturating_sub(self.room.available_permits())
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
            // Nobody listens any more when the client has hung up.
            let _ = answer.send(job());
            drop(permit);
        });
        self.pool.jobs.send(job).map_err(|_| PoolFault)?;
        answered.await.map_err(|_| PoolFault)
    }
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the others wait for the lock instead, which comes to the same.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
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
        assert!(pool.place().is_none());
        assert_eq!(pool.busy(), 4);
        let first = held.pop().unwrap().run(move || gate.recv().is_ok());
        drop(held);
        assert!(pool.place().is_some());
        open.send(()).unwrap();
        assert_eq!(first.await, Ok(true));
        assert_eq!(pool.place().unwrap().run(|| 7).await, Ok(7));
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
