//! What does a request pay for its assertion: when it is there (nearly always), and when it must be signed?

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

mod samples;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use zonegate::assertion::{AssertionSettings, KeyAlgorithm};
use zonegate::base::MasterKey;
use zonegate::store::Store;
use zonegate::table::KeyRing;

fn ring(algorithm: KeyAlgorithm) -> Arc<KeyRing> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.db"), &MasterKey::from_bytes([7; 32])).await.unwrap();
        let settings = AssertionSettings { algorithm, ..AssertionSettings::default() };
        KeyRing::load(store, settings, samples::START).await.unwrap()
    })
}

fn assertion(c: &mut Criterion) {
    let zone = samples::zone("ww7.desk.example");
    for algorithm in KeyAlgorithm::ALL {
        let ring = ring(algorithm);
        let session = samples::session("ww7.desk.example", 1);
        let mut group = c.benchmark_group(format!("assertion/{}", algorithm.name()));
        group.bench_function("hit", |b| {
            b.iter(|| black_box(ring.assertion(black_box(&session), &zone, samples::START)));
        });
        group.bench_function("sign", |b| {
            b.iter(|| {
                session.assertion.store(None);
                black_box(ring.assertion(black_box(&session), &zone, samples::START))
            });
        });
    }
}

criterion_group!(benches, assertion);
criterion_main!(benches);
