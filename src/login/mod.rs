//! The log-in flow: its steps as types, and the sealed form in which it travels through a browser.
//!
//! A step is left only by consuming it, together with what proves that it may be left; so what has not been
//! proved cannot be skipped, because there is no value to go on with. [`Proven`], the proof that everything a kind
//! of user must show was shown, comes out of a step, or is made of a [`Proof`](crate::sso::Proof), which comes out of a
//! provider's verified answer. There is no other way to one.
//!
//! A flow lives in the page (a hidden field), sealed, and in no memory of ours: tabs do not fight over it,
//! strangers cannot fill anything with it, and neither a restart nor another node matters. What that cannot give
//! is "once": a code's step, an attempt, a flow's end are conditional writes in the store.

mod handover;
mod sealed;
mod step;

pub use handover::{Handover, HandoverProblem};
pub use sealed::{FLOW_MAX, FlowProblem, Holder, Sender, Wish};
pub use step::{
    AfterPassword, Authenticator, AwaitAccount, AwaitCode, AwaitEnrolment, AwaitPassword, AwaitSlot, Claimant,
    Enrolled, PASSWORD_STAGE_MAX, PROOF_MAX, Proven, Step,
};

use serde::{Deserialize, Serialize};

use crate::base::{FlowId, Hostname, LocalPath, TokenDigest, UnixTime};
use crate::session::Class;

/// One log-in attempt of one browser tab, or of one native client.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Which one. No flow ends in two sessions.
    pub id: FlowId,
    /// The host it runs on: a zone, or the universal host.
    pub host: Hostname,
    /// Who may go on with it.
    pub binding: Binding,
    /// Which slots its session will take.
    pub class: Class,
    /// When it began.
    pub started_at: UnixTime,
    /// Where the person was going.
    pub return_to: Option<LocalPath>,
    /// Which way in the person asked for.
    pub entry: Entry,
    /// What is due.
    pub step: Step,
}

/// Which way in a person asked for, before anything was typed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The one that the username's tenant has.
    #[default]
    Usual,
    /// A password, whatever the tenant has: for the few of a tenant whom its identity provider does not know (D24, D25).
    /// It is asked of every name, so that it does not tell who they are (E4).
    Password,
    /// The suite, from the universal host on: the name is carried to its zone first.
    Suite,
}

impl Entry {
    /// How the address of the log-in page asks for it: `with=…`. For the usual one as well: without a word, a browser that
    /// has logged in at a provider is sent there (D26).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "username",
            Self::Password => "password",
            Self::Suite => "suite",
        }
    }
}

/// Who may go on with a flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Binding {
    /// The browser whose cookie has this digest (W2, O4).
    Browser(TokenDigest),
    /// A native client, by its configured id: whoever holds the flow. It has no cookies that another site could
    /// ride on.
    Native(String),
}

impl Flow {
    /// A flow at its first step.
    pub const fn begin(
        id: FlowId,
        host: Hostname,
        binding: Binding,
        class: Class,
        return_to: Option<LocalPath>,
        entry: Entry,
        now: UnixTime,
    ) -> Self {
        Self { id, host, binding, class, started_at: now, return_to, entry, step: Step::Username }
    }

    /// The same flow at another step.
    #[must_use]
    pub fn at(self, step: Step) -> Self {
        Self { step, ..self }
    }

    /// When it can no longer be gone on with: the flow's own end, or the step's if that comes first.
    pub fn deadline(&self) -> UnixTime {
        let flow = self.started_at.plus(FLOW_MAX);
        self.step.deadline().map_or(flow, |step| step.min(flow))
    }
}

#[cfg(test)]
mod tests;
