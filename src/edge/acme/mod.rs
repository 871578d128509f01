//! Certificates that zonegate gets itself and renews (RFC 8555), proved by an answer on the plain listener (http-01).
//!
//! A certificate is asked for for each zone with its aliases, and for the universal host, when no file of the operator's
//! covers them, or when two thirds of the life of one that we got are over. What comes is kept beside the operator's
//! files (`kept`), and taken over by a reload like any other change.
//!
//! What has come is not lost when the configuration cannot be taken over at that moment, because somebody is in the middle
//! of changing it: it is served under the one in use, and not asked for again. What comes for a host that was taken out
//! meanwhile is thrown away.
//!
//! When the authority cannot be reached or says no, what is there goes on, and the next try comes later and later
//! (`waiting`).

mod kept;
mod waiting;

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use self::kept::{forget_older, keep, kept_pairs, make_sure_of_room, write};
use self::waiting::Waiting;
use super::handover::Turn;
use super::reload::Reloader;
use super::tls::{CLOCK_SLACK_SECONDS, Validity, usable, validity};
use crate::base::{Hostname, UnixTime};
use crate::config::{AcmeSettings, PemPair, Place, Settings};

/// Where the authority looks for its proof (RFC 8555 section 8.3).
const PLACE: &[u8] = b"/.well-known/acme-challenge/";
/// How often certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long one exchange with the authority may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);
/// How long the authority may take to look and to sign.
const ORDER_MAX: Duration = Duration::from_secs(120);
/// How long all of it may take, from the first exchange to the last file: whoever comes next waits for it.
const ALL_MAX: Duration = Duration::from_secs(600);
/// The largest answer of an authority that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The file that holds the account with the authority.
const ACCOUNT_FILE: &str = "acme-account.json";

/// Answers that the authority will ask for: token → key authorization.
#[derive(Debug, Default)]
pub(super) struct Challenges(RwLock<HashMap<String, String>>);

impl Challenges {
    /// The answer for a path of the plain listener.
    pub(super) fn answer(&self, path: &[u8]) -> Option<String> {
        let token = std::str::from_utf8(path.strip_prefix(PLACE)?).ok()?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn put(&self, token: String, answer: String) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(token, answer);
    }

    fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
enum AcmeFault {
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority wants another proof than http-01 for {0}")]
    NoHttpChallenge(String),
    #[error("the authority did not accept the proof for {0}: it must reach port 80 of that name")]
    Refused(String),
    #[error("{0} cannot be written or read: {1}")]
    File(PathBuf, io::Error),
    #[error("{0} is damaged: {1}; take it away, and another account is made")]
    Account(PathBuf, serde_json::Error),
    #[error("what the authority issued is of no use: {0}")]
    Unusable(String),
    #[error("the order did not come to an end within {} s", ALL_MAX.as_secs())]
    Endless,
    #[error("the order broke off: {0}")]
    Broken(tokio::task::JoinError),
    #[error("acme.ca_file cannot be used: {0}")]
    Client(#[from] reqwest::Error),
}

/// Gets and renews certificates, for as long as the process runs.
pub(super) struct Acme {
    pub(super) reloader: Arc<Reloader>,
    pub(super) challenges: Arc<Challenges>,
    pub(super) turn: Turn,
    pub(super) reloads: Arc<Reloads>,
}

/// What reloads tell of to who gets certificates: there may be hosts that have none yet, and somebody may have mended what
/// kept others from getting one.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    any: Notify,
    asked_for: AtomicBool,
}

impl Reloads {
    /// A configuration was taken over. `asked_for`: and not only because a certificate has come.
    pub(super) fn tell(&self, asked_for: bool) {
        self.asked_for.fetch_or(asked_for, Ordering::Relaxed);
        self.any.notify_one();
    }
}

impl Acme {
    /// Looks at all certificates now and then. Never ends.
    pub(super) async fn run(self) {
        let acme = Arc::new(self);
        let mut waiting = Waiting::default();
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = acme.reloads.any.notified() => {}
            }
            if acme.turn.is_over() {
                continue;
            }
            if acme.reloads.asked_for.swap(false, Ordering::Relaxed) {
                waiting.ask();
            }
            acme.look(&mut waiting).await;
        }
    }

    async fn look(self: &Arc<Self>, waiting: &mut Waiting) {
        let generation = self.reloader.in_use.load_full();
        let settings = &generation.settings;
        let Some(acme) = &settings.acme else {
            waiting.keep_only(&[]);
            return;
        };
        let now = generation.portal.clock.now();
        let lacking: Vec<_> = groups(settings).into_iter().map(|group| uncovered(settings, group, now)).collect();
        let wanted: Vec<_> = lacking.iter().filter_map(|group| group.first().cloned()).collect();
        waiting.keep_only(&wanted);
        waiting.hurry(now);
        let mut got = Vec::new();
        let kept = kept_pairs(acme);
        for group in lacking {
            let Some(first) = group.first() else { continue };
            if !self.is_wanted(first) {
                continue;
            }
            if waiting.is_early(first, now) || !is_due(settings, &group, now) {
                continue;
            }
            if is_covered(&kept, &group, now) {
                // Asking for yet another one would use up what the authority allows in a week.
                tracing::info!(host = %first, "a certificate that was issued before is there");
                got.push((first.clone(), true));
                continue;
            }
            let (getter, authority, hosts) = (Arc::clone(self), acme.clone(), group.clone());
            match bounded(ALL_MAX, async move { getter.get(&authority, &hosts).await }).await {
                Ok(Some(lasts)) => {
                    tracing::info!(host = %first, "a certificate was issued");
                    got.push((first.clone(), lasts));
                }
                Ok(None) => {
                    tracing::info!(host = %first, "a certificate was issued and is not kept: its host is gone");
                }
                Err(fault) => {
                    let next_try = waiting.fail(first.clone(), now);
                    tracing::error!(host = %first, %fault, %next_try, "no certificate was issued");
                }
            }
            self.challenges.clear();
        }
        if got.is_empty() {
            return;
        }
        let taken = Arc::clone(&self.reloader).take_certificates(|| kept_pairs(acme)).await.is_ok();
        let settings = Arc::clone(&self.reloader.in_use.load().settings);
        let hosts = groups(&settings).into_iter().flat_map(|group| uncovered(&settings, group, now));
        let hosts: Vec<_> = hosts.collect();
        for (first, lasts) in got {
            if taken {
                forget_older(acme, &hosts, &first);
            }
            if taken && lasts {
                waiting.succeed(&first);
            } else {
                // Not in use, because something else is wrong with the configuration, or soon of no use. Asking for yet
                // another one every minute would use up what the authority allows in a week.
                waiting.fail(first, now);
            }
        }
    }

    /// Whether the configuration in use still has a group that begins with this host.
    fn is_wanted(&self, first: &Hostname) -> bool {
        let generation = self.reloader.in_use.load();
        let (settings, now) = (&generation.settings, generation.portal.clock.now());
        groups(settings).into_iter().any(|group| uncovered(settings, group, now).first() == Some(first))
    }

    /// Gets one for `hosts` and puts it into the folder. Whether it will do for a while; `None` when nobody wants it by now.
    async fn get(&self, acme: &AcmeSettings, hosts: &[Hostname]) -> Result<Option<bool>, AcmeFault> {
        // Before the authority is asked for what could then not be kept.
        make_sure_of_room(acme)?;
        let account = account(acme).await?;
        let names: Vec<_> = hosts.iter().map(|host| Identifier::Dns(host.to_string())).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) else {
                return Err(AcmeFault::NoHttpChallenge(name));
            };
            let answer = challenge.key_authorization().as_str().to_owned();
            self.challenges.put(challenge.token.clone(), answer);
            challenge.set_ready().await?;
        }
        let patience = RetryPolicy::new().timeout(ORDER_MAX);
        if order.poll_ready(&patience).await? != OrderStatus::Ready {
            let all = hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(AcmeFault::Refused(all));
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&patience).await?;
        let Some(first) = hosts.first().filter(|first| self.is_wanted(first)) else { return Ok(None) };
        // Before it takes the place of one that works.
        let pair = PemPair {
            chain_file: acme.folder.join(format!("the certificate for {first}")),
            key_file: acme.folder.join(format!("the key for {first}")),
            chain: chain.clone().into_bytes(),
            key: key.clone().into_bytes(),
            place: Place::default(),
            managed: true,
        };
        let now = self.reloader.in_use.load().portal.clock.now();
        let found = usable(&pair, now).map_err(|problem| AcmeFault::Unusable(problem.to_string()))?;
        if let Some(bare) = hosts.iter().find(|host| !found.covers(host.as_str())) {
            return Err(AcmeFault::Unusable(format!("it does not name {bare}")));
        }
        keep(acme, first, now, &key, &chain)?;
        Ok(Some(is_fresh(&found, now)))
    }
}

/// What an order comes to, in a task of its own: one that panics, because an authority answers with what nobody thought of,
/// or that never ends is one more failure, and not the end of all renewals.
async fn bounded<T: Send + 'static>(
    most: Duration,
    order: impl Future<Output = Result<T, AcmeFault>> + Send + 'static,
) -> Result<T, AcmeFault> {
    match tokio::spawn(tokio::time::timeout(most, order)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(AcmeFault::Endless),
        Err(fault) => Err(AcmeFault::Broken(fault)),
    }
}

/// Hosts that share a certificate: a zone and its aliases, the universal host.
fn groups(settings: &Settings) -> Vec<Vec<Hostname>> {
    let zones = settings.zones.zones().iter();
    let zones = zones.map(|zone| std::iter::once(&zone.host).chain(&zone.aliases).cloned().collect());
    zones.chain(settings.zones.universal().map(|host| vec![host.clone()])).collect()
}

/// Those of `hosts` that no certificate of the operator's covers that still holds: these are the operator's to renew.
fn uncovered(settings: &Settings, hosts: Vec<Hostname>, now: UnixTime) -> Vec<Hostname> {
    let own = settings.certificates.iter().filter(|pair| !pair.managed).filter_map(validity);
    let own: Vec<_> = own.filter(|found| now < found.until).collect();
    hosts.into_iter().filter(|host| !own.iter().any(|found| found.covers(host.as_str()))).collect()
}

/// Whether `hosts` have no certificate of ours that lives long enough.
fn is_due(settings: &Settings, hosts: &[Hostname], now: UnixTime) -> bool {
    !is_covered(settings.certificates.iter().filter(|pair| pair.managed), hosts, now)
}

/// Whether one of `pairs` is for all of `hosts`, and lives long enough.
fn is_covered<'a>(pairs: impl IntoIterator<Item = &'a PemPair>, hosts: &[Hostname], now: UnixTime) -> bool {
    let mut found = pairs.into_iter().filter_map(validity);
    found.any(|found| hosts.iter().all(|host| found.covers(host.as_str())) && is_fresh(&found, now))
}

/// Less than two thirds of its life are over.
fn is_fresh(found: &Validity, now: UnixTime) -> bool {
    let life = found.until.seconds_since(found.from);
    found.from <= now.plus_seconds(CLOCK_SLACK_SECONDS.unsigned_abs())
        && now < found.from.plus_seconds(life / 3 * 2)
}

/// The account with the authority: the one of last time, or a new one.
async fn account(acme: &AcmeSettings) -> Result<Account, AcmeFault> {
    let file = acme.folder.join(ACCOUNT_FILE);
    let client = || -> Result<_, AcmeFault> { Ok(Account::builder_with_http(Box::new(Client::new(acme)?))) };
    if let Some(known) = known(acme, &file)? {
        return Ok(client()?.from_credentials(known).await?);
    }
    let contact: Vec<_> = acme.contact.iter().map(|address| format!("mailto:{address}")).collect();
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = client()?.create(&wanted, acme.directory.clone(), None).await?;
    let text = serde_json::to_string(&credentials).map_err(|fault| AcmeFault::Account(file.clone(), fault))?;
    write(&file, &text)?;
    Ok(account)
}

/// The account of last time, if it is one with this authority.
///
/// It carries the address of its authority with it, and would go on asking that one: whoever has tried things out with
/// an authority for tests would get certificates that no browser takes, whatever the configuration says by now.
fn known(acme: &AcmeSettings, file: &Path) -> Result<Option<AccountCredentials>, AcmeFault> {
    #[derive(serde::Deserialize)]
    struct Authority {
        directory: Option<String>,
    }
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(AcmeFault::File(file.to_owned(), error)),
    };
    let damaged = |fault| AcmeFault::Account(file.to_owned(), fault);
    let Authority { directory } = serde_json::from_str(&text).map_err(damaged)?;
    match directory {
        Some(before) if before != acme.directory => {
            tracing::warn!(
                before,
                now = acme.directory,
                "acme.directory has changed: a new account is made there, and takes the place of the one of before"
            );
            Ok(None)
        }
        Some(_) | None => Ok(Some(serde_json::from_str(&text).map_err(damaged)?)),
    }
}

/// The way to the authority: verified, within limits, and no further than where it was sent.
struct Client(reqwest::Client);

impl Client {
    fn new(acme: &AcmeSettings) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(EXCHANGE_MAX)
            .user_agent(concat!("zonegate/", env!("CARGO_PKG_VERSION")));
        let client = match &acme.roots {
            Some(pem) => client.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?),
            None => client,
        };
        Ok(Self(client.build()?))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let other = |error: Box<dyn std::error::Error + Send + Sync>| instant_acme::Error::Other(error);
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(axum::body::Body::new(body), ANSWER_BYTES_MAX).await;
            let body = body.map_err(|error| other(error.into()))?;
            let request = http::Request::from_parts(parts, reqwest::Body::from(body));
            let request = reqwest::Request::try_from(request).map_err(|error| other(error.into()))?;
            let answer = client.execute(request).await.map_err(|error| other(error.into()))?;
            let (parts, body) = http::Response::from(answer).into_parts();
            let body = axum::body::to_bytes(axum::body::Body::new(body), ANSWER_BYTES_MAX).await;
            let body = body.map_err(|error| other(error.into()))?;
            Ok(http::Response::from_parts(parts, axum::body::Body::from(body)).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_that_panics_or_never_ends_is_one_more_failure() {
        let broken = bounded(ALL_MAX, async {
            // What a library does with a Retry-After that no clock can show.
            let _ = std::time::SystemTime::now() + Duration::from_secs(u64::MAX);
            Ok(())
        });
        assert!(matches!(broken.await, Err(AcmeFault::Broken(_))));
        let endless = bounded(Duration::from_millis(1), std::future::pending::<Result<(), AcmeFault>>());
        assert!(matches!(endless.await, Err(AcmeFault::Endless)));
        assert!(matches!(bounded(ALL_MAX, async { Ok(7) }).await, Ok(7)));
    }

    #[test]
    fn a_certificate_is_fresh_for_two_thirds_of_its_life() {
        let found = Validity {
            names: vec!["a.example".into()],
            from: UnixTime::from_seconds(1000),
            until: UnixTime::from_seconds(1900),
        };
        let check = |now| is_fresh(&found, UnixTime::from_seconds(now));
        assert!(!check(997) && check(998) && check(1000) && check(1599) && !check(1600) && !check(5000));
    }

    #[test]
    fn an_account_is_used_with_the_authority_that_it_is_with_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(ACCOUNT_FILE);
        let directory = "https://ca.example/".into();
        let acme = AcmeSettings { directory, contact: None, roots: None, folder: folder.path().to_owned() };
        let is_known = |acme: &AcmeSettings| known(acme, &file).map(|known| known.is_some());
        assert!(matches!(is_known(&acme), Ok(false)));
        let account = |directory: &str| {
            let account = serde_json::json!({
                "id": "https://ca.example/account/1", "key_pkcs8": "AAAA", "directory": directory,
            });
            write(&file, &account.to_string()).unwrap();
        };
        account(&acme.directory);
        assert!(matches!(is_known(&acme), Ok(true)));
        account("https://staging.ca.example/");
        assert!(matches!(is_known(&acme), Ok(false)));
        write(&file, "{").unwrap();
        assert!(matches!(is_known(&acme), Err(AcmeFault::Account(..))));
    }

    #[test]
    fn only_what_was_put_there_is_answered() {
        let challenges = Challenges::default();
        challenges.put("abc".into(), "abc.print".into());
        let answer = |path: &str| challenges.answer(path.as_bytes());
        assert_eq!(answer("/.well-known/acme-challenge/abc"), Some("abc.print".into()));
        for path in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/abd",
            "/abc",
            "/x/.well-known/acme-challenge/abc",
        ] {
            assert_eq!(answer(path), None, "{path}");
        }
        challenges.clear();
        assert_eq!(answer("/.well-known/acme-challenge/abc"), None);
    }
}
