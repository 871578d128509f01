//! The security log: appended to, never changed (triggers refuse it), in the transaction of what it tells.

use serde::Serialize;
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

use super::rows::{Columns, seconds};
use super::{Store, StoreFault, Tx};
use crate::base::{SessionId, TenantId, UnixTime, UserId};
use crate::telemetry::SecurityEvent;

/// One line of the log as it was stored.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct EventRow {
    /// Its place in the log.
    pub seq: u64,
    /// When.
    pub at: UnixTime,
    /// What happened: the name of an event kind.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// The request it happened in.
    pub request: Option<String>,
    /// In which zone.
    pub zone: Option<String>,
    /// In which tenant.
    pub tenant: Option<TenantId>,
    /// To whose account.
    pub user: Option<UserId>,
    /// To which session.
    pub session: Option<SessionId>,
    /// With which sort of client.
    pub class: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// The machine-readable reason.
    pub reason: Option<String>,
    /// What there is to say beyond that.
    pub detail: Option<String>,
}

/// Appends within a transaction, so that effect and record stand or fall together (A3). Once it is committed, the
/// program's own log shows the line as well: there for watching, here for keeping.
pub(super) async fn append(tx: &mut Tx, event: &SecurityEvent) -> Result<(), StoreFault> {
    let query = sqlx::query(
        "INSERT INTO security_event \
         (at, kind, actor, request, zone, tenant, account, session, class, address, reason, detail) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    );
    bind(query, event).execute(&mut **tx).await?;
    tx.tell(event);
    Ok(())
}

/// Binds an event's columns, in the order in which [`append`] names them.
pub(super) fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    event: &SecurityEvent,
) -> Query<'q, Sqlite, SqliteArguments> {
    query
        .bind(seconds(event.at))
        .bind(event.kind.name())
        .bind(event.actor.name())
        .bind(event.request.map(|id| id.to_string()))
        .bind(event.zone.as_ref().map(ToString::to_string))
        .bind(event.tenant.map(|id| id.as_bytes().to_vec()))
        .bind(event.user.map(|id| id.as_bytes().to_vec()))
        .bind(event.session.map(|id| id.as_bytes().to_vec()))
        .bind(event.class.map(crate::session::Class::name))
        .bind(event.address.map(|address| address.to_string()))
        .bind(event.reason)
        .bind(event.detail.as_ref().map(|detail| detail.as_str().to_owned()))
}

/// A line in the program's own log.
pub(super) fn show(event: &SecurityEvent) {
    tracing::info!(
        target: "security",
        at = %event.at,
        event = event.kind.name(),
        actor = event.actor.name(),
        request = event.request.map(tracing::field::display),
        zone = event.zone.as_ref().map(tracing::field::display),
        tenant = event.tenant.map(tracing::field::display),
        user = event.user.map(tracing::field::display),
        session = event.session.map(tracing::field::display),
        class = event.class.map(crate::session::Class::name),
        address = event.address.map(tracing::field::display),
        reason = event.reason,
        detail = event.detail.as_ref().map(tracing::field::display),
    );
}

impl Store {
    /// Appends one event that has no effect of its own in the store.
    pub async fn append_event(&self, event: &SecurityEvent) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        append(&mut tx, event).await?;
        Ok(tx.commit().await?)
    }

    /// The newest events, newest first; of one user when one is given.
    pub async fn events(&self, user: Option<UserId>, most: u32) -> Result<Vec<EventRow>, StoreFault> {
        let query = sqlx::query(
            "SELECT * FROM security_event WHERE $1 IS NULL OR account = $1 ORDER BY seq DESC LIMIT $2",
        );
        let query = query.bind(user.map(|id| id.as_bytes().to_vec())).bind(i64::from(most));
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        rows.iter().map(|row| event(Columns { row, what: "security_event" })).collect()
    }
}

fn event(columns: Columns<'_>) -> Result<EventRow, StoreFault> {
    Ok(EventRow {
        seq: columns.number("seq")?,
        at: columns.time("at")?,
        kind: columns.text("kind")?,
        actor: columns.text("actor")?,
        request: columns.text_or_null("request")?,
        zone: columns.text_or_null("zone")?,
        tenant: columns.array_or_null("tenant")?.map(TenantId::from_bytes),
        user: columns.array_or_null("account")?.map(UserId::from_bytes),
        session: columns.array_or_null("session")?.map(SessionId::from_bytes),
        class: columns.text_or_null("class")?,
        address: columns.text_or_null("address")?,
        reason: columns.text_or_null("reason")?,
        detail: columns.text_or_null("detail")?,
    })
}
