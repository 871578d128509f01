//! Header names that only the gateway may set on the way to the application.
//!
//! Names are compared after folding: applications behind CGI, WSGI or PHP turn `X_Forwarded_User`,
//! `X-Forwarded-User` and `x.forwarded+user` into one variable, so a name is protected in every spelling that some
//! application might take for it (H1, H2; CVE-2025-64484 and its kin).

use http::HeaderName;

use super::PRESET_HEADERS;
use crate::zone::HeaderPreset;

/// Names beside those of the presets: what other proxies, frameworks and this gateway read as identity, address or
/// routing. All are rebuilt or removed.
const NAMES: [&str; 16] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-ssl-client-cert",
    "x-ssl-client-verify",
    "x-user",
];

/// Whole families, by how their names begin.
const PREFIXES: [&str; 6] =
    ["x-forwarded", "x-zonegate", "x-auth-request", "x-original", "remote-", "x-authentik"];

/// Whether a client's header of this name must not reach the application. `custom`: the zone's own preset.
///
/// No allocation.
pub fn is_protected(name: &str, custom: &HeaderPreset) -> bool {
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let own = match custom {
        HeaderPreset::Custom(fields) => fields.iter().any(|(field, _)| same(name, field.as_str())),
        HeaderPreset::Default | HeaderPreset::Oauth2Proxy | HeaderPreset::Remote => false,
    };
    if own {
        return true;
    }
    // Almost all names begin otherwise: one look spares the comparisons.
    match name.as_bytes().first().map(u8::to_ascii_lowercase) {
        Some(b'x' | b'f' | b'r' | b'c' | b't') => {
            PREFIXES.iter().any(|prefix| begins(name, prefix))
                || NAMES.iter().any(|known| same(name, known))
                || PRESET_HEADERS.iter().any(|known| same(name, known.as_str()))
        }
        Some(_) | None => false,
    }
}

/// Whether it is one that the gateway sets itself, so that a response must not carry it either.
pub fn is_ours(name: &HeaderName) -> bool {
    begins(name.as_str(), "x-zonegate")
}

/// Some backends fold only `_`, others whatever is no letter or digit.
fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

fn same(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins(name, known)
}

fn begins(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(a, b)| fold(a) == fold(b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zone::IdentityField;

    #[test]
    fn h1_h2_identity_names_are_protected_in_every_spelling() {
        for name in [
            "x-forwarded-user",
            "X_FORWARDED_USER",
            "X.Forwarded.Email",
            "x-forwarded-for",
            "X-Forwarded-Prefix",
            "Forwarded",
            "remote_user",
            "Remote-Groups",
            "X-Zonegate-Assertion",
            "x_zonegate_anything",
            "X-Auth-Request-User",
            "X-Original-URL",
            "X-Rewrite-Url",
            "x-http-method-override",
            "Client_Cert",
            "X-Real-IP",
            "x-forwarded-user-",
            "X_Request_Id",
            "X+Forwarded+User",
            "x!forwarded'email",
            "X~Zonegate~Assertion",
        ] {
            assert!(is_protected(name, &HeaderPreset::Default), "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for name in
            ["accept", "x-requested-with", "x-csrf-token", "referer", "range", "te", "client-id", "x-api-key"]
        {
            assert!(!is_protected(name, &HeaderPreset::Default), "{name}");
        }
    }

    proptest! {
        /// However a protected name is spelled, it stays protected.
        #[test]
        fn no_spelling_escapes(which in 0..PRESET_HEADERS.len() + NAMES.len() + 1, choice in any::<u64>()) {
            let custom = HeaderPreset::Custom(vec![(HeaderName::from_static("my-app-user"), IdentityField::Username)].into());
            let known: Vec<String> = PRESET_HEADERS.iter().map(|n| n.as_str().to_owned())
                .chain(NAMES.iter().map(|n| (*n).to_owned())).chain(["my-app-user".to_owned()]).collect();
            let spelled: String = known[which].chars().enumerate().map(|(at, c)| match (c, choice >> (at % 60) & 3) {
                ('-', 0) => '_', ('-', 1) => '.', ('-', 2) => ' ',
                (c, 1) => c.to_ascii_uppercase(),
                (c, _) => c,
            }).collect();
            prop_assert!(is_protected(&spelled, &custom), "{}", spelled);
        }
    }
}
