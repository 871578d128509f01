//! The flow as a browser meets it.

use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;

use super::fixture::{Browser, Got, PASSWORD, World, at, code, encoded, name};
use crate::base::FlowId;
use crate::credential::{TotpSecret, current_code};
use crate::directory::TotpPeriod;
use crate::login::{Binding, Entry, Flow, Handover, Step};
use crate::portal::cookies;
use crate::portal::login::LOGIN;
use crate::session::{Class, EndReason, Factor, Method};

const ALICE: &str = "alice@acme.example";

async fn used(world: &World, who: &str) -> u8 {
    world.fixture.store.account(&name(who)).await.unwrap().unwrap().attempts_used
}

#[tokio::test]
async fn u6_username_password_code_and_in_where_it_was_going() {
    let world = World::new().await;
    let browser = world.browser();
    let page =
        browser.open("/.zonegate/login?return_to=/tickets/7%3Fview%3Dfull").await.expect_page("form-username");
    let page = browser.answer(&page, "username", " Alice@ACME.example ").await.expect_page("form-password");
    assert!(page.body.contains("value=\"alice@acme.example\" readonly"), "R40: shown, not editable");
    let page = browser.answer(&page, "password", PASSWORD).await.expect_page("form-code");
    assert!(world.session(&browser).is_none(), "R4: no session before the code");
    let page = browser.answer(&page, "code", &code(60)).await.expect_page("form-code").expect_message("m4");
    assert_eq!(used(&world, "alice").await, 1);
    let done = browser.answer(&page, "code", &code(0)).await.expect_in("/tickets/7?view=full");
    let cookie = done.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with(cookies::SESSION) && cookie.contains("Secure; HttpOnly; SameSite=Lax"), "{cookie}");
    let session = world.session(&browser).unwrap();
    assert_eq!((session.class, session.method), (Class::Web, Method::Local));
    assert_eq!(session.factors, [Factor::Password, Factor::Totp].into());
    assert_eq!(session.device_label(), "Firefox on Linux");
    assert_eq!(used(&world, "alice").await, 0, "R58: a complete log-in forgets failures");
}

#[tokio::test]
async fn r43_without_a_deep_link_the_start_page_opens_and_a_foreign_one_counts_for_nothing() {
    let world = World::new().await;
    let account = world.fixture.store.account(&name("alice")).await.unwrap().unwrap();
    let new = crate::store::NewUser {
        username: account.user.username,
        email: None,
        display_name: String::new(),
        kind: account.user.kind,
        level: account.user.level,
        groups: vec![],
        active: true,
        start_page: "/boards".parse().ok(),
    };
    let event = super::fixture::event(crate::telemetry::EventKind::UserChanged);
    world.fixture.store.update_user(account.user.id, &new, &event).await.unwrap();
    let evils = ["https://evil.example/", "//evil.example", "/%5Cevil.example", "/.zonegate/logout"];
    for (evil, number) in evils.into_iter().zip(0..) {
        let browser = world.browser();
        browser.now.set(30 * number);
        let page = browser.open(&format!("{LOGIN}?return_to={evil}")).await;
        let page = browser.answer(&page, "username", ALICE).await;
        let page = browser.answer(&page, "password", PASSWORD).await;
        browser.answer(&page, "code", &code(browser.now.get())).await.expect_in("/boards");
        let session = world.session(&browser).unwrap();
        let (user, now) = (session.user, at(browser.now.get()));
        world.portal.sessions.end(user, &[session.id], EndReason::LoggedOut, &[], now).await.unwrap();
    }
}

#[tokio::test]
async fn r36_a_name_that_is_none_is_refused_on_the_spot_and_costs_nothing() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.open(LOGIN).await;
    for text in ["", "jdoe", "a b@c.example"] {
        let page = browser.answer(&page, "username", text).await.expect_page("form-username");
        page.expect_message("m1");
    }
    assert_eq!(world.portal.verifier.computed(), 0);
}

#[tokio::test]
async fn r41_what_a_password_manager_fills_in_too_early_is_ignored() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.open(LOGIN).await;
    let page = browser.post(&[("flow", &page.flow()), ("username", ALICE), ("password", PASSWORD)]).await;
    let page = page.expect_page("form-password");
    assert!(!page.body.contains(PASSWORD));
    assert_eq!(world.portal.verifier.computed(), 0);
}

#[tokio::test]
async fn e1_whoever_cannot_log_in_is_told_the_same() {
    let world = World::new().await;
    let mut shown = Vec::new();
    for (who, password) in [
        ("alice", "Wrong-guess-1"),
        ("nobody", "Wrong-guess-1"),
        ("ian", PASSWORD),
        ("ada", PASSWORD),
        ("nora", PASSWORD),
        ("alice", &"x".repeat(65)),
    ] {
        let browser = world.browser();
        let username = format!("{who}@acme.example");
        let page = browser.up_to_password(&username).await.expect_page("form-password");
        let got = browser.answer(&page, "password", password).await.expect_message("m2");
        let names: Vec<_> = got.headers.keys().map(ToString::to_string).collect();
        let seen = |got: &Got| got.body.replace(&got.flow(), "FLOW").replace(&username, "NAME");
        shown.push((who, got.status, names, seen(&page), seen(&got)));
    }
    for (who, status, names, page, got) in &shown {
        let (_, first_status, first_names, first_page, first_got) = &shown[0];
        assert_eq!((status, names, page, got), (first_status, first_names, first_page, first_got), "{who}");
    }
}

#[tokio::test]
async fn e1_the_sealed_flow_of_an_invented_name_is_as_long_as_that_of_an_existing_one() {
    let world = World::new().await;
    let flow = async |username: &str| world.browser().up_to_password(username).await.flow().len();
    assert_eq!(flow("alice@acme.example").await, flow("ghost@acme.example").await);
}

#[tokio::test]
async fn r52_r59_u9_seven_failures_lock_known_and_unknown_alike_and_unlocking_opens_with_the_old_password() {
    let world = World::new().await;
    for who in [ALICE, "nobody@acme.example"] {
        let browser = world.browser();
        let mut page = browser.up_to_password(who).await;
        for failure in 1..=7 {
            page = browser.answer(&page, "password", "Wrong-guess-1").await.expect_page("form-password");
            page = page.expect_message(if failure < 7 { "m2" } else { "m3" });
        }
        browser.answer(&page, "password", PASSWORD).await.expect_message("m3");
    }
    let patient = world.browser();
    patient.at(400 * 86400).up_to_code(ALICE).await.expect_message("m3");
    world.fixture.unlock(&name("alice")).await;
    patient.log_in(ALICE).await.expect_in("/");
}

#[tokio::test]
async fn r58_l6_a_right_password_does_not_give_attempts_back() {
    let world = World::new().await;
    let browser = world.browser();
    for turn in 1..=7 {
        let page = browser.up_to_code(ALICE).await.expect_page("form-code");
        let page = browser.answer(&page, "code", &code(600)).await;
        page.expect_message(if turn < 7 { "m4" } else { "m3" });
    }
    browser.up_to_code(ALICE).await.expect_page("form-password").expect_message("m3");
}

#[tokio::test]
async fn d5_what_cannot_be_a_code_costs_nothing() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_code(ALICE).await;
    for text in ["", "12345", "1234567", "abcdef", "٢٨٧٠٨٢"] {
        browser.answer(&page, "code", text).await.expect_page("form-code").expect_message("m4");
    }
    browser.answer(&page, "password", "").await.expect_page("form-code");
    assert_eq!(used(&world, "alice").await, 0);
    let spaced = format!("{} {}", &code(0)[..3], &code(0)[3..]);
    browser.answer(&page, "code", &spaced).await.expect_in("/");
}

#[tokio::test]
async fn r63_p1_a_code_opens_one_session_whoever_sends_it_how_often() {
    let world = World::new().await;
    let browsers: Vec<_> = (0..20).map(|_| world.browser()).collect();
    let mut pages = Vec::new();
    for browser in &browsers {
        pages.push(browser.up_to_code(ALICE).await.expect_page("form-code"));
    }
    let code = code(0);
    let sent = browsers.iter().zip(&pages).map(|(browser, page)| browser.answer(page, "code", &code));
    let inside = join_all(sent).await.into_iter().filter(|got| got.status == StatusCode::SEE_OTHER).count();
    assert_eq!(inside, 1);
    let user = world.fixture.store.account(&name("alice")).await.unwrap().unwrap().user.id;
    assert_eq!(world.portal.sessions.of_user(user, at(0)).len(), 1);
}

#[tokio::test]
async fn l1_a_hundred_parallel_guesses_over_the_form_are_seven_computations() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_password(ALICE).await;
    let guesses = (0..100).map(|_| browser.answer(&page, "password", "Wrong-guess-1"));
    let answers = join_all(guesses).await;
    assert_eq!(world.portal.verifier.computed(), 7);
    let locked = answers.iter().filter(|got| got.body.contains("data-message=\"m3\"")).count();
    assert_eq!(locked, 94, "the seventh and everything after it");
}

#[tokio::test]
async fn r32_r35_u1_an_authenticator_is_set_up_and_an_abandoned_secret_is_worth_nothing() {
    let world = World::new().await;
    let shown = |secret: &TotpSecret, seconds| current_code(secret, TotpPeriod::Thirty, at(seconds));

    let given_up = world.browser();
    let abandoned = given_up.up_to_code("erin@acme.example").await.expect_page("form-enrol");
    assert!(abandoned.body.contains("<svg"), "a QR code");

    let browser = world.browser();
    let page = browser.up_to_code("erin@acme.example").await.expect_page("form-enrol");
    let (old, secret) = (abandoned.secret(), page.secret());
    assert_ne!(old.to_base32(), secret.to_base32(), "R35: a fresh secret");
    let page = browser.answer(&page, "code", &shown(&old, 0)).await.expect_page("form-enrol").expect_message("m4");
    assert_eq!(page.secret().to_base32(), secret.to_base32(), "R33: the same QR stays");
    assert_eq!(used(&world, "erin").await, 0, "no guess at anything secret");
    let page = browser.answer(&page, "code", &shown(&secret, 0)).await.expect_page("form-enrolled");
    assert!(page.body.contains("data-message=\"m13\"") && world.session(&browser).is_none());
    browser.post(&[("flow", &page.flow())]).await.expect_in("/");
    assert_eq!(world.session(&browser).unwrap().factors, [Factor::Password, Factor::Totp].into());

    // The abandoned page cannot enrol a second secret, and the code used to enrol opens nothing again.
    given_up.answer(&abandoned, "code", &shown(&old, 0)).await.expect_notice("expired");
    let thief = world.browser();
    let page = thief.up_to_code("erin@acme.example").await.expect_page("form-code");
    thief.answer(&page, "code", &shown(&secret, 0)).await.expect_message("m4");
    thief.answer(&page, "code", &shown(&old, 30)).await.expect_message("m4");
    let again = world.browser();
    let page = again.at(30).up_to_code("erin@acme.example").await.expect_page("form-code");
    again.answer(&page, "code", &shown(&secret, 30)).await.expect_in("/");
}

#[tokio::test]
async fn r70_a_dashboard_needs_its_password_only() {
    let world = World::new().await;
    let browser = world.browser();
    browser.up_to_code("dora@acme.example").await.expect_in("/");
    assert_eq!(world.session(&browser).unwrap().factors, [Factor::Password].into());
}

#[tokio::test]
async fn sec_r31_the_browser_gets_a_new_token_and_a_planted_one_is_not_adopted() {
    let world = World::new().await;
    let browser = world.browser();
    let planted = "A".repeat(43);
    browser.cookies.borrow_mut().insert(cookies::SESSION.into(), planted.clone());
    browser.log_in(ALICE).await.expect_in("/");
    assert_ne!(browser.cookie(cookies::SESSION).unwrap(), planted);
}

#[tokio::test]
async fn r52_setting_up_an_authenticator_unlocks_nothing() {
    let world = World::new().await;
    let owner = world.browser();
    let page = owner.up_to_code("erin@acme.example").await.expect_page("form-enrol");
    let thief = world.browser();
    let mut guess = thief.up_to_password("erin@acme.example").await;
    for _ in 0..7 {
        guess = thief.answer(&guess, "password", "wrong").await;
    }
    let answer = owner.answer(&page, "code", &current_code(&page.secret(), TotpPeriod::Thirty, at(0))).await;
    answer.expect_message("m3");
    assert_eq!(used(&world, "erin").await, 7);
}

#[tokio::test]
async fn a_second_click_and_back_lead_where_the_first_led() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_code(ALICE).await;
    browser.answer(&page, "code", &code(0)).await.expect_in("/");
    let session = world.session(&browser).unwrap();
    browser.answer(&page, "code", &code(0)).await.expect_in("/");
    assert_eq!(world.session(&browser).unwrap().id, session.id, "and it is the same session");
    assert_eq!(used(&world, "alice").await, 0);
}

#[tokio::test]
async fn w2_a_form_from_elsewhere_gets_403_and_no_session() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_code(ALICE).await;
    let body = encoded(&[("flow", &page.flow()), ("code", &code(0))]);
    let foreign = |fields: &[(&'static str, &'static str)]| {
        let request = Request::post(LOGIN).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    for fields in [
        &[][..],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("origin", "https://desk.localhost")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let got = browser.send(foreign(fields), body.clone()).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{fields:?}");
    }
    assert!(world.session(&browser).is_none());
    let events = world.fixture.store.events(None, 6).await.unwrap();
    assert!(events.iter().all(|event| event.kind == "request_forged"));
    assert_eq!(used(&world, "alice").await, 0, "and the code is not used up");
    browser.answer(&page, "code", &code(0)).await.expect_in("/");
}

#[tokio::test]
async fn w2_a_flow_of_another_browser_host_or_maker_gets_403() {
    let world = World::new().await;
    let (victim, attacker) = (world.browser(), world.browser());
    let page = attacker.up_to_code(ALICE).await;
    victim.open(LOGIN).await;
    let mut reasons = Vec::new();
    let mut refused = async |browser: &Browser<'_>, flow: &str| {
        let got = browser.post(&[("flow", flow), ("code", &code(0))]).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{flow}");
        assert!(world.session(browser).is_none());
        reasons.push(world.fixture.store.events(None, 1).await.unwrap()[0].reason.clone().unwrap());
    };
    let got = victim.post(&[("flow", &page.flow()), ("code", &code(0))]).await;
    assert_eq!(got.status, StatusCode::FORBIDDEN);
    assert!(world.session(&victim).is_none());
    let mut elsewhere = world.browser();
    elsewhere.host = "de.localhost";
    *elsewhere.cookies.borrow_mut() = attacker.cookies.borrow().clone();
    refused(&elsewhere, &page.flow()).await;
    refused(&attacker, "").await;
    refused(&attacker, &page.flow()[2..]).await;
    attacker.cookies.borrow_mut().clear();
    refused(&attacker, &page.flow()).await;
    assert_eq!(reasons, ["flow_of_other_host", "flow_forged", "flow_forged", "no_browser_cookie"]);
}

#[tokio::test]
async fn w2_a_body_that_is_no_form_is_refused() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_password(ALICE).await;
    let plain = Request::post(LOGIN)
        .header(header::ORIGIN, "https://desk.localhost:8443")
        .header(header::CONTENT_TYPE, "text/plain");
    let got = browser.send(plain, encoded(&[("flow", &page.flow()), ("password", PASSWORD)])).await;
    assert_eq!(got.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let twice = encoded(&[("flow", &page.flow()), ("password", "x"), ("password", PASSWORD)]);
    assert_eq!(browser.send(browser.form(), twice).await.status, StatusCode::BAD_REQUEST);
    let huge = "x".repeat(1 << 20);
    assert_eq!(browser.post(&[("flow", &huge)]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.portal.verifier.computed(), 0);
}

#[tokio::test]
async fn an_expired_flow_begins_again_and_does_nothing() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_password(ALICE).await;
    let again = browser.at(600).answer(&page, "password", PASSWORD).await.expect_page("form-username");
    again.expect_notice("expired");
    let page = browser.up_to_code(ALICE).await.expect_page("form-code");
    let late = browser.at(900).answer(&page, "code", &code(900)).await.expect_page("form-username");
    late.expect_notice("expired");
    assert!(world.session(&browser).is_none());
}

#[tokio::test]
async fn r4_a_step_that_is_not_due_is_answered_with_the_step_that_is() {
    let world = World::new().await;
    let browser = world.browser();
    let everything = |flow: &str| {
        encoded(&[("flow", flow), ("code", &code(0)), ("session", &"0".repeat(32)), ("action", "keep")])
    };
    let page = browser.open(LOGIN).await;
    let got = browser.send(browser.form(), everything(&page.flow())).await.expect_page("form-username");
    let page = browser.answer(&got, "username", ALICE).await;
    let got = browser.send(browser.form(), everything(&page.flow())).await.expect_page("form-password");
    assert_eq!(world.portal.verifier.computed(), 0);
    browser.answer(&got, "username", "bob@acme.example").await.expect_page("form-password");
    assert!(world.session(&browser).is_none());
}

#[tokio::test]
async fn sec_a_change_of_the_account_ends_the_flows_under_way() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_code(ALICE).await;
    let user = world.fixture.store.account(&name("alice")).await.unwrap().unwrap().user.id;
    let event = super::fixture::event(crate::telemetry::EventKind::SecondFactorReset);
    world.fixture.store.reset_totp(user, &event).await.unwrap();
    browser.answer(&page, "code", &code(0)).await.expect_page("form-username").expect_notice("expired");
    assert!(world.session(&browser).is_none());
}

#[tokio::test]
async fn r15_r14_a_name_of_another_zone_is_handed_over_once_with_its_name_kept_and_never_in_the_address() {
    let world = World::new().await;
    for from in ["desk.localhost", "login.localhost"] {
        let mut browser = world.browser();
        browser.host = from;
        let got = browser.up_to_password("max@muc.example").await;
        assert_eq!(got.status, StatusCode::SEE_OTHER, "{from}: {}", got.body);
        let location = got.headers[header::LOCATION].to_str().unwrap().to_owned();
        assert!(location.starts_with("https://de.localhost:8443/.zonegate/login?handover="), "{location}");
        assert!(!location.contains("max"));
        let path = location.strip_prefix("https://de.localhost:8443").unwrap();

        let mut there = world.browser();
        there.host = "de.localhost";
        let page = there.open(path).await.expect_page("form-password");
        assert!(page.body.contains("max@muc.example"));
        let page = there.answer(&page, "password", PASSWORD).await.expect_page("form-code");
        if from == "desk.localhost" {
            there.answer(&page, "code", &code(0)).await.expect_in("/");
        }
        there.open(path).await.expect_page("form-username");
        let mut wrong = world.browser();
        wrong.host = "desk.localhost";
        wrong.open(path).await.expect_page("form-username");
    }
}

#[tokio::test]
async fn r14_a_hand_over_is_too_old_after_a_minute() {
    let world = World::new().await;
    let handover = Handover::new(
        FlowId::from_bytes([5; 16]),
        "de.localhost".parse().unwrap(),
        "max@muc.example".parse().unwrap(),
        [127, 0, 0, 1].into(),
        at(0),
    );
    let sealed = handover.seal(&world.portal.handover_key, [1; 12]).unwrap();
    let mut browser = world.browser();
    browser.host = "de.localhost";
    browser.at(60).open(&format!("{LOGIN}?handover={sealed}")).await.expect_page("form-username");
    browser.at(59).open(&format!("{LOGIN}?handover={sealed}")).await.expect_page("form-password");
}

#[tokio::test]
async fn e4_invented_domains_lead_from_the_universal_host_to_a_zone_as_existing_ones_do() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.host = "login.localhost";
    let to = async |username: &str| {
        let got = browser.up_to_password(username).await;
        assert_eq!(got.status, StatusCode::SEE_OTHER);
        got.headers[header::LOCATION].to_str().unwrap().split("/.zonegate").next().unwrap().to_owned()
    };
    assert_eq!(to("a@invented.example").await, to("b@invented.example").await, "always the same");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..32 {
        seen.insert(to(&format!("a@invented{number}.example")).await);
    }
    assert_eq!(seen.len(), 2, "not one zone for all inventions");
    assert!(browser.cookie(cookies::SESSION).is_none());
}

#[tokio::test]
async fn no_step_but_the_username_runs_on_the_universal_host() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.host = "login.localhost";
    let page = browser.open(LOGIN).await.expect_page("form-username");
    browser.answer(&page, "password", PASSWORD).await.expect_page("form-username");
    let got = browser.answer(&page, "username", "jdoe").await.expect_page("form-username");
    got.expect_message("m1");
}

#[tokio::test]
async fn w5_w7_every_answer_forbids_frames_and_storing() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.open(LOGIN).await;
    let answers = [
        page.clone(),
        browser.answer(&page, "username", ALICE).await,
        browser.log_in(ALICE).await,
        browser.open("/.zonegate/no-such-page").await,
        browser.post(&[]).await,
        world.browser().post(&[]).await,
        browser.send(Request::put(LOGIN), String::new()).await,
    ];
    for got in answers {
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store", "{}", got.status);
        assert_eq!(got.headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(got.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(got.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(got.headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}

#[tokio::test]
async fn the_pages_speak_the_zones_language_or_the_browsers() {
    let world = World::new().await;
    let mut browser = world.browser();
    browser.host = "de.localhost";
    assert!(browser.open(LOGIN).await.body.contains("Benutzername"));
    let english = Request::get(LOGIN).header(header::ACCEPT_LANGUAGE, "en-GB");
    assert!(browser.send(english, String::new()).await.body.contains("Username"));
}

#[tokio::test]
async fn m16_the_page_says_why_the_session_ended() {
    let world = World::new().await;
    let browser = world.browser();
    browser.log_in(ALICE).await.expect_in("/");
    browser.at(8 * 3600).open(LOGIN).await.expect_notice("8 hours of inactivity");
    let other = world.browser();
    // The tenant's own limit travels with the answer that led here; what nobody could have set is not repeated.
    for (after, said) in [("1800", "30 minutes"), ("59", "8 hours"), ("28801", "8 hours"), ("x", "8 hours")] {
        let page = other.open(&format!("/.zonegate/login?reason=idle&after={after}")).await;
        page.expect_notice(&format!("{said} of inactivity"));
    }
    other.open("/.zonegate/login?reason=logged_out").await.expect_notice("You are logged out.");
    let plain = other.open("/.zonegate/login?reason=%3Cscript%3E").await;
    assert!(!plain.body.contains("id=\"notice\""));
}

#[tokio::test]
async fn k1_no_answer_carries_a_password_code_or_secret() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_password(ALICE).await;
    let wrong = browser.answer(&page, "password", "Canary-guess-1").await;
    assert!(!wrong.body.contains("Canary"));
    let page = browser.answer(&page, "password", PASSWORD).await;
    let wrong = browser.answer(&page, "code", "918273").await;
    assert!(!wrong.body.contains("918273"));
    // The enrolment's secret is in its page, and sealed in its flow.
    let page = world.browser().up_to_code("erin@acme.example").await.expect_page("form-enrol");
    let sealed = page.flow();
    let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
    let (raw, text) = (*page.secret().as_bytes(), page.secret().to_base32());
    assert!(!bytes.windows(raw.len()).any(|window| window == raw), "as it is");
    assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "as it is typed");
}

#[tokio::test]
async fn d4_a_full_pool_answers_503_with_retry_after_and_the_same_page() {
    let world = World::new().await;
    let browser = world.browser();
    let page = browser.up_to_password(ALICE).await;
    let held = world.portal.verifier.fill();
    let got = browser.answer(&page, "password", PASSWORD).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(got.headers.contains_key(header::RETRY_AFTER) && got.body.contains("id=\"form-password\""));
    drop(held);
    browser.answer(&got, "password", PASSWORD).await.expect_page("form-code");
    assert_eq!(used(&world, "alice").await, 0);
}

#[tokio::test]
async fn a_native_clients_flow_is_nothing_to_a_browser() {
    let world = World::new().await;
    let browser = world.browser();
    browser.open(LOGIN).await;
    let id = FlowId::from_bytes([6; 16]);
    let native = Binding::Native("livemobile".into());
    let flow = Flow::begin(id, world.fixture.zone.clone(), native, Class::Mobile, None, Entry::Usual, at(0));
    assert!(matches!(flow.step, Step::Username));
    let sealed = flow.seal(&world.portal.flow_key, [1; 12]).unwrap();
    let got = browser.post(&[("flow", &sealed), ("username", ALICE)]).await;
    assert_eq!(got.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn l3_hand_overs_without_end_are_taken_from_nobody() {
    let world =
        World::with(|settings| settings.limits.logins_per_source = std::num::NonZeroU32::new(2).unwrap()).await;
    let mut browser = world.browser();
    browser.host = "de.localhost";
    let mut seen = Vec::new();
    for number in 0..4 {
        let (zone, username) = ("de.localhost".parse().unwrap(), "max@muc.example".parse().unwrap());
        let from = [127, 0, 0, 1].into();
        let handover = Handover::new(FlowId::from_bytes([number; 16]), zone, username, from, at(0));
        let sealed = handover.seal(&world.portal.handover_key, [number; 12]).unwrap();
        seen.push(browser.open(&format!("{LOGIN}?handover={sealed}")).await.status);
    }
    let (taken, not) = (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(seen, [taken, taken, not, not]);
}
