//! Provider metadata (O6 without its sockets, SEC-R42, SEC-R54).

use serde_json::{Value, json};
use url::Url;

use super::super::*;
use super::provider::{ISSUER, settings, without};

fn right() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://login.acme.example/realm/auth?p=policy",
        "token_endpoint": "https://login.acme.example/realm/token",
        "jwks_uri": "https://keys.acme.example/realm/keys",
        "userinfo_endpoint": "https://login.acme.example:8443/userinfo",
        "end_session_endpoint": "https://login.acme.example/realm/logout",
        "response_types_supported": ["code", "id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "none"],
        "authorization_response_iss_parameter_supported": true,
    })
}

fn read(metadata: &Value) -> Result<Metadata, MetadataProblem> {
    Metadata::read(metadata.to_string().as_bytes(), &settings())
}

fn check(name: &str, alter: impl FnOnce(&mut Value), want: Result<(), MetadataProblem>) {
    let mut metadata = right();
    alter(&mut metadata);
    assert_eq!((name, read(&metadata).map(drop)), (name, want));
}

#[test]
fn metadata_are_read_as_they_are() {
    let metadata = read(&right()).unwrap();
    assert_eq!(metadata.issuer.as_str(), ISSUER);
    assert_eq!(metadata.authorization_endpoint.as_str(), "https://login.acme.example/realm/auth?p=policy");
    assert_eq!(metadata.token_endpoint.as_str(), "https://login.acme.example/realm/token");
    assert_eq!(metadata.jwks_uri.as_str(), "https://keys.acme.example/realm/keys");
    assert_eq!(
        metadata.userinfo_endpoint.as_ref().map(Url::as_str),
        Some("https://login.acme.example:8443/userinfo")
    );
    assert!(metadata.iss_parameter && metadata.end_session_endpoint.is_some());

    let mut least = right();
    for name in [
        "userinfo_endpoint",
        "end_session_endpoint",
        "response_types_supported",
        "id_token_signing_alg_values_supported",
        "authorization_response_iss_parameter_supported",
    ] {
        without(&mut least, name);
    }
    let metadata = read(&least).unwrap();
    assert!(metadata.userinfo_endpoint.is_none() && metadata.end_session_endpoint.is_none());
    assert!(!metadata.iss_parameter);
}

#[test]
fn o1_the_issuer_is_the_configured_one_letter_by_letter() {
    for other in
        ["https://login.acme.example/realm/", "https://LOGIN.acme.example/realm", "https://evil.example", ""]
    {
        check(other, |m| m["issuer"] = other.into(), Err(MetadataProblem::WrongIssuer));
    }
    check("a list", |m| m["issuer"] = json!([ISSUER]), Err(MetadataProblem::WrongIssuer));
    check("missing", |m| without(m, "issuer"), Err(MetadataProblem::Missing("issuer")));
}

const ADDRESSES: [&str; 5] =
    ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"];

#[test]
fn sec_r54_every_address_is_https_on_an_allowed_host() {
    for member in ADDRESSES {
        let address = |text: &str, want: Result<(), MetadataProblem>| {
            check(&format!("{member} {text:?}"), |m| m[member] = text.into(), want);
        };
        let foreign = |host: &str| Err(MetadataProblem::ForeignHost { member, host: host.into() });
        address("https://login.acme.example", Ok(()));
        address("https://LOGIN.acme.example/x", Ok(()));
        address("https://keys.acme.example/x", Ok(()));
        for plain in
            ["http://login.acme.example/x", "ftp://login.acme.example/", "javascript:alert(1)", "file:///x"]
        {
            address(plain, Err(MetadataProblem::NotHttps(member)));
        }
        address("https://u:p@login.acme.example/", Err(MetadataProblem::NotHttps(member)));
        address("https://login.acme.example/#x", Err(MetadataProblem::NotHttps(member)));
        address("https://evil.example/", foreign("evil.example"));
        address("https://login.acme.example.evil.example/", foreign("login.acme.example.evil.example"));
        address("https://xlogin.acme.example/", foreign("xlogin.acme.example"));
        address("https://login.acme.example./", foreign("login.acme.example."));
        address("https://login.acme.example%2eevil.example/", foreign("login.acme.example.evil.example"));
        address("https://login.acme.example\\@evil.example/", Ok(()));
        address("https://127.0.0.1/", foreign("127.0.0.1"));
        address("https://2130706433/", foreign("127.0.0.1"));
        address("https://[::1]/", foreign("[::1]"));
        address("https://169.254.169.254/latest", foreign("169.254.169.254"));
        for broken in
            ["", "/realm/token", "https://", " https://login.acme.example/", "https://login.acme\t.example/"]
        {
            address(broken, Err(MetadataProblem::Malformed(member)));
        }
        address(
            &format!("https://login.acme.example/{}", "x".repeat(2048)),
            Err(MetadataProblem::Malformed(member)),
        );
        check(member, |m| m[member] = 7.into(), Err(MetadataProblem::Malformed(member)));
    }
    for member in &ADDRESSES[..3] {
        check(member, |m| without(m, member), Err(MetadataProblem::Missing(member)));
    }
}

#[test]
fn what_is_configured_is_offered_if_anything_is_listed() {
    for member in ["response_types_supported", "id_token_signing_alg_values_supported"] {
        check(member, |m| m[member] = json!([]), Err(MetadataProblem::NotOffered(member)));
        check(member, |m| m[member] = json!(["none"]), Err(MetadataProblem::NotOffered(member)));
        check(member, |m| m[member] = "code RS256".into(), Err(MetadataProblem::Malformed(member)));
    }
    let ways = "token_endpoint_auth_methods_supported";
    check("post only", |m| m[ways] = json!(["client_secret_post"]), Err(MetadataProblem::NotOffered(ways)));
    check("basic too", |m| m[ways] = json!(["client_secret_post", "client_secret_basic"]), Ok(()));
    let flag = "authorization_response_iss_parameter_supported";
    check("a text is no yes", |m| m[flag] = "true".into(), Err(MetadataProblem::Malformed(flag)));
    // O4: PKCE is sent whether it is listed or not.
    check("no S256", |m| m["code_challenge_methods_supported"] = json!(["plain"]), Ok(()));
}

#[test]
fn metadata_are_one_object_within_bounds() {
    let read = |text: &str| Metadata::read(text.as_bytes(), &settings()).map(drop);
    for bad in ["", "[]", "<html>", r#"{"issuer":"a"} x"#] {
        assert_eq!(read(bad), Err(MetadataProblem::NotMetadata), "{bad}");
    }
    let twice = right().to_string().replacen('{', r#"{"token_endpoint":"https://login.acme.example/a","#, 1);
    assert_eq!(read(&twice), Err(MetadataProblem::NotMetadata));
    let mut long = right();
    long["x"] = "x".repeat(PUBLISHED_BYTES_MAX).into();
    assert_eq!(read(&long.to_string()), Err(MetadataProblem::TooLong));
}
