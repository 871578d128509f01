//! Logging out: this session ends and no other, its slot is free, and Back shows nothing (R115, R116).
//!
//! The application has a menu of its own on every page, whose form cannot know a token of ours. So a log-out is
//! believed when the browser says that it came from this zone, or when it carries our page's token.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};

use super::answer::{Answer, html, json, outward, see_other, wants_html};
use super::form::Form;
use super::login::LOGIN;
use super::person::Person;
use super::sso::ProviderLogout;
use super::{Portal, Realm, Visit, cookies, csrf};
use crate::pages::{LogoutPage, Page};
use crate::session::EndReason;
use crate::telemetry::{EventKind, SecurityEvent};
use crate::zone::Zone;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route("/.zonegate/logout", get(ask).post(log_out))
}

async fn ask(State(portal): State<Arc<Portal>>, Extension(visit): Extension<Visit>, headers: HeaderMap) -> Answer {
    let person = match portal.person(&visit, &headers) {
        Ok(person) => person,
        Err(answer) => return answer,
    };
    let (csrf, fresh_browser) = match portal.form_token(&visit, &person, &headers) {
        Ok(token) => token,
        Err(answer) => return answer,
    };
    let page = LogoutPage { username: person.session.principal.username(), csrf: &csrf };
    let mut answer = outward(html(StatusCode::OK, page.html(&portal.chrome(&visit, &headers))));
    if let Some(browser) = fresh_browser {
        answer.headers_mut().append(SET_COOKIE, cookies::set_browser(&browser));
    }
    answer
}

async fn log_out(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Answer> {
    portal.log_out(&visit, &headers, body).await
}

impl Portal {
    async fn log_out(&self, visit: &Visit, headers: &HeaderMap, body: Body) -> Result<Answer, Answer> {
        let Realm::Zone(zone) = &visit.realm else {
            return Err(self.refusal(visit, headers, StatusCode::NOT_FOUND));
        };
        if visit.unsure {
            return Err(self.refusal(visit, headers, StatusCode::SERVICE_UNAVAILABLE));
        }
        let from_here = csrf::came_from(headers, &zone.origin);
        let person = match self.person(visit, headers) {
            Ok(person) => person,
            // Whose session has ended already is logged out: the same answer, or a second click shows an error. The first
            // click's answer may have led to the provider, and the browser has dropped it.
            Err(_) if from_here => {
                let left = visit.left.as_ref().filter(|left| left.end_reason() == Some(EndReason::LoggedOut));
                let provider_logout = match left {
                    // It asks the provider whether it is there, and may be sent as often as somebody likes.
                    Some(left) if self.verifier.takes(visit.address) => {
                        self.provider_logout(visit, left, cookies::browser(headers).as_ref()).await
                    }
                    Some(_) | None => ProviderLogout::Nothing,
                };
                return Ok(self.logged_out(zone, headers, &provider_logout));
            }
            // A foreign page's form comes without the cookie, and an answer that clears it would log the person out.
            Err(_) => return Err(self.refusal(visit, headers, StatusCode::FORBIDDEN)),
        };
        if !from_here && !self.is_own_form(&person, headers, body).await {
            return Err(self.forged_by(visit, &person, headers, "foreign_origin").await);
        }
        let session = &person.session;
        let reason = EndReason::LoggedOut;
        let event = SecurityEvent { reason: Some(reason.name()), ..person.event(visit, EventKind::SessionEnded) };
        let end = self.sessions.end(session.user, &[session.id], reason, &[event], visit.now).await;
        end.map_err(|fault| self.session_fault(visit, headers, &fault))?;
        let browser = cookies::browser(headers);
        let provider_logout = self.provider_logout(visit, &person.session, browser.as_ref()).await;
        Ok(self.logged_out(zone, headers, &provider_logout))
    }

    async fn is_own_form(&self, person: &Person, headers: &HeaderMap, body: Body) -> bool {
        let Some(browser) = cookies::browser(headers) else { return false };
        // `Origin: null` is how a browser says that it will not say; a foreign origin is a no.
        let foreign = headers.get_all("origin").iter().any(|origin| origin.as_bytes() != b"null")
            || headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() != b"same-origin");
        let form = Form::read(headers, body, self.settings.limits.form_bytes_max).await;
        !foreign
            && form.is_ok_and(|form| {
                self.csrf.holds(form.field("csrf").unwrap_or_default(), &person.zone.host, &browser)
            })
    }

    fn logged_out(&self, zone: &Zone, headers: &HeaderMap, provider_logout: &ProviderLogout) -> Answer {
        let mut answer = if wants_html(headers) {
            match provider_logout {
                ProviderLogout::Nothing => see_other(&format!("{LOGIN}?reason=logged_out")),
                ProviderLogout::Go(url) => see_other(url.as_str()),
                ProviderLogout::Unreached => see_other(&format!("{LOGIN}?reason=logged_out&provider=unreached")),
            }
        } else {
            let login_url = format!("{}{LOGIN}", zone.origin);
            let more = match provider_logout {
                ProviderLogout::Nothing => None,
                ProviderLogout::Go(url) => Some(("provider_logout_url", url.as_str())),
                ProviderLogout::Unreached => Some(("provider", "unreached")),
            };
            let said = [("status", "logged_out"), ("login_url", &login_url)].into_iter().chain(more);
            let said: serde_json::Map<_, _> = said.map(|(name, value)| (name.into(), value.into())).collect();
            json(StatusCode::OK, &said)
        };
        let fields = answer.headers_mut();
        fields.append(SET_COOKIE, cookies::clear_session());
        // The application's pages in the browser's cache, which may say that they can be kept.
        fields.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
        answer
    }
}
