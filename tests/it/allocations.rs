//! What a signed-in request allocates on its way through our code: nothing (design.md section 10).

use std::sync::Arc;

use http::Method;
use zonegate::assertion::AssertionSettings;
use zonegate::base::{MasterKey, UnixTime};
use zonegate::gate::{Asked, Client, Decision, Facts, Place, Presented, StoreHealth, Way, decide};
use zonegate::store::Store;
use zonegate::table::KeyRing;
use zonegate::zone::ZoneTable;

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
