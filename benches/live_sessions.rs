//! What does a session cost while it lives: how much memory, and how much longer a look-up among many?
//!
//! Sessions of different people, one each, are put into the table as a start does it. Memory is what the process holds
//! more than before, all overhead of the maps and the allocator included. A look-up goes from a token to its session,
//! in an order that no cache can guess; most of a request touches the same few sessions again and is cheaper.
//!
//! `cargo bench --bench live_sessions [-- --sessions 10000000]`; without a number a thousand, ten thousand and a million.
//! Ten million need 5 GiB.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to say, and what it says goes to standard output"
)]

mod samples;

use std::hint::black_box;
use std::time::{Duration, Instant};

use zonegate::session::{Principal, SessionRecord};
use zonegate::store::LoadedSession;
use zonegate::table::LiveTable;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOST: &str = "ww7.desk.example";
/// Look-ups in a round. The best of several rounds is told: others only ever make one slower.
const LOOKUPS: u64 = 1 << 18;
const ROUNDS: u32 = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it builds.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let asked = arguments.iter().position(|argument| argument == "--sessions");
    let counts = match asked {
        Some(at) => vec![arguments[at + 1].parse().expect("a whole number")],
        None => vec![1_000, 10_000, 1_000_000],
    };
    counts.into_iter().for_each(measure);
}

fn measure(count: u64) {
    let before = resident();
    let began = Instant::now();
    let table = LiveTable::default();
    for serial in 0..count {
        let (record, principal) = (samples::record(HOST, serial), samples::principal());
        table.restore(&LoadedSession { record, principal, user_epoch: 0 }, None, samples::START);
    }
    let built = began.elapsed();
    let each = (resident() - before) as f64 / count as f64;
    let own = own_bytes(&samples::record(HOST, 0), &samples::principal());
    let lookup = (0..ROUNDS).map(|_| round(&table, count)).min().expect("a round");
    println!(
        "{count:9} sessions: {each:6.0} bytes each, {:.0} beyond their own texts; put in place in {:.1} s; {:5.0} ns a look-up",
        each - own as f64,
        built.as_secs_f64(),
        lookup.as_secs_f64() * 1e9 / LOOKUPS as f64,
    );
}

/// Digests are made beforehand: hashing a token costs the same however many there are.
fn round(table: &LiveTable, count: u64) -> Duration {
    // An odd multiplier that has no factor in common with the counts: every session comes before one comes again.
    let digests: Vec<_> =
        (0..LOOKUPS).map(|n| samples::token(n.wrapping_mul(2_654_435_761) % count).digest()).collect();
    let began = Instant::now();
    for digest in &digests {
        assert!(black_box(table.find(black_box(digest))).is_some());
    }
    began.elapsed()
}

/// What a session's own texts hold. What it has in common with others is not its own.
fn own_bytes(record: &SessionRecord, principal: &Principal) -> usize {
    let Principal { username, email, display_name, groups: _, tenant_slug: _, kind: _ } = principal;
    let texts = [username, email.as_ref().expect("an address"), display_name];
    let device = [&record.device.label, &record.device.address];
    texts.into_iter().chain(device).map(String::len).sum()
}

/// Bytes of memory that the process holds (proc_pid_statm(5)).
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
