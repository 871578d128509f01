//! Certificates by server name. A name nobody answers for gets no handshake (X2), and a connection carries requests
//! only for hosts that its certificate covers (X1, X4).

use std::any::Any;
use std::collections::HashMap;
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

use crate::base::UnixTime;
use crate::config::PemPair;
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
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(covered) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(covered)),
            None => host.eq_ignore_ascii_case(name),
        })
    }
}

/// What is wrong with a certificate, for the operator.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{file}: {text}")]
pub struct CertificateProblem {
    /// The file's name.
    pub file: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Makes aws-lc-rs the process's one provider. Must come before anything of pingora's touches TLS, or ring is it.
pub(super) fn install_provider() {
    // The second call of a process finds the first one's provider, which is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Certificates {
    /// Reads every pair and checks that each host of the table has one, all problems at once.
    pub fn load(
        pairs: &[PemPair],
        zones: &ZoneTable,
        now: UnixTime,
    ) -> Result<Arc<Self>, Vec<CertificateProblem>> {
        install_provider();
        let mut by_name = HashMap::new();
        let mut problems = Vec::new();
        for pair in pairs {
            match read(pair, now) {
                Ok(served) => {
                    let served = Arc::new(served);
                    by_name.extend(served.names.iter().map(|name| (name.clone(), Arc::clone(&served))));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut hosts: Vec<_> = zones.hosts().map(crate::base::Hostname::as_str).collect();
        hosts.sort_unstable();
        for host in hosts.into_iter().filter(|host| find(&by_name, host).is_none()) {
            problems.push(CertificateProblem {
                file: "certificates".into(),
                text: format!("no certificate covers {host}: put {host}.crt and {host}.key into the directory of certificates.directory"),
            });
        }
        if problems.is_empty() {
            Ok(Arc::new(Self { by_name: ArcSwap::from_pointee(by_name) }))
        } else {
            Err(problems)
        }
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

fn read(pair: &PemPair, now: UnixTime) -> Result<Served, CertificateProblem> {
    let problem = |file: &std::path::Path, text: &str| CertificateProblem {
        file: file.display().to_string(),
        text: text.to_owned(),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| problem(&pair.chain_file, "holds no certificate in PEM form"))?;
    let key = PrivateKeyDer::from_pem_slice(&pair.key)
        .map_err(|_| problem(&pair.key_file, "holds no private key in PEM form"))?;
    let leaf = chain.first().ok_or_else(|| problem(&pair.chain_file, "holds no certificate in PEM form"))?;
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|_| problem(&pair.chain_file, "begins with something that is no X.509 certificate"))?;
    let names: Vec<String> = match parsed.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(dns_name).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    if names.is_empty() {
        return Err(problem(
            &pair.chain_file,
            "names no host (subjectAltName); browsers refuse such certificates",
        ));
    }
    let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
    if parsed.validity().not_after.timestamp() <= seconds {
        let text = format!("expired on {}: renew it", parsed.validity().not_after);
        return Err(problem(&pair.chain_file, &text));
    }
    let provider = CryptoProvider::get_default()
        .ok_or_else(|| problem(&pair.chain_file, "cannot be used: the TLS library has no provider"))?;
    let certified = CertifiedKey::from_der(chain.clone(), key, provider).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            problem(&pair.key_file, &format!("is not the key of the certificate in {}", pair.chain_file.display()))
        } else {
            problem(&pair.key_file, &format!("cannot be used: {error}"))
        }
    })?;
    Ok(Served { certified: Arc::new(certified), names })
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
}
