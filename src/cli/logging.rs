//! Where log lines go: standard error, one JSON object a line.
//!
//! Only our own lines follow the configured level. Libraries speak up from `warn` on, whatever is configured: at
//! `debug` and below they print heads and bodies, and there passwords and cookies would be (K1).

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogSettings;

/// Whether security events are lines as well. They are kept in the store in any case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Security {
    /// They are.
    Shown,
    /// They are not: somebody reads the terminal for something else.
    Hidden,
}

/// Starts logging; the first call of the process wins.
pub(super) fn start(settings: &LogSettings, security: Security) {
    let level = settings.level.parse().unwrap_or(LevelFilter::INFO);
    let libraries = level.min(LevelFilter::WARN);
    let targets = Targets::new()
        .with_default(libraries)
        // A line for every stranger who hangs up in the middle of a handshake is a way to fill a disk.
        .with_target("pingora_core::services::listening", LevelFilter::OFF)
        .with_target("zonegate", level)
        .with_target("access", LevelFilter::INFO)
        .with_target(
            "security",
            match security {
                Security::Shown => LevelFilter::INFO,
                Security::Hidden => LevelFilter::OFF,
            },
        );
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    // A second call, as tests of this crate might make, leaves the first one's logging as it is.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}
