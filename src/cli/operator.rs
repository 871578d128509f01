//! What every command of an operator needs: the configuration, and the store that it names.

use std::path::PathBuf;

use crate::base::UnixTime;
use crate::config::{self, Inspection, Settings, Surroundings};
use crate::directory::is_label;
use crate::machine::Clock;
use crate::store::Store;
use crate::telemetry::{Actor, EventKind, SecurityEvent};

use super::CommandProblem;
use super::files::Disk;

/// Which installation a command works on.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Configuration {
    /// The configuration file
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "ZONEGATE_CONFIG",
        default_value = "/etc/zonegate/zonegate.yaml",
        global = true
    )]
    config: PathBuf,
}

impl Configuration {
    /// Reads the configuration whole, or says everything that is wrong with it.
    pub(super) fn load(&self) -> Result<Settings, CommandProblem> {
        Ok(config::load(&self.text(&Disk)?, &self.name(), &Disk)?)
    }

    /// Reads what can be read of the configuration, whatever is wrong with the rest.
    pub(super) fn inspect(&self, outside: &dyn Surroundings) -> Result<Inspection, CommandProblem> {
        Ok(config::inspect(&self.text(outside)?, &self.name(), outside))
    }

    fn text(&self, outside: &dyn Surroundings) -> Result<String, CommandProblem> {
        let bytes = outside.read(&self.config).map_err(CommandProblem::ConfigurationFile)?;
        String::from_utf8(bytes)
            .map_err(|_| CommandProblem::ConfigurationFile(format!("{} is not UTF-8 text", self.config.display())))
    }

    /// The file's name, as the operator gave it.
    pub(super) fn name(&self) -> String {
        self.config.to_string_lossy().into_owned()
    }

    /// Opens the store, which a running gateway may have open as well, and does `work` with it.
    pub(super) fn with_store<T>(
        &self,
        work: impl AsyncFnOnce(Site) -> Result<T, CommandProblem>,
    ) -> Result<T, CommandProblem> {
        let settings = self.load()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let store = Store::open_beside(&settings.store_path, &settings.master_key).await?;
            let done = work(Site { settings, store: store.clone(), now: Clock::new().now() }).await;
            store.close().await;
            done
        })
    }
}

/// An installation, open for a command.
pub(super) struct Site {
    /// The operator's decisions.
    pub(super) settings: Settings,
    /// What survives.
    pub(super) store: Store,
    /// The command's one reading of the clock.
    pub(super) now: UnixTime,
}

impl Site {
    /// An event of this kind, done by the operator now.
    pub(super) fn event(&self, kind: EventKind) -> SecurityEvent {
        SecurityEvent::new(kind, Actor::Operator, self.now)
    }
}

/// Rows as text in columns, each as wide as its widest cell. A name that was kept before names were looked at, or came
/// with a backup, must not move the operator's cursor: what is no label is written as Rust would quote it.
pub(super) fn columns<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let shown = |cell: String| if is_label(&cell) { cell } else { format!("{cell:?}") };
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(shown)).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn a_name_in_the_store_cannot_move_the_operators_cursor() {
        let rows =
            [["a".to_owned(), "\u{1b}[2J\u{1b}]0;x\u{7}".to_owned()], ["b\nroot".to_owned(), "ok".to_owned()]];
        let shown = columns(rows);
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
        assert_eq!(shown.lines().count(), 2, "{shown:?}");
        assert!(shown.contains("ok") && shown.contains("\\u{1b}[2J"), "{shown:?}");
    }
}
