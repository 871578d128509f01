//! A log-in on its way to a provider: everything about it, sealed, in the parameter `state`.
//!
//! Nothing of it is kept here, so strangers cannot fill anything, tabs do not fight over a cookie, and a restart in
//! between does not matter. The seal binds it to a host, a browser, a provider and ten minutes (SEC-R40, O3); that it is
//! used once is a conditional write in the store, by its id. A provider sees only that there is a text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

use super::{Audience, Issuer};
use crate::base::{
    FlowId, Hostname, LocalPath, SealKey, SealProblem, TenantId, TokenDigest, Ttl, UnixTime, Username,
};
use crate::session::Class;

/// How long somebody may take at their provider.
pub const TRANSACTION_MAX: Ttl = Ttl::seconds_const(10 * 60);

/// The longest sealed transaction that is looked at: the longest return path, issuer and username, with room.
pub(super) const STATE_BYTES_MAX: usize = 8192;
/// How far a provider's clock may be behind ours.
const CLOCK_SKEW_SECONDS: u64 = 60;
const CONTEXT: &[u8] = b"sso transaction";

/// What ties an ID token to this log-in: 32 random bytes in base64url.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Nonce(String);

impl Nonce {
    /// Wraps 32 bytes that the caller drew from a secure source.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What ties a code to us (RFC 7636): 32 random bytes in base64url, shown to the token endpoint only.
#[derive(Clone, Deserialize, Serialize, ZeroizeOnDrop)]
pub struct Verifier(String);

impl Verifier {
    /// Wraps 32 bytes that the caller drew from a secure source.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// For the one request that carries it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is shown before (S256).
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(TokenDigest::of(self.0.as_bytes()).as_bytes())
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// What the answer is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A session.
    LogIn,
    /// An administrator looks whether the settings are right (D25): no session comes of it.
    Test,
    /// An administrator shows which company of the suite their tenant is (V9): no session comes of it.
    Bind,
}

/// One log-in at a provider.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Transaction {
    /// What is spent in the store when its answer arrives.
    pub id: FlowId,
    /// Which kind of provider.
    pub audience: Audience,
    /// Whose people: always there for a tenant's own provider, and where a tenant is to be bound to a company.
    pub tenant: Option<TenantId>,
    /// The zone host where it began and where the answer must arrive.
    pub host: Hostname,
    /// Who was asked.
    pub issuer: Issuer,
    /// The browser that began it, by its cookie.
    #[serde(with = "digest_text")]
    pub browser: TokenDigest,
    /// Which slots its session will take.
    pub class: Class,
    /// Where the person was going.
    pub return_to: Option<LocalPath>,
    /// Who they said they are, if they did.
    pub username: Option<Username>,
    /// What the answer is for.
    pub purpose: Purpose,
    /// Whether the person must show the provider who they are now, and not have shown it before.
    #[serde(default)]
    pub anew: bool,
    /// Must come back in the ID token.
    pub nonce: Nonce,
    /// Must go with the code.
    pub verifier: Verifier,
    /// When it began.
    pub started_at: UnixTime,
}

/// Whose callback was asked: each tenant has one of its own, so that an answer cannot be carried from one provider to
/// another (RFC 9700 section 4.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallbackOf {
    /// This tenant's.
    Tenant(TenantId),
    /// The suite's.
    Suite,
}

/// Where an answer arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The host that was asked.
    pub host: &'a Hostname,
    /// The browser that asks, by its cookie.
    pub browser: TokenDigest,
    /// The address that was asked.
    pub callback: CallbackOf,
}

/// Why an answer's `state` is not accepted. For the log; the person sees one neutral text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransactionProblem {
    /// Nobody sealed this here: made up, cut, changed, or sealed under a key that is gone.
    #[error("the state is forged")]
    Forged,
    /// Sealed here, but on another host.
    #[error("the state belongs to another host")]
    OtherHost,
    /// Sealed here, but for another browser.
    #[error("the state belongs to another browser")]
    OtherBrowser,
    /// Sealed here, but for another tenant's provider.
    #[error("the state belongs to another provider")]
    OtherProvider,
    /// Too old. Harmless: start again.
    #[error("the state has expired")]
    Expired,
}

impl TransactionProblem {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forged => "state_forged",
            Self::OtherHost => "state_of_other_host",
            Self::OtherBrowser => "state_of_other_browser",
            Self::OtherProvider => "state_of_other_provider",
            Self::Expired => "state_expired",
        }
    }
}

impl Transaction {
    /// Seals it for `state`. `nonce` was drawn for this one sealing, and is not [`Transaction::nonce`].
    pub fn seal(&self, key: &SealKey, nonce: [u8; 12]) -> Result<String, SealProblem> {
        let plain = serde_json::to_vec(self).map_err(|_| SealProblem::NotSealed)?;
        Ok(URL_SAFE_NO_PAD.encode(key.seal(nonce, CONTEXT, &plain)?))
    }

    /// Opens the `state` of an answer. Whether it was used before, only the store knows.
    pub fn open(
        text: &str,
        key: &SealKey,
        arrival: &Arrival<'_>,
        now: UnixTime,
    ) -> Result<Self, TransactionProblem> {
        if text.len() > STATE_BYTES_MAX {
            return Err(TransactionProblem::Forged);
        }
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| TransactionProblem::Forged)?;
        let plain = key.open(CONTEXT, &sealed).map_err(|_| TransactionProblem::Forged)?;
        let transaction: Self = serde_json::from_slice(&plain).map_err(|_| TransactionProblem::Forged)?;
        if transaction.host != *arrival.host {
            return Err(TransactionProblem::OtherHost);
        }
        if !transaction.browser.matches(&arrival.browser) {
            return Err(TransactionProblem::OtherBrowser);
        }
        if !transaction.is_answered_at(arrival.callback) {
            return Err(TransactionProblem::OtherProvider);
        }
        // One from the future was sealed before the clock was set back: it would live too long.
        if transaction.started_at > now || transaction.deadline() <= now {
            return Err(TransactionProblem::Expired);
        }
        Ok(transaction)
    }

    /// When it can no longer be answered, and its id need not be remembered as spent.
    pub fn deadline(&self) -> UnixTime {
        self.started_at.plus(TRANSACTION_MAX)
    }

    /// Whether somebody who showed who they are at `auth_time` did what was asked. Some providers say no time, although it
    /// was asked for: they are believed to have asked, as they were told to (`prompt`, OpenID Connect Core 1.0 section
    /// 3.1.2.1).
    pub fn accepts(&self, auth_time: Option<UnixTime>) -> bool {
        let since = UnixTime::from_seconds(self.started_at.seconds().saturating_sub(CLOCK_SKEW_SECONDS));
        !self.anew || auth_time.is_none_or(|shown_at| shown_at >= since)
    }

    /// When the person showed the provider who they are: as it says (`auth_time`, OpenID Connect Core 1.0 section 2), or
    /// `now` where it was told to ask and does not say. Otherwise nobody knows: its own session may have answered.
    pub fn shown_at(&self, auth_time: Option<UnixTime>, now: UnixTime) -> Option<UnixTime> {
        auth_time.or(self.anew.then_some(now))
    }

    fn is_answered_at(&self, callback: CallbackOf) -> bool {
        match (self.audience, callback) {
            (Audience::Tenant, CallbackOf::Tenant(tenant)) => self.tenant == Some(tenant),
            (Audience::Suite, CallbackOf::Suite) => true,
            (Audience::Tenant, CallbackOf::Suite) | (Audience::Suite, CallbackOf::Tenant(_)) => false,
        }
    }
}

/// A digest in base64url: as long for every browser.
mod digest_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base::TokenDigest;

    pub(super) fn serialize<S: Serializer>(digest: &TokenDigest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(digest.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenDigest, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let bytes = bytes.try_into().map_err(|_| D::Error::custom("not 32 bytes"))?;
        Ok(TokenDigest::from_bytes(bytes))
    }
}
