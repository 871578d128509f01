//! A write, from the question for the write lock to its commit: measured, and told of once it has happened.
//!
//! *Why are security events shown after the commit and not when they are written down?* Who watches the log would see a
//! log-in that the disk refused a moment later, and nothing that takes it back. A transaction that is dropped shows and
//! counts nothing.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::events;
use super::meter::Meter;
use super::rows::is_constraint;
use crate::machine::Stopwatch;
use crate::telemetry::SecurityEvent;

/// A transaction that holds the write lock. Dropped, it never was.
pub(super) struct Tx {
    inner: Transaction<'static, Sqlite>,
    meter: Arc<Meter>,
    asked: Stopwatch,
    told: Vec<SecurityEvent>,
}

impl Tx {
    /// Waits for the write lock.
    pub(super) async fn begin(write: &SqlitePool, meter: &Arc<Meter>) -> Result<Self, sqlx::Error> {
        let asked = Stopwatch::start();
        let begun = write.begin_with("BEGIN IMMEDIATE").await;
        let inner = begun.inspect_err(|_| meter.write_failed())?;
        Ok(Self { inner, meter: Arc::clone(meter), asked, told: Vec::new() })
    }

    /// To be told once this is committed.
    pub(super) fn tell(&mut self, event: &SecurityEvent) {
        self.told.push(event.clone());
    }

    /// Makes it so.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { inner, meter, asked, told } = self;
        let committing = Stopwatch::start();
        inner.commit().await.inspect_err(|_| meter.write_failed())?;
        meter.commits.observe(committing.elapsed());
        meter.wrote(asked.elapsed());
        told.iter().for_each(|event| tell(&meter, event));
        Ok(())
    }
}

/// Runs one statement that is a transaction of its own, tells of it if there is something to tell, and gives how many rows
/// it changed.
///
/// *Why not always a [`Tx`]?* Each of its three steps is a message to the connection's thread and back, and for a log-in
/// that is alone these were half of what the disk takes. *And why not all three in one text?* One that fails or is dropped
/// before its `COMMIT` leaves the only writer within a transaction, and whatever comes next would be acknowledged and
/// never committed. One statement is committed or undone by the engine before anything else is run.
///
/// It is read to its end: whoever stops at a row that it returns does not hear that the disk refused the commit.
pub(super) async fn run_alone(
    write: &SqlitePool,
    meter: &Meter,
    statement: Query<'_, Sqlite, SqliteArguments>,
    event: Option<&SecurityEvent>,
) -> Result<u64, sqlx::Error> {
    let asked = Stopwatch::start();
    let mut connection = write.acquire().await.inspect_err(|_| meter.write_failed())?;
    let committing = Stopwatch::start();
    let done = statement.execute(&mut *connection).await.inspect_err(|error| {
        // A row that may not be there is no fault of the disk's.
        if !is_constraint(error) {
            meter.write_failed();
        }
    })?;
    meter.commits.observe(committing.elapsed());
    meter.wrote(asked.elapsed());
    event.into_iter().for_each(|event| tell(meter, event));
    Ok(done.rows_affected())
}

fn tell(meter: &Meter, event: &SecurityEvent) {
    meter.events.add(event.kind);
    events::show(event);
}

impl Deref for Tx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.inner
    }
}
