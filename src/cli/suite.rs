//! `zonegate tenant suite …`: whether a company's users log in with the vendor's suite, and who is who there.
//!
//! The suite itself is the configuration's; what stands here is a tenant's part of it.

use super::operator::{Site, columns};
use super::tenant::{find, zone_origin};
use super::{CommandProblem, say};
use crate::base::Username;
use crate::directory::{
    Methods, SsoScope, SuiteAccess, SuiteCompany, SuiteMode, Tenant, User, UserKind, exemption, methods,
    must_use_suite,
};
use crate::sso::{Audience, Suite};
use crate::store::Account;
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

/// What is done with a tenant's part of the suite.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Show what a tenant's users may do with the suite, and the addresses to register there
    Show(Tenanted),
    /// Let users log in with the suite, from their next log-in on; what is not said stays as it is
    Set(Set),
    /// Let nobody log in with the suite any more; the company, the links and the exemptions stay
    Off(Tenanted),
    /// Let a user log in with password and code although the tenant requires the suite
    Exempt {
        /// Like alice@acme.example
        username: Username,
        /// Not any more
        #[arg(long)]
        off: bool,
    },
    /// List who is who at the suite
    Users(Tenanted),
    /// Forget who a user is at the suite, and end the sessions that began there
    Unlink {
        /// Like alice@acme.example
        username: Username,
    },
}

/// Whose part of the suite.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Tenanted {
    /// The tenant's short name
    #[arg(value_name = "TENANT")]
    slug: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    tenant: Tenanted,
    /// What the suite calls the company, letter by letter
    #[arg(long, value_name = "ID")]
    company: Option<SuiteCompany>,
    /// Only the suite: no more password and code, but for those who are exempt
    #[arg(long, conflicts_with = "no_require")]
    require: bool,
    /// The suite, or password and code
    #[arg(long)]
    no_require: bool,
    /// Enter people of the company whom the directory does not know into it, at the lowest level
    #[arg(long, conflicts_with = "no_provision")]
    provision: bool,
    /// Let in only those whom the directory knows
    #[arg(long)]
    no_provision: bool,
}

fn input(text: impl Into<String>) -> CommandProblem {
    CommandProblem::Input(text.into())
}

pub(super) async fn run(site: &Site, action: &Action) -> Result<(), CommandProblem> {
    match action {
        Action::Show(named) => show(site, &find(site, &named.slug).await?).await,
        Action::Set(wanted) => set(site, &find(site, &wanted.tenant.slug).await?, wanted).await,
        Action::Off(named) => off(site, &find(site, &named.slug).await?).await,
        Action::Exempt { username, off } => exempt(site, username, !off).await,
        Action::Users(named) => users(site, &find(site, &named.slug).await?).await,
        Action::Unlink { username } => unlink(site, username).await,
    }
}

/// The suite, or where it would be.
fn configured(site: &Site) -> Result<&Suite, CommandProblem> {
    let suite = site.settings.suite.as_ref();
    suite
        .ok_or_else(|| input("the configuration has no suite that anybody could use: give it the section `suite`"))
}

async fn show(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let suite = site.settings.suite.as_ref();
    let accounts = site.store.accounts(Some(tenant.id)).await?;
    let exempt: Vec<_> = accounts.iter().map(|account| &account.user).filter(|user| user.suite_exempt).collect();
    let exempt: Vec<_> = exempt.iter().map(|user| user.username.as_str()).collect();
    let linked = site.store.links(tenant.id, Audience::Suite).await?.len();
    let none = || "-".to_owned();
    let SuiteAccess { mode, company, provisioning } = &tenant.suite;
    let mut rows = vec![
        ["suite".to_owned(), suite.map_or_else(|| "none is configured".into(), |suite| suite.name.clone())],
        ["log-in with it".to_owned(), mode.name().into()],
        ["company".to_owned(), company.as_ref().map_or_else(none, ToString::to_string)],
        ["provisions users".to_owned(), if *provisioning { "yes" } else { "no" }.into()],
        ["exempt users".to_owned(), if exempt.is_empty() { none() } else { exempt.join(" ") }],
        ["they log in at".to_owned(), with_password(site, tenant)?],
        ["linked users".to_owned(), linked.to_string()],
    ];
    if let Some(suite) = suite {
        rows.push(["issuer".to_owned(), suite.settings.issuer.to_string()]);
        rows.extend(addresses(zone_origin(site, tenant)?).map(|(name, value)| [name.to_owned(), value]));
    }
    say(columns(rows))
}

/// What is registered at the suite, for each zone.
fn addresses(origin: &str) -> [(&'static str, String); 5] {
    let at = |part: &str| format!("{origin}/.zonegate/suite/{part}");
    [
        ("redirect URI", at("callback")),
        ("log-in initiation", at("initiate")),
        ("back-channel log-out", at("backchannel-logout")),
        ("front-channel log-out", at("frontchannel-logout")),
        ("after log-out", at("logged-out")),
    ]
}

/// Where those log in who are exempt. No page leads there.
fn with_password(site: &Site, tenant: &Tenant) -> Result<String, CommandProblem> {
    Ok(format!("{}/.zonegate/login?with=password", zone_origin(site, tenant)?))
}

/// What is to be: what is said, else what was.
fn wanted(before: &SuiteAccess, set: &Set) -> SuiteAccess {
    let said = |yes: bool, no: bool| if yes || no { Some(yes) } else { None };
    let mode = match (said(set.require, set.no_require), before.mode) {
        (Some(true), _) => SuiteMode::Required,
        (Some(false), _) | (None, SuiteMode::Off | SuiteMode::Allowed) => SuiteMode::Allowed,
        (None, SuiteMode::Required) => SuiteMode::Required,
    };
    SuiteAccess {
        mode,
        company: set.company.clone().or_else(|| before.company.clone()),
        provisioning: said(set.provision, set.no_provision).unwrap_or(before.provisioning),
    }
}

async fn set(site: &Site, tenant: &Tenant, set: &Set) -> Result<(), CommandProblem> {
    let suite = configured(site)?;
    let slug = &tenant.slug;
    let access = wanted(&tenant.suite, set);
    if access == tenant.suite {
        return say(format_args!("{slug} uses {} so already.", suite.name));
    }
    let no_company = || {
        let text = format!("{} must know which of its companies {slug} is: give --company ID", suite.name);
        input(text)
    };
    let company = access.company.as_ref().ok_or_else(no_company)?;
    if !site.store.set_suite(tenant.id, &access, &changed(site, &access)).await? {
        return Err(no_company());
    }
    let may = match access.mode {
        SuiteMode::Off | SuiteMode::Allowed => "may",
        SuiteMode::Required => "must",
    };
    let name = &suite.name;
    say(format_args!(
        "From their next log-in on, users of {slug} {may} log in with {name}, as people of {company}."
    ))?;
    if tenant.suite.company.as_ref().is_some_and(|before| before != company) {
        say(format_args!(
            "Links to people of another company stay, and let nobody in: `zonegate tenant suite users {slug}`."
        ))?;
    }
    consequences(site, &Tenant { suite: access, ..tenant.clone() }).await
}

/// Who does not get in, or not in the way that was meant.
async fn consequences(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let slug = &tenant.slug;
    let accounts = site.store.accounts(Some(tenant.id)).await?;
    let users: Vec<_> = accounts.iter().map(|account| &account.user).filter(|user| user.active).collect();
    let can = |user: &User| methods(tenant, user) == Methods::LocalAndSuite;
    if tenant.sso == SsoScope::All {
        let who = if tenant.sso_exempt.is_some() { "only its emergency administrator" } else { "nobody" };
        say(format_args!(
            "All users of {slug} log in at its own provider, so that {who} can: `zonegate tenant sso show {slug}`."
        ))?;
    } else if !users.is_empty() && !users.iter().any(|user| can(user)) {
        say(format_args!(
            "{slug} has nobody who can: the suite lets in regular users without a provider of their own."
        ))?;
    }
    if tenant.suite.mode != SuiteMode::Required {
        return Ok(());
    }
    let exempt = users.iter().filter(|user| can(user) && user.suite_exempt).count();
    match exempt {
        0 => say("Nobody gets in while it is broken: consider `zonegate tenant suite exempt USERNAME`.")?,
        _ => say(format_args!("Exempt users: {exempt}. They log in at {}", with_password(site, tenant)?))?,
    }
    let links = site.store.links(tenant.id, Audience::Suite).await?;
    let unknown = users.iter().filter(|user| {
        must_use_suite(tenant, user) && user.email.is_none() && !links.iter().any(|link| link.user == user.id)
    });
    match unknown.count() {
        0 => Ok(()),
        count => say(format_args!("Users without an e-mail address by which it could know them: {count}.")),
    }
}

async fn off(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let slug = &tenant.slug;
    if tenant.suite.mode == SuiteMode::Off {
        return say(format_args!("The suite is off for {slug} already."));
    }
    let access = SuiteAccess { mode: SuiteMode::Off, ..tenant.suite.clone() };
    site.store.set_suite(tenant.id, &access, &changed(site, &access)).await?;
    say(format_args!("From their next log-in on, users of {slug} log in without the suite."))?;
    let accounts = site.store.accounts(Some(tenant.id)).await?;
    let local = |account: &&Account| {
        methods(&Tenant { suite: access.clone(), ..tenant.clone() }, &account.user).allows_local()
    };
    match accounts.iter().filter(local).filter(|account| account.password.is_none()).count() {
        0 => Ok(()),
        count => say(format_args!(
            "Users without a password: {count}. `zonegate user list --tenant {slug}` names them."
        )),
    }
}

async fn account(site: &Site, username: &Username) -> Result<Account, CommandProblem> {
    let account = site.store.account(username).await?;
    account.ok_or_else(|| input(format!("there is no user {username}: see `zonegate user list`")))
}

async fn exempt(site: &Site, username: &Username, exempt: bool) -> Result<(), CommandProblem> {
    let Account { user, tenant, password, .. } = account(site, username).await?;
    if exempt && user.kind != UserKind::Regular {
        let kind = user.kind.name();
        return Err(input(format!(
            "{username} is of the kind {kind}, which does not log in with the suite anyway"
        )));
    }
    if user.suite_exempt == exempt {
        let is = if exempt { "is" } else { "is not" };
        return say(format_args!("{username} {is} exempt already."));
    }
    let event = SecurityEvent {
        tenant: Some(tenant.id),
        detail: Some(Snippet::of(exemption(exempt))),
        ..site.event(EventKind::SuiteChanged)
    };
    site.store.set_suite_exempt(user.id, exempt, &event).await?;
    if !exempt {
        return say(match tenant.suite.mode {
            SuiteMode::Required => format!("From the next log-in on, {username} must log in with the suite."),
            SuiteMode::Off | SuiteMode::Allowed => format!("{username} is not exempt any more."),
        });
    }
    say(format_args!("{username} is exempt from the suite, and logs in at {}", with_password(site, &tenant)?))?;
    if password.is_none() {
        say(format_args!("Set a first password: zonegate user set-password {username}"))?;
    }
    match tenant.suite.mode {
        SuiteMode::Required => Ok(()),
        SuiteMode::Off | SuiteMode::Allowed => {
            say(format_args!("{} does not require the suite, so that nothing changes yet.", tenant.slug))
        }
    }
}

async fn users(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let links = site.store.links(tenant.id, Audience::Suite).await?;
    let rows = links.into_iter().map(|link| {
        [link.username.to_string(), link.subject.into(), link.issuer.to_string(), link.linked_at.to_string()]
    });
    let head = ["USERNAME", "SUBJECT", "ISSUER", "LINKED"].map(String::from);
    say(columns(std::iter::once(head).chain(rows)))
}

/// At whatever suite it is: the configuration may have named another one before.
async fn unlink(site: &Site, username: &Username) -> Result<(), CommandProblem> {
    let Account { user, tenant, .. } = account(site, username).await?;
    let mut removed = false;
    for link in site.store.links_of(user.id).await?.iter().filter(|link| link.audience == Audience::Suite) {
        let event = SecurityEvent {
            tenant: Some(tenant.id),
            detail: Some(Snippet::of(link.issuer.as_str())),
            ..site.event(EventKind::AccountUnlinked)
        };
        removed |= site.store.unlink(user.id, Audience::Suite, &link.issuer, &event).await?;
    }
    if removed {
        say(format_args!(
            "{username} is nobody at the suite any more, and the sessions that began there are ended."
        ))
    } else {
        say(format_args!("{username} was nobody at the suite."))
    }
}

fn changed(site: &Site, set_to: &SuiteAccess) -> SecurityEvent {
    SecurityEvent { detail: Some(Snippet::of(&set_to.described())), ..site.event(EventKind::SuiteChanged) }
}
