//! What a provider has proved, as a log-in and then its session carry it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Audience, IdToken, Issuer, Subject, Transaction};
use crate::base::UnixTime;

/// The longest ID token that is kept for the log-out, in bytes: it travels through a page when all slots are held.
const HINT_BYTES_MAX: usize = 3072;

/// Which person at which provider, and in which of its sessions. Comes out of an ID token that was verified; read back
/// only from what we have sealed ourselves.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Proof {
    audience: Audience,
    issuer: Issuer,
    subject: Subject,
    sid: Option<String>,
    hint: Option<String>,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    shown_at: Option<UnixTime>,
    #[serde(default)]
    asked_at: UnixTime,
}

impl Proof {
    /// What `token`, whose text was `text` and which came at `now` for `transaction`, proves.
    pub fn of(token: &IdToken, text: &str, transaction: &Transaction, now: UnixTime) -> Self {
        Self {
            audience: transaction.audience,
            issuer: transaction.issuer.clone(),
            subject: token.subject().clone(),
            sid: token.sid().map(str::to_owned),
            hint: (text.len() <= HINT_BYTES_MAX).then(|| text.to_owned()),
            modules: Vec::new(),
            shown_at: transaction.shown_at(token.auth_time(), now),
            asked_at: transaction.started_at,
        }
    }

    /// The same of somebody who may open these modules of the suite.
    #[must_use]
    pub fn with_modules(self, modules: Vec<String>) -> Self {
        Self { modules, ..self }
    }

    /// Whose provider.
    pub const fn audience(&self) -> Audience {
        self.audience
    }

    /// Which provider.
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Who there.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The provider's session (OpenID Connect Front-Channel Logout 1.0 section 3).
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// When the person showed the provider who they are, as far as that is known.
    pub const fn shown_at(&self) -> Option<UnixTime> {
        self.shown_at
    }

    /// When the person was sent to the provider: it cannot have proved anything of this log-in before.
    pub const fn asked_at(&self) -> UnixTime {
        self.asked_at
    }

    /// The ids of the suite's modules that the person may open (R95).
    pub fn modules(&self) -> &[String] {
        &self.modules
    }

    /// The ID token, as `id_token_hint` when the person logs out there.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("audience", &self.audience).finish_non_exhaustive()
    }
}
