//! Certificates that zonegate gets itself (RFC 8555).

use std::path::{Path, PathBuf};

use super::Surroundings;
use super::brand::has_person;
use super::listen::Listeners;
use super::section::Section;
use super::upstream::pem;

/// What the names of files begin with that zonegate writes beside the operator's certificates.
pub const MANAGED: &str = "acme-";

/// Where certificates come from, and where they are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AcmeSettings {
    /// The authority's directory, an `https` address.
    pub directory: String,
    /// An address that the authority writes to when something is wrong.
    pub contact: Option<String>,
    /// Whom to trust when speaking to the authority, in PEM; `None` for the system's authorities.
    pub roots: Option<Vec<u8>>,
    /// The folder of `certificates.directory`.
    pub folder: PathBuf,
}

/// `None` without the section.
pub(super) fn read(
    section: Option<Section<'_>>,
    listeners: &Listeners,
    folder: PathBuf,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<AcmeSettings> {
    let section = section?;
    let scalar = section.scalar("directory");
    if scalar.is_none() {
        let text = "is missing: the authority's directory, like https://acme-v02.api.letsencrypt.org/directory";
        section.report(section.line, "directory", text);
    }
    let address = scalar.and_then(|scalar| {
        let secure = url::Url::parse(scalar.text)
            .is_ok_and(|url| url.scheme() == "https" && url.has_host() && !has_person(&url));
        if !secure {
            section.report_at(&scalar, format!("{:?} is no address that begins with https://", scalar.text));
        }
        secure.then(|| scalar.text.to_owned())
    });
    let contact = section.scalar("contact").map(|scalar| {
        if !scalar.text.contains('@') || scalar.text.contains(char::is_whitespace) {
            section.report_at(&scalar, format!("{:?} is no e-mail address", scalar.text));
        }
        scalar.text.to_owned()
    });
    let roots = section.scalar("ca_file").and_then(|scalar| pem(&section, &scalar, directory, outside));
    if listeners.http.is_empty() {
        let text = "needs listen.http: the authority asks there, on port 80, whether a host is ours";
        section.report(section.line, "directory", text);
    }
    if listeners.https.is_empty() {
        let text = "gets certificates for listen.https, and nothing listens there";
        section.report(section.line, "directory", text);
    }
    section.finish();
    Some(AcmeSettings { directory: address?, contact, roots, folder })
}
