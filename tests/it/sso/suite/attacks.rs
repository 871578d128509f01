//! What somebody could make of a half-finished log-in with the suite, or of the suite's refusals (SEC-R33, E4, E6, trap 24).

use reqwest::StatusCode;
use zonegate::directory::{SecurityLevel, SuiteMode, UserKind};

use super::super::{ALICE, BOB, CAROL, IAN, ROOT, World};
use super::{ASKED, COMPANY, M12};
use crate::harness::{Answer, Visitor};

/// A second account of Alice's.
const OPS: &str = "alice.ops@acme.example";

impl World {
    /// Alice has a second account, and is asked at the tile which one she means.
    async fn at_the_choice(&self, visitor: &Visitor) -> Answer {
        self.person(OPS, UserKind::Regular, SecurityLevel::User).await;
        self.set_up(OPS).await;
        self.is_of("1", OPS, COMPANY);
        let page = self.try_tile(visitor).await;
        assert!(page.body.contains("Which account?"), "{}", page.body);
        page
    }

    async fn chooses(&self, visitor: &Visitor, page: &Answer, username: &str) -> Answer {
        let account = self.id(username).await.to_string();
        visitor.answer(page, "account", &account).await.unwrap()
    }
}

#[tokio::test]
async fn e6_what_is_the_matter_with_an_account_only_its_own_person_is_told() {
    let world = World::start_in_suite().await;
    world.set_up(ROOT).await;
    let local = world.browser();
    for _ in 0..7 {
        let page = local.give_username(&world.url("/"), ROOT).await.unwrap();
        local.answer(&page, "password", "Wrong-Window-75").await.unwrap();
    }
    // Alice asks after her colleagues.
    world.is_of("1", ALICE, COMPANY);
    let told = async |who: &str, text: &str, reason: &str| {
        let visitor = world.browser();
        let seen = world.watched(async || world.try_suite(&visitor, who).await).await;
        seen.expect_refused_with(&[text], who, reason, &ASKED);
    };
    for (who, reason) in [
        ("nobody@acme.example", "unknown_user"),
        (BOB, "suite_not_for_this_user"),
        (CAROL, "suite_not_for_this_user"),
        (IAN, "disabled"),
        (ROOT, "suite_locked"),
    ] {
        told(who, M12[0], reason).await;
    }
    world.is_of("7", ROOT, COMPANY);
    told(ROOT, M12[3], "suite_locked").await;
    world.is_of("8", BOB, COMPANY);
    told(BOB, M12[2], "suite_not_for_this_user").await;

    // Nor does a company that does not use the suite tell strangers whom it has.
    world.may(SuiteMode::Off, false).await;
    world.is_of("9", "eve@mail.example", "c-9");
    told("nobody@acme.example", M12[0], "unknown_user").await;
    told(ROOT, M12[0], "suite_off").await;
    world.is_of("7", ROOT, COMPANY);
    told(ROOT, M12[1], "suite_off").await;
}

#[tokio::test]
async fn sec_r33_a_choice_that_was_made_is_worth_nothing_after_the_log_out() {
    let mut world = World::start_in_suite().await;
    world.gateway.edit("web_sessions_max: 100", "web_sessions_max: 1");
    world.gateway.restart().await;
    let visitor = world.browser();
    let page = world.at_the_choice(&visitor).await;
    let full = world.chooses(&visitor, &page, ALICE).await;
    let held = full.body.split("id=\"session-").nth(1).unwrap().split('"').next().unwrap().to_owned();
    visitor.answer(&full, "session", &held).await.unwrap();
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    visitor.post(&world.url("/.zonegate/logout"), &[]).await.unwrap();
    // Back, to the page before, by whoever sits there now.
    for who in [ALICE, OPS] {
        let answer = world.chooses(&visitor, &page, who).await;
        assert!(!world.has_session(&visitor), "{who}: {} {}", answer.status, answer.body);
    }
}

#[tokio::test]
async fn sec_r36_a_log_in_that_the_suite_answers_by_itself_shows_nobody_anew() {
    let world = World::start_in_suite().await;
    world.may(SuiteMode::Required, false).await;
    world.is_of("1", ALICE, COMPANY);
    let visitor = world.browser();
    let confirmed = async || {
        let account = world.url("/.zonegate/account");
        let csrf = visitor.open(&account).await.field("csrf").unwrap();
        let fields = [("csrf", csrf.as_str()), ("action", "others")];
        let answer = visitor.post(&format!("{account}/sessions"), &fields).await.unwrap();
        answer.status == StatusCode::SEE_OTHER
    };
    world.provider.script(|script| script.logged_in_ago = 3600);
    world.in_suite(&visitor, ALICE).await;
    assert!(!confirmed().await, "she showed who she is an hour ago, whoever sits there now");
    world.provider.script(|script| script.logged_in_ago = 5);
    world.in_suite(&visitor, ALICE).await;
    assert!(confirmed().await);
}

#[tokio::test]
async fn r93_a_suite_that_the_operator_took_away_opens_nothing_that_was_under_way() {
    let mut world = World::start_in_suite().await;
    let visitor = world.browser();
    let page = world.at_the_choice(&visitor).await;
    world.gateway.edit("suite: { name", "#suite: { name");
    world.gateway.restart().await;
    let answer = world.chooses(&visitor, &page, ALICE).await;
    assert!(!world.has_session(&visitor), "{} {}", answer.status, answer.body);
}

#[tokio::test]
async fn r117_who_logs_out_at_the_suite_before_the_choice_is_not_logged_in_by_it() {
    let world = World::start_in_suite().await;
    let (visitor, other) = (world.browser(), world.browser());
    let page = world.at_the_choice(&visitor).await;
    world.gateway.advance(2).await;
    let token = world.provider.logout_token(|_, _| {});
    let body = ("application/x-www-form-urlencoded", format!("logout_token={token}"));
    let url = world.url("/.zonegate/suite/backchannel-logout");
    let told = other.send(reqwest::Method::POST, &url, "*/*", Some(body)).await.unwrap();
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    let answer = world.chooses(&visitor, &page, ALICE).await;
    assert!(!world.has_session(&visitor), "{} {}", answer.status, answer.body);
    world.gateway.advance(4).await;
    // And whoever logs in there again gets in again.
    world.in_suite(&visitor, ALICE).await;
}
