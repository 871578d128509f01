//! What an application's menu is told: of whom, and of which modules.

use axum::http::{self, StatusCode, header};
use serde_json::{Value, json};

use super::account::form;
use super::fixture::{Browser, Got, World, at, event};
use crate::base::{FlowId, TenantId};
use crate::directory::{Lifetimes, Slots, SuiteAccess, SuiteMode};
use crate::login::{Claimant, Proven};
use crate::portal::cookies;
use crate::session::{Class, Device};
use crate::sso::{Issuer, Module, Proof, ProviderSettings, Suite};
use crate::table::{Begun, NewSession};
use crate::telemetry::EventKind;

const LAUNCHER: &str = "/.zonegate/launcher";
const SCRIPT: &str = "/.zonegate/assets/menu.js";
const ALICE: &str = "alice@acme.example";
const ONE: &str = "https://one.example";

/// AcmeOne with three modules.
fn suite() -> Suite {
    let module = |id: &str, name: &str| Module {
        id: id.into(),
        name: name.into(),
        url: format!("https://{id}.example/").parse().unwrap(),
    };
    Suite {
        name: "AcmeOne".into(),
        home: Some("https://one.example/home".parse().unwrap()),
        settings: ProviderSettings::new(Issuer::parse(ONE).unwrap(), "zonegate".into()),
        secret: None,
        company_claim: "company".into(),
        modules_claim: "modules".into(),
        master_claim: "company_master".into(),
        modules: vec![module("desk", "Acme Desk"), module("backup", "Backup"), module("quotes", "Quotes")],
    }
}

/// An installation with that suite.
async fn world() -> World {
    World::with(|settings| settings.suite = Some(suite())).await
}

/// Sets whether the company of alice uses it.
async fn allow(world: &World, mode: SuiteMode) {
    let access = SuiteAccess { mode, company: Some("c-1".parse().unwrap()), provisioning: false };
    let (acme, changed) = (TenantId::from_bytes([1; 16]), event(EventKind::SuiteChanged));
    assert!(world.fixture.store.set_suite(acme, &access, &changed).await.unwrap());
}

/// Alice after a log-in with the suite of `issuer`, which said that she may open `modules`.
async fn from_suite<'a>(world: &'a World, issuer: &str, modules: &[&str]) -> Browser<'a> {
    let account = world.fixture.store.account(&ALICE.parse().unwrap()).await.unwrap().unwrap();
    let user = &account.user;
    let said = json!({
        "audience": "suite", "issuer": issuer, "subject": "s-alice", "sid": null, "hint": null, "modules": modules,
    });
    let claimant =
        Claimant { user: user.id, username: user.username.clone(), epoch: user.flow_epoch, kind: user.kind };
    let proof: Proof = serde_json::from_value(said).unwrap();
    let proven = Proven::by_provider(claimant, proof, at(0));
    let zone = world.portal.settings.zones.zone(&world.fixture.zone).unwrap();
    let new = NewSession {
        proven: &proven,
        flow: FlowId::from_bytes([9; 16]),
        account: &account,
        zone,
        class: Class::Web,
        device: Device::default(),
        slots: Slots::default(),
        lifetimes: Lifetimes::default(),
        leaving: vec![],
        endings_at_provider: Vec::new(),
        event: event(EventKind::LoginSucceeded),
    };
    let Ok(Begun::Session(_, token)) = world.portal.sessions.begin(new, at(0)).await else {
        panic!("no session");
    };
    let browser = world.browser();
    browser.cookies.borrow_mut().insert(cookies::SESSION.into(), token.reveal());
    browser
}

async fn alice(world: &World) -> Browser<'_> {
    let browser = world.browser();
    browser.log_in(ALICE).await.expect_in("/");
    browser
}

#[track_caller]
fn names(told: &Value) -> Vec<&str> {
    told["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn r94_after_a_local_log_in_there_are_no_modules_but_the_suites_icon_where_the_tenant_uses_it() {
    let world = world().await;
    let here = alice(&world).await;
    let told = here.open(LAUNCHER).await.json();
    assert_eq!((&told["suite"], names(&told)), (&Value::Null, vec![]), "the tenant does not use it");
    for mode in [SuiteMode::Allowed, SuiteMode::Required] {
        allow(&world, mode).await;
        let told = here.open(LAUNCHER).await.json();
        assert_eq!(told["suite"], json!({ "name": "AcmeOne", "url": "https://one.example/home" }), "{mode:?}");
        assert_eq!(names(&told), Vec::<&str>::new(), "{mode:?} (trap 28)");
    }
    let max = Browser { host: "de.localhost", ..world.browser() };
    max.log_in("max@muc.example").await.expect_in("/");
    assert_eq!(max.open(LAUNCHER).await.json()["suite"], Value::Null, "another company's choice is no one else's");
}

#[tokio::test]
async fn r95_a_suite_session_has_the_modules_that_the_suite_named_and_the_configuration_still_has() {
    let world = world().await;
    allow(&world, SuiteMode::Allowed).await;
    let here = from_suite(&world, ONE, &["quotes", "gone", "desk"]).await;
    let told = here.open(LAUNCHER).await.json();
    let desk = json!({ "id": "desk", "name": "Acme Desk", "url": "https://desk.example/" });
    let quotes = json!({ "id": "quotes", "name": "Quotes", "url": "https://quotes.example/" });
    assert_eq!(told["modules"], json!([desk, quotes]), "in the launcher's order");
    allow(&world, SuiteMode::Off).await;
    let told = here.open(LAUNCHER).await.json();
    assert_eq!((&told["suite"], names(&told)), (&Value::Null, vec![]), "the session goes on (D34) without them");
}

#[tokio::test]
async fn r95_what_another_suite_said_names_no_module_of_this_one() {
    let world = world().await;
    allow(&world, SuiteMode::Allowed).await;
    let here = from_suite(&world, "https://former.example", &["desk", "quotes"]).await;
    let told = here.open(LAUNCHER).await.json();
    assert_eq!((told["suite"]["name"].as_str(), names(&told)), (Some("AcmeOne"), vec![]));
}

#[tokio::test]
async fn without_a_suite_in_the_configuration_there_is_none_whatever_a_tenant_has() {
    let world = World::new().await;
    allow(&world, SuiteMode::Required).await;
    let here = from_suite(&world, ONE, &["desk"]).await;
    let told = here.open(LAUNCHER).await.json();
    assert_eq!((&told["suite"], names(&told)), (&Value::Null, vec![]));
    assert_eq!((&told["labels"]["suite"], &told["labels"]["modules"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn p12_the_menu_is_told_who_it_is_and_where_settings_and_log_out_are() {
    let world = world().await;
    allow(&world, SuiteMode::Allowed).await;
    let here = alice(&world).await;
    let seen = world.session(&here).unwrap().last_seen();
    let told = here.at(60).open(LAUNCHER).await;
    assert_eq!(told.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(told.headers[header::CONTENT_TYPE], "application/json");
    let told = told.json();
    assert_eq!(told["user"], json!({ "name": "ALICE", "username": ALICE }), "and no more than a menu shows");
    assert_eq!(told["account_url"], "https://desk.localhost:8443/.zonegate/account");
    assert_eq!(told["logout_url"], "https://desk.localhost:8443/.zonegate/logout");
    assert_eq!((told["language"].as_str(), told["labels"]["logout"].as_str()), (Some("en"), Some("Log out")));
    assert_eq!(told["labels"]["suite"], "Open AcmeOne");
    let german = http::Request::get(LAUNCHER).header(header::ACCEPT_LANGUAGE, "de-AT,en;q=0.5");
    let told = here.send(german, String::new()).await.json();
    assert_eq!(
        (told["language"].as_str(), told["labels"]["suite"].as_str()),
        (Some("de"), Some("AcmeOne öffnen"))
    );
    assert_eq!(world.session(&here).unwrap().last_seen(), seen, "asking is not activity (D17)");
}

#[tokio::test]
async fn whoever_has_no_session_gets_json_and_never_a_page_or_a_redirect() {
    let world = world().await;
    let problem = |got: &Got| {
        assert!(!got.headers.contains_key(header::LOCATION) && got.json().is_object(), "{}", got.body);
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store");
        got.status
    };
    let stranger = world.browser().open(LAUNCHER).await;
    assert_eq!(problem(&stranger), StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.json()["login_url"], "https://desk.localhost:8443/.zonegate/login");
    let here = alice(&world).await;
    here.unsure.set(true);
    assert_eq!(problem(&here.open(LAUNCHER).await), StatusCode::SERVICE_UNAVAILABLE, "neither in nor out (G3)");
    let universal = Browser { host: "login.localhost", ..world.browser() };
    assert_eq!(problem(&universal.open(LAUNCHER).await), StatusCode::NOT_FOUND);
    let posted = here.send(form(LAUNCHER, "https://desk.localhost:8443"), String::new()).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn r120_the_script_is_anybodys_and_is_not_sent_again_while_it_is_the_same() {
    let world = World::new().await;
    let browser = world.browser();
    let script = browser.open(SCRIPT).await;
    assert_eq!(
        (script.status, &script.headers[header::CACHE_CONTROL]),
        (StatusCode::OK, &"public, max-age=300".parse().unwrap())
    );
    assert_eq!(script.headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    let tag = script.headers[header::ETAG].to_str().unwrap().to_owned();
    let again = async |tags: &str| {
        let request = http::Request::get(SCRIPT).header(header::IF_NONE_MATCH, tags);
        browser.send(request, String::new()).await
    };
    for tags in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
        let same = again(&tags).await;
        assert_eq!((same.status, same.body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{tags}");
        assert_eq!(same.headers[header::ETAG], tag.as_str());
    }
    for tags in ["\"000000000000\"", ""] {
        assert_eq!(again(tags).await.body, script.body, "{tags}");
    }
}
