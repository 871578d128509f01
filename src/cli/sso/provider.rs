//! The provider itself: configured, tried, put to use.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::{Entry, Set};
use crate::base::Username;
use crate::cli::files::Disk;
use crate::cli::operator::{Site, columns};
use crate::cli::tenant::zone_origin;
use crate::cli::{CommandProblem, say};
use crate::config::Surroundings as _;
use crate::directory::{SsoScope, Tenant, User, emergency_problem, methods};
use crate::machine::random;
use crate::sso::{Audience, ClientSecret, LIST_MAX, ProviderSettings, TICKET_PURPOSE, TestTicket};
use crate::store::{Provider, SsoSet, StoreFault};
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

/// The most that is read of something that holds a secret.
const SECRET_BYTES_MAX: u64 = 4096;

fn input(text: impl Into<String>) -> CommandProblem {
    CommandProblem::Input(text.into())
}

/// The tenant's provider, or how it gets one.
pub(super) async fn found(site: &Site, tenant: &Tenant) -> Result<Provider, CommandProblem> {
    site.store.provider(tenant.id).await?.ok_or_else(|| {
        let slug = &tenant.slug;
        input(format!(
            "{slug} has no provider: say which with `zonegate tenant sso set {slug} --issuer URL --client-id ID`"
        ))
    })
}

pub(super) async fn show(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let provider = found(site, tenant).await?;
    let exempt = match tenant.sso_exempt {
        None => "-".into(),
        Some(user) => match site.store.account_by_id(user).await? {
            Some(account) => account.user.username.to_string(),
            None => user.to_string(),
        },
    };
    let linked = site.store.links(tenant.id, Audience::Tenant).await?;
    let linked = linked.iter().filter(|link| link.issuer == provider.settings.issuer).count();
    let mut rows = vec![
        ["must be used by".to_owned(), users(tenant.sso).to_owned()],
        ["emergency admin".to_owned(), exempt],
        ["linked users".to_owned(), linked.to_string()],
    ];
    rows.extend(described(&provider).map(|(name, value)| [name.to_owned(), value]));
    rows.extend(addresses(site, tenant)?.map(|(name, value)| [name.to_owned(), value]));
    say(columns(rows))
}

/// Who must use the provider.
pub(in crate::cli) const fn users(scope: SsoScope) -> &'static str {
    match scope {
        SsoScope::Off => "nobody",
        SsoScope::Selected => "selected users",
        SsoScope::All => "all users",
    }
}

/// A provider as it is configured, but for its secret.
fn described(provider: &Provider) -> [(&'static str, String); 14] {
    let ProviderSettings {
        issuer,
        client_id,
        client_authentication,
        signing_algorithm,
        scopes,
        username_claim,
        hosts,
        acr,
        amr,
        max_age,
        provisioning,
        logout,
    } = &provider.settings;
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(" ") };
    let flag = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    [
        ("issuer", issuer.to_string()),
        ("client id", client_id.clone()),
        // Whatever it is, as many dots: its length is a secret as well.
        ("client secret", provider.secret.as_ref().map_or("none yet", |_| "••••••••").into()),
        ("client authentication", client_authentication.name().into()),
        ("signing algorithm", signing_algorithm.name().into()),
        ("scopes", list(scopes)),
        ("username claim", username_claim.clone()),
        ("further hosts", list(&hosts)),
        ("acr", list(acr)),
        ("amr", list(amr)),
        ("max age", max_age.map_or_else(|| "any".into(), |age| format!("{} s", age.seconds()))),
        ("provisions users", flag(*provisioning)),
        ("logs out there", flag(*logout)),
        ("tested", provider.tested_at.map_or_else(|| "no".into(), |at| format!("on {at}"))),
    ]
}

/// What is registered at the provider.
fn addresses(site: &Site, tenant: &Tenant) -> Result<[(&'static str, String); 5], CommandProblem> {
    let at = |path: &str| address(site, tenant, path);
    Ok([
        ("redirect URI", at("/callback")?),
        ("log-in initiation", at("/initiate")?),
        ("back-channel log-out", at("/backchannel-logout")?),
        ("front-channel log-out", at("/frontchannel-logout")?),
        ("after log-out", at("/logged-out")?),
    ])
}

fn address(site: &Site, tenant: &Tenant, path: &str) -> Result<String, CommandProblem> {
    Ok(format!("{}/.zonegate/sso/{}{path}", zone_origin(site, tenant)?, tenant.slug))
}

pub(super) async fn set(site: &Site, tenant: &Tenant, set: &Set) -> Result<(), CommandProblem> {
    let before = site.store.provider(tenant.id).await?;
    let settings = wanted(before.as_ref().map(|before| &before.settings), set)?;
    let secret = match &set.client_secret_file {
        Some(file) => Some(from_file(file)?),
        None => None,
    };
    let unchanged = before.as_ref().is_some_and(|before| before.settings == settings) && secret.is_none();
    if unchanged {
        return say(format_args!("The provider of {} is configured so already.", tenant.slug));
    }
    site.store.set_provider(tenant.id, &settings, secret.as_ref(), &changed(site, &settings)).await?;
    say(format_args!("{} is the provider of {}.", settings.issuer, tenant.slug))?;
    next_step(site, tenant).await
}

/// The settings with what was given in the place of what was there.
fn wanted(before: Option<&ProviderSettings>, set: &Set) -> Result<ProviderSettings, CommandProblem> {
    let before = match (before, &set.issuer, &set.client_id) {
        (Some(before), _, _) => before.clone(),
        (None, Some(issuer), Some(client_id)) => ProviderSettings::new(issuer.clone(), client_id.clone()),
        (None, _, _) => return Err(input("a provider begins with --issuer and --client-id: give both")),
    };
    let settings = ProviderSettings {
        issuer: set.issuer.clone().unwrap_or(before.issuer),
        client_id: set.client_id.clone().unwrap_or(before.client_id),
        client_authentication: set.client_authentication.unwrap_or(before.client_authentication),
        signing_algorithm: set.signing_algorithm.unwrap_or(before.signing_algorithm),
        scopes: list(&set.scopes, before.scopes),
        username_claim: set.username_claim.clone().unwrap_or(before.username_claim),
        hosts: list(&set.hosts, before.hosts),
        acr: list(&set.acr, before.acr),
        amr: list(&set.amr, before.amr),
        max_age: set.max_age.as_ref().map_or(before.max_age, Entry::value),
        provisioning: set.provision.unwrap_or(before.provisioning),
        logout: set.logout.unwrap_or(before.logout),
    };
    let ProviderSettings { scopes, hosts, acr, amr, .. } = &settings;
    if [scopes.len(), hosts.len(), acr.len(), amr.len()].into_iter().any(|length| length > LIST_MAX) {
        return Err(input(format!("no list of a provider has more than {LIST_MAX} entries")));
    }
    Ok(settings)
}

/// The list that was given, else the one that was there.
fn list<T: Clone>(given: &[Entry<T>], before: Vec<T>) -> Vec<T> {
    if given.is_empty() { before } else { given.iter().filter_map(Entry::value).collect() }
}

/// What there is still to do, and what people meet meanwhile.
async fn next_step(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let provider = found(site, tenant).await?;
    let slug = &tenant.slug;
    if provider.secret.is_none() && provider.settings.client_authentication.needs_secret() {
        say(format_args!("Give its client secret: zonegate tenant sso secret {slug}"))?;
    }
    if provider.tested_at.is_none() {
        say(format_args!("Try it before anybody has to use it: zonegate tenant sso test {slug}"))?;
        if tenant.sso != SsoScope::Off {
            say(format_args!("It is in use by {}: try it now.", users(tenant.sso)))?;
        }
    }
    Ok(())
}

pub(super) async fn secret(site: &Site, tenant: &Tenant, file: Option<&Path>) -> Result<(), CommandProblem> {
    let provider = found(site, tenant).await?;
    let secret = match file {
        Some(file) => from_file(file)?,
        None => asked_for()?,
    };
    let event = changed(site, &provider.settings);
    site.store.set_provider(tenant.id, &provider.settings, Some(&secret), &event).await?;
    say(format_args!("The client secret of {} at {} is set.", tenant.slug, provider.settings.issuer))?;
    next_step(site, tenant).await
}

fn from_file(file: &Path) -> Result<ClientSecret, CommandProblem> {
    let bytes = Zeroizing::new(Disk.read_secret(file).map_err(CommandProblem::Input)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| input(format!("{} is not text", file.display())))?;
    first_line(text)
}

fn asked_for() -> Result<ClientSecret, CommandProblem> {
    if std::io::stdin().is_terminal() {
        return first_line(&Zeroizing::new(rpassword::prompt_password("Client secret: ")?));
    }
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    first_line(&text)
}

fn first_line(text: &str) -> Result<ClientSecret, CommandProblem> {
    let line = text.lines().next().unwrap_or_default();
    ClientSecret::parse(line).ok_or_else(|| input("there is no client secret: one line of at most 2048 bytes"))
}

pub(super) async fn test(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let provider = found(site, tenant).await?;
    let ticket = TestTicket::new(tenant.id, tenant.zone.clone(), site.now);
    let sealed = ticket.seal(&site.settings.master_key.derive(TICKET_PURPOSE), random()?);
    let sealed = sealed.map_err(|problem| CommandProblem::Store(StoreFault::from(problem)))?;
    say(format_args!(
        "Register {} at {} as a redirect URI,",
        address(site, tenant, "/callback")?,
        provider.settings.issuer
    ))?;
    say("then open this in a browser within the hour, and log in there as anybody whom the provider knows:")?;
    say(address(site, tenant, &format!("?test={sealed}"))?)
}

pub(super) async fn enable(
    site: &Site,
    tenant: &Tenant,
    scope: SsoScope,
    emergency: Option<&Username>,
) -> Result<(), CommandProblem> {
    found(site, tenant).await?;
    let exempt = match emergency {
        None => tenant.sso_exempt,
        Some(username) => Some(emergency_admin(site, tenant, username).await?.id),
    };
    if (tenant.sso, tenant.sso_exempt) == (scope, exempt) {
        return say(format_args!("Single sign-on of {} is on for {} already.", tenant.slug, users(scope)));
    }
    match site.store.set_sso(tenant.id, scope, exempt, &set_to(site, tenant, scope)).await? {
        SsoSet::Yes => {
            say(format_args!(
                "From their next log-in on, {} of {} log in at the provider.",
                users(scope),
                tenant.slug
            ))?;
            match exempt {
                Some(_) => Ok(()),
                None => say("Nobody gets in while it is broken: consider --emergency-admin USERNAME."),
            }
        }
        SsoSet::Untested => Err(input(untested(&tenant.slug))),
        SsoSet::NobodyExempt => Err(input("the emergency administrator is no user of the tenant any more")),
    }
}

/// D25, in the operator's words.
pub(in crate::cli) fn untested(slug: &str) -> String {
    format!(
        "the provider of {slug} was not tried as it is configured now, and nobody may depend on it: run `zonegate tenant \
         sso test {slug}`, open the address it prints, and then do this again"
    )
}

/// Somebody who gets in by themselves when nobody else does.
async fn emergency_admin(site: &Site, tenant: &Tenant, username: &Username) -> Result<User, CommandProblem> {
    let account = site.store.account(username).await?.filter(|account| account.tenant.id == tenant.id);
    let account = account.ok_or_else(|| input(format!("{} has no user {username}", tenant.slug)))?;
    match emergency_problem(&account.user, account.password.is_some()) {
        None => Ok(account.user),
        Some(problem) => Err(input(format!("{username} {problem}"))),
    }
}

pub(super) async fn disable(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    if tenant.sso == SsoScope::Off {
        return say(format_args!("Single sign-on of {} is off already.", tenant.slug));
    }
    site.store.set_sso(tenant.id, SsoScope::Off, None, &set_to(site, tenant, SsoScope::Off)).await?;
    say(format_args!("From their next log-in on, users of {} log in with password and code.", tenant.slug))?;
    let accounts = site.store.accounts(Some(tenant.id)).await?;
    let without = accounts.iter().filter(|account| {
        account.password.is_none()
            && methods(&Tenant { sso: SsoScope::Off, ..tenant.clone() }, &account.user).allows_local()
    });
    match without.count() {
        0 => Ok(()),
        count => say(format_args!(
            "{count} of them have no password yet: `zonegate user list --tenant {}`.",
            tenant.slug
        )),
    }
}

pub(super) async fn remove(site: &Site, tenant: &Tenant) -> Result<(), CommandProblem> {
    let provider = found(site, tenant).await?;
    if site.store.remove_provider(tenant.id, &changed(site, &provider.settings)).await? {
        say(format_args!("{} has no provider any more.", tenant.slug))
    } else {
        let (slug, users) = (&tenant.slug, users(tenant.sso));
        Err(input(format!("{users} of {slug} log in there: run `zonegate tenant sso disable {slug}` first")))
    }
}

fn changed(site: &Site, settings: &ProviderSettings) -> SecurityEvent {
    let detail = Some(Snippet::of(settings.issuer.as_str()));
    SecurityEvent { detail, ..site.event(EventKind::ProviderChanged) }
}

fn set_to(site: &Site, tenant: &Tenant, scope: SsoScope) -> SecurityEvent {
    let detail = Some(Snippet::of(scope.name()));
    SecurityEvent { tenant: Some(tenant.id), detail, ..site.event(EventKind::SsoChanged) }
}
