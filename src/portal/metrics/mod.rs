//! What an operator's monitoring asks for, in the OpenMetrics text format.
//!
//! Every handle of the hot path is made with its configuration, one for each zone and decision: a request finds its
//! zone's and adds to atomics, without a lock or an allocation. What is a property of the moment (sessions, queue, lag) is read
//! when it is asked for. Labels are our own words and zone names; no user, address or path is one (K4).

mod upstreams;

pub use upstreams::{BackendMetrics, UpstreamMetrics};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use super::Portal;
use crate::base::{ByHost, Hostname, UnixTime};
use crate::session::Class;
use crate::zone::{Zone, ZoneTable};

/// What the edge says that it did with a request.
const DECISIONS: [&str; 7] = ["forward", "portal", "challenge", "canonical", "refused", "https", "other"];
/// The first digit of a status, and 0 for none at all (the client left, or the connection broke).
const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds of the duration's buckets, in microseconds.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct RequestLabels {
    zone: String,
    decision: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct ZoneLabel {
    zone: String,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct ReasonLabels {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct ClassLabel {
    class: &'static str,
}

/// What becomes of connections.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    open: Gauge,
    accepted: Counter,
    refused: Family<ReasonLabel, Counter>,
    closed: Family<ReasonLabel, Counter>,
    requests: Gauge,
}

/// A request that is counted until it is dropped.
#[derive(Debug)]
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Connections {
    fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.open.clone());
        registry.register("connections_accepted", "Connections that were taken", self.accepted.clone());
        registry.register(
            "connections_refused",
            "Connections that were not taken, by reason",
            self.refused.clone(),
        );
        registry.register("connections_closed", "Connections that we ended, by reason", self.closed.clone());
        registry.register("requests_under_way", "Requests that are being answered", self.requests.clone());
    }

    /// A connection is taken.
    pub fn opened(&self) {
        self.open.inc();
        self.accepted.inc();
    }

    /// It is gone.
    pub fn gone(&self) {
        self.open.dec();
    }

    /// There was no room for one.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A request begins.
    pub fn request(&self) -> UnderWay {
        self.requests.inc();
        UnderWay(self.requests.clone())
    }

    /// How many requests are being answered: what a stop waits for.
    pub fn requests_under_way(&self) -> i64 {
        self.requests.get()
    }

    /// One was ended by us.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// The counters as one snapshot of the settings uses them: those of its zones at hand, all others shared with the
/// snapshots before and after it. So no counter goes back, and a zone that was away goes on where it was.
#[derive(Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
    zones: ByHost<Zoned>,
    /// Requests that came to no zone.
    nowhere: Zoned,
}

/// All counters, and the registry that prints them.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    connections: Connections,
    upstreams: UpstreamMetrics,
    requests: Family<RequestLabels, Counter>,
    took: Family<ZoneLabel, Latency>,
    reasons: Family<ReasonLabels, Counter>,
    logins: Family<OutcomeLabel, Counter>,
    sessions: Family<ClassLabel, Gauge>,
    lag: Gauge,
    hashes: Gauge,
    hash_queue: Gauge,
    reloads: Family<OutcomeLabel, Counter>,
    reloaded_at: Gauge,
    generation: Gauge,
}

#[derive(Debug)]
struct Zoned {
    requests: [[Counter; STATUSES.len()]; DECISIONS.len()],
    took: Latency,
}

impl Metrics {
    /// Makes every counter, so that each is there at zero before the first request.
    pub fn new(zones: &ZoneTable) -> Self {
        Self::of(Arc::new(Shared::new()), zones)
    }

    /// The same counters for other zones.
    pub fn with(&self, zones: &ZoneTable) -> Self {
        Self::of(Arc::clone(&self.shared), zones)
    }

    fn of(shared: Arc<Shared>, zones: &ZoneTable) -> Self {
        let zoned = |host: &Hostname| (host.clone(), shared.zoned(host.as_str()));
        let zones = zones.zones().iter().map(|zone| zoned(&zone.host)).collect();
        Self { nowhere: shared.zoned(""), zones, shared }
    }

    /// A request is over.
    pub fn request(
        &self,
        zone: Option<&Zone>,
        decision: &'static str,
        reason: Option<&'static str>,
        status: u16,
        took: Duration,
    ) {
        let zoned = zone.and_then(|zone| self.zones.get(&zone.host)).unwrap_or(&self.nowhere);
        let row = DECISIONS.iter().position(|known| *known == decision).unwrap_or(DECISIONS.len() - 1);
        let counter = zoned.requests.get(row).and_then(|row| row.get(usize::from(status / 100)));
        if let Some(counter) = counter {
            counter.inc();
        }
        zoned.took.observe(took);
        if let Some(reason) = reason {
            self.shared.reasons.get_or_create(&ReasonLabels { decision, reason }).inc();
        }
    }

    /// A step of a log-in came to this.
    pub fn login(&self, outcome: &'static str) {
        self.shared.logins.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// What becomes of connections.
    pub fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    /// What becomes of requests at the backends.
    pub fn upstreams(&self) -> &UpstreamMetrics {
        &self.shared.upstreams
    }

    /// These settings, the `generation`th of this process, are in use since `at`.
    pub fn in_use(&self, generation: u64, at: UnixTime) {
        self.shared.generation.set(gauge(generation));
        self.shared.reloaded_at.set(gauge(at.seconds()));
    }

    /// The configuration was read anew, and is in use now or was refused.
    pub fn reload(&self, applied: bool) {
        self.shared.reloads.get_or_create(&reload_outcome(applied)).inc();
    }

    /// The text for a scraper. Walks the session table: not for a request's path.
    pub fn text(&self, portal: &Portal) -> Result<String, std::fmt::Error> {
        let (web, mobile) = portal.sessions.count();
        for (class, count) in [(Class::Web, web), (Class::Mobile, mobile)] {
            self.shared.sessions.get_or_create(&ClassLabel { class: class.name() }).set(gauge(count as u64));
        }
        self.shared.lag.set(gauge(portal.sessions.lag()));
        self.shared.hashes.set(gauge(portal.verifier.computed()));
        self.shared.hash_queue.set(gauge(portal.verifier.busy() as u64));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.shared.registry)?;
        Ok(text)
    }
}

impl Shared {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("zonegate");
        let requests = Family::<RequestLabels, Counter>::default();
        let took = Family::<ZoneLabel, Latency>::default();
        let (reasons, logins) = (Family::default(), Family::default());
        let sessions = Family::default();
        let (lag, hashes, hash_queue) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("requests", "Requests by zone, decision and status", requests.clone());
        registry.register("request_seconds", "From the request's head to the answer's end", took.clone());
        registry.register("refusals", "Requests that were not let through, by reason", reasons.clone());
        registry.register("logins", "Steps of log-ins by outcome", logins.clone());
        registry.register("sessions", "Live sessions", sessions.clone());
        registry.register(
            "store_lag_seconds",
            "Since the store was last heard of; beyond 5, all is refused",
            lag.clone(),
        );
        registry.register("password_hashes", "Passwords hashed since the start", hashes.clone());
        registry.register("password_queue", "Passwords that are being hashed or wait for it", hash_queue.clone());
        let upstreams = UpstreamMetrics::default();
        upstreams.register(&mut registry);
        let connections = Connections::default();
        connections.register(&mut registry);
        let reloads = Family::<OutcomeLabel, Counter>::default();
        let (reloaded_at, generation) = (Gauge::default(), Gauge::default());
        registry.register("reloads", "Times that the configuration was read anew, by outcome", reloads.clone());
        for outcome in [true, false] {
            drop(reloads.get_or_create(&reload_outcome(outcome)));
        }
        registry.register(
            "reload_success_timestamp_seconds",
            "When the configuration in use was read: seconds since 1970",
            reloaded_at.clone(),
        );
        registry.register(
            "configuration_generation",
            "Which configuration is in use: 1 is the one of the start",
            generation.clone(),
        );
        Self {
            registry,
            connections,
            upstreams,
            requests,
            took,
            reasons,
            logins,
            sessions,
            lag,
            hashes,
            hash_queue,
            reloads,
            reloaded_at,
            generation,
        }
    }

    /// The handles of one zone's counters: new ones for a zone that was never there.
    fn zoned(&self, zone: &str) -> Zoned {
        let counter = |decision, status| {
            self.requests.get_or_create(&RequestLabels { zone: zone.into(), decision, status }).clone()
        };
        Zoned {
            requests: DECISIONS.map(|decision| STATUSES.map(|status| counter(decision, status))),
            took: self.took.get_or_create(&ZoneLabel { zone: zone.into() }).clone(),
        }
    }
}

fn reload_outcome(applied: bool) -> OutcomeLabel {
    OutcomeLabel { outcome: if applied { "applied" } else { "refused" } }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A histogram of durations that is added to without a lock: the library's own takes one for every request.
#[derive(Clone, Debug, Default)]
struct Latency(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Latency {
    fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Latency {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        // Precise to a second in 285,000 years of summed time.
        #[expect(clippy::cast_precision_loss, reason = "a sum of durations for people")]
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.0.sum_micros.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples;

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.shared.registry).unwrap();
        text
    }

    #[test]
    fn every_request_is_counted_once_under_its_zone_decision_and_status() {
        let zones = ZoneTable::new(vec![samples::zone("a.example")], None).unwrap();
        let metrics = Metrics::new(&zones);
        let zone = zones.zones()[0].clone();
        let took = Duration::from_micros(700);
        metrics.request(Some(&zone), "forward", None, 200, took);
        metrics.request(Some(&zone), "forward", None, 204, took);
        metrics.request(Some(&zone), "challenge", Some("idle"), 401, took);
        metrics.request(None, "refused", Some("unknown_host"), 421, took);
        metrics.request(None, "an edge of later", None, 999, took);
        metrics.login("session");
        let text = text(&metrics);
        for line in [
            r#"zonegate_requests_total{zone="a.example",decision="forward",status="2xx"} 2"#,
            r#"zonegate_requests_total{zone="a.example",decision="forward",status="5xx"} 0"#,
            r#"zonegate_requests_total{zone="a.example",decision="challenge",status="4xx"} 1"#,
            r#"zonegate_requests_total{zone="",decision="refused",status="4xx"} 1"#,
            r#"zonegate_refusals_total{decision="challenge",reason="idle"} 1"#,
            r#"zonegate_request_seconds_bucket{le="0.0005",zone="a.example"} 0"#,
            r#"zonegate_request_seconds_bucket{le="0.001",zone="a.example"} 3"#,
            r#"zonegate_request_seconds_bucket{le="+Inf",zone="a.example"} 3"#,
            r#"zonegate_request_seconds_sum{zone="a.example"} 0.0021"#,
            r#"zonegate_logins_total{outcome="session"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn long_requests_land_in_the_last_bucket_and_nothing_overflows() {
        let latency = Latency::default();
        latency.observe(Duration::from_secs(3600));
        latency.observe(Duration::MAX);
        assert_eq!(latency.0.counts[BOUNDS.len()].load(Ordering::Relaxed), 2);
    }
}
