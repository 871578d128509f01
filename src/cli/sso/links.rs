//! Who of a provider's people has which account.

use std::collections::HashMap;
use std::path::Path;

use super::provider::found;
use crate::base::Username;
use crate::cli::files::Disk;
use crate::cli::operator::{Site, columns};
use crate::cli::{CommandProblem, say};
use crate::config::Surroundings as _;
use crate::directory::Tenant;
use crate::sso::{Audience, Issuer, Subject, read_roster, write_roster};
use crate::store::{Account, Linked};
use crate::telemetry::{EventKind, SecurityEvent, Snippet};

async fn account(site: &Site, username: &Username) -> Result<Account, CommandProblem> {
    let account = site.store.account(username).await?;
    account.ok_or_else(|| CommandProblem::Input(format!("there is no user {username}: see `zonegate user list`")))
}

fn event(site: &Site, kind: EventKind, issuer: &Issuer) -> SecurityEvent {
    SecurityEvent { detail: Some(Snippet::of(issuer.as_str())), ..site.event(kind) }
}

pub(super) async fn link(site: &Site, username: &Username, subject: &Subject) -> Result<(), CommandProblem> {
    let Account { user, tenant, .. } = account(site, username).await?;
    let issuer = found(site, &tenant).await?.settings.issuer;
    let linked = event(site, EventKind::AccountLinked, &issuer);
    match site.store.link(tenant.id, &issuer, subject, user.id, Audience::Tenant, &linked).await? {
        Linked::Yes => say(format_args!("{username} is {} at {issuer}.", subject.as_str())),
        refused @ (Linked::SubjectTaken | Linked::UserHasAnother | Linked::NotOfThisKind) => {
            Err(CommandProblem::Input(refusal(username.as_str(), subject, refused)))
        }
    }
}

/// Why two that were to belong together do not.
fn refusal(username: &str, subject: &Subject, linked: Linked) -> String {
    match linked {
        Linked::Yes => format!("{username} is {}", subject.as_str()),
        Linked::SubjectTaken => format!("{} is another user already: unlink that one first", subject.as_str()),
        Linked::UserHasAnother => {
            format!("{username} is somebody else there already: `zonegate tenant sso unlink {username}` first")
        }
        Linked::NotOfThisKind => {
            format!("{username} is co-managed or a program, whom a company's own provider does not know")
        }
    }
}

pub(super) async fn unlink(site: &Site, username: &Username, at: Option<&Issuer>) -> Result<(), CommandProblem> {
    let Account { user, tenant, .. } = account(site, username).await?;
    let issuer = match at {
        Some(issuer) => issuer.clone(),
        None => found(site, &tenant).await?.settings.issuer,
    };
    let unlinked = SecurityEvent { tenant: Some(tenant.id), ..event(site, EventKind::AccountUnlinked, &issuer) };
    if site.store.unlink(user.id, Audience::Tenant, &issuer, &unlinked).await? {
        say(format_args!(
            "{username} is nobody at {issuer} any more, and the sessions that began there are ended."
        ))
    } else {
        say(format_args!("{username} was nobody at {issuer}."))
    }
}

pub(super) async fn list(site: &Site, tenant: &Tenant, as_csv: bool) -> Result<(), CommandProblem> {
    let issuer = found(site, tenant).await?.settings.issuer;
    let links = site.store.links(tenant.id, Audience::Tenant).await?;
    let links = links.iter().filter(|link| link.issuer == issuer);
    if as_csv {
        return say(write_roster(links.map(|link| (&link.username, &link.subject, link.linked_at))));
    }
    let rows = links
        .map(|link| [link.username.to_string(), link.subject.as_str().to_owned(), link.linked_at.to_string()]);
    let head = ["USERNAME", "SUBJECT", "LINKED"].map(String::from);
    say(columns(std::iter::once(head).chain(rows)))
}

pub(super) async fn import(site: &Site, tenant: &Tenant, file: &Path) -> Result<(), CommandProblem> {
    let issuer = found(site, tenant).await?.settings.issuer;
    let name = file.display();
    let bytes = Disk.read(file).map_err(CommandProblem::Input)?;
    let text = String::from_utf8(bytes).map_err(|_| CommandProblem::Input(format!("{name} is not UTF-8 text")))?;
    let accounts = site.store.accounts(Some(tenant.id)).await?;
    let known: HashMap<_, _> = accounts.iter().map(|account| (&account.user.username, account.user.id)).collect();
    let (entries, mut wrong) = match read_roster(&text, |username| known.get(username).copied()) {
        Ok(entries) => (entries, Vec::new()),
        Err(wrong) => (Vec::new(), wrong.into_iter().map(|(line, why)| (line, why.to_string())).collect()),
    };
    if wrong.is_empty() {
        let pairs: Vec<_> = entries.iter().map(|entry| (entry.user, entry.subject.clone())).collect();
        let linked = event(site, EventKind::AccountLinked, &issuer);
        let answers = site.store.link_all(tenant.id, &issuer, &pairs, Audience::Tenant, &linked).await?;
        wrong.extend(
            entries
                .iter()
                .zip(answers)
                .filter(|(_, answer)| *answer != Linked::Yes)
                .map(|(entry, answer)| (entry.line, refusal(entry.username.as_str(), &entry.subject, answer))),
        );
    }
    if wrong.is_empty() {
        return say(format_args!("Linked users of {1} at {issuer}: {0}.", entries.len(), tenant.slug));
    }
    let told: Vec<_> = wrong.iter().map(|(line, text)| format!("{name}:{line}: {text}")).collect();
    Err(CommandProblem::Input(format!("{name} is not imported, and nothing was changed:\n{}", told.join("\n"))))
}
