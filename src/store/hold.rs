//! One gateway a store, and no command on one that is being restored.
//!
//! Two gateways on one file would each count slots in their own memory, and a user would hold six sessions instead of
//! three (F6). Commands do not take the gateway's lock: what they commit, a running gateway reads from the store.
//!
//! *Why do commands have a lock of their own?* A restore puts another file in the place of the one that a command has
//! opened. What the command committed until then would be acknowledged and gone.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::files::{give_away, owner};
use super::{MIGRATIONS, StoreFault};

/// Held for as long as a gateway, a command or a restore has a store. The system lets go of it however the process ends.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "holding it is its purpose")] File);

/// Holds the store at `path`, by a file beside it that ends in `.lock`.
///
/// Errors: [`StoreFault::InUse`] while another gateway or a restore holds it; [`StoreFault::Unavailable`].
pub fn hold(path: &Path) -> Result<Hold, StoreFault> {
    const TAKEN: &str = "a gateway runs on it, or a command restores it or brings it up to date; stop that first";
    lock(path, ".lock", File::try_lock, TAKEN)
}

/// Held by a command for as long as it has the store open, beside any others.
///
/// Errors: [`StoreFault::InUse`] during a restore; [`StoreFault::Unavailable`].
pub(super) fn hold_as_command(path: &Path) -> Result<Hold, StoreFault> {
    const TAKEN: &str = "`zonegate restore` is putting another store in its place; try again once it has ended";
    lock(path, COMMANDS, File::try_lock_shared, TAKEN)
}

/// Held by a restore: no command works on the store, and none begins to.
///
/// Errors: [`StoreFault::InUse`] while a command has it open; [`StoreFault::Unavailable`].
pub(super) fn hold_off_commands(path: &Path) -> Result<Hold, StoreFault> {
    const TAKEN: &str = "another command is working on it; try again once that has ended";
    lock(path, COMMANDS, File::try_lock, TAKEN)
}

/// What the name of the commands' lock ends in.
const COMMANDS: &str = ".commands";

fn lock(
    path: &Path,
    suffix: &str,
    try_lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    taken: &'static str,
) -> Result<Hold, StoreFault> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let name = PathBuf::from(name);
    let unavailable = |error: io::Error| StoreFault::Unavailable(format!("{}: {error}", name.display()));
    let file = match File::options().create_new(true).read(true).write(true).mode(0o600).open(&name) {
        Ok(made) => give_away(made, owner(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            File::options().read(true).write(true).open(&name)
        }
        Err(error) => Err(error),
    };
    let file = file.map_err(unavailable)?;
    match try_lock(&file) {
        Ok(()) => Ok(Hold(file)),
        Err(TryLockError::WouldBlock) => Err(StoreFault::InUse(path.to_owned(), taken)),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// For a command, which brings an older store up to date: where one is, no gateway may run on it until that is done.
///
/// Errors: [`StoreFault::OlderGateway`]; [`StoreFault::Unavailable`].
pub(super) async fn beside(path: &Path) -> Result<Option<Hold>, StoreFault> {
    if !is_behind(path).await {
        return Ok(None);
    }
    match hold(path) {
        Ok(held) => Ok(Some(held)),
        // Another command, or a gateway that begins, may have brought it up to date meanwhile.
        Err(StoreFault::InUse(..)) if !is_behind(path).await => Ok(None),
        Err(StoreFault::InUse(path, _)) => Err(StoreFault::OlderGateway(path)),
        Err(fault) => Err(fault),
    }
}

/// Whether a store is there that an earlier version has left. One that cannot be read says so when it is opened.
async fn is_behind(path: &Path) -> bool {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let Ok(mut connection) = SqliteConnection::connect_with(&options).await else { return false };
    let newest = sqlx::query_scalar::<_, i64>("SELECT max(version) FROM _sqlx_migrations");
    let found = newest.fetch_one(&mut connection).await;
    // Nothing was written, and nothing is lost with it.
    let _ = connection.close().await;
    let ours = MIGRATIONS.iter().map(|migration| migration.version).max();
    found.is_ok_and(|found| ours.is_some_and(|ours| found < ours))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn f6_a_second_gateway_on_one_store_is_refused_until_the_first_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let first = hold(&path).unwrap();
        assert!(matches!(hold(&path), Err(StoreFault::InUse(..))));
        drop(first);
        assert!(hold(&path).is_ok());
    }

    #[test]
    fn what_root_leaves_beside_a_store_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, "").unwrap();
        if std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).is_err() {
            // Only root can have done so.
            return;
        }
        let held = (hold(&path).unwrap(), hold_as_command(&path).unwrap());
        for name in ["store.db.lock", "store.db.commands"] {
            let made = std::fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (65_534, 65_534, 0o600), "{name}");
        }
        drop(held);
        // A link that the owner of the folder has put there.
        let other = folder.path().join("other");
        std::fs::write(&other, "").unwrap();
        std::fs::remove_file(folder.path().join("store.db.lock")).unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("store.db.lock")).unwrap();
        let _linked = hold(&path);
        assert_eq!(std::fs::metadata(&other).unwrap().uid(), 0, "nothing of root's is given away");
    }
}
