//! Why a log-in at a provider comes to no session, with what is known of whose it was: a neutral page for people (P14), one
//! line in the security log (R121).

use axum::http::{HeaderMap, StatusCode};

use super::super::answer::{Answer, html};
use super::super::outcome::Trouble;
use super::super::verifier::Shed;
use super::super::{Portal, Visit, device};
use super::Errand;
use crate::base::{SealProblem, TenantId, UserId, Username};
use crate::idp::ProviderFault;
use crate::machine::EntropyFault;
use crate::pages::{FailedAtProvider, Page, ProviderErrorPage, Refusal};
use crate::session::Class;
use crate::sso::{Purpose, Transaction};
use crate::store::{Account, StoreFault};
use crate::table::SessionFault;
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

/// What is known of somebody who set out, whatever becomes of it.
#[derive(Clone)]
pub(super) struct SetOut {
    pub(super) purpose: Purpose,
    pub(super) class: Class,
    pub(super) tenant: Option<TenantId>,
    /// What they typed.
    pub(super) username: Option<Username>,
}

impl SetOut {
    /// For somebody who is about to, to a provider of that tenant's, or the suite.
    pub(super) fn with(errand: &Errand<'_>, tenant: Option<TenantId>, headers: &HeaderMap) -> Self {
        Self {
            purpose: errand.purpose,
            class: errand.class.unwrap_or_else(|| device::class(headers)),
            tenant: errand.tenant.or(tenant),
            username: errand.username.clone(),
        }
    }

    /// For somebody who has come back.
    pub(super) fn of(transaction: &Transaction) -> Self {
        Self {
            purpose: transaction.purpose,
            class: transaction.class,
            tenant: transaction.tenant,
            username: transaction.username.clone(),
        }
    }
}

/// Why somebody comes back from a provider, or does not get there, without a session. People are told one of a few
/// neutral texts; the log is told which.
#[derive(Debug)]
pub(super) struct Refused {
    /// Our own word for it.
    pub(super) reason: &'static str,
    /// What people are told.
    pub(super) refusal: Refusal,
    /// A stranger's words, made harmless.
    pub(super) detail: Option<Snippet>,
    /// What somebody set out for. Who tries a provider is told more than who logs in.
    pub(super) purpose: Purpose,
    /// Whose account it is about, as far as that is known: for the log (R121).
    pub(super) tenant: Option<TenantId>,
    /// The same.
    pub(super) user: Option<UserId>,
    /// Which slots the session would have taken, where that was sealed.
    pub(super) class: Option<Class>,
}

impl Refused {
    /// The provider did not confirm it (M19).
    pub(super) const fn because(reason: &'static str) -> Self {
        Self {
            reason,
            refusal: Refusal::NotConfirmed,
            detail: None,
            purpose: Purpose::LogIn,
            tenant: None,
            user: None,
            class: None,
        }
    }

    /// The same, of that account.
    pub(super) fn of(self, account: &Account) -> Self {
        Self { tenant: Some(account.tenant.id), user: Some(account.user.id), ..self }
    }
}

impl From<ProviderFault> for Refused {
    fn from(fault: ProviderFault) -> Self {
        let refusal = if fault.is_passing() { Refusal::Unreachable } else { Refusal::NotConfirmed };
        Self { refusal, detail: Some(Snippet::of(&fault.to_string())), ..Self::because(fault.name()) }
    }
}

/// Why a step towards a session was not made.
#[derive(Debug)]
pub(super) enum Failed {
    /// What came, from the provider or the browser, is not accepted.
    Refused(Refused),
    /// Our side failed.
    Trouble(Trouble),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<ProviderFault> for Failed {
    fn from(fault: ProviderFault) -> Self {
        Self::Refused(fault.into())
    }
}

macro_rules! troubles {
    ($($fault:ty),*) => {$(
        impl From<$fault> for Failed {
            fn from(fault: $fault) -> Self {
                Self::Trouble(fault.into())
            }
        }
    )*};
}
troubles!(Trouble, StoreFault, SessionFault, EntropyFault, SealProblem);

impl Portal {
    /// Why it failed, with what is known of whoever set out. A name that they typed is whose account it was about, unless
    /// the provider's answer has said more.
    pub(super) async fn of_who_set_out(&self, failed: Failed, set_out: &SetOut) -> Failed {
        let refused = match failed {
            Failed::Refused(refused) => refused,
            trouble @ Failed::Trouble(_) => return trouble,
        };
        let SetOut { purpose, class, tenant, ref username } = *set_out;
        let tenant = refused.tenant.or(tenant);
        let refused = Refused { purpose, class: Some(class), tenant, ..refused };
        let (None, Some(username)) = (refused.user, username) else { return refused.into() };
        match self.store.owner(username).await {
            Ok(Some(owner)) if tenant.is_none_or(|tenant| tenant == owner.tenant) => {
                Refused { tenant: Some(owner.tenant), user: Some(owner.user), ..refused }.into()
            }
            Ok(Some(_) | None) => refused.into(),
            Err(fault) => fault.into(),
        }
    }

    /// P14, and a line in the log.
    pub(super) async fn not_logged_in(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        refused: Refused,
        tenant: Option<TenantId>,
        again: Option<&str>,
    ) -> Answer {
        let event = SecurityEvent {
            request: Some(visit.request),
            zone: Some(self.host(visit)),
            tenant: refused.tenant.or(tenant),
            user: refused.user,
            class: Some(refused.class.unwrap_or_else(|| device::class(headers))),
            address: Some(visit.address),
            reason: Some(refused.reason),
            detail: refused.detail.clone(),
            ..SecurityEvent::new(EventKind::LoginFailed, Actor::Stranger, visit.now)
        };
        if let Err(fault) = self.strangers.note(event).await {
            return self.store_fault(visit, headers, &fault);
        }
        let page = ProviderErrorPage {
            refusal: refused.refusal,
            reference: &visit.request.to_string(),
            failed: match refused.purpose {
                Purpose::LogIn => FailedAtProvider::LogIn,
                Purpose::Bind => FailedAtProvider::Binding,
                Purpose::Test => FailedAtProvider::Trial {
                    reason: refused.reason,
                    detail: refused.detail.as_ref().map(Snippet::as_str),
                },
            },
            again,
        };
        // Not a word on who it is: whoever asks too often waits (D7).
        let status = match refused.refusal {
            Refusal::TooOften => Shed::Source.status(),
            Refusal::NotConfirmed
            | Refusal::Unreachable
            | Refusal::Expired
            | Refusal::NoAccount
            | Refusal::Mismatch
            | Refusal::SuiteOff
            | Refusal::KindWithoutSuite
            | Refusal::NotMaster
            | Refusal::NotSetUp
            | Refusal::Locked => StatusCode::FORBIDDEN,
        };
        html(status, page.html(&self.chrome(visit, headers)))
    }
}
