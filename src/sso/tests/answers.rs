//! The way to a provider and the query that comes back (O2, O3, O4, O10).

use std::collections::BTreeMap;

use super::super::*;
use super::provider::settings;
use super::state::transaction;
use crate::base::Ttl;

fn metadata(settings: &ProviderSettings) -> Metadata {
    let at = |path: &str| url::Url::parse(&format!("https://login.acme.example/realm/{path}")).unwrap();
    Metadata {
        issuer: settings.issuer.clone(),
        authorization_endpoint: at("auth?p=policy"),
        token_endpoint: at("token"),
        jwks_uri: at("keys"),
        userinfo_endpoint: None,
        end_session_endpoint: None,
        iss_parameter: false,
    }
}

#[test]
fn o3_an_answer_has_a_state_and_one_code_or_one_error() {
    let check = |query: &str, want: Result<(), CallbackProblem>| {
        assert_eq!(Callback::read(query).map(drop), want, "{query:.60}");
    };
    check("state=s&code=c", Ok(()));
    check("state=s&error=access_denied", Ok(()));
    check("state=s&code=c&iss=https%3A%2F%2Fa.example&session_state=x&scope=openid&scope=b", Ok(()));
    check("", Err(CallbackProblem::NoState));
    check("code=c", Err(CallbackProblem::NoState));
    check("State=s&code=c", Err(CallbackProblem::NoState));
    check("state=s", Err(CallbackProblem::NoAnswer));
    check("state=s&code=c&error=access_denied", Err(CallbackProblem::TwoAnswers));
    for twice in [
        "state=s&state=s&code=c",
        "state=s&code=c&code=c",
        "state=s&code=c&c%6fde=d",
        "state=s&iss=a&iss=a&code=c",
    ] {
        check(twice, Err(CallbackProblem::Repeated));
    }
    check("state=s&error=a&error=b", Err(CallbackProblem::Repeated));
    for malformed in [
        "state=&code=c",
        "state=s&code=",
        "state=s&code=%0d%0aSet-Cookie:x",
        "state=s&code=%ff",
        "state=%00&code=c",
    ] {
        check(malformed, Err(CallbackProblem::Malformed));
    }
    check(&format!("state={}&code=c", "s".repeat(8193)), Err(CallbackProblem::TooLong));
    check(&format!("state=s&code={}", "c".repeat(4097)), Err(CallbackProblem::TooLong));
    check(&format!("state=s&code=c&x={}", "x".repeat(16 * 1024)), Err(CallbackProblem::TooLong));
}

#[test]
fn o10_an_error_becomes_a_name_of_the_standards_and_nothing_else_of_it_is_kept() {
    let check = |error: &str, want: AnswerError| {
        let query =
            format!("state=s&error={error}&error_description=%3Cscript%3E%0d%0a&error_uri=https://evil.example");
        let answer = Callback::read(&query).unwrap().answer;
        assert!(matches!(answer, Answer::Error(got) if got == want), "{error}");
    };
    for error in AnswerError::ALL {
        check(error.name(), error);
    }
    for other in ["", "Access_Denied", "%3Cscript%3E", "a%0d%0ab", "%ff"] {
        check(other, AnswerError::Other);
    }
    let description = "x".repeat(1 << 20);
    let long = format!("state=s&error=server_error&error_description={description}");
    assert_eq!(Callback::read(&long).map(drop), Err(CallbackProblem::TooLong));
}

#[test]
fn o2_an_answer_is_from_whom_was_asked() {
    let check = |iss: Option<&str>, advertised: bool, want: Result<(), CallbackProblem>| {
        let settings = settings();
        let metadata = Metadata { iss_parameter: advertised, ..metadata(&settings) };
        for answer in ["code=c", "error=access_denied"] {
            let mut callback = Callback::read(&format!("state=s&{answer}")).unwrap();
            callback.iss = iss.map(str::to_owned);
            let got = check_issuer(&callback, &transaction(), &metadata, &settings);
            assert_eq!(got, want, "{iss:?} {advertised} {answer}");
        }
    };
    let right = settings().issuer;
    let slash = format!("{right}/");
    for advertised in [false, true] {
        check(Some(right.as_str()), advertised, Ok(()));
        for wrong in ["https://evil.example", slash.as_str(), ""] {
            check(Some(wrong), advertised, Err(CallbackProblem::WrongIssuer));
        }
    }
    check(None, false, Ok(()));
    check(None, true, Err(CallbackProblem::WrongIssuer));
}

#[test]
fn o2_a_provider_that_was_changed_meanwhile_gets_no_code_of_the_old_one() {
    let callback = Callback::read("state=s&code=c").unwrap();
    let (old, mut new) = (settings(), settings());
    new.issuer = Issuer::parse("https://login.new.example").unwrap();
    let asked = |metadata: &Metadata, settings: &ProviderSettings| {
        check_issuer(&callback, &transaction(), metadata, settings)
    };
    assert_eq!(asked(&metadata(&old), &old), Ok(()));
    assert_eq!(asked(&metadata(&new), &new), Err(CallbackProblem::WrongIssuer));
    assert_eq!(asked(&metadata(&old), &new), Err(CallbackProblem::WrongIssuer));
    assert_eq!(asked(&metadata(&new), &old), Err(CallbackProblem::WrongIssuer));
}

fn url(settings: &ProviderSettings, login_hint: Option<&str>) -> (String, BTreeMap<String, String>) {
    let metadata = metadata(settings);
    let redirect_uri = "https://desk.example/.zonegate/sso/t/callback";
    let url = authorization_url(&metadata, settings, redirect_uri, "sealed", &transaction(), login_hint);
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let query: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(pairs.len(), query.len(), "each parameter stands there once");
    (url.as_str().split('?').next().unwrap().to_owned(), query)
}

#[test]
fn o1_o4_nonce_state_and_challenge_are_always_sent() {
    let (address, query) = url(&settings(), None);
    assert_eq!(address, "https://login.acme.example/realm/auth");
    let transaction = transaction();
    let want = [
        ("client_id", "zonegate"),
        ("code_challenge", &*transaction.verifier.challenge()),
        ("code_challenge_method", "S256"),
        ("nonce", transaction.nonce.as_str()),
        ("p", "policy"),
        ("redirect_uri", "https://desk.example/.zonegate/sso/t/callback"),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("state", "sealed"),
    ];
    assert_eq!(query.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), want);
    assert!(!query.values().any(|value| value.contains(transaction.verifier.reveal())), "the verifier stays here");
}

#[test]
fn what_is_configured_is_asked_for() {
    let settings = ProviderSettings {
        scopes: vec!["openid".into(), "profile".into(), "email".into()],
        acr: vec!["mfa".into(), "hw key".into()],
        max_age: Ttl::from_seconds(3600),
        ..settings()
    };
    let (_, query) = url(&settings, Some("a&b=c@acme.example"));
    assert_eq!(query["scope"], "openid profile email");
    assert_eq!(query["acr_values"], "mfa hw key");
    assert_eq!(query["max_age"], "3600");
    assert_eq!(query["login_hint"], "a&b=c@acme.example");
}

#[test]
fn rfc_7636_the_challenge_is_the_standards() {
    // Appendix B.
    let octets = [
        116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105, 214,
        191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
    ];
    let verifier = Verifier::from_bytes(octets);
    assert_eq!(verifier.reveal(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    assert_eq!(format!("{verifier:?}"), "Verifier(..)", "K1");
}
