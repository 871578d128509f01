//! Security events: the append-only log of who did what to whom (R121, SEC-R87).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::{Hostname, RequestId, SessionId, TenantId, UnixTime, UserId};
use crate::session::Class;

/// The longest piece of a stranger's text that is logged, in characters.
const SNIPPET_CHARS_MAX: usize = 128;

/// One line of the security log.
#[derive(Clone, Debug, Serialize)]
pub struct SecurityEvent {
    /// When.
    pub at: UnixTime,
    /// What happened.
    pub kind: EventKind,
    /// Who did it.
    pub actor: Actor,
    /// The request it happened in.
    pub request: Option<RequestId>,
    /// In which zone.
    pub zone: Option<Hostname>,
    /// In which tenant.
    pub tenant: Option<TenantId>,
    /// To whose account.
    pub user: Option<UserId>,
    /// To which session.
    pub session: Option<SessionId>,
    /// With which sort of client.
    pub class: Option<Class>,
    /// From which address.
    pub address: Option<IpAddr>,
    /// The machine-readable reason, from our own vocabulary.
    pub reason: Option<&'static str>,
    /// What there is to say beyond that: an operator's input or a stranger's, made harmless.
    pub detail: Option<Snippet>,
}

impl SecurityEvent {
    /// An event with nothing but its kind, time and actor; fill in what is known.
    pub const fn new(kind: EventKind, actor: Actor, at: UnixTime) -> Self {
        Self {
            at,
            kind,
            actor,
            request: None,
            zone: None,
            tenant: None,
            user: None,
            session: None,
            class: None,
            address: None,
            reason: None,
            detail: None,
        }
    }
}

/// Who did it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Somebody who has proved nothing yet.
    Stranger,
    /// The user whose account it is.
    User,
    /// An administrator of the tenant.
    Administrator,
    /// The tenant's identity provider.
    Provider,
    /// An operator at the command line.
    Operator,
    /// The gateway itself.
    System,
}

impl Actor {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stranger => "stranger",
            Self::User => "user",
            Self::Administrator => "administrator",
            Self::Provider => "provider",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl EventKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in logs and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

event_kinds! {
    /// A log-in ended in a session.
    LoginSucceeded => "login_succeeded",
    /// A password or code was wrong, or the account could not log in this way.
    LoginFailed => "login_failed",
    /// The attempt budget is spent.
    AccountLocked => "account_locked",
    /// The attempt budget is full again.
    AccountUnlocked => "account_unlocked",
    /// A second factor was set up.
    SecondFactorEnrolled => "second_factor_enrolled",
    /// A second factor was removed; the next log-in sets one up.
    SecondFactorReset => "second_factor_reset",
    /// A password was set.
    PasswordSet => "password_set",
    /// A session ended before its time.
    SessionEnded => "session_ended",
    /// All slots were held when a log-in ended.
    SessionLimitReached => "session_limit_reached",
    /// A request with a forged, replayed or foreign flow, cookie or origin.
    RequestForged => "request_forged",
    /// A rule of the zone did not let a person through.
    AccessDenied => "access_denied",
    /// More log-ins than the hashing pool takes.
    LoginShed => "login_shed",
    /// A tenant was created or changed.
    TenantChanged => "tenant_changed",
    /// Who must log in at their tenant's provider was changed.
    SsoChanged => "sso_changed",
    /// What a tenant's users may do with the suite was changed, or for one of them.
    SuiteChanged => "suite_changed",
    /// A provider's settings or its secret were changed, or it was removed.
    ProviderChanged => "provider_changed",
    /// A log-in at a provider was tried, and everything came back as it should.
    ProviderTested => "provider_tested",
    /// An account was linked to somebody at a provider.
    AccountLinked => "account_linked",
    /// Such a link was removed; the sessions that it began ended.
    AccountUnlinked => "account_unlinked",
    /// A user was created.
    UserCreated => "user_created",
    /// A user was changed.
    UserChanged => "user_changed",
    /// A user was deactivated.
    UserDisabled => "user_disabled",
    /// A user was activated again.
    UserEnabled => "user_enabled",
    /// A zone is no longer served; its sessions ended.
    ZoneRemoved => "zone_removed",
    /// A signing key was made.
    KeyRotated => "key_rotated",
    /// The store was restored from a backup.
    StoreRestored => "store_restored",
}

/// Text that is safe to log: at most 128 characters, everything unprintable escaped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Snippet(String);

impl Snippet {
    /// Cuts and escapes.
    pub fn of(text: &str) -> Self {
        let mut out = String::new();
        for (count, c) in text.chars().enumerate() {
            if count == SNIPPET_CHARS_MAX {
                out.push('…');
                break;
            }
            if c.is_control() || !c.is_ascii() && !c.is_alphanumeric() {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        Self(out)
    }

    /// The harmless text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_a_strangers_text_is_cut_and_cannot_forge_a_line() {
        assert_eq!(Snippet::of("a\r\n{\"b\"}\u{1b}[31m").as_str(), "a\\u{d}\\u{a}{\"b\"}\\u{1b}[31m");
        assert!(Snippet::of(&"x".repeat(1 << 20)).as_str().chars().count() <= 129);
    }
}
