//! What a session keeps of the provider that it came from: so that a log-out there ends it here, and the other way round.
//!
//! It is written in the session's own commit, and an ID token is forgotten a day after the session's end: until then the
//! provider may have to be told again that it ended (D19).

use super::rows::{Columns, integer, seconds, to_json};
use super::{Store, StoreFault, Tx};
use crate::base::{FlowId, SealKey, SessionId, TenantId, UnixTime, UserId};
use crate::machine::random;
use crate::sso::{Audience, IdTokenHint, Issuer, Proof, Subject};

/// How long a provider is told again that a session ended, and for as long its ID token is kept (D19).
const RETRY_SECONDS: u64 = 24 * 3600;

/// A session's part of the session at its provider.
#[derive(Clone, Debug)]
pub struct ProviderSessionRow {
    /// Whose provider it is.
    pub audience: Audience,
    /// Who it is.
    pub issuer: Issuer,
    /// Who the person is there.
    pub subject: Subject,
    /// What the provider calls its own session (`sid`), where it says so.
    pub sid: Option<String>,
    /// To be shown when the session there is to end.
    pub id_token: Option<IdTokenHint>,
    /// The ids of the suite's modules that the person may open; none at a tenant's own provider.
    pub modules: Vec<String>,
    /// Not kept: what is spent, until when at least, if the provider has ended it before it began here.
    pub endings: Vec<(FlowId, UnixTime)>,
}

impl ProviderSessionRow {
    /// What is kept of what a provider proved.
    pub fn of(proof: &Proof, endings: Vec<(FlowId, UnixTime)>) -> Self {
        Self {
            audience: proof.audience(),
            issuer: proof.issuer().clone(),
            subject: proof.subject().clone(),
            sid: proof.sid().map(str::to_owned),
            id_token: proof.hint().map(|hint| IdTokenHint::new(hint.to_owned())),
            modules: proof.modules().to_vec(),
            endings,
        }
    }
}

/// Which of a provider's sessions ended there.
#[derive(Clone, Copy, Debug)]
pub enum ProviderSession<'a> {
    /// The one of that name.
    Sid(&'a str),
    /// All of this person.
    Subject(&'a Subject),
}

/// A live session that a provider began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionOfProvider {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// Of which tenant.
    pub tenant: TenantId,
}

/// A log-out that a provider has not heard of yet.
#[derive(Clone, Debug)]
pub struct QueuedLogout {
    /// The session that ended here.
    pub session: SessionId,
    /// Whose tenant's it was.
    pub tenant: TenantId,
    /// What is known of the one there.
    pub provider: ProviderSessionRow,
    /// When it ended here.
    pub queued_at: UnixTime,
    /// How often the provider was told in vain.
    pub attempts: u64,
}

impl Store {
    /// The live sessions that came from a provider's session or person: of one tenant's own provider, or with `None`
    /// of the suite. An issuer that serves several tenants ends sessions of the one whose client it speaks to.
    pub async fn provider_sessions(
        &self,
        tenant: Option<TenantId>,
        issuer: &Issuer,
        who: ProviderSession<'_>,
    ) -> Result<Vec<SessionOfProvider>, StoreFault> {
        let audience = if tenant.is_some() { Audience::Tenant } else { Audience::Suite };
        let (sid, subject) = match who {
            ProviderSession::Sid(sid) => (Some(sid), None),
            ProviderSession::Subject(subject) => (None, Some(subject.as_str())),
        };
        let query = sqlx::query(
            "SELECT session.account, session.id, session.tenant FROM provider_session \
             JOIN session ON session.id = provider_session.session \
             WHERE provider_session.issuer = $1 AND (provider_session.sid = $2 OR provider_session.subject = $3) \
             AND provider_session.audience = $4 AND ($5 IS NULL OR session.tenant = $5) \
             AND session.ended_at IS NULL ORDER BY session.started_at",
        )
        .bind(issuer.as_str())
        .bind(sid)
        .bind(subject)
        .bind(audience.name())
        .bind(tenant.map(|tenant| tenant.as_bytes().to_vec()));
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { row, what: "session" };
                Ok(SessionOfProvider {
                    user: UserId::from_bytes(columns.array("account")?),
                    session: SessionId::from_bytes(columns.array("id")?),
                    tenant: TenantId::from_bytes(columns.array("tenant")?),
                })
            })
            .collect()
    }

    /// What a session, ended or not, keeps of the one at its provider. `None`: it came from none.
    pub async fn provider_session(&self, session: SessionId) -> Result<Option<ProviderSessionRow>, StoreFault> {
        let query = sqlx::query("SELECT * FROM provider_session WHERE session = $1");
        let query = query.bind(session.as_bytes().to_vec());
        let row = self.reading(query.fetch_optional(&self.read)).await?;
        row.map(|row| provider_session(Columns { row: &row, what: "provider_session" }, &self.id_token_key))
            .transpose()
    }

    /// Remembers that the provider of a session that ended is still to be told. `false`: there is nothing to tell it
    /// with, or it is remembered already.
    pub async fn queue_provider_logout(&self, session: SessionId, now: UnixTime) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let queued = sqlx::query(
            "INSERT INTO provider_logout (session, queued_at, due_at, attempts) SELECT session, $2, $2, 0 \
             FROM provider_session WHERE session = $1 AND id_token IS NOT NULL ON CONFLICT (session) DO NOTHING",
        )
        .bind(session.as_bytes().to_vec())
        .bind(seconds(now))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(queued.rows_affected() == 1)
    }

    /// Log-outs that are to be told now, the longest due first, at most `most`.
    pub async fn due_provider_logouts(&self, now: UnixTime, most: u32) -> Result<Vec<QueuedLogout>, StoreFault> {
        let query = sqlx::query(
            "SELECT provider_logout.queued_at, provider_logout.attempts, provider_session.*, session.tenant \
             FROM provider_logout JOIN provider_session ON provider_session.session = provider_logout.session \
             JOIN session ON session.id = provider_logout.session \
             WHERE provider_logout.due_at <= $1 ORDER BY provider_logout.due_at LIMIT $2",
        );
        let query = query.bind(seconds(now)).bind(i64::from(most));
        let rows = self.reading(query.fetch_all(&self.read)).await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { row, what: "provider_logout" };
                Ok(QueuedLogout {
                    session: SessionId::from_bytes(columns.array("session")?),
                    tenant: TenantId::from_bytes(columns.array("tenant")?),
                    provider: provider_session(columns, &self.id_token_key)?,
                    queued_at: columns.time("queued_at")?,
                    attempts: columns.number("attempts")?,
                })
            })
            .collect()
    }

    /// The provider could not be told; it is tried again at `again_at`.
    pub async fn provider_logout_failed(&self, session: SessionId, again_at: UnixTime) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE provider_logout SET due_at = $2, attempts = attempts + 1 WHERE session = $1")
            .bind(session.as_bytes().to_vec())
            .bind(seconds(again_at))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The provider was told, or nothing will come of telling it.
    pub async fn provider_logout_done(&self, session: SessionId) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM provider_logout WHERE session = $1")
            .bind(session.as_bytes().to_vec())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// Writes a session's part, in the transaction that begins the session.
pub(super) async fn begin(
    tx: &mut Tx,
    session: SessionId,
    row: &ProviderSessionRow,
    key: &SealKey,
) -> Result<(), StoreFault> {
    let sealed = match &row.id_token {
        Some(token) => Some(key.seal(random()?, session.as_bytes(), token.reveal().as_bytes())?),
        None => None,
    };
    sqlx::query(
        "INSERT INTO provider_session (session, audience, issuer, subject, sid, id_token, modules) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(session.as_bytes().to_vec())
    .bind(row.audience.name())
    .bind(row.issuer.as_str())
    .bind(row.subject.as_str())
    .bind(row.sid.as_deref())
    .bind(sealed)
    .bind((!row.modules.is_empty()).then(|| to_json(&row.modules)).transpose()?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives up on log-outs that a provider has not heard of for a day, and forgets ID tokens that nobody shows any more.
/// What is left goes with the session.
pub(super) async fn prune(tx: &mut Tx, now: UnixTime) -> Result<(), StoreFault> {
    let before = integer(now.seconds().saturating_sub(RETRY_SECONDS));
    for statement in [
        "DELETE FROM provider_logout WHERE queued_at < $1",
        "UPDATE provider_session SET id_token = NULL WHERE id_token IS NOT NULL \
         AND session IN (SELECT id FROM session WHERE ended_at < $1) \
         AND session NOT IN (SELECT session FROM provider_logout)",
    ] {
        sqlx::query(statement).bind(before).execute(&mut **tx).await?;
    }
    Ok(())
}

fn provider_session(columns: Columns<'_>, key: &SealKey) -> Result<ProviderSessionRow, StoreFault> {
    let id_token = match columns.bytes_or_null("id_token")? {
        None => None,
        Some(sealed) => {
            let token = key.open(&columns.bytes("session")?, &sealed)?;
            Some(IdTokenHint::new(String::from_utf8(token).map_err(|_| columns.corrupt())?))
        }
    };
    Ok(ProviderSessionRow {
        endings: Vec::new(),
        audience: columns.named("audience", Audience::from_name)?,
        issuer: columns.issuer("issuer")?,
        subject: columns.named("subject", Subject::parse)?,
        sid: columns.text_or_null("sid")?,
        id_token,
        modules: match columns.text_or_null("modules")? {
            None => Vec::new(),
            Some(_) => columns.json("modules")?,
        },
    })
}
