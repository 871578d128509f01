//! The admin listener: alive, ready, metrics. On loopback or a Unix socket only, so it asks nobody who they are, and
//! shows nothing that would need it (K4).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::Portal;
use crate::gate::StoreHealth;

/// Health and metrics, for the admin listener.
pub fn admin_router(portal: Arc<Portal>) -> Router {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    #[cfg(feature = "test-clock")]
    let router = router.route("/test/clock", axum::routing::post(test_clock));
    router.with_state(portal)
}

/// Whether requests are let through at all: without the store they are refused (G4).
async fn ready(State(portal): State<Arc<Portal>>) -> (StatusCode, &'static str) {
    match portal.sessions.health() {
        StoreHealth::Current => (StatusCode::OK, "ready\n"),
        StoreHealth::Stale => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n"),
    }
}

async fn metrics(State(portal): State<Arc<Portal>>) -> Response {
    // Counting a million sessions takes a while, and this thread has other things to do.
    let text = tokio::task::spawn_blocking(move || portal.metrics.text(&portal)).await;
    let Ok(Ok(text)) = text else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// Puts the clock ahead. Only in builds for tests.
#[cfg(feature = "test-clock")]
async fn test_clock(
    State(portal): State<Arc<Portal>>,
    axum::Json(wish): axum::Json<std::collections::HashMap<String, u64>>,
) -> StatusCode {
    let Some(seconds) = wish.get("ahead_seconds") else { return StatusCode::UNPROCESSABLE_ENTITY };
    portal.clock.set_ahead(*seconds);
    StatusCode::NO_CONTENT
}
