//! The flow as a phone app or a mail add-in meets it.

use axum::http::request::Builder;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::account::form;
use super::fixture::{Browser, Got, PASSWORD, World, at, code, encoded, name};
use crate::base::TenantId;
use crate::portal::native::API_LOGIN;
use crate::session::{Class, EndReason};
use crate::store::EventRow;

const ALICE: &str = "alice@acme.example";

fn credentials(client: &str, username: &str, password: &str) -> Value {
    json!({"client": client, "username": username, "password": password})
}

#[track_caller]
fn expect(got: &Got, status: StatusCode, code: &str) {
    assert_eq!((got.status, got.json()["status"].as_str()), (status, Some(code)), "{}", got.body);
}

/// Client, password and code given: whatever comes next.
async fn log_in(app: &Browser<'_>, client: &str) -> Got {
    let asked = app.tell(&credentials(client, ALICE, PASSWORD)).await;
    expect(&asked, StatusCode::OK, "otp_required");
    assert_eq!(asked.json()["kind"], "totp");
    app.tell(&json!({"flow": asked.json()["flow"], "code": code(app.now.get())})).await
}

#[tokio::test]
async fn r103_a_phone_logs_in_with_password_and_code() {
    let world = World::new().await;
    let app = world.browser();
    let got = log_in(&app, "livemobile").await;
    expect(&got, StatusCode::OK, "authenticated");
    let session = world.session(&app).unwrap();
    assert_eq!((session.class, session.device_label()), (Class::Mobile, "LiveMobile"));
    assert_eq!(got.json()["session"]["id"], session.id.to_string());
    assert_eq!(got.json()["session"]["class"], "mobile");
    assert_eq!(got.json()["session"]["expires_at"], at(86400).to_string());
}

#[tokio::test]
async fn table_c_each_refusal_has_its_code() {
    let world = World::new().await;
    let app = world.browser();
    let check = async |body: Value, status, code| {
        let got = app.tell(&body).await;
        expect(&got, status, code);
        assert!(world.session(&app).is_none());
        got
    };
    let wrong = StatusCode::UNAUTHORIZED;
    check(credentials("livemobile", ALICE, "Wrong-guess-1"), wrong, "bad_credentials").await;
    check(credentials("livemobile", "nobody@acme.example", PASSWORD), wrong, "bad_credentials").await;
    check(credentials("livemobile", "ada@acme.example", PASSWORD), wrong, "bad_credentials").await;
    check(credentials("livemobile", "jdoe", PASSWORD), wrong, "bad_credentials").await;
    check(json!({"client": "livemobile"}), wrong, "bad_credentials").await;
    check(credentials("unheard-of", ALICE, PASSWORD), StatusCode::BAD_REQUEST, "unknown_client").await;
    let setup = credentials("livemobile", "erin@acme.example", PASSWORD);
    check(setup, StatusCode::FORBIDDEN, "otp_setup_required").await;
    let elsewhere = credentials("livemobile", "max@muc.example", PASSWORD);
    let got = check(elsewhere, StatusCode::MISDIRECTED_REQUEST, "wrong_zone").await;
    assert_eq!(got.json()["host"], "de.localhost");
    assert_eq!(got.json()["message"], "Use your zone address: de.localhost.", "M23");
    check(json!({"flow": 7}), StatusCode::BAD_REQUEST, "bad_request").await;
    check(json!({"surprise": "x"}), StatusCode::BAD_REQUEST, "bad_request").await;
    assert_eq!(app.tell(&json!({"flow": "forged", "code": "123456"})).await.status, StatusCode::FORBIDDEN);

    let asked = app.tell(&credentials("livemobile", ALICE, PASSWORD)).await.json();
    let flow = json!({"flow": asked["flow"], "code": code(600)});
    let got = check(flow, wrong, "otp_invalid").await;
    assert!(got.json()["flow"].is_string(), "the code may be tried again");
    app.now.set(300);
    check(json!({"flow": asked["flow"], "code": code(300)}), StatusCode::BAD_REQUEST, "flow_expired").await;
}

#[tokio::test]
async fn r106_at_the_universal_host_programs_are_told_their_zone() {
    let world = World::new().await;
    let mut app = world.browser();
    app.host = "login.localhost";
    for (username, host) in [(ALICE, "desk.localhost"), ("max@muc.example", "de.localhost")] {
        let got = app.tell(&credentials("livemobile", username, PASSWORD)).await;
        expect(&got, StatusCode::MISDIRECTED_REQUEST, "wrong_zone");
        assert_eq!(got.json()["host"], host);
    }
    assert_eq!(world.portal.verifier.computed(), 0, "no password is looked at there");
}

#[tokio::test]
async fn r53_r54_u10_web_and_phone_failures_count_together_and_lock_both() {
    let world = World::new().await;
    let (browser, app) = (world.browser(), world.browser());
    let page = browser.up_to_password(ALICE).await;
    let (mut phones, mut webs) = (0, 0);
    for web in [true, false, true, false, true, false] {
        if web {
            browser.answer(&page, "password", "Wrong-guess-1").await.expect_message("m2");
            webs += 1;
        } else {
            let got = app.tell(&credentials("livemobile", ALICE, "Wrong-guess-1")).await;
            expect(&got, StatusCode::UNAUTHORIZED, "bad_credentials");
            phones += 1;
        }
    }
    assert_eq!((webs, phones), (3, 3));
    browser.answer(&page, "password", "Wrong-guess-1").await.expect_message("m3");
    let got = app.tell(&credentials("outlook", ALICE, PASSWORD)).await;
    expect(&got, StatusCode::FORBIDDEN, "locked");
    browser.answer(&page, "password", PASSWORD).await.expect_message("m3");
    world.fixture.unlock(&name("alice")).await;
    expect(&log_in(&app, "livemobile").await, StatusCode::OK, "authenticated");
}

#[tokio::test]
async fn u17_phone_and_mail_share_one_slot_and_leave_the_web_alone() {
    let world = World::new().await;
    let web = world.browser();
    web.log_in(ALICE).await.expect_in("/");
    let (phone, mail) = (world.browser(), world.browser());
    expect(&log_in(phone.at(30), "livemobile").await, StatusCode::OK, "authenticated");
    let got = log_in(mail.at(60), "outlook").await;
    expect(&got, StatusCode::CONFLICT, "session_limit");
    assert!(world.session(&mail).is_none());
    let listed = got.json()["sessions"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["label"], &listed[0]["started_at"]),
        (&json!("LiveMobile"), &json!(at(30).to_string()))
    );
    let phones = world.session(&phone).unwrap();
    // Only what was listed can be ended.
    let webs = world.session(&web).unwrap();
    let foreign = json!({"flow": got.json()["flow"], "terminate": webs.id.to_string()});
    let got = mail.tell(&foreign).await;
    expect(&got, StatusCode::CONFLICT, "session_limit");
    let chosen = json!({"flow": got.json()["flow"], "terminate": listed[0]["id"]});
    expect(&mail.tell(&chosen).await, StatusCode::OK, "authenticated");
    assert_eq!((phones.end_reason(), webs.end_reason()), (Some(EndReason::Displaced), None));
}

#[tokio::test]
async fn d4_a_full_pool_is_told_as_throttled() {
    let world = World::new().await;
    let app = world.browser();
    let held = world.portal.verifier.fill();
    let got = app.tell(&credentials("livemobile", ALICE, PASSWORD)).await;
    expect(&got, StatusCode::SERVICE_UNAVAILABLE, "throttled");
    assert!(got.headers.contains_key(header::RETRY_AFTER));
    drop(held);
}

#[tokio::test]
async fn w2_a_page_of_another_site_cannot_use_the_address() {
    let world = World::new().await;
    let app = world.browser();
    let body = credentials("livemobile", ALICE, PASSWORD).to_string();
    let post = || Request::post(API_LOGIN);
    let json = |request: Builder| request.header(header::CONTENT_TYPE, "application/json");
    let cases = [
        (json(post()).header(header::ORIGIN, "https://evil.example"), StatusCode::FORBIDDEN),
        (json(post()).header(header::ORIGIN, "null"), StatusCode::FORBIDDEN),
        (json(post()).header("sec-fetch-site", "cross-site"), StatusCode::FORBIDDEN),
        (post().header(header::CONTENT_TYPE, "text/plain"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (json(post()).header(header::ORIGIN, "https://desk.localhost:8443"), StatusCode::OK),
    ];
    for (request, want) in cases {
        assert_eq!(app.send(request, body.clone()).await.status, want);
    }
}

/// What the log says last of somebody who did not get to a provider.
async fn failed(world: &World) -> EventRow {
    let event = world.fixture.store.events(None, 1).await.unwrap().remove(0);
    assert_eq!(event.kind, "login_failed", "{event:?}");
    event
}

/// The path of the address that a client of somebody at the provider is told.
async fn led_to(app: &Browser<'_>, username: &str) -> String {
    let got = app.tell(&credentials("outlook", username, "")).await;
    expect(&got, StatusCode::FORBIDDEN, "sso_required");
    let url = got.json()["login_url"].as_str().unwrap().to_owned();
    url.strip_prefix("https://desk.localhost:8443").unwrap().to_owned()
}

#[tokio::test]
async fn r82_r100_d42_the_browser_that_a_client_opens_logs_in_for_the_clients_class() {
    let world = World::new().await;
    world.fixture.sso_out_of_reach().await;
    let path = led_to(&world.browser(), ALICE).await;
    let other = led_to(&world.browser(), "nobody@acme.example").await;
    assert_eq!(path.len(), other.len(), "E4: nobody's is as long as somebody's");
    let (address, client) = path.split_once("?client=").unwrap();
    assert_eq!(address, "/.zonegate/sso/acme");
    let set_out = async |path: &str, now: u64| {
        let page = world.browser().at(now).open(path).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}: {}", page.body);
        (failed(&world).await.class.unwrap(), page.body)
    };
    let (class, page) = set_out(&path, 599).await;
    assert_eq!(class, "mobile");
    assert!(
        page.contains("/.zonegate/sso/acme?client&#61;") || page.contains("/.zonegate/sso/acme?client="),
        "{page}"
    );
    // The browser says what it is, whatever else the address says.
    let mut changed = client.to_owned().into_bytes();
    changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let of_suite = world.portal.class_ticket(&world.browser().visit(), None, Class::Mobile).unwrap();
    let bolt = Some(TenantId::from_bytes([3; 16]));
    let of_bolt = world.portal.class_ticket(&world.browser().visit(), bolt, Class::Mobile).unwrap();
    for query in [
        "",
        "?client=",
        "?client=mobile",
        &format!("?client={changed}"),
        &format!("?{of_suite}"),
        &format!("?{of_bolt}"),
    ] {
        assert_eq!(set_out(&format!("{address}{query}"), 0).await.0, "web", "{query}");
    }
    assert_eq!(set_out(&path, 600).await.0, "web", "ten minutes later");

    // An add-in's window is opened by a page of somebody else's: the person is asked, and the class is kept.
    let browser = world.browser();
    let sent = Request::get(&path).header(header::ACCEPT, "text/html").header("sec-fetch-site", "cross-site");
    let page = browser.send(sent, String::new()).await;
    let field = |name: &str| {
        let rest = page.body.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    assert_eq!(field("client"), client);
    for (client, want) in [(client, "mobile"), (&changed, "web"), ("", "web")] {
        let yes = form(&format!("{address}/initiate"), "https://desk.localhost:8443");
        let answer = browser.send(yes, encoded(&[("csrf", &field("csrf")), ("client", client)])).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
        assert_eq!(failed(&world).await.class.as_deref(), Some(want));
    }
}

#[tokio::test]
async fn r121_who_does_not_get_to_the_provider_is_told_of_by_account_class_and_address() {
    let world = World::new().await;
    world.fixture.sso_out_of_reach().await;
    let store = &world.fixture.store;
    let alice = store.account(&name("alice")).await.unwrap().unwrap();
    for (username, user) in [(ALICE, Some(alice.user.id)), ("nobody@acme.example", None)] {
        let browser = world.browser();
        assert_eq!(browser.up_to_password(username).await.status, StatusCode::FORBIDDEN);
        let event = failed(&world).await;
        assert_eq!((event.tenant, event.user), (Some(alice.tenant.id), user), "{username}");
        assert_eq!((event.class.as_deref(), event.address.as_deref()), (Some("web"), Some("127.0.0.1")));
    }
}
