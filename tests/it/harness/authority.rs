//! Authorities of the tests' own, what they sign, and applications that speak TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that an authority has signed, and its key.
pub(crate) struct Leaf {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn leaf(&self, host: &str, expired: bool) -> Leaf {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = if expired { date_time_ymd(2020, 1, 1) } else { date_time_ymd(2090, 1, 1) };
        let key = KeyPair::generate().unwrap();
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }
}

impl Leaf {
    /// As rustls serves it.
    pub(crate) fn served(&self) -> Arc<CertifiedKey> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::from_der(vec![self.certificate.der().clone()], key, &provider).unwrap())
    }
}

/// What an application says of its TLS: its own certificate, who may connect (anybody without it), and its protocols.
pub(crate) fn acceptor(leaf: &Leaf, clients: Option<&Authority>, protocols: &[&[u8]]) -> TlsAcceptor {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = rustls::ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.der().clone()).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(vec![leaf.certificate.der().clone()], key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Takes TLS off and passes the rest on to the application at `to`. Gives the address.
pub(crate) async fn tls_before(to: SocketAddr, acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut socket) = acceptor.accept(socket).await else { return };
                let mut application = TcpStream::connect(to).await.unwrap();
                // Ends when either side does; what went wrong is seen by whoever asks.
                let _ = tokio::io::copy_bidirectional(&mut socket, &mut application).await;
            });
        }
    });
    address
}
