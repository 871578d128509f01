//! The sample identity providers: what a company's own log-in is to zonegate, and what a vendor's suite is, small enough to
//! run inside the demo.
//!
//! Both are one program with two faces, at one host. The suite's says besides who somebody is which company they are of,
//! which modules they may open and whether they manage the company; and it is a module itself, with a page that knows
//! whoever is logged in there.
//!
//! It speaks OpenID Connect as a careful provider does (a code once, PKCE, the client's secret, back-channel log-out),
//! so that what a newcomer sees of zonegate is what they get. Only in one thing is it no provider: it asks for no
//! password and believes whoever picks a name. Each of its pages says so, and it listens on loopback.
//!
//! It knows nothing of the gateway but its addresses, as any provider would, and is reached by sockets only.

mod face;
mod page;
mod state;
mod tls;
mod tokens;

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Form;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use url::Url;

use super::certs::Leaf;
use crate::base::UnixTime;
use crate::machine::{Clock, EntropyFault};
use crate::sso::Issuer;
use crate::table::KeyFault;
pub(crate) use face::Client;
use face::{Face, Known};
use state::{Login, Memory};
use tokens::Key;

/// The host of the sample provider.
pub(crate) const HOST: &str = "id.localhost";

/// Where the suite begins, below the same host.
pub(crate) const SUITE_PATH: &str = "/one";

/// The provider, before it listens.
pub(crate) struct Provider {
    face: &'static Face,
    issuer: Issuer,
    clients: Vec<Client>,
    key: Key,
    clock: Clock,
    /// What tells applications of a log-out.
    http: reqwest::Client,
    memory: Mutex<Memory>,
}

/// Why a request got no answer but a page of its own.
enum Refusal {
    /// The request is not one that a client of ours makes. Never answered by a redirect: nobody vouches for where to.
    Request(&'static Face, &'static str),
    /// The token endpoint's word (RFC 6749 section 5.2).
    Token(StatusCode, &'static str),
    /// Nothing secret could be made.
    Broken,
}

impl From<EntropyFault> for Refusal {
    fn from(_: EntropyFault) -> Self {
        Self::Broken
    }
}

impl From<KeyFault> for Refusal {
    fn from(_: KeyFault) -> Self {
        Self::Broken
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Request(face, why) => (StatusCode::BAD_REQUEST, Html(page::refused(face, why))).into_response(),
            Self::Token(status, error) => (status, axum::Json(json!({ "error": error }))).into_response(),
            Self::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "no key or name could be made\n").into_response(),
        }
    }
}

/// What a client asks of the authorization endpoint.
struct Request<'a> {
    client: &'a Client,
    redirect_uri: String,
    state: String,
    nonce: String,
    challenge: String,
    login_hint: Option<String>,
    /// The person is to be asked whoever is logged in.
    ask: bool,
    /// How long ago they may have logged in, in seconds.
    max_age: Option<u64>,
}

type Shared = State<Arc<Provider>>;
type Parameters = HashMap<String, String>;

impl Provider {
    /// The companies' provider, with a new key. `http` reaches the applications.
    pub(crate) fn of_companies(
        issuer: Issuer,
        clients: Vec<Client>,
        http: reqwest::Client,
    ) -> Result<Self, KeyFault> {
        Self::new(&face::COMPANIES, issuer, clients, http)
    }

    /// The same as the suite, whose issuer ends in [`SUITE_PATH`].
    pub(crate) fn of_suite(issuer: Issuer, clients: Vec<Client>, http: reqwest::Client) -> Result<Self, KeyFault> {
        Self::new(&face::SUITE, issuer, clients, http)
    }

    fn new(
        face: &'static Face,
        issuer: Issuer,
        clients: Vec<Client>,
        http: reqwest::Client,
    ) -> Result<Self, KeyFault> {
        let (key, clock, memory) = (Key::new()?, Clock::new(), Mutex::default());
        Ok(Self { face, issuer, clients, key, clock, http, memory })
    }

    fn router(self) -> Router {
        let router = match self.face.academy {
            Some(_) => Router::new().route("/academy", get(academy)),
            None => Router::new(),
        };
        router
            .route("/", get(home))
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize).post(picked))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/logout", get(log_out).post(log_out))
            .route("/provider.css", get(style))
            .with_state(Arc::new(self))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixTime {
        self.clock.tick();
        self.clock.now()
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    fn refused(&self, why: &'static str) -> Refusal {
        Refusal::Request(self.face, why)
    }

    fn request(&self, query: &str) -> Result<Request<'_>, Refusal> {
        let mut given = parameters(query);
        let id = given.get("client_id").cloned().unwrap_or_default();
        if !self.clients.iter().any(|client| client.credentials.client_id == id) {
            return Err(self.refused("the client is not known"));
        }
        let mut take = |name: &str| given.remove(name).filter(|value| !value.is_empty());
        let redirect_uri = take("redirect_uri").unwrap_or_default();
        let mut own = self.clients.iter().filter(|client| client.credentials.client_id == id);
        let client = own.find(|client| client.address("callback") == redirect_uri);
        let client = client.ok_or(self.refused("the redirect URI is not the client's"))?;
        let is_code = take("response_type").as_deref() == Some("code");
        let is_proved = take("code_challenge_method").as_deref() == Some("S256");
        if !is_code || !is_proved {
            return Err(self.refused("only codes are given, and only with PKCE by S256"));
        }
        let missing = self.refused("state, nonce or code_challenge is missing");
        let (Some(state), Some(nonce), Some(challenge)) = (take("state"), take("nonce"), take("code_challenge"))
        else {
            return Err(missing);
        };
        Ok(Request {
            client,
            redirect_uri,
            state,
            nonce,
            challenge,
            login_hint: take("login_hint"),
            ask: take("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "login")),
            max_age: take("max_age").and_then(|age| age.parse().ok()),
        })
    }

    /// Back to the client with a code for the person of this log-in.
    fn code(&self, login: &str, request: &Request<'_>) -> Result<Response, Refusal> {
        let code = self.memory().grant(login, request, self.now())?;
        let code = code.ok_or(self.refused("nobody is logged in any more"))?;
        Ok(self.back(request, ("code", &code)))
    }

    /// Back to the client, with `iss` so that it can tell us from others (RFC 9207).
    fn back(&self, request: &Request<'_>, answer: (&str, &str)) -> Response {
        let query = [answer, ("state", &request.state), ("iss", self.issuer.as_str())];
        match Url::parse_with_params(&request.redirect_uri, query) {
            Ok(to) => see_other(to.as_str()),
            Err(_) => self.refused("the redirect URI is none").into_response(),
        }
    }

    /// Tells every application that this log-in let somebody into that it is over (OpenID Connect Back-Channel Logout
    /// 1.0). Waits for them, so that whoever is told to be logged out is.
    async fn tell(&self, login: &Login) {
        let clients = self.clients.iter().filter(|client| login.clients.contains(&client.base));
        futures_util::future::join_all(clients.map(|client| self.tell_one(client, login))).await;
    }

    async fn tell_one(&self, client: &Client, login: &Login) {
        let token =
            match self.key.logout_token(self.issuer.as_str(), client.credentials.client_id, login, self.now()) {
                Ok(token) => token,
                Err(fault) => return tracing::warn!(%fault, "sample provider: no log-out token"),
            };
        let form =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let address = client.address("backchannel-logout");
        let asked = self.http.post(address).header(header::CONTENT_TYPE, kind).body(form).send().await;
        match asked.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => {}
            Ok(status) => {
                tracing::warn!(%status, client = client.base, "sample provider: log-out refused");
            }
            Err(fault) => {
                tracing::warn!(%fault, client = client.base, "sample provider: log-out not told");
            }
        }
    }
}

/// Serves both on `listener`, the suite below [`SUITE_PATH`], until the runtime ends.
pub(crate) async fn serve(
    companies: Provider,
    suite: Provider,
    listener: TcpListener,
    leaf: &Leaf,
) -> std::io::Result<()> {
    tracing::info!(issuer = %companies.issuer, suite = %suite.issuer, "the demo's sample providers believe anybody");
    axum::serve(tls::listen(listener, leaf)?, router(companies, suite)).await
}

fn router(companies: Provider, suite: Provider) -> Router {
    companies.router().nest(SUITE_PATH, suite.router())
}

async fn metadata(State(provider): Shared) -> Response {
    let at = |path| provider.at(path);
    axum::Json(json!({
        "issuer": provider.issuer.as_str(),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"),
        "userinfo_endpoint": at("/userinfo"),
        "end_session_endpoint": at("/logout"),
        "scopes_supported": ["openid", "profile", "email"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
    }))
    .into_response()
}

async fn keys(State(provider): Shared) -> Result<Response, Refusal> {
    Ok(axum::Json(json!({ "keys": [provider.key.jwk()?] })).into_response())
}

/// The page on which a person says who they are. Whoever has said so already goes straight back, unless the application
/// expects somebody else: a person who picked a wrong name would come back as that one for ever.
async fn authorize(
    State(provider): Shared,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let request = provider.request(&query)?;
    let known =
        provider.login(&headers).filter(|login| provider.memory().may_go_on(login, &request, provider.now()));
    match known {
        Some(login) => provider.code(&login, &request),
        None => Ok(shown(page::pick(provider.face, request.client, &query, request.login_hint.as_deref()))),
    }
}

/// Somebody picked a name, or cancelled.
async fn picked(
    State(provider): Shared,
    RawQuery(query): RawQuery,
    Form(form): Form<Parameters>,
) -> Result<Response, Refusal> {
    let request = provider.request(&query.unwrap_or_default())?;
    let subject = form.get("person").map(String::as_str).unwrap_or_default();
    let Some(known) = request.client.people.iter().find(|known| known.subject == subject) else {
        return Ok(provider.back(&request, ("error", "access_denied")));
    };
    tracing::info!(person = known.person.username, client = request.client.base, "sample provider: believed");
    let login = provider.memory().log_in(*known, provider.now())?;
    let mut answer = provider.code(&login, &request)?;
    let cookie = provider.face.cookie;
    set_cookie(&mut answer, &format!("{cookie}={login}; Path=/; Secure; HttpOnly; SameSite=Lax"));
    Ok(answer)
}

async fn token(
    State(provider): Shared,
    headers: HeaderMap,
    Form(form): Form<Parameters>,
) -> Result<Response, Refusal> {
    let value = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let client = provider.clients.iter().find(|client| tokens::is_proved_by(&client.credentials, &headers));
    let client = client.ok_or(Refusal::Token(StatusCode::UNAUTHORIZED, "invalid_client"))?;
    if value("grant_type") != "authorization_code" {
        return Err(Refusal::Token(StatusCode::BAD_REQUEST, "unsupported_grant_type"));
    }
    let now = provider.now();
    let granted = provider.memory().redeem(value("code"), now).filter(|granted| {
        granted.client_id == client.credentials.client_id
            && granted.redirect_uri == value("redirect_uri")
            && granted.challenge == tokens::challenge(value("code_verifier"))
    });
    let granted = granted.ok_or(Refusal::Token(StatusCode::BAD_REQUEST, "invalid_grant"))?;
    let access_token = provider.memory().open(granted.known, now)?;
    let id_token = provider.key.id_token(provider.issuer.as_str(), &granted, &access_token, now)?;
    provider.memory().issued(&granted.sid, &id_token);
    let answer = json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": state::ACCESS_SECONDS,
        "id_token": id_token,
    });
    Ok(private(axum::Json(answer)))
}

async fn userinfo(State(provider): Shared, headers: HeaderMap) -> Response {
    let field = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = field.and_then(|field| field.strip_prefix("Bearer "));
    let known = token.and_then(|token| provider.memory().opened(token, provider.now()));
    match known {
        Some(known) => private(axum::Json(known.claims())),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Ends the log-in here and in every application, and leads back to the one that asked for it, if one did (OpenID
/// Connect RP-Initiated Logout 1.0). Without the browser's cookie an ID token says which log-in it is: an application may
/// have to tell later.
async fn log_out(
    State(provider): Shared,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    form: String,
) -> Response {
    let given = parameters(&[query.unwrap_or_default(), form].join("&"));
    let ended = provider.login(&headers).and_then(|login| provider.memory().log_out(&login));
    let hinted = || given.get("id_token_hint").and_then(|hint| provider.memory().log_out_by(hint));
    if let Some(login) = ended.or_else(hinted) {
        provider.tell(&login).await;
    }
    let known = |uri: &&String| provider.clients.iter().any(|client| client.address("logged-out") == **uri);
    let state = given.get("state").map(|state| ("state", state));
    let back = given.get("post_logout_redirect_uri").filter(known);
    let mut answer = match back.and_then(|uri| Url::parse_with_params(uri, state).ok()) {
        Some(to) => see_other(to.as_str()),
        None => shown(page::logged_out(provider.face)),
    };
    let cookie = provider.face.cookie;
    set_cookie(&mut answer, &format!("{cookie}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"));
    answer
}

/// Who is logged in, and the applications as tiles (R99).
async fn home(State(provider): Shared, headers: HeaderMap) -> Response {
    let known = provider.who(&headers);
    shown(page::home(provider.face, known.as_ref(), &provider.clients, provider.issuer.as_str()))
}

/// A module of the suite that is the suite's own: whoever is logged in there is known here without typing anything (R94).
async fn academy(State(provider): Shared, headers: HeaderMap) -> Response {
    shown(page::academy(provider.face, provider.who(&headers).as_ref()))
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("provider.css")).into_response()
}

fn parameters(query: &str) -> Parameters {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

impl Provider {
    /// The name of the browser's log-in.
    fn login(&self, headers: &HeaderMap) -> Option<String> {
        let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut pairs = fields.flat_map(|field| field.split("; ")).filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == self.face.cookie).map(|(_, value)| value.to_owned())
    }

    /// Whose browser it is.
    fn who(&self, headers: &HeaderMap) -> Option<Known> {
        self.login(headers).and_then(|login| self.memory().known(&login))
    }
}

fn see_other(to: &str) -> Response {
    private((StatusCode::SEE_OTHER, [(header::LOCATION, to)]))
}

fn shown(html: String) -> Response {
    private(Html(html))
}

fn private(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests;
