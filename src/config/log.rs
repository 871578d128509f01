//! What the program says of itself.

use std::str::FromStr;

use super::section::Section;

/// What is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogSettings {
    /// How much.
    pub level: LogLevel,
    /// Whether each request is a line.
    pub access: bool,
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

pub(super) fn read(section: Section<'_>) -> LogSettings {
    let settings =
        LogSettings { level: section.parsed("level", LogLevel::Info), access: section.flag("access", true) };
    section.finish();
    settings
}
