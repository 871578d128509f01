//! The session as the application's own front end may know it: `/.zonegate/session`. Asking is not activity, so that a
//! page which polls does not keep a session alive for ever.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Serialize;

use super::answer::{Answer, json};
use super::person::unauthenticated;
use super::{Portal, Realm, Visit};
use crate::base::SessionId;
use crate::directory::Slots;
use crate::session::{Class, Session};

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route("/.zonegate/session", get(show))
}

/// A session in JSON, as its own browser or client is told of it. Times are RFC 3339.
#[derive(Debug, Serialize)]
pub(super) struct SessionView {
    id: SessionId,
    class: &'static str,
    method: &'static str,
    started_at: String,
    last_active_at: String,
    idle_expires_at: String,
    expires_at: String,
}

impl SessionView {
    /// What its own browser or client may know of a session.
    pub(super) fn of(session: &Session) -> Self {
        let (lifetimes, last_seen) = (session.terms.lifetimes, session.last_seen());
        let expires_at = session.started_at.plus(lifetimes.absolute_max);
        Self {
            id: session.id,
            class: session.class.name(),
            method: session.method.name(),
            started_at: session.started_at.to_string(),
            last_active_at: last_seen.to_string(),
            idle_expires_at: last_seen.plus(lifetimes.idle_max).min(expires_at).to_string(),
            expires_at: expires_at.to_string(),
        }
    }
}

async fn show(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    mut headers: HeaderMap,
) -> Answer {
    let Realm::Zone(zone) = &visit.realm else {
        return portal.refusal(&visit, &headers, StatusCode::NOT_FOUND);
    };
    if visit.unsure {
        return portal.refusal(&visit, &headers, StatusCode::SERVICE_UNAVAILABLE);
    }
    let Some(session) = &visit.session else {
        // JSON whoever asks: a front end that forgot its `Accept` must not get a page.
        headers.remove(ACCEPT);
        return unauthenticated(&visit, zone, &headers);
    };
    let principal = &session.principal;
    let live = portal.sessions.of_user(session.user, visit.now);
    let slots: Slots = portal.settings.security.slots;
    let slot = |class: Class| {
        let used = live.iter().filter(|session| session.class == class).count();
        serde_json::json!({ "used": used, "limit": slots.of(class) })
    };
    json(
        StatusCode::OK,
        &serde_json::json!({
            "authenticated": true,
            "user": {
                "id": session.user,
                "username": principal.username(),
                "email": principal.email(),
                "name": principal.display_name(),
                "groups": principal.groups(),
                "tenant": session.terms.tenant_slug,
                "kind": principal.kind().name(),
            },
            "session": SessionView::of(session),
            "slots": { "web": slot(Class::Web), "mobile": slot(Class::Mobile) },
            "logout_url": format!("{}/.zonegate/logout", zone.origin),
            "account_url": format!("{}/.zonegate/account", zone.origin),
        }),
    )
}
