//! What the program says of itself.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::section::Section;
use super::settings::path;

/// What is logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// How much.
    pub level: LogLevel,
    /// What line each request is.
    pub access: AccessLines,
    /// Where these lines go; `None`: to standard error, as all others do.
    pub access_file: Option<PathBuf>,
}

/// The line of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessLines {
    /// There is none.
    Off,
    /// An object with everything that is known.
    Json,
    /// What Apache and nginx call combined, for programs that read theirs.
    Combined,
}

/// No such line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is none of off, json, combined")]
pub struct NoAccessLines;

/// *Why are `true` and `false` words for it as well?* In YAML they are what `on` and `off` say, and who only wants to
/// have lines or none need not know their forms.
impl FromStr for AccessLines {
    type Err = NoAccessLines;

    fn from_str(text: &str) -> Result<Self, NoAccessLines> {
        match text {
            "off" | "false" => Ok(Self::Off),
            "json" | "true" => Ok(Self::Json),
            "combined" => Ok(Self::Combined),
            _ => Err(NoAccessLines),
        }
    }
}

/// How much is logged, from little to all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what soon may.
    Warn,
    /// And what was done.
    Info,
    /// And how.
    Debug,
    /// And every step of it.
    Trace,
}

impl LogLevel {
    const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name in the configuration and at the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// No level has this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is none of error, warn, info, debug, trace")]
pub struct NoLogLevel;

impl FromStr for LogLevel {
    type Err = NoLogLevel;

    fn from_str(text: &str) -> Result<Self, NoLogLevel> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or(NoLogLevel)
    }
}

pub(super) fn read(section: Section<'_>, directory: &Path) -> LogSettings {
    let level = section.parsed("level", LogLevel::Info);
    let access = section.parsed("access", AccessLines::Json);
    let access_file = section.scalar("access_file");
    if let (AccessLines::Off, Some(file)) = (access, &access_file) {
        let text = "has no effect while log.access is off: take it away, or set log.access to json or combined";
        section.report_at(file, text);
    }
    let access_file = access_file.map(|file| path(directory, file.text));
    section.finish();
    LogSettings { level, access, access_file }
}
