//! What must be counted exactly: attempts, codes, things that happen once. Each is one conditional write, so that a
//! hundred parallel guesses cost a hundred debits or are refused, and never more than the budget (L1, P1, P4).

use std::num::NonZeroU8;

use sqlx::Row as _;

use super::rows::{integer, seconds};
use super::{Store, StoreFault, Tx, events, sessions};
use crate::base::{FlowId, SessionId, UnixTime, UserId};
use crate::credential::TotpSecret;
use crate::directory::TotpPeriod;
use crate::machine::random;
use crate::session::EndReason;
use crate::telemetry::{EventKind, SecurityEvent};

/// Whether something is spent until a time or longer.
const SPENT_UNTIL: &str = "SELECT 1 FROM spent WHERE id = $1 AND expires_at >= $2";

/// What is added to the count of a name that is locked: it has no column of its own for that, and no limit comes near it.
const SHADOW_LOCKED: i64 = 1000;

/// How many invented names are counted at once (E5, D5). Beyond that the one that was tried longest ago is forgotten.
const SHADOWS_MAX: i64 = 100_000;

/// Whose attempts are counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BudgetKey {
    /// A user's.
    User(UserId),
    /// Those on a name nobody has: a keyed hash of it, so that such names lock like real ones (R59, E5).
    Shadow([u8; 16]),
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Debit {
    /// One was taken.
    Taken {
        /// Whether it was the last one: the account is locked from here on, unless this one is given back.
        locks: bool,
    },
    /// The account is locked (R52).
    Locked,
}

impl Store {
    /// Takes one attempt, or says that the account is locked. What was taken stays taken over a crash.
    ///
    /// This is the one place where an account becomes locked, and what it writes is all that anybody asks for. *Why not
    /// whether the count has reached the limit?* The limit is a setting. Who raised it would unlock, without a word in the
    /// log, whom R55 and R56 leave two ways out; who lowered it would lock people of whom no log says why.
    pub async fn debit(&self, key: BudgetKey, limit: NonZeroU8, now: UnixTime) -> Result<Debit, StoreFault> {
        let mut tx = self.begin().await?;
        let row = match key {
            BudgetKey::User(user) => {
                sqlx::query(
                    "INSERT INTO attempts (account, used, locked_at) \
                     VALUES ($1, 1, CASE WHEN $2 <= 1 THEN $3 ELSE NULL END) \
                     ON CONFLICT (account) DO UPDATE SET used = attempts.used + 1, \
                     locked_at = CASE WHEN attempts.used + 1 >= $2 THEN $3 ELSE NULL END \
                     WHERE attempts.locked_at IS NULL RETURNING locked_at IS NOT NULL AS locks",
                )
                .bind(user.as_bytes().to_vec())
                .bind(i64::from(limit.get()))
                .bind(seconds(now))
                .fetch_optional(&mut *tx)
                .await?
            }
            BudgetKey::Shadow(subject) => {
                let row = sqlx::query(
                    "INSERT INTO shadow_attempts (subject, used, touched_at) \
                     VALUES ($1, CASE WHEN $2 <= 1 THEN 1 + $4 ELSE 1 END, $3) \
                     ON CONFLICT (subject) DO UPDATE SET touched_at = $3, used = shadow_attempts.used + 1 + \
                     CASE WHEN shadow_attempts.used + 1 >= $2 THEN $4 ELSE 0 END \
                     WHERE shadow_attempts.used < $4 RETURNING used >= $4 AS locks",
                )
                .bind(subject.to_vec())
                .bind(i64::from(limit.get()))
                .bind(seconds(now))
                .bind(SHADOW_LOCKED)
                .fetch_optional(&mut *tx)
                .await?;
                forget_oldest_shadow(&mut tx).await?;
                row
            }
        };
        tx.commit().await?;
        match row {
            None => Ok(Debit::Locked),
            Some(row) => {
                let locks: i64 = row.try_get("locks").map_err(|_| StoreFault::Corrupt("attempts"))?;
                Ok(Debit::Taken { locks: locks != 0 })
            }
        }
    }

    /// Whether it is locked. A look: only a debit is a promise.
    pub async fn is_locked(&self, key: BudgetKey) -> Result<bool, StoreFault> {
        let query = match key {
            BudgetKey::User(user) => {
                sqlx::query_scalar("SELECT 1 FROM attempts WHERE account = $1 AND locked_at IS NOT NULL")
                    .bind(user.as_bytes().to_vec())
            }
            BudgetKey::Shadow(subject) => {
                sqlx::query_scalar("SELECT 1 FROM shadow_attempts WHERE subject = $1 AND used >= $2")
                    .bind(subject.to_vec())
                    .bind(SHADOW_LOCKED)
            }
        };
        let found: Option<i64> = self.reading(query.fetch_optional(&self.read)).await?;
        Ok(found.is_some())
    }

    /// Gives back one attempt: the password was right, so it was no failure. Not a reset (R58). `locks`: what its debit
    /// said; a lock that another attempt made stays.
    pub async fn refund(&self, key: BudgetKey, locks: bool) -> Result<(), StoreFault> {
        let query = match key {
            BudgetKey::User(user) => sqlx::query(
                "UPDATE attempts SET used = used - 1, locked_at = CASE WHEN $2 THEN NULL ELSE locked_at END \
                 WHERE account = $1 AND used > 0",
            )
            .bind(user.as_bytes().to_vec())
            .bind(locks),
            BudgetKey::Shadow(subject) => sqlx::query(
                "UPDATE shadow_attempts SET used = used - 1 - CASE WHEN $2 AND used >= $3 THEN $3 ELSE 0 END \
                 WHERE subject = $1 AND used > 0",
            )
            .bind(subject.to_vec())
            .bind(locks)
            .bind(SHADOW_LOCKED),
        };
        self.execute(query).await.map(drop)
    }

    /// Gives all attempts back: a log-in was complete, for a kind of user that has no second factor (R58).
    pub async fn clear(&self, user: UserId) -> Result<(), StoreFault> {
        let mut tx = self.begin().await?;
        clear(&mut tx, user).await?;
        Ok(tx.commit().await?)
    }

    /// Uses up a code's step, once, and gives all attempts back. `false`: this step or a later one was used
    /// before, or the user has no authenticator (SEC-R20, P1, P2).
    pub async fn accept_totp(&self, user: UserId, step: u64) -> Result<bool, StoreFault> {
        let mut tx = self.begin().await?;
        let used = sqlx::query("UPDATE totp SET last_step = $2 WHERE account = $1 AND last_step < $2")
            .bind(user.as_bytes().to_vec())
            .bind(integer(step))
            .execute(&mut *tx)
            .await?;
        if used.rows_affected() == 0 {
            return Ok(false);
        }
        clear(&mut tx, user).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Keeps a validated authenticator, and gives all attempts back. `false`: there is one already, the user's
    /// credentials changed since the flow began, or the account is locked: setting up unlocks nothing (R52).
    pub async fn enrol_totp(
        &self,
        user: UserId,
        flow_epoch: u64,
        secret: &TotpSecret,
        period: TotpPeriod,
        step: u64,
        event: &SecurityEvent,
    ) -> Result<bool, StoreFault> {
        let sealed = self.totp_key.seal(random()?, user.as_bytes(), secret.as_bytes())?;
        let mut tx = self.begin().await?;
        let kept = sqlx::query(
            "INSERT INTO totp (account, secret, period, last_step, enrolled_at) \
             SELECT id, $3, $4, $5, $6 FROM account WHERE id = $1 AND flow_epoch = $2 AND active = 1 \
             AND NOT EXISTS (SELECT 1 FROM attempts WHERE account = $1 AND locked_at IS NOT NULL) \
             ON CONFLICT (account) DO NOTHING",
        )
        .bind(user.as_bytes().to_vec())
        .bind(integer(flow_epoch))
        .bind(sealed)
        .bind(i64::from(period.seconds()))
        .bind(integer(step))
        .bind(seconds(event.at))
        .execute(&mut *tx)
        .await?;
        if kept.rows_affected() == 0 {
            return Ok(false);
        }
        clear(&mut tx, user).await?;
        events::append(&mut tx, event).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Puts a validated authenticator in the place of the user's current one, and ends every session but `kept`
    /// and every log-in under way (S11). `false`: there is none to replace, or the user's credentials changed
    /// since `flow_epoch` was read, which they do here: nothing is replaced twice by one form.
    #[expect(clippy::too_many_arguments, reason = "one row, its condition and what the log says of it")]
    pub async fn replace_totp(
        &self,
        user: UserId,
        kept: SessionId,
        flow_epoch: u64,
        secret: &TotpSecret,
        period: TotpPeriod,
        step: u64,
        event: &SecurityEvent,
    ) -> Result<bool, StoreFault> {
        let sealed = self.totp_key.seal(random()?, user.as_bytes(), secret.as_bytes())?;
        let mut tx = self.begin().await?;
        let replaced = sqlx::query(
            "UPDATE totp SET secret = $3, period = $4, last_step = $5, enrolled_at = $6 WHERE account = $1 \
             AND EXISTS (SELECT 1 FROM account WHERE id = $1 AND flow_epoch = $2 AND active = 1)",
        )
        .bind(user.as_bytes().to_vec())
        .bind(integer(flow_epoch))
        .bind(sealed)
        .bind(i64::from(period.seconds()))
        .bind(integer(step))
        .bind(seconds(event.at))
        .execute(&mut *tx)
        .await?;
        if replaced.rows_affected() == 0 {
            return Ok(false);
        }
        events::append(&mut tx, event).await?;
        let ended =
            SecurityEvent { kind: EventKind::SessionEnded, reason: Some("replaced_factor"), ..event.clone() };
        sessions::end_others(&mut tx, user, kept, EndReason::Revoked, &ended).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Marks something as used that may be used once. `false`: it was used before.
    pub async fn spend(&self, flow: FlowId, expires_at: UnixTime) -> Result<bool, StoreFault> {
        let query = sqlx::query("INSERT INTO spent (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING");
        let spent = self.execute(query.bind(flow.as_bytes().to_vec()).bind(seconds(expires_at))).await?;
        Ok(spent == 1)
    }

    /// Notes that something is spent until then, also where it was for less.
    pub async fn spend_until(&self, what: FlowId, until: UnixTime) -> Result<(), StoreFault> {
        let query = sqlx::query(
            "INSERT INTO spent (id, expires_at) VALUES ($1, $2) \
             ON CONFLICT (id) DO UPDATE SET expires_at = max(spent.expires_at, $2)",
        );
        self.execute(query.bind(what.as_bytes().to_vec()).bind(seconds(until))).await.map(drop)
    }

    /// Whether something is spent until then or longer.
    pub async fn is_spent_until(&self, what: FlowId, until: UnixTime) -> Result<bool, StoreFault> {
        let query = sqlx::query_scalar(SPENT_UNTIL).bind(what.as_bytes().to_vec()).bind(seconds(until));
        let found: Option<i64> = self.reading(query.fetch_optional(&self.read)).await?;
        Ok(found.is_some())
    }
}

/// [`Store::is_spent_until`], for who writes in the same step.
pub(super) async fn is_spent_until(tx: &mut Tx, what: FlowId, until: UnixTime) -> Result<bool, StoreFault> {
    let query = sqlx::query_scalar(SPENT_UNTIL).bind(what.as_bytes().to_vec()).bind(seconds(until));
    let found: Option<i64> = query.fetch_optional(&mut **tx).await?;
    Ok(found.is_some())
}

/// Forgets a user's failures.
pub(super) async fn clear(tx: &mut Tx, user: UserId) -> Result<u64, StoreFault> {
    let cleared = sqlx::query("UPDATE attempts SET used = 0, locked_at = NULL WHERE account = $1 AND (used > 0 OR locked_at IS NOT NULL)")
        .bind(user.as_bytes().to_vec())
        .execute(&mut **tx)
        .await?;
    Ok(cleared.rows_affected())
}

/// Keeps the shadow budgets bounded.
async fn forget_oldest_shadow(tx: &mut Tx) -> Result<(), StoreFault> {
    sqlx::query(
        "DELETE FROM shadow_attempts WHERE subject IN (SELECT subject FROM shadow_attempts ORDER BY touched_at \
         LIMIT max(0, (SELECT count(*) FROM shadow_attempts) - $1))",
    )
    .bind(SHADOWS_MAX)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
