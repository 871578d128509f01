//! The command line: one file a command.
//!
//! Every command says what it did in one or a few plain lines on standard output; what went wrong is one sentence on
//! standard error that says what to do, or one line for each problem of a configuration, `FILE:LINE: KEY …`. It ends with 0 when it did what was asked, 2 when the arguments or the
//! configuration are wrong, and 1 when it could not be done.

mod admin;
mod apply;
mod backup;
mod check;
mod demo;
mod files;
mod health;
mod keys;
mod logging;
mod operator;
mod policy;
mod reload;
mod serve;
mod session;
mod source;
mod sso;
mod suite;
mod tenant;
mod top;
mod user;
mod version;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::Problems;
use crate::edge::ServeFault;
use crate::machine::EntropyFault;
use crate::store::StoreFault;
use demo::DemoProblem;

/// An identity-provider gateway: it stands in front of a multi-zone web application and gives it a log-in system.
#[derive(Debug, clap::Parser)]
#[command(name = "zonegate", version, disable_help_subcommand = true, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::Arguments),
    /// Read the configuration and certificates, and report everything that is wrong with them
    Check(operator::Configuration),
    /// Have the running gateway read the configuration again, and report what changed or everything that is wrong
    Reload(operator::Configuration),
    /// Start the program anew, as it lies there now, and let it take over from the running gateway: no request is lost
    Upgrade(operator::Configuration),
    /// Ask the running gateway whether people can log in and be let through
    Health(operator::Configuration),
    /// Set how much the running gateway says of itself, until it reads the configuration again
    LogLevel(reload::LevelArguments),
    /// Run everything on this computer, with sample zones, users and an application, to try it out
    Demo(demo::Arguments),
    /// Show how the running gateway does, once a second, until Ctrl-C
    Top(top::Arguments),
    /// Create, list and show tenants
    Tenant(tenant::Arguments),
    /// Create, list, disable and unlock users, set passwords, reset authenticators
    User(user::Arguments),
    /// Say what happens to a request, and by which access rule
    Policy(policy::Arguments),
    /// List and end sessions
    Session(session::Arguments),
    /// List and rotate the keys that sign assertions
    Keys(keys::Arguments),
    /// Copy the store, also while the gateway runs
    Backup(backup::Backup),
    /// Put a copy in the place of the store, while the gateway does not run
    Restore(backup::Restore),
    Apply(apply::Arguments),
    /// Say which version this is and what was built into it
    Version,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandProblem {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// The configuration's file cannot be read.
    #[error("{0}. Name the configuration: --config FILE")]
    ConfigurationFile(String),
    /// The running gateway refused the configuration: a line for each reason.
    #[error("{0}")]
    Refused(String),
    /// The running gateway could not be asked, or could not do it.
    #[error("{0}")]
    Unreachable(String),
    /// What the operator typed makes no sense here.
    #[error("{0}")]
    Input(String),
    /// It was a question, and the answer, which has been told, is no.
    #[error("no")]
    No,
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreFault),
    /// The system gave no random bytes.
    #[error("{0}")]
    Entropy(#[from] EntropyFault),
    /// The demo.
    #[error("{0}")]
    Demo(#[from] DemoProblem),
    /// The gateway.
    #[error("{0}")]
    Serve(#[from] ServeFault),
    /// The terminal or a file.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl CommandProblem {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_)
            | Self::ConfigurationFile(_)
            | Self::Refused(_)
            | Self::Input(_)
            | Self::Store(StoreFault::Taken(_) | StoreFault::Missing(_) | StoreFault::DomainInUse(..))
            | Self::Demo(DemoProblem::Configuration(_)) => ExitCode::from(2),
            Self::No
            | Self::Store(_)
            | Self::Entropy(_)
            | Self::Demo(_)
            | Self::Serve(_)
            | Self::Io(_)
            | Self::Unreachable(_) => ExitCode::FAILURE,
        }
    }
}

/// Does what the arguments ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command_line = match CommandLine::try_parse_from(arguments) {
        Ok(command_line) => command_line,
        Err(told) => {
            // Help and version are told here as well; when even that cannot be written there is nobody to tell.
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let done = match command_line.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(configuration) => check::run(&configuration),
        Command::Reload(configuration) => reload::run(&configuration),
        Command::Upgrade(configuration) => reload::upgrade(&configuration),
        Command::Health(configuration) => health::run(&configuration),
        Command::LogLevel(arguments) => reload::log_level(&arguments),
        Command::Demo(arguments) => demo::run(&arguments).map_err(CommandProblem::from),
        Command::Top(arguments) => top::run(&arguments),
        Command::Tenant(arguments) => tenant::run(&arguments),
        Command::User(arguments) => user::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Session(arguments) => session::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Backup(arguments) => backup::backup(&arguments),
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Version => version::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has read enough. A command that has more to do, or that answers with its exit code, does
        // not end there with what `say` tells it.
        Err(CommandProblem::Io(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(CommandProblem::No) => ExitCode::FAILURE,
        // Each line begins with its file and line, where editors and people look for them.
        Err(problem @ (CommandProblem::Configuration(_) | CommandProblem::Refused(_))) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::from(2)
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "zonegate: {problem}");
            problem.exit_code()
        }
    }
}

/// Writes to standard output.
pub(crate) fn say(text: impl std::fmt::Display) -> Result<(), CommandProblem> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
