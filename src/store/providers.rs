//! Tenants' identity providers: what is configured, whether it was tried, and who must use it.
//!
//! *Why does a secret not outlive its issuer?* It is sealed for the tenant and the issuer that it was given for. Whoever
//! may change settings may not read the secret (D27), and would, if naming another issuer had it sent there.
//!
//! *Why is no digest of what was tested kept?* What changes settings or a secret forgets the test, in the same commit,
//! and there is no other writer. A digest would have to be of the secret as well, and would be something to guess at.

use super::rows::{Columns, seconds, to_json};
use super::sessions::end_log_ins_of_tenant;
use super::{Store, StoreFault, Tx, events};
use crate::base::{SealKey, TenantId, UnixTime, UserId};
use crate::directory::SsoScope;
use crate::machine::random;
use crate::sso::{ClientSecret, Issuer, ProviderSettings};
use crate::telemetry::SecurityEvent;

/// A tenant's provider, as it is kept.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Everything but the secret.
    pub settings: ProviderSettings,
    /// What we prove ourselves with; `None` until one was given for this issuer.
    pub secret: Option<ClientSecret>,
    /// When settings or secret were last written.
    pub changed_at: UnixTime,
    /// When a log-in with these settings and this secret last went through (D25).
    pub tested_at: Option<UnixTime>,
}

/// Whether it was changed who must use the provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SsoSet {
    /// It was, and holds for the next log-in.
    Yes,
    /// More people would have to use a provider that was not tried as it is configured, or there is none.
    Untested,
    /// The emergency administrator is nobody of this tenant's.
    NobodyExempt,
}

impl Store {
    /// The provider of a tenant.
    pub async fn provider(&self, tenant: TenantId) -> Result<Option<Provider>, StoreFault> {
        let query = sqlx::query("SELECT * FROM provider WHERE tenant = $1").bind(tenant.as_bytes().to_vec());
        let row = self.reading(query.fetch_optional(&self.read)).await?;
        row.map(|row| provider(Columns { row: &row, what: "provider" }, tenant, &self.provider_key)).transpose()
    }

    /// Writes a tenant's provider. `secret`: `None` keeps the one that is there, unless the issuer is another one.
    /// Whatever a test went through and is different now forgets the test; for whom the provider is stays as it is. Where
    /// that is selected users, and the issuer is another one, it is those who are linked there (R9).
    pub async fn set_provider(
        &self,
        tenant: TenantId,
        settings: &ProviderSettings,
        secret: Option<&ClientSecret>,
        event: &SecurityEvent,
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let before = written(&mut tx, tenant, &self.provider_key).await?;
        let tested_at = before
            .as_ref()
            .filter(|before| secret.is_none() && settings.are_tested_by(&before.settings))
            .and_then(|before| before.tested_at);
        let is_another = before.as_ref().is_some_and(|before| before.settings.issuer != settings.issuer);
        let same_issuer = before.filter(|_| !is_another);
        let secret = secret.cloned().or_else(|| same_issuer.and_then(|before| before.secret));
        let sealed = match &secret {
            Some(secret) => {
                let context = context(tenant, &settings.issuer);
                Some(self.provider_key.seal(random()?, &context, secret.reveal().as_bytes())?)
            }
            None => None,
        };
        sqlx::query(
            "INSERT INTO provider (tenant, settings, secret, changed_at, tested_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant) DO UPDATE SET settings = $2, secret = $3, changed_at = $4, tested_at = $5",
        )
        .bind(tenant.as_bytes().to_vec())
        .bind(to_json(settings)?)
        .bind(sealed)
        .bind(seconds(event.at))
        .bind(tested_at.map(seconds))
        .execute(&mut *tx)
        .await?;
        if is_another {
            // Some log in at a provider from now on, or no more: what was proved in the other way must not end in a session (R8).
            end_log_ins_of_tenant(&mut tx, tenant).await?;
        }
        told(&mut tx, tenant, event).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a tenant's provider and its secret, once nobody must use it. Links stay: they name their issuer, and
    /// say who somebody is if it comes back. `false`: there is none, or somebody must use it.
    pub async fn remove_provider(&self, tenant: TenantId, event: &SecurityEvent) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let removed =
            sqlx::query("DELETE FROM provider WHERE tenant IN (SELECT id FROM tenant WHERE id = $1 AND sso = $2)")
                .bind(tenant.as_bytes().to_vec())
                .bind(to_json(&SsoScope::Off)?)
                .execute(&mut *tx)
                .await?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        told(&mut tx, tenant, event).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes that a log-in with these settings went through, in a request that began at `now`. `false`: they, or the
    /// secret, were changed since.
    pub async fn provider_was_tested(
        &self,
        tenant: TenantId,
        settings: &ProviderSettings,
        now: UnixTime,
        event: &SecurityEvent,
    ) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let current = written(&mut tx, tenant, &self.provider_key).await?;
        if !current.is_some_and(|current| settings.are_tested_by(&current.settings) && current.changed_at <= now) {
            return Ok(false);
        }
        sqlx::query("UPDATE provider SET tested_at = $2 WHERE tenant = $1")
            .bind(tenant.as_bytes().to_vec())
            .bind(seconds(now))
            .execute(&mut *tx)
            .await?;
        told(&mut tx, tenant, event).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Sets who of a tenant must use its provider, and the one administrator who must not. Log-ins under way start
    /// again, in the way that holds from now on; sessions go on (R10).
    pub async fn set_sso(
        &self,
        tenant: TenantId,
        scope: SsoScope,
        exempt: Option<UserId>,
        event: &SecurityEvent,
    ) -> Result<SsoSet, StoreFault> {
        let mut tx = self.begin().await?;
        let row = sqlx::query(
            "SELECT tenant.sso, provider.tested_at, \
             EXISTS (SELECT 1 FROM account WHERE account.id = $2 AND account.tenant = tenant.id) AS knows_exempt \
             FROM tenant LEFT JOIN provider ON provider.tenant = tenant.id WHERE tenant.id = $1",
        )
        .bind(tenant.as_bytes().to_vec())
        .bind(exempt.map(|user| user.as_bytes().to_vec()))
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or_else(|| StoreFault::Missing(format!("tenant {tenant}")))?;
        let columns = Columns { row: &row, what: "tenant" };
        if scope > columns.json("sso")? && columns.time_or_null("tested_at")?.is_none() {
            return Ok(SsoSet::Untested);
        }
        if exempt.is_some() && !columns.flag("knows_exempt")? {
            return Ok(SsoSet::NobodyExempt);
        }
        sqlx::query("UPDATE tenant SET sso = $2, sso_exempt = $3 WHERE id = $1")
            .bind(tenant.as_bytes().to_vec())
            .bind(to_json(&scope)?)
            .bind(exempt.map(|user| user.as_bytes().to_vec()))
            .execute(&mut *tx)
            .await?;
        // A password that was proved before must not end in a session of somebody who may use none (R8).
        end_log_ins_of_tenant(&mut tx, tenant).await?;
        told(&mut tx, tenant, event).await?;
        tx.commit().await?;
        Ok(SsoSet::Yes)
    }
}

/// The provider as it is within a transaction.
async fn written(tx: &mut Tx, tenant: TenantId, key: &SealKey) -> Result<Option<Provider>, StoreFault> {
    let query = sqlx::query("SELECT * FROM provider WHERE tenant = $1").bind(tenant.as_bytes().to_vec());
    let row = query.fetch_optional(&mut **tx).await?;
    row.map(|row| provider(Columns { row: &row, what: "provider" }, tenant, key)).transpose()
}

fn provider(columns: Columns<'_>, tenant: TenantId, key: &SealKey) -> Result<Provider, StoreFault> {
    let settings: ProviderSettings = columns.json("settings")?;
    let secret = match columns.bytes_or_null("secret")? {
        None => None,
        Some(sealed) => {
            let text = String::from_utf8(key.open(&context(tenant, &settings.issuer), &sealed)?);
            let secret = text.ok().and_then(|text| ClientSecret::parse(&text));
            Some(secret.ok_or_else(|| columns.corrupt())?)
        }
    };
    Ok(Provider {
        secret,
        changed_at: columns.time("changed_at")?,
        tested_at: columns.time_or_null("tested_at")?,
        settings,
    })
}

/// What a secret is sealed for.
fn context(tenant: TenantId, issuer: &Issuer) -> Vec<u8> {
    [tenant.as_bytes().as_slice(), issuer.as_str().as_bytes()].concat()
}

/// Whatever the caller filled in, the event is of this tenant.
async fn told(tx: &mut Tx, tenant: TenantId, event: &SecurityEvent) -> Result<(), StoreFault> {
    events::append(tx, &SecurityEvent { tenant: Some(tenant), ..event.clone() }).await
}
