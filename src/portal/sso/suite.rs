//! Whose account the suite's word opens, and which company a tenant is to it.
//!
//! The suite speaks for people of many companies, so who somebody is there is not yet who they are here. They are of one
//! company, which must be the tenant's; their verified address must be the account's primary one; and once an account is
//! linked to them, only that counts (R92, D20, trap 9). All of it is looked at after the suite has proved the person: before,
//! it would tell strangers which accounts there are (trap 8).

use axum::http::{HeaderMap, StatusCode};

use super::super::answer::Answer;
use super::super::flow::Asking;
use super::super::outcome::Outcome;
use super::super::{Portal, Visit};
use super::callback::{Claims, about, flow_of, new_user};
use super::{Errand, Failed, Refused, Registration};
use crate::base::{FlowId, TenantId, Username};
use crate::directory::{Methods, SecurityLevel, SuiteAccess, SuiteCompany, SuiteMode, methods, must_use_suite};
use crate::login::{AwaitAccount, Claimant, Flow, Proven, Step};
use crate::machine::random;
use crate::pages::Refusal;
use crate::session::Class;
use crate::sso::{self, Audience, Issuer, Proof, Purpose, Suite, Transaction};
use crate::store::{Account, LinkRow, StoreFault, SuitePerson, SuiteSet};
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

/// A person of the suite, as far as it matters here.
struct Person<'a> {
    company: SuiteCompany,
    /// Verified.
    email: Option<&'a str>,
    /// That it is them.
    proof: Proof,
    /// Which slots their session takes.
    class: Class,
}

impl Portal {
    /// Where the suite's word leads: to a session, or to a choice between several accounts (D21).
    pub(super) async fn log_in_at_suite(
        &self,
        registration: &Registration,
        suite: &Suite,
        claims: &Claims<'_>,
        transaction: Transaction,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Failed> {
        let now = asking.visit.now;
        let company = suite.company(claims.token, claims.info).ok_or(mismatch("suite_company_missing"))?;
        let proof = Proof::of(claims.token, claims.text, &transaction, now)
            .with_modules(suite.modules_of(claims.token, claims.info));
        let email = sso::verified_email(claims.token, claims.info);
        let person = Person { company, email, proof, class: transaction.class };
        let accounts = match &transaction.username {
            Some(username) => vec![self.named(registration, username, &person, claims, asking).await?],
            None => self.unnamed(registration, &person, claims, asking).await?,
        };
        let (flow, proof) = (flow_of(transaction, now), person.proof);
        match accounts.as_slice() {
            [account] => {
                let proven = Proven::by_provider(Claimant::of(&account.user), proof, now);
                if !self.link_to_suite(account, &proven, flow.class, asking).await? {
                    return Err(mismatch("suite_linked_to_another").of(account).into());
                }
                Ok(self.finish(flow, proven, account, None, asking).await?)
            }
            several => {
                let claimants = several.iter().map(|account| Claimant::of(&account.user)).collect();
                // An id of its own, which the choice spends: the transaction's is spent already.
                let flow = Flow { id: FlowId::from_bytes(random()?), ..flow };
                Ok(Outcome::Due(flow.at(Step::Account(AwaitAccount::new(claimants, proof, now))), None))
            }
        }
    }

    /// The account of the username that was typed, if it is the person's.
    async fn named(
        &self,
        registration: &Registration,
        username: &Username,
        person: &Person<'_>,
        claims: &Claims<'_>,
        asking: &Asking<'_>,
    ) -> Result<Account, Failed> {
        let Some(account) = self.store.account(username).await? else {
            let created = self.entered(registration, Some(username), person, claims, asking).await?;
            return created.ok_or_else(|| mismatch("unknown_user").into());
        };
        let links = self.store.links_of(account.user.id).await?;
        let link = link_at(&links, person.proof.issuer());
        let anothers = match link {
            Some(link) if link.subject == *person.proof.subject() => None,
            Some(_) => Some("suite_linked_to_another"),
            None if same_address(account.user.email.as_deref(), person.email) => None,
            None => Some("suite_address"),
        };
        let usable = is_usable(&account, person, asking);
        match (anothers, link) {
            // Whose account it is not is told what they would be of a name that nobody has: neither that there is one nor
            // what is the matter with it (E6, trap 37). The log is told what is.
            (Some(anothers), _) => match usable {
                Err(Failed::Refused(refused)) => Err(mismatch(refused.reason).of(&account).into()),
                Err(trouble @ Failed::Trouble(_)) => Err(trouble),
                Ok(()) => Err(mismatch(anothers).of(&account).into()),
            },
            (None, Some(_)) => usable.map(|()| account),
            (None, None) => usable.and_then(|()| is_set_up(&account)).map(|()| account),
        }
    }

    /// The accounts in this zone that are the person's, whose name nobody typed: of all that could be, those that can be
    /// used, and if none can, why the first cannot (D21).
    async fn unnamed(
        &self,
        registration: &Registration,
        person: &Person<'_>,
        claims: &Claims<'_>,
        asking: &Asking<'_>,
    ) -> Result<Vec<Account>, Failed> {
        let sought = SuitePerson {
            zone: &registration.zone.host,
            company: &person.company,
            issuer: person.proof.issuer(),
            subject: person.proof.subject(),
            email: person.email,
        };
        let mut refused = None;
        let mut usable = Vec::new();
        for account in self.store.suite_accounts(sought).await? {
            let links = self.store.links_of(account.user.id).await?;
            let is_linked = link_at(&links, person.proof.issuer()).is_some();
            let checked = is_usable(&account, person, asking);
            match checked.and_then(|()| if is_linked { Ok(()) } else { is_set_up(&account) }) {
                Ok(()) => usable.push(account),
                Err(Failed::Refused(why)) => refused = refused.or(Some(why)),
                Err(trouble @ Failed::Trouble(_)) => return Err(trouble),
            }
        }
        if let (true, Some(refused)) = (usable.is_empty(), refused) {
            return Err(refused.into());
        }
        if usable.is_empty() {
            usable.extend(self.entered(registration, None, person, claims, asking).await?);
        }
        if usable.is_empty() { Err(mismatch("unknown_user").into()) } else { Ok(usable) }
    }

    /// The account that a person gets whom the directory does not know, where their company's tenant wants that: under
    /// their verified address, which must be one of the tenant's, and be what was `typed` if anything was. A name of
    /// their own choice would be one that they chose to pass for (D23).
    async fn entered(
        &self,
        registration: &Registration,
        typed: Option<&Username>,
        person: &Person<'_>,
        claims: &Claims<'_>,
        asking: &Asking<'_>,
    ) -> Result<Option<Account>, Failed> {
        let Some(username) = person.email.and_then(|email| email.parse::<Username>().ok()) else {
            return Ok(None);
        };
        if typed.is_some_and(|typed| *typed != username) {
            return Ok(None);
        }
        let tenant = self.store.tenant_by_domain(username.domain()).await?;
        let tenant = tenant.filter(|tenant| {
            let access = &tenant.suite;
            tenant.zone == registration.zone.host
                && access.mode != SuiteMode::Off
                && access.provisioning
                && access.company.as_ref() == Some(&person.company)
        });
        let Some(tenant) = tenant else { return Ok(None) };
        let event =
            |kind| SecurityEvent { tenant: Some(tenant.id), ..about(registration, asking, person.class, kind) };
        let created =
            SecurityEvent { detail: Some(Snippet::of(username.as_str())), ..event(EventKind::UserCreated) };
        let events = (&created, &event(EventKind::AccountLinked));
        match self.store.enter_from_suite(tenant.id, &new_user(&username, claims), &person.proof, events).await {
            // Taken: the same person, in another tab, a moment ago.
            Ok(()) | Err(StoreFault::Taken(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
        let Some(account) = self.store.account(&username).await? else { return Ok(None) };
        // Whoever has the name may be somebody who was there before: then it is not theirs by being asked for.
        let is_new = account.password.is_none() && account.totp.is_none();
        let is_theirs = is_new && same_address(account.user.email.as_deref(), person.email);
        is_usable(&account, person, asking)?;
        Ok(is_theirs.then_some(account))
    }

    /// Sends an administrator to the suite, to show which company their tenant is (V9).
    pub(in crate::portal) async fn to_suite_binding(
        &self,
        tenant: TenantId,
        visit: &Visit,
        headers: &HeaderMap,
    ) -> Answer {
        let Some(registration) = self.suite(visit) else {
            return self.refusal(visit, headers, StatusCode::NOT_FOUND);
        };
        let errand = Errand { purpose: Purpose::Bind, tenant: Some(tenant), anew: true, ..Errand::log_in(None) };
        self.to_provider(&registration, errand, visit, headers).await
    }

    /// Binds the tenant of the administrator who set out to the company that the suite says they are master of. Nothing
    /// else of the tenant's access changes: nobody gets in by this alone.
    pub(super) async fn bind_company(
        &self,
        suite: &Suite,
        claims: &Claims<'_>,
        transaction: &Transaction,
        asking: &Asking<'_>,
    ) -> Result<Bound, Failed> {
        let visit = asking.visit;
        let refused = |refusal, reason| Refused { refusal, ..Refused::because(reason) };
        let tenant = transaction.tenant.ok_or(refused(Refusal::Expired, "state_of_other_purpose"))?;
        let Some(session) = visit.session.as_ref().filter(|session| session.terms.tenant == tenant) else {
            return Err(refused(Refusal::Expired, "suite_binding_not_logged_in").into());
        };
        let refused = |refusal, reason| Refused { user: Some(session.user), ..refused(refusal, reason) };
        // As of now: somebody may have been made an ordinary user while they were away.
        let account = self.store.account_by_id(session.user).await?;
        let account = account.filter(|account| account.user.level == SecurityLevel::Admin && account.user.active);
        let Some(account) = account else {
            return Err(refused(Refusal::Expired, "suite_binding_not_admin").into());
        };
        let company = suite.company(claims.token, claims.info);
        let company = company.ok_or(refused(Refusal::NotMaster, "suite_company_missing"))?;
        if !suite.is_master(claims.token, claims.info) {
            return Err(refused(Refusal::NotMaster, "suite_not_master").into());
        }
        let bound_before = account.tenant.suite.company.as_ref();
        let bound = if bound_before.is_some_and(|before| *before != company) {
            Bound::InPlaceOfAnother
        } else {
            Bound::Anew
        };
        let before = &account.tenant.suite;
        let access = SuiteAccess { company: Some(company), ..before.clone() };
        let event = SecurityEvent {
            detail: Some(Snippet::of(&format!("by {}: {}", account.user.username, access.described()))),
            actor: Actor::Administrator,
            user: None,
            ..visit.event(session, EventKind::SuiteChanged)
        };
        match self.store.change_suite(tenant, (before, &access), &event).await? {
            SuiteSet::Yes => Ok(bound),
            SuiteSet::NoCompany | SuiteSet::Overtaken => {
                Err(refused(Refusal::Expired, "suite_changed_meanwhile").into())
            }
        }
    }
}

/// What was there before a company was bound.
pub(super) enum Bound {
    /// None, or the same one.
    Anew,
    /// Another one, whose people do not get in any more.
    InPlaceOfAnother,
}

/// Who the account of these links is at the suite, where somebody has linked it.
fn link_at<'a>(links: &'a [LinkRow], issuer: &Issuer) -> Option<&'a LinkRow> {
    links.iter().find(|link| link.audience == Audience::Suite && link.issuer == *issuer)
}

/// Whether the person may use that account at all: their company's, of a tenant and a kind that the suite lets in, and
/// neither locked nor switched off. Why not is for whoever's it is: they could see it for themselves.
fn is_usable(account: &Account, person: &Person<'_>, asking: &Asking<'_>) -> Result<(), Failed> {
    let access = &account.tenant.suite;
    let refused = match methods(&account.tenant, &account.user) {
        _ if account.tenant.zone != *asking.host => mismatch("other_zone"),
        _ if access.mode == SuiteMode::Off => Refused { refusal: Refusal::SuiteOff, ..mismatch("suite_off") },
        _ if access.company.as_ref() != Some(&person.company) => mismatch("suite_other_company"),
        _ if !account.user.active => mismatch("disabled"),
        Methods::Local | Methods::Sso | Methods::Api => {
            Refused { refusal: Refusal::KindWithoutSuite, ..mismatch("suite_not_for_this_user") }
        }
        Methods::LocalAndSuite if account.locked_at.is_some() => {
            Refused { refusal: Refusal::Locked, ..mismatch("suite_locked") }
        }
        Methods::LocalAndSuite => return Ok(()),
    };
    Err(refused.of(account).into())
}

/// Whether the account's own log-in is set up, second factor and all: before that nothing is linked to it (R28). Where
/// the suite is required, there is no own log-in that they could set up first.
fn is_set_up(account: &Account) -> Result<(), Failed> {
    match &account.totp {
        Some(_) => Ok(()),
        None if must_use_suite(&account.tenant, &account.user) => Ok(()),
        None => Err(Refused { refusal: Refusal::NotSetUp, ..mismatch("suite_before_set_up") }.of(account).into()),
    }
}

/// Whether both are there and are one address, but for the case of ASCII letters.
fn same_address(primary: Option<&str>, verified: Option<&str>) -> bool {
    primary.zip(verified).is_some_and(|(primary, verified)| primary.eq_ignore_ascii_case(verified))
}

/// The suite's account does not match (M12). Why, the log says.
fn mismatch(reason: &'static str) -> Refused {
    Refused { refusal: Refusal::Mismatch, ..Refused::because(reason) }
}
