//! What an operator's monitoring asks for, in the OpenMetrics text format.
//!
//! Every handle of the hot path is made with its configuration, one for each zone and decision: a request finds its
//! zone's once and adds to atomics, without a lock or an allocation. What is a property of the moment (sessions, queue,
//! lag) is read when it is asked for (`moment`). `config/metrics.md` lists all of them, and a test holds it to this.

mod connections;
mod histogram;
mod labels;
mod moment;
mod upstreams;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use self::histogram::Histogram;
use self::labels::{LoginLabels, OutcomeLabel, ReasonLabel, RefusalLabels, RequestLabels, ZoneLabel};
use super::Portal;
use super::outcome::OUTCOMES;
use crate::base::{ByHost, Hostname, UnixTime};
use crate::session::{Class, Method};
use crate::zone::{Zone, ZoneTable};

pub use self::connections::{Connections, UnderWay};
pub use self::upstreams::{BackendMetrics, Backends, UpstreamMetrics};

/// What the edge says that it did with a request.
const DECISIONS: [&str; 9] =
    ["forward", "portal", "challenge", "canonical", "refused", "https", "acme", "handed_over", "other"];
/// The first digit of a status, and 0 for none at all (the client left, or the connection broke).
const STATUSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Why a line of the access log was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LostLine {
    /// More came than could be written.
    QueueFull,
    /// The disk or the pipe took no more.
    NotWritten,
}

impl LostLine {
    const ALL: [Self; 2] = [Self::QueueFull, Self::NotWritten];

    const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotWritten => "not_written",
        }
    }
}

/// The lines of the access log that were lost for one reason. Losing one costs a request an addition.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Counter);

impl LostLines {
    /// So many more.
    pub fn add(&self, lines: u64) {
        self.0.inc_by(lines);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}

/// The counters as one snapshot of the settings uses them: those of its zones at hand, all others shared with the
/// snapshots before and after it. So no counter goes back, and a zone that was away goes on where it was.
#[derive(Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
    zones: ByHost<Arc<Zoned>>,
    /// Requests that came to no zone.
    nowhere: Arc<Zoned>,
}

/// All counters that are added to, and the registry that prints them.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    started_at: UnixTime,
    connections: Connections,
    upstreams: UpstreamMetrics,
    requests: Family<RequestLabels, Counter>,
    took: Family<ZoneLabel, Histogram>,
    body_bytes: [Family<ZoneLabel, Counter>; 2],
    under_way: Family<ZoneLabel, Gauge>,
    refusals: Family<RefusalLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    reloads: Family<OutcomeLabel, Counter>,
    reloaded_at: Gauge,
    generation: Gauge,
    lost_lines: Family<ReasonLabel, Counter>,
    /// Names of the certificates in use, and when each ends.
    certificates: ArcSwap<Vec<(String, UnixTime)>>,
}

#[derive(Debug)]
struct Zoned {
    requests: [[Counter; STATUSES.len()]; DECISIONS.len()],
    took: Histogram,
    body_bytes: [Counter; 2],
    under_way: Gauge,
}

/// A request that has come to a zone, counted as under way there until it is dropped.
#[derive(Debug)]
pub struct InZone {
    counters: Arc<Zoned>,
    _under_way: UnderWay,
}

/// What is counted of a request that is over.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// What was done with it.
    pub decision: &'static str,
    /// Why it was not let through.
    pub reason: Option<&'static str>,
    /// The answer's status; 0 for none.
    pub status: u16,
    /// From its head to the answer's end.
    pub took: Duration,
    /// Its body's length.
    pub bytes_in: u64,
    /// The answer's.
    pub bytes_out: u64,
}

impl Metrics {
    /// Makes every counter, so that each is there at zero before the first request. The process began at `now`.
    pub fn new(zones: &ZoneTable, now: UnixTime) -> Self {
        Self::of(Arc::new(Shared::new(now)), zones)
    }

    /// The same counters for other zones.
    pub fn with(&self, zones: &ZoneTable) -> Self {
        Self::of(Arc::clone(&self.shared), zones)
    }

    fn of(shared: Arc<Shared>, zones: &ZoneTable) -> Self {
        let zoned = |host: &Hostname| (host.clone(), Arc::new(shared.zoned(host.as_str())));
        let zones = zones.zones().iter().map(|zone| zoned(&zone.host)).collect();
        Self { nowhere: Arc::new(shared.zoned("")), zones, shared }
    }

    /// A request has come to a zone.
    pub fn enter(&self, zone: &Zone) -> InZone {
        let counters = Arc::clone(self.zones.get(&zone.host).unwrap_or(&self.nowhere));
        InZone { _under_way: UnderWay::begin(&counters.under_way), counters }
    }

    /// A request is over; `place` is `None` when it came to no zone.
    pub fn request(&self, place: Option<&InZone>, finished: Finished) {
        let Finished { decision, reason, status, took, bytes_in, bytes_out } = finished;
        let zoned = place.map_or(&self.nowhere, |place| &place.counters);
        let row = DECISIONS.iter().position(|known| *known == decision).unwrap_or(DECISIONS.len() - 1);
        // Beyond 599 there is no class, and such an answer counts as a fault of the server's (RFC 9110 section 15).
        let class = usize::from(status / 100).min(STATUSES.len() - 1);
        let counter = zoned.requests.get(row).and_then(|row| row.get(class));
        if let Some(counter) = counter {
            counter.inc();
        }
        zoned.took.0.observe(took);
        for (counter, bytes) in zoned.body_bytes.iter().zip([bytes_in, bytes_out]) {
            if bytes > 0 {
                counter.inc_by(bytes);
            }
        }
        if let Some(reason) = reason {
            self.shared.refusals.get_or_create(&RefusalLabels { decision, reason }).inc();
        }
    }

    /// A step of a log-in came to this.
    pub fn login(&self, outcome: &'static str, method: Method, class: Class) {
        self.shared.logins.get_or_create(&login(outcome, method, class)).inc();
    }

    /// The count of the lines that the access log loses for this reason.
    pub fn lost_lines(&self, why: LostLine) -> LostLines {
        LostLines(self.shared.lost_lines.get_or_create_owned(&ReasonLabel { reason: why.name() }))
    }

    /// These certificates are in use: each name, and when the one that answers for it ends.
    pub fn certificates(&self, until: Vec<(String, UnixTime)>) {
        self.shared.certificates.store(Arc::new(until));
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

    /// The text for a scraper.
    pub fn text(&self, portal: &Portal) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.shared.registry)?;
        let healthy = self.shared.upstreams.healthy();
        encode_registry(&mut text, &moment::of_gateway(portal, &self.shared.certificates.load(), healthy))?;
        encode_registry(&mut text, &moment::of_process(self.shared.started_at))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Shared {
    fn new(started_at: UnixTime) -> Self {
        let shared = Self {
            registry: Registry::with_prefix("zonegate"),
            started_at,
            connections: Connections::default(),
            upstreams: UpstreamMetrics::default(),
            requests: Family::default(),
            took: Family::default(),
            body_bytes: Default::default(),
            under_way: Family::default(),
            refusals: Family::default(),
            logins: Family::default(),
            reloads: Family::default(),
            reloaded_at: Gauge::default(),
            generation: Gauge::default(),
            lost_lines: Family::default(),
            certificates: ArcSwap::default(),
        };
        // What is there at zero can be asked for its growth from the first time on.
        for outcome in [true, false] {
            drop(shared.reloads.get_or_create(&reload_outcome(outcome)));
        }
        for outcome in OUTCOMES {
            for class in [Class::Web, Class::Mobile] {
                for method in [Method::Local, Method::Suite, Method::Sso] {
                    drop(shared.logins.get_or_create(&login(outcome, method, class)));
                }
            }
        }
        for why in LostLine::ALL {
            drop(shared.lost_lines.get_or_create(&ReasonLabel { reason: why.name() }));
        }
        Self { registry: shared.registered(), ..shared }
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("zonegate");
        registry.register("requests", "Requests by zone, decision and status", self.requests.clone());
        registry.register("request_seconds", "From the request's head to the answer's end", self.took.clone());
        let [bytes_in, bytes_out] = self.body_bytes.clone();
        registry.register("request_body_bytes", "Bytes of requests' bodies", bytes_in);
        registry.register("response_body_bytes", "Bytes of answers' bodies", bytes_out);
        let under_way = self.under_way.clone();
        registry.register("zone_requests_under_way", "Requests that are being answered, by zone", under_way);
        registry.register("refusals", "Requests that were not let through, by reason", self.refusals.clone());
        registry.register("logins", "Steps of log-ins by outcome, method and class", self.logins.clone());
        self.connections.register(&mut registry);
        self.upstreams.register(&mut registry);
        let reloads = self.reloads.clone();
        registry.register("reloads", "Times that the configuration was read anew, by outcome", reloads);
        registry.register(
            "reload_success_timestamp_seconds",
            "When the configuration in use was read: seconds since 1970",
            self.reloaded_at.clone(),
        );
        registry.register(
            "configuration_generation",
            "Which configuration is in use: 1 is the one of the start",
            self.generation.clone(),
        );
        registry.register("access_log_lost", "Lines of the access log that were lost", self.lost_lines.clone());
        registry
    }

    /// The handles of one zone's counters: new ones for a zone that was never there.
    fn zoned(&self, zone: &str) -> Zoned {
        let counter = |decision, status| {
            self.requests.get_or_create_owned(&RequestLabels { zone: zone.into(), decision, status })
        };
        let label = ZoneLabel { zone: zone.into() };
        Zoned {
            requests: DECISIONS.map(|decision| STATUSES.map(|status| counter(decision, status))),
            took: self.took.get_or_create_owned(&label),
            body_bytes: self.body_bytes.each_ref().map(|family| family.get_or_create_owned(&label)),
            under_way: self.under_way.get_or_create_owned(&label),
        }
    }
}

const fn login(outcome: &'static str, method: Method, class: Class) -> LoginLabels {
    LoginLabels { outcome, method: method.name(), class: class.name() }
}

fn reload_outcome(applied: bool) -> OutcomeLabel {
    OutcomeLabel { outcome: if applied { "applied" } else { "refused" } }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples;

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        encode_registry(&mut text, &metrics.shared.registry).unwrap();
        text
    }

    #[test]
    fn every_request_is_counted_once_under_its_zone_decision_and_status() {
        let zones = ZoneTable::new(vec![samples::zone("a.example")], None).unwrap();
        let metrics = Metrics::new(&zones, samples::START);
        let finish = |place: Option<&InZone>, decision, reason, status| {
            let took = Duration::from_micros(700);
            metrics.request(place, Finished { decision, reason, status, took, bytes_in: 1, bytes_out: 7 });
        };
        let place = metrics.enter(&zones.zones()[0]);
        finish(Some(&place), "forward", None, 200);
        finish(Some(&place), "forward", None, 204);
        finish(Some(&place), "challenge", Some("idle"), 401);
        finish(None, "refused", Some("unknown_host"), 421);
        finish(None, "an edge of later", None, 999);
        metrics.login("session", Method::Local, Class::Web);
        let text = text(&metrics);
        for line in [
            r#"zonegate_requests_total{zone="a.example",decision="forward",status="2xx"} 2"#,
            r#"zonegate_requests_total{zone="a.example",decision="forward",status="5xx"} 0"#,
            r#"zonegate_requests_total{zone="a.example",decision="challenge",status="4xx"} 1"#,
            r#"zonegate_requests_total{zone="",decision="refused",status="4xx"} 1"#,
            r#"zonegate_requests_total{zone="",decision="other",status="5xx"} 1"#,
            r#"zonegate_refusals_total{decision="challenge",reason="idle"} 1"#,
            r#"zonegate_request_seconds_bucket{le="0.0005",zone="a.example"} 0"#,
            r#"zonegate_request_seconds_bucket{le="0.001",zone="a.example"} 3"#,
            r#"zonegate_request_seconds_bucket{le="+Inf",zone="a.example"} 3"#,
            r#"zonegate_request_seconds_sum{zone="a.example"} 0.0021"#,
            r#"zonegate_request_body_bytes_total{zone="a.example"} 3"#,
            r#"zonegate_response_body_bytes_total{zone="a.example"} 21"#,
            r#"zonegate_zone_requests_under_way{zone="a.example"} 1"#,
            r#"zonegate_logins_total{outcome="session",method="local",class="web"} 1"#,
            r#"zonegate_logins_total{outcome="session",method="local",class="mobile"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        drop(place);
        assert!(self::text(&metrics).contains("zone_requests_under_way{zone=\"a.example\"} 0"));
    }
}
