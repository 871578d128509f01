//! The plain identity headers, by preset.
//!
//! Shape of a value: printable ASCII. Everything outside 0x20–0x7e, `%`, and a space at either end is
//! percent-encoded as UTF-8 (RFC 3986 section 2.1), and within a list of groups the comma too, so that a group
//! named `a,admin` is one group. An application reads a value by splitting groups at `,` and percent-decoding
//! (`decodeURIComponent`; not form decoding: `+` is a plus).
//!
//! What has no value (no e-mail address, no groups) has no header: an empty one would be taken for a name by
//! some. What would be longer than [`FIELD_BYTES_MAX`] is refused, never cut and never left out: an application
//! that is told of half the groups decides wrongly and nobody notices (H9).

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::session::{IdentityHeaders, Principal, Session};
use crate::zone::{HeaderPreset, IdentityField};

/// The longest value of one identity field, encoded, in bytes.
pub const FIELD_BYTES_MAX: usize = 4096;

/// Why a person cannot be described to the application. The session must not begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field:?} is longer than {FIELD_BYTES_MAX} bytes once encoded for a header")]
pub struct IdentityProblem {
    /// Which field is too long.
    pub field: IdentityField,
}

const USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const EMAIL: HeaderName = HeaderName::from_static("x-forwarded-email");
const GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");
const PREFERRED_USERNAME: HeaderName = HeaderName::from_static("x-forwarded-preferred-username");
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
const REMOTE_GROUPS: HeaderName = HeaderName::from_static("remote-groups");
const REMOTE_NAME: HeaderName = HeaderName::from_static("remote-name");
const REMOTE_EMAIL: HeaderName = HeaderName::from_static("remote-email");

/// Every name that a built-in preset can send: protected on every zone, whatever its preset.
pub const PRESET_HEADERS: [HeaderName; 8] =
    [USER, EMAIL, GROUPS, PREFERRED_USERNAME, REMOTE_USER, REMOTE_GROUPS, REMOTE_NAME, REMOTE_EMAIL];

/// The headers that tell an application who is asking: the session's own as long as they were made for `preset`, else
/// new ones, which it keeps. A hit neither allocates nor locks.
///
/// What is sent is what was compared, never what another request has put in its place meanwhile.
pub fn identity(session: &Session, preset: &HeaderPreset) -> Result<Arc<IdentityHeaders>, IdentityProblem> {
    if let Some(kept) = session.identity.load_full().filter(|kept| kept.preset == *preset) {
        return Ok(kept);
    }
    let fields = identity_headers(preset, session)?;
    let made = Arc::new(IdentityHeaders { preset: preset.clone(), fields });
    session.identity.store(Some(Arc::clone(&made)));
    Ok(made)
}

/// The headers of `preset` for one session, in the order they are sent.
///
/// `X-Forwarded-User` carries the username and not the user id: it is what applications key their accounts on,
/// and what they show. The id is the assertion's `sub`.
pub fn identity_headers(
    preset: &HeaderPreset,
    session: &Session,
) -> Result<Vec<(HeaderName, HeaderValue)>, IdentityProblem> {
    fields(preset)
        .into_iter()
        .filter_map(|(name, field)| match value(field, session) {
            Ok(None) => None,
            Ok(Some(value)) => Some(Ok((name, value))),
            Err(problem) => Some(Err(problem)),
        })
        .collect()
}

/// The names that `preset` may send, for those who have to be told that there is no value.
pub fn identity_names(preset: &HeaderPreset) -> impl Iterator<Item = HeaderName> {
    fields(preset).into_iter().map(|(name, _)| name)
}

fn fields(preset: &HeaderPreset) -> Vec<(HeaderName, IdentityField)> {
    match preset {
        HeaderPreset::Default => vec![(USER, IdentityField::Username), (EMAIL, IdentityField::Email)],
        HeaderPreset::Oauth2Proxy => vec![
            (USER, IdentityField::Username),
            (EMAIL, IdentityField::Email),
            (GROUPS, IdentityField::Groups),
            (PREFERRED_USERNAME, IdentityField::Username),
        ],
        HeaderPreset::Remote => vec![
            (REMOTE_USER, IdentityField::Username),
            (REMOTE_GROUPS, IdentityField::Groups),
            (REMOTE_NAME, IdentityField::DisplayName),
            (REMOTE_EMAIL, IdentityField::Email),
        ],
        HeaderPreset::Custom(fields) => fields.to_vec(),
    }
}

/// Whether every field of a person fits, whatever the preset: the assertion carries them all and is bounded by
/// the same limit.
pub fn check_identity(principal: &Principal) -> Result<(), IdentityProblem> {
    check(IdentityField::Username, &principal.username)?;
    check(IdentityField::Tenant, &principal.tenant_slug)?;
    check_person(&principal.display_name, principal.email.as_deref(), &principal.groups)
}

/// Whether what people write of somebody fits: asked when it is set, because a person whose groups are too long would
/// otherwise find out at the log-in, and nobody would know why.
pub fn check_person(name: &str, email: Option<&str>, groups: &[String]) -> Result<(), IdentityProblem> {
    check(IdentityField::DisplayName, name)?;
    check(IdentityField::Email, email.unwrap_or_default())?;
    // With a comma after each.
    if groups.iter().map(|group| group.len() + 1).sum::<usize>() > SHORT {
        fits(IdentityField::Groups, list(groups))?;
    }
    Ok(())
}

/// A text of so many bytes fits however it is encoded, as three at most for each: a start asks this of each person.
const SHORT: usize = FIELD_BYTES_MAX / 3;

fn check(field: IdentityField, text: &str) -> Result<(), IdentityProblem> {
    if text.len() > SHORT { fits(field, encode(text, &[])).map(drop) } else { Ok(()) }
}

fn list(groups: &[String]) -> String {
    groups.iter().map(|group| encode(group, b",")).collect::<Vec<_>>().join(",")
}

/// The text, if it is not too long.
fn fits(field: IdentityField, text: String) -> Result<String, IdentityProblem> {
    if text.len() > FIELD_BYTES_MAX { Err(IdentityProblem { field }) } else { Ok(text) }
}

/// One field's value; `None` when there is nothing to say.
fn value(field: IdentityField, session: &Session) -> Result<Option<HeaderValue>, IdentityProblem> {
    let principal = &session.principal;
    let text = match field {
        IdentityField::UserId => session.user.to_string(),
        IdentityField::Username => encode(principal.username(), &[]),
        IdentityField::Email => encode(principal.email().unwrap_or_default(), &[]),
        IdentityField::DisplayName => encode(principal.display_name(), &[]),
        IdentityField::Groups => list(principal.groups()),
        IdentityField::Tenant => encode(&session.terms.tenant_slug, &[]),
        IdentityField::Zone => session.terms.zone.as_str().to_owned(),
        IdentityField::Kind => principal.kind().name().to_owned(),
        IdentityField::Method => session.method.name().to_owned(),
        IdentityField::SessionId => session.id.to_string(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    // Printable ASCII is always a header value; the mapping is for the compiler.
    HeaderValue::try_from(fits(field, text)?).map(Some).map_err(|_| IdentityProblem { field })
}

/// Percent-encodes what the module's head says, and the bytes of `also`.
fn encode(text: &str, also: &[u8]) -> String {
    let last = text.len().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let edge_space = byte == b' ' && (at == 0 || at == last);
        if matches!(byte, 0x20..=0x7e) && byte != b'%' && !edge_space && !also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            const HEX: [char; 16] =
                ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or('0');
            out.extend(['%', digit(byte >> 4), digit(byte & 0x0f)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::samples;

    /// Lines `name: value` for a principal that `change` was applied to.
    fn lines(preset: &HeaderPreset, change: impl FnOnce(&mut Principal)) -> Result<Vec<String>, IdentityProblem> {
        let mut principal = samples::principal();
        change(&mut principal);
        check_identity(&principal)?;
        let headers = identity_headers(preset, &samples::session_of(&samples::record("a.example"), &principal))?;
        Ok(headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect())
    }

    #[test]
    fn a_session_is_described_as_each_request_s_zone_wants_it_whoever_asked_before() {
        let session = samples::session(&samples::record("a.example"));
        let custom = HeaderPreset::Custom([(HeaderName::from_static("x-who"), IdentityField::Username)].into());
        for _ in 0..2 {
            for preset in [HeaderPreset::Default, HeaderPreset::Remote, custom.clone()] {
                let want = identity_headers(&preset, &session).unwrap();
                assert_eq!(identity(&session, &preset).unwrap().fields, want);
                let again = identity(&session, &preset).unwrap();
                assert!(Arc::ptr_eq(&again, &identity(&session, &preset).unwrap()), "made once");
            }
        }
    }

    fn decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_preset_sends_its_headers_in_order() {
        let check = |preset: HeaderPreset, want: &[&str]| {
            assert_eq!(lines(&preset, |_| {}).unwrap(), want, "{preset:?}");
        };
        check(
            HeaderPreset::Default,
            &["x-forwarded-user: alice@acme.example", "x-forwarded-email: Alice.Ash@acme.example"],
        );
        check(
            HeaderPreset::Oauth2Proxy,
            &[
                "x-forwarded-user: alice@acme.example",
                "x-forwarded-email: Alice.Ash@acme.example",
                "x-forwarded-groups: staff,on call",
                "x-forwarded-preferred-username: alice@acme.example",
            ],
        );
        check(
            HeaderPreset::Remote,
            &[
                "remote-user: alice@acme.example",
                "remote-groups: staff,on call",
                "remote-name: Alice Ash",
                "remote-email: Alice.Ash@acme.example",
            ],
        );
        let custom = [
            ("x-uid", IdentityField::UserId),
            ("x-tenant", IdentityField::Tenant),
            ("x-zone", IdentityField::Zone),
            ("x-kind", IdentityField::Kind),
            ("x-how", IdentityField::Method),
            ("x-sid", IdentityField::SessionId),
        ];
        check(
            HeaderPreset::Custom(custom.map(|(name, field)| (HeaderName::from_static(name), field)).into()),
            &[
                "x-uid: 03030303030303030303030303030303",
                "x-tenant: acme",
                "x-zone: a.example",
                "x-kind: regular",
                "x-how: local",
                "x-sid: 01010101010101010101010101010101",
            ],
        );
    }

    #[test]
    fn every_header_of_a_built_in_preset_is_on_the_protected_list() {
        for preset in [HeaderPreset::Default, HeaderPreset::Oauth2Proxy, HeaderPreset::Remote] {
            let headers = identity_headers(&preset, &samples::session(&samples::record("a.example"))).unwrap();
            assert!(headers.iter().all(|(name, _)| PRESET_HEADERS.contains(name)), "{preset:?}");
        }
    }

    #[test]
    fn h9_line_breaks_nul_and_emoji_are_encoded_in_one_header() {
        let sent = lines(&HeaderPreset::Remote, |p| p.display_name = "A\r\nRemote-User: root\0 100% 🦀".into());
        let name = sent.unwrap().into_iter().filter(|line| line.starts_with("remote-name")).collect::<Vec<_>>();
        assert_eq!(name, ["remote-name: A%0D%0ARemote-User: root%00 100%25 %F0%9F%A6%80"]);
    }

    #[test]
    fn h9_eight_kilobytes_are_refused_whatever_the_preset_and_never_cut() {
        for preset in [HeaderPreset::Default, HeaderPreset::Remote] {
            let refused = lines(&preset, |p| p.groups = vec!["x".repeat(8192)]);
            assert_eq!(refused, Err(IdentityProblem { field: IdentityField::Groups }));
        }
        let refused = lines(&HeaderPreset::Default, |p| p.display_name = "🦀".repeat(400));
        assert_eq!(refused, Err(IdentityProblem { field: IdentityField::DisplayName }), "4,800 bytes encoded");
    }

    #[test]
    fn nothing_to_say_is_no_header() {
        let sent = lines(&HeaderPreset::Oauth2Proxy, |p| {
            p.email = None;
            p.groups.clear();
        });
        assert_eq!(
            sent.unwrap(),
            ["x-forwarded-user: alice@acme.example", "x-forwarded-preferred-username: alice@acme.example"]
        );
    }

    proptest! {
        /// Whatever the directory holds: one printable header a field, and no group is split, joined or lost.
        #[test]
        fn groups_and_names_survive_the_way(
            name in ".{1,40}", groups in prop::collection::vec(".{1,20}", 1..6),
        ) {
            let sent = lines(&HeaderPreset::Remote, |p| {
                p.display_name.clone_from(&name);
                p.groups.clone_from(&groups);
            }).unwrap();
            prop_assert_eq!(sent.len(), 4);
            let of = |header: &str| sent.iter().find_map(|line| line.strip_prefix(header)).unwrap();
            prop_assert_eq!(decode(of("remote-name: ")), name);
            prop_assert_eq!(of("remote-groups: ").split(',').map(decode).collect::<Vec<_>>(), groups);
        }
    }
}
