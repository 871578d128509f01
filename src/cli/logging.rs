//! Where log lines go: standard error, one JSON object a line.
//!
//! Only our own lines follow the configured level. Libraries speak up from `warn` on, whatever is configured: at
//! `debug` and below they print heads and bodies, and there passwords and cookies would be (K1).

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

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

/// Starts logging for somebody who reads the terminal for something else: everything goes to the file, which is made
/// anew, and what is wrong to standard error as well.
pub(super) fn start_in_file(file: &Path) -> std::io::Result<()> {
    let file = Mutex::new(File::create(file)?);
    let whole = json_lines().with_writer(file).with_filter(targets(LogLevel::Info, Security::Shown));
    let wrong = json_lines().with_writer(std::io::stderr).with_filter(targets(LogLevel::Warn, Security::Hidden));
    let _ = tracing_subscriber::registry().with(whole).with(wrong).try_init();
    Ok(())
}

/// Starts logging; the first call of the process wins.
pub(super) fn start(settings: &LogSettings, security: Security) -> Level {
    let (filter, handle) = reload::Layer::new(targets(settings.level, security));
    let lines = json_lines().with_writer(std::io::stderr);
    // A second call, as tests of this crate might make, leaves the first one's logging as it is.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Level { filter: handle, security }
}

/// One object a line.
fn json_lines<S>() -> tracing_subscriber::fmt::Layer<S, JsonFields, Format<Json>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false)
}
