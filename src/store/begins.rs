//! Log-ins: each its own, and those that come at once in one commit.
//!
//! A log-in is acknowledged when the disk has it, and a disk takes sixty-four as fast as one. So whoever has a session to
//! begin puts it into a queue, and whoever gets the turn writes all that wait in one transaction. Somebody who is alone
//! waits for nobody.
//!
//! *Why does no task of its own write them?* A log-in that is alone, as most are, would wait for one more to wake up.
//!
//! Nothing is acknowledged before the commit. When it fails, everybody of the transaction is told so. When one of them
//! cannot be written, that one is told, and the others begin anew without it: nobody's log-in is another's to spoil.

use std::sync::{Mutex, PoisonError};

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use tokio::sync::oneshot;

use super::provider_sessions::ProviderSessionRow;
use super::rows::{integer, is_null_violation, is_unique_violation, known_seconds, seconds, to_json};
use super::sessions::{Ending, end_one};
use super::{Store, StoreFault, Tx, events, ledger, provider_sessions, transaction};
use crate::session::SessionRecord;
use crate::telemetry::SecurityEvent;

/// How many log-ins share a commit: other writers wait as long.
const TOGETHER: usize = 64;

/// Whether a session began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// It did, and it is committed.
    Begun,
    /// This flow ended in a session before.
    FlowSpent,
    /// The user's credentials changed, or the user was deactivated, or logged out at their provider, since the flow began.
    EpochStale,
}

/// The log-ins that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct Begins {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by whoever writes.
    turn: tokio::sync::Mutex<()>,
}

/// A session that is to begin.
#[derive(Debug)]
struct Waiting {
    record: SessionRecord,
    flow_epoch: u64,
    leaving: Vec<Ending>,
    provider: Option<ProviderSessionRow>,
    event: SecurityEvent,
    answer: oneshot::Sender<Result<Begin, StoreFault>>,
}

/// Why none of some log-ins was written.
enum Failed {
    /// For a reason that is everybody's.
    All(StoreFault),
    /// For one's own: its place among them.
    One(usize, StoreFault),
}

impl Begins {
    fn add(&self, waiting: Waiting) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(waiting);
    }

    /// The next to be written, in the order in which they came.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let together = waiting.len().min(TOGETHER);
        waiting.drain(..together).collect()
    }
}

impl Waiting {
    /// Whether one statement writes all of it.
    const fn is_plain(&self) -> bool {
        self.leaving.is_empty() && self.provider.is_none()
    }

    /// What writes the session and its line in the log, and is refused if it may not begin: [`outcome`] knows why.
    ///
    /// *Why is it refused and does not just write nothing?* What is written through a view is not counted. A row that it
    /// returned would tell, but wake us in the middle of the commit.
    fn insert(&self) -> Result<Query<'_, Sqlite, SqliteArguments>, StoreFault> {
        let Self { record, flow_epoch, leaving: _, provider: _, event, answer: _ } = self;
        let query = sqlx::query(
            "INSERT INTO log_in (line_at, line_kind, line_actor, line_request, line_zone, line_tenant, line_account, \
             line_session, line_class, line_address, line_reason, line_detail, id, token, flow, account, tenant, zone, \
             epoch, class, method, factors, authenticated_at, started_at, last_seen, idle_max, absolute_max, \
             device_label, device_address) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, account.id, account.tenant, $17, \
             account.epoch, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28 FROM (SELECT 1) LEFT JOIN account \
             ON account.id = $16 AND account.epoch = $18 AND account.flow_epoch = $29 AND account.active = 1",
        );
        Ok(events::bind(query, event)
            .bind(record.id.as_bytes().to_vec())
            .bind(record.token.as_bytes().to_vec())
            .bind(record.flow.as_bytes().to_vec())
            .bind(record.user.as_bytes().to_vec())
            .bind(record.zone.as_str())
            .bind(integer(record.epoch))
            .bind(record.class.name())
            .bind(record.method.name())
            .bind(to_json(&record.factors)?)
            .bind(known_seconds(record.authenticated_at))
            .bind(seconds(record.started_at))
            .bind(seconds(record.last_seen))
            .bind(i64::from(record.lifetimes.idle_max.seconds()))
            .bind(i64::from(record.lifetimes.absolute_max.seconds()))
            .bind(&record.device.label)
            .bind(&record.device.address)
            .bind(integer(*flow_epoch)))
    }
}

impl Store {
    /// Begins a session and ends the `leaving` ones of the same user, each with its own event, in one step. One that
    /// came from a provider keeps what is known of the session there.
    ///
    /// The record's epoch and the flow's must still be the user's, and the user active; the flow must not have
    /// ended in a session before.
    ///
    /// Whoever drops this before its end does not know whether the session began.
    pub async fn begin_session(
        &self,
        record: &SessionRecord,
        flow_epoch: u64,
        leaving: &[Ending],
        provider: Option<&ProviderSessionRow>,
        event: &SecurityEvent,
    ) -> Result<Begin, StoreFault> {
        let (answer, mut answered) = oneshot::channel();
        self.begins.add(Waiting {
            record: record.clone(),
            flow_epoch,
            leaving: leaving.to_vec(),
            provider: provider.cloned(),
            event: event.clone(),
            answer,
        });
        loop {
            let _turn = tokio::select! {
                biased;
                answer = &mut answered => return answer.unwrap_or_else(|_| Err(interrupted())),
                turn = self.begins.turn.lock() => turn,
            };
            // Whoever had the turn before has answered, or has not come to it.
            match answered.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => return Err(interrupted()),
                Err(oneshot::error::TryRecvError::Empty) => self.begin_all_to_the_end(self.begins.next()).await,
            }
        }
    }

    /// Writes log-ins and answers them, also when this is dropped: one that goes away takes no other along.
    async fn begin_all_to_the_end(&self, all: Vec<Waiting>) {
        if let [_] = &*all {
            return self.begin_all(all).await;
        }
        let store = self.clone();
        // Were it to panic, nobody would have been answered, and all would be told so.
        let _ = tokio::spawn(async move { store.begin_all(all).await }).await;
    }

    /// Writes log-ins and answers them.
    async fn begin_all(&self, mut all: Vec<Waiting>) {
        loop {
            // Of one that went away before it was written nothing is to be left.
            all.retain(|waiting| !waiting.answer.is_closed());
            if all.is_empty() {
                return;
            }
            match self.begin_together(&all).await {
                Ok(outcomes) => {
                    for (waiting, outcome) in all.drain(..).zip(outcomes) {
                        // Who hung up meanwhile needs no answer.
                        let _ = waiting.answer.send(Ok(outcome));
                    }
                }
                Err(Failed::One(at, fault)) => {
                    let _ = all.remove(at).answer.send(Err(fault));
                }
                Err(Failed::All(fault)) => {
                    for waiting in all.drain(..) {
                        let _ = waiting.answer.send(Err(fault.clone()));
                    }
                }
            }
        }
    }

    /// Writes log-ins in one commit, or none of them.
    async fn begin_together(&self, all: &[Waiting]) -> Result<Vec<Begin>, Failed> {
        if let [alone] = all
            && alone.is_plain()
        {
            let outcome = self.begin_plain(alone).await.map_err(|fault| Failed::One(0, fault))?;
            return Ok(vec![outcome]);
        }
        let mut tx = self.begin().await.map_err(Failed::All)?;
        let mut outcomes = Vec::with_capacity(all.len());
        for (at, waiting) in all.iter().enumerate() {
            outcomes.push(self.begin_one(&mut tx, waiting).await.map_err(|fault| Failed::One(at, fault))?);
        }
        if outcomes.contains(&Begin::Begun) {
            tx.commit().await.map_err(|error| Failed::All(error.into()))?;
        }
        Ok(outcomes)
    }

    /// Writes one that is alone, if it may begin, in one statement, which the engine commits by itself.
    async fn begin_plain(&self, alone: &Waiting) -> Result<Begin, StoreFault> {
        self.check_in_place()?;
        outcome(transaction::run_alone(&self.write, &self.meter, alone.insert()?, Some(&alone.event)).await)
    }

    /// Writes one, if it may begin; otherwise nothing.
    async fn begin_one(&self, tx: &mut Tx, waiting: &Waiting) -> Result<Begin, StoreFault> {
        let Waiting { record, flow_epoch: _, leaving, provider, event, answer: _ } = waiting;
        // In the same step: a provider that says so now finds either this session, or nobody who can begin it.
        for (mark, until) in provider.iter().flat_map(|provider| &provider.endings) {
            if ledger::is_spent_until(tx, *mark, *until).await? {
                return Ok(Begin::EpochStale);
            }
        }
        match outcome(waiting.insert()?.execute(&mut **tx).await)? {
            Begin::Begun => tx.tell(event),
            refused @ (Begin::FlowSpent | Begin::EpochStale) => return Ok(refused),
        }
        if let Some(provider) = provider {
            provider_sessions::begin(tx, record.id, provider, &self.id_token_key).await?;
        }
        for ending in leaving {
            if end_one(tx, record.user, ending.session, ending.reason, record.started_at).await? {
                events::append(tx, &ending.event).await?;
            }
        }
        Ok(Begin::Begun)
    }
}

/// What came of [`Waiting::insert`].
fn outcome<T>(written: Result<T, sqlx::Error>) -> Result<Begin, StoreFault> {
    match written {
        Ok(_) => Ok(Begin::Begun),
        // Only what is taken from the account can be nothing: there is none that is as it was.
        Err(error) if is_null_violation(&error) => Ok(Begin::EpochStale),
        // Ids are random: what is unique and was there before is the flow.
        Err(error) if is_unique_violation(&error) => Ok(Begin::FlowSpent),
        Err(error) => Err(error.into()),
    }
}

fn interrupted() -> StoreFault {
    StoreFault::Unavailable("interrupted: whether the session began, the store knows".into())
}
