//! Who logs in at the provider and who does not, what their password and authenticator are worth meanwhile, and how a
//! browser is led there (R8–R10, R22, R38, R68, R85, R97–R102, D6, D24–D26, D34).

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonegate::directory::{SecurityLevel, SsoScope};
use zonegate::session::Method;
use zonegate::telemetry::EventKind;

use super::{ALICE, BOB, CAROL, IAN, ROOT, World, location, name, noted, parameter, put};
use crate::harness::{A, Answer, B, LOGIN, Visitor, WALL, code};
use crate::provider::{KEYS, METADATA, Play, TOKENS, USER_INFO};

const PASSWORD: &str = "Granite-Window-74";
const NOBODY: &str = "nobody@acme.example";

/// What a page says, without what is new on every one of them.
fn said(answer: &Answer, username: &str) -> (StatusCode, String) {
    let flow = answer.field("flow").unwrap_or_default();
    let escaped = [flow.as_str(), &flow.replace('+', "&#43;").replace('=', "&#61;")].map(str::to_owned);
    let body = escaped.iter().fold(answer.body.clone(), |body, flow| body.replace(flow.as_str(), "FLOW"));
    (answer.status, body.replace(username, "USERNAME"))
}

/// A native client's answer without what is new in every one: what the address carries under seal.
fn unsealed(body: &str) -> String {
    let Some((before, rest)) = body.split_once("?client=") else { return body.to_owned() };
    let (sealed, after) = rest.split_once('"').unwrap();
    format!("{before}?client={}\"{after}", "S".repeat(sealed.len()))
}

impl World {
    /// The password page that nobody is led away from.
    async fn password_page(&self, visitor: &Visitor, username: &str) -> Answer {
        let page = visitor.open(&self.url("/.zonegate/login?with=password")).await;
        visitor.answer(&page, "username", username).await.unwrap()
    }

    /// A native client's first request.
    async fn native(&self, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let mut body = json!({ "client": "mobile" });
        for (name, value) in fields {
            body[*name] = json!(value);
        }
        let answer = self.browser().tell(&self.url("/.zonegate/api/login"), &body).await;
        (answer.status, unsealed(&answer.body))
    }

    async fn used(&self, username: &str) -> u8 {
        self.store.account(&name(username)).await.unwrap().unwrap().attempts_used
    }

    /// The time on the gateway's clock moves to the next step of an authenticator.
    async fn next_code(&self, secret: &str, ahead: &mut u64) -> String {
        *ahead += 30;
        self.gateway.advance(*ahead).await;
        code(secret, (super::now().seconds() + *ahead) / 30)
    }
}

#[tokio::test]
async fn r8_e5_a_password_of_somebody_at_the_provider_is_not_evaluated_not_counted_and_tells_nothing() {
    let world = World::start().await;
    for turn in 1..=9 {
        let mut pages = Vec::new();
        for who in [ALICE, NOBODY] {
            let visitor = world.browser();
            let page = world.password_page(&visitor, who).await;
            assert!(page.has("password"), "nobody is led away: {}", page.body);
            let seen = world.watched(async || visitor.answer(&page, "password", PASSWORD).await.unwrap()).await;
            assert!(seen.asked.is_empty() && !seen.changed && !world.has_session(&visitor), "{who}: {seen:?}");
            let reason = match (who, turn) {
                (_, 8..) => "locked",
                (ALICE, _) => "sso_only",
                _ => "unknown_user",
            };
            assert_eq!(seen.events[0].reason.as_deref(), Some(reason), "{who}, {turn}");
            pages.push(said(&seen.answer, who));
        }
        assert_eq!(pages[0], pages[1], "{turn}");
    }
    assert_eq!(world.used(ALICE).await, 0);
    let events = world.events().await;
    let locked = events.iter().filter(|event| event.kind == "account_locked" && event.user.is_some()).count();
    assert_eq!(locked, 0, "nobody is locked");
    // And log in where they do, whatever others typed (D6).
    let visitor = world.browser();
    world.log_in(&visitor).await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
}

#[tokio::test]
async fn e4_native_clients_are_led_to_the_provider_whatever_name_and_password_they_have() {
    let world = World::start().await;
    world.is_for(SsoScope::All, Some(world.id(ROOT).await)).await;
    let (status, body) = world.native(&[("username", NOBODY), ("password", "Wrong-Guess-12")]).await;
    let want: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_u16(), &want["status"]), (403, &json!("sso_required")), "{body}");
    let url = want["login_url"].as_str().unwrap();
    assert!(url.starts_with(&world.sso("?client=S")), "{url}");
    for who in [ALICE, NOBODY, IAN, ROOT, CAROL, WALL, "bot@acme.example"] {
        let attempts: &[&[(&str, &str)]] = &[
            &[("username", who), ("password", "Wrong-Guess-12")],
            &[("username", who), ("password", "")],
            &[("username", who)],
        ];
        for fields in attempts {
            assert_eq!(world.native(fields).await, (status, body.clone()), "{fields:?}");
        }
    }
    for who in [ALICE, WALL, IAN] {
        let fields = [("username", who), ("password", PASSWORD)];
        assert_eq!(world.native(&fields).await, (status, body.clone()), "the right password of {who}");
        assert_eq!(world.used(who).await, 0, "{who}");
    }
    // Those few whose password counts have it evaluated, and it is a password like any other.
    for who in [ROOT, CAROL] {
        let (_, said) = world.native(&[("username", who), ("password", PASSWORD)]).await;
        assert!(said.contains("otp_setup_required"), "{who}: {said}");
        assert_eq!(world.used(who).await, 1, "the wrong one above");
        for _ in 0..8 {
            let fields = [("username", who), ("password", "Wrong-Guess-12")];
            assert_eq!(
                world.native(&fields).await,
                (status, body.clone()),
                "{who} is locked, and that is not said"
            );
        }
    }
    let seen = world.watched(async || world.browser().ask(&world.url("/x")).await).await;
    assert!(seen.asked.is_empty(), "none of it asked the provider");
}

#[tokio::test]
async fn e4_every_name_of_the_tenant_leads_to_the_provider_in_the_same_way() {
    let world = World::start().await;
    let mut ways = Vec::new();
    for who in [ALICE, NOBODY, IAN, CAROL, ROOT, "bot@acme.example"] {
        let visitor = world.browser();
        let answer = visitor.give_username(&world.url("/"), who).await.unwrap();
        let to = location(&answer);
        assert_eq!(parameter(&to, "login_hint").as_deref(), Some(who));
        let mut way = to;
        for name in ["state", "nonce", "code_challenge", "login_hint"] {
            way = super::with_parameter(&way, name, None);
        }
        let names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        ways.push((answer.status, way, names, answer.body));
    }
    assert!(ways.windows(2).all(|pair| pair[0] == pair[1]), "{ways:#?}");
}

#[tokio::test]
async fn r9_where_selected_users_log_in_there_the_others_do_as_before() {
    let world = World::start_for(SsoScope::Selected).await;
    world.gateway.command(&["tenant", "sso", "link", ALICE, "248289761001"]).await;
    let visitor = world.browser();
    let page = visitor.give_username(&world.url("/"), BOB).await.unwrap();
    assert!(page.has("password"), "{}", page.body);
    let page = visitor.answer(&page, "password", PASSWORD).await.unwrap();
    assert!(page.has("qr"), "whoever shows a password sets up a second factor: {}", page.body);
    let answer = visitor.give_username(&world.url("/"), ALICE).await.unwrap();
    visitor.open(&world.at_provider(&answer)).await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
}

#[tokio::test]
async fn r68_an_authenticator_is_kept_through_single_sign_on_and_counts_again_after_it() {
    let world = World::start_for(SsoScope::Off).await;
    let mut ahead = 0;
    let visitor = world.browser();
    let page = visitor.give_username(&world.url("/"), ALICE).await.unwrap();
    let page = visitor.answer(&page, "password", PASSWORD).await.unwrap();
    let key = page.body.split("id=\"manual-key\">").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
    let typed = world.next_code(&key, &mut ahead).await;
    let page = visitor.answer(&page, "code", &typed).await.unwrap();
    let flow = page.field("flow").unwrap();
    visitor.post(&world.url("/.zonegate/login"), &[("flow", &flow)]).await.unwrap();
    assert!(world.has_session(&visitor), "the local way");

    world.is_for(SsoScope::All, None).await;
    let at_provider = world.browser();
    world.provider.script(|s| s.ahead = i64::try_from(ahead).unwrap());
    world.log_in(&at_provider).await;
    assert!(world.store.account(&name(ALICE)).await.unwrap().unwrap().totp.is_some(), "kept");
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE), "D34: what was open stays open");

    world.is_for(SsoScope::Off, None).await;
    assert_eq!(world.known_as(&at_provider).await.as_deref(), Some(ALICE), "D34");
    let local = world.browser();
    let page = local.give_username(&world.url("/"), ALICE).await.unwrap();
    let page = local.answer(&page, "password", PASSWORD).await.unwrap();
    assert!(page.has("form-code") && !world.has_session(&local), "the code is asked for: {}", page.body);
    let typed = world.next_code(&key, &mut ahead).await;
    local.answer(&page, "code", &typed).await.unwrap();
    assert!(world.has_session(&local));
    assert_eq!(world.live().await, 3);
}

#[tokio::test]
async fn r22_whom_the_provider_knows_first_gets_an_account_of_the_lowest_level_and_no_password() {
    let world = World::start().await;
    let newcomer = "nora@acme.example";
    world.is("77", newcomer);
    let visitor = world.browser();
    world.set(|settings| settings.provisioning = true).await;
    world.log_in(&visitor).await;
    let account = world.store.account(&name(newcomer)).await.unwrap().unwrap();
    assert_eq!(account.user.level, SecurityLevel::User);
    assert!(account.password.is_none() && account.totp.is_none() && account.user.groups.is_empty());
    let kinds: Vec<_> = world.events().await.into_iter().map(|event| event.kind).collect();
    assert!(
        kinds.ends_with(&["user_created", "account_linked", "login_succeeded"].map(String::from)),
        "{kinds:?}"
    );
    // But not for another tenant's domain, nor in the place of somebody who is there.
    for (email, reason) in [("nora@bolt.example", "foreign_username"), (IAN, "not_sso"), (CAROL, "not_sso")] {
        world.is("78", email);
        let visitor = world.browser();
        let seen = world.watched(async || world.try_log_in(&visitor).await).await;
        seen.expect_refused(email, reason, &[TOKENS, USER_INFO]);
    }
}

#[tokio::test]
async fn r101_who_is_off_here_or_there_does_not_get_in_and_a_lock_is_nothing_to_the_provider() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let alice = world.id(ALICE).await;
    world.store.set_active(alice, false, &noted(EventKind::UserDisabled)).await.unwrap();
    let stranger = world.browser();
    let seen = world.watched(async || world.try_log_in(&stranger).await).await;
    seen.expect_refused("an account that is off", "disabled", &[TOKENS, USER_INFO]);
    let event = &seen.events[0];
    assert_eq!((event.tenant, event.user), (Some(world.acme), Some(alice)), "R121: whose account it was about");
    world.store.set_active(alice, true, &noted(EventKind::UserEnabled)).await.unwrap();
    // Locked by failures from before (D6).
    let key = zonegate::store::BudgetKey::User(alice);
    for _ in 0..7 {
        world.store.debit(key, std::num::NonZeroU8::new(7).unwrap(), super::now()).await.unwrap();
    }
    assert!(world.store.account(&name(ALICE)).await.unwrap().unwrap().locked_at.is_some());
    world.log_in(&stranger).await;
    assert_eq!(world.known_as(&stranger).await.as_deref(), Some(ALICE));
    let session = world.store.live_sessions().await.unwrap().pop().unwrap().record;
    assert_eq!((session.method, session.factors.iter().count()), (Method::Sso, 0), "no factor of ours was shown");
}

#[tokio::test]
async fn r85_slots_are_shared_by_all_ways_in_and_the_choice_is_ours_to_ask() {
    let mut world = World::start().await;
    world.gateway.edit("web_sessions_max: 100", "web_sessions_max: 2");
    world.gateway.restart().await;
    world.is_for(SsoScope::Off, None).await;
    let local = world.browser();
    let page = local.give_username(&world.url("/"), WALL).await.unwrap();
    local.answer(&page, "password", PASSWORD).await.unwrap();
    assert!(world.has_session(&local));
    world.is_for(SsoScope::All, None).await;
    world.is("5", WALL);
    let (second, third) = (world.browser(), world.browser());
    world.log_in(&second).await;
    let page = world.try_log_in(&third).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(!world.has_session(&third) && world.live().await == 2, "no third before the choice");
    let ids: Vec<_> =
        page.body.split("id=\"session-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.len(), 2, "{}", page.body);
    let first = world.store.live_sessions().await.unwrap();
    let first = first.iter().find(|session| session.record.method == Method::Local).unwrap().record.id.to_string();
    let flow = page.field("flow").unwrap();
    let answer =
        third.post(&world.url("/.zonegate/login"), &[("flow", &flow), ("session", &first)]).await.unwrap();
    assert!(world.has_session(&third), "{} {}", answer.status, answer.body);
    assert_eq!(world.live().await, 2);
    assert_eq!(world.known_as(&local).await, None, "the one that made room");
    assert_eq!(world.known_as(&third).await.as_deref(), Some(WALL));
    let login = world.url("/.zonegate/login");
    assert_eq!(third.cookie(&login, "__Host-zg_tenant").as_deref(), Some("acme"), "D26: remembered as well");
}

#[tokio::test]
async fn r82_r100_a_native_client_of_somebody_at_the_provider_takes_the_mobile_slot_in_any_browser() {
    let mut world = World::start().await;
    world.gateway.edit("mobile_sessions_max: 100", "mobile_sessions_max: 1");
    world.gateway.restart().await;
    let web = world.browser();
    world.log_in(&web).await;
    let classes = async || {
        let live = world.store.live_sessions().await.unwrap();
        let mut classes: Vec<_> = live.iter().map(|session| session.record.class.name()).collect();
        classes.sort_unstable();
        classes
    };
    let opened = async |changed: bool| {
        let told = json!({ "client": "mobile", "username": ALICE });
        let told = world.browser().tell(&world.url("/.zonegate/api/login"), &told).await.json();
        let mut url = told["login_url"].as_str().unwrap().to_owned();
        if changed {
            url.truncate(url.len() - 4);
        }
        // A desktop's, as an add-in opens it.
        let window = world.browser();
        let answer = window.open(&url).await;
        let answer = window.open(&world.at_provider(&answer)).await;
        (window, answer)
    };
    let (window, _) = opened(false).await;
    assert!(world.has_session(&window));
    assert_eq!(classes().await, ["mobile", "web"]);
    let (window, page) = opened(false).await;
    assert!(!world.has_session(&window) && page.has("keep-sessions"), "one slot: {}", page.body);
    assert_eq!(page.body.matches("id=\"session-").count(), 1, "the web's are nothing to it: {}", page.body);
    let (window, _) = opened(true).await;
    assert!(world.has_session(&window));
    assert_eq!(classes().await, ["mobile", "web", "web"], "what is not sealed says nothing");
}

#[tokio::test]
async fn r97_d26_a_browser_remembers_its_provider_until_it_is_told_not_to() {
    let world = World::start().await;
    let visitor = world.browser();
    let login = world.url("/.zonegate/login");
    assert!(visitor.open(&login).await.has("form-username"), "nobody knows where to");
    world.log_in(&visitor).await;
    assert_eq!(visitor.cookie(&login, "__Host-zg_tenant").as_deref(), Some("acme"));
    let answer = visitor.log_out(&world.url("/")).await.unwrap();
    // Log-out leads to our page and not back in.
    let page = visitor.open(&location(&answer)).await;
    assert!(page.status == 200 && page.has("form-username"), "{} {}", page.status, page.body);
    // A place in the application leads in again without a word typed (R98), and there.
    let answer = visitor.open(&world.url("/tickets/7")).await;
    let answer = visitor.open(&location(&answer)).await;
    let answer = visitor.open(&world.at_provider(&answer)).await;
    assert_eq!(answer.location().unwrap().path(), "/tickets/7");
    world.upstream.received();
    visitor.log_out(&world.url("/")).await.unwrap();
    // "Not you?"
    let page = visitor.open(&world.url("/.zonegate/login?with=username")).await;
    assert!(page.has("form-username") && visitor.cookie(&login, "__Host-zg_tenant").is_none());
    assert!(visitor.open(&login).await.has("form-username"));
    // What stands in the cookie is a hint, and no more.
    for hint in ["nobody", "bolt", "../acme", "acme,", "ACME", ""] {
        visitor.plant(&login, "__Host-zg_tenant", hint);
        let page = visitor.open(&login).await;
        assert!(page.status == 200 && page.has("form-username"), "{hint:?}: {} {}", page.status, page.body);
    }
    visitor.plant(&login, "__Host-zg_tenant", "acme");
    world.is_for(SsoScope::Off, None).await;
    assert!(visitor.open(&login).await.has("form-username"), "nobody uses it any more");
}

#[tokio::test]
async fn r97_r98_after_an_idle_end_one_click_leads_to_the_provider_and_back_to_the_page() {
    const IDLE: u64 = 8 * 3600;
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    world.gateway.advance(IDLE).await;
    world.provider.script(|script| script.ahead = i64::try_from(IDLE).unwrap());
    let answer = visitor.open(&world.url("/tickets/7")).await;
    let page = visitor.open(&location(&answer)).await;
    assert!(page.body.contains("You were logged out after 8 hours of inactivity."), "R89: {}", page.body);
    assert!(page.has("form-username") && page.has("provider"), "{}", page.body);
    let before = page.body.split("\" id=\"provider\"").next().unwrap();
    let answer = visitor.open(&world.url(before.rsplit("href=\"").next().unwrap())).await;
    let answer = visitor.open(&world.at_provider(&answer)).await;
    assert!(world.has_session(&visitor), "{} {}", answer.status, answer.body);
    assert_eq!(answer.location().unwrap().path(), "/tickets/7");
}

#[tokio::test]
async fn r14_r38_a_name_that_was_typed_on_another_host_leads_to_its_provider_too() {
    let world = World::start().await;
    for host in [LOGIN, B] {
        let visitor = world.browser();
        let elsewhere = format!("https://{}/", world.gateway.authority(host));
        let answer = visitor.give_username(&elsewhere, ALICE).await.unwrap();
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{host}: {}", answer.body);
        // Anybody may have sent a link from another site (S12), so that the person says yes.
        let page = visitor.open(&location(&answer)).await;
        let csrf = page.field("csrf").unwrap_or_else(|| panic!("{host}: {}", page.body));
        let yes = [("csrf", csrf.as_str()), ("login_hint", ALICE)];
        assert!(page.body.contains(&format!("name=\"login_hint\" value=\"{ALICE}\"")), "{host}: {}", page.body);
        let answer = visitor.post(&world.sso("/initiate"), &yes).await.unwrap();
        assert_eq!(
            parameter(&location(&answer), "login_hint").as_deref(),
            Some(ALICE),
            "{host}: the name is kept"
        );
        let answer = visitor.open(&world.at_provider(&answer)).await;
        assert!(world.has_session(&visitor), "{host}: {}", answer.body);
        assert_eq!(answer.url.host_str(), Some(A));
    }
}

#[tokio::test]
async fn d25_a_provider_is_tried_before_anybody_needs_it_and_one_administrator_never_does() {
    let world = World::start_for(SsoScope::Off).await;
    world.set(|_| {}).await;
    let tested = async || world.store.provider(world.acme).await.unwrap().unwrap().tested_at;
    assert_eq!(tested().await, None);
    let told = world.gateway.command(&["tenant", "sso", "test", "acme"]).await;
    let address = told.lines().find(|line| line.contains("?test=")).unwrap().to_owned();
    let visitor = world.browser();
    let forged = address.replacen("?test=", "?test=A", 1);
    assert_eq!(visitor.open(&forged).await.status, StatusCode::NOT_FOUND, "nobody uses it yet");
    world.is("not-linked", "nobody@elsewhere.example");
    let seen = world
        .watched(async || {
            let answer = visitor.open(&address).await;
            visitor.open(&world.at_provider(&answer)).await
        })
        .await;
    assert_eq!((seen.answer.status, seen.changed), (StatusCode::OK, false), "{seen:?}");
    assert!(seen.answer.body.contains("not-linked") && seen.answer.has("result"), "{}", seen.answer.body);
    assert!(!world.has_session(&visitor), "a trial logs nobody in");
    assert_eq!(seen.asked, [METADATA, TOKENS, KEYS, USER_INFO]);
    assert_eq!(seen.events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["provider_tested"]);
    assert!(tested().await.is_some());
    // What it went through, and no other provider or client.
    world.set(|settings| settings.client_id = "another".into()).await;
    assert_eq!(tested().await, None);
    world.set(|_| {}).await;
    world.is_provider_of(world.acme).await;

    world.is_for(SsoScope::All, Some(world.id(ROOT).await)).await;
    let page = world.password_page(&visitor, ROOT).await;
    let page = visitor.answer(&page, "password", PASSWORD).await.unwrap();
    assert!(page.has("qr"), "a local user with a second factor: {}", page.body);
    world.is("9", ROOT);
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    let asked: Vec<_> = seen.asked.iter().map(String::as_str).collect();
    seen.expect_refused("the emergency administrator is nobody there", "not_sso", &asked);
}

#[tokio::test]
async fn o6_a_provider_that_is_down_keeps_nobody_out_who_is_in() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    world.provider.play(TOKENS, Play::Break);
    let stranger = world.browser();
    let seen = world.watched(async || world.try_log_in(&stranger).await).await;
    seen.expect_refused("no tokens", "provider_unreachable", &[TOKENS]);
    assert!(seen.answer.has("again"), "a way to try again");
    world.provider.show(None);
    world.set(|_| {}).await;
    let seen = world.watched(async || world.set_out(&stranger).await).await;
    seen.expect_refused("no TLS", "provider_unreachable", &[]);
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
}

#[tokio::test]
async fn sec_r36_who_is_to_log_in_anew_is_not_taken_at_the_word_of_before() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let anew = world.sso("?anew&return_to=/.zonegate/account");
    let to = location(&visitor.open(&anew).await);
    assert_eq!(parameter(&to, "prompt").as_deref(), Some("login"));
    assert_eq!(parameter(&to, "max_age").as_deref(), Some("0"));
    world.provider.script(|script| script.logged_in_ago = 3600);
    let back = world.provider.authorize(&to);
    let seen = world.watched(async || visitor.open(&back).await).await;
    seen.expect_refused("an hour ago", "login_not_anew", &[TOKENS]);
    world.provider.script(|script| script.logged_in_ago = 1);
    let back = world.provider.authorize(&location(&visitor.open(&anew).await));
    let answer = visitor.open(&back).await;
    assert_eq!(location(&answer), world.url("/.zonegate/account"), "{}", answer.body);
}

#[tokio::test]
async fn sec_r49_a_session_of_a_provider_that_does_not_say_when_it_asked_is_no_proof_of_who_sits_there() {
    let world = World::start().await;
    let visitor = world.browser();
    let asks = async || visitor.open(&world.url("/.zonegate/account")).await.body.contains("?anew&#38;return_to=");
    world.log_in(&visitor).await;
    assert!(!asks().await, "a provider that does say");
    world.provider.script(|script| script.token_claims = put("auth_time", Value::Null));
    let there = world.sso("?return_to=/.zonegate/account");
    let back = world.provider.authorize(&location(&visitor.open(&there).await));
    assert_eq!(location(&visitor.open(&back).await), world.url("/.zonegate/account"));
    assert!(asks().await, "its own session may have answered");
    let anew = world.sso("?anew&return_to=/.zonegate/account");
    let back = world.provider.authorize(&location(&visitor.open(&anew).await));
    assert_eq!(location(&visitor.open(&back).await), world.url("/.zonegate/account"));
    assert!(!asks().await, "it was told to ask");
}
