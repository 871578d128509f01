//! Header names that only the gateway may set on the way to the application.
//!
//! Names are compared after folding: applications behind CGI, WSGI or PHP turn `X_Forwarded_User`,
//! `X-Forwarded-User` and `x.forwarded+user` into one variable, so a name is protected in every spelling that some
//! application might take for it (H1, H2; CVE-2025-64484 and its kin).

use http::HeaderName;

use crate::zone::{HeaderPreset, IdentityField};

/// One name, or all that begin so.
#[derive(Clone, Copy)]
enum Known {
    Name(&'static str),
    Family(&'static str),
}
use Known::{Family, Name};

/// What proxies, frameworks and this gateway read as identity, client address, certificate, routing or method. Names
/// that the gateway sets are rebuilt, all others removed, on every zone (H6). Sorted by first letter, because a look
/// at that settles most names; operators read the same list in `config/zonegate.yaml`.
///
/// *Why a list of names to remove, where elsewhere we list what passes?* An application's own fields are its own, and
/// nobody can list them. So the list holds what is known to be believed by somebody, and the assertion is signed for
/// what nobody has heard of.
fn known(letter: u8) -> &'static [Known] {
    match letter {
        b'c' => &[
            Family("client-cert"), // RFC 9440.
            Family("cf-access-"),
            Name("cf-connecting-ip"),
        ],
        b'f' => &[Family("forwarded"), Name("fastly-client-ip"), Name("front-end-https")],
        b'i' => &[Family("iv-")],
        b'o' => &[Family("oidc-")],
        // CGI makes HTTP_PROXY of `Proxy`, which programs take for their way out (httpoxy, CVE-2016-5385).
        b'p' => &[Name("proxy"), Name("proxy-client-ip")],
        b'r' => &[Family("remote-")],
        b's' => &[Family("shib-"), Family("sm-"), Family("ssl-client-")],
        b't' => &[Family("tailscale-user-"), Name("true-client-ip")],
        // The way here is nobody's business behind it, and some serve requests differently for it.
        b'v' => &[Name("via")],
        b'w' => &[Name("wl-proxy-client-ip")],
        b'x' => &[
            // What the gateway sets itself, and what else it would be taken for.
            Family("x-forwarded"),
            Family("x-zonegate"),
            Name("x-request-id"),
            // Identity, as other gateways assert it.
            Family("x-amzn-oidc-"),
            Family("x-auth-request"),
            Family("x-authelia-"),
            Family("x-authentik"),
            Family("x-consumer-"),
            Family("x-goog-authenticated-user-"),
            Family("x-goog-iap-"),
            Family("x-ms-client-principal"),
            Family("x-ms-token-"),
            Family("x-pomerium-"),
            Family("x-remote-"),
            Family("x-webauth-"),
            Name("x-user"),
            // Certificates and addresses of clients.
            Family("x-arr-"),
            Family("x-client-cert"),
            Family("x-client-dn"),
            Family("x-client-ip"),
            Family("x-client-verify"),
            Family("x-real-"),
            Family("x-ssl-"),
            Name("x-cluster-client-ip"),
            // Another host, path, scheme or method than the one that was decided about.
            Family("x-envoy-"),
            Family("x-http-method"),
            Family("x-original"),
            Name("x-host"),
            Name("x-http-host-override"),
            Name("x-method-override"),
            Name("x-override-url"),
            Name("x-proxy-url"),
            Name("x-rewrite-url"),
            Name("x-scheme"),
            Name("x-script-name"),
            Name("x-url-scheme"),
            // Files that a server is asked to send in the application's place.
            Family("x-accel-"),
            Name("x-sendfile-type"),
        ],
        _ => &[],
    }
}

/// Every first letter that [`known`] has something for.
#[cfg(test)]
const LETTERS: &[u8] = b"cfioprstvwx";

/// Whether a client's header of this name must not reach the application. `custom`: the zone's own preset.
///
/// No allocation.
pub fn is_protected(name: &str, custom: &HeaderPreset) -> bool {
    let own: &[(HeaderName, IdentityField)] = match custom {
        HeaderPreset::Custom(fields) => fields,
        HeaderPreset::Default | HeaderPreset::Oauth2Proxy | HeaderPreset::Remote => &[],
    };
    // Half of a browser's names begin otherwise: one look spares the comparisons.
    let known = known(name.as_bytes().first().map_or(0, u8::to_ascii_lowercase));
    !(own.is_empty() && known.is_empty()) && is_among(name, own, known)
}

fn is_among(name: &str, own: &[(HeaderName, IdentityField)], known: &[Known]) -> bool {
    // Nearly every name ends in a letter, and the search for its end costs as much as all that follows.
    let name = match name.as_bytes().last() {
        Some(last) if last.is_ascii_alphanumeric() => name,
        Some(_) | None => name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()),
    };
    // The second letter settles nearly all that the first has not: `sec-fetch-…` is beside `shib-…`.
    let second = |text: &str| text.as_bytes().get(1).copied();
    let may_be = |text: &str| second(name).zip(second(text)).is_none_or(|(byte, known)| is_folded(byte, known));
    own.iter().any(|(field, _)| same(name, field.as_str()))
        || known.iter().any(|known| match known {
            Name(whole) => may_be(whole) && same(name, whole),
            Family(beginning) => may_be(beginning) && begins(name, beginning),
        })
}

/// What other gateways assert identity under, and a proxy that has no way to take a whole family out passes on.
const FOREIGN: [&str; 15] = [
    "cf-access-",
    "iv-",
    "oidc-",
    "shib-",
    "sm-",
    "tailscale-user-",
    "x-amzn-oidc-",
    "x-authelia-",
    "x-consumer-",
    "x-goog-authenticated-user-",
    "x-goog-iap-",
    "x-ms-client-principal",
    "x-ms-token-",
    "x-pomerium-",
    "x-webauth-",
];

/// Whether a client's header claims what some other gateway would assert.
pub fn is_foreign_identity(name: &str) -> bool {
    FOREIGN.iter().any(|beginning| begins(name, beginning))
}

/// Whether two names are one to an application that folds them.
pub fn is_same_folded(name: &str, other: &str) -> bool {
    same(name, other)
}

/// Whether a name begins so to an application that folds it.
pub fn begins_folded(name: &str, beginning: &str) -> bool {
    begins(name, beginning)
}

/// Whether it is one that the gateway sets itself, so that a response must not carry it either.
pub fn is_ours(name: &HeaderName) -> bool {
    begins(name.as_str(), "x-zonegate")
}

fn same(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins(name, known)
}

fn begins(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(byte, known)| is_folded(byte, known))
}

/// Whether two bytes are one to an application that folds: some backends fold only `_`, others whatever is no letter or
/// digit.
fn is_folded(byte: u8, known: u8) -> bool {
    if byte == known {
        return true;
    }
    if known.is_ascii_alphanumeric() { byte.eq_ignore_ascii_case(&known) } else { !byte.is_ascii_alphanumeric() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            "Via",
            "Proxy",
            "X-Client-Cert",
            "X-SSL-Client-Verify",
            "SSL_CLIENT_S_DN",
            "Client-Cert-Chain",
            "Forwarded_For",
            "X-HTTP-Method",
            "X-Host",
            "Front-End-Https",
            "X-Accel-Mapping",
        ] {
            assert!(is_protected(name, &HeaderPreset::Default), "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "accept",
            "x-requested-with",
            "x-csrf-token",
            "referer",
            "range",
            "te",
            "client-id",
            "x-api-key",
            "sec-fetch-site",
            "pragma",
            "proxy-x",
            "viable",
            "x-httpd",
            "x-realm",
            "x-remotely",
            "x-client-version",
            "x-user-agent",
            "if-range",
            "priority",
            "purpose",
            "content-type",
            "x-hostname",
        ] {
            assert!(!is_protected(name, &HeaderPreset::Default), "{name}");
        }
    }

    #[test]
    fn what_a_preset_sends_no_client_can() {
        for name in crate::assertion::PRESET_HEADERS {
            assert!(is_protected(name.as_str(), &HeaderPreset::Default), "{name}");
        }
    }

    /// Every name there is, and of a family one of its own.
    fn all() -> Vec<String> {
        let known = LETTERS.iter().flat_map(|letter| known(*letter));
        known
            .map(|known| match known {
                Name(whole) => (*whole).to_owned(),
                Family(beginning) => format!("{beginning}x"),
            })
            .collect()
    }

    #[test]
    fn what_other_gateways_assert_is_protected_as_well() {
        for beginning in FOREIGN {
            let name = format!("{beginning}x");
            assert!(is_foreign_identity(&name) && is_protected(&name, &HeaderPreset::Default), "{name}");
        }
        assert!(!is_foreign_identity("x-forwarded-user") && !is_foreign_identity("accept"));
    }

    #[test]
    fn a_letter_leads_to_its_own_names() {
        for letter in 0..=u8::MAX {
            assert_eq!(LETTERS.contains(&letter), !known(letter).is_empty(), "{letter}");
        }
        for name in all() {
            assert!(is_protected(&name, &HeaderPreset::Default), "{name}");
        }
    }

    #[test]
    fn operators_read_the_list_that_holds() {
        let shown = include_str!("../../config/zonegate.yaml");
        for known in LETTERS.iter().flat_map(|letter| known(*letter)) {
            let written = match known {
                Name(whole) => (*whole).to_owned(),
                Family(beginning) => format!("{beginning}*"),
            };
            let words = shown.split_whitespace().map(|word| word.trim_end_matches([',', '.', ';']));
            assert!(words.into_iter().any(|word| word.eq_ignore_ascii_case(&written)), "{written} is not in it");
        }
    }

    proptest! {
        /// However a protected name is spelled, it stays protected.
        #[test]
        fn no_spelling_escapes(which in 0..all().len() + 1, choice in any::<u64>()) {
            let custom = HeaderPreset::Custom(vec![(HeaderName::from_static("my-app-user"), IdentityField::Username)].into());
            let all = [all(), vec!["my-app-user".to_owned()]].concat();
            let spelled: String = all[which].chars().enumerate().map(|(at, c)| match (c, choice >> (at % 60) & 3) {
                ('-', 0) => '_', ('-', 1) => '.', ('-', 2) => ' ',
                (c, 1) => c.to_ascii_uppercase(),
                (c, _) => c,
            }).collect();
            prop_assert!(is_protected(&spelled, &custom), "{}", spelled);
        }
    }
}
