//! One gateway a store.
//!
//! Two gateways on one file would each count slots in their own memory, and a user would hold six sessions instead of
//! three (F6). Commands do not take the lock: what they commit, a running gateway reads from the store.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::{MIGRATIONS, StoreFault};

/// Held for as long as a gateway runs on a store. The system lets go of it however the process ends.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "holding it is its purpose")] File);

/// Holds the store at `path`, by a file beside it that ends in `.lock`.
///
/// Errors: [`StoreFault::InUse`] while another gateway holds it; [`StoreFault::Unavailable`].
pub fn hold(path: &Path) -> Result<Hold, StoreFault> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let unavailable = |error: std::io::Error| StoreFault::Unavailable(format!("{}: {error}", name.display()));
    let options = File::options().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let file = options.map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(Hold(file)),
        Err(TryLockError::WouldBlock) => Err(StoreFault::InUse(path.to_owned())),
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
        Err(StoreFault::InUse(path)) => Err(StoreFault::OlderGateway(path)),
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
    use super::*;

    #[test]
    fn f6_a_second_gateway_on_one_store_is_refused_until_the_first_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let first = hold(&path).unwrap();
        assert!(matches!(hold(&path), Err(StoreFault::InUse(_))));
        drop(first);
        assert!(hold(&path).is_ok());
    }
}
