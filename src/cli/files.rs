//! This machine's files and environment, for reading a configuration.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::config::Surroundings;

/// What a secret's mode may not have: anything for others, and more than reading for its group. The group may read,
/// because that is how a service is given a secret that root owns (`root:zonegate`, mode 640; Kubernetes does the same with
/// 440), and whoever may write it could put a key of their own there.
const EXPOSES: u32 = 0o037;

/// What is wrong with the mode of a secret's file (SEC-C5).
fn exposed(path: &Path, mode: u32) -> Option<String> {
    let (path, mode) = (path.display(), mode & 0o777);
    let who = match (mode & EXPOSES, mode & 0o007) {
        (0, _) => return None,
        (_, 0) => "its group may change or run it",
        (_, _) => "others than its owner and group may use it",
    };
    Some(format!("{path} has the mode {mode:o}, so that {who}: run `chmod 640 {path}`, or `chmod 600 {path}`"))
}

/// Why this process is not let at a file, and what would be right.
fn denied(path: &Path) -> String {
    let (this, path_text) = (rustix::process::geteuid().as_raw(), path.display());
    match fs::metadata(path) {
        Ok(found) => format!(
            "{path_text} cannot be read by this process, which runs as user {this}: the file is user {}'s and group {}'s, \
             with the mode {:o}. Run `chown zonegate: {path_text}`, or give it to a group of that user's and run \
             `chmod 640 {path_text}`",
            found.uid(),
            found.gid(),
            found.mode() & 0o777,
        ),
        Err(_) => format!(
            "{path_text} cannot be reached by this process, which runs as user {this}: a folder above it does not let that \
             user in. Run `chgrp zonegate FOLDER` and `chmod 750 FOLDER`"
        ),
    }
}

/// The real outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk;

impl Surroundings for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|fault| format!("{} cannot be read: {fault}", path.display()))
    }

    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String> {
        let unreadable = |fault: io::Error| format!("{} cannot be read: {fault}", path.display());
        let denied_or = |fault: io::Error| {
            if fault.kind() == io::ErrorKind::PermissionDenied { denied(path) } else { unreadable(fault) }
        };
        // The file that is looked at is the one that is read, whatever becomes of its name.
        let mut file = fs::File::open(path).map_err(denied_or)?;
        if let Some(problem) = exposed(path, file.metadata().map_err(unreadable)?.permissions().mode()) {
            return Err(problem);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, String> {
        let entries =
            fs::read_dir(path).map_err(|fault| format!("{} cannot be listed: {fault}", path.display()))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn variables(&self, prefix: &str) -> Vec<(String, String)> {
        let all = std::env::vars_os();
        let texts = all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        texts.filter(|(name, _)| name.starts_with(prefix)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_c5_a_secret_is_its_owners_and_at_most_its_group_may_read_it() {
        for mode in [0o600, 0o400, 0o640, 0o440, 0o700] {
            assert_eq!(exposed(Path::new("k"), mode), None, "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o601, 0o602, 0o660, 0o620, 0o610, 0o650, 0o666, 0o777, 0o444] {
            let told = exposed(Path::new("k"), 0o100_000 | mode).unwrap();
            assert!(told.starts_with(&format!("k has the mode {mode:o}, so that ")), "{told}");
            assert!(told.ends_with(": run `chmod 640 k`, or `chmod 600 k`"), "{told}");
        }
    }

    #[test]
    fn a_secret_that_the_service_may_not_read_is_told_with_who_asks_and_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let us = rustix::process::geteuid().as_raw();
        let told = denied(&path);
        assert!(told.contains(&format!("runs as user {us}: the file is user {us}'s")), "{told}");
        assert!(told.contains("with the mode 600. Run `chown zonegate: "), "{told}");
        assert!(denied(&folder.path().join("no/master.key")).contains("a folder above it"));
    }
}
