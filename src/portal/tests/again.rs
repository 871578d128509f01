//! Who begins a log-in anew, or in several tabs, and where each page of it may lead.

use axum::http::{Request, StatusCode, header};

use super::fixture::{Got, PASSWORD, World, code, encoded, name};
use crate::portal::cookies;
use crate::portal::login::LOGIN;
use crate::session::EndReason;
use crate::zone::{Zone, ZoneTable};

const ALICE: &str = "alice@acme.example";

/// Where the link of that id leads.
fn href(page: &Got, id: &str) -> String {
    let tag = page.body.split('<').find(|tag| tag.contains(&format!("id=\"{id}\""))).unwrap();
    let href = tag.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
    // As a browser reads it.
    let text = href.replace("&#38;", "&").replace("&amp;", "&").replace("&#x26;", "&");
    assert!(!text.contains("&#"), "{text}");
    text
}

fn policy(page: &Got) -> &str {
    page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap()
}

#[tokio::test]
async fn r40_d26_not_you_and_cancel_lead_to_the_username_whatever_provider_the_browser_knows() {
    let world = World::new().await;
    let browser = world.browser();
    let first = browser.open("/.zonegate/login?return_to=/tickets/7%3Fview%3Dfull").await;
    let password = browser.answer(&first, "username", ALICE).await.expect_page("form-password");
    let code_page = browser.answer(&password, "password", PASSWORD).await.expect_page("form-code");
    let erin = world.browser().up_to_code("erin@acme.example").await.expect_page("form-enrol");
    let backs = [
        (href(&password, "not-you"), true),
        (href(&code_page, "cancel"), true),
        (href(&erin, "cancel"), false),
        (href(&browser.open("/.zonegate/forgot").await, "back"), false),
        (href(&browser.open("/.zonegate/hosting").await, "back"), false),
    ];
    // Somebody else's company is remembered here, and its provider in use.
    world.fixture.sso_for_all().await;
    let entered = "max@muc.example";
    for (back, has_target) in backs {
        assert_eq!(back.contains("return_to="), has_target, "{back}");
        browser.cookies.borrow_mut().insert(cookies::TENANT.into(), "acme".into());
        let page = browser.open(&back).await.expect_page("form-username");
        assert_eq!(browser.cookie(cookies::TENANT).as_deref(), Some(""), "{back}: and it is remembered no more");
        // Another zone's name is enough to see that the page works.
        assert_eq!(browser.answer(&page, "username", entered).await.status, StatusCode::SEE_OTHER, "{back}");
    }
}

#[tokio::test]
async fn d25_whoever_chose_the_password_page_keeps_it_and_the_deep_link_through_not_you_and_a_page_that_expired() {
    let world = World::new().await;
    world.fixture.sso_for_all().await;
    let browser = world.browser();
    let there = "/.zonegate/login?with=password&return_to=/tickets/7";
    let first = browser.open(there).await.expect_page("form-username");
    let password = browser.answer(&first, "username", ALICE).await.expect_page("form-password");
    let again = browser.open(&href(&password, "not-you")).await.expect_page("form-username");
    browser.answer(&again, "username", ALICE).await.expect_page("form-password");
    // Ten minutes later.
    browser.at(600);
    let sent = browser.post(&[("flow", &password.flow()), ("username", ALICE), ("password", PASSWORD)]).await;
    let sent = sent.expect_page("form-username").expect_notice("expired");
    assert!(sent.body.contains(&format!("value=\"{ALICE}\"")), "the name is kept: {}", sent.body);
    browser.answer(&sent, "username", ALICE).await.expect_page("form-password");

    world.fixture.sso_for_nobody().await;
    let late = browser.at(1200).post(&[("flow", &first.flow()), ("username", ALICE)]).await;
    let page = browser.answer(&late.expect_page("form-username"), "username", ALICE).await;
    let page = browser.answer(&page, "password", PASSWORD).await.expect_page("form-code");
    browser.answer(&page, "code", &code(1200)).await.expect_in("/tickets/7");
}

#[tokio::test]
async fn w2_of_tabs_that_a_new_browser_opens_at_once_each_goes_on_and_none_with_what_it_sent() {
    let world = World::new().await;
    let browser = world.browser();
    let first = browser.open("/.zonegate/login?return_to=/tickets/7").await.expect_page("form-username");
    // The second one was asked for before the first one's cookie had come.
    browser.cookies.borrow_mut().clear();
    browser.open(LOGIN).await.expect_page("form-username");
    let told = world.fixture.store.events(None, 1).await.unwrap();
    let sent = browser.post(&[("flow", &first.flow()), ("username", ALICE)]).await;
    assert_eq!(sent.status, StatusCode::FORBIDDEN);
    assert!(sent.body.contains("id=\"form-username\""), "not the password's page: {}", sent.body);
    assert!(sent.body.contains(&format!("value=\"{ALICE}\"")), "the name is kept: {}", sent.body);
    assert_eq!(world.fixture.store.events(None, 1).await.unwrap(), told, "nobody forged anything");
    let page = browser.answer(&sent, "username", ALICE).await.expect_page("form-password");
    let page = browser.answer(&page, "password", PASSWORD).await.expect_page("form-code");
    browser.answer(&page, "code", &code(0)).await.expect_in("/tickets/7");

    // A password or a code goes nowhere in this way, and whose flow it was is not told.
    let (other, thief) = (world.browser(), world.browser());
    let page = other.at(30).up_to_code("bob@acme.example").await.expect_page("form-code");
    thief.at(30).open(LOGIN).await;
    let sent = thief.post(&[("flow", &page.flow()), ("code", &code(30))]).await;
    assert_eq!(sent.status, StatusCode::FORBIDDEN);
    assert!(world.session(&thief).is_none() && !sent.body.contains("bob"), "{}", sent.body);
    other.answer(&page, "code", &code(30)).await.expect_in("/");
}

#[tokio::test]
async fn r43_d41_every_page_of_a_log_in_may_lead_where_the_application_does() {
    let world = World::new().await;
    let outward = |page: &Got, what: &str| {
        assert!(policy(page).ends_with("form-action 'self' https:"), "{what}: {}", policy(page));
    };
    let browser = world.browser();
    let page = browser.open(LOGIN).await.expect_page("form-username");
    outward(&page, "username");
    let page = browser.answer(&page, "username", ALICE).await.expect_page("form-password");
    outward(&page, "password: some kinds are asked for no code");
    let page = browser.answer(&page, "password", PASSWORD).await.expect_page("form-code");
    outward(&page, "code");
    let erin = world.browser();
    let page = erin.up_to_code("erin@acme.example").await.expect_page("form-enrol");
    outward(&page, "enrolment");
    let shown = crate::credential::current_code(
        &page.secret(),
        crate::directory::TotpPeriod::Thirty,
        super::fixture::at(0),
    );
    outward(&erin.answer(&page, "code", &shown).await.expect_page("form-enrolled"), "confirmation");
    let three: Vec<_> = (0..3).map(|_| world.browser()).collect();
    for (browser, number) in three.iter().zip(1..) {
        browser.at(30 * number).log_in(ALICE).await.expect_in("/");
    }
    let fourth = world.browser();
    let full = fourth.at(120).log_in(ALICE).await;
    assert!(full.body.contains("id=\"keep-sessions\""), "{}", full.body);
    outward(&full, "limit");
    assert!(policy(&browser.open("/.zonegate/hosting").await).contains("form-action 'self' https://desk"));
}

#[tokio::test]
async fn d7_one_source_that_tries_too_often_is_told_429_and_is_not_called_a_crowd() {
    let world =
        World::with(|settings| settings.limits.logins_per_source = std::num::NonZeroU32::new(1).unwrap()).await;
    let browser = world.browser();
    let page = browser.up_to_password(ALICE).await;
    let page = browser.answer(&page, "password", "Wrong-guess-1").await.expect_message("m2");
    let got = browser.answer(&page, "password", PASSWORD).await.expect_message("m25.often");
    assert_eq!(got.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(got.headers.contains_key(header::RETRY_AFTER) && got.body.contains("id=\"form-password\""));
    let native = serde_json::json!({"client": "livemobile", "username": ALICE, "password": PASSWORD});
    let got = world.browser().tell(&native).await;
    assert_eq!((got.status, got.json()["status"].as_str()), (StatusCode::TOO_MANY_REQUESTS, Some("throttled")));
    let account = world.fixture.store.account(&name("alice")).await.unwrap().unwrap();
    assert_eq!(account.attempts_used, 1, "and costs no attempt");
}

#[tokio::test]
async fn a_log_in_leads_back_to_the_page_of_ours_that_was_left_and_says_that_a_form_came_to_nothing() {
    let world = World::new().await;
    let browser = world.browser();
    browser.log_in(ALICE).await.expect_in("/");
    let session = world.session(&browser).unwrap();
    let csrf = super::account::token(&browser.open("/.zonegate/account").await);
    let (ended, now) = (EndReason::Revoked, super::fixture::at(0));
    world.portal.sessions.end(session.user, &[session.id], ended, &[], now).await.unwrap();

    let page = "/.zonegate/login?reason=revoked&return_to=/.zonegate/account";
    browser.open("/.zonegate/account").await.expect_in(page);
    browser.open("/.zonegate/account/authenticator").await.expect_in(page);
    let form = super::account::form("/.zonegate/account/sessions", "https://desk.localhost:8443");
    let sent = browser.send(form, encoded(&[("csrf", &csrf), ("action", "others")])).await;
    let login = "/.zonegate/login?reason=revoked&unsent=1&return_to=/.zonegate/account";
    let page = browser.open(sent.expect_in(login).headers[header::LOCATION].to_str().unwrap()).await;
    let page = page.expect_page("form-username").expect_notice("ended by you or an administrator");
    let page = page.expect_notice("What you sent was not carried out");
    let page = browser.at(30).answer(&page, "username", ALICE).await;
    let page = browser.answer(&page, "password", PASSWORD).await;
    browser.answer(&page, "code", &code(30)).await.expect_in("/.zonegate/account");
    // A front end is told as ever.
    let program = Request::get("/.zonegate/account").header(header::ACCEPT, "application/json");
    let got = world.browser().send(program, String::new()).await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED);
    assert_eq!(got.json()["login_url"], "https://desk.localhost:8443/.zonegate/login");
}

#[tokio::test]
async fn r97_r98_whose_session_ended_by_itself_reads_why_and_goes_on_at_their_provider() {
    let world = World::new().await;
    world.fixture.sso_for_all().await;
    let browser = world.browser();
    let knows = |slug: &str| browser.cookies.borrow_mut().insert(cookies::TENANT.into(), slug.into());
    for ended in ["reason=idle&after=28800", "reason=expired"] {
        knows("acme");
        let page = browser.open(&format!("/.zonegate/login?{ended}&return_to=/tickets/7%3Fview%3Dfull")).await;
        let page = page.expect_page("form-username").expect_page("notice").expect_page("provider");
        assert!(page.body.contains("Continue with ACME"), "{ended}: {}", page.body);
        let want = "/.zonegate/sso/acme?return_to=%2Ftickets%2F7%3Fview%3Dfull";
        assert_eq!(href(&page, "provider"), want, "{ended}");
        assert_eq!(browser.cookie(cookies::TENANT).as_deref(), Some("acme"), "it is remembered on");
    }
    assert_eq!(href(&browser.open("/.zonegate/login?reason=idle").await, "provider"), "/.zonegate/sso/acme");
    // Who ended it, or wants to be somebody else, or is known to no provider that is in use.
    for (slug, query) in [
        ("acme", "reason=logged_out"),
        ("acme", "reason=displaced"),
        ("acme", "reason=revoked"),
        ("acme", "reason=idle&with=username"),
        ("muc", "reason=idle"),
        ("nobody", "reason=idle"),
    ] {
        knows(slug);
        let page = browser.open(&format!("/.zonegate/login?{query}")).await.expect_page("form-username");
        assert!(!page.body.contains("id=\"provider\""), "{query}: {}", page.body);
    }
    knows("acme");
    world.fixture.sso_for_nobody().await;
    let page = browser.open("/.zonegate/login?reason=idle").await.expect_page("notice");
    assert!(!page.body.contains("id=\"provider\""), "{}", page.body);
}

#[tokio::test]
async fn m17_only_where_there_is_a_suite_does_anybody_read_of_its_log_out() {
    let world = World::new().await;
    let page = world.browser().open("/.zonegate/login?reason=logged_out&provider=suite").await;
    page.expect_notice("You are logged out.</p>");
}

#[tokio::test]
async fn r11_the_hosting_page_lists_every_zone_in_the_operators_order_and_leads_there() {
    let rows = [
        ("Limited", "PHL", "ww1.localhost", "Selected customers"),
        ("DE 1", "MUC", "ww18.localhost", "German-language customers, Germany"),
        ("Limited", "LON", "ww17.localhost", "<b>UK</b>"),
    ];
    let world = World::with(|settings| {
        let zones = rows.map(|(name, data_centre, host, description)| {
            let zone = super::fixture::zone(host, crate::zone::Language::En);
            Zone { name: name.into(), data_centre: data_centre.into(), description: description.into(), ..zone }
        });
        let universal = Some("login.localhost".parse().unwrap());
        settings.zones = ZoneTable::new(zones.into(), universal).unwrap();
    })
    .await;
    let browser = super::fixture::Browser { host: "login.localhost", ..world.browser() };
    let page = browser.open("/.zonegate/hosting").await.expect_page("zones").body;
    let table = page.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
    let shown: Vec<_> = table.lines().filter(|line| line.starts_with("<tr>")).collect();
    let want = rows.map(|(name, data_centre, host, description)| {
        let description = description.replace('<', "&#60;").replace('>', "&#62;");
        format!(
            "<tr><td>{name}</td><td>{data_centre}</td><td class=\"host\"><a href=\"https://{host}:8443\">{host}</a></td>\
             <td>{description}</td></tr>"
        )
    });
    assert_eq!(shown, want, "name, data centre, hostname as a link, description");
}
