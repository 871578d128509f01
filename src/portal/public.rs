//! What everybody may see: the list of zones, what to do about a forgotten password, the files that pages refer to,
//! and the keys that verify assertions.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};

use super::answer::{Answer, empty, html, see_other};
use super::login::LOGIN;
use super::{Portal, Realm, Visit};
use crate::pages::{ForgotPage, HostingPage, Page, ZoneRow};
use crate::table::JWKS_CACHE_CONTROL;

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new()
        .route("/.zonegate/hosting", get(hosting))
        .route("/.zonegate/forgot", get(forgot))
        .route("/.zonegate/assets/{name}", get(asset))
        .route("/.well-known/zonegate/jwks.json", get(jwks))
        .route("/robots.txt", get(robots))
        .route("/", get(front_door))
}

/// Where am I hosted? Every zone, in the operator's order (R11).
async fn hosting(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Answer {
    let row = |zone: &Arc<crate::zone::Zone>| ZoneRow {
        name: zone.name.clone(),
        data_centre: zone.data_centre.clone(),
        host: zone.host.to_string(),
        url: zone.origin.to_string(),
        description: zone.description.clone(),
    };
    let zones: Vec<_> = portal.settings.zones.zones().iter().map(row).collect();
    html(StatusCode::OK, HostingPage { zones: &zones }.html(&portal.chrome(&visit, &headers)))
}

async fn forgot(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Answer {
    html(StatusCode::OK, ForgotPage::default().html(&portal.chrome(&visit, &headers)))
}

/// A file under a name that changes with its content is kept for ever. One whose name stays is asked for again after
/// five minutes, and not sent again while it is the same.
async fn asset(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let Some(file) = portal.assets.find(&name) else {
        return portal.refusal(&visit, &headers, StatusCode::NOT_FOUND);
    };
    let known = file.tag.as_deref().is_some_and(|tag| has_already(&headers, tag));
    let mut answer =
        if known { empty(StatusCode::NOT_MODIFIED) } else { Response::new(file.bytes.clone().into()) };
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    let kept = match file.tag.as_deref().map(HeaderValue::try_from) {
        Some(Ok(tag)) => {
            fields.insert(ETAG, tag);
            "public, max-age=300"
        }
        // Tags are digits in quotation marks. Were one not a field's value, the file would not be kept.
        Some(Err(_)) => "no-store",
        None => "public, max-age=31536000, immutable",
    };
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    answer
}

/// Whether the browser says that it has the content of this tag (RFC 9110 section 13.1.2).
fn has_already(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tags = lists.flat_map(|list| list.split(','));
    tags.map(str::trim).any(|sent| sent == "*" || sent.strip_prefix("W/").unwrap_or(sent) == tag)
}

/// The keys that verify assertions (RFC 7517 section 5, SEC-R64).
async fn jwks(State(portal): State<Arc<Portal>>) -> Answer {
    let mut answer = Response::new(portal.keys.jwks().into());
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    fields.insert(CACHE_CONTROL, JWKS_CACHE_CONTROL);
    answer
}

/// People type the universal host's bare name (R14).
async fn front_door(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Answer {
    at_universal_host(&portal, &visit, &headers, || see_other(LOGIN))
}

/// The universal host has nothing to be found.
async fn robots(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
) -> Answer {
    at_universal_host(&portal, &visit, &headers, || {
        let mut answer = Response::new("User-agent: *\nDisallow: /\n".into());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        answer
    })
}

/// For addresses that are the application's on a zone's host.
fn at_universal_host(
    portal: &Portal,
    visit: &Visit,
    headers: &HeaderMap,
    answer: impl FnOnce() -> Answer,
) -> Answer {
    match visit.realm {
        Realm::Zone(_) => portal.refusal(visit, headers, StatusCode::NOT_FOUND),
        Realm::Universal => answer(),
    }
}
