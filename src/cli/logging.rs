//! Where log lines go: standard error, one JSON object a line.
//!
//! Only our own lines follow the configured level. Libraries speak up from `warn` on, whatever is configured: at
//! `debug` and below they print heads and bodies, and there passwords and cookies would be (K1).

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::config::{LogLevel, LogSettings};

/// Whether security events are lines as well. They are kept in the store in any case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Security {
    /// They are.
    Shown,
    /// They are not: somebody reads the terminal for something else.
    Hidden,
}

/// The level of the running program's log.
pub(super) struct Level {
    filter: reload::Handle<Targets, Registry>,
    security: Security,
}

impl Level {
    /// Says so much from here on.
    pub(super) fn set(&self, level: LogLevel) {
        // Fails only once there is no log any more.
        let _ = self.filter.reload(targets(level, self.security));
    }
}

fn targets(level: LogLevel, security: Security) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let security = match security {
        Security::Shown => LevelFilter::INFO,
        Security::Hidden => LevelFilter::OFF,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // A line for every stranger who hangs up in the middle of a handshake is a way to fill a disk.
        .with_target("pingora_core::services::listening", LevelFilter::OFF)
        .with_target("zonegate", level)
        .with_target("access", LevelFilter::INFO)
        .with_target("security", security)
}

/// Starts logging; the first call of the process wins.
pub(super) fn start(settings: &LogSettings, security: Security) -> Level {
    let (filter, handle) = reload::Layer::new(targets(settings.level, security));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    // A second call, as tests of this crate might make, leaves the first one's logging as it is.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Level { filter: handle, security }
}
