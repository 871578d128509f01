//! A place on this very host to go to: the only kind of redirect target that comes from outside.

use std::fmt;
use std::str::FromStr;

use super::hex::hex_digit;

/// The longest return target that is kept, in bytes. A longer deep link falls back to the home page.
const PATH_BYTES_MAX: usize = 2048;
/// Our own pages that a log-in may lead back to: who is to show anew who they are, before a change there (SEC-R36). They
/// change nothing by being opened, and lead nowhere else.
const RETURNED_TO: [&str; 5] = [
    "/.zonegate/account",
    "/.zonegate/admin",
    "/.zonegate/admin/sso",
    "/.zonegate/admin/sso/users",
    "/.zonegate/admin/suite",
];

/// A path with optional query on the same origin: starts with exactly one `/`, printable ASCII, no backslash,
/// not one of our own paths but the few that people return to. Every browser resolves it to the host it came from (SEC-R84, W1, D41).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalPath(Box<str>);

/// A target that might leave this origin or loop into our own pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a path on this host: it must start with one '/', in printable ASCII without '\\'")]
pub struct LocalPathProblem;

impl LocalPath {
    /// The home page.
    pub fn home() -> Self {
        Self("/".into())
    }

    /// The page that a log-in leads back to whoever asked for `path`, which is one of our own: itself, or the one that it is a
    /// part of or a form on.
    pub fn returned_to(path: &str) -> Option<Self> {
        let mut path = path;
        while !RETURNED_TO.contains(&path) {
            (path, _) = path.rsplit_once('/')?;
        }
        Some(Self(path.into()))
    }

    /// The path and query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LocalPath {
    type Err = LocalPathProblem;

    fn from_str(text: &str) -> Result<Self, LocalPathProblem> {
        let rooted = text.starts_with('/') && text.len() <= PATH_BYTES_MAX;
        let printable = text.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'\\' && b != b'#');
        let path = text.split('?').next().unwrap_or_default();
        // An empty or dot segment could be folded into `//host` by whoever normalises later.
        let plain = !path.contains("//") && !path.split('/').any(|segment| segment == "." || segment == "..");
        let ours = is_gateway_path(path.as_bytes()) && !RETURNED_TO.contains(&text);
        if rooted && printable && plain && escapes_are_harmless(path) && !ours {
            Ok(Self(text.into()))
        } else {
            Err(LocalPathProblem)
        }
    }
}

/// Whether a path, which may have a query, is one of the gateway's own: below `/.zonegate` or `/.well-known/zonegate`, in
/// whatever spelling somebody might take for that. Never forwarded.
pub fn is_gateway_path(raw: &[u8]) -> bool {
    match raw {
        // Both begin with a dot, however it is written; nearly every path of an application is settled by this look.
        [b'/', first, ..] if !matches!(first, b'.' | b'%') => false,
        _ => is_ours(raw),
    }
}

fn is_ours(raw: &[u8]) -> bool {
    let path = raw.split(|byte| *byte == b'?').next().unwrap_or_default();
    // Before the first slash stands nothing.
    let mut segments = path.split(|byte| *byte == b'/').skip(1);
    let first = segments.next().unwrap_or_default();
    if spells(first, b".zonegate") {
        return true;
    }
    let second = segments.next().unwrap_or_default();
    spells(first, b".well-known") && spells(second, b"zonegate")
}

/// Whether a segment is `name` to somebody: in any case, with parameters, with escapes, with dots behind it.
fn spells(segment: &[u8], name: &[u8]) -> bool {
    let mut name = name.iter().copied();
    let mut rest = segment.iter().copied();
    loop {
        let byte = match rest.next() {
            Some(b'%') => match (rest.next().and_then(hex_digit), rest.next().and_then(hex_digit)) {
                (Some(high), Some(low)) => Some(high << 4 | low),
                (Some(_) | None, _) => return false,
            },
            other => other,
        };
        match (byte, name.next()) {
            (None, None) => return true,
            (Some(b';'), None) => return true,
            (Some(b'.' | b' '), None) => return rest.all(|byte| matches!(byte, b'.' | b' ')),
            (Some(a), Some(b)) if a.eq_ignore_ascii_case(&b) => {}
            (Some(_) | None, _) => return false,
        }
    }
}

/// An escaped slash, backslash, dot or control character could become one of them further on.
fn escapes_are_harmless(path: &str) -> bool {
    // Before the first `%` nothing is escaped.
    path.split('%').skip(1).all(|rest| {
        let byte = rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_some_and(|byte| byte >= 0x20 && !matches!(byte, b'/' | b'\\' | b'.' | 0x7f))
    })
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for LocalPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for LocalPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|problem| serde::de::Error::custom(format_args!("path {text:?} {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w1_nothing_that_could_leave_the_host_is_a_local_path() {
        for text in [
            "",
            "e",
            "//e",
            "/\\e",
            "https:e",
            "https://e/",
            "/%09/e",
            "javascript:alert(1)",
            "/a\r\nb",
            "/ ",
            "/a#b",
            "/.zonegate/logout",
            "/.zonegate/account?end",
            "/.Zonegate/account",
            "/.zonegate/account/",
            "/.zonegate/admin/users/x",
            "/.zonegate",
            "/.zone%67ate/logout",
            "/.well-known/zonegate/jwks.json",
            "/./x",
            "/a/../..//e",
            "/%2f%2fe",
            "/%5ce",
            "/%2e%2e/x",
            "/%zz",
        ] {
            assert_eq!(text.parse::<LocalPath>(), Err(LocalPathProblem), "{text:?}");
        }
    }

    #[test]
    fn a_log_in_leads_back_to_the_page_of_ours_that_was_left_and_to_nothing_else() {
        for (asked, want) in [
            ("/.zonegate/account", Some("/.zonegate/account")),
            ("/.zonegate/account/sessions", Some("/.zonegate/account")),
            ("/.zonegate/admin/users", Some("/.zonegate/admin")),
            ("/.zonegate/admin/sso/users/import", Some("/.zonegate/admin/sso/users")),
            ("/.zonegate/admin/suite/exempt", Some("/.zonegate/admin/suite")),
            ("/.zonegate/logout", None),
            ("/.zonegate", None),
            ("/tickets", None),
            ("", None),
        ] {
            let page = LocalPath::returned_to(asked);
            assert_eq!(page.as_ref().map(LocalPath::as_str), want, "{asked}");
            assert!(
                page.is_none_or(|page| page.as_str().parse() == Ok(page)),
                "{asked}: what the log-in page takes"
            );
        }
    }

    #[test]
    fn deep_links_with_a_query_are_kept() {
        for text in [
            "/.zonegate/account",
            "/.zonegate/admin/sso",
            "/",
            "/tickets/42?view=full&x=%2F",
            "/a%20b",
            "/caf%C3%A9",
            "/.zonegated",
        ] {
            assert!(text.parse::<LocalPath>().is_ok(), "{text:?}");
        }
    }
}
