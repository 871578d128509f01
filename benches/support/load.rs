//! Connections that ask for the same page as fast as they are answered, with a browser's head.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::Certificate;

/// Whom to ask, and with which heads in turn.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    /// None: plain HTTP.
    tls: Option<Tls>,
    heads: Arc<[Vec<u8>]>,
}

#[derive(Clone)]
struct Tls {
    config: Arc<rustls::ClientConfig>,
    roots: rustls::RootCertStore,
}

/// A connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Target {
    /// `certificate`: none for plain HTTP, as from a balancer that has ended TLS. `cookies`: what of each head's `Cookie`
    /// field says who asks.
    pub(crate) fn new(
        address: SocketAddr,
        host: &str,
        certificate: Option<&Certificate>,
        cookies: &[String],
    ) -> Self {
        let tls = certificate.map(|certificate| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from(certificate.der.clone())).expect("our own certificate");
            Tls { config: Arc::new(configured(like_a_browser(), roots.clone())), roots }
        });
        let balancers = match tls {
            None => "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n",
            Some(_) => "",
        };
        let nobody = [format!("__Host-zg_session={}", "A".repeat(43))];
        let cookies = if cookies.is_empty() { &nobody } else { cookies };
        let head = |session: &String| {
            format!(
                "GET /tickets/42?view=full HTTP/1.1\r\nHost: {host}:{}\r\n\
                 User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
                 Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
                 Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
                 Referer: https://{host}/tickets\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
                 Sec-Fetch-Site: same-origin\r\n{balancers}Cookie: theme=dark; {session}; lang=en-GB; visit=3f2a9c\r\n\r\n",
                address.port(),
            )
        };
        Self {
            address,
            name: ServerName::try_from(host.to_owned()).expect("a name"),
            tls,
            heads: cookies.iter().map(|session| head(session).into_bytes()).collect(),
        }
    }

    /// The same for connections that speak HTTP/2.
    fn speaking_http2(&self) -> Self {
        self.with_tls(|tls| {
            let mut config = rustls::ClientConfig::clone(&tls.config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            config
        })
    }

    /// The same for connections whose keys are agreed on by X25519 alone, as old servers do it with every client: a
    /// browser's other offer, which is secret from quantum computers too, costs a server that takes it up more.
    fn agreeing_by_x25519(&self) -> Self {
        self.with_tls(|tls| {
            let mut provider = like_a_browser();
            provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
            configured(provider, tls.roots.clone())
        })
    }

    fn with_tls(&self, config: impl FnOnce(&Tls) -> rustls::ClientConfig) -> Self {
        let tls = self.tls.as_ref().expect("a way of speaking TLS");
        let tls = Tls { config: Arc::new(config(tls)), roots: tls.roots.clone() };
        Self { tls: Some(tls), ..self.clone() }
    }

    /// The same of another server, which shows the same certificate.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let tls = TlsConnector::from(Arc::clone(&tls.config));
                Ok(Box::new(tls.connect(self.name.clone(), stream).await?))
            }
        }
    }
}

/// What a browser offers for TLS: AES with 128 bits first, where rustls' own clients begin with 256. It decides what a
/// handshake hashes with, and SHA-256 is the one that processors have instructions for.
fn like_a_browser() -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

fn configured(provider: CryptoProvider, roots: rustls::RootCertStore) -> rustls::ClientConfig {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A new connection is to cost what a stranger's costs.
    config.resumption = rustls::client::Resumption::disabled();
    config
}

/// How connections are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Kept, HTTP/1.1.
    Kept,
    /// Kept, HTTP/2, one stream at a time.
    Http2,
    /// Each for one request, without resumption.
    New,
    /// The same, with [`Target::agreeing_by_x25519`].
    NewX25519,
}

/// Lets so many connections ask at a time, until `stop`.
pub(crate) async fn start(
    target: &Target,
    connections: usize,
    manner: Manner,
    done: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let target = match manner {
        Manner::NewX25519 => &target.agreeing_by_x25519(),
        Manner::Kept | Manner::Http2 | Manner::New => target,
    };
    for connection in 0..connections {
        let mut asker = Asker::new(target, manner).await.expect("the proxy accepts");
        let (target, done, stop) = (target.clone(), Arc::clone(done), Arc::clone(stop));
        tasks.push(tokio::spawn(async move {
            // Each connection begins elsewhere, and comes to every head in the end.
            for head in target.heads.iter().cycle().skip(connection * target.heads.len() / connections) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let status = asker.ask(&target, head).await.expect("an answer");
                assert_eq!(status, 200, "the application must answer; got {status}");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tasks
}

/// Who asks over one connection after the other, or over one that it keeps.
enum Asker {
    Kept(Box<dyn Stream>, Vec<u8>),
    Http2(h2::client::SendRequest<bytes::Bytes>),
    New(Vec<u8>),
}

impl Asker {
    async fn new(target: &Target, manner: Manner) -> std::io::Result<Self> {
        let buffer = Vec::with_capacity(16 * 1024);
        Ok(match manner {
            Manner::Kept => Self::Kept(target.connect().await?, buffer),
            Manner::New | Manner::NewX25519 => Self::New(buffer),
            Manner::Http2 => {
                let (sender, connection) =
                    h2::client::handshake(target.speaking_http2().connect().await?).await.expect("HTTP/2");
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }

    async fn ask(&mut self, target: &Target, head: &[u8]) -> std::io::Result<u16> {
        match self {
            Self::Kept(stream, buffer) => ask(stream, head, buffer).await,
            Self::New(buffer) => ask(&mut target.connect().await?, head, buffer).await,
            Self::Http2(sender) => ask_http2(sender, head).await.map_err(std::io::Error::other),
        }
    }
}

/// Sends the head of HTTP/1.1 as one of HTTP/2, and reads the whole answer.
async fn ask_http2(sender: &mut h2::client::SendRequest<bytes::Bytes>, head: &[u8]) -> Result<u16, h2::Error> {
    let text = std::str::from_utf8(head).expect("our own head");
    // Without the request line.
    let fields: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
    let host = fields.iter().find(|(name, _)| *name == "Host").expect("a host").1;
    let path = text.split(' ').nth(1).expect("a path");
    let mut request = http::Request::get(format!("https://{host}{path}"));
    for (name, value) in fields.iter().filter(|(name, _)| *name != "Host") {
        request = request.header(*name, *value);
    }
    std::future::poll_fn(|context| sender.poll_ready(context)).await?;
    let (answer, _) = sender.send_request(request.body(()).expect("a request"), true)?;
    let (parts, mut body) = answer.await?.into_parts();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok(parts.status.as_u16())
}

/// Asks `times` in all, over so many connections that stay open.
pub(crate) async fn ask_times(connections: &mut [Box<dyn Stream>], target: &Target, times: usize) {
    let mut buffer = Vec::with_capacity(16 * 1024);
    for turn in 0..times {
        let at = turn % connections.len();
        let status = ask(&mut connections[at], &target.heads[turn % target.heads.len()], &mut buffer)
            .await
            .expect("an answer");
        assert_eq!(status, 200, "the application must answer; got {status}");
    }
}

/// Connects until it is let, at most five minutes: under valgrind everything takes its time.
pub(crate) async fn wait_until_it_listens(target: &Target) {
    wait_until("listens", async || target.connect().await.is_ok()).await;
}

/// Asks until a 200 comes, as long at most.
pub(crate) async fn wait_until_it_answers(target: &Target) {
    let answers = async || match target.connect().await {
        Ok(mut stream) => matches!(ask(&mut stream, &target.heads[0], &mut Vec::new()).await, Ok(200)),
        Err(_) => false,
    };
    wait_until("answers", answers).await;
}

async fn wait_until(what: &str, does: impl AsyncFn() -> bool) {
    let long = async {
        while !does().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(300), long).await;
    waited.unwrap_or_else(|_| panic!("the proxy {what} within five minutes"));
}

/// Sends a request, and reads the whole answer; its status.
pub(crate) async fn ask(stream: &mut Box<dyn Stream>, head: &[u8], buffer: &mut Vec<u8>) -> std::io::Result<u16> {
    stream.write_all(head).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let status = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
            let length =
                text.lines().find_map(|l| l.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
            let length: usize = length.unwrap_or(0);
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            return Ok(status);
        }
    }
}
