//! Why nothing acceptable came from a provider. For the log: the person is told the same in every case (P14).

use std::fmt;

use crate::sso::{KeyProblem, MetadataProblem, TokenProblem};

/// What a provider was asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Step {
    /// Its metadata.
    Metadata,
    /// Its keys.
    Keys,
    /// Tokens for a code.
    Tokens,
    /// What it knows of the person.
    UserInfo,
    /// The end of its session.
    LogOut,
}

impl Step {
    /// As logs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Keys => "keys",
            Self::Tokens => "tokens",
            Self::UserInfo => "user info",
            Self::LogOut => "log-out",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why nothing acceptable came from a provider. Carries no secret, code or token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProviderFault {
    /// It stands, or leads, to where we do not go: another host than those configured, a network that is not public.
    #[error("{step}: {detail}; nothing was sent there")]
    Forbidden {
        /// What was to be asked for.
        step: Step,
        /// Where.
        detail: Detail,
    },
    /// No name, no connection, no TLS, or a connection that broke.
    #[error("{step}: not reached: {detail}")]
    Unreachable {
        /// What was asked for.
        step: Step,
        /// What the network said.
        detail: Detail,
    },
    /// The time for one exchange was over.
    #[error("{step}: no whole answer in time")]
    Slow {
        /// What was asked for.
        step: Step,
    },
    /// It answered what the protocol does not allow.
    #[error("{step}: {detail}")]
    Unacceptable {
        /// What was asked for.
        step: Step,
        /// What was wrong with the answer.
        detail: Detail,
    },
    /// It gave no tokens for the code (RFC 6749 section 5.2).
    #[error("tokens: refused: {0}")]
    Refused(Detail),
    /// As many exchanges with it are under way as one provider may hold up.
    #[error("{0}: too many exchanges with this provider are under way")]
    Busy(Step),
    /// The client cannot prove who it is: a secret or a key is missing.
    #[error("tokens: the configuration has no {0}")]
    NoCredential(&'static str),
    /// Its metadata are not acceptable.
    #[error("metadata: {0}")]
    Metadata(#[from] MetadataProblem),
    /// Its keys are not acceptable.
    #[error("keys: {0}")]
    Keys(#[from] KeyProblem),
    /// A token of its is not acceptable.
    #[error("token: {0}")]
    Token(#[from] TokenProblem),
    /// The process ends, or what asked has failed.
    #[error("the exchange was given up")]
    Stopped,
}

impl ProviderFault {
    /// The reason in the security log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "provider_forbidden",
            Self::Unreachable { .. } => "provider_unreachable",
            Self::Slow { .. } => "provider_slow",
            Self::Unacceptable { .. } => "provider_answer",
            Self::Refused(_) => "code_refused",
            Self::Busy(_) => "provider_busy",
            Self::NoCredential(_) => "no_credential",
            Self::Metadata(_) => "provider_metadata",
            Self::Keys(_) => "provider_keys",
            Self::Token(problem) => problem.name(),
            Self::Stopped => "provider_stopped",
        }
    }

    /// Whether another try, in a moment, may go well.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } | Self::Busy(_) | Self::Stopped => true,
            Self::Forbidden { .. }
            | Self::Unacceptable { .. }
            | Self::Refused(_)
            | Self::NoCredential(_)
            | Self::Metadata(_)
            | Self::Keys(_)
            | Self::Token(_) => false,
        }
    }
}

/// Words of a provider's, or about it: few, on one line, and without what would be markup or control to a reader (O10).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Detail(Box<str>);

/// The most characters of a detail.
const DETAIL_CHARS_MAX: usize = 300;

impl Detail {
    /// Makes a text fit for a log.
    pub(super) fn of(text: &str) -> Self {
        let mut kept: String = text.chars().take(DETAIL_CHARS_MAX).flat_map(char::escape_debug).collect();
        if text.chars().nth(DETAIL_CHARS_MAX).is_some() {
            kept.push('…');
        }
        Self(kept.into())
    }

    /// The same, without `secrets`: whoever was sent one may send it back.
    pub(super) fn without(text: &str, secrets: &[&str]) -> Self {
        let hide = |text: String, secret: &&str| match secret.is_empty() {
            true => text,
            false => text.replace(*secret, "[hidden]"),
        };
        // Cut before the search: a provider's answer is bounded, but long enough to make a search of it dear.
        let text: String = text.chars().take(DETAIL_CHARS_MAX * 16).collect();
        Self::of(&secrets.iter().fold(text, hide))
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o10_what_a_provider_says_is_short_and_on_one_line() {
        assert_eq!(Detail::of("a\r\nb\u{1b}[1m\u{202e}\"é").to_string(), "a\\r\\nb\\u{1b}[1m\\u{202e}\\\"é");
        let long = Detail::of(&"x".repeat(1 << 20)).to_string();
        assert_eq!(long.chars().count(), DETAIL_CHARS_MAX + 1);
        assert!(Detail::of(&"\n".repeat(1 << 20)).to_string().len() < 1000);
    }

    #[test]
    fn k1_what_was_sent_to_a_provider_is_not_logged_when_it_comes_back() {
        let detail = Detail::without("no code granite, secret 'window' (window)", &["granite", "window", ""]);
        assert_eq!(detail.to_string(), "no code [hidden], secret \\'[hidden]\\' ([hidden])");
    }
}
