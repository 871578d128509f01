//! Where log lines go: standard error, one JSON object a line.
//!
//! Only our own lines follow the configured level. Libraries speak up from `warn` on, whatever is configured: at
//! `debug` and below they print heads and bodies, and there passwords and cookies would be (K1).
//!
//! pingora does not speak at all. It prints at any level what it could not read: a whole head of an application's, with the
//! cookies in it, or a client's field (K1, G9); and it has a line for each stranger who hangs up (D9). What there is to say
//! of a request that failed, the edge says itself. TLS and HTTP/2 libraries say what went wrong on our side, and not what
//! strangers did.

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
        .with_target("pingora", LevelFilter::OFF)
        .with_target("rustls::", LevelFilter::ERROR)
        .with_target("h2::", LevelFilter::ERROR)
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
    hush_libraries();
    Ok(())
}

/// Starts logging; the first call of the process wins.
pub(super) fn start(settings: &LogSettings, security: Security) -> Level {
    let (filter, handle) = reload::Layer::new(targets(settings.level, security));
    let lines = json_lines().with_writer(std::io::stderr);
    // A second call, as tests of this crate might make, leaves the first one's logging as it is.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    hush_libraries();
    Level { filter: handle, security }
}

/// What libraries would say at lower levels is not even put together: pingora 0.9.1 takes an application's head for UTF-8
/// there, and panics where it is not. To be called once there is a log, whose start sets this to the level of our own lines.
fn hush_libraries() {
    log::set_max_level(log::LevelFilter::Warn);
}

/// One object a line.
fn json_lines<S>() -> tracing_subscriber::fmt::Layer<S, JsonFields, Format<Json>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k1_d9_what_libraries_print_of_other_peoples_text_is_in_no_log_at_any_level() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            let targets = targets(level, Security::Shown);
            let writes = |target: &str, level| targets.would_enable(target, &level);
            for target in ["pingora_proxy", "pingora_core::protocols::http::v1::client", "pingora_core::apps"] {
                assert!(!writes(target, tracing::Level::ERROR), "{target}");
            }
            for target in ["rustls::msgs::handshake", "h2::proto::streams::recv"] {
                assert!(
                    !writes(target, tracing::Level::WARN) && writes(target, tracing::Level::ERROR),
                    "{target}"
                );
            }
            assert!(!writes("sqlx::query", tracing::Level::INFO));
            assert!(writes("zonegate::edge", tracing::Level::ERROR));
        }
    }
}
