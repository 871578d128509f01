//! What does an acknowledged log-in take over the disk's own sync?
//!
//! Turns of both in one directory: two hundred bytes appended to a file and synced (`fdatasync`), which is the floor, and
//! a session begun as a log-in begins it, with its line in the security log, acknowledged when it is durable. Then sixty-four
//! log-ins at a time, which share their syncs.
//!
//! `cargo bench --bench log_in_commit [-- --turns 400 --directory DIRECTORY]`

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has nothing to say, and what it says goes to standard output"
)]

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use zonegate::machine::Clock;
use zonegate::table::Sessions;

#[expect(dead_code, reason = "the other benches' half")]
mod support;

use support::arguments::Arguments;
use support::gateway::{self, LogIn};
use support::upstream;

/// How many log in at once.
const TOGETHER: usize = 64;

fn main() {
    let arguments = Arguments::read();
    if !arguments.measure() {
        return;
    }
    let turns = arguments.number("--turns", 400) as usize;
    let place = arguments.value("--directory").map_or_else(std::env::temp_dir, PathBuf::from);
    // As in a gateway: the thread that carries the request has a runtime of its own, and the store has its threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(turns, &tempfile::tempdir_in(place).expect("a directory")));
}

async fn run(turns: usize, directory: &tempfile::TempDir) {
    let certificate = support::certificate(directory.path());
    let folder = directory.path().join("gateway");
    let upstream = upstream::start().await;
    let set_up = gateway::prepare(&folder, upstream, Some(&certificate), false, None, Some(LogIn::Local)).await;
    let (store, settings) = set_up.open().await;
    let clock = Arc::new(Clock::new());
    let sessions =
        Arc::new(Sessions::load(store.clone(), &settings.zones, Arc::clone(&clock)).await.expect("sessions"));
    let zone = Arc::clone(settings.zones.zones().first().expect("one zone"));
    let mut people = Vec::new();
    for serial in 0..turns + turns.next_multiple_of(TOGETHER) {
        people.push(gateway::create_person(&store, &format!("wall{serial}"), clock.now()).await);
    }

    let mut floor_file = std::fs::File::create(directory.path().join("floor")).expect("a file");
    let (mut floor, mut alone) = (Vec::new(), Vec::new());
    let together = people.split_off(turns);
    for person in &people {
        let began = Instant::now();
        floor_file.write_all(&[b'x'; 200]).and_then(|()| floor_file.sync_data()).expect("a disk");
        floor.push(began.elapsed());
        let began = Instant::now();
        gateway::begin(&sessions, &zone, person, LogIn::Local, clock.now()).await;
        alone.push(began.elapsed());
    }
    let (floor, alone) = (median(floor), median(alone));
    println!("append and fdatasync           {:8.3} ms", floor.as_secs_f64() * 1e3);
    println!(
        "a log-in                       {:8.3} ms, ratio {:.2}",
        alone.as_secs_f64() * 1e3,
        alone.as_secs_f64() / floor.as_secs_f64()
    );

    let count = together.len();
    let began = Instant::now();
    let mut waiting = together.into_iter();
    let mut under_way = JoinSet::new();
    let mut next = |under_way: &mut JoinSet<()>| {
        if let Some(person) = waiting.next() {
            let (sessions, zone, now) = (Arc::clone(&sessions), Arc::clone(&zone), clock.now());
            under_way.spawn(async move {
                gateway::begin(&sessions, &zone, &person, LogIn::Local, now).await;
            });
        }
    };
    for _ in 0..TOGETHER {
        next(&mut under_way);
    }
    while let Some(done) = under_way.join_next().await {
        done.expect("no panic");
        next(&mut under_way);
    }
    println!("{TOGETHER} at a time: {:.0} log-ins a second", count as f64 / began.elapsed().as_secs_f64());
    store.close().await;
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
