//! The gate's table, and the properties it must never lose.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::base::{FlowId, SessionId, TenantId, TokenDigest, UserId};
use crate::directory::{Lifetimes, UserKind};
use crate::session::{Class, Device, Factor, Method, Principal, SessionRecord};
use crate::zone::{Allow, HeaderPreset, Language, Members, PathPattern, Rules, Upstream, Ways, ZoneTable};

const START: u64 = 1_000_000;

fn zone(host: &str, alias: &str) -> Zone {
    Zone {
        host: host.parse().unwrap(),
        aliases: vec![alias.parse().unwrap()],
        origin: format!("https://{host}").into(),
        authority: http::HeaderValue::try_from(host).unwrap(),
        name: host.into(),
        data_centre: String::new(),
        description: String::new(),
        language: Language::En,
        preselectable: true,
        upstream: Upstream::at(([127, 0, 0, 1], 1).into()),
        headers: HeaderPreset::Default,
        audience: host.into(),
        body_bytes_max: 1,
        more_methods: vec![],
        ways: Default::default(),
        rules: Default::default(),
        background_paths: vec![],
        client_certificates: None,
    }
}

/// Rules for everything below a path; the sample person is in `staff`.
fn rules() -> Rules {
    let members = |groups: &str| Allow::Members(Members { groups: vec![groups.into()], kinds: vec![] });
    let rule = |(at, (path, allow)): (usize, (&str, Allow))| Rule {
        name: format!("access[{at}]").into(),
        line: 0,
        path: PathPattern::below(path).unwrap(),
        methods: vec![],
        allow,
    };
    let list = [
        ("/public", Allow::Public),
        ("/optional", Allow::Optional),
        ("/staff", members("staff")),
        ("/admins", members("admins")),
        ("/deny", Allow::Deny),
    ];
    Rules::new(list.into_iter().enumerate().map(rule).collect())
}

fn table() -> ZoneTable {
    let a = Zone { rules: rules(), ways: Ways::Both, ..zone("a.example", "alias-a.example") };
    ZoneTable::new(vec![a, zone("b.example", "alias-b.example")], Some("login.example".parse().unwrap())).unwrap()
}

fn session(host: &str, user_epoch: u64) -> Arc<Session> {
    Arc::new(session_at(host, Arc::new(AtomicU64::new(user_epoch))))
}

fn session_at(host: &str, user_epoch: Arc<AtomicU64>) -> Session {
    let record = SessionRecord {
        id: SessionId::from_bytes([1; 16]),
        token: TokenDigest::of(b"token"),
        flow: FlowId::from_bytes([2; 16]),
        user: UserId::from_bytes([3; 16]),
        tenant: TenantId::from_bytes([4; 16]),
        zone: host.parse().unwrap(),
        epoch: 5,
        class: Class::Web,
        method: Method::Local,
        factors: [Factor::Password, Factor::Totp].into(),
        authenticated_at: Some(UnixTime::from_seconds(START)),
        started_at: UnixTime::from_seconds(START),
        last_seen: UnixTime::from_seconds(START),
        lifetimes: Lifetimes::default(),
        device: Device::default(),
    };
    let principal = Principal {
        username: "alice@acme.example".into(),
        email: None,
        display_name: "Alice".into(),
        groups: vec!["staff".into()],
        tenant_slug: "acme".into(),
        kind: UserKind::Regular,
    };
    Session::new(&record, &principal, user_epoch)
}

/// One row: host, path's owner, client, cookie, store, seconds after log-in, what must happen.
fn check(host: &str, place: Place, client: Client, cookie: &str, store: StoreHealth, after: u64, want: &str) {
    check_path("/", host, place, client, cookie, store, after, want);
}

#[expect(clippy::too_many_arguments, reason = "the columns of a table")]
fn check_path(
    path: &str,
    host: &str,
    place: Place,
    client: Client,
    cookie: &str,
    store: StoreHealth,
    after: u64,
    want: &str,
) {
    let table = table();
    let session = match cookie {
        "elsewhere" => session("b.example", 5),
        "old epoch" => session("a.example", 6),
        _ => session("a.example", 5),
    };
    if cookie == "displaced" {
        session.end(EndReason::Displaced);
    }
    let presented = match cookie {
        "none" => Presented::Nothing,
        "garbage" => Presented::Unreadable,
        "unknown" => Presented::Unknown,
        _ => Presented::Session(&session),
    };
    let asked = Asked::new(table.find(host), place, &http::Method::GET, path.as_bytes());
    let facts = Facts { asked, way: Way::Through, client, presented, store };
    let got = match decide(&facts, UnixTime::from_seconds(START + after)) {
        Decision::Forward(grant) => {
            let whose = match grant.bearer() {
                Bearer::Nobody => " of nobody",
                Bearer::Person(_) => "",
            };
            format!("forward {}{whose}", grant.zone().host)
        }
        Decision::Portal(zone) => format!("portal {}", zone.host),
        Decision::Universal => "universal".into(),
        Decision::Challenge(Challenge { client: Client::Navigation, reason, .. }) => {
            format!("redirect {}", reason.name())
        }
        Decision::Challenge(Challenge { client: Client::Program, reason, .. }) => format!("401 {}", reason.name()),
        Decision::Canonical(zone) => format!("canonical {}", zone.host),
        Decision::Forbid(Forbidden { session, rule, .. }) => {
            format!("403 {} {}", rule.name, if session.is_some() { "person" } else { "nobody" })
        }
        Decision::Refuse(refusal) => format!("refuse {}", refusal.name()),
    };
    assert_eq!(got, want, "{host}{path} {place:?} {client:?} {cookie} {store:?} +{after}");
}

#[test]
fn the_table() {
    use Client::{Navigation, Program};
    use Place::{Application, Ours};
    use StoreHealth::{Current, Stale};
    let hours = |h: u64| h * 3600;
    // R12: an unknown host is refused before any other code, even for our own pages and live sessions.
    check("x.example", Ours, Navigation, "live", Current, 0, "refuse unknown_host");
    check("x.example", Application, Navigation, "live", Stale, 0, "refuse unknown_host");
    check("alias-a.example", Application, Navigation, "live", Current, 0, "canonical a.example");
    check("alias-b.example", Ours, Program, "none", Current, 0, "canonical b.example");
    // R14: no session exists on the universal host.
    check("login.example", Application, Navigation, "live", Current, 0, "universal");
    // R119: nothing goes upstream without a session.
    check("a.example", Application, Navigation, "none", Current, 0, "redirect no_session");
    check("a.example", Application, Program, "none", Current, 0, "401 no_session");
    check("a.example", Application, Navigation, "garbage", Current, 0, "redirect unreadable_cookie");
    check("a.example", Application, Program, "unknown", Current, 0, "401 unknown_session");
    check("a.example", Application, Navigation, "live", Current, 0, "forward a.example");
    // Another zone's session is nothing here.
    check("a.example", Application, Program, "elsewhere", Current, 0, "401 unknown_session");
    // R89: dead at its deadline.
    check("a.example", Application, Navigation, "live", Current, hours(8) - 1, "forward a.example");
    check("a.example", Application, Navigation, "live", Current, hours(8), "redirect idle");
    check("a.example", Application, Program, "live", Current, hours(24), "401 expired");
    // R86: told why.
    check("a.example", Application, Navigation, "displaced", Current, 0, "redirect displaced");
    check("a.example", Application, Program, "old epoch", Current, 0, "401 revoked");
    // G4: closed while endings may be missed; but a dead session is still told why, and pages still answer.
    check("a.example", Application, Navigation, "live", Stale, 0, "refuse store_unavailable");
    check("a.example", Application, Navigation, "displaced", Stale, 0, "redirect displaced");
    check("a.example", Ours, Navigation, "none", Stale, 0, "portal a.example");
}

#[test]
fn the_table_of_rules() {
    use Client::{Navigation, Program};
    use StoreHealth::{Current, Stale};
    let check = |path, cookie, client, store, want| {
        check_path(path, "a.example", Place::Application, client, cookie, store, 0, want);
    };
    // Public: nobody is looked for, and nothing can go wrong.
    for cookie in ["none", "garbage", "unknown", "live", "elsewhere", "displaced"] {
        for store in [Current, Stale] {
            check("/public", cookie, Navigation, store, "forward a.example of nobody");
        }
    }
    // Optional: whoever is there is named, and nobody else.
    check("/optional", "live", Program, Current, "forward a.example");
    check("/optional", "none", Program, Stale, "forward a.example of nobody");
    check("/optional", "displaced", Program, Current, "forward a.example of nobody");
    check("/optional", "elsewhere", Program, Current, "forward a.example of nobody");
    check("/optional", "live", Program, Stale, "refuse store_unavailable");
    // Groups: who is in is let through, who is out is not sent to log in again, and strangers are.
    check("/staff", "live", Navigation, Current, "forward a.example");
    check("/admins", "live", Navigation, Current, "403 access[3] person");
    check("/admins", "live", Navigation, Stale, "refuse store_unavailable");
    check("/admins", "none", Navigation, Current, "redirect no_session");
    check("/admins", "displaced", Program, Current, "401 displaced");
    check("/admins", "old epoch", Program, Current, "401 revoked");
    // Nobody at all.
    check("/deny", "none", Navigation, Current, "403 access[4] nobody");
    check("/deny", "live", Program, Current, "403 access[4] person");
    check("/deny", "live", Program, Stale, "403 access[4] nobody");
    // M9: what somebody else may take for another path.
    check("/Public", "none", Program, Current, "401 no_session");
    check("/ADMINS", "live", Program, Current, "403 access[3] person");
    check("/public;x/admins", "none", Program, Current, "401 no_session");
    check("/;x/admins", "live", Program, Current, "refuse ambiguous_path");
    // Rules are for the application's paths, and one zone's.
    check_path("/deny", "a.example", Place::Ours, Navigation, "none", Current, 0, "portal a.example");
    check_path("/public", "b.example", Place::Application, Program, "none", Current, 0, "401 no_session");
    check_path("/public", "x.example", Place::Application, Program, "none", Current, 0, "refuse unknown_host");
    check_path("/public", "login.example", Place::Application, Program, "none", Current, 0, "universal");
}

/// Whether it is forwarded as somebody's.
fn forwards(
    host: &str,
    presented: Presented<'_>,
    place: Place,
    client: Client,
    store: StoreHealth,
    now: u64,
) -> bool {
    let outcome = |path: &str| match at(path, host, Way::Through, presented, place, client, store, now) {
        Some(Bearer::Person(_)) => true,
        Some(Bearer::Nobody) => {
            // R119: nothing is forwarded without a session but what a rule of this very zone opens.
            assert!(host == "a.example" && matches!(path, "/public" | "/optional"), "{host}{path}");
            false
        }
        None => false,
    };
    let open = outcome("/");
    // What a session opens, it opens on these, and in a zone without rules on the others too; elsewhere a public path
    // is nobody's, whoever asks.
    assert!(["/optional", "/staff"].into_iter().all(|path| outcome(path) == open));
    let others = open && host != "a.example";
    assert!(["/public", "/admins", "/deny"].into_iter().all(|path| outcome(path) == others));
    // A proxy that asks is told the same, about the one zone that it may ask about.
    let told = at("/", host, Way::Asked, presented, place, client, store, now).is_some();
    assert_eq!(told, open && host == "a.example");
    open
}

#[expect(clippy::too_many_arguments, reason = "every fact there is")]
fn at(
    path: &str,
    host: &str,
    way: Way,
    presented: Presented<'_>,
    place: Place,
    client: Client,
    store: StoreHealth,
    now: u64,
) -> Option<Bearer> {
    let table = table();
    let asked = Asked::new(table.find(host), place, &http::Method::GET, path.as_bytes());
    let facts = Facts { asked, way, client, presented, store };
    match decide(&facts, UnixTime::from_seconds(now)) {
        Decision::Forward(grant) => Some(grant.bearer().clone()),
        Decision::Portal(_)
        | Decision::Universal
        | Decision::Challenge(_)
        | Decision::Canonical(_)
        | Decision::Forbid(_)
        | Decision::Refuse(_) => None,
    }
}

fn any_host() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a.example".to_owned()),
        Just("b.example".to_owned()),
        Just("alias-a.example".to_owned()),
        Just("login.example".to_owned()),
        "[a-z.]{0,20}",
    ]
}

fn any_place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Ours), Just(Place::Application)]
}

fn any_client() -> impl Strategy<Value = Client> {
    prop_oneof![Just(Client::Navigation), Just(Client::Program)]
}

fn any_store() -> impl Strategy<Value = StoreHealth> {
    prop_oneof![Just(StoreHealth::Current), Just(StoreHealth::Stale)]
}

proptest! {
    /// No clock, host, path or client opens a zone without a session (R119).
    #[test]
    fn nothing_forwards_without_a_session(
        host in any_host(), place in any_place(), client in any_client(), store in any_store(),
        now in any::<u64>(), cookie in 0..3,
    ) {
        let presented = match cookie {
            0 => Presented::Nothing,
            1 => Presented::Unreadable,
            _ => Presented::Unknown,
        };
        prop_assert!(!forwards(&host, presented, place, client, store, now));
    }

    /// Whatever the reason of the end, an ended session opens nothing at any time, not even in the past.
    #[test]
    fn an_ended_session_never_forwards(
        host in any_host(), client in any_client(), store in any_store(), now in any::<u64>(), by_epoch in any::<bool>(),
    ) {
        let session = session("a.example", if by_epoch { 6 } else { 5 });
        if !by_epoch {
            session.end(EndReason::LoggedOut);
        }
        prop_assert!(!forwards(&host, Presented::Session(&session), Place::Application, client, store, now));
    }

    /// Once a deadline was seen, no clock revives the session: neither a later one nor one that was set back.
    #[test]
    fn no_clock_revives(first in any::<u64>(), second in any::<u64>(), touch in any::<u64>()) {
        let session = session("a.example", 5);
        let at = |now| forwards(
            "a.example", Presented::Session(&session), Place::Application, Client::Program, StoreHealth::Current, now,
        );
        if !at(first) {
            session.touch(UnixTime::from_seconds(touch));
            prop_assert!(!at(second));
        }
    }

    /// A session opens its own zone and no other (tenants never cross).
    #[test]
    fn a_session_opens_its_own_zone_only(host in any_host(), own in prop_oneof![Just("a.example"), Just("b.example")]) {
        let session = session(own, 5);
        let forwarded = forwards(
            &host, Presented::Session(&session), Place::Application, Client::Program, StoreHealth::Current, START,
        );
        prop_assert_eq!(forwarded, host == own);
    }
}

#[test]
fn raising_the_users_epoch_kills_every_older_session_at_once() {
    let epoch = Arc::new(AtomicU64::new(5));
    let session = session_at("a.example", Arc::clone(&epoch));
    let now = UnixTime::from_seconds(START);
    assert_eq!(session.liveness(now), Liveness::Live);
    epoch.store(6, Ordering::Release);
    assert_eq!(session.liveness(now), Liveness::Ended(EndReason::Revoked));
}

#[test]
fn a_zone_is_reached_the_ways_it_says_and_no_other() {
    let check = |ways: Ways, want: [&str; 2]| {
        let zone = Zone { ways, rules: rules(), ..zone("a.example", "alias-a.example") };
        let table = ZoneTable::new(vec![zone], None).unwrap();
        for path in ["/", "/public", "/optional", "/deny", "/;x/"] {
            let session = session("a.example", 5);
            let got = [Way::Through, Way::Asked].map(|way| {
                let facts = Facts {
                    asked: Asked::new(
                        table.find("a.example"),
                        Place::Application,
                        &http::Method::GET,
                        path.as_bytes(),
                    ),
                    way,
                    client: Client::Program,
                    presented: Presented::Session(&session),
                    store: StoreHealth::Current,
                };
                match decide(&facts, UnixTime::from_seconds(START)) {
                    Decision::Refuse(Refusal::NotThisWay) => "no",
                    Decision::Forward(_) | Decision::Forbid(_) | Decision::Refuse(Refusal::AmbiguousPath) => {
                        "judged"
                    }
                    other @ (Decision::Portal(_)
                    | Decision::Universal
                    | Decision::Challenge(_)
                    | Decision::Canonical(_)
                    | Decision::Refuse(Refusal::UnknownHost | Refusal::StoreUnavailable)) => {
                        panic!("{path}: {other:?}")
                    }
                }
            });
            assert_eq!(got, want, "{path}");
        }
    };
    check(Ways::Through, ["judged", "no"]);
    check(Ways::Asked, ["no", "judged"]);
    check(Ways::Both, ["judged", "judged"]);
}
