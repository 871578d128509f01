//! An identity provider, as a file describes it: a tenant's own in the directory file, the suite's in the configuration.

use super::directory::Place;
use super::section::{Either, Scalar, Section};
use super::settings::secret;
use crate::base::{Ttl, Username};
use crate::directory::SsoScope;
use crate::sso::{
    ClientAuthentication, ClientSecret, Issuer, LIST_MAX, MAX_AGE_SECONDS_MAX, ProviderSettings, SigningAlgorithm,
    USERNAME_CLAIM_DEFAULT, is_client_id, is_word,
};

/// What the file says of a tenant's single sign-on.
#[derive(Clone, Debug)]
pub struct SsoEntry {
    /// Who must use it.
    pub scope: SsoScope,
    /// The administrator who must not.
    pub emergency_admin: Option<Username>,
    /// The provider. `None` with `off`: what is there stays, and nobody uses it.
    pub provider: Option<ProviderEntry>,
}

/// A provider and its secret, where the file names one.
#[derive(Clone, Debug)]
pub struct ProviderEntry {
    /// Everything but the secret.
    pub settings: ProviderSettings,
    /// `None`: the one that is there stays.
    pub secret: Option<ClientSecret>,
}

/// `sso` of a tenant: `off`, or a section. `None` where it is not there, or with a problem reported.
pub(super) fn read(tenant: &Section<'_>, place: Place<'_>) -> Option<SsoEntry> {
    match tenant.word_or_section("sso")? {
        Either::Word(word) if matches!(word.text, "off" | "false") => {
            Some(SsoEntry { scope: SsoScope::Off, emergency_admin: None, provider: None })
        }
        Either::Word(word) => {
            tenant.report_at(&word, "is neither off nor a section with issuer, client_id and for");
            None
        }
        Either::Section(section) => {
            let entry = entry(&section, place);
            section.finish();
            entry
        }
    }
}

fn entry(section: &Section<'_>, place: Place<'_>) -> Option<SsoEntry> {
    let provider = client(section, place);
    let scope = required(section, "for", "all").and_then(|scalar| {
        let word = if scalar.text == "false" { "off" } else { scalar.text };
        let scope = SsoScope::from_name(word);
        if scope.is_none() {
            section.report_at(&scalar, format!("{:?} is none of off, selected, all", scalar.text));
        }
        scope
    });
    let emergency_admin = section.optional("emergency_admin");
    let username_claim = claim(section, "username_claim", USERNAME_CLAIM_DEFAULT);
    let (provisioning, logout) = (section.flag("provision", false), section.flag("logout", false));
    let ProviderEntry { settings, secret } = provider?;
    let settings = ProviderSettings { username_claim, provisioning, logout, ..settings };
    Some(SsoEntry { scope: scope?, emergency_admin, provider: Some(ProviderEntry { settings, secret }) })
}

/// What a provider is to us, whosever it is.
pub(super) fn client(section: &Section<'_>, (directory, outside): Place<'_>) -> Option<ProviderEntry> {
    let issuer = required(section, "issuer", "https://login.acme.example");
    let issuer = issuer.and_then(|scalar| {
        let read = Issuer::parse(scalar.text);
        read.map_err(|problem| section.report_at(&scalar, format!("{:?} {problem}", scalar.text))).ok()
    });
    let client_id = required(section, "client_id", "zonegate").filter(|scalar| {
        let good = is_client_id(scalar.text);
        if !good {
            section.report_at(scalar, format!("{:?} is no client identifier: printable ASCII", scalar.text));
        }
        good
    });
    let secret = section.scalar("client_secret").and_then(|scalar| {
        let text = secret(section, &scalar, directory, outside)?;
        let found = ClientSecret::parse(text.lines().next().unwrap_or_default());
        if found.is_none() {
            section.report_at(&scalar, "holds no client secret: one line of at most 2048 bytes");
        }
        found
    });
    let none = Ttl::seconds_const(1);
    let max_age = section.duration("max_age", none, 2..=MAX_AGE_SECONDS_MAX);
    let client_authentication =
        named(section, "client_authentication", &ClientAuthentication::ALL, ClientAuthentication::name);
    let signing_algorithm = named(section, "signing_algorithm", &SigningAlgorithm::ALL, SigningAlgorithm::name);
    let (scopes, acr, amr) = (words(section, "scopes"), words(section, "acr"), words(section, "amr"));
    let hosts = list(section, "hosts").iter().filter_map(|scalar| section.parse(scalar)).collect();
    let settings = ProviderSettings {
        client_authentication,
        signing_algorithm,
        scopes,
        hosts,
        acr,
        amr,
        max_age: Some(max_age).filter(|age| *age != none),
        ..ProviderSettings::new(issuer?, client_id?.text.to_owned())
    };
    Some(ProviderEntry { settings, secret })
}

/// The name of a claim.
pub(super) fn claim(section: &Section<'_>, name: &str, default: &str) -> String {
    let claim = section.scalar(name).filter(|scalar| word(section, scalar));
    claim.map_or(default, |scalar| scalar.text).to_owned()
}

pub(super) fn required<'a>(section: &Section<'a>, name: &str, example: &str) -> Option<Scalar<'a>> {
    let scalar = section.scalar(name);
    if scalar.is_none() {
        section.report(section.line, name, format!("is missing, for example {name}: {example}"));
    }
    scalar
}

/// One of the standard's names, the default when nothing is said.
fn named<T: Copy + Default>(section: &Section<'_>, name: &str, all: &[T], spell: fn(T) -> &'static str) -> T {
    let Some(scalar) = section.scalar(name) else { return T::default() };
    all.iter().copied().find(|one| spell(*one) == scalar.text).unwrap_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| spell(*one)).collect();
        section.report_at(&scalar, format!("{:?} is none of {}", scalar.text, names.join(", ")));
        T::default()
    })
}

fn list<'a>(section: &Section<'a>, name: &str) -> Vec<Scalar<'a>> {
    let mut scalars = section.scalars(name);
    if let Some(first) = scalars.first().filter(|_| scalars.len() > LIST_MAX) {
        section.report(first.line, name, format!("has more than {LIST_MAX} entries"));
        scalars.truncate(LIST_MAX);
    }
    scalars
}

fn words(section: &Section<'_>, name: &str) -> Vec<String> {
    let scalars = list(section, name).into_iter().filter(|scalar| word(section, scalar));
    scalars.map(|scalar| scalar.text.to_owned()).collect()
}

fn word(section: &Section<'_>, scalar: &Scalar<'_>) -> bool {
    let good = is_word(scalar.text);
    if !good {
        section.report_at(scalar, format!("{:?} is no word of printable ASCII", scalar.text));
    }
    good
}
