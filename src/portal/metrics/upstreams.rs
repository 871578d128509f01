//! What becomes of requests at the applications' backends, and which of these are well.
//!
//! A backend's counters are made when a configuration names it, so that a request only adds to atomics. The label is
//! the address as the file writes it: what a name resolves to comes and goes, and a label for each address that ever
//! was would stay for ever.
//!
//! Which backends are well is not kept but asked for, of the configuration in use alone. *Why not set whenever it changes?*
//! Requests of the configuration before go on for hours, and one that is refused has looked at its backends too: each would
//! say something of backends that may be gone, and an alert for these would never end.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::base::Hostname;
use crate::zone::Target;

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
pub(super) struct BackendLabels {
    zone: String,
    backend: String,
}

#[derive(Clone, Debug, Eq, EncodeLabelSet, Hash, PartialEq)]
struct OutcomeLabels {
    zone: String,
    backend: String,
    outcome: &'static str,
}

/// The counters of all backends.
#[derive(Clone, Debug, Default)]
pub struct UpstreamMetrics {
    requests: Family<OutcomeLabels, Counter>,
    ejections: Family<BackendLabels, Counter>,
    in_use: Arc<Mutex<Option<Arc<dyn Backends>>>>,
}

/// The backends of one configuration.
pub trait Backends: Debug + Send + Sync {
    /// Each with its zone, and how many of its addresses are taken to be well.
    fn well(&self) -> Vec<(Hostname, Target, usize)>;
}

/// Those of one backend.
#[derive(Clone, Debug)]
pub struct BackendMetrics {
    /// Answers whose head came, whatever their status.
    pub answered: Counter,
    /// Connections that could not be made.
    pub not_connected: Counter,
    /// Requests that it broke off before it answered, or answered with what is no answer.
    pub broke_off: Counter,
    /// Requests, and connections, that took too long.
    pub timed_out: Counter,
    /// How often an address of it was left alone after a fault.
    pub ejections: Counter,
}

impl UpstreamMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "upstream_requests",
            "Requests that were sent to a backend, each try on its own, by what became of them",
            self.requests.clone(),
        );
        registry.register(
            "upstream_ejections",
            "How often an address of a backend was left alone after faults",
            self.ejections.clone(),
        );
    }

    /// From here on these are told of, and none of before.
    pub fn in_use(&self, backends: Arc<dyn Backends>) {
        *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = Some(backends);
    }

    /// How many addresses of each backend are taken to be well at this moment.
    pub(super) fn healthy(&self) -> Family<BackendLabels, Gauge> {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let family = Family::default();
        for (zone, backend, count) in in_use.into_iter().flat_map(|backends| backends.well()) {
            let labels = BackendLabels { zone: zone.to_string(), backend: backend.to_string() };
            let gauge: Gauge = family.get_or_create_owned(&labels);
            // One that a zone names twice is one to whoever watches it.
            gauge.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        }
        family
    }

    /// The counters of one backend; the same for the same backend, over every change of the configuration.
    pub fn backend(&self, zone: &Hostname, target: &Target) -> BackendMetrics {
        let (zone, backend) = (zone.to_string(), target.to_string());
        let counter = |outcome| {
            let labels = OutcomeLabels { zone: zone.clone(), backend: backend.clone(), outcome };
            self.requests.get_or_create(&labels).clone()
        };
        let labels = BackendLabels { zone: zone.clone(), backend: backend.clone() };
        BackendMetrics {
            answered: counter("answered"),
            not_connected: counter("not_connected"),
            broke_off: counter("broke_off"),
            timed_out: counter("timed_out"),
            ejections: self.ejections.get_or_create(&labels).clone(),
        }
    }
}
