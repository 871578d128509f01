//! The way to identity providers: their metadata and keys, tokens for codes, and what they know of a person.
//!
//! [`crate::sso`] says what makes an answer acceptable; here is where answers come from. A provider belongs to a tenant and
//! may be slow, broken or hostile. So whatever it does costs its own tenant's log-ins and nobody else's: it is reached only
//! where it may be (`guard`), for a bounded time and a bounded answer, by a bounded number of exchanges at once, and
//! what of it is kept is kept for it alone. All of it runs on the background's threads. A request that goes away leaves its
//! exchange to end by itself: a code that was sent is spent, whether or not somebody waits for the answer.
//!
//! *Is what is kept shared by tenants that use one provider?* When nothing differs that decides how its documents are read:
//! then they are the same documents. A tenant that lists another host, or another algorithm, has its own.
//!
//! When anything fails there is a [`ProviderFault`], which is for the log, and nobody is logged in.

mod fault;
mod guard;
mod http;
mod kept;
mod redeem;

pub use fault::{Detail, ProviderFault, Step};
pub use http::OutboundProblem;
pub use redeem::{AccessToken, Client, Tokens};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::http::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

use self::http::{Answer, Ask, Http, unacceptable};
use self::kept::Kept;
use self::redeem::Code;
use crate::base::{Hostname, UnixTime};
use crate::machine::Clock;
use crate::sso::{
    ClientAuthentication, Expected, IdToken, IdTokenHint, Issuer, KeySet, LogoutToken, Metadata, OutboundSettings,
    ProviderSettings, SigningAlgorithm, Subject, TokenProblem, UserInfo,
};

/// Of how many providers something is kept. Beyond that, the one that was not asked for the longest time is forgotten.
const PROVIDERS_MAX: usize = 1024;
/// How many exchanges with one provider may be under way; others wait for their turn. One that hangs holds up so many
/// connections of ours, for the time of one exchange.
const EXCHANGES_MAX: usize = 64;
/// And that may wait for their turn: whoever comes then is told at once.
const WAITING_MAX: usize = 512;
/// How long somebody who logs out waits for a word of their provider.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// The way to all providers. Cheap to clone: all clones are the same.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    http: Http,
    /// How long one exchange may take, and how long it may wait for its turn.
    patience: Duration,
    clock: Arc<Clock>,
    runtime: Handle,
    /// With when it was last asked for.
    known: Mutex<HashMap<Identity, (u64, Arc<Known>)>>,
}

/// What decides how a provider's documents are read.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Identity {
    issuer: Issuer,
    hosts: Vec<Hostname>,
    algorithm: SigningAlgorithm,
    client_authentication: ClientAuthentication,
}

/// What is known of one.
struct Known {
    metadata: Arc<Kept<Metadata>>,
    keys: Arc<Kept<KeySet>>,
    exchanges: Arc<Semaphore>,
    /// Those under way and those that wait for their turn.
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Providers(..)")
    }
}

impl Providers {
    /// Opens the way. Nothing is sent yet. `runtime`: where exchanges run, for as long as there are any.
    pub fn new(outbound: &OutboundSettings, clock: Arc<Clock>, runtime: Handle) -> Result<Self, OutboundProblem> {
        let http = Http::new(outbound)?;
        Ok(Self(Arc::new(Inner { http, patience: outbound.timeout, clock, runtime, known: Mutex::default() })))
    }

    /// The same under other settings, with nothing known of anybody yet.
    pub fn under(&self, outbound: &OutboundSettings) -> Result<Self, OutboundProblem> {
        Self::new(outbound, Arc::clone(&self.0.clock), self.0.runtime.clone())
    }

    /// What the provider says of itself, at most an hour old; a day, while it says nothing.
    pub async fn metadata(&self, settings: &ProviderSettings) -> Result<Arc<Metadata>, ProviderFault> {
        self.known(settings).metadata.get(self.clone().fetch_metadata(settings.clone())).await
    }

    /// Tokens for a code. The code is spent afterwards, whatever comes of it.
    pub async fn redeem(
        &self,
        client: &Client<'_>,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        now: UnixTime,
    ) -> Result<Tokens, ProviderFault> {
        let code = Code { code, verifier, redirect_uri };
        let metadata = self.metadata(client.settings).await?;
        let ask = redeem::ask(client, code, &metadata.token_endpoint, now)?;
        let answer = self.exchange(Step::Tokens, client.settings, &metadata.token_endpoint, ask).await?;
        redeem::read(&answer, client, code)
    }

    /// Verifies an ID token. When the provider has not published its key yet, as far as we know, its keys are fetched anew,
    /// at most once a minute.
    pub async fn id_token(&self, text: &str, expected: &Expected<'_>) -> Result<IdToken, ProviderFault> {
        self.verified(expected.settings, |keys| IdToken::verify(text, keys, expected)).await
    }

    /// Verifies a log-out token, in the same way.
    pub async fn logout_token(
        &self,
        settings: &ProviderSettings,
        text: &str,
        now: UnixTime,
    ) -> Result<LogoutToken, ProviderFault> {
        self.verified(settings, |keys| LogoutToken::verify(text, keys, settings, now)).await
    }

    /// What the provider knows of `subject`, whose ID token came with `access_token`; `None` if it has no such endpoint.
    pub async fn user_info(
        &self,
        settings: &ProviderSettings,
        access_token: &AccessToken,
        subject: &Subject,
    ) -> Result<Option<UserInfo>, ProviderFault> {
        let step = Step::UserInfo;
        let metadata = self.metadata(settings).await?;
        let Some(endpoint) = &metadata.userinfo_endpoint else { return Ok(None) };
        let fields = access_token.field().ok_or_else(|| unacceptable(step, "the access token fits no field"))?;
        let answer = self.exchange(step, settings, endpoint, Ask::Get { fields }).await?.whole(step)?;
        if !answer.is_json {
            return Err(unacceptable(step, "the answer is no JSON"));
        }
        Ok(Some(UserInfo::read(&answer.body, subject)?))
    }

    /// Whether the provider answers now, whatever it says. What is kept of it says nothing of that.
    pub async fn answers(&self, settings: &ProviderSettings) -> Result<(), ProviderFault> {
        let step = Step::LogOut;
        let url = Url::parse(&settings.issuer.discovery_url());
        let url = url.map_err(|_| unacceptable(step, "the issuer is no address"))?;
        let asked = self.exchange(step, settings, &url, Ask::Get { fields: HeaderMap::new() });
        // Somebody waits to see that they are logged out.
        let answer = timeout(ANSWERS_WITHIN, asked).await.map_err(|_| ProviderFault::Slow { step })??;
        match answer.status.is_server_error() {
            false => Ok(()),
            true => Err(unacceptable(step, &format!("status {}", answer.status.as_u16()))),
        }
    }

    /// Tells the provider without a browser that a session ended (OpenID Connect RP-Initiated Logout 1.0 section 2).
    /// `false`: it has no address for that.
    ///
    /// Whether it ends its own session without its browser's cookies is the provider's to decide: the ID token says which
    /// one is meant.
    pub async fn end_session(
        &self,
        settings: &ProviderSettings,
        hint: &IdTokenHint,
    ) -> Result<bool, ProviderFault> {
        let step = Step::LogOut;
        let metadata = self.metadata(settings).await?;
        let Some(endpoint) = &metadata.end_session_endpoint else { return Ok(false) };
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("id_token_hint", hint.reveal())
            .append_pair("client_id", &settings.client_id)
            .finish();
        let ask = Ask::Post { fields: HeaderMap::new(), form };
        let status = self.exchange(step, settings, endpoint, ask).await?.status;
        match status.is_client_error() || status.is_server_error() {
            false => Ok(true),
            true => Err(unacceptable(step, &format!("status {}", status.as_u16()))),
        }
    }

    async fn verified<T>(
        &self,
        settings: &ProviderSettings,
        verify: impl Fn(&KeySet) -> Result<T, TokenProblem>,
    ) -> Result<T, ProviderFault> {
        let known = self.known(settings);
        let fetch = || self.clone().fetch_keys(settings.clone());
        let keys = known.keys.get(fetch()).await?;
        match verify(&keys) {
            Err(TokenProblem::UnknownKey) => match known.keys.newer(&keys, fetch()).await? {
                Some(newer) => Ok(verify(&newer)?),
                None => Err(TokenProblem::UnknownKey.into()),
            },
            outcome => Ok(outcome?),
        }
    }

    async fn fetch_metadata(self, settings: ProviderSettings) -> Result<Metadata, ProviderFault> {
        let step = Step::Metadata;
        let url = Url::parse(&settings.issuer.discovery_url());
        let url = url.map_err(|_| unacceptable(step, "the issuer is no address"))?;
        let answer = self.0.http.exchange(step, &settings, &url, Ask::Get { fields: HeaderMap::new() }).await?;
        Ok(Metadata::read(&answer.whole(step)?.body, &settings)?)
    }

    async fn fetch_keys(self, settings: ProviderSettings) -> Result<KeySet, ProviderFault> {
        let step = Step::Keys;
        let url = &self.metadata(&settings).await?.jwks_uri;
        let answer = self.0.http.exchange(step, &settings, url, Ask::Get { fields: HeaderMap::new() }).await?;
        Ok(KeySet::read(&answer.whole(step)?.body, settings.signing_algorithm)?)
    }

    /// An exchange for one person, which ends by itself when nobody waits for it.
    async fn exchange(
        &self,
        step: Step,
        settings: &ProviderSettings,
        url: &Url,
        ask: Ask,
    ) -> Result<Answer, ProviderFault> {
        let known = self.known(settings);
        let (turns, places) = (Arc::clone(&known.exchanges), Arc::clone(&known.places));
        let place = places.try_acquire_owned().map_err(|_| ProviderFault::Busy(step))?;
        let (providers, settings, url) = (self.clone(), settings.clone(), url.clone());
        let task = self.0.runtime.spawn(async move {
            // A whole company may come at the same minute. One whose provider hangs waits no longer than for an answer.
            let _held_until_the_end = place;
            let turn = timeout(providers.0.patience, turns.acquire_owned()).await;
            let Ok(Ok(_turn)) = turn else { return Err(ProviderFault::Busy(step)) };
            providers.0.http.exchange(step, &settings, &url, ask).await
        });
        task.await.unwrap_or(Err(ProviderFault::Stopped))
    }

    /// What is known of a provider.
    fn known(&self, settings: &ProviderSettings) -> Arc<Known> {
        let identity = Identity {
            issuer: settings.issuer.clone(),
            hosts: settings.hosts.clone(),
            algorithm: settings.signing_algorithm,
            client_authentication: settings.client_authentication,
        };
        let now = self.0.clock.elapsed();
        let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&identity) && all.len() >= PROVIDERS_MAX {
            let oldest =
                all.iter().min_by_key(|(_, (asked_at, _))| *asked_at).map(|(identity, _)| identity.clone());
            oldest.and_then(|identity| all.remove(&identity));
        }
        let (asked_at, known) = all.entry(identity).or_insert_with(|| (now, Arc::new(self.nothing_known())));
        *asked_at = now;
        Arc::clone(known)
    }

    fn nothing_known(&self) -> Known {
        let (clock, runtime) = (&self.0.clock, &self.0.runtime);
        Known {
            metadata: Arc::new(Kept::new(Arc::clone(clock), runtime.clone())),
            keys: Arc::new(Kept::new(Arc::clone(clock), runtime.clone())),
            exchanges: Arc::new(Semaphore::new(EXCHANGES_MAX)),
            places: Arc::new(Semaphore::new(EXCHANGES_MAX + WAITING_MAX)),
        }
    }
}
