//! The embedded store: one SQLite file that holds everything which must survive.
//!
//! Every write that a reply depends on is committed before the reply: WAL with `synchronous=FULL`, one sync a
//! commit. What may happen once is one conditional write, never a read and a write.
//!
//! *Why not `sqlx`'s `Any` driver, so that PostgreSQL fits without a change?* It erases which constraint failed
//! and a column's type, and both carry meaning here ("this flow has ended already"). The SQL keeps to what both
//! engines speak (`$1`, `ON CONFLICT`, `RETURNING`); the second engine is a second set of migrations.
//!
//! *Why one connection for writing?* SQLite writes one at a time anyhow. A queue inside the process keeps its
//! conditional writes from meeting `SQLITE_BUSY`; other processes (the commands) are waited for.
//!
//! *Why is no row trusted?* The file may be restored, edited or torn. A row that does not parse is a fault that
//! names the table, never a panic and never a default.

mod begins;
mod directory;
mod events;
mod files;
mod hold;
mod keys;
mod ledger;
mod links;
mod lists;
mod loading;
mod meter;
mod provider_sessions;
mod providers;
mod rows;
mod sessions;
mod suite;
mod transaction;
mod zones;

pub use begins::Begin;
pub use directory::{Account, NewUser, Owner, StoredPassword, TotpEnrolment};
pub use events::EventRow;
pub use files::restore;
pub use hold::{Hold, hold};
pub use keys::{KeyAlgorithm, SigningKeyRow};
pub use ledger::{BudgetKey, Debit};
pub use links::{LinkRow, Linked};
pub use lists::{Found, Listed};
pub use meter::Meter;
pub use provider_sessions::{ProviderSession, ProviderSessionRow, QueuedLogout, SessionOfProvider};
pub use providers::{Provider, SsoSet};
pub use sessions::{EndedSession, Ending, LoadedSession, Revocation};
pub use suite::{SuitePerson, SuiteSet};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite};
use tokio::sync::Semaphore;

use crate::base::{Domain, MasterKey, SealKey, SealProblem, UnixTime};
use crate::machine::{EntropyFault, random};
use crate::telemetry::{Actor, EventKind, SecurityEvent};
use begins::Begins;
use files::{OpenFile, private_file};
use rows::is_no_database;
use transaction::Tx;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations");

/// How long a write waits for another process's, and whoever reads for a reader.
const BUSY_MAX: Duration = Duration::from_secs(2);
/// How many read at once what people ask for.
const READERS: u32 = 4;
/// How many read what every request rests on, apart from those.
const LEASE_READERS: u32 = 1;
const CANARY: &[u8] = b"zonegate";

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreFault {
    /// The file, disk or engine failed.
    #[error("the store cannot be used: {0}")]
    Unavailable(String),
    /// What is stored there is not what this program writes.
    #[error("the store is damaged: {0} does not read back")]
    Corrupt(&'static str),
    /// The file was written by a newer program.
    #[error("the store was written by a newer zonegate: start that version, or restore a backup made before it")]
    NewerSchema,
    /// A gateway runs on the file of an older version, which would be brought up to date under it.
    #[error(
        "{0} is in use by an older zonegate, which could not read what this version writes: run `zonegate upgrade` first, \
         or use the older binary. If none runs, another command is bringing the store up to date: try again in a moment"
    )]
    OlderGateway(PathBuf),
    /// The file is something else.
    #[error("{0} is not a store of zonegate: name another file below `store`, or restore a backup")]
    NotAStore(PathBuf),
    /// The file belongs to another master key.
    #[error("the store was made with another master key: give that key, or name another store")]
    WrongMasterKey,
    /// The file may be read by others.
    #[error("{0} may be read by other users (mode {1:o}): run `chmod 600` on it")]
    Exposed(PathBuf, u32),
    /// The file was moved away or replaced while it was open: what others write there is not what is read here.
    #[error("{0} was moved away or replaced while it was in use: put it back, or restart")]
    Replaced(PathBuf),
    /// Another process holds the file: which, and what to do.
    #[error("{0} is in use: {1}")]
    InUse(PathBuf, &'static str),
    /// Two records claim the same name.
    #[error("{0} is taken already")]
    Taken(String),
    /// A domain that a tenant is to lose is still in its users' names. Were it lost, the next tenant to take it would
    /// share a wall with them.
    #[error(
        "domain {0} cannot be taken away, because {1} has it and users keep their names: list it for the tenant again"
    )]
    DomainInUse(Domain, String),
    /// A record that should be there is not.
    #[error("{0} does not exist")]
    Missing(String),
    /// As many long lists are being read as may be at once.
    #[error("too many lists are being read at once: try again in a moment")]
    Busy,
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
}

impl From<sqlx::Error> for StoreFault {
    fn from(error: sqlx::Error) -> Self {
        // SQLite's messages name tables and files, never values.
        Self::Unavailable(error.to_string())
    }
}

impl From<SealProblem> for StoreFault {
    fn from(_: SealProblem) -> Self {
        Self::Corrupt("a sealed secret")
    }
}

/// The open store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    file: Arc<OpenFile>,
    write: SqlitePool,
    read: SqlitePool,
    /// For what is asked by the clock and must not wait for people: what was revoked, and the signing keys. Were it to
    /// wait for as long as a lease of the table's lasts, nobody's session would be trusted any more (G4).
    lease: SqlitePool,
    /// Who may read a long list at present.
    lists: Arc<Semaphore>,
    meter: Arc<Meter>,
    begins: Arc<Begins>,
    /// A command's hold of the store.
    #[expect(dead_code, reason = "holding it is its purpose")]
    command: Option<Arc<Hold>>,
    totp_key: SealKey,
    signing_key: SealKey,
    provider_key: SealKey,
    id_token_key: SealKey,
}

/// Nothing is written while this lives.
#[derive(Debug)]
pub struct WritesHeld {
    connection: PoolConnection<Sqlite>,
    write: SqlitePool,
}

impl WritesHeld {
    /// Nothing is ever written again by this process: another one does.
    pub async fn for_good(self) {
        // Marked as closed before the connection is given back, so that nobody gets it in between.
        let closing = self.write.close();
        drop(self.connection);
        closing.await;
    }
}

impl Store {
    /// Opens the store at `path`, creating it with mode 0600 when nothing is there, and brings its schema up to
    /// date.
    pub async fn open(path: &Path, master: &MasterKey) -> Result<Self, StoreFault> {
        Self::open_checked(private_file(path)?, master).await
    }

    /// Opens a file that was looked at. SQLite opens it by its name, and nobody says what it found there: that it is the
    /// file whose mode was looked at is made sure of before anything is written, and once all have opened it.
    async fn open_checked(file: OpenFile, master: &MasterKey) -> Result<Self, StoreFault> {
        let path = &*file.path.clone();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_MAX);
        // A connection whose transaction could neither be committed nor rolled back, as on a full disk, is thrown away:
        // whatever was written on it from then on would be acknowledged and never committed (F4).
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY_MAX)
                // A ping goes to the connection's thread and back, and proves nothing of a file.
                .test_before_acquire(false)
                .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        };
        let write = pool(1).connect_with(options.clone()).await.map_err(|error| unreadable(path, error))?;
        file.check_in_place()?;
        ours_or_empty(path, &write).await?;
        MIGRATIONS.run(&write).await.map_err(migration_fault)?;
        let options = options.read_only(true);
        let read = pool(READERS).connect_with(options.clone()).await?;
        let lease = pool(LEASE_READERS).connect_with(options).await?;
        file.check_in_place()?;
        let store = Self {
            file: Arc::new(file),
            write,
            read,
            lease,
            lists: Arc::new(Semaphore::new(lists::LISTS)),
            meter: Arc::new(Meter::new()),
            begins: Arc::default(),
            command: None,
            totp_key: master.derive("totp secret v1"),
            signing_key: master.derive("signing key v1"),
            provider_key: master.derive("provider secret v1"),
            id_token_key: master.derive("id token v1"),
        };
        store.check_master_key(&master.derive("store canary v1")).await?;
        Ok(store)
    }

    /// Opens the store at `path` for a command, beside a gateway that may run on it: then nothing is brought up to date
    /// under the gateway, because it could not be started again afterwards. No restore begins before all clones are dropped.
    ///
    /// Errors: [`StoreFault::OlderGateway`]; [`StoreFault::InUse`] during a restore.
    pub async fn open_beside(path: &Path, master: &MasterKey) -> Result<Self, StoreFault> {
        let command = hold::hold_as_command(path)?;
        let _held = hold::beside(path).await?;
        let store = Self::open(path, master).await?;
        Ok(Self { command: Some(Arc::new(command)), ..store })
    }

    /// Lets no further write begin, once those that have begun are done. Reading goes on.
    ///
    /// Errors: [`StoreFault::Unavailable`] when one takes too long.
    pub async fn hold_writes(&self) -> Result<WritesHeld, StoreFault> {
        // There is one connection for writing, and its queue is fair.
        Ok(WritesHeld { connection: self.write.acquire().await?, write: self.write.clone() })
    }

    /// Whether it was closed, and nothing will be read or written any more. Where another process writes, it is not.
    pub fn is_closed(&self) -> bool {
        self.read.is_closed()
    }

    /// Closes all connections, so that the file is complete without its log.
    pub async fn close(&self) {
        self.read.close().await;
        self.lease.close().await;
        self.write.close().await;
    }

    /// Damages what is kept, as nothing of ours would.
    #[cfg(test)]
    pub(crate) async fn by_hand(&self, statement: &'static str) {
        self.execute(sqlx::query(statement)).await.unwrap();
    }

    /// Ends whatever rests on an earlier proof, for a store that comes from a backup: what was ended or withdrawn since then
    /// must not live again (F13). Raises every user's epochs, ends every session, and forgets the signing keys and what
    /// sessions kept of their providers. The next start makes a new key.
    ///
    /// The epochs become the time, because one more than the backup's would be an epoch that was in force between
    /// the backup and now, and flows and cookies of that time would count again. A code that was used since then is
    /// not accepted a second time either: the next one, a minute later at most, is.
    pub async fn end_everything(&self, now: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        for statement in [
            "UPDATE account SET epoch = max(epoch + 1, $1), flow_epoch = max(flow_epoch + 1, $1)",
            "UPDATE totp SET last_step = max(last_step, $1 / period + 1)",
        ] {
            sqlx::query(statement).bind(rows::seconds(now)).execute(&mut *tx).await?;
        }
        sqlx::query("UPDATE session SET ended_at = $1, end_reason = 'revoked' WHERE ended_at IS NULL")
            .bind(rows::seconds(now))
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO revocation (account, session, epoch, reason, at) \
             SELECT id, NULL, epoch, 'revoked', $1 FROM account",
        )
        .bind(rows::seconds(now))
        .execute(&mut *tx)
        .await?;
        // Providers are not told of sessions of an earlier time.
        for statement in ["DELETE FROM signing_key", "DELETE FROM provider_logout", "DELETE FROM provider_session"]
        {
            sqlx::query(statement).execute(&mut *tx).await?;
        }
        events::append(&mut tx, &SecurityEvent::new(EventKind::StoreRestored, Actor::Operator, now)).await?;
        Ok(tx.commit().await?)
    }

    /// Removes what nobody will ask for again: sessions that ended before `before`, spent flows that have
    /// expired, old revocations. The security log stays.
    pub async fn prune(&self, before: UnixTime, now: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        provider_sessions::prune(&mut tx, now).await?;
        for (statement, limit) in [
            ("DELETE FROM session WHERE ended_at < $1", before),
            ("DELETE FROM spent WHERE expires_at < $1", now),
            ("DELETE FROM revocation WHERE at < $1", before),
        ] {
            sqlx::query(statement).bind(rows::seconds(limit)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// A transaction that holds the write lock from its start, so that it never has to be tried again.
    async fn begin(&self) -> Result<Tx, StoreFault> {
        self.check_in_place()?;
        Ok(Tx::begin(&self.write, &self.meter).await?)
    }

    /// Runs one statement that is a transaction of its own, and gives how many rows it changed.
    async fn execute(&self, statement: Query<'_, Sqlite, SqliteArguments>) -> Result<u64, StoreFault> {
        self.check_in_place()?;
        Ok(transaction::run_alone(&self.write, &self.meter, statement, None).await?)
    }

    /// Comes before every write: what is written to a file that was moved away is acknowledged and lost (F6).
    fn check_in_place(&self) -> Result<(), StoreFault> {
        self.file.check_in_place().inspect_err(|_| self.meter.write_failed())
    }

    async fn check_master_key(&self, key: &SealKey) -> Result<(), StoreFault> {
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT value FROM meta WHERE key = 'canary'").fetch_optional(&self.write).await?;
        match kept {
            Some(sealed) => key.open(b"canary", &sealed).map(|_| ()).map_err(|_| StoreFault::WrongMasterKey),
            None => {
                let sealed = key.seal(random()?, b"canary", CANARY)?;
                let query = sqlx::query("INSERT INTO meta (key, value) VALUES ('canary', $1)");
                self.execute(query.bind(sealed)).await.map(drop)
            }
        }
    }
}

fn unreadable(path: &Path, error: sqlx::Error) -> StoreFault {
    if is_no_database(&error) { StoreFault::NotAStore(path.to_owned()) } else { error.into() }
}

/// Refuses another program's database: migrating it would put our tables among its own.
async fn ours_or_empty(path: &Path, write: &SqlitePool) -> Result<(), StoreFault> {
    let query = "SELECT count(*), count(CASE WHEN name = '_sqlx_migrations' THEN 1 END) FROM sqlite_master \
                 WHERE type = 'table'";
    let counted: Result<(i64, i64), _> = sqlx::query_as(query).fetch_one(write).await;
    match counted.map_err(|error| unreadable(path, error))? {
        (0, _) | (_, 1..) => Ok(()),
        _ => Err(StoreFault::NotAStore(path.to_owned())),
    }
}

fn migration_fault(error: sqlx::migrate::MigrateError) -> StoreFault {
    use sqlx::migrate::MigrateError;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's own enum, not ours, and it may grow")]
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) | MigrateError::VersionTooNew(..) => {
            StoreFault::NewerSchema
        }
        other => StoreFault::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
