//! To the provider and back: the address that a browser is sent to, and the query that it comes back with.
//!
//! What comes back was written by the provider, the browser, or whoever made somebody follow a link. It is read strictly
//! (each parameter once, one answer), and nothing of it is shown or logged as it came (O10): an error becomes one of the
//! standard's names, and its description is not read.

use url::{Url, form_urlencoded};

use super::token::same;
use super::transaction::STATE_BYTES_MAX;
use super::{Metadata, ProviderSettings, Transaction};

/// The longest query that is read, in bytes.
const QUERY_BYTES_MAX: usize = 16 * 1024;
/// The longest code, in bytes.
const CODE_BYTES_MAX: usize = 4096;

/// A provider's answer, as the browser brought it.
#[derive(Clone)]
pub struct Callback {
    /// A sealed [`Transaction`], or somebody's attempt at one.
    pub state: String,
    /// Who says so (RFC 9207); to be held against the transaction by [`check_issuer`].
    pub iss: Option<String>,
    /// What it says.
    pub answer: Answer,
}

/// What a provider answers.
#[derive(Clone)]
pub enum Answer {
    /// Redeem this, once.
    Code(String),
    /// No.
    Error(AnswerError),
}

/// An error as the standards name it (RFC 6749 section 4.1.2.1, OpenID Connect Core 1.0 section 3.1.2.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnswerError {
    /// The person, or the provider for them, said no.
    AccessDenied,
    /// Somebody has to log in there first.
    LoginRequired,
    /// Something has to be done there first.
    InteractionRequired,
    /// Consent has to be given there first.
    ConsentRequired,
    /// An account has to be chosen there first.
    AccountSelectionRequired,
    /// Our request was wrong.
    InvalidRequest,
    /// We may not ask.
    UnauthorizedClient,
    /// We asked for the wrong kind of answer.
    UnsupportedResponseType,
    /// We asked for what we may not have.
    InvalidScope,
    /// It is broken.
    ServerError,
    /// It is busy.
    TemporarilyUnavailable,
    /// Something else.
    Other,
}

impl AnswerError {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AccessDenied,
        Self::LoginRequired,
        Self::InteractionRequired,
        Self::ConsentRequired,
        Self::AccountSelectionRequired,
        Self::InvalidRequest,
        Self::UnauthorizedClient,
        Self::UnsupportedResponseType,
        Self::InvalidScope,
        Self::ServerError,
        Self::TemporarilyUnavailable,
        Self::Other,
    ];

    /// The standard's name, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::InteractionRequired => "interaction_required",
            Self::ConsentRequired => "consent_required",
            Self::AccountSelectionRequired => "account_selection_required",
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::Other => "other",
        }
    }

    fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|error| error.name() == name).unwrap_or(Self::Other)
    }
}

/// Why a query is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CallbackProblem {
    /// Over the bound.
    #[error("the answer is too long")]
    TooLong,
    /// A parameter twice (RFC 6749 section 3.1).
    #[error("the answer has a parameter twice")]
    Repeated,
    /// No `state`: nobody here asked.
    #[error("the answer has no state")]
    NoState,
    /// Neither a code nor an error.
    #[error("the answer has neither a code nor an error")]
    NoAnswer,
    /// A code and an error.
    #[error("the answer has both a code and an error")]
    TwoAnswers,
    /// Characters that the standard does not allow (RFC 6749 appendix A).
    #[error("the answer is malformed")]
    Malformed,
    /// From another issuer than the one that was asked, or it does not say from whom though it always does (RFC 9207
    /// section 2.4).
    #[error("the answer is from another issuer")]
    WrongIssuer,
}

impl CallbackProblem {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "answer_too_long",
            Self::Repeated => "answer_repeated",
            Self::NoState => "answer_without_state",
            Self::NoAnswer => "answer_without_code",
            Self::TwoAnswers => "answer_twofold",
            Self::Malformed => "answer_malformed",
            Self::WrongIssuer => "answer_of_other_issuer",
        }
    }
}

impl Callback {
    /// Reads the query of a request to a callback, without its `?`. Unknown parameters are ignored (RFC 6749 section
    /// 4.1.2), known ones stand there once.
    pub fn read(query: &str) -> Result<Self, CallbackProblem> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(CallbackProblem::TooLong);
        }
        let [mut state, mut iss, mut code, mut error] = [const { None }; 4];
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut state,
                "iss" => &mut iss,
                "code" => &mut code,
                "error" => &mut error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(CallbackProblem::Repeated);
            }
        }
        let state = visible(state.ok_or(CallbackProblem::NoState)?, STATE_BYTES_MAX)?;
        let answer = match (code, error) {
            (Some(code), None) => Answer::Code(visible(code, CODE_BYTES_MAX)?),
            (None, Some(error)) => Answer::Error(AnswerError::from_name(&error)),
            (None, None) => return Err(CallbackProblem::NoAnswer),
            (Some(_), Some(_)) => return Err(CallbackProblem::TwoAnswers),
        };
        Ok(Self { state, iss, answer })
    }
}

/// A text of visible ASCII characters and spaces (VSCHAR, RFC 6749 appendix A).
fn visible(text: String, bytes_max: usize) -> Result<String, CallbackProblem> {
    if text.len() > bytes_max {
        return Err(CallbackProblem::TooLong);
    }
    match !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => Ok(text),
        false => Err(CallbackProblem::Malformed),
    }
}

/// Whether an answer is from whom the transaction asked, who is still the configured provider. To be called before its
/// code leaves for any token endpoint (O2).
pub fn check_issuer(
    callback: &Callback,
    transaction: &Transaction,
    metadata: &Metadata,
    settings: &ProviderSettings,
) -> Result<(), CallbackProblem> {
    let is_configured = transaction.issuer == settings.issuer && metadata.issuer == settings.issuer;
    let is_named = match &callback.iss {
        Some(iss) => same(iss, settings.issuer.as_str()),
        None => !metadata.iss_parameter,
    };
    match is_configured && is_named {
        true => Ok(()),
        false => Err(CallbackProblem::WrongIssuer),
    }
}

/// Where the browser is sent to log in (OpenID Connect Core 1.0 section 3.1.2.1, RFC 7636).
///
/// The challenge goes along whether the provider lists S256 or not (O4): one that does not know it ignores it.
pub fn authorization_url(
    metadata: &Metadata,
    settings: &ProviderSettings,
    redirect_uri: &str,
    sealed_state: &str,
    transaction: &Transaction,
    login_hint: Option<&str>,
) -> Url {
    let mut url = metadata.authorization_endpoint.clone();
    let scopes = settings.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
    let scope = std::iter::once("openid").chain(scopes).collect::<Vec<_>>().join(" ");
    let mut query = url.query_pairs_mut();
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", &scope)
        .append_pair("state", sealed_state)
        .append_pair("nonce", transaction.nonce.as_str())
        .append_pair("code_challenge", &transaction.verifier.challenge())
        .append_pair("code_challenge_method", "S256");
    match (transaction.anew, settings.max_age) {
        // With the time, which providers say when an age is asked for: it is held against the answer.
        (true, _) => drop(query.append_pair("prompt", "login").append_pair("max_age", "0")),
        (false, Some(age)) => drop(query.append_pair("max_age", &age.seconds().to_string())),
        (false, None) => {}
    }
    if !settings.acr.is_empty() {
        query.append_pair("acr_values", &settings.acr.join(" "));
    }
    if let Some(hint) = login_hint {
        query.append_pair("login_hint", hint);
    }
    drop(query);
    url
}
