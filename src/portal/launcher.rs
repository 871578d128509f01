//! What an application's pages show at the top right: `/.zonegate/launcher`, for the script `menu.js` or a menu of the
//! application's own (R94, R95, R115, R120, P12).
//!
//! A launcher is for whoever logged in with the suite, and has what the suite said then that this person may open; after
//! any other log-in there is the suite's plain icon (trap 28). Its links are ordinary ones, and it is the suite that knows
//! the person at each module: no ticket travels in them that could be replayed or forced on somebody (S12).
//!
//! Asking is not activity, as at `/.zonegate/session`: a page that opens itself again keeps nobody's session alive (D17).
//! While the store does not answer there is no menu, and the application's page goes on without it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Serialize;

use super::answer::{Answer, json};
use super::person::Person;
use super::{Portal, Visit};
use crate::directory::SuiteMode;
use crate::session::Method;
use crate::sso::{Audience, Suite};
use crate::store::StoreFault;

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route("/.zonegate/launcher", get(show))
}

/// One module that the person may open.
#[derive(Debug, Serialize)]
struct ModuleView<'a> {
    id: &'a str,
    name: &'a str,
    url: &'a str,
}

async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    mut headers: HeaderMap,
) -> Answer {
    // JSON whoever asks: a script that forgot its `Accept` must not get a page.
    headers.remove(ACCEPT);
    let person = match portal.person(&visit, &headers) {
        Ok(person) => person,
        Err(answer) => return answer,
    };
    match portal.launcher(&visit, &headers, &person).await {
        Ok(answer) => answer,
        Err(fault) => portal.store_fault(&visit, &headers, &fault),
    }
}

impl Portal {
    async fn launcher(&self, visit: &Visit, headers: &HeaderMap, person: &Person) -> Result<Answer, StoreFault> {
        let Person { zone, session } = person;
        let chrome = self.chrome(visit, headers);
        let suite = self.suite_of(person).await?;
        let ids = match suite {
            Some(suite) => self.modules_of(suite, person).await?,
            None => Vec::new(),
        };
        let modules = suite.into_iter().flat_map(|suite| suite.modules_by_id(&ids));
        let modules: Vec<_> = modules
            .map(|module| ModuleView { id: &module.id, name: &module.name, url: module.url.as_str() })
            .collect();
        let of_suite = |id| suite.map(|suite| chrome.fill(id, &[("suite", suite.name.as_str())]));
        let principal = &session.principal;
        Ok(json(
            StatusCode::OK,
            &serde_json::json!({
                "user": { "name": principal.display_name(), "username": principal.username() },
                "account_url": format!("{}/.zonegate/account", zone.origin),
                "logout_url": format!("{}/.zonegate/logout", zone.origin),
                "suite": suite.map(|suite| serde_json::json!({
                    "name": suite.name,
                    "url": suite.home.as_ref().map(url::Url::as_str),
                })),
                "modules": modules,
                "language": chrome.language.tag(),
                "labels": {
                    "menu": chrome.t("menu.label"),
                    "account": chrome.t("account.title"),
                    "logout": chrome.t("logout.button"),
                    "suite": of_suite("menu.home"),
                    "modules": of_suite("menu.modules"),
                },
            }),
        ))
    }

    /// The suite, where the person's tenant uses it.
    async fn suite_of(&self, person: &Person) -> Result<Option<&Suite>, StoreFault> {
        let Some(suite) = &self.settings.suite else { return Ok(None) };
        let account = self.store.account_by_id(person.session.user).await?;
        Ok(match account.map(|account| account.tenant.suite.mode) {
            Some(SuiteMode::Allowed | SuiteMode::Required) => Some(suite),
            Some(SuiteMode::Off) | None => None,
        })
    }

    /// The ids of the modules that `suite` said this session's person may open. What another suite said, which was
    /// configured when the session began, is nothing to this one's modules.
    async fn modules_of(&self, suite: &Suite, person: &Person) -> Result<Vec<String>, StoreFault> {
        match person.session.method {
            Method::Suite => {}
            Method::Local | Method::Sso | Method::Api => return Ok(Vec::new()),
        }
        let said = self.store.provider_session(person.session.id).await?;
        let said = said.filter(|row| row.audience == Audience::Suite && row.issuer == suite.settings.issuer);
        Ok(said.map(|row| row.modules).unwrap_or_default())
    }
}
