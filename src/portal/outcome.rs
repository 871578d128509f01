//! What a step of a log-in comes to, and what metrics and texts call it.
//!
//! The same for browsers, native clients and providers' answers. An outcome that is added without a name here does not
//! compile, and one whose name is not in the list is no series of the metrics.

use std::sync::Arc;

use super::verifier::{Shed, VerifyFault};
use crate::base::{LocalPath, SealProblem, SessionToken, Username};
use crate::directory::Tenant;
use crate::login::{Flow, Step, Wish};
use crate::machine::EntropyFault;
use crate::session::Session;
use crate::store::StoreFault;
use crate::table::SessionFault;
use crate::zone::Zone;

/// What came of what somebody sent.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This step is due, and this was wrong.
    Due(Flow, Option<Message>),
    /// It was turned away; nothing was counted.
    Overloaded(Flow, Shed),
    /// The name belongs to another zone; the address carries it there, sealed.
    Elsewhere(Arc<Zone>, String),
    /// The name's tenant has an identity provider of its own, which says who it is (R38).
    ToProvider(Flow, Box<Tenant>, Username),
    /// The person goes to the suite, which says who they are (R90).
    ToSuite(Flow, Username),
    /// The name's tenant requires the suite of almost all (D22).
    SuiteRequired(Flow, Username),
    /// A session, its token, and where the person was going.
    Begun(Arc<Session>, SessionToken, LocalPath),
    /// This very flow has ended in the session that the visitor holds: a second click, or Back.
    Over(LocalPath),
    /// The flow is at its end without a session. The one that begins in its place leads where it was to lead.
    Restart(Notice, Wish),
}

/// The names that outcomes have in metrics, and the one of a fault.
pub(super) const OUTCOMES: [&str; 18] = [
    "session",
    "session_limit",
    "step",
    "account_choice",
    "bad_username",
    "bad_credentials",
    "bad_code",
    "locked",
    "shed",
    "other_zone",
    "to_provider",
    "to_suite",
    "suite_required",
    "over",
    "expired",
    "sessions_kept",
    NOT_CONFIRMED,
    TROUBLE,
];
/// A provider did not say what it takes (P14).
pub(super) const NOT_CONFIRMED: &str = "not_confirmed";
/// Our side failed.
pub(super) const TROUBLE: &str = "trouble";

impl Outcome {
    /// The name in metrics.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Due(Flow { step: Step::Slot(_), .. }, None) => "session_limit",
            Self::Due(Flow { step: Step::Account(_), .. }, None) => "account_choice",
            Self::Due(_, None) => "step",
            Self::Due(_, Some(Message::Username)) => "bad_username",
            Self::Due(_, Some(Message::Credentials)) => "bad_credentials",
            Self::Due(_, Some(Message::Locked)) => "locked",
            Self::Due(_, Some(Message::Code)) => "bad_code",
            Self::Overloaded(..) => "shed",
            Self::Elsewhere(..) => "other_zone",
            Self::ToProvider(..) => "to_provider",
            Self::ToSuite(..) => "to_suite",
            Self::SuiteRequired(..) => "suite_required",
            Self::Begun(..) => "session",
            Self::Over(_) => "over",
            Self::Restart(Notice::Expired, _) => "expired",
            Self::Restart(Notice::Kept, _) => "sessions_kept",
        }
    }
}

/// What was wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// Not username@domain.
    Username,
    /// Username or password wrong; which one, nobody is told.
    Credentials,
    /// No attempt is left.
    Locked,
    /// The code is wrong, used up, or no code.
    Code,
}

impl Message {
    /// The id of the text.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Username => "m1",
            Self::Credentials => "m2",
            Self::Locked => "m3",
            Self::Code => "m4",
        }
    }
}

/// Why a person begins again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Notice {
    /// Too old, used up, or overtaken by a change of the account. The person learns no more.
    Expired,
    /// They keep their sessions (M15).
    Kept,
}

impl Notice {
    /// The id of the text.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Expired => "notice.expired",
            Self::Kept => "m15.kept",
        }
    }
}

/// Our side failed. The client gets a status and a reference, the log the rest.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Verify(#[from] VerifyFault),
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Session(#[from] SessionFault),
    #[error(transparent)]
    Entropy(#[from] EntropyFault),
    #[error(transparent)]
    Seal(#[from] SealProblem),
}
