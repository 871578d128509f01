//! One line a request, formatted and written on a thread of its own.
//!
//! The request hands over a record of fixed fields through a bounded channel. When the writer cannot keep up,
//! records are dropped and counted, never waited for. A record has no field for a query, cookie or token (K1).
//!
//! The writer looks twenty times a second and writes what has come with one call. *Why does it not wait for each
//! record?* Then each request would have to wake it, and a line of its own would be a call of its own: two system
//! calls a request, more than the rest of a signed-in request costs.

use std::convert::Infallible;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use crate::base::{RequestId, SessionId, UnixTime, UserId};
use crate::session::Session;
use crate::telemetry::Snippet;
use crate::zone::Zone;

/// Room for what comes between two looks: 160,000 requests a second.
const WAITING_MAX: usize = 8192;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So much text is written at once.
const TEXT_BYTES: usize = 64 * 1024;

/// What is known of a request when it is over.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: UnixTime,
    pub(super) request: RequestId,
    pub(super) zone: Option<Arc<Zone>>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) address: Option<IpAddr>,
    pub(super) method: http::Method,
    pub(super) path: Box<[u8]>,
    pub(super) status: u16,
    pub(super) decision: &'static str,
    pub(super) reason: Option<&'static str>,
    /// The name of the zone's rule that decided.
    pub(super) rule: Option<Arc<str>>,
    pub(super) took: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// Where records go.
#[derive(Clone, Debug)]
pub(super) struct AccessLog {
    queue: SyncSender<Record>,
    dropped: Arc<AtomicU64>,
}

/// The thread that writes. Dropped, it still writes what it has; [`Writer::finish`] waits for that.
#[derive(Debug)]
pub(super) struct Writer(Sender<Infallible>, JoinHandle<()>);

impl AccessLog {
    /// Starts the writer to standard error, also where no log is wanted: a reload may want one.
    pub(super) fn start() -> std::io::Result<(Self, Writer)> {
        let (queue, records) = sync_channel(WAITING_MAX);
        let writer = Writer::start(records, std::io::stderr())?;
        Ok((Self { queue, dropped: Arc::default() }, writer))
    }

    pub(super) fn write(&self, record: Record) {
        match self.queue.try_send(record) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed);
                if dropped.is_multiple_of(1000) {
                    tracing::warn!(dropped = dropped + 1, "the access log cannot keep up");
                }
            }
        }
    }
}

impl Writer {
    fn start(records: Receiver<Record>, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("access-log".into());
        let thread = thread.spawn(move || run(&records, &stopped, Lines::new(out)))?;
        Ok(Self(stop, thread))
    }

    /// Waits until every record that was handed over is written.
    pub(super) fn finish(self) {
        let Self(stop, thread) = self;
        drop(stop);
        // A writer that panicked has nothing left to write.
        let _ = thread.join();
    }
}

fn run(records: &Receiver<Record>, stopped: &Receiver<Infallible>, mut lines: Lines<impl Write>) {
    loop {
        let last = stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected);
        records.try_iter().for_each(|record| lines.add(&record));
        lines.flush();
        if last {
            return;
        }
    }
}

/// A line, in the order of its fields; the first three are what the program's other lines begin with.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    level: &'static str,
    target: &'static str,
    request: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    method: &'a str,
    path: &'a str,
    status: u16,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    micros: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// Lines on their way out.
struct Lines<W> {
    out: W,
    text: Vec<u8>,
    /// Many requests end in the same second.
    second: (UnixTime, String),
}

impl<W: Write> Lines<W> {
    fn new(out: W) -> Self {
        let start = UnixTime::from_seconds(0);
        Self { out, text: Vec::with_capacity(TEXT_BYTES), second: (start, start.to_string()) }
    }

    fn add(&mut self, record: &Record) {
        if self.second.0 != record.at {
            self.second = (record.at, record.at.to_string());
        }
        let path = Snippet::of(&String::from_utf8_lossy(&record.path));
        let session = record.session.as_ref().map(|session| &session.record);
        let line = Line {
            timestamp: &self.second.1,
            level: "INFO",
            target: "access",
            request: record.request,
            zone: record.zone.as_ref().map(|zone| zone.host.as_str()),
            user: session.map(|session| session.user),
            session: session.map(|session| session.id),
            address: record.address,
            method: record.method.as_str(),
            path: path.as_str(),
            status: record.status,
            decision: record.decision,
            reason: record.reason,
            rule: record.rule.as_deref(),
            micros: u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        };
        // Fields like these can always be written into memory.
        if serde_json::to_writer(&mut self.text, &line).is_ok() {
            self.text.push(b'\n');
        }
        if self.text.len() >= TEXT_BYTES {
            self.flush();
        }
    }

    /// Whole lines in one call, so that no other line of the program lands inside one.
    fn flush(&mut self) {
        if !self.text.is_empty() {
            // Nobody is left to be told that standard error is closed.
            let _ = self.out.write_all(&self.text);
            self.text.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples;

    /// Passes on what was written at once.
    struct Pipe(Sender<String>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn record(path: &str) -> Record {
        Record {
            at: samples::START,
            request: RequestId::from_bytes([0xab; 16]),
            zone: Some(Arc::new(samples::zone("a.example"))),
            session: None,
            address: Some(IpAddr::from([192, 0, 2, 1])),
            method: http::Method::GET,
            path: path.as_bytes().into(),
            status: 200,
            decision: "forward",
            reason: None,
            rule: Some("access[2]".into()),
            took: Duration::from_micros(1234),
            bytes_in: 0,
            bytes_out: 7,
        }
    }

    #[test]
    fn whatever_the_path_holds_a_request_is_one_line_of_json() {
        let (pipe, written) = channel();
        let mut lines = Lines::new(Pipe(pipe));
        lines.add(&record("/a\"\r\n{}\u{202e}/b"));
        lines.flush();
        let text = written.recv().unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (field, want) in [
            ("timestamp", serde_json::json!(samples::START.to_string())),
            ("target", "access".into()),
            ("request", "ab".repeat(16).into()),
            ("zone", "a.example".into()),
            ("address", "192.0.2.1".into()),
            ("path", "/a\"\\u{d}\\u{a}{}\\u{202e}/b".into()),
            ("status", 200.into()),
            ("rule", "access[2]".into()),
            ("micros", 1234.into()),
            ("bytes_out", 7.into()),
        ] {
            assert_eq!(line[field], want, "{field} in {text}");
        }
        assert!(line.get("user").is_none(), "nobody is no field");
    }

    #[test]
    fn what_was_handed_over_is_written_before_the_end_and_together() {
        let (pipe, written) = channel();
        let (queue, records) = sync_channel(8);
        let writer = Writer::start(records, Pipe(pipe)).unwrap();
        let log = AccessLog { queue, dropped: Arc::default() };
        ["/1", "/2", "/3"].into_iter().for_each(|path| log.write(record(path)));
        writer.finish();
        let text: Vec<String> = written.try_iter().collect();
        assert_eq!(text.concat().lines().count(), 3);
    }

    #[test]
    fn a_full_log_drops_and_counts_and_never_waits() {
        let (queue, records) = sync_channel(1);
        let log = AccessLog { queue, dropped: Arc::default() };
        ["/1", "/2", "/3"].into_iter().for_each(|path| log.write(record(path)));
        assert_eq!(log.dropped.load(Ordering::Relaxed), 2);
        drop(records);
    }
}
