//! People who are logged in, written into a store as rows: a million real log-ins would take a day of hashing.
//!
//! Ids and tokens are spread as random ones are, so that the store's indexes are read in no order, as they would be.

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use zonegate::base::{SessionToken, UnixTime};

use super::HOST;

/// How many rows one statement writes.
const BATCH: u64 = 20_000;

/// Person `$3 + key`, whose session has the digest `value`.
const ACCOUNTS: &str = "INSERT INTO account (id, tenant, username, email, display_name, kind, level, groups, active, \
     sso_selected, start_page, epoch, flow_epoch) \
     SELECT unhex(substr(value, 1, 32)), $2, 'person' || ($3 + key) || '@bench.example', \
     'person' || ($3 + key) || '@bench.example', 'Person ' || ($3 + key), 'regular', 'user', '[\"staff\",\"dispatch\"]', \
     1, 0, NULL, 0, 0 FROM json_each($1)";
const SESSIONS: &str = "INSERT INTO session (id, token, flow, account, tenant, zone, epoch, class, method, factors, \
     authenticated_at, started_at, last_seen, idle_max, absolute_max, device_label, device_address) \
     SELECT unhex(substr(value, 33)), unhex(value), unhex(substr(value, 17, 32)), unhex(substr(value, 1, 32)), $2, $3, \
     0, 'web', 'local', '[\"password\",\"totp\"]', $4, $4, $4, 28800, 86400, 'Firefox on Linux', '192.0.2.1' \
     FROM json_each($1)";

/// The token of person `serial`.
pub(crate) fn token(serial: u64) -> SessionToken {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&serial.to_le_bytes());
    SessionToken::from_bytes(bytes)
}

/// Writes `count` people of the store's only tenant, each with one session that began at `now`.
pub(crate) async fn fill(store: &Path, count: u64, now: UnixTime) {
    // What is lost when the machine stops here is filled anew.
    let options = SqliteConnectOptions::new().filename(store).synchronous(SqliteSynchronous::Off);
    let options = options.journal_mode(SqliteJournalMode::Wal).pragma("cache_size", "-1000000");
    let mut connection = options.connect().await.expect("the store");
    let tenant: Vec<u8> =
        sqlx::query_scalar("SELECT id FROM tenant").fetch_one(&mut connection).await.expect("the tenant");
    let now = i64::try_from(now.seconds()).expect("a time of this century");
    for first in (0..count).step_by(BATCH as usize) {
        let digests = (first..count.min(first + BATCH)).map(|serial| hex(token(serial).digest().as_bytes()));
        let digests = format!("[{}]", digests.collect::<Vec<_>>().join(","));
        let first = i64::try_from(first).expect("a number of people");
        let people = sqlx::query(ACCOUNTS).bind(&digests).bind(&tenant).bind(first);
        people.execute(&mut connection).await.expect("people");
        let sessions = sqlx::query(SESSIONS).bind(&digests).bind(&tenant).bind(HOST).bind(now);
        sessions.execute(&mut connection).await.expect("their sessions");
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.expect("all in one file");
}

/// A text of JSON.
fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}
