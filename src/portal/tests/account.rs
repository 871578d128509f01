//! What a signed-in person can do to their own sessions, and what a foreign page cannot.

use axum::http::{self, StatusCode, header};
use serde_json::json;

use super::fixture::{Browser, Got, PASSWORD, World, at, code, encoded, event, name};
use crate::base::{FlowId, TenantId};
use crate::credential::current_code;
use crate::directory::{SsoScope, TotpPeriod};
use crate::login::Handover;
use crate::portal::cookies;
use crate::session::EndReason;
use crate::sso::{Audience, Issuer, ProviderSettings, Subject};
use crate::store::{Linked, SsoSet};
use crate::telemetry::EventKind;

const LOGOUT: &str = "/.zonegate/logout";
const ACCOUNT: &str = "/.zonegate/account";
const AUTHENTICATOR: &str = "/.zonegate/account/authenticator";
const SESSIONS: &str = "/.zonegate/account/sessions";

/// A form for `path` as a browser sends it from a page of `origin`.
pub(super) fn form(path: &str, origin: &str) -> http::request::Builder {
    http::Request::post(path)
        .header(header::ACCEPT, "text/html")
        .header(header::ORIGIN, origin)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

pub(super) async fn send(browser: &Browser<'_>, path: &str, fields: &[(&str, &str)]) -> Got {
    browser.send(form(path, "https://desk.localhost:8443"), encoded(fields)).await
}

/// The token of the forms on the account page.
pub(super) fn token(page: &Got) -> String {
    page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// Alice in a browser of her own, with the code of that time.
async fn alice(world: &World, seconds: u64) -> Browser<'_> {
    let browser = world.browser();
    browser.at(seconds).log_in("alice@acme.example").await.expect_in("/");
    browser
}

#[tokio::test]
async fn r116_logging_out_ends_this_session_and_no_other_and_clears_the_cookie() {
    let world = World::new().await;
    let (here, there) = (alice(&world, 0).await, alice(&world, 30).await);
    here.at(31);
    let answer = send(&here, LOGOUT, &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.headers[header::LOCATION], "/.zonegate/login?reason=logged_out");
    assert_eq!(here.cookie(cookies::SESSION).as_deref(), Some(""));
    assert_eq!(answer.headers["clear-site-data"], "\"cache\"");
    assert!(world.session(&here).is_none() && world.session(&there).is_some());
    assert_eq!(send(&here, LOGOUT, &[]).await.status, StatusCode::SEE_OTHER, "a second click is no error");
}

#[tokio::test]
async fn w3_no_foreign_page_logs_anybody_out() {
    let world = World::new().await;
    let browser = alice(&world, 0).await;
    browser.open(LOGOUT).await;
    assert!(world.session(&browser).is_some(), "GET only asks");
    let answer = browser.send(form(LOGOUT, "https://evil.example"), String::new()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(world.session(&browser).is_some());
    // Not even with the token of our page, when the browser says that the form is another site's.
    let csrf = token(&browser.open(ACCOUNT).await);
    let hidden = form(LOGOUT, "null").header("sec-fetch-site", "cross-site");
    assert_eq!(browser.send(hidden, encoded(&[("csrf", &csrf)])).await.status, StatusCode::FORBIDDEN);
    assert!(world.session(&browser).is_some());
    // From another site the cookie stays behind (SameSite); the answer must not take it away all the same.
    let stranger = world.browser();
    let answer = stranger.send(form(LOGOUT, "https://evil.example"), String::new()).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(!answer.headers.contains_key(header::SET_COOKIE) && !answer.headers.contains_key("clear-site-data"));
}

#[tokio::test]
async fn w4_a_form_without_this_browsers_token_ends_nothing() {
    let world = World::new().await;
    let (here, there) = (alice(&world, 0).await, alice(&world, 30).await);
    here.at(31);
    let mine = token(&here.open(ACCOUNT).await);
    let theirs = token(&there.open(ACCOUNT).await);
    for csrf in ["", "x", theirs.as_str(), &mine[1..]] {
        let answer = send(&here, SESSIONS, &[("csrf", csrf), ("action", "others")]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{csrf}");
    }
    let foreign = form(SESSIONS, "https://evil.example");
    let answer = here.send(foreign, encoded(&[("csrf", &mine), ("action", "others")])).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(world.session(&there).is_some());
    let answer = send(&here, SESSIONS, &[("csrf", &mine), ("action", "others")]).await;
    assert_eq!(answer.headers[header::LOCATION], "/.zonegate/account?done=others");
    assert!(world.session(&there).is_none() && world.session(&here).is_some());
}

#[tokio::test]
async fn sec_r36_ending_a_session_needs_the_password_unless_it_was_just_given() {
    let world = World::new().await;
    let there = alice(&world, 0).await;
    let here = alice(&world, 30).await;
    let id = world.session(&there).unwrap().id.to_string();
    here.at(30 + 600);
    let page = here.open(ACCOUNT).await;
    assert!(page.body.contains("id=\"password\""), "{}", page.body);
    let csrf = token(&page);
    let end =
        |password: &'static str| [("csrf", csrf.clone()), ("session", id.clone()), ("password", password.into())];
    let fields =
        |end: &[(&'static str, String)]| encoded(&end.iter().map(|(n, v)| (*n, &**v)).collect::<Vec<_>>());
    for wrong in ["", "Wrong-Guess-00"] {
        let answer = here.send(form(SESSIONS, "https://desk.localhost:8443"), fields(&end(wrong))).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        answer.expect_message("m2");
    }
    there.at(30 + 600);
    assert!(world.session(&there).is_some());
    let answer = here.send(form(SESSIONS, "https://desk.localhost:8443"), fields(&end(PASSWORD))).await;
    assert_eq!(answer.headers[header::LOCATION], "/.zonegate/account?done=ended");
    assert!(world.session(&there).is_none());
}

#[tokio::test]
async fn nobody_ends_the_session_of_another_person() {
    let world = World::new().await;
    let bob = world.browser();
    bob.log_in("bob@acme.example").await.expect_in("/");
    let here = alice(&world, 0).await;
    let id = world.session(&bob).unwrap().id.to_string();
    let csrf = token(&here.open(ACCOUNT).await);
    let known = send(&here, SESSIONS, &[("csrf", &csrf), ("session", &id)]).await;
    let invented = send(&here, SESSIONS, &[("csrf", &csrf), ("session", &"0".repeat(32))]).await;
    assert!(world.session(&bob).is_some());
    assert_eq!((known.status, known.body), (invented.status, invented.body), "which ids exist is not told");
}

#[tokio::test]
async fn the_front_end_is_told_of_its_session_and_a_stranger_of_the_log_in() {
    let world = World::new().await;
    let browser = alice(&world, 0).await;
    let told = browser.open("/.zonegate/session").await.json();
    assert_eq!(told["authenticated"], true);
    assert_eq!(told["user"]["username"], "alice@acme.example");
    assert_eq!(told["slots"]["web"], json!({ "used": 1, "limit": 3 }));
    let stranger = world.browser().open("/.zonegate/session").await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "never a redirect");
    assert_eq!(stranger.json()["login_url"], "https://desk.localhost:8443/.zonegate/login");
}

#[tokio::test]
async fn r14_the_universal_hosts_bare_name_leads_to_its_log_in() {
    let world = World::new().await;
    let browser = Browser { host: "login.localhost", ..world.browser() };
    let answer = browser.open("/").await;
    assert_eq!(
        (answer.status, &answer.headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/.zonegate/login".parse().unwrap())
    );
    assert_eq!(browser.open("/elsewhere").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn g3_nobody_is_told_that_they_are_logged_out_while_the_store_cannot_be_asked() {
    let world = World::new().await;
    let browser = alice(&world, 0).await;
    browser.unsure.set(true);
    let answer = send(&browser, LOGOUT, &[]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!answer.headers.contains_key(header::SET_COOKIE));
    for path in [ACCOUNT, "/.zonegate/session"] {
        assert_eq!(browser.open(path).await.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    browser.unsure.set(false);
    assert!(world.session(&browser).is_some());
}

#[tokio::test]
async fn ending_all_others_ends_the_log_ins_under_way_as_well() {
    let world = World::new().await;
    let here = alice(&world, 0).await;
    let thief = world.browser();
    let page = thief.at(30).up_to_code("alice@acme.example").await.expect_page("form-code");
    let csrf = token(&here.at(30).open(ACCOUNT).await);
    send(&here, SESSIONS, &[("csrf", &csrf), ("action", "others")])
        .await
        .expect_in("/.zonegate/account?done=others");
    let answer = thief.answer(&page, "code", &code(30)).await;
    answer.expect_page("form-username");
    assert!(world.session(&thief).is_none() && world.session(&here).is_some());
}

/// Up to the new QR code: the page that shows it.
async fn new_qr(here: &Browser<'_>, seconds: u64) -> Got {
    let csrf = token(&here.at(seconds).open(AUTHENTICATOR).await);
    let page =
        send(here, AUTHENTICATOR, &[("csrf", &csrf), ("password", PASSWORD), ("code", &code(seconds))]).await;
    page.expect_page("manual-key")
}

#[tokio::test]
async fn s11_a_new_authenticator_ends_the_other_sessions_and_its_form_works_once() {
    let world = World::new().await;
    let (here, there) = (alice(&world, 0).await, alice(&world, 30).await);
    let page = new_qr(&here, 60).await;
    let (csrf, secret) = (token(&page), page.secret());
    let sealed = page.body.split("name=\"sealed\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let confirm = async |seconds| {
        let code = current_code(&secret, TotpPeriod::Thirty, at(seconds));
        send(here.at(seconds), AUTHENTICATOR, &[("csrf", &csrf), ("sealed", sealed), ("code", &code)]).await
    };
    confirm(90).await.expect_in("/.zonegate/account?done=authenticator");
    assert!(world.session(&here).is_some(), "the one it was done in goes on");
    assert!(world.session(there.at(90)).is_none(), "another one does not");
    // A second time it would put the used steps back.
    confirm(120).await.expect_message("notice.expired");
}

#[tokio::test]
async fn r70_a_dashboard_that_needs_no_authenticator_can_have_one_and_is_asked_for_its_code_from_then_on() {
    let world = World::new().await;
    let dora = world.browser();
    dora.up_to_code("dora@acme.example").await.expect_in("/");
    let page = dora.open(ACCOUNT).await;
    assert!(page.body.contains("id=\"new-qr\"") && page.body.contains(AUTHENTICATOR), "{}", page.body);
    let page = dora.open(AUTHENTICATOR).await.expect_page("form-new-qr");
    assert!(!page.body.contains("id=\"code\""), "there is none whose code could be asked for: {}", page.body);
    let csrf = token(&page);
    let typed = async |password| send(&dora, AUTHENTICATOR, &[("csrf", &csrf), ("password", password)]).await;
    typed("Wrong-Guess-00").await.expect_message("m2");
    let page = typed(PASSWORD).await.expect_page("manual-key");
    let secret = page.secret();
    let sealed = page.body.split("name=\"sealed\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let confirm = async |code: &str| {
        send(&dora, AUTHENTICATOR, &[("csrf", &csrf), ("sealed", sealed), ("code", code)]).await
    };
    confirm("000000").await.expect_message("m4");
    let code_at = |seconds| current_code(&secret, TotpPeriod::Thirty, at(seconds));
    confirm(&code_at(0)).await.expect_in("/.zonegate/account?done=enrolled");
    // Nobody gave the code of the one that is there now.
    confirm(&code_at(0)).await.expect_message("notice.expired");
    let page = dora.open("/.zonegate/account?done=enrolled").await.expect_message("account.newqr.first.done");
    assert!(page.body.contains("Request new QR code"), "{}", page.body);
    let user = world.session(&dora).expect("it goes on").user;
    let events = world.fixture.store.events(Some(user), 1).await.unwrap();
    assert_eq!((events[0].kind.as_str(), events[0].reason.as_deref()), ("second_factor_enrolled", None));

    let anew = world.browser();
    let page = anew.at(60).up_to_code("dora@acme.example").await.expect_page("form-code");
    anew.answer(&page, "code", &code_at(60)).await.expect_in("/");
}

#[tokio::test]
async fn r68_who_logs_in_elsewhere_is_offered_no_authenticator_here() {
    let world = World::new().await;
    let dora = world.browser();
    dora.up_to_code("dora@acme.example").await.expect_in("/");
    world.fixture.sso_for_all().await;
    assert!(!dora.open(ACCOUNT).await.body.contains("id=\"new-qr\""));
    dora.open(AUTHENTICATOR).await.expect_in(ACCOUNT);
}

#[tokio::test]
async fn d17_whoever_sends_a_form_of_ours_is_active_and_a_forged_one_is_nobodys_activity() {
    const LATE: u64 = 8 * 3600 - 60;
    let world = World::new().await;
    let (here, there) = (alice(&world, 0).await, alice(&world, 30).await);
    let csrf = token(&here.open(ACCOUNT).await);
    for browser in [&here, &there] {
        browser.at(LATE);
    }
    send(&here, SESSIONS, &[("csrf", &csrf), ("session", "none")]).await.expect_message("m2");
    let foreign = send(&there, SESSIONS, &[("csrf", &csrf), ("session", "none")]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert!(world.session(here.at(LATE + 3600)).is_some(), "the password was wrong, and somebody was there");
    assert!(world.session(there.at(LATE + 3600)).is_none());
}

const LINKS: &str = "/.zonegate/account/links";
const ISSUER: &str = "https://login.acme.example";

/// Alice is somebody at her company's provider.
async fn linked(world: &World) {
    linked_by(world, Audience::Tenant).await;
}

async fn linked_by(world: &World, audience: Audience) {
    let store = &world.fixture.store;
    let alice = store.account(&name("alice")).await.unwrap().unwrap();
    let (issuer, subject) = (Issuer::parse(ISSUER).unwrap(), Subject::parse("248289761001").unwrap());
    let event = event(EventKind::AccountLinked);
    let linked = store.link(alice.tenant.id, &issuer, &subject, alice.user.id, audience, &event).await;
    assert_eq!(linked.unwrap(), Linked::Yes);
}

#[tokio::test]
async fn r6_a_person_sees_their_links_and_removes_them_and_it_is_in_the_log() {
    let world = World::new().await;
    let here = alice(&world, 0).await;
    assert!(!here.open(ACCOUNT).await.body.contains("id=\"h-links\""), "nothing to see yet");
    linked(&world).await;
    let page = here.open(ACCOUNT).await;
    assert!(page.body.contains(ISSUER) && page.body.contains("248289761001"), "{}", page.body);
    let csrf = token(&page);
    let foreign = here.send(form(LINKS, "https://evil.example"), encoded(&[("csrf", &csrf), ("issuer", ISSUER)]));
    assert_eq!(foreign.await.status, StatusCode::FORBIDDEN);
    let elsewhere = [("csrf", csrf.as_str()), ("issuer", "https://other.example")];
    send(&here, LINKS, &elsewhere).await.expect_in("/.zonegate/account");
    let user = world.session(&here).unwrap().user;
    assert_eq!(world.fixture.store.links_of(user).await.unwrap().len(), 1);
    let removed = send(&here, LINKS, &[("csrf", &csrf), ("issuer", ISSUER)]).await;
    removed.expect_in("/.zonegate/account?done=unlinked");
    assert!(world.fixture.store.links_of(user).await.unwrap().is_empty());
    let events = world.fixture.store.events(Some(user), 1).await.unwrap();
    assert_eq!((events[0].kind.as_str(), events[0].actor.as_str()), ("account_unlinked", "user"));
}

#[tokio::test]
async fn r6_where_one_issuer_is_both_the_link_that_is_removed_is_the_one_that_was_meant() {
    let world = World::new().await;
    let here = alice(&world, 0).await;
    for audience in [Audience::Tenant, Audience::Suite] {
        linked_by(&world, audience).await;
    }
    let user = world.session(&here).unwrap().user;
    let page = here.open(ACCOUNT).await;
    assert!(page.body.contains("name=\"issuer\"") && page.body.contains("name=\"suite_issuer\""), "{}", page.body);
    let removed = send(&here, LINKS, &[("csrf", &token(&page)), ("suite_issuer", ISSUER)]).await;
    removed.expect_in("/.zonegate/account?done=unlinked");
    let left = world.fixture.store.links_of(user).await.unwrap();
    assert_eq!(left.iter().map(|link| link.audience).collect::<Vec<_>>(), [Audience::Tenant]);
}

#[tokio::test]
async fn r8_nobody_gets_out_of_single_sign_on_by_removing_the_link_that_selects_them() {
    let world = World::new().await;
    world.fixture.provider_tested().await;
    let here = alice(&world, 0).await;
    linked(&world).await;
    let acme = TenantId::from_bytes([1; 16]);
    let set = world.fixture.store.set_sso(acme, SsoScope::Selected, None, &event(EventKind::SsoChanged)).await;
    assert_eq!(set.unwrap(), SsoSet::Yes);
    let page = here.open(ACCOUNT).await;
    assert!(page.body.contains(ISSUER) && !page.body.contains("name=\"issuer\""), "{}", page.body);
    let refused = send(&here, LINKS, &[("csrf", &token(&page)), ("issuer", ISSUER)]).await;
    refused.expect_message("account.unlinked.not");
    let user = world.session(&here).unwrap().user;
    assert_eq!(world.fixture.store.links_of(user).await.unwrap().len(), 1);

    // With another provider the link selects nobody any more, and is hers to remove.
    let settings = ProviderSettings::new(Issuer::parse("https://new.acme.example").unwrap(), "zonegate".into());
    world.fixture.store.set_provider(acme, &settings, None, &event(EventKind::ProviderChanged)).await.unwrap();
    let page = here.open(ACCOUNT).await;
    assert!(page.body.contains("name=\"issuer\""), "{}", page.body);
    let removed = send(&here, LINKS, &[("csrf", &token(&page)), ("issuer", ISSUER)]).await;
    removed.expect_in("/.zonegate/account?done=unlinked");
    assert!(world.fixture.store.links_of(user).await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_has_no_password_that_counts_is_asked_for_none_but_to_log_in_anew() {
    let world = World::new().await;
    let (there, here) = (alice(&world, 0).await, alice(&world, 30).await);
    world.fixture.sso_for_all().await;
    here.at(30 + 600);
    let page = here.open(ACCOUNT).await;
    assert!(page.body.contains("/.zonegate/sso/acme?anew&#38;return_to=/.zonegate/account"), "{}", page.body);
    assert!(!page.body.contains("type=\"password\"") && !page.body.contains("id=\"new-qr\""), "{}", page.body);
    let csrf = token(&page);
    let ended = send(&here, SESSIONS, &[("csrf", &csrf), ("action", "others"), ("password", PASSWORD)]).await;
    ended.expect_message("account.anew");
    assert!(world.session(there.at(630)).is_some(), "the password was not even looked at");
}

#[tokio::test]
async fn s12_nobody_is_sent_to_a_companys_provider_by_a_foreign_page_without_being_asked() {
    let world = World::new().await;
    world.fixture.sso_out_of_reach().await;
    let sent_by = async |site: Option<&str>| {
        let request =
            http::Request::get("/.zonegate/sso/acme?return_to=/tickets").header(header::ACCEPT, "text/html");
        let request = site.into_iter().fold(request, |request, site| request.header("sec-fetch-site", site));
        world.browser().send(request, String::new()).await
    };
    for site in ["cross-site", "same-site", "x"] {
        let page = sent_by(Some(site)).await;
        assert_eq!(page.status, StatusCode::OK, "{site}");
        assert!(page.body.contains("action=\"/.zonegate/sso/acme/initiate\""), "{site}: {}", page.body);
        assert!(page.body.contains("value=\"/tickets\""), "{site}: {}", page.body);
    }
    // That it was tried is what is seen.
    for site in [None, Some("none"), Some("same-origin")] {
        assert_eq!(sent_by(site).await.status, StatusCode::FORBIDDEN, "{site:?}");
    }
    // A name that was typed elsewhere, and by somebody else.
    let handed_over = async |from: [u8; 4], id: u8, site: &str| {
        let (zone, alice) = ("desk.localhost".parse().unwrap(), "alice@acme.example".parse().unwrap());
        let handover = Handover::new(FlowId::from_bytes([id; 16]), zone, alice, from.into(), at(0));
        let sealed = handover.seal(&world.portal.handover_key, [id; 12]).unwrap();
        let request = http::Request::get(format!("/.zonegate/login?handover={sealed}"));
        let request = request.header(header::ACCEPT, "text/html").header("sec-fetch-site", site);
        world.browser().send(request, String::new()).await
    };
    // All of an office have one address.
    for (id, from, site) in [
        (1, [192, 0, 2, 1], "cross-site"),
        (2, [192, 0, 2, 1], "same-site"),
        (3, [127, 0, 0, 1], "cross-site"),
        (4, [127, 0, 0, 1], "none"),
    ] {
        let page = handed_over(from, id, site).await;
        assert_eq!(page.status, StatusCode::OK, "{site}");
        assert!(page.body.contains("action=\"/.zonegate/sso/acme/initiate\""), "{site}: {}", page.body);
        assert!(page.body.contains("value=\"alice@acme.example\""), "{site}: {}", page.body);
    }
    let went_on = handed_over([127, 0, 0, 1], 5, "same-site").await.status;
    assert_eq!(went_on, StatusCode::FORBIDDEN, "whoever typed it goes on");
}

#[tokio::test]
async fn a_form_that_arrives_when_its_session_has_ended_is_nobodys() {
    let world = World::new().await;
    let browser = alice(&world, 0).await;
    // The session was looked for when the head was there; the body takes its time.
    let visit = browser.visit();
    let session = world.session(&browser).unwrap();
    assert!(world.portal.person(&visit, &http::HeaderMap::new()).is_ok());
    let (user, ended) = (session.user, event(EventKind::SessionEnded));
    world.portal.sessions.end(user, &[session.id], EndReason::Revoked, &[ended], at(1)).await.unwrap();
    assert!(world.portal.person(&visit, &http::HeaderMap::new()).is_err());
}

#[tokio::test]
async fn r83_whoever_only_asks_what_is_there_does_not_use_up_a_hand_over() {
    let world = World::new().await;
    let (zone, alice) = ("desk.localhost".parse().unwrap(), "alice@acme.example".parse().unwrap());
    let handover = Handover::new(FlowId::from_bytes([7; 16]), zone, alice, [192, 0, 2, 1].into(), at(0));
    let link =
        format!("/.zonegate/login?handover={}", handover.seal(&world.portal.handover_key, [7; 12]).unwrap());
    let browser = world.browser();
    let scanned =
        browser.send(http::Request::head(&link).header(header::ACCEPT, "text/html"), String::new()).await;
    assert_eq!(scanned.status, StatusCode::OK);
    let page = browser.open(&link).await;
    assert!(page.body.contains("name=\"password\""), "{}", page.body);
}

#[tokio::test]
async fn d9_one_persons_forms_leave_the_disk_to_everybody_else() {
    let world = World::new().await;
    let (alice, bob) = (alice(&world, 0).await, world.browser());
    bob.at(0).log_in("bob@acme.example").await.expect_in("/");
    let csrf = token(&alice.open(ACCOUNT).await);
    let bobs = token(&bob.open(ACCOUNT).await);
    let forge = |browser| Browser::send(browser, form(SESSIONS, "https://evil.example"), String::new());
    let ask =
        async |browser, csrf: &str| send(browser, SESSIONS, &[("csrf", csrf), ("session", "nobody")]).await.status;
    // What others make a browser send is written up to a rate, and uses nothing of its person's up.
    for _ in 0..300 {
        assert_eq!(forge(&alice).await.status, StatusCode::FORBIDDEN);
    }
    let written = world.fixture.store.events(None, 10_000).await.unwrap();
    let written = written.iter().filter(|line| line.kind == "request_forged").count();
    assert!((1..300).contains(&written), "{written}");
    assert_ne!(ask(&alice, &csrf).await, StatusCode::TOO_MANY_REQUESTS);
    let mut turned_away = 0;
    for _ in 0..300 {
        turned_away += usize::from(ask(&alice, &csrf).await == StatusCode::TOO_MANY_REQUESTS);
    }
    // More come with the time that this takes.
    assert!(turned_away > 100, "{turned_away}");
    assert_ne!(ask(&bob, &bobs).await, StatusCode::TOO_MANY_REQUESTS, "another one's are taken");
}
