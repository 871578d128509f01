//! The way to identity providers, against one that misbehaves: O6, O7, O10, and who we prove to be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use url::Url;
use zonegate::assertion::KeyAlgorithm;
use zonegate::base::{Networks, UnixTime};
use zonegate::idp::{Client, ProviderFault, Providers, Step, Tokens};
use zonegate::machine::Clock;
use zonegate::sso::{
    ClientSecret, Expected, IdToken, LogoutToken, OutboundSettings, ProviderSettings, TokenProblem, UserInfo,
};
use zonegate::table::Signer;

use crate::harness::{Upstream, Wire, within};
use crate::provider::{
    AUTHORIZE, CLIENT_SECRET, END_SESSION, KEYS, METADATA, Play, Provider, Signature, SigningKey, TOKENS,
    USER_INFO, base64url,
};

const REDIRECT_URI: &str = "https://a.test/.zonegate/sso/7/callback?x=ü";
const NONCE: &str = "nonce-of-this-log-in";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn now() -> UnixTime {
    Clock::new().now()
}

/// How far the gateway goes, when it may go to `provider`.
fn outbound(provider: &Provider) -> OutboundSettings {
    let loopback = ["127.0.0.0/8", "::1"].map(|text| Networks::range(text).unwrap());
    OutboundSettings {
        networks: Networks::new(loopback.to_vec()),
        roots: Some(provider.ca().into()),
        timeout: Duration::from_secs(10),
    }
}

fn open(outbound: &OutboundSettings) -> Providers {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Providers::new(outbound, Arc::new(Clock::new()), Handle::current()).unwrap()
}

/// One provider, the way to it, and a person who logs in.
struct Visit {
    provider: Provider,
    settings: ProviderSettings,
    secret: ClientSecret,
    signer: Option<Signer>,
    providers: Providers,
}

impl Visit {
    async fn new() -> Self {
        Self::of(Provider::start().await)
    }

    fn of(provider: Provider) -> Self {
        let settings = serde_json::from_value(provider.settings()).unwrap();
        let secret = ClientSecret::parse(CLIENT_SECRET).unwrap();
        let providers = open(&outbound(&provider));
        Self { provider, settings, secret, signer: None, providers }
    }

    /// Forgets what is known of the provider, and gives up after `patience` from now on.
    fn forget(&mut self, patience: Duration) {
        self.providers = open(&OutboundSettings { timeout: patience, ..outbound(&self.provider) });
    }

    /// A code, as the browser brings it back.
    fn code(&self) -> String {
        let back = Url::parse(&self.provider.authorize(self.way_there().as_str())).unwrap();
        back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    /// Where the browser is sent.
    fn way_there(&self) -> Url {
        let mut url = Url::parse(self.provider.issuer()).unwrap();
        url.set_path(AUTHORIZE);
        let challenge = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("scope", "openid email")
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("state", "s")
            .append_pair("nonce", NONCE)
            .append_pair("code_challenge", &base64url(challenge))
            .append_pair("code_challenge_method", "S256");
        url
    }

    async fn redeem(&self, code: &str) -> Result<Tokens, ProviderFault> {
        let client = Client { settings: &self.settings, secret: Some(&self.secret), signer: self.signer.as_ref() };
        within(self.providers.redeem(&client, code, VERIFIER, REDIRECT_URI, now())).await
    }

    async fn id_token(&self, tokens: &Tokens) -> Result<IdToken, ProviderFault> {
        let access_token = Some(tokens.access_token.reveal());
        let expected = Expected { settings: &self.settings, nonce: Some(NONCE), access_token, now: now() };
        within(self.providers.id_token(&tokens.id_token, &expected)).await
    }

    async fn logout_token(&self, token: &str) -> Result<LogoutToken, ProviderFault> {
        within(self.providers.logout_token(&self.settings, token, now())).await
    }

    /// From the code to what the provider knows of the person.
    async fn log_in(&self) -> Result<(IdToken, Option<UserInfo>), ProviderFault> {
        let tokens = self.redeem(&self.code()).await?;
        let id_token = self.id_token(&tokens).await?;
        let info = self.providers.user_info(&self.settings, &tokens.access_token, id_token.subject());
        let info = within(info).await?;
        Ok((id_token, info))
    }
}

#[tokio::test]
async fn a_person_logs_in_with_every_proof_of_who_we_are_and_every_algorithm() {
    for (authentication, algorithm) in
        [("client_secret_basic", "RS256"), ("client_secret_post", "PS256"), ("private_key_jwt", "ES256")]
    {
        let provider = Provider::start().await;
        let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let signer = Signer::from_pkcs8(KeyAlgorithm::Es256, pkcs8.as_ref()).unwrap();
        provider.script(|script| {
            (script.authentication, script.algorithm) = (authentication, algorithm);
            script.client_key = signer.jwk().unwrap();
        });
        provider.rotate();
        let mut visit = Visit::of(provider);
        visit.signer = Some(signer);
        for _ in 0..2 {
            let (id_token, info) = visit.log_in().await.unwrap();
            assert_eq!(id_token.subject().as_str(), "248289761001", "{authentication}");
            assert!(info.is_some());
        }
        let asked: Vec<_> = visit.provider.asked().into_iter().map(|asked| asked.path).collect();
        // What the provider says of itself is asked for once, the rest for each person.
        assert_eq!(asked, [METADATA, TOKENS, KEYS, USER_INFO, TOKENS, USER_INFO], "{authentication}");
        // Nobody else's proof will do.
        visit.secret = ClientSecret::parse("another").unwrap();
        visit.signer = visit.signer.map(|_| {
            let pkcs8 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
            Signer::from_pkcs8(KeyAlgorithm::Es256, pkcs8.as_ref()).unwrap()
        });
        let refused = visit.redeem(&visit.code()).await.unwrap_err();
        assert_eq!(refused.to_string(), "tokens: refused: invalid_client: ", "{authentication}");
    }
}

#[tokio::test]
async fn a_provider_that_is_an_address_is_reached_too() {
    let visit = Visit::of(Provider::start_as("127.0.0.1").await);
    assert!(visit.provider.issuer().starts_with("https://127.0.0.1:"));
    assert!(visit.log_in().await.is_ok());
}

#[tokio::test]
async fn a_code_is_redeemed_once_and_only_with_its_verifier() {
    let visit = Visit::new().await;
    let code = visit.code();
    assert!(visit.redeem(&code).await.is_ok());
    let spent = visit.redeem(&code).await.unwrap_err();
    assert_eq!(spent.to_string(), "tokens: refused: invalid_grant: ");
    let client = Client { settings: &visit.settings, secret: Some(&visit.secret), signer: None };
    let other = VERIFIER.replace('d', "e");
    let refused = within(visit.providers.redeem(&client, &visit.code(), &other, REDIRECT_URI, now())).await;
    assert!(matches!(refused, Err(ProviderFault::Refused(_))), "{refused:?}");
}

/// Who or what a fault blames.
fn blamed(fault: &ProviderFault) -> &'static str {
    match fault {
        ProviderFault::Unacceptable { .. }
        | ProviderFault::Metadata(_)
        | ProviderFault::Keys(_)
        | ProviderFault::Token(_) => "the answer",
        ProviderFault::Slow { .. } => "the time",
        ProviderFault::Unreachable { .. } => "the way",
        ProviderFault::Forbidden { .. } => "the place",
        ProviderFault::Refused(_) => "the code",
        ProviderFault::Busy(_) | ProviderFault::NoCredential(_) | ProviderFault::Stopped => "us",
    }
}

/// What may be wrong with an answer, and what is then blamed.
fn misdeeds(elsewhere: &str) -> [(&'static str, Play, &'static str); 17] {
    let redirect = |status| Play::Redirect { status, to: elsewhere.into() };
    let say = |status, kind, body: &str| Play::Say { status, kind, body: body.into() };
    [
        ("301", redirect(301), "the answer"),
        ("302", redirect(302), "the answer"),
        ("303", redirect(303), "the answer"),
        ("307", redirect(307), "the answer"),
        ("308", redirect(308), "the answer"),
        ("10 MB, announced", Play::Large(10 << 20), "the answer"),
        ("10 MB, not announced", Play::Endless(10 << 20), "the answer"),
        ("a byte now and then", Play::Drip, "the time"),
        ("nothing", Play::Hang, "the time"),
        ("half an answer", Play::Break, "the way"),
        ("HTML", say(200, "text/html", "<html></html>"), "the answer"),
        ("HTML that says it is JSON", say(200, "application/json", "<html></html>"), "the answer"),
        ("an empty object", say(200, "application/json", "{}"), "the answer"),
        ("nothing, but well", say(200, "application/json", ""), "the answer"),
        ("404", say(404, "text/plain", "no"), "the answer"),
        ("500", say(500, "application/json", "{}"), "the answer"),
        ("503", say(503, "text/html", "<html>later</html>"), "the answer"),
    ]
}

#[tokio::test]
async fn o6_whatever_a_provider_does_ends_within_limits_and_touches_nobody_else() {
    let mut visit = Visit::new().await;
    let other = Visit::new().await;
    for path in [METADATA, KEYS, TOKENS, USER_INFO] {
        let elsewhere = format!("{}{path}", other.provider.issuer());
        for (what, play, want) in misdeeds(&elsewhere) {
            if [METADATA, KEYS].contains(&path) || visit.provider.count(path) == 0 {
                visit.forget(Duration::from_secs(1));
            }
            visit.provider.behave();
            visit.provider.play(path, play);
            let before = visit.provider.count(path);
            let began = Instant::now();
            let fault = visit.log_in().await.unwrap_err();
            assert_eq!(blamed(&fault), want, "{path}, {what}: {fault}");
            assert!(began.elapsed() < Duration::from_secs(5), "{path}, {what}: {:?}", began.elapsed());
            assert_eq!(visit.provider.count(path), before + 1, "{path}, {what}: asked again");
        }
        assert_eq!(other.provider.asked().len(), 0, "{path}: a redirect was followed");
    }
    visit.provider.play(TOKENS, Play::Hang);
    let hangs = visit.redeem("code");
    let works = other.log_in();
    let (hangs, works) = tokio::join!(hangs, works);
    assert!(hangs.is_err() && works.is_ok());
}

#[tokio::test]
async fn o6_a_provider_that_cannot_prove_its_name_is_told_nothing() {
    let visit = Visit::new().await;
    assert!(visit.redeem(&visit.code()).await.is_ok());
    visit.provider.asked();
    for (what, certificate) in visit.provider.bad_certificates() {
        visit.provider.show(certificate);
        // Its metadata are known: what would be sent is the code and our secret.
        let fault = visit.redeem(&visit.code()).await.unwrap_err();
        assert!(matches!(fault, ProviderFault::Unreachable { step: Step::Tokens, .. }), "{what}: {fault}");
        assert_eq!(visit.provider.asked().len(), 0, "{what}");
    }
}

#[tokio::test]
async fn o6_a_provider_in_a_network_that_is_not_public_is_not_connected_to() {
    for host in ["localhost", "127.0.0.1"] {
        let visit = Visit::of(Provider::start_as(host).await);
        let strict = OutboundSettings { networks: Networks::default(), ..outbound(&visit.provider) };
        let fault = within(open(&strict).metadata(&visit.settings)).await.unwrap_err();
        let want = format!("metadata: the host {host} is in a network that is not public; nothing was sent there");
        assert_eq!(fault.to_string(), want);
        assert_eq!(visit.provider.asked().len(), 0);
    }
}

#[tokio::test]
async fn o6_metadata_lead_to_no_other_host() {
    let mut visit = Visit::new().await;
    for address in
        ["https://other.test/token", "http://localhost/token", "https://127.0.0.1/token", "https://[::1]/token"]
    {
        let address = address.to_owned();
        visit.provider.script(|script| {
            script.metadata = Box::new(move |metadata| metadata["token_endpoint"] = json!(address));
        });
        let fault = visit.redeem("code").await.unwrap_err();
        assert!(matches!(fault, ProviderFault::Metadata(_)), "{fault}");
        visit.forget(Duration::from_secs(10));
    }
    assert_eq!(visit.provider.count(TOKENS), 0);
    visit.provider.script(|script| {
        script.metadata = Box::new(|metadata| metadata["issuer"] = json!("https://localhost"));
    });
    assert!(matches!(visit.redeem("code").await, Err(ProviderFault::Metadata(_))));
    visit.provider.behave();
    visit.forget(Duration::from_secs(10));
    assert!(visit.log_in().await.is_ok());
}

#[tokio::test]
async fn o7_a_thousand_tokens_with_unknown_keys_fetch_the_keys_once_more() {
    let provider = Provider::start().await;
    provider.script(|script| script.algorithm = "ES256");
    provider.rotate();
    let visit = Visit::of(provider);
    assert!(visit.log_in().await.is_ok());
    assert_eq!(visit.provider.count(KEYS), 1);
    for round in 0..1000 {
        let token = visit.provider.logout_token(|header, _| header["kid"] = json!(format!("stray-{round}")));
        let fault = visit.logout_token(&token).await.err();
        assert_eq!(fault, Some(TokenProblem::UnknownKey.into()), "{round}");
    }
    assert_eq!(visit.provider.count(KEYS), 2);
    let token = visit.provider.logout_token(|_, _| {});
    assert!(visit.logout_token(&token).await.is_ok());
}

#[tokio::test]
async fn o7_a_rotated_key_is_fetched_once_by_all_who_need_it_and_the_old_one_is_refused() {
    let visit = Visit::new().await;
    let before = visit.redeem(&visit.code()).await.unwrap();
    assert!(visit.id_token(&before).await.is_ok());
    visit.provider.rotate();
    let logins = futures_util::future::join_all((0..50).map(|_| visit.log_in())).await;
    assert!(logins.iter().all(Result::is_ok), "{logins:?}");
    assert_eq!(visit.provider.count(KEYS), 2);
    let old = visit.id_token(&before).await.err();
    assert_eq!(old, Some(TokenProblem::UnknownKey.into()));
}

#[tokio::test]
async fn all_who_come_at_once_share_one_look_at_the_provider() {
    let visit = Visit::new().await;
    let permits = Arc::new(Semaphore::new(0));
    visit.provider.play(METADATA, Play::Hold(Arc::clone(&permits)));
    let all = futures_util::future::join_all((0..50).map(|_| visit.providers.metadata(&visit.settings)));
    permits.add_permits(1);
    let all = within(all).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(visit.provider.count(METADATA), 1);
}

#[tokio::test]
async fn a_request_that_goes_away_leaves_its_code_to_be_spent() {
    let visit = Visit::new().await;
    visit.providers.metadata(&visit.settings).await.unwrap();
    let code = visit.code();
    {
        let mut redeem = Box::pin(visit.redeem(&code));
        assert!(futures_util::poll!(&mut redeem).is_pending());
    }
    within(async {
        while visit.provider.count(TOKENS) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(matches!(visit.redeem(&code).await, Err(ProviderFault::Refused(_))));
}

#[tokio::test]
async fn a_provider_that_hangs_holds_up_so_many_exchanges_and_no_other_provider() {
    let visit = Visit::new().await;
    let other = Visit::new().await;
    visit.providers.metadata(&visit.settings).await.unwrap();
    let permits = Arc::new(Semaphore::new(0));
    visit.provider.play(TOKENS, Play::Hold(Arc::clone(&permits)));
    let all = futures_util::future::join_all((0..80).map(|_| {
        let code = visit.code();
        let visit = &visit;
        async move { visit.redeem(&code).await }
    }));
    let goes_on = async {
        assert!(other.log_in().await.is_ok());
        while visit.provider.count(TOKENS) < 64 {
            tokio::task::yield_now().await;
        }
        permits.add_permits(80);
    };
    let (all, ()) = within(async { tokio::join!(all, goes_on) }).await;
    let busy = all.iter().filter(|outcome| matches!(outcome, Err(ProviderFault::Busy(Step::Tokens)))).count();
    let served = all.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((busy, served), (16, 64));
    visit.provider.behave();
    assert!(visit.log_in().await.is_ok());
}

#[tokio::test]
async fn o10_what_a_provider_says_of_its_refusal_is_short_and_harmless() {
    let visit = Visit::new().await;
    let code = visit.code();
    let long = format!("<script>\r\n\u{1b}[31m {code} {CLIENT_SECRET} {}", "x".repeat(1 << 17));
    let body = json!({ "error": "invalid_grant", "error_description": long }).to_string();
    visit.provider.play(TOKENS, Play::Say { status: 400, kind: "application/json", body });
    let told = visit.redeem(&code).await.unwrap_err().to_string();
    let want = "tokens: refused: invalid_grant: <script>\\r\\n\\u{1b}[31m [hidden] [hidden] xxx";
    assert!(told.starts_with(want) && told.chars().count() < 400, "{told}");
}

#[tokio::test]
async fn a_browser_is_sent_to_the_scripted_provider_and_back() {
    let visit = Visit::new().await;
    let ca = reqwest::Certificate::from_pem(visit.provider.ca().as_bytes()).unwrap();
    let browser = reqwest::Client::builder().tls_certs_only([ca]).redirect(reqwest::redirect::Policy::none());
    let browser = browser.build().unwrap();
    let open = async |url: Url| {
        let answer = within(browser.get(url).send()).await.unwrap();
        let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        (answer.status().as_u16(), to)
    };
    let (status, to) = open(visit.way_there()).await;
    assert_eq!(status, 303);
    assert!(to.unwrap().starts_with("https://a.test/.zonegate/sso/7/callback?"));
    let mut careless = visit.way_there();
    careless.set_query(Some(&careless.query().unwrap().replace("S256", "plain")));
    assert_eq!(open(careless).await, (400, None));
    visit.provider.script(|script| {
        script.callback =
            Box::new(|callback| *callback = json!({ "error": "access_denied", "state": ["s", "t"] }));
    });
    let (_, to) = open(visit.way_there()).await;
    assert!(to.unwrap().ends_with("error=access_denied&state=s&state=t"));

    let mut url = Url::parse(visit.provider.issuer()).unwrap();
    url.set_path(END_SESSION);
    url.query_pairs_mut().append_pair("post_logout_redirect_uri", "https://a.test/out").append_pair("state", "s");
    assert_eq!(open(url).await, (303, Some("https://a.test/out?state=s".into())));

    let gateway = Upstream::start().await;
    let mut wire = Wire::new(TcpStream::connect(gateway.address()).await.unwrap());
    let token = visit.provider.logout_token(|_, _| {});
    visit.provider.tell_logout(&mut wire, "a.test", "/x", &token).await;
    let told = gateway.only();
    assert_eq!(
        (told.line.as_str(), told.body),
        ("POST /x HTTP/1.1", format!("logout_token={token}").into_bytes())
    );
}

#[tokio::test]
async fn the_scripted_provider_does_the_wrong_that_it_is_told_to() {
    let visit = Visit::new().await;
    let problem = async |change: fn(&mut crate::provider::Script)| {
        visit.provider.behave();
        visit.provider.script(change);
        match visit.log_in().await {
            Err(ProviderFault::Token(problem)) => Some(problem),
            Err(other) => panic!("{other}"),
            Ok(_) => None,
        }
    };
    assert_eq!(problem(|_| {}).await, None);
    for (what, change) in [
        ("alg none", (|script| script.signature = Signature::Missing) as fn(&mut crate::provider::Script)),
        ("a flipped bit", |script| script.signature = Signature::Flipped),
        ("our secret as a key", |script| {
            script.token_header = Box::new(|header| header["alg"] = json!("HS256"));
            script.signature = Signature::Hmac(CLIENT_SECRET.into());
        }),
        ("somebody else's key", |script| {
            script.signature = Signature::With(SigningKey::stray("RS256", "key-1"));
        }),
        ("another nonce", |script| script.token_claims = Box::new(|claims| claims["nonce"] = json!("other"))),
        ("a claim over it", |script| script.claims = json!({ "aud": "another" })),
        ("a clock that is wrong", |script| script.ahead = 3600),
        ("another person in the user info", |script| {
            script.user_info = Box::new(|info| info["sub"] = json!("another"));
        }),
        ("no usable key", |script| script.signature = Signature::Missing),
    ] {
        assert!(problem(change).await.is_some(), "{what}");
    }
    visit.provider.behave();
    visit.provider.script(|script| {
        script.token_answer = Box::new(|answer| answer["token_type"] = json!("DPoP"));
    });
    assert!(matches!(visit.log_in().await, Err(ProviderFault::Unacceptable { step: Step::Tokens, .. })));
}
