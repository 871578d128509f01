//! What ends with a zone that is no longer served (C3).

use sqlx::Row as _;

use super::rows::seconds;
use super::sessions::end_log_ins_of_tenant;
use super::{Store, StoreFault, events};
use crate::base::{Hostname, TenantId, UnixTime};
use crate::session::EndReason;
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

const WHY: &str = "the zone was removed from the configuration";

impl Store {
    /// The zones in which somebody has a session that has not ended.
    ///
    /// Not by the index of live sessions: that is in the order of people's random ids, a page of the file for each.
    pub async fn session_zones(&self) -> Result<Vec<Hostname>, StoreFault> {
        let query = sqlx::query("SELECT DISTINCT zone FROM session NOT INDEXED WHERE ended_at IS NULL");
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        rows.iter()
            .map(|row| row.try_get::<&str, _>(0).ok().and_then(|zone| zone.parse().ok()))
            .map(|zone| zone.ok_or(StoreFault::Corrupt("session")))
            .collect()
    }

    /// Ends every session of these zones and every log-in under way to them, in one commit. Each session gets a line
    /// in the security log, each zone one with how many there were.
    ///
    /// *Why whole sets and not one session after the other?* A zone may have a hundred thousand, and this transaction
    /// holds the only writer: log-ins of all other zones wait for it.
    pub async fn end_zones(&self, zones: &[Hostname], now: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        let reason = EndReason::Revoked.name();
        for zone in zones {
            sqlx::query(
                "INSERT INTO revocation (account, session, epoch, reason, at) \
                 SELECT account.id, session.id, account.epoch, $2, $3 FROM session \
                 JOIN account ON account.id = session.account WHERE session.zone = $1 AND session.ended_at IS NULL",
            )
            .bind(zone.as_str())
            .bind(reason)
            .bind(seconds(now))
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "INSERT INTO security_event (at, kind, actor, zone, tenant, account, session, class, reason, detail) \
                 SELECT $2, $3, $4, zone, tenant, account, id, class, $5, $6 FROM session \
                 WHERE zone = $1 AND ended_at IS NULL",
            )
            .bind(zone.as_str())
            .bind(seconds(now))
            .bind(EventKind::SessionEnded.name())
            .bind(Actor::Operator.name())
            .bind(reason)
            .bind(WHY)
            .execute(&mut *tx)
            .await?;
            let ended = sqlx::query(
                "UPDATE session SET ended_at = $2, end_reason = $3 WHERE zone = $1 AND ended_at IS NULL",
            )
            .bind(zone.as_str())
            .bind(seconds(now))
            .bind(reason)
            .execute(&mut *tx)
            .await?;
            // A password that was proved before must not end in a session once the zone is back.
            let tenants: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM tenant WHERE zone = $1")
                .bind(zone.as_str())
                .fetch_all(&mut *tx)
                .await?;
            for tenant in tenants {
                let tenant = tenant.try_into().map_err(|_| StoreFault::Corrupt("tenant"))?;
                end_log_ins_of_tenant(&mut tx, TenantId::from_bytes(tenant)).await?;
            }
            let removed = SecurityEvent {
                zone: Some(zone.clone()),
                detail: Some(Snippet::of(&format!("{} sessions ended: {WHY}", ended.rows_affected()))),
                ..SecurityEvent::new(EventKind::ZoneRemoved, Actor::Operator, now)
            };
            events::append(&mut tx, &removed).await?;
        }
        Ok(tx.commit().await?)
    }
}
