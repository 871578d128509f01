//! A log-out token: the provider's word that a session, or all of somebody's, is over (OpenID Connect Back-Channel
//! Logout 1.0).
//!
//! It comes from a stranger's socket and proves itself by its signature alone, so it is held to be of its own kind (no
//! `nonce`, the event, `typ` if there is one), meant for us, and young. That each is used once, the store sees to, for
//! as long as it could be accepted again ([`LogoutToken::acceptable_until`]).
//!
//! *How old?* Two minutes by `iat`: section 4 asks providers for an `exp` of at most that, and a delivery is tried at
//! once. *Is `exp` required?* Since the first errata it is, before it was not named at all, and providers of that time
//! are in use. `iat` bounds the same thing tighter, so `exp` is held where it is and not missed where it is not; to
//! refuse would be to leave a session open that was ended.

use std::fmt;

use serde_json::Value;

use super::token::{LEEWAY, is_current, is_for_us, required, sid};
use super::{KeySet, LOGOUT_TOKEN_BYTES_MAX, ProviderSettings, Subject, TokenProblem, signed};
use crate::base::UnixTime;

const AGE_MAX: u64 = 2 * 60;
/// The longest `jti`, in bytes: what the store keeps.
const ID_BYTES_MAX: usize = 255;
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A log-out that the provider signed, and that is meant for us.
pub struct LogoutToken {
    jti: String,
    issued_at: UnixTime,
    subject: Option<Subject>,
    sid: Option<String>,
}

impl LogoutToken {
    /// Verifies what was posted.
    ///
    /// - Shape: compact JWS, at most [`LOGOUT_TOKEN_BYTES_MAX`].
    /// - Errors: as [`super::IdToken::verify`].
    /// - Source: OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6.
    pub fn verify(
        text: &str,
        keys: &KeySet,
        settings: &ProviderSettings,
        now: UnixTime,
    ) -> Result<Self, TokenProblem> {
        let types = ["logout+jwt", "jwt"];
        let claims = signed::verify(text, LOGOUT_TOKEN_BYTES_MAX, &types, settings.signing_algorithm, keys)?;
        is_for_us(&claims, settings)?;
        is_current(&claims, now, AGE_MAX)?;
        // Present in whatever form: an ID token must not end a session, nor this be taken for one.
        if claims.has("nonce") {
            return Err(TokenProblem::HasNonce);
        }
        let event = claims.get("events").and_then(|events| events.as_object()?.get(EVENT));
        if !event.is_some_and(Value::is_object) {
            return Err(TokenProblem::NoLogout);
        }
        let jti = required(claims.text("jti")?, "jti")?;
        if !(1..=ID_BYTES_MAX).contains(&jti.len()) {
            return Err(TokenProblem::Malformed("jti"));
        }
        let subject = claims.text("sub")?.map(|sub| Subject::parse(sub).ok_or(TokenProblem::Malformed("sub")));
        let token = Self {
            jti: jti.to_owned(),
            issued_at: required(claims.time("iat")?, "iat")?,
            subject: subject.transpose()?,
            sid: sid(&claims)?,
        };
        match token.subject.is_some() || token.sid.is_some() {
            true => Ok(token),
            false => Err(TokenProblem::Nobody),
        }
    }

    /// Which token it is: to be used once per issuer.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// When it was made.
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// From when on it is refused for its age, and so its `jti` need not be remembered any more: with a minute for a clock
    /// that is set back.
    pub const fn acceptable_until(&self) -> UnixTime {
        self.issued_at.plus_seconds(AGE_MAX + LEEWAY)
    }

    /// Whose sessions end: all of them when no [`LogoutToken::sid`] is named.
    pub const fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// Which session ends.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }
}

impl fmt::Debug for LogoutToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogoutToken(..)")
    }
}
