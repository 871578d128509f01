//! Certificates by server name. A name nobody answers for gets no handshake (X2), and a connection carries requests
//! only for hosts that its certificate covers (X1, X4).

use std::any::Any;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::protocols::Digest;
use pingora::protocols::tls::TlsRef;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::base::{Hostname, UnixTime};
use crate::config::{Inspection, PemPair, Place};
use crate::zone::ZoneTable;

/// The certificates in use, swapped whole.
#[derive(Debug)]
pub struct Certificates {
    by_name: ArcSwap<HashMap<String, Arc<Served>>>,
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
    /// covers no host is no reason not to start: it may be there for a zone that is to come.
    pub fn load(
        pairs: &[PemPair],
        zones: &ZoneTable,
        now: UnixTime,
    ) -> Result<Arc<Self>, Vec<CertificateProblem>> {
        let Reading { by_name, names_of_unusable, mut problems, .. } = Reading::of(pairs, &[], now);
        let mut hosts: Vec<_> = zones.hosts().map(|host| (host.clone(), Place::default())).collect();
        hosts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        problems.extend(uncovered(&by_name, &names_of_unusable, &hosts));
        if problems.is_empty() {
            Ok(Arc::new(Self { by_name: ArcSwap::from_pointee(by_name) }))
        } else {
            Err(problems)
        }
    }

    /// Serves with those of `other` from here on. The answer: which of them were not in use before, in words. A
    /// connection keeps the certificate that it was opened with.
    pub(super) fn replace(&self, other: &Self) -> Vec<String> {
        let new = other.by_name.load_full();
        let old = self.by_name.swap(Arc::clone(&new));
        let leaf = |served: &Arc<Served>| served.certified.cert.first().cloned();
        let known: HashSet<_> = old.values().filter_map(leaf).collect();
        let fresh = new.values().filter(|served| leaf(served).is_none_or(|leaf| !known.contains(&leaf)));
        let fresh: BTreeSet<_> = fresh.map(ToString::to_string).collect();
        fresh.into_iter().collect()
    }

    /// Everything that is wrong with the certificates of a configuration, also of one that is not right itself.
    pub fn inspect(inspection: &Inspection, now: UnixTime, leftovers: Leftovers) -> Vec<CertificateProblem> {
        let reading = Reading::of(&inspection.certificates, &inspection.keyless, now);
        let mut problems = reading.problems;
        problems.extend(uncovered(&reading.by_name, &reading.names_of_unusable, &inspection.hosts));
        // Whoever mistyped a host is not told as well that its certificate covers nothing.
        if leftovers == Leftovers::Reported && inspection.hosts_are_all {
            let leftover =
                |served: &Served| !inspection.hosts.iter().any(|(host, _)| served.covers(host.as_str()));
            problems.extend(reading.usable.into_iter().filter(|(_, served)| leftover(served)).map(
                |(pair, served)| CertificateProblem {
                    place: pair.place.clone(),
                    text: format!(
                        "{} covers {}, and no host of this configuration is among them: add the zone, or take the \
                         certificate away",
                        pair.chain_file.display(),
                        served.names.join(", ")
                    ),
                },
            ));
        }
        problems
    }
}

/// Whether a certificate that covers no host is worth a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leftovers {
    /// It is: somebody asked for everything.
    Reported,
    /// It is not: it hurts nobody.
    Ignored,
}

/// What became of all certificates.
struct Reading<'a> {
    by_name: HashMap<String, Arc<Served>>,
    usable: Vec<(&'a PemPair, Arc<Served>)>,
    /// Their hosts are not told to lack a certificate: mending the one that is there is what would be right.
    names_of_unusable: HashSet<String>,
    problems: Vec<CertificateProblem>,
}

impl<'a> Reading<'a> {
    fn of(pairs: &'a [PemPair], keyless: &[PemPair], now: UnixTime) -> Self {
        install_provider();
        let mut reading = Self {
            by_name: HashMap::new(),
            usable: Vec::new(),
            names_of_unusable: keyless.iter().filter_map(|pair| names(pair).ok()).flatten().collect(),
            problems: Vec::new(),
        };
        for pair in pairs {
            match (read(pair, now), names(pair)) {
                (Ok(certified), Ok(names)) => {
                    let served = Arc::new(Served { certified, names });
                    reading.by_name.extend(served.names.iter().map(|name| (name.clone(), Arc::clone(&served))));
                    reading.usable.push((pair, served));
                }
                (Err(problem), Ok(names)) => {
                    reading.problems.push(problem);
                    reading.names_of_unusable.extend(names);
                }
                (_, Err(problem)) => reading.problems.push(problem),
            }
        }
        reading
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

fn find<'a>(by_name: &'a HashMap<String, Arc<Served>>, name: &str) -> Option<&'a Arc<Served>> {
    by_name.get(name).or_else(|| {
        let (_, parent) = name.split_once('.')?;
        by_name.get(&format!("*.{parent}"))
    })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has put the name into lower case. No name, or one nobody answers for: the handshake fails.
        find(&self.by_name.load(), hello.server_name()?).map(|served| Arc::clone(&served.certified))
    }
}

/// Keeps with each connection which certificate it was opened with.
pub(super) struct Opened(pub(super) Arc<Certificates>);

#[async_trait]
impl TlsAccept for Opened {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let served = find(&self.0.by_name.load(), tls.server_name()?).cloned()?;
        Some(served)
    }
}

/// Whether a request for `host` belongs on this connection.
///
/// Browsers send requests for one host on a connection that they opened for another where they think that one
/// certificate covers both. A client that says one name to TLS and another to HTTP gets past whatever looks at the
/// first, so the certificate decides (RFC 9110 section 7.4). The plain listener has none, and only redirects.
pub(super) fn belongs(connection: Option<&Digest>, host: &str) -> bool {
    let Some(tls) = connection.and_then(|digest| digest.ssl_digest.as_ref()) else { return true };
    tls.extension.get::<Served>().is_some_and(|served| served.covers(host))
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
    if validity.not_before.timestamp() > seconds {
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
}
