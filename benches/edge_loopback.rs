//! What does a signed-in request cost over the bare proxy?
//!
//! Two proxies run at the same time on one core, one worker thread each: a minimal pingora proxy built from the
//! same lock file, and zonegate with a live session. Both stand in front of the same upstream and are asked by
//! the same number of keep-alive TLS 1.3 connections, all on the other core. Each round divides the CPU time that
//! the kernel accounts to each process by the requests it answered; the figure is the ratio, round by round,
//! because on a shared machine only what ran at the same moment can be compared. A pair of two bare proxies is
//! the control: it should print 1.
//!
//! `cargo bench --bench edge_loopback [-- --rounds 9 --seconds 2 --connections 32]`; `--program FILE` measures
//! another build of zonegate.
//!
//! `--http2` asks over HTTP/2, and `--new-connections` over a connection for each request, with what a browser offers for
//! TLS; with `--x25519` as well, without what nginx and HAProxy on OpenSSL 3.0 cannot do. `--plain` leaves TLS out, for all of
//! them: as behind a balancer that ends it.
//!
//! `--others` puts other proxies in zonegate's place, as far as they are installed: nginx, nginx with `auth_request`,
//! HAProxy, Apache with mod_auth_openidc, and oauth2-proxy. With one of the two flags above, only those that hold no session.
//!
//! With `-- --sessions 1000000` it compares zonegate with so many sessions to zonegate with ten thousand, and says how
//! long each took to start and how much memory it holds. The requests are those of eight thousand sessions, from all over
//! the table, in both.
//!
//! With `-- --instructions 2000` it counts instead: each proxy in its turn answers that many requests under
//! `valgrind --tool=callgrind`, and what its worker thread executed in user space is divided by them. Slow and
//! blind to the kernel, but the same to a tenth of a percent each time. With `--keep DIRECTORY`, which must be
//! empty, the counts stay there for `callgrind_annotate`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has nothing to say, and what it says goes to standard output"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[path = "support/instructions.rs"]
mod instructions;
#[expect(dead_code, reason = "the other bench's half")]
mod support;

use support::arguments::Arguments;
use support::bare;
use support::gateway::{self, LogIn};
use support::load::{self, Manner, Target};
use support::others::{OTHERS, Other, Start};
use support::provider::Provider;
use support::upstream;

const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";

fn main() {
    let arguments = Arguments::read();
    if let [role, directory] = arguments.words()
        && role == "role=bare"
    {
        return bare::run(Path::new(directory));
    }
    if !arguments.measure() {
        return;
    }
    let plan = Plan::parse(&arguments);
    if std::env::var_os("ZONEGATE_BENCH_PINNED").is_none() {
        return pinned(arguments.words());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&plan));
}

/// Runs this program again, held to the load generator's core.
fn pinned(arguments: &[String]) {
    let this = std::env::current_exe().expect("this program's path");
    let status = Command::new("taskset")
        .args(["-c", LOAD_CORE])
        .arg(this)
        .args(arguments)
        .env("ZONEGATE_BENCH_PINNED", "1")
        .status()
        .expect("taskset (util-linux) holds a process to one core");
    assert!(status.success(), "the measurement failed: {status}");
}

struct Plan {
    rounds: usize,
    seconds: u64,
    connections: usize,
    /// Requests to count instructions over; none: measure time.
    instructions: usize,
    program: PathBuf,
    /// How many sessions are compared to [`FEW_SESSIONS`]; none: zonegate is compared to bare pingora.
    sessions: u64,
    /// Whether other proxies are measured in zonegate's place.
    others: bool,
    manner: Manner,
    /// Whether TLS is left out.
    plain: bool,
    /// A new directory, in which everything stays.
    keep: Option<PathBuf>,
}

impl Plan {
    fn parse(arguments: &Arguments) -> Self {
        let number = |name, default| arguments.number(name, default);
        Self {
            rounds: number("--rounds", 9) as usize,
            seconds: number("--seconds", 2),
            connections: number("--connections", 32) as usize,
            instructions: number("--instructions", 0) as usize,
            sessions: number("--sessions", 0),
            program: arguments
                .value("--program")
                .map_or_else(|| env!("CARGO_BIN_EXE_zonegate").into(), PathBuf::from),
            others: arguments.has("--others"),
            plain: arguments.has("--plain"),
            manner: match ["--http2", "--new-connections", "--x25519"].map(|name| arguments.has(name)) {
                [false, false, false] => Manner::Kept,
                [true, false, false] => Manner::Http2,
                [false, true, false] => Manner::New,
                [false, true, true] => Manner::NewX25519,
                _ => panic!("one of --http2 and --new-connections, and --x25519 with the latter alone"),
            },
            keep: arguments.value("--keep").map(PathBuf::from),
        }
    }
}

/// A proxy under test, ended with its handle.
struct Proxy {
    name: &'static str,
    /// Itself, and before it what it asks.
    children: Vec<Child>,
    target: Target,
    /// Where it runs, and what it leaves there.
    directory: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Nothing can be done about a child that cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn run(plan: &Plan) {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let directory = plan.keep.as_deref().unwrap_or(temporary.path());
    let place = Place {
        directory,
        upstream: upstream::start().await,
        certificate: (!plan.plain).then(|| support::certificate(directory)),
        program: plan.program.clone(),
    };
    if plan.instructions > 0 {
        count(plan, &place).await;
    } else if plan.sessions > 0 {
        crowd(plan, &place).await;
    } else {
        compare(plan, &place).await;
    }
}

/// What all proxies of a run share.
struct Place<'a> {
    directory: &'a Path,
    upstream: SocketAddr,
    /// None where TLS is left out.
    certificate: Option<support::Certificate>,
    /// zonegate, or another build of it.
    program: PathBuf,
}

/// The ways zonegate is run, with and without the access log; metrics are always on.
const GATEWAYS: [(&str, bool, Option<LogIn>); 4] = [
    ("zonegate, public, no access log", false, None),
    ("zonegate, no access log", false, Some(LogIn::Local)),
    ("zonegate, access log", true, Some(LogIn::Local)),
    ("zonegate, single sign-on, no access log", false, Some(LogIn::SingleSignOn)),
];

/// A command that runs `program` on the proxies' core.
fn on_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", PROXY_CORE]).arg(program);
    command
}

async fn compare(plan: &Plan, place: &Place<'_>) {
    let Plan { rounds, seconds, connections, manner, .. } = plan;
    let below = if plan.plain { "plain" } else { "TLS" };
    println!("{rounds} rounds of {seconds} s, {connections} connections to each proxy, {below}, {manner:?}");
    let bare = start_bare("bare", place, on_core).await;
    let again = start_bare("bare again", place, on_core).await;
    report(plan, &again, &bare).await;
    drop(again);
    if plan.others {
        let provider = Provider::start().await;
        for other in OTHERS.into_iter().filter(|other| plan.manner == Manner::Kept || !other.wants_log_in) {
            if other.is_installed() {
                report(plan, &start_other(other, place, &provider).await, &bare).await;
            } else {
                println!("{:34} is not installed", other.name);
            }
        }
        return;
    }
    for (name, access_log, way) in GATEWAYS {
        let gateway = Gateway { name, access_log, crowd: None, way }.start(place, on_core).await;
        report(plan, &gateway, &bare).await;
    }
}

/// How many sessions are few.
const FEW_SESSIONS: u64 = 10_000;

async fn crowd(plan: &Plan, place: &Place<'_>) {
    println!("{} rounds of {} s, {} connections to each", plan.rounds, plan.seconds, plan.connections);
    let few = Gateway {
        name: "zonegate, 10,000 sessions",
        access_log: false,
        crowd: Some(FEW_SESSIONS),
        way: Some(LogIn::Local),
    };
    let few = few.start(place, on_core).await;
    for (name, sessions) in [("zonegate, 10,000 again", FEW_SESSIONS), ("zonegate, many sessions", plan.sessions)]
    {
        let many = Gateway { name, access_log: false, crowd: Some(sessions), way: Some(LogIn::Local) };
        let many = many.start(place, on_core).await;
        report(plan, &many, &few).await;
    }
}

async fn count(plan: &Plan, place: &Place<'_>) {
    println!("{} requests over {} connections", plan.instructions, instructions::CONNECTIONS);
    let bare =
        instructions::count(plan.instructions, start_bare("bare", place, instructions::valgrind).await).await;
    println!("{:34} {bare:7.0} instructions a request", "bare");
    for (name, access_log, way) in GATEWAYS {
        let gateway = Gateway { name, access_log, crowd: None, way };
        let gateway = gateway.start(place, instructions::valgrind).await;
        let each = instructions::count(plan.instructions, gateway).await;
        println!("{name:34} {each:7.0} instructions a request, {:+.0}", each - bare);
    }
}

async fn start_bare(name: &'static str, place: &Place<'_>, command: impl FnOnce(&Path) -> Command) -> Proxy {
    let role = place.directory.join(name.replace(' ', "-"));
    std::fs::create_dir_all(&role).expect("a directory");
    bare::configure(&role, place.upstream, place.certificate.as_ref());
    let mut child = command(&std::env::current_exe().expect("this program's path"))
        .arg("role=bare")
        .arg(&role)
        .current_dir(&role)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bare proxy starts");
    let address = first_line(&mut child).parse().expect("the bare proxy prints its address");
    let target = Target::new(address, support::HOST, place.certificate.as_ref(), &[]);
    let proxy = Proxy { name, children: vec![child], target, directory: role };
    load::wait_until_it_answers(&proxy.target).await;
    proxy
}

async fn start_other(other: Other, place: &Place<'_>, provider: &Provider) -> Proxy {
    let role = place.directory.join(other.name.replace([' ', ','], "-"));
    std::fs::create_dir_all(&role).expect("a directory");
    let (starts, address) = other.prepare(&role, place.upstream, place.certificate.as_ref(), provider);
    let log = std::fs::File::create(role.join("log")).expect("a log file");
    let start = |start: Start| {
        on_core(Path::new(&start.program))
            .args(start.arguments)
            .current_dir(&role)
            // Of oauth2-proxy and the authoriser in Go, which would start as many as there are cores.
            .env("GOMAXPROCS", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log.try_clone().expect("a log file"))
            .spawn()
            .expect("it starts")
    };
    let children = starts.into_iter().map(start).collect();
    let target = |cookies: &[String]| Target::new(address, support::HOST, place.certificate.as_ref(), cookies);
    let mut proxy = Proxy { name: other.name, children, target: target(&[]), directory: role };
    load::wait_until_it_listens(&proxy.target).await;
    if other.wants_log_in {
        proxy.target = target(&[provider.log_in(&proxy.target).await]);
    }
    load::wait_until_it_answers(&proxy.target).await;
    proxy
}

/// A zonegate to measure.
struct Gateway {
    name: &'static str,
    access_log: bool,
    /// How many sessions it starts with, if it is not one.
    crowd: Option<u64>,
    /// How its one session was proved; none: there is none, and every path is public.
    way: Option<LogIn>,
}

impl Gateway {
    async fn start(self, place: &Place<'_>, command: impl FnOnce(&Path) -> Command) -> Proxy {
        let Self { name, access_log, crowd, way } = self;
        let directory = place.directory.join(name.replace([' ', ','], "-"));
        let set_up =
            gateway::prepare(&directory, place.upstream, place.certificate.as_ref(), access_log, crowd, way).await;
        let log = std::fs::File::create(directory.join("log")).expect("a log file");
        let began = Instant::now();
        let child = command(&place.program)
            .args(["serve", "--config"])
            .arg(&set_up.config)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("zonegate starts");
        let target = Target::new(set_up.address, support::HOST, place.certificate.as_ref(), &set_up.cookies);
        let proxy = Proxy { name, children: vec![child], target, directory };
        load::wait_until_it_answers(&proxy.target).await;
        if let Some(crowd) = crowd {
            println!(
                "{name:34} {crowd} sessions: answers {:.2} s after its start, {:.0} MiB resident",
                began.elapsed().as_secs_f64(),
                resident(&proxy) as f64 / f64::from(1 << 20),
            );
        }
        proxy
    }
}

/// Bytes of memory that its processes hold (proc_pid_statm(5)).
fn resident(proxy: &Proxy) -> u64 {
    let statm =
        |child: &Child| std::fs::read_to_string(format!("/proc/{}/statm", child.id())).expect("a running proxy");
    let pages = |statm: String| statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    proxy.children.iter().map(|child| pages(statm(child)).expect("a number of pages") * 4096).sum()
}

fn first_line(child: &mut Child) -> String {
    let out = child.stdout.take().expect("standard output is a pipe");
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

/// Both under load at once; prints CPU microseconds a request and the ratio of the first to the second.
async fn report(plan: &Plan, a: &Proxy, b: &Proxy) {
    let stop = Arc::new(AtomicBool::new(false));
    let (done_a, done_b) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = load::start(&a.target, plan.connections, plan.manner, &done_a, &stop).await;
    tasks.extend(load::start(&b.target, plan.connections, plan.manner, &done_b, &stop).await);
    tokio::time::sleep(Duration::from_secs(1)).await; // warm-up: pools, session's first assertion
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds {
        let before = (cpu(a), done_a.load(Ordering::Relaxed), cpu(b), done_b.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
        let after = (cpu(a), done_a.load(Ordering::Relaxed), cpu(b), done_b.load(Ordering::Relaxed));
        let each = |cpu: Duration, requests: u64| cpu.as_secs_f64() * 1e6 / requests.max(1) as f64;
        let us_a = each(after.0 - before.0, after.1 - before.1);
        let us_b = each(after.2 - before.2, after.3 - before.3);
        rounds.push((us_a / us_b, us_a, us_b));
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a connection asked and was answered to the end");
    }
    rounds.sort_by(|x, y| x.0.total_cmp(&y.0));
    let at = |share: f64| rounds[((rounds.len() - 1) as f64 * share).round() as usize];
    let (ratio, us_a, us_b) = at(0.5);
    println!(
        "{:34} {us_a:6.1} µs CPU a request, {} {us_b:6.1} µs, ratio {ratio:.3} (quartiles {:.3}–{:.3})",
        a.name,
        b.name,
        at(0.25).0,
        at(0.75).0,
    );
    std::io::stdout().flush().expect("standard output");
}

/// The CPU time of all its processes' threads, as the scheduler accounts it: time stolen by the host is not in it.
fn cpu(proxy: &Proxy) -> Duration {
    let tasks = |child: &Child| std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("a running proxy");
    let nanoseconds = proxy.children.iter().flat_map(tasks).filter_map(|task| {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
