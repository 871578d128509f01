//! What does it cost to find the zone of a host?

#![allow(missing_docs, reason = "criterion's macros make public items")]

mod samples;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

fn zone_lookup(c: &mut Criterion) {
    for count in [17, 1000] {
        let zones = samples::zones(count);
        let mut group = c.benchmark_group(format!("zone_lookup/{count}_zones"));
        group.bench_function("known", |b| b.iter(|| black_box(zones.find(black_box("ww7.desk.example")))));
        group.bench_function("unknown", |b| b.iter(|| black_box(zones.find(black_box("ww7.desk.invalid")))));
    }
}

criterion_group!(benches, zone_lookup);
criterion_main!(benches);
