//! Answers that arrive where they do not belong: at another tenant, in another browser, twice, too late, from another
//! provider; and links that strangers make somebody follow (O2, O3, O10, O11, W1, W2).

use serde_json::json;
use zonegate::base::TenantId;
use zonegate::directory::{SecurityLevel, SecurityOverrides, SsoScope, SuiteAccess, Tenant, UserKind};
use zonegate::sso::ClientSecret;
use zonegate::telemetry::EventKind;

use super::{ALICE, BOB, BOT, CAROL, IAN, World, location, noted, parameter, put, with_parameter};
use crate::harness::{A, Visitor};
use crate::provider::{KEYS, METADATA, TOKENS, USER_INFO};

const EVE: &str = "eve@bolt.example";
const DAN: &str = "dan@dune.example";

impl World {
    /// Two more tenants with the very same provider: bolt in a zone of its own, dune in the zone of acme.
    async fn neighbours(&self) {
        let dune = Tenant {
            id: TenantId::from_bytes([9; 16]),
            slug: "dune".into(),
            name: "Dune".into(),
            zone: A.parse().unwrap(),
            domains: vec!["dune.example".parse().unwrap()],
            suite: SuiteAccess::default(),
            sso: SsoScope::Off,
            sso_exempt: None,
            overrides: SecurityOverrides::default(),
        };
        self.store.create_tenant(&dune, &noted(EventKind::TenantChanged)).await.unwrap();
        let bolt = self.store.tenant_by_slug("bolt").await.unwrap().unwrap();
        for tenant in [dune.id, bolt.id] {
            self.is_provider_of(tenant).await;
            self.store.set_sso(tenant, SsoScope::All, None, &noted(EventKind::SsoChanged)).await.unwrap();
        }
        self.person(EVE, UserKind::Regular, SecurityLevel::User).await;
        self.person(DAN, UserKind::Regular, SecurityLevel::User).await;
    }

    /// What comes of `url` in that browser.
    async fn refuses(&self, visitor: &Visitor, url: &str, what: &str, reason: &str, asked: &[&str]) {
        let seen = self.watched(async || visitor.open(url).await).await;
        seen.expect_refused(what, reason, asked);
        assert!(!self.has_session(visitor), "{what}");
    }
}

#[tokio::test]
async fn o2_an_answer_of_another_provider_or_for_another_tenant_reaches_no_token_endpoint() {
    let world = World::start().await;
    world.neighbours().await;
    let visitor = world.browser();
    let back = world.way_back(&visitor).await;
    // The browser has been at the other tenants as well, and is known there.
    visitor.open(&world.url_in_b("/.zonegate/login")).await;
    let at_dune = back.replacen("/sso/acme/", "/sso/dune/", 1);
    world.refuses(&visitor, &at_dune, "dune's callback", "state_of_other_provider", &[]).await;
    let in_b = back.replacen(&world.sso(""), &world.url_in_b("/.zonegate/sso/bolt"), 1);
    world.refuses(&visitor, &in_b, "bolt's callback", "state_of_other_host", &[]).await;
    for (what, iss) in [("another issuer", Some("https://evil.example")), ("no issuer, though promised", None)] {
        let back = with_parameter(&world.way_back(&visitor).await, "iss", iss);
        world.refuses(&visitor, &back, what, "answer_of_other_issuer", &[]).await;
        let honest = with_parameter(&back, "iss", Some(world.provider.issuer()));
        world.refuses(&visitor, &honest, "the same, mended", "state_spent", &[]).await;
    }
    let slash = format!("{}/", world.provider.issuer());
    let back = with_parameter(&world.way_back(&visitor).await, "iss", Some(&slash));
    world.refuses(&visitor, &back, "the issuer with a slash", "answer_of_other_issuer", &[]).await;
    // And the honest one, which all of this has not hurt.
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    seen.expect_in("an honest answer", &[TOKENS, KEYS, USER_INFO]);
}

#[tokio::test]
async fn o2_a_tenant_is_found_at_its_own_zone_and_only_with_a_provider() {
    let world = World::start().await;
    let visitor = world.browser();
    for url in [
        world.url_in_b("/.zonegate/sso/acme"),
        world.url_in_b("/.zonegate/sso/acme/callback?code=a&state=b"),
        world.url_in_b("/.zonegate/sso/bolt"),
        world.url("/.zonegate/sso/nobody"),
        world.url("/.zonegate/sso/ACME"),
        world.url("/.zonegate/sso/acme/"),
        world.url("/.zonegate/sso/acme/other"),
    ] {
        let seen = world.watched(async || visitor.open(&url).await).await;
        assert_eq!((seen.answer.status.as_u16(), seen.changed), (404, false), "{url}");
        assert!(seen.asked.is_empty() && seen.events.is_empty(), "{url}: {seen:?}");
    }
    world.is_for(SsoScope::Off, None).await;
    for path in ["", "/initiate"] {
        assert_eq!(visitor.open(&world.sso(path)).await.status.as_u16(), 404, "{path}: nobody uses it");
    }
}

#[tokio::test]
async fn o3_a_state_is_this_browsers_once_whole_and_for_ten_minutes() {
    let world = World::start().await;
    let (visitor, other) = (world.browser(), world.browser());
    world.way_back(&other).await;
    let back = world.way_back(&visitor).await;
    let state = parameter(&back, "state").unwrap();
    let refuses = async |visitor: &Visitor, url: String, what: &str, reason: &str| {
        world.refuses(visitor, &url, what, reason, &[]).await;
    };
    let changed = |name: &str, value: Option<&str>| with_parameter(&back, name, value);
    refuses(&visitor, changed("state", None), "no state", "answer_without_state").await;
    refuses(&visitor, changed("state", Some("")), "an empty state", "answer_malformed").await;
    refuses(&visitor, changed("code", None), "no code", "answer_without_code").await;
    refuses(&visitor, format!("{back}&code=another"), "two codes", "answer_repeated").await;
    refuses(&visitor, format!("{back}&state={state}"), "two states", "answer_repeated").await;
    refuses(&visitor, format!("{back}&error=access_denied"), "O10: a code and an error", "answer_twofold").await;
    for at in [0, 20, state.len() / 2, state.len() - 2] {
        let mut bytes = state.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes).unwrap();
        refuses(&visitor, changed("state", Some(&flipped)), "a letter of the state", "state_forged").await;
    }
    refuses(&visitor, changed("state", Some("AAAA")), "a state that is none", "state_forged").await;
    refuses(&other, back.clone(), "another browser", "state_of_other_browser").await;
    refuses(&world.browser(), back.clone(), "a browser that never set out", "no_browser_cookie").await;

    // None of it has spent the state.
    let seen = world.watched(async || visitor.open(&back).await).await;
    seen.expect_in("the browser that set out", &[TOKENS, KEYS, USER_INFO]);
    let again = world.watched(async || visitor.open(&back).await).await;
    assert_eq!(again.answer.location().unwrap().path(), "/", "a second click leads where the first did");
    assert!(again.asked.is_empty() && again.events.is_empty() && !again.changed, "{again:?}");
    // The same browser without its session: whoever finds the address in its history.
    visitor.plant(&back, "__Host-zg_session", "");
    let seen = world.watched(async || visitor.open(&back).await).await;
    seen.expect_refused("an answer that was used", "state_spent", &[]);

    let fresh = world.browser();
    let back = world.way_back(&fresh).await;
    world.gateway.advance(10 * 60 + 1).await;
    refuses(&fresh, back, "after ten minutes", "state_expired").await;
}

#[tokio::test]
async fn o3_a_restart_makes_no_answer_good_again_and_none_bad() {
    let mut world = World::start().await;
    let (visitor, other) = (world.browser(), world.browser());
    let (back, waiting) = (world.way_back(&visitor).await, world.way_back(&other).await);
    visitor.open(&back).await;
    assert!(world.has_session(&visitor));
    world.gateway.restart().await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE), "the session outlives it");
    visitor.plant(&back, "__Host-zg_session", "");
    world.refuses(&visitor, &back, "an answer from before", "state_spent", &[]).await;
    let seen = world.watched(async || other.open(&waiting).await).await;
    seen.expect_in("who was under way", &[METADATA, TOKENS, KEYS, USER_INFO]);
}

#[tokio::test]
async fn o3_an_answer_of_the_provider_that_was_is_not_taken_for_the_one_that_is() {
    let world = World::start().await;
    let visitor = world.browser();
    let back = world.way_back(&visitor).await;
    let mut settings = world.settings();
    settings.issuer = serde_json::from_value(json!("https://127.0.0.1:9")).unwrap();
    let secret = ClientSecret::parse("another");
    let changed = noted(EventKind::ProviderChanged);
    world.store.set_provider(world.acme, &settings, secret.as_ref(), &changed).await.unwrap();
    world.refuses(&visitor, &back, "another provider", "provider_changed", &[]).await;
}

#[tokio::test]
async fn o3_what_the_provider_that_was_has_proved_opens_nothing_after_the_choice() {
    let mut world = World::start().await;
    world.gateway.edit("web_sessions_max: 100", "web_sessions_max: 1");
    world.gateway.restart().await;
    world.log_in(&world.browser()).await;
    let visitor = world.browser();
    let page = world.try_log_in(&visitor).await;
    let held = page.body.split("id=\"session-").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut settings = world.settings();
    settings.issuer = serde_json::from_value(json!("https://127.0.0.1:9")).unwrap();
    let (secret, changed) = (ClientSecret::parse("another"), noted(EventKind::ProviderChanged));
    world.store.set_provider(world.acme, &settings, secret.as_ref(), &changed).await.unwrap();
    let answer = visitor.answer(&page, "session", &held).await.unwrap();
    assert!(!world.has_session(&visitor), "{} {}", answer.status, answer.body);
    assert_eq!(world.live().await, 1, "and nobody's session made room");
}

#[tokio::test]
async fn o10_what_the_provider_says_of_its_refusal_is_not_repeated() {
    let world = World::start().await;
    for (error, reason) in [
        ("access_denied", "access_denied"),
        ("login_required", "login_required"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("<script>alert(1)</script>\r\nSet-Cookie: a=b", "other"),
    ] {
        let visitor = world.browser();
        let mut back = with_parameter(&world.way_back(&visitor).await, "code", None);
        back = with_parameter(&back, "error", Some(error));
        let long = format!("<img src=x onerror=alert(1)>\r\n{}", "x".repeat(3000));
        back = with_parameter(&back, "error_description", Some(&long));
        let seen = world.watched(async || visitor.open(&back).await).await;
        seen.expect_refused(error, reason, &[]);
        for said in ["alert(1)", "onerror", "xxxx"] {
            let log = format!("{:?}", seen.events);
            assert!(!seen.answer.body.contains(said) && !log.contains(said), "{error}: {said}");
        }
    }
    let visitor = world.browser();
    let back = format!("{}&error_description={}", world.way_back(&visitor).await, "x".repeat(17 * 1024));
    let answer = visitor.open(&back).await;
    assert!(matches!(answer.status.as_u16(), 403 | 414 | 431), "{}", answer.status);
    assert!(!world.has_session(&visitor));
}

#[tokio::test]
async fn o11_a_subject_is_one_person_in_each_tenant_and_an_address_proves_nothing() {
    let world = World::start().await;
    world.neighbours().await;
    let visitor = world.browser();
    world.is("1", ALICE);
    world.log_in(&visitor).await;
    // The same subject of the same issuer is another person in another tenant.
    world.is("1", DAN);
    let answer = visitor.open(&world.url("/.zonegate/sso/dune")).await;
    visitor.open(&world.at_provider(&answer)).await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(DAN));
    // What the provider says of an address later moves nobody.
    world.is("1", BOB);
    world.log_in(&visitor).await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));

    let claims = |subject: &str, email: &str| world.is(subject, email);
    let refused = async |what, reason| {
        let visitor = world.browser();
        let seen = world.watched(async || world.try_log_in(&visitor).await).await;
        let asked: Vec<_> = seen.asked.iter().map(String::as_str).collect();
        seen.expect_refused(what, reason, &asked);
    };
    claims("2", ALICE);
    refused("whose name is linked to somebody else", "linked_to_another").await;
    for (what, email, reason) in [
        ("a user of another tenant", EVE, "foreign_username"),
        ("a user of a tenant in the same zone", DAN, "foreign_username"),
        ("nobody (R102)", "nobody@acme.example", "unknown_user"),
        ("of another company (D24)", CAROL, "not_sso"),
        ("a program (D24)", BOT, "not_sso"),
        ("whose account is off", IAN, "not_sso"),
        ("no username", "alice", "claim_not_a_username"),
    ] {
        claims("3", email);
        refused(what, reason).await;
    }
    world.provider.script(|s| s.claims = json!({ "email": BOB, "email_verified": false }));
    refused("an address that was not verified", "claim_unverified").await;
    world.provider.script(|s| s.claims = json!({ "email": BOB }));
    refused("and one of which nothing is said", "claim_unverified").await;
    world.provider.script(|s| (s.claims, s.info) = (json!({}), json!({})));
    refused("no claim", "claim_missing").await;
    world.provider.behave();
    world.is("4", BOB);
    world.log_in(&world.browser()).await;
    world.provider.script(|s| s.user_info = put("sub", json!("1")));
    refused("user info of somebody else", "token_wrong_subject").await;
}

#[tokio::test]
async fn o11_for_selected_users_a_claim_is_nobody() {
    let world = World::start_for(SsoScope::Selected).await;
    world.is("1", ALICE);
    let visitor = world.browser();
    let seen = world.watched(async || world.try_log_in(&visitor).await).await;
    seen.expect_refused("who is not linked", "unknown_subject", &[METADATA, TOKENS, KEYS, USER_INFO]);
    world.gateway.command(&["tenant", "sso", "link", ALICE, "1"]).await;
    world.is("1", BOB);
    world.log_in(&visitor).await;
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    world.gateway.command(&["tenant", "sso", "unlink", ALICE]).await;
    // R6: what the link began ends with it.
    world.is_ended(&visitor).await;
}

/// Where a log-in leads that began with `query`.
async fn leads(world: &World, query: &str) -> String {
    let visitor = world.browser();
    let answer = visitor.open(&world.sso(&format!("?{query}"))).await;
    let answer = visitor.open(&world.at_provider(&answer)).await;
    assert_eq!(answer.status.as_u16(), 303, "{query}: {}", answer.body);
    answer.headers["location"].to_str().unwrap().to_owned()
}

const FOREIGN: [&str; 12] = [
    "//evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "https:evil.example",
    "https://evil.example/",
    "/%09/evil.example",
    "/\t/evil.example",
    "javascript:alert(1)",
    "@evil.example",
    "/a\r\nSet-Cookie: x=y",
    "https://b.test/",
    "https://a.test:1/",
];

#[tokio::test]
async fn w1_a_log_in_leads_to_a_place_on_its_own_zone_or_home() {
    let world = World::start().await;
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for foreign in FOREIGN {
        let to = leads(&world, &format!("return_to={}", encoded(foreign))).await;
        // A tab that stays encoded is a name in a path, and no host.
        assert!(to == "/" || to == "/%09/evil.example", "{foreign:?} leads to {to:?}");
    }
    let deep = "/tickets/7?tab=notes";
    assert_eq!(leads(&world, &format!("return_to={}", encoded(deep))).await, deep, "D41");

    let visitor = world.browser();
    for target in FOREIGN {
        let page = visitor.open(&world.sso(&format!("/initiate?target_link_uri={}", encoded(target)))).await;
        let kept = page.field("return_to").unwrap();
        assert!(kept.is_empty() || kept == "/%09/evil.example", "{target:?} is kept as {kept:?}");
    }
    let target = encoded(&world.url(deep));
    let page = visitor.open(&world.sso(&format!("/initiate?target_link_uri={target}"))).await;
    assert_eq!(page.field("return_to").as_deref(), Some(deep), "U32");
}

#[tokio::test]
async fn third_party_initiated_log_ins_are_for_the_tenants_provider_and_who_says_yes() {
    let world = World::start().await;
    let visitor = world.browser();
    let encoded = url::form_urlencoded::byte_serialize(world.provider.issuer().as_bytes()).collect::<String>();
    let at = |query: &str| world.sso(&format!("/initiate?{query}"));
    let seen = world.watched(async || visitor.open(&at("iss=https://evil.example")).await).await;
    assert_eq!(seen.events[0].reason.as_deref(), Some("initiate_issuer"), "{seen:?}");
    assert!(seen.answer.status == 403 && seen.asked.is_empty() && !seen.changed, "{seen:?}");

    let page = visitor.open(&at(&format!("iss={encoded}&login_hint=alice"))).await;
    assert_eq!((page.status.as_u16(), page.has("continue")), (200, true), "asked first: {}", page.body);
    assert_eq!(page.headers["x-frame-options"], "DENY", "W5");
    let csrf = page.field("csrf").unwrap();
    let fields = [("csrf", csrf.as_str()), ("return_to", "/tickets/7"), ("login_hint", "alice")];
    let answer = visitor.post(&world.sso("/initiate"), &fields).await.unwrap();
    assert_eq!(parameter(&location(&answer), "login_hint").as_deref(), Some("alice"));
    let answer = visitor.open(&world.at_provider(&answer)).await;
    assert_eq!(answer.location().unwrap().path(), "/tickets/7");
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));

    // W2: the form of another site, another browser's token, none.
    let stranger = world.browser();
    let page = stranger.open(&at("")).await;
    let theirs = page.field("csrf").unwrap();
    for (what, token) in [("another browser's token", theirs.as_str()), ("no token", ""), ("half", &csrf[1..])] {
        let seen =
            world.watched(async || visitor.post(&world.sso("/initiate"), &[("csrf", token)]).await.unwrap()).await;
        assert_eq!(seen.answer.status.as_u16(), 403, "{what}");
        assert_eq!(seen.events[0].reason.as_deref(), Some("foreign_form"), "{what}");
        assert!(seen.asked.is_empty() && !seen.changed, "{what}: {seen:?}");
    }
    let cookie = visitor.cookie(&world.url("/"), "__Host-zg_browser").unwrap();
    for fields in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "",
    ] {
        let body = format!("csrf={csrf}");
        let authority = world.gateway.authority(A);
        let mut wire = world.gateway.connect(A).await;
        let reply = wire
            .ask(format!(
                "POST /.zonegate/sso/acme/initiate HTTP/1.1\r\nHost: {authority}\r\nCookie: __Host-zg_browser={cookie}\r\n{fields}\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        assert_eq!((reply.status, reply.field("location")), (403, None), "{fields:?}");
    }
}

#[tokio::test]
async fn o6_a_provider_is_not_looked_for_where_only_we_can_go() {
    let mut world = World::start().await;
    // As if the operator had allowed no network: the provider's own address is not public.
    world.gateway.edit("networks: [127.0.0.0/8, '::1'], ", "");
    world.gateway.restart().await;
    let visitor = world.browser();
    let seen = world.watched(async || world.set_out(&visitor).await).await;
    seen.expect_refused("loopback", "provider_forbidden", &[]);
    for host in ["169.254.169.254", "10.0.0.1", "[::1]", "[fd00:ec2::254]", "127.1", "0x7f000001"] {
        let mut settings = world.settings();
        settings.issuer = serde_json::from_value(json!(format!("https://{host}"))).unwrap();
        let changed = noted(EventKind::ProviderChanged);
        let secret = ClientSecret::parse("another");
        world.store.set_provider(world.acme, &settings, secret.as_ref(), &changed).await.unwrap();
        let seen = world.watched(async || world.set_out(&visitor).await).await;
        seen.expect_refused(host, "provider_forbidden", &[]);
    }
}
