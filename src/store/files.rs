//! The store's file: who may read it, whether it is still there, a copy of it, and a copy in its place.
//!
//! Whatever breaks off halfway leaves the store that was there, or the whole of the one that takes its place: a copy has a
//! name of its own until it is complete, and what it replaces is kept beside it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode, SqlitePoolOptions};

use super::hold::{hold, hold_off_commands};
use super::rows::is_no_database;
use super::{BUSY_MAX, Store, StoreFault};
use crate::base::{MasterKey, UnixTime};

/// Which file was opened: an open one outlives its name, and would be written to where no command looks (F6).
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFile {
    fn of(path: &Path) -> Result<Self, StoreFault> {
        let found = std::fs::metadata(path).map_err(|_| StoreFault::Replaced(path.to_owned()))?;
        Ok(Self::new(path, &found))
    }

    fn new(path: &Path, found: &Metadata) -> Self {
        Self { path: path.to_owned(), device: found.dev(), inode: found.ino() }
    }

    /// Errors: [`StoreFault::Replaced`] when its name leads elsewhere by now.
    pub(super) fn check_in_place(&self) -> Result<(), StoreFault> {
        let now = Self::of(&self.path)?;
        if (now.device, now.inode) == (self.device, self.inode) {
            Ok(())
        } else {
            Err(StoreFault::Replaced(self.path.clone()))
        }
    }
}

/// Creates the file when it is not there, and refuses one that others may read.
pub(super) fn private_file(path: &Path) -> Result<OpenFile, StoreFault> {
    let found = match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_private(path, owner(path))?.metadata(),
        found => found,
    };
    let found = found.map_err(|error| StoreFault::Unavailable(format!("{}: {error}", path.display())))?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreFault::Exposed(path.to_owned(), mode));
    }
    Ok(OpenFile::new(path, &found))
}

/// Makes a file that only its owner may read. `owner`: whose it is to be, besides ours.
pub(super) fn create_private(path: &Path, owner: Option<Metadata>) -> Result<File, StoreFault> {
    let created = File::options().write(true).create_new(true).mode(0o600).open(path);
    let created = created.and_then(|made| give_away(made, owner));
    created.map_err(|error| StoreFault::Unavailable(format!("{}: {error}", path.display())))
}

/// Whose the store at `path` is, or is to be: what root's command leaves there, the gateway's own user must be able to open.
pub(super) fn owner(path: &Path) -> Option<Metadata> {
    std::fs::metadata(path).or_else(|_| std::fs::metadata(folder_of(path))).ok()
}

/// Gives a file that was made just now to its owner. Whoever may write to a folder could put a link to any other in its place.
pub(super) fn give_away(made: File, owner: Option<Metadata>) -> io::Result<File> {
    let (Some(owner), mine) = (owner, made.metadata()?) else { return Ok(made) };
    if (owner.uid(), owner.gid()) != (mine.uid(), mine.gid()) {
        // Nobody but root may give anything away.
        let _ = fchown(&made, Some(owner.uid()), Some(owner.gid()));
    }
    Ok(made)
}

impl Store {
    /// Writes a copy of the store, as of now, to `path`, which must not exist. The copy is as secret as the store.
    pub async fn backup_to(&self, path: &Path) -> Result<(), StoreFault> {
        let name = path.to_str().ok_or_else(|| StoreFault::Unavailable("the path is not UTF-8".into()))?;
        if path.exists() {
            return Err(StoreFault::Taken(path.display().to_string()));
        }
        create_private(path, None)?;
        // SQLite fills an empty file, and leaves its mode alone.
        let copied = self.execute(sqlx::query("VACUUM INTO $1").bind(name)).await;
        if let Err(fault) = copied {
            // A copy that is not whole must not be mistaken for one.
            let _ = std::fs::remove_file(path);
            return Err(fault);
        }
        sync_folder_of(path)
    }
}

/// Puts the backup at `backup` in the place of the store at `path`, which nobody may have open.
///
/// The backup is opened and checked first, under the given key, and all its sessions are ended before it takes the
/// store's name. The store that was there stays beside it, and its new name is the answer.
pub async fn restore(
    path: &Path,
    backup: &Path,
    master: &MasterKey,
    now: UnixTime,
) -> Result<Option<PathBuf>, StoreFault> {
    let io = |error: io::Error| StoreFault::Unavailable(error.to_string());
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    if !backup.exists() {
        return Err(StoreFault::Missing(backup.display().to_string()));
    }
    // No gateway begins meanwhile, which would write into the file that is taken away.
    let _held = (hold(path)?, hold_off_commands(path)?);
    if path.exists() {
        ensure_not_open(path).await?;
    }
    let staged = beside(".restoring");
    let remove_staged = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(beside(&format!(".restoring{suffix}")));
        }
    };
    remove_staged();
    if let Err(fault) = stage(&staged, owner(path), backup, master, now).await {
        remove_staged();
        // The operator knows the file by its own name.
        let renamed = matches!(fault, StoreFault::NotAStore(_)).then(|| StoreFault::NotAStore(backup.to_owned()));
        return Err(renamed.unwrap_or(fault));
    }
    // One that an earlier restore has kept is not overwritten: it may be the last that was right.
    let parts = ["", "-wal", "-shm"];
    let is_there = |name: &str| parts.iter().any(|part| beside(&format!("{name}{part}")).exists());
    let kept = (1..u32::MAX).map(|number| format!(".before-restore-{number}")).find(|name| !is_there(name));
    // Also where the file itself is lost: what is left of it would be taken for the new one's.
    let kept = kept.filter(|_| is_there(""));
    if let Some(name) = &kept {
        // Under both names, so that there is a store at any moment. With its log: what SQLite could not read it could not fold
        // into the file either.
        for suffix in parts {
            let (now, then) = (beside(suffix), beside(&format!("{name}{suffix}")));
            if now.exists() {
                // Not every file system has links.
                std::fs::hard_link(&now, &then).or_else(|_| std::fs::copy(&now, &then).map(|_| ())).map_err(io)?;
            }
        }
        sync_folder_of(path)?;
        for suffix in ["-wal", "-shm"].map(beside).iter().filter(|log| log.exists()) {
            std::fs::remove_file(suffix).map_err(io)?;
        }
    }
    std::fs::rename(&staged, path).map_err(io)?;
    sync_folder_of(path)?;
    Ok(kept.map(|name| beside(&name)))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Names in a folder are on the disk once the folder is.
fn sync_folder_of(path: &Path) -> Result<(), StoreFault> {
    let folder = folder_of(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreFault::Unavailable(format!("{}: {error}", folder.display())))
}

/// Copies the backup to `staged`, checks it, and ends everything in it.
async fn stage(
    staged: &Path,
    owner: Option<Metadata>,
    backup: &Path,
    master: &MasterKey,
    now: UnixTime,
) -> Result<(), StoreFault> {
    let io = |error: io::Error| StoreFault::Unavailable(error.to_string());
    create_private(staged, owner)?;
    std::fs::copy(backup, staged).map_err(io)?;
    std::fs::set_permissions(staged, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    if std::fs::metadata(staged).map_err(io)?.len() == 0 {
        // SQLite takes an empty file for an empty database.
        return Err(StoreFault::NotAStore(staged.to_owned()));
    }
    let store = Store::open(staged, master).await?;
    let ended = store.end_everything(now).await;
    let complete = store.execute(sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")).await;
    store.close().await;
    ended?;
    complete?;
    Ok(())
}

/// Succeeds only while no other connection is open: SQLite's exclusive locking mode refuses otherwise. A file that is
/// damaged beyond reading is open to nobody, and the very reason to restore.
async fn ensure_not_open(path: &Path) -> Result<(), StoreFault> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO);
    let options = options.locking_mode(SqliteLockingMode::Exclusive);
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(BUSY_MAX).connect_with(options).await;
    let alone = match pool {
        Ok(pool) => {
            let alone = sqlx::query("BEGIN EXCLUSIVE").execute(&pool).await.map(|_| ());
            pool.close().await;
            alone
        }
        Err(error) => Err(error),
    };
    match alone {
        Ok(()) => Ok(()),
        Err(error) if is_no_database(&error) => Ok(()),
        Err(_) => Err(StoreFault::InUse(path.to_owned(), "another process has it open; stop that first")),
    }
}
