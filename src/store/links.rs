//! Who of an issuer's people has which account: issuer and subject, within one tenant, and nothing else (SEC-R44).

use super::rows::{Columns, integer, seconds, to_json};
use super::sessions::{end_log_ins_of, end_one};
use super::{Store, StoreFault, Tx, events};
use crate::base::{SessionId, TenantId, UnixTime, UserId, Username};
use crate::directory::{SsoScope, UserKind};
use crate::session::EndReason;
use crate::sso::{Audience, Issuer, Proof, Subject};
use crate::telemetry::{EventKind, SecurityEvent};

/// Whether an account and a subject belong together now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Linked {
    /// They do, or did already.
    Yes,
    /// The subject is another account's, and at a tenant's own provider it can be one's only.
    SubjectTaken,
    /// The account is linked to somebody else at this issuer.
    UserHasAnother,
    /// The account is of a kind that the tenant's own provider does not know, so that the link would mean nothing.
    NotOfThisKind,
}

/// An account and who it is at an issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkRow {
    /// The account.
    pub user: UserId,
    /// Its name.
    pub username: Username,
    /// By whose log-in.
    pub audience: Audience,
    /// Who says so.
    pub issuer: Issuer,
    /// Who that is there.
    pub subject: Subject,
    /// Since when.
    pub linked_at: UnixTime,
}

impl Store {
    /// Links an account of the tenant to a subject. One that is linked to it already stays so, without another event.
    ///
    /// Who is linked to somebody at the provider that the tenant has is one of those whom single sign-on for selected
    /// users is for (R9).
    ///
    /// Errors: [`StoreFault::Missing`] when the tenant has no such account.
    pub async fn link(
        &self,
        tenant: TenantId,
        issuer: &Issuer,
        subject: &Subject,
        user: UserId,
        audience: Audience,
        event: &SecurityEvent,
    ) -> Result<Linked, StoreFault> {
        let mut tx = self.begin().await?;
        let linked = link(&mut tx, tenant, issuer, (user, subject), audience, event).await?;
        if linked == Linked::Yes {
            tx.commit().await?;
        }
        Ok(linked)
    }

    /// Links an account to the subject of a proof, as [`Self::link`] does, for somebody in the middle of a log-in that began
    /// at this flow epoch of the account's. `None`: it is another one by now, and nothing was linked. Otherwise whoever was
    /// unlinked a moment ago would be linked again by what was read before, and get in by that link from then on.
    pub async fn link_claimant(
        &self,
        tenant: TenantId,
        proof: &Proof,
        (user, flow_epoch): (UserId, u64),
        event: &SecurityEvent,
    ) -> Result<Option<Linked>, StoreFault> {
        let mut tx = self.begin().await?;
        let current: Option<i64> = sqlx::query_scalar("SELECT flow_epoch FROM account WHERE id = $1")
            .bind(user.as_bytes().to_vec())
            .fetch_optional(&mut *tx)
            .await?;
        if current != Some(integer(flow_epoch)) {
            return Ok(None);
        }
        let (issuer, audience) = (proof.issuer(), proof.audience());
        let linked = link(&mut tx, tenant, issuer, (user, proof.subject()), audience, event).await?;
        if linked == Linked::Yes {
            tx.commit().await?;
        }
        Ok(Some(linked))
    }

    /// Links several accounts, each as [`Self::link`] does, all or none: unless every answer is [`Linked::Yes`], nothing was changed.
    pub async fn link_all(
        &self,
        tenant: TenantId,
        issuer: &Issuer,
        pairs: &[(UserId, Subject)],
        audience: Audience,
        event: &SecurityEvent,
    ) -> Result<Vec<Linked>, StoreFault> {
        let mut tx = self.begin().await?;
        let mut answers = Vec::with_capacity(pairs.len());
        for (user, subject) in pairs {
            answers.push(link(&mut tx, tenant, issuer, (*user, subject), audience, event).await?);
        }
        if answers.iter().all(|answer| *answer == Linked::Yes) {
            tx.commit().await?;
        }
        Ok(answers)
    }

    /// Removes an account's link at an issuer, of one kind of log-in. The sessions that it began end, and log-ins under way start again: what
    /// was linked by mistake is somebody else. `false`: there was none.
    pub async fn unlink(
        &self,
        user: UserId,
        audience: Audience,
        issuer: &Issuer,
        event: &SecurityEvent,
    ) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let removed = sqlx::query("DELETE FROM link WHERE account = $1 AND issuer = $2 AND audience = $3")
            .bind(user.as_bytes().to_vec())
            .bind(issuer.as_str())
            .bind(audience.name())
            .execute(&mut *tx)
            .await?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        end_log_ins_of(&mut tx, user).await?;
        let sessions: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT session.id FROM session JOIN provider_session ON provider_session.session = session.id \
             WHERE session.account = $1 AND provider_session.issuer = $2 AND provider_session.audience = $3 \
             AND session.ended_at IS NULL",
        )
        .bind(user.as_bytes().to_vec())
        .bind(issuer.as_str())
        .bind(audience.name())
        .fetch_all(&mut *tx)
        .await?;
        let event = SecurityEvent { user: Some(user), ..event.clone() };
        events::append(&mut tx, &event).await?;
        for session in sessions {
            let session = SessionId::from_bytes(session.try_into().map_err(|_| StoreFault::Corrupt("session"))?);
            end_one(&mut tx, user, session, EndReason::Revoked, event.at).await?;
            let ended = SecurityEvent {
                kind: EventKind::SessionEnded,
                session: Some(session),
                reason: Some(EndReason::Revoked.name()),
                ..event.clone()
            };
            events::append(&mut tx, &ended).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Every link of a tenant of one kind of log-in, by username.
    pub async fn links(&self, tenant: TenantId, audience: Audience) -> Result<Vec<LinkRow>, StoreFault> {
        let query = sqlx::query(
            "SELECT link.*, account.username FROM account JOIN link ON link.account = account.id \
             AND link.audience = $2 WHERE account.tenant = $1 ORDER BY account.username, link.issuer",
        );
        let query = query.bind(tenant.as_bytes().to_vec()).bind(audience.name());
        let rows = self.listing(self.reading(query.fetch_all(&self.read))).await?;
        rows.iter().map(|row| link_row(Columns { row, what: "link" })).collect()
    }

    /// Every link of an account.
    pub async fn links_of(&self, user: UserId) -> Result<Vec<LinkRow>, StoreFault> {
        let query = sqlx::query(
            "SELECT link.*, account.username FROM link JOIN account ON account.id = link.account \
             WHERE link.account = $1 ORDER BY link.issuer",
        );
        let rows = self.reading(query.bind(user.as_bytes().to_vec()).fetch_all(&self.read)).await?;
        rows.iter().map(|row| link_row(Columns { row, what: "link" })).collect()
    }
}

/// `None`: there is no such account.
async fn kind_of(tx: &mut Tx, user: UserId) -> Result<Option<UserKind>, StoreFault> {
    let kind: Option<String> = sqlx::query_scalar("SELECT kind FROM account WHERE id = $1")
        .bind(user.as_bytes().to_vec())
        .fetch_optional(&mut **tx)
        .await?;
    kind.map(|kind| UserKind::from_name(&kind).ok_or(StoreFault::Corrupt("account"))).transpose()
}

pub(super) async fn link(
    tx: &mut Tx,
    tenant: TenantId,
    issuer: &Issuer,
    (user, subject): (UserId, &Subject),
    audience: Audience,
    event: &SecurityEvent,
) -> Result<Linked, StoreFault> {
    let holders: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT account FROM link WHERE tenant = $1 AND issuer = $2 AND subject = $3 AND audience = $4",
    )
    .bind(tenant.as_bytes().to_vec())
    .bind(issuer.as_str())
    .bind(subject.as_str())
    .bind(audience.name())
    .fetch_all(&mut **tx)
    .await?;
    if holders.iter().any(|holder| holder == user.as_bytes()) {
        return Ok(Linked::Yes);
    }
    match audience {
        Audience::Tenant if !holders.is_empty() => return Ok(Linked::SubjectTaken),
        Audience::Tenant if !kind_of(tx, user).await?.is_none_or(UserKind::has_provider) => {
            return Ok(Linked::NotOfThisKind);
        }
        // One person of the suite may have several accounts (R92, D21).
        Audience::Tenant | Audience::Suite => {}
    }
    let linked = sqlx::query(
        "INSERT INTO link (tenant, issuer, subject, account, audience, linked_at) \
         SELECT tenant, $3, $4, id, $5, $6 FROM account WHERE id = $1 AND tenant = $2 \
         ON CONFLICT (account, audience, issuer) DO NOTHING",
    )
    .bind(user.as_bytes().to_vec())
    .bind(tenant.as_bytes().to_vec())
    .bind(issuer.as_str())
    .bind(subject.as_str())
    .bind(audience.name())
    .bind(seconds(event.at))
    .execute(&mut **tx)
    .await?;
    if linked.rows_affected() == 0 {
        let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM account WHERE id = $1 AND tenant = $2")
            .bind(user.as_bytes().to_vec())
            .bind(tenant.as_bytes().to_vec())
            .fetch_optional(&mut **tx)
            .await?;
        return match known {
            Some(_) => Ok(Linked::UserHasAnother),
            None => Err(StoreFault::Missing(format!("user {user}"))),
        };
    }
    if audience == Audience::Tenant {
        // Where it is for selected users, this one's password counts no more, nor does one that was proved just now.
        let selects = sqlx::query_scalar("SELECT 1 FROM tenant WHERE id = $1 AND sso = $2");
        let selects = selects.bind(tenant.as_bytes().to_vec()).bind(to_json(&SsoScope::Selected)?);
        let selects: Option<i64> = selects.fetch_optional(&mut **tx).await?;
        if selects.is_some() {
            end_log_ins_of(tx, user).await?;
        }
    }
    events::append(tx, &SecurityEvent { user: Some(user), tenant: Some(tenant), ..event.clone() }).await?;
    Ok(Linked::Yes)
}

pub(super) fn link_row(columns: Columns<'_>) -> Result<LinkRow, StoreFault> {
    Ok(LinkRow {
        user: UserId::from_bytes(columns.array("account")?),
        username: columns.parsed("username")?,
        audience: columns.named("audience", Audience::from_name)?,
        issuer: columns.issuer("issuer")?,
        subject: columns.named("subject", Subject::parse)?,
        linked_at: columns.time("linked_at")?,
    })
}
