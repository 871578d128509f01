//! The sample provider as a client meets it, without sockets.

use axum::body::{Body, to_bytes};
use axum::http::Request as HttpRequest;
use serde_json::Value;
use tower::ServiceExt as _;

use super::face::Known;
use super::*;
use crate::cli::demo::people::{COMPANIES, STRANGER, SUITE_CLIENT};
use crate::sso::{Expected, IdToken, KeySet, LogoutToken, Metadata, ProviderSettings, SigningAlgorithm};

const ISSUER: &str = "https://id.localhost:8444";
const ORIGIN: &str = "https://desk.acme.localhost:8443";
const VERIFIER: &str = "a-verifier-that-is-long-enough-for-the-standard";

fn provider() -> Provider {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clients = COMPANIES.iter().map(|company| Client::of_company(company, ORIGIN)).collect();
    let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    Provider::of_companies(Issuer::parse(ISSUER).unwrap(), clients, http).unwrap()
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
    let cookie = provider.memory().log_in(Known::to_company(&STRANGER).unwrap(), now).unwrap();
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

/// Both providers behind one socket, and a client of the suite's at each of two zones.
fn both() -> Visitor {
    let at = |origin: &str| Client::of_suite("Desk".into(), origin);
    let clients = vec![at(ORIGIN), at("https://east.bolt.localhost:8443")];
    let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let companies = provider();
    let suite = Provider::of_suite(Issuer::parse(&format!("{ISSUER}/one")).unwrap(), clients, http).unwrap();
    Visitor { router: router(companies, suite), cookie: None }
}

fn to_suite(changed: &[(&str, &str)]) -> String {
    let callback = format!("{ORIGIN}/.zonegate/suite/callback");
    let own = [("client_id", SUITE_CLIENT.client_id), ("redirect_uri", callback.as_str())];
    format!("/one{}", authorize(&own.into_iter().chain(changed.iter().copied()).collect::<Vec<_>>()))
}

#[tokio::test]
async fn r92_the_suite_says_whose_people_somebody_is_and_what_they_may_open() {
    let mut visitor = both();
    let issuer = format!("{ISSUER}/one");
    let settings = ProviderSettings {
        signing_algorithm: SigningAlgorithm::ES256,
        ..ProviderSettings::new(Issuer::parse(&issuer).unwrap(), SUITE_CLIENT.client_id.into())
    };
    Metadata::read(&visitor.json("/one/.well-known/openid-configuration").await, &settings).unwrap();
    let page = visitor.get(&to_suite(&[("login_hint", "ada@acme.example")])).await;
    for part in ["AcmeOne, the sample suite", "believes anybody", "action=\"/one/authorize?", "carol@bolt.example"]
    {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!page.body.contains("cedar.example"), "{}", page.body);
    let picked = visitor.post(&to_suite(&[]), "", "person=one-1003".into()).await.location.unwrap();
    let code = value(&picked, "code").unwrap();
    let proof = proof(SUITE_CLIENT.client_id, SUITE_CLIENT.client_secret);
    let redemption = redemption(&code, VERIFIER).replace("sso%2Fcedar", "suite");
    let told = visitor.post("/one/token", &proof, redemption).await;
    let answer: Value = serde_json::from_str(&told.body).unwrap();
    let access_token = answer["access_token"].as_str().unwrap();
    let request =
        HttpRequest::get("/one/userinfo").header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    let info = visitor.ask(request.body(Body::empty()).unwrap()).await;
    let info: Value = serde_json::from_str(&info.body).unwrap();
    assert_eq!((&info["company"], &info["company_master"]), (&"acme-1".into(), &true.into()));
    assert_eq!((&info["email"], &info["email_verified"]), (&"ada@acme.example".into(), &true.into()));
    assert_eq!(info["modules"], json!(["desk-west", "academy"]));

    // The other zone is the same client, and asks for no second log-in (R94); nor does the suite's own module.
    let east = ("redirect_uri", "https://east.bolt.localhost:8443/.zonegate/suite/callback");
    assert!(value(&visitor.get(&to_suite(&[east])).await.location.unwrap(), "code").is_some());
    assert!(visitor.get("/one/academy").await.body.contains("You are Ada Ashworth"));
    assert!(visitor.get("/one").await.body.contains("Hello, Ada Ashworth"));
    assert!(visitor.get("/").await.body.contains("Nobody is logged in here"), "the other provider's");

    // An application that tells later, without the browser (R117, D19).
    let hint = format!("id_token_hint={}", answer["id_token"].as_str().unwrap());
    let cookie = visitor.cookie.take();
    assert_eq!(visitor.post("/one/logout", "", "id_token_hint=guessed".into()).await.status, StatusCode::OK);
    visitor.cookie = cookie.clone();
    assert!(visitor.get("/one/academy").await.body.contains("You are Ada Ashworth"));
    visitor.cookie = None;
    assert_eq!(visitor.post("/one/logout", "", hint).await.status, StatusCode::OK);
    visitor.cookie = cookie;
    assert!(visitor.get("/one/academy").await.body.contains("knows nobody"));
}
