//! Many at once: one answer that is sent twenty times, two hundred people, a thousand forged tokens; and what single
//! sign-on costs those who are in.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::StatusCode;
use zonegate::directory::{SecurityLevel, UserKind};

use super::{ALICE, World};
use crate::harness::{A, Visitor};
use crate::provider::{KEYS, SigningKey, TOKENS, USER_INFO};

#[tokio::test]
async fn o3_twenty_answers_with_one_state_are_one_session() {
    let world = World::start().await;
    world.log_in(&world.browser()).await;
    for _ in 0..5 {
        let visitor = world.browser();
        let back = world.way_back(&visitor).await;
        let (live, tokens) = (world.live().await, world.provider.count(TOKENS));
        let answers = join_all((0..20).map(|_| visitor.open(&back))).await;
        assert_eq!((world.live().await, world.provider.count(TOKENS)), (live + 1, tokens + 1));
        let sessions = answers.iter().filter(|answer| {
            let cookies = answer.headers.get_all("set-cookie").iter();
            cookies.into_iter().any(|cookie| cookie.to_str().unwrap().starts_with("__Host-zg_session="))
        });
        assert_eq!(sessions.count(), 1);
        let refused = answers.iter().filter(|answer| answer.status == StatusCode::FORBIDDEN).count();
        assert_eq!(refused, 19, "the others see a neutral page");
    }
}

#[tokio::test]
async fn one_person_in_twenty_browsers_at_once_is_linked_once() {
    let world = World::start().await;
    let browsers: Vec<_> = (0..20).map(|_| world.browser()).collect();
    let backs = join_all(browsers.iter().map(|visitor| world.way_back(visitor))).await;
    join_all(browsers.iter().zip(&backs).map(|(visitor, back)| visitor.open(back))).await;
    assert!(browsers.iter().all(|visitor| world.has_session(visitor)));
    let linked = world.events().await.into_iter().filter(|event| event.kind == "account_linked").count();
    assert_eq!((linked, world.live().await), (1, 20));
}

#[tokio::test]
async fn two_hundred_people_at_once_are_each_who_they_are() {
    let world = World::start().await;
    world.provider.script(|script| script.by_hint = true);
    let names: Vec<_> = (0..200).map(|at| format!("person-{at}@acme.example")).collect();
    for name in &names {
        world.person(name, UserKind::Regular, SecurityLevel::User).await;
    }
    let browsers: Vec<_> = names.iter().map(|_| world.browser()).collect();
    let log_in = async |visitor: &Visitor, name: &str| {
        let answer = visitor.give_username(&world.url("/"), name).await.unwrap();
        let back = world.at_provider(&answer);
        let answer = visitor.open(&back).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}: {}", answer.body);
    };
    join_all(browsers.iter().zip(&names).map(|(visitor, name)| log_in(visitor, name))).await;
    world.upstream.received();
    let looks = browsers
        .iter()
        .zip(&names)
        .map(async |(visitor, name)| visitor.ask(&world.url(&format!("/page?who={name}"))).await);
    join_all(looks).await;
    let received = world.upstream.received();
    let known: BTreeSet<_> = received.iter().map(|request| request.all("x-forwarded-user").join(",")).collect();
    assert_eq!(known, names.iter().cloned().collect(), "everybody is somebody");
    for request in received {
        let who = request.all("x-forwarded-user").join(",");
        assert!(request.line.contains(&format!("?who={who} ")), "{request:?}");
    }
    let links = world.store.links(world.acme).await.unwrap();
    assert_eq!(links.len(), 200);
    assert!(links.iter().all(|link| link.username.as_str() == link.subject.as_str()), "{links:#?}");
}

#[tokio::test]
async fn o7_a_thousand_tokens_with_keys_that_nobody_has_cost_one_look_at_the_keys() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    assert_eq!(world.provider.count(KEYS), 1);
    let key = SigningKey::stray("ES256", "");
    let written = world.events().await.len();
    let mut wire = world.gateway.connect(A).await;
    for at in 0..1000 {
        let header = serde_json::json!({ "alg": "RS256", "kid": format!("key-{at}"), "typ": "logout+jwt" });
        // Who the key was would be found out after which one it is.
        let token = key.sign(&serde_json::json!({ "alg": "ES256" }), &serde_json::json!({}));
        let (_, rest) = token.split_once('.').unwrap();
        let token = format!("{}.{rest}", crate::provider::base64url(header.to_string()));
        let path = "/.zonegate/sso/acme/backchannel-logout";
        let reply = world.provider.tell_logout(&mut wire, A, path, &token).await;
        assert_eq!(reply.status, 400, "{at}: {reply:?}");
    }
    assert_eq!(world.provider.count(KEYS), 2);
    let lines = world.events().await.len() - written;
    assert!((200..900).contains(&lines), "{lines} lines: written up to a rate, then counted (D9)");
    let seen = world.watched(async || world.try_log_in(&world.browser()).await).await;
    seen.expect_in("somebody else in the meantime", &[TOKENS, USER_INFO]);
    assert_eq!(world.known_as(&visitor).await.as_deref(), Some(ALICE));
}

#[tokio::test]
async fn single_sign_on_costs_a_signed_in_request_nothing() {
    let world = World::start().await;
    let visitor = world.browser();
    world.log_in(&visitor).await;
    let reads = async || world.gateway.metric("zonegate_store_read_seconds_count").await;
    world.known_as(&visitor).await;
    world.provider.asked();
    let token = visitor.cookie(&world.url("/"), "__Host-zg_session").unwrap();
    let mut wire = world.gateway.connect(A).await;
    let (before, begun) = (reads().await, std::time::Instant::now());
    for _ in 0..1000 {
        let request = format!("GET /page HTTP/1.1\r\nHost: {A}\r\nCookie: __Host-zg_session={token}\r\n\r\n");
        assert_eq!(wire.ask(request).await.status, 200);
    }
    let (after, took) = (reads().await, begun.elapsed().as_secs_f64());
    // What reads on is the look for sessions that were ended elsewhere, four times a second.
    assert!(before > 0.0 && after - before <= 8.0 * took + 8.0, "{} reads in {took} s", after - before);
    assert!(world.provider.asked().is_empty());
    let received = world.upstream.received();
    assert!(
        received.iter().all(|request| request.all("x-forwarded-user") == [ALICE]),
        "and nobody else is let in"
    );
}
