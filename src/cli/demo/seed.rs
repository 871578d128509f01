//! Puts the sample companies and people into the store, by the same functions that the commands use.
//!
//! Whoever is there already is left alone: what a person changed in the demo (an authenticator, a password) stays
//! changed over restarts.

use crate::base::{MasterKey, TenantId, UnixTime, UserId, Username};
use crate::credential::{HashCost, HashProblem, Pepper, TotpSecret, hash_password, normalise};
use crate::directory::{SsoScope, SuiteAccess, SuiteMode, Tenant, UserKind};
use crate::machine::{EntropyFault, random};
use crate::sso::{Audience, ClientSecret, Issuer, ProviderSettings, SigningAlgorithm, Subject};
use crate::store::{Account, NewUser, Store, StoreFault};
use crate::telemetry::{Actor, EventKind, SecurityEvent};

use super::people::{COMPANIES, Company, InSuite, PEOPLE, Person, SingleSignOn};

/// Why the sample data could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedProblem {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    /// The hash of a sample password could not be made.
    #[error(transparent)]
    Hash(#[from] HashProblem),
    /// A sample is not what its type wants: a mistake of this program.
    #[error("the sample {0} is not well-formed")]
    Sample(&'static str),
}

/// Creates what is missing of the sample companies and people. `issuer`: the sample identity provider of this start.
pub(crate) async fn seed(
    store: &Store,
    master: &MasterKey,
    cost: HashCost,
    issuer: &Issuer,
    now: UnixTime,
) -> Result<(), SeedProblem> {
    let pepper = Pepper::of(master);
    let mut made = Vec::new();
    for company in &COMPANIES {
        if store.tenant_by_slug(company.slug).await?.is_none() {
            store.create_tenant(&tenant(company)?, &event(EventKind::TenantChanged, now)).await?;
            made.push(company.slug);
        }
    }
    for person in &PEOPLE {
        let username: Username = person.username.parse().map_err(|_| SeedProblem::Sample(person.username))?;
        if store.account(&username).await?.is_none() {
            create(store, person, username, &pepper, cost, now).await?;
        }
    }
    for company in &COMPANIES {
        if let Some(sso) = &company.sso {
            single_sign_on(store, company, sso, issuer, made.contains(&company.slug), now).await?;
        }
        if let Some(suite) = company.suite.as_ref().filter(|suite| suite.is_used) {
            log_in_with_suite(store, company, suite, now).await?;
        }
    }
    Ok(())
}

/// Gives a company the sample identity provider, or tells it the provider's address of this start: with `--port 0`
/// that is another one each time. Another provider is somebody's own, and left alone, and one that somebody removed stays
/// removed.
async fn single_sign_on(
    store: &Store,
    company: &Company,
    sso: &SingleSignOn,
    issuer: &Issuer,
    is_new: bool,
    now: UnixTime,
) -> Result<(), SeedProblem> {
    let wrong = SeedProblem::Sample(company.slug);
    let tenant = store.tenant_by_slug(company.slug).await?.ok_or(SeedProblem::Sample(company.slug))?;
    let before = store.provider(tenant.id).await?;
    let settings = match &before {
        None if !is_new => return Ok(()),
        None => settings(company, issuer),
        Some(provider) if provider.settings.issuer == *issuer => return Ok(()),
        Some(provider) if provider.settings.issuer.host() == issuer.host() => {
            ProviderSettings { issuer: issuer.clone(), ..provider.settings.clone() }
        }
        Some(_) => return Ok(()),
    };
    let Some(secret) = ClientSecret::parse(company.client.client_secret) else { return Err(wrong) };
    let event = |kind| event(kind, now);
    store.set_provider(tenant.id, &settings, Some(&secret), &event(EventKind::ProviderChanged)).await?;
    // Nobody has tried it yet; what it does is known all the same.
    store.provider_was_tested(tenant.id, &settings, now, &event(EventKind::ProviderTested)).await?;
    if sso.scope == SsoScope::Selected {
        for person in PEOPLE.iter().filter(|person| person.company().is_some_and(|of| of.slug == company.slug)) {
            link(store, &tenant, issuer, person, now).await?;
        }
    }
    if before.is_none() {
        let exempt = match sso.emergency {
            Some(name) => Some(by_name(store, name).await?.user.id),
            None => None,
        };
        store.set_sso(tenant.id, sso.scope, exempt, &event(EventKind::SsoChanged)).await?;
    }
    Ok(())
}

/// Lets a company's users log in with the sample suite, once: whoever has decided something else finds it so.
async fn log_in_with_suite(
    store: &Store,
    company: &Company,
    suite: &InSuite,
    now: UnixTime,
) -> Result<(), SeedProblem> {
    let tenant = store.tenant_by_slug(company.slug).await?.ok_or(SeedProblem::Sample(company.slug))?;
    if tenant.suite != SuiteAccess::default() {
        return Ok(());
    }
    let called = suite.company.parse().map_err(|_| SeedProblem::Sample(company.slug))?;
    let access = SuiteAccess { mode: SuiteMode::Allowed, company: Some(called), provisioning: true };
    store.set_suite(tenant.id, &access, &event(EventKind::SuiteChanged, now)).await?;
    Ok(())
}

fn settings(company: &Company, issuer: &Issuer) -> ProviderSettings {
    ProviderSettings {
        signing_algorithm: SigningAlgorithm::ES256,
        scopes: vec!["profile".into(), "email".into()],
        logout: true,
        ..ProviderSettings::new(issuer.clone(), company.client.client_id.into())
    }
}

/// Notes who a person is at the provider, where an administrator would.
async fn link(
    store: &Store,
    tenant: &Tenant,
    issuer: &Issuer,
    person: &Person,
    now: UnixTime,
) -> Result<(), SeedProblem> {
    let Some(subject) = person.subject else { return Ok(()) };
    let subject = Subject::parse(subject).ok_or(SeedProblem::Sample(person.username))?;
    let user = by_name(store, person.username).await?.user.id;
    let event = SecurityEvent { user: Some(user), ..event(EventKind::AccountLinked, now) };
    store.link(tenant.id, issuer, &subject, user, Audience::Tenant, &event).await?;
    Ok(())
}

async fn by_name(store: &Store, name: &'static str) -> Result<Account, SeedProblem> {
    let username = name.parse().map_err(|_| SeedProblem::Sample(name))?;
    store.account(&username).await?.ok_or(SeedProblem::Sample(name))
}

fn tenant(company: &Company) -> Result<Tenant, SeedProblem> {
    let wrong = SeedProblem::Sample(company.slug);
    let (Ok(zone), Ok(domain)) = (company.zone.parse(), company.domain.parse()) else { return Err(wrong) };
    Ok(Tenant {
        id: TenantId::from_bytes(random()?),
        slug: company.slug.into(),
        name: company.name.into(),
        zone,
        domains: vec![domain],
        suite: SuiteAccess::default(),
        sso: SsoScope::Off,
        sso_exempt: None,
        overrides: company.overrides,
    })
}

async fn create(
    store: &Store,
    person: &Person,
    username: Username,
    pepper: &Pepper,
    cost: HashCost,
    now: UnixTime,
) -> Result<(), SeedProblem> {
    let company = person.company().ok_or(SeedProblem::Sample(person.username))?;
    let tenant = store.tenant_by_slug(company.slug).await?.ok_or(SeedProblem::Sample(company.slug))?;
    let new = NewUser {
        email: (person.kind != UserKind::ApiOnly).then(|| username.to_string()),
        username,
        display_name: person.name.into(),
        kind: person.kind,
        level: person.level,
        groups: person.groups.iter().map(ToString::to_string).collect(),
        active: true,
        start_page: None,
    };
    let id = store.create_user(tenant.id, &new, &event(EventKind::UserCreated, now)).await?;
    let of_user = |kind| SecurityEvent { user: Some(id), tenant: Some(tenant.id), ..event(kind, now) };
    if let Some(password) = person.password {
        let hash = hash_password(&normalise(password), random()?, pepper, cost)?;
        store.set_password(id, &hash, 1, &of_user(EventKind::PasswordSet)).await?;
    }
    if let Some(secret) = person.totp_secret {
        let account = account(store, id, person).await?;
        let secret = TotpSecret::from_bytes(secret);
        let period = company.overrides.totp_period_seconds.unwrap_or_default();
        let event = of_user(EventKind::SecondFactorEnrolled);
        // Step 0 is long gone, so that the first code of today is accepted.
        store.enrol_totp(id, account.user.flow_epoch, &secret, period, 0, &event).await?;
    }
    if !person.active {
        store.set_active(id, false, &of_user(EventKind::UserDisabled)).await?;
    }
    Ok(())
}

async fn account(store: &Store, id: UserId, person: &Person) -> Result<Account, SeedProblem> {
    store.account_by_id(id).await?.ok_or(SeedProblem::Sample(person.username))
}

fn event(kind: EventKind, now: UnixTime) -> SecurityEvent {
    SecurityEvent::new(kind, Actor::System, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{check_new_password, verify_password};
    use crate::directory::{PasswordRules, SecuritySettings};

    const CHEAP: HashCost = HashCost { memory_kib: 64, passes: 1, lanes: 1 };

    fn issuer(port: u16) -> Issuer {
        Issuer::parse(&format!("https://id.localhost:{port}")).unwrap()
    }

    async fn accounts(store: &Store) -> Vec<Account> {
        store.accounts(None).await.unwrap()
    }

    #[tokio::test]
    async fn the_second_start_finds_what_the_first_made_and_what_people_changed() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::from_bytes([7; 32]);
        let store = Store::open(&folder.path().join("demo.db"), &master).await.unwrap();
        let now = UnixTime::from_seconds(1_790_000_000);
        seed(&store, &master, CHEAP, &issuer(1), now).await.unwrap();
        let first = accounts(&store).await;
        assert_eq!(first.len(), PEOPLE.len());
        for (person, company) in PEOPLE.iter().map(|person| (person, person.company().unwrap())) {
            let account = first.iter().find(|account| account.user.username.as_str() == person.username).unwrap();
            assert_eq!(account.user.active, person.active, "{}", person.username);
            assert_eq!(account.tenant.slug, company.slug);
            assert_eq!(account.totp.is_some(), person.totp_secret.is_some(), "{}", person.username);
            if let Some(password) = person.password {
                let hash = &account.password.as_ref().unwrap().hash;
                assert!(verify_password(password, hash, &Pepper::of(&master)).unwrap(), "{}", person.username);
            }
        }
        let bob = first.iter().find(|account| account.totp.is_none() && account.password.is_some()).unwrap();
        store.set_active(bob.user.id, false, &event(EventKind::UserDisabled, now)).await.unwrap();
        seed(&store, &master, CHEAP, &issuer(1), now).await.unwrap();
        let second = accounts(&store).await;
        assert_eq!(second.len(), first.len());
        assert!(!second.iter().find(|account| account.user.id == bob.user.id).unwrap().user.active);
    }

    #[tokio::test]
    async fn the_sample_provider_follows_its_address_and_who_must_use_it_stays_a_persons_choice() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::from_bytes([7; 32]);
        let store = Store::open(&folder.path().join("demo.db"), &master).await.unwrap();
        let now = UnixTime::from_seconds(1_790_000_000);
        seed(&store, &master, CHEAP, &issuer(1), now).await.unwrap();
        for (company, sso) in COMPANIES.iter().filter_map(|company| Some((company, company.sso?))) {
            let tenant = store.tenant_by_slug(company.slug).await.unwrap().unwrap();
            assert_eq!(tenant.sso, sso.scope, "{}", company.slug);
            assert_eq!(tenant.sso_exempt.is_some(), sso.emergency.is_some(), "{}", company.slug);
        }
        let cedar = store.tenant_by_slug("cedar").await.unwrap().unwrap();
        store.set_sso(cedar.id, SsoScope::Off, None, &event(EventKind::SsoChanged, now)).await.unwrap();
        let acme = store.tenant_by_slug("acme").await.unwrap().unwrap();
        assert_eq!((acme.suite.mode, acme.suite.provisioning), (SuiteMode::Allowed, true));
        let off = SuiteAccess { mode: SuiteMode::Off, ..acme.suite };
        assert!(store.set_suite(acme.id, &off, &event(EventKind::SuiteChanged, now)).await.unwrap());

        seed(&store, &master, CHEAP, &issuer(2), now).await.unwrap();
        let cedar = store.tenant_by_slug("cedar").await.unwrap().unwrap();
        assert_eq!(cedar.sso, SsoScope::Off, "whoever switched it off finds it off");
        assert_eq!(store.tenant_by_slug("acme").await.unwrap().unwrap().suite, off);
        let provider = store.provider(cedar.id).await.unwrap().unwrap();
        assert_eq!(provider.settings.issuer, issuer(2));
        assert!(provider.secret.is_some() && provider.tested_at.is_some());
        let bolt = store.tenant_by_slug("bolt").await.unwrap().unwrap();
        let subject = Subject::parse("bolt-2001").unwrap();
        let frank = store.linked(bolt.id, &issuer(2), &subject).await.unwrap().unwrap();
        assert_eq!(frank.user.username.as_str(), "frank@bolt.example");

        let own = ProviderSettings::new(Issuer::parse("https://login.example").unwrap(), "own".into());
        store.set_provider(bolt.id, &own, None, &event(EventKind::ProviderChanged, now)).await.unwrap();
        seed(&store, &master, CHEAP, &issuer(3), now).await.unwrap();
        assert_eq!(store.provider(bolt.id).await.unwrap().unwrap().settings, own, "somebody's own is left alone");

        assert!(store.remove_provider(cedar.id, &event(EventKind::ProviderChanged, now)).await.unwrap());
        seed(&store, &master, CHEAP, &issuer(4), now).await.unwrap();
        assert!(store.provider(cedar.id).await.unwrap().is_none(), "whoever removed it finds it gone");
    }

    #[test]
    fn sample_passwords_satisfy_the_strongest_rules() {
        let rules = PasswordRules { strong: true, ..SecuritySettings::default().password };
        for person in PEOPLE {
            let username = person.username.parse().unwrap();
            let problems = person.password.map(|password| check_new_password(&rules, &username, password));
            assert_eq!(problems.unwrap_or_default(), [], "{}", person.username);
        }
    }
}
