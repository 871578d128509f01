//! The admin listener: alive, ready, metrics, and what a command asks of a running gateway. On loopback or a Unix
//! socket only, so it asks nobody who they are, and shows nothing that would need it (K4). The status listener has the
//! first three alone, so that it may be reached from elsewhere.
//!
//! *What if a page in a browser on this machine sends something here?* A request that changes anything must carry a
//! header field that no page can add without asking us first (a preflight, which is not answered), and none of the
//! fields by which browsers say that a page sent it. The second also stops a page whose own name leads to this machine
//! (DNS rebinding): such a page need not ask, but its browser says where it came from.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use super::Portal;
use crate::config::LogLevel;
use crate::gate::StoreHealth;

/// What a command sends along, so that no page can do what it does. Its value says nothing.
pub const COMMAND: HeaderName = HeaderName::from_static("x-zonegate-command");
/// Where `zonegate reload` posts.
pub const RELOAD: &str = "/reload";
/// Where `zonegate upgrade` posts.
pub const UPGRADE: &str = "/upgrade";
/// Where `zonegate log-level` posts the level, as text.
pub const LOG_LEVEL: &str = "/log-level";

/// What the admin listener can have done to the gateway that runs.
#[async_trait]
pub trait Control: Send + Sync {
    /// The portal in use.
    fn portal(&self) -> Arc<Portal>;
    /// Whether no further connection is taken, because the process is to end and no other takes over.
    fn is_stopping(&self) -> bool;
    /// Reads the configuration again. What differs, in words, or why nothing was taken over.
    async fn reload(self: Arc<Self>) -> Result<String, Unchanged>;
    /// Starts the program anew and lets it take over. What came of it, in words, or why nothing changed.
    async fn upgrade(self: Arc<Self>) -> Result<String, Unchanged>;
    /// Logs so much, until the configuration is read again.
    fn set_log_level(&self, level: LogLevel) -> Result<(), Unchanged>;
}

/// Why everything is as it was: a line for each reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unchanged {
    /// What was asked for is wrong, and what would be right.
    Wrong(String),
    /// It could not be done.
    Failed(String),
}

/// Health, metrics and commands, for the admin listener.
pub fn admin_router(control: Arc<dyn Control>) -> Router {
    let commands = Router::new()
        .route(RELOAD, post(reload))
        .route(UPGRADE, post(upgrade))
        .route(LOG_LEVEL, post(log_level))
        .layer(axum::middleware::from_fn(from_a_command));
    let router = status().merge(commands);
    #[cfg(feature = "test-clock")]
    let router = router.route("/test/clock", post(test_clock));
    router.with_state(control)
}

/// Health and metrics alone, for the status listener: a router that has no command.
pub fn status_router(control: Arc<dyn Control>) -> Router {
    status().with_state(control)
}

fn status() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn from_a_command(request: Request, next: Next) -> Response {
    if is_command(request.headers()) {
        return next.run(request).await;
    }
    let told = format!("only for commands: a request with {COMMAND} and without what a browser adds\n");
    (StatusCode::FORBIDDEN, told).into_response()
}

fn is_command(headers: &HeaderMap) -> bool {
    let of_a_page = [header::ORIGIN, HeaderName::from_static("sec-fetch-site")];
    headers.contains_key(COMMAND) && !of_a_page.iter().any(|name| headers.contains_key(name))
}

async fn reload(State(control): State<Arc<dyn Control>>) -> (StatusCode, String) {
    told(control.reload().await)
}

async fn upgrade(State(control): State<Arc<dyn Control>>) -> (StatusCode, String) {
    told(control.upgrade().await)
}

async fn log_level(State(control): State<Arc<dyn Control>>, level: String) -> (StatusCode, String) {
    let level = match level.parse::<LogLevel>() {
        Ok(level) => level,
        Err(problem) => return told(Err(Unchanged::Wrong(format!("{level:?} {problem}")))),
    };
    told(control.set_log_level(level).map(|()| format!("The log's level is {}.", level.name())))
}

fn told(outcome: Result<String, Unchanged>) -> (StatusCode, String) {
    let (status, text) = match outcome {
        Ok(text) => (StatusCode::OK, text),
        Err(Unchanged::Wrong(text)) => (StatusCode::UNPROCESSABLE_ENTITY, text),
        Err(Unchanged::Failed(text)) => (StatusCode::INTERNAL_SERVER_ERROR, text),
    };
    (status, text + "\n")
}

/// Whether people can log in, log out and be let through: for that the store must be read and written (G4).
///
/// *Signed-in requests go on while the store can be read but not written. Why is that not ready?* Because no log-in, no
/// log-out and no ending of a session comes through, and whoever has a second gateway to send people to should do so.
/// Who has none asks `/livez`.
async fn ready(State(control): State<Arc<dyn Control>>) -> (StatusCode, &'static str) {
    // Whoever balances is to send nobody here any more, while what is under way goes on.
    if control.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    let portal = control.portal();
    match portal.sessions.health() {
        StoreHealth::Current => {}
        StoreHealth::Stale => return (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
    if let Err(fault) = portal.store.check_writable(portal.clock.now()).await {
        tracing::error!(%fault, "the store cannot be written");
        return (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be written\n");
    }
    (StatusCode::OK, "ready\n")
}

async fn metrics(State(control): State<Arc<dyn Control>>) -> Response {
    let portal = control.portal();
    // The system is asked for the process's numbers, and for open files by the one: this thread has other things to do.
    let text = tokio::task::spawn_blocking(move || portal.metrics.text(&portal)).await;
    let Ok(Ok(text)) = text else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// Puts the clock ahead. Only in builds for tests.
#[cfg(feature = "test-clock")]
async fn test_clock(
    State(control): State<Arc<dyn Control>>,
    axum::Json(wish): axum::Json<std::collections::HashMap<String, u64>>,
) -> StatusCode {
    let Some(seconds) = wish.get("ahead_seconds") else { return StatusCode::UNPROCESSABLE_ENTITY };
    control.portal().clock.set_ahead(*seconds);
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_in_a_browser_is_taken_for_a_command() {
        for (fields, want) in [
            (&[("x-zonegate-command", "1")][..], true),
            (&[], false),
            (&[("x-zonegate-command", "1"), ("origin", "http://127.0.0.1:9443")], false),
            (&[("x-zonegate-command", "1"), ("origin", "null")], false),
            (&[("x-zonegate-command", "1"), ("sec-fetch-site", "same-origin")], false),
        ] {
            let fields = fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let headers: HeaderMap = fields.collect();
            assert_eq!(is_command(&headers), want, "{headers:?}");
        }
    }
}
