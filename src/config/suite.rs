//! The vendor's suite log-in: its provider, what its word is read from, and what its launcher offers.

use super::brand::web_address;
use super::directory::Place;
use super::provider::{ProviderEntry, claim, client, required};
use super::section::{Either, Section};
use crate::directory::{SuiteAccess, SuiteMode, is_label};
use crate::sso::{ClientAuthentication, MODULES_MAX, Module, ProviderSettings, Suite, is_word};

/// The longest name of the suite or a module, in characters: it stands on a button.
const NAME_CHARS_MAX: usize = 40;

/// `None` where the file has no suite, or with a problem reported.
pub(super) fn read(section: Option<Section<'_>>, place: Place<'_>) -> Option<Suite> {
    let section = section?;
    let name = name(&section);
    let provider = client(&section, place);
    if let Some(ProviderEntry { settings, secret: None }) = &provider {
        match settings.client_authentication {
            ClientAuthentication::ClientSecretBasic | ClientAuthentication::ClientSecretPost
                if !section.says("client_secret") =>
            {
                section.report(section.line, "client_secret", "is missing: file:PATH or env:NAME");
            }
            ClientAuthentication::ClientSecretBasic
            | ClientAuthentication::ClientSecretPost
            | ClientAuthentication::PrivateKeyJwt => {}
        }
    }
    let home = section.scalar("home").and_then(|scalar| web_address(&section, &scalar));
    let (company_claim, modules_claim) =
        (claim(&section, "company_claim", "company"), claim(&section, "modules_claim", "modules"));
    let master_claim = claim(&section, "master_claim", "company_master");
    let modules = modules(&section);
    section.finish();
    let ProviderEntry { settings, secret } = provider?;
    // Logging out of the suite is what a log-out here is for (R96).
    let settings = ProviderSettings { logout: true, ..settings };
    Some(Suite { name: name?, home, settings, secret, company_claim, modules_claim, master_claim, modules })
}

/// `suite` of a tenant in the directory file: `off`, or a section. `None` where it is not there, or with a problem
/// reported.
pub(super) fn access(tenant: &Section<'_>) -> Option<SuiteAccess> {
    let section = match tenant.word_or_section("suite")? {
        Either::Word(word) if matches!(word.text, "off" | "false") => return Some(SuiteAccess::default()),
        Either::Word(word) => {
            tenant.report_at(&word, "is neither off nor a section with company");
            return None;
        }
        Either::Section(section) => section,
    };
    let company = required(&section, "company", "c-1042").and_then(|scalar| section.parse(&scalar));
    let mode = if section.flag("require", false) { SuiteMode::Required } else { SuiteMode::Allowed };
    let provisioning = section.flag("provision", false);
    section.finish();
    Some(SuiteAccess { mode, company: Some(company?), provisioning })
}

fn modules(section: &Section<'_>) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    for entry in section.sections("modules") {
        let id = required(&entry, "id", "desk").filter(|id| {
            let good = is_word(id.text);
            if !good {
                entry.report_at(id, format!("{:?} is no word of printable ASCII", id.text));
            }
            let repeated = modules.iter().any(|module| module.id == id.text);
            if repeated {
                entry.report_at(id, format!("{:?} is another module's already", id.text));
            }
            good && !repeated
        });
        let name = name(&entry);
        let url = required(&entry, "url", "https://desk.example.com/");
        let url = url.and_then(|scalar| web_address(&entry, &scalar));
        let line = entry.line;
        entry.finish();
        if modules.len() == MODULES_MAX {
            section.report(line, "modules", format!("has more than {MODULES_MAX} entries"));
            break;
        }
        if let (Some(id), Some(name), Some(url)) = (id, name, url) {
            modules.push(Module { id: id.text.to_owned(), name, url });
        }
    }
    modules
}

fn name(section: &Section<'_>) -> Option<String> {
    let scalar = required(section, "name", "AcmeOne")?;
    let fits = (1..=NAME_CHARS_MAX).contains(&scalar.text.chars().count()) && is_label(scalar.text);
    if !fits {
        let text =
            format!("{:?} is no name for a button: 1 to {NAME_CHARS_MAX} characters on one line", scalar.text);
        section.report_at(&scalar, text);
    }
    fits.then(|| scalar.text.to_owned())
}
