//! A tenant's part of the vendor's suite, and who is exempt from it: made what the file says.

use super::{differing, tell, user_to_be};
use crate::cli::CommandProblem;
use crate::cli::operator::Site;
use crate::config::{TenantEntry, UserEntry};
use crate::directory::{SuiteAccess, SuiteMode, Tenant, UserKind, exemption};
use crate::store::StoreFault;
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

/// What of it cannot be, seen from what the configuration holds.
pub(super) async fn conflicts(site: &Site, wanted: &TenantEntry) -> Result<Vec<String>, CommandProblem> {
    let uses = wanted.suite.as_ref().is_some_and(|access| access.mode != SuiteMode::Off);
    let mut found = Vec::new();
    if uses && site.settings.suite.is_none() {
        found.push(format!("{} cannot use a suite: the configuration has no section `suite`", wanted.slug));
    }
    for user in wanted.users.iter().filter(|user| user.suite_exempt == Some(true)) {
        let account = site.store.account(&user.username).await?;
        let kind = user_to_be(account.as_ref().map(|account| &account.user), user).kind;
        if kind != UserKind::Regular {
            let (username, kind) = (&user.username, kind.name());
            found.push(format!(
                "{username} cannot be exempt from the suite: users of the kind {kind} do not use it"
            ));
        }
    }
    Ok(found)
}

/// Makes it so, and says how much was changed. `tenant` is written by now, and its users are.
///
/// Exemptions go first, or somebody would have no way in for a moment.
pub(super) async fn apply(
    site: &Site,
    tenant: &Tenant,
    wanted: &TenantEntry,
    dry: bool,
) -> Result<usize, CommandProblem> {
    let mut changes = 0;
    for user in &wanted.users {
        changes += apply_exemption(site, tenant, user, dry).await?;
    }
    let Some(access) = &wanted.suite else { return Ok(changes) };
    let access = to_be(&tenant.suite, access);
    let company = |access: &SuiteAccess| access.company.as_ref().map(ToString::to_string).unwrap_or_default();
    let old = &tenant.suite;
    let difference = differing(&[
        ("log-in", old.mode.name().to_owned(), access.mode.name().to_owned()),
        ("company", company(old), company(&access)),
        ("provision", old.provisioning.to_string(), access.provisioning.to_string()),
    ]);
    if difference.is_empty() {
        return Ok(changes);
    }
    tell(format_args!("~ suite of {}: {difference}", tenant.slug));
    if !dry {
        let detail = Some(Snippet::of(&access.described()));
        let event = SecurityEvent { detail, ..site.event(EventKind::SuiteChanged) };
        if !site.store.set_suite(tenant.id, &access, &event).await? {
            let text = format!("{} cannot use a suite as no company of it", tenant.slug);
            return Err(CommandProblem::Input(text));
        }
    }
    Ok(changes + 1)
}

/// What is off keeps its company, as single sign-on that is off keeps its provider.
fn to_be(old: &SuiteAccess, wanted: &SuiteAccess) -> SuiteAccess {
    match wanted.mode {
        SuiteMode::Off => SuiteAccess { mode: SuiteMode::Off, ..old.clone() },
        SuiteMode::Allowed | SuiteMode::Required => wanted.clone(),
    }
}

async fn apply_exemption(
    site: &Site,
    tenant: &Tenant,
    wanted: &UserEntry,
    dry: bool,
) -> Result<usize, CommandProblem> {
    let Some(exempt) = wanted.suite_exempt else { return Ok(0) };
    // With `dry`, one who is to be created is not there.
    let account = site.store.account(&wanted.username).await?;
    let before = account.as_ref().is_some_and(|account| account.user.suite_exempt);
    if before == exempt {
        return Ok(0);
    }
    tell(format_args!("~ user {}: suite_exempt {before} → {exempt}", wanted.username));
    if !dry {
        let account = account.filter(|account| account.tenant.id == tenant.id);
        let account = account.ok_or_else(|| StoreFault::Missing(format!("user {}", wanted.username)))?;
        let event = SecurityEvent {
            tenant: Some(tenant.id),
            detail: Some(Snippet::of(exemption(exempt))),
            ..site.event(EventKind::SuiteChanged)
        };
        site.store.set_suite_exempt(account.user.id, exempt, &event).await?;
    }
    Ok(1)
}
