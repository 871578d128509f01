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
/// How long it may take to say how it is. Whoever asks has a deadline of their own.
const HEALTH_MAX: Duration = Duration::from_secs(10);

/// A running gateway that can be asked.
pub(super) struct Admin {
    client: reqwest::Client,
    /// As the operator knows it.
    name: String,
    authority: String,
}

impl Admin {
    /// The gateway of this configuration. Nobody is asked yet. `signal`: what does the same without a listener.
    pub(super) fn of(configuration: &Configuration, signal: Option<&str>) -> Result<Self, CommandProblem> {
        // The file may be wrong in any other place: then it is the gateway that says so.
        let inspection = configuration.inspect(&Disk)?;
        let Some(admin) = inspection.admin else {
            if !inspection.problems.is_empty() {
                return Err(Problems { file: configuration.name(), list: inspection.problems }.into());
            }
            let or = signal.map(|signal| format!(", or send it {signal}")).unwrap_or_default();
            return Err(CommandProblem::Input(format!(
                "listen.admin is not set, so no gateway can be asked: set it and restart the gateway{or}"
            )));
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

    /// Whether it is ready: what it says of that, or why it says nothing.
    pub(super) async fn health(&self) -> Result<String, CommandProblem> {
        self.answer(self.client.get(self.address("/readyz")).timeout(HEALTH_MAX)).await
    }

    fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    async fn answer(&self, asked: RequestBuilder) -> Result<String, CommandProblem> {
        let silent = |fault: reqwest::Error| {
            let name = &self.name;
            CommandProblem::Unreachable(format!(
                "the gateway does not answer at {name}: {}. Is it running, and with this listen.admin?",
                cause(&fault)
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

/// What was at the bottom of it: that a request could not be sent, the caller says already.
fn cause(fault: &reqwest::Error) -> String {
    if fault.is_timeout() {
        return "no answer came in time".into();
    }
    let mut cause: &dyn std::error::Error = fault;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
