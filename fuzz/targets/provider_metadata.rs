//! Metadata name the configured issuer, and addresses by https on allowed hosts, or are refused (SEC-R42, SEC-R54).
#![no_main]

use libfuzzer_sys::fuzz_target;
use url::Url;
use zonegate::sso::{Issuer, Metadata, ProviderSettings};

fuzz_target!(|input: (&str, &str, bool)| {
    let (member, address, whole) = input;
    let settings = ProviderSettings {
        issuer: Issuer::parse("https://a.example").unwrap(),
        client_id: "us".into(),
        client_authentication: Default::default(),
        signing_algorithm: Default::default(),
        scopes: vec![],
        username_claim: "upn".into(),
        hosts: vec!["b.example".parse().unwrap()],
        acr: vec![],
        amr: vec![],
        max_age: None,
        provisioning: false,
        logout: false,
    };
    let text = match whole {
        true => member.to_owned(),
        false => format!(
            r#"{{"issuer":"https://a.example","authorization_endpoint":{address},"token_endpoint":"https://a.example/t",
            "jwks_uri":"https://b.example/k"{member}}}"#
        ),
    };
    let Ok(metadata) = Metadata::read(text.as_bytes(), &settings) else { return };
    assert_eq!(metadata.issuer, settings.issuer);
    let named = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    let optional = [&metadata.userinfo_endpoint, &metadata.end_session_endpoint];
    for url in named.into_iter().chain(optional.into_iter().flatten()) {
        // What goes into a Location field or to another parser is what was looked at.
        let again = Url::parse(url.as_str()).unwrap();
        assert!(again.scheme() == "https" && again.username().is_empty() && again.password().is_none(), "{url}");
        assert!(matches!(again.host_str(), Some("a.example" | "b.example")), "{url}");
    }
});
