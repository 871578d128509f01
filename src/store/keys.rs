//! Signing keys: the private part sealed under the master key, bound to its key id.

use super::rows::{Columns, seconds};
use super::{Store, StoreFault, events};
pub use crate::assertion::KeyAlgorithm;
use crate::base::UnixTime;
use crate::machine::random;
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

/// A signing key as the store keeps it, opened.
#[derive(Clone)]
pub struct SigningKeyRow {
    /// The JWK thumbprint (RFC 7638).
    pub kid: String,
    /// What it signs with.
    pub algorithm: KeyAlgorithm,
    /// The private key, PKCS #8 in DER.
    pub pkcs8: Vec<u8>,
    /// When it was made.
    pub created_at: UnixTime,
    /// Since when it signs no more.
    pub retired_at: Option<UnixTime>,
}

impl std::fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKeyRow({})", self.kid)
    }
}

impl Store {
    /// All signing keys, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreFault> {
        let rows = self
            .reading(sqlx::query("SELECT * FROM signing_key ORDER BY created_at DESC, kid").fetch_all(&self.lease))
            .await?;
        rows.iter()
            .map(|row| {
                let columns = Columns { row, what: "signing_key" };
                let kid = columns.text("kid")?;
                let pkcs8 = self.signing_key.open(kid.as_bytes(), &columns.bytes("secret")?)?;
                Ok(SigningKeyRow {
                    algorithm: columns.named("algorithm", KeyAlgorithm::from_name)?,
                    pkcs8,
                    created_at: columns.time("created_at")?,
                    retired_at: columns.time_or_null("retired_at")?,
                    kid,
                })
            })
            .collect()
    }

    /// Makes `key` the one that signs: all others are retired in the same step, and stay published until they
    /// are removed.
    pub async fn add_signing_key(&self, key: &SigningKeyRow, actor: Actor) -> Result<(), StoreFault> {
        let sealed = self.signing_key.seal(random()?, key.kid.as_bytes(), &key.pkcs8)?;
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE signing_key SET retired_at = $1 WHERE retired_at IS NULL")
            .bind(seconds(key.created_at))
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO signing_key (kid, algorithm, secret, created_at) VALUES ($1, $2, $3, $4)")
            .bind(&key.kid)
            .bind(key.algorithm.name())
            .bind(sealed)
            .bind(seconds(key.created_at))
            .execute(&mut *tx)
            .await?;
        let mut event = SecurityEvent::new(EventKind::KeyRotated, actor, key.created_at);
        event.detail = Some(Snippet::of(&key.kid));
        events::append(&mut tx, &event).await?;
        Ok(tx.commit().await?)
    }

    /// Removes keys that were retired before `before`: their overlap is over.
    pub async fn remove_signing_keys(&self, before: UnixTime) -> Result<u64, StoreFault> {
        let query = sqlx::query("DELETE FROM signing_key WHERE retired_at < $1");
        self.execute(query.bind(seconds(before))).await
    }
}
