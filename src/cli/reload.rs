//! `zonegate reload`, `zonegate upgrade` and `zonegate log-level`: asking the gateway that runs, on its admin listener.

use std::time::Duration;

use super::files::Disk;
use super::operator::Configuration;
use super::{CommandProblem, say};
use crate::config::{AdminListener, LogLevel, Problems};
use crate::edge::install_provider;
use crate::portal::{COMMAND, LOG_LEVEL, RELOAD, UPGRADE};

/// How long the gateway may take: it reads files, asks for names, may hash, and at an upgrade waits for another process.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// `zonegate log-level LEVEL`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LevelArguments {
    /// error, warn, info, debug or trace; until the configuration is read again
    level: LogLevel,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    say(ask(configuration, RELOAD, String::new())?.trim_end())
}

pub(super) fn upgrade(configuration: &Configuration) -> Result<(), CommandProblem> {
    say(ask(configuration, UPGRADE, String::new())?.trim_end())
}

pub(super) fn log_level(arguments: &LevelArguments) -> Result<(), CommandProblem> {
    say(ask(&arguments.configuration, LOG_LEVEL, arguments.level.name().into())?.trim_end())
}

/// Posts `body` to the gateway, and gives its answer.
fn ask(configuration: &Configuration, path: &str, body: String) -> Result<String, CommandProblem> {
    // The file may be wrong in any other place: then it is the gateway that says so.
    let inspection = configuration.inspect(&Disk)?;
    let Some(admin) = inspection.admin else {
        if !inspection.problems.is_empty() {
            return Err(Problems { file: configuration.name(), list: inspection.problems }.into());
        }
        return Err(CommandProblem::Input(
            "listen.admin is not set, so no gateway can be asked: set it and restart the gateway, or send it SIGHUP"
                .into(),
        ));
    };
    install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX);
        let (client, name, authority) = match admin {
            AdminListener::Loopback(address) => (client, address.to_string(), address.to_string()),
            AdminListener::Unix(path) => {
                let name = path.display().to_string();
                (client.unix_socket(path), name, "localhost".to_owned())
            }
        };
        let silent = |fault: reqwest::Error| {
            CommandProblem::Unreachable(format!(
                "the gateway does not answer at {name}: {fault}. Is it running, and with this listen.admin?"
            ))
        };
        let client = client.build().map_err(silent)?;
        let asked = client.post(format!("http://{authority}{path}")).header(COMMAND, "1").body(body).send().await;
        let answer = asked.map_err(silent)?;
        let status = answer.status();
        let text = answer.text().await.map_err(silent)?;
        match status.as_u16() {
            200 => Ok(text),
            422 => Err(CommandProblem::Refused(text.trim_end().to_owned())),
            _ => Err(CommandProblem::Unreachable(format!("the gateway answered {status}: {}", text.trim_end()))),
        }
    })
}
