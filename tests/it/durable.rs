//! Nothing that was acknowledged is lost: by a restart, by `kill -9` in the middle of log-ins and log-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Demo, Gateway, Login, Upstream, Visitor, Wishes};

const WALL: &str = "wall@acme.example";
const ALICE: &str = "alice@acme.example";

#[tokio::test]
async fn a_restart_loses_no_session_and_revives_none() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let (stays, left) = (Visitor::new(&demo), Visitor::new(&demo));
    stays.log_in(&demo, ALICE, 30).await.expect_in();
    left.log_in(&demo, WALL, 30).await.expect_in();
    let zone = demo.user(ALICE).zone.clone();
    let token = |visitor: &Visitor| visitor.cookie(&zone, "__Host-zg_session").unwrap();
    let tokens = [token(&stays), token(&left)];
    left.log_out(&zone).await.unwrap();
    demo.stop().await;

    let demo = Demo::start(folder.path()).await;
    let zone = &demo.user(ALICE).zone;
    let with = |token: &str| {
        let visitor = Visitor::new(&demo);
        visitor.plant(zone, "__Host-zg_session", token);
        visitor
    };
    assert!(with(&tokens[0]).echo(zone).await.is_ok(), "the session outlives the restart");
    let answer = with(&tokens[1]).echo(zone).await.unwrap_err();
    assert_eq!(answer.json()["reason"], "logged_out", "and the ended one is told why");
}

/// What one client was told of its last session before the power went.
enum Told {
    /// A session was given, and nothing since.
    Begun(String),
    /// Log-out was confirmed.
    Ended(String),
    /// A request was under way: either outcome is right.
    Nothing,
}

/// Logs in and out until the connection breaks; counts what was acknowledged.
async fn in_and_out(demo: Arc<Demo>, acknowledged: Arc<AtomicUsize>) -> Told {
    let user = demo.user(WALL).clone();
    let visitor = Visitor::new(&demo);
    loop {
        let Ok(page) = visitor.give_username(&user.zone, &user.username).await else { return Told::Nothing };
        let password = user.password.as_ref().unwrap();
        let Ok(answer) = visitor.answer(&page, "password", password).await else { return Told::Nothing };
        let Login::In(_) = Login::of(&visitor, answer) else { panic!("three clients have three slots") };
        let token = visitor.cookie(&user.zone, "__Host-zg_session").unwrap();
        if acknowledged.fetch_add(1, Ordering::SeqCst) % 4 == 3 {
            return Told::Begun(token);
        }
        let Ok(answer) = visitor.log_out(&user.zone).await else { return Told::Nothing };
        assert!(answer.status.is_success() || answer.status.is_redirection(), "{answer:?}");
        if acknowledged.fetch_add(1, Ordering::SeqCst) % 4 == 3 {
            return Told::Ended(token);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_during_log_ins_and_log_outs_loses_nothing_acknowledged() {
    let (mut begun, mut ended) = (0, 0);
    for round in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let demo = Arc::new(Demo::start(folder.path()).await);
        let acknowledged = Arc::new(AtomicUsize::new(round));
        let clients: Vec<_> =
            (0..3).map(|_| tokio::spawn(in_and_out(Arc::clone(&demo), Arc::clone(&acknowledged)))).collect();
        // Killed the moment the first client has its acknowledgement: the other two are in the middle of something.
        while clients.iter().all(|client| !client.is_finished()) {
            tokio::task::yield_now().await;
        }
        let killed = std::process::Command::new("kill").args(["-9", &demo.pid().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut told = Vec::new();
        for client in clients {
            told.push(client.await.unwrap());
        }
        let Ok(demo) = Arc::try_unwrap(demo) else { panic!("the clients are done") };
        demo.kill().await;

        let demo = Demo::start(folder.path()).await;
        let zone = demo.user(WALL).zone.clone();
        for told in told {
            let visitor = Visitor::new(&demo);
            match told {
                Told::Begun(token) => {
                    begun += 1;
                    visitor.plant(&zone, "__Host-zg_session", &token);
                    let echo = visitor.echo(&zone).await;
                    assert!(echo.is_ok(), "round {round}: an acknowledged session is gone: {echo:?}");
                }
                Told::Ended(token) => {
                    ended += 1;
                    visitor.plant(&zone, "__Host-zg_session", &token);
                    let answer = visitor.echo(&zone).await.expect_err("an acknowledged log-out came undone");
                    assert_eq!(answer.status.as_u16(), 401, "round {round}");
                }
                Told::Nothing => {}
            }
        }
        demo.stop().await;
    }
    assert!(begun > 0 && ended > 0, "the rounds saw {begun} begun and {ended} ended sessions");
}

#[tokio::test]
async fn a_start_on_an_empty_store_says_so() {
    let upstream = Upstream::start().await;
    let elsewhere = |text: &str| text.replace("path: zonegate.db", "path: elsewhere.db");
    let mut gateway = Gateway::start_edited(upstream.address(), Wishes::default(), elsewhere).await;
    let told = |gateway: &Gateway, what: &str| {
        gateway
            .log()
            .lines()
            .any(|line| line.contains("WARN") && line.contains("elsewhere.db") && line.contains(what))
    };
    assert!(told(&gateway, "the store was just made"), "{}", gateway.log());
    assert!(!told(&gateway, "the store has no tenant"), "{}", gateway.log());
    gateway.restart().await;
    assert!(told(&gateway, "the store has no tenant"), "{}", gateway.log());
    let usual = Gateway::start(&upstream).await;
    assert!(!usual.log().contains("nobody can log in"), "{}", usual.log());
}
