//! `zonegate check`: everything that is wrong with the configuration and its certificates, at once; and when nothing is,
//! what would be served.
//!
//! What hurts nobody is a warning on standard error: `serve` accepts it, and a script that checks before it reloads must
//! not stop there.

use std::collections::HashMap;
use std::io::{self, Write as _};

use super::files::Disk;
use super::operator::{Configuration, columns};
use super::{CommandProblem, say};
use crate::base::{Hostname, UnixTime};
use crate::config::{Inspection, Problem, Problems, Settings, Surroundings};
use crate::edge::{CertificateProblem, Certificates, Extent, check_upstreams};
use crate::machine::Clock;
use crate::zone::Zone;

/// How many zones are listed, and how many backends of each: it is read by somebody.
const ZONES_SHOWN: usize = 100;
const BACKENDS_SHOWN: usize = 3;

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let inspection = configuration.inspect(&Disk)?;
    let (file, now) = (configuration.name(), Clock::new().now());
    let list = warnings(&inspection, now);
    if !list.is_empty() {
        // Nobody may be reading there.
        let _ = writeln!(io::stderr(), "{}", Problems { file: file.clone(), list });
    }
    let settings = settled(configuration, inspection, Extent::Everything, now)?;
    let (zones, certificates) = (settings.zones.zones(), settings.certificates.len());
    say(format_args!("{file}: good. Zones: {}, certificates: {certificates}.", zones.len()))?;
    say(served(&settings, now))?;
    match zones.len().saturating_sub(ZONES_SHOWN) {
        0 => Ok(()),
        more => say(format_args!("And {more} more.")),
    }
}

/// The settings, or one list of what is wrong with them and with the certificates: whoever has mended the file should
/// not learn only then that a certificate has expired as well.
pub(super) fn settings_from(
    configuration: &Configuration,
    outside: &dyn Surroundings,
) -> Result<Settings, CommandProblem> {
    settled(configuration, configuration.inspect(outside)?, Extent::Hindrances, Clock::new().now())
}

fn settled(
    configuration: &Configuration,
    inspection: Inspection,
    extent: Extent,
    now: UnixTime,
) -> Result<Settings, CommandProblem> {
    let certificates = Certificates::inspect(&inspection, now, extent);
    let upstreams = inspection.settings.as_ref().map(|settings| check_upstreams(&settings.zones));
    let certificates = certificates.into_iter().chain(upstreams.into_iter().flatten());
    let mut list = inspection.problems;
    list.extend(certificates.map(|found| Problem {
        line: found.place.line,
        key: found.place.key,
        text: found.text,
    }));
    list.sort_by_key(|problem| problem.line);
    match inspection.settings {
        Some(settings) if list.is_empty() => Ok(settings),
        Some(_) | None => Err(Problems { file: configuration.name(), list }.into()),
    }
}

/// What is odd and hurts nobody: certificates that cover no host.
fn warnings(inspection: &Inspection, now: UnixTime) -> Vec<Problem> {
    let warning = |CertificateProblem { place, text }| Problem {
        line: place.line,
        key: format!("warning: {}", place.key),
        text,
    };
    Certificates::leftovers(inspection, now).into_iter().map(warning).collect()
}

/// The zones as they would be served, one a line.
fn served(settings: &Settings, now: UnixTime) -> String {
    // They were all read a moment ago: what has become unreadable since is not known to end at any time.
    let ends = Certificates::load(settings, now).map(|certificates| certificates.until()).unwrap_or_default();
    let ends: HashMap<_, _> = ends.into_iter().collect();
    let head = ["ZONE", "BACKENDS", "CERTIFICATE UNTIL"].map(String::from);
    let rows = settings.zones.zones().iter().take(ZONES_SHOWN);
    let rows = rows.map(|zone| [zone.host.to_string(), backends(zone), end(settings, &ends, &zone.host)]);
    columns(std::iter::once(head).chain(rows))
}

fn backends(zone: &Zone) -> String {
    let backends = &zone.upstream.backends;
    if backends.is_empty() {
        return "- (another proxy passes its requests on)".into();
    }
    let shown = backends.iter().take(BACKENDS_SHOWN).map(|backend| {
        let scheme = if backend.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", backend.target)
    });
    let shown = shown.collect::<Vec<_>>().join(" ");
    match backends.len().saturating_sub(BACKENDS_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// When the certificate that answers for a host ends.
fn end(settings: &Settings, ends: &HashMap<String, UnixTime>, host: &Hostname) -> String {
    if settings.listeners.https.is_empty() {
        return "- (TLS ends in front)".into();
    }
    let wild = || ends.get(&format!("*.{}", host.as_str().split_once('.')?.1));
    match ends.get(host.as_str()).or_else(wild) {
        Some(end) if end.seconds() > 0 => end.to_string(),
        Some(_) | None => "none yet (acme gets it)".into(),
    }
}
