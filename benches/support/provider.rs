//! An identity provider for other gateways to log somebody in at: discovery, one key, tokens. Whoever asks is Ada.
//!
//! Its codes are the nonces that they were asked with, so that it need remember nothing.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

use super::load::Target;
use super::{HOST, free_port};

pub(crate) const CLIENT: &str = "bench";
pub(crate) const SECRET: &str = "Kite-Harbour-91";

/// The code of somebody whose gateway sends no nonce, as oauth2-proxy does unless it is told to.
const NO_NONCE: &str = "none";
const SUBJECT: &str = "f3a1b6d2-4c7e-4b09-8e15-6d2c9a0f7b38";
const SCOPE: &str = "openid email profile";

#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    key: Arc<rcgen::KeyPair>,
}

impl Provider {
    /// Serves until the runtime ends.
    pub(crate) async fn start() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let key = Arc::new(rcgen::KeyPair::generate().expect("a key"));
        let provider = Self { issuer: format!("http://{address}"), key };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(tokens))
            .route("/userinfo", get(userinfo))
            .with_state(provider.clone());
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port that was free");
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a listener") });
        provider
    }

    /// A token that says what each of these says.
    fn sign(&self, claims: &[&Value]) -> String {
        let fields = claims.iter().filter_map(|some| some.as_object()).flatten();
        let claims: serde_json::Map<_, _> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        let header = Header { kid: Some("1".into()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).expect("a token")
    }

    /// Logs in at a gateway that sends people here; the cookies that it gave.
    pub(crate) async fn log_in(&self, gateway: &Target) -> String {
        let mut jar = HashMap::new();
        let asked = follow(gateway, "/", &mut jar).await;
        assert!(asked.as_str().starts_with(&self.issuer), "sent to {asked} and not to the provider");
        let of: HashMap<_, _> = asked.query_pairs().into_owned().collect();
        let mut back: Url = of["redirect_uri"].parse().expect("an address");
        let code = of.get("nonce").map_or(NO_NONCE, String::as_str);
        back.query_pairs_mut().append_pair("code", code).append_pair("state", &of["state"]);
        let path = format!("{}?{}", back.path(), back.query().unwrap_or_default());
        follow(gateway, &path, &mut jar).await;
        jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let issuer = &provider.issuer;
    Json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let (x, y) = provider.key.der_bytes()[1..].split_at(32);
    let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
    Json(
        json!({ "keys": [{ "kty": "EC", "use": "sig", "alg": "ES256", "kid": "1", "crv": "P-256", "x": x, "y": y }] }),
    )
}

/// Tokens with the claims that Keycloak puts into its own when nobody has told it otherwise: what a gateway keeps of a
/// session, and reads again for each request, is as large as it is anywhere.
async fn tokens(State(provider): State<Provider>, Form(asked): Form<HashMap<String, String>>) -> Json<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let nonce = Some(&asked["code"]).filter(|code| *code != NO_NONCE);
    let every = json!({
        "iss": provider.issuer, "sub": SUBJECT, "azp": CLIENT, "sid": "8f0c7f2e-5b1d-4a3e-9c46-0d3f2a6b7e15",
        "jti": "2b9d1c64-7e8a-4f50-b3c7-9a1e5d0f8432", "iat": now, "exp": now + 36_000,
    });
    let session = json!({ "auth_time": now, "acr": "1" });
    let id = json!({ "typ": "ID", "aud": CLIENT, "nonce": nonce });
    let access = json!({
        "typ": "Bearer", "aud": "account", "scope": SCOPE, "allowed-origins": [format!("https://{HOST}")],
        "realm_access": { "roles": ["default-roles-bench", "offline_access", "uma_authorization"] },
        "resource_access": { "account": { "roles": ["manage-account", "manage-account-links", "view-profile"] } },
    });
    let refresh = json!({ "typ": "Refresh", "aud": provider.issuer, "scope": SCOPE });
    Json(json!({
        "token_type": "Bearer", "scope": SCOPE, "session_state": every["sid"],
        "id_token": provider.sign(&[&every, &session, &person(), &id]),
        "access_token": provider.sign(&[&every, &session, &person(), &access]), "expires_in": 36_000,
        "refresh_token": provider.sign(&[&every, &refresh]), "refresh_expires_in": 36_000,
    }))
}

/// Who it is, for who has a token.
async fn userinfo() -> Json<Value> {
    Json(person())
}

fn person() -> Value {
    json!({
        "sub": SUBJECT, "preferred_username": "ada@bench.example", "name": "Ada Acton", "given_name": "Ada",
        "family_name": "Acton", "email": "ada@bench.example", "email_verified": true, "groups": ["staff", "dispatch"],
    })
}

/// Asks once with the cookies of the jar, and keeps what is set; where the answer sends us.
async fn follow(gateway: &Target, path: &str, jar: &mut HashMap<String, String>) -> Url {
    let cookies: String = jar.iter().map(|(name, value)| format!("{name}={value}; ")).collect();
    let port = gateway.address().port();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUser-Agent: Mozilla/5.0 Firefox/140.0\r\nAccept: text/html\r\n\
         Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nCookie: {cookies}a=b\r\nConnection: close\r\n\r\n"
    );
    let mut stream = gateway.connect().await.expect("a connection");
    stream.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    // Some close without saying so in TLS: what came is what counts.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let mut location = None;
    for line in answer.split("\r\n\r\n").next().unwrap_or_default().lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("set-cookie") {
            let (name, value) = value.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            match value {
                "" => jar.remove(name),
                value => jar.insert(name.into(), value.into()),
            };
        } else if name.eq_ignore_ascii_case("location") {
            let base: Url = format!("https://{HOST}:{port}").parse().expect("an address");
            location = Some(base.join(value).expect("an address"));
        }
    }
    location.unwrap_or_else(|| panic!("{path} leads nowhere: {answer}"))
}
