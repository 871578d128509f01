//! Live sessions as a start reads them: a form of their own, and the same sessions.

use super::*;

impl World {
    /// What a start makes of the live sessions.
    async fn live(&self) -> Result<Vec<String>, String> {
        let live = self.store.live_sessions().await;
        let mut live: Vec<_> =
            live.map_err(|fault| fault.to_string())?.iter().map(|session| format!("{session:?}")).collect();
        live.sort();
        Ok(live)
    }

    /// What is made of the same sessions, read column by column once they have ended.
    async fn ended(&self) -> Result<Vec<String>, String> {
        self.by_hand("UPDATE session SET ended_at = 7, end_reason = 'idle'").await.unwrap();
        let ended = self.store.ended_sessions(UnixTime::from_seconds(0), 10_000).await;
        self.by_hand("UPDATE session SET ended_at = NULL, end_reason = NULL").await.unwrap();
        let mut ended: Vec<_> =
            ended.map_err(|fault| fault.to_string())?.iter().map(|ended| format!("{:?}", ended.session)).collect();
        ended.sort();
        Ok(ended)
    }

    /// So many people without a session that those who have one are looked up one by one.
    async fn with_a_crowd(&self) {
        self.by_hand(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20) \
             INSERT INTO account (id, tenant, username, email, display_name, kind, level, groups, active, \
             sso_selected, start_page, epoch, flow_epoch) SELECT randomblob(16), tenant, hex(randomblob(8)), NULL, 'U', kind, \
             level, groups, active, sso_selected, start_page, 0, 0 FROM account, n",
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn every_value_that_a_column_may_hold_comes_back_as_it_was() {
    let world = World::new().await;
    for number in [1, 2] {
        world.begin(world.epoch().await, number).await;
    }
    for crowd in [false, true] {
        if crowd {
            world.with_a_crowd().await;
        }
        for change in [
            "UPDATE session SET last_seen = last_seen",
            "UPDATE account SET email = 'alice@acme.example'",
            "UPDATE account SET email = NULL",
            "UPDATE account SET email = '', display_name = ''",
            "UPDATE session SET device_label = 'null', device_address = '],['",
            "UPDATE session SET device_label = 'a \"quoted\" \\ slash \\\\\" and ''s'",
            "UPDATE session SET device_label = 'line' || char(10) || char(13) || char(9) || char(31) || char(127)",
            "UPDATE account SET display_name = 'Ælfgifu 阿' || char(128512) || char(8232) || char(133)",
            "UPDATE session SET device_label = 'zero' || char(0) || 'zero' WHERE id = x'02020202020202020202020202020202'",
            "UPDATE account SET groups = '[]'",
            "UPDATE account SET groups = '[\"a,\\\"b\\\"\",\"Zürich\",\"\\u00fc\\n\"]'",
            "UPDATE session SET factors = '[]' WHERE id = x'01010101010101010101010101010101'",
            "UPDATE session SET zone = 'BÜCHER.example'",
            "UPDATE session SET epoch = 9223372036854775807, last_seen = 9223372036854775807, started_at = 0",
            "UPDATE session SET idle_max = 4294967295, absolute_max = 1, class = 'mobile', method = 'suite'",
            "UPDATE account SET epoch = 9223372036854775807, kind = 'dashboard'",
        ] {
            world.by_hand(change).await.unwrap();
            let live = world.live().await.unwrap();
            assert_eq!(live.len(), 2, "{change}");
            assert_eq!(live, world.ended().await.unwrap(), "{change}");
        }
    }
}

#[tokio::test]
async fn a_session_that_does_not_read_back_is_a_fault_whichever_column_it_is_and_never_a_default() {
    let damaged = Err("the store is damaged: session does not read back".to_owned());
    for crowd in [false, true] {
        for damage in [
            "UPDATE session SET id = NULL",
            "UPDATE session SET id = x'00'",
            "UPDATE session SET id = 7",
            "UPDATE session SET token = x'01020304050607080910111213141516'",
            "UPDATE session SET flow = x'010203040506070809101112131415161718'",
            "UPDATE session SET zone = 'no zone'",
            "UPDATE session SET zone = x'612e6578616d706c65'",
            "UPDATE session SET epoch = -1",
            "UPDATE session SET epoch = 1.5",
            "UPDATE session SET epoch = 1e300",
            "UPDATE session SET epoch = 'many'",
            "UPDATE session SET epoch = x'31'",
            "UPDATE session SET class = 'robot'",
            "UPDATE session SET class = ''",
            "UPDATE session SET method = 'LOCAL'",
            "UPDATE session SET factors = '[\"password\"'",
            "UPDATE session SET factors = '[\"nose\"]'",
            "UPDATE session SET idle_max = 0",
            "UPDATE session SET absolute_max = 4294967296",
            "UPDATE session SET device_label = x'00ff'",
            "UPDATE session SET device_address = CAST(x'41ff' AS TEXT)",
            // What bytes would be if they were read as JSON that is written in bytes: nothing, "A", 1.
            "UPDATE account SET email = x'00'",
            "UPDATE account SET email = x'1741'",
            "UPDATE session SET device_label = x'1741'",
            "UPDATE session SET last_seen = x'1331'",
            "UPDATE account SET display_name = CAST(x'ff41' AS TEXT)",
            "UPDATE account SET display_name = x'41'",
            "UPDATE account SET groups = '{}'",
            "UPDATE account SET kind = 'robot'",
            "UPDATE account SET epoch = -1",
            "UPDATE tenant SET slug = x'41'",
        ] {
            let world = World::new().await;
            world.begin(world.epoch().await, 1).await;
            if crowd {
                world.with_a_crowd().await;
            }
            world.by_hand(damage).await.unwrap();
            assert_eq!(world.live().await, damaged, "{damage}");
            assert_eq!(world.ended().await, damaged, "{damage}");
            // And the connection is as good as before.
            world.by_hand("DELETE FROM session").await.unwrap();
            assert_eq!(world.live().await, Ok(vec![]), "{damage}");
        }
    }
}

#[tokio::test]
async fn what_is_damaged_and_has_no_session_keeps_nobody_out() {
    let world = World::new().await;
    world.begin(world.epoch().await, 1).await;
    let bolt = tenant(TenantId::from_bytes([5; 16]), "bolt", &["bolt.example"]);
    world.store.create_tenant(&bolt, &event(EventKind::TenantChanged)).await.unwrap();
    for name in ["bob@acme.example", "carol@acme.example"] {
        world.store.create_user(ACME, &user(name), &event(EventKind::UserCreated)).await.unwrap();
    }
    let live = world.live().await.unwrap();
    for damage in [
        "UPDATE account SET kind = 'robot' WHERE username LIKE 'bob@%'",
        "UPDATE account SET display_name = x'41' WHERE username LIKE 'bob@%'",
        "UPDATE account SET display_name = CAST(x'41ff' AS TEXT) WHERE username LIKE 'carol@%'",
        "UPDATE tenant SET slug = x'41' WHERE slug = 'bolt'",
    ] {
        world.by_hand(damage).await.unwrap();
        assert_eq!(world.live().await.unwrap(), live, "{damage}");
    }
}

#[tokio::test]
async fn sessions_of_many_messages_come_each_once_and_ended_ones_between_them_do_not() {
    let world = World::new().await;
    world.begin(world.epoch().await, 1).await;
    world
        .by_hand(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2600) \
             INSERT INTO session (id, token, flow, account, tenant, zone, epoch, class, method, factors, \
             authenticated_at, started_at, last_seen, idle_max, absolute_max, device_label, device_address, ended_at, \
             end_reason) SELECT randomblob(16), randomblob(32), randomblob(16), account, tenant, zone, epoch, class, \
             method, factors, authenticated_at, started_at, last_seen, idle_max, absolute_max, device_label || n, \
             device_address, iif(n % 5 = 0, 7, NULL), iif(n % 5 = 0, 'idle', NULL) FROM session, n",
        )
        .await
        .unwrap();
    world.by_hand("DELETE FROM session WHERE rowid BETWEEN 1000 AND 1100").await.unwrap();
    world.by_hand("UPDATE session SET rowid = -5 WHERE rowid = 7").await.unwrap();
    for crowd in [false, true] {
        if crowd {
            // Of nearly as many sessions as there are people, everybody is read; now there are more.
            for _ in 0..3 {
                world.with_a_crowd().await;
            }
        }
        let mut live: Vec<_> =
            world.store.live_sessions().await.unwrap().into_iter().map(|live| live.record.device.label).collect();
        live.sort();
        let (sessions,): (i64,) = sqlx::query_as("SELECT count(*) FROM session WHERE ended_at IS NULL")
            .fetch_one(&world.store.read)
            .await
            .unwrap();
        assert_eq!(live.len() as i64, sessions);
        live.dedup();
        assert_eq!(live.len() as i64, sessions);
    }
}
