//! The sample provider as a client meets it, without sockets.

use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::cli::demo::people::COMPANIES;
use crate::sso::{Expected, IdToken, KeySet, LogoutToken, Metadata, ProviderSettings, SigningAlgorithm};

const ISSUER: &str = "https://id.localhost:8444";
const ORIGIN: &str = "https://desk.acme.localhost:8443";
const VERIFIER: &str = "a-verifier-that-is-long-enough-for-the-standard";

fn provider() -> Provider {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clients = COMPANIES.iter().filter_map(|company| Client::of(company, ORIGIN)).collect();
    let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    Provider::new(Issuer::parse(ISSUER).unwrap(), clients, http).unwrap()
}

/// A browser and a client in one.
struct Visitor {
    router: Router,
    cookie: Option<String>,
}

struct Told {
    status: StatusCode,
    location: Option<Url>,
    body: String,
}

impl Visitor {
    fn new() -> Self {
        Self { router: provider().router(), cookie: None }
    }

    async fn ask(&mut self, request: HttpRequest<Body>) -> Told {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        if let Some(set) = answer.headers().get(header::SET_COOKIE) {
            self.cookie = Some(set.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        let location = answer.headers().get(header::LOCATION).map(|to| Url::parse(to.to_str().unwrap()).unwrap());
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        Told { status, location, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&mut self, path: &str) -> Told {
        let cookie = self.cookie.clone().unwrap_or_default();
        self.ask(HttpRequest::get(path).header(header::COOKIE, cookie).body(Body::empty()).unwrap()).await
    }

    async fn post(&mut self, path: &str, authorization: &str, form: String) -> Told {
        let request = HttpRequest::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, authorization);
        self.ask(request.body(form.into()).unwrap()).await
    }

    async fn json(&mut self, path: &str) -> Vec<u8> {
        let told = self.get(path).await;
        assert_eq!(told.status, StatusCode::OK, "{path}");
        told.body.into_bytes()
    }
}

fn callback() -> String {
    format!("{ORIGIN}/.zonegate/sso/cedar/callback")
}

fn authorize(changed: &[(&str, &str)]) -> String {
    let (challenge, callback) = (tokens::challenge(VERIFIER), callback());
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", "zonegate-cedar"),
        ("redirect_uri", &callback),
        ("state", "s&1"),
        ("nonce", "n-1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changed {
        pairs.retain(|(known, _)| known != name);
        pairs.push((name, value));
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("/authorize?{query}")
}

fn value(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn redemption(code: &str, verifier: &str) -> String {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &callback()),
        ("code_verifier", verifier),
    ];
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// `client_secret_basic` of the client with this id.
fn proof(id: &str, secret: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
}

fn cedar() -> String {
    proof("zonegate-cedar", "Sample-Secret-of-Cedar-39")
}

fn settings() -> ProviderSettings {
    let settings = ProviderSettings::new(Issuer::parse(ISSUER).unwrap(), "zonegate-cedar".into());
    ProviderSettings { signing_algorithm: SigningAlgorithm::ES256, ..settings }
}

#[tokio::test]
async fn what_it_publishes_and_signs_is_what_the_gateway_accepts() {
    let mut visitor = Visitor::new();
    let settings = settings();
    let metadata = visitor.json("/.well-known/openid-configuration").await;
    Metadata::read(&metadata, &settings).unwrap();
    let keys = KeySet::read(&visitor.json("/keys").await, SigningAlgorithm::ES256).unwrap();

    let page = visitor.get(&authorize(&[("login_hint", "nora@cedar.example")])).await;
    assert!(page.body.contains("believes anybody") && page.body.contains("nora@cedar.example"), "{}", page.body);
    assert!(!page.body.contains("frank@bolt.example"), "another company's people are not offered");
    let picked = visitor.post(&authorize(&[]), "", "person=cedar-3001".into()).await.location.unwrap();
    assert!(picked.as_str().starts_with(&callback()), "{picked}");
    assert_eq!(value(&picked, "state").as_deref(), Some("s&1"));
    assert_eq!(value(&picked, "iss").as_deref(), Some(ISSUER));

    let code = value(&picked, "code").unwrap();
    let told = visitor.post("/token", &cedar(), redemption(&code, VERIFIER)).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    let answer: Value = serde_json::from_str(&told.body).unwrap();
    let access_token = answer["access_token"].as_str().unwrap();
    let now = Clock::new().now();
    let expected = Expected { settings: &settings, nonce: Some("n-1"), access_token: Some(access_token), now };
    let token = IdToken::verify(answer["id_token"].as_str().unwrap(), &keys, &expected).unwrap();
    assert_eq!(token.subject().as_str(), "cedar-3001");

    let request = HttpRequest::get("/userinfo").header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    let info = visitor.ask(request.body(Body::empty()).unwrap()).await;
    let info: Value = serde_json::from_str(&info.body).unwrap();
    assert_eq!((&info["sub"], &info["preferred_username"]), (&"cedar-3001".into(), &"nora@cedar.example".into()));

    // A second log-in needs no click (R98), unless the client asks for one or expects somebody else.
    let again = visitor.get(&authorize(&[])).await.location.unwrap();
    assert!(value(&again, "code").is_some());
    for asked in [("prompt", "login"), ("max_age", "0"), ("login_hint", "omar@cedar.example")] {
        assert_eq!(visitor.get(&authorize(&[asked])).await.status, StatusCode::OK, "{asked:?}");
    }

    let provider = provider();
    let keys = json!({ "keys": [provider.key.jwk().unwrap()] }).to_string();
    let keys = KeySet::read(keys.as_bytes(), SigningAlgorithm::ES256).unwrap();
    let cookie = provider.memory().log_in(&STRANGER, now).unwrap();
    let login = provider.memory().log_out(&cookie).unwrap();
    let token = provider.key.logout_token(ISSUER, "zonegate-cedar", &login, now).unwrap();
    let token = LogoutToken::verify(&token, &keys, &settings, now).unwrap();
    assert_eq!(token.sid(), Some(login.sid.as_str()));
}

#[tokio::test]
async fn a_code_is_good_once_and_for_its_client_and_verifier_only() {
    let mut visitor = Visitor::new();
    let bolt = proof("zonegate-bolt", "Sample-Secret-of-Bolt-28");
    for (proof, verifier, want) in [
        (proof("zonegate-cedar", "guessed"), VERIFIER, "invalid_client"),
        (String::new(), VERIFIER, "invalid_client"),
        (bolt, VERIFIER, "invalid_grant"),
        (cedar(), "another-verifier-that-is-as-long-as-the-first", "invalid_grant"),
    ] {
        let picked = visitor.post(&authorize(&[]), "", "person=cedar-3002".into()).await.location.unwrap();
        let code = value(&picked, "code").unwrap();
        let told = visitor.post("/token", &proof, redemption(&code, verifier)).await;
        assert!(told.status.is_client_error() && told.body.contains(want), "{want}: {}", told.body);
    }
    let picked = visitor.get(&authorize(&[])).await.location.unwrap();
    let code = value(&picked, "code").unwrap();
    assert_eq!(visitor.post("/token", &cedar(), redemption(&code, VERIFIER)).await.status, StatusCode::OK);
    let twice = visitor.post("/token", &cedar(), redemption(&code, VERIFIER)).await;
    assert!(twice.body.contains("invalid_grant"), "{}", twice.body);
}

#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_the_clients() {
    let mut visitor = Visitor::new();
    for changed in [
        ("client_id", "somebody"),
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "https://desk.acme.localhost:8443/.zonegate/sso/bolt/callback"),
        ("response_type", "token"),
        ("code_challenge_method", "plain"),
        ("state", ""),
        ("nonce", ""),
    ] {
        let told = visitor.get(&authorize(&[changed])).await;
        assert_eq!((told.status, told.location), (StatusCode::BAD_REQUEST, None), "{changed:?}");
    }
    let told = visitor.get("/logout?post_logout_redirect_uri=https://evil.example/").await;
    assert_eq!((told.status, told.location), (StatusCode::OK, None));
}

#[tokio::test]
async fn cancel_is_told_to_the_client() {
    let mut visitor = Visitor::new();
    for person in ["", "bolt-2001", "nobody"] {
        let told = visitor.post(&authorize(&[]), "", format!("person={person}")).await;
        let back = told.location.unwrap();
        assert_eq!(value(&back, "error").as_deref(), Some("access_denied"), "{person}");
        assert_eq!(value(&back, "state").as_deref(), Some("s&1"));
    }
}
