//! `zonegate keys …`: the keys that sign what the application is told.

use super::operator::{Configuration, Site, columns};
use super::{CommandProblem, say};
use crate::table::{PUBLISHED_AHEAD, Rotation, rotate_signing_key};
use crate::telemetry::Actor;

/// `zonegate keys …`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// List the signing keys, without their private part
    List,
    /// Make a new signing key; the old one stays published, so that nothing that was signed is refused
    Rotate {
        /// The old keys have leaked: withdraw them now, although applications refuse requests for a moment
        #[arg(long)]
        leaked: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    arguments.configuration.with_store(async |site| match &arguments.action {
        Action::List => list(&site).await,
        Action::Rotate { leaked } => rotate(&site, *leaked).await,
    })
}

async fn list(site: &Site) -> Result<(), CommandProblem> {
    let head = ["KEY ID", "ALGORITHM", "MADE", "RETIRED"].map(String::from);
    let keys = site.store.signing_keys().await?;
    let rows = keys.iter().map(|key| {
        [
            key.kid.clone(),
            key.algorithm.name().into(),
            key.created_at.to_string(),
            key.retired_at.map_or_else(|| "-".into(), |at| at.to_string()),
        ]
    });
    say(columns(std::iter::once(head).chain(rows)))
}

async fn rotate(site: &Site, leaked: bool) -> Result<(), CommandProblem> {
    let rotation = if leaked { Rotation::AtOnce } else { Rotation::Overlap };
    let algorithm = site.settings.assertion.algorithm;
    let made = rotate_signing_key(&site.store, algorithm, rotation, Actor::Operator, site.now).await;
    let kid = made.map_err(|fault| CommandProblem::Input(fault.to_string()))?;
    match rotation {
        Rotation::Overlap => say(format_args!(
            "Made {kid}. It signs {} seconds from now, when applications know it.",
            PUBLISHED_AHEAD.seconds()
        )),
        Rotation::AtOnce => say(format_args!("Made {kid}; it signs at once, and every older key is withdrawn.")),
    }
}
