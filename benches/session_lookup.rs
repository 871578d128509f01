//! What does it cost to find a request's session among a thousand, and among a million?
//!
//! From the `Cookie` field to the session: reading the cookie, decoding the token, hashing it, looking it up. The
//! tokens are taken in an order that jumps about the table, so that a large table pays for the caches it misses.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

mod samples;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use http::header::COOKIE;
use zonegate::base::SessionToken;
use zonegate::portal::cookies::{self, Sent};
use zonegate::session::Session;
use zonegate::store::LoadedSession;
use zonegate::table::LiveTable;

/// How many different requests take turns.
const REQUESTS: u64 = 1 << 14;

fn table(count: u64) -> LiveTable {
    let table = LiveTable::default();
    for serial in 0..count {
        let (record, principal) = (samples::record("ww7.desk.example", serial), samples::principal());
        table.restore(&LoadedSession { record, principal, user_epoch: 0 }, None, samples::START);
    }
    table
}

/// A browser's three cookies, ours in the middle.
fn request(serial: u64) -> HeaderMap {
    let ours = samples::token(serial).reveal();
    let value = format!("theme=dark; {}={ours}; lang=en-GB", cookies::SESSION);
    HeaderMap::from_iter([(COOKIE, value.try_into().unwrap())])
}

fn find(table: &LiveTable, request: &HeaderMap) -> Option<Arc<Session>> {
    match cookies::sent(request, cookies::SESSION) {
        Sent::One(value) => table.find(&SessionToken::parse(value)?.digest()),
        Sent::Nothing | Sent::Several => None,
    }
}

fn session_lookup(c: &mut Criterion) {
    for (name, count) in [("1k_sessions", 1_000), ("1M_sessions", 1_000_000)] {
        let table = table(count);
        // An odd step visits every residue before it repeats.
        let requests: Vec<_> = (0..REQUESTS).map(|n| request(n * 611_953 % count)).collect();
        let mut turns = requests.iter().cycle();
        c.bench_function(&format!("session_lookup/{name}"), |b| {
            b.iter(|| {
                let found = find(&table, black_box(turns.next().unwrap()));
                assert!(found.is_some());
                found
            });
        });
    }
}

criterion_group!(benches, session_lookup);
criterion_main!(benches);
