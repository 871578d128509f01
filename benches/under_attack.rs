//! What do strangers who hold connections open, or log in by the hundred, cost those who are signed in?
//!
//! A signed-in client asks at a fixed rate over kept TLS 1.3 connections, about half of what the machine carries, and
//! the time to each answer is noted. Quiet and attack take turns, so that what the machine does by itself is in both:
//!
//! - `slow`: a thousand connections, half of them in the middle of a TLS handshake and half in the middle of a head,
//!   that send a byte now and then and come again when they are closed (D1).
//! - `log-ins`: two hundred wrong passwords under way at any time (D4). Attackers, client, application and gateway share
//!   the machine, as its usual threads.
//! - `queued`: two hundred who keep their connections and log in again as soon as they are answered, each time as somebody
//!   else, so that two hundred log-ins are always in the queue for hashes.
//! - `turned-away`: five hundred who do the same, of whom the queue takes half; the others ask five times a second.
//! - `log-ins-afar`: the same attackers, who take little but what is left of the machine, as they would from elsewhere.
//! - `elsewhere`: the control. The same attackers make the same connections to another server on this machine, which
//!   answers them all with 503; what this costs the client is the machine's doing, and not the gateway's.
//!
//! The figures are the 99th percentiles of quiet and attack in the same run, and the memory at the end of each turn,
//! which must not grow from one to the next. Each time is also given without what the client itself overslept: its timer
//! counts in milliseconds, and its thread waits for a core like any other.
//!
//! `cargo bench --bench under_attack [-- --turns 3 --seconds 10 --rate 2000 --only log-ins]`

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has nothing to say, and what it says goes to standard output"
)]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

#[expect(dead_code, reason = "the other bench's half")]
mod support;

use support::arguments::Arguments;
use support::elsewhere;
use support::gateway::{self, LogIn};
use support::load::{self, Target};
use support::upstream;

const SLOW: usize = 1000;
const LOG_INS: usize = 200;
/// About twice as many as the queue has room for (`hashing.queue_max`).
const TURNED_AWAY: usize = 500;
/// How long attackers have before anything is timed.
const BEGIN: Duration = Duration::from_secs(3);
/// Connections of the signed-in client.
const KEPT: u64 = 16;

fn main() {
    let arguments = Arguments::read();
    if !arguments.measure() {
        return;
    }
    let number = |name, default| arguments.number(name, default);
    let (turns, seconds, rate) = (number("--turns", 3), number("--seconds", 10), number("--rate", 2000));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(turns, Duration::from_secs(seconds), rate, arguments.value("--only")));
}

async fn run(turns: u64, length: Duration, rate: u64, only: Option<&str>) {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let directory = tempfile::tempdir().expect("a directory");
    let upstream = upstream::start().await;
    let certificate = support::certificate(directory.path());
    let set_up = gateway::prepare(
        &directory.path().join("gateway"),
        upstream,
        Some(&certificate),
        true,
        None,
        Some(LogIn::Local),
    )
    .await;
    let log = std::fs::File::create(directory.path().join("log")).expect("a file");
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_zonegate"))
        .args(["serve", "--config"])
        .arg(&set_up.config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the gateway");
    let target = Target::new(set_up.address, support::HOST, Some(&certificate), &set_up.cookies);
    load::wait_until_it_answers(&target).await;

    println!("{rate} signed-in requests a second over {KEPT} connections, turns of {} s", length.as_secs());
    let other = target.at(elsewhere::start(&certificate));
    for attack in Attack::ALL.into_iter().filter(|attack| only.is_none_or(|only| only == attack.name())) {
        let name = attack.name();
        let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            quiet.push(ask(&target, length, rate).await);
            let stop = Arc::new(AtomicBool::new(false));
            let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
            // On a thread of their own, so that what they cost themselves does not hold up the client that is timed, and
            // with a moment to begin.
            let to = if attack == Attack::Elsewhere { other.clone() } else { target.clone() };
            let (at, of) = (Arc::clone(&stop), Arc::clone(&counts));
            let attackers = std::thread::spawn(move || attack.run(&to, &at, &of));
            tokio::time::sleep(BEGIN).await;
            attacked.push(ask(&target, length, rate).await);
            stop.store(true, Ordering::Relaxed);
            attackers.join().expect("no panic");
            let [begun, closed] = [0, 1].map(|at| counts[at].load(Ordering::Relaxed));
            println!(
                "  {name}: {begun} begun, {closed} closed or refused, {} MiB resident",
                resident(gateway.id())
            );
        }
        for (what, of) in
            [("in all", Answered::in_all as fn(&Answered) -> f64), ("by others", Answered::by_others)]
        {
            let (quiet, attacked) = (Times::over(&quiet, of), Times::over(&attacked, of));
            println!(
                "{name:12} {what:9} p50 {:6.2} ms quiet {:6.2} ms attacked   p99 {:6.2} ms quiet {:6.2} ms attacked, ratio {:.2}",
                quiet.p50,
                attacked.p50,
                quiet.p99,
                attacked.p99,
                attacked.p99 / quiet.p99
            );
        }
    }
    let _ = gateway.kill();
    let _ = gateway.wait();
}

/// One answer, in milliseconds.
struct Answered {
    /// From when the request was due: one that could not even be sent in time waits, too.
    took: f64,
    /// What of it the client slept on, with nothing left to wait for but itself.
    overslept: f64,
}

impl Answered {
    const fn in_all(&self) -> f64 {
        self.took
    }

    const fn by_others(&self) -> f64 {
        self.took - self.overslept
    }
}

/// Asks at the rate for so long.
async fn ask(target: &Target, length: Duration, rate: u64) -> Vec<Answered> {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for at in 0..KEPT {
        let target = target.clone();
        tasks.spawn(async move {
            let mut connection = [target.connect().await.expect("a connection")];
            let every = Duration::from_micros(1_000_000 * KEPT / rate);
            let mut due = began + every * u32::try_from(at).unwrap_or(0) / u32::try_from(KEPT).unwrap_or(1);
            let (mut answers, mut free) = (Vec::new(), due);
            while due < began + length {
                tokio::time::sleep_until(due.into()).await;
                let overslept = milliseconds(due.max(free).elapsed());
                load::ask_times(&mut connection, &target, 1).await;
                free = Instant::now();
                answers.push(Answered { took: milliseconds(free - due), overslept });
                due += every;
            }
            answers
        });
    }
    let mut all = Vec::new();
    while let Some(answers) = tasks.join_next().await {
        all.extend(answers.expect("no panic"));
    }
    all
}

/// Medians over the turns.
struct Times {
    p50: f64,
    p99: f64,
}

impl Times {
    fn over(turns: &[Vec<Answered>], of: fn(&Answered) -> f64) -> Self {
        let quantile = |times: &[f64], share: f64| {
            let mut sorted = times.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[((sorted.len() - 1) as f64 * share) as usize]
        };
        let turns: Vec<Vec<f64>> = turns.iter().map(|turn| turn.iter().map(of).collect()).collect();
        let median = |share| quantile(&turns.iter().map(|turn| quantile(turn, share)).collect::<Vec<_>>(), 0.5);
        Self { p50: median(0.5), p99: median(0.99) }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Attack {
    Slow,
    LogIns,
    Queued,
    TurnedAway,
    LogInsAfar,
    Elsewhere,
}

impl Attack {
    const ALL: [Self; 6] =
        [Self::Slow, Self::LogIns, Self::Queued, Self::TurnedAway, Self::LogInsAfar, Self::Elsewhere];

    const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::LogIns => "log-ins",
            Self::Queued => "queued",
            Self::TurnedAway => "turned-away",
            Self::LogInsAfar => "log-ins-afar",
            Self::Elsewhere => "elsewhere",
        }
    }

    /// Goes on until `stop`.
    fn run(self, target: &Target, stop: &Arc<AtomicBool>, counts: &Arc<[AtomicU64; 2]>) {
        if self == Self::LogInsAfar {
            zonegate::machine::give_way().expect("a system that lets threads give way");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let _attackers = self.start(target, stop, counts);
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// Goes on until `stop`, or until what is returned is dropped. `counts`: what was begun, and what was closed.
    fn start(self, target: &Target, stop: &Arc<AtomicBool>, counts: &Arc<[AtomicU64; 2]>) -> JoinSet<()> {
        let mut attackers = JoinSet::new();
        let count = match self {
            Self::Slow => SLOW,
            Self::TurnedAway => TURNED_AWAY,
            Self::LogIns | Self::Queued | Self::LogInsAfar | Self::Elsewhere => LOG_INS,
        };
        for number in 0..count {
            let (target, stop, counts) = (target.clone(), Arc::clone(stop), Arc::clone(counts));
            attackers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    counts[0].fetch_add(1, Ordering::Relaxed);
                    let outcome = match self {
                        Self::Slow if number % 2 == 0 => half_a_handshake(&target).await,
                        Self::Slow => half_a_head(&target).await,
                        Self::Queued | Self::TurnedAway => {
                            one_after_the_other(&target, number, &stop, &counts).await
                        }
                        Self::LogIns | Self::LogInsAfar | Self::Elsewhere => wrong_password(&target, number).await,
                    };
                    drop(outcome);
                    counts[1].fetch_add(1, Ordering::Relaxed);
                    // Comes again, but not in a loop without a pause: that would be another attack.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        attackers
    }
}

async fn half_a_handshake(target: &Target) -> std::io::Result<()> {
    let mut socket = tokio::net::TcpStream::connect(target.address()).await?;
    socket.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await?;
    trickle(socket).await
}

async fn half_a_head(target: &Target) -> std::io::Result<()> {
    let mut stream = target.connect().await?;
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
    trickle(stream).await
}

/// A byte a second until the other side has enough.
async fn trickle(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    let mut heard = [0; 512];
    loop {
        tokio::select! {
            _ = interval.tick() => stream.write_all(b"y").await?,
            read = stream.read(&mut heard) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn wrong_password(target: &Target, number: usize) -> std::io::Result<()> {
    let mut stream = target.connect().await?;
    stream.write_all(log_in(&format!("nobody{number}"), "close").as_bytes()).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// Over one connection, until it is closed. Each answer to a name that nobody has is counted as closed or refused.
async fn one_after_the_other(
    target: &Target,
    number: usize,
    stop: &AtomicBool,
    counts: &[AtomicU64; 2],
) -> std::io::Result<()> {
    let (mut stream, mut buffer) = (target.connect().await?, Vec::new());
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = log_in(&format!("nobody{number}-{turn}"), "keep-alive");
        if load::ask(&mut stream, body.as_bytes(), &mut buffer).await? == 503 {
            // The queue is full. It was told to come later; this is sooner.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for count in counts {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn log_in(name: &str, connection: &str) -> String {
    let body = format!(r#"{{"client":"bench","username":"{name}@bench.example","password":"no"}}"#);
    format!(
        "POST /.zonegate/api/login HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\n\r\n{body}",
        support::HOST,
        body.len()
    )
}

/// Resident memory of a process, in MiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
