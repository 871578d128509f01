//! The steps of a flow, and what leads from one to the next.

use serde::{Deserialize, Serialize};

use crate::base::{Ttl, UnixTime, UserId, Username};
use crate::credential::TotpSecret;
use crate::directory::{TotpPeriod, User, UserKind};
use crate::session::{Factor, Method};
use crate::sso::{Audience, Proof};

/// How long a right password is worth anything without the second factor (P5).
pub const PASSWORD_STAGE_MAX: Ttl = Ttl::seconds_const(5 * 60);

/// How long everything that was proved waits for a choice between sessions, or for "Continue" (D16). It is not begun
/// again by asking again: whoever keeps the page open keeps no proof.
pub const PROOF_MAX: Ttl = Ttl::seconds_const(10 * 60);

/// What is due in a flow.
#[derive(Clone, Debug)]
pub enum Step {
    /// The username (P1).
    Username,
    /// The password (P2).
    Password(AwaitPassword),
    /// A code of the enrolled authenticator (P3).
    Code(AwaitCode),
    /// A first code of a new authenticator (P6).
    Enrolment(AwaitEnrolment),
    /// "Continue", after the authenticator was set up (M13).
    Enrolled(Enrolled),
    /// The choice between accounts, of a person of the suite who has several (D21).
    Account(AwaitAccount),
    /// The choice between sessions (P8).
    Slot(AwaitSlot),
}

impl Step {
    /// The name in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Password(_) => "password",
            Self::Code(_) => "code",
            Self::Enrolment(_) => "enrolment",
            Self::Enrolled(_) => "enrolled",
            Self::Account(_) => "account",
            Self::Slot(_) => "slot",
        }
    }

    /// Which of a user's ways in it is a step of.
    pub fn method(&self) -> Method {
        match self {
            Self::Username | Self::Password(_) | Self::Code(_) | Self::Enrolment(_) | Self::Enrolled(_) => {
                Method::Local
            }
            Self::Account(_) => Method::Suite,
            Self::Slot(step) => step.method(),
        }
    }

    /// When the step ends before its flow does.
    pub(super) fn deadline(&self) -> Option<UnixTime> {
        match self {
            Self::Code(step) => Some(step.password_at.plus(PASSWORD_STAGE_MAX)),
            Self::Enrolled(Enrolled(proven)) | Self::Slot(AwaitSlot(proven)) => {
                Some(proven.authenticated_at.plus(PROOF_MAX))
            }
            Self::Account(step) => Some(step.proved_at.plus(PROOF_MAX)),
            // Setting up an app takes people longer than reading a code; the flow's ten minutes hold.
            Self::Username | Self::Password(_) | Self::Enrolment(_) => None,
        }
    }
}

/// Somebody in the middle of a log-in: whose password was right, or whom a provider has named.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Claimant {
    /// Whose account.
    pub user: UserId,
    /// The username, for the pages.
    pub username: Username,
    /// The account's flow epoch at that moment: a later one ends the flow.
    pub epoch: u64,
    /// What must be proved depends on it.
    pub kind: UserKind,
}

impl Claimant {
    /// Who has that account, as it is now.
    pub fn of(user: &User) -> Self {
        Self { user: user.id, username: user.username.clone(), epoch: user.flow_epoch, kind: user.kind }
    }
}

/// Whether the claimant has an authenticator.
#[derive(Clone, Debug)]
pub enum Authenticator {
    /// One is enrolled.
    Enrolled,
    /// None is; this is what a new one would be set up with, drawn for this flow alone (R35).
    Missing {
        /// Not validated yet: authenticates nobody.
        secret: TotpSecret,
        /// The step of the tenant's new authenticators.
        period: TotpPeriod,
    },
}

/// A username was given; its password is due.
#[derive(Clone, Debug)]
pub struct AwaitPassword {
    username: Username,
}

/// What follows a right password.
#[derive(Clone, Debug)]
pub enum AfterPassword {
    /// A code.
    Code(AwaitCode),
    /// Setting up an authenticator (R32).
    Enrolment(AwaitEnrolment),
    /// Nothing: this kind of user needs no second factor and has none (R70).
    Done(Proven),
}

impl AwaitPassword {
    /// Nobody has proved anything.
    pub const fn new(username: Username) -> Self {
        Self { username }
    }

    /// Whose password is due.
    pub const fn username(&self) -> &Username {
        &self.username
    }

    /// The verifier found the password of `claimant` right.
    pub fn password_was_right(
        self,
        claimant: Claimant,
        authenticator: Authenticator,
        now: UnixTime,
    ) -> AfterPassword {
        match authenticator {
            Authenticator::Enrolled => AfterPassword::Code(AwaitCode { claimant, password_at: now }),
            Authenticator::Missing { secret, period } => {
                if claimant.kind.needs_second_factor() {
                    AfterPassword::Enrolment(AwaitEnrolment { claimant, secret, period })
                } else {
                    let factors = vec![Factor::Password];
                    AfterPassword::Done(Proven::locally(claimant, factors, now))
                }
            }
        }
    }
}

/// The password was right; a code is due. Gives nothing but the right to try one (SEC-R24).
#[derive(Clone, Debug)]
pub struct AwaitCode {
    claimant: Claimant,
    password_at: UnixTime,
}

impl AwaitCode {
    /// Whose code is due.
    pub const fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// The verifier found the code right, and its step was used up.
    pub fn code_was_accepted(self, now: UnixTime) -> Proven {
        let factors = vec![Factor::Password, Factor::Totp];
        Proven::locally(self.claimant, factors, now)
    }
}

/// The password was right and there is no authenticator: one must be set up. Its secret lives here, sealed, and
/// nowhere else until a code proves that the person's app has it (R33, R35).
#[derive(Clone, Debug)]
pub struct AwaitEnrolment {
    claimant: Claimant,
    secret: TotpSecret,
    period: TotpPeriod,
}

impl AwaitEnrolment {
    /// Whose authenticator.
    pub const fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// What the QR code shows.
    pub const fn secret(&self) -> &TotpSecret {
        &self.secret
    }

    /// The authenticator's step.
    pub const fn period(&self) -> TotpPeriod {
        self.period
    }

    /// A code of the new authenticator was right, and the store keeps it.
    pub fn authenticator_was_kept(self, now: UnixTime) -> Enrolled {
        let factors = vec![Factor::Password, Factor::Totp];
        Enrolled(Proven::locally(self.claimant, factors, now))
    }
}

/// The authenticator is set up and the person is told so (M13).
#[derive(Clone, Debug)]
pub struct Enrolled(Proven);

impl Enrolled {
    /// Whose authenticator.
    pub const fn claimant(&self) -> &Claimant {
        &self.0.claimant
    }

    /// The person clicked Continue (R34).
    pub fn was_read(self) -> Proven {
        self.0
    }
}

/// The suite said who somebody is, and that is several accounts here (D21). None of them is logged in yet.
#[derive(Clone, Debug)]
pub struct AwaitAccount {
    accounts: Vec<Claimant>,
    proof: Proof,
    proved_at: UnixTime,
}

impl AwaitAccount {
    /// `accounts`: those that are the person's, by what `proof` says.
    pub const fn new(accounts: Vec<Claimant>, proof: Proof, now: UnixTime) -> Self {
        Self { accounts, proof, proved_at: now }
    }

    /// What there is to choose from.
    pub fn accounts(&self) -> &[Claimant] {
        &self.accounts
    }

    /// The person chose. `None`: what they were not offered.
    pub fn was_chosen(&self, user: UserId) -> Option<Proven> {
        let chosen = self.accounts.iter().find(|account| account.user == user)?;
        Some(Proven::by_provider(chosen.clone(), self.proof.clone(), self.proved_at))
    }
}

/// Everything is proved, but all slots of the class are held (R81).
#[derive(Clone, Debug)]
pub struct AwaitSlot(Proven);

impl AwaitSlot {
    /// All slots were held when `proven` asked for one.
    pub const fn new(proven: Proven) -> Self {
        Self(proven)
    }

    /// How it was proved.
    pub fn method(&self) -> Method {
        self.0.method()
    }

    /// Whose sessions are to choose from.
    pub const fn claimant(&self) -> &Claimant {
        &self.0.claimant
    }

    /// The person chose which session makes room.
    pub fn choice_was_made(self) -> Proven {
        self.0
    }
}

/// Proof that somebody showed everything that their kind of user must show: here, out of a step, or at a provider, out of
/// its verified answer ([`Proven::by_provider`]). No session begins without one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Proven {
    claimant: Claimant,
    factors: Vec<Factor>,
    authenticated_at: UnixTime,
    provider: Option<Proof>,
}

impl Proven {
    fn locally(claimant: Claimant, factors: Vec<Factor>, now: UnixTime) -> Self {
        Self { claimant, factors, authenticated_at: now, provider: None }
    }

    /// A provider said who it is, in an answer that was asked for here: `claimant`, by the link between the two. What
    /// was shown there is the provider's to know (R69, R101).
    pub const fn by_provider(claimant: Claimant, proof: Proof, now: UnixTime) -> Self {
        Self { claimant, factors: Vec::new(), authenticated_at: now, provider: Some(proof) }
    }

    /// Which of a user's ways in this was.
    pub fn method(&self) -> Method {
        match self.provider.as_ref().map(Proof::audience) {
            None => Method::Local,
            Some(Audience::Tenant) => Method::Sso,
            Some(Audience::Suite) => Method::Suite,
        }
    }

    /// What a provider proved, where one did.
    pub const fn provider(&self) -> Option<&Proof> {
        self.provider.as_ref()
    }

    /// Who.
    pub const fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// With which factors.
    pub fn factors(&self) -> &[Factor] {
        &self.factors
    }

    /// When the last factor was shown, if that is known. A provider that has a session of its own answers without asking
    /// anybody, which shows nothing of who sits there now; one that does not say when it asked counts as never having done
    /// so (SEC-R36, SEC-R49).
    pub fn authenticated_at(&self) -> Option<UnixTime> {
        match &self.provider {
            None => Some(self.authenticated_at),
            Some(proof) => proof.shown_at().map(|shown_at| shown_at.min(self.authenticated_at)),
        }
    }
}

/// A step as it is sealed. A type of its own, so that [`Proven`] cannot be read out of just any text: only
/// [`Flow::open`](super::Flow::open) turns one of these into a step.
#[derive(Deserialize, Serialize)]
pub(super) enum SealedStep {
    Username,
    Password(Username),
    Code { claimant: Claimant, password_at: UnixTime },
    Enrolment { claimant: Claimant, secret: TotpSecret, period: TotpPeriod },
    Enrolled(SealedProven),
    Account { accounts: Vec<Claimant>, proof: Proof, proved_at: UnixTime },
    Slot(SealedProven),
}

#[derive(Deserialize, Serialize)]
pub(super) struct SealedProven {
    claimant: Claimant,
    factors: Vec<Factor>,
    authenticated_at: UnixTime,
    provider: Option<Proof>,
}

impl Step {
    pub(super) fn to_sealed(&self) -> SealedStep {
        let proven = |proven: &Proven| SealedProven {
            claimant: proven.claimant.clone(),
            factors: proven.factors.clone(),
            authenticated_at: proven.authenticated_at,
            provider: proven.provider.clone(),
        };
        match self {
            Self::Username => SealedStep::Username,
            Self::Password(step) => SealedStep::Password(step.username.clone()),
            Self::Code(step) => {
                SealedStep::Code { claimant: step.claimant.clone(), password_at: step.password_at }
            }
            Self::Enrolment(step) => SealedStep::Enrolment {
                claimant: step.claimant.clone(),
                secret: step.secret.clone(),
                period: step.period,
            },
            Self::Enrolled(step) => SealedStep::Enrolled(proven(&step.0)),
            Self::Account(step) => SealedStep::Account {
                accounts: step.accounts.clone(),
                proof: step.proof.clone(),
                proved_at: step.proved_at,
            },
            Self::Slot(step) => SealedStep::Slot(proven(&step.0)),
        }
    }

    pub(super) fn from_sealed(sealed: SealedStep) -> Self {
        let proven = |sealed: SealedProven| Proven {
            claimant: sealed.claimant,
            factors: sealed.factors,
            authenticated_at: sealed.authenticated_at,
            provider: sealed.provider,
        };
        match sealed {
            SealedStep::Username => Self::Username,
            SealedStep::Password(username) => Self::Password(AwaitPassword { username }),
            SealedStep::Code { claimant, password_at } => Self::Code(AwaitCode { claimant, password_at }),
            SealedStep::Enrolment { claimant, secret, period } => {
                Self::Enrolment(AwaitEnrolment { claimant, secret, period })
            }
            SealedStep::Enrolled(sealed) => Self::Enrolled(Enrolled(proven(sealed))),
            SealedStep::Account { accounts, proof, proved_at } => {
                Self::Account(AwaitAccount { accounts, proof, proved_at })
            }
            SealedStep::Slot(sealed) => Self::Slot(AwaitSlot(proven(sealed))),
        }
    }
}
