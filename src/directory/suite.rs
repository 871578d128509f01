//! What a tenant lets its users do with the vendor's suite log-in (R90–R96, D20–D24).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether a tenant's users log in with the vendor's suite, and as whose people.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SuiteAccess {
    /// Whether they may, or must.
    pub mode: SuiteMode,
    /// The company that the tenant is to the suite. Without one nobody matches.
    pub company: Option<SuiteCompany>,
    /// Whether a person of that company whom the directory does not know is entered into it, at the lowest level (D23).
    pub provisioning: bool,
}

impl SuiteAccess {
    /// As events say it.
    pub fn described(&self) -> String {
        let company = self.company.as_ref().map(|company| format!(", as {company}")).unwrap_or_default();
        let provisioning = if self.provisioning { ", provisioning" } else { "" };
        format!("{}{company}{provisioning}", self.mode.name())
    }
}

/// Whether somebody is exempt from a suite that is required, as events say it.
pub const fn exemption(exempt: bool) -> &'static str {
    if exempt { "exempt" } else { "not exempt" }
}

/// In the order in which it takes more from the local log-in.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum SuiteMode {
    /// Nobody uses the suite.
    #[default]
    Off,
    /// Beside the local log-in (R7).
    Allowed,
    /// In its place, but for those who are exempt and for kinds that the suite does not know (D22).
    Required,
}

impl SuiteMode {
    /// All of them, as lists offer them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Allowed, Self::Required];

    /// The name in files and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Allowed => "allowed",
            Self::Required => "required",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// What the suite calls a company: 1 to 255 printable ASCII characters, compared letter by letter.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SuiteCompany(String);

/// A text that can be no company's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no company of the suite: 1 to 255 printable ASCII characters, as the suite writes it")]
pub struct NoSuiteCompany;

impl SuiteCompany {
    /// As the suite writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SuiteCompany {
    type Err = NoSuiteCompany;

    fn from_str(text: &str) -> Result<Self, NoSuiteCompany> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let fits = (1..=255).contains(&text.len()) && text.trim() == text;
        (printable && fits).then(|| Self(text.to_owned())).ok_or(NoSuiteCompany)
    }
}

impl TryFrom<String> for SuiteCompany {
    type Error = NoSuiteCompany;

    fn try_from(text: String) -> Result<Self, NoSuiteCompany> {
        text.parse()
    }
}

impl From<SuiteCompany> for String {
    fn from(company: SuiteCompany) -> Self {
        company.0
    }
}

impl fmt::Display for SuiteCompany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_is_what_the_suite_calls_it_letter_by_letter() {
        for text in ["c-1042", "Acme Ltd", "A", "urn:one:company:7"] {
            assert_eq!(text.parse::<SuiteCompany>().map(String::from).as_deref(), Ok(text));
        }
        assert_ne!("ACME".parse::<SuiteCompany>(), "acme".parse());
        for text in ["", " ", " acme", "acme ", "a\nb", "Zoë", &"a".repeat(256)] {
            assert_eq!(text.parse::<SuiteCompany>(), Err(NoSuiteCompany), "{text:?}");
        }
    }
}
