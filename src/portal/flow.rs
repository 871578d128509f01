//! The log-in flow, driven: what somebody sent, carried out against store, verifier and sessions.
//!
//! The same for browsers and for native clients: this file knows neither HTML nor JSON. The server decides the
//! step. What was sent is taken for the step that is due, or not at all: then the step that is due is shown again.

use std::sync::Arc;

use super::login::LOGIN;
use super::outcome::{Message, Notice, Outcome, TROUBLE, Trouble};
use super::verifier::{Attempt, Shed, Verdict, VerifyFault};
use super::{Portal, Realm, Visit};
use crate::base::{FlowId, Hostname, LocalPath, SessionId, UserId, Username};
use crate::credential::{TotpCode, TotpSecret, accept};
use crate::directory::{SsoScope, SuiteMode, Tenant, methods};
use crate::login::{
    AfterPassword, Authenticator, AwaitAccount, AwaitCode, AwaitEnrolment, AwaitPassword, AwaitSlot, Binding,
    Claimant, Entry, Flow, Handover, Proven, Step,
};
use crate::machine::random;
use crate::session::{Class, Device, EndReason, Method, Session};
use crate::sso::Audience;
use crate::store::{Account, Linked};
use crate::table::{Begun, NewSession};
use crate::telemetry::{Actor, EventKind, SecurityEvent};
use crate::zone::Zone;

/// What somebody sent. No `Debug`: a password is among it.
#[derive(Clone, Copy, Default)]
pub(super) struct Sent<'a> {
    /// What was typed, or nothing where the form had no such field.
    pub(super) username: Option<&'a str>,
    /// The same.
    pub(super) password: Option<&'a str>,
    /// The same.
    pub(super) code: Option<&'a str>,
    /// The id of the session that shall make room.
    pub(super) session: Option<&'a str>,
    /// The person keeps their sessions and does not log in.
    pub(super) keep: bool,
    /// The person goes to the suite (R90).
    pub(super) suite: bool,
    /// The id of the account that the person means.
    pub(super) account: Option<&'a str>,
}

/// Who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    /// The request.
    pub(super) visit: &'a Visit,
    /// The host it came to.
    pub(super) host: &'a Hostname,
    /// The device, as its owner reads it in lists.
    pub(super) label: &'a str,
}

impl Asking<'_> {
    fn attempt(&self, class: Class) -> Attempt<'_> {
        Attempt {
            zone: self.host,
            class,
            address: self.visit.address,
            request: self.visit.request,
            now: self.visit.now,
        }
    }

    fn zone(&self) -> Option<&Arc<Zone>> {
        match &self.visit.realm {
            Realm::Zone(zone) => Some(zone),
            Realm::Universal => None,
        }
    }
}

impl Portal {
    /// A flow at its first step.
    pub(super) fn begin_flow(
        &self,
        asking: &Asking<'_>,
        binding: Binding,
        class: Class,
        return_to: Option<LocalPath>,
        entry: Entry,
    ) -> Result<Flow, Trouble> {
        let id = FlowId::from_bytes(random()?);
        Ok(Flow::begin(id, asking.host.clone(), binding, class, return_to, entry, asking.visit.now))
    }

    /// The sealed form of a flow.
    pub(super) fn seal(&self, flow: &Flow) -> Result<String, Trouble> {
        Ok(flow.seal(&self.flow_key, random()?)?)
    }

    /// Takes what was sent for the step that is due.
    pub(super) async fn advance(
        &self,
        flow: Flow,
        sent: Sent<'_>,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let (method, class) = (flow.step.method(), flow.class);
        let outcome = self.take(flow, sent, asking).await;
        self.metrics.login(outcome.as_ref().map_or(TROUBLE, Outcome::name), method, class);
        outcome
    }

    async fn take(&self, flow: Flow, sent: Sent<'_>, asking: &Asking<'_>) -> Result<Outcome, Trouble> {
        if let Some(session) = asking.visit.session.as_ref().filter(|session| session.flow == flow.id) {
            return self.over(&flow, session).await;
        }
        match flow.step.clone() {
            Step::Username => match sent.username {
                Some(text) => self.username_given(flow, text, sent.suite, asking).await,
                None => Ok(Outcome::Due(flow, None)),
            },
            Step::Password(step) => match sent.password {
                Some(text) if !text.is_empty() => self.password_given(flow, step, text, asking).await,
                Some(_) | None => Ok(Outcome::Due(flow, None)),
            },
            Step::Code(step) => match sent.code {
                Some(text) => self.code_given(flow, step, text, asking).await,
                None => Ok(Outcome::Due(flow, None)),
            },
            Step::Enrolment(step) => match sent.code {
                Some(text) => self.first_code_given(flow, step, text, asking).await,
                None => Ok(Outcome::Due(flow, None)),
            },
            Step::Enrolled(step) => match self.account_of(step.claimant(), Method::Local, asking).await? {
                Some(account) if self.is_first(&flow).await? => {
                    self.finish(flow, step.was_read(), &account, None, asking).await
                }
                Some(_) | None => Ok(Outcome::Restart(Notice::Expired, flow.wish())),
            },
            Step::Account(step) => match sent.account {
                Some(text) => self.account_chosen(flow, step, text, asking).await,
                None => Ok(Outcome::Due(flow, None)),
            },
            Step::Slot(step) => match sent {
                Sent { keep: true, .. } => self.sessions_kept(flow).await,
                Sent { session: Some(text), .. } => self.session_chosen(flow, step, text, asking).await,
                Sent { .. } => Ok(Outcome::Due(flow, None)),
            },
        }
    }

    /// The zone a name belongs to, by its domain alone: whether the account exists changes nothing (R17, E4).
    ///
    /// A domain that nobody has stays where it was typed; typed at the universal host it goes to some zone, always
    /// the same, as one that somebody has would.
    pub(super) async fn zone_of(
        &self,
        username: &Username,
        asking: &Asking<'_>,
    ) -> Result<Option<Arc<Zone>>, Trouble> {
        let tenant = self.store.tenant_by_domain(username.domain()).await?;
        if let Some(zone) = tenant.and_then(|tenant| self.settings.zones.zone(&tenant.zone).cloned()) {
            return Ok(Some(zone));
        }
        if let Some(zone) = asking.zone() {
            return Ok(Some(Arc::clone(zone)));
        }
        let tag = aws_lc_rs::hmac::sign(&self.guess_key, username.domain().as_bytes());
        let number = tag.as_ref().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let zones = self.settings.zones.zones();
        let at = number.checked_rem(zones.len() as u64).and_then(|at| usize::try_from(at).ok());
        Ok(at.and_then(|at| zones.get(at)).cloned())
    }

    /// `suite`: the person wants to go there.
    async fn username_given(
        &self,
        flow: Flow,
        text: &str,
        suite: bool,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let suite = suite && self.settings.suite.is_some();
        let Ok(username) = text.parse::<Username>() else {
            return Ok(Outcome::Due(flow, Some(Message::Username)));
        };
        match self.zone_of(&username, asking).await? {
            Some(zone) if zone.host != *asking.host => {
                let id = FlowId::from_bytes(random()?);
                let handover =
                    Handover::new(id, zone.host.clone(), username, asking.visit.address, asking.visit.now);
                let sealed = handover.seal(&self.handover_key, random()?)?;
                // Whoever chose the password page, or the suite, means it there as well.
                let with = match (suite, flow.entry) {
                    (true, _) | (false, Entry::Suite) => "&with=suite",
                    (false, Entry::Password) => "&with=password",
                    (false, Entry::Usual) => "",
                };
                let location = format!("{}{LOGIN}?handover={sealed}{with}", zone.origin);
                Ok(Outcome::Elsewhere(zone, location))
            }
            Some(_) if suite => Ok(Outcome::ToSuite(flow, username)),
            Some(_) => self.username_known(flow, username).await,
            // No zone is configured at all: there is nowhere to log in.
            None => Ok(Outcome::Due(flow, Some(Message::Username))),
        }
    }

    /// Where a name leads that was typed here, or elsewhere and carried here: to its provider, or to the password.
    pub(super) async fn username_known(&self, flow: Flow, username: Username) -> Result<Outcome, Trouble> {
        match flow.entry {
            Entry::Usual => {}
            Entry::Password => return Ok(password_of(flow, username)),
            Entry::Suite => return Ok(Outcome::ToSuite(flow, username)),
        }
        let tenant = self.store.tenant_by_domain(username.domain()).await?;
        let Some(tenant) = tenant.filter(|tenant| tenant.zone == flow.host) else {
            return Ok(password_of(flow, username));
        };
        if self.is_at_provider(&tenant, &username).await? {
            return Ok(Outcome::ToProvider(flow, Box::new(tenant), username));
        }
        // Every name of its domains is told so, whether anybody has it or not, and whether they are exempt or not (E4).
        Ok(match self.suite_mode(&tenant) {
            SuiteMode::Required => Outcome::SuiteRequired(flow, username),
            SuiteMode::Off | SuiteMode::Allowed => password_of(flow, username),
        })
    }

    /// Whether the tenant's own provider says who `username` is.
    ///
    /// Where everybody of a tenant uses its provider, every name of its domains leads there, whether anybody has it or
    /// not (E4, trap 37). Where some do, the marked ones lead there: that they are known cannot be hidden.
    async fn is_at_provider(&self, tenant: &Tenant, username: &Username) -> Result<bool, Trouble> {
        match tenant.sso {
            SsoScope::Off => Ok(false),
            SsoScope::All => Ok(true),
            SsoScope::Selected => {
                // Not the whole account: what is read of names that somebody has takes longer (trap 37).
                let owner = self.store.owner(username).await?;
                Ok(owner.is_some_and(|owner| owner.tenant == tenant.id && owner.at_provider))
            }
        }
    }

    async fn password_given(
        &self,
        flow: Flow,
        step: AwaitPassword,
        password: &str,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let now = asking.visit.now;
        let attempt = asking.attempt(flow.class);
        let account = match self.verifier.check_password(step.username(), password, &attempt).await {
            Err(VerifyFault::Shed(shed)) => return Ok(Outcome::Overloaded(flow, shed)),
            Err(fault) => return Err(fault.into()),
            Ok(Verdict::Wrong) => return Ok(Outcome::Due(flow, Some(Message::Credentials))),
            Ok(Verdict::Locked) => return Ok(Outcome::Due(flow, Some(Message::Locked))),
            Ok(Verdict::Right(account)) => account,
        };
        let claimant = Claimant::of(&account.user);
        let authenticator = match &account.totp {
            Some(_) => Authenticator::Enrolled,
            None => Authenticator::Missing {
                secret: TotpSecret::from_bytes(random()?),
                period: self.settings.security.with(&account.tenant.overrides).totp_period,
            },
        };
        match step.password_was_right(claimant, authenticator, now) {
            AfterPassword::Code(step) => Ok(Outcome::Due(flow.at(Step::Code(step)), None)),
            AfterPassword::Enrolment(step) => Ok(Outcome::Due(flow.at(Step::Enrolment(step)), None)),
            AfterPassword::Done(proven) => {
                self.store.clear(account.user.id).await?;
                self.finish(flow, proven, &account, None, asking).await
            }
        }
    }

    async fn code_given(
        &self,
        flow: Flow,
        step: AwaitCode,
        text: &str,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        // What cannot be a code is no guess and costs nothing (D5).
        let Ok(code) = text.parse::<TotpCode>() else { return Ok(Outcome::Due(flow, Some(Message::Code))) };
        let Some(account) = self.account_of(step.claimant(), Method::Local, asking).await? else {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        };
        match self.verifier.check_code(&account, &code, &asking.attempt(flow.class)).await {
            Err(VerifyFault::Shed(shed)) => Ok(Outcome::Overloaded(flow, shed)),
            Err(fault) => Err(fault.into()),
            Ok(Verdict::Wrong) => Ok(Outcome::Due(flow, Some(Message::Code))),
            Ok(Verdict::Locked) => Ok(Outcome::Due(flow, Some(Message::Locked))),
            Ok(Verdict::Right(())) => {
                self.finish(flow, step.code_was_accepted(asking.visit.now), &account, None, asking).await
            }
        }
    }

    /// A wrong code here costs no attempt: the secret it is held against was just shown to the one who types it.
    async fn first_code_given(
        &self,
        flow: Flow,
        step: AwaitEnrolment,
        text: &str,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let now = asking.visit.now;
        let code = text.parse::<TotpCode>().ok();
        let used = code.and_then(|code| accept(step.secret(), step.period(), &code, None, now));
        let Some(used) = used else { return Ok(Outcome::Due(flow, Some(Message::Code))) };
        let Some(account) = self.account_of(step.claimant(), Method::Local, asking).await? else {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        };
        let event = event(asking, flow.class, EventKind::SecondFactorEnrolled, &account);
        let (user, epoch) = (account.user.id, step.claimant().epoch);
        if !self.store.enrol_totp(user, epoch, step.secret(), step.period(), used, &event).await? {
            return match self.account_of(step.claimant(), Method::Local, asking).await? {
                Some(account) if account.locked_at.is_some() => Ok(Outcome::Due(flow, Some(Message::Locked))),
                Some(_) | None => Ok(Outcome::Restart(Notice::Expired, flow.wish())),
            };
        }
        Ok(Outcome::Due(flow.at(Step::Enrolled(step.authenticator_was_kept(now))), None))
    }

    /// Of several accounts that the suite's person has, one was chosen. Only what was offered can be.
    async fn account_chosen(
        &self,
        flow: Flow,
        step: AwaitAccount,
        text: &str,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let proven = text.parse::<UserId>().ok().and_then(|user| step.was_chosen(user));
        let Some(proven) = proven else { return Ok(Outcome::Due(flow.at(Step::Account(step)), None)) };
        let Some(account) = self.account_of(proven.claimant(), Method::Suite, asking).await? else {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        };
        if account.locked_at.is_some() {
            return Ok(Outcome::Due(flow.at(Step::Account(step)), Some(Message::Locked)));
        }
        if !self.is_first(&flow).await? {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        }
        if !self.link_to_suite(&account, &proven, flow.class, asking).await? {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        }
        self.finish(flow, proven, &account, None, asking).await
    }

    /// Makes the first log-in from the suite the one that counts: from here on the account is this subject's (D20, R6).
    /// `false`: it is another's.
    pub(super) async fn link_to_suite(
        &self,
        account: &Account,
        proven: &Proven,
        class: Class,
        asking: &Asking<'_>,
    ) -> Result<bool, Trouble> {
        let Some(proof) = proven.provider() else { return Ok(false) };
        let event = event(asking, class, EventKind::AccountLinked, account);
        let claimant = (account.user.id, proven.claimant().epoch);
        match self.store.link_claimant(account.tenant.id, proof, claimant, &event).await? {
            // Overtaken by a change of the account: no session begins either, and the person is told to begin again.
            Some(Linked::Yes) | None => Ok(true),
            Some(Linked::SubjectTaken | Linked::UserHasAnother | Linked::NotOfThisKind) => Ok(false),
        }
    }

    /// The flow ends here, so that its page ends no session later (trap 24).
    async fn sessions_kept(&self, flow: Flow) -> Result<Outcome, Trouble> {
        self.store.spend(flow.id, flow.deadline()).await?;
        Ok(Outcome::Restart(Notice::Kept, flow.wish()))
    }

    async fn session_chosen(
        &self,
        flow: Flow,
        step: AwaitSlot,
        text: &str,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let Some(account) = self.account_of(step.claimant(), step.method(), asking).await? else {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        };
        // Each choice is a commit, and leads to the next where it makes no room.
        if !self.forms.allows(&account.user.id) {
            return Ok(Outcome::Overloaded(flow.at(Step::Slot(step)), Shed::Account));
        }
        // Each choice is made once.
        if !self.is_first(&flow).await? {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        }
        // Only a live session of the same person and class makes room here; another id ends nothing (R83).
        let listed = self.slot_sessions(&step, flow.class, asking);
        let chosen = text.parse::<SessionId>().ok().filter(|id| listed.iter().any(|s| s.id == *id));
        self.finish(flow, step.choice_was_made(), &account, chosen, asking).await
    }

    /// Whether a page that asks for no proof is sent for the first time. Where all slots are held, its flow goes on under
    /// another id: Back would else begin a session of it after the log-out, for whoever sits there (SEC-R33, trap 24).
    async fn is_first(&self, flow: &Flow) -> Result<bool, Trouble> {
        Ok(self.store.spend(flow.id, flow.deadline()).await?)
    }

    /// The sessions that the limit page offers.
    pub(super) fn slot_sessions(&self, step: &AwaitSlot, class: Class, asking: &Asking<'_>) -> Vec<Arc<Session>> {
        let mut sessions = self.sessions.of_user(step.claimant().user, asking.visit.now);
        sessions.retain(|session| session.class == class);
        sessions
    }

    /// Everything is proved: begins the session, or asks which one makes room.
    pub(super) async fn finish(
        &self,
        flow: Flow,
        proven: Proven,
        account: &Account,
        chosen: Option<SessionId>,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Trouble> {
        let Some(zone) = asking.zone() else { return Ok(Outcome::Restart(Notice::Expired, flow.wish())) };
        if !self.still_asks(&proven, account).await? {
            return Ok(Outcome::Restart(Notice::Expired, flow.wish()));
        }
        let now = asking.visit.now;
        let before = asking.visit.session.as_ref();
        // The same browser's old session is replaced, not counted twice (R88), whoever's it was.
        let own = before.filter(|session| session.user == account.user.id);
        let mut leaving: Vec<_> = own.map(|session| (session.id, EndReason::Replaced)).into_iter().collect();
        let chosen = chosen.filter(|id| leaving.iter().all(|(own, _)| own != id));
        leaving.extend(chosen.map(|id| (id, EndReason::Displaced)));
        let security = self.settings.security.with(&account.tenant.overrides);
        let new = NewSession {
            proven: &proven,
            flow: flow.id,
            account,
            zone,
            class: flow.class,
            device: Device { label: asking.label.to_owned(), address: asking.visit.address.to_string() },
            slots: security.slots,
            lifetimes: security.lifetimes,
            leaving,
            endings_at_provider: super::sso::endings_at_provider(&proven, account.tenant.id),
            event: event(asking, flow.class, EventKind::LoginSucceeded, account),
        };
        match self.sessions.begin(new, now).await? {
            Begun::Session(session, token) => {
                if let Some(other) = before.filter(|session| session.user != account.user.id)
                    && let Err(fault) = self.replace_other(other, asking).await
                {
                    // The new session is committed and its token exists only here: the person must have it.
                    tracing::error!(%fault, session = %other.id, "a session was left open in this browser");
                }
                let target = target(&flow, account);
                Ok(Outcome::Begun(session, token, target))
            }
            // The commit, which asks this of every session that begins, was not reached; and somebody who has logged out is
            // shown no list of sessions.
            Begun::Full(_) if self.is_over_at_provider(&proven, account.tenant.id).await? => {
                Ok(Outcome::Restart(Notice::Expired, flow.wish()))
            }
            Begun::Full(_) => {
                let full = event(asking, flow.class, EventKind::SessionLimitReached, account);
                self.store.append_event(&full).await?;
                // An id of its own, because the last one may be spent. The proof's deadline stays what it was.
                let id = FlowId::from_bytes(random()?);
                let flow = Flow { id, started_at: now, ..flow };
                Ok(Outcome::Due(flow.at(Step::Slot(AwaitSlot::new(proven))), None))
            }
            Begun::FlowSpent | Begun::EpochStale => Ok(Outcome::Restart(Notice::Expired, flow.wish())),
        }
    }

    /// Whether the provider that said who it is is the one that is configured now. A choice may wait for ten minutes, and
    /// whoever takes a provider away, or names another one, may have a reason that does not (R93, O3).
    async fn still_asks(&self, proven: &Proven, account: &Account) -> Result<bool, Trouble> {
        let Some(proof) = proven.provider() else { return Ok(true) };
        let now = match proof.audience() {
            Audience::Tenant => {
                self.store.provider(account.tenant.id).await?.map(|provider| provider.settings.issuer)
            }
            Audience::Suite => self.settings.suite.as_ref().map(|suite| suite.settings.issuer.clone()),
        };
        Ok(now.as_ref() == Some(proof.issuer()))
    }

    /// Ends what somebody else left open in this browser.
    async fn replace_other(&self, other: &Session, asking: &Asking<'_>) -> Result<(), Trouble> {
        let ended = SecurityEvent {
            tenant: Some(other.terms.tenant),
            user: Some(other.user),
            session: Some(other.id),
            reason: Some(EndReason::Replaced.name()),
            ..asking.attempt(other.class).event(EventKind::SessionEnded, Actor::Stranger)
        };
        let ids = [other.id];
        Ok(self.sessions.end(other.user, &ids, EndReason::Replaced, &[ended], asking.visit.now).await?)
    }

    /// Where a flow that has ended in `session` leads.
    async fn over(&self, flow: &Flow, session: &Session) -> Result<Outcome, Trouble> {
        let account = self.store.account_by_id(session.user).await?;
        let target = account.map_or_else(LocalPath::home, |account| target(flow, &account));
        Ok(Outcome::Over(target))
    }

    /// The claimant's account, as long as nothing has changed that the flow rests on.
    async fn account_of(
        &self,
        claimant: &Claimant,
        method: Method,
        asking: &Asking<'_>,
    ) -> Result<Option<Account>, Trouble> {
        let account = self.store.account_by_id(claimant.user).await?;
        Ok(account.filter(|account| {
            account.user.active
                && account.user.flow_epoch == claimant.epoch
                && account.user.kind == claimant.kind
                && account.tenant.zone == *asking.host
                && method.is_of(methods(&account.tenant, &account.user))
        }))
    }
}

/// The password is what says who `username` is.
fn password_of(flow: Flow, username: Username) -> Outcome {
    Outcome::Due(flow.at(Step::Password(AwaitPassword::new(username))), None)
}

/// Where a log-in opens: where the person was going, else their start page, else the home page (R43).
fn target(flow: &Flow, account: &Account) -> LocalPath {
    flow.return_to.clone().or_else(|| account.user.start_page.clone()).unwrap_or_else(LocalPath::home)
}

/// An event that the person themselves caused, whose account it is.
fn event(asking: &Asking<'_>, class: Class, kind: EventKind, account: &Account) -> SecurityEvent {
    SecurityEvent {
        tenant: Some(account.tenant.id),
        user: Some(account.user.id),
        ..asking.attempt(class).event(kind, Actor::User)
    }
}
