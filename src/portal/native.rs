//! The flow for native clients, as JSON: the phone app and the mail add-in (R103–R106).
//!
//! The same steps, budget and slots as in a browser, with reason codes of its own. What needs a page
//! (setting up an authenticator, a provider) is refused with the code that says so, and the address to open. An address at
//! a provider carries the client's class under seal: the session takes the client's slot, whatever browser it opens (R82).

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

use super::answer::{self, Answer};
use super::flow::{Asking, Sent};
use super::outcome::{Message, Outcome, Trouble};
use super::{Portal, Visit, cookies, csrf};
use crate::base::{SessionToken, TenantId, Username};
use crate::directory::Tenant;
use crate::login::{AwaitPassword, Binding, Entry, Flow, FlowProblem, Holder, Sender, Step};
use crate::session::{Class, Session};

/// The address native clients log in at.
pub const API_LOGIN: &str = "/.zonegate/api/login";

pub(super) fn routes() -> Router<Arc<Portal>> {
    Router::new().route(API_LOGIN, post(take))
}

/// What a client sends: its first request names client, username and password, the later ones the flow.
#[derive(Deserialize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Told {
    client: Option<String>,
    username: Option<String>,
    password: Option<String>,
    flow: Option<String>,
    code: Option<String>,
    terminate: Option<String>,
}

/// What it is answered. Fields that say nothing are left out.
#[derive(Default, Serialize)]
struct Said<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<OwnSession>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<Vec<OtherSession>>,
}

/// The session that began.
#[derive(Serialize)]
struct OwnSession {
    id: String,
    class: &'static str,
    started_at: String,
    /// Whatever the activity, it ends here.
    expires_at: String,
    /// Without activity it ends after this many seconds.
    idle_seconds: u32,
}

/// A session that could make room.
#[derive(Serialize)]
struct OtherSession {
    id: String,
    label: String,
    address: String,
    started_at: String,
    last_active_at: String,
}

/// A request, with what answering it takes.
struct Here<'a> {
    portal: &'a Portal,
    visit: &'a Visit,
    headers: &'a HeaderMap,
}

async fn take(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    request: Request<Body>,
) -> Answer {
    let (Parts { headers, .. }, body) = request.into_parts();
    let here = Here { portal: &portal, visit: &visit, headers: &headers };
    // A native client sends no Origin. A browser's page may use this address on its own zone only.
    let from_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if from_page && !csrf::came_from(&headers, &portal.origin(&visit.realm)) {
        return portal.forged(&visit, &headers, "foreign_origin").await;
    }
    let told = match read(&headers, body, portal.settings.limits.form_bytes_max).await {
        Ok(told) => told,
        Err(status) => return here.refuse(status, "bad_request", None),
    };
    match here.answer(&told).await {
        Ok(answer) => answer,
        Err(trouble) => portal.trouble(&visit, &headers, &trouble),
    }
}

/// A form of another site cannot have this media type without the browser asking us first.
async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Told, StatusCode> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let bytes = to_bytes(body, bytes_max).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    serde_json::from_slice(&bytes).map_err(|_| StatusCode::BAD_REQUEST)
}

impl Here<'_> {
    async fn answer(&self, told: &Told) -> Result<Answer, Trouble> {
        let Self { portal, visit, .. } = *self;
        let host = portal.host(visit);
        match &told.flow {
            None => {
                let clients = &portal.settings.native_clients;
                let client = clients.iter().find(|client| Some(&client.id) == told.client.as_ref());
                let Some(client) = client else {
                    return Ok(self.refuse(StatusCode::BAD_REQUEST, "unknown_client", None));
                };
                let asking = Asking { visit, host: &host, label: &client.label };
                let binding = Binding::Native(client.id.clone());
                let flow = portal.begin_flow(&asking, binding, Class::Mobile, None, Entry::Usual)?;
                let username = Sent { username: Some(told.username.as_deref().unwrap_or("")), ..Sent::default() };
                match portal.advance(flow, username, &asking).await? {
                    // The zone comes first: a password is looked at in its own zone only.
                    Outcome::Due(flow, None) => {
                        let password = Sent { password: told.password.as_deref(), ..Sent::default() };
                        let outcome = portal.advance(flow, password, &asking).await?;
                        self.say(outcome, &asking)
                    }
                    Outcome::ToProvider(flow, tenant, username) => {
                        let outcome = self.password_all_the_same(flow, username, told, &asking).await?;
                        self.beside_a_provider(self.sso_required(&tenant)?, outcome, &asking)
                    }
                    Outcome::SuiteRequired(flow, username) => {
                        let outcome = self.password_all_the_same(flow, username, told, &asking).await?;
                        self.beside_a_provider(self.suite_required()?, outcome, &asking)
                    }
                    settled @ (Outcome::Due(_, Some(_))
                    | Outcome::ToSuite(..)
                    | Outcome::Overloaded(..)
                    | Outcome::Elsewhere(..)
                    | Outcome::Begun(..)
                    | Outcome::Over(_)
                    | Outcome::Restart(..)) => self.say(settled, &asking),
                }
            }
            Some(sealed) => {
                let sender = Sender { host: &host, holder: Holder::Native };
                let flow = match Flow::open(sealed, &portal.flow_key, sender, visit.now) {
                    Ok(flow) => flow,
                    Err(FlowProblem::Expired(_)) => {
                        return Ok(self.refuse(StatusCode::BAD_REQUEST, "flow_expired", Some("notice.expired")));
                    }
                    Err(
                        problem @ (FlowProblem::Forged
                        | FlowProblem::OtherHost
                        | FlowProblem::OtherClient
                        | FlowProblem::OtherBrowser(_)),
                    ) => return Ok(portal.forged(visit, self.headers, problem.name()).await),
                };
                let label = self.label(&flow);
                let asking = Asking { visit, host: &host, label: &label };
                let sent =
                    Sent { code: told.code.as_deref(), session: told.terminate.as_deref(), ..Sent::default() };
                let outcome = portal.advance(flow, sent, &asking).await?;
                self.say(outcome, &asking)
            }
        }
    }

    async fn password_all_the_same(
        &self,
        flow: Flow,
        username: Username,
        told: &Told,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let sent = Sent { password: told.password.as_deref(), ..Sent::default() };
        self.portal.advance(flow.at(Step::Password(AwaitPassword::new(username))), sent, asking).await
    }

    /// The tenant's people log in at its provider or the suite, but for a few, whose password decides (D22, D25). Whose is
    /// wrong is told where the others go, like everybody else: the answer does not say who the few are (R105, trap 37).
    fn beside_a_provider(
        &self,
        for_the_others: Answer,
        outcome: Outcome,
        asking: &Asking<'_>,
    ) -> Result<Answer, Trouble> {
        match outcome {
            Outcome::Due(_, Some(_)) | Outcome::Due(Flow { step: Step::Password(_), .. }, None) => {
                Ok(for_the_others)
            }
            evaluated @ (Outcome::Due(_, None)
            | Outcome::Overloaded(..)
            | Outcome::Elsewhere(..)
            | Outcome::ToProvider(..)
            | Outcome::ToSuite(..)
            | Outcome::SuiteRequired(..)
            | Outcome::Begun(..)
            | Outcome::Over(_)
            | Outcome::Restart(..)) => self.say(evaluated, asking),
        }
    }

    fn sso_required(&self, tenant: &Tenant) -> Result<Answer, Trouble> {
        let login_url = Some(self.address_at(&super::sso::address(&tenant.slug), Some(tenant.id))?);
        let said = Said { login_url, ..self.reason("sso_required", Some("m19.required")) };
        Ok(self.coded(StatusCode::FORBIDDEN, &said))
    }

    fn suite_required(&self) -> Result<Answer, Trouble> {
        let login_url = Some(self.address_at(super::sso::SUITE, None)?);
        Ok(self.coded(StatusCode::FORBIDDEN, &Said { login_url, ..self.reason("suite_required", Some("m24")) }))
    }

    /// The address of a provider's log-in for the browser that the client opens. As long for everybody of a tenant.
    fn address_at(&self, path: &str, tenant: Option<TenantId>) -> Result<String, Trouble> {
        let client = self.portal.class_ticket(self.visit, tenant, Class::Mobile)?;
        Ok(format!("{}{path}?{client}", self.portal.origin(&self.visit.realm)))
    }

    /// What the client is called in lists. One that is no longer configured keeps its id.
    fn label(&self, flow: &Flow) -> String {
        match &flow.binding {
            Binding::Native(id) => {
                let client = self.portal.settings.native_clients.iter().find(|client| client.id == *id);
                client.map_or_else(|| id.clone(), |client| client.label.clone())
            }
            Binding::Browser(_) => String::new(),
        }
    }

    fn say(&self, outcome: Outcome, asking: &Asking<'_>) -> Result<Answer, Trouble> {
        Ok(match outcome {
            Outcome::Due(_, Some(Message::Username | Message::Credentials)) => {
                self.refuse(StatusCode::UNAUTHORIZED, "bad_credentials", Some("m2"))
            }
            Outcome::Due(_, Some(Message::Locked)) => self.refuse(StatusCode::FORBIDDEN, "locked", Some("m3")),
            Outcome::Due(flow, Some(Message::Code)) => {
                let flow = Some(self.portal.seal(&flow)?);
                self.coded(StatusCode::UNAUTHORIZED, &Said { flow, ..self.reason("otp_invalid", Some("m4")) })
            }
            Outcome::Due(flow, None) => return self.due(&flow, asking),
            Outcome::Overloaded(_, shed) => {
                let mut answer = self.refuse(shed.status(), "throttled", Some(shed.text()));
                answer.headers_mut().insert(header::RETRY_AFTER, shed.retry_after());
                answer
            }
            Outcome::Elsewhere(zone, _) => {
                let host = zone.host.as_str();
                let message = self.portal.chrome(self.visit, self.headers).fill("m23", &[("host", host)]);
                let said = Said { host: Some(host), message: Some(message), ..self.reason("wrong_zone", None) };
                self.coded(StatusCode::MISDIRECTED_REQUEST, &said)
            }
            Outcome::ToProvider(_, tenant, _) => self.sso_required(&tenant)?,
            // No client asks for it, and where it is required, that was said before.
            Outcome::ToSuite(..) | Outcome::SuiteRequired(..) => self.suite_required()?,
            Outcome::Begun(session, token, _) => authenticated(&session, Some(&token)),
            Outcome::Over(_) => match &self.visit.session {
                Some(session) => authenticated(session, None),
                None => self.refuse(StatusCode::BAD_REQUEST, "flow_expired", Some("notice.expired")),
            },
            Outcome::Restart(..) => self.refuse(StatusCode::BAD_REQUEST, "flow_expired", Some("notice.expired")),
        })
    }

    /// What is due, and nothing was wrong.
    fn due(&self, flow: &Flow, asking: &Asking<'_>) -> Result<Answer, Trouble> {
        Ok(match &flow.step {
            // A first request without a username or password.
            Step::Username | Step::Password(_) => {
                self.refuse(StatusCode::UNAUTHORIZED, "bad_credentials", Some("m2"))
            }
            Step::Code(_) => {
                let flow = Some(self.portal.seal(flow)?);
                answer::json(
                    StatusCode::OK,
                    &Said { status: "otp_required", kind: Some("totp"), flow, ..Said::default() },
                )
            }
            // The QR code needs a second screen: the web page is the place for it.
            Step::Enrolment(_) | Step::Enrolled(_) => {
                let login_url = Some(format!("{}{}", self.portal.origin(&self.visit.realm), super::login::LOGIN));
                self.coded(StatusCode::FORBIDDEN, &Said { login_url, ..self.reason("otp_setup_required", None) })
            }
            // A native flow never comes from a provider.
            Step::Account(_) => self.refuse(StatusCode::BAD_REQUEST, "bad_request", None),
            Step::Slot(step) => {
                let sessions = self.portal.slot_sessions(step, flow.class, asking);
                let sessions = Some(sessions.iter().map(|session| other(session)).collect());
                let flow = Some(self.portal.seal(flow)?);
                self.coded(
                    StatusCode::CONFLICT,
                    &Said { sessions, flow, ..self.reason("session_limit", Some("m15")) },
                )
            }
        })
    }

    fn reason<'a>(&self, code: &'a str, text: Option<&'static str>) -> Said<'a> {
        let message = text.map(|id| self.portal.chrome(self.visit, self.headers).t(id));
        Said { status: code, message, ..Said::default() }
    }

    fn refuse(&self, status: StatusCode, code: &str, text: Option<&'static str>) -> Answer {
        self.coded(status, &self.reason(code, text))
    }

    fn coded(&self, status: StatusCode, said: &Said<'_>) -> Answer {
        answer::json(status, said)
    }
}

fn authenticated(session: &Session, token: Option<&SessionToken>) -> Answer {
    let lifetimes = session.terms.lifetimes;
    let own = OwnSession {
        id: session.id.to_string(),
        class: session.class.name(),
        started_at: session.started_at.to_string(),
        expires_at: session.started_at.plus(lifetimes.absolute_max).to_string(),
        idle_seconds: lifetimes.idle_max.seconds(),
    };
    let said = Said { status: "authenticated", session: Some(own), ..Said::default() };
    let mut answer = answer::json(StatusCode::OK, &said);
    if let Some(token) = token {
        answer.headers_mut().append(header::SET_COOKIE, cookies::set_session(token));
    }
    answer
}

fn other(session: &Session) -> OtherSession {
    OtherSession {
        id: session.id.to_string(),
        label: session.device_label().to_owned(),
        address: session.device_address().to_owned(),
        started_at: session.started_at.to_string(),
        last_active_at: session.last_seen().to_string(),
    }
}
