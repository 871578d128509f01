//! `zonegate top`: how the running gateway does, in a terminal, from the metrics that its monitoring reads as well.
//!
//! Whoever has Prometheus does not need it. It is for the moment in which somebody has only a shell and a question.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::CommandProblem;
use super::admin::Admin;
use super::operator::Configuration;

const EVERY: Duration = Duration::from_secs(1);
/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// `zonegate top`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    /// Look for one second, write it once, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    let admin = Admin::of(&arguments.configuration, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(look(&admin, arguments.once))
}

/// Looks once a second, for ever or once.
async fn look(admin: &Admin, once: bool) -> Result<(), CommandProblem> {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval.tick().await;
    let mut before = Sample::of(&admin.get("/metrics").await?);
    let clear = if once || !std::io::stdout().is_terminal() { "" } else { CLEAR };
    loop {
        interval.tick().await;
        let now = Sample::of(&admin.get("/metrics").await?);
        let mut out = std::io::stdout().lock();
        write!(out, "{clear}{}", View { before: &before, now: &now }.text())?;
        out.flush()?;
        if once {
            return Ok(());
        }
        before = now;
    }
}

/// Metrics at one moment: for each name, its series by labels.
struct Sample {
    at: Instant,
    series: BTreeMap<String, Vec<(Labels, f64)>>,
}

type Labels = BTreeMap<String, String>;

impl Sample {
    /// Reads the text of `/metrics`. A line that cannot be read is no reason to show nothing.
    fn of(text: &str) -> Self {
        let mut series: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((named, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            let (name, labels) = named.split_once('{').unwrap_or((named, ""));
            series.entry(name.into()).or_default().push((labels_of(labels.trim_end_matches('}')), value));
        }
        Self { at: Instant::now(), series }
    }

    /// The sum of all series of `name` that have these labels.
    fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let fits =
            |labels: &Labels| wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|v| v == value));
        self.series
            .get(name)
            .into_iter()
            .flatten()
            .filter(|(labels, _)| fits(labels))
            .map(|(_, value)| value)
            .sum()
    }

    /// The values that a label has in `name`.
    fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let series = self.series.get(name).into_iter().flatten();
        let mut values: Vec<_> = series.filter_map(|(labels, _)| labels.get(label).map(String::as_str)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// `a="b",c="d"`. Our labels' values have no quotes in them.
fn labels_of(text: &str) -> Labels {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

/// What happened between two moments, and what is so at the second.
struct View<'a> {
    before: &'a Sample,
    now: &'a Sample,
}

impl View<'_> {
    fn seconds(&self) -> f64 {
        self.now.at.saturating_duration_since(self.before.at).as_secs_f64().max(0.001)
    }

    /// How much `name` grew in a second.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        (self.now.sum(name, labels) - self.before.sum(name, labels)).max(0.0) / self.seconds()
    }

    /// The upper bound of the bucket that the quantile lies in; `None` when nothing happened.
    fn quantile(&self, quantile: f64, histogram: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let name = format!("{histogram}_bucket");
        let mut bounds: Vec<(f64, f64)> = Vec::new();
        for bound in self.now.values(&name, "le") {
            let labels = [labels, &[("le", bound)]].concat();
            bounds.push((bound.parse().unwrap_or(f64::INFINITY), self.rate(&name, &labels)));
        }
        bounds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let all = bounds.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        bounds.into_iter().find(|(_, count)| *count >= quantile * all).map(|(bound, _)| bound)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.head(&mut text);
        self.zones(&mut text);
        self.rest(&mut text);
        text
    }

    // Writing into a string cannot fail.
    fn head(&self, text: &mut String) {
        let now = |name: &str| self.now.sum(name, &[]);
        let version = self.now.values("zonegate_build_info", "version").join(", ");
        let _ = writeln!(
            text,
            "zonegate {version}   configuration {}   connections {}   requests under way {}   {:.0} MiB\n",
            now("zonegate_configuration_generation"),
            now("zonegate_connections"),
            now("zonegate_requests_under_way"),
            now("process_resident_memory_bytes") / f64::from(1 << 20),
        );
    }

    fn zones(&self, text: &mut String) {
        let columns = ["2xx", "3xx", "4xx", "5xx"];
        let _ = writeln!(
            text,
            "{:<32} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
            "zone", "req/s", columns[0], columns[1], columns[2], columns[3], "p50 ms", "p99 ms", "under way"
        );
        for zone in self.now.values("zonegate_requests_total", "zone") {
            let of_zone = [("zone", zone)];
            let name = if zone.is_empty() { "(none)" } else { zone };
            let _ = write!(text, "{name:<32} {:>8.1}", self.rate("zonegate_requests_total", &of_zone));
            for status in columns {
                let labels = [("zone", zone), ("status", status)];
                let _ = write!(text, " {:>8.1}", self.rate("zonegate_requests_total", &labels));
            }
            for quantile in [0.5, 0.99] {
                let _ = match self.quantile(quantile, "zonegate_request_seconds", &of_zone) {
                    Some(seconds) => write!(text, " {:>9}", format!("<={:.1}", seconds * 1e3)),
                    None => write!(text, " {:>9}", "-"),
                };
            }
            let _ = writeln!(text, " {:>9}", self.now.sum("zonegate_zone_requests_under_way", &of_zone));
        }
    }

    fn rest(&self, text: &mut String) {
        let now = |name: &str, labels: &[(&str, &str)]| self.now.sum(name, labels);
        let _ = write!(text, "\nlog-ins/s  ");
        for outcome in ["session", "step", "bad_credentials", "bad_code", "locked", "shed", "trouble"] {
            let _ = write!(text, "  {outcome} {:.1}", self.rate("zonegate_logins_total", &[("outcome", outcome)]));
        }
        let _ = writeln!(
            text,
            "\nsessions     web {}  mobile {}  users {}  hashing {} of {}",
            now("zonegate_sessions", &[("class", "web")]),
            now("zonegate_sessions", &[("class", "mobile")]),
            now("zonegate_session_users", &[]),
            now("zonegate_password_queue", &[]),
            now("zonegate_password_queue_limit", &[]),
        );
        let commit = self.quantile(0.99, "zonegate_store_commit_seconds", &[]);
        let _ = writeln!(
            text,
            "store        lag {} s  writes/s {:.1}  commit p99 {}  faults {}",
            now("zonegate_store_lag_seconds", &[]),
            self.rate("zonegate_store_write_seconds_count", &[]),
            commit.map_or_else(|| "-".into(), |seconds| format!("<={:.1} ms", seconds * 1e3)),
            now("zonegate_store_faults_total", &[]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_quantiles_are_those_of_the_time_between() {
        let sample = |requests: u64, fast: u64, after: u64| {
            let text = format!(
                "# TYPE zonegate_requests counter\n\
                 zonegate_requests_total{{zone=\"a.example\",decision=\"forward\",status=\"2xx\"}} {requests}\n\
                 zonegate_requests_total{{zone=\"b.example\",decision=\"forward\",status=\"2xx\"}} 7\n\
                 zonegate_request_seconds_bucket{{le=\"0.001\",zone=\"a.example\"}} {fast}\n\
                 zonegate_request_seconds_bucket{{le=\"+Inf\",zone=\"a.example\"}} {requests}\n\
                 zonegate_connections 3\nno number at all\n# EOF\n"
            );
            let sample = Sample::of(&text);
            Sample { at: sample.at + Duration::from_secs(after), ..sample }
        };
        let (before, now) = (sample(100, 100, 0), sample(300, 290, 2));
        let now = Sample { at: before.at + Duration::from_secs(2), ..now };
        let view = View { before: &before, now: &now };
        let of_a = [("zone", "a.example")];
        assert!((view.rate("zonegate_requests_total", &of_a) - 100.0).abs() < 0.1);
        assert!(view.rate("zonegate_requests_total", &[("zone", "b.example")]).abs() < 0.1);
        let quantile = |quantile| view.quantile(quantile, "zonegate_request_seconds", &of_a);
        assert!(quantile(0.5).is_some_and(|bound| bound < 0.002) && quantile(0.99).is_some_and(f64::is_infinite));
        assert_eq!(view.quantile(0.5, "zonegate_request_seconds", &[("zone", "b.example")]), None);
        let text = view.text();
        assert!(
            text.contains("connections 3") && text.lines().any(|line| line.starts_with("a.example ")),
            "{text}"
        );
    }
}
