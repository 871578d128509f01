//! The configuration: what operators own, read whole or refused whole.
//!
//! The file is read into a tree that remembers lines, environment overrides are laid over it, and settings are
//! taken out of it. Every problem is reported in one pass, with file, line, key and what would be right. What the
//! outside says (files, names, the environment) comes through [`Surroundings`], so that the rules are pure.

mod acme;
mod brand;
mod certificates;
mod changes;
mod directory;
mod limits;
mod listen;
mod log;
mod problems;
mod provider;
mod rules;
mod section;
mod settings;
mod sso;
mod suite;
mod traces;
mod tree;
mod upstream;
mod zones;

pub use acme::{AcmeSettings, MANAGED};
pub use certificates::PemPair;
pub use changes::Changes;
pub use directory::{Said, TenantEntry, UserEntry, load_directory};
pub use limits::Limits;
pub use listen::{AdminListener, ForwardedField, Listeners, TlsVersion};
pub use log::{AccessLines, LogLevel, LogSettings, NoAccessLines, NoLogLevel};
pub use problems::{Place, Problem, Problems};
pub use provider::{ProviderEntry, SsoEntry};
pub use settings::{HashingSettings, NativeClient, Settings};
pub use traces::{NoShare, NoTraceContext, Share, TraceContext, TraceSettings};

use std::path::Path;

use crate::base::Hostname;
use section::{Findings, Section};
use settings::Found;
use tree::{Node, Value};

/// The prefix of environment variables that override keys: `ZONEGATE_LISTEN__HTTP` is `listen.http`.
const ENVIRONMENT_PREFIX: &str = "ZONEGATE_";

/// What the configuration asks of the outside.
pub trait Surroundings {
    /// The bytes of a file; the error is a sentence.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;
    /// The bytes of a file that nobody but its owner and its group may read; the error is a sentence.
    fn read_secret(&self, path: &Path) -> Result<Vec<u8>, String>;
    /// The names of the files in a directory; the error is a sentence.
    fn list(&self, path: &Path) -> Result<Vec<String>, String>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// All environment variables whose name begins so.
    fn variables(&self, prefix: &str) -> Vec<(String, String)>;
}

/// What one reading of a configuration found. Everything that could be read is here, whatever else is wrong, so that
/// problems of certificates can be told in the same breath.
#[derive(Debug)]
pub struct Inspection {
    /// The settings, when nothing is wrong.
    pub settings: Option<Settings>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// Where a gateway that runs with it takes commands.
    pub admin: Option<AdminListener>,
    /// Every hostname that a certificate is needed for, and where it stands.
    pub hosts: Vec<(Hostname, Place)>,
    /// Whether each zone's host could be read: only then is a certificate known to cover none of them.
    pub hosts_are_all: bool,
    /// Whether zonegate gets certificates itself: then a host may have none yet.
    pub acme: bool,
    /// Certificates with their keys.
    pub certificates: Vec<PemPair>,
    /// Certificates whose key could not be read (their `key` is empty): what they cover is not missing too.
    pub keyless: Vec<PemPair>,
}

/// Reads a configuration: the text of `file`, and the overrides of the environment.
pub fn load(text: &str, file: &str, outside: &dyn Surroundings) -> Result<Settings, Problems> {
    let Inspection { settings, problems, .. } = inspect(text, file, outside);
    settings.ok_or_else(|| Problems { file: file.to_owned(), list: problems })
}

/// The same, with everything that could be read although something is wrong.
pub fn inspect(text: &str, file: &str, outside: &dyn Surroundings) -> Inspection {
    let findings = Findings::default();
    let read = read(text, file, outside, &findings);
    let problems = findings.into_problems();
    let settings = read.settings.filter(|_| problems.is_empty());
    let Found { admin, hosts, hosts_are_all, acme, certificates, keyless, .. } = read;
    Inspection { settings, problems, admin, hosts, hosts_are_all, acme, certificates, keyless }
}

fn read(text: &str, file: &str, outside: &dyn Surroundings, findings: &Findings) -> Found {
    let mut root = match tree::parse(text) {
        Ok(root) => root,
        Err((line, sentence)) => {
            findings.report(line, "", format!("is not YAML that can be read: {sentence}"));
            return Found::default();
        }
    };
    let mut unread = Vec::new();
    for (name, value) in outside.variables(ENVIRONMENT_PREFIX) {
        let path = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or_default().to_ascii_lowercase();
        if path.contains("__") || settings::TOP_LEVEL.contains(&path.as_str()) {
            override_key(&mut root, "", &path.split("__").collect::<Vec<_>>(), value, &name, findings);
        } else {
            unread.push((name, path));
        }
    }
    let directory = Path::new(file).parent().unwrap_or(Path::new(""));
    let found = settings::read(Section::of(findings, String::new(), Some(&root)), directory, outside);
    for (name, path) in unread {
        // Secrets that the file refers to with `env:` carry the prefix by habit.
        if !text.contains(&format!("env:{name}")) {
            almost_an_override(&name, &path, findings);
        }
    }
    found
}

/// A variable that is no override, but was surely meant as one: `ZONEGATE_LIMITS_HEAD`, `ZONEGATE_MASTERKEY`. All
/// others are left alone: container platforms put variables of that prefix into every process.
fn almost_an_override(name: &str, path: &str, findings: &Findings) {
    let known =
        findings.known.borrow().iter().find(|key| key.contains('.') && key.replace('.', "_") == path).cloned();
    let top_level = || section::nearest(settings::TOP_LEVEL.into_iter(), path).map(str::to_owned);
    if let Some(key) = known.or_else(top_level) {
        let right = key.to_ascii_uppercase().replace('.', "__");
        findings.report(0, name, format!("is read by nobody; did you mean {ENVIRONMENT_PREFIX}{right}?"));
    }
}

/// Puts a value from the environment in the place of the file's; an empty one takes the file's away. A number names
/// an item of a list, from 0: `ZONEGATE_ZONES__0__UPSTREAM__URL`.
fn override_key(root: &mut Node, above: &str, path: &[&str], value: String, variable: &str, findings: &Findings) {
    let Some((name, rest)) = path.split_first() else {
        findings.overridden.borrow_mut().push((above.to_owned(), variable.to_owned()));
        let value = if value.is_empty() { Value::Null } else { Value::Scalar(value) };
        *root = Node { line: 0, value };
        return;
    };
    if matches!(root.value, Value::Null) {
        root.value = Value::Map(Vec::new());
    }
    match &mut root.value {
        Value::Map(entries) => {
            let at = entries.iter().position(|(key, _, _)| key == name).unwrap_or_else(|| {
                entries.push(((*name).to_owned(), 0, Node { line: 0, value: Value::Null }));
                entries.len() - 1
            });
            let Some((_, line, node)) = entries.get_mut(at) else { return };
            if rest.is_empty() {
                *line = 0;
            }
            let key = if above.is_empty() { (*name).to_owned() } else { format!("{above}.{name}") };
            override_key(node, &key, rest, value, variable, findings);
        }
        Value::List(items) => {
            let count = items.len();
            match name.parse::<usize>().ok().and_then(|at| Some((at, items.get_mut(at)?))) {
                Some((at, item)) => {
                    override_key(item, &format!("{above}[{at}]"), rest, value, variable, findings);
                }
                None => findings.report(
                    0,
                    variable,
                    format!("names item {name:?} of {above}, which has {count}, counted from 0"),
                ),
            }
        }
        Value::Null | Value::Scalar(_) => {
            findings.report(0, variable, format!("overrides a key below {above}, which has no keys"));
        }
    }
}

#[cfg(test)]
mod tests;
