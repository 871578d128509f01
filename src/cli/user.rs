//! `zonegate user …`: the people and programs of the tenants.

use std::io::{IsTerminal as _, Read};

use zeroize::Zeroizing;

use super::operator::{Configuration, Site, columns};
use super::{CommandProblem, say, tenant};
use crate::assertion::check_person;
use crate::base::{LocalPath, UserId, Username};
use crate::credential::{
    PASSWORD_BYTES_MAX, PASSWORD_CHARS_MAX, PasswordProblem, Pepper, check_new_password, hash_password, normalise,
    verify_password,
};
use crate::directory::{
    Methods, SecurityLevel, Tenant, User, UserKind, is_email, is_label, methods, must_use_suite,
};
use crate::machine::random;
use crate::store::{Account, NewUser};
use crate::telemetry::{EventKind, SecurityEvent};

/// The longest line that is looked at, as at the log-in: what is normalised (NFC) may have been longer before.
const LINE_BYTES_MAX: usize = 16 * PASSWORD_BYTES_MAX;

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
    Show {
        /// Like alice@acme.example, or the id, which logs carry
        #[arg(value_name = "USERNAME|ID", value_parser = whom)]
        whom: Whom,
    },
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

/// Who is meant.
#[derive(Clone, Debug)]
enum Whom {
    Name(Username),
    Id(UserId),
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

fn whom(text: &str) -> Result<Whom, String> {
    match text.parse() {
        Ok(id) => Ok(Whom::Id(id)),
        Err(no_id) if !text.contains('@') => Err(format!("is no username like alice@acme.example, and {no_id}")),
        Err(_) => {
            text.parse().map(Whom::Name).map_err(|problem: crate::base::UsernameProblem| problem.to_string())
        }
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
        Action::Show { whom } => show(&site, whom).await,
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
        Some(slug) => Some(tenant::find(site, slug).await?.id),
    };
    let accounts = site.store.accounts(tenant).await?;
    let head = ["USERNAME", "TENANT", "KIND", "LEVEL", "STATE", "PASSWORD", "2FA", "ID", "NAME"].map(String::from);
    let rows = accounts.iter().map(|account| {
        [
            account.user.username.to_string(),
            account.tenant.slug.clone(),
            account.user.kind.name().into(),
            account.user.level.name().into(),
            state(account).into(),
            if account.password.is_some() { "set".into() } else { "-".into() },
            if account.totp.is_some() { "set up".into() } else { "-".into() },
            account.user.id.to_string(),
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

async fn show(site: &Site, whom: &Whom) -> Result<(), CommandProblem> {
    let found = match whom {
        Whom::Name(username) => site.store.account(username).await?.ok_or_else(|| nobody(username)),
        Whom::Id(id) => {
            site.store.account_by_id(*id).await?.ok_or_else(|| nobody(format_args!("with the id {id}")))
        }
    };
    let account = found?;
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
        ("logs in with", ways(tenant, user, site.settings.suite.is_some()).into()),
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
fn ways(tenant: &Tenant, user: &User, has_suite: bool) -> &'static str {
    match methods(tenant, user) {
        // One that is not configured is required of nobody.
        Methods::LocalAndSuite if !has_suite => "password and code",
        Methods::Local => "password and code",
        Methods::LocalAndSuite if must_use_suite(tenant, user) => "the suite",
        Methods::LocalAndSuite => "password and code, or the suite",
        Methods::Sso => "single sign-on",
        Methods::Api => "cannot log in yet: API credentials are not there yet",
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
                problems.push(PasswordProblem::Reused { history: rules.history }.to_string());
                break;
            }
        }
    }
    if !problems.is_empty() {
        return Err(CommandProblem::Input(format!("the password is refused: {}", problems.join("; "))));
    }
    let cost = site.settings.hashing.cost;
    let hash = hash_password(&password, random()?, &pepper, cost).map_err(|fault| input(&fault))?;
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
    first_line(std::io::stdin())
}

/// The first line of what is read, whole or not at all (R44): a password that was cut would be set, and nobody would know.
fn first_line(from: impl Read) -> Result<Zeroizing<String>, CommandProblem> {
    let refused = |text: &str| Err(CommandProblem::Input(text.into()));
    let most = LINE_BYTES_MAX.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    from.take(most.try_into().unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    if line.len() > LINE_BYTES_MAX {
        return Err(CommandProblem::Input(format!(
            "the password is refused: use at most {PASSWORD_CHARS_MAX} characters"
        )));
    }
    match std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)) {
        Ok("") => refused("standard input holds no password"),
        Ok(line) => Ok(Zeroizing::new(line.to_owned())),
        Err(_) => refused("what standard input holds is not UTF-8 text"),
    }
}

async fn account(site: &Site, named: &Named) -> Result<Account, CommandProblem> {
    site.store.account(&named.username).await?.ok_or_else(|| nobody(&named.username))
}

fn nobody(whom: impl std::fmt::Display) -> CommandProblem {
    CommandProblem::Input(format!("there is no user {whom}: see `zonegate user list`"))
}

fn event(site: &Site, kind: EventKind, account: &Account) -> SecurityEvent {
    SecurityEvent { user: Some(account.user.id), tenant: Some(account.tenant.id), ..site.event(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r44_a_password_is_read_whole_or_refused_and_never_cut() {
        let read =
            |text: &[u8]| first_line(text).map(|line| line.to_string()).map_err(|problem| problem.to_string());
        assert_eq!(read(b"kX9! \r\nsecond line"), Ok("kX9! ".to_owned()));
        let long = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(read(long.as_bytes()), Ok(long.clone()));
        assert_eq!(read(format!("{long}\nmore").as_bytes()), Ok(long.clone()), "what follows is another line");
        let refused = Err("the password is refused: use at most 64 characters".to_owned());
        assert_eq!(read(format!("{long}x").as_bytes()), refused);
        assert_eq!(read(format!("{long}x\n").as_bytes()), refused);
        // A character that lies across the end of what is read is none of the line's.
        assert_eq!(read(format!("kX9!\n{}é", "x".repeat(LINE_BYTES_MAX - 5)).as_bytes()), Ok("kX9!".to_owned()));
        assert_eq!(read(b"\xff\n"), Err("what standard input holds is not UTF-8 text".to_owned()));
        assert_eq!(read(b"\nx"), Err("standard input holds no password".to_owned()));
    }
}
