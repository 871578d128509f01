//! The vendor's suite: which tenants let their users log in with it, and which accounts a person of it may have.

use super::directory::insert_user;
use super::links::link;
use super::rows::Columns;
use super::sessions::end_log_ins_of_tenant;
use super::{Account, Linked, NewUser, Store, StoreFault, Tx, events};
use crate::base::{Hostname, TenantId, UserId};
use crate::directory::{SuiteAccess, SuiteCompany, SuiteMode};
use crate::sso::{Audience, Issuer, Proof, Subject};
use crate::telemetry::SecurityEvent;

/// The most accounts that one person of the suite is offered.
const ACCOUNTS_MAX: i64 = 20;

/// Who somebody is at the suite, in one zone.
#[derive(Clone, Copy, Debug)]
pub struct SuitePerson<'a> {
    /// Where they want to log in.
    pub zone: &'a Hostname,
    /// Whose people they are.
    pub company: &'a SuiteCompany,
    /// Who says so.
    pub issuer: &'a Issuer,
    /// Who they are there.
    pub subject: &'a Subject,
    /// Their e-mail address, if the suite has verified it.
    pub email: Option<&'a str>,
}

impl Store {
    /// Sets what a tenant's users may do with the suite. Log-ins under way start again, in the way that holds from now
    /// on; sessions go on (R10, D34). `false`: nobody could log in so, because no company is named.
    ///
    /// Errors: [`StoreFault::Missing`] when there is no such tenant.
    pub async fn set_suite(
        &self,
        tenant: TenantId,
        access: &SuiteAccess,
        event: &SecurityEvent,
    ) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let set = set_suite(&mut tx, tenant, access, event).await?;
        if set {
            tx.commit().await?;
        }
        Ok(set)
    }

    /// Sets what a tenant's users may do with the suite, as [`Self::set_suite`] does, if it still is what the caller has seen
    /// `before`. [`SuiteSet::Overtaken`]: somebody else has changed it since, and that stays.
    pub async fn change_suite(
        &self,
        tenant: TenantId,
        (before, access): (&SuiteAccess, &SuiteAccess),
        event: &SecurityEvent,
    ) -> Result<SuiteSet, StoreFault> {
        let mut tx = self.begin().await?;
        let query = sqlx::query_scalar(
            "SELECT 1 FROM tenant WHERE id = $1 AND suite_mode = $2 AND suite_company IS $3 AND suite_provisioning = $4",
        );
        let query = query
            .bind(tenant.as_bytes().to_vec())
            .bind(before.mode.name())
            .bind(before.company.as_ref().map(SuiteCompany::as_str))
            .bind(i64::from(before.provisioning));
        let unchanged: Option<i64> = query.fetch_optional(&mut *tx).await?;
        if unchanged.is_none() {
            return Ok(SuiteSet::Overtaken);
        }
        if !set_suite(&mut tx, tenant, access, event).await? {
            return Ok(SuiteSet::NoCompany);
        }
        tx.commit().await?;
        Ok(SuiteSet::Yes)
    }

    /// Creates and links, in one step, an account for somebody known only to the suite: an account with neither a link nor a
    /// password would be nobody's to use (D23).
    ///
    /// Errors: [`StoreFault::Taken`] when the name is.
    pub async fn enter_from_suite(
        &self,
        tenant: TenantId,
        new: &NewUser,
        proof: &Proof,
        (created, linked): (&SecurityEvent, &SecurityEvent),
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let user = insert_user(&mut tx, tenant, new, created).await?;
        let linked = SecurityEvent { user: Some(user), ..linked.clone() };
        let whom = (user, proof.subject());
        match link(&mut tx, tenant, proof.issuer(), whom, proof.audience(), &linked).await? {
            Linked::Yes => Ok(tx.commit().await?),
            // It is new: nothing of it is another's.
            Linked::SubjectTaken | Linked::UserHasAnother | Linked::NotOfThisKind => {
                Err(StoreFault::Taken(format!("the suite's person of user {}", new.username)))
            }
        }
    }

    /// Sets whether a user logs in locally although the tenant requires the suite (D22).
    ///
    /// Errors: [`StoreFault::Missing`] when there is no such user.
    pub async fn set_suite_exempt(
        &self,
        user: UserId,
        exempt: bool,
        event: &SecurityEvent,
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let changed =
            sqlx::query("UPDATE account SET suite_exempt = $2, flow_epoch = flow_epoch + 1 WHERE id = $1")
                .bind(user.as_bytes().to_vec())
                .bind(i64::from(exempt))
                .execute(&mut *tx)
                .await?;
        if changed.rows_affected() == 0 {
            return Err(StoreFault::Missing(format!("user {user}")));
        }
        events::append(&mut tx, &SecurityEvent { user: Some(user), ..event.clone() }).await?;
        Ok(tx.commit().await?)
    }

    /// The accounts in a zone that a person of the suite has, or may have, by username: those that are linked to them,
    /// and those whose primary e-mail address is theirs (R92) and that are linked to nobody there. Only of tenants that
    /// are this company and use the suite; whether a user may is not looked at.
    pub async fn suite_accounts(&self, person: SuitePerson<'_>) -> Result<Vec<Account>, StoreFault> {
        let query = sqlx::query(
            "SELECT account.id FROM account JOIN tenant ON tenant.id = account.tenant \
             LEFT JOIN link ON link.account = account.id AND link.audience = $1 AND link.issuer = $2 \
             WHERE tenant.zone = $3 AND tenant.suite_company = $4 AND tenant.suite_mode <> $5 \
             AND (link.subject = $6 OR (link.subject IS NULL AND lower(account.email) = lower($7))) \
             ORDER BY account.username LIMIT $8",
        )
        .bind(Audience::Suite.name())
        .bind(person.issuer.as_str())
        .bind(person.zone.as_str())
        .bind(person.company.as_str())
        .bind(SuiteMode::Off.name())
        .bind(person.subject.as_str())
        .bind(person.email)
        .bind(ACCOUNTS_MAX);
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        let mut accounts = Vec::with_capacity(rows.len());
        for row in &rows {
            let user = UserId::from_bytes(Columns { row, what: "account" }.array("id")?);
            accounts.extend(self.account_by_id(user).await?);
        }
        Ok(accounts)
    }
}

/// Whether a tenant's access was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SuiteSet {
    /// It was.
    Yes,
    /// Nobody could log in so, because no company is named.
    NoCompany,
    /// It is not what it was before any more.
    Overtaken,
}

async fn set_suite(
    tx: &mut Tx,
    tenant: TenantId,
    access: &SuiteAccess,
    event: &SecurityEvent,
) -> Result<bool, StoreFault> {
    match (access.mode, &access.company) {
        (SuiteMode::Allowed | SuiteMode::Required, None) => return Ok(false),
        (SuiteMode::Off, _) | (SuiteMode::Allowed | SuiteMode::Required, Some(_)) => {}
    }
    let changed = sqlx::query(
        "UPDATE tenant SET suite_mode = $2, suite_company = $3, suite_provisioning = $4 WHERE id = $1",
    )
    .bind(tenant.as_bytes().to_vec())
    .bind(access.mode.name())
    .bind(access.company.as_ref().map(SuiteCompany::as_str))
    .bind(i64::from(access.provisioning))
    .execute(&mut **tx)
    .await?;
    if changed.rows_affected() == 0 {
        return Err(StoreFault::Missing(format!("tenant {tenant}")));
    }
    // A password that was proved before must not end in a session of somebody who may use none.
    end_log_ins_of_tenant(tx, tenant).await?;
    events::append(tx, &SecurityEvent { tenant: Some(tenant), ..event.clone() }).await?;
    Ok(true)
}
