//! What a tenant's administrators do in a browser: single sign-on (A3), the vendor's suite (A4), and a look at the users
//! (A1).
//!
//! No address here names a tenant. It is always that of whoever asks, and whether they are one of its administrators is
//! looked up at each request: a session knows what was so when it began. What a form names is looked up among the
//! tenant's own, so that somebody else's is answered like nobody's (V15).
//!
//! *Why not below the listener for operators?* That one is on loopback and asks nobody who they are. A tenant's
//! administrator is a person with a session like everybody else.

mod provider;
mod roster;
mod suite;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, Uri};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::answer::{Answer, html, outward, page_status};
use super::form::query;
use super::person::Person;
use super::{Portal, Visit, cookies};
use crate::base::BrowserToken;
use crate::directory::{SecurityLevel, SuiteMode, Tenant, methods, must_use_suite};
use crate::pages::{AdminPage, Page, UserRow, UsersPage};
use crate::store::{Account, Listed};
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

/// Where single sign-on is set up.
pub(super) const ADMIN_SSO: &str = "/.zonegate/admin/sso";
/// The page of what a tenant lets its users do with the suite (A4).
pub(super) const ADMIN_SUITE: &str = "/.zonegate/admin/suite";
/// Who is who at the provider.
const ROSTER: &str = "/.zonegate/admin/sso/users";
/// Where a table is sent.
pub(super) const IMPORT: &str = "/.zonegate/admin/sso/users/import";
/// The longest form with a table in it, in bytes: some ten thousand lines.
pub(super) const TABLE_BYTES_MAX: usize = 1 << 20;
/// How many rows a list shows. Who looks for others searches.
const ROWS_MAX: usize = 200;

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new()
        .route("/.zonegate/admin", get(start))
        .route("/.zonegate/admin/users", get(users))
        .route(ADMIN_SSO, get(provider::show).post(provider::save))
        .route("/.zonegate/admin/sso/test", post(provider::test))
        .route("/.zonegate/admin/sso/scope", post(provider::set_scope))
        .route(ROSTER, get(roster::show).post(roster::change))
        .route(IMPORT, post(roster::import))
        .route("/.zonegate/admin/sso/users.csv", get(roster::export))
        .route(ADMIN_SUITE, get(suite::show).post(suite::set))
        .route("/.zonegate/admin/suite/bind", post(suite::bind))
        .route("/.zonegate/admin/suite/exempt", post(suite::exempt))
        .route("/.zonegate/admin/suite/users", post(suite::unlink))
}

/// An administrator of a tenant, as the store knows them now.
struct Administrator {
    person: Person,
    account: Account,
}

impl Administrator {
    /// An event that this administrator caused. Its `user` is whomever it is about, so that who did it stands in the
    /// detail.
    fn event(&self, visit: &Visit, kind: EventKind, what: &str) -> SecurityEvent {
        let detail = Some(Snippet::of(&format!("by {}: {what}", self.account.user.username)));
        SecurityEvent { actor: Actor::Administrator, user: None, detail, ..self.person.event(visit, kind) }
    }
}

impl Portal {
    /// The administrator whose session the request proves; else what to answer.
    async fn administrator(&self, visit: &Visit, headers: &HeaderMap) -> Result<Administrator, Answer> {
        let person = self.person(visit, headers)?;
        let account = self.store.account_by_id(person.session.user).await;
        let account = account.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        let administers = |account: &Account| {
            account.user.level == SecurityLevel::Admin
                && account.user.active
                && account.tenant.id == person.session.terms.tenant
                && account.tenant.zone == person.zone.host
        };
        if let Some(account) = account.filter(administers) {
            return Ok(Administrator { person, account });
        }
        const REASON: &str = "not_an_administrator";
        let event = SecurityEvent { reason: Some(REASON), ..person.event(visit, EventKind::AccessDenied) };
        if let Err(fault) = self.denials.note(event).await {
            return Err(self.store_fault(visit, headers, &fault));
        }
        Err(self.forbid(visit, headers, REASON))
    }

    /// A page of an administrator's, with the cookie that its forms are tied to.
    fn admin_page(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        page: &impl Page,
        error: Option<&'static str>,
        browser: Option<BrowserToken>,
    ) -> Answer {
        let mut answer = html(page_status(error), page.html(&self.chrome(visit, headers)));
        if let Some(browser) = browser {
            answer.headers_mut().append(SET_COOKIE, cookies::set_browser(&browser));
        }
        // Log Out, a test and a binding lead to a provider.
        outward(answer)
    }

    async fn admin_start(&self, visit: &Visit, headers: &HeaderMap) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let (csrf, browser) = self.form_token(visit, &admin.person, headers)?;
        let tenant = &admin.account.tenant;
        let page = AdminPage { company: &tenant.name, scope: tenant.sso, suite: tenant.suite.mode, csrf: &csrf };
        Ok(self.admin_page(visit, headers, &page, None, browser))
    }

    async fn admin_users(&self, visit: &Visit, uri: &Uri, headers: &HeaderMap) -> Result<Answer, Answer> {
        let admin = self.administrator(visit, headers).await?;
        let tenant = &admin.account.tenant;
        let search = query(uri, "search").unwrap_or_default();
        let found = self.store.users_found(tenant.id, search.trim(), ROWS_MAX).await;
        let found = found.map_err(|fault| self.store_fault(visit, headers, &fault))?;
        // As things are: a suite that is not configured is required of nobody.
        let mut as_it_is = tenant.clone();
        as_it_is.suite.mode = self.suite_mode(tenant);
        let rows = found.rows.into_iter().map(|listed| user_row(&as_it_is, listed)).collect();
        let page = UsersPage { company: &tenant.name, search: &search, rows, found: found.count };
        Ok(self.admin_page(visit, headers, &page, None, None))
    }
}

fn user_row(tenant: &Tenant, listed: Listed) -> UserRow {
    let Listed { user, has_password, locked } = listed;
    UserRow {
        methods: methods(tenant, &user),
        needs_code: user.kind.needs_second_factor(),
        has_password,
        must_use_suite: must_use_suite(tenant, &user),
        suite_exempt: user.suite_exempt && tenant.suite.mode == SuiteMode::Required,
        administers: user.level == SecurityLevel::Admin,
        exempt: tenant.sso_exempt == Some(user.id),
        active: user.active,
        locked,
        username: user.username.to_string(),
        display_name: user.display_name,
    }
}

async fn start(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    portal.admin_start(&visit, &headers).await
}

async fn users(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Answer, Answer> {
    portal.admin_users(&visit, &uri, &headers).await
}
