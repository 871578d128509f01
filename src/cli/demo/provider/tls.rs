//! The sample provider's socket. Providers are reached by verified TLS only, also on loopback, so it has a certificate
//! of the demo's authority.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::cli::demo::certs::Leaf;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Connections whose handshake is over. Each has a task of its own until then, so that one that hangs holds up no other.
pub(super) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Accepts on `listener`, with `leaf`. Within a runtime.
pub(super) fn listen(listener: std::net::TcpListener, leaf: &Leaf) -> io::Result<TlsListener> {
    let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).map_err(io::Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain.map_err(io::Error::other)?, key).map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let (give, ready) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((socket, from)) = listener.accept().await {
            let (acceptor, give) = (acceptor.clone(), give.clone());
            tokio::spawn(async move {
                // Whoever does not trust the certificate goes away, and says so on their side.
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(socket)).await {
                    let _ = give.send((stream, from)).await;
                }
            });
        }
    });
    Ok(TlsListener { address, ready })
}
