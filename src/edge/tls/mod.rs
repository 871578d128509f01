//! TLS by server name. A name nobody answers for gets no handshake (X2), and a connection carries requests only for
//! hosts that its certificate covers and that ask the same of their clients (X1, X4).
//!
//! The client's hello is read before anything is chosen, so that a zone which asks for client certificates has
//! settings, trust and tickets of its own. *Why not one verifier for all?* It would trust each zone's authority for
//! every zone, and a ticket of one zone would open another (CVE-2025-23419).
//!
//! What was chosen for a connection stays with it: certificates that are swapped meanwhile count for the next one.

mod profile;
mod handshakes;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::Acceptor;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use self::profile::{Maker, Profile};
use crate::base::{Hostname, UnixTime};
use crate::config::{Inspection, PemPair, Place, Settings};
use crate::zone::HostMatch;

pub(super) use self::handshakes::Handshakes;
pub use self::profile::ClientCertificate;
pub(super) use self::profile::Profiles;

/// The certificates in use and the settings that connections are made with, swapped whole.
#[derive(Debug)]
pub struct Certificates {
    maker: Maker,
    profiles: ArcSwap<Profiles>,
}

/// A certificate with its key, and the names that it covers, in lower case.
#[derive(Debug)]
struct Served {
    certified: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl Served {
    /// Whether it vouches for `host`, which may be written in any case and with a trailing dot.
    fn covers(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.names.iter().any(|name| covers(name, host))
    }

    /// When it ends. `None`: it cannot be read, which was found out before it was served.
    fn until(&self) -> Option<UnixTime> {
        let (_, leaf) = X509Certificate::from_der(self.certified.cert.first()?).ok()?;
        u64::try_from(leaf.validity().not_after.timestamp()).ok().map(UnixTime::from_seconds)
    }
}

/// Its names and its end, for the operator.
impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names.join(", "))?;
        let leaf = self.certified.cert.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        leaf.map_or(Ok(()), |(_, leaf)| write!(f, " until {}", leaf.validity().not_after))
    }
}

/// What is wrong with a certificate, for the operator.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct CertificateProblem {
    /// Where the configuration names the certificate, or the host that none covers.
    pub place: Place,
    /// Which file, what is wrong and what would be right.
    pub text: String,
}

/// Makes aws-lc-rs the process's one provider. Must come before anything of pingora's touches TLS, or ring is it.
pub fn install_provider() {
    // The second call of a process finds the first one's provider, which is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Certificates {
    /// Reads every pair and checks that each host of the table has one, all problems at once. A certificate that
    /// covers no host is no reason not to start: it may be there for a zone that is to come. Nor is one that has expired:
    /// it is served as it is, so that the other zones are served.
    pub fn load(settings: &Settings, now: UnixTime) -> Result<Arc<Self>, Vec<CertificateProblem>> {
        install_provider();
        let maker = Maker::new().map_err(|problem| vec![problem])?;
        let profiles = ArcSwap::from_pointee(profiles(&maker, settings, &settings.certificates, now, None)?);
        Ok(Arc::new(Self { maker, profiles }))
    }

    /// Makes those of other settings, with these certificates, or says everything that is wrong with them (X7). Nothing
    /// changes yet.
    ///
    /// An expired certificate is wrong where it would take the place of one that holds, and served as it is elsewhere.
    pub(super) fn prepare(
        &self,
        settings: &Settings,
        pairs: &[PemPair],
        now: UnixTime,
    ) -> Result<Profiles, Vec<CertificateProblem>> {
        profiles(&self.maker, settings, pairs, now, Some(&self.profiles.load()))
    }

    /// Takes what was prepared from here on; connections that are open stay as they are. The answer: which certificates
    /// were not in use before, in words.
    pub(super) fn adopt(&self, prepared: Profiles) -> Vec<String> {
        let prepared = Arc::new(prepared);
        let before = self.profiles.swap(Arc::clone(&prepared));
        prepared.not_in(&before)
    }

    /// Each name that is answered for, and when its certificate ends.
    pub fn until(&self) -> Vec<(String, UnixTime)> {
        self.profiles.load().until()
    }

    /// What is wrong with the certificates of a configuration, also of one that is not right itself.
    pub fn inspect(inspection: &Inspection, now: UnixTime, extent: Extent) -> Vec<CertificateProblem> {
        let expired = match extent {
            Extent::Everything => Expired::Refused,
            Extent::Hindrances => Expired::Served,
        };
        let reading = Reading::of(&inspection.certificates, &inspection.keyless, now, expired);
        let mut problems = reading.problems;
        if !inspection.acme {
            problems.extend(uncovered(&reading.by_name, &reading.names_of_unusable, &inspection.hosts));
        }
        problems
    }

    /// Certificates of the operator's that cover no host: they hurt nobody. Whoever mistyped a host is not told as well that
    /// its certificate covers nothing.
    pub fn leftovers(inspection: &Inspection, now: UnixTime) -> Vec<CertificateProblem> {
        if !inspection.hosts_are_all {
            return Vec::new();
        }
        let reading = Reading::of(&inspection.certificates, &inspection.keyless, now, Expired::Refused);
        // One that we got stays when its zone goes, and nobody has to clear up after us.
        let leftover = |pair: &PemPair, served: &Served| {
            !pair.managed && !inspection.hosts.iter().any(|(host, _)| served.covers(host.as_str()))
        };
        let leftovers = reading.usable.into_iter().filter(|(pair, served)| leftover(pair, served));
        let told = leftovers.map(|(pair, served)| CertificateProblem {
            place: pair.place.clone(),
            text: format!(
                "{} covers {}, and no host of this configuration is among them: add the zone, or take the certificate \
                 away",
                pair.chain_file.display(),
                served.names.join(", ")
            ),
        });
        told.collect()
    }
}

/// How much of what is wrong is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// Everything: somebody asked for it.
    Everything,
    /// What keeps the configuration from being served. Not a certificate that has expired, which hurts its own hosts alone.
    Hindrances,
}

/// What becomes of an operator's certificate whose time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Expired {
    /// It is a problem: somebody has to renew it.
    Refused,
    /// It is served as it is, where nothing better covers its names: it must keep no other zone from being served, nor
    /// another certificate from being renewed.
    Served,
}

/// What became of all certificates.
struct Reading<'a> {
    by_name: HashMap<String, Arc<Served>>,
    usable: Vec<(&'a PemPair, Arc<Served>)>,
    /// So many of them, which come first, have expired.
    expired: usize,
    /// Their hosts are not told to lack a certificate: mending the one that is there is what would be right.
    names_of_unusable: HashSet<String>,
    problems: Vec<CertificateProblem>,
}

impl<'a> Reading<'a> {
    fn of(pairs: &'a [PemPair], keyless: &[PemPair], now: UnixTime, expired: Expired) -> Self {
        install_provider();
        let mut reading = Self {
            by_name: HashMap::new(),
            usable: Vec::new(),
            expired: 0,
            names_of_unusable: keyless.iter().filter_map(|pair| names(pair).ok()).flatten().collect(),
            problems: Vec::new(),
        };
        // Where both cover a name, the operator's own is served: the last one that is read.
        let (mut ours, own): (Vec<_>, Vec<_>) = pairs.iter().partition(|pair| pair.managed);
        // And of ours the newest. Its file's name says which host comes first: after a zone and its alias have changed
        // places the older one may come last by that, and would be served until it is over.
        ours.sort_by_key(|pair| validity(pair).map(|found| found.from));
        // One whose time is over is read as of its last second, and first: whatever else has its names is better.
        let last_second = |pair: &PemPair| match expired {
            Expired::Refused => None,
            Expired::Served => validity(pair).map(|found| found.last_second()).filter(|last| *last < now),
        };
        let (over, own): (Vec<_>, Vec<_>) = own.into_iter().partition(|pair| last_second(pair).is_some());
        let over = over.into_iter().filter_map(|pair| Some((pair, last_second(pair)?)));
        for (pair, at) in over.chain(ours.into_iter().chain(own).map(|pair| (pair, now))) {
            match (read(pair, at), names(pair)) {
                (Ok(certified), Ok(names)) => {
                    reading.expired += usize::from(at < now);
                    let served = Arc::new(Served { certified, names });
                    reading.by_name.extend(served.names.iter().map(|name| (name.clone(), Arc::clone(&served))));
                    reading.usable.push((pair, served));
                }
                // Another one is on its way.
                (Err(problem), _) if pair.managed => tracing::warn!(%problem, "a certificate is not used"),
                (Err(problem), Ok(names)) => {
                    reading.problems.push(problem);
                    reading.names_of_unusable.extend(names);
                }
                (_, Err(problem)) => reading.problems.push(problem),
            }
        }
        reading.prefer_valid();
        reading
    }

    /// Takes an expired certificate out for each name that a valid one covers, also by `*`.
    fn prefer_valid(&mut self) {
        // The expired ones come first.
        let valid: Vec<_> = self.usable.iter().skip(self.expired).map(|(_, served)| Arc::clone(served)).collect();
        self.retain_expired(|name| !valid.iter().any(|other| other.covers(name)));
    }

    /// Takes those out that have expired and are served for none of `hosts`: nobody has to renew them.
    fn forget_expired_leftovers(&mut self, hosts: &[(Hostname, Place)]) {
        self.retain_expired(|name| hosts.iter().any(|(host, _)| covers(name, host.as_str())));
    }

    /// Serves an expired certificate under those of its names only that are `kept`.
    fn retain_expired(&mut self, kept: impl Fn(&str) -> bool) {
        let expired = self.usable.get(..self.expired).unwrap_or_default();
        let is_expired = |served: &Arc<Served>| expired.iter().any(|(_, over)| Arc::ptr_eq(over, served));
        self.by_name.retain(|name, served| !is_expired(served) || kept(name));
    }

    /// The expired ones that are served all the same, each with the hosts that it is served for.
    fn expired<'h>(&self, hosts: &'h [(Hostname, Place)]) -> Vec<(&'a PemPair, Vec<&'h Hostname>)> {
        let expired = self.usable.iter().take(self.expired).map(|(pair, served)| {
            let is_its = |host: &Hostname| {
                find(&self.by_name, host.as_str()).is_some_and(|found| Arc::ptr_eq(found, served))
            };
            (*pair, hosts.iter().map(|(host, _)| host).filter(|host| is_its(host)).collect())
        });
        expired.filter(|(_, hosts): &(_, Vec<_>)| !hosts.is_empty()).collect()
    }
}

fn uncovered(
    by_name: &HashMap<String, Arc<Served>>,
    excused: &HashSet<String>,
    hosts: &[(Hostname, Place)],
) -> Vec<CertificateProblem> {
    let bare = hosts.iter().filter(|(host, _)| {
        find(by_name, host.as_str()).is_none() && !excused.iter().any(|name| covers(name, host.as_str()))
    });
    let problem = |(host, place): &(Hostname, Place)| CertificateProblem {
        place: place.clone(),
        text: format!(
            "{host} is covered by no certificate: put {host}.crt and {host}.key into the directory of \
             certificates.directory"
        ),
    };
    bare.map(problem).collect()
}

/// Whether a name of a certificate, perhaps `*.example.com`, covers a host (RFC 9525 section 6.3: one label).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(wild) => host.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(wild)),
        None => host.eq_ignore_ascii_case(name),
    }
}

fn find<'a, T>(by_name: &'a HashMap<String, T>, name: &str) -> Option<&'a T> {
    by_name.get(name).or_else(|| {
        let (_, parent) = name.split_once('.')?;
        by_name.get(&format!("*.{parent}"))
    })
}

/// Makes the profiles of these settings with these certificates. `in_use`: those that they are to replace.
fn profiles(
    maker: &Maker,
    settings: &Settings,
    pairs: &[PemPair],
    now: UnixTime,
    in_use: Option<&Profiles>,
) -> Result<Profiles, Vec<CertificateProblem>> {
    let mut reading = Reading::of(pairs, &[], now, Expired::Served);
    let mut hosts: Vec<_> = settings.zones.hosts().map(|host| (host.clone(), Place::default())).collect();
    hosts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    reading.forget_expired_leftovers(&hosts);
    let expired = reading.expired(&hosts);
    let Reading { by_name, names_of_unusable, mut problems, .. } = reading;
    // One that is got while we run is no reason not to run; its host has no handshake until then. And where somebody else
    // ends TLS there is none at all.
    if settings.acme.is_none() && !settings.listeners.https.is_empty() {
        problems.extend(uncovered(&by_name, &names_of_unusable, &hosts));
    }
    let holds = |host: &Hostname| in_use.is_some_and(|in_use| in_use.holds(host, now));
    let worse = expired.iter().filter(|(_, hosts)| hosts.iter().any(|host| holds(host)));
    problems.extend(worse.filter_map(|(pair, _)| read(pair, now).err()));
    if !problems.is_empty() {
        return Err(problems);
    }
    let profiles = Profiles::new(maker, settings, &by_name).map_err(|problem| vec![problem])?;
    for (problem, hosts) in expired.iter().filter_map(|(pair, hosts)| Some((read(pair, now).err()?, hosts))) {
        let hosts = hosts.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
        tracing::error!(hosts, %problem, "an expired certificate is served as it is, and browsers refuse it");
    }
    Ok(profiles)
}

/// How a connection was opened.
#[derive(Debug)]
pub(super) struct TlsArrival {
    profile: Arc<Profile>,
    /// The certificate that the client proved to hold, where its zone asks for one.
    pub(super) client: Option<ClientCertificate>,
    /// Whether HTTP/2 was chosen.
    pub(super) http2: bool,
}

/// Why no connection came about. For the log: strangers cause this all day.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeFault {
    #[error("the client asks for a name that nobody answers for")]
    UnknownName,
    #[error("the handshake failed: {0}")]
    Failed(#[from] io::Error),
}

impl Certificates {
    /// Opens a connection for the name that the client asks for. `queue`: of the thread that this runs on.
    pub(super) async fn shake_hands<S>(
        &self,
        stream: S,
        queue: &Handshakes,
    ) -> Result<(TlsStream<S>, TlsArrival), HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let profiles = self.profiles.load_full();
        // rustls has put the name into lower case.
        let profile = hello.client_hello().server_name().and_then(|name| profiles.find(name)).cloned();
        let Some(profile) = profile else {
            // Ends in an alert, as the protocol wants it; no certificate is shown.
            hello.into_stream(Arc::clone(self.maker.nobody())).await?;
            return Err(HandshakeFault::UnknownName);
        };
        let turn = queue.turn().await;
        // Key exchange and signature are computed here, and not when it is awaited.
        let accepting = hello.into_stream(Arc::clone(&profile.config));
        drop(turn);
        let stream = accepting.await?;
        let (_, connection) = stream.get_ref();
        let http2 = connection.alpn_protocol() == Some(b"h2");
        let client = connection.peer_certificates().and_then(ClientCertificate::of);
        Ok((stream, TlsArrival { profile, client, http2 }))
    }
}

impl TlsArrival {
    /// Whether a request for `host`, which leads to `found`, belongs on this connection.
    ///
    /// Browsers send requests for one host on a connection that they opened for another where they think that one
    /// certificate covers both. A client that says one name to TLS and another to HTTP gets past whatever looks at the
    /// first, so the certificate decides (RFC 9110 section 7.4); and a zone that asks for client certificates has them
    /// only on connections that were opened for it.
    pub(super) fn belongs(&self, host: &str, found: HostMatch<'_>) -> bool {
        let zone = match found {
            HostMatch::Zone(zone) | HostMatch::Alias(zone) => Some(zone),
            HostMatch::Universal | HostMatch::Unknown => None,
        };
        let guarded = match &self.profile.guard {
            Some(guard) => zone.is_some_and(|zone| guard.is_of(zone)),
            None => zone.is_none_or(|zone| zone.client_certificates.is_none()),
        };
        guarded && self.profile.covers(host)
    }
}

/// What a certificate says of itself.
#[derive(Debug)]
pub(super) struct Validity {
    /// The hosts that it names, in lower case.
    pub(super) names: Vec<String>,
    /// Since when it holds.
    pub(super) from: UnixTime,
    /// Until when.
    pub(super) until: UnixTime,
}

impl Validity {
    /// Whether it names `host`.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| covers(name, host))
    }

    /// The last moment at which it holds.
    const fn last_second(&self) -> UnixTime {
        UnixTime::from_seconds(self.until.seconds().saturating_sub(1))
    }
}

/// Our clock shows whole seconds, and is up to a quarter of one behind; an authority may count from this very moment.
pub(super) const CLOCK_SLACK_SECONDS: i64 = 2;

/// A pair that connections could be opened with at `now`, or what is wrong with it.
pub(super) fn usable(pair: &PemPair, now: UnixTime) -> Result<Validity, CertificateProblem> {
    read(pair, now)?;
    validity(pair).ok_or_else(|| problem(pair, &pair.chain_file, "names no host"))
}

/// `None` for what is no certificate, or names no host.
pub(super) fn validity(pair: &PemPair) -> Option<Validity> {
    let chain = chain(pair).ok()?;
    let leaf = parse(pair, &chain).ok()?;
    let time = |seconds: i64| UnixTime::from_seconds(u64::try_from(seconds).unwrap_or_default());
    let (from, until) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    Some(Validity { names: names(pair).ok()?, from: time(from), until: time(until) })
}

fn problem(pair: &PemPair, file: &std::path::Path, text: impl std::fmt::Display) -> CertificateProblem {
    CertificateProblem { place: pair.place.clone(), text: format!("{} {text}", file.display()) }
}

fn chain(pair: &PemPair) -> Result<Vec<CertificateDer<'static>>, CertificateProblem> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    chain.ok_or_else(|| {
        problem(pair, &pair.chain_file, "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    })
}

fn parse<'d>(pair: &PemPair, chain: &'d [CertificateDer<'_>]) -> Result<X509Certificate<'d>, CertificateProblem> {
    let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    leaf.map(|(_, leaf)| leaf)
        .ok_or_else(|| problem(pair, &pair.chain_file, "begins with something that is no X.509 certificate"))
}

/// The hosts that a certificate names, in lower case; at least one.
fn names(pair: &PemPair) -> Result<Vec<String>, CertificateProblem> {
    let chain = chain(pair)?;
    let leaf = parse(pair, &chain)?;
    let names: Vec<String> = match leaf.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(dns_name).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    if names.is_empty() {
        let text = "names no host (subjectAltName), and browsers refuse such certificates: get one that does";
        return Err(problem(pair, &pair.chain_file, text));
    }
    Ok(names)
}

fn read(pair: &PemPair, now: UnixTime) -> Result<Arc<CertifiedKey>, CertificateProblem> {
    let chain = chain(pair)?;
    let leaf = parse(pair, &chain)?;
    let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
    let validity = leaf.validity();
    if validity.not_after.timestamp() <= seconds {
        let text = format!("expired on {}: renew it", validity.not_after);
        return Err(problem(pair, &pair.chain_file, text));
    }
    if validity.not_before.timestamp() > seconds.saturating_add(CLOCK_SLACK_SECONDS) {
        let text = format!("is valid only from {} on: look at this computer's clock", validity.not_before);
        return Err(problem(pair, &pair.chain_file, text));
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| {
        let encrypted = pair.key.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED");
        let text = match encrypted {
            true => "is encrypted, and nobody is there to type its pass phrase: `openssl pkey -in OLD -out NEW`",
            false => "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)",
        };
        problem(pair, &pair.key_file, text)
    })?;
    let provider = CryptoProvider::get_default()
        .ok_or_else(|| problem(pair, &pair.chain_file, "cannot be used: the TLS library has no provider"))?;
    let certified = CertifiedKey::from_der(chain.clone(), key, provider).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            let text = format!(
                "is not the key of the certificate in {}: put the two together that were made together",
                pair.chain_file.display()
            );
            problem(pair, &pair.key_file, text)
        } else {
            problem(pair, &pair.key_file, format_args!("cannot be used: {error}"))
        }
    })?;
    Ok(Arc::new(certified))
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label_and_no_more() {
        for (name, host, want) in [
            ("a.example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("*.a.example", "a.example", false),
            ("a.example", "b.a.example", false),
            ("*", "example", false),
        ] {
            assert_eq!(covers(name, host), want, "{name} and {host}");
        }
    }

    /// A pair for these hosts, valid in these years.
    fn pair(file: &str, hosts: &[&str], years: (i32, i32), managed: bool) -> PemPair {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        PemPair {
            chain_file: format!("{file}.pem").into(),
            key_file: format!("{file}.key").into(),
            chain: params.self_signed(&key).unwrap().pem().into(),
            key: key.serialize_pem().into(),
            place: Place::default(),
            managed,
        }
    }

    fn begins_in(reading: &Reading<'_>, host: &str) -> i32 {
        let served = find(&reading.by_name, host).unwrap();
        let (_, leaf) = X509Certificate::from_der(served.certified.cert.first().unwrap()).unwrap();
        leaf.validity().not_before.to_datetime().year()
    }

    const IN_2025: UnixTime = UnixTime::from_seconds(1_750_000_000);

    #[test]
    fn of_those_that_we_got_the_newest_is_served_whatever_its_file_is_called() {
        // The zone was www.example.com once, with example.com for an alias.
        let both = ["www.example.com", "example.com"];
        let newer = pair("acme-example.com-001700000000", &both, (2024, 2030), true);
        let older = pair("acme-www.example.com-001600000000", &both, (2022, 2030), true);
        let broken = PemPair { key: Vec::new(), ..pair("acme-z.example", &both, (2025, 2030), true) };
        let pairs = [newer, older, broken];
        let reading = Reading::of(&pairs, &[], IN_2025, Expired::Refused);
        assert_eq!(both.map(|host| begins_in(&reading, host)), [2024, 2024]);

        // The operator's own come after ours, and among them the last one counts, as they are written.
        let own =
            [(2021, "own-a"), (2020, "own-b")].map(|(from, file)| pair(file, &both[1..], (from, 2030), false));
        let pairs: Vec<_> = own.into_iter().chain(pairs).collect();
        let reading = Reading::of(&pairs, &[], IN_2025, Expired::Refused);
        assert_eq!(both.map(|host| begins_in(&reading, host)), [2024, 2020]);
        assert_eq!(reading.problems, []);
    }

    #[test]
    fn an_expired_one_of_the_operators_keeps_none_of_ours_from_being_served() {
        let pairs = [
            pair("acme-a.example-001700000000", &["a.example"], (2024, 2030), true),
            pair("acme-over.example-001600000000", &["b.example"], (2020, 2023), true),
            pair("b", &["a.example", "b.example"], (2020, 2023), false),
            pair("early", &["c.example"], (2028, 2030), false),
        ];
        let [_, _, _, early] = &pairs;
        let reading = Reading::of(&pairs, &[], IN_2025, Expired::Refused);
        assert_eq!(reading.problems.len(), 2, "{:?}", reading.problems);
        let reading = Reading::of(&pairs, &[], IN_2025, Expired::Served);
        assert_eq!(["a.example", "b.example"].map(|host| begins_in(&reading, host)), [2024, 2020]);
        let want = early.chain_file.display().to_string();
        assert!(reading.problems.iter().all(|problem| problem.text.starts_with(&want)), "{:?}", reading.problems);
        assert_eq!(reading.problems.len(), 1, "only what is over is forgiven");
        assert_eq!(reading.usable.len(), 2, "and none of ours that is over is served");
    }

    #[test]
    fn an_expired_one_stands_aside_for_a_valid_one_of_all_names_and_is_nothing_where_nobody_is_served() {
        let pairs = [
            pair("old", &["desk.example.com", "gone.example"], (2020, 2023), false),
            pair("all", &["*.example.com"], (2024, 2030), false),
        ];
        let mut reading = Reading::of(&pairs, &[], IN_2025, Expired::Served);
        assert_eq!(begins_in(&reading, "desk.example.com"), 2024);
        assert_eq!(begins_in(&reading, "gone.example"), 2020);
        let host = |name: &str| (name.parse().unwrap(), Place::default());
        reading.forget_expired_leftovers(&[host("desk.example.com"), host("gone.example")]);
        assert_eq!(begins_in(&reading, "gone.example"), 2020);
        reading.forget_expired_leftovers(&[host("desk.example.com")]);
        assert!(!reading.by_name.contains_key("gone.example"), "nobody has to renew it");
    }
}
