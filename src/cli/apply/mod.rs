//! `zonegate apply`: makes the directory what a file says. Running it twice changes nothing the second time.

mod sso;
mod suite;

use std::path::PathBuf;

use super::files::Disk;
use super::operator::{Configuration, Site};
use super::{CommandProblem, say};
use crate::base::TenantId;
use crate::config::{Surroundings as _, TenantEntry, UserEntry, load_directory};
use crate::directory::{SecurityOverrides, SsoScope, Tenant, User, UserKind};
use crate::machine::random;
use crate::store::NewUser;
use crate::telemetry::{EventKind, SecurityEvent, Snippet};
use sso::Applied;

/// Create and change tenants and users until they are what a file says
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The directory file
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    let name = arguments.file.to_string_lossy();
    let bytes = Disk.read(&arguments.file).map_err(CommandProblem::Input)?;
    let text = String::from_utf8(bytes).map_err(|_| CommandProblem::Input(format!("{name} is not text")))?;
    arguments.configuration.with_store(async |site| {
        let wanted = load_directory(&text, &name, &site.settings.zones, &Disk)?;
        let conflicts = conflicts(&site, &wanted).await?;
        if !conflicts.is_empty() {
            let lines = conflicts.join("\n");
            return Err(CommandProblem::Input(format!(
                "{name} cannot be applied, and nothing was changed:\n{lines}"
            )));
        }
        let mut applied = Applied::default();
        for tenant in &wanted {
            applied.add(apply_tenant(&site, tenant, arguments.dry_run).await?);
        }
        let Applied { changes, newcomers, left } = applied;
        if newcomers > 0 && !arguments.dry_run {
            // R20: a username is never sent by mail.
            tell("Tell the new users their usernames yourself.");
            tell("Set a first password for those who log in with one: zonegate user set-password USERNAME");
        }
        let told = say(match (changes, arguments.dry_run) {
            (0, _) => "nothing to change".to_owned(),
            (count, true) => format!("{count} changes; nothing was written (--dry-run)"),
            (count, false) => format!("{count} changes made"),
        });
        // Not all that was asked was done, and a script must not take it for done, whoever has stopped reading.
        if left && !arguments.dry_run { Err(CommandProblem::No) } else { told }
    })
}

/// Says what is done next. Whoever has read enough (`| head -1`) does not want the rest undone: that it could not be
/// written is told at the end, when what was not written is tried again with the last line.
fn tell(text: impl std::fmt::Display) {
    let _ = say(text);
}

/// What in the file cannot be, seen from what the store holds: found before the first write, so that a run is not left
/// half done, and told at once, also with `--dry-run`.
async fn conflicts(site: &Site, wanted: &[TenantEntry]) -> Result<Vec<String>, CommandProblem> {
    let mut found = Vec::new();
    for tenant in wanted {
        for domain in &tenant.domains {
            let owner = site.store.tenant_by_domain(domain.as_str()).await?;
            if let Some(owner) = owner.filter(|owner| owner.slug != tenant.slug) {
                found.push(format!(
                    "domain {domain} of {} is a domain of {}: take it away from there first, in a run of its own",
                    tenant.slug, owner.slug
                ));
            }
        }
        for user in &tenant.users {
            let account = site.store.account(&user.username).await?;
            if let Some(account) = account.filter(|account| account.tenant.slug != tenant.slug) {
                found.push(format!(
                    "{} is a user of {}, and users do not change tenants",
                    user.username, account.tenant.slug
                ));
            }
        }
        found.extend(sso::conflicts(site, tenant).await?);
        found.extend(suite::conflicts(site, tenant).await?);
        let Some(old) = site.store.tenant_by_slug(&tenant.slug).await? else { continue };
        if old.domains.iter().all(|domain| tenant.domains.contains(domain)) {
            continue;
        }
        for account in site.store.accounts(Some(old.id)).await? {
            let name = &account.user.username;
            if !tenant.domains.iter().any(|domain| domain.as_str() == name.domain()) {
                found.push(format!(
                    "{} loses the domain {}, which {name} has: keep the domain",
                    tenant.slug,
                    name.domain()
                ));
            }
        }
    }
    Ok(found)
}

async fn apply_tenant(site: &Site, wanted: &TenantEntry, dry: bool) -> Result<Applied, CommandProblem> {
    let found = site.store.tenant_by_slug(&wanted.slug).await?;
    let mut tenant = match &found {
        Some(found) => found.clone(),
        None => Tenant {
            id: TenantId::from_bytes(random()?),
            slug: wanted.slug.clone(),
            name: wanted.slug.clone(),
            zone: wanted.zone.clone(),
            domains: Vec::new(),
            suite: Default::default(),
            sso: SsoScope::Off,
            sso_exempt: None,
            overrides: SecurityOverrides::default(),
        },
    };
    tenant.name = wanted.name.clone().unwrap_or(tenant.name);
    tenant.zone = wanted.zone.clone();
    tenant.domains = wanted.domains.clone();
    tenant.overrides = wanted.overrides.unwrap_or(tenant.overrides);
    let event = |detail: &str| SecurityEvent {
        tenant: Some(tenant.id),
        detail: Some(logged(detail)),
        ..site.event(EventKind::TenantChanged)
    };
    let mut applied = Applied::default();
    match &found {
        None => {
            tell(format_args!("+ tenant {} ({}) in zone {}", tenant.slug, tenant.name, tenant.zone));
            applied.changes += 1;
            if !dry {
                site.store.create_tenant(&tenant, &event(&tenant.slug)).await?;
            }
        }
        Some(found) if *found != tenant => {
            let difference = tenant_difference(found, &tenant);
            tell(format_args!("~ tenant {}: {difference}", tenant.slug));
            applied.changes += 1;
            if !dry {
                site.store.update_tenant(&tenant, &event(&difference)).await?;
            }
        }
        Some(_) => {}
    }
    for user in &wanted.users {
        applied.add(apply_user(site, &tenant, user, dry).await?);
    }
    applied.changes += suite::apply(site, &tenant, wanted, dry).await?;
    applied.add(sso::apply(site, &tenant, wanted, dry).await?);
    Ok(applied)
}

/// What is told, as the security log takes it (R121): the arrow would be written there by its number.
fn logged(difference: &str) -> Snippet {
    Snippet::of(&difference.replace('→', "->"))
}

/// The security settings first: the log has no room for all that may change at once.
fn tenant_difference(old: &Tenant, new: &Tenant) -> String {
    let text = |value: Option<String>| value.unwrap_or_else(|| "default".into());
    let security = |tenant: &Tenant| {
        let SecurityOverrides { attempts_max, password_strong, totp_period_seconds, idle_max_seconds } =
            tenant.overrides;
        [
            ("security.attempts_max", text(attempts_max.map(|most| most.to_string()))),
            ("security.password_strong", text(password_strong.map(|strong| strong.to_string()))),
            ("security.totp_period", text(totp_period_seconds.map(|period| format!("{}s", period.seconds())))),
            ("security.idle_max", text(idle_max_seconds.map(|idle| format!("{}s", idle.seconds())))),
        ]
    };
    let security = security(old).into_iter().zip(security(new)).map(|((name, old), (_, new))| (name, old, new));
    let others = [
        ("zone", old.zone.to_string(), new.zone.to_string()),
        ("domains", listed(&old.domains), listed(&new.domains)),
        ("name", old.name.clone(), new.name.clone()),
    ];
    differing(&security.chain(others).collect::<Vec<_>>())
}

fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn differing(fields: &[(&str, String, String)]) -> String {
    let differ = fields.iter().filter(|(_, old, new)| old != new);
    differ.map(|(name, old, new)| format!("{name} {old:?} → {new:?}")).collect::<Vec<_>>().join(", ")
}

/// What a user is to be: what the file says, else what they are, else what a new one is.
fn user_to_be(found: Option<&User>, wanted: &UserEntry) -> NewUser {
    let UserEntry {
        username,
        email,
        name,
        kind,
        level,
        groups,
        active,
        start_page,
        sso_subject: _,
        suite_exempt: _,
    } = wanted;
    let name = match (name.as_deref(), found) {
        (Some(""), _) | (None, None) => username.to_string(),
        (Some(name), _) => name.to_owned(),
        (None, Some(found)) => found.display_name.clone(),
    };
    NewUser {
        username: username.clone(),
        email: email.clone().or(found.and_then(|found| found.email.clone())),
        display_name: name,
        kind: kind.or(found.map(|found| found.kind)).unwrap_or_default(),
        level: level.or(found.map(|found| found.level)).unwrap_or_default(),
        groups: groups.clone().or_else(|| found.map(|found| found.groups.clone())).unwrap_or_default(),
        active: active.or(found.map(|found| found.active)).unwrap_or(true),
        start_page: start_page.clone().or(found.and_then(|found| found.start_page.clone())),
    }
}

async fn apply_user(
    site: &Site,
    tenant: &Tenant,
    wanted: &UserEntry,
    dry: bool,
) -> Result<Applied, CommandProblem> {
    let account = site.store.account(&wanted.username).await?;
    let new = user_to_be(account.as_ref().map(|account| &account.user), wanted);
    let Some(account) = account else {
        tell(format_args!("+ user {} ({})", new.username, new.kind.name()));
        if !dry {
            let mut event = site.event(EventKind::UserCreated);
            event.detail = Some(Snippet::of(new.username.as_str()));
            site.store.create_user(tenant.id, &new, &event).await?;
        }
        return Ok(Applied { changes: 1, newcomers: usize::from(new.kind != UserKind::ApiOnly), left: false });
    };
    if account.tenant.id != tenant.id {
        return Err(CommandProblem::Input(format!(
            "{} is a user of {}; a user does not change tenants",
            new.username, account.tenant.slug
        )));
    }
    let difference = user_difference(&account.user, &new);
    if difference.is_empty() {
        return Ok(Applied::default());
    }
    tell(format_args!("~ user {}: {difference}", new.username));
    if !dry {
        let kind = match (account.user.active, new.active) {
            (true, false) => EventKind::UserDisabled,
            (false, true) => EventKind::UserEnabled,
            (true, true) | (false, false) => EventKind::UserChanged,
        };
        let event = SecurityEvent { detail: Some(logged(&difference)), ..site.event(kind) };
        site.store.update_user(account.user.id, &new, &event).await?;
    }
    Ok(Applied { changes: 1, ..Applied::default() })
}

/// What the user may do first, as above.
fn user_difference(user: &User, new: &NewUser) -> String {
    // As in the header: a comma within a name is not one between two.
    let list =
        |groups: &[String]| groups.iter().map(|group| group.replace(',', "%2C")).collect::<Vec<_>>().join(", ");
    let page = |page: &Option<crate::base::LocalPath>| page.as_ref().map(ToString::to_string).unwrap_or_default();
    differing(&[
        ("active", user.active.to_string(), new.active.to_string()),
        ("level", user.level.name().to_owned(), new.level.name().to_owned()),
        ("kind", user.kind.name().to_owned(), new.kind.name().to_owned()),
        ("groups", list(&user.groups), list(&new.groups)),
        ("email", user.email.clone().unwrap_or_default(), new.email.clone().unwrap_or_default()),
        ("name", user.display_name.clone(), new.display_name.clone()),
        ("start_page", page(&user.start_page), page(&new.start_page)),
    ])
}
