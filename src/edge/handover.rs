//! Hot upgrade: a new process takes over while the old one finishes what it has begun.
//!
//! Both have the listening sockets, so that no connection is ever refused; and only one of them writes to the store,
//! because each counts slots in its own memory. The order:
//!
//! 1. The old process starts the program anew, with its sockets. The new one reads and checks everything that does not
//!    need the store, and says `ready`. If it does not, nothing has changed.
//! 2. The old one lets requests end that may write while others wait, takes no further connection (they wait in the sockets'
//!    queues), writes behind what is to be written, lets go of the store, and says `go`.
//! 3. The new one opens the store, loads the sessions, accepts connections, and says `serving`. If it does not, the old
//!    one takes the store back and goes on as if nothing had been.
//! 4. The old one ends with its last connection. Each may carry one more request: a signed-in one is forwarded, as what
//!    is ended meanwhile is read from the store; any other is sent to a new connection, and so to the new process (307).
//!    However long it takes: nobody waits for it, and a WebSocket may keep it for as long as its session. One that is told
//!    to stop meanwhile (SIGTERM) cuts off what `limits.drain` does not suffice for, as ever.
//!
//! *Why does the old process not close idle connections at once?* A client may be sending a request on one at that
//! moment, and it would fail. *And when it is told to stop in the middle of it?* Then both end, unless the new one serves
//! already: who stops a gateway must not find out that another one has come up meanwhile. *Why pipes and words?* They are the new process's standard input and output: there is
//! nothing to clean up, and a process that dies says so by closing them.

use std::ffi::OsString;
use std::future::Future;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use listenfd::ListenFd;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock, watch};

use super::generation::InUse;
use super::listen::Acceptor;
use crate::portal::Unchanged;
use crate::store::{self, Hold, StoreFault, WritesHeld};

/// What the new process is told on its command line.
const TAKE_OVER: &str = "--take-over";
/// How long the new process may take to read and check everything: nobody waits for it.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long it may take to load the sessions: new connections wait for it, and everybody who would log in.
const SERVING_MAX: Duration = Duration::from_secs(30);
/// How long requests that may write may take to end: they read no form any more, wait for no client, and for a provider no
/// longer than twenty seconds (`portal::sso::callback`).
const QUIET_MAX: Duration = Duration::from_secs(30);
/// How long a process that was killed may take to be gone: one that waits for a disk stays for as long as that takes.
const KILLED_MAX: Duration = Duration::from_secs(10);
/// How long a hand-over that is given up may take to leave everything as it was.
const SETTLED_MAX: Duration = Duration::from_secs(20);
/// The first file descriptor that is handed to it (`sd_listen_fds(3)`).
const FIRST_FD: i32 = 3;

const READY: &str = "ready";
const GO: &str = "go";
const SERVING: &str = "serving";

/// Listening sockets that this process was started with: by its predecessor, or by systemd's socket activation.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<(SocketAddr, std::net::TcpListener)>,
    unix: Vec<(PathBuf, std::os::unix::net::UnixListener)>,
}

impl Inherited {
    /// Takes them from the environment, which is changed: before any thread is started.
    pub fn take() -> Self {
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for at in 0..given.len() {
            if let Ok(Some(listener)) = given.take_tcp_listener(at)
                && let Ok(address) = listener.local_addr()
            {
                inherited.tcp.push((address, listener));
            } else if let Ok(Some(listener)) = given.take_unix_listener(at)
                && let Some(path) =
                    listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()))
            {
                inherited.unix.push((path, listener));
            }
        }
        inherited
    }

    /// Where the others listen that nobody asked for.
    pub(super) fn left(&self) -> Vec<String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        tcp.chain(self.unix.iter().map(|(path, _)| path.display().to_string())).collect()
    }

    /// The one that listens on `address`.
    pub(super) fn tcp(&mut self, address: SocketAddr) -> Option<std::net::TcpListener> {
        let at = self.tcp.iter().position(|(known, _)| *known == address)?;
        Some(self.tcp.swap_remove(at).1)
    }

    /// The one that listens on `path`.
    pub(super) fn unix(&mut self, path: &Path) -> Option<std::os::unix::net::UnixListener> {
        let at = self.unix.iter().position(|(known, _)| known == path)?;
        Some(self.unix.swap_remove(at).1)
    }
}

/// The process that started this one to take over from it.
#[derive(Debug)]
pub struct Predecessor(());

/// It broke off, or is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "{TAKE_OVER} is for a process that zonegate starts itself (`zonegate upgrade`); the one that did has gone"
)]
pub struct PredecessorGone;

impl Predecessor {
    /// For a process that was told `--take-over`.
    pub const fn of_this_process() -> Self {
        Self(())
    }

    /// Everything is checked; returns once the store at this path is ours.
    pub(super) fn await_turn(&self, store_path: &Path) -> Result<(), PredecessorGone> {
        say(&ready(store_path))?;
        let mut word = String::new();
        std::io::stdin().lock().read_line(&mut word).map_err(|_| PredecessorGone)?;
        if word.trim_end() == GO { Ok(()) } else { Err(PredecessorGone) }
    }

    /// Connections are accepted.
    pub(super) fn serving(&self) -> Result<(), PredecessorGone> {
        say(SERVING)
    }
}

/// What the new process says first: that it could serve, and from which store.
fn ready(store_path: &Path) -> String {
    format!("{READY} {}", store_path.display())
}

fn say(word: &str) -> Result<(), PredecessorGone> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").and_then(|()| out.flush()).map_err(|_| PredecessorGone)
}

/// Whether it is this process's turn to answer what may write to the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    over: Arc<AtomicBool>,
    taken: Arc<RwLock<()>>,
}

impl Turn {
    /// A turn that is held for as long as the guard lives; waits while a hand-over is tried. `None` once another process
    /// has taken over.
    pub(super) async fn take(&self) -> Option<OwnedRwLockReadGuard<()>> {
        let turn = Arc::clone(&self.taken).read_owned().await;
        (!self.is_over()).then_some(turn)
    }

    /// Whether another process has taken over.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// What handing over takes.
pub(super) struct Handover {
    pub(super) in_use: InUse,
    pub(super) acceptor: Arc<Acceptor>,
    pub(super) turn: Turn,
    /// `None` once another process has it.
    pub(super) hold: Mutex<Option<Hold>>,
    /// Copies of the listening sockets.
    pub(super) sockets: Vec<OwnedFd>,
    /// This program, wherever it was started from.
    pub(super) program: PathBuf,
    /// Turns true once another process serves.
    pub(super) done: watch::Sender<bool>,
    /// Turns true when connections are to end with the request that they carry.
    pub(super) stop: watch::Sender<bool>,
}

impl Handover {
    /// Whether this process was told to stop, and none has taken over: whoever asks then may just have missed that one.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow() && !self.turn.is_over()
    }

    /// Starts the program anew and lets it take over, or says why it did not.
    pub(super) async fn hand_over(&self) -> Result<String, Unchanged> {
        let mut hold = self.hold.lock().await;
        if hold.is_none() {
            return Err(Unchanged::Wrong("another process has the store already: ask that one".into()));
        }
        if *self.stop.borrow() {
            return Err(told_to_stop());
        }
        let mut successor = Successor::start(&self.program, &self.sockets).map_err(failed)?;
        let store_path = self.in_use.load().settings.store_path.clone();
        self.unless_stopped(successor.expect(&ready(&store_path), READY_MAX)).await?;
        // From here on nothing that may write begins, and everything that has begun ends. New connections are still taken: a
        // request that may write waits, and any other is forwarded.
        let quiet = async {
            let quiet = tokio::time::timeout(QUIET_MAX, self.turn.taken.write()).await;
            quiet.map_err(|_| failed(format_args!("requests that may write have not ended in {QUIET_MAX:?}")))
        };
        let turn = match self.unless_stopped(quiet).await {
            Ok(turn) => turn,
            Err(why) => {
                successor.kill().await;
                return Err(why);
            }
        };
        self.acceptor.pause();
        match self.give(&mut successor, &mut hold).await {
            Ok(writes) => {
                self.end();
                drop(turn);
                writes.for_good().await;
                let number = successor.let_live();
                tracing::info!(process = number, "another process has taken over");
                tell_systemd(number);
                Ok(format!("Process {number} has taken over; this one ends with its last connection."))
            }
            Err(why) => {
                successor.kill().await;
                if hold.is_none() {
                    match self.take_back().await {
                        Ok(again) => *hold = Some(again),
                        Err(fault) => {
                            // Somebody else has it by now, and two that write would each count slots of their own.
                            tracing::error!(%fault, "the store could not be taken back: this process ends");
                            self.end();
                            return Err(failed(fault));
                        }
                    }
                }
                self.acceptor.go_on();
                Err(why)
            }
        }
    }

    /// The same, unless this process is told to stop meanwhile.
    async fn unless_stopped<T>(&self, step: impl Future<Output = Result<T, Unchanged>>) -> Result<T, Unchanged> {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(told_to_stop()),
            outcome = step => outcome,
        }
    }

    /// Returns once no hand-over is under way. After `stop`, which gives up the one that is.
    pub(super) async fn settled(&self) {
        if tokio::time::timeout(SETTLED_MAX, self.hold.lock()).await.is_err() {
            tracing::error!("a hand-over that was given up has not ended in {SETTLED_MAX:?}");
        }
    }

    /// From here on this process only ends what it has begun.
    fn end(&self) {
        self.turn.over.store(true, Ordering::Release);
        self.in_use.load().portal.sessions.hand_over();
        self.stop.send_replace(true);
        self.done.send_replace(true);
    }

    /// The store again, once the process that had it is quite gone.
    async fn take_back(&self) -> Result<Hold, StoreFault> {
        let path = self.in_use.load().settings.store_path.clone();
        let mut interval = tokio::time::interval(Duration::from_millis(100));
        let mut tries = 50;
        loop {
            interval.tick().await;
            tries -= 1;
            match store::hold(&path) {
                Err(StoreFault::InUse(..)) if tries > 0 => {}
                outcome => return outcome,
            }
        }
    }

    /// Lets go of the store, and waits until the successor serves from it.
    async fn give(&self, successor: &mut Successor, hold: &mut Option<Hold>) -> Result<WritesHeld, Unchanged> {
        let portal = Arc::clone(&self.in_use.load().portal);
        portal.sessions.flush().await.map_err(failed)?;
        let writes = portal.store.hold_writes().await.map_err(failed)?;
        drop(hold.take());
        let taken = async {
            successor.tell(GO).await?;
            successor.expect(SERVING, SERVING_MAX).await
        };
        match self.unless_stopped(taken).await {
            Ok(()) => Ok(writes),
            Err(why) => {
                // It may have served before it ended, and what it acknowledged holds.
                successor.kill().await;
                drop(writes);
                portal.sessions.catch_up().await.map_err(failed)?;
                Err(why)
            }
        }
    }
}

fn failed(fault: impl std::fmt::Display) -> Unchanged {
    Unchanged::Failed(format!("nothing has changed: {fault}"))
}

fn told_to_stop() -> Unchanged {
    failed("zonegate was told to stop")
}

/// The new process, as the old one sees it.
struct Successor {
    child: Child,
    number: u32,
    to: ChildStdin,
    from: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Successor {
    fn start(program: &Path, sockets: &[OwnedFd]) -> std::io::Result<Self> {
        // The first is the program.
        let arguments: Vec<OsString> = std::env::args_os().skip(1).filter(|word| word != TAKE_OVER).collect();
        let mut command = std::process::Command::new(program);
        command.args(arguments).arg(TAKE_OVER).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("LISTEN_FDS", sockets.len().to_string()).env_remove("LISTEN_PID");
        let handed = sockets.iter().zip(FIRST_FD..);
        let handed = handed.map(|(socket, child_fd)| Ok(FdMapping { parent_fd: socket.try_clone()?, child_fd }));
        let handed = handed.collect::<std::io::Result<Vec<_>>>()?;
        command.fd_mappings(handed).map_err(std::io::Error::other)?;
        // It ends with us for as long as it is not the one that serves.
        let mut child = Command::from(command).kill_on_drop(true).spawn()?;
        let missing = || std::io::Error::other("the new process has no pipes");
        let (to, from) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        let number = child.id().unwrap_or_default();
        Ok(Self { child, number, to, from: BufReader::new(from).lines() })
    }

    /// It goes on when this process ends. Its number.
    fn let_live(self) -> u32 {
        // Nothing else keeps a child that is to be killed with its handle from that.
        std::mem::forget(self.child);
        self.number
    }

    async fn tell(&mut self, word: &str) -> Result<(), Unchanged> {
        self.to.write_all(format!("{word}\n").as_bytes()).await.map_err(failed)
    }

    async fn expect(&mut self, word: &str, allowed: Duration) -> Result<(), Unchanged> {
        match tokio::time::timeout(allowed, self.from.next_line()).await {
            Ok(Ok(Some(said))) if said == word => Ok(()),
            Ok(Ok(Some(said))) if said.starts_with(READY) && word.starts_with(READY) => {
                let path = said.trim_start_matches(READY).trim();
                Err(Unchanged::Wrong(format!(
                    "nothing has changed: store.path is {path} by now, and another store cannot be taken over: restart \
                     zonegate, or take the change back"
                )))
            }
            Ok(Ok(None)) => Err(Unchanged::Wrong(
                "nothing has changed: the new process has ended before it was ready, and the log says why".into(),
            )),
            Ok(Ok(Some(said))) => Err(failed(format_args!("the new process said {said:?} in place of {word:?}"))),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed(format_args!("the new process has not said {word:?} in {allowed:?}"))),
        }
    }

    async fn kill(&mut self) {
        // It may be gone already.
        let _ = tokio::time::timeout(KILLED_MAX, self.child.kill()).await;
    }
}

/// The service's main process is another one from here on.
fn tell_systemd(number: u32) {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::MainPid(number)]) {
        tracing::warn!(%error, "systemd was not told of the new process");
    }
}
