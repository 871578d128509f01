//! An ID token, and what the user info adds to it (OpenID Connect Core 1.0 sections 3.1.3.7 and 5.3).
//!
//! The stricter outcome in everything that the standard leaves open: one audience, one algorithm, young, and an answer to
//! this very log-in. What was asked for and does not come back counts as not given (SEC-R49).

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::json::Object;
use super::{KeySet, PUBLISHED_BYTES_MAX, ProviderSettings, SigningAlgorithm, Subject, TOKEN_BYTES_MAX, signed};
use crate::base::UnixTime;

/// How far a provider's clock may be from ours, in seconds.
pub(super) const LEEWAY: u64 = 60;
/// How old an ID token may be when it arrives, in seconds: it was made for us a moment ago.
const AGE_MAX: u64 = 10 * 60;
/// The longest id of a provider's session, in bytes.
const SID_BYTES_MAX: usize = 255;

/// Why a token, or what came with it, is not accepted. For the log: the person sees one neutral text (P14).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenProblem {
    /// Over the bound for its kind.
    #[error("is too long")]
    TooLong,
    /// Not three parts in base64url: no signed token, or an encrypted one.
    #[error("is no signed token")]
    NotSigned,
    /// The header is no JSON object, or has a member twice.
    #[error("has an unreadable header")]
    BadHeader,
    /// `alg` is not the pinned one: `none`, HMAC with what is public, another strength.
    #[error("is signed with another algorithm than the configured one")]
    WrongAlgorithm,
    /// `crit`, `b64` or others that would change its meaning.
    #[error("asks for an extension that is not understood")]
    Extension,
    /// `typ` says that it is another kind of token.
    #[error("is a token of another kind")]
    WrongType,
    /// Signed with a key that is not among those fetched. The one problem that new keys may solve.
    #[error("is signed with an unknown key")]
    UnknownKey,
    /// No `kid` and several keys, or several keys of that name.
    #[error("does not say with which of several keys it is signed")]
    AmbiguousKey,
    /// Made by somebody else, or changed.
    #[error("has a wrong signature")]
    BadSignature,
    /// The claims are no JSON object, or have a member twice.
    #[error("has unreadable claims")]
    BadClaims,
    /// A claim that has to be there.
    #[error("lacks the claim {0}")]
    Missing(&'static str),
    /// A claim of another type than the standard says, or out of bounds.
    #[error("has an unreadable {0}")]
    Malformed(&'static str),
    /// `iss` is another provider.
    #[error("is from another issuer")]
    WrongIssuer,
    /// `aud` is not exactly us.
    #[error("is meant for another audience, or for more than one")]
    WrongAudience,
    /// `azp` is another client.
    #[error("was issued to another client")]
    WrongParty,
    /// `exp` has passed.
    #[error("has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("is not valid yet")]
    NotYet,
    /// `iat` lies too far back.
    #[error("was issued too long ago")]
    Stale,
    /// Made for another log-in.
    #[error("belongs to another log-in")]
    WrongNonce,
    /// `at_hash` is of another access token.
    #[error("belongs to another access token")]
    WrongAccessToken,
    /// `acr` is none of those that were asked for, or is missing.
    #[error("shows no authentication context that was asked for")]
    WeakContext,
    /// `amr` lacks a method that was asked for.
    #[error("does not show a method that was asked for")]
    WeakMethods,
    /// `auth_time` lies further back than was asked for.
    #[error("shows an authentication that is too long ago")]
    OldAuthentication,
    /// The user info is somebody else's.
    #[error("is about somebody else")]
    WrongSubject,
    /// A log-out token with a `nonce`, which an ID token has.
    #[error("has a nonce, and so is no log-out token")]
    HasNonce,
    /// No `events`, or without the event of a log-out.
    #[error("tells of no log-out")]
    NoLogout,
    /// A log-out token with neither `sub` nor `sid`.
    #[error("names neither a person nor a session")]
    Nobody,
}

impl TokenProblem {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::NotSigned => "token_not_signed",
            Self::BadHeader => "token_bad_header",
            Self::WrongAlgorithm => "token_wrong_algorithm",
            Self::Extension => "token_extension",
            Self::WrongType => "token_wrong_type",
            Self::UnknownKey => "token_unknown_key",
            Self::AmbiguousKey => "token_ambiguous_key",
            Self::BadSignature => "token_bad_signature",
            Self::BadClaims => "token_bad_claims",
            Self::Missing(_) => "token_claim_missing",
            Self::Malformed(_) => "token_claim_malformed",
            Self::WrongIssuer => "token_wrong_issuer",
            Self::WrongAudience => "token_wrong_audience",
            Self::WrongParty => "token_wrong_party",
            Self::Expired => "token_expired",
            Self::NotYet => "token_not_yet",
            Self::Stale => "token_stale",
            Self::WrongNonce => "token_wrong_nonce",
            Self::WrongAccessToken => "token_wrong_access_token",
            Self::WeakContext => "token_weak_context",
            Self::WeakMethods => "token_weak_methods",
            Self::OldAuthentication => "token_old_authentication",
            Self::WrongSubject => "token_wrong_subject",
            Self::HasNonce => "token_has_nonce",
            Self::NoLogout => "token_no_logout",
            Self::Nobody => "token_nobody",
        }
    }
}

/// What an ID token must agree with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Whose provider is asked, and what is wanted of it.
    pub settings: &'a ProviderSettings,
    /// The log-in that it answers. `None` only where a token is refreshed (OpenID Connect Core 1.0 section 12.2).
    pub nonce: Option<&'a str>,
    /// What came with it, and what its `at_hash`, if it has one, must be of.
    pub access_token: Option<&'a str>,
    /// The time of the request.
    pub now: UnixTime,
}

/// An ID token that is signed by the provider, meant for us, young, and as strong as was asked for.
pub struct IdToken {
    subject: Subject,
    sid: Option<String>,
    auth_time: Option<UnixTime>,
    claims: Object,
}

impl IdToken {
    /// Verifies what a token endpoint returned.
    ///
    /// - Shape: compact JWS (RFC 7515 section 7.1), at most [`TOKEN_BYTES_MAX`].
    /// - Errors: only [`TokenProblem::UnknownKey`] may be answered by fetching the keys again.
    /// - Source: OpenID Connect Core 1.0 section 3.1.3.7; RFC 8725.
    pub fn verify(text: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Self, TokenProblem> {
        let Expected { settings, nonce, access_token, now } = *expected;
        let algorithm = settings.signing_algorithm;
        let claims = signed::verify(text, TOKEN_BYTES_MAX, &["jwt"], algorithm, keys)?;
        is_for_us(&claims, settings)?;
        is_current(&claims, now, AGE_MAX)?;
        required(claims.time("exp")?, "exp")?;
        if let Some(nonce) = nonce
            && !claims.text("nonce")?.is_some_and(|sent| same(sent, nonce))
        {
            return Err(TokenProblem::WrongNonce);
        }
        if let (Some(hash), Some(token)) = (claims.text("at_hash")?, access_token)
            && !same(hash, &access_token_hash(algorithm, token))
        {
            return Err(TokenProblem::WrongAccessToken);
        }
        let subject = required(claims.text("sub")?, "sub")?;
        let token = Self {
            subject: Subject::parse(subject).ok_or(TokenProblem::Malformed("sub"))?,
            sid: sid(&claims)?,
            auth_time: claims.time("auth_time")?,
            claims,
        };
        token.is_strong(settings, now)?;
        Ok(token)
    }

    /// Who it is, at this issuer.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The provider's session, for log-outs.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// When the person last showed the provider who they are.
    pub const fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// The methods that the person used (RFC 8176).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        let methods = self.claims.get("amr").and_then(Value::as_array);
        methods.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The authentication context that was reached.
    pub fn acr(&self) -> Option<&str> {
        self.claims.get("acr").and_then(Value::as_str)
    }

    /// Any claim.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Whether it shows what was asked for. What it does not say, it does not show.
    fn is_strong(&self, settings: &ProviderSettings, now: UnixTime) -> Result<(), TokenProblem> {
        let context = |acr: &str| settings.acr.iter().any(|wanted| wanted == acr);
        if !settings.acr.is_empty() && !self.acr().is_some_and(context) {
            return Err(TokenProblem::WeakContext);
        }
        if !settings.amr.iter().all(|wanted| self.amr().any(|method| method == wanted)) {
            return Err(TokenProblem::WeakMethods);
        }
        let Some(age_max) = settings.max_age else { return Ok(()) };
        let shown_at = required(self.auth_time, "auth_time")?;
        let is_recent = now.seconds_since(shown_at) <= u64::from(age_max.seconds()).saturating_add(LEEWAY);
        match is_recent && shown_at <= now.plus_seconds(LEEWAY) {
            true => Ok(()),
            false => Err(TokenProblem::OldAuthentication),
        }
    }
}

impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdToken(..)")
    }
}

/// `iss`, `aud`, `azp`: whose token it is, and for whom.
pub(super) fn is_for_us(claims: &Object, settings: &ProviderSettings) -> Result<(), TokenProblem> {
    if required(claims.text("iss")?, "iss")? != settings.issuer.as_str() {
        return Err(TokenProblem::WrongIssuer);
    }
    // A second audience could show the same token to us as if it were the person (Core 3.1.3.7, items 3 to 5).
    let audience = required(claims.get("aud"), "aud")?;
    let only = match audience.as_array().map(Vec::as_slice) {
        Some([only]) => only.as_str(),
        Some(_) => None,
        None => audience.as_str(),
    };
    if only != Some(settings.client_id.as_str()) {
        return Err(TokenProblem::WrongAudience);
    }
    match claims.text("azp")? {
        Some(party) if party != settings.client_id => Err(TokenProblem::WrongParty),
        Some(_) | None => Ok(()),
    }
}

/// `iat`, which must be there, `exp` and `nbf`: when it is valid. Nothing overflows: times saturate.
pub(super) fn is_current(claims: &Object, now: UnixTime, age_max: u64) -> Result<(), TokenProblem> {
    let issued_at = required(claims.time("iat")?, "iat")?;
    let from = claims.time("nbf")?.map_or(issued_at, |from| from.max(issued_at));
    if from > now.plus_seconds(LEEWAY) {
        return Err(TokenProblem::NotYet);
    }
    if claims.time("exp")?.is_some_and(|end| end.plus_seconds(LEEWAY) <= now) {
        return Err(TokenProblem::Expired);
    }
    match now.seconds_since(issued_at) <= age_max {
        true => Ok(()),
        false => Err(TokenProblem::Stale),
    }
}

pub(super) fn required<T>(claim: Option<T>, name: &'static str) -> Result<T, TokenProblem> {
    claim.ok_or(TokenProblem::Missing(name))
}

/// The id of the provider's session (OpenID Connect Back-Channel Logout 1.0 section 2.1).
pub(super) fn sid(claims: &Object) -> Result<Option<String>, TokenProblem> {
    let fits = |sid: &str| (1..=SID_BYTES_MAX).contains(&sid.len()) && !sid.contains(char::is_control);
    match claims.text("sid")? {
        Some(sid) if fits(sid) => Ok(Some(sid.to_owned())),
        Some(_) => Err(TokenProblem::Malformed("sid")),
        None => Ok(None),
    }
}

/// The left half of the access token's hash, by the hash of the ID token's algorithm (OpenID Connect Core 1.0 section
/// 3.1.3.6; for Ed25519, SHA-512).
fn access_token_hash(algorithm: SigningAlgorithm, token: &str) -> String {
    let hash = match algorithm {
        SigningAlgorithm::RS256 | SigningAlgorithm::PS256 | SigningAlgorithm::ES256 => &digest::SHA256,
        SigningAlgorithm::ES384 => &digest::SHA384,
        SigningAlgorithm::EdDSA => &digest::SHA512,
    };
    let whole = digest::digest(hash, token.as_bytes());
    let (left, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(left)
}

/// Compares without telling by the time where the two differ.
pub(super) fn same(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// What a provider's user info endpoint says about the person of an ID token.
pub struct UserInfo(Object);

impl UserInfo {
    /// Reads an answer that must be about `subject` (OpenID Connect Core 1.0 section 5.3.2): whoever can exchange one
    /// access token for another could else bring in somebody else's name.
    pub fn read(bytes: &[u8], subject: &Subject) -> Result<Self, TokenProblem> {
        if bytes.len() > PUBLISHED_BYTES_MAX {
            return Err(TokenProblem::TooLong);
        }
        let claims = Object::read(bytes).ok_or(TokenProblem::BadClaims)?;
        match required(claims.text("sub")?, "sub")? == subject.as_str() {
            true => Ok(Self(claims)),
            false => Err(TokenProblem::WrongSubject),
        }
    }

    /// Any claim.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(..)")
    }
}
