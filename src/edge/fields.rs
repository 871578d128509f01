//! What one look at the fields of a request, or of an answer, finds.
//!
//! *Why not ask the map for each name?* It hashes every name that it is asked for, and most of these are nearly always
//! not there: a dozen questions cost more than it does to find the session. Whoever needs a field that is not here asks
//! the map, and means it: a name that is looked for every time belongs here.

use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::assertion::is_ours;

/// `Clear-Site-Data`, which the `http` crate has no name for.
pub(super) const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// The fields of a request that every request is asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    /// All of them.
    pub(super) all: &'a HeaderMap,
    /// Of all lines, with their ends.
    pub(super) bytes: usize,
    pub(super) codings: Found<'a>,
    pub(super) lengths: Found<'a>,
    pub(super) expectations: Found<'a>,
    pub(super) hosts: Found<'a>,
    pub(super) accepted: Found<'a>,
    /// What `Connection` says of it.
    pub(super) options: Found<'a>,
    pub(super) upgrades: Found<'a>,
    pub(super) fetch_modes: Found<'a>,
    pub(super) requested_with: Found<'a>,
    /// What belongs to a trace, which may be a part of it alone.
    pub(super) traces: Found<'a>,
    /// Who has passed it on (RFC 8586).
    pub(super) passed_on: Found<'a>,
    /// A name that somebody takes for that of a length or a coding is there.
    pub(super) disguised: bool,
}

/// The values of one name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Found<'a> {
    #[default]
    Nothing,
    One(&'a HeaderValue),
    /// The first of them.
    Several(&'a HeaderValue),
}

impl<'a> Found<'a> {
    /// The first value, as a map gives it that is asked for one.
    pub(super) const fn first(self) -> Option<&'a HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::One(value) | Self::Several(value) => Some(value),
        }
    }

    /// One more value.
    pub(super) const fn add(&mut self, value: &'a HeaderValue) {
        *self = match *self {
            Self::Nothing => Self::One(value),
            Self::One(first) | Self::Several(first) => Self::Several(first),
        };
    }
}

impl<'a> Fields<'a> {
    /// Looks at each field once.
    pub fn of(all: &'a HeaderMap) -> Self {
        let nothing = Found::Nothing;
        let mut fields = Self {
            all,
            bytes: 0,
            codings: nothing,
            lengths: nothing,
            expectations: nothing,
            hosts: nothing,
            accepted: nothing,
            options: nothing,
            upgrades: nothing,
            fetch_modes: nothing,
            requested_with: nothing,
            traces: nothing,
            passed_on: nothing,
            disguised: false,
        };
        for (name, value) in all {
            let text = name.as_str();
            fields.bytes += text.len() + value.len() + 4;
            let found = match *name {
                TRANSFER_ENCODING => &mut fields.codings,
                CONTENT_LENGTH => &mut fields.lengths,
                EXPECT => &mut fields.expectations,
                HOST => &mut fields.hosts,
                ACCEPT => &mut fields.accepted,
                CONNECTION => &mut fields.options,
                UPGRADE => &mut fields.upgrades,
                _ => match text {
                    "traceparent" | "tracestate" => &mut fields.traces,
                    "sec-fetch-mode" => &mut fields.fetch_modes,
                    "x-requested-with" => &mut fields.requested_with,
                    "cdn-loop" => &mut fields.passed_on,
                    _ => {
                        fields.disguised |= is_disguised(text);
                        continue;
                    }
                },
            };
            found.add(value);
        }
        fields
    }

    /// What the head says of the body's length.
    pub(super) fn body_length(&self) -> Option<u64> {
        self.lengths.first()?.to_str().ok()?.parse().ok()
    }

    /// Whether the client asks for a WebSocket (RFC 6455 section 4.1).
    pub(super) fn asks_for_websocket(&self) -> bool {
        self.upgrades.first().is_some_and(is_websocket)
    }
}

/// Whether the value of an `Upgrade` asks for a WebSocket.
pub(super) fn is_websocket(upgrade: &HeaderValue) -> bool {
    upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// Whether a name, in lower case, is that of the body's length or coding to whoever takes `_`, or whatever is no letter or
/// digit, for `-`, or leaves it out (M1). To nobody else it has a meaning.
fn is_disguised(name: &str) -> bool {
    let known = match name.bytes().find(u8::is_ascii_alphanumeric) {
        Some(b'c') => "contentlength",
        Some(b't') => "transferencoding",
        Some(_) | None => return false,
    };
    // Without anything in between it is one word, which nobody takes for two.
    name.len() > known.len() && name.bytes().filter(u8::is_ascii_alphanumeric).eq(known.bytes())
}

/// The fields of an application's answer that every answer is asked for.
#[derive(Debug, Default)]
pub(super) struct AnswerFields<'a> {
    pub(super) codings: Found<'a>,
    pub(super) lengths: Found<'a>,
    /// It sets cookies.
    pub(super) cookies: bool,
    /// It clears what the browser keeps.
    pub(super) clearing: bool,
    /// A name is there that only the gateway may set.
    pub(super) ours: bool,
}

impl<'a> AnswerFields<'a> {
    /// Looks at each field once.
    pub(super) fn of(all: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in all {
            match *name {
                TRANSFER_ENCODING => fields.codings.add(value),
                CONTENT_LENGTH => fields.lengths.add(value),
                SET_COOKIE => fields.cookies = true,
                _ if name.as_str() == "clear-site-data" => fields.clearing = true,
                _ => fields.ours |= is_ours(name),
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever fields come in whatever order and however often, one look finds what the map would have said.
        #[test]
        fn one_look_finds_what_the_map_says(
            given in prop::collection::vec((0_usize..13, "[a-z0-9]{0,4}"), 0..14),
        ) {
            let names = [
                "transfer-encoding", "content-length", "expect", "host", "accept", "upgrade", "sec-fetch-mode",
                "x-requested-with", "traceparent", "cdn-loop", "connection", "cookie", "x-other",
            ];
            let mut map = HeaderMap::new();
            for (name, value) in &given {
                map.append(names[*name], value.parse().unwrap());
            }
            let fields = Fields::of(&map);
            let found = [
                fields.codings, fields.lengths, fields.expectations, fields.hosts, fields.accepted, fields.upgrades,
                fields.fetch_modes, fields.requested_with, fields.traces, fields.passed_on, fields.options,
            ];
            for (name, found) in names.iter().zip(found) {
                prop_assert_eq!(found.first(), map.get(*name), "{}", name);
                let several = map.get_all(*name).iter().count() > 1;
                prop_assert_eq!(matches!(found, Found::Several(_)), several, "{}", name);
            }
            let bytes: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            prop_assert_eq!(fields.bytes, bytes);
        }

        /// Whatever is between the words and around them, and nothing that has another letter.
        #[test]
        fn m1_a_length_is_found_in_every_disguise(
            odd in "[_.~+!-]{1,3}", around in "[_.~+!-]{0,2}", letter in "[a-z0-9]",
        ) {
            for (first, second) in [("content", "length"), ("transfer", "encoding")] {
                let disguised = |name: String| {
                    let mut map = HeaderMap::new();
                    map.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("5"));
                    Fields::of(&map).disguised
                };
                let plain = odd == "-" && around.is_empty();
                prop_assert_eq!(disguised(format!("{around}{first}{odd}{second}{around}")), !plain);
                for other in [
                    format!("{first}{odd}{second}{letter}"),
                    format!("{letter}{odd}{first}{odd}{second}"),
                    format!("{first}{letter}{second}"),
                    format!("{first}{second}"),
                    format!("{first}{odd}type"),
                ] {
                    prop_assert!(!disguised(other));
                }
            }
        }

        /// The same of an answer.
        #[test]
        fn one_look_at_an_answer_finds_what_the_map_says(
            given in prop::collection::vec((0_usize..8, "[a-z0-9]{0,4}"), 0..8),
        ) {
            let names = [
                "transfer-encoding", "content-length", "set-cookie", "clear-site-data", "x-zonegate-assertion",
                "x_zonegate_x", "content-type", "x-other",
            ];
            let mut map = HeaderMap::new();
            for (name, value) in &given {
                map.append(names[*name], value.parse().unwrap());
            }
            let fields = AnswerFields::of(&map);
            for (name, found) in names.iter().zip([fields.codings, fields.lengths]) {
                prop_assert_eq!(found.first(), map.get(*name), "{}", name);
                let several = map.get_all(*name).iter().count() > 1;
                prop_assert_eq!(matches!(found, Found::Several(_)), several, "{}", name);
            }
            prop_assert_eq!(fields.cookies, map.contains_key("set-cookie"));
            prop_assert_eq!(fields.clearing, map.contains_key("clear-site-data"));
            prop_assert_eq!(fields.ours, map.keys().any(is_ours));
        }
    }
}
