//! `zonegate check`: everything that is wrong with the configuration and its certificates, at once.

use super::operator::Configuration;
use super::{CommandProblem, say};
use crate::config::{Problem, Problems};
use crate::edge::{CertificateProblem, Certificates};
use crate::machine::Clock;

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let settings = configuration.load()?;
    let file = configuration.name();
    Certificates::load(&settings.certificates, &settings.zones, Clock::new().now())
        .map_err(|problems| as_problems(&file, problems))?;
    let (zones, certificates) = (settings.zones.zones().len(), settings.certificates.len());
    say(format_args!("{file}: good. Zones: {zones}, certificates: {certificates}."))
}

/// They stand in other files, but are told in the same form.
fn as_problems(file: &str, problems: Vec<CertificateProblem>) -> Problems {
    let told = problems.into_iter().map(|CertificateProblem { file, text }| Problem { line: 0, key: file, text });
    Problems { file: file.into(), list: told.collect() }
}
