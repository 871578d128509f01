//! `zonegate check`: everything that is wrong with the configuration and its certificates, at once.

use super::files::Disk;
use super::operator::Configuration;
use super::{CommandProblem, say};
use crate::config::{Problem, Problems, Settings, Surroundings};
use crate::edge::{Certificates, Leftovers, check_upstreams};
use crate::machine::Clock;

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let settings = settings_from(configuration, Leftovers::Reported, &Disk)?;
    let file = configuration.name();
    let (zones, certificates) = (settings.zones.zones().len(), settings.certificates.len());
    say(format_args!("{file}: good. Zones: {zones}, certificates: {certificates}."))
}

/// The settings, or one list of what is wrong with them and with the certificates: whoever has mended the file should
/// not learn only then that a certificate has expired as well.
pub(super) fn settings_from(
    configuration: &Configuration,
    leftovers: Leftovers,
    outside: &dyn Surroundings,
) -> Result<Settings, CommandProblem> {
    let inspection = configuration.inspect(outside)?;
    let certificates = Certificates::inspect(&inspection, Clock::new().now(), leftovers);
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
