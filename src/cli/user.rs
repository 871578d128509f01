//! `zonegate user …`: the people and programs of the tenants.

use std::io::{IsTerminal as _, Read as _};

use zeroize::Zeroizing;

use super::operator::{Configuration, Site, columns};
use super::{CommandProblem, say};
use crate::assertion::check_person;
use crate::base::{LocalPath, Username};
use crate::credential::{
    PASSWORD_BYTES_MAX, PasswordProblem, Pepper, check_new_password, hash_password, normalise, verify_password,
};
use crate::directory::{
    Methods, SecurityLevel, Tenant, User, UserKind, is_email, is_label, methods, must_use_suite,
};
use crate::machine::random;
use crate::store::{Account, NewUser};
use crate::telemetry::{EventKind, SecurityEvent};

/// `zonegate user …`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Create a user, without a password
    Add(Add),
    /// List users
    List {
        /// Only those of this tenant
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
    },
    /// Show everything about one user, except secrets
    Show(Named),
    /// Keep a user from logging in, and end their sessions
    Disable(Named),
    /// Let a disabled user log in again
    Enable(Named),
    /// Give a locked user all attempts back; the password stays as it is
    Unlock(Named),
    /// Set a password: asked for at the terminal, or the first line of standard input; never an argument
    SetPassword(Named),
    /// Remove a user's authenticator and end their sessions; the next log-in sets up a new one
    #[command(name = "reset-2fa")]
    ResetTotp(Named),
}

#[derive(Clone, Debug, clap::Args)]
struct Named {
    /// Like alice@acme.example
    username: Username,
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// Like alice@acme.example; the domain says which tenant
    username: Username,
    /// The name people call the user by
    #[arg(long, default_value = "", value_parser = label)]
    name: String,
    /// The primary e-mail address
    #[arg(long, value_parser = email)]
    email: Option<String>,
    /// regular, contractor, co_managed, dashboard or api_only
    #[arg(long, default_value = "regular", value_parser = kind)]
    kind: UserKind,
    /// user or admin
    #[arg(long, default_value = "user", value_parser = level)]
    level: SecurityLevel,
    /// A group that the application is told of; may be given several times
    #[arg(long = "group", value_name = "GROUP", value_parser = label)]
    groups: Vec<String>,
    /// Where a log-in opens, like /tickets
    #[arg(long, value_name = "PATH")]
    start_page: Option<LocalPath>,
}

/// A text that people read: a name, a group.
pub(super) fn label(text: &str) -> Result<String, String> {
    if is_label(text) {
        Ok(text.into())
    } else {
        Err("holds a control character or one that turns the line around".into())
    }
}

fn kind(name: &str) -> Result<UserKind, String> {
    let names = || UserKind::ALL.map(UserKind::name).join(", ");
    UserKind::from_name(name).ok_or_else(|| format!("is none of {}", names()))
}

fn email(text: &str) -> Result<String, String> {
    if is_email(text) { Ok(text.into()) } else { Err("is no e-mail address, like alice@acme.example".into()) }
}

fn level(name: &str) -> Result<SecurityLevel, String> {
    SecurityLevel::from_name(name).ok_or_else(|| "is neither user nor admin".into())
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    arguments.configuration.with_store(async |site| match &arguments.action {
        Action::Add(new) => add(&site, new).await,
        Action::List { tenant } => list(&site, tenant.as_deref()).await,
        Action::Show(named) => show(&site, named).await,
        Action::Disable(named) => set_active(&site, named, false).await,
        Action::Enable(named) => set_active(&site, named, true).await,
        Action::Unlock(named) => unlock(&site, named).await,
        Action::SetPassword(named) => set_password(&site, named).await,
        Action::ResetTotp(named) => reset_totp(&site, named).await,
    })
}

async fn add(site: &Site, new: &Add) -> Result<(), CommandProblem> {
    let domain = new.username.domain();
    let Some(tenant) = site.store.tenant_by_domain(domain).await? else {
        return Err(CommandProblem::Input(format!(
            "no tenant has the domain {domain}: see `zonegate tenant list`, or create one with `zonegate tenant add`"
        )));
    };
    let user = NewUser {
        username: new.username.clone(),
        email: new.email.clone(),
        display_name: new.name.clone(),
        kind: new.kind,
        level: new.level,
        groups: new.groups.clone(),
        active: true,
        start_page: new.start_page.clone(),
    };
    if let Err(problem) = check_person(&new.name, new.email.as_deref(), &new.groups) {
        return Err(CommandProblem::Input(format!("the user cannot log in: {problem}")));
    }
    if site.store.account(&new.username).await?.is_some() {
        let text = format!("there is a user {0} already: see `zonegate user show {0}`", new.username);
        return Err(CommandProblem::Input(text));
    }
    let id = site.store.create_user(tenant.id, &user, &site.event(EventKind::UserCreated)).await?;
    say(format_args!("Created {} ({id}) in {}.", new.username, tenant.slug))?;
    if new.kind != UserKind::ApiOnly {
        // R20: the username is never sent by mail.
        say("Tell the user this username yourself.")?;
        say(format_args!("Set a first password: zonegate user set-password {}", new.username))?;
    }
    Ok(())
}

async fn list(site: &Site, slug: Option<&str>) -> Result<(), CommandProblem> {
    let tenant = match slug {
        None => None,
        Some(slug) => match site.store.tenant_by_slug(slug).await? {
            Some(tenant) => Some(tenant.id),
            None => {
                return Err(CommandProblem::Input(format!(
                    "there is no tenant {slug}: see `zonegate tenant list`"
                )));
            }
        },
    };
    let accounts = site.store.accounts(tenant).await?;
    let head = ["USERNAME", "TENANT", "KIND", "LEVEL", "STATE", "PASSWORD", "2FA", "NAME"].map(String::from);
    let rows = accounts.iter().map(|account| {
        [
            account.user.username.to_string(),
            account.tenant.slug.clone(),
            account.user.kind.name().into(),
            account.user.level.name().into(),
            state(account).into(),
            if account.password.is_some() { "set".into() } else { "-".into() },
            if account.totp.is_some() { "set up".into() } else { "-".into() },
            account.user.display_name.clone(),
        ]
    });
    say(columns(std::iter::once(head).chain(rows)))
}

fn state(account: &Account) -> &'static str {
    match (account.user.active, account.locked_at) {
        (false, _) => "disabled",
        (true, Some(_)) => "locked",
        (true, None) => "active",
    }
}

async fn show(site: &Site, named: &Named) -> Result<(), CommandProblem> {
    let account = account(site, named).await?;
    let Account { user, tenant, password, totp, attempts_used, locked_at } = &account;
    let set_or_not = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let rows = [
        ("username", user.username.to_string()),
        ("id", user.id.to_string()),
        ("name", user.display_name.clone()),
        ("e-mail", set_or_not(user.email.clone())),
        ("tenant", format!("{} ({})", tenant.slug, tenant.name)),
        ("zone", tenant.zone.to_string()),
        ("kind", user.kind.name().into()),
        ("level", user.level.name().into()),
        ("groups", set_or_not((!user.groups.is_empty()).then(|| user.groups.join(", ")))),
        ("state", state(&account).into()),
        ("logs in with", ways(tenant, user).into()),
        ("exempt from suite", if user.suite_exempt { "yes" } else { "no" }.into()),
        (
            "password",
            password.as_ref().map_or_else(|| "none yet".into(), |kept| format!("set on {}", kept.set_at)),
        ),
        (
            "authenticator",
            totp.as_ref().map_or_else(
                || "none yet".into(),
                |totp| format!("set up on {}, {} s", totp.enrolled_at, totp.period.seconds()),
            ),
        ),
        ("failures in a row", attempts_used.to_string()),
        ("locked", locked_at.map_or_else(|| "no".into(), |at| format!("since {at}"))),
        ("start page", set_or_not(user.start_page.as_ref().map(ToString::to_string))),
    ];
    let links = site.store.links_of(user.id).await?.into_iter();
    let links = links.map(|link| {
        let (issuer, subject) = (link.issuer, link.subject.as_str());
        ("linked", format!("to {subject} at {issuer} ({}), since {}", link.audience.name(), link.linked_at))
    });
    say(columns(rows.into_iter().chain(links).map(|(name, value)| [name.to_owned(), value])))
}

/// The ways in that a user has, as an operator reads them.
fn ways(tenant: &Tenant, user: &User) -> &'static str {
    match methods(tenant, user) {
        Methods::Local => "password and code",
        Methods::LocalAndSuite if must_use_suite(tenant, user) => "the suite",
        Methods::LocalAndSuite => "password and code, or the suite",
        Methods::Sso => "single sign-on",
        Methods::Api => "API credentials",
    }
}

async fn set_active(site: &Site, named: &Named, active: bool) -> Result<(), CommandProblem> {
    let account = account(site, named).await?;
    let kind = if active { EventKind::UserEnabled } else { EventKind::UserDisabled };
    if account.user.active == active {
        let state = if active { "active" } else { "disabled" };
        return say(format_args!("{} is {state} already.", named.username));
    }
    site.store.set_active(account.user.id, active, &event(site, kind, &account)).await?;
    match active {
        true => say(format_args!("{} may log in again.", named.username)),
        false => say(format_args!("{} cannot log in, and all sessions are ended.", named.username)),
    }
}

async fn unlock(site: &Site, named: &Named) -> Result<(), CommandProblem> {
    let account = account(site, named).await?;
    let had = site.store.unlock(account.user.id, &event(site, EventKind::AccountUnlocked, &account)).await?;
    match had {
        true => say(format_args!("{} has all attempts again; the password is the old one.", named.username)),
        false => say(format_args!("{} was not locked and had all attempts.", named.username)),
    }
}

async fn reset_totp(site: &Site, named: &Named) -> Result<(), CommandProblem> {
    let account = account(site, named).await?;
    let event = event(site, EventKind::SecondFactorReset, &account);
    let had = site.store.reset_totp(account.user.id, &event).await?;
    match had {
        true => say(format_args!(
            "The authenticator of {} is removed and all sessions are ended; the next log-in sets up a new one.",
            named.username
        )),
        false => say(format_args!("{} had no authenticator; all sessions are ended.", named.username)),
    }
}

async fn set_password(site: &Site, named: &Named) -> Result<(), CommandProblem> {
    let account = account(site, named).await?;
    if account.user.kind == UserKind::ApiOnly {
        return Err(CommandProblem::Input(format!(
            "{} is a program and logs in with no password",
            named.username
        )));
    }
    let rules = site.settings.security.with(&account.tenant.overrides).password.of_kind(account.user.kind);
    let password = Zeroizing::new(normalise(&ask_password()?));
    let mut problems: Vec<_> = check_new_password(&rules, &account.user.username, &password)
        .into_iter()
        .map(|problem| problem.to_string())
        .collect();
    let pepper = Pepper::of(&site.settings.master_key);
    // A password that breaks the rules is never hashed.
    if problems.is_empty() {
        for earlier in site.store.password_history(account.user.id, rules.history).await? {
            if verify_password(&password, &earlier, &pepper).map_err(|fault| input(&fault))? {
                problems.push(PasswordProblem::Reused.to_string());
                break;
            }
        }
    }
    if !problems.is_empty() {
        return Err(CommandProblem::Input(format!("the password is refused: {}", problems.join("; "))));
    }
    let salt = random().map_err(|fault| input(&fault))?;
    let hash =
        hash_password(&password, salt, &pepper, site.settings.hashing.cost).map_err(|fault| input(&fault))?;
    let event = event(site, EventKind::PasswordSet, &account);
    site.store.set_password(account.user.id, &hash, rules.history, &event).await?;
    say(format_args!("The password of {} is set, and all sessions are ended.", named.username))
}

fn input(fault: &dyn std::fmt::Display) -> CommandProblem {
    CommandProblem::Input(fault.to_string())
}

/// Asks twice at a terminal; reads one line from anything else.
fn ask_password() -> Result<Zeroizing<String>, CommandProblem> {
    if std::io::stdin().is_terminal() {
        let first = Zeroizing::new(rpassword::prompt_password("New password: ")?);
        let second = Zeroizing::new(rpassword::prompt_password("The same again: ")?);
        if first != second {
            return Err(CommandProblem::Input("the two passwords differ: nothing was changed".into()));
        }
        return Ok(first);
    }
    let mut text = Zeroizing::new(String::new());
    let most = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX).saturating_mul(2);
    std::io::stdin().take(most).read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CommandProblem::Input("standard input holds no password".into()));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

async fn account(site: &Site, named: &Named) -> Result<Account, CommandProblem> {
    let found = site.store.account(&named.username).await?;
    found.ok_or_else(|| {
        CommandProblem::Input(format!("there is no user {}: see `zonegate user list`", named.username))
    })
}

fn event(site: &Site, kind: EventKind, account: &Account) -> SecurityEvent {
    SecurityEvent { user: Some(account.user.id), tenant: Some(account.tenant.id), ..site.event(kind) }
}
