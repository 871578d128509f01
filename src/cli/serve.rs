//! `zonegate serve`: runs the gateway until it is told to stop.

use std::sync::Arc;

use super::operator::Configuration;
use super::source::Files;
use super::{CommandProblem, logging};
use crate::edge::{Gateway, Inherited, Predecessor};

/// `zonegate serve`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    /// Take over from the gateway that starts this process
    #[arg(long, hide = true)]
    take_over: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    let inherited = Inherited::take();
    let predecessor = arguments.take_over.then(Predecessor::of_this_process);
    let configuration = &arguments.configuration;
    let (settings, noted) = Files::begin(configuration)?;
    let level = logging::start(&settings.log, logging::Security::Shown);
    let source = Files::new(configuration, noted, level);
    let gateway = Gateway::open(settings, inherited, predecessor)?;
    let ready = || {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening");
        // Under systemd, what waits for this service goes on now. Elsewhere there is nobody to tell.
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%error, "systemd was not told that the start is over");
        }
    };
    Ok(gateway.run(ready, std::future::pending(), Some(Arc::new(source)))?)
}
