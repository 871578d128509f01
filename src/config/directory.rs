//! The directory file that `zonegate apply` reads: tenants and their users, never a password.

use std::collections::HashMap;
use std::num::NonZeroU8;
use std::path::Path;

use super::Surroundings;
use super::problems::Problems;
use super::provider::{self, SsoEntry};
use super::section::{Findings, Scalar, Section};
use super::suite;
use super::tree::{self, Node};
use crate::assertion::{FIELD_BYTES_MAX, check_person};
use crate::base::{Domain, Hostname, LocalPath, Ttl, Username};
use crate::directory::{
    SLUG_BYTES_MAX, SecurityLevel, SecurityOverrides, SuiteAccess, TotpPeriod, UserKind, is_email, is_label,
    is_slug,
};
use crate::sso::Subject;
use crate::zone::{IdentityField, ZoneTable};

/// What the file says of something that need not be there. Where it says nothing, what is there stays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said<T> {
    /// Nothing.
    Nothing,
    /// That there is none.
    None,
    /// What it is.
    This(T),
}

impl<T> Said<T> {
    /// What there is once the file is applied to what there was.
    pub fn or(self, kept: Option<T>) -> Option<T> {
        match self {
            Self::Nothing => kept,
            Self::None => None,
            Self::This(new) => Some(new),
        }
    }
}

/// A tenant as the file describes it. `None` where the file says nothing, and what is there stays.
#[derive(Clone, Debug)]
pub struct TenantEntry {
    /// The short name: what the tenant is known by from one run to the next.
    pub slug: String,
    /// The company's name.
    pub name: Option<String>,
    /// The zone it lives in.
    pub zone: Hostname,
    /// The domains of its usernames, the primary one first.
    pub domains: Vec<Domain>,
    /// What it sets differently from the installation's defaults, all of it.
    pub overrides: Option<SecurityOverrides>,
    /// Its provider and who must use it.
    pub sso: Option<SsoEntry>,
    /// What its users may do with the suite.
    pub suite: Option<SuiteAccess>,
    /// Its users, as far as the file names them. Users that it does not name are left alone.
    pub users: Vec<UserEntry>,
}

/// A user as the file describes them. `None` where the file says nothing, and what is there stays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserEntry {
    /// What the user is known by from one run to the next.
    pub username: Username,
    /// The primary e-mail address.
    pub email: Said<String>,
    /// The name people call the user by.
    pub name: Option<String>,
    /// What sort of account it is.
    pub kind: Option<UserKind>,
    /// Whether the user is an administrator of the tenant.
    pub level: Option<SecurityLevel>,
    /// Groups that the application is told of.
    pub groups: Option<Vec<String>>,
    /// Whether the user may log in.
    pub active: Option<bool>,
    /// Where a complete log-in opens.
    pub start_page: Said<LocalPath>,
    /// Who the user is at the tenant's provider.
    pub sso_subject: Option<Subject>,
    /// Whether the user logs in locally although the tenant requires the suite.
    pub suite_exempt: Option<bool>,
}

/// Reads a directory file, or everything that is wrong with it. Secrets that it names come from `outside`.
pub fn load_directory(
    text: &str,
    file: &str,
    zones: &ZoneTable,
    outside: &dyn Surroundings,
) -> Result<Vec<TenantEntry>, Problems> {
    let findings = Findings::default();
    let mut tenants = Vec::new();
    match tree::parse(text) {
        Ok(root) => {
            let directory = Path::new(file).parent().unwrap_or(Path::new(""));
            tenants = read(&root, &findings, zones, (directory, outside));
        }
        Err((line, sentence)) => {
            findings.report(line, "", format!("is not YAML that can be read: {sentence}"));
        }
    }
    let list = findings.into_problems();
    if list.is_empty() { Ok(tenants) } else { Err(Problems { file: file.to_owned(), list }) }
}

/// The folder that the file lies in, and what is asked of the outside.
pub(super) type Place<'a> = (&'a Path, &'a dyn Surroundings);

pub(super) fn read(root: &Node, findings: &Findings, zones: &ZoneTable, place: Place<'_>) -> Vec<TenantEntry> {
    let root = Section::of(findings, String::new(), Some(root));
    let mut names = Names::default();
    if !root.has("tenants") {
        root.report(0, "tenants", "is missing: the list of tenants, each with slug, zone and domains");
    }
    let sections = root.sections("tenants").into_iter();
    let tenants = sections.filter_map(|section| tenant(section, zones, place, &mut names)).collect();
    root.finish();
    tenants
}

/// The names that the file has used so far, with their lines: each tenant, domain and user is described once.
#[derive(Default)]
struct Names(HashMap<(&'static str, String), u64>);

const SUBJECT: &str = "subject";

impl Names {
    fn once(&mut self, section: &Section<'_>, scalar: &Scalar<'_>, sort: &'static str, name: &str) {
        if let Some(line) = self.0.insert((sort, name.to_owned()), scalar.line) {
            section.report_at(scalar, format!("{name} is described on line {line} already: say it once"));
        }
    }
}

fn required<'a>(section: &Section<'a>, name: &str, example: &str) -> Option<Scalar<'a>> {
    let scalar = section.scalar(name);
    if scalar.is_none() {
        section.report(section.line, name, format!("is missing, for example {name}: {example}"));
    }
    scalar
}

/// A text that people read.
fn label(section: &Section<'_>, name: &str) -> Option<String> {
    let scalar = section.scalar(name)?;
    check_label(section, &scalar);
    Some(scalar.text.to_owned())
}

fn check_label(section: &Section<'_>, scalar: &Scalar<'_>) {
    if !is_label(scalar.text) {
        let text = format!(
            "{:?} holds a control character or one that turns the line around, which terminals and pages obey",
            scalar.text
        );
        section.report_at(scalar, text);
    }
}

fn tenant(section: Section<'_>, zones: &ZoneTable, place: Place<'_>, names: &mut Names) -> Option<TenantEntry> {
    let slug = required(&section, "slug", "acme");
    if let Some(slug) = &slug {
        if is_slug(slug.text) {
            names.once(&section, slug, "tenant", slug.text);
        } else {
            let text = format!("is no short name: use 1 to {SLUG_BYTES_MAX} lower-case letters, digits and -");
            section.report_at(slug, text);
        }
    }
    let name = label(&section, "name");
    let zone_scalar = required(&section, "zone", "desk.example.com");
    let zone: Option<Hostname> = zone_scalar.as_ref().and_then(|scalar| section.parse(scalar));
    if let (Some(scalar), Some(host)) = (&zone_scalar, &zone)
        && zones.zone(host).is_none()
    {
        let known: Vec<_> = zones.zones().iter().map(|zone| zone.host.as_str()).collect();
        section.report_at(
            scalar,
            format!("{host} is no zone of the configuration; the zones are {}", known.join(", ")),
        );
    }
    let scalars = section.scalars("domains");
    let mut domains: Vec<Domain> = Vec::new();
    for scalar in &scalars {
        if let Some(domain) = section.parse::<Domain>(scalar) {
            names.once(&section, scalar, "domain", domain.as_str());
            domains.push(domain);
        }
    }
    if scalars.is_empty() {
        section.report(
            section.line,
            "domains",
            "is missing: the domains that usernames end in, the primary one first",
        );
    }
    let suite = suite::access(&section);
    let sso = provider::read(&section, place);
    let says_security = section.says("security");
    let overrides = Some(overrides(section.section("security"))).filter(|_| says_security);
    // A subject is somebody's of this tenant; another tenant may know the same one.
    names.0.retain(|(sort, _), _| *sort != SUBJECT);
    let users = section.sections("users").into_iter();
    let users = users.filter_map(|entry| user(entry, &domains, domains.len() == scalars.len(), names)).collect();
    section.finish();
    Some(TenantEntry { name, slug: slug?.text.to_owned(), zone: zone?, domains, overrides, sso, suite, users })
}

fn overrides(section: Section<'_>) -> SecurityOverrides {
    let none = Ttl::seconds_const(1);
    let idle = section.duration("idle_max", none, 60..=30 * 86400);
    let number = |name: &str, most| section.number_if_any(name, 1..=most);
    let period = section.scalar("totp_period");
    let overrides = SecurityOverrides {
        attempts_max: number("attempts_max", 100)
            .and_then(|most| u8::try_from(most).ok())
            .and_then(NonZeroU8::new),
        password_strong: section.scalar("password_strong").map(|_| section.flag("password_strong", false)),
        totp_period_seconds: match period.as_ref().map(|scalar| scalar.text) {
            None => None,
            Some("30s") => Some(TotpPeriod::Thirty),
            Some("60s") => Some(TotpPeriod::Sixty),
            Some(_) => {
                if let Some(scalar) = &period {
                    section.report_at(scalar, "is neither 30s nor 60s");
                }
                None
            }
        },
        idle_max_seconds: Some(idle).filter(|idle| *idle != none),
    };
    section.finish();
    overrides
}

/// `all`: whether each domain of the tenant could be read.
fn user(section: Section<'_>, domains: &[Domain], all: bool, names: &mut Names) -> Option<UserEntry> {
    let scalar = required(&section, "username", "alice@acme.example");
    let username: Option<Username> = scalar.as_ref().and_then(|scalar| section.parse(scalar));
    if let (Some(scalar), Some(username)) = (&scalar, &username) {
        names.once(&section, scalar, "user", username.as_str());
        if all && !domains.is_empty() && !domains.iter().any(|domain| domain.as_str() == username.domain()) {
            let known: Vec<_> = domains.iter().map(Domain::as_str).collect();
            let text = format!("{username} does not end in a domain of its tenant: {}", known.join(", "));
            section.report_at(scalar, text);
        }
    }
    let scalar = section.scalar("email");
    if let Some(email) = scalar.as_ref().filter(|email| !email.text.is_empty() && !is_email(email.text)) {
        section.report_at(email, format!("{:?} is no e-mail address, like alice@acme.example", email.text));
    }
    let email = said(scalar, |email| Some(email.text.to_owned()));
    let named = |name: &str, known: &[&'static str]| {
        let scalar = section.scalar(name)?;
        if !known.contains(&scalar.text) {
            section.report_at(&scalar, format!("{:?} is none of {}", scalar.text, known.join(", ")));
        }
        Some(scalar.text)
    };
    let kinds: Vec<_> = UserKind::ALL.iter().map(|kind| kind.name()).collect();
    let kind = named("kind", &kinds).and_then(UserKind::from_name);
    let level = named("level", &["user", "admin"]).and_then(SecurityLevel::from_name);
    if let Some(scalar) = section.scalar("password") {
        section.report_at(&scalar, "never stands in this file: set it with `zonegate user set-password`");
    }
    let name = label(&section, "name");
    let given = section.scalars("groups");
    for group in &given {
        check_label(&section, group);
    }
    let groups: Vec<_> = given.iter().map(|group| group.text.to_owned()).collect();
    // What the application cannot be told of whole, it is not told of at all: the log-in would fail.
    let written = name.as_deref().unwrap_or_default();
    if let Err(problem) = check_person(written, email.clone().or(None).as_deref(), &groups) {
        let name = match problem.field {
            IdentityField::Groups => "groups",
            IdentityField::Email => "email",
            IdentityField::DisplayName
            | IdentityField::UserId
            | IdentityField::Username
            | IdentityField::Tenant
            | IdentityField::Zone
            | IdentityField::Kind
            | IdentityField::Method
            | IdentityField::SessionId => "name",
        };
        let text =
            format!("is longer than the {FIELD_BYTES_MAX} bytes that a header takes, once encoded: shorten it");
        section.report(section.line, name, text);
    }
    let scalar = section.scalar("sso_subject");
    let sso_subject = scalar.as_ref().and_then(|scalar| {
        let subject = Subject::parse(scalar.text);
        match &subject {
            Some(subject) => names.once(&section, scalar, SUBJECT, subject.as_str()),
            None => section.report_at(scalar, "is no subject: 1 to 255 printable ASCII characters"),
        }
        subject
    });
    if let Some(scalar) = scalar.filter(|_| kind.is_some_and(|kind| !kind.has_provider())) {
        section.report_at(
            &scalar,
            "is for people whom the company's own provider knows: not co_managed, not api_only",
        );
    }
    let flag = |name: &str| {
        let flag = section.flag(name, false);
        section.says(name).then_some(flag)
    };
    let entry = UserEntry {
        name,
        email,
        kind,
        level,
        groups: section.says("groups").then_some(groups),
        active: flag("active"),
        start_page: said(section.scalar("start_page"), |page| section.parse(page)),
        sso_subject,
        suite_exempt: flag("suite_exempt"),
        username: match username {
            Some(username) => username,
            None => {
                section.finish();
                return None;
            }
        },
    };
    section.finish();
    Some(entry)
}

/// An empty text says that there is none. What cannot be read has been reported.
fn said<T>(scalar: Option<Scalar<'_>>, read: impl FnOnce(&Scalar<'_>) -> Option<T>) -> Said<T> {
    match scalar {
        None => Said::Nothing,
        Some(scalar) if scalar.text.is_empty() => Said::None,
        Some(scalar) => read(&scalar).map_or(Said::Nothing, Said::This),
    }
}
