//! The configuration: what operators own, read whole or refused whole.
//!
//! The file is read into a tree that remembers lines, environment overrides are laid over it, and settings are
//! taken out of it. Every problem is reported in one pass, with file, line, key and what would be right. What the
//! outside says (files, names, the environment) comes through [`Surroundings`], so that the rules are pure.

mod directory;
mod problems;
mod section;
mod settings;
mod tree;
mod zones;

pub use directory::{TenantEntry, UserEntry, load_directory};
pub use problems::{Problem, Problems};
pub use settings::{
    AdminListener, HashingSettings, Limits, Listeners, LogSettings, NativeClient, PemPair, Settings,
};

use std::net::SocketAddr;
use std::path::Path;

use section::{Findings, Section};
use tree::{Node, Value};

/// The prefix of environment variables that override keys: `ZONEGATE_LISTEN__HTTP` is `listen.http`.
const ENVIRONMENT_PREFIX: &str = "ZONEGATE_";

/// What the configuration asks of the outside.
pub trait Surroundings {
    /// The bytes of a file; the error is a sentence.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;
    /// The bytes of a file that only its owner may read; the error is a sentence.
    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String>;
    /// The names of the files in a directory; empty when there is no such directory.
    fn list(&self, path: &Path) -> Vec<String>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// All environment variables whose name begins so.
    fn variables(&self, prefix: &str) -> Vec<(String, String)>;
    /// The addresses of a name.
    fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String>;
}

/// Reads a configuration: the text of `file`, and the overrides of the environment.
pub fn load(text: &str, file: &str, outside: &dyn Surroundings) -> Result<Settings, Problems> {
    let findings = Findings::default();
    let settings = read(text, file, outside, &findings);
    let mut list = findings.problems.into_inner();
    match settings {
        Some(settings) if list.is_empty() => Ok(settings),
        _ => {
            list.sort_by_key(|problem| problem.line);
            Err(Problems { file: file.to_owned(), list })
        }
    }
}

fn read(text: &str, file: &str, outside: &dyn Surroundings, findings: &Findings) -> Option<Settings> {
    let mut root = match tree::parse(text) {
        Ok(root) => root,
        Err((line, sentence)) => {
            findings.report(line, "", format!("is not YAML that can be read: {sentence}"));
            return None;
        }
    };
    for (name, value) in outside.variables(ENVIRONMENT_PREFIX) {
        // Variables that secrets refer to with `env:` carry the prefix by habit; a key path is lower case words.
        let path = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default().to_ascii_lowercase();
        if path.contains("__") || settings::TOP_LEVEL.contains(&path.as_str()) {
            override_key(&mut root, &path.split("__").collect::<Vec<_>>(), value, &name, findings);
        }
    }
    let directory = Path::new(file).parent().unwrap_or(Path::new(""));
    settings::read(Section::of(findings, String::new(), Some(&root)), directory, outside)
}

/// Puts a value from the environment in the place of the file's.
fn override_key(root: &mut Node, path: &[&str], value: String, variable: &str, findings: &Findings) {
    let Some((name, rest)) = path.split_first() else { return };
    if matches!(root.value, Value::Null) {
        root.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut root.value else {
        findings.report(0, variable, "overrides a key below one that has no keys");
        return;
    };
    let at = entries.iter().position(|(key, _, _)| key == name).unwrap_or_else(|| {
        entries.push(((*name).to_owned(), 0, Node { line: 0, value: Value::Null }));
        entries.len() - 1
    });
    let Some((_, line, node)) = entries.get_mut(at) else { return };
    *line = 0;
    if rest.is_empty() {
        *node = Node { line: 0, value: Value::Scalar(value) };
    } else {
        override_key(node, rest, value, variable, findings);
    }
}

#[cfg(test)]
mod tests;
