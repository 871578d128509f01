//! The answers of our own pages and endpoints, and the header fields that every one of them carries.
//!
//! The fields are put on in one place, after whatever made the answer, so that no page, redirect or error can
//! forget them (SEC-R82, W5, W7).

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use serde::Serialize;

use super::login::LOGIN;
use super::verifier::Shed;
use super::{Portal, Visit};
use crate::pages::{ErrorPage, ForbiddenPage, Page};

/// An answer to a client.
pub type Answer = Response<Body>;

const FIXED: [(HeaderName, HeaderValue); 7] = [
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Not `no-referrer`: that makes browsers send `Origin: null` with our own forms.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
];

/// Our pages' content security policies.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    usual: HeaderValue,
    outward: HeaderValue,
}

/// On an answer whose form may lead to an identity provider, or where an application leads: marks it for the policy that lets
/// it.
#[derive(Clone, Copy)]
pub(super) struct Outward;

/// Puts the fields on that every answer carries. What may be cached says so itself before.
pub(super) fn secure(answer: &mut Answer, policies: &Policies) {
    let policy = match answer.extensions().get() {
        Some(Outward) => &policies.outward,
        None => &policies.usual,
    };
    let policy = policy.clone();
    let framed = answer.extensions().get().cloned();
    let headers = answer.headers_mut();
    for (name, value) in &FIXED {
        headers.insert(name, value.clone());
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    if let Some(FramedBy(policy)) = framed {
        headers.remove(header::X_FRAME_OPTIONS);
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

impl Policies {
    /// Our own stylesheet, script and images, no inline code, no frames.
    ///
    /// Forms may be sent to us and may then lead to one of `origins`: browsers apply `form-action` to the redirect that
    /// answers a form, and a username leads to its own zone (R14). It may lead to its company's provider as well (R38),
    /// and which companies have which is nobody's business who has not typed a name; and a log-in ends in the application,
    /// which may lead on to wherever it likes. The pages where that can happen let their forms lead anywhere by TLS.
    pub(super) fn new<'a>(origins: impl Iterator<Item = &'a str>) -> Self {
        const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                              base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
        let usual = origins.fold(POLICY.to_owned(), |policy, origin| format!("{policy} {origin}"));
        // Origins are made of hostnames and ports. Were one not, the stricter policy would hold.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(POLICY));
        Self { usual: value(usual), outward: value(format!("{POLICY} https:")) }
    }
}

/// On an answer that a provider's page shows in a frame: its policy.
#[derive(Clone)]
struct FramedBy(HeaderValue);

/// An answer without content that pages of `origin`, and no others, may show in a frame.
pub(super) fn framed_by(mut answer: Answer, origin: &str) -> Answer {
    let policy = format!("default-src 'none'; frame-ancestors {origin}");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        answer.extensions_mut().insert(FramedBy(policy));
    }
    answer
}

/// An answer whose form may lead to an identity provider, or where an application leads.
pub(super) fn outward(mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(Outward);
    answer
}

/// A page.
pub fn html(status: StatusCode, page: String) -> Answer {
    with_body(status, HeaderValue::from_static("text/html; charset=utf-8"), page.into())
}

/// Text as it is.
pub fn text(status: StatusCode, text: String) -> Answer {
    with_body(status, HeaderValue::from_static("text/plain; charset=utf-8"), text.into())
}

/// JSON for programs.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Our own types, which always serialise; were one not to, the client gets a server error and no half text.
    match serde_json::to_vec(value) {
        Ok(text) => with_body(status, HeaderValue::from_static("application/json"), text.into()),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// No body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// "Go there, and ask with GET" (RFC 9110 section 15.4.4): the only redirect after a form (SEC-R48).
pub fn see_other(location: &str) -> Answer {
    let Ok(location) = HeaderValue::try_from(location) else { return empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut answer = empty(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

/// The status of a page of ours with a form on it. `error`: what was wrong with the one that was sent, the id of a text.
pub(super) fn page_status(error: Option<&'static str>) -> StatusCode {
    let shed = [Shed::Source, Shed::Queue].into_iter().find(|shed| error == Some(shed.text()));
    match (error, shed) {
        (None, _) => StatusCode::OK,
        (Some(_), Some(shed)) => shed.status(),
        (Some(_), None) => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Back to a page of ours, which says what was `done`.
pub fn done(page: &str, what: &str) -> Answer {
    see_other(&format!("{page}?done={what}"))
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer
}

/// A problem detail (RFC 9457), for programs.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    instance: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A problem detail for this request. `reason`: our own word for it, where the status leaves room for doubt.
fn problem(visit: &Visit, status: StatusCode, reason: Option<&'static str>) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let instance = format!("urn:zonegate:request:{}", visit.request);
    let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), instance, reason };
    let mut answer = json(status, &problem);
    let kind = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

impl Portal {
    /// A refusal: a page for people, a problem detail for programs. Says nothing of our insides.
    pub fn refusal(&self, visit: &Visit, headers: &HeaderMap, status: StatusCode) -> Answer {
        let mut answer = if wants_html(headers) {
            let reference = visit.request.to_string();
            let back = Some(LOGIN);
            let page = ErrorPage { texts: error_texts(status), reference: &reference, back };
            html(status, page.html(&self.chrome(visit, headers)))
        } else {
            problem(visit, status, None)
        };
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        answer
    }
}

impl Portal {
    /// A refusal that the edge gives without asking the router, with the fields every answer carries.
    pub fn refuse(&self, visit: &Visit, headers: &HeaderMap, status: StatusCode) -> Answer {
        let mut answer = self.refusal(visit, headers, status);
        secure(&mut answer, &self.policies);
        answer
    }

    /// What a rule of the zone does not let the visit's person have, or nobody. `reason`: for programs, which must not
    /// take it for the application's own refusal.
    pub fn forbid(&self, visit: &Visit, headers: &HeaderMap, reason: &'static str) -> Answer {
        let status = StatusCode::FORBIDDEN;
        let answer = if wants_html(headers) {
            let username = visit.session.as_ref().map(|session| session.principal.username());
            let page = ForbiddenPage { username, reference: &visit.request.to_string() };
            html(status, page.html(&self.chrome(visit, headers)))
        } else {
            problem(visit, status, Some(reason))
        };
        self.secure(answer)
    }

    /// Puts those fields on an answer that the edge has made itself.
    pub fn secure(&self, mut answer: Answer) -> Answer {
        secure(&mut answer, &self.policies);
        answer
    }
}

/// Whether the client shows pages.
pub fn wants_html(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| {
        accept.split(',').any(|range| range.split(';').next().unwrap_or_default().trim() == "text/html")
    })
}

/// The ids of title and text.
fn error_texts(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        401 => ("error.401.title", "error.401.text"),
        403 => ("error.403.title", "error.403.text"),
        404 => ("error.404.title", "error.404.text"),
        405 => ("error.405.title", "error.405.text"),
        408 => ("error.408.title", "error.408.text"),
        413 => ("error.413.title", "error.413.text"),
        429 => ("error.429.title", "error.429.text"),
        421 => ("error.421.title", "error.421.text"),
        431 => ("error.431.title", "error.431.text"),
        501 => ("error.501.title", "error.501.text"),
        502 => ("error.502.title", "error.502.text"),
        503 => ("error.503.title", "error.503.text"),
        504 => ("error.504.title", "error.504.text"),
        status if status < 500 => ("error.400.title", "error.400.text"),
        _ => ("error.500.title", "error.500.text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w5_w6_the_policy_allows_no_frame_and_no_inline_code_and_leads_to_our_zones_only() {
        let policies = Policies::new(["https://desk.localhost:8443"].into_iter());
        for policy in [&policies.usual, &policies.outward] {
            let policy = policy.to_str().unwrap();
            assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"));
            assert!(!policy.contains("unsafe"));
        }
        assert!(policies.usual.to_str().unwrap().ends_with("form-action 'self' https://desk.localhost:8443"));
        assert!(policies.outward.to_str().unwrap().ends_with("form-action 'self' https:"));
    }

    #[test]
    fn every_refusal_has_texts() {
        for status in 400..600 {
            let (title, text) = error_texts(StatusCode::from_u16(status).unwrap());
            assert!(crate::pages::is_text_id(title) && crate::pages::is_text_id(text), "{status}");
        }
    }
}
