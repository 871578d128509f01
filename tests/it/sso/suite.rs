//! The vendor's suite log-in, through the whole gateway (R90–R96, R117, D20–D24, U4, U19–U21, S12).
//!
//! The suite here is the same provider as a tenant's own, asked as another client: nothing of the one may count for the
//! other.

mod attacks;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use zonegate::base::UnixTime;
use zonegate::credential::TotpSecret;
use zonegate::directory::{SecurityLevel, SsoScope, SuiteAccess, SuiteMode, TotpPeriod, UserKind};
use zonegate::session::Class;
use zonegate::sso::Audience;
use zonegate::telemetry::EventKind;

use super::{ALICE, BOB, BOT, CAROL, IAN, ROOT, World, location, name, noted, now, parameter, patiently};
use crate::harness::{Answer, HALL, Visitor, WALL};
use crate::provider::{CLIENT_ID, CLIENT_SECRET, END_SESSION, METADATA, Play, Provider, TOKENS, USER_INFO};

const COMPANY: &str = "c-1042";
const PASSWORD: &str = "Granite-Window-74";
/// What people are told who do not get in: one of these.
const M12: [&str; 4] = [
    "Your AcmeOne account does not match this username.",
    "Log-in with AcmeOne is not enabled for your company.",
    "Log-in with AcmeOne is not available for your type of account.",
    "Your account is locked. Ask your administrator.",
];
/// What is asked of a suite that is known.
const ASKED: [&str; 2] = [TOKENS, USER_INFO];

fn section(provider: &Provider, folder: &Path) -> String {
    let secret = folder.join("suite.secret");
    std::fs::write(&secret, CLIENT_SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "suite: {{ name: AcmeOne, issuer: '{}', client_id: '{CLIENT_ID}', client_secret: 'file:{}', scopes: [email], \
         modules: [{{ id: desk, name: Desk, url: 'https://desk.example/' }}, {{ id: wiki, name: Wiki, url: 'https://wiki.example/' }}] }}\n",
        provider.issuer(),
        secret.display()
    )
}

impl World {
    /// Acme is a company of the suite, whose people may use it; Alice's own log-in is set up, and she has used the suite.
    pub(super) async fn start_in_suite() -> Self {
        let world = Self::start_with(SsoScope::Off, section).await;
        world.may(SuiteMode::Allowed, false).await;
        world.set_up(ALICE).await;
        world.is_of("1", ALICE, COMPANY);
        let visitor = world.browser();
        world.in_suite(&visitor, ALICE).await;
        world
    }

    async fn may(&self, mode: SuiteMode, provisioning: bool) {
        let access = SuiteAccess { mode, company: Some(COMPANY.parse().unwrap()), provisioning };
        let changed = noted(EventKind::SuiteChanged);
        assert!(patiently(async || self.store.set_suite(self.acme, &access, &changed).await).await);
    }

    /// Gives somebody an authenticator, as their first log-in does.
    pub(super) async fn set_up(&self, username: &str) {
        let user = self.store.account(&name(username)).await.unwrap().unwrap().user;
        let (secret, event) = (TotpSecret::from_bytes([9; 20]), noted(EventKind::SecondFactorEnrolled));
        let enrolled =
            self.store.enrol_totp(user.id, user.flow_epoch, &secret, TotpPeriod::Thirty, 0, &event).await;
        assert!(enrolled.unwrap(), "{username}");
    }

    /// Somebody else at the suite: this subject, with this address, of this company.
    pub(super) fn is_of(&self, subject: &str, email: &str, company: &str) {
        let claims = json!({
            "email": email, "email_verified": true, "company": company, "modules": ["wiki", "crm", "desk"],
        });
        self.provider.script(|script| {
            script.subject = subject.into();
            script.sid = format!("session-of-{subject}");
            script.claims = claims.clone();
            script.info = claims;
        });
    }

    /// Types a name and takes the suite's button.
    pub(super) async fn ask_suite(&self, visitor: &Visitor, username: &str) -> Answer {
        let login = self.url("/.zonegate/login");
        let page = visitor.open(&login).await;
        assert!(page.has("suite") && page.has("continue"), "R90: {}", page.body);
        let flow = page.field("flow").unwrap();
        visitor.post(&login, &[("flow", &flow), ("username", username), ("action", "suite")]).await.unwrap()
    }

    /// The whole way to the suite and back.
    async fn try_suite(&self, visitor: &Visitor, username: &str) -> Answer {
        let answer = self.ask_suite(visitor, username).await;
        let back = self.at_provider(&answer);
        visitor.open(&back).await
    }

    pub(super) async fn in_suite(&self, visitor: &Visitor, username: &str) {
        let answer = self.try_suite(visitor, username).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{username}: {} {}", answer.body, self.gateway.log());
        assert!(self.has_session(visitor), "{answer:?}");
    }

    /// From the suite's own page, where nobody types a name.
    async fn try_tile(&self, visitor: &Visitor) -> Answer {
        let answer = visitor.open(&self.url("/.zonegate/suite")).await;
        let back = self.at_provider(&answer);
        visitor.open(&back).await
    }

    async fn expect_no_match(&self, what: &str, username: &str, reason: &str) {
        let visitor = self.browser();
        let seen = self.watched(async || self.try_suite(&visitor, username).await).await;
        seen.expect_refused_with(&M12, what, reason, &ASKED);
        let account = self.store.account(&name(username)).await.unwrap();
        let whose = account.map(|account| (account.tenant.id, account.user.id));
        assert_eq!(seen.events[0].tenant.zip(seen.events[0].user), whose, "R121: {what}");
    }

    /// The people that acme has at the suite, by username and subject.
    async fn linked(&self) -> Vec<(String, String)> {
        let links = patiently(async || self.store.links(self.acme, Audience::Suite).await).await;
        links.iter().map(|link| (link.username.to_string(), link.subject.as_str().to_owned())).collect()
    }
}

#[tokio::test]
async fn u19_the_suite_says_who_somebody_is_and_what_they_may_open() {
    let world = World::start_in_suite().await;
    let visitor = world.browser();
    let to = location(&world.ask_suite(&visitor, ALICE).await);
    let redirect = parameter(&to, "redirect_uri").unwrap();
    assert_eq!(redirect, world.url("/.zonegate/suite/callback"), "R91");
    assert_eq!(parameter(&to, "code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(parameter(&to, "login_hint"), None, "the suite may call her otherwise");
    world.in_suite(&visitor, "ALICE@acme.example").await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    let session = visitor.ask(&world.url("/.zonegate/session")).await.json();
    assert_eq!(session["session"]["method"], "suite", "{session}");
    assert_eq!(world.linked().await, [(ALICE.into(), "1".into())], "R6");
    let live = patiently(async || world.store.live_sessions().await).await;
    let id = live.iter().max_by_key(|live| live.record.started_at).unwrap().record.id;
    let at_suite = world.store.provider_session(id).await.unwrap().unwrap();
    assert_eq!(at_suite.modules, ["desk", "wiki"], "R95: what both have, in the launcher's order");

    // R7: her own log-in is what it was.
    let local = world.browser();
    let page = local.give_username(&world.url("/"), ALICE).await.unwrap();
    let page = local.answer(&page, "password", PASSWORD).await.unwrap();
    assert!(page.has("code"), "{}", page.body);
}

#[tokio::test]
async fn r36_the_suite_wants_a_name_that_could_be_one() {
    let world = World::start_in_suite().await;
    let visitor = world.browser();
    for text in ["", "jdoe", "a@b@c"] {
        let answer = world.ask_suite(&visitor, text).await;
        assert_eq!(answer.status, StatusCode::OK, "{text:?}");
        assert!(answer.body.contains("data-message=\"m1\""), "{text:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn u21_nobody_gets_in_by_another_company_address_or_person() {
    let world = World::start_in_suite().await;
    world.set_up(ROOT).await;
    world.is_of("1", ALICE, "c-9");
    world.expect_no_match("of another company, though linked", ALICE, "suite_other_company").await;
    world.is_of("2", ALICE, COMPANY);
    world.expect_no_match("somebody else who has her address now", ALICE, "suite_linked_to_another").await;
    world.is_of("3", "root@mail.example", COMPANY);
    world.expect_no_match("a secondary address", ROOT, "suite_address").await;
    world.is_of("1", ALICE, COMPANY);
    world.expect_no_match("the name of somebody else", ROOT, "suite_address").await;
    world.expect_no_match("a name that nobody has", "nobody@acme.example", "unknown_user").await;
    let unverified = json!({ "email": ROOT, "email_verified": false, "company": COMPANY });
    world.provider.script(|script| (script.claims, script.info) = (unverified.clone(), unverified));
    world.expect_no_match("an address that the suite did not verify", ROOT, "suite_address").await;
    let homeless = json!({ "email": ROOT, "email_verified": true });
    world.provider.script(|script| (script.claims, script.info) = (homeless.clone(), homeless));
    world.expect_no_match("no company at all", ROOT, "suite_company_missing").await;
    assert_eq!(world.linked().await, [(ALICE.into(), "1".into())]);
}

#[tokio::test]
async fn d24_the_suite_lets_in_the_kinds_that_it_knows_and_nobody_who_is_off_or_locked() {
    let world = World::start_in_suite().await;
    for (at, who) in [BOB, CAROL, WALL, BOT].into_iter().enumerate() {
        world.is_of(&format!("k{at}"), who, COMPANY);
        world.expect_no_match(who, who, "suite_not_for_this_user").await;
    }
    world.is_of("9", IAN, COMPANY);
    world.expect_no_match("inactive", IAN, "disabled").await;
    world.is_of("1", ALICE, COMPANY);
    world.is_provider_of(world.acme).await;
    world.is_for(SsoScope::All, None).await;
    world.expect_no_match("R8: whose own provider says who they are", ALICE, "suite_not_for_this_user").await;
    world.is_for(SsoScope::Off, None).await;
    let (local, key) = (world.browser(), world.id(ALICE).await);
    for _ in 0..7 {
        let page = local.give_username(&world.url("/"), ALICE).await.unwrap();
        local.answer(&page, "password", "Wrong-Window-75").await.unwrap();
    }
    assert!(world.store.account_by_id(key).await.unwrap().unwrap().locked_at.is_some());
    world.expect_no_match("D6: locked", ALICE, "suite_locked").await;
    world.may(SuiteMode::Off, false).await;
    world.expect_no_match("R93: switched off", ALICE, "suite_off").await;
}

#[tokio::test]
async fn u4_before_the_own_log_in_is_set_up_nothing_is_linked_and_nobody_is_told_but_the_person() {
    let world = World::start_in_suite().await;
    world.is_of("7", ROOT, COMPANY);
    let visitor = world.browser();
    let seen = world.watched(async || world.try_suite(&visitor, ROOT).await).await;
    let m11 = "Your account is not set up yet and cannot be linked to AcmeOne. Log in with your username and \
               password first.";
    seen.expect_refused_with(&[m11], "R28", "suite_before_set_up", &ASKED);
    world.is_of("8", "other@mail.example", COMPANY);
    world.expect_no_match("trap 8: a stranger learns nothing of it", ROOT, "suite_address").await;
    world.set_up(ROOT).await;
    world.is_of("7", ROOT, COMPANY);
    world.in_suite(&visitor, ROOT).await;
    assert_eq!(world.linked().await, [(ALICE.into(), "1".into()), (ROOT.into(), "7".into())]);
}

#[tokio::test]
async fn r15_whoever_names_another_zone_goes_to_the_suite_from_there_and_comes_back_there() {
    let world = World::start_in_suite().await;
    let visitor = world.browser();
    let answer = world.ask_suite(&visitor, HALL).await;
    let there = location(&answer);
    assert!(there.starts_with(&world.url_in_b("/.zonegate/login?handover=")), "{there}");
    let to = location(&visitor.open(&there).await);
    assert_eq!(parameter(&to, "redirect_uri").unwrap(), world.url_in_b("/.zonegate/suite/callback"));
    let back = world.provider.authorize(&to);
    let seen = world.watched(async || visitor.open(&back).await).await;
    seen.expect_refused_with(&M12, "a tenant that is no company of the suite", "suite_off", &ASKED);
}

#[tokio::test]
async fn d20_after_the_first_match_the_subject_counts_and_the_address_moves_nothing() {
    let world = World::start_in_suite().await;
    world.set_up(ROOT).await;
    // Alice changed her address at the suite, to the administrator's.
    world.is_of("1", ROOT, COMPANY);
    let visitor = world.browser();
    world.in_suite(&visitor, ALICE).await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    assert_eq!(world.linked().await, [(ALICE.into(), "1".into())]);
}

#[tokio::test]
async fn d21_from_the_tile_one_account_opens_and_of_several_the_person_chooses() {
    let world = World::start_in_suite().await;
    world.is_of("1", ALICE, COMPANY);
    let visitor = world.browser();
    let answer = world.try_tile(&visitor).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    // Who has nothing here.
    world.is_of("5", "new@mail.example", COMPANY);
    let stranger = world.browser();
    let seen = world.watched(async || world.try_tile(&stranger).await).await;
    seen.expect_refused_with(&M12, "nobody's", "unknown_user", &ASKED);

    // A second account of hers, with the same address.
    let second = "alice.ops@acme.example";
    world.person(second, UserKind::Regular, SecurityLevel::Admin).await;
    world.set_up(second).await;
    world.is_of("1", second, COMPANY);
    let several = world.browser();
    let page = world.try_tile(&several).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("Which account?") && !world.has_session(&several), "{}", page.body);
    for offered in [ALICE, second] {
        assert!(page.body.contains(offered), "{}", page.body);
    }
    let root = world.id(ROOT).await.to_string();
    for nobody in [root.as_str(), "", "x"] {
        let again = several.answer(&page, "account", nobody).await.unwrap();
        assert!(again.body.contains("Which account?") && !world.has_session(&several), "{nobody:?}");
    }
    let chosen = world.id(second).await.to_string();
    let thief = world.browser();
    thief.open(&world.url("/.zonegate/login")).await;
    let stolen = thief.answer(&page, "account", &chosen).await.unwrap();
    assert_eq!((stolen.status, world.has_session(&thief)), (StatusCode::FORBIDDEN, false));
    let answer = several.answer(&page, "account", &chosen).await.unwrap();
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert_eq!(world.known_as(&several).await.as_deref(), Some(second));
    assert_eq!(world.linked().await, [(second.to_owned(), "1".to_owned()), (ALICE.into(), "1".into())]);
}

#[tokio::test]
async fn d22_where_the_suite_is_required_only_who_is_exempt_logs_in_locally() {
    let world = World::start_in_suite().await;
    world.set_up(ROOT).await;
    world.may(SuiteMode::Required, false).await;
    let exempt = world.id(ROOT).await;
    let changed = noted(EventKind::SuiteChanged);
    patiently(async || world.store.set_suite_exempt(exempt, true, &changed).await).await;
    let visitor = world.browser();
    for who in [ALICE, ROOT, "nobody@acme.example"] {
        let page = visitor.give_username(&world.url("/"), who).await.unwrap();
        assert!(page.body.contains("Your company requires log-in with AcmeOne."), "{who}: {}", page.body);
        assert!(page.has("suite") && !page.has("password"), "{who}: {}", page.body);
    }
    // At the address of those who are exempt everybody is asked for a password, and it is theirs alone that counts.
    let local = async |who: &str| {
        let visitor = world.browser();
        let page = visitor.open(&world.url("/.zonegate/login?with=password")).await;
        let page = visitor.answer(&page, "username", who).await.unwrap();
        assert!(page.has("password"), "{who}: {}", page.body);
        visitor.answer(&page, "password", PASSWORD).await.unwrap()
    };
    assert!(local(ROOT).await.has("code"));
    for who in [ALICE, "nobody@acme.example"] {
        let answer = local(who).await;
        assert!(answer.body.contains("data-message=\"m2\"") && !answer.has("code"), "{who}: {}", answer.body);
    }
    let alice = world.store.account(&name(ALICE)).await.unwrap().unwrap();
    assert_eq!(alice.attempts_used, 0, "a password that is not evaluated costs nothing (R8)");

    // Who has no authenticator could not set one up any more: the suite's word is enough.
    let new = "una@acme.example";
    world.person(new, UserKind::Regular, SecurityLevel::User).await;
    world.is_of("30", new, COMPANY);
    world.in_suite(&world.browser(), new).await;

    // R105: a native client is told where, and not who is exempt.
    let native = async |who: &str, password: &str| {
        let told = json!({ "client": "mobile", "username": who, "password": password });
        world.browser().tell(&world.url("/.zonegate/api/login"), &told).await.json()
    };
    for (who, password) in [(ALICE, PASSWORD), (ROOT, "Wrong-Window-75"), ("nobody@acme.example", PASSWORD)] {
        let told = native(who, password).await;
        assert_eq!(told["status"], "suite_required", "{who}: {told}");
        let url = told["login_url"].as_str().unwrap();
        assert!(url.starts_with(&world.url("/.zonegate/suite?client=")), "{who}: {told}");
    }
    assert_eq!(native(ROOT, PASSWORD).await["status"], "otp_required");
    // D42: in the window that an add-in opens, the session takes the mobile slot.
    world.is_of("1", ALICE, COMPANY);
    let url = native(ALICE, "").await["login_url"].as_str().unwrap().to_owned();
    let window = world.browser();
    let answer = window.open(&url).await;
    window.open(&world.at_provider(&answer)).await;
    assert!(world.has_session(&window));
    let alice = world.id(ALICE).await;
    let live = patiently(async || world.store.live_sessions().await).await;
    let mobile = live.iter().filter(|session| session.record.class == Class::Mobile);
    assert_eq!(mobile.map(|session| session.record.user).collect::<Vec<_>>(), [alice]);
    // D24: whom the suite does not know logs in as before.
    assert_eq!(native(WALL, PASSWORD).await["status"], "authenticated");
}

#[tokio::test]
async fn d23_whom_only_the_suite_knows_is_entered_under_their_verified_address_and_nobody_elses() {
    let world = World::start_in_suite().await;
    let new = "nora@acme.example";
    world.is_of("20", new, COMPANY);
    world.expect_no_match("not wanted", new, "unknown_user").await;
    world.may(SuiteMode::Allowed, true).await;
    world.expect_no_match("a name of one's own choice", "ceo@acme.example", "unknown_user").await;
    world.is_of("21", "nora@elsewhere.example", COMPANY);
    let visitor = world.browser();
    let seen = world.watched(async || world.try_tile(&visitor).await).await;
    seen.expect_refused_with(&M12, "an address that is none of the tenant's", "unknown_user", &ASKED);
    world.is_of("22", new, "c-9");
    world.expect_no_match("of another company", new, "unknown_user").await;
    world.is_of("23", ROOT, COMPANY);
    let seen = world.watched(async || world.try_tile(&visitor).await).await;
    assert!(seen.answer.body.contains("not set up yet") && !seen.changed, "trap 7: {}", seen.answer.body);

    world.is_of("20", new, COMPANY);
    world.in_suite(&visitor, new).await;
    let account = world.store.account(&name(new)).await.unwrap().unwrap();
    assert_eq!((account.user.kind, account.user.level), (UserKind::Regular, SecurityLevel::User));
    assert_eq!((account.password.is_none(), account.user.email.as_deref()), (true, Some(new)));
    let events = world.events().await;
    assert!(events.iter().any(|event| event.kind == "user_created" && event.user == Some(account.user.id)));
    world.in_suite(&world.browser(), new).await;
}

#[tokio::test]
async fn s12_an_answer_of_the_suite_counts_once_in_its_zone_and_browser_and_never_for_a_tenants_provider() {
    let world = World::start_in_suite().await;
    world.is_provider_of(world.acme).await;
    let visitor = world.browser();
    let refused = async |what: &str, visitor: &Visitor, url: &str, reason: &str, asked: &[&str]| {
        let seen = world.watched(async || visitor.open(url).await).await;
        seen.expect_refused(what, reason, asked);
    };
    let back = async |visitor: &Visitor| {
        let answer = world.ask_suite(visitor, ALICE).await;
        world.at_provider(&answer)
    };
    let way = back(&visitor).await;
    let thief = world.browser();
    refused("without a cookie", &thief, &way, "no_browser_cookie", &[]).await;
    thief.open(&world.url("/.zonegate/login")).await;
    refused("another browser", &thief, &way, "state_of_other_browser", &[]).await;
    let elsewhere = way.replace("/.zonegate/suite/callback", "/.zonegate/sso/acme/callback");
    refused("a tenant's own callback", &visitor, &elsewhere, "state_of_other_provider", &[]).await;
    let answer = visitor.open(&way).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    visitor.post(&world.url("/.zonegate/logout"), &[]).await.unwrap();
    refused("the same again", &visitor, &way, "state_spent", &[]).await;

    world.is_for(SsoScope::All, None).await;
    let way = world.way_back(&visitor).await;
    let elsewhere = way.replace("/.zonegate/sso/acme/callback", "/.zonegate/suite/callback");
    refused("the suite's callback", &visitor, &elsewhere, "state_of_other_provider", &[]).await;

    // Forced on a victim: a link leads to a question, not to the suite.
    let page = visitor.open(&world.url("/.zonegate/suite/initiate")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("AcmeOne") && page.field("csrf").is_some(), "{}", page.body);
    let url = world.url("/.zonegate/suite/initiate");
    let forged = visitor.post(&url, &[("csrf", "x")]).await.unwrap();
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let csrf = page.field("csrf").unwrap();
    let answer = visitor.post(&url, &[("csrf", &csrf)]).await.unwrap();
    assert!(location(&answer).starts_with(world.provider.issuer()), "{answer:?}");
}

#[tokio::test]
async fn u20_a_log_out_reaches_the_suite_and_the_suites_reaches_its_sessions_and_no_other() {
    let world = World::start_in_suite().await;
    let local = world.browser();
    let page = local.give_username(&world.url("/"), WALL).await.unwrap();
    local.answer(&page, "password", PASSWORD).await.unwrap();
    let visitor = world.browser();
    world.in_suite(&visitor, ALICE).await;
    let answer = visitor.post(&world.url("/.zonegate/logout"), &[]).await.unwrap();
    let to = location(&answer);
    assert!(to.starts_with(&format!("{}{END_SESSION}", world.provider.issuer())), "R96: {to}");
    assert_eq!(
        parameter(&to, "post_logout_redirect_uri").unwrap(),
        world.url("/.zonegate/suite/logged-out"),
        "{to}"
    );
    assert!(parameter(&to, "id_token_hint").is_some() && world.known_as(&visitor).await.is_none());
    let state = parameter(&to, "state").unwrap();
    let back = visitor.open(&world.url(&format!("/.zonegate/suite/logged-out?state={state}"))).await;
    let page = visitor.open(&location(&back)).await;
    assert!(page.body.contains("You are logged out of AcmeOne and all modules."), "M17: {}", page.body);

    world.in_suite(&visitor, ALICE).await;
    let token = world.provider.logout_token(|_, _| {});
    let body = ("application/x-www-form-urlencoded", format!("logout_token={token}"));
    let url = world.url("/.zonegate/suite/backchannel-logout");
    let told = world.browser().send(reqwest::Method::POST, &url, "*/*", Some(body.clone())).await.unwrap();
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    assert!(world.known_as(&visitor).await.is_none(), "R117");
    assert_eq!(world.known_as(&local).await.as_deref(), Some(WALL), "trap 27: a local session is untouched");
    let again = world.browser().send(reqwest::Method::POST, &url, "*/*", Some(body)).await.unwrap();
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "once");
}

#[tokio::test]
async fn d19_a_suite_that_cannot_be_reached_keeps_nobody_logged_in_and_is_told_later() {
    let world = World::start_in_suite().await;
    let visitor = world.browser();
    world.in_suite(&visitor, ALICE).await;
    for path in [METADATA, END_SESSION] {
        world.provider.play(path, Play::Break);
    }
    let answer = visitor.post(&world.url("/.zonegate/logout"), &[]).await.unwrap();
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let page = visitor.open(&location(&answer)).await;
    assert!(page.body.contains("You are logged out here."), "{}", page.body);
    assert!(world.known_as(&visitor).await.is_none(), "it is over here");
    let queued = patiently(async || world.store.due_provider_logouts(now().plus_seconds(86_400), 9).await).await;
    assert_eq!(queued.len(), 1, "kept in the store until it was told");

    // Back again, it is told: by whichever process runs then.
    world.provider.asked();
    world.provider.behave();
    let left = async || world.store.due_provider_logouts(now().plus_seconds(86_400), 9).await;
    // It is tried every five seconds, beside whatever else the machine does.
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        let mut interval = tokio::time::interval(Duration::from_millis(200));
        while !patiently(left).await.is_empty() {
            // It has failed before, so its next turn is a minute away: made due by the gateway's clock as well, which may be a
            // moment behind.
            let due = UnixTime::from_seconds(now().seconds() - 60);
            patiently(async || world.store.provider_logout_failed(queued[0].session, due).await).await;
            interval.tick().await;
        }
    });
    told.await.expect("it is told");
    let asked = world.provider.asked();
    let told = asked.iter().find(|asked| asked.path == END_SESSION).unwrap();
    assert!(told.form["id_token_hint"].starts_with("ey"), "{told:?}");
}

#[tokio::test]
async fn v9_nobody_who_set_out_to_log_in_binds_a_company() {
    let world = World::start_in_suite().await;
    let claims = json!({
        "email": ALICE, "email_verified": true, "company": "c-evil", "company_master": true,
    });
    world.provider.script(|script| (script.claims, script.info) = (claims.clone(), claims));
    world.expect_no_match("a master of another company", ALICE, "suite_other_company").await;
    let tenant = world.store.tenant_by_slug("acme").await.unwrap().unwrap();
    assert_eq!(tenant.suite.company.unwrap().as_str(), COMPANY);
}
