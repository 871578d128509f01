//! What a provider's answer comes to: the callback, from the address to the session.
//!
//! The order matters. What can be refused without asking anybody is refused first, and the transaction is spent before
//! anything leaves: so of twenty answers with one `state` one is looked at (O3), and an answer of another provider
//! reaches no token endpoint (O2).

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};

use super::super::administration::ADMIN_SSO;
use super::super::answer::{Answer, html, see_other};
use super::super::flow::{Asking, Outcome};
use super::super::{Portal, Visit, cookies, device, login};
use super::{Company, Failed, Refused};
use crate::base::{BrowserToken, LocalPath, UnixTime, Username};
use crate::directory::{Methods, SecurityLevel, SsoScope, UserKind, methods};
use crate::idp::Client;
use crate::login::{Binding, Claimant, Entry, Flow, Proven};
use crate::pages::{Page, TrialPage};
use crate::sso::{
    self, Answer as ProviderAnswer, Arrival, Audience, Callback, CallbackOf, Expected, IdToken, Proof, Purpose,
    Transaction, TransactionProblem, UserInfo, check_issuer,
};
use crate::store::{Account, Linked, NewUser, StoreFault};
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

/// What came of it.
enum Come {
    /// The person is known: this is what the log-in's end has to say.
    Known(Box<Outcome>, BrowserToken),
    /// This answer has begun the session that the visitor holds: Back, or a second click.
    Over(LocalPath),
    /// A trial, and what it showed.
    Tried(Box<Tried>),
}

struct Tried {
    token: IdToken,
    info: Option<UserInfo>,
    counts: bool,
}

/// `GET /.zonegate/sso/{tenant}/callback` (OpenID Connect Core 1.0 section 3.1.2.5).
pub(super) async fn take(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    company: Company,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let label = device::label(&headers);
    let asking = Asking { visit: &visit, host: &company.zone.host, label: &label };
    match portal.come_back(&company, uri.query().unwrap_or_default(), &asking, &headers).await {
        Ok(Come::Known(outcome, browser)) => portal.known(&company, *outcome, asking, &headers, &browser).await,
        Ok(Come::Over(target)) => see_other(target.as_str()),
        Ok(Come::Tried(tried)) => portal.tried(&company, &tried, &visit, &headers),
        Err(Failed::Refused(refused)) => {
            let again = company.again(&visit);
            portal.not_logged_in(&visit, &headers, refused, Some(company.tenant.id), again.as_deref()).await
        }
        Err(Failed::Trouble(trouble)) => portal.trouble(&visit, &headers, &trouble),
    }
}

impl Portal {
    async fn come_back(
        &self,
        company: &Company,
        query: &str,
        asking: &Asking<'_>,
        headers: &HeaderMap,
    ) -> Result<Come, Failed> {
        let (visit, settings) = (asking.visit, &company.provider.settings);
        let callback = Callback::read(query).map_err(|problem| Refused::because(problem.name()))?;
        let browser = cookies::browser(headers).ok_or(Refused::because("no_browser_cookie"))?;
        let transaction = self.transaction(company, &callback, asking, &browser)?;
        if let Some(session) = visit.session.as_ref().filter(|session| session.flow == transaction.id) {
            let account = self.store.account_by_id(session.user).await?;
            return Ok(Come::Over(target(&transaction, account.as_ref())));
        }
        if !self.store.spend(transaction.id, transaction.deadline()).await? {
            return Err(expired("state_spent").into());
        }
        // Before the code goes anywhere: an answer of somebody else's provider must not reach this one's (RFC 9207).
        let metadata = self.providers.metadata(settings).await?;
        check_issuer(&callback, &transaction, &metadata, settings)
            .map_err(|problem| Refused::because(problem.name()))?;
        let code = match &callback.answer {
            ProviderAnswer::Code(code) => code,
            ProviderAnswer::Error(error) => return Err(Refused::because(error.name()).into()),
        };
        let signer = self.keys.signer();
        let client = Client { settings, secret: company.provider.secret.as_ref(), signer: Some(&signer) };
        let (verifier, redirect_uri) = (transaction.verifier.reveal(), company.redirect_uri());
        let tokens = self.providers.redeem(&client, code, verifier, &redirect_uri, visit.now).await?;
        let (nonce, access_token) = (transaction.nonce.as_str(), tokens.access_token.reveal());
        let expected = Expected { settings, nonce: Some(nonce), access_token: Some(access_token), now: visit.now };
        let token = self.providers.id_token(&tokens.id_token, &expected).await?;
        let info = self.providers.user_info(settings, &tokens.access_token, token.subject()).await?;
        match transaction.purpose {
            Purpose::Test => {
                let event = about(company, asking, EventKind::ProviderTested);
                let tested = self.store.provider_was_tested(company.tenant.id, settings, visit.now, &event);
                Ok(Come::Tried(Box::new(Tried { counts: tested.await?, token, info })))
            }
            Purpose::LogIn => {
                let account = self.person_of(company, &token, info.as_ref(), asking).await?;
                let proof = Proof::of(&token, &tokens.id_token, Audience::Tenant, settings.issuer.clone());
                let claimant = Claimant {
                    user: account.user.id,
                    username: account.user.username.clone(),
                    epoch: account.user.flow_epoch,
                    kind: account.user.kind,
                };
                let flow = flow_of(transaction, visit.now);
                let proven = Proven::by_provider(claimant, proof, visit.now);
                let outcome = self.finish(flow, proven, &account, None, asking).await?;
                Ok(Come::Known(Box::new(outcome), browser))
            }
        }
    }

    /// The transaction that the answer names, if it is this browser's, at this tenant, with the provider that the tenant
    /// has now.
    fn transaction(
        &self,
        company: &Company,
        callback: &Callback,
        asking: &Asking<'_>,
        browser: &BrowserToken,
    ) -> Result<Transaction, Refused> {
        let callback_of = CallbackOf::Tenant(company.tenant.id);
        let arrival = Arrival { host: asking.host, browser: browser.digest(), callback: callback_of };
        let opened = Transaction::open(&callback.state, &self.transaction_key, &arrival, asking.visit.now);
        let transaction = opened.map_err(|problem| match problem {
            TransactionProblem::Expired => expired(problem.name()),
            TransactionProblem::Forged
            | TransactionProblem::OtherHost
            | TransactionProblem::OtherBrowser
            | TransactionProblem::OtherProvider => Refused::because(problem.name()),
        })?;
        if transaction.issuer != company.provider.settings.issuer {
            return Err(expired("provider_changed"));
        }
        Ok(transaction)
    }

    /// Whose account it is: by the link between the two. Where everybody of the tenant logs in at the provider, the
    /// first log-in makes the link, by the claim that carries the username; from then on the subject counts and the
    /// claim moves nothing (SEC-R44, O11).
    async fn person_of(
        &self,
        company: &Company,
        token: &IdToken,
        info: Option<&UserInfo>,
        asking: &Asking<'_>,
    ) -> Result<Account, Failed> {
        let issuer = &company.provider.settings.issuer;
        let account = match self.store.linked(company.tenant.id, issuer, token.subject()).await? {
            Some(account) => account,
            None if company.tenant.sso == SsoScope::All => self.linked_now(company, token, info, asking).await?,
            None => return Err(no_account("unknown_subject").into()),
        };
        match () {
            () if !account.user.active => Err(no_account("disabled").into()),
            () if methods(&account.tenant, &account.user) != Methods::Sso => Err(no_account("not_sso").into()),
            () => Ok(account),
        }
    }

    async fn linked_now(
        &self,
        company: &Company,
        token: &IdToken,
        info: Option<&UserInfo>,
        asking: &Asking<'_>,
    ) -> Result<Account, Failed> {
        let (tenant, settings) = (&company.tenant, &company.provider.settings);
        let username = sso::username(settings, token, info)
            .map_err(|problem| Refused { text: "m19.account", ..Refused::because(problem.name()) })?;
        // One tenant's provider says nothing of another tenant's people, whatever it claims.
        if !tenant.domains.iter().any(|domain| domain.as_str() == username.domain()) {
            return Err(no_account("foreign_username").into());
        }
        let account = match self.store.account(&username).await? {
            Some(account) => account,
            None if settings.provisioning => self.provision(company, username, token, info, asking).await?,
            None => return Err(no_account("unknown_user").into()),
        };
        let allowed = methods(&account.tenant, &account.user) == Methods::Sso;
        if account.tenant.id != tenant.id || !account.user.active || !allowed {
            return Err(no_account("not_sso").into());
        }
        let event =
            SecurityEvent { user: Some(account.user.id), ..about(company, asking, EventKind::AccountLinked) };
        let (issuer, subject) = (&settings.issuer, token.subject());
        match self.store.link(tenant.id, issuer, subject, account.user.id, Audience::Tenant, &event).await? {
            Linked::Yes => Ok(account),
            // A username that was given to somebody else at the provider is not theirs here.
            Linked::SubjectTaken | Linked::UserHasAnother => Err(no_account("linked_to_another").into()),
        }
    }

    /// Enters a person into the directory whom the provider knows and it does not: at the lowest level, with no password
    /// and no mail (R22).
    async fn provision(
        &self,
        company: &Company,
        username: Username,
        token: &IdToken,
        info: Option<&UserInfo>,
        asking: &Asking<'_>,
    ) -> Result<Account, Failed> {
        let display_name = sso::display_name(token, info).unwrap_or(username.as_str()).to_owned();
        let new = NewUser {
            email: sso::verified_email(token, info).map(str::to_owned),
            display_name,
            kind: UserKind::Regular,
            level: SecurityLevel::User,
            groups: Vec::new(),
            active: true,
            start_page: None,
            username,
        };
        let event = SecurityEvent {
            detail: Some(Snippet::of(new.username.as_str())),
            ..about(company, asking, EventKind::UserCreated)
        };
        match self.store.create_user(company.tenant.id, &new, &event).await {
            // Taken: the same person, in another tab, a moment ago.
            Ok(_) | Err(StoreFault::Taken(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
        self.store.account(&new.username).await?.ok_or_else(|| no_account("unknown_user").into())
    }

    /// The end of the log-in, as a browser is told of it; and the browser remembers which provider it was (D26).
    async fn known(
        &self,
        company: &Company,
        outcome: Outcome,
        asking: Asking<'_>,
        headers: &HeaderMap,
        browser: &BrowserToken,
    ) -> Answer {
        let begun = matches!(outcome, Outcome::Begun(..));
        match login::end(self, outcome, asking, headers, browser).await {
            Ok(mut answer) => {
                if begun {
                    answer.headers_mut().append(header::SET_COOKIE, cookies::set_tenant(&company.tenant.slug));
                }
                answer
            }
            Err(trouble) => self.trouble(asking.visit, headers, &trouble),
        }
    }

    fn tried(&self, company: &Company, tried: &Tried, visit: &Visit, headers: &HeaderMap) -> Answer {
        let settings = &company.provider.settings;
        let username = sso::username(settings, &tried.token, tried.info.as_ref()).ok();
        let page = TrialPage {
            company: &company.tenant.name,
            issuer: settings.issuer.as_str(),
            subject: tried.token.subject().as_str(),
            username: username.as_ref().map(Username::as_str),
            counts: tried.counts,
            back: visit.session.as_ref().map(|_| ADMIN_SSO),
        };
        html(StatusCode::OK, page.html(&self.chrome(visit, headers)))
    }
}

/// Nothing is wrong with it but that its time is over.
const fn expired(reason: &'static str) -> Refused {
    Refused { reason, text: "m19.expired", detail: None }
}

/// No account for this identity, and no word on why (R102).
const fn no_account(reason: &'static str) -> Refused {
    Refused { reason, text: "m19.account", detail: None }
}

fn about(company: &Company, asking: &Asking<'_>, kind: EventKind) -> SecurityEvent {
    let visit = asking.visit;
    SecurityEvent {
        request: Some(visit.request),
        zone: Some(company.zone.host.clone()),
        tenant: Some(company.tenant.id),
        address: Some(visit.address),
        ..SecurityEvent::new(kind, Actor::Stranger, visit.now)
    }
}

/// The flow that goes on after the provider's word: a choice between sessions may be left of it.
fn flow_of(transaction: Transaction, now: UnixTime) -> Flow {
    let binding = Binding::Browser(transaction.browser);
    let Transaction { id, host, class, return_to, .. } = transaction;
    Flow::begin(id, host, binding, class, return_to, Entry::Usual, now)
}

fn target(transaction: &Transaction, account: Option<&Account>) -> LocalPath {
    let start = || account.and_then(|account| account.user.start_page.clone());
    transaction.return_to.clone().or_else(start).unwrap_or_else(LocalPath::home)
}
