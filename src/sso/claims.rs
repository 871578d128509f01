//! From what a provider says of a person to what the directory knows.
//!
//! Both are read for a first log-in only: after it, the subject is who somebody is (SEC-R44). An address that the provider
//! did not verify was typed by the person themselves, and would let them be anybody ("nOAuth", O11).

use serde_json::Value;

use super::{IdToken, ProviderSettings, UserInfo};
use crate::base::Username;
use crate::directory::is_label;

/// Why no username came of the claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClaimProblem {
    /// Neither the ID token nor the user info has it.
    #[error("the configured claim is missing")]
    Missing,
    /// It is no text, or none of the form of a username.
    #[error("the configured claim is no username")]
    NotAUsername,
    /// It is the person's e-mail address, and the provider does not say that it verified it.
    #[error("the e-mail address is not verified")]
    Unverified,
}

impl ClaimProblem {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "claim_missing",
            Self::NotAUsername => "claim_not_a_username",
            Self::Unverified => "claim_unverified",
        }
    }
}

/// The username in the configured claim: of the ID token, else of the user info. A provider may write any name there:
/// whether it is one of its own tenant's, whoever looks the account up must see to (O11).
pub fn username(
    settings: &ProviderSettings,
    token: &IdToken,
    info: Option<&UserInfo>,
) -> Result<Username, ClaimProblem> {
    let name = settings.username_claim.as_str();
    let in_info = || info.and_then(|info| info.claim(name));
    let claim = token.claim(name).or_else(in_info).ok_or(ClaimProblem::Missing)?;
    let text = claim.as_str().ok_or(ClaimProblem::NotAUsername)?;
    if name == "email" && verified_email(token, info) != Some(text) {
        return Err(ClaimProblem::Unverified);
    }
    text.parse().map_err(|_| ClaimProblem::NotAUsername)
}

/// The person's e-mail address, if the provider says that it verified it: of the ID token, else of the user info. The
/// address and the word for it come from the same of the two.
pub fn verified_email<'a>(token: &'a IdToken, info: Option<&'a UserInfo>) -> Option<&'a str> {
    match token.claim("email") {
        Some(email) => verified(Some(email), token.claim("email_verified")),
        None => info.and_then(|info| verified(info.claim("email"), info.claim("email_verified"))),
    }
}

/// The longest name that is taken over, in characters.
const NAME_CHARS_MAX: usize = 120;

/// What people call the person (`name`), where it can stand on a page.
pub fn display_name<'a>(token: &'a IdToken, info: Option<&'a UserInfo>) -> Option<&'a str> {
    let claim = token.claim("name").or_else(|| info.and_then(|info| info.claim("name")));
    let fits = |name: &&str| !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && is_label(name);
    claim.and_then(Value::as_str).filter(fits)
}

/// `"true"` as well: some providers send all their claims as texts.
fn verified<'a>(email: Option<&'a Value>, word: Option<&Value>) -> Option<&'a str> {
    let is_verified = word.is_some_and(|word| *word == Value::Bool(true) || word == "true");
    email?.as_str().filter(|_| is_verified)
}
