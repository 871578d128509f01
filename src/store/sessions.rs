//! Sessions as they survive: begun, ended, written back, and tailed.

use sqlx::sqlite::SqliteRow;

use super::rows::{Columns, if_known, integer, seconds};
use super::{Store, StoreFault, Tx, events};
use crate::base::{FlowId, SessionId, TenantId, TokenDigest, UnixTime, UserId};
use crate::directory::{Lifetimes, UserKind};
use crate::session::{Class, Device, EndReason, Method, Principal, SessionRecord};
use crate::telemetry::{EventKind, SecurityEvent};

/// A session as it comes back after a restart.
#[derive(Clone, Debug)]
pub struct LoadedSession {
    /// The session.
    pub record: SessionRecord,
    /// Whose it is, as the directory describes them by now: a session that outlives a restart goes on with the names and
    /// groups that were given to its person meanwhile.
    pub principal: Principal,
    /// The user's epoch now.
    pub user_epoch: u64,
}

/// A session that has ended, remembered so that its browser is told why.
#[derive(Clone, Debug)]
pub struct EndedSession {
    /// The session.
    pub session: LoadedSession,
    /// Why it ended.
    pub reason: EndReason,
}

/// A session that is to end, why, and what the security log says of it.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub reason: EndReason,
    /// The line in the log.
    pub event: SecurityEvent,
}

/// One ending, or one raised epoch, in the order they were committed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revocation {
    /// Its place in the order.
    pub seq: u64,
    /// Whose sessions.
    pub user: UserId,
    /// Which one; `None` for all that are older than `epoch`.
    pub session: Option<SessionId>,
    /// The user's epoch from then on.
    pub epoch: u64,
    /// Why.
    pub reason: EndReason,
}

macro_rules! session_query {
    ($condition:literal) => {
        concat!(
            "SELECT session.*, account.username, account.email, account.display_name, account.groups, ",
            "account.kind, account.epoch AS user_epoch, tenant.slug FROM session ",
            "JOIN account ON account.id = session.account JOIN tenant ON tenant.id = session.tenant WHERE ",
            $condition
        )
    };
}

impl Store {
    /// Ends every session of a user but one, and every log-in under way. `event` tells of each.
    pub async fn end_others(
        &self,
        user: UserId,
        kept: SessionId,
        reason: EndReason,
        event: &SecurityEvent,
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        end_others(&mut tx, user, kept, reason, event).await?;
        Ok(tx.commit().await?)
    }

    /// Ends sessions of one user. Those that have ended before keep their reason.
    pub async fn end_sessions(
        &self,
        user: UserId,
        sessions: &[SessionId],
        reason: EndReason,
        now: UnixTime,
        events: &[SecurityEvent],
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        for session in sessions {
            end_one(&mut tx, user, *session, reason, now).await?;
        }
        for event in events {
            events::append(&mut tx, event).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Ends sessions of any users in one commit, each with its own event. Those that have ended before keep their
    /// reason and get no event.
    pub async fn end_expired(&self, expired: &[(UserId, Ending)], now: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        for (user, ending) in expired {
            if end_one(&mut tx, *user, ending.session, ending.reason, now).await? {
                events::append(&mut tx, &ending.event).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Ends every session of a user, and whatever flow is under way, by raising the epoch. `event` tells of each; and of
    /// itself where there is none, because log-ins under way end all the same.
    pub async fn end_user(
        &self,
        user: UserId,
        reason: EndReason,
        event: &SecurityEvent,
    ) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        if raise_epoch(&mut tx, user, reason, event).await? == 0 {
            events::append(&mut tx, event).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The sessions that have ended since `since`, newest first, at most `most`.
    pub async fn ended_sessions(&self, since: UnixTime, most: u32) -> Result<Vec<EndedSession>, StoreFault> {
        let query = sqlx::query(session_query!("session.ended_at >= $1 ORDER BY session.ended_at DESC LIMIT $2"))
            .bind(seconds(since))
            .bind(i64::from(most));
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { row, what: "session" };
                Ok(EndedSession {
                    session: loaded(row)?,
                    reason: columns.named("end_reason", EndReason::from_name)?,
                })
            })
            .collect()
    }

    /// Writes activity back, in one commit. A session that has ended meanwhile stays ended.
    pub async fn write_last_seen(&self, seen: &[(SessionId, UnixTime)]) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        for (session, at) in seen {
            sqlx::query("UPDATE session SET last_seen = max(last_seen, $2) WHERE id = $1 AND ended_at IS NULL")
                .bind(session.as_bytes().to_vec())
                .bind(seconds(*at))
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Everything that was revoked after `seq`, in order, at most a thousand.
    ///
    /// Refused once the file is no longer where commands write: then nothing that is revoked would be seen here.
    pub async fn revocations_since(&self, seq: u64) -> Result<Vec<Revocation>, StoreFault> {
        self.file.check_in_place()?;
        let query = sqlx::query("SELECT * FROM revocation WHERE seq > $1 ORDER BY seq LIMIT 1000");
        let rows = self.reading(query.bind(integer(seq)).fetch_all(&self.lease)).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { row, what: "revocation" };
                Ok(Revocation {
                    seq: columns.number("seq")?,
                    user: UserId::from_bytes(columns.array("account")?),
                    session: columns.array_or_null("session")?.map(SessionId::from_bytes),
                    epoch: columns.number("epoch")?,
                    reason: columns.named("reason", EndReason::from_name)?,
                })
            })
            .collect()
    }

    /// The place of the newest revocation: where a gateway that has just loaded its sessions begins to tail.
    pub async fn last_revocation(&self) -> Result<u64, StoreFault> {
        let query = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM revocation");
        let seq: i64 = self.reading(query.fetch_one(&self.lease)).await?;
        u64::try_from(seq).map_err(|_| StoreFault::Corrupt("revocation"))
    }
}

/// Raises a user's epoch and ends all their sessions: no flow, replica or late write of the old epoch counts. Each session
/// that ends gets a line of its own in the security log (R121), by whom and why `event` says. Gives how many there were.
pub(super) async fn raise_epoch(
    tx: &mut Tx,
    user: UserId,
    reason: EndReason,
    event: &SecurityEvent,
) -> Result<usize, StoreFault> {
    sqlx::query("UPDATE account SET epoch = epoch + 1, flow_epoch = flow_epoch + 1 WHERE id = $1")
        .bind(user.as_bytes().to_vec())
        .execute(&mut **tx)
        .await?;
    let ended = sqlx::query(
        "UPDATE session SET ended_at = $2, end_reason = $3 WHERE account = $1 AND ended_at IS NULL \
         RETURNING id, tenant, zone, class",
    )
    .bind(user.as_bytes().to_vec())
    .bind(seconds(event.at))
    .bind(reason.name())
    .fetch_all(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO revocation (account, session, epoch, reason, at) \
         SELECT id, NULL, epoch, $2, $3 FROM account WHERE id = $1",
    )
    .bind(user.as_bytes().to_vec())
    .bind(reason.name())
    .bind(seconds(event.at))
    .execute(&mut **tx)
    .await?;
    for row in &ended {
        let columns = Columns { row, what: "session" };
        // What of a session does not read back is left out: that it ends must not hang on it.
        let event = SecurityEvent {
            kind: EventKind::SessionEnded,
            zone: columns.parsed("zone").ok(),
            tenant: columns.array("tenant").ok().map(TenantId::from_bytes),
            user: Some(user),
            session: columns.array("id").ok().map(SessionId::from_bytes),
            class: columns.named("class", Class::from_name).ok(),
            reason: Some(reason.name()),
            ..event.clone()
        };
        events::append(tx, &event).await?;
    }
    Ok(ended.len())
}

/// Ends every log-in of a user that is under way: what was proved in it counts no more.
pub(super) async fn end_log_ins_of(tx: &mut Tx, user: UserId) -> Result<(), StoreFault> {
    let query = sqlx::query("UPDATE account SET flow_epoch = flow_epoch + 1 WHERE id = $1");
    query.bind(user.as_bytes().to_vec()).execute(&mut **tx).await?;
    Ok(())
}

/// Ends every log-in of a tenant's users that is under way.
pub(super) async fn end_log_ins_of_tenant(tx: &mut Tx, tenant: TenantId) -> Result<(), StoreFault> {
    let query = sqlx::query("UPDATE account SET flow_epoch = flow_epoch + 1 WHERE tenant = $1");
    query.bind(tenant.as_bytes().to_vec()).execute(&mut **tx).await?;
    Ok(())
}

/// Ends every session of a user but one. What is under way rests on proofs that somebody else may have made, and ends
/// with them.
pub(super) async fn end_others(
    tx: &mut Tx,
    user: UserId,
    kept: SessionId,
    reason: EndReason,
    event: &SecurityEvent,
) -> Result<(), StoreFault> {
    end_log_ins_of(tx, user).await?;
    let others: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT id FROM session WHERE account = $1 AND id <> $2 AND ended_at IS NULL")
            .bind(user.as_bytes().to_vec())
            .bind(kept.as_bytes().to_vec())
            .fetch_all(&mut **tx)
            .await?;
    for other in others {
        let other = SessionId::from_bytes(other.try_into().map_err(|_| StoreFault::Corrupt("session"))?);
        end_one(tx, user, other, reason, event.at).await?;
        events::append(tx, &SecurityEvent { session: Some(other), ..event.clone() }).await?;
    }
    Ok(())
}

/// Ends one session if it is this user's and has not ended. Returns whether it did.
pub(super) async fn end_one(
    tx: &mut Tx,
    user: UserId,
    session: SessionId,
    reason: EndReason,
    now: UnixTime,
) -> Result<bool, StoreFault> {
    let ended = sqlx::query(
        "UPDATE session SET ended_at = $3, end_reason = $4 WHERE id = $1 AND account = $2 AND ended_at IS NULL",
    )
    .bind(session.as_bytes().to_vec())
    .bind(user.as_bytes().to_vec())
    .bind(seconds(now))
    .bind(reason.name())
    .execute(&mut **tx)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO revocation (account, session, epoch, reason, at) \
         SELECT id, $2, epoch, $3, $4 FROM account WHERE id = $1",
    )
    .bind(user.as_bytes().to_vec())
    .bind(session.as_bytes().to_vec())
    .bind(reason.name())
    .bind(seconds(now))
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

fn loaded(row: &SqliteRow) -> Result<LoadedSession, StoreFault> {
    let columns = Columns { row, what: "session" };
    let record = SessionRecord {
        id: SessionId::from_bytes(columns.array("id")?),
        token: TokenDigest::from_bytes(columns.array("token")?),
        flow: FlowId::from_bytes(columns.array("flow")?),
        user: UserId::from_bytes(columns.array("account")?),
        tenant: TenantId::from_bytes(columns.array("tenant")?),
        zone: columns.parsed("zone")?,
        epoch: columns.number("epoch")?,
        class: columns.named("class", Class::from_name)?,
        method: columns.named("method", Method::from_name)?,
        factors: columns.json("factors")?,
        authenticated_at: if_known(columns.time("authenticated_at")?),
        started_at: columns.time("started_at")?,
        last_seen: columns.time("last_seen")?,
        lifetimes: Lifetimes { idle_max: columns.ttl("idle_max")?, absolute_max: columns.ttl("absolute_max")? },
        device: Device { label: columns.text("device_label")?, address: columns.text("device_address")? },
    };
    let principal = Principal {
        username: columns.text("username")?,
        email: columns.text_or_null("email")?,
        display_name: columns.text("display_name")?,
        groups: columns.json("groups")?,
        tenant_slug: columns.text("slug")?,
        kind: columns.named("kind", UserKind::from_name)?,
    };
    Ok(LoadedSession { record, principal, user_epoch: columns.number("user_epoch")? })
}
