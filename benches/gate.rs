//! What does the decision cost?

#![allow(missing_docs, reason = "criterion's macros make public items")]

mod samples;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use zonegate::gate::{Asked, Client, Facts, Place, Presented, StoreHealth, Way, decide};

fn gate(c: &mut Criterion) {
    let zones = samples::zones(17);
    let session = samples::session("ww7.desk.example", 1);
    let facts = |presented| Facts {
        asked: Asked::new(
            zones.find("ww7.desk.example"),
            Place::Application,
            &Method::GET,
            b"/tickets/42?view=full",
        ),
        way: Way::Through,
        client: Client::Program,
        presented,
        store: StoreHealth::Current,
    };
    let forward = facts(Presented::Session(&session));
    c.bench_function("gate/forward", |b| b.iter(|| black_box(decide(black_box(&forward), samples::START))));
    let challenge = facts(Presented::Nothing);
    c.bench_function("gate/challenge", |b| b.iter(|| black_box(decide(black_box(&challenge), samples::START))));
}

criterion_group!(benches, gate);
criterion_main!(benches);
