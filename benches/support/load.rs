//! Keep-alive TLS connections that ask for the same page as fast as they are answered, with a browser's head.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Certificate;

/// Whom to ask, and with which heads in turn.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
    heads: Arc<[Vec<u8>]>,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, host: &str, certificate: &Certificate, cookies: &[String]) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(certificate.der.clone())).expect("our own certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let nobody = [format!("__Host-zg_session={}", "A".repeat(43))];
        let cookies = if cookies.is_empty() { &nobody } else { cookies };
        let head = |session: &String| {
            format!(
                "GET /tickets/42?view=full HTTP/1.1\r\nHost: {host}:{}\r\n\
                 User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
                 Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
                 Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
                 Referer: https://{host}/tickets\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\
                 Sec-Fetch-Site: same-origin\r\nCookie: theme=dark; {session}; lang=en-GB; visit=3f2a9c\r\n\r\n",
                address.port(),
            )
        };
        Self {
            address,
            name: ServerName::try_from(host.to_owned()).expect("a name"),
            tls: TlsConnector::from(Arc::new(config)),
            heads: cookies.iter().map(|session| head(session).into_bytes()).collect(),
        }
    }

    /// The same of another server, which shows the same certificate.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.tls.connect(self.name.clone(), stream).await
    }
}

/// Opens the connections and lets them ask until `stop`.
pub(crate) async fn start(
    target: &Target,
    connections: usize,
    done: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for connection in 0..connections {
        let mut stream = target.connect().await.expect("the proxy accepts");
        let (heads, done, stop) = (Arc::clone(&target.heads), Arc::clone(done), Arc::clone(stop));
        tasks.push(tokio::spawn(async move {
            let mut buffer = Vec::with_capacity(16 * 1024);
            // Each connection begins elsewhere, and comes to every head in the end.
            for head in heads.iter().cycle().skip(connection * heads.len() / connections) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let status = ask(&mut stream, head, &mut buffer).await.expect("an answer");
                assert_eq!(status, 200, "the application must answer; got {status}");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tasks
}

/// Asks `times` in all, over so many connections that stay open.
pub(crate) async fn ask_times(connections: &mut [TlsStream<TcpStream>], target: &Target, times: usize) {
    let mut buffer = Vec::with_capacity(16 * 1024);
    for turn in 0..times {
        let at = turn % connections.len();
        let status = ask(&mut connections[at], &target.heads[turn % target.heads.len()], &mut buffer)
            .await
            .expect("an answer");
        assert_eq!(status, 200, "the application must answer; got {status}");
    }
}

/// Asks until a 200 comes, at most five minutes: under valgrind everything takes its time.
pub(crate) async fn wait_until_it_answers(target: &Target) {
    let answered = async {
        loop {
            if let Ok(mut stream) = target.connect().await
                && let Ok(200) = ask(&mut stream, &target.heads[0], &mut Vec::new()).await
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), answered)
        .await
        .expect("the gateway answers within five minutes");
}

async fn ask(stream: &mut TlsStream<TcpStream>, head: &[u8], buffer: &mut Vec<u8>) -> std::io::Result<u16> {
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
