//! Tenants and users: who may log in, and in which ways.

mod methods;
mod settings;
mod suite;

pub use methods::{
    EmergencyProblem, Methods, emergency_problem, emergency_problem_of, is_at_provider, is_suite_required,
    methods, must_use_suite,
};
pub use settings::{
    Lifetimes, PasswordRules, SecurityDefaults, SecurityOverrides, SecuritySettings, Slots, TotpPeriod,
};
pub use suite::{NoSuiteCompany, SuiteAccess, SuiteCompany, SuiteMode, exemption};

use serde::{Deserialize, Serialize};

use crate::base::{Domain, Hostname, LocalPath, TenantId, UserId, Username};

/// A customer company, living in one zone. The wall no key, session or provider crosses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tenant {
    /// Stable id.
    pub id: TenantId,
    /// The short name operators type: lower-case letters, digits and `-`, unique.
    pub slug: String,
    /// The company's name.
    pub name: String,
    /// The zone it lives in.
    pub zone: Hostname,
    /// The domains its usernames end in; the first is the primary one. No domain belongs to two tenants (D32).
    pub domains: Vec<Domain>,
    /// What its users may do with the vendor's suite log-in.
    pub suite: SuiteAccess,
    /// Who of its users must use the tenant's own identity provider.
    pub sso: SsoScope,
    /// The one administrator who logs in locally although everybody else must not: somebody has to get in when the
    /// provider is broken (D25).
    pub sso_exempt: Option<UserId>,
    /// What it sets differently from the installation's defaults.
    pub overrides: SecurityOverrides,
}

/// The longest short name of a tenant, in bytes.
pub const SLUG_BYTES_MAX: usize = 40;

/// Whether a text can be a tenant's short name: 1 to [`SLUG_BYTES_MAX`] lower-case letters, digits and `-`, not
/// beginning with `-`.
pub fn is_slug(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=SLUG_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-')
}

/// Whether a text can be an e-mail address: something on both sides of one `@`, no white space, at most 254 bytes
/// (RFC 5321 section 4.5.3.1.3). Whether somebody reads it only a mail can tell.
pub fn is_email(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@';
    let parts = text.split_once('@').filter(|_| text.len() <= 254);
    parts.is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !local.contains(odd) && !domain.contains(odd)
    })
}

/// Whether a text can stand where people read it, as a name, a group or a company: on a page, in an operator's terminal,
/// in a log. No control characters and no line ends, which a terminal obeys, and nothing that turns the rest of the line
/// around. What joins letters and emoji stays: names need it.
pub fn is_label(text: &str) -> bool {
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.contains(odd)
}

/// Who of a tenant's users logs in at the tenant's own identity provider.
///
/// In the order in which they reach more people.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SsoScope {
    /// Nobody.
    #[default]
    Off,
    /// The users marked for it (R9).
    Selected,
    /// All users of the kinds that can (D24).
    All,
}

impl SsoScope {
    /// The name in files and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Selected => "selected",
            Self::All => "all",
        }
    }

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Off, Self::Selected, Self::All].into_iter().find(|scope| scope.name() == name)
    }
}

/// An account of a tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Stable over renames; the assertion's `sub`.
    pub id: UserId,
    /// The tenant that owns the account.
    pub tenant: TenantId,
    /// Globally unique (D32).
    pub username: Username,
    /// The primary e-mail address; may differ from the username.
    pub email: Option<String>,
    /// The name people call the user by.
    pub display_name: String,
    /// What sort of account it is.
    pub kind: UserKind,
    /// Whether the user may configure users.
    pub level: SecurityLevel,
    /// Groups that the application is told of, in the order given.
    pub groups: Vec<String>,
    /// An inactive user cannot log in, and is not told why.
    pub active: bool,
    /// Whether the user is one of [`SsoScope::Selected`]: who is linked to a subject at the tenant's provider.
    pub sso_selected: bool,
    /// Whether the user logs in locally although the tenant requires the suite (D22).
    pub suite_exempt: bool,
    /// Where a complete log-in opens when no deep link was asked for (R43).
    pub start_page: Option<LocalPath>,
    /// Raised by password change, deactivation, reset and "end all": sessions and flows of an older epoch are
    /// dead, whatever a replica or a late write says.
    pub epoch: u64,
    /// Raised with the epoch, and alone by what ends log-ins under way but not every session: "end all others", a
    /// new authenticator. A flow of an older one is dead.
    pub flow_epoch: u64,
}

/// What sort of account a user has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserKind {
    /// An ordinary person.
    #[default]
    Regular,
    /// A person from outside.
    Contractor,
    /// A person of a customer.
    CoManaged,
    /// A screen on a wall: a second factor is available, not required (R70).
    Dashboard,
    /// A program. Never logs in at the pages; no second factor (R70).
    ApiOnly,
}

impl UserKind {
    /// All kinds, as lists offer them.
    pub const ALL: [Self; 5] = [Self::Regular, Self::Contractor, Self::CoManaged, Self::Dashboard, Self::ApiOnly];

    /// The name in files, headers and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Contractor => "contractor",
            Self::CoManaged => "co_managed",
            Self::Dashboard => "dashboard",
            Self::ApiOnly => "api_only",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the tenant's own provider knows people of this kind. Co-managed users are people of other companies (D24).
    pub const fn has_provider(self) -> bool {
        match self {
            Self::Regular | Self::Contractor | Self::Dashboard => true,
            Self::CoManaged | Self::ApiOnly => false,
        }
    }

    /// Whether a local log-in ends only after a second factor (R60, R70).
    pub const fn needs_second_factor(self) -> bool {
        match self {
            Self::Regular | Self::Contractor | Self::CoManaged => true,
            Self::Dashboard | Self::ApiOnly => false,
        }
    }
}

/// What a user may configure.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityLevel {
    /// Their own account.
    #[default]
    User,
    /// The users of their tenant.
    Admin,
}

impl SecurityLevel {
    /// The name in files and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|level| level.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_that_a_terminal_obeys() {
        for text in ["", "Alice Ash", "O'Brien", "Zoë 🦀", "می\u{200c}خواهم", "👩\u{200d}🚀", "a,b"]
        {
            assert!(is_label(text), "{text:?}");
        }
        for text in
            ["\u{1b}[31m", "a\nb", "a\rb", "a\tb", "a\0", "\u{9b}2J", "\u{202e}gpj", "a\u{2028}b", "\u{2066}x"]
        {
            assert!(!is_label(text), "{text:?}");
        }
    }
}
