//! What becomes of connections, and how many requests are under way.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::ReasonLabel;

/// Why connections are not taken, and why they are ended: what is there at zero before it happens.
const REFUSED: [&str; 5] = ["full", "source", "exhausted", "requests_full", "requests_of_source"];
const CLOSED: [&str; 8] = [
    "head_timeout",
    "idle",
    "stalled",
    "handshake",
    "handshake_timeout",
    "proxy_header",
    "proxy_header_timeout",
    "stranger",
];

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

impl UnderWay {
    pub(super) fn begin(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Connections {
    pub(super) fn register(&self, registry: &mut Registry) {
        for (family, reasons) in [(&self.refused, &REFUSED[..]), (&self.closed, &CLOSED[..])] {
            reasons.iter().for_each(|reason| drop(family.get_or_create(&ReasonLabel { reason })));
        }
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
        UnderWay::begin(&self.requests)
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
