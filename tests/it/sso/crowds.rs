//! Many at once: one answer that is sent twenty times, two hundred people, a thousand forged tokens; and what single
//! sign-on costs those who are in.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use zonegate::directory::{SecurityLevel, UserKind};
use zonegate::sso::Audience;

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
        let with_session = answers.iter().filter(|answer| {
            let cookies = answer.headers.get_all("set-cookie").iter();
            cookies.into_iter().any(|cookie| cookie.to_str().unwrap().starts_with("__Host-zg_session="))
        });
        let with_session = with_session.count();
        let of = |status| answers.iter().filter(|answer| answer.status == status).count();
        let (refused, busy) = (of(StatusCode::FORBIDDEN), of(StatusCode::SERVICE_UNAVAILABLE));
        assert!(with_session <= 1 && with_session + refused + busy == 20, "the others see a neutral page");
        assert_eq!(world.live().await, live + with_session);
        assert!(world.provider.count(TOKENS) <= tokens + 1, "one code is sent");
        assert!(busy > 0 || with_session == 1);
    }
}

impl World {
    /// Logs somebody in who begins again when the machine is busy; no other answer is borne with.
    async fn gets_in(&self, visitor: &Visitor, name: &str) {
        within_a_crowd(async {
            while !self.has_session(visitor) {
                let answer = visitor.give_username(&self.url("/"), name).await.unwrap();
                if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                    continue;
                }
                let answer = visitor.open(&self.at_provider(&answer)).await;
                let status = answer.status;
                let expected = [StatusCode::SEE_OTHER, StatusCode::SERVICE_UNAVAILABLE];
                assert!(expected.contains(&status), "{name}: {status} {}", answer.body);
            }
        })
        .await;
    }
}

/// Two hundred take longer than one.
async fn within_a_crowd<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("everybody gets in")
}

#[tokio::test]
async fn one_person_in_twenty_browsers_at_once_is_linked_once() {
    let world = World::start().await;
    let browsers: Vec<_> = (0..20).map(|_| world.browser()).collect();
    join_all(browsers.iter().map(|visitor| world.gets_in(visitor, ALICE))).await;
    let linked = world.events().await.into_iter().filter(|event| event.kind == "account_linked").count();
    assert_eq!(linked, 1);
    assert!(world.live().await >= 20);
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
    join_all(browsers.iter().zip(&names).map(|(visitor, name)| world.gets_in(visitor, name))).await;
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
    let links = world.store.links(world.acme, Audience::Tenant).await.unwrap();
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
    let (written, begun) = (world.events().await.len(), std::time::Instant::now());
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
    let looks = world.provider.count(KEYS) - 1;
    assert!((1..=1 + begun.elapsed().as_secs() / 60).contains(&(looks as u64)), "{looks} looks at the keys");
    let lines = world.events().await.len() - written;
    let most = 220 + 11 * usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((200..=most).contains(&lines), "{lines} lines: written up to a rate, then counted (D9)");
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
