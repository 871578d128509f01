//! A store of an earlier program, brought up to date: whole, or not at all.

use std::borrow::Cow;

use sqlx::Row as _;
use sqlx::migrate::Migrator;

use super::*;
use crate::store::files::create_private;

/// A store as the program wrote it whose newest migration was `version`.
async fn of_version(path: &Path, version: i64) -> SqlitePool {
    create_private(path, None).unwrap();
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let migrations = MIGRATIONS.iter().filter(|migration| migration.version <= version).cloned().collect();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }.run(&pool).await.unwrap();
    pool
}

/// Every row of every table but the migrations' own, in order.
async fn everything(pool: &SqlitePool) -> Vec<(String, Vec<String>)> {
    let tables = "SELECT name, (SELECT group_concat('quote(' || name || ')', '|| '','' ||') \
                  FROM pragma_table_info(sqlite_master.name)) FROM sqlite_master \
                  WHERE type = 'table' AND name NOT LIKE '_sqlx%' ORDER BY name";
    let tables: Vec<(String, String)> = sqlx::query_as(tables).fetch_all(pool).await.unwrap();
    let mut everything = Vec::new();
    for (table, columns) in tables {
        let query = sqlx::AssertSqlSafe(format!("SELECT {columns} FROM {table} ORDER BY rowid"));
        let rows = sqlx::query(query).fetch_all(pool).await.unwrap();
        everything.push((table, rows.iter().map(|row| row.get(0)).collect()));
    }
    everything
}

/// What a store of the fourth schema may hold of sessions: one alive, one that ended and whose provider is still to be
/// told; and a log and a list of endings whose newest entries are gone or far on.
const OF_THE_FOURTH: &str = "\
    INSERT INTO tenant (id, slug, name, zone, sso, overrides) \
    VALUES (x'04040404040404040404040404040404', 'acme', 'Acme', 'a.example', '\"off\"', '{}'); \
    INSERT INTO account (id, tenant, username, display_name, kind, level, groups, active, sso_selected, epoch, flow_epoch) \
    VALUES (x'01010101010101010101010101010101', x'04040404040404040404040404040404', 'alice@acme.example', 'Alice', \
    'regular', 'user', '[]', 1, 0, 0, 0); \
    INSERT INTO session VALUES (x'02020202020202020202020202020202', \
    x'0202020202020202020202020202020202020202020202020202020202020202', x'02020202020202020202020202020202', \
    x'01010101010101010101010101010101', x'04040404040404040404040404040404', 'a.example', 0, 'web', 'sso', \
    '[]', 1, 1, 1, 60, 60, 'Firefox', '192.0.2.1', NULL, NULL); \
    INSERT INTO session VALUES (x'03030303030303030303030303030303', \
    x'0303030303030303030303030303030303030303030303030303030303030303', x'03030303030303030303030303030303', \
    x'01010101010101010101010101010101', x'04040404040404040404040404040404', 'a.example', 0, 'mobile', 'sso', \
    '[]', 1, 1, 1, 60, 60, '', '', 5, 'logged_out'); \
    INSERT INTO provider_session (session, audience, issuer, subject, sid, id_token) \
    SELECT id, 'tenant', 'https://idp.example', 'al', hex(id), x'00' FROM session; \
    INSERT INTO provider_logout VALUES (x'03030303030303030303030303030303', 5, 6, 1); \
    INSERT INTO security_event (at, kind, actor, account, session) \
    VALUES (1, 'login_succeeded', 'user', x'01010101010101010101010101010101', x'02020202020202020202020202020202'); \
    INSERT INTO security_event (seq, at, kind, actor) VALUES (70, 1, 'user_created', 'operator'); \
    INSERT INTO revocation (seq, account, session, epoch, reason, at) VALUES \
    (7, x'01010101010101010101010101010101', x'03030303030303030303030303030303', 0, 'logged_out', 5), \
    (90, x'01010101010101010101010101010101', x'03030303030303030303030303030303', 0, 'logged_out', 5); \
    DELETE FROM revocation WHERE seq = 90";

#[tokio::test]
async fn a_store_of_the_fourth_schema_keeps_every_row_and_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let pool = of_version(&path, 4).await;
    sqlx::raw_sql(OF_THE_FOURTH).execute(&pool).await.unwrap();
    let before = everything(&pool).await;
    pool.close().await;

    let store = Store::open(&path, &master()).await.unwrap();
    let mut after = everything(&store.read).await;
    for (table, rows) in &mut after {
        // The only thing that opening adds.
        if table == "meta" {
            rows.clear();
        }
    }
    assert_eq!(before, after);
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_all(&store.read).await.unwrap();
    assert!(dangling.is_empty());
    let live = store.live_sessions().await.unwrap();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].record.id, SessionId::from_bytes([2; 16]));

    // The log goes on where it was, and is still only appended to.
    let alice = UserId::from_bytes([1; 16]);
    store.end_user(alice, EndReason::Revoked, &event(EventKind::SessionEnded)).await.unwrap();
    assert_eq!(store.events(None, 1).await.unwrap()[0].seq, 71);
    assert_eq!(store.last_revocation().await.unwrap(), 91);
    for statement in ["DELETE FROM security_event", "UPDATE security_event SET at = 0"] {
        let told = sqlx::query(statement).execute(&store.write).await.unwrap_err().to_string();
        assert!(told.contains("append-only"), "{told}");
    }
    // A flow that ended in a session before has ended still.
    let again = SessionRecord {
        user: alice,
        tenant: ACME,
        epoch: 1,
        flow: FlowId::from_bytes([3; 16]),
        ..samples::record("a.example")
    };
    let begun = store.begin_session(&again, 1, &[], None, &event(EventKind::LoginSucceeded)).await.unwrap();
    assert_eq!(begun, Begin::FlowSpent);
    // What goes with a session still does.
    sqlx::query("DELETE FROM session").execute(&store.write).await.unwrap();
    let left = everything(&store.read).await;
    let empty = |name| left.iter().any(|(table, rows)| table == name && rows.is_empty());
    assert!(empty("session") && empty("provider_session") && empty("provider_logout"));
}

#[tokio::test]
async fn a_migration_that_breaks_off_was_never_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let pool = of_version(&path, 4).await;
    sqlx::raw_sql(OF_THE_FOURTH).execute(&pool).await.unwrap();
    // What the fifth does last fails for want of it.
    sqlx::query("DROP INDEX security_event_account").execute(&pool).await.unwrap();
    let schema = "SELECT type, name, sql FROM sqlite_master ORDER BY name";
    let before: Vec<(String, String, Option<String>)> = sqlx::query_as(schema).fetch_all(&pool).await.unwrap();
    let rows_before = everything(&pool).await;
    pool.close().await;

    assert!(Store::open(&path, &master()).await.is_err());
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    let after: Vec<(String, String, Option<String>)> = sqlx::query_as(schema).fetch_all(&pool).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(rows_before, everything(&pool).await);
    sqlx::query("CREATE INDEX security_event_account ON security_event (account)").execute(&pool).await.unwrap();
    pool.close().await;
    let store = Store::open(&path, &master()).await.unwrap();
    assert_eq!(store.live_sessions().await.unwrap().len(), 1);
}
