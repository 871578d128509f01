//! The settings that connections are made with: one for each certificate, and one for each host that asks its clients
//! for certificates.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::{CertificateProblem, Served, find};
use crate::base::{Hostname, UnixTime};
use crate::config::{Place, Settings, TlsVersion};
use crate::zone::{ClientCertificates, Zone};

/// HTTP/2 first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What lives as long as the process: the keys of tickets, so that clients resume over a reload.
#[derive(Debug)]
pub(super) struct Maker {
    /// Stateless, with keys that change every six hours: a cache of sessions would be memory that strangers fill.
    tickets: Arc<dyn ProducesTickets>,
    nobody: Arc<ServerConfig>,
}

/// How connections for some names are opened: the settings of TLS, and who may come in.
#[derive(Debug)]
pub(super) struct Profile {
    served: Arc<Served>,
    pub(super) config: Arc<ServerConfig>,
    /// What its clients' certificates were verified for; nobody else's requests belong on such a connection.
    pub(super) guard: Option<Guard>,
}

/// A zone that asks its clients for certificates, and what it asked when the connection was opened.
#[derive(Debug)]
pub(super) struct Guard {
    host: Hostname,
    asked: ClientCertificates,
}

impl Guard {
    /// Whether it is this zone's, and the zone asks for the same now: a reload may have taken an authority away.
    pub(super) fn is_of(&self, zone: &Zone) -> bool {
        self.host == zone.host && zone.client_certificates.as_ref() == Some(&self.asked)
    }
}

/// All profiles.
#[derive(Debug)]
pub(in crate::edge) struct Profiles {
    by_name: HashMap<String, Arc<Profile>>,
    guarded: HashMap<Hostname, Arc<Profile>>,
    /// Hosts that are to get a certificate and have none yet.
    awaited: Vec<Hostname>,
}

/// A client's certificate as the application may receive it (RFC 9440).
#[derive(Debug)]
pub struct ClientCertificate {
    /// The value of `Client-Cert`.
    pub leaf: HeaderValue,
    /// The value of `Client-Cert-Chain`, when the client sent more than its own.
    pub chain: Option<HeaderValue>,
}

/// Answers every name with one certificate, which was chosen before.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Has no certificate for any name.
#[derive(Debug)]
struct Never;

impl ResolvesServerCert for Never {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

impl Maker {
    pub(super) fn new() -> Result<Self, CertificateProblem> {
        let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| CertificateProblem {
            place: Place::default(),
            text: format!("no key for TLS tickets could be made: {error}"),
        })?;
        let nobody = ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(Never));
        Ok(Self { tickets, nobody: Arc::new(nobody) })
    }

    /// Settings under which every handshake fails.
    pub(super) const fn nobody(&self) -> &Arc<ServerConfig> {
        &self.nobody
    }

    fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        served: &Served,
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_protocol_versions(versions);
        let guarded = clients.is_some();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Always(Arc::clone(&served.certified))));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if guarded {
            // A resumed session is not verified again: an authority that was taken away would go on being trusted.
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Arc::clone(&self.tickets);
        }
        Arc::new(config)
    }
}

impl Profile {
    /// Whether its certificate vouches for `host`, which may be written in any case and with a trailing dot.
    pub(super) fn covers(&self, host: &str) -> bool {
        self.served.covers(host)
    }
}

impl Profiles {
    /// Each certificate's, and each guarded host's. The problem is one of a zone's client authorities.
    pub(super) fn new(
        maker: &Maker,
        settings: &Settings,
        certificates: &HashMap<String, Arc<Served>>,
    ) -> Result<Self, CertificateProblem> {
        let versions: &[&SupportedProtocolVersion] = match settings.listeners.tls_min {
            TlsVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            TlsVersion::Tls13 => &[&version::TLS13],
        };
        // One for each certificate and not for each of its names.
        let mut made: HashMap<*const Served, Arc<Profile>> = HashMap::new();
        let by_name = certificates.iter().map(|(name, served)| {
            let profile = made.entry(Arc::as_ptr(served)).or_insert_with(|| {
                let config = maker.config(versions, served, None);
                Arc::new(Profile { served: Arc::clone(served), config, guard: None })
            });
            (name.clone(), Arc::clone(profile))
        });
        let by_name = by_name.collect();
        let mut guarded = HashMap::new();
        for zone in settings.zones.zones() {
            let Some(asked) = &zone.client_certificates else { continue };
            let clients = verifier(zone, asked)?;
            for host in std::iter::once(&zone.host).chain(&zone.aliases) {
                // Every host has a certificate, or these settings were refused before.
                let Some(served) = find(certificates, host.as_str()) else { continue };
                let config = maker.config(versions, served, Some(Arc::clone(&clients)));
                let guard = Some(Guard { host: zone.host.clone(), asked: asked.clone() });
                let profile = Profile { served: Arc::clone(served), config, guard };
                guarded.insert(host.clone(), Arc::new(profile));
            }
        }
        // Any other host has a certificate, or these settings were refused before, or somebody else ends TLS for it.
        let awaits = settings.acme.is_some() && !settings.listeners.https.is_empty();
        let bare = |host: &&Hostname| awaits && find(certificates, host.as_str()).is_none();
        let awaited = settings.zones.hosts().filter(bare).cloned().collect();
        Ok(Self { by_name, guarded, awaited })
    }

    /// Whether there is a certificate for this host that has not expired.
    pub(super) fn holds(&self, host: &Hostname, now: UnixTime) -> bool {
        let found = find(&self.by_name, host.as_str());
        found.is_some_and(|profile| profile.served.until().is_some_and(|until| now < until))
    }

    /// Its certificates that are not among `others`, with names and end.
    pub(super) fn not_in(&self, others: &Self) -> Vec<String> {
        let leaf = |profile: &Profile| profile.served.certified.cert.first().cloned();
        let known: HashSet<_> = others.by_name.values().filter_map(|profile| leaf(profile)).collect();
        let new = self.by_name.values().filter(|profile| leaf(profile).is_none_or(|leaf| !known.contains(&leaf)));
        let new: BTreeSet<String> = new.map(|profile| profile.served.to_string()).collect();
        new.into_iter().collect()
    }

    /// Each name, and when the certificate that answers for it ends; 0 for a host that has none yet.
    pub(super) fn until(&self) -> Vec<(String, UnixTime)> {
        const NONE_YET: UnixTime = UnixTime::from_seconds(0);
        let end = |profile: &Profile| profile.served.until().unwrap_or(NONE_YET);
        let served = self.by_name.iter().map(|(name, profile)| (name.clone(), end(profile)));
        served.chain(self.awaited.iter().map(|host| (host.to_string(), NONE_YET))).collect()
    }

    /// The profile for a name in lower case.
    pub(super) fn find(&self, name: &str) -> Option<&Arc<Profile>> {
        let guarded = name.parse::<Hostname>().ok().and_then(|host| self.guarded.get(&host));
        guarded.or_else(|| find(&self.by_name, name))
    }
}

fn verifier(zone: &Zone, asked: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, CertificateProblem> {
    let problem = |text: String| CertificateProblem {
        place: Place { line: 0, key: format!("client_certificates of {}", zone.host) },
        text,
    };
    let mut roots = RootCertStore::empty();
    for root in asked.roots.iter() {
        let root = CertificateDer::from(root.as_slice());
        roots.add(root).map_err(|error| problem(format!("a certificate of ca_file cannot be used: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder(Arc::new(roots));
    let builder = if asked.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| problem(format!("client certificates cannot be verified: {error}")))
}

impl ClientCertificate {
    /// Of a chain that was verified; `None` without one.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, others) = chain.split_first()?;
        // A byte sequence of structured fields (RFC 9651 section 3.3.5).
        let value = |der: &CertificateDer<'_>| format!(":{}:", STANDARD.encode(der));
        let others: Vec<_> = others.iter().map(value).collect();
        let chain = if others.is_empty() { None } else { HeaderValue::try_from(others.join(", ")).ok() };
        Some(Self { leaf: HeaderValue::try_from(value(leaf)).ok()?, chain })
    }
}
