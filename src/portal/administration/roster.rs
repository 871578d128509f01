//! A3, Resources: which user is which person at the provider, one by one or as a table.
//!
//! *Why is a table pasted and not uploaded?* An upload is another syntax (`multipart/form-data`), whose reader would be
//! one more that strangers' bytes go through. With script, a file is read into the field; without, it is pasted.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use super::super::answer::{Answer, done, text};
use super::super::form::{Form, query};
use super::super::{Portal, Visit};
use super::{Administrator, ROSTER, ROWS_MAX, TABLE_BYTES_MAX};
use crate::base::Username;
use crate::pages::{Field, LinkedRow, RosterPage, WrongLine};
use crate::sso::{Audience, Entry, Issuer, LineProblem, Subject, read_roster, write_roster};
use crate::store::{Found, LinkRow, Linked, StoreFault};
use crate::telemetry::EventKind;

/// How many wrong lines of a table are shown.
const WRONG_MAX: usize = 500;

/// What a page says besides what is kept.
#[derive(Default)]
struct Said {
    search: String,
    username: Field,
    subject: Field,
    /// The table that was sent, if it does not count.
    table: String,
    wrong: Vec<WrongLine>,
    notice: Option<String>,
    error: Option<&'static str>,
}

impl Said {
    fn wrong(error: &'static str) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}

pub(super) async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let admin = match portal.administrator(&visit, &headers).await {
        Ok(admin) => admin,
        Err(answer) => return answer,
    };
    let chrome = portal.chrome(&visit, &headers);
    let notice = match (query(&uri, "done").as_deref(), query(&uri, "count")) {
        (Some("added"), _) => Some(chrome.t("admin.added")),
        (Some("removed"), _) => Some(chrome.t("admin.removed")),
        (Some("imported"), Some(count)) if count.parse::<u32>().is_ok() => {
            Some(chrome.fill("admin.imported", &[("count", &count)]))
        }
        (Some(_) | None, _) => None,
    };
    let search = query(&uri, "search").unwrap_or_default();
    portal.roster_page(&visit, &headers, &admin, Said { search, notice, ..Said::default() }).await
}

pub(super) async fn change(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.change_roster(&visit, &headers, body).await
}

pub(super) async fn import(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.import_roster(&visit, &headers, body).await
}

pub(super) async fn export(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    portal.export_roster(&visit, &headers).await
}

impl Portal {
    /// The tenant's provider and who of the tenant is who there.
    async fn roster(&self, admin: &Administrator) -> Result<Option<(Issuer, Vec<LinkRow>)>, StoreFault> {
        let tenant = admin.account.tenant.id;
        let Some(provider) = self.store.provider(tenant).await? else { return Ok(None) };
        let issuer = provider.settings.issuer;
        let links = self.store.links(tenant, Audience::Tenant).await?;
        let links = links.into_iter().filter(|link| link.issuer == issuer);
        Ok(Some((issuer.clone(), links.collect())))
    }

    /// The tenant's provider, and who of those who are looked for is who there.
    async fn roster_found(
        &self,
        admin: &Administrator,
        wanted: &str,
    ) -> Result<Option<(Issuer, Found<LinkRow>)>, StoreFault> {
        let tenant = admin.account.tenant.id;
        let Some(provider) = self.store.provider(tenant).await? else { return Ok(None) };
        let issuer = provider.settings.issuer;
        let found = self.store.links_found(tenant, (Audience::Tenant, &issuer), wanted, ROWS_MAX).await?;
        Ok(Some((issuer, found)))
    }

    async fn roster_page(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        admin: &Administrator,
        mut said: Said,
    ) -> Answer {
        let roster = match self.roster_found(admin, said.search.trim()).await {
            Ok(roster) => roster,
            Err(fault) => return self.store_fault(visit, headers, &fault),
        };
        let (csrf, browser) = match self.form_token(visit, &admin.person, headers) {
            Ok(token) => token,
            Err(answer) => return answer,
        };
        let confirmation = self.confirmation(&admin.person.session, &admin.account, visit, ROSTER);
        let (issuer, links, found) = match roster {
            None => (None, Vec::new(), 0),
            Some((issuer, found)) => (Some(issuer), found.rows, found.count),
        };
        let more_wrong = said.wrong.len().saturating_sub(WRONG_MAX);
        said.wrong.truncate(WRONG_MAX);
        let page = RosterPage {
            company: &admin.account.tenant.name,
            issuer: issuer.as_ref().map(Issuer::as_str),
            search: &said.search,
            found,
            rows: links.into_iter().map(linked_row).collect(),
            username: said.username,
            subject: said.subject,
            table: &said.table,
            wrong: said.wrong,
            more_wrong,
            confirm: confirmation.shown(),
            csrf: &csrf,
            notice: said.notice,
            error: said.error,
        };
        self.admin_page(visit, headers, &page, said.error, browser)
    }

    async fn change_roster(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let form = self.form(visit, &admin.person, headers, body).await?;
        let unconfirmed = self.unconfirmed(visit, &admin.person, headers, &form).await?;
        let roster = self.roster(&admin).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let said = match (unconfirmed, roster, form.field("remove")) {
            (Some(error), _, _) => Said { error: Some(error), ..typed(&form) },
            (None, None, _) => Said::wrong("admin.roster.noprovider"),
            (None, Some((issuer, links)), Some(id)) => {
                let Some(link) = links.iter().find(|link| link.user.to_string() == id) else {
                    let said = Said::wrong("admin.wrong.user.unknown");
                    return Ok(self.roster_page(visit, headers, &admin, said).await);
                };
                let event = admin.event(visit, EventKind::AccountUnlinked, issuer.as_str());
                let removed = self.remove_link(link.user, Audience::Tenant, &issuer, &event).await;
                removed.map_err(|fault| self.store_fault(visit, headers, &fault))?;
                return Ok(done(ROSTER, "removed"));
            }
            (None, Some((issuer, _)), None) => {
                let added = self.add_link(visit, &admin, &issuer, &form).await;
                match added.map_err(|fault| self.store_fault(visit, headers, &fault))? {
                    None => return Ok(done(ROSTER, "added")),
                    Some(said) => said,
                }
            }
        };
        Ok(self.roster_page(visit, headers, &admin, said).await)
    }

    /// Links whom the form names. `Some`: what to say; they are not linked.
    async fn add_link(
        &self,
        visit: &Visit,
        admin: &Administrator,
        issuer: &Issuer,
        form: &Form,
    ) -> Result<Option<Said>, StoreFault> {
        let tenant = admin.account.tenant.id;
        let mut said = Said { error: Some("admin.wrong.form"), ..typed(form) };
        let username = said.username.value.parse::<Username>();
        let account = match &username {
            Ok(username) => self.store.account(username).await?.filter(|account| account.tenant.id == tenant),
            Err(_) => None,
        };
        let subject = Subject::parse(&said.subject.value);
        said.username.error = match (&username, &account) {
            (Err(_), _) => Some("m1"),
            (Ok(_), None) => Some("admin.wrong.user.unknown"),
            (Ok(_), Some(_)) => None,
        };
        said.subject.error = subject.is_none().then_some("admin.wrong.subject");
        let (Some(account), Some(subject)) = (account, subject) else { return Ok(Some(said)) };
        let event = admin.event(visit, EventKind::AccountLinked, issuer.as_str());
        match self.store.link(tenant, issuer, &subject, account.user.id, Audience::Tenant, &event).await? {
            Linked::Yes => return Ok(None),
            Linked::SubjectTaken => said.subject.error = Some("admin.wrong.subject.taken"),
            Linked::UserHasAnother => said.username.error = Some("admin.wrong.user.other"),
            Linked::NotOfThisKind => said.username.error = Some("admin.wrong.user.kind"),
        }
        Ok(Some(said))
    }

    async fn import_roster(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let most = self.settings.limits.form_bytes_max.max(TABLE_BYTES_MAX);
        let form = self.form_up_to(most, visit, &admin.person, headers, body).await?;
        if let Some(error) = self.unconfirmed(visit, &admin.person, headers, &form).await? {
            let table = form.field("table").unwrap_or_default().to_owned();
            return Ok(self.roster_page(visit, headers, &admin, Said { table, ..Said::wrong(error) }).await);
        }
        let table = form.field("table").unwrap_or_default();
        let imported = self.imported(visit, &admin, table).await;
        let said = match imported.map_err(|fault| self.store_fault(visit, headers, &fault))? {
            None => Said::wrong("admin.roster.noprovider"),
            Some(Ok(count)) => {
                return Ok(done(ROSTER, &format!("imported&count={count}")));
            }
            Some(Err(wrong)) => Said { wrong, table: table.to_owned(), ..Said::wrong("admin.notimported") },
        };
        Ok(self.roster_page(visit, headers, &admin, said).await)
    }

    /// Links everybody in the table, and says how many; or nobody, and says why. `None`: there is no provider.
    async fn imported(
        &self,
        visit: &Visit,
        admin: &Administrator,
        table: &str,
    ) -> Result<Option<Result<usize, Vec<WrongLine>>>, StoreFault> {
        let tenant = admin.account.tenant.id;
        let Some(provider) = self.store.provider(tenant).await? else { return Ok(None) };
        let issuer = &provider.settings.issuer;
        let known: HashMap<_, _> = self.store.usernames(tenant).await?.into_iter().collect();
        let entries = match read_roster(table, |username| known.get(username).copied()) {
            Ok(entries) => entries,
            Err(wrong) => return Ok(Some(Err(wrong.into_iter().map(wrong_line).collect()))),
        };
        let pairs: Vec<_> = entries.iter().map(|entry| (entry.user, entry.subject.clone())).collect();
        let event = admin.event(visit, EventKind::AccountLinked, issuer.as_str());
        let answers = self.store.link_all(tenant, issuer, &pairs, Audience::Tenant, &event).await?;
        let refused: Vec<_> =
            entries.iter().zip(answers).filter_map(|(entry, linked)| unlinked(entry, linked)).collect();
        Ok(Some(if refused.is_empty() { Ok(entries.len()) } else { Err(refused) }))
    }

    async fn export_roster(&self, visit: &Visit, headers: &HeaderMap) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let roster = self.roster(&admin).await.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let links = roster.map_or_else(Vec::new, |(_, links)| links);
        let table = write_roster(links.iter().map(|link| (&link.username, &link.subject, link.linked_at)));
        let mut answer = text(StatusCode::OK, table);
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
        let name = HeaderValue::from_static("attachment; filename=\"users.csv\"");
        fields.insert(header::CONTENT_DISPOSITION, name);
        Ok(answer)
    }
}

/// What stands in the form of one who is added.
fn typed(form: &Form) -> Said {
    let field = |name: &str| Field::from(form.field(name).unwrap_or_default().trim().to_owned());
    Said { username: field("username"), subject: field("subject"), ..Said::default() }
}

pub(super) fn linked_row(link: LinkRow) -> LinkedRow {
    LinkedRow {
        id: link.user.to_string(),
        username: link.username.to_string(),
        subject: link.subject.into(),
        linked_at: link.linked_at,
    }
}

fn wrong_line((line, problem): (usize, LineProblem)) -> WrongLine {
    let (text, value) = match problem {
        LineProblem::Table(_) => ("admin.line.table", String::new()),
        LineProblem::Columns => ("admin.line.columns", String::new()),
        LineProblem::Nobody => ("admin.line.nobody", String::new()),
        LineProblem::Username(typed) => ("admin.line.username", typed),
        LineProblem::Unknown(username) => ("admin.line.unknown", username.to_string()),
        LineProblem::Subject(typed) => ("admin.line.subject", typed),
    };
    WrongLine { line, text, value: cut(&value) }
}

/// Why an entry was not linked, if it was not.
fn unlinked(entry: &Entry, linked: Linked) -> Option<WrongLine> {
    let (text, value) = match linked {
        Linked::Yes => return None,
        Linked::SubjectTaken => ("admin.line.taken", entry.subject.as_str()),
        Linked::UserHasAnother => ("admin.line.other", entry.username.as_str()),
        Linked::NotOfThisKind => ("admin.line.kind", entry.username.as_str()),
    };
    Some(WrongLine { line: entry.line, text, value: value.to_owned() })
}

/// A cell may be as long as the table.
fn cut(value: &str) -> String {
    value.chars().take(64).collect()
}
