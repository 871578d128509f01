//! What only the whole program can show: concurrent log-ins, overload, operators at work beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Demo, Login, Visitor};

const ALICE: &str = "alice@acme.example";
const CAROL: &str = "carol@bolt.example";
/// Logs in with a password only, so that many can at once.
const WALL: &str = "wall@acme.example";

async fn demo() -> (tempfile::TempDir, Demo) {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    (folder, demo)
}

#[tokio::test]
async fn the_application_is_told_who_asks_and_can_verify_it() {
    let (_folder, demo) = demo().await;
    let visitor = Visitor::new(&demo);
    visitor.log_in(&demo, ALICE, 30).await.expect_in();
    let echo = visitor.echo(&demo.user(ALICE).zone).await.unwrap();
    assert_eq!(echo["assertion"]["verified"], true, "{echo:#}");
    assert_eq!(echo["assertion"]["claims"]["username"], ALICE);
    let header = |name: &str| {
        let all = echo["headers"].as_array().unwrap().iter();
        all.filter(|pair| pair[0] == name).map(|pair| pair[1].clone()).collect::<Vec<_>>()
    };
    assert_eq!(header("x-forwarded-user"), [ALICE]);
    assert_eq!(header("cookie"), [""; 0], "our cookies stay with us");
    assert_eq!(header("x-zonegate-assertion").len(), 1);
}

#[tokio::test]
async fn r119_without_a_session_nothing_is_forwarded_and_programs_get_a_reason() {
    let (_folder, demo) = demo().await;
    let stranger = Visitor::new(&demo);
    let zone = &demo.user(ALICE).zone;
    let answer = stranger.echo(zone).await.unwrap_err();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["reason"], "no_session");
    let page = stranger.open(&format!("{zone}tickets/7?x=1")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let login = page.location().unwrap();
    assert_eq!(login.path(), "/.zonegate/login");
    assert!(login.query_pairs().any(|(name, value)| name == "return_to" && value == "/tickets/7?x=1"), "{login}");
}

#[tokio::test]
async fn a_session_of_one_zone_is_nothing_in_another() {
    let (_folder, demo) = demo().await;
    let visitor = Visitor::new(&demo);
    visitor.log_in(&demo, ALICE, 30).await.expect_in();
    let token = visitor.cookie(&demo.user(ALICE).zone, "__Host-zg_session").unwrap();
    let other = Visitor::new(&demo);
    other.plant(&demo.user(CAROL).zone, "__Host-zg_session", &token);
    let answer = other.echo(&demo.user(CAROL).zone).await.unwrap_err();
    assert_eq!((answer.status, &answer.json()["reason"]), (StatusCode::UNAUTHORIZED, &json!("unknown_session")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r87_fifty_log_ins_at_once_leave_three_sessions() {
    let (_folder, demo) = demo().await;
    let user = Arc::new(demo.user(WALL).clone());
    let mut pages = Vec::new();
    for _ in 0..50 {
        let visitor = Visitor::new(&demo);
        let page = visitor.give_username(&user.zone, &user.username).await.unwrap();
        pages.push((visitor, page));
    }
    let all: Vec<_> = (pages.into_iter())
        .map(|(visitor, page)| {
            let user = Arc::clone(&user);
            tokio::spawn(async move {
                let answer = visitor.answer(&page, "password", user.password.as_ref().unwrap()).await.unwrap();
                let login = Login::of(&visitor, answer);
                (visitor, login)
            })
        })
        .collect();
    let (mut inside, mut refused) = (0, 0);
    for task in all {
        let (visitor, login) = task.await.unwrap();
        match login {
            Login::In(_) => {
                inside += 1;
                assert!(visitor.echo(&user.zone).await.is_ok(), "a session that was given works");
            }
            Login::Not(answer) => {
                refused += 1;
                assert!(answer.has("keep-sessions"), "{} {}", answer.status, answer.body);
            }
        }
    }
    assert_eq!((inside, refused), (3, 47));
}

#[tokio::test]
async fn disabling_a_user_from_another_process_ends_the_session_within_a_second() {
    let (_folder, demo) = demo().await;
    let visitor = Visitor::new(&demo);
    visitor.log_in(&demo, ALICE, 30).await.expect_in();
    let zone = &demo.user(ALICE).zone;
    assert!(visitor.echo(zone).await.is_ok());
    demo.command(&["user", "disable", ALICE], "").await;
    let done = Instant::now();
    while visitor.echo(zone).await.is_ok() {
        assert!(done.elapsed() < Duration::from_secs(1), "still forwarded {:?} after the command", done.elapsed());
    }
    // However often a script asks, the person's next page is told as well (R86).
    for _ in 0..2 {
        assert_eq!(visitor.echo(zone).await.unwrap_err().json()["reason"], "revoked");
    }
    let login = visitor.open(zone).await.location().unwrap();
    assert!(login.query_pairs().any(|(name, value)| name == "reason" && value == "revoked"), "{login}");
}

#[tokio::test]
async fn r56_an_unlocked_account_takes_the_old_password() {
    let (_folder, demo) = demo().await;
    let user = demo.user(WALL);
    let thief = Visitor::new(&demo);
    let mut page = thief.give_username(&user.zone, &user.username).await.unwrap();
    for _ in 0..7 {
        page = thief.answer(&page, "password", "Wrong-Guess-00").await.unwrap();
        if page.field("flow").is_none() {
            page = thief.give_username(&user.zone, &user.username).await.unwrap();
        }
    }
    let owner = Visitor::new(&demo);
    assert!(matches!(owner.log_in(&demo, WALL, 30).await, Login::Not(_)), "locked for everybody (R52)");
    demo.command(&["user", "unlock", WALL], "").await;
    owner.log_in(&demo, WALL, 30).await.expect_in();
}

#[tokio::test]
async fn rotating_the_signing_key_is_not_noticed_by_the_application() {
    let (_folder, demo) = demo().await;
    let visitor = Visitor::new(&demo);
    visitor.log_in(&demo, ALICE, 30).await.expect_in();
    let zone = &demo.user(ALICE).zone;
    let kid = |echo: &serde_json::Value| echo["assertion"]["header"]["kid"].as_str().unwrap().to_owned();
    let first = visitor.echo(zone).await.unwrap();
    assert_eq!(first["assertion"]["verified"], true);
    demo.command(&["keys", "rotate"], "").await;
    // A new key is published for two minutes before it signs.
    demo.advance(130).await;
    let done = Instant::now();
    loop {
        let echo = visitor.echo(zone).await.unwrap();
        assert_eq!(echo["assertion"]["verified"], true, "{echo:#}");
        if kid(&echo) != kid(&first) {
            break;
        }
        assert!(done.elapsed() < Duration::from_secs(60), "the old key is still signed with");
    }
}

#[tokio::test]
async fn u17_phone_app_and_mail_add_in_share_one_slot_and_leave_the_web_alone() {
    let (_folder, demo) = demo().await;
    let user = demo.user(ALICE).clone();
    let web = Visitor::new(&demo);
    web.log_in(&demo, ALICE, 30).await.expect_in();
    let api = format!("{}.zonegate/api/login", user.zone);
    let begin = async |client: &str| {
        let app = Visitor::new(&demo);
        let credentials = json!({"client": client, "username": user.username, "password": user.password});
        let asked = app.tell(&api, &credentials).await;
        assert_eq!((asked.status, &asked.json()["status"]), (StatusCode::OK, &json!("otp_required")));
        let code = demo.fresh_code(&user, 30).await;
        let answer = app.tell(&api, &json!({"flow": asked.json()["flow"], "code": code})).await;
        (app, answer)
    };
    let (phone, answer) = begin("mobile").await;
    assert_eq!(answer.json()["status"], "authenticated", "{}", answer.body);
    assert_eq!(answer.json()["session"]["class"], "mobile");
    assert!(phone.echo(&user.zone).await.is_ok());

    let (mail, answer) = begin("outlook").await;
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::CONFLICT, &json!("session_limit")));
    let sessions = answer.json()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "the phone's and not the web's");
    let chosen = json!({"flow": answer.json()["flow"], "terminate": sessions[0]["id"]});
    let answer = mail.tell(&api, &chosen).await;
    assert_eq!(answer.json()["status"], "authenticated", "{}", answer.body);
    assert!(mail.echo(&user.zone).await.is_ok());
    let ended = phone.echo(&user.zone).await.unwrap_err();
    assert_eq!(ended.json()["reason"], "displaced");
    assert!(web.echo(&user.zone).await.is_ok(), "the web session is untouched (R82)");
}

#[tokio::test]
async fn r106_programs_are_told_their_zone_at_the_universal_host() {
    let (_folder, demo) = demo().await;
    let user = demo.user(CAROL);
    let app = Visitor::new(&demo);
    let credentials = json!({"client": "mobile", "username": user.username, "password": user.password});
    let answer = app.tell(&format!("{}.zonegate/api/login", demo.universal()), &credentials).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert!(user.zone.contains(answer.json()["host"].as_str().unwrap()), "{}", answer.body);
}
