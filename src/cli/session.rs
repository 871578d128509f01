//! `zonegate session …`: who is logged in, and ending it. A running gateway follows within a second.

use super::operator::{Configuration, Site, columns};
use super::{CommandProblem, say};
use crate::base::{SessionId, Username};
use crate::session::{EndReason, Liveness};
use crate::store::{Account, LoadedSession};
use crate::telemetry::{EventKind, SecurityEvent};

/// `zonegate session …`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// List live sessions
    List {
        /// Only this user's
        #[arg(long, value_name = "USERNAME")]
        user: Option<Username>,
    },
    /// End one session, or all of a user
    #[command(group = clap::ArgGroup::new("which").required(true))]
    End {
        /// The session's id, as `session list` shows it
        #[arg(group = "which")]
        id: Option<SessionId>,
        /// Every session of this user, and every log-in under way
        #[arg(long, value_name = "USERNAME", group = "which")]
        user: Option<Username>,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandProblem> {
    arguments.configuration.with_store(async |site| match &arguments.action {
        Action::List { user } => list(&site, user.as_ref()).await,
        Action::End { id: Some(id), user: _ } => end_one(&site, *id).await,
        Action::End { id: None, user: Some(user) } => end_all(&site, user).await,
        Action::End { id: None, user: None } => {
            Err(CommandProblem::Input("name a session, or a user with --user".into()))
        }
    })
}

/// The sessions that could still be used: those past a limit are ended by the gateway at their next request.
async fn live(site: &Site) -> Result<Vec<LoadedSession>, CommandProblem> {
    let mut sessions = site.store.live_sessions().await?;
    sessions.retain(|session| {
        let record = &session.record;
        let alive = record.lifetimes.check(record.started_at, record.last_seen, site.now) == Liveness::Live;
        alive && record.epoch >= session.user_epoch
    });
    Ok(sessions)
}

async fn list(site: &Site, user: Option<&Username>) -> Result<(), CommandProblem> {
    let head = ["ID", "USER", "ZONE", "CLASS", "METHOD", "STARTED", "LAST ACTIVE", "DEVICE"].map(String::from);
    if let Some(user) = user {
        known(site, user).await?;
    }
    let sessions = live(site).await?;
    let wanted =
        sessions.iter().filter(|session| user.is_none_or(|user| session.principal.username == user.as_str()));
    let rows = wanted.map(|session| {
        let record = &session.record;
        [
            record.id.to_string(),
            session.principal.username.clone(),
            record.zone.to_string(),
            record.class.name().into(),
            record.method.name().into(),
            record.started_at.to_string(),
            record.last_seen.to_string(),
            format!("{} at {}", record.device.label, record.device.address),
        ]
    });
    say(columns(std::iter::once(head).chain(rows)))
}

async fn end_one(site: &Site, id: SessionId) -> Result<(), CommandProblem> {
    let sessions = live(site).await?;
    let Some(session) = sessions.iter().find(|session| session.record.id == id) else {
        return Err(CommandProblem::Input(format!("there is no live session {id}: see `zonegate session list`")));
    };
    let record = &session.record;
    let event = SecurityEvent {
        user: Some(record.user),
        tenant: Some(record.tenant),
        session: Some(id),
        zone: Some(record.zone.clone()),
        class: Some(record.class),
        reason: Some(EndReason::Revoked.name()),
        ..site.event(EventKind::SessionEnded)
    };
    site.store.end_sessions(record.user, &[id], EndReason::Revoked, site.now, &[event]).await?;
    say(format_args!("The session of {} is ended.", session.principal.username))
}

/// An empty list would say that nobody is logged in, and not that the name was mistyped.
async fn known(site: &Site, user: &Username) -> Result<Account, CommandProblem> {
    let account = site.store.account(user).await?;
    account.ok_or_else(|| CommandProblem::Input(format!("there is no user {user}: see `zonegate user list`")))
}

async fn end_all(site: &Site, user: &Username) -> Result<(), CommandProblem> {
    let account = known(site, user).await?;
    let event = SecurityEvent {
        user: Some(account.user.id),
        tenant: Some(account.tenant.id),
        reason: Some(EndReason::Revoked.name()),
        ..site.event(EventKind::SessionEnded)
    };
    site.store.end_user(account.user.id, EndReason::Revoked, &event).await?;
    say(format_args!("All sessions of {user} are ended."))
}
