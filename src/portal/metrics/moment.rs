//! What is true at the moment of the question: sessions, queue, store, keys, certificates, the process.
//!
//! Read when it is asked for and printed from a registry of its own, which is gone afterwards: nothing is kept in step
//! with what it tells of, and a certificate that a reload took away is not printed any more.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;
use super::labels::{ClassLabel, KindLabel, NameLabel, OperationLabel, ReasonLabel, VersionLabel};
use super::upstreams::BackendLabels;
use crate::base::UnixTime;
use crate::machine;
use crate::portal::Portal;
use crate::session::Class;
use crate::telemetry::Durations;

/// The numbers of the gateway.
pub(super) fn of_gateway(
    portal: &Portal,
    certificates: &[(String, UnixTime)],
    healthy: Family<BackendLabels, Gauge>,
) -> Registry {
    let mut registry = Registry::with_prefix("zonegate");
    sessions(&mut registry, portal);
    hashing(&mut registry, portal);
    store(&mut registry, portal);
    keys(&mut registry, portal);
    let until = certificates.iter().map(|(name, until)| (NameLabel { name: name.clone() }, until.seconds()));
    registry.register(
        "certificate_expiry_timestamp_seconds",
        "When the certificate that answers for a name ends: seconds since 1970",
        gauges(until),
    );
    registry.register("upstream_healthy", "Addresses of a backend that are taken to be well", healthy);
    let version = VersionLabel { version: env!("CARGO_PKG_VERSION") };
    registry.register("build", "Which zonegate this is", Info::new(version));
    registry
}

fn sessions(registry: &mut Registry, portal: &Portal) {
    let slots = portal.settings.security.slots;
    let census = portal.sessions.census(slots);
    let by_class = |web, mobile| {
        let label = |class: Class| ClassLabel { class: class.name() };
        gauges([(label(Class::Web), web), (label(Class::Mobile), mobile)])
    };
    registry.register("sessions", "Live sessions", by_class(census.web, census.mobile));
    registry.register("session_users", "Users who have a live session", gauge(census.users));
    registry.register(
        "session_users_full",
        "Users who hold as many sessions as they may",
        by_class(census.full_web, census.full_mobile),
    );
    registry.register(
        "session_limit",
        "Sessions that a user may hold",
        by_class(slots.web.get().into(), slots.mobile.get().into()),
    );
    let endings = portal.sessions.endings().map(|(reason, count)| (ReasonLabel { reason: reason.name() }, count));
    registry.register("session_endings", "Sessions that ended, by reason", counters(endings));
}

fn hashing(registry: &mut Registry, portal: &Portal) {
    let verifier = &portal.verifier;
    registry.register("password_hashes", "Passwords that were hashed", counter(verifier.computed()));
    registry.register("password_hash_seconds", "How long hashing one took", histogram(verifier.hash_durations()));
    let waiting = gauge(verifier.busy() as u64);
    registry.register("password_queue", "Passwords that are being hashed or wait for it", waiting);
    let room = gauge(verifier.room() as u64);
    registry.register("password_queue_limit", "How many may be, before log-ins are turned away", room);
}

fn store(registry: &mut Registry, portal: &Portal) {
    let lag = gauge(portal.sessions.lag());
    registry.register("store_lag_seconds", "Since the store was last heard of; beyond 5, all is refused", lag);
    let meter = portal.store.meter();
    registry.register("store_read_seconds", "How long reads of the store took", histogram(&meter.reads));
    registry.register(
        "store_write_seconds",
        "How long writes of the store took, from waiting for their turn to the commit's end",
        histogram(&meter.writes),
    );
    registry.register(
        "store_commit_seconds",
        "How long their commits alone took: what the disk takes",
        histogram(&meter.commits),
    );
    let (reads, writes) = meter.failed();
    let of = |operation| OperationLabel { operation };
    registry.register(
        "store_faults",
        "Reads and writes of the store that failed",
        counters([(of("read"), reads), (of("write"), writes)]),
    );
    let events = meter.events.all().map(|(kind, count)| (KindLabel { kind: kind.name() }, count));
    registry.register("security_events", "Events that this process wrote into the security log", counters(events));
    registry.register(
        "security_events_unwritten",
        "Events of strangers beyond the rate at which they are written",
        counter(portal.strangers.unwritten()),
    );
}

fn keys(registry: &mut Registry, portal: &Portal) {
    let facts = portal.keys.facts();
    registry.register("signing_keys", "Keys that are published", gauge(facts.published));
    registry.register(
        "signing_key_created_timestamp_seconds",
        "When the key that signs was made: seconds since 1970",
        gauge(facts.signing_since.seconds()),
    );
    registry.register("assertions_signed", "Assertions that were signed", counter(facts.signed));
    registry.register("assertion_faults", "Assertions that could not be signed", counter(facts.unsigned));
}

/// The numbers of the process, under the names that every program's dashboard knows. Those of the system are there on
/// Linux only.
pub(super) fn of_process(started_at: UnixTime) -> Registry {
    let mut registry = Registry::with_prefix("process");
    registry.register(
        "start_time_seconds",
        "When the process began: seconds since 1970",
        gauge(started_at.seconds()),
    );
    let Some(process) = machine::process() else { return registry };
    registry.register("resident_memory_bytes", "Memory that it holds", gauge(process.resident_bytes));
    registry.register("open_fds", "Files and sockets that it has open", gauge(process.open_files));
    registry.register("max_fds", "How many it may have open", gauge(process.open_files_max));
    registry.register("threads", "Its threads", gauge(process.threads));
    let seconds: Counter<f64, AtomicU64> = Counter::default();
    seconds.inc_by(process.cpu.as_secs_f64());
    registry.register("cpu_seconds", "Processor time that it took", seconds);
    registry
}

fn gauge(number: u64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
    gauge
}

fn counter(number: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(number);
    counter
}

fn histogram(durations: &Arc<Durations>) -> Histogram {
    Histogram(Arc::clone(durations))
}

/// A number for each set of labels.
fn gauges<L: EncodeLabelSet + Clone + Eq + Hash>(series: impl IntoIterator<Item = (L, u64)>) -> Family<L, Gauge> {
    let family = Family::<L, Gauge>::default();
    for (labels, number) in series {
        family.get_or_create(&labels).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    family
}

/// The same of numbers that only grow.
fn counters<L: EncodeLabelSet + Clone + Eq + Hash>(
    series: impl IntoIterator<Item = (L, u64)>,
) -> Family<L, Counter> {
    let family = Family::<L, Counter>::default();
    for (labels, number) in series {
        family.get_or_create(&labels).inc_by(number);
    }
    family
}
