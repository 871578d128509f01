//! One line a request, formatted on a thread of its own.
//!
//! The request hands over a record of fixed fields through a bounded channel. When the writer cannot keep up,
//! records are dropped and counted, never waited for. A record has no field for a query, cookie or token (K1).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::base::{RequestId, UnixTime};
use crate::session::Session;
use crate::telemetry::Snippet;
use crate::zone::Zone;

const WAITING_MAX: usize = 8192;

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
    pub(super) took: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// Where records go.
#[derive(Debug)]
pub(super) struct AccessLog {
    queue: Option<SyncSender<Record>>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Starts the writer, unless no log is wanted.
    pub(super) fn start(wanted: bool) -> std::io::Result<Self> {
        let dropped = AtomicU64::new(0);
        if !wanted {
            return Ok(Self { queue: None, dropped });
        }
        let (queue, records) = sync_channel::<Record>(WAITING_MAX);
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            for record in records {
                write(&record);
            }
        })?;
        Ok(Self { queue: Some(queue), dropped })
    }

    /// Whether records are wanted: building one costs an allocation.
    pub(super) const fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    pub(super) fn write(&self, record: Record) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(record) {
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

fn write(record: &Record) {
    let path = Snippet::of(&String::from_utf8_lossy(&record.path));
    let session = record.session.as_ref();
    tracing::info!(
        target: "access",
        at = %record.at,
        request = %record.request,
        zone = record.zone.as_ref().map(|zone| zone.host.as_str()),
        user = session.map(|session| tracing::field::display(session.record.user)),
        session = session.map(|session| tracing::field::display(session.record.id)),
        address = record.address.map(tracing::field::display),
        method = %record.method,
        path = path.as_str(),
        status = record.status,
        decision = record.decision,
        reason = record.reason,
        micros = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
        bytes_in = record.bytes_in,
        bytes_out = record.bytes_out,
    );
}
