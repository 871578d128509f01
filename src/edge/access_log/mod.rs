//! One line a request, formatted and written on a thread of its own.
//!
//! The request hands over a record of fixed fields through a bounded channel. When the writer cannot keep up, or the
//! disk takes no more, lines are lost, never waited for: a request must not stand still because a disk does. They are
//! counted where monitoring sees it, and the writer says so. A record has no field for a query, cookie or token (K1).
//!
//! The writer looks twenty times a second and writes what has come with one call. *Why does it not wait for each
//! record?* Then each request would have to wake it, and a line of its own would be a call of its own: two system
//! calls a request, more than the rest of a signed-in request costs.
//!
//! *Why does the writer tell of lost lines, and not the request that lost one?* What the program says goes to standard
//! error, and where that stands still, whoever says something does too.

mod lines;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use self::lines::Formatter;
use crate::base::{RequestId, UnixTime};
use crate::config::LogSettings;
use crate::machine::Stopwatch;
use crate::portal::metrics::{LostLine, LostLines, Metrics};
use crate::session::Session;
use crate::zone::Zone;

/// Room for what comes between two looks: 160,000 requests a second.
const WAITING_MAX: usize = 8192;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So much text is written at once.
const TEXT_BYTES: usize = 64 * 1024;
/// Lost lines are told of once in this time.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The longest method that is shown, in bytes: as long as one that is passed on may be.
const METHOD_BYTES_MAX: usize = 32;
/// How much of a path waits to be written: what either form of a line shows of it, and enough beyond to see that it was cut.
const PATH_BYTES_MAX: usize = 520;

/// A method as a record has it: one that is longer than what is shown ends one byte later, which says so. A client's own can
/// be as long as a whole head, and with a disk that stands still eight thousand of them wait.
pub(super) fn method(sent: &http::Method) -> http::Method {
    match sent.as_str().as_bytes().get(..=METHOD_BYTES_MAX) {
        None => sent.clone(),
        // The beginning of a token is one.
        Some(beginning) => http::Method::from_bytes(beginning).unwrap_or_else(|_| sent.clone()),
    }
}

/// A path as a record has it: without the query, which belongs into no log, and no longer than can be shown.
pub(super) fn path(target: &[u8]) -> Box<[u8]> {
    let path = without_query(target);
    path.get(..PATH_BYTES_MAX).unwrap_or(path).into()
}

/// What is in front of the query.
pub(super) fn without_query(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// What is known of a request when it is over.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: UnixTime,
    pub(super) request: RequestId,
    pub(super) zone: Option<Arc<Zone>>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) address: Option<IpAddr>,
    /// As [`method`] has it.
    pub(super) method: http::Method,
    /// As [`path`] has it.
    pub(super) path: Box<[u8]>,
    pub(super) status: u16,
    pub(super) decision: &'static str,
    pub(super) reason: Option<&'static str>,
    /// The name of the zone's rule that decided.
    pub(super) rule: Option<Arc<str>>,
    pub(super) took: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// What a combined line has beside the rest; `None` for a line in JSON.
    pub(super) combined: Option<Box<Combined>>,
}

/// What only a combined line shows.
#[derive(Debug)]
pub(super) struct Combined {
    version: http::Version,
    referer: Option<Box<[u8]>>,
    agent: Option<Box<[u8]>>,
}

/// Where records go.
#[derive(Clone, Debug)]
pub(super) struct AccessLog {
    queue: SyncSender<Record>,
    lost: LostLines,
}

/// The thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    orders: Redirect,
    thread: JoinHandle<()>,
}

/// Where the writer is told to write elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Redirect(Sender<Order>);

/// What lines are written into, open.
pub(super) struct Opened(Box<dyn Write + Send>);

enum Order {
    Into(Opened),
    Stop,
}

impl Opened {
    /// Where these settings want lines. A file is added to, and made with mode 0640 where there is none: lines name
    /// people and what they do.
    ///
    /// Errors: the file cannot be opened.
    pub(super) fn of(settings: &LogSettings) -> io::Result<Self> {
        let Some(path) = &settings.access_file else { return Ok(Self(Box::new(io::stderr()))) };
        let file: File = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        Ok(Self(Box::new(file)))
    }
}

impl Redirect {
    /// From here on lines go there; those that are on their way still go where they would have.
    pub(super) fn turn_to(&self, opened: Opened) {
        // A writer that is gone has nothing left to write.
        let _ = self.0.send(Order::Into(opened));
    }
}

impl AccessLog {
    /// Starts the writer, also where no log is wanted: a reload may want one.
    pub(super) fn start(into: Opened, metrics: &Metrics) -> io::Result<(Self, Writer)> {
        let [full, unwritten] = [LostLine::QueueFull, LostLine::NotWritten].map(|why| metrics.lost_lines(why));
        let (queue, records) = sync_channel(WAITING_MAX);
        let lost = Lost { full: full.clone(), unwritten, told: 0, told_at: None };
        let writer = Writer::start(records, Lines::new(into.0, lost))?;
        Ok((Self { queue, lost: full }, writer))
    }

    pub(super) fn write(&self, record: Record) {
        match self.queue.try_send(record) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost.add(1),
        }
    }
}

impl Writer {
    fn start(records: Receiver<Record>, lines: Lines) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let thread = std::thread::Builder::new().name("access-log".into());
        let thread = thread.spawn(move || run(&records, &ordered, lines))?;
        Ok(Self { orders: Redirect(orders), thread })
    }

    /// Where it is told to write elsewhere.
    pub(super) fn redirect(&self) -> Redirect {
        self.orders.clone()
    }

    /// Waits until every record that was handed over is written.
    pub(super) fn finish(self) {
        let Self { orders: Redirect(orders), thread } = self;
        // A writer that panicked has nothing left to write.
        let _ = orders.send(Order::Stop);
        let _ = thread.join();
    }
}

fn run(records: &Receiver<Record>, orders: &Receiver<Order>, mut lines: Lines) {
    loop {
        let order = orders.recv_timeout(LOOK_EVERY);
        records.try_iter().for_each(|record| lines.add(&record));
        lines.flush();
        lines.tell();
        match order {
            Ok(Order::Into(Opened(out))) => lines.turn_to(out),
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Lines on their way out.
struct Lines {
    out: Box<dyn Write + Send>,
    formatter: Formatter,
    text: Vec<u8>,
    /// The last call ended in the middle of a line.
    cut: bool,
    lost: Lost,
    fault: Option<io::Error>,
}

/// What was lost, and what of it was said.
struct Lost {
    full: LostLines,
    unwritten: LostLines,
    told: u64,
    told_at: Option<Stopwatch>,
}

impl Lines {
    fn new(out: Box<dyn Write + Send>, lost: Lost) -> Self {
        let text = Vec::with_capacity(TEXT_BYTES);
        Self { out, formatter: Formatter::new(), text, cut: false, lost, fault: None }
    }

    fn add(&mut self, record: &Record) {
        if self.cut && self.text.is_empty() {
            // What was left of a line stands alone, and the next one is whole.
            self.text.push(b'\n');
        }
        self.formatter.add(record, &mut self.text);
        if self.text.len() >= TEXT_BYTES {
            self.flush();
        }
    }

    /// Whole lines in one call, so that no other line of the program lands inside one.
    fn flush(&mut self) {
        if self.text.is_empty() {
            return;
        }
        match write_whole(&mut self.out, &self.text) {
            Ok(()) => self.cut = false,
            Err((written, error)) => {
                let (gone, rest) = self.text.split_at_checked(written).unwrap_or((&self.text, &[]));
                self.cut = gone.last().map_or(self.cut, |last| *last != b'\n');
                self.lost
                    .unwritten
                    .add(rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64);
                self.fault = Some(error);
            }
        }
        self.text.clear();
    }

    fn turn_to(&mut self, out: Box<dyn Write + Send>) {
        self.out = out;
        self.cut = false;
    }

    fn tell(&mut self) {
        let (full, unwritten) = (self.lost.full.count(), self.lost.unwritten.count());
        let due = self.lost.told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY);
        if full + unwritten == self.lost.told || !due {
            return;
        }
        let fault = self.fault.take().map(|fault| fault.to_string());
        tracing::error!(
            queue_full = full,
            not_written = unwritten,
            fault,
            "lines of the access log were lost; the numbers are those since the start"
        );
        self.lost.told = full + unwritten;
        self.lost.told_at = Some(Stopwatch::start());
    }
}

/// Errors with how many bytes were written before.
fn write_whole(out: &mut dyn Write, text: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples;

    /// Passes on what was written at once, as long as there is room for it.
    struct Pipe {
        to: Sender<String>,
        room: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.to.send(String::from_utf8(bytes[..taken].to_vec()).unwrap()).unwrap();
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe(room: usize) -> (Box<Pipe>, Receiver<String>) {
        let (to, written) = channel();
        (Box::new(Pipe { to, room }), written)
    }

    fn lost() -> Lost {
        Lost { full: LostLines::default(), unwritten: LostLines::default(), told: 0, told_at: None }
    }

    pub(super) fn record(path: &str) -> Record {
        Record {
            at: samples::START,
            request: RequestId::from_bytes([0xab; 16]),
            zone: Some(Arc::new(samples::zone("a.example"))),
            session: None,
            address: Some(IpAddr::from([192, 0, 2, 1])),
            method: http::Method::GET,
            path: super::path(path.as_bytes()),
            status: 200,
            decision: "forward",
            reason: None,
            rule: Some("access[2]".into()),
            took: Duration::from_micros(1234),
            bytes_in: 0,
            bytes_out: 7,
            combined: None,
        }
    }

    #[test]
    fn what_was_handed_over_is_written_before_the_end_and_together() {
        let (out, written) = pipe(usize::MAX);
        let (queue, records) = sync_channel(8);
        let writer = Writer::start(records, Lines::new(out, lost())).unwrap();
        let log = AccessLog { queue, lost: LostLines::default() };
        ["/1", "/2", "/3"].into_iter().for_each(|path| log.write(record(path)));
        writer.finish();
        let text: Vec<String> = written.try_iter().collect();
        assert_eq!(text.concat().lines().count(), 3);
        assert_eq!(log.lost.count(), 0);
    }

    #[test]
    fn what_came_before_it_was_told_to_write_elsewhere_goes_where_it_would_have() {
        let ((old, before), (new, after)) = (pipe(usize::MAX), pipe(usize::MAX));
        let (queue, records) = sync_channel(8);
        let log = AccessLog { queue, lost: LostLines::default() };
        log.write(record("/before"));
        let (orders, ordered) = channel();
        orders.send(Order::Into(Opened(new))).unwrap();
        let thread = std::thread::spawn(move || run(&records, &ordered, Lines::new(old, lost())));
        let text = before.recv().unwrap();
        log.write(record("/after"));
        orders.send(Order::Stop).unwrap();
        thread.join().unwrap();
        let rest: String = before.try_iter().chain(after.try_iter()).collect();
        assert!(text.contains("/before") && rest.contains("/after"), "{text}{rest}");
        assert_eq!((text + &rest).lines().count(), 2, "each once");
    }

    #[test]
    fn a_full_log_loses_and_counts_and_never_waits() {
        let (queue, records) = sync_channel(1);
        let log = AccessLog { queue, lost: LostLines::default() };
        ["/1", "/2", "/3"].into_iter().for_each(|path| log.write(record(path)));
        assert_eq!(log.lost.count(), 2);
        drop(records);
    }

    #[test]
    fn d9_a_full_disk_costs_the_lines_that_it_has_no_room_for_and_spoils_none_of_the_others() {
        let mut whole = Vec::new();
        Formatter::new().add(&record("/1"), &mut whole);
        let (out, written) = pipe(whole.len() * 2 - 10);
        let mut lines = Lines::new(out, lost());
        ["/1", "/2", "/3"].into_iter().for_each(|path| lines.add(&record(path)));
        lines.flush();
        assert_eq!(lines.lost.unwritten.count(), 2, "the half one counts");
        assert!(lines.fault.is_some());
        lines.add(&record("/4"));
        lines.flush();
        assert_eq!(lines.lost.unwritten.count(), 3);
        lines.tell();
        assert_eq!((lines.lost.told, lines.fault.is_none()), (3, true), "said once");
        // Somebody made room.
        let (to, later) = channel();
        lines.out = Box::new(Pipe { to, room: usize::MAX });
        lines.add(&record("/5"));
        lines.flush();
        let text: String = written.try_iter().chain(later.try_iter()).collect();
        let read = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).map(|line| line["path"].clone()).ok());
        assert_eq!(read.collect::<Vec<_>>(), [Some("/1".into()), None, Some("/5".into())], "{text}");
    }
}
