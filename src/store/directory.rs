//! Tenants, users and their credentials.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;

use super::rows::{Columns, integer, is_unique_violation, seconds, to_json};
use super::{Store, StoreFault, Tx, events, sessions};
use crate::base::{Domain, LocalPath, TenantId, UnixTime, UserId, Username};
use crate::credential::{PasswordHash, TotpSecret};
use crate::directory::{
    SecurityLevel, SecurityOverrides, SsoScope, SuiteAccess, SuiteMode, Tenant, TotpPeriod, User, UserKind,
    is_at_provider, is_suite_required,
};
use crate::machine::random;
use crate::session::EndReason;
use crate::sso::{Audience, Issuer, Subject};
use crate::telemetry::SecurityEvent;

/// A user with everything that a log-in needs to know.
#[derive(Clone, Debug)]
pub struct Account {
    /// The directory record.
    pub user: User,
    /// The tenant it belongs to.
    pub tenant: Tenant,
    /// The password in force; `None` until one was set (R3).
    pub password: Option<StoredPassword>,
    /// The authenticator, once one was validated.
    pub totp: Option<TotpEnrolment>,
    /// Failures in a row.
    pub attempts_used: u8,
    /// When the last of them locked the account.
    pub locked_at: Option<UnixTime>,
}

/// A password as it is kept.
#[derive(Clone, Debug)]
pub struct StoredPassword {
    /// The hash.
    pub hash: PasswordHash,
    /// When it was set.
    pub set_at: UnixTime,
}

/// A validated authenticator.
#[derive(Clone, Debug)]
pub struct TotpEnrolment {
    /// Its secret.
    pub secret: TotpSecret,
    /// Its step.
    pub period: TotpPeriod,
    /// The last step that was used; no earlier one is accepted again.
    pub last_step: u64,
    /// When it was validated.
    pub enrolled_at: UnixTime,
}

/// A user to be created; the id and epoch are the store's to give.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct NewUser {
    /// Globally unique; its domain must be one of the tenant's (D32).
    pub username: Username,
    /// The primary e-mail address.
    pub email: Option<String>,
    /// The name people call the user by.
    pub display_name: String,
    /// What sort of account it is.
    pub kind: UserKind,
    /// Whether the user may configure users.
    pub level: SecurityLevel,
    /// Groups that the application is told of.
    pub groups: Vec<String>,
    /// Whether the user may log in.
    pub active: bool,
    /// Where a complete log-in opens.
    pub start_page: Option<LocalPath>,
}

/// Whose name it is: all that is asked before an attempt is counted.
///
/// *Why not the account?* Reading that opens the authenticator's secret, parses a hash and groups: a locked name that
/// somebody has would be answered later than one that nobody has (SEC-R11, E1).
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Who.
    pub user: UserId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// What the tenant sets differently.
    pub overrides: SecurityOverrides,
    /// Whether the tenant's own provider says who they are, and no password does.
    pub at_provider: bool,
    /// Whether the tenant requires the suite of them, and no password counts while there is one.
    pub must_use_suite: bool,
}

/// Whether single sign-on for selected users is for an account: whether it is linked to somebody at the provider that its
/// tenant has now (R9).
///
/// *Why is it computed and not kept?* A link outlives its provider, for the case that it comes back. What was kept beside it
/// sent people to a provider that knows nobody of them. The column of that name is from before and is not read.
macro_rules! is_selected {
    () => {
        concat!(
            "EXISTS (SELECT 1 FROM link JOIN provider ON provider.tenant = account.tenant ",
            "AND link.issuer = json_extract(provider.settings, '$.issuer') ",
            "WHERE link.account = account.id AND link.audience = 'sso') AS selected"
        )
    };
}
pub(super) use is_selected;

/// One row a user, with all that belongs to it.
macro_rules! account_query {
    ($condition:literal) => {
        concat!(
            "SELECT account.*, tenant.slug, tenant.name, tenant.zone, tenant.suite_mode, tenant.suite_company, ",
            "tenant.suite_provisioning, tenant.sso, tenant.sso_exempt, ",
            "tenant.overrides, ",
            is_selected!(),
            ", ",
            "(SELECT json_group_array(domain) FROM (SELECT domain FROM tenant_domain ",
            "WHERE tenant_domain.tenant = tenant.id ORDER BY position)) AS domains, ",
            "password.hash AS password_hash, password.set_at AS password_set_at, ",
            "totp.secret AS totp_secret, totp.period AS totp_period, totp.last_step AS totp_last_step, ",
            "totp.enrolled_at AS totp_enrolled_at, ",
            "coalesce(attempts.used, 0) AS attempts_used, attempts.locked_at AS locked_at ",
            "FROM account JOIN tenant ON tenant.id = account.tenant ",
            "LEFT JOIN password ON password.account = account.id AND password.serial = ",
            "(SELECT max(serial) FROM password AS newest WHERE newest.account = account.id) ",
            "LEFT JOIN totp ON totp.account = account.id ",
            "LEFT JOIN attempts ON attempts.account = account.id WHERE ",
            $condition
        )
    };
}

macro_rules! tenant_query {
    ($condition:literal) => {
        concat!(
            "SELECT tenant.id AS tenant, tenant.*, ",
            "(SELECT json_group_array(domain) FROM (SELECT domain FROM tenant_domain ",
            "WHERE tenant_domain.tenant = tenant.id ORDER BY position)) AS domains FROM tenant WHERE ",
            $condition
        )
    };
}

impl Store {
    /// The user of that name.
    pub async fn account(&self, username: &Username) -> Result<Option<Account>, StoreFault> {
        let query = sqlx::query(account_query!("account.username = $1")).bind(username.as_str());
        self.reading(query.fetch_optional(&self.read)).await?.map(|row| self.account_of(&row)).transpose()
    }

    /// Who has that name; nothing secret is opened.
    pub async fn owner(&self, username: &Username) -> Result<Option<Owner>, StoreFault> {
        let query = sqlx::query(concat!(
            "SELECT account.id, account.tenant, account.kind, account.suite_exempt, tenant.overrides, ",
            "tenant.sso, tenant.suite_mode, ",
            is_selected!(),
            ", CASE WHEN tenant.sso_exempt = account.id THEN 1 ELSE 0 END AS exempt ",
            "FROM account JOIN tenant ON tenant.id = account.tenant WHERE account.username = $1",
        ))
        .bind(username.as_str());
        let row = self.reading(query.fetch_optional(&self.read)).await?;
        row.map(|row| {
            let columns = Columns { row: &row, what: "account" };
            let (kind, sso) = (columns.named("kind", UserKind::from_name)?, columns.json("sso")?);
            let (selected, exempt) = (columns.flag("selected")?, columns.flag("exempt")?);
            let suite = columns.named("suite_mode", SuiteMode::from_name)?;
            let at_provider = is_at_provider(kind, sso, selected, exempt);
            Ok(Owner {
                user: UserId::from_bytes(columns.array("id")?),
                tenant: TenantId::from_bytes(columns.array("tenant")?),
                overrides: columns.json("overrides")?,
                at_provider,
                must_use_suite: !at_provider && is_suite_required(kind, suite, columns.flag("suite_exempt")?),
            })
        })
        .transpose()
    }

    /// The user of that id.
    pub async fn account_by_id(&self, user: UserId) -> Result<Option<Account>, StoreFault> {
        let query = sqlx::query(account_query!("account.id = $1")).bind(user.as_bytes().to_vec());
        self.reading(query.fetch_optional(&self.read)).await?.map(|row| self.account_of(&row)).transpose()
    }

    /// All users, by name; of one tenant when one is given.
    pub async fn accounts(&self, tenant: Option<TenantId>) -> Result<Vec<Account>, StoreFault> {
        let query = match tenant {
            None => sqlx::query(account_query!("1 = 1 ORDER BY account.username")),
            Some(tenant) => sqlx::query(account_query!("account.tenant = $1 ORDER BY account.username"))
                .bind(tenant.as_bytes().to_vec()),
        };
        self.reading(query.fetch_all(&self.read)).await?.iter().map(|row| self.account_of(row)).collect()
    }

    /// A tenant's administrators, by username.
    pub async fn administrators(&self, tenant: TenantId) -> Result<Vec<Account>, StoreFault> {
        let query =
            sqlx::query(account_query!("account.tenant = $1 AND account.level = $2 ORDER BY account.username"));
        let query = query.bind(tenant.as_bytes().to_vec()).bind(SecurityLevel::Admin.name());
        let rows = self.listing(self.reading(query.fetch_all(&self.read))).await?;
        rows.iter().map(|row| self.account_of(row)).collect()
    }

    /// The tenant whose usernames end in that domain: it decides the zone (R17).
    pub async fn tenant_by_domain(&self, domain: &str) -> Result<Option<Tenant>, StoreFault> {
        let query = sqlx::query(tenant_query!(
            "tenant.id = (SELECT tenant_domain.tenant FROM tenant_domain WHERE tenant_domain.domain = $1)"
        ));
        self.reading(query.bind(domain).fetch_optional(&self.read)).await?.map(|row| tenant(&row)).transpose()
    }

    /// The tenant of that short name.
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<Tenant>, StoreFault> {
        let query = sqlx::query(tenant_query!("tenant.slug = $1")).bind(slug);
        self.reading(query.fetch_optional(&self.read)).await?.map(|row| tenant(&row)).transpose()
    }

    /// All tenants, by short name.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreFault> {
        let query = sqlx::query(tenant_query!("1 = 1 ORDER BY tenant.slug"));
        self.reading(query.fetch_all(&self.read)).await?.iter().map(tenant).collect()
    }

    /// The account that a subject of a tenant's own provider has in that tenant. What other tenants know of the same
    /// subject is not looked at.
    pub async fn linked(
        &self,
        tenant: TenantId,
        issuer: &Issuer,
        subject: &Subject,
    ) -> Result<Option<Account>, StoreFault> {
        let query = sqlx::query(account_query!(
            "account.tenant = $1 AND account.id = (SELECT link.account FROM link \
             WHERE link.tenant = $1 AND link.issuer = $2 AND link.subject = $3 AND link.audience = $4)"
        ))
        .bind(tenant.as_bytes().to_vec())
        .bind(issuer.as_str())
        .bind(subject.as_str())
        .bind(Audience::Tenant.name());
        self.reading(query.fetch_optional(&self.read)).await?.map(|row| self.account_of(&row)).transpose()
    }

    /// Creates a tenant; its id is given by the caller's `tenant.id`. Nobody of it uses a provider or
    /// the suite yet.
    pub async fn create_tenant(&self, tenant: &Tenant, event: &SecurityEvent) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO tenant (id, slug, name, zone, sso, overrides) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(tenant.id.as_bytes().to_vec())
            .bind(&tenant.slug)
            .bind(&tenant.name)
            .bind(tenant.zone.as_str())
            .bind(to_json(&SsoScope::Off)?)
            .bind(to_json(&tenant.overrides)?)
            .execute(&mut *tx)
            .await
            .map_err(|error| taken(error, || format!("tenant {}", tenant.slug)))?;
        set_domains(&mut tx, tenant).await?;
        events::append(&mut tx, event).await?;
        Ok(tx.commit().await?)
    }

    /// Writes a tenant's changed record, but for who must use its provider or the suite: that is [`Store::set_sso`]'s and
    /// [`Store::set_suite`]'s. A tenant that moves to another zone loses its sessions: a session is valid in one zone
    /// (C3).
    pub async fn update_tenant(&self, tenant: &Tenant, event: &SecurityEvent) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let before: Option<String> = sqlx::query_scalar("SELECT zone FROM tenant WHERE id = $1")
            .bind(tenant.id.as_bytes().to_vec())
            .fetch_optional(&mut *tx)
            .await?;
        let before = before.ok_or_else(|| StoreFault::Missing(format!("tenant {}", tenant.slug)))?;
        sqlx::query("UPDATE tenant SET slug = $2, name = $3, zone = $4, overrides = $5 WHERE id = $1")
            .bind(tenant.id.as_bytes().to_vec())
            .bind(&tenant.slug)
            .bind(&tenant.name)
            .bind(tenant.zone.as_str())
            .bind(to_json(&tenant.overrides)?)
            .execute(&mut *tx)
            .await
            .map_err(|error| taken(error, || format!("tenant {}", tenant.slug)))?;
        let domains: Vec<String> = sqlx::query_scalar("SELECT domain FROM tenant_domain WHERE tenant = $1")
            .bind(tenant.id.as_bytes().to_vec())
            .fetch_all(&mut *tx)
            .await?;
        for lost in domains.into_iter().filter(|old| !tenant.domains.iter().any(|kept| kept.as_str() == old)) {
            ensure_domain_unused(&mut tx, tenant.id, &lost).await?;
        }
        sqlx::query("DELETE FROM tenant_domain WHERE tenant = $1")
            .bind(tenant.id.as_bytes().to_vec())
            .execute(&mut *tx)
            .await?;
        set_domains(&mut tx, tenant).await?;
        events::append(&mut tx, event).await?;
        if before != tenant.zone.as_str() {
            let users: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM account WHERE tenant = $1")
                .bind(tenant.id.as_bytes().to_vec())
                .fetch_all(&mut *tx)
                .await?;
            for user in users {
                let user = user.try_into().map_err(|_| StoreFault::Corrupt("account"))?;
                sessions::raise_epoch(&mut tx, UserId::from_bytes(user), EndReason::Revoked, event).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Creates a user without a password (R3).
    pub async fn create_user(
        &self,
        tenant: TenantId,
        new: &NewUser,
        event: &SecurityEvent,
    ) -> Result<UserId, StoreFault> {
        let mut tx = self.begin().await?;
        let id = insert_user(&mut tx, tenant, new, event).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Writes a user's changed record; the tenant stays. One who is no longer active, is of another kind or has lost a
    /// group loses their sessions: until their end these would go on with what the person has no more. What was given
    /// counts from the next log-in on.
    pub async fn update_user(&self, user: UserId, new: &NewUser, event: &SecurityEvent) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let before = sqlx::query("SELECT tenant, kind, groups FROM account WHERE id = $1")
            .bind(user.as_bytes().to_vec())
            .fetch_optional(&mut *tx)
            .await?;
        let before = before.ok_or_else(|| StoreFault::Missing(format!("user {}", new.username)))?;
        let before = Columns { row: &before, what: "account" };
        let tenant = TenantId::from_bytes(before.array("tenant")?);
        // What does not read back may have been anything.
        let keeps_kind = before.named("kind", UserKind::from_name).is_ok_and(|kind| kind == new.kind);
        let keeps_groups = before
            .json("groups")
            .is_ok_and(|groups: Vec<String>| groups.iter().all(|group| new.groups.contains(group)));
        ensure_domain_of(&mut tx, tenant, &new.username).await?;
        sqlx::query(
            "UPDATE account SET username = $2, email = $3, display_name = $4, kind = $5, level = $6, groups = $7, \
             active = $8, start_page = $9 WHERE id = $1",
        )
        .bind(user.as_bytes().to_vec())
        .bind(new.username.as_str())
        .bind(new.email.as_deref())
        .bind(&new.display_name)
        .bind(new.kind.name())
        .bind(new.level.name())
        .bind(to_json(&new.groups)?)
        .bind(i64::from(new.active))
        .bind(new.start_page.as_ref().map(LocalPath::as_str))
        .execute(&mut *tx)
        .await
        .map_err(|error| taken(error, || format!("user {}", new.username)))?;
        let event = SecurityEvent { user: Some(user), tenant: Some(tenant), ..event.clone() };
        events::append(&mut tx, &event).await?;
        if !(new.active && keeps_kind && keeps_groups) {
            sessions::raise_epoch(&mut tx, user, EndReason::Revoked, &event).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Sets whether a user may log in. Deactivation ends every session at once (D33).
    pub async fn set_active(&self, user: UserId, active: bool, event: &SecurityEvent) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let changed = sqlx::query("UPDATE account SET active = $2 WHERE id = $1")
            .bind(user.as_bytes().to_vec())
            .bind(i64::from(active))
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 0 {
            return Err(StoreFault::Missing(format!("user {user}")));
        }
        events::append(&mut tx, event).await?;
        if !active {
            sessions::raise_epoch(&mut tx, user, EndReason::Revoked, event).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The hashes of the last `most` passwords, newest first: none of them may come back (R45).
    pub async fn password_history(&self, user: UserId, most: u8) -> Result<Vec<PasswordHash>, StoreFault> {
        let query =
            sqlx::query_scalar("SELECT hash FROM password WHERE account = $1 ORDER BY serial DESC LIMIT $2")
                .bind(user.as_bytes().to_vec())
                .bind(i64::from(most));
        let hashes: Vec<String> = self.reading(query.fetch_all(&self.read)).await?;
        Ok(hashes.into_iter().map(PasswordHash::from_phc).collect())
    }

    /// Puts a hash of today's cost in the place of one of the same password (SEC-R7). Nothing changes if the
    /// password was changed meanwhile.
    pub async fn rehash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreFault> {
        let query = sqlx::query("UPDATE password SET hash = $3 WHERE account = $1 AND hash = $2");
        let query = query.bind(user.as_bytes().to_vec()).bind(old.as_phc()).bind(new.as_phc());
        self.execute(query).await.map(drop)
    }

    /// Sets a password that satisfies the rules, keeps `history` hashes in all, ends the user's sessions and gives
    /// all attempts back: guesses at the old password say nothing of the new one.
    pub async fn set_password(
        &self,
        user: UserId,
        hash: &PasswordHash,
        history: u8,
        event: &SecurityEvent,
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO password (account, serial, hash, set_at) \
             SELECT $1, coalesce(max(serial), 0) + 1, $2, $3 FROM password WHERE account = $1",
        )
        .bind(user.as_bytes().to_vec())
        .bind(hash.as_phc())
        .bind(seconds(event.at))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM password WHERE account = $1 AND serial <= \
             (SELECT max(serial) FROM password WHERE account = $1) - $2",
        )
        .bind(user.as_bytes().to_vec())
        .bind(i64::from(history.max(1)))
        .execute(&mut *tx)
        .await?;
        super::ledger::clear(&mut tx, user).await?;
        events::append(&mut tx, event).await?;
        sessions::raise_epoch(&mut tx, user, EndReason::Revoked, event).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a user all attempts back; the password stays (R56). `false`: none were used.
    pub async fn unlock(&self, user: UserId, event: &SecurityEvent) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let cleared = super::ledger::clear(&mut tx, user).await?;
        events::append(&mut tx, event).await?;
        tx.commit().await?;
        Ok(cleared > 0)
    }

    /// Removes a user's authenticator and ends their sessions: the next log-in sets one up (D29). `false`: there
    /// was none.
    pub async fn reset_totp(&self, user: UserId, event: &SecurityEvent) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let removed = sqlx::query("DELETE FROM totp WHERE account = $1")
            .bind(user.as_bytes().to_vec())
            .execute(&mut *tx)
            .await?;
        events::append(&mut tx, event).await?;
        sessions::raise_epoch(&mut tx, user, EndReason::Revoked, event).await?;
        tx.commit().await?;
        Ok(removed.rows_affected() == 1)
    }

    fn account_of(&self, row: &SqliteRow) -> Result<Account, StoreFault> {
        let columns = Columns { row, what: "account" };
        let user = user(columns)?;
        let password = columns.text_or_null("password_hash")?.map(PasswordHash::from_phc);
        let password = match (password, columns.time_or_null("password_set_at")?) {
            (Some(hash), Some(set_at)) => Some(StoredPassword { hash, set_at }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(StoreFault::Corrupt("password")),
        };
        let totp = match columns.number_or_null("totp_period")? {
            None => None,
            Some(period) => Some(self.enrolment(columns, user.id, period)?),
        };
        Ok(Account {
            tenant: tenant(row)?,
            password,
            totp,
            attempts_used: u8::try_from(columns.number("attempts_used")?).map_err(|_| columns.corrupt())?,
            locked_at: columns.time_or_null("locked_at")?,
            user,
        })
    }

    fn enrolment(&self, columns: Columns<'_>, user: UserId, period: u64) -> Result<TotpEnrolment, StoreFault> {
        let columns = Columns { what: "totp", ..columns };
        let secret = self.totp_key.open(user.as_bytes(), &columns.bytes("totp_secret")?)?;
        let secret = secret.try_into().map_err(|_| columns.corrupt())?;
        let period = u8::try_from(period).ok().and_then(|period| TotpPeriod::try_from(period).ok());
        Ok(TotpEnrolment {
            secret: TotpSecret::from_bytes(secret),
            period: period.ok_or_else(|| columns.corrupt())?,
            last_step: columns.number("totp_last_step")?,
            enrolled_at: columns.time("totp_enrolled_at")?,
        })
    }
}

pub(super) fn user(columns: Columns<'_>) -> Result<User, StoreFault> {
    let start_page = columns.text_or_null("start_page")?;
    Ok(User {
        id: UserId::from_bytes(columns.array("id")?),
        tenant: TenantId::from_bytes(columns.array("tenant")?),
        username: columns.parsed("username")?,
        email: columns.text_or_null("email")?,
        display_name: columns.text("display_name")?,
        kind: columns.named("kind", UserKind::from_name)?,
        level: columns.named("level", SecurityLevel::from_name)?,
        groups: columns.json("groups")?,
        active: columns.flag("active")?,
        sso_selected: columns.flag("selected")?,
        suite_exempt: columns.flag("suite_exempt")?,
        start_page: start_page.map(|page| page.parse()).transpose().map_err(|_| columns.corrupt())?,
        epoch: columns.number("epoch")?,
        flow_epoch: columns.number("flow_epoch")?,
    })
}

fn tenant(row: &SqliteRow) -> Result<Tenant, StoreFault> {
    let columns = Columns { row, what: "tenant" };
    let domains: Vec<Domain> = columns.json("domains")?;
    let sso: SsoScope = columns.json("sso")?;
    Ok(Tenant {
        id: TenantId::from_bytes(columns.array("tenant")?),
        slug: columns.text("slug")?,
        name: columns.text("name")?,
        zone: columns.parsed("zone")?,
        domains,
        suite: SuiteAccess {
            mode: columns.named("suite_mode", SuiteMode::from_name)?,
            company: columns
                .text_or_null("suite_company")?
                .map(|text| text.parse())
                .transpose()
                .map_err(|_| columns.corrupt())?,
            provisioning: columns.flag("suite_provisioning")?,
        },
        sso,
        sso_exempt: columns.array_or_null("sso_exempt")?.map(UserId::from_bytes),
        overrides: columns.json("overrides")?,
    })
}

async fn set_domains(tx: &mut Tx, tenant: &Tenant) -> Result<(), StoreFault> {
    for (position, domain) in tenant.domains.iter().enumerate() {
        sqlx::query("INSERT INTO tenant_domain (domain, tenant, position) VALUES ($1, $2, $3)")
            .bind(domain.as_str())
            .bind(tenant.id.as_bytes().to_vec())
            .bind(integer(position as u64))
            .execute(&mut **tx)
            .await
            .map_err(|error| taken(error, || format!("domain {domain}")))?;
    }
    Ok(())
}

/// A domain that users have cannot leave their tenant.
async fn ensure_domain_unused(tx: &mut Tx, tenant: TenantId, domain: &str) -> Result<(), StoreFault> {
    // No character of a domain means anything to LIKE.
    let user: Option<String> = sqlx::query_scalar(
        "SELECT username FROM account WHERE tenant = $1 AND username LIKE '%@' || $2 ORDER BY username LIMIT 1",
    )
    .bind(tenant.as_bytes().to_vec())
    .bind(domain)
    .fetch_optional(&mut **tx)
    .await?;
    match user {
        None => Ok(()),
        Some(user) => {
            let domain = domain.parse().map_err(|_| StoreFault::Corrupt("tenant_domain"))?;
            Err(StoreFault::DomainInUse(domain, user))
        }
    }
}

/// Writes a new user.
pub(super) async fn insert_user(
    tx: &mut Tx,
    tenant: TenantId,
    new: &NewUser,
    event: &SecurityEvent,
) -> Result<UserId, StoreFault> {
    let id = UserId::from_bytes(random()?);
    ensure_domain_of(tx, tenant, &new.username).await?;
    sqlx::query(
        "INSERT INTO account (id, tenant, username, email, display_name, kind, level, groups, active, \
         sso_selected, start_page, epoch, flow_epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, 0, 0)",
    )
    .bind(id.as_bytes().to_vec())
    .bind(tenant.as_bytes().to_vec())
    .bind(new.username.as_str())
    .bind(new.email.as_deref())
    .bind(&new.display_name)
    .bind(new.kind.name())
    .bind(new.level.name())
    .bind(to_json(&new.groups)?)
    .bind(i64::from(new.active))
    .bind(new.start_page.as_ref().map(LocalPath::as_str))
    .execute(&mut **tx)
    .await
    .map_err(|error| taken(error, || format!("user {}", new.username)))?;
    events::append(tx, &SecurityEvent { user: Some(id), tenant: Some(tenant), ..event.clone() }).await?;
    Ok(id)
}

async fn ensure_domain_of(tx: &mut Tx, tenant: TenantId, username: &Username) -> Result<(), StoreFault> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM tenant_domain WHERE domain = $1 AND tenant = $2")
        .bind(username.domain())
        .bind(tenant.as_bytes().to_vec())
        .fetch_optional(&mut **tx)
        .await?;
    match found {
        Some(_) => Ok(()),
        None => Err(StoreFault::Missing(format!("domain {} of the user's tenant", username.domain()))),
    }
}

fn taken(error: sqlx::Error, what: impl FnOnce() -> String) -> StoreFault {
    if is_unique_violation(&error) { StoreFault::Taken(what()) } else { error.into() }
}
