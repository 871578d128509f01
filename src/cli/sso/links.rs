//! Who of a provider's people has which account.

use std::collections::HashMap;
use std::path::Path;

use super::provider::found;
use crate::base::{UserId, Username};
use crate::cli::files::Disk;
use crate::cli::operator::{Site, columns};
use crate::cli::{CommandProblem, csv, say};
use crate::config::Surroundings as _;
use crate::directory::Tenant;
use crate::sso::{Audience, Issuer, Subject};
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
        refused @ (Linked::SubjectTaken | Linked::UserHasAnother) => {
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
    }
}

pub(super) async fn unlink(site: &Site, username: &Username, at: Option<&Issuer>) -> Result<(), CommandProblem> {
    let Account { user, tenant, .. } = account(site, username).await?;
    let issuer = match at {
        Some(issuer) => issuer.clone(),
        None => found(site, &tenant).await?.settings.issuer,
    };
    let unlinked = SecurityEvent { tenant: Some(tenant.id), ..event(site, EventKind::AccountUnlinked, &issuer) };
    if site.store.unlink(user.id, &issuer, &unlinked).await? {
        say(format_args!(
            "{username} is nobody at {issuer} any more, and the sessions that began there are ended."
        ))
    } else {
        say(format_args!("{username} was nobody at {issuer}."))
    }
}

pub(super) async fn list(site: &Site, tenant: &Tenant, as_csv: bool) -> Result<(), CommandProblem> {
    let issuer = found(site, tenant).await?.settings.issuer;
    let links = site.store.links(tenant.id).await?;
    let rows = links
        .iter()
        .filter(|link| link.issuer == issuer)
        .map(|link| [link.username.to_string(), link.subject.as_str().to_owned(), link.linked_at.to_string()]);
    if as_csv {
        let head = ["username", "subject", "linked_at"].map(String::from);
        return say(csv::write(std::iter::once(head).chain(rows)));
    }
    let head = ["USERNAME", "SUBJECT", "LINKED"].map(String::from);
    say(columns(std::iter::once(head).chain(rows)))
}

/// A line of the file that says something that can be.
struct Line {
    number: usize,
    username: Username,
    user: UserId,
    subject: Subject,
}

pub(super) async fn import(site: &Site, tenant: &Tenant, file: &Path) -> Result<(), CommandProblem> {
    let issuer = found(site, tenant).await?.settings.issuer;
    let name = file.display();
    let bytes = Disk.read(file).map_err(CommandProblem::Input)?;
    let text = String::from_utf8(bytes).map_err(|_| CommandProblem::Input(format!("{name} is not UTF-8 text")))?;
    let (lines, mut wrong) = lines(site, tenant, &text).await?;
    if wrong.is_empty() {
        let pairs: Vec<_> = lines.iter().map(|line| (line.user, line.subject.clone())).collect();
        let linked = event(site, EventKind::AccountLinked, &issuer);
        let answers = site.store.link_all(tenant.id, &issuer, &pairs, Audience::Tenant, &linked).await?;
        wrong.extend(
            lines
                .iter()
                .zip(answers)
                .filter(|(_, answer)| *answer != Linked::Yes)
                .map(|(line, answer)| (line.number, refusal(line.username.as_str(), &line.subject, answer))),
        );
    }
    if wrong.is_empty() {
        return say(format_args!("{} users of {} are linked at {issuer}.", lines.len(), tenant.slug));
    }
    let told: Vec<_> = wrong.iter().map(|(line, text)| format!("{name}:{line}: {text}")).collect();
    Err(CommandProblem::Input(format!("{name} is not imported, and nothing was changed:\n{}", told.join("\n"))))
}

/// Every line that can be, and why the others cannot.
async fn lines(
    site: &Site,
    tenant: &Tenant,
    text: &str,
) -> Result<(Vec<Line>, Vec<(usize, String)>), CommandProblem> {
    let rows = match csv::read(text) {
        Ok(rows) => rows,
        Err((line, text)) => return Ok((Vec::new(), vec![(line, text.to_owned())])),
    };
    let mut rows = rows.into_iter();
    let (number, head) = rows.next().unwrap_or((1, Vec::new()));
    let column = |name: &str| head.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
    let (Some(username), Some(subject)) = (column("username"), column("subject")) else {
        let text = "must name the columns, username and subject among them".to_owned();
        return Ok((Vec::new(), vec![(number, text)]));
    };
    let accounts = site.store.accounts(Some(tenant.id)).await?;
    let known: HashMap<_, _> = accounts.iter().map(|account| (&account.user.username, account.user.id)).collect();
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for (number, row) in rows {
        let cell = |at: usize| row.get(at).map_or("", |cell| cell.trim());
        let read = cell(username).parse::<Username>().map_err(|problem| format!("{:?} {problem}", cell(username)));
        let found = read.and_then(|username| match known.get(&username) {
            Some(user) => Ok((username, *user)),
            None => Err(format!("{} has no user {username}", tenant.slug)),
        });
        let subject = Subject::parse(cell(subject))
            .ok_or_else(|| format!("{:?} is no subject: 1 to 255 printable ASCII characters", cell(subject)));
        match (found, subject) {
            (Ok((username, user)), Ok(subject)) => good.push(Line { number, username, user, subject }),
            (Err(text), Ok(_)) | (Ok(_), Err(text)) => wrong.push((number, text)),
            (Err(first), Err(second)) => wrong.extend([(number, first), (number, second)]),
        }
    }
    Ok((good, wrong))
}
