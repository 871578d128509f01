//! Usernames: `local@domain`, unique over all zones, the same in every case (D32).

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;

use super::Hostname;

/// The longest username, in bytes of its canonical form (the limit of an address, RFC 5321 section 4.5.3.1.3).
const USERNAME_BYTES_MAX: usize = 254;

/// A username in canonical form: NFKC, lower case, exactly one `@`, a valid domain behind it, no white space and
/// no control characters. It need not be a mailbox (D32).
///
/// *Why NFKC, where passwords are kept in NFC?* `ａｌｉｃｅ` in full width, as Asian keyboards write it, and `ﬁona` with a
/// ligature are the same names to whoever reads them: they lead to the same account, and no second one can be made
/// beside it. Rejected: NFC alone (two accounts that look alike); refusing such characters (people who type them would
/// not get in); comparing look-alikes of other scripts, Cyrillic `а` (Unicode's confusables are a moving table, and
/// accounts are made by the tenant's own operators).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Username {
    text: Box<str>,
    at: usize,
}

/// The part of a username behind the `@`: it names the tenant, and so the zone (R17, D28).
pub type Domain = Hostname;

/// Why a text is not a username. All of them are shown as message M1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not of the form username@domain.com")]
pub struct UsernameProblem;

impl Username {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part behind the `@`.
    pub fn domain(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }
}

impl FromStr for Username {
    type Err = UsernameProblem;

    /// Surrounding white space is dropped (phones add it); anything else that is off is refused (R36).
    fn from_str(text: &str) -> Result<Self, UsernameProblem> {
        // What is longer than any name in any form is not worth the work.
        if text.len() > 8 * USERNAME_BYTES_MAX {
            return Err(UsernameProblem);
        }
        let folded: String = text.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        let trimmed = folded.trim();
        let (local, domain) = trimmed.split_once('@').ok_or(UsernameProblem)?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@' || is_invisible(c);
        if local.is_empty() || local.contains(odd) {
            return Err(UsernameProblem);
        }
        let domain: Hostname = domain.parse().map_err(|_| UsernameProblem)?;
        if !domain.as_str().contains('.') {
            return Err(UsernameProblem);
        }
        let text = format!("{local}@{domain}");
        if text.len() > USERNAME_BYTES_MAX {
            return Err(UsernameProblem);
        }
        Ok(Self { at: local.len(), text: text.into_boxed_str() })
    }
}

/// Characters that print as nothing or turn the line around: two names that look alike must not differ by them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Username({})", self.text)
    }
}

impl serde::Serialize for Username {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Username {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|problem| serde::de::Error::custom(format_args!("username {text:?} {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, want: Option<(&str, &str)>) {
        let got = text.parse::<Username>().ok();
        assert_eq!(got.as_ref().map(|u| (u.as_str(), u.domain())), want, "{text:?}");
    }

    #[test]
    fn a_username_is_the_same_in_every_case() {
        check(" Alice@Acme.Example ", Some(("alice@acme.example", "acme.example")));
        check("JÖRG@bücher.example", Some(("jörg@xn--bcher-kva.example", "xn--bcher-kva.example")));
        assert_eq!("jo\u{308}rg@a.example".parse::<Username>(), "jörg@a.example".parse::<Username>());
    }

    #[test]
    fn d32_names_that_only_look_different_are_one() {
        for text in ["ａｌｉｃｅ@acme.example", "ALICE＠acme.example", "𝐚𝐥𝐢𝐜𝐞@acme.example", "ⓐlice@acme.example"]
        {
            check(text, Some(("alice@acme.example", "acme.example")));
        }
        check("ﬁona@acme.example", Some(("fiona@acme.example", "acme.example")));
        // What becomes a second at sign, a space or a path is none.
        for text in ["a＠b@acme.example", "a\u{3000}b@acme.example", "a\u{a0}b@acme.example"] {
            check(text, None);
        }
    }

    proptest! {
        /// The canonical form is a name, and its own.
        #[test]
        fn what_was_read_reads_the_same_again(text in "\\PC{1,12}@[a-zA-Zａ-ｚ]{1,8}\\.example") {
            if let Ok(name) = text.parse::<Username>() {
                prop_assert_eq!(name.as_str().parse::<Username>(), Ok(name.clone()));
            }
        }
    }

    #[test]
    fn r36_what_is_not_username_at_domain_is_refused() {
        for text in [
            "",
            "jdoe",
            "@a.example",
            "a@",
            "a@b",
            "a@b@c.example",
            "a b@c.example",
            "a@127.0.0.1",
            "a\u{200b}b@c.example",
            "a\r\nb@c.example",
        ] {
            check(text, None);
        }
        check(&format!("{}@a.example", "x".repeat(300)), None);
    }
}
