//! Slots: who may have how many sessions, and what makes room for one more.

use super::account::send;
use super::fixture::{Browser, World, at};
use crate::base::SessionId;
use crate::credential::current_code;
use crate::directory::TotpPeriod;
use crate::portal::cookies;
use crate::portal::login::LOGIN;
use crate::session::{Class, EndReason};

const ALICE: &str = "alice@acme.example";
const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/18.0 Mobile/15E148 Safari/604.1";

/// Three sessions of alice, each in a browser of its own, and the present after them.
async fn three(world: &World) -> (Vec<Browser<'_>>, u64) {
    let mut browsers = Vec::new();
    for number in 0..3 {
        let browser = world.browser();
        browser.at(number * 30).log_in(ALICE).await.expect_in("/");
        browsers.push(browser);
    }
    (browsers, 90)
}

#[tokio::test]
async fn r81_r83_u16_at_the_fourth_the_person_chooses_and_the_chosen_one_is_told() {
    let world = World::new().await;
    let (three, now) = three(&world).await;
    let fourth = world.browser();
    let page = fourth.at(now).log_in(ALICE).await.expect_page("keep-sessions");
    assert!(world.session(&fourth).is_none(), "no fourth session yet");
    assert_eq!(page.body.matches("id=\"session-").count(), 3);
    let victim = world.session(&three[1]).unwrap();
    fourth.answer(&page, "session", &victim.id.to_string()).await.expect_in("/");
    assert_eq!(victim.end_reason(), Some(EndReason::Displaced));
    assert!(
        world.session(&fourth).is_some()
            && world.session(&three[0]).is_some()
            && world.session(&three[2]).is_some()
    );
    three[1].open(LOGIN).await.expect_notice("logged in on another device");
    // The page was good for one choice (trap 24).
    let stranger = world.browser();
    *stranger.cookies.borrow_mut() = fourth.cookies.borrow().clone();
    stranger.cookies.borrow_mut().remove(cookies::SESSION);
    let other = world.session(&three[0]).unwrap();
    stranger.at(now).answer(&page, "session", &other.id.to_string()).await.expect_notice("expired");
    assert!(other.end_reason().is_none());
}

#[tokio::test]
async fn r84_keeping_the_sessions_makes_none_and_the_page_ends_none_afterwards() {
    let world = World::new().await;
    let (three, now) = three(&world).await;
    let fourth = world.browser();
    let page = fourth.at(now).log_in(ALICE).await.expect_page("keep-sessions");
    let kept = fourth.answer(&page, "action", "keep").await.expect_page("form-username");
    kept.expect_notice("allowed number of active sessions");
    assert!(world.session(&fourth).is_none());
    let victim = world.session(&three[0]).unwrap();
    fourth.answer(&page, "session", &victim.id.to_string()).await.expect_notice("expired");
    for browser in &three {
        assert!(world.session(browser).is_some());
    }
}

#[tokio::test]
async fn sec_r33_continue_after_the_set_up_counts_once_and_never_after_the_log_out() {
    let world = World::new().await;
    let first = world.browser();
    let page = first.up_to_code("erin@acme.example").await.expect_page("form-enrol");
    let secret = page.secret();
    let code = |seconds| current_code(&secret, TotpPeriod::Thirty, at(seconds));
    let enrolled = first.answer(&page, "code", &code(0)).await.expect_page("form-enrolled");
    for number in 1..4 {
        let other = world.browser();
        let page = other.at(number * 30).up_to_code("erin@acme.example").await;
        other.answer(&page, "code", &code(number * 30)).await.expect_in("/");
    }
    let full = first.at(120).post(&[("flow", &enrolled.flow())]).await.expect_page("keep-sessions");
    let victim = full.body.split("id=\"session-").nth(1).unwrap().split('"').next().unwrap();
    first.answer(&full, "session", victim).await.expect_in("/");
    send(&first, "/.zonegate/logout", &[]).await;
    first.post(&[("flow", &enrolled.flow())]).await.expect_notice("expired");
    assert!(world.session(&first).is_none(), "Back logs nobody in");
}

#[tokio::test]
async fn r83_the_limit_page_ends_only_sessions_of_the_same_person_and_class() {
    let world = World::new().await;
    let bob = world.browser();
    bob.log_in("bob@acme.example").await.expect_in("/");
    let (_three, now) = three(&world).await;
    let mut phone = world.browser();
    phone.agent = PHONE;
    phone.at(now).log_in(ALICE).await.expect_in("/");
    let fourth = world.browser();
    let page = fourth.at(now + 30).log_in(ALICE).await.expect_page("keep-sessions");
    assert_eq!(page.body.matches("id=\"session-").count(), 3, "the phone's is not among them");
    for (target, later) in [(world.session(&bob).unwrap(), 60), (world.session(&phone).unwrap(), 90)] {
        let page = fourth.at(now + later).log_in(ALICE).await.expect_page("keep-sessions");
        fourth.answer(&page, "session", &target.id.to_string()).await.expect_page("keep-sessions");
        assert!(target.end_reason().is_none(), "{:?}", target.class);
        let invented = SessionId::from_bytes([1; 16]).to_string();
        fourth.answer(&page, "session", &invented).await.expect_notice("expired");
    }
}

#[tokio::test]
async fn d16_what_was_proved_waits_ten_minutes_for_the_choice_however_often_it_is_asked_for() {
    let world = World::new().await;
    let (_browsers, seconds) = three(&world).await;
    let late = world.browser();
    let mut page = late.at(seconds).log_in("alice@acme.example").await.expect_page("keep-sessions");
    for later in [seconds + 300, seconds + 590] {
        page = late.at(later).answer(&page, "session", "x").await.expect_page("keep-sessions");
    }
    late.at(seconds + 600).answer(&page, "session", "x").await.expect_page("form-username");
}

#[tokio::test]
async fn r82_phone_and_web_sessions_do_not_count_against_each_other() {
    let world = World::new().await;
    let (_three, now) = three(&world).await;
    let mut phone = world.browser();
    phone.agent = PHONE;
    phone.at(now).log_in(ALICE).await.expect_in("/");
    assert_eq!(world.session(&phone).unwrap().class, Class::Mobile);
    let mut second = world.browser();
    second.agent = PHONE;
    let page = second.at(now + 30).log_in(ALICE).await.expect_page("keep-sessions");
    assert_eq!(page.body.matches("id=\"session-").count(), 1);
}

#[tokio::test]
async fn r88_the_same_browser_replaces_its_session_whoever_logs_in() {
    let world = World::new().await;
    let browser = world.browser();
    for number in 0..4 {
        browser.at(number * 30).log_in(ALICE).await.expect_in("/");
    }
    let alices = world.session(&browser).unwrap();
    assert_eq!(world.portal.sessions.of_user(alices.user, at(200)).len(), 1);
    browser.at(200).log_in("bob@acme.example").await.expect_in("/");
    assert_eq!(alices.end_reason(), Some(EndReason::Replaced));
    assert_eq!(world.session(&browser).unwrap().principal.username(), "bob@acme.example");
}
