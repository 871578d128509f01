//! Where a running gateway's configuration is read again, and whether it has changed since.
//!
//! *Which files are looked at?* Those that the last reading asked for, whatever it was for and whether it got them: a
//! list of its own would be a list to forget something in. What is compared is what the name leads to, by inode, size
//! and times, as it was just before it was read.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::files::Disk;
use super::logging::Level;
use super::operator::Configuration;
use super::{CommandProblem, check};
use crate::config::{LogLevel, Settings, Surroundings};
use crate::edge::Source;

/// The configuration file and everything that it names.
pub(super) struct Files {
    configuration: Configuration,
    level: Level,
    read: Mutex<Seen>,
}

/// What each file looked like; `None` for one that was not there.
type Seen = BTreeMap<PathBuf, Option<Look>>;

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Look {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// Follows links, as reading does.
    fn at(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Files {
    /// Reads for the first time: the settings to begin with, and where they are read again.
    pub(super) fn begin(configuration: &Configuration) -> Result<(Settings, Noted), CommandProblem> {
        let noting = Noting::default();
        let settings = check::settings_from(configuration, &noting)?;
        Ok((settings, Noted(noting.seen())))
    }

    /// The same files from here on, and the log whose level they set.
    pub(super) fn new(configuration: &Configuration, noted: Noted, level: Level) -> Self {
        Self { configuration: configuration.clone(), level, read: Mutex::new(noted.0) }
    }
}

/// What the files looked like when they were read for the first time.
pub(super) struct Noted(Seen);

impl Source for Files {
    fn read(&self) -> Result<Settings, String> {
        let noting = Noting::default();
        let settings = check::settings_from(&self.configuration, &noting);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = noting.seen();
        settings.map_err(|problem| problem.to_string())
    }

    fn changed(&self) -> Option<u64> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now: Seen = read.keys().map(|path| (path.clone(), Look::at(path))).collect();
        let differs = now != read;
        let mut hasher = DefaultHasher::new();
        now.hash(&mut hasher);
        differs.then(|| hasher.finish())
    }

    fn set_log_level(&self, level: LogLevel) {
        self.level.set(level);
    }
}

/// The disk, and a note of what was asked of it.
#[derive(Default)]
struct Noting(Mutex<Seen>);

impl Noting {
    fn seen(self) -> Seen {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before it is read: a change in between is then seen at the next look and not missed.
    fn note(&self, path: &Path) {
        let look = Look::at(path);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_insert(look);
    }
}

impl Surroundings for Noting {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.note(path);
        Disk.read(path)
    }

    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.note(path);
        Disk.read_secret(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, String> {
        self.note(path);
        Disk.list(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        Disk.variable(name)
    }

    fn variables(&self, prefix: &str) -> Vec<(String, String)> {
        Disk.variables(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_changes(what: &str, change: impl Fn(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        fs::write(folder.path().join("two"), "two").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let link = folder.path().join("link");
        let before = Look::at(&link);
        assert_eq!(before, Look::at(&link));
        change(folder.path());
        assert_ne!(before, Look::at(&link), "{what}");
    }

    #[test]
    fn whatever_way_a_file_is_replaced_it_is_seen() {
        look_changes("written", |folder| fs::write(folder.join("file"), "more").unwrap());
        look_changes("renamed over", |folder| fs::rename(folder.join("two"), folder.join("file")).unwrap());
        look_changes("taken away", |folder| fs::remove_file(folder.join("file")).unwrap());
        look_changes("linked to elsewhere", |folder| {
            fs::remove_file(folder.join("link")).unwrap();
            std::os::unix::fs::symlink("two", folder.join("link")).unwrap();
        });
    }
}
