//! What a provider's answer comes to: the callback, from the address to the session.
//!
//! The order matters. What can be refused without asking anybody is refused first, and the transaction is spent before
//! anything leaves: so of twenty answers with one `state` one is looked at (O3), and an answer of another provider
//! reaches no token endpoint (O2).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};

use super::super::administration::{ADMIN_SSO, ADMIN_SUITE};
use super::super::answer::{Answer, done, html, see_other};
use super::super::flow::Asking;
use super::super::outcome::{NOT_CONFIRMED, Outcome};
use super::super::{Portal, Visit, cookies, device, login};
use super::suite::Bound;
use super::{Failed, OpenIdProvider, Refused, Registration, SetOut};
use crate::base::{BrowserToken, LocalPath, TenantId, UnixTime, Username};
use crate::directory::{Methods, SecurityLevel, SsoScope, Tenant, UserKind, methods};
use crate::idp::{Client, ProviderFault, Step};
use crate::login::{Binding, Claimant, Entry, Flow, Proven};
use crate::pages::{Page, Refusal, TrialPage};
use crate::session::Class;
use crate::sso::{
    self, Answer as ProviderAnswer, Arrival, Audience, Callback, CallbackOf, Expected, IdToken, Proof, Purpose,
    Transaction, TransactionProblem, UserInfo, check_issuer,
};
use crate::store::{Account, Linked, NewUser, StoreFault};
use crate::telemetry::{Actor, EventKind, SecurityEvent, Snippet};

/// What came of it.
enum Come {
    /// The person is known: this is what the log-in's end has to say, of a session of that class.
    Known(Box<Outcome>, BrowserToken, Class),
    /// This answer has begun the session that the visitor holds: Back, or a second click.
    Over(LocalPath),
    /// A trial, and what it showed.
    Tried(Box<Tried>),
    /// The administrator's tenant is bound to a company of the suite.
    Bound(Bound),
}

struct Tried {
    token: IdToken,
    info: Option<UserInfo>,
    counts: bool,
}

/// How long all exchanges of one answer may take together. An upgrade waits for them (`edge::handover`), and a provider that
/// answers each as late as it may must not keep it from happening.
const EXCHANGES_MAX: Duration = Duration::from_secs(20);

/// What a provider has said, verified.
struct Said {
    token: IdToken,
    info: Option<UserInfo>,
    /// The ID token as it came.
    text: String,
}

/// The same of a person.
pub(super) struct Claims<'a> {
    pub(super) token: &'a IdToken,
    pub(super) info: Option<&'a UserInfo>,
    /// The ID token as it came.
    pub(super) text: &'a str,
}

/// `GET …/callback` (OpenID Connect Core 1.0 section 3.1.2.5).
pub(super) async fn take(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    registration: Registration,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let label = device::label(&headers);
    let asking = Asking { visit: &visit, host: &registration.zone.host, label: &label };
    match portal.come_back(&registration, uri.query().unwrap_or_default(), &asking, &headers).await {
        Ok(Come::Known(outcome, browser, class)) => {
            portal.metrics.login(outcome.name(), registration.method(), class);
            let end = login::end(&portal, *outcome, asking, &headers, &browser).await;
            end.unwrap_or_else(|trouble| portal.trouble(&visit, &headers, &trouble))
        }
        Ok(Come::Over(target)) => see_other(target.as_str()),
        Ok(Come::Tried(tried)) => portal.tried(&registration, &tried, &visit, &headers),
        Ok(Come::Bound(Bound::Anew)) => done(ADMIN_SUITE, "bound"),
        Ok(Come::Bound(Bound::InPlaceOfAnother)) => done(ADMIN_SUITE, "rebound"),
        Err(Failed::Refused(refused)) => {
            if refused.purpose == Purpose::LogIn {
                let class = refused.class.unwrap_or_else(|| device::class(&headers));
                portal.metrics.login(NOT_CONFIRMED, registration.method(), class);
            }
            let again = portal.again(&registration, &refused, &visit, &headers);
            portal.not_logged_in(&visit, &headers, refused, registration.tenant_id(), again.as_deref()).await
        }
        Err(Failed::Trouble(trouble)) => portal.trouble(&visit, &headers, &trouble),
    }
}

impl Portal {
    async fn come_back(
        &self,
        registration: &Registration,
        query: &str,
        asking: &Asking<'_>,
        headers: &HeaderMap,
    ) -> Result<Come, Failed> {
        let visit = asking.visit;
        let callback = Callback::read(query).map_err(|problem| Refused::because(problem.name()))?;
        let browser = cookies::browser(headers).ok_or(Refused::because("no_browser_cookie"))?;
        let transaction = self.transaction(registration, &callback, asking, &browser)?;
        if let Some(session) = visit.session.as_ref().filter(|session| session.flow == transaction.id) {
            let account = self.store.account_by_id(session.user).await?;
            return Ok(Come::Over(target(&transaction, account.as_ref())));
        }
        let set_out = SetOut::of(&transaction);
        match self.taken(registration, &callback, transaction, browser, asking).await {
            Ok(come) => Ok(come),
            Err(failed) => Err(self.of_who_set_out(failed, &set_out).await),
        }
    }

    /// What the answer to a transaction comes to, if it is the first one.
    async fn taken(
        &self,
        registration: &Registration,
        callback: &Callback,
        transaction: Transaction,
        browser: BrowserToken,
        asking: &Asking<'_>,
    ) -> Result<Come, Failed> {
        if !self.verifier.takes(asking.visit.address) {
            return Err(Refused { refusal: Refusal::TooOften, ..Refused::because("source_limit") }.into());
        }
        if !self.store.spend(transaction.id, transaction.deadline()).await? {
            return Err(expired("state_spent").into());
        }
        self.answered(registration, callback, transaction, browser, asking).await
    }

    /// What the answer to a transaction that nobody else has spent comes to.
    async fn answered(
        &self,
        registration: &Registration,
        callback: &Callback,
        transaction: Transaction,
        browser: BrowserToken,
        asking: &Asking<'_>,
    ) -> Result<Come, Failed> {
        let (visit, settings) = (asking.visit, registration.settings());
        let asked = self.ask(registration, callback, &transaction, visit.now);
        let too_slow = |_| ProviderFault::Slow { step: Step::Tokens };
        let Said { token, info, text } = tokio::time::timeout(EXCHANGES_MAX, asked).await.map_err(too_slow)??;
        let claims = Claims { token: &token, info: info.as_ref(), text: &text };
        match (transaction.purpose, &registration.provider) {
            (Purpose::LogIn, peer) => {
                let class = transaction.class;
                let outcome = match peer {
                    OpenIdProvider::Tenant(tenant, _) => {
                        self.log_in_at_tenant(registration, tenant, &claims, transaction, asking).await?
                    }
                    OpenIdProvider::Suite(suite) => {
                        self.log_in_at_suite(registration, suite, &claims, transaction, asking).await?
                    }
                };
                Ok(Come::Known(Box::new(outcome), browser, class))
            }
            (Purpose::Test, OpenIdProvider::Tenant(tenant, _)) => {
                let event = about(registration, asking, transaction.class, EventKind::ProviderTested);
                let tested = self.store.provider_was_tested(tenant.id, settings, visit.now, &event);
                Ok(Come::Tried(Box::new(Tried { counts: tested.await?, token, info })))
            }
            (Purpose::Bind, OpenIdProvider::Suite(suite)) => {
                Ok(Come::Bound(self.bind_company(suite, &claims, &transaction, asking).await?))
            }
            // Nobody seals such a transaction here.
            (Purpose::Test, OpenIdProvider::Suite(_)) | (Purpose::Bind, OpenIdProvider::Tenant(..)) => {
                Err(Refused::because("state_of_other_purpose").into())
            }
        }
    }

    /// Asks the provider who it is, and verifies what it says.
    async fn ask(
        &self,
        registration: &Registration,
        callback: &Callback,
        transaction: &Transaction,
        now: UnixTime,
    ) -> Result<Said, Failed> {
        let settings = registration.settings();
        // Before the code goes anywhere: an answer of somebody else's provider must not reach this one's (RFC 9207).
        let metadata = self.providers.metadata(settings).await?;
        check_issuer(callback, transaction, &metadata, settings)
            .map_err(|problem| Refused::because(problem.name()))?;
        let code = match &callback.answer {
            ProviderAnswer::Code(code) => code,
            ProviderAnswer::Error(error) => return Err(Refused::because(error.name()).into()),
        };
        let signer = self.keys.signer();
        let client = Client { settings, secret: registration.secret(), signer: Some(&signer) };
        let (verifier, redirect_uri) = (transaction.verifier.reveal(), registration.redirect_uri());
        let tokens = self.providers.redeem(&client, code, verifier, &redirect_uri, now).await?;
        let (nonce, access_token) = (transaction.nonce.as_str(), tokens.access_token.reveal());
        let expected = Expected { settings, nonce: Some(nonce), access_token: Some(access_token), now };
        let token = self.providers.id_token(&tokens.id_token, &expected).await?;
        if !transaction.accepts(token.auth_time()) {
            return Err(Refused::because("login_not_anew").into());
        }
        let info = self.providers.user_info(settings, &tokens.access_token, token.subject()).await?;
        Ok(Said { token, info, text: tokens.id_token })
    }

    async fn log_in_at_tenant(
        &self,
        registration: &Registration,
        tenant: &Tenant,
        claims: &Claims<'_>,
        transaction: Transaction,
        asking: &Asking<'_>,
    ) -> Result<Outcome, Failed> {
        let account = self.person_of(registration, tenant, claims, transaction.class, asking).await?;
        let proof = Proof::of(claims.token, claims.text, &transaction, asking.visit.now);
        let proven = Proven::by_provider(Claimant::of(&account.user), proof, asking.visit.now);
        Ok(self.finish(flow_of(transaction, asking.visit.now), proven, &account, None, asking).await?)
    }

    /// The transaction that the answer names, if it is this browser's, at this provider as it is configured now.
    fn transaction(
        &self,
        registration: &Registration,
        callback: &Callback,
        asking: &Asking<'_>,
        browser: &BrowserToken,
    ) -> Result<Transaction, Refused> {
        let callback_of = registration.tenant_id().map_or(CallbackOf::Suite, CallbackOf::Tenant);
        let arrival = Arrival { host: asking.host, browser: browser.digest(), callback: callback_of };
        let opened = Transaction::open(&callback.state, &self.transaction_key, &arrival, asking.visit.now);
        let transaction = opened.map_err(|problem| match problem {
            TransactionProblem::Expired => expired(problem.name()),
            TransactionProblem::Forged
            | TransactionProblem::OtherHost
            | TransactionProblem::OtherBrowser
            | TransactionProblem::OtherProvider => Refused::because(problem.name()),
        })?;
        if transaction.issuer != registration.settings().issuer {
            return Err(expired("provider_changed"));
        }
        Ok(transaction)
    }

    /// Whose account it is: by the link between the two. Where everybody of the tenant logs in at the provider, the
    /// first log-in makes the link, by the claim that carries the username; from then on the subject counts and the
    /// claim moves nothing (SEC-R44, O11).
    async fn person_of(
        &self,
        registration: &Registration,
        tenant: &Tenant,
        claims: &Claims<'_>,
        class: Class,
        asking: &Asking<'_>,
    ) -> Result<Account, Failed> {
        let issuer = &registration.settings().issuer;
        let linked = self.store.linked(tenant.id, issuer, claims.token.subject()).await?;
        let account = match linked {
            Some(account) => account,
            None if tenant.sso == SsoScope::All => {
                self.linked_now(registration, tenant, claims, class, asking).await?
            }
            None => return Err(no_account("unknown_subject").into()),
        };
        let refused = |reason| no_account(reason).of(&account).into();
        match () {
            () if !account.user.active => Err(refused("disabled")),
            () if methods(&account.tenant, &account.user) != Methods::Sso => Err(refused("not_sso")),
            () => Ok(account),
        }
    }

    async fn linked_now(
        &self,
        registration: &Registration,
        tenant: &Tenant,
        claims: &Claims<'_>,
        class: Class,
        asking: &Asking<'_>,
    ) -> Result<Account, Failed> {
        let settings = registration.settings();
        let username =
            sso::username(settings, claims.token, claims.info).map_err(|problem| no_account(problem.name()))?;
        // One tenant's provider says nothing of another tenant's people, whatever it claims.
        if !tenant.domains.iter().any(|domain| domain.as_str() == username.domain()) {
            return Err(no_account("foreign_username").into());
        }
        let account = match self.store.account(&username).await? {
            Some(account) => account,
            None if settings.provisioning => {
                let event = about(registration, asking, class, EventKind::UserCreated);
                let created = self.provision(tenant.id, &username, claims, event).await?;
                created.ok_or_else(|| no_account("unknown_user"))?
            }
            None => return Err(no_account("unknown_user").into()),
        };
        // Another tenant's account is not what this tenant's log-in was about.
        if account.tenant.id != tenant.id {
            return Err(no_account("not_sso").into());
        }
        if !account.user.active || methods(&account.tenant, &account.user) != Methods::Sso {
            return Err(no_account("not_sso").of(&account).into());
        }
        let event = about(registration, asking, class, EventKind::AccountLinked);
        let event = SecurityEvent { user: Some(account.user.id), ..event };
        let (issuer, subject) = (&settings.issuer, claims.token.subject());
        match self.store.link(tenant.id, issuer, subject, account.user.id, Audience::Tenant, &event).await? {
            Linked::Yes => Ok(account),
            // A username that was given to somebody else at the provider is not theirs here.
            Linked::SubjectTaken | Linked::UserHasAnother | Linked::NotOfThisKind => {
                Err(no_account("linked_to_another").of(&account).into())
            }
        }
    }

    /// Enters a person into the directory whom the provider knows and it does not: at the lowest level, with no password
    /// and no mail (R22, D23). `event`: what the log says of it, but for whom.
    async fn provision(
        &self,
        tenant: TenantId,
        username: &Username,
        claims: &Claims<'_>,
        event: SecurityEvent,
    ) -> Result<Option<Account>, Failed> {
        let new = new_user(username, claims);
        let event = SecurityEvent { detail: Some(Snippet::of(username.as_str())), ..event };
        match self.store.create_user(tenant, &new, &event).await {
            // Taken: the same person, in another tab, a moment ago.
            Ok(_) | Err(StoreFault::Taken(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
        Ok(self.store.account(username).await?)
    }

    fn tried(&self, registration: &Registration, tried: &Tried, visit: &Visit, headers: &HeaderMap) -> Answer {
        let settings = registration.settings();
        let username = sso::username(settings, &tried.token, tried.info.as_ref()).ok();
        let page = TrialPage {
            company: registration.name(),
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
fn expired(reason: &'static str) -> Refused {
    Refused { refusal: Refusal::Expired, ..Refused::because(reason) }
}

/// No account for this identity, and no word on why (R102).
fn no_account(reason: &'static str) -> Refused {
    Refused { refusal: Refusal::NoAccount, ..Refused::because(reason) }
}

/// An event of a log-in at the provider, of a session of that class.
pub(super) fn about(
    registration: &Registration,
    asking: &Asking<'_>,
    class: Class,
    kind: EventKind,
) -> SecurityEvent {
    let visit = asking.visit;
    SecurityEvent {
        request: Some(visit.request),
        zone: Some(registration.zone.host.clone()),
        tenant: registration.tenant_id(),
        class: Some(class),
        address: Some(visit.address),
        ..SecurityEvent::new(kind, Actor::Stranger, visit.now)
    }
}

/// The flow that goes on after what the provider said: a choice between sessions may be left of it.
pub(super) fn flow_of(transaction: Transaction, now: UnixTime) -> Flow {
    let binding = Binding::Browser(transaction.browser);
    let Transaction { id, host, class, return_to, .. } = transaction;
    Flow::begin(id, host, binding, class, return_to, Entry::Usual, now)
}

fn target(transaction: &Transaction, account: Option<&Account>) -> LocalPath {
    let start = || account.and_then(|account| account.user.start_page.clone());
    transaction.return_to.clone().or_else(start).unwrap_or_else(LocalPath::home)
}

/// Somebody whom a provider knows, as the directory is to know them: at the lowest level.
pub(super) fn new_user(username: &Username, claims: &Claims<'_>) -> NewUser {
    NewUser {
        email: sso::verified_email(claims.token, claims.info).map(str::to_owned),
        display_name: sso::display_name(claims.token, claims.info).unwrap_or(username.as_str()).to_owned(),
        kind: UserKind::Regular,
        level: SecurityLevel::User,
        groups: Vec::new(),
        active: true,
        start_page: None,
        username: username.clone(),
    }
}
