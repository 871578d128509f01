//! Log-outs that a provider takes part in: told by it, through the browser, and telling it (O14, O15, R116–R118, W3).

use reqwest::StatusCode;
use serde_json::{Value, json};
use zonegate::directory::SsoScope;
use zonegate::telemetry::EventKind;

use super::{ALICE, BOB, Seen, World, location, noted, parameter, with_parameter};
use crate::harness::{A, Answer, Visitor, WALL};
use crate::provider::{CLIENT_SECRET, END_SESSION, KEYS, Play, Signature, SigningKey};

const KIND: &str = "application/x-www-form-urlencoded";
const PASSWORD: &str = "Granite-Window-74";

/// A change of a log-out token's header and claims.
type Defect = fn(&mut Value, &mut Value);

impl World {
    /// Tells the gateway at `url` that somebody has logged out.
    async fn told_at(&self, url: &str, token: &str) -> Answer {
        let body = (KIND, format!("logout_token={token}"));
        // A provider is no browser: it brings no cookie.
        self.browser().send(reqwest::Method::POST, url, "*/*", Some(body)).await.unwrap()
    }

    async fn told(&self, token: &str) -> Answer {
        self.told_at(&self.sso("/backchannel-logout"), token).await
    }

    async fn is_in(&self, visitor: &Visitor) -> bool {
        self.known_as(visitor).await.is_some()
    }
}

/// 400, not kept, one line with the reason, and nobody's session is over.
#[track_caller]
fn expect_ignored(seen: &Seen, what: &str, reason: &str) {
    let answer = &seen.answer;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    assert_eq!(answer.body, "{\"error\":\"invalid_request\"}", "{what}: no word on why");
    let told: Vec<_> = seen.events.iter().map(|event| (event.kind.as_str(), event.reason.as_deref())).collect();
    assert_eq!(told, [("request_forged", Some(reason))], "{what}");
    assert!(!seen.changed, "{what}");
}

#[tokio::test]
async fn o14_a_log_out_at_the_provider_ends_the_session_it_began_and_no_other() {
    let world = World::start_for(SsoScope::Off).await;
    let local = world.browser();
    let page = local.give_username(&world.url("/"), WALL).await.unwrap();
    local.answer(&page, "password", PASSWORD).await.unwrap();
    world.is_for(SsoScope::All, None).await;
    let [first, second, bob] = [(); 3].map(|()| world.browser());
    world.is("1", WALL);
    world.log_in(&first).await;
    world.provider.script(|s| s.sid = "another".into());
    world.log_in(&second).await;
    world.is("2", BOB);
    world.log_in(&bob).await;

    // One session of the provider's. What it says of the subject beside means no others.
    let token = world.provider.logout_token(|_, claims| {
        claims["sub"] = json!("1");
        claims["sid"] = json!("session-of-1");
    });
    let seen = world.watched(async || world.told(&token).await).await;
    assert_eq!(
        (seen.answer.status, &seen.answer.headers["cache-control"]),
        (StatusCode::OK, &"no-store".parse().unwrap())
    );
    let told: Vec<_> = seen.events.iter().map(|event| (event.kind.as_str(), event.actor.as_str())).collect();
    assert_eq!(told, [("session_ended", "provider")]);
    assert!(!world.is_in(&first).await && world.is_in(&second).await && world.is_in(&bob).await);

    // All of a person's, but those that are ours alone (R117).
    let token = world.provider.logout_token(|_, claims| {
        claims["sub"] = json!("1");
        claims.as_object_mut().unwrap().remove("sid");
    });
    assert_eq!(world.told(&token).await.status, StatusCode::OK);
    assert!(!world.is_in(&second).await && world.is_in(&bob).await && world.is_in(&local).await);

    // Nobody's: the provider's word is taken, and ends nothing.
    let token = world.provider.logout_token(|_, claims| claims["sid"] = json!("nobody"));
    let seen = world.watched(async || world.told(&token).await).await;
    assert_eq!((seen.answer.status, seen.changed), (StatusCode::OK, false));
}

#[tokio::test]
async fn o14_a_log_out_token_with_one_thing_wrong_ends_nothing() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
    let defects: [(&str, Defect, &str); 19] = [
        ("wrong-iss", |_, c| c["iss"] = json!("https://evil.example"), "token_wrong_issuer"),
        ("wrong-aud", |_, c| c["aud"] = json!("another"), "token_wrong_audience"),
        ("us and another", |_, c| c["aud"] = json!([c["aud"], "another"]), "token_wrong_audience"),
        ("with-nonce", |_, c| c["nonce"] = json!("n"), "token_has_nonce"),
        ("with a nonce that is null", |_, c| c["nonce"] = Value::Null, "token_has_nonce"),
        ("no-event", |_, c| c["events"] = json!({}), "token_no_logout"),
        ("no events", |_, c| drop(c.as_object_mut().unwrap().remove("events")), "token_no_logout"),
        ("wrong-event", |_, c| c["events"] = json!({ "https://evil.example": {} }), "token_no_logout"),
        ("an event that is no object", |_, c| c["events"] = json!({ EVENT: true }), "token_no_logout"),
        ("no jti", |_, c| drop(c.as_object_mut().unwrap().remove("jti")), "token_claim_missing"),
        ("no iat", |_, c| drop(c.as_object_mut().unwrap().remove("iat")), "token_claim_missing"),
        ("an hour old", |_, c| c["iat"] = json!(c["iat"].as_u64().unwrap() - 3600), "token_stale"),
        ("from tomorrow", |_, c| c["iat"] = json!(c["iat"].as_u64().unwrap() + 86_400), "token_not_yet"),
        ("expired", |_, c| c["exp"] = json!(c["iat"].as_u64().unwrap() - 90), "token_expired"),
        (
            "nobody",
            |_, c| {
                let claims = c.as_object_mut().unwrap();
                claims.remove("sub");
                claims.remove("sid");
            },
            "token_nobody",
        ),
        ("an ID token's audience type", |h, _| h["typ"] = json!("at+jwt"), "token_wrong_type"),
        ("crit", |h, _| h["crit"] = json!(["exp"]), "token_extension"),
        ("PS256", |h, _| h["alg"] = json!("PS256"), "token_wrong_algorithm"),
        ("an empty sid", |_, c| c["sid"] = json!(""), "token_claim_malformed"),
    ];
    for (what, edit, reason) in defects {
        let token = world.provider.logout_token(edit);
        let seen = world.watched(async || world.told(&token).await).await;
        expect_ignored(&seen, what, reason);
    }
    let signed =
        async |what, script: fn(&mut crate::provider::Script), edit: fn(&mut Value, &mut Value), reason| {
            world.provider.script(script);
            let token = world.provider.logout_token(edit);
            world.provider.script(|s| s.signature = Signature::Honest);
            let seen = world.watched(async || world.told(&token).await).await;
            expect_ignored(&seen, what, reason);
        };
    let none: fn(&mut Value, &mut Value) = |header, _| header["alg"] = json!("none");
    signed("alg-none", |s| s.signature = Signature::Missing, none, "token_wrong_algorithm").await;
    let hmac: fn(&mut Value, &mut Value) = |header, _| header["alg"] = json!("HS256");
    let by_secret = |s: &mut crate::provider::Script| s.signature = Signature::Hmac(CLIENT_SECRET.into());
    signed("wrong-alg", by_secret, hmac, "token_wrong_algorithm").await;
    signed("changed", |s| s.signature = Signature::Flipped, |_, _| (), "token_bad_signature").await;
    let stranger = |s: &mut crate::provider::Script| {
        s.signature = Signature::With(SigningKey::stray("RS256", "key-1"));
    };
    signed("a stranger", stranger, |_, _| (), "token_bad_signature").await;
    for (what, body) in [("nothing", ""), ("no token", "other=1"), ("rubbish", "logout_token=AAAA")] {
        let url = world.sso("/backchannel-logout");
        let seen = world
            .watched(async || {
                let body = Some((KIND, body.to_owned()));
                world.browser().send(reqwest::Method::POST, &url, "*/*", body).await.unwrap()
            })
            .await;
        expect_ignored(&seen, what, "token_not_signed");
    }
    let huge = world.provider.logout_token(|_, claims| claims["x"] = json!("x".repeat(64 << 10)));
    let seen = world.watched(async || world.told(&huge).await).await;
    assert_eq!((seen.answer.status, seen.changed), (StatusCode::PAYLOAD_TOO_LARGE, false), "64 KiB are not read");
    let good = world.provider.logout_token(|_, _| ());
    let url = format!("{}?logout_token={good}", world.sso("/backchannel-logout"));
    let seen = world.watched(async || visitor.open(&url).await).await;
    assert_eq!((seen.answer.status, seen.changed), (StatusCode::METHOD_NOT_ALLOWED, false), "GET");
    assert!(world.is_in(&visitor).await);
    assert_eq!(world.told(&good).await.status, StatusCode::OK, "and the honest one is obeyed");
    assert!(!world.is_in(&visitor).await);
}

#[tokio::test]
async fn o14_a_log_out_token_is_obeyed_once_and_by_its_own_tenant() {
    let world = World::start().await;
    let bolt = world.store.tenant_by_slug("bolt").await.unwrap().unwrap();
    world.is_provider_of(bolt.id).await;
    world.store.set_sso(bolt.id, SsoScope::All, None, &noted(EventKind::SsoChanged)).await.unwrap();
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let token = world.provider.logout_token(|_, _| ());
    let at_bolt = world.url_in_b("/.zonegate/sso/bolt/backchannel-logout");
    let seen = world.watched(async || world.told_at(&at_bolt, &token).await).await;
    assert!(seen.answer.status == 200 && !seen.changed, "the same provider, another tenant: {seen:?}");
    for url in [
        world.url_in_b("/.zonegate/sso/acme/backchannel-logout"),
        world.url("/.zonegate/sso/bolt/backchannel-logout"),
    ] {
        assert_eq!(world.told_at(&url, &token).await.status, StatusCode::NOT_FOUND, "{url}");
    }
    assert!(world.is_in(&visitor).await);
    assert_eq!(world.told(&token).await.status, StatusCode::OK, "at bolt it was spent for bolt alone");
    assert!(!world.is_in(&visitor).await);
    // Not in the same second: a log-in of then may be one that was over before it was done.
    world.gateway.advance(1).await;
    world.log_in(&visitor).await;
    let seen = world.watched(async || world.told(&token).await).await;
    expect_ignored(&seen, "the same once more", "logout_token_replayed");
    assert!(world.is_in(&visitor).await, "a session that began since");
}

#[tokio::test]
async fn r117_who_logs_out_at_the_provider_before_the_limit_page_is_answered_begins_anew_whatever_they_answer() {
    let mut world = World::start().await;
    world.gateway.edit("web_sessions_max: 100", "web_sessions_max: 1");
    world.gateway.restart().await;
    world.is_for(SsoScope::Off, None).await;
    let local = world.browser();
    let page = local.give_username(&world.url("/"), WALL).await.unwrap();
    local.answer(&page, "password", PASSWORD).await.unwrap();
    world.is_for(SsoScope::All, None).await;
    world.is("5", WALL);
    // One makes room, and its log-in comes to the commit; the other does not, and comes to the same page as before.
    let visitors = [(); 2].map(|()| world.browser());
    let pages = [world.try_log_in(&visitors[0]).await, world.try_log_in(&visitors[1]).await];
    let held = pages[0].body.split("id=\"session-").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let token = world.provider.logout_token(|_, claims| {
        claims.as_object_mut().unwrap().remove("sid");
    });
    assert_eq!(world.told(&token).await.status, StatusCode::OK);
    assert!(world.is_in(&local).await, "it is ours alone");
    for ((visitor, page), session) in visitors.iter().zip(&pages).zip([held.as_str(), "nobody's"]) {
        let answer = visitor.answer(page, "session", session).await.unwrap();
        assert!(!world.has_session(visitor), "{session}: {} {}", answer.status, answer.body);
        assert!(answer.has("form-username") && !answer.body.contains(&held), "{session}: {}", answer.body);
    }
    assert!(world.is_in(&local).await && world.live().await == 1, "and nobody's session made room");
}

#[tokio::test]
async fn o14_strangers_use_up_nothing_of_what_the_provider_may_tell() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let forged = async || {
        for _ in 0..550 {
            assert_eq!(world.told("e30.e30.e30").await.status, StatusCode::BAD_REQUEST);
        }
    };
    // More than it may tell at once.
    tokio::join!(forged(), forged(), forged(), forged());
    assert_eq!(world.told(&world.provider.logout_token(|_, _| {})).await.status, StatusCode::OK);
    assert!(!world.is_in(&visitor).await);
}

#[tokio::test]
async fn r117_a_log_out_that_is_told_before_the_providers_answer_arrives_holds_for_that_answer() {
    let world = World::start().await;
    let visitor = world.browser();
    // The browser is slow, and the person logs out at the provider meanwhile.
    let back = world.provider.authorize(&location(&world.set_out(&visitor).await));
    let token = world.provider.logout_token(|_, _| {});
    world.gateway.advance(1).await;
    assert_eq!(world.told(&token).await.status, StatusCode::OK);
    world.gateway.advance(3).await;
    let answer = visitor.open(&back).await;
    assert!(!world.has_session(&visitor) && answer.has("form-username"), "{} {}", answer.status, answer.body);
    world.log_in(&visitor).await;
}

#[tokio::test]
async fn o14_front_channel_log_out_needs_issuer_and_session_and_is_framed_by_the_provider_alone() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let sid = "08a5019c-17e1-4977-8f42-65a12843ea02";
    let issuer: String = url::form_urlencoded::byte_serialize(world.provider.issuer().as_bytes()).collect();
    let frame = world.browser();
    for (what, query) in [
        ("nothing", String::new()),
        ("no session", format!("?iss={issuer}")),
        ("an empty session", format!("?iss={issuer}&sid=")),
        ("no issuer", format!("?sid={sid}")),
        ("another issuer", format!("?iss=https://evil.example&sid={sid}")),
    ] {
        let url = world.sso(&format!("/frontchannel-logout{query}"));
        let seen = world.watched(async || frame.open(&url).await).await;
        assert_eq!((seen.answer.status, seen.changed), (StatusCode::BAD_REQUEST, false), "{what}");
        let told: Vec<_> = seen.events.iter().map(|event| event.reason.as_deref()).collect();
        assert_eq!(told, [Some("frontchannel_parameters")], "{what}");
        assert_eq!(seen.answer.headers["x-frame-options"], "DENY", "{what}");
    }
    let url = world.sso(&format!("/frontchannel-logout?iss={issuer}&sid=nobody"));
    let seen = world.watched(async || frame.open(&url).await).await;
    assert_eq!((seen.answer.status, seen.changed), (StatusCode::OK, false), "somebody's who is not here");
    let url = world.sso(&format!("/frontchannel-logout?iss={issuer}&sid={sid}"));
    let answer = frame.open(&url).await;
    assert_eq!(answer.status, StatusCode::OK);
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert_eq!(policy, format!("default-src 'none'; frame-ancestors {}", world.provider.issuer()));
    assert!(!answer.headers.contains_key("x-frame-options") && answer.headers["cache-control"] == "no-store");
    assert!(!world.is_in(&visitor).await);
}

#[tokio::test]
async fn r118_the_providers_own_session_is_left_alone_unless_the_tenant_says_otherwise() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let seen = world.watched(async || visitor.log_out(&world.url("/")).await.unwrap()).await;
    assert_eq!(location(&seen.answer), world.url("/.zonegate/login?reason=logged_out"));
    assert!(seen.asked.is_empty() && !world.has_session(&visitor));
}

#[tokio::test]
async fn o15_a_log_out_here_goes_on_at_the_provider_and_comes_back() {
    let world = World::start().await;
    world.set(|settings| settings.logout = true).await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let cookie = visitor.cookie(&world.url("/"), "__Host-zg_session").unwrap();
    let answer = visitor.log_out(&world.url("/")).await.unwrap();
    let there = location(&answer);
    assert!(there.starts_with(&format!("{}{END_SESSION}?", world.provider.issuer())), "{there}");
    assert_eq!(parameter(&there, "client_id").as_deref(), Some(crate::provider::CLIENT_ID));
    assert_eq!(parameter(&there, "id_token_hint").unwrap().split('.').count(), 3);
    let back = parameter(&there, "post_logout_redirect_uri").unwrap();
    assert_eq!(back, world.sso("/logged-out"));
    // Ours is over before the browser has gone anywhere.
    visitor.plant(&world.url("/"), "__Host-zg_session", &cookie);
    assert!(!world.is_in(&visitor).await);
    visitor.plant(&world.url("/"), "__Host-zg_session", "");

    let state = parameter(&there, "state").unwrap();
    let right = with_parameter(&back, "state", Some(&state));
    let page = visitor.open(&location(&visitor.open(&right).await)).await;
    assert!(
        page.status == 200 && page.has("form-username") && page.body.contains("You are logged out."),
        "M17: {}",
        page.body
    );
    // RP-initiated: -other-state, -no-state, and the state of somebody else's log-out.
    let stranger = world.browser();
    stranger.open(&world.url("/.zonegate/login")).await;
    for (who, url) in [
        (&visitor, with_parameter(&back, "state", Some("another"))),
        (&visitor, back.clone()),
        (&stranger, right.clone()),
    ] {
        let seen = world.watched(async || who.open(&url).await).await;
        assert_eq!(location(&seen.answer), world.url("/.zonegate/login?with=username"), "{url}");
        assert!(seen.asked.is_empty() && !seen.changed);
        let page = who.open(&location(&seen.answer)).await;
        assert!(page.has("form-username") && !page.body.contains("You are logged out."), "{}", page.body);
    }
}

#[tokio::test]
async fn o15_a_provider_that_is_down_keeps_no_session_of_ours_alive() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    world.set(|settings| settings.logout = true).await;
    world.provider.play(crate::provider::METADATA, Play::Break);
    let cookie = visitor.cookie(&world.url("/"), "__Host-zg_session").unwrap();
    let answer = visitor.log_out(&world.url("/")).await.unwrap();
    assert_eq!(location(&answer), world.url("/.zonegate/login?reason=logged_out&provider=unreached"));
    visitor.plant(&world.url("/"), "__Host-zg_session", &cookie);
    assert!(!world.is_in(&visitor).await);
}

#[tokio::test]
async fn w3_no_foreign_page_logs_anybody_out_here_or_there() {
    let world = World::start().await;
    world.set(|settings| settings.logout = true).await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let seen = world.watched(async || visitor.open(&world.url("/.zonegate/logout")).await).await;
    assert!(seen.answer.status == 200 && seen.asked.is_empty() && !seen.changed, "GET asks");
    visitor.open(&world.sso("/logged-out")).await;
    assert!(world.is_in(&visitor).await);
    let cookie = visitor.cookie(&world.url("/"), "__Host-zg_session").unwrap();
    for fields in ["Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n"] {
        let authority = world.gateway.authority(A);
        let mut wire = world.gateway.connect(A).await;
        let reply = wire
            .ask(format!(
                "POST /.zonegate/logout HTTP/1.1\r\nHost: {authority}\r\nCookie: __Host-zg_session={cookie}\r\n{fields}\
                 Content-Length: 0\r\n\r\n"
            ))
            .await;
        assert_eq!((reply.status, reply.field("location")), (403, None), "{fields:?}");
    }
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
    assert_eq!(world.provider.count(END_SESSION), 0);
    assert!(world.provider.count(KEYS) < 3);
}
