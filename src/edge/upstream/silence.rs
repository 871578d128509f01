//! How long an application may be silent, and how long a connection to it is kept, held by one sweep over all connections.
//!
//! *Why not pingora's limits?* They are timers: two or three for each request, which is the dearest thing that a gateway
//! adds to it after the application's head. Here a request stores a number when something is heard, and four times a second
//! all numbers are looked at; a connection that is late is shut down by a second handle, and whoever reads it sees its end.
//! pingora has one limit for an answer's head and its body besides, where a zone may have two. Over HTTP/2 one connection
//! carries many requests and cannot be ended for the sake of one: there, its timers it is.
//!
//! *And where nobody listens?* A client that takes nothing, or gives its stream no window, keeps us from reading, or from
//! telling what was read. So the system is asked of a connection that is late: for bytes that nobody has read, and for when
//! the last ones came. (Of Unix sockets it knows only the former. A stream over HTTP/2 has pings that say nothing of the
//! application; there what was told is all that counts.)
//!
//! *Why a word with turns?* A connection must not be cut in the moment in which its answer comes, goes back to the pool and
//! fails the next request. Whose turn it is, when it is late, and whether it was cut is one atomic value, which is changed
//! only by whoever has seen its last state.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::protocols::l4::ext::get_tcp_info;
use pingora::protocols::raw_connect::ProxyDigest;
use socket2::{SockRef, Socket};

use crate::base::Ttl;
use crate::zone::UpstreamLimits;

/// How often all connections are looked at, in milliseconds. Nobody is cut early, and nobody more than one such step late.
const SWEEP_MS: u64 = 250;

/// The connections to applications that carry one request at a time: all over HTTP/1, and those of streams over HTTP/2.
#[derive(Debug, Default)]
pub(in crate::edge) struct Silences {
    /// Each sweep adds [`SWEEP_MS`], however much has passed. Were a late sweep to add all of it, applications would be cut
    /// for a delay of ours.
    now_ms: Arc<AtomicU64>,
    open: Mutex<Vec<Weak<Line>>>,
}

impl Silences {
    /// A connection was made. Errors when there is no handle left for it.
    pub(super) fn open(&self, connection: impl AsFd, speaks_http2: bool) -> io::Result<Arc<Line>> {
        let handle = SockRef::from(&connection).try_clone()?;
        let word = AtomicU64::new(Word::NEW.0);
        let now_ms = Arc::clone(&self.now_ms);
        let line = Arc::new(Line { handle, speaks_http2, now_ms, word, allowed_ms: AtomicU64::new(0) });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&line));
        Ok(line)
    }

    /// Looks at all connections, for ever.
    pub(in crate::edge) async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(Duration::from_millis(SWEEP_MS));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.sweep(self.now_ms.load(Ordering::Relaxed).saturating_add(SWEEP_MS));
        }
    }

    fn sweep(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|line| {
            let Some(line) = line.upgrade() else { return false };
            line.sweep(now_ms);
            true
        });
    }
}

/// One connection to an application: a second handle to it, and until when something must be heard.
#[derive(Debug)]
pub(in crate::edge) struct Line {
    handle: Socket,
    /// Its pings say nothing of the application: what the system has last received does not count.
    speaks_http2: bool,
    now_ms: Arc<AtomicU64>,
    word: AtomicU64,
    /// How long the application may be silent now.
    allowed_ms: AtomicU64,
}

/// The state of a line. Low 16 bits: whose turn it is; an even number is nobody's. Above them: the millisecond at which it is
/// late.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Word(u64);

impl Word {
    const TURN_BITS: u32 = 16;
    /// It was cut.
    const CUT: Self = Self(u64::MAX);
    /// A millisecond that never comes. One less than the largest, so that with no turn it makes [`Word::CUT`].
    const NEVER: u64 = (u64::MAX >> Self::TURN_BITS) - 1;
    /// It is nobody's turn, and it is never late.
    const NEW: Self = Self::of(0, Self::NEVER);

    const fn of(turn: u16, due: u64) -> Self {
        let due = if due < Self::NEVER { due } else { Self::NEVER };
        Self(due << Self::TURN_BITS | turn as u64)
    }

    const fn turn(self) -> u16 {
        (self.0 & u16::MAX as u64) as u16
    }

    const fn due(self) -> u64 {
        self.0 >> Self::TURN_BITS
    }

    const fn is_nobodys(self) -> bool {
        self.turn().is_multiple_of(2)
    }

    /// The turn of whoever comes next.
    const fn next_turn(self) -> u16 {
        self.turn().wrapping_add(1) | 1
    }
}

impl Line {
    /// The one that belongs to a connection of the pool.
    pub(in crate::edge) fn of(digest: &Digest) -> Option<Arc<Self>> {
        digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref().cloned()
    }

    /// Lays it where [`Line::of`] finds it: the one place of a connection that is given back with each of its requests.
    pub(super) fn digest(self: Arc<Self>) -> pingora::Result<ProxyDigest> {
        let nothing = ResponseHeader::build(http::StatusCode::OK, None)?;
        Ok(ProxyDigest::new(Box::new(nothing), Some(Box::new(self))))
    }

    /// A request goes over it from now on. `None` when it has just been cut, because nobody needed it for too long.
    pub(in crate::edge) fn listen(self: Arc<Self>, patience: Patience) -> Option<Listening> {
        let due = self.after(patience.first_byte_ms);
        let turn = self.change(|word| (word != Word::CUT).then(|| Word::of(word.next_turn(), due)))?.next_turn();
        self.allowed_ms.store(patience.first_byte_ms, Ordering::Relaxed);
        Some(Listening { line: self, turn, patience, endless: false })
    }

    /// Ends it, for whoever reads or writes.
    pub(in crate::edge) fn shut_down(&self) {
        // An error means that the other side was faster.
        let _ = self.handle.shutdown(Shutdown::Both);
    }

    fn after(&self, wait_ms: u64) -> u64 {
        // The last sweep may lie nearly a step back, and nobody is cut early.
        self.now_ms.load(Ordering::Relaxed).saturating_add(SWEEP_MS).saturating_add(wait_ms)
    }

    /// Returns the state before, or `None` where `next` did not want to change it.
    fn change(&self, next: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let next = |word| next(Word(word)).map(|next| next.0);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok().map(Word)
    }

    fn sweep(&self, now_ms: u64) {
        let seen = Word(self.word.load(Ordering::Acquire));
        if seen == Word::CUT || seen.due() > now_ms {
            return;
        }
        let next = match self.grace(seen) {
            0 => Word::CUT,
            left => Word::of(seen.turn(), self.after(left)),
        };
        if self.change(|word| (word == seen).then_some(next)).is_some() && next == Word::CUT {
            self.shut_down();
        }
    }

    /// For how many milliseconds more it may be silent, because the application has said what nobody has told of yet.
    fn grace(&self, seen: Word) -> u64 {
        if self.speaks_http2 || seen.is_nobodys() {
            return 0;
        }
        let allowed = self.allowed_ms.load(Ordering::Relaxed);
        match self.handle.peek(&mut [MaybeUninit::uninit()]) {
            // Its end is something, too.
            Ok(_) => allowed,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let last = get_tcp_info(self.handle.as_raw_fd()).map(|info| u64::from(info.tcpi_last_data_recv));
                last.map_or(0, |last| allowed.saturating_sub(last))
            }
            // `peek` has taken the error from the socket: whoever reads next would see a good end, so it must count as cut.
            Err(_) => 0,
        }
    }
}

/// How long an application may be silent, and its connection unused.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Patience {
    first_byte_ms: u64,
    silence_ms: u64,
    idle_ms: u64,
}

impl Patience {
    pub(in crate::edge) fn of(limits: &UpstreamLimits) -> Self {
        let milliseconds = |ttl: Ttl| u64::from(ttl.seconds()) * 1000;
        Self {
            first_byte_ms: milliseconds(limits.within_request(limits.first_byte_max)),
            silence_ms: milliseconds(limits.within_request(limits.read_max)),
            idle_ms: milliseconds(limits.idle_max),
        }
    }
}

/// The connection was cut because the application kept still.
#[derive(Debug)]
pub(in crate::edge) struct TooSilent;

/// A request's turn on a line. Dropped, it gives the connection the time that an unused one is kept.
#[derive(Debug)]
pub(in crate::edge) struct Listening {
    line: Arc<Line>,
    turn: u16,
    patience: Patience,
    endless: bool,
}

impl Listening {
    /// Something has passed, in either direction, while the answer's head is awaited. Errors when it comes too late: the
    /// connection is gone.
    pub(in crate::edge) fn heard(&self) -> Result<(), TooSilent> {
        self.put_off(self.patience.first_byte_ms)
    }

    /// The same, once the answer has begun.
    pub(in crate::edge) fn heard_of_answer(&self) -> Result<(), TooSilent> {
        self.put_off(self.patience.silence_ms)
    }

    /// The application has answered with a stream: from here on silence is no fault.
    pub(in crate::edge) fn mark_endless(&mut self) {
        // If it was cut, the next read says so.
        let _ = self.put_off(Word::NEVER);
        self.endless = true;
    }

    /// Whether it was cut because the application kept still.
    pub(in crate::edge) fn was_cut(&self) -> bool {
        Word(self.line.word.load(Ordering::Acquire)) == Word::CUT
    }

    fn put_off(&self, wait_ms: u64) -> Result<(), TooSilent> {
        if self.endless {
            return Ok(());
        }
        self.change(self.turn, wait_ms)?;
        self.line.allowed_ms.store(wait_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Errors where it was cut, or is somebody else's turn by now.
    fn change(&self, next_turn: u16, wait_ms: u64) -> Result<(), TooSilent> {
        let due = self.line.after(wait_ms);
        let later = |word: Word| (word != Word::CUT && word.turn() == self.turn).then(|| Word::of(next_turn, due));
        self.line.change(later).map(drop).ok_or(TooSilent)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // An error: it was cut, or is another request's by now.
        let _ = self.change(self.turn.wrapping_add(1), self.patience.idle_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    const SECOND: u64 = 1000;

    /// A connection of the gateway's, its line, and the application's side of it.
    struct Bench {
        silences: Silences,
        ours: UnixStream,
        line: Arc<Line>,
        application: UnixStream,
    }

    impl Bench {
        fn new() -> Self {
            let (ours, application) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let silences = Silences::default();
            let line = silences.open(&ours, false).unwrap();
            Self { silences, ours, line, application }
        }

        fn listen(&self) -> Option<Listening> {
            Arc::clone(&self.line).listen(Patience {
                first_byte_ms: 10 * SECOND,
                silence_ms: 5 * SECOND,
                idle_ms: 20 * SECOND,
            })
        }

        /// Sweeps as at that time; whether the connection is there afterwards.
        fn lives_at(&mut self, milliseconds: u64) -> bool {
            self.silences.sweep(milliseconds);
            let is_cut = self.line.word.load(Ordering::Relaxed) == Word::CUT.0;
            if is_cut {
                assert_eq!(self.application.read(&mut [0]).unwrap(), 0, "it is shut down");
            }
            !is_cut
        }
    }

    #[test]
    fn an_answers_head_its_body_and_what_comes_between_requests_have_limits_of_their_own() {
        // The limit, and what is done at its beginning.
        type Step = fn(Listening) -> Option<Listening>;
        let answers: Step = |listening| {
            listening.heard_of_answer().unwrap();
            Some(listening)
        };
        let steps: [(u64, Step); 3] = [(10, Some), (5, answers), (20, |_over| None)];
        for (seconds, step) in steps {
            let mut bench = Bench::new();
            let at = 7 * SECOND;
            assert!(bench.lives_at(at));
            let held = step(bench.listen().unwrap());
            assert!(bench.lives_at(at + seconds * SECOND), "never early: the clock stands between sweeps");
            assert!(!bench.lives_at(at + seconds * SECOND + SWEEP_MS));
            if let Some(listening) = held {
                assert!(listening.was_cut());
                assert!(listening.heard().is_err() && listening.heard_of_answer().is_err());
            }
            assert!(bench.listen().is_none(), "and nobody is given it again");
        }
    }

    #[test]
    fn what_is_heard_puts_the_end_off() {
        let mut bench = Bench::new();
        let listening = bench.listen().unwrap();
        for second in 0..40 {
            assert!(bench.lives_at(second * SECOND));
            listening.heard_of_answer().unwrap();
        }
    }

    #[test]
    fn a_connection_that_nobody_has_used_is_never_late() {
        assert!(Bench::new().lives_at(Word::NEVER - 1));
    }

    #[test]
    fn a_stream_may_be_silent_for_ever() {
        let mut bench = Bench::new();
        let mut listening = bench.listen().unwrap();
        listening.mark_endless();
        assert!(bench.lives_at(1000 * SECOND));
        listening.heard().unwrap();
        assert!(bench.lives_at(Word::NEVER - 1), "whatever is said on it");
    }

    #[test]
    fn what_nobody_has_read_is_no_silence() {
        let mut bench = Bench::new();
        let listening = bench.listen().unwrap();
        listening.heard_of_answer().unwrap();
        bench.application.write_all(b"x").unwrap();
        assert!(bench.lives_at(100 * SECOND), "the client takes nothing");
        bench.ours.read_exact(&mut [0]).unwrap();
        assert!(bench.lives_at(105 * SECOND), "the application has a silence's time to go on");
        assert!(!bench.lives_at(106 * SECOND));
        assert!(listening.was_cut());
    }

    #[test]
    fn what_has_just_come_is_no_silence_although_nobody_has_told_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut application, _) = listener.accept().unwrap();
        for (speaks_http2, lives) in [(false, true), (true, false)] {
            let silences = Silences::default();
            let line = silences.open(&ours, speaks_http2).unwrap();
            let patience = Patience { first_byte_ms: 60 * SECOND, silence_ms: 60 * SECOND, idle_ms: 0 };
            let listening = line.listen(patience).unwrap();
            application.write_all(b"x").unwrap();
            ours.read_exact(&mut [0]).unwrap();
            ours.set_nonblocking(true).unwrap();
            silences.sweep(100 * SECOND);
            assert_eq!(!listening.was_cut(), lives);
            ours.set_nonblocking(false).unwrap();
        }
    }

    #[test]
    fn who_had_the_turn_before_does_not_put_off_the_end_of_who_has_it_now() {
        let mut bench = Bench::new();
        let first = bench.listen().unwrap();
        let second = bench.listen().unwrap();
        drop(first);
        assert!(!bench.lives_at(11 * SECOND), "the first one's end would have made it twenty");
        assert!(second.was_cut());
    }

    #[test]
    fn a_turn_is_told_from_the_one_before_however_many_there_were() {
        let bench = Bench::new();
        let turns: Vec<_> = (0..=u32::from(u16::MAX / 2) + 1).map(|_| bench.listen().unwrap().turn).collect();
        assert!(turns.iter().all(|turn| turn % 2 == 1), "whoever has one is somebody");
        assert!(turns.windows(2).all(|two| two[0] != two[1]));
        assert_eq!(bench.listen().unwrap().turn, 3, "they begin again");
        assert_ne!(Word::of(u16::MAX, u64::MAX), Word::CUT);
    }

    #[test]
    fn closed_connections_are_forgotten() {
        let Bench { silences, line, .. } = Bench::new();
        drop(line);
        silences.sweep(1);
        assert!(silences.open.lock().unwrap().is_empty());
    }
}
