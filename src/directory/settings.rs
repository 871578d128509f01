//! Security settings: the installation's defaults, and what a tenant sets differently.

use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use super::UserKind;
use crate::base::Ttl;

/// What holds for a tenant's users, resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecuritySettings {
    /// Failures in a row until the account is locked, over all ways in (R52, R53).
    pub attempts_max: NonZeroU8,
    /// What a new password must satisfy.
    pub password: PasswordRules,
    /// The step of a newly enrolled authenticator (R63, D31).
    pub totp_period: TotpPeriod,
    /// How many sessions a user may hold (R81, R82).
    pub slots: Slots,
    /// How long a session lives (R89).
    pub lifetimes: Lifetimes,
}

/// The installation's defaults, from the configuration. The same shape as what they resolve to.
pub type SecurityDefaults = SecuritySettings;

/// What a new password must satisfy (R44–R47, D10, D11).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PasswordRules {
    /// At least twelve characters, one special, two of upper case, lower case, digit (D11).
    pub strong: bool,
    /// The shortest password, in characters after NFC; `strong` may ask for more.
    pub length_min: u8,
    /// How many earlier passwords, the current one included, may not come back (R45).
    pub history: u8,
}

/// The shortest password of those who show nothing else, in characters (SEC-R1, DEV-6).
const SINGLE_FACTOR_LENGTH_MIN: u8 = 15;

impl PasswordRules {
    /// The rules for a kind of user: a password that is all they show must be longer.
    #[must_use]
    pub fn of_kind(self, kind: UserKind) -> Self {
        if kind.needs_second_factor() {
            return self;
        }
        Self { length_min: self.length_min.max(SINGLE_FACTOR_LENGTH_MIN), ..self }
    }
}

/// How many sessions of each class a user may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slots {
    /// Desktop and tablet (R81).
    pub web: NonZeroU8,
    /// Phone, phone app and Outlook together (R82, D15).
    pub mobile: NonZeroU8,
}

impl Default for Slots {
    fn default() -> Self {
        const { Self { web: NonZeroU8::new(3).unwrap(), mobile: NonZeroU8::new(1).unwrap() } }
    }
}

/// How long a session lives.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Lifetimes {
    /// Dead after this long without activity (R89).
    pub idle_max: Ttl,
    /// Dead this long after its start, whatever the activity (DEV-5).
    pub absolute_max: Ttl,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { idle_max: Ttl::seconds_const(8 * 3600), absolute_max: Ttl::seconds_const(24 * 3600) }
    }
}

/// The step of an authenticator app, in seconds (RFC 6238 `X`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum TotpPeriod {
    /// What every app assumes.
    #[default]
    Thirty,
    /// For slow typists (R63).
    Sixty,
}

impl TotpPeriod {
    /// Whole seconds.
    pub const fn seconds(self) -> u8 {
        match self {
            Self::Thirty => 30,
            Self::Sixty => 60,
        }
    }
}

impl From<TotpPeriod> for u8 {
    fn from(period: TotpPeriod) -> Self {
        period.seconds()
    }
}

impl TryFrom<u8> for TotpPeriod {
    type Error = &'static str;

    fn try_from(seconds: u8) -> Result<Self, Self::Error> {
        match seconds {
            30 => Ok(Self::Thirty),
            60 => Ok(Self::Sixty),
            _ => Err("an authenticator's step is 30 or 60 seconds"),
        }
    }
}

/// What a tenant sets differently; `None` follows the installation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityOverrides {
    /// See [`SecuritySettings::attempts_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<NonZeroU8>,
    /// See [`PasswordRules::strong`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_strong: Option<bool>,
    /// See [`SecuritySettings::totp_period`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totp_period_seconds: Option<TotpPeriod>,
    /// The idle limit in seconds; may only shorten the installation's (DEV-5: lower values win).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_max_seconds: Option<Ttl>,
}

impl SecuritySettings {
    /// What holds for a tenant with these overrides.
    #[must_use]
    pub fn with(mut self, overrides: &SecurityOverrides) -> Self {
        self.attempts_max = overrides.attempts_max.unwrap_or(self.attempts_max);
        self.password.strong = overrides.password_strong.unwrap_or(self.password.strong);
        self.totp_period = overrides.totp_period_seconds.unwrap_or(self.totp_period);
        if let Some(idle_max) = overrides.idle_max_seconds {
            self.lifetimes.idle_max = self.lifetimes.idle_max.min(idle_max);
        }
        self
    }
}

impl Default for SecuritySettings {
    fn default() -> Self {
        Self {
            attempts_max: const { NonZeroU8::new(7).unwrap() },
            password: PasswordRules { strong: false, length_min: 8, history: 5 },
            totp_period: TotpPeriod::Thirty,
            slots: Slots::default(),
            lifetimes: Lifetimes::default(),
        }
    }
}
