//! `zonegate serve`: reads, opens and loads everything, then runs until it is told to stop.

use crate::config::Settings;

use super::operator::Configuration;
use super::{CommandProblem, check};
use crate::machine::Clock;

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeProblem {
    /// Something.
    #[error("{0}")]
    Other(String),
}

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let settings = configuration.load()?;
    check::certificates(&settings, &configuration.name(), Clock::new().now())?;
    gateway(settings, || Ok(()))?;
    Ok(())
}

/// Runs the gateway until it is told to stop; calls `listening` once it listens.
pub(super) fn gateway(
    settings: Settings,
    listening: impl FnOnce() -> std::io::Result<()>,
) -> Result<(), ServeProblem> {
    let _ = (settings, listening);
    Err(ServeProblem::Other("not yet".into()))
}
