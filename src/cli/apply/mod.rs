//! `zonegate apply`: makes the directory what a file says. Running it twice changes nothing the second time.

mod sso;
mod suite;

use std::path::PathBuf;

use super::files::Disk;
use super::operator::{Configuration, Site};
use super::{CommandProblem, say};
use crate::base::TenantId;
use crate::config::{Surroundings as _, TenantEntry, UserEntry, load_directory};
use crate::directory::{SsoScope, Tenant};
use crate::machine::random;
use crate::store::{Account, NewUser, StoreFault};
use crate::telemetry::{EventKind, Snippet};
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
        let (mut changes, mut left) = (0, false);
        for tenant in &wanted {
            let applied = apply_tenant(&site, tenant, arguments.dry_run).await?;
            changes += applied.changes;
            left |= applied.left;
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
        found.extend(suite::conflicts(site, tenant));
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
    let tenant = Tenant {
        id: match &found {
            Some(found) => found.id,
            None => TenantId::from_bytes(random().map_err(StoreFault::from)?),
        },
        slug: wanted.slug.clone(),
        name: wanted.name.clone(),
        zone: wanted.zone.clone(),
        domains: wanted.domains.clone(),
        suite: found.as_ref().map(|found| found.suite.clone()).unwrap_or_default(),
        sso: found.as_ref().map_or(SsoScope::Off, |found| found.sso),
        sso_exempt: found.as_ref().and_then(|found| found.sso_exempt),
        overrides: wanted.overrides,
    };
    let mut event = site.event(EventKind::TenantChanged);
    event.tenant = Some(tenant.id);
    event.detail = Some(Snippet::of(&tenant.slug));
    let mut changes = 0;
    match &found {
        None => {
            tell(format_args!("+ tenant {} ({}) in zone {}", tenant.slug, tenant.name, tenant.zone));
            changes += 1;
            if !dry {
                site.store.create_tenant(&tenant, &event).await?;
            }
        }
        Some(found) if *found != tenant => {
            tell(format_args!("~ tenant {}: {}", tenant.slug, tenant_difference(found, &tenant)));
            changes += 1;
            if !dry {
                site.store.update_tenant(&tenant, &event).await?;
            }
        }
        Some(_) => {}
    }
    for user in &wanted.users {
        changes += apply_user(site, &tenant, user, dry).await?;
    }
    changes += suite::apply(site, &tenant, wanted, dry).await?;
    let Applied { changes: of_sso, left } = sso::apply(site, &tenant, wanted, dry).await?;
    Ok(Applied { changes: changes + of_sso, left })
}

fn tenant_difference(old: &Tenant, new: &Tenant) -> String {
    let domains = |tenant: &Tenant| listed(&tenant.domains);
    let fields = [
        ("name", old.name.clone(), new.name.clone()),
        ("zone", old.zone.to_string(), new.zone.to_string()),
        ("domains", domains(old), domains(new)),
        ("security", format!("{:?}", old.overrides), format!("{:?}", new.overrides)),
    ];
    differing(&fields)
}

fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn differing(fields: &[(&str, String, String)]) -> String {
    let differ = fields.iter().filter(|(_, old, new)| old != new);
    differ.map(|(name, old, new)| format!("{name} {old:?} → {new:?}")).collect::<Vec<_>>().join(", ")
}

async fn apply_user(site: &Site, tenant: &Tenant, wanted: &UserEntry, dry: bool) -> Result<usize, CommandProblem> {
    let new = NewUser {
        username: wanted.username.clone(),
        email: wanted.email.clone(),
        display_name: wanted.name.clone(),
        kind: wanted.kind,
        level: wanted.level,
        groups: wanted.groups.clone(),
        active: wanted.active,
        start_page: wanted.start_page.clone(),
    };
    let Some(account) = site.store.account(&wanted.username).await? else {
        tell(format_args!("+ user {} ({})", new.username, new.kind.name()));
        if !dry {
            let mut event = site.event(EventKind::UserCreated);
            event.detail = Some(Snippet::of(new.username.as_str()));
            site.store.create_user(tenant.id, &new, &event).await?;
        }
        return Ok(1);
    };
    if account.tenant.id != tenant.id {
        return Err(CommandProblem::Input(format!(
            "{} is a user of {}; a user does not change tenants",
            new.username, account.tenant.slug
        )));
    }
    let difference = user_difference(&account, &new);
    if difference.is_empty() {
        return Ok(0);
    }
    tell(format_args!("~ user {}: {difference}", new.username));
    if !dry {
        let event = site.event(if account.user.active && !new.active {
            EventKind::UserDisabled
        } else {
            EventKind::UserChanged
        });
        site.store.update_user(account.user.id, &new, &event).await?;
    }
    Ok(1)
}

fn user_difference(old: &Account, new: &NewUser) -> String {
    let user = &old.user;
    // As in the header: a comma within a name is not one between two.
    let list =
        |groups: &[String]| groups.iter().map(|group| group.replace(',', "%2C")).collect::<Vec<_>>().join(", ");
    let page = |page: &Option<crate::base::LocalPath>| page.as_ref().map(ToString::to_string).unwrap_or_default();
    differing(&[
        ("email", user.email.clone().unwrap_or_default(), new.email.clone().unwrap_or_default()),
        ("name", user.display_name.clone(), new.display_name.clone()),
        ("kind", user.kind.name().to_owned(), new.kind.name().to_owned()),
        ("level", user.level.name().to_owned(), new.level.name().to_owned()),
        ("groups", list(&user.groups), list(&new.groups)),
        ("active", user.active.to_string(), new.active.to_string()),
        ("start_page", page(&user.start_page), page(&new.start_page)),
    ])
}
