//! A4: what a tenant's users do with the vendor's suite (V9, D20–D24): whether they may or must log in with it, who is
//! exempt, and who is who there.
//!
//! Which company of the suite the tenant is, no form says: an administrator who typed another company's id would let its
//! people in, or their own people into nothing. The suite says it, of an administrator who is sent there and back.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};

use super::super::answer::{Answer, done};
use super::super::form::{Form, query};
use super::super::login::LOGIN;
use super::super::{Portal, Visit};
use super::roster::linked_row;
use super::{ADMIN_SUITE, Administrator, ROWS_MAX};
use crate::base::{UserId, Username};
use crate::directory::{SuiteAccess, SuiteCompany, SuiteMode, UserKind, exemption};
use crate::pages::{ExemptRow, Field, SuitePage};
use crate::sso::{Audience, Suite};
use crate::store::{Account, Found, LinkRow, Listed, StoreFault, SuiteSet};
use crate::telemetry::EventKind;

/// What a page says besides what is kept.
#[derive(Default)]
struct Said {
    search: String,
    username: Field,
    /// What was chosen and is not kept: for whom the suite is, and whether it enters people.
    chosen: Option<(SuiteMode, bool)>,
    notice: Option<&'static str>,
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
    let (admin, suite) = match portal.suite_administrator(&visit, &headers).await {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let notice = match query(&uri, "done").as_deref() {
        Some("bound") => Some("admin.suite.bound.done"),
        Some("rebound") => Some("admin.suite.bound.again"),
        Some("set") => Some("admin.scope.set"),
        Some("unchanged") => Some("admin.unchanged"),
        Some("exempt") => Some("admin.suite.exempted"),
        Some("unexempt") => Some("admin.suite.unexempted"),
        Some("removed") => Some("admin.removed"),
        Some(_) | None => None,
    };
    let search = query(&uri, "search").unwrap_or_default();
    portal.suite_page(&visit, &headers, &admin, suite, Said { search, notice, ..Said::default() }).await
}

pub(super) async fn set(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.set_suite_access(&visit, &headers, body).await
}

pub(super) async fn bind(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.bind_to_suite(&visit, &headers, body).await
}

pub(super) async fn exempt(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.change_exemption(&visit, &headers, body).await
}

pub(super) async fn unlink(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.unlink_from_suite(&visit, &headers, body).await
}

/// A form of this page, from somebody who may send it and has shown who they are, or else what was wrong with that.
struct Sent<'a> {
    admin: Administrator,
    suite: &'a Suite,
    form: Form,
    unconfirmed: Option<&'static str>,
}

impl Portal {
    /// The administrator, and the suite; 404 where the installation has none.
    async fn suite_administrator(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Result<(Administrator, &Suite), Answer> {
        let admin = self.administrator(visit, headers).await?;
        match &self.settings.suite {
            Some(suite) => Ok((admin, suite)),
            None => Err(self.refusal(visit, headers, StatusCode::NOT_FOUND)),
        }
    }

    async fn suite_form(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Sent<'_>, Answer> {
        let (admin, suite) = self.suite_administrator(visit, headers).await?;
        let form = self.form(visit, &admin.person, headers, body).await?;
        let unconfirmed = self.unconfirmed(visit, &admin.person, headers, &form).await?;
        Ok(Sent { admin, suite, form, unconfirmed })
    }

    /// Who of the tenant is who at the suite, as far as they are looked for, and who is exempt from it.
    async fn suite_users(
        &self,
        admin: &Administrator,
        suite: &Suite,
        wanted: &str,
    ) -> Result<(Found<LinkRow>, Found<Listed>), StoreFault> {
        let tenant = admin.account.tenant.id;
        let at = (Audience::Suite, &suite.settings.issuer);
        let links = self.store.links_found(tenant, at, wanted, ROWS_MAX).await?;
        Ok((links, self.store.suite_exempt(tenant, ROWS_MAX).await?))
    }

    async fn suite_page(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        admin: &Administrator,
        suite: &Suite,
        said: Said,
    ) -> Answer {
        let (links, exempt) = match self.suite_users(admin, suite, said.search.trim()).await {
            Ok(users) => users,
            Err(fault) => return self.store_fault(visit, headers, &fault),
        };
        let (csrf, browser) = match self.form_token(visit, &admin.person, headers) {
            Ok(token) => token,
            Err(answer) => return answer,
        };
        let tenant = &admin.account.tenant;
        let confirmation = self.confirmation(&admin.person.session, &admin.account, visit, ADMIN_SUITE);
        let exempt_row = |listed: Listed| ExemptRow {
            id: listed.user.id.to_string(),
            username: listed.user.username.to_string(),
            has_password: listed.has_password,
        };
        let page = SuitePage {
            company: &tenant.name,
            scope: tenant.sso,
            mode: tenant.suite.mode,
            chosen: said.chosen.map(|(mode, _)| mode),
            bound: tenant.suite.company.as_ref().map(SuiteCompany::as_str),
            provisioning: said.chosen.map_or(tenant.suite.provisioning, |(_, provisioning)| provisioning),
            address: &format!("{}{LOGIN}?with=password", admin.person.zone.origin),
            exempt_found: exempt.count,
            exempt: exempt.rows.into_iter().map(exempt_row).collect(),
            search: &said.search,
            found: links.count,
            rows: links.rows.into_iter().map(linked_row).collect(),
            username: said.username,
            confirm: confirmation.shown(),
            csrf: &csrf,
            notice: said.notice,
            error: said.error,
        };
        self.admin_page(visit, headers, &page, said.error, browser)
    }

    async fn set_suite_access(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let Sent { admin, suite, form, unconfirmed } = self.suite_form(visit, headers, body).await?;
        let Some(mode) = form.field("mode").and_then(SuiteMode::from_name) else {
            return Err(self.refusal(visit, headers, StatusCode::BAD_REQUEST));
        };
        let provisioning = form.field("provisioning").is_some();
        if let Some(error) = unconfirmed {
            let said = Said { chosen: Some((mode, provisioning)), ..Said::wrong(error) };
            return Ok(self.suite_page(visit, headers, &admin, suite, said).await);
        }
        let before = &admin.account.tenant.suite;
        let access = SuiteAccess { mode, provisioning, ..before.clone() };
        if access == *before {
            return Ok(done(ADMIN_SUITE, "unchanged"));
        }
        let event = admin.event(visit, EventKind::SuiteChanged, &access.described());
        let set = self.store.change_suite(admin.account.tenant.id, (before, &access), &event).await;
        match set.map_err(|fault| self.store_fault(visit, headers, &fault))? {
            SuiteSet::Yes => Ok(done(ADMIN_SUITE, "set")),
            // As no company nobody would get in: first the suite says which one it is.
            SuiteSet::NoCompany => Ok(self.to_suite_binding(admin.account.tenant.id, visit, headers).await),
            SuiteSet::Overtaken => {
                let admin = self.administrator(visit, headers).await?;
                Ok(self.suite_page(visit, headers, &admin, suite, Said::wrong("admin.suite.overtaken")).await)
            }
        }
    }

    async fn bind_to_suite(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let Sent { admin, suite, unconfirmed, .. } = self.suite_form(visit, headers, body).await?;
        match unconfirmed {
            Some(error) => Ok(self.suite_page(visit, headers, &admin, suite, Said::wrong(error)).await),
            None => Ok(self.to_suite_binding(admin.account.tenant.id, visit, headers).await),
        }
    }

    async fn change_exemption(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let Sent { admin, suite, form, unconfirmed } = self.suite_form(visit, headers, body).await?;
        let removed = form.field("remove");
        let typed = Field::from(form.field("username").unwrap_or_default().trim().to_owned());
        let again = async |error, wrong| {
            let username = Field { error: wrong, ..typed.clone() };
            let said = Said { username, ..Said::wrong(error) };
            Ok(self.suite_page(visit, headers, &admin, suite, said).await)
        };
        if let Some(error) = unconfirmed {
            return again(error, None).await;
        }
        let found = match removed {
            Some(id) => self.exempt_user(&admin, id).await,
            None => self.own_user(&admin, &typed.value).await,
        };
        let found = found.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let exempt = removed.is_none();
        let account = match (found, exempt) {
            (Some(account), true) if account.user.kind != UserKind::Regular => {
                return again("admin.wrong.form", Some("admin.suite.exempt.kind")).await;
            }
            (Some(account), _) => account,
            (None, true) if typed.value.parse::<Username>().is_err() => {
                return again("admin.wrong.form", Some("m1")).await;
            }
            (None, true) => return again("admin.wrong.form", Some("admin.wrong.user.unknown")).await,
            (None, false) => return again("admin.wrong.user.unknown", None).await,
        };
        if account.user.suite_exempt == exempt {
            return Ok(done(ADMIN_SUITE, "unchanged"));
        }
        let event = admin.event(visit, EventKind::SuiteChanged, exemption(exempt));
        let set = self.store.set_suite_exempt(account.user.id, exempt, &event).await;
        set.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        Ok(done(ADMIN_SUITE, if exempt { "exempt" } else { "unexempt" }))
    }

    /// The account of that name, if it is one of the administrator's tenant.
    async fn own_user(&self, admin: &Administrator, typed: &str) -> Result<Option<Account>, StoreFault> {
        let Ok(username) = typed.parse::<Username>() else { return Ok(None) };
        let account = self.store.account(&username).await?;
        Ok(account.filter(|account| account.tenant.id == admin.account.tenant.id))
    }

    /// The account of that id, if it is exempt and one of the administrator's tenant.
    async fn exempt_user(&self, admin: &Administrator, id: &str) -> Result<Option<Account>, StoreFault> {
        let Ok(id) = id.parse::<UserId>() else { return Ok(None) };
        let account = self.store.account_by_id(id).await?;
        Ok(account.filter(|found| found.tenant.id == admin.account.tenant.id && found.user.suite_exempt))
    }

    async fn unlink_from_suite(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let Sent { admin, suite, form, unconfirmed } = self.suite_form(visit, headers, body).await?;
        let again = async |error| Ok(self.suite_page(visit, headers, &admin, suite, Said::wrong(error)).await);
        if let Some(error) = unconfirmed {
            return again(error).await;
        }
        let links = self.store.links(admin.account.tenant.id, Audience::Suite).await;
        let links = links.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let id = form.field("remove").unwrap_or_default();
        let is_it = |link: &&LinkRow| link.issuer == suite.settings.issuer && link.user.to_string() == id;
        let Some(link) = links.iter().find(is_it) else {
            return again("admin.wrong.user.unknown").await;
        };
        let event = admin.event(visit, EventKind::AccountUnlinked, link.issuer.as_str());
        let removed = self.remove_link(link.user, Audience::Suite, &link.issuer, &event).await;
        removed.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        Ok(done(ADMIN_SUITE, "removed"))
    }
}
