//! Hostnames in one canonical form, so that a zone is found by comparing bytes.

use std::fmt;
use std::str::FromStr;

/// A DNS hostname in canonical form: ASCII (U-labels converted, UTS 46), lower case, no trailing dot, no port,
/// 1 to 253 bytes. Never an IP literal: zones are keyed by name (R12).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hostname(Box<str>);

/// Why a text is not a hostname.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostnameProblem {
    /// Nothing was given.
    #[error("is empty")]
    Empty,
    /// An address where a name belongs.
    #[error("is an IP address; zones are found by name")]
    Address,
    /// A port, scheme or path came along.
    #[error("must be a bare name, without scheme, port or path")]
    NotBare,
    /// Not a name that DNS allows (RFC 1035 section 2.3.1, UTS 46).
    #[error("is not a valid DNS name")]
    Malformed,
}

/// A table by hostname that only the operator fills, and that requests ask.
///
/// *Why not the standard hasher?* It protects a table from those who choose what is put into it, for three times the
/// price, three times a request. A stranger who asks for hosts of their choice finds nothing and makes nothing slower.
pub type ByHost<V> = std::collections::HashMap<Hostname, V, foldhash::fast::RandomState>;

impl Hostname {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameProblem;

    /// Accepts any case, U-labels and one trailing dot.
    fn from_str(text: &str) -> Result<Self, HostnameProblem> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostnameProblem::Empty);
        }
        if text.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[') {
            return Err(HostnameProblem::Address);
        }
        if text.contains(['/', ':', '@', '?', '#']) {
            return Err(HostnameProblem::NotBare);
        }
        let ascii = idna::domain_to_ascii_strict(text).map_err(|_| HostnameProblem::Malformed)?;
        if ascii.is_empty() || ascii.len() > 253 {
            return Err(HostnameProblem::Malformed);
        }
        // The URL standard reads a name whose last label is a number, decimal or hexadecimal, as an IPv4 address; so do
        // browsers.
        let last = ascii.rsplit('.').next().unwrap_or_default();
        let is_number = match last.strip_prefix("0x") {
            Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
            None => last.bytes().all(|b| b.is_ascii_digit()),
        };
        if is_number {
            return Err(HostnameProblem::Address);
        }
        Ok(Self(ascii.into_boxed_str()))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hostname({})", self.0)
    }
}

impl std::borrow::Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Hostname {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Hostname {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|problem| serde::de::Error::custom(format_args!("hostname {text:?} {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<&str, HostnameProblem>) {
        let got = text.parse::<Hostname>();
        assert_eq!(got.as_ref().map(Hostname::as_str).map_err(|p| *p), want, "{text:?}");
    }

    #[test]
    fn one_name_has_one_spelling() {
        check("WW1.Autotask.NET.", Ok("ww1.autotask.net"));
        check("bücher.example", Ok("xn--bcher-kva.example"));
    }

    #[test]
    fn what_is_not_a_bare_name_is_refused_with_the_reason() {
        check("", Err(HostnameProblem::Empty));
        check(".", Err(HostnameProblem::Empty));
        check("127.0.0.1", Err(HostnameProblem::Address));
        for number in ["0x", "0x7f.1", "127.0.0.0x1", "1.2.3.0XfF", "2130706433"] {
            check(number, Err(HostnameProblem::Address));
        }
        check("0x7f.0xyz", Ok("0x7f.0xyz"));
        check("[::1]", Err(HostnameProblem::Address));
        check("1.2.3", Err(HostnameProblem::Address));
        check("a.example:443", Err(HostnameProblem::NotBare));
        check("https://a.example", Err(HostnameProblem::NotBare));
        check("a b.example", Err(HostnameProblem::Malformed));
        check("a..example", Err(HostnameProblem::Malformed));
        check("a_b.example", Err(HostnameProblem::Malformed));
    }
}
