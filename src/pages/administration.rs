//! The pages of a tenant's administrators: one view model each.

use askama::Template;

use super::Chrome;
use super::models::{Confirm, Page, page};
use crate::base::UnixTime;
use crate::directory::{Methods, SsoScope, SuiteMode};
use crate::sso::{ClientAuthentication, SigningAlgorithm};

/// Where the administrator's pages begin.
#[derive(Clone, Debug, Default)]
pub struct AdminPage<'a> {
    /// The company.
    pub company: &'a str,
    /// Who of it must log in at its provider.
    pub scope: SsoScope,
    /// Whether its users log in with the vendor's suite, where there is one.
    pub suite: SuiteMode,
    /// Proof that forms came from this page.
    pub csrf: &'a str,
}
page!(AdminPage, AdminView, "admin.html");

/// The id of the text that says who must use the provider.
const fn scope_text(scope: SsoScope) -> &'static str {
    match scope {
        SsoScope::Off => "admin.scope.off",
        SsoScope::Selected => "admin.scope.selected",
        SsoScope::All => "admin.scope.all",
    }
}

/// The id of the text that says what users do with the suite.
const fn mode_text(mode: SuiteMode) -> &'static str {
    match mode {
        SuiteMode::Off => "admin.suite.mode.off",
        SuiteMode::Allowed => "admin.suite.mode.allowed",
        SuiteMode::Required => "admin.suite.mode.required",
    }
}

impl AdminPage<'_> {
    const fn scope_text(&self) -> &'static str {
        scope_text(self.scope)
    }

    const fn suite_text(&self) -> &'static str {
        mode_text(self.suite)
    }
}

/// What stands in a field, and what is wrong with it: the id of a text.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// As it was typed, or as it is kept.
    pub value: String,
    /// Nothing, as a rule.
    pub error: Option<&'static str>,
}

impl From<String> for Field {
    fn from(value: String) -> Self {
        Self { value, error: None }
    }
}

/// A provider's settings, as they stand in the form.
#[derive(Clone, Debug, Default)]
pub struct ProviderFields {
    /// Who it is.
    pub issuer: Field,
    /// What it calls us.
    pub client_id: Field,
    /// What was wrong with the secret. The secret itself is never shown.
    pub secret_error: Option<&'static str>,
    /// How we prove who we are.
    pub client_authentication: ClientAuthentication,
    /// What its tokens are signed with.
    pub signing_algorithm: SigningAlgorithm,
    /// What is asked for besides `openid`, divided by spaces.
    pub scopes: Field,
    /// The claim that carries the username.
    pub username_claim: Field,
    /// Its other hosts, divided by spaces.
    pub hosts: Field,
    /// Authentication contexts, divided by spaces.
    pub acr: Field,
    /// Methods, divided by spaces.
    pub amr: Field,
    /// How long ago somebody may have logged in there.
    pub max_age: Field,
    /// Whether people whom the directory does not know are entered into it.
    pub provisioning: bool,
    /// Whether to log out here is to log out there as well.
    pub logout: bool,
}

/// A3, General: the tenant's provider, and who must use it.
#[derive(Clone, Debug, Default)]
pub struct ProviderPage<'a> {
    /// The company.
    pub company: &'a str,
    /// What stands in the form.
    pub fields: ProviderFields,
    /// Whether there is a provider.
    pub configured: bool,
    /// Whether it has a secret.
    pub has_secret: bool,
    /// When it was tried as it is configured now.
    pub tested_at: Option<UnixTime>,
    /// What is registered there, below this.
    pub address: &'a str,
    /// Who must use it.
    pub scope: SsoScope,
    /// Who can be the emergency administrator, and who is.
    pub administrators: &'a [(String, bool)],
    /// What a change wants besides the form.
    pub confirm: Confirm<'a>,
    /// Proof that forms came from this page.
    pub csrf: &'a str,
    /// What was done: the id of a text.
    pub notice: Option<&'static str>,
    /// Whether that leaves something to worry about.
    pub warns: bool,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(ProviderPage, ProviderView, "admin_sso.html");

impl ProviderPage<'_> {
    const fn must_log_in(&self) -> bool {
        matches!(self.confirm, Confirm::LogIn(_))
    }

    fn authentications(&self) -> Vec<(&'static str, bool)> {
        ClientAuthentication::ALL.map(|way| (way.name(), way == self.fields.client_authentication)).into()
    }

    fn algorithms(&self) -> Vec<(&'static str, bool)> {
        SigningAlgorithm::ALL
            .map(|algorithm| (algorithm.name(), algorithm == self.fields.signing_algorithm))
            .into()
    }

    fn scopes(&self) -> Vec<(&'static str, &'static str, bool)> {
        let all = [SsoScope::Off, SsoScope::Selected, SsoScope::All];
        all.map(|scope| (scope.name(), scope_text(scope), scope == self.scope)).into()
    }

    /// The last part of an address, and the id of the text that says what it is.
    const fn addresses(&self) -> [(&'static str, &'static str); 5] {
        [
            ("callback", "admin.address.callback"),
            ("initiate", "admin.address.initiate"),
            ("backchannel-logout", "admin.address.backchannel"),
            ("frontchannel-logout", "admin.address.frontchannel"),
            ("logged-out", "admin.address.loggedout"),
        ]
    }
}

/// Somebody who is linked to somebody at the provider.
#[derive(Clone, Debug)]
pub struct LinkedRow {
    /// The account's id.
    pub id: String,
    /// Its name.
    pub username: String,
    /// Who that is at the provider.
    pub subject: String,
    /// Since when.
    pub linked_at: UnixTime,
}

/// Why a line of a table does not count.
#[derive(Clone, Debug)]
pub struct WrongLine {
    /// Which, from 1.
    pub line: usize,
    /// The id of the text that says why.
    pub text: &'static str,
    /// What stands there.
    pub value: String,
}

/// A3, Resources: who is who at the provider.
#[derive(Clone, Debug, Default)]
pub struct RosterPage<'a> {
    /// The company.
    pub company: &'a str,
    /// The provider; `None` when there is none yet.
    pub issuer: Option<&'a str>,
    /// What was searched for.
    pub search: &'a str,
    /// The first of those that were found.
    pub rows: Vec<LinkedRow>,
    /// How many were found.
    pub found: usize,
    /// What stands in the form.
    pub username: Field,
    /// The same.
    pub subject: Field,
    /// The table, as it was sent.
    pub table: &'a str,
    /// The first lines of a table that were wrong.
    pub wrong: Vec<WrongLine>,
    /// How many more there are.
    pub more_wrong: usize,
    /// What a change wants besides the form.
    pub confirm: Confirm<'a>,
    /// Proof that forms came from this page.
    pub csrf: &'a str,
    /// What was done, in words.
    pub notice: Option<String>,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(RosterPage, RosterView, "admin_roster.html");

impl RosterPage<'_> {
    const fn must_log_in(&self) -> bool {
        matches!(self.confirm, Confirm::LogIn(_))
    }
}

/// Somebody who is exempt from the suite.
#[derive(Clone, Debug)]
pub struct ExemptRow {
    /// The account's id.
    pub id: String,
    /// Its name.
    pub username: String,
    /// Whether they could log in without it.
    pub has_password: bool,
}

/// A4: what a tenant lets its users do with the vendor's suite.
#[derive(Clone, Debug, Default)]
pub struct SuitePage<'a> {
    /// The company.
    pub company: &'a str,
    /// Who of it must log in at its own provider.
    pub scope: SsoScope,
    /// Whether the others may, or must, use the suite.
    pub mode: SuiteMode,
    /// What was chosen instead, in a form that does not count.
    pub chosen: Option<SuiteMode>,
    /// What the suite calls the company; `None` while it has not said so.
    pub bound: Option<&'a str>,
    /// Whether people whom the directory does not know are entered into it.
    pub provisioning: bool,
    /// Where those log in who are exempt.
    pub address: &'a str,
    /// The first of them.
    pub exempt: Vec<ExemptRow>,
    /// How many there are.
    pub exempt_found: usize,
    /// What was searched for.
    pub search: &'a str,
    /// The first of those that were found.
    pub rows: Vec<LinkedRow>,
    /// How many were found.
    pub found: usize,
    /// What stands in the form.
    pub username: Field,
    /// What a change wants besides the form.
    pub confirm: Confirm<'a>,
    /// Proof that forms came from this page.
    pub csrf: &'a str,
    /// What was done: the id of a text.
    pub notice: Option<&'static str>,
    /// What was wrong: the id of a message.
    pub error: Option<&'static str>,
}
page!(SuitePage, SuiteView, "admin_suite.html");

impl SuitePage<'_> {
    const fn must_log_in(&self) -> bool {
        matches!(self.confirm, Confirm::LogIn(_))
    }

    /// As no company nobody gets in; what is on can be put off all the same.
    const fn shows_mode(&self) -> bool {
        self.bound.is_some() || !matches!(self.mode, SuiteMode::Off)
    }

    fn modes(&self) -> Vec<(&'static str, &'static str, bool)> {
        SuiteMode::ALL.map(|mode| (mode.name(), mode_text(mode), mode == self.chosen.unwrap_or(self.mode))).into()
    }

    /// What an administrator may not have meant.
    const fn warning(&self) -> Option<&'static str> {
        match (self.mode, self.scope) {
            (SuiteMode::Off, _) => None,
            (SuiteMode::Allowed | SuiteMode::Required, SsoScope::All) => Some("admin.suite.sso"),
            (SuiteMode::Required, SsoScope::Off | SsoScope::Selected) if self.exempt.is_empty() => {
                Some("admin.suite.alone")
            }
            (SuiteMode::Allowed | SuiteMode::Required, SsoScope::Off | SsoScope::Selected) => None,
        }
    }
}

/// A user, as a list shows them.
#[derive(Clone, Debug)]
pub struct UserRow {
    /// The account's name.
    pub username: String,
    /// The person's.
    pub display_name: String,
    /// Whether they administer.
    pub administers: bool,
    /// How they get in.
    pub methods: Methods,
    /// Whether a password wants a code beside it.
    pub needs_code: bool,
    /// Whether they have a password, where one could be used.
    pub has_password: bool,
    /// Whether of these only the suite counts.
    pub must_use_suite: bool,
    /// Whether that would be so, were they not exempt.
    pub suite_exempt: bool,
    /// Whether they are the one administrator who does not use the provider.
    pub exempt: bool,
    /// Whether they can log in at all.
    pub active: bool,
    /// Whether too many wrong passwords were given.
    pub locked: bool,
}

impl UserRow {
    const fn methods_text(&self) -> &'static str {
        match self.methods {
            Methods::Local if !self.needs_code => "admin.method.password",
            Methods::Local => "admin.method.local",
            Methods::LocalAndSuite if self.must_use_suite => "admin.method.suite.only",
            Methods::LocalAndSuite => "admin.method.suite",
            Methods::Sso => "admin.method.sso",
            Methods::Api => "admin.method.api",
        }
    }

    const fn state_text(&self) -> &'static str {
        match (self.active, self.locked) {
            (false, _) => "admin.state.disabled",
            (true, true) => "admin.state.locked",
            (true, false) => "admin.state.active",
        }
    }

    const fn lacks_password(&self) -> bool {
        self.methods.allows_local() && !self.must_use_suite && !self.has_password
    }
}

/// A1: the users of a tenant, to be looked at.
#[derive(Clone, Debug, Default)]
pub struct UsersPage<'a> {
    /// The company.
    pub company: &'a str,
    /// What was searched for.
    pub search: &'a str,
    /// The first of those that were found.
    pub rows: Vec<UserRow>,
    /// How many were found.
    pub found: usize,
}
page!(UsersPage, UsersView, "admin_users.html");
