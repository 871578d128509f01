//! A tenant's provider, who is who there, and who must use it: made what the file says.

use std::collections::HashMap;

use super::{differing, listed, tell, user_to_be};
use crate::base::{TenantId, UserId, Username};
use crate::cli::CommandProblem;
use crate::cli::operator::Site;
use crate::cli::sso::{untested, users};
use crate::config::{ProviderEntry, SsoEntry, TenantEntry};
use crate::directory::{EmergencyProblem, SsoScope, Tenant, emergency_problem, emergency_problem_of};
use crate::sso::{Audience, Issuer, ProviderSettings, Subject};
use crate::store::{Linked, Provider, SsoSet, StoreFault};
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

/// How often something was changed, how many people are new, and whether something had to be left for later.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Applied {
    pub(super) changes: usize,
    pub(super) newcomers: usize,
    pub(super) left: bool,
}

impl Applied {
    pub(super) fn add(&mut self, Self { changes, newcomers, left }: Self) {
        self.changes += changes;
        self.newcomers += newcomers;
        self.left |= left;
    }
}

/// What of a tenant's single sign-on cannot be, seen from what the store holds.
pub(super) async fn conflicts(site: &Site, wanted: &TenantEntry) -> Result<Vec<String>, CommandProblem> {
    let mut found = Vec::new();
    let known = site.store.tenant_by_slug(&wanted.slug).await?;
    if let Some(name) = emergency_admin(site, known.as_ref(), wanted).await? {
        let problem = match wanted.users.iter().find(|user| user.username == name) {
            // A password comes later: see `apply_scope`.
            Some(user) => {
                let account = site.store.account(&name).await?;
                let user = user_to_be(account.as_ref().map(|account| &account.user), user);
                emergency_problem_of(user.level, user.active, user.kind, true).map(|problem| problem.to_string())
            }
            None => {
                let account = site.store.account(&name).await?;
                match account.filter(|account| account.tenant.slug == wanted.slug).map(|account| account.user) {
                    Some(user) => emergency_problem(&user, true).map(|problem| problem.to_string()),
                    None => Some("is nobody there".to_owned()),
                }
            }
        };
        found.extend(
            problem.map(|problem| format!("{name}, the emergency administrator of {}, {problem}", wanted.slug)),
        );
    }
    let named: HashMap<_, _> = subjects(wanted).map(|(name, subject)| (subject, name)).collect();
    if named.is_empty() {
        return Ok(found);
    }
    let Some(issuer) = issuer(site, known.as_ref(), wanted).await? else {
        found.push(format!("{} has no provider at which its users could have an sso_subject", wanted.slug));
        return Ok(found);
    };
    // Of a kind that the file says, it says what is wrong by itself.
    for user in wanted.users.iter().filter(|user| user.sso_subject.is_some() && user.kind.is_none()) {
        let account = site.store.account(&user.username).await?;
        if let Some(kind) = account.map(|account| account.user.kind).filter(|kind| !kind.has_provider()) {
            let (name, kind) = (&user.username, kind.name());
            found.push(format!("{name} cannot have an sso_subject: users of the kind {kind} have no provider"));
        }
    }
    let links = match &known {
        Some(tenant) => site.store.links(tenant.id, Audience::Tenant).await?,
        None => Vec::new(),
    };
    let moves = |name: &Username| subjects(wanted).any(|(moved, _)| moved == name);
    for link in links.iter().filter(|link| link.issuer == issuer && !moves(&link.username)) {
        if let Some(name) = named.get(&link.subject) {
            let text = format!("{name} cannot be {}: that is {}", link.subject.as_str(), link.username);
            found.push(text);
        }
    }
    Ok(found)
}

/// Who gets in when the provider is broken, once the file is applied: whom it names, or who it is by now.
async fn emergency_admin(
    site: &Site,
    known: Option<&Tenant>,
    wanted: &TenantEntry,
) -> Result<Option<Username>, CommandProblem> {
    if let Some(sso) = &wanted.sso {
        return Ok(sso.emergency_admin.clone());
    }
    match known.filter(|tenant| tenant.sso != SsoScope::Off).and_then(|tenant| tenant.sso_exempt) {
        None => Ok(None),
        Some(user) => Ok(site.store.account_by_id(user).await?.map(|account| account.user.username)),
    }
}

/// Whether the file's secret is the one that is there; also where it names none.
fn is_secret_kept(found: &Provider, wanted: &ProviderEntry) -> bool {
    wanted.secret.as_ref().is_none_or(|new| found.secret.as_ref().is_some_and(|old| old.is(new)))
}

fn subjects(wanted: &TenantEntry) -> impl Iterator<Item = (&Username, &Subject)> {
    wanted.users.iter().filter_map(|user| Some((&user.username, user.sso_subject.as_ref()?)))
}

/// The issuer that the file's subjects are at.
async fn issuer(
    site: &Site,
    known: Option<&Tenant>,
    wanted: &TenantEntry,
) -> Result<Option<Issuer>, CommandProblem> {
    if let Some(provider) = wanted.sso.as_ref().and_then(|sso| sso.provider.as_ref()) {
        return Ok(Some(provider.settings.issuer.clone()));
    }
    let Some(tenant) = known else { return Ok(None) };
    Ok(site.store.provider(tenant.id).await?.map(|provider| provider.settings.issuer))
}

/// Makes it so. `tenant` is written by now, and its users are.
pub(super) async fn apply(
    site: &Site,
    tenant: &Tenant,
    wanted: &TenantEntry,
    dry: bool,
) -> Result<Applied, CommandProblem> {
    let mut applied = Applied::default();
    let issuer = issuer(site, Some(tenant), wanted).await?;
    if let Some(provider) = wanted.sso.as_ref().and_then(|sso| sso.provider.as_ref()) {
        applied.changes += apply_provider(site, tenant, provider, dry).await?;
    }
    if let Some(issuer) = &issuer {
        applied.changes += apply_links(site, tenant, issuer, wanted, dry).await?;
    }
    if let Some(sso) = &wanted.sso {
        applied.add(apply_scope(site, tenant, sso, dry).await?);
    }
    Ok(applied)
}

async fn apply_provider(
    site: &Site,
    tenant: &Tenant,
    wanted: &ProviderEntry,
    dry: bool,
) -> Result<usize, CommandProblem> {
    let ProviderEntry { settings, secret } = wanted;
    let mut new_secret = secret.as_ref();
    match site.store.provider(tenant.id).await? {
        None => tell(format_args!("+ provider {} of {}", settings.issuer, tenant.slug)),
        Some(found) => {
            let mut differences = vec![difference(&found.settings, settings)];
            if !is_secret_kept(&found, wanted) {
                differences.push("client_secret".to_owned());
            } else if found.settings.issuer == settings.issuer {
                // To write it anew would forget that the provider was tested with it.
                new_secret = None;
            }
            differences.retain(|text| !text.is_empty());
            if differences.is_empty() {
                return Ok(0);
            }
            tell(format_args!("~ provider of {}: {}", tenant.slug, differences.join(", ")));
        }
    }
    if !dry {
        let detail = Some(Snippet::of(settings.issuer.as_str()));
        let event = SecurityEvent { detail, ..site.event(EventKind::ProviderChanged) };
        site.store.set_provider(tenant.id, settings, new_secret, &event).await?;
    }
    Ok(1)
}

fn difference(old: &ProviderSettings, new: &ProviderSettings) -> String {
    let fields = |settings: &ProviderSettings| {
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
        } = settings;
        [
            ("issuer", issuer.to_string()),
            ("client_id", client_id.clone()),
            ("client_authentication", client_authentication.name().to_owned()),
            ("signing_algorithm", signing_algorithm.name().to_owned()),
            ("scopes", scopes.join(" ")),
            ("username_claim", username_claim.clone()),
            ("hosts", listed(hosts)),
            ("acr", acr.join(" ")),
            ("amr", amr.join(" ")),
            ("max_age", max_age.map_or_else(|| "any".into(), |age| format!("{}s", age.seconds()))),
            ("provision", provisioning.to_string()),
            ("logout", logout.to_string()),
        ]
    };
    let pairs = fields(old).into_iter().zip(fields(new));
    differing(&pairs.map(|((name, old), (_, new))| (name, old, new)).collect::<Vec<_>>())
}

/// Those who change go first, all of them: two may change places.
async fn apply_links(
    site: &Site,
    tenant: &Tenant,
    issuer: &Issuer,
    wanted: &TenantEntry,
    dry: bool,
) -> Result<usize, CommandProblem> {
    let links = site.store.links(tenant.id, Audience::Tenant).await?;
    let is_at_issuer = links.iter().filter(|link| link.issuer == *issuer);
    let now: HashMap<_, _> = is_at_issuer.map(|link| (&link.username, (link.user, &link.subject))).collect();
    let changed: Vec<_> =
        subjects(wanted).filter(|(name, new)| now.get(name).is_none_or(|(_, old)| old != new)).collect();
    let event = |kind| SecurityEvent { detail: Some(Snippet::of(issuer.as_str())), ..site.event(kind) };
    for (name, new) in &changed {
        let old = now.get(name);
        let before = old.map(|(_, old)| format!("{:?} → ", old.as_str())).unwrap_or_default();
        tell(format_args!("~ user {name}: sso_subject {before}{:?}", new.as_str()));
        if let Some((user, _)) = old.filter(|_| !dry) {
            let unlinked = SecurityEvent { tenant: Some(tenant.id), ..event(EventKind::AccountUnlinked) };
            site.store.unlink(*user, Audience::Tenant, issuer, &unlinked).await?;
        }
    }
    if !dry {
        let mut pairs = Vec::with_capacity(changed.len());
        for (name, subject) in &changed {
            pairs.push((user_id(site, tenant.id, name).await?, (*subject).clone()));
        }
        let linked = event(EventKind::AccountLinked);
        let answers = site.store.link_all(tenant.id, issuer, &pairs, Audience::Tenant, &linked).await?;
        if let Some(((name, _), _)) = changed.iter().zip(answers).find(|(_, answer)| *answer != Linked::Yes) {
            let text =
                format!("the links of {} changed meanwhile, {name}'s among them: run this again", tenant.slug);
            return Err(CommandProblem::Input(text));
        }
    }
    Ok(changed.len())
}

async fn user_id(site: &Site, tenant: TenantId, name: &Username) -> Result<UserId, CommandProblem> {
    let account = site.store.account(name).await?.filter(|account| account.tenant.id == tenant);
    Ok(account.ok_or_else(|| StoreFault::Missing(format!("user {name}")))?.user.id)
}

async fn apply_scope(
    site: &Site,
    tenant: &Tenant,
    wanted: &SsoEntry,
    dry: bool,
) -> Result<Applied, CommandProblem> {
    let before = match tenant.sso_exempt {
        None => None,
        Some(user) => site.store.account_by_id(user).await?.map(|account| account.user.username),
    };
    let spelled = |name: Option<&Username>| name.map(ToString::to_string).unwrap_or_default();
    let difference = differing(&[
        ("for", users(tenant.sso).to_owned(), users(wanted.scope).to_owned()),
        ("emergency_admin", spelled(before.as_ref()), spelled(wanted.emergency_admin.as_ref())),
    ]);
    if difference.is_empty() {
        return Ok(Applied::default());
    }
    if let (SsoScope::Selected | SsoScope::All, Some(name)) = (wanted.scope, &wanted.emergency_admin) {
        let account = site.store.account(name).await?;
        // Somebody whom a dry run would have made has none either.
        if account.is_none_or(|account| account.password.is_none()) {
            let problem = EmergencyProblem::NoPassword;
            return Ok(stays(tenant, wanted, format_args!("{name} {problem}")));
        }
    }
    let set = if dry {
        let tested = site.store.provider(tenant.id).await?.is_some_and(|provider| {
            let kept = wanted.provider.as_ref().is_none_or(|wanted| {
                wanted.settings.are_tested_by(&provider.settings) && is_secret_kept(&provider, wanted)
            });
            provider.tested_at.is_some() && kept
        });
        if wanted.scope > tenant.sso && !tested { SsoSet::Untested } else { SsoSet::Yes }
    } else {
        let exempt = match &wanted.emergency_admin {
            None => None,
            Some(name) => Some(user_id(site, tenant.id, name).await?),
        };
        let detail = Some(Snippet::of(wanted.scope.name()));
        let event = SecurityEvent { detail, ..site.event(EventKind::SsoChanged) };
        site.store.set_sso(tenant.id, wanted.scope, exempt, &event).await?
    };
    match set {
        SsoSet::Yes => {
            tell(format_args!("~ single sign-on of {}: {difference}", tenant.slug));
            Ok(Applied { changes: 1, ..Applied::default() })
        }
        SsoSet::Untested => Ok(stays(tenant, wanted, format_args!("{}", untested(&tenant.slug)))),
        SsoSet::NobodyExempt => {
            let text = format!("the emergency administrator of {} is nobody there any more", tenant.slug);
            Err(CommandProblem::Input(text))
        }
    }
}

/// Tells what is not changed now.
fn stays(tenant: &Tenant, wanted: &SsoEntry, why: std::fmt::Arguments<'_>) -> Applied {
    tell(format_args!("! single sign-on of {} stays for {}: {why}", tenant.slug, users(tenant.sso)));
    Applied { left: wanted.scope != SsoScope::Off, ..Applied::default() }
}
