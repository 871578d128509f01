//! Puts the sample companies and people into the store, by the same functions that the commands use.
//!
//! Whoever is there already is left alone: what a person changed in the demo (an authenticator, a password) stays
//! changed over restarts.

use crate::base::{MasterKey, TenantId, UnixTime, UserId, Username};
use crate::credential::{HashCost, HashProblem, Pepper, TotpSecret, hash_password, normalise};
use crate::directory::{SsoScope, Tenant, UserKind};
use crate::machine::{EntropyFault, random};
use crate::store::{Account, NewUser, Store, StoreFault};
use crate::telemetry::{Actor, EventKind, SecurityEvent};

use super::people::{COMPANIES, Company, PEOPLE, Person};

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

/// Creates what is missing of the sample companies and people.
pub(crate) async fn seed(
    store: &Store,
    master: &MasterKey,
    cost: HashCost,
    now: UnixTime,
) -> Result<(), SeedProblem> {
    let pepper = Pepper::of(master);
    for company in &COMPANIES {
        if store.tenant_by_slug(company.slug).await?.is_none() {
            store.create_tenant(&tenant(company)?, &event(EventKind::TenantChanged, now)).await?;
        }
    }
    for person in &PEOPLE {
        let username: Username = person.username.parse().map_err(|_| SeedProblem::Sample(person.username))?;
        if store.account(&username).await?.is_none() {
            create(store, person, username, &pepper, cost, now).await?;
        }
    }
    Ok(())
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
        suite: false,
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

    async fn accounts(store: &Store) -> Vec<Account> {
        store.accounts(None).await.unwrap()
    }

    #[tokio::test]
    async fn the_second_start_finds_what_the_first_made_and_what_people_changed() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::from_bytes([7; 32]);
        let store = Store::open(&folder.path().join("demo.db"), &master).await.unwrap();
        let now = UnixTime::from_seconds(1_790_000_000);
        seed(&store, &master, CHEAP, now).await.unwrap();
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
        seed(&store, &master, CHEAP, now).await.unwrap();
        let second = accounts(&store).await;
        assert_eq!(second.len(), first.len());
        assert!(!second.iter().find(|account| account.user.id == bob.user.id).unwrap().user.active);
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
