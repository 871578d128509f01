//! How the store does: how long it takes, what failed, and whether it can be written at present.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::rows::seconds;
use super::{Store, StoreFault};
use crate::base::UnixTime;
use crate::machine::Stopwatch;
use crate::telemetry::{Durations, EventTally};

/// A write that is as old as this says nothing of the present.
const FRESH: Duration = Duration::from_secs(5);

/// What the store counts. Everything since the process began.
#[derive(Debug)]
pub struct Meter {
    /// Reads.
    pub reads: Arc<Durations>,
    /// Writes, from the question for the write lock to the commit's end.
    pub writes: Arc<Durations>,
    /// Their commits alone: what the disk takes.
    pub commits: Arc<Durations>,
    /// The security events that were committed.
    pub events: EventTally,
    reads_failed: AtomicU64,
    writes_failed: AtomicU64,
    began: Stopwatch,
    /// When something was committed last, in milliseconds since `began`.
    wrote_at: AtomicU64,
    /// Whether the last write came through.
    writable: AtomicBool,
    /// One probe at a time.
    probing: tokio::sync::Mutex<()>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            reads: Arc::default(),
            writes: Arc::default(),
            commits: Arc::default(),
            events: EventTally::default(),
            reads_failed: AtomicU64::new(0),
            writes_failed: AtomicU64::new(0),
            began: Stopwatch::start(),
            wrote_at: AtomicU64::new(0),
            writable: AtomicBool::new(false),
            probing: tokio::sync::Mutex::default(),
        }
    }

    /// How many reads and writes failed.
    pub fn failed(&self) -> (u64, u64) {
        (self.reads_failed.load(Ordering::Relaxed), self.writes_failed.load(Ordering::Relaxed))
    }

    pub(super) fn wrote(&self, took: Duration) {
        self.writes.observe(took);
        self.wrote_at.store(self.millis(), Ordering::Relaxed);
        self.writable.store(true, Ordering::Release);
    }

    pub(super) fn write_failed(&self) {
        self.writes_failed.fetch_add(1, Ordering::Relaxed);
        self.writable.store(false, Ordering::Release);
    }

    fn wrote_just_now(&self) -> bool {
        let since = self.millis().saturating_sub(self.wrote_at.load(Ordering::Relaxed));
        self.writable.load(Ordering::Acquire) && u128::from(since) < FRESH.as_millis()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Store {
    /// What is counted.
    pub const fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// A read, measured.
    pub(super) async fn reading<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreFault> {
        let begun = Stopwatch::start();
        match work.await {
            Ok(value) => {
                self.meter.reads.observe(begun.elapsed());
                Ok(value)
            }
            Err(error) => {
                self.meter.reads_failed.fetch_add(1, Ordering::Relaxed);
                Err(error.into())
            }
        }
    }

    /// Whether the store can be written at present. Writes one row to find out, unless something was committed in the
    /// last five seconds.
    ///
    /// *Why is the last real write's outcome not enough?* A gateway that is told to be out of order gets no log-ins any
    /// more, so nothing would ever be written that shows it mended. *And why is there no probe by the clock?* It would
    /// keep a disk awake that nobody asks about.
    pub async fn check_writable(&self, now: UnixTime) -> Result<(), StoreFault> {
        if self.meter.wrote_just_now() {
            return Ok(());
        }
        // Whoever asks meanwhile waits, and has the answer then.
        let _turn = self.meter.probing.lock().await;
        if self.meter.wrote_just_now() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let written = sqlx::query(
            "INSERT INTO meta (key, value) VALUES ('probe', $1) ON CONFLICT (key) DO UPDATE SET value = $1",
        )
        .bind(seconds(now).to_be_bytes().to_vec())
        .execute(&mut *tx)
        .await;
        written.inspect_err(|_| self.meter.write_failed())?;
        Ok(tx.commit().await?)
    }
}
