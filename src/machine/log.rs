//! Where the program's own log goes: JSON, one object a line, on standard error.
//!
//! Three kinds of lines, told apart by `target`: `access`, one a request; `security`, what also stands in the store's
//! security log; and everything else, the program itself. The level is for the last kind. The libraries are held to
//! warnings whatever it is: at `trace` they print requests, headers and all (K1).

use tracing_subscriber::EnvFilter;

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogProblem {
    /// Not a level.
    #[error("{0:?} is not a log level: use error, warn, info, debug or trace")]
    Level(String),
    /// A log was set up before.
    #[error("the log was set up twice")]
    Twice,
}

/// Sets the log up, once for the process. `level`: `error`, `warn`, `info`, `debug` or `trace`.
pub fn init_logging(level: &str) -> Result<(), LogProblem> {
    let filter = filter(level)?;
    let lines =
        tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(false);
    // pingora speaks the other log's language; this bridge and the lines themselves are set up together.
    lines.with_env_filter(filter).with_writer(std::io::stderr).try_init().map_err(|_| LogProblem::Twice)
}

fn filter(level: &str) -> Result<EnvFilter, LogProblem> {
    if !["error", "warn", "info", "debug", "trace"].contains(&level) {
        return Err(LogProblem::Level(level.to_owned()));
    }
    let text = format!("warn,zonegate={level},access=info,security=info");
    EnvFilter::try_new(text).map_err(|_| LogProblem::Level(level.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_level_is_a_level_and_the_libraries_stay_quiet() {
        assert!(matches!(filter("sqlx=trace"), Err(LogProblem::Level(_))));
        let text = filter("trace").unwrap().to_string();
        assert!(text.contains("zonegate=trace") && text.contains("warn") && !text.contains(",trace"), "{text}");
    }
}
