//! X6: an application that cannot prove who it is gets no request, and so no identity; there is no falling back.

use std::sync::{Arc, Mutex};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{A, Authority, Gateway, OK, WALL, Wishes};

/// The certificate that the application shows; the test changes it.
#[derive(Debug, Default)]
struct Shown(Mutex<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn x6_an_application_that_cannot_prove_its_name_gets_nothing() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ours = Authority::new();
    let stranger = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, &ours.pem).unwrap();

    let shown = Arc::new(Shown::default());
    let resolver = Arc::clone(&shown) as Arc<dyn ResolvesServerCert>;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut head = vec![0; 8192];
            let count = socket.read(&mut head).await.unwrap_or_default();
            hearing.lock().unwrap().extend_from_slice(&head[..count]);
            let _ = socket.write_all(OK).await;
            let _ = socket.shutdown().await;
        }
    });
    let upstream = format!("server_name: app.test, ca_file: {}", ca_file.display()).leak();
    let wishes = Wishes { upstream, scheme: "https", ..Wishes::default() };
    let mut gateway = Gateway::start_with(address, wishes).await;
    let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    for (what, certificate, want) in [
        ("the right one", Some(ours.leaf("app.test", false).served()), 200),
        ("another name", Some(ours.leaf("other.test", false).served()), 502),
        ("an authority that nobody trusts", Some(stranger.leaf("app.test", false).served()), 502),
        ("one that has expired", Some(ours.leaf("app.test", true).served()), 502),
        ("none", None, 502),
    ] {
        *shown.0.lock().unwrap() = certificate;
        for fields in ["", "Accept: text/event-stream\r\n", websocket] {
            let mut wire = gateway.connect(A).await;
            let reply = wire.ask(format!("GET /x HTTP/1.1\r\nHost: {A}\r\n{cookie}{fields}\r\n")).await;
            assert_eq!(reply.status, want, "{what} {fields:?}: {reply:?}");
            let heard = std::mem::take(&mut *heard.lock().unwrap());
            assert_eq!(heard.is_empty(), want != 200, "{what}: {:?}", String::from_utf8_lossy(&heard));
        }
    }
    gateway.assert_well();
}
