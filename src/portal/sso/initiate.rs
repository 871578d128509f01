//! Log-in that begins at the provider: its tile (R99). A link on anybody's page can lead here, so the person is asked
//! first (SEC-R38); what follows is an ordinary code flow, and no answer that was not asked for is ever taken
//! (OpenID Connect Core 1.0 section 4).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::super::answer::{Answer, html, outward};
use super::super::form::{Form, query};
use super::super::{Portal, Visit, cookies, csrf};
use super::{CLIENT, Errand, Refused, Registration};
use crate::base::{BrowserToken, LocalPath};
use crate::machine::random;
use crate::pages::{InitiatePage, Page};

/// The longest hint that is passed on, in bytes.
const HINT_BYTES_MAX: usize = 254;

/// `GET …/initiate?iss=…&target_link_uri=…&login_hint=…`
pub(super) async fn ask(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    registration: Registration,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    if !registration.is_open() {
        return portal.refusal(&visit, &headers, StatusCode::NOT_FOUND);
    }
    // The address says which provider, so `iss` may be left out; one that is there must be its.
    if query(&uri, "iss").is_some_and(|issuer| issuer != registration.settings().issuer.as_str()) {
        let refused = Refused::because("initiate_issuer");
        return portal.not_logged_in(&visit, &headers, refused, registration.tenant_id(), None).await;
    }
    let target = query(&uri, "target_link_uri").and_then(|text| target(&registration, &text));
    let hint = query(&uri, "login_hint").filter(|hint| hint.len() <= HINT_BYTES_MAX);
    let asked = Question { target: target.as_ref(), hint: hint.as_deref(), ..Question::default() };
    question(&portal, &registration, asked, &visit, &headers)
}

/// What a log-in is asked for with.
#[derive(Clone, Copy, Default)]
pub(in crate::portal) struct Question<'a> {
    /// Where the person is going.
    pub(in crate::portal) target: Option<&'a LocalPath>,
    /// Whom the provider may suggest.
    pub(in crate::portal) hint: Option<&'a str>,
    /// A native client's class, as it was sealed.
    pub(in crate::portal) client: Option<&'a str>,
    /// The browser's token, where the caller's answer gives it one.
    pub(in crate::portal) browser: Option<&'a BrowserToken>,
}

/// Asks whether the person wants to log in there.
pub(in crate::portal) fn question(
    portal: &Portal,
    registration: &Registration,
    asked: Question<'_>,
    visit: &Visit,
    headers: &HeaderMap,
) -> Answer {
    let known = cookies::browser(headers).or(asked.browser.cloned());
    let browser = match known.clone().map_or_else(|| random().map(BrowserToken::from_bytes), Ok) {
        Ok(browser) => browser,
        Err(fault) => return portal.trouble(visit, headers, &fault.into()),
    };
    let page = InitiatePage {
        company: registration.name(),
        action: &format!("{}/initiate", registration.address()),
        csrf: &portal.csrf.token(&registration.zone.host, &browser),
        return_to: asked.target.map_or("", LocalPath::as_str),
        login_hint: asked.hint.unwrap_or_default(),
        client: asked.client.unwrap_or_default(),
    };
    let mut answer = outward(html(StatusCode::OK, page.html(&portal.chrome(visit, headers))));
    if known.is_none() {
        answer.headers_mut().append(header::SET_COOKIE, cookies::set_browser(&browser));
    }
    answer
}

/// The person said yes.
pub(super) async fn go(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    registration: Registration,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    if !registration.is_open() {
        return portal.refusal(&visit, &headers, StatusCode::NOT_FOUND);
    }
    if !csrf::came_from(&headers, &registration.zone.origin) {
        return portal.forged(&visit, &headers, "foreign_origin").await;
    }
    let form = match Form::read(&headers, body, portal.settings.limits.form_bytes_max).await {
        Ok(form) => form,
        Err(status) => return portal.refusal(&visit, &headers, status),
    };
    let token = form.field("csrf").unwrap_or_default();
    let ours = cookies::browser(&headers)
        .is_some_and(|browser| portal.csrf.holds(token, &registration.zone.host, &browser));
    if !ours {
        return portal.forged(&visit, &headers, "foreign_form").await;
    }
    let hint = form.field("login_hint").filter(|hint| !hint.is_empty() && hint.len() <= HINT_BYTES_MAX);
    let return_to = form.field("return_to").and_then(|text| text.parse().ok());
    let class = form.field(CLIENT).and_then(|client| portal.sealed_class(&registration, client, &visit));
    let errand = Errand { hint, class, ..Errand::log_in(return_to) };
    portal.to_provider(&registration, errand, &visit, &headers).await
}

/// The path of a target on the tenant's own zone; any other is dropped, and home is where it leads (W1, U32).
fn target(registration: &Registration, uri: &str) -> Option<LocalPath> {
    let path = uri.strip_prefix(&*registration.zone.origin).unwrap_or(uri);
    path.parse().ok()
}
