//! The provider's socket: TLS, what was asked, and answers that are anything but.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use http::{HeaderMap, StatusCode, header};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Inner;

/// What the provider was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) fields: HeaderMap,
    /// The body, read as a form.
    pub(crate) form: HashMap<String, String>,
}

/// What an endpoint does in place of its honest answer.
#[derive(Clone)]
pub(crate) enum Play {
    /// This.
    Say { status: u16, kind: &'static str, body: String },
    /// Leads elsewhere.
    Redirect { status: u16, to: String },
    /// So many bytes, of which nobody is told before how many there are.
    Endless(usize),
    /// The same, announced.
    Large(usize),
    /// A head, and then a byte now and then.
    Drip,
    /// Nothing, ever.
    Hang,
    /// The honest answer, once the test has given a permit for it.
    Hold(Arc<Semaphore>),
    /// The connection is closed in place of an answer.
    Break,
}

/// The certificate that is shown; tests change it.
#[derive(Debug, Default)]
pub(super) struct Shown(pub(super) Mutex<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().clone()
    }
}

/// Connections whose handshake is over. Each has a task of its own until then, so that one that hangs holds up no other.
struct Doors {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl Listener for Doors {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Serves what `inner` says on `listener` for as long as the test's runtime lives.
pub(super) fn serve(listener: TcpListener, shown: Arc<Shown>, inner: Arc<Inner>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(shown);
    // Whoever resumes a session sees no certificate; here each connection is to show whether it is looked at.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = listener.local_addr().unwrap();
    let (give, ready) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((socket, address)) = listener.accept().await {
            let (acceptor, give) = (acceptor.clone(), give.clone());
            tokio::spawn(async move {
                // Whoever does not trust the certificate goes away; the test sees it on its side.
                if let Ok(stream) = acceptor.accept(socket).await {
                    let _ = give.send((stream, address)).await;
                }
            });
        }
    });
    let router = Router::new().fallback(answer).with_state(inner);
    tokio::spawn(async move { axum::serve(Doors { address, ready }, router).await });
}

pub(super) fn pairs(text: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

async fn answer(State(inner): State<Arc<Inner>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().into(),
        query: pairs(parts.uri.query().unwrap_or_default().as_bytes()),
        fields: parts.headers,
        form: pairs(&body),
    };
    let play = inner.note(&asked);
    match play {
        None => inner.honest(&asked),
        Some(Play::Hold(permits)) => {
            permits.acquire().await.unwrap().forget();
            inner.honest(&asked)
        }
        Some(Play::Say { status, kind, body }) => {
            (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Some(Play::Redirect { status, to }) => {
            (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, to)]).into_response()
        }
        Some(Play::Large(count)) => json(Body::from(vec![b' '; count])),
        Some(Play::Endless(count)) => {
            let piece = Bytes::from(vec![b' '; 4096]);
            let pieces = (0..count / piece.len()).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
            json(Body::from_stream(futures_util::stream::iter(pieces)))
        }
        Some(Play::Drip) => {
            let bytes = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            json(Body::from_stream(bytes))
        }
        Some(Play::Hang) => std::future::pending().await,
        Some(Play::Break) => {
            // The head says that something comes, and then nothing can.
            let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("broken")) });
            json(Body::from_stream(broken))
        }
    }
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
