//! This machine's files and environment, for reading a configuration.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::Surroundings;

/// The real outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk;

impl Surroundings for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|fault| format!("{} cannot be read: {fault}", path.display()))
    }

    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String> {
        let unreadable = |fault| format!("{} cannot be read: {fault}", path.display());
        // The file that is looked at is the one that is read, whatever becomes of its name.
        let mut file = fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(format!("{path} may be read by other users (mode {mode:o}): run `chmod 600 {path}`"));
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
