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

mod directory;
mod events;
mod hold;
mod keys;
mod ledger;
mod rows;
mod sessions;

pub use directory::{Account, NewUser, StoredPassword, TotpEnrolment};
pub use events::EventRow;
pub use hold::{Hold, hold};
pub use keys::{KeyAlgorithm, SigningKeyRow};
pub use ledger::{BudgetKey, Debit};
pub use sessions::{Begin, EndedSession, LoadedSession, Revocation};

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

use crate::base::{MasterKey, SealKey, SealProblem, UnixTime};
use crate::machine::{EntropyFault, random};
use crate::telemetry::{Actor, EventKind, SecurityEvent};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations");

/// How long a write waits for another process's.
const BUSY_MAX: Duration = Duration::from_secs(2);
const READERS: u32 = 4;
const CANARY: &[u8] = b"zonegate";

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
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
    /// The file belongs to another master key.
    #[error("the store was made with another master key: give that key, or name another store")]
    WrongMasterKey,
    /// The file may be read by others.
    #[error("{0} may be read by other users (mode {1:o}): run `chmod 600` on it")]
    Exposed(PathBuf, u32),
    /// Another process holds the file.
    #[error("{0} is in use by another process: stop it first")]
    InUse(PathBuf),
    /// Two records claim the same name.
    #[error("{0} is taken already")]
    Taken(String),
    /// A record that should be there is not.
    #[error("{0} does not exist")]
    Missing(String),
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
    write: SqlitePool,
    read: SqlitePool,
    totp_key: SealKey,
    signing_key: SealKey,
}

type Tx = Transaction<'static, Sqlite>;

impl Store {
    /// Opens the store at `path`, creating it with mode 0600 when nothing is there, and brings its schema up to
    /// date.
    pub async fn open(path: &Path, master: &MasterKey) -> Result<Self, StoreFault> {
        private_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_MAX);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY_MAX);
        let write = pool(1).connect_with(options.clone()).await?;
        MIGRATIONS.run(&write).await.map_err(migration_fault)?;
        let read = pool(READERS).connect_with(options.read_only(true)).await?;
        let store = Self {
            write,
            read,
            totp_key: master.derive("totp secret v1"),
            signing_key: master.derive("signing key v1"),
        };
        store.check_master_key(&master.derive("store canary v1")).await?;
        Ok(store)
    }

    /// Closes all connections, so that the file is complete without its log.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    /// Writes a copy of the store, as of now, to `path`, which must not exist. The copy is as secret as the store.
    pub async fn backup_to(&self, path: &Path) -> Result<(), StoreFault> {
        let name = path.to_str().ok_or_else(|| StoreFault::Unavailable("the path is not UTF-8".into()))?;
        if path.exists() {
            return Err(StoreFault::Taken(path.display().to_string()));
        }
        create_private(path)?;
        // SQLite fills an empty file, and leaves its mode alone.
        sqlx::query("VACUUM INTO $1").bind(name).execute(&self.write).await?;
        Ok(())
    }

    /// Raises every user's epoch, ends every session and forgets the signing keys: after a restore, what was ended
    /// or withdrawn since the backup must not live again (F13). The next start makes a new key.
    pub async fn end_everything(&self, now: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE account SET epoch = epoch + 1, flow_epoch = flow_epoch + 1").execute(&mut *tx).await?;
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
        sqlx::query("DELETE FROM signing_key").execute(&mut *tx).await?;
        events::append(&mut tx, &SecurityEvent::new(EventKind::StoreRestored, Actor::Operator, now)).await?;
        Ok(tx.commit().await?)
    }

    /// Removes what nobody will ask for again: sessions that ended before `before`, spent flows that have
    /// expired, old revocations. The security log stays.
    pub async fn prune(&self, before: UnixTime, now: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
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
        Ok(self.write.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn check_master_key(&self, key: &SealKey) -> Result<(), StoreFault> {
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT value FROM meta WHERE key = 'canary'").fetch_optional(&self.write).await?;
        match kept {
            Some(sealed) => key.open(b"canary", &sealed).map(|_| ()).map_err(|_| StoreFault::WrongMasterKey),
            None => {
                let sealed = key.seal(random()?, b"canary", CANARY)?;
                sqlx::query("INSERT INTO meta (key, value) VALUES ('canary', $1)")
                    .bind(sealed)
                    .execute(&self.write)
                    .await?;
                Ok(())
            }
        }
    }
}

/// Puts the backup at `backup` in the place of the store at `path`, which nobody may have open.
///
/// The backup is opened and checked first, under the given key, and all its sessions are ended before it takes the
/// store's name; the store that was there stays beside it, with `.before-restore` behind its name.
pub async fn restore(path: &Path, backup: &Path, master: &MasterKey, now: UnixTime) -> Result<(), StoreFault> {
    let io = |error: std::io::Error| StoreFault::Unavailable(error.to_string());
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    if !backup.exists() {
        return Err(StoreFault::Missing(backup.display().to_string()));
    }
    if path.exists() {
        in_use_by_nobody(path).await?;
    }
    let staged = beside(".restoring");
    if staged.exists() {
        std::fs::remove_file(&staged).map_err(io)?;
    }
    create_private(&staged)?;
    std::fs::copy(backup, &staged).map_err(io)?;
    std::fs::set_permissions(&staged, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    let store = Store::open(&staged, master).await?;
    store.end_everything(now).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&store.write).await?;
    store.close().await;
    if path.exists() {
        std::fs::rename(path, beside(".before-restore")).map_err(io)?;
    }
    for leftover in ["-wal", "-shm"].map(beside) {
        if leftover.exists() {
            std::fs::remove_file(leftover).map_err(io)?;
        }
    }
    std::fs::rename(&staged, path).map_err(io)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

/// Succeeds only while no other connection is open: SQLite's exclusive locking mode refuses otherwise.
async fn in_use_by_nobody(path: &Path) -> Result<(), StoreFault> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO);
    let options = options.locking_mode(sqlx::sqlite::SqliteLockingMode::Exclusive);
    let held = || StoreFault::InUse(path.to_owned());
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(|_| held())?;
    let alone = sqlx::query("BEGIN EXCLUSIVE").execute(&pool).await.is_ok();
    pool.close().await;
    if alone { Ok(()) } else { Err(held()) }
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

/// Creates the file when it is not there, and refuses one that others may read.
fn private_file(path: &Path) -> Result<(), StoreFault> {
    match std::fs::metadata(path) {
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            if mode & 0o077 == 0 { Ok(()) } else { Err(StoreFault::Exposed(path.to_owned(), mode)) }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create_private(path),
        Err(error) => Err(StoreFault::Unavailable(format!("{}: {error}", path.display()))),
    }
}

fn create_private(path: &Path) -> Result<(), StoreFault> {
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map(|_| ()).map_err(|error| StoreFault::Unavailable(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
