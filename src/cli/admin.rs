//! The way to the gateway that runs: its admin listener, as the configuration names it.

use std::time::Duration;

use reqwest::RequestBuilder;

use super::CommandProblem;
use super::files::Disk;
use super::operator::Configuration;
use crate::config::{AdminListener, Problems};
use crate::edge::install_provider;
use crate::portal::COMMAND;

/// How long the gateway may take: it reads files, asks for names, may hash, and at an upgrade waits for another process.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// A running gateway that can be asked.
pub(super) struct Admin {
    client: reqwest::Client,
    /// As the operator knows it.
    name: String,
    authority: String,
}

impl Admin {
    /// The gateway of this configuration. Nobody is asked yet.
    pub(super) fn of(configuration: &Configuration) -> Result<Self, CommandProblem> {
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
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX);
        let (client, name, authority) = match admin {
            AdminListener::Loopback(address) => (client, address.to_string(), address.to_string()),
            AdminListener::Unix(path) => {
                let name = path.display().to_string();
                (client.unix_socket(path), name, "localhost".to_owned())
            }
        };
        let client = client.build().map_err(|fault| CommandProblem::Unreachable(fault.to_string()))?;
        Ok(Self { client, name, authority })
    }

    /// Has the gateway do something, and gives its answer.
    pub(super) async fn post(&self, path: &str, body: String) -> Result<String, CommandProblem> {
        self.answer(self.client.post(self.address(path)).header(COMMAND, "1").body(body)).await
    }

    /// What the gateway says at `path`.
    pub(super) async fn get(&self, path: &str) -> Result<String, CommandProblem> {
        self.answer(self.client.get(self.address(path))).await
    }

    fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    async fn answer(&self, asked: RequestBuilder) -> Result<String, CommandProblem> {
        let silent = |fault: reqwest::Error| {
            let name = &self.name;
            CommandProblem::Unreachable(format!(
                "the gateway does not answer at {name}: {fault}. Is it running, and with this listen.admin?"
            ))
        };
        let answer = asked.send().await.map_err(silent)?;
        let status = answer.status();
        let text = answer.text().await.map_err(silent)?;
        match status.as_u16() {
            200 => Ok(text),
            422 => Err(CommandProblem::Refused(text.trim_end().to_owned())),
            _ => Err(CommandProblem::Unreachable(format!("the gateway answered {status}: {}", text.trim_end()))),
        }
    }
}
