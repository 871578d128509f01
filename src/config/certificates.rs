//! Certificates and their keys: which files hold them.
//!
//! Only read here. Whether a pair fits, has run out or covers a host is found out where it is used, so that this half
//! builds without TLS; what cannot be read is told like everything else that is wrong with the file.

use std::path::{Path, PathBuf};

use super::Surroundings;
use super::acme::MANAGED;
use super::problems::Place;
use super::section::Section;
use super::settings::path;

/// A certificate chain and its key, as files hold them.
#[derive(Clone)]
pub struct PemPair {
    /// The chain's file, for messages.
    pub chain_file: PathBuf,
    /// The key's file, for messages.
    pub key_file: PathBuf,
    /// The chain in PEM, the leaf first.
    pub chain: Vec<u8>,
    /// The private key in PEM.
    pub key: Vec<u8>,
    /// Where the configuration names it.
    pub place: Place,
    /// Whether zonegate has got it itself, and gets another one when it is of no use any more.
    pub managed: bool,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PemPair({})", self.chain_file.display())
    }
}

/// Certificates, and the folder that most of them lie in.
pub(super) struct Pairs {
    pub(super) whole: Vec<PemPair>,
    /// Those whose key cannot be read.
    pub(super) keyless: Vec<PemPair>,
    pub(super) folder: PathBuf,
}

/// Pairs named in the file, and `NAME.crt`/`NAME.pem` beside `NAME.key` in the directory.
pub(super) fn read(section: Section<'_>, has_acme: bool, directory: &Path, outside: &dyn Surroundings) -> Pairs {
    let mut wanted: Vec<(PathBuf, PathBuf, Place, bool)> = Vec::new();
    let folder = section.scalar("directory");
    let folder_path = path(directory, folder.as_ref().map_or("certs", |scalar| scalar.text));
    let listed = outside.list(&folder_path);
    if let (Some(folder), Err(text)) = (&folder, &listed) {
        section.report_at(folder, text);
    }
    // Nobody asked for the directory that is looked into by default.
    let mut files = listed.unwrap_or_default();
    files.sort();
    let folder_place =
        Place { line: folder.as_ref().map_or(0, |folder| folder.line), key: section.key("directory") };
    for file in &files {
        let stem = file.strip_suffix(".crt").or_else(|| file.strip_suffix(".pem"));
        if let Some(key) = stem.map(|stem| format!("{stem}.key")).filter(|key| files.contains(key)) {
            let managed = has_acme && file.starts_with(MANAGED);
            wanted.push((folder_path.join(file), folder_path.join(key), folder_place.clone(), managed));
        }
    }
    for pair in section.sections("files") {
        let (chain, key) = (pair.scalar("chain"), pair.scalar("key"));
        if chain.is_none() || key.is_none() {
            pair.report(
                pair.line,
                "chain",
                "and key must both be given: the PEM files of the certificate and its key",
            );
        }
        if let (Some(chain), Some(key)) = (chain, key) {
            wanted.push((
                path(directory, chain.text),
                path(directory, key.text),
                Place { line: chain.line, key: pair.path.clone() },
                false,
            ));
        }
        pair.finish();
    }
    let (mut pairs, mut keyless) = (Vec::new(), Vec::new());
    for (chain_file, key_file, place, managed) in wanted {
        let report = |text: String| section.report_in(&place, text);
        let chain = outside.read(&chain_file).map_err(report).ok();
        let key = outside.read_secret(&key_file).map_err(report).ok();
        let list = if key.is_some() { &mut pairs } else { &mut keyless };
        if let Some(chain) = chain {
            list.push(PemPair { chain_file, key_file, chain, key: key.unwrap_or_default(), place, managed });
        }
    }
    section.finish();
    Pairs { whole: pairs, keyless, folder: folder_path }
}
