//! Our own pages and endpoints: an axum router that the edge calls in process.
//!
//! Every request comes with a [`Visit`]: what the edge has found out about it, once. Nothing here reads the clock,
//! resolves a session or trusts a `Host` of its own. Every answer leaves with the same set of security header
//! fields, put on in one place.

mod account;
mod admin;
mod administration;
pub mod answer;
mod authenticator;
mod confirm;
pub mod cookies;
pub mod csrf;
mod device;
mod flow;
pub mod form;
mod launcher;
pub mod login;
mod logout;
pub mod metrics;
pub mod native;
mod outcome;
mod pace;
mod person;
mod pool;
mod public;
mod session;
mod sso;
pub mod strangers;
mod throttle;
pub mod verifier;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{self, HeaderMap};
use axum::http::{Method, Request, StatusCode};
use axum::middleware::Next;
use governor::Quota;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::{Hostname, RequestId, SealKey, TenantId, UnixTime, UserId};
use crate::config::Settings;
use crate::directory::SecurityLevel;
use crate::idp::{OutboundProblem, Providers};
use crate::machine::Clock;
use crate::pages::{Assets, Chrome, choose_language};
use crate::session::{Ended, Session};
use crate::store::Store;
use crate::table::{KeyRing, Sessions};
use crate::telemetry::{Actor, EventKind, SecurityEvent};
use crate::zone::{Language, Zone};

pub use admin::{COMMAND, Control, LOG_LEVEL, RELOAD, UPGRADE, Unchanged, admin_router, status_router};

use answer::{Answer, Policies};
use csrf::Csrf;
use pace::Pace;
use strangers::Strangers;
use throttle::Throttle;
use verifier::{Verifier, VerifierProblem};

/// Forms that one person may send in a minute, all at once if need be.
const FORMS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(120).unwrap();
/// Log-outs that one provider may tell of in a second, when it goes on.
const TOLD_PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
/// And at once: a whole company goes home.
const TOLD_AT_ONCE: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
/// Tables that are read at once, each as long as a form may take.
const TABLES_AT_ONCE: usize = 4;

/// How long one more waits for its turn.
const TABLE_WITHIN: Duration = Duration::from_secs(5);

/// What our pages and endpoints work with.
#[derive(Debug)]
pub struct Portal {
    /// The operator's decisions.
    pub settings: Arc<Settings>,
    /// What survives.
    pub store: Store,
    /// The live sessions.
    pub sessions: Arc<Sessions>,
    /// The keys that sign the application's assertions.
    pub keys: Arc<KeyRing>,
    /// The one place that holds secrets against what is stored.
    pub verifier: Verifier,
    /// The way of strangers' events into the security log.
    pub strangers: Arc<Strangers>,
    /// The way into the security log of requests that a zone's rules refused, and of forms that others made a browser send. With a rate of its own: who is logged in
    /// must not be able to crowd out what strangers do.
    pub denials: Arc<Strangers>,
    /// How often one person may send a form: most are a commit, and all tenants share one disk (D9).
    forms: Arc<Pace<UserId>>,
    /// How often one provider may tell of log-outs over the back channel; the suite's is `None`.
    told: Arc<Pace<Option<TenantId>>>,
    /// How many tables are read at once.
    tables: Arc<Semaphore>,
    /// The clock; requests use their visit's reading of it.
    pub clock: Arc<Clock>,
    /// Stylesheet, script, logo.
    pub assets: Assets,
    /// What monitoring asks for.
    pub metrics: metrics::Metrics,
    /// Tokens of forms outside the log-in flow.
    pub csrf: Csrf,
    /// The way to identity providers.
    pub providers: Providers,
    /// Tokens for the way to a provider's log-out and back.
    logout_state: Csrf,
    flow_key: SealKey,
    handover_key: SealKey,
    /// What is on its way to a provider and back.
    transaction_key: SealKey,
    sso_test_key: SealKey,
    /// For which kind of client somebody logs in at a provider.
    class_key: SealKey,
    /// Which zone an unknown domain is sent to: any, but always the same (E4).
    guess_key: aws_lc_rs::hmac::Key,
    policies: Policies,
}

/// Why a portal could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum PortalProblem {
    /// Nothing can be verified.
    #[error(transparent)]
    Verifier(#[from] VerifierProblem),
    /// No provider can be reached.
    #[error("the way to identity providers: {0}")]
    Outbound(#[from] OutboundProblem),
}

/// What the edge knows of a request that is for us. Travels as a request extension.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Under which host it came.
    pub realm: Realm,
    /// When: the request's one reading of the clock.
    pub now: UnixTime,
    /// From where.
    pub address: IpAddr,
    /// Its name in logs.
    pub request: RequestId,
    /// The live session of this zone whose token the request carries.
    pub session: Option<Arc<Session>>,
    /// Why the session whose token it carries has ended.
    pub ended: Option<Ended>,
    /// The session that has ended, if the request names one and is for a page of ours.
    pub left: Option<Arc<Session>>,
    /// It names a session that looks alive, and the store cannot be asked whether it is. Then nobody is told that
    /// they are logged in, nor that they are logged out (G3, G4).
    pub unsure: bool,
}

impl Visit {
    /// An event about the person of `session`, in their own name.
    pub fn event(&self, session: &Session, kind: EventKind) -> SecurityEvent {
        SecurityEvent {
            request: Some(self.request),
            zone: Some(session.terms.zone.clone()),
            tenant: Some(session.terms.tenant),
            user: Some(session.user),
            session: Some(session.id),
            class: Some(session.class),
            address: Some(self.address),
            ..SecurityEvent::new(kind, Actor::User, self.now)
        }
    }
}

/// How much of a form is read. Held until it is answered.
#[derive(Debug)]
pub struct FormRoom {
    /// In bytes.
    pub bytes_max: usize,
    _table: Option<OwnedSemaphorePermit>,
}

/// Under which host a request came.
#[derive(Clone, Debug)]
pub enum Realm {
    /// A zone's canonical host.
    Zone(Arc<Zone>),
    /// The universal log-in host: usernames only, no session ever (R14).
    Universal,
}

impl Portal {
    /// Puts together what was opened and loaded before, on the runtime that talks to identity providers.
    pub fn new(
        settings: Arc<Settings>,
        store: Store,
        sessions: Arc<Sessions>,
        keys: Arc<KeyRing>,
        clock: Arc<Clock>,
    ) -> Result<Self, PortalProblem> {
        let master = &settings.master_key;
        let strangers = Arc::new(Strangers::new(store.clone()));
        let (hashing, security) = (settings.hashing, settings.security);
        let throttle = Throttle::new(settings.limits.logins_per_source);
        let providers = Providers::new(&settings.sso, Arc::clone(&clock), Handle::current())?;
        let verifier = Verifier::new(
            store.clone(),
            Arc::clone(&strangers),
            throttle,
            master,
            hashing,
            security,
            settings.suite.is_some(),
        )?;
        Ok(Self {
            verifier,
            strangers,
            denials: Arc::new(Strangers::new(store.clone())),
            forms: Arc::new(Pace::new(Quota::per_minute(FORMS_PER_MINUTE))),
            told: Arc::new(Pace::new(Quota::per_second(TOLD_PER_SECOND).allow_burst(TOLD_AT_ONCE))),
            tables: Arc::new(Semaphore::new(TABLES_AT_ONCE)),
            csrf: Csrf::new(master),
            logout_state: Csrf::of_logouts(master),
            providers,
            metrics: metrics::Metrics::new(&settings.zones, clock.now()),
            flow_key: master.derive("flow v1"),
            handover_key: master.derive("handover v1"),
            transaction_key: master.derive("transaction v1"),
            sso_test_key: master.derive("sso test v1"),
            class_key: master.derive("client class v1"),
            guess_key: master.derive_mac("zone of unknown domain v1"),
            assets: Assets::of(&settings.brand),
            policies: Policies::new(settings.zones.zones().iter().map(|zone| &*zone.origin)),
            settings,
            store,
            sessions,
            keys,
            clock,
        })
    }

    /// The same under other settings. What counts, queues and remembers is shared with this one: nothing starts anew.
    pub fn under(&self, settings: Arc<Settings>) -> Result<Self, PortalProblem> {
        let providers = if settings.sso == self.settings.sso {
            self.providers.clone()
        } else {
            self.providers.under(&settings.sso)?
        };
        Ok(Self {
            verifier: self.verifier.under(
                settings.hashing,
                settings.security,
                settings.limits.logins_per_source,
                settings.suite.is_some(),
            )?,
            strangers: Arc::clone(&self.strangers),
            denials: Arc::clone(&self.denials),
            forms: Arc::clone(&self.forms),
            told: Arc::clone(&self.told),
            tables: Arc::clone(&self.tables),
            csrf: self.csrf.clone(),
            logout_state: self.logout_state.clone(),
            providers,
            metrics: self.metrics.with(&settings.zones),
            flow_key: self.flow_key.clone(),
            handover_key: self.handover_key.clone(),
            transaction_key: self.transaction_key.clone(),
            sso_test_key: self.sso_test_key.clone(),
            class_key: self.class_key.clone(),
            guess_key: self.guess_key.clone(),
            assets: Assets::after(&self.assets, &settings.brand),
            policies: Policies::new(settings.zones.zones().iter().map(|zone| &*zone.origin)),
            settings,
            store: self.store.clone(),
            sessions: Arc::clone(&self.sessions),
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
        })
    }

    /// What surrounds a page for this visitor.
    pub fn chrome(&self, visit: &Visit, headers: &HeaderMap) -> Chrome<'_> {
        let accept = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let (zone, language) = match &visit.realm {
            Realm::Zone(zone) => (self.settings.zones.zone(&zone.host), zone.language),
            Realm::Universal => (None, Language::default()),
        };
        Chrome {
            brand: &self.settings.brand,
            assets: &self.assets.paths,
            language: choose_language(language, accept),
            zone: zone.map(|zone| zone.name.as_str()),
            suite: self.settings.suite.as_ref().map(|suite| suite.name.as_str()),
        }
    }

    /// Room for the form that this visitor may send to `path`: a table is longer than what a person types, is an
    /// administrator's only, and waits for a while where others are read. `None`: there is none now.
    pub async fn room_for_form(&self, visit: &Visit, path: &str) -> Option<FormRoom> {
        let usual = self.settings.limits.form_bytes_max;
        let (administration::IMPORT, Some(session)) = (path, &visit.session) else {
            return Some(FormRoom { bytes_max: usual, _table: None });
        };
        let account = self.store.account_by_id(session.user).await;
        let account = account
            .inspect_err(|fault| tracing::error!(%fault, request = %visit.request, "the store failed"))
            .ok()?;
        if account.is_none_or(|account| account.user.level != SecurityLevel::Admin) {
            return Some(FormRoom { bytes_max: usual, _table: None });
        }
        let table =
            tokio::time::timeout(TABLE_WITHIN, Arc::clone(&self.tables).acquire_owned()).await.ok()?.ok()?;
        Some(FormRoom { bytes_max: usual.max(administration::TABLE_BYTES_MAX), _table: Some(table) })
    }

    /// The host a request came to.
    pub fn host(&self, visit: &Visit) -> Hostname {
        match (&visit.realm, self.settings.zones.universal()) {
            (Realm::Zone(zone), _) => zone.host.clone(),
            (Realm::Universal, Some(host)) => host.clone(),
            (Realm::Universal, None) => unreachable!("the edge finds the universal host in the same table"),
        }
    }

    /// What browsers send as `Origin` from our pages there.
    pub fn origin(&self, realm: &Realm) -> String {
        match realm {
            Realm::Zone(zone) => zone.origin.to_string(),
            Realm::Universal => {
                let host = self.settings.zones.universal().map_or("", Hostname::as_str);
                match self.settings.public_port {
                    443 => format!("https://{host}"),
                    port => format!("https://{host}:{port}"),
                }
            }
        }
    }
}

/// All our pages and endpoints.
pub fn router(portal: Arc<Portal>) -> Router {
    Router::new()
        .merge(account::routes())
        .merge(administration::routes())
        .merge(authenticator::routes())
        .merge(session::routes())
        .merge(launcher::routes())
        .merge(logout::routes())
        .merge(public::routes())
        .merge(login::routes())
        .merge(sso::routes())
        .merge(native::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&portal), secure))
        .with_state(portal)
}

async fn secure(State(portal): State<Arc<Portal>>, request: Request<axum::body::Body>, next: Next) -> Answer {
    let (path, sent) = (request.uri().path().to_owned(), request.method() == Method::POST);
    let mut answer = next.run(request).await;
    person::lead_back(&mut answer, &path, sent);
    answer::secure(&mut answer, &portal.policies);
    answer
}

async fn not_found(
    State(portal): State<Arc<Portal>>,
    axum::Extension(visit): axum::Extension<Visit>,
    headers: HeaderMap,
) -> Answer {
    portal.refusal(&visit, &headers, StatusCode::NOT_FOUND)
}

async fn method_not_allowed(
    State(portal): State<Arc<Portal>>,
    axum::Extension(visit): axum::Extension<Visit>,
    headers: HeaderMap,
) -> Answer {
    portal.refusal(&visit, &headers, StatusCode::METHOD_NOT_ALLOWED)
}

#[cfg(test)]
mod tests;
