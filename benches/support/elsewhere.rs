//! Another server on the same machine: shakes hands, reads what comes first, and answers 503.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Certificate;

/// Starts it on a thread of its own, which ends with the process.
pub(crate) fn start(certificate: &Certificate) -> SocketAddr {
    let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("our own key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate.der.clone())], key)
        .expect("our own certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener");
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                tokio::spawn(turn_away(acceptor.clone(), socket));
            }
        });
    });
    address
}

async fn turn_away(acceptor: TlsAcceptor, socket: tokio::net::TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(socket).await?;
    // Not all of it: a head and a small body come at once.
    let _ = stream.read(&mut [0; 4096]).await?;
    stream
        .write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await?;
    stream.shutdown().await
}
