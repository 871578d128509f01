//! What a tenant's administrators can do in a browser, and what nobody else can.

use axum::http::{self, StatusCode, header};

use super::account::{form, send, token};
use super::fixture::{Browser, Got, PASSWORD, World, encoded, name};
use crate::base::{TenantId, Ttl, UserId, Username};
use crate::directory::{SecurityLevel, SsoScope, UserKind};
use crate::sso::{Audience, Issuer, Subject};
use crate::store::Linked;
use crate::telemetry::EventKind;

const ADMIN: &str = "/.zonegate/admin";
const USERS: &str = "/.zonegate/admin/users";
const SSO: &str = "/.zonegate/admin/sso";
const SCOPE: &str = "/.zonegate/admin/sso/scope";
const TEST: &str = "/.zonegate/admin/sso/test";
const ROSTER: &str = "/.zonegate/admin/sso/users";
const IMPORT: &str = "/.zonegate/admin/sso/users/import";
const EXPORT: &str = "/.zonegate/admin/sso/users.csv";

const SHOWN: [&str; 5] = [ADMIN, USERS, SSO, ROSTER, EXPORT];
const SENT: [&str; 5] = [SSO, SCOPE, TEST, ROSTER, IMPORT];

const ORIGIN: &str = "https://desk.localhost:8443";
const ACME: TenantId = TenantId::from_bytes([1; 16]);
const BOLT: TenantId = TenantId::from_bytes([3; 16]);
const SECRET: &str = "canary-client-secret";

/// Alice administers Acme, and Bea another company of the same zone.
async fn world() -> World {
    populated(World::new().await).await
}

pub(super) async fn populated(world: World) -> World {
    let fixture = &world.fixture;
    fixture.set_level("alice@acme.example", SecurityLevel::Admin).await;
    fixture.tenant(3, "bolt", "desk.localhost").await;
    fixture.user(3, "bea@bolt.example", UserKind::Regular, true, true).await;
    fixture.user(3, "ben@bolt.example", UserKind::Regular, true, true).await;
    fixture.set_level("bea@bolt.example", SecurityLevel::Admin).await;
    world
}

pub(super) async fn signed_in<'a>(world: &'a World, username: &str) -> Browser<'a> {
    let browser = world.browser();
    browser.log_in(username).await.expect_in("/");
    browser
}

/// The settings form of a provider, and what else is put into it.
fn settings<'a>(csrf: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let given = |name: &str| more.iter().any(|(known, _)| *known == name);
    let usual = [
        ("csrf", csrf),
        ("issuer", "https://login.acme.example"),
        ("client_id", "zonegate"),
        ("client_authentication", "client_secret_basic"),
        ("signing_algorithm", "RS256"),
        ("username_claim", "preferred_username"),
    ];
    usual.into_iter().filter(|(name, _)| !given(name)).chain(more.iter().copied()).collect()
}

pub(super) async fn user(world: &World, username: &str) -> UserId {
    let username: Username = username.parse().unwrap();
    world.fixture.store.account(&username).await.unwrap().unwrap().user.id
}

async fn link(world: &World, tenant: TenantId, username: &str, subject: &str) {
    let (issuer, subject) =
        (Issuer::parse("https://login.acme.example").unwrap(), Subject::parse(subject).unwrap());
    let (user, event) = (user(world, username).await, super::fixture::event(EventKind::AccountLinked));
    let linked = world.fixture.store.link(tenant, &issuer, &subject, user, Audience::Tenant, &event).await;
    assert_eq!(linked.unwrap(), Linked::Yes);
}

/// Who is who at Acme's provider.
async fn links(world: &World, tenant: TenantId) -> Vec<(String, String)> {
    let links = world.fixture.store.links(tenant, Audience::Tenant).await.unwrap();
    links.into_iter().map(|link| (link.username.to_string(), link.subject.as_str().to_owned())).collect()
}

async fn scope(world: &World) -> (SsoScope, Option<UserId>) {
    let tenant = world.fixture.store.tenant_by_slug("acme").await.unwrap().unwrap();
    (tenant.sso, tenant.sso_exempt)
}

#[track_caller]
pub(super) fn refused(answer: &Got, what: &str) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {}", answer.body);
}

#[tokio::test]
async fn v15_whoever_is_no_administrator_now_sees_and_changes_nothing() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let stranger = world.browser();
    for path in [ADMIN, USERS, SSO, ROSTER] {
        let back = if path == USERS { ADMIN } else { path };
        stranger.open(path).await.expect_in(&format!("/.zonegate/login?return_to={back}"));
    }
    let bob = signed_in(&world, "bob@acme.example").await;
    // Alice was one when she logged in.
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(SSO).await);
    world.fixture.set_level("alice@acme.example", SecurityLevel::User).await;
    let bobs = token(&bob.open("/.zonegate/account").await);
    for (browser, csrf) in [(&bob, &bobs), (&alice, &csrf)] {
        for path in SHOWN {
            refused(&browser.open(path).await, path);
        }
        for path in SENT {
            let fields = settings(csrf, &[("scope", "all"), ("username", "bob@acme.example"), ("subject", "x")]);
            refused(&send(browser, path, &fields).await, path);
        }
        assert!(!browser.open("/.zonegate/account").await.body.contains("id=\"admin\""));
    }
    assert_eq!(scope(&world).await, (SsoScope::Off, None));
    assert!(links(&world, ACME).await.is_empty());
    let events = world.fixture.store.events(None, 1).await.unwrap();
    assert_eq!(events[0].kind, "access_denied");
    assert_eq!(events[0].reason.as_deref(), Some("not_an_administrator"));
}

#[tokio::test]
async fn v15_an_administrator_reaches_nothing_of_another_company_by_address_form_or_id() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let issuer = "https://login.acme.example";
    let (alice, bea) =
        (signed_in(&world, "alice@acme.example").await, signed_in(&world, "bea@bolt.example").await);
    // Both companies use the same provider, as happens with the large ones.
    let csrf = token(&bea.open(SSO).await);
    send(&bea, SSO, &settings(&csrf, &[("issuer", issuer)])).await.expect_in("/.zonegate/admin/sso?done=nosecret");
    link(&world, ACME, "bob@acme.example", "b").await;
    link(&world, BOLT, "ben@bolt.example", "b").await;
    let both = [
        (
            &alice,
            "alice@acme.example",
            ("bob@acme.example", "acme"),
            ("ben@bolt.example", "bolt", "bea@bolt.example"),
        ),
        (
            &bea,
            "bea@bolt.example",
            ("ben@bolt.example", "bolt"),
            ("bob@acme.example", "acme", "alice@acme.example"),
        ),
    ];
    for (browser, me, (own, slug), (other, other_slug, other_admin)) in both {
        for path in [USERS, ROSTER, EXPORT] {
            for query in [String::new(), format!("?tenant={other_slug}&search=example")] {
                let page = browser.open(&format!("{path}{query}")).await;
                assert_eq!(page.status, StatusCode::OK);
                assert!(page.body.contains(own) && !page.body.contains(other), "{me} {path}: {}", page.body);
            }
        }
        let page = browser.open(SSO).await;
        assert!(page.body.contains(&format!("/.zonegate/sso/{slug}/callback")), "{}", page.body);
        assert!(!page.body.contains(&format!("/.zonegate/sso/{other_slug}")), "{}", page.body);
        let csrf = token(&page);
        for aside in ["tenant", "slug", "id"] {
            let fields = [("csrf", csrf.as_str()), ("username", other), ("subject", "new"), (aside, other_slug)];
            let invented = [("csrf", csrf.as_str()), ("username", "nobody@x.example"), ("subject", "new")];
            let known = send(browser, ROSTER, &fields).await.expect_message("admin.wrong.user.unknown");
            let unknown = send(browser, ROSTER, &invented).await;
            assert_eq!(known.body.replace(other, "nobody@x.example"), unknown.body, "who exists is not told");
        }
        let theirs = user(&world, other).await.to_string();
        let removed = send(browser, ROSTER, &[("csrf", &csrf), ("remove", &theirs)]).await;
        removed.expect_message("admin.wrong.user.unknown");
        let table = format!("username,subject\r\n{other},new\r\n");
        let imported = send(browser, IMPORT, &[("csrf", &csrf), ("table", &table)]).await;
        imported.expect_message("admin.notimported");
        let fields = [("csrf", csrf.as_str()), ("scope", "all"), ("emergency", other_admin)];
        send(browser, SCOPE, &fields).await.expect_message("admin.emergency.wrong");
    }
    let pair = |name: &str| vec![(name.to_owned(), "b".to_owned())];
    assert_eq!(links(&world, ACME).await, pair("bob@acme.example"));
    assert_eq!(links(&world, BOLT).await, pair("ben@bolt.example"));
    // In another zone a session is worth nothing, whosever it is.
    let elsewhere = Browser { host: "de.localhost", ..world.browser() };
    elsewhere.cookies.replace(alice.cookies.borrow().clone());
    elsewhere.open(ADMIN).await.expect_in("/.zonegate/login?return_to=/.zonegate/admin");
}

#[tokio::test]
async fn w2_w4_no_foreign_page_changes_anything() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let (alice, bea) =
        (signed_in(&world, "alice@acme.example").await, signed_in(&world, "bea@bolt.example").await);
    let (mine, theirs) = (token(&alice.open(SSO).await), token(&bea.open(SSO).await));
    let more =
        [("scope", "all"), ("username", "bob@acme.example"), ("subject", "x"), ("table", "username,subject")];
    for path in SENT {
        for csrf in ["", &theirs, &mine[1..]] {
            refused(&send(&alice, path, &settings(csrf, &more)).await, path);
        }
        for origin in ["https://evil.example", "null", "https://de.localhost:8443"] {
            refused(&alice.send(form(path, origin), encoded(&settings(&mine, &more))).await, path);
        }
    }
    assert_eq!(scope(&world).await, (SsoScope::Off, None));
    assert!(links(&world, ACME).await.is_empty());
}

#[tokio::test]
async fn d25_v2_a_provider_is_configured_tested_and_only_then_put_to_use() {
    let world = world().await;
    let store = &world.fixture.store;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(SSO).await);
    let enable = async |scope: &str, emergency: &str| {
        send(&alice, SCOPE, &[("csrf", &csrf), ("scope", scope), ("emergency", emergency)]).await
    };
    enable("all", "").await.expect_message("admin.scope.untested");
    let saved = "/.zonegate/admin/sso?done=saved";
    let more = [("client_secret", SECRET), ("scopes", " profile  email "), ("max_age", "8h"), ("logout", "yes")];
    send(&alice, SSO, &settings(&csrf, &more)).await.expect_in(saved);
    for scope in ["all", "selected"] {
        enable(scope, "").await.expect_message("admin.scope.untested");
    }
    let provider = store.provider(ACME).await.unwrap().unwrap();
    assert_eq!(provider.settings.scopes, ["profile", "email"]);
    assert_eq!(provider.settings.max_age.map(Ttl::seconds), Some(8 * 3600));
    assert!(provider.settings.logout && !provider.settings.provisioning);
    let tested = super::fixture::event(EventKind::ProviderTested);
    assert!(store.provider_was_tested(ACME, &provider.settings, provider.changed_at, &tested).await.unwrap());
    enable("all", "bob@acme.example").await.expect_message("admin.emergency.wrong");
    enable("all", "alice@acme.example").await.expect_in("/.zonegate/admin/sso?done=scope");
    assert_eq!(scope(&world).await, (SsoScope::All, Some(user(&world, "alice@acme.example").await)));
    let page = alice.open(SSO).await;
    assert!(page.body.contains("value=\"alice@acme.example\" selected"), "{}", page.body);
    let users = alice.open(USERS).await;
    assert!(
        users.body.contains("Single sign-on</td>") && users.body.contains("Password and code"),
        "{}",
        users.body
    );
    assert_eq!(enable("everybody", "").await.status, StatusCode::BAD_REQUEST);
    enable("selected", "").await.expect_in("/.zonegate/admin/sso?done=scope");
    assert_eq!(scope(&world).await, (SsoScope::Selected, None));
    enable("off", "alice@acme.example").await.expect_in("/.zonegate/admin/sso?done=scope");
    assert_eq!(scope(&world).await, (SsoScope::Off, None));
    let events = store.events(None, 4).await.unwrap();
    for (event, what) in events.iter().zip(["off", "selected", "all"]) {
        assert_eq!((event.kind.as_str(), event.actor.as_str()), ("sso_changed", "administrator"));
        assert_eq!(event.detail.as_deref(), Some(&*format!("by alice@acme.example: {what}")));
    }
    assert!(events.iter().all(|event| event.tenant == Some(ACME)));
}

#[tokio::test]
async fn settings_that_may_keep_people_out_are_no_success() {
    let world = world().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    for (done, class) in [
        ("saved", "notice good"),
        ("scope", "notice good"),
        ("inuse", "notice"),
        ("nosecret", "notice"),
        ("alone", "notice"),
    ] {
        let page = alice.open(&format!("{SSO}?done={done}")).await;
        let want = format!("<p class=\"{class}\" role=\"status\" id=\"notice\"");
        assert!(page.body.contains(&want), "{done}: {}", page.body);
    }
}

#[tokio::test]
async fn d27_a_secret_goes_in_and_never_comes_out() {
    let world = world().await;
    let store = &world.fixture.store;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(SSO).await);
    let kept =
        async || store.provider(ACME).await.unwrap().unwrap().secret.map(|secret| secret.reveal().to_owned());
    send(&alice, SSO, &settings(&csrf, &[("client_secret", SECRET)])).await;
    assert_eq!(kept().await.as_deref(), Some(SECRET));
    let page = alice.open(SSO).await;
    assert!(page.body.contains("placeholder=\"••••••••\"") && !page.body.contains(SECRET), "{}", page.body);
    // Nor out of a form that was wrong.
    let wrong = send(&alice, SSO, &settings(&csrf, &[("client_secret", SECRET), ("issuer", "http://x")])).await;
    assert!(!wrong.body.contains(SECRET));
    wrong.expect_message("admin.wrong.issuer");
    // Left empty, it stays; what was not changed is not written.
    send(&alice, SSO, &settings(&csrf, &[])).await.expect_in("/.zonegate/admin/sso?done=unchanged");
    send(&alice, SSO, &settings(&csrf, &[("client_id", "other")]))
        .await
        .expect_in("/.zonegate/admin/sso?done=saved");
    assert_eq!(kept().await.as_deref(), Some(SECRET));
    send(&alice, SSO, &settings(&csrf, &[("issuer", "https://evil.example")])).await;
    assert_eq!(kept().await, None, "another issuer is not sent it");
}

#[tokio::test]
async fn a_wrong_field_is_named_and_nothing_is_kept() {
    let world = world().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(SSO).await);
    let many = "a ".repeat(17);
    for (field, text, want) in [
        ("issuer", "http://login.acme.example", "admin.wrong.issuer"),
        ("issuer", "", "admin.wrong.issuer"),
        ("client_id", "é", "admin.wrong.clientid"),
        ("client_secret", "a\u{0}b", "admin.wrong.secret"),
        ("scopes", &many, "admin.wrong.words"),
        ("username_claim", "two words", "admin.wrong.word"),
        ("hosts", "https://x.example", "admin.wrong.hosts"),
        ("acr", "\"", "admin.wrong.words"),
        ("amr", "\\", "admin.wrong.words"),
        ("max_age", "721h", "admin.wrong.maxage"),
    ] {
        let answer = send(&alice, SSO, &settings(&csrf, &[(field, text)])).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        let answer = answer.expect_message(want);
        assert_eq!(answer.body.matches("aria-invalid").count(), 1, "{field}");
    }
    assert!(world.fixture.store.provider(ACME).await.unwrap().is_none());
}

#[tokio::test]
async fn a_mistyped_password_loses_nothing_that_was_chosen_and_says_of_the_secret_that_it_did() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    alice.at(600);
    let csrf = token(&alice.open(SSO).await);
    let fields = [
        ("csrf", csrf.as_str()),
        ("scope", "all"),
        ("emergency", "alice@acme.example"),
        ("password", "Wrong-Guess-00"),
    ];
    let page = send(&alice, SCOPE, &fields).await.expect_message("m2");
    for chosen in
        ["id=\"scope-all\" name=\"scope\" value=\"all\" checked", "value=\"alice@acme.example\" selected"]
    {
        assert!(page.body.contains(chosen), "{chosen}: {}", page.body);
    }
    assert_eq!(page.body.matches(" checked").count(), 1, "{}", page.body);
    let typed =
        settings(&csrf, &[("client_id", "other"), ("client_secret", SECRET), ("password", "Wrong-Guess-00")]);
    let page = send(&alice, SSO, &typed).await.expect_message("m2").expect_message("admin.secret.again");
    assert!(page.body.contains("value=\"other\"") && !page.body.contains(SECRET), "{}", page.body);
    let typed = settings(&csrf, &[("password", "Wrong-Guess-00")]);
    let page = send(&alice, SSO, &typed).await.expect_message("m2");
    assert!(!page.body.contains("admin.secret.again"), "none was typed");
    assert_eq!(scope(&world).await, (SsoScope::Off, None));
    // Nor does it where the machine has too much to do for a moment.
    let held = world.portal.verifier.fill();
    let page = send(&alice, SCOPE, &fields).await.expect_message("m25");
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.body.contains("value=\"all\" checked"), "{}", page.body);
    drop(held);
}

#[tokio::test]
async fn sec_r36_a_change_wants_a_proof_of_who_is_asking() {
    let world = world().await;
    world.fixture.provider_tested().await;
    link(&world, ACME, "bob@acme.example", "b").await;
    let bob = user(&world, "bob@acme.example").await.to_string();
    let alice = signed_in(&world, "alice@acme.example").await;
    alice.at(600);
    let page = alice.open(SSO).await;
    assert!(page.body.contains("id=\"password-settings\"") && page.body.contains("id=\"password-scope\""));
    let csrf = token(&page);
    let forms: [(&str, Vec<(&str, &str)>); 5] = [
        (SSO, settings(&csrf, &[("logout", "yes")])),
        (ROSTER, vec![("csrf", &csrf), ("username", "erin@acme.example"), ("subject", "e")]),
        (ROSTER, vec![("csrf", &csrf), ("remove", &bob)]),
        (IMPORT, vec![("csrf", &csrf), ("table", "username,subject\ndora@acme.example,d")]),
        (SCOPE, vec![("csrf", &csrf), ("scope", "all")]),
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
    assert_eq!(scope(&world).await, (SsoScope::Off, None));
    assert_eq!(links(&world, ACME).await, [("bob@acme.example".to_owned(), "b".to_owned())]);
    for (path, fields) in forms {
        let fields: Vec<_> = fields.into_iter().chain([("password", PASSWORD)]).collect();
        assert_eq!(send(&alice, path, &fields).await.status, StatusCode::SEE_OTHER, "{path}");
    }
    assert_eq!(scope(&world).await.0, SsoScope::All);
    // Now her own password counts no more: she logs in anew, and her changes wait for that.
    let page = alice.open(SSO).await;
    let anew = "/.zonegate/sso/acme?anew&#38;return_to=/.zonegate/admin/sso";
    assert!(page.body.contains(anew) && !page.body.contains("name=\"password\""), "{}", page.body);
    let fields = [("csrf", csrf.as_str()), ("scope", "off"), ("password", PASSWORD)];
    send(&alice, SCOPE, &fields).await.expect_message("account.anew");
    assert_eq!(scope(&world).await.0, SsoScope::All);
}

#[tokio::test]
async fn a_link_is_added_and_removed_and_sessions_that_began_with_it_are_not_forgotten() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(ROSTER).await);
    let add = async |username: &str, subject: &str| {
        send(&alice, ROSTER, &[("csrf", &csrf), ("username", username), ("subject", subject)]).await
    };
    add(" Bob@Acme.example", "248289761001 ").await.expect_in("/.zonegate/admin/sso/users?done=added");
    add("bob", "x").await.expect_message("m1");
    add("erin@acme.example", "é").await.expect_message("admin.wrong.subject");
    add("erin@acme.example", "248289761001").await.expect_message("admin.wrong.subject.taken");
    add("bob@acme.example", "other").await.expect_message("admin.wrong.user.other");
    assert_eq!(links(&world, ACME).await, [("bob@acme.example".to_owned(), "248289761001".to_owned())]);
    let bob = user(&world, "bob@acme.example").await;
    let removed = send(&alice, ROSTER, &[("csrf", &csrf), ("remove", &bob.to_string())]).await;
    removed.expect_in("/.zonegate/admin/sso/users?done=removed");
    assert!(links(&world, ACME).await.is_empty());
    let events = world.fixture.store.events(Some(bob), 2).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.actor.as_str())).collect();
    assert_eq!(kinds, [("account_unlinked", "administrator"), ("account_linked", "administrator")]);
}

#[tokio::test]
async fn a_table_is_imported_whole_or_not_at_all_and_comes_back_as_it_went() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(ROSTER).await);
    let import = async |table: &str| send(&alice, IMPORT, &[("csrf", &csrf), ("table", table)]).await;
    let wrong = import("username,subject\nbob@acme.example,b\nerin,\nmax@muc.example,m\n").await;
    assert!(wrong.body.contains("Line 3") && wrong.body.contains("Line 4"), "{}", wrong.body);
    assert!(!wrong.body.contains("Line 2"));
    assert_eq!(wrong.body.matches("<li>").count(), 3, "{}", wrong.body);
    wrong.expect_message("admin.notimported");
    let twice = import("username,subject\nbob@acme.example,b\nerin@acme.example,b\n").await;
    assert!(twice.body.contains("Line 3") && !twice.body.contains("Line 2"), "{}", twice.body);
    assert!(links(&world, ACME).await.is_empty());
    let done = import("username,subject\r\nbob@acme.example,\"=cmd|'x'!A1\"\r\nerin@acme.example,e\r\n").await;
    done.expect_in("/.zonegate/admin/sso/users?done=imported&count=2");
    let table = alice.open(EXPORT).await;
    assert_eq!(table.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    assert!(table.headers[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert!(table.body.contains("bob@acme.example,'=cmd"), "a spreadsheet finds no formula: {}", table.body);
    let before = links(&world, ACME).await;
    import(&table.body).await.expect_in("/.zonegate/admin/sso/users?done=imported&count=2");
    assert_eq!(links(&world, ACME).await, before);
}

#[tokio::test]
async fn a_table_may_be_longer_than_other_forms_and_is_read_of_people_who_are_logged_in() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(ROSTER).await);
    let table = format!("username,subject\nbob@acme.example,b\n{}", "\n".repeat(100_000));
    let imported = send(&alice, IMPORT, &[("csrf", &csrf), ("table", &table)]).await;
    imported.expect_in("/.zonegate/admin/sso/users?done=imported&count=1");
    let long = send(&alice, ROSTER, &[("csrf", &csrf), ("username", &table)]).await;
    assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);
    let longer = "\n".repeat(1 << 20);
    let longer = send(&alice, IMPORT, &[("csrf", &csrf), ("table", &longer)]).await;
    assert_eq!(longer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_test_goes_to_the_provider_and_one_that_fails_leads_back_to_the_settings() {
    let world = world().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(SSO).await);
    send(&alice, TEST, &[("csrf", &csrf)]).await.expect_message("admin.roster.noprovider");
    // One that must not be asked: the way out refuses loopback unless the operator lists it.
    send(&alice, SSO, &settings(&csrf, &[("issuer", "https://127.0.0.1:1")])).await;
    let page = alice.open(SSO).await;
    assert!(
        page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().ends_with("form-action 'self' https:")
    );
    let answer = send(&alice, TEST, &[("csrf", &csrf)]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.contains("href=\"/.zonegate/admin/sso\""), "{}", answer.body);
    assert!(answer.body.contains("The test failed") && !answer.body.contains("not logged in"), "{}", answer.body);
    assert!(answer.body.contains("id=\"reason\">provider_"), "why, too: {}", answer.body);
    assert!(world.session(&alice).is_some());
}

#[tokio::test]
async fn r118_a_page_with_a_log_out_button_may_lead_to_the_provider_as_the_log_out_does() {
    let world = world().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let mut buttons = 0;
    for path in SHOWN.into_iter().chain(["/.zonegate/account", "/.zonegate/logout"]) {
        let page = alice.open(path).await;
        if page.body.contains("action=\"/.zonegate/logout\"") {
            let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.ends_with("form-action 'self' https:"), "{path}: {policy}");
            buttons += 1;
        }
    }
    assert_eq!(buttons, 3, "the administration's first page, the account's, and the question's own");
}

#[tokio::test]
async fn d25_what_is_saved_untested_while_people_log_in_with_it_is_said_to_be() {
    let world = world().await;
    world.fixture.provider_tested().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    let csrf = token(&alice.open(SSO).await);
    let save = async |more: &[(&str, &str)]| send(&alice, SSO, &settings(&csrf, more)).await;
    save(&[("issuer", "https://other.example")]).await.expect_in("/.zonegate/admin/sso?done=nosecret");
    world.fixture.provider_tested().await;
    let all = [("csrf", csrf.as_str()), ("scope", "all")];
    send(&alice, SCOPE, &all).await.expect_in("/.zonegate/admin/sso?done=alone");
    save(&[("client_id", "other"), ("client_secret", SECRET)]).await.expect_in("/.zonegate/admin/sso?done=inuse");
    for done in ["nosecret", "alone", "inuse"] {
        assert!(alice.open(&format!("{SSO}?done={done}")).await.body.contains("id=\"notice\""), "{done}");
    }
}

#[tokio::test]
async fn g3_nothing_is_shown_or_changed_while_the_store_cannot_be_asked() {
    let world = world().await;
    let alice = signed_in(&world, "alice@acme.example").await;
    alice.unsure.set(true);
    for path in SHOWN {
        assert_eq!(alice.open(path).await.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let head = http::Request::get(ADMIN).header(header::ACCEPT, "application/json");
    assert_eq!(alice.send(head, String::new()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let posted = alice.send(form(SSO, ORIGIN), encoded(&settings("x", &[]))).await;
    assert_eq!(posted.status, StatusCode::SERVICE_UNAVAILABLE);
}
