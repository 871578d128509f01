//! `zonegate reload`, `zonegate upgrade` and `zonegate log-level`: asking the gateway that runs, on its admin listener.

use super::admin::Admin;
use super::operator::Configuration;
use super::{CommandProblem, say};
use crate::config::LogLevel;
use crate::portal::{LOG_LEVEL, RELOAD, UPGRADE};

/// `zonegate log-level LEVEL`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LevelArguments {
    /// error, warn, info, debug or trace; until the configuration is read again
    level: LogLevel,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    say(ask(configuration, Some("SIGHUP"), RELOAD, String::new())?.trim_end())
}

pub(super) fn upgrade(configuration: &Configuration) -> Result<(), CommandProblem> {
    say(ask(configuration, Some("SIGUSR2"), UPGRADE, String::new())?.trim_end())
}

pub(super) fn log_level(arguments: &LevelArguments) -> Result<(), CommandProblem> {
    say(ask(&arguments.configuration, None, LOG_LEVEL, arguments.level.name().into())?.trim_end())
}

/// Posts `body` to the gateway, and gives its answer. `signal`: what does the same.
fn ask(
    configuration: &Configuration,
    signal: Option<&str>,
    path: &str,
    body: String,
) -> Result<String, CommandProblem> {
    let admin = Admin::of(configuration, signal)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(admin.post(path, body))
}
