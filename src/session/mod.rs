//! Sessions: what one is, how long it lives, and how many a user may hold.

mod admission;
mod live;
#[cfg(test)]
pub(crate) mod samples;
mod shared;

pub use admission::{Admission, Held, admit};
pub use live::{AssertionCache, CachedAssertion, IdentityCache, IdentityHeaders, Liveness, Session};
pub use shared::{SharedPrincipal, Terms};

use serde::{Deserialize, Serialize};

use crate::base::{FlowId, Hostname, SessionId, TenantId, TokenDigest, Ttl, UnixTime, UserId};
use crate::directory::{Lifetimes, Methods, Tenant, User, UserKind};

/// What the store keeps of a session.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// The public name.
    pub id: SessionId,
    /// SHA-256 of the token in the browser's cookie.
    pub token: TokenDigest,
    /// The flow that ended in this session; no flow makes two (unique in the store).
    pub flow: FlowId,
    /// Whose it is.
    pub user: UserId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The zone it is valid in; useless elsewhere.
    pub zone: Hostname,
    /// The user's epoch at log-in; a later epoch kills the session.
    pub epoch: u64,
    /// Which slots it takes.
    pub class: Class,
    /// How it was proved.
    pub method: Method,
    /// With which factors.
    pub factors: Factors,
    /// When the factors were shown (OpenID Connect Core `auth_time`). `None`: at a provider, which does not say when.
    pub authenticated_at: Option<UnixTime>,
    /// When it began.
    pub started_at: UnixTime,
    /// The last activity that was written back; the live value may be later.
    pub last_seen: UnixTime,
    /// The limits that held at log-in.
    pub lifetimes: Lifetimes,
    /// What the person sees of it in lists.
    pub device: Device,
}

/// What a list of sessions shows, so that a person can tell them apart.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Device {
    /// `Firefox on Windows`, `LiveMobile`; derived from the user agent, for people, never for decisions.
    pub label: String,
    /// The address the log-in came from.
    pub address: String,
}

/// The person as a session carries it, copied from the directory when the session enters the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// `username@domain`.
    pub username: String,
    /// The primary e-mail address.
    pub email: Option<String>,
    /// The name people call the user by.
    pub display_name: String,
    /// Groups that the application is told of.
    pub groups: Vec<String>,
    /// The tenant's slug.
    pub tenant_slug: String,
    /// What sort of account it is.
    pub kind: UserKind,
}

impl Principal {
    /// The person of a directory record, as of now.
    pub fn of(user: &User, tenant: &Tenant) -> Self {
        Self {
            username: user.username.to_string(),
            email: user.email.clone(),
            display_name: user.display_name.clone(),
            groups: user.groups.clone(),
            tenant_slug: tenant.slug.clone(),
            kind: user.kind,
        }
    }
}

/// Which slots a session takes: three desktop or tablet, one mobile (R81, R82).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Desktop and tablet.
    Web,
    /// Phone, phone app, Outlook add-in (D14, D15).
    Mobile,
}

impl Class {
    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Web, Self::Mobile].into_iter().find(|class| class.name() == name)
    }

    /// The name in files, JSON and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Mobile => "mobile",
        }
    }
}

/// How a session was proved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Username, password, second factor.
    Local,
    /// The vendor's suite log-in.
    Suite,
    /// The tenant's own identity provider.
    Sso,
    /// API credentials.
    Api,
}

impl Method {
    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Local, Self::Suite, Self::Sso, Self::Api].into_iter().find(|method| method.name() == name)
    }

    /// Whether it is one of these ways in (R1).
    pub const fn is_of(self, methods: Methods) -> bool {
        match (self, methods) {
            (Self::Local, Methods::Local | Methods::LocalAndSuite)
            | (Self::Suite, Methods::LocalAndSuite)
            | (Self::Sso, Methods::Sso)
            | (Self::Api, Methods::Api) => true,
            (Self::Local | Self::Suite | Self::Sso | Self::Api, _) => false,
        }
    }

    /// The name in headers, the assertion and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Suite => "suite",
            Self::Sso => "sso",
            Self::Api => "api",
        }
    }
}

/// One thing a person proved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Something they know.
    Password,
    /// A time-based code of an authenticator app (RFC 6238).
    Totp,
    /// A PIN followed by a passcode (R64).
    PinOtp,
    /// A request accepted on a device (R65).
    Push,
}

impl Factor {
    /// Every factor.
    pub const ALL: [Self; 4] = [Self::Password, Self::Totp, Self::PinOtp, Self::Push];

    /// The method's value in `amr` (RFC 8176).
    pub const fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Totp | Self::PinOtp => "otp",
            Self::Push => "swk",
        }
    }
}

/// The factors that a session was proved with, each once, in the order in which they were shown.
///
/// Of the size of what it holds, where a list would be an allocation for each session.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<Factor>", into = "Vec<Factor>")]
pub struct Factors([Option<Factor>; Factor::ALL.len()]);

impl Factors {
    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Factor> {
        self.0.into_iter().flatten()
    }
}

impl FromIterator<Factor> for Factors {
    fn from_iter<I: IntoIterator<Item = Factor>>(shown: I) -> Self {
        let mut factors = Self::default();
        for factor in shown {
            // Each kind has room, so that there always is a place for one that is not there yet.
            let place = factors.0.iter_mut().find(|place| place.is_none_or(|there| there == factor));
            place.into_iter().for_each(|place| *place = Some(factor));
        }
        factors
    }
}

impl From<Vec<Factor>> for Factors {
    fn from(shown: Vec<Factor>) -> Self {
        shown.into_iter().collect()
    }
}

impl<const N: usize> From<[Factor; N]> for Factors {
    fn from(shown: [Factor; N]) -> Self {
        shown.into_iter().collect()
    }
}

impl From<Factors> for Vec<Factor> {
    fn from(factors: Factors) -> Self {
        factors.iter().collect()
    }
}

/// Why a session ended. The next request of its browser is told (R86, R89).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EndReason {
    /// The person logged out.
    LoggedOut = 1,
    /// No activity for the idle limit (R89).
    Idle = 2,
    /// The absolute limit was reached.
    Expired = 3,
    /// The person chose another device at the limit page (R83).
    Displaced = 4,
    /// The same browser logged in again (R88).
    Replaced = 5,
    /// The person, elsewhere, or an administrator ended it.
    Revoked = 6,
}

/// A session that has ended, as its browser is told of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// The idle limit that it had: its tenant's, where that is shorter than the installation's.
    pub idle_max: Ttl,
}

impl Ended {
    /// What the log-in page's address says of it, so that the page can: `reason=idle&after=28800`, in seconds.
    pub fn query(self) -> String {
        let Self { reason, idle_max } = self;
        match reason {
            EndReason::Idle => format!("reason={}&after={}", reason.name(), idle_max.seconds()),
            EndReason::LoggedOut
            | EndReason::Expired
            | EndReason::Displaced
            | EndReason::Replaced
            | EndReason::Revoked => format!("reason={}", reason.name()),
        }
    }
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::LoggedOut, Self::Idle, Self::Expired, Self::Displaced, Self::Replaced, Self::Revoked];

    /// The name in JSON, logs and the log-in page's `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Displaced => "displaced",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    fn from_repr(repr: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == repr)
    }
}

impl Lifetimes {
    /// Whether a session is alive at `now`; dead at its deadline, not one second after it.
    pub fn check(&self, started_at: UnixTime, last_seen: UnixTime, now: UnixTime) -> Liveness {
        if started_at.plus(self.absolute_max) <= now {
            Liveness::Ended(EndReason::Expired)
        } else if last_seen.plus(self.idle_max) <= now {
            Liveness::Ended(EndReason::Idle)
        } else {
            Liveness::Live
        }
    }
}

#[cfg(test)]
mod tests;
