//! An OpenID provider that does what the test tells it, wrong things too: TLS on loopback under an authority of its own,
//! discovery, keys, an authorization endpoint that sends the browser straight back, tokens, user info, log-out.
//!
//! Left alone it is honest and strict: it wants PKCE, `nonce`, the right redirect URI and the client's proof, and gives a
//! code once. A test changes its [`Script`]: an edit of any document before it goes out, another signature, another person,
//! or a [`Play`] in place of an endpoint's answer. Everything that it was asked is there to be looked at.

mod keys;
mod server;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use keys::verified_es256;
pub(crate) use keys::{SigningKey, base64url};
use server::Shown;
pub(crate) use server::{Asked, Play};

use crate::harness::{Authority, Reply, Wire};

pub(crate) const METADATA: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/keys";
pub(crate) const AUTHORIZE: &str = "/authorize";
pub(crate) const TOKENS: &str = "/token";
pub(crate) const USER_INFO: &str = "/userinfo";
pub(crate) const END_SESSION: &str = "/logout";

/// What the provider calls us, and what it shares with us. Neither survives being encoded too seldom or too often.
pub(crate) const CLIENT_ID: &str = "zone gate:1";
pub(crate) const CLIENT_SECRET: &str = "Kite+Harbour 91%:&";

/// Changes a document before it goes out.
pub(crate) type Edit = Box<dyn Fn(&mut Value) + Send>;

/// How a token is signed.
pub(crate) enum Signature {
    /// As its header says, with the provider's key.
    Honest,
    /// Not at all: nothing after the last dot.
    Missing,
    /// With one bit changed.
    Flipped,
    /// HMAC-SHA-256 with this secret.
    Hmac(Vec<u8>),
    /// With a key of somebody else's.
    With(SigningKey),
}

/// What the provider does. Everything may be changed while it runs.
pub(crate) struct Script {
    /// `client_secret_basic`, `client_secret_post` or `private_key_jwt`.
    pub(crate) authentication: &'static str,
    /// Our public key, for `private_key_jwt`.
    pub(crate) client_key: Value,
    /// `RS256`, `PS256` or `ES256`. [`Provider::rotate`] after a change.
    pub(crate) algorithm: &'static str,
    /// Who is logged in at the provider.
    pub(crate) subject: String,
    pub(crate) sid: String,
    /// Whether it takes each person for whom `login_hint` suggests, by subject and address, in place of the above.
    pub(crate) by_hint: bool,
    /// What the ID token says beside the protocol's claims, and the user info beside `sub`.
    pub(crate) claims: Value,
    pub(crate) info: Value,
    /// When the person showed who they are, in seconds before now.
    pub(crate) logged_in_ago: u64,
    /// How far the provider's clock is ahead of the system's, in seconds.
    pub(crate) ahead: i64,
    pub(crate) metadata: Edit,
    pub(crate) keys: Edit,
    pub(crate) token_header: Edit,
    pub(crate) token_claims: Edit,
    pub(crate) token_answer: Edit,
    pub(crate) user_info: Edit,
    /// The parameters that the browser brings back, as an object of texts; a list for one that is there more than once.
    pub(crate) callback: Edit,
    pub(crate) signature: Signature,
    plays: HashMap<&'static str, Play>,
}

impl Default for Script {
    fn default() -> Self {
        fn as_it_is() -> Edit {
            Box::new(|_| {})
        }
        Self {
            authentication: "client_secret_basic",
            client_key: Value::Null,
            algorithm: "RS256",
            subject: "248289761001".into(),
            sid: "08a5019c-17e1-4977-8f42-65a12843ea02".into(),
            by_hint: false,
            claims: json!({ "email": "alice@acme.example", "email_verified": true }),
            info: json!({ "email": "alice@acme.example", "email_verified": true, "name": "Alice Ash" }),
            logged_in_ago: 5,
            ahead: 0,
            metadata: as_it_is(),
            keys: as_it_is(),
            token_header: as_it_is(),
            token_claims: as_it_is(),
            token_answer: as_it_is(),
            user_info: as_it_is(),
            callback: as_it_is(),
            signature: Signature::Honest,
            plays: HashMap::new(),
        }
    }
}

/// What an authorization request was about, until its code is spent.
struct Issued {
    nonce: String,
    challenge: String,
    redirect_uri: String,
    /// Who logged in, where everybody is believed.
    hint: Option<String>,
}

#[derive(Default)]
struct State {
    script: Script,
    asked: Vec<Asked>,
    counts: HashMap<String, usize>,
    signing: Option<SigningKey>,
    /// How many keys there have been.
    keys: usize,
    codes: HashMap<String, Issued>,
    /// Whose access tokens those are that were given to somebody who was believed.
    believed: HashMap<String, String>,
    /// Names of things that must differ.
    next: usize,
    assertions: HashSet<String>,
}

pub(crate) struct Inner {
    issuer: String,
    state: Mutex<State>,
}

/// A running provider.
pub(crate) struct Provider {
    authority: Authority,
    host: &'static str,
    shown: Arc<Shown>,
    inner: Arc<Inner>,
}

impl Provider {
    /// At `https://localhost` and a port of its own.
    pub(crate) async fn start() -> Self {
        Self::start_as("localhost").await
    }

    /// The same by another name, or an address, of loopback's.
    pub(crate) async fn start_as(host: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("https://{host}:{}", listener.local_addr().unwrap().port());
        let provider = Self {
            authority: Authority::new(),
            host,
            shown: Arc::default(),
            inner: Arc::new(Inner { issuer, state: Mutex::default() }),
        };
        provider.rotate();
        provider.show(Some(provider.authority.leaf(host, false).served()));
        server::serve(listener, Arc::clone(&provider.shown), Arc::clone(&provider.inner));
        provider
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    /// Its authority, in PEM.
    pub(crate) fn ca(&self) -> &str {
        &self.authority.pem
    }

    /// What an operator configures of it: the settings as JSON, without the secret.
    pub(crate) fn settings(&self) -> Value {
        let state = self.inner.state();
        json!({
            "issuer": self.issuer(),
            "client_id": CLIENT_ID,
            "client_authentication": state.script.authentication,
            "signing_algorithm": state.script.algorithm,
            "scopes": ["email"],
            "username_claim": "email",
        })
    }

    /// Changes what it does.
    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.inner.state().script);
    }

    /// Makes it honest again. What it knows, its keys and codes, stays.
    pub(crate) fn behave(&self) {
        let algorithm = self.inner.state().script.algorithm;
        self.script(|script| *script = Script { algorithm, ..Script::default() });
    }

    /// Gives the endpoint at `path` something else to do.
    pub(crate) fn play(&self, path: &'static str, play: Play) {
        self.script(|script| {
            script.plays.insert(path, play);
        });
    }

    /// Shows another certificate, or none.
    pub(crate) fn show(&self, certificate: Option<Arc<CertifiedKey>>) {
        *self.shown.0.lock().unwrap() = certificate;
    }

    /// Its certificate as it should not be: that of an authority nobody trusts, of another host, expired.
    pub(crate) fn bad_certificates(&self) -> [(&'static str, Option<Arc<CertifiedKey>>); 4] {
        [
            ("an authority that nobody trusts", Some(Authority::new().leaf(self.host, false).served())),
            ("another name", Some(self.authority.leaf("other.test", false).served())),
            ("one that has expired", Some(self.authority.leaf(self.host, true).served())),
            ("none", None),
        ]
    }

    /// Signs with a new key from now on, and publishes no other.
    pub(crate) fn rotate(&self) {
        let mut state = self.inner.state();
        state.keys += 1;
        state.signing = Some(SigningKey::nth(state.script.algorithm, state.keys));
    }

    /// What it was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.inner.state().asked)
    }

    /// How often `path` was ever asked.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.inner.state().counts.get(path).copied().unwrap_or_default()
    }

    /// What a browser that is sent to `url` is told: where to go from here. Fails if the request is not what a client must
    /// send.
    #[track_caller]
    pub(crate) fn authorize(&self, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        assert!(url.as_str().starts_with(self.issuer()), "{url}");
        let query = server::pairs(url.query().unwrap_or_default().as_bytes());
        self.inner.state().authorize(self.issuer(), &query).unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    /// A log-out token for the person who is logged in there. `edit` gets the header and the claims.
    pub(crate) fn logout_token(&self, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut state = self.inner.state();
        let now = state.now();
        let jti = state.name("logout");
        let mut header = state.header("logout+jwt");
        let mut claims = json!({
            "iss": self.issuer(),
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": jti,
            "sub": state.script.subject,
            "sid": state.script.sid,
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        edit(&mut header, &mut claims);
        state.sign(&header, &claims)
    }

    /// Tells the gateway at the other end of `wire` that somebody has logged out.
    pub(crate) async fn tell_logout(&self, wire: &mut Wire, host: &str, path: &str, token: &str) -> Reply {
        let body = format!("logout_token={token}");
        let kind = "application/x-www-form-urlencoded";
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {}",
            body.len()
        );
        wire.ask(format!("{head}\r\n\r\n{body}")).await
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Writes down what was asked; what is to be done in place of an answer, if anything.
    fn note(&self, asked: &Asked) -> Option<Play> {
        let mut state = self.state();
        state.asked.push(asked.clone());
        *state.counts.entry(asked.path.clone()).or_default() += 1;
        state.script.plays.get(asked.path.as_str()).cloned()
    }

    fn honest(&self, asked: &Asked) -> Response {
        let mut state = self.state();
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", METADATA) => document(&state.metadata(&self.issuer)),
            ("GET", KEYS) => document(&state.published()),
            ("GET", AUTHORIZE) => match state.authorize(&self.issuer, &asked.query) {
                Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
                Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            },
            ("POST", TOKENS) => match state.tokens(&self.issuer, asked) {
                Ok(answer) => document(&answer),
                Err((status, error)) => {
                    (StatusCode::from_u16(status).unwrap(), document(&json!({ "error": error }))).into_response()
                }
            },
            ("GET", USER_INFO) => match state.person(asked) {
                Some(answer) => document(&answer),
                None => StatusCode::UNAUTHORIZED.into_response(),
            },
            // Without a browser: the ID token says whose session it is.
            ("POST", END_SESSION) => match asked.form.contains_key("id_token_hint") {
                true => StatusCode::OK.into_response(),
                false => StatusCode::BAD_REQUEST.into_response(),
            },
            ("GET", END_SESSION) => {
                let Some(to) = asked.query.get("post_logout_redirect_uri") else {
                    return "You are logged out.".into_response();
                };
                let mut to = Url::parse(to).unwrap();
                if let Some(state) = asked.query.get("state") {
                    to.query_pairs_mut().append_pair("state", state);
                }
                (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_string())]).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

fn document(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

impl State {
    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        now.saturating_add_signed(self.script.ahead)
    }

    fn name(&mut self, of: &str) -> String {
        self.next += 1;
        format!("{of}-{}-kelp", self.next)
    }

    fn metadata(&self, issuer: &str) -> Value {
        let at = |path: &str| format!("{issuer}{path}");
        let mut metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": at(AUTHORIZE),
            "token_endpoint": at(TOKENS),
            "jwks_uri": at(KEYS),
            "userinfo_endpoint": at(USER_INFO),
            "end_session_endpoint": at(END_SESSION),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.script.algorithm],
            "token_endpoint_auth_methods_supported": [self.script.authentication],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        (self.script.metadata)(&mut metadata);
        metadata
    }

    fn published(&self) -> Value {
        let mut keys = json!({ "keys": [self.signing.as_ref().unwrap().jwk()] });
        (self.script.keys)(&mut keys);
        keys
    }

    /// Where the browser goes with its code.
    fn authorize(&mut self, issuer: &str, query: &HashMap<String, String>) -> Result<String, &'static str> {
        let value = |name: &str| query.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let is = |name: &str, want: &str| value(name) == Some(want);
        if !is("response_type", "code") || !is("client_id", CLIENT_ID) {
            return Err("a request for a code by the client that is known");
        }
        if !value("scope").unwrap_or_default().split(' ').any(|scope| scope == "openid") {
            return Err("the scope openid");
        }
        let challenge = value("code_challenge").filter(|challenge| challenge.len() == 43);
        let challenge = challenge.filter(|_| is("code_challenge_method", "S256")).ok_or("a challenge by S256")?;
        let nonce = value("nonce").ok_or("a nonce")?;
        let state = value("state").ok_or("a state")?;
        let redirect_uri = value("redirect_uri").ok_or("a redirect URI")?;
        let hint = value("login_hint").filter(|_| self.script.by_hint).map(str::to_owned);
        let issued =
            Issued { nonce: nonce.into(), challenge: challenge.into(), redirect_uri: redirect_uri.into(), hint };
        let code = self.name("code");
        self.codes.insert(code.clone(), issued);
        let mut callback = json!({ "code": code, "state": state, "iss": issuer });
        (self.script.callback)(&mut callback);
        let mut to = Url::parse(redirect_uri).map_err(|_| "a redirect URI that is one")?;
        for (name, value) in callback.as_object().unwrap() {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for value in values {
                to.query_pairs_mut().append_pair(name, value.as_str().unwrap());
            }
        }
        Ok(to.into())
    }

    fn tokens(&mut self, issuer: &str, asked: &Asked) -> Result<Value, (u16, &'static str)> {
        if !self.is_client(issuer, asked) {
            return Err((401, "invalid_client"));
        }
        let value = |name: &str| asked.form.get(name).map(String::as_str).unwrap_or_default();
        if value("grant_type") != "authorization_code" {
            return Err((400, "unsupported_grant_type"));
        }
        let issued = self.codes.remove(value("code")).ok_or((400, "invalid_grant"))?;
        let verifier = value("code_verifier");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        let proved = verifier.len() >= 43 && base64url(digest) == issued.challenge;
        if !proved || value("redirect_uri") != issued.redirect_uri {
            return Err((400, "invalid_grant"));
        }
        let access_token = self.name("access");
        let mut answer = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self.id_token(issuer, &issued, &access_token),
        });
        if let Some(person) = issued.hint {
            self.believed.insert(access_token, person);
        }
        (self.script.token_answer)(&mut answer);
        Ok(answer)
    }

    /// Whether whoever asks has proved to be the client, in the way that is configured and in no other.
    fn is_client(&mut self, issuer: &str, asked: &Asked) -> bool {
        let value = |name: &str| asked.form.get(name).map(String::as_str);
        let basic = asked.fields.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
        let posted = (value("client_secret"), value("client_assertion"));
        match self.script.authentication {
            "client_secret_basic" => {
                let encode =
                    |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encode(CLIENT_ID), encode(CLIENT_SECRET)));
                basic == Some(&format!("Basic {pair}")) && posted == (None, None)
            }
            "client_secret_post" => {
                basic.is_none() && value("client_id") == Some(CLIENT_ID) && posted == (Some(CLIENT_SECRET), None)
            }
            "private_key_jwt" => {
                let kind = value("client_assertion_type");
                let assertion = posted.1.and_then(|text| verified_es256(text, &self.script.client_key));
                let Some(claims) = assertion else { return false };
                let now = self.now();
                let lives = claims["exp"].as_u64().is_some_and(|exp| (now..=now + 60).contains(&exp));
                let once = claims["jti"].as_str().is_some_and(|jti| self.assertions.insert(jti.into()));
                basic.is_none()
                    && posted.0.is_none()
                    && kind == Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    && claims["iss"] == CLIENT_ID
                    && claims["sub"] == CLIENT_ID
                    && claims["aud"] == format!("{issuer}{TOKENS}")
                    && lives
                    && once
            }
            other => panic!("no client proves itself by {other}"),
        }
    }

    fn header(&self, kind: &str) -> Value {
        json!({ "alg": self.script.algorithm, "kid": self.signing.as_ref().unwrap().kid, "typ": kind })
    }

    fn id_token(&self, issuer: &str, issued: &Issued, access_token: &str) -> String {
        let now = self.now();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
        let mut header = self.header("JWT");
        let mut claims = json!({
            "iss": issuer,
            "sub": self.script.subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": issued.nonce,
            "auth_time": now.saturating_sub(self.script.logged_in_ago),
            "sid": self.script.sid,
            "at_hash": base64url(&digest.as_ref()[..16]),
        });
        match &issued.hint {
            Some(person) => merge(&mut claims, &believed(person)),
            None => merge(&mut claims, &self.script.claims),
        }
        (self.script.token_header)(&mut header);
        (self.script.token_claims)(&mut claims);
        self.sign(&header, &claims)
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let key = self.signing.as_ref().unwrap();
        let honest = key.sign(header, claims);
        let (message, signature) = honest.rsplit_once('.').unwrap();
        match &self.script.signature {
            Signature::Honest => honest,
            Signature::Missing => format!("{message}."),
            Signature::Flipped => {
                let mut bytes = keys::from_base64url(signature).unwrap();
                bytes[7] ^= 1;
                format!("{message}.{}", base64url(bytes))
            }
            Signature::Hmac(secret) => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                format!("{message}.{}", base64url(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
            }
            Signature::With(stranger) => stranger.sign(header, claims),
        }
    }

    fn person(&self, asked: &Asked) -> Option<Value> {
        let field = asked.fields.get(header::AUTHORIZATION)?.to_str().ok()?;
        (field.starts_with("Bearer access-") && asked.query.is_empty()).then_some(())?;
        let mut info = match self.believed.get(field.trim_start_matches("Bearer ")) {
            Some(person) => believed(person),
            None => {
                let mut info = json!({ "sub": self.script.subject });
                merge(&mut info, &self.script.info);
                info
            }
        };
        (self.script.user_info)(&mut info);
        Some(info)
    }
}

/// What is said of somebody who was believed.
fn believed(person: &str) -> Value {
    json!({ "sub": person, "sid": format!("session-of-{person}"), "email": person, "email_verified": true })
}

fn merge(into: &mut Value, from: &Value) {
    let members = from.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone()));
    into.as_object_mut().unwrap().extend(members);
}
