//! `zonegate tenant …`: the customer companies.

use super::operator::{Configuration, Site, columns};
use super::{CommandProblem, say, sso, suite};
use crate::base::{Domain, Hostname, TenantId};
use crate::directory::{SLUG_BYTES_MAX, SecurityOverrides, SsoScope, SuiteAccess, Tenant, is_slug};
use crate::machine::random;
use crate::telemetry::{EventKind, SecurityEvent};

/// `zonegate tenant …`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Create a tenant
    Add(Add),
    /// List tenants
    List,
    /// Show everything about one tenant
    Show {
        /// The short name
        slug: String,
    },
    /// Let a company log in at an identity provider of its own
    #[command(subcommand)]
    Sso(sso::Action),
    /// Let a company log in with the vendor's suite, as one company of it
    #[command(subcommand)]
    Suite(suite::Action),
}

#[derive(Clone, Debug, clap::Args)]
struct Add {
    /// The short name: lower-case letters, digits and '-'
    #[arg(value_parser = slug)]
    slug: String,
    /// The company's name
    #[arg(long, value_parser = super::user::label)]
    name: String,
    /// The host of the zone it lives in
    #[arg(long)]
    zone: Hostname,
    /// A domain that its usernames end in; the first is the primary one; may be given several times
    #[arg(long = "domain", value_name = "DOMAIN", required = true)]
    domains: Vec<Domain>,
}

/// A tenant's short name, as files and commands write it.
pub(super) fn slug(text: &str) -> Result<String, String> {
    if is_slug(text) {
        Ok(text.into())
    } else {
        Err(format!("must be 1 to {SLUG_BYTES_MAX} lower-case letters, digits and '-', like acme"))
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    arguments.configuration.with_store(async |site| match &arguments.action {
        Action::Add(new) => add(&site, new).await,
        Action::List => list(&site).await,
        Action::Show { slug } => show(&site, slug).await,
        Action::Sso(action) => sso::run(&site, action).await,
        Action::Suite(action) => suite::run(&site, action).await,
    })
}

async fn add(site: &Site, new: &Add) -> Result<(), CommandProblem> {
    known_zone(site, &new.zone)?;
    if site.store.tenant_by_slug(&new.slug).await?.is_some() {
        let text = format!("there is a tenant {0} already: see `zonegate tenant show {0}`", new.slug);
        return Err(CommandProblem::Input(text));
    }
    for domain in &new.domains {
        if let Some(owner) = site.store.tenant_by_domain(domain.as_str()).await? {
            let text = format!(
                "{domain} is a domain of {} already: see `zonegate tenant show {}`",
                owner.slug, owner.slug
            );
            return Err(CommandProblem::Input(text));
        }
    }
    let tenant = Tenant {
        id: TenantId::from_bytes(random()?),
        slug: new.slug.clone(),
        name: new.name.clone(),
        zone: new.zone.clone(),
        domains: new.domains.clone(),
        suite: SuiteAccess::default(),
        sso: SsoScope::Off,
        sso_exempt: None,
        overrides: SecurityOverrides::default(),
    };
    let event = SecurityEvent { tenant: Some(tenant.id), ..site.event(EventKind::TenantChanged) };
    site.store.create_tenant(&tenant, &event).await?;
    say(format_args!("Created {} in {}.", tenant.slug, tenant.zone))
}

/// R12: a zone is named by its host and never guessed.
pub(super) fn known_zone(site: &Site, zone: &Hostname) -> Result<(), CommandProblem> {
    if site.settings.zones.zone(zone).is_some() {
        return Ok(());
    }
    let known: Vec<_> = site.settings.zones.zones().iter().map(|zone| zone.host.as_str()).collect();
    Err(CommandProblem::Input(format!("{zone} is no zone of this installation: they are {}", known.join(", "))))
}

async fn list(site: &Site) -> Result<(), CommandProblem> {
    let head = ["SLUG", "NAME", "ZONE", "DOMAINS"].map(String::from);
    let tenants = site.store.tenants().await?;
    let rows = tenants
        .iter()
        .map(|tenant| [tenant.slug.clone(), tenant.name.clone(), tenant.zone.to_string(), domains(tenant)]);
    say(columns(std::iter::once(head).chain(rows)))
}

fn domains(tenant: &Tenant) -> String {
    tenant.domains.iter().map(Domain::as_str).collect::<Vec<_>>().join(", ")
}

/// The tenant of that short name.
pub(super) async fn find(site: &Site, slug: &str) -> Result<Tenant, CommandProblem> {
    let found = site.store.tenant_by_slug(slug).await?;
    found.ok_or_else(|| CommandProblem::Input(format!("there is no tenant {slug}: see `zonegate tenant list`")))
}

/// Where browsers have a tenant's zone.
pub(super) fn zone_origin<'a>(site: &'a Site, tenant: &Tenant) -> Result<&'a str, CommandProblem> {
    let (slug, host) = (&tenant.slug, &tenant.zone);
    let zone = site.settings.zones.zone(host).map(|zone| &*zone.origin);
    zone.ok_or_else(|| {
        CommandProblem::Input(format!("{slug} is in the zone {host}, which is not configured any more"))
    })
}

async fn show(site: &Site, slug: &str) -> Result<(), CommandProblem> {
    let tenant = find(site, slug).await?;
    let security = site.settings.security.with(&tenant.overrides);
    let users = site.store.accounts(Some(tenant.id)).await?.len();
    let provider = match site.store.provider(tenant.id).await? {
        None => "-".into(),
        Some(provider) => format!("{} (see `zonegate tenant sso show {slug}`)", provider.settings.issuer),
    };
    let rows = [
        ("slug", tenant.slug.clone()),
        ("id", tenant.id.to_string()),
        ("name", tenant.name.clone()),
        ("zone", tenant.zone.to_string()),
        ("domains", domains(&tenant)),
        ("users", users.to_string()),
        ("single sign-on for", sso::users(tenant.sso).into()),
        ("identity provider", provider),
        ("suite", tenant.suite.described()),
        ("failures until locked", security.attempts_max.to_string()),
        ("strong passwords", if security.password.strong { "yes".into() } else { "no".into() }),
        ("new authenticators", format!("{} s", security.totp_period.seconds())),
        ("idle limit", format!("{} s", security.lifetimes.idle_max.seconds())),
    ];
    say(columns(rows.into_iter().map(|(name, value)| [name.to_owned(), value])))
}
