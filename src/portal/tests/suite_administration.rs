//! What a tenant's administrators decide about the vendor's suite in a browser, and what nobody else can.

use axum::http::{StatusCode, header};
use serde_json::json;

use super::account::{form, send, token};
use super::administration::{populated, refused, signed_in, user};
use super::fixture::{Browser, PASSWORD, World, at, encoded, event, name};
use crate::base::{FlowId, TenantId, UserId};
use crate::directory::{SecurityLevel, SuiteAccess, SuiteMode};
use crate::login::{Claimant, Proven};
use crate::portal::cookies;
use crate::session::{Class, Device, Method};
use crate::sso::{Audience, Issuer, Module, Proof, ProviderSettings, Subject, Suite};
use crate::store::Linked;
use crate::table::{Begun, NewSession};
use crate::telemetry::EventKind;

const SUITE: &str = "/.zonegate/admin/suite";
const BIND: &str = "/.zonegate/admin/suite/bind";
const EXEMPT: &str = "/.zonegate/admin/suite/exempt";
const LINKS: &str = "/.zonegate/admin/suite/users";
const USERS: &str = "/.zonegate/admin/users";
const SENT: [&str; 4] = [SUITE, BIND, EXEMPT, LINKS];

/// Nowhere that anything is sent to: a network that is not public.
const ISSUER: &str = "https://127.0.0.1:9";
const ACME: TenantId = TenantId::from_bytes([1; 16]);
const BOLT: TenantId = TenantId::from_bytes([3; 16]);

fn suite() -> Suite {
    Suite {
        name: "AcmeOne".into(),
        home: None,
        settings: ProviderSettings::new(Issuer::parse(ISSUER).unwrap(), "zonegate".into()),
        secret: None,
        company_claim: "company".into(),
        modules_claim: "modules".into(),
        master_claim: "company_master".into(),
        modules: Vec::<Module>::new(),
    }
}

/// Two companies that an administrator has each, in an installation with a suite.
async fn world() -> World {
    populated(World::with(|settings| settings.suite = Some(suite())).await).await
}

async fn allow(world: &World, tenant: TenantId, mode: SuiteMode) {
    let access = SuiteAccess { mode, company: Some("c-1042".parse().unwrap()), provisioning: false };
    assert!(world.fixture.store.set_suite(tenant, &access, &event(EventKind::SuiteChanged)).await.unwrap());
}

async fn access(world: &World) -> SuiteAccess {
    world.fixture.store.tenant_by_slug("acme").await.unwrap().unwrap().suite
}

async fn link(world: &World, tenant: TenantId, username: &str, subject: &str) {
    let (issuer, subject) = (Issuer::parse(ISSUER).unwrap(), Subject::parse(subject).unwrap());
    let (user, event) = (user(world, username).await, event(EventKind::AccountLinked));
    let linked = world.fixture.store.link(tenant, &issuer, &subject, user, Audience::Suite, &event).await;
    assert_eq!(linked.unwrap(), Linked::Yes);
}

/// Who is linked, and who is exempt.
async fn people(world: &World, tenant: TenantId) -> (Vec<String>, Vec<String>) {
    let links = world.fixture.store.links(tenant, Audience::Suite).await.unwrap();
    let accounts = world.fixture.store.accounts(Some(tenant)).await.unwrap();
    let exempt = accounts.into_iter().filter(|account| account.user.suite_exempt);
    (
        links.into_iter().map(|link| link.username.to_string()).collect(),
        exempt.map(|account| account.user.username.to_string()).collect(),
    )
}

/// A browser of somebody whom the suite let in.
async fn from_suite<'a>(world: &'a World, username: &str) -> Browser<'a> {
    let account = world.fixture.store.account(&username.parse().unwrap()).await.unwrap().unwrap();
    let proof: Proof =
        serde_json::from_value(json!({ "audience": "suite", "issuer": ISSUER, "subject": "s-1" })).unwrap();
    let claimant = Claimant {
        user: account.user.id,
        username: account.user.username.clone(),
        epoch: account.user.flow_epoch,
        kind: account.user.kind,
    };
    let security = world.portal.settings.security.with(&account.tenant.overrides);
    let zones = &world.portal.settings.zones;
    let new = NewSession {
        proven: &Proven::by_provider(claimant, proof, at(0)),
        flow: FlowId::from_bytes([77; 16]),
        account: &account,
        zone: zones.zone(&account.tenant.zone).unwrap(),
        class: Class::Web,
        device: Device { label: "Firefox".into(), address: "192.0.2.1".into() },
        slots: security.slots,
        lifetimes: security.lifetimes,
        leaving: vec![],
        endings_at_provider: Vec::new(),
        event: event(EventKind::LoginSucceeded),
    };
    let Begun::Session(session, token) = world.portal.sessions.begin(new, at(0)).await.unwrap() else {
        panic!("no session");
    };
    assert_eq!(session.method, Method::Suite);
    let browser = world.browser();
    browser.cookies.borrow_mut().insert(cookies::SESSION.into(), token.reveal());
    browser
}

#[tokio::test]
async fn where_there_is_no_suite_there_is_no_page_of_it_and_none_is_spoken_of() {
    let world = populated(World::new().await).await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let page = alice.open("/.zonegate/admin").await;
    assert!(!page.body.contains(SUITE), "{}", page.body);
    let csrf = token(&page);
    assert_eq!(alice.open(SUITE).await.status, StatusCode::NOT_FOUND);
    for path in SENT {
        let fields = [("csrf", csrf.as_str()), ("mode", "off"), ("username", "erin@acme.example")];
        assert_eq!(send(&alice, path, &fields).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_mistyped_password_loses_no_choice() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    let alice = signed_in(&world, "alice@acme.example").await;
    alice.at(600);
    let csrf = token(&alice.open(SUITE).await);
    let fields =
        [("csrf", csrf.as_str()), ("mode", "required"), ("provisioning", "yes"), ("password", "Wrong-Guess-00")];
    let page = send(&alice, SUITE, &fields).await.expect_message("m2");
    assert!(page.body.contains("value=\"required\" checked"), "{}", page.body);
    assert!(page.body.contains("name=\"provisioning\" value=\"yes\" checked"), "{}", page.body);
    assert_eq!(
        access(&world).await,
        SuiteAccess { provisioning: false, mode: SuiteMode::Allowed, ..access(&world).await }
    );
}

#[tokio::test]
async fn v15_whoever_is_no_administrator_now_sees_and_decides_nothing() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    link(&world, ACME, "erin@acme.example", "s-1").await;
    world.browser().open(SUITE).await.expect_in("/.zonegate/login?return_to=/.zonegate/admin/suite");
    let bob = signed_in(&world, "bob@acme.example").await;
    // Alice was one when she logged in.
    let alice = signed_in(&world, "alice@acme.example").await;
    let mine = token(&alice.open(SUITE).await);
    world.fixture.set_level("alice@acme.example", SecurityLevel::User).await;
    let bobs = token(&bob.open("/.zonegate/account").await);
    let erin = user(&world, "erin@acme.example").await.to_string();
    for (browser, csrf) in [(&bob, &bobs), (&alice, &mine)] {
        refused(&browser.open(SUITE).await, SUITE);
        for path in SENT {
            let fields = [
                ("csrf", csrf.as_str()),
                ("mode", "off"),
                ("username", "bob@acme.example"),
                ("remove", &erin),
                ("password", PASSWORD),
            ];
            refused(&send(browser, path, &fields).await, path);
        }
    }
    assert_eq!(access(&world).await.mode, SuiteMode::Allowed);
    assert_eq!(people(&world, ACME).await, (vec!["erin@acme.example".to_owned()], vec![]));
}

#[tokio::test]
async fn v15_an_administrator_reaches_nobody_of_another_company_by_address_form_or_id() {
    let world = world().await;
    for (tenant, name) in [(ACME, "erin@acme.example"), (BOLT, "ben@bolt.example")] {
        allow(&world, tenant, SuiteMode::Allowed).await;
        link(&world, tenant, name, "s-1").await;
        let exempt = user(&world, name).await;
        world.fixture.store.set_suite_exempt(exempt, true, &event(EventKind::SuiteChanged)).await.unwrap();
    }
    let alice = signed_in(&world, "alice@acme.example").await;
    for query in ["", "?tenant=bolt&search=example"] {
        let page = alice.open(&format!("{SUITE}{query}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.body.matches("erin@acme.example</td>").count(), 2, "{}", page.body);
        assert!(!page.body.contains("bolt.example"), "{}", page.body);
    }
    let csrf = token(&alice.open(SUITE).await);
    let ben = user(&world, "ben@bolt.example").await.to_string();
    for path in [LINKS, EXEMPT] {
        let sent = send(&alice, path, &[("csrf", &csrf), ("remove", &ben), ("tenant", "bolt")]).await;
        let known = sent.expect_message("admin.wrong.user.unknown");
        let nobody = UserId::from_bytes([9; 16]).to_string();
        let unknown = send(&alice, path, &[("csrf", &csrf), ("remove", &nobody)]).await;
        assert_eq!(known.body, unknown.body, "{path}: who exists is not told");
    }
    let add = async |username: &str| {
        let sent = send(&alice, EXEMPT, &[("csrf", &csrf), ("username", username), ("tenant", "bolt")]).await;
        sent.expect_message("admin.wrong.user.unknown").body.replace(username, "")
    };
    assert_eq!(add("bea@bolt.example").await, add("nobody@x.example").await, "who exists is not told");
    let both = |name: &str| (vec![name.to_owned()], vec![name.to_owned()]);
    assert_eq!(people(&world, ACME).await, both("erin@acme.example"));
    assert_eq!(people(&world, BOLT).await, both("ben@bolt.example"));
    let set = [("csrf", csrf.as_str()), ("mode", "off"), ("tenant", "bolt")];
    send(&alice, SUITE, &set).await.expect_in("/.zonegate/admin/suite?done=set");
    let bolt = world.fixture.store.tenant_by_slug("bolt").await.unwrap().unwrap();
    assert_eq!((access(&world).await.mode, bolt.suite.mode), (SuiteMode::Off, SuiteMode::Allowed));
}

#[tokio::test]
async fn w2_w4_no_foreign_page_decides_anything() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    link(&world, ACME, "erin@acme.example", "s-1").await;
    let (alice, bea) =
        (signed_in(&world, "alice@acme.example").await, signed_in(&world, "bea@bolt.example").await);
    let (mine, theirs) = (token(&alice.open(SUITE).await), token(&bea.open(SUITE).await));
    let erin = user(&world, "erin@acme.example").await.to_string();
    let fields = |csrf| encoded(&[("csrf", csrf), ("mode", "off"), ("remove", &erin)]);
    for path in SENT {
        for csrf in ["", &theirs, &mine[1..]] {
            let sent = alice.send(form(path, "https://desk.localhost:8443"), fields(csrf)).await;
            refused(&sent, path);
        }
        for origin in ["https://evil.example", "null", "https://de.localhost:8443"] {
            refused(&alice.send(form(path, origin), fields(&mine)).await, path);
        }
    }
    assert_eq!(access(&world).await.mode, SuiteMode::Allowed);
    assert_eq!(people(&world, ACME).await.0, ["erin@acme.example"]);
}

#[tokio::test]
async fn v9_the_suite_says_which_company_it_is_and_then_an_administrator_says_who_uses_it() {
    let world = world().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let page = alice.open(SUITE).await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.ends_with("form-action 'self' https:"), "the form leads to the suite: {policy}");
    assert!(page.body.contains("Not connected yet") && !page.body.contains("id=\"form-mode\""), "{}", page.body);
    assert!(page.body.contains("Log-in with AcmeOne"), "{}", page.body);
    assert!(page.body.contains("value=\"https://desk.localhost:8443/.zonegate/login?with=password\""));
    let csrf = token(&page);
    let set = async |mode: &str, provisioning: bool| {
        let more = [("provisioning", "yes")];
        let fields = [("csrf", csrf.as_str()), ("mode", mode), ("company", "c-evil"), ("bound", "c-evil")];
        let fields: Vec<_> = fields.into_iter().chain(more.into_iter().filter(|_| provisioning)).collect();
        send(&alice, SUITE, &fields).await
    };
    // No form says which company it is.
    assert_eq!(set("allowed", false).await.status, StatusCode::FORBIDDEN);
    assert_eq!(send(&alice, BIND, &[("csrf", &csrf)]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(access(&world).await, SuiteAccess::default());

    allow(&world, ACME, SuiteMode::Off).await;
    let (done, same) = ("/.zonegate/admin/suite?done=set", "/.zonegate/admin/suite?done=unchanged");
    set("allowed", false).await.expect_in(done);
    assert!(alice.open(USERS).await.body.contains("Password and code, or AcmeOne"));
    set("allowed", false).await.expect_in(same);
    set("required", true).await.expect_in(done);
    let want =
        SuiteAccess { mode: SuiteMode::Required, company: Some("c-1042".parse().unwrap()), provisioning: true };
    assert_eq!(access(&world).await, want);
    alice.open(SUITE).await.expect_message("admin.suite.alone");
    assert_eq!(set("everybody", false).await.status, StatusCode::BAD_REQUEST);
    let users = alice.open(USERS).await.body;
    assert_eq!(users.matches("<td>AcmeOne").count(), 4, "regular users: {users}");
    assert!(users.contains("Password and code</td>"), "a contractor: {users}");
    set("off", false).await.expect_in(done);
    let events = world.fixture.store.events(None, 3).await.unwrap();
    for (event, what) in
        events.iter().zip(["off, as c-1042", "required, as c-1042, provisioning", "allowed, as c-1042"])
    {
        assert_eq!((event.kind.as_str(), event.actor.as_str()), ("suite_changed", "administrator"));
        assert_eq!(event.detail.as_deref(), Some(&*format!("by alice@acme.example: {what}")));
        assert_eq!(event.tenant, Some(ACME));
    }
}

#[tokio::test]
async fn trap_17_who_cannot_use_the_suite_is_told_so() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    let alice = signed_in(&world, "alice@acme.example").await;
    assert!(!alice.open(SUITE).await.body.contains("id=\"warning\""));
    world.fixture.sso_for_all().await;
    alice.open(SUITE).await.expect_message("admin.suite.sso");
}

#[tokio::test]
async fn d22_one_by_one_users_are_exempt_and_are_not_any_more() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Required).await;
    let alice = signed_in_before(&world).await;
    let csrf = token(&alice.open(SUITE).await);
    let add = async |username: &str| send(&alice, EXEMPT, &[("csrf", &csrf), ("username", username)]).await;
    add(" Nora@Acme.example ").await.expect_in("/.zonegate/admin/suite?done=exempt");
    add("nora@acme.example").await.expect_in("/.zonegate/admin/suite?done=unchanged");
    add("nora").await.expect_message("m1");
    add("bob@acme.example").await.expect_message("admin.suite.exempt.kind");
    assert_eq!(people(&world, ACME).await.1, ["nora@acme.example"]);
    let page = alice.open(SUITE).await.body;
    assert!(page.contains("No password yet") && !page.contains("id=\"warning\""), "{page}");
    let users = alice.open(USERS).await.body;
    assert!(users.contains("Password and code, or AcmeOne <span class=\"badge\">Exempt"), "{users}");
    let nora = user(&world, "nora@acme.example").await;
    let removed = send(&alice, EXEMPT, &[("csrf", &csrf), ("remove", &nora.to_string())]).await;
    removed.expect_in("/.zonegate/admin/suite?done=unexempt");
    assert!(people(&world, ACME).await.1.is_empty());
    let events = world.fixture.store.events(Some(nora), 2).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.detail.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("suite_changed", Some("by alice@acme.example: not exempt")),
            ("suite_changed", Some("by alice@acme.example: exempt"))
        ]
    );
}

/// Alice with a session of before: the suite is required of her now.
async fn signed_in_before(world: &World) -> Browser<'_> {
    let mode = access(world).await.mode;
    allow(world, ACME, SuiteMode::Off).await;
    let alice = signed_in(world, "alice@acme.example").await;
    allow(world, ACME, mode).await;
    alice
}

#[tokio::test]
async fn r6_a_link_that_is_removed_takes_the_sessions_that_began_there_and_no_others() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    link(&world, ACME, "alice@acme.example", "s-1").await;
    let (here, there) =
        (signed_in(&world, "alice@acme.example").await, from_suite(&world, "alice@acme.example").await);
    assert!(world.session(&there).is_some());
    let csrf = token(&here.open(SUITE).await);
    let id = user(&world, "alice@acme.example").await;
    let removed = send(&here, LINKS, &[("csrf", &csrf), ("remove", &id.to_string())]).await;
    removed.expect_in("/.zonegate/admin/suite?done=removed");
    assert!(people(&world, ACME).await.0.is_empty());
    assert!(world.session(&there).is_none(), "that of the suite has ended, here as well");
    assert!(world.session(&here).is_some(), "that of her password goes on");
    there.open(SUITE).await.expect_in("/.zonegate/login?reason=revoked&return_to=/.zonegate/admin/suite");
    let events = world.fixture.store.events(Some(id), 2).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "account_unlinked" && event.actor == "administrator"));
    let again = send(&here, LINKS, &[("csrf", &csrf), ("remove", &id.to_string())]).await;
    again.expect_message("admin.wrong.user.unknown");
}

#[tokio::test]
async fn sec_r36_a_decision_wants_a_proof_of_who_is_asking() {
    let world = world().await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    link(&world, ACME, "erin@acme.example", "s-1").await;
    let erin = user(&world, "erin@acme.example").await.to_string();
    let alice = signed_in(&world, "alice@acme.example").await;
    alice.at(600);
    let page = alice.open(SUITE).await;
    for field in ["bind", "mode", "exempt", "remove"] {
        assert!(page.body.contains(&format!("id=\"password-{field}\"")), "{field}: {}", page.body);
    }
    let csrf = token(&page);
    let forms: [(&str, Vec<(&str, &str)>); 4] = [
        (LINKS, vec![("csrf", &csrf), ("remove", &erin)]),
        (EXEMPT, vec![("csrf", &csrf), ("username", "erin@acme.example")]),
        (BIND, vec![("csrf", &csrf)]),
        (SUITE, vec![("csrf", &csrf), ("mode", "required")]),
    ];
    for (path, fields) in &forms {
        for wrong in [None, Some("Wrong-Guess-00")] {
            let fields: Vec<_> =
                fields.iter().copied().chain(wrong.map(|password| ("password", password))).collect();
            let answer = send(&alice, path, &fields).await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            answer.expect_message("m2");
        }
        world.fixture.unlock(&name("alice")).await;
    }
    assert_eq!(people(&world, ACME).await, (vec!["erin@acme.example".to_owned()], vec![]));
    for (path, fields) in forms {
        let want = if path == BIND { StatusCode::FORBIDDEN } else { StatusCode::SEE_OTHER };
        let fields: Vec<_> = fields.into_iter().chain([("password", PASSWORD)]).collect();
        assert_eq!(send(&alice, path, &fields).await.status, want, "{path}");
    }
    assert_eq!(access(&world).await.mode, SuiteMode::Required);
    // Now her own password counts no more: she shows the suite who she is, and her changes wait for that.
    let page = alice.open(SUITE).await;
    let anew = "/.zonegate/suite?anew&#38;return_to=/.zonegate/admin/suite";
    assert!(page.body.contains(anew) && !page.body.contains("name=\"password\""), "{}", page.body);
    let fields = [("csrf", csrf.as_str()), ("mode", "off"), ("password", PASSWORD)];
    send(&alice, SUITE, &fields).await.expect_message("account.anew");
    assert_eq!(access(&world).await.mode, SuiteMode::Required);
}

#[tokio::test]
async fn r117_a_second_click_on_log_out_says_of_the_suite_what_the_first_would_have_said() {
    let suite = || Suite { settings: ProviderSettings { logout: true, ..suite().settings }, ..suite() };
    let world = populated(World::with(|settings| settings.suite = Some(suite())).await).await;
    allow(&world, ACME, SuiteMode::Allowed).await;
    let browser = from_suite(&world, "alice@acme.example").await;
    browser.open("/.zonegate/account").await;
    let token = browser.cookies.borrow()[cookies::SESSION].clone();
    for click in ["the first", "the second, when the first one's answer was not waited for"] {
        browser.cookies.borrow_mut().insert(cookies::SESSION.into(), token.clone());
        let got = send(&browser, "/.zonegate/logout", &[]).await;
        // It cannot be reached, which is not nothing.
        assert_eq!(
            got.headers[header::LOCATION],
            "/.zonegate/login?reason=logged_out&provider=unreached",
            "{click}"
        );
    }
}

#[tokio::test]
async fn d22_a_suite_that_is_not_configured_any_more_is_required_of_nobody() {
    let world = populated(World::new().await).await;
    allow(&world, ACME, SuiteMode::Required).await;
    // Her password is evaluated, and a wrong one costs an attempt.
    let browser = world.browser();
    let page = browser.up_to_password("alice@acme.example").await.expect_page("form-password");
    browser.answer(&page, "password", "Wrong-guess-1").await.expect_message("m2");
    let account = world.fixture.store.account(&name("alice")).await.unwrap().unwrap();
    assert_eq!(account.attempts_used, 1);
    let alice = signed_in(&world, "alice@acme.example").await;
    // Native clients, and what is asked again before a change.
    let told = json!({ "client": "outlook", "username": "alice@acme.example", "password": PASSWORD });
    assert_eq!(world.browser().tell(&told).await.json()["status"], "otp_required");
    let page = alice.at(3600).open("/.zonegate/account").await;
    assert!(page.body.contains("id=\"new-qr\"") && !page.body.contains("/.zonegate/suite"), "{}", page.body);
    let users = alice.open(USERS).await.body;
    assert!(users.contains("Password and code</td>") && !users.contains("Exempt"), "{users}");
    assert_eq!(access(&world).await.mode, SuiteMode::Required, "and it is again, once there is one");
}
