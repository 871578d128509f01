//! `zonegate backup` and `zonegate restore`: a copy of the store, and the store from a copy.

use std::path::PathBuf;

use super::operator::Configuration;
use super::{CommandProblem, say};
use crate::machine::Clock;
use crate::store::{self, StoreFault};

/// `zonegate backup FILE`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Backup {
    #[command(flatten)]
    configuration: Configuration,
    /// Where the copy goes; must not exist. It is as secret as the store
    file: PathBuf,
}

/// `zonegate restore FILE`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Restore {
    #[command(flatten)]
    configuration: Configuration,
    /// A copy that `zonegate backup` wrote
    file: PathBuf,
}

pub(super) fn backup(arguments: &Backup) -> Result<(), CommandProblem> {
    if arguments.file.exists() {
        let text = format!(
            "{} is there already, and a backup never overwrites: name a new file",
            arguments.file.display()
        );
        return Err(CommandProblem::Input(text));
    }
    arguments.configuration.with_store(async |site| {
        site.store.backup_to(&arguments.file).await?;
        say(format_args!("The store as of now is in {}.", arguments.file.display()))?;
        say("Keep the master key as well, in another place: without it no gateway opens the copy.")
    })
}

/// Sessions are not restored: one that was ended after the backup must not come back.
pub(super) fn restore(arguments: &Restore) -> Result<(), CommandProblem> {
    let settings = arguments.configuration.load()?;
    let now = Clock::new().now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let restored = store::restore(&settings.store_path, &arguments.file, &settings.master_key, now);
    let kept = match runtime.block_on(restored) {
        Err(StoreFault::NotAStore(file)) if file == arguments.file => {
            let text = format!("{} is no copy that `zonegate backup` wrote; nothing was changed", file.display());
            return Err(CommandProblem::Input(text));
        }
        restored => restored?,
    };
    say(format_args!("{} is as it was when the copy was made.", settings.store_path.display()))?;
    if let Some(kept) = kept {
        say(format_args!("What was there before is kept in {}.", kept.display()))?;
    }
    say("Everybody has to log in again, and assertions are signed with a new key.")
}
