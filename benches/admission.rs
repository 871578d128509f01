//! What does it cost to decide whether one more session may begin? Three are held, one of them leaves.

#![allow(missing_docs, reason = "criterion's macros make public items")]

mod samples;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use zonegate::base::SessionId;
use zonegate::directory::Slots;
use zonegate::session::{Class, Held, admit};

fn admission(c: &mut Criterion) {
    let id = |serial| SessionId::from_bytes(samples::id_bytes(serial));
    let held = [1, 2, 3].map(|serial| Held { id: id(serial), class: Class::Web });
    let leaving = [id(2)];
    c.bench_function("admission/full_but_one_leaves", |b| {
        b.iter(|| black_box(admit(Class::Web, black_box(held), black_box(&leaving), Slots::default())));
    });
}

criterion_group!(benches, admission);
criterion_main!(benches);
