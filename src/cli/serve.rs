//! `zonegate serve`: runs the gateway until it is told to stop.

use super::operator::Configuration;
use super::{CommandProblem, check, logging};
use crate::edge::{Gateway, Leftovers};

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let settings = check::settings(configuration, Leftovers::Ignored)?;
    logging::start(&settings.log, logging::Security::Shown);
    let gateway = Gateway::open(settings)?;
    let ready = || tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening");
    Ok(gateway.run(ready, std::future::pending())?)
}
