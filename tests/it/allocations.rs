//! What a signed-in request allocates on its way through our code: nothing.

use std::sync::Arc;

use http::Method;
use zonegate::assertion::AssertionSettings;
use zonegate::base::{MasterKey, UnixTime};
use zonegate::gate::{Asked, Client, Decision, Facts, Place, Presented, StoreHealth, Way, decide};
use zonegate::store::Store;
use zonegate::table::KeyRing;
use zonegate::zone::{Allow, Members, PathPattern, Rule, Rules, Zone, ZoneTable};

use crate::samples;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

#[tokio::test]
async fn a_hit_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), &MasterKey::from_bytes([7; 32])).await.unwrap();
    let ring = KeyRing::load(store, AssertionSettings::default(), NOW).await.unwrap();
    let zones = ZoneTable::new(vec![samples::zone()], None).unwrap();
    let session = Arc::new(samples::session(NOW));
    let request = || {
        let facts = Facts {
            asked: Asked::new(zones.find("a.example"), Place::Application, &Method::GET, b"/tickets/42?view=full"),
            way: Way::Through,
            client: Client::Program,
            presented: Presented::Session(&session),
            store: StoreHealth::Current,
        };
        let Decision::Forward(grant) = decide(&facts, NOW) else { panic!("the session is live") };
        let session = grant.session().unwrap();
        session.touch(NOW);
        drop(ring.assertion(session, grant.zone(), NOW).unwrap());
    };
    let first = allocation_counter::measure(request);
    assert!(first.count_total > 0, "the first request signs, so the counter counts");
    let hit = allocation_counter::measure(|| (0..100).for_each(|_| request()));
    assert_eq!(hit.count_total, 0);
}

/// A rule that decides costs no allocation either, and for a public path nobody looks for a session.
#[tokio::test]
async fn a_rule_allocates_nothing() {
    let rule = |(at, (path, allow)): (usize, (&str, Allow))| Rule {
        name: format!("access[{at}]").into(),
        line: 0,
        path: PathPattern::below(path).unwrap(),
        methods: vec![Method::GET],
        allow,
    };
    let members = Members { groups: vec!["staff".into()], kinds: vec![] };
    let list = [("/static", Allow::Public), ("/api", Allow::SignedIn), ("/admin", Allow::Members(members))];
    let zone = Zone { rules: Rules::new(list.into_iter().enumerate().map(rule).collect()), ..samples::zone() };
    let zones = ZoneTable::new(vec![zone], None).unwrap();
    let session = Arc::new(samples::session(NOW));
    let judge = |path: &[u8]| {
        let asked = Asked::new(zones.find("a.example"), Place::Application, &Method::GET, path);
        let presented = if asked.wants_session() { Presented::Session(&session) } else { Presented::Nothing };
        let (way, client, store) = (Way::Through, Client::Program, StoreHealth::Current);
        let decision = decide(&Facts { asked, way, client, presented, store }, NOW);
        (matches!(decision, Decision::Forward(_)), asked.wants_session())
    };
    for (path, want) in [
        ("/static/app;v=2/x%20y.css", (true, false)),
        ("/STATIC/app.css", (true, true)),
        ("/api/tickets/42?view=full", (true, true)),
        ("/admin/users", (false, true)),
    ] {
        let cost = allocation_counter::measure(|| assert_eq!(judge(path.as_bytes()), want, "{path}"));
        assert_eq!(cost.count_total, 0, "{path}");
    }
}
