//! A client's connection, byte for byte: what is sent is what the test wrote.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long anything may take. Generous: tests share two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Fails instead of waiting for ever.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{place} waits for something that does not come"),
        }
    }
}

/// A port that nobody has, and that the system gives to no connection that goes out: some servers take seconds to begin,
/// and the tests have hundreds of connections meanwhile.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| {
        let at = first.wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        u16::try_from(PORTS.start + at).unwrap()
    });
    let mut free = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().unwrap()
}

/// Anything that carries bytes.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A connection, with what has been received and not yet looked at.
pub(crate) struct Wire {
    socket: Box<dyn Socket>,
    buffer: Vec<u8>,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names as they were written, in order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
    /// Whether the body was ended by what ends it, and not by the connection going away before.
    pub(crate) whole: bool,
}

impl Reply {
    /// The value of the only field of this name.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        of_name(&self.fields, name)
    }
}

/// The values of the fields of this name, whatever its case.
pub(crate) fn of_name<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}

/// The first line and the fields of a head.
pub(crate) fn parse_head(head: &[u8]) -> (String, Vec<(String, String)>) {
    let text: String = head.iter().copied().map(char::from).collect();
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap().to_owned();
    let fields = lines.filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
    });
    (first, fields.collect())
}

impl Wire {
    pub(crate) fn new(socket: impl Socket + 'static) -> Self {
        Self::with(socket, Vec::new())
    }

    /// Goes on where somebody else has read already.
    pub(crate) fn with(socket: impl Socket + 'static, buffer: Vec<u8>) -> Self {
        Self { socket: Box::new(socket), buffer }
    }

    /// The connection beneath, when nothing was received that was not looked at.
    pub(crate) fn into_socket(self) -> Box<dyn Socket> {
        assert!(self.buffer.is_empty());
        self.socket
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.try_send(bytes)).await.unwrap();
    }

    /// Sends to somebody who may have hung up.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.socket.write_all(bytes.as_ref()).await?;
        self.socket.flush().await
    }

    /// Ends this side's sending.
    pub(crate) async fn finish(&mut self) {
        let _ = within(self.socket.shutdown()).await;
    }

    /// Receives more; whether there was more. A reset is an end like any other.
    async fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match within(self.socket.read(&mut piece)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
        }
    }

    /// Everything until `end`, which is included; what there is when the connection ends before.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            if !self.more().await {
                return Err(std::mem::take(&mut self.buffer));
            }
        }
    }

    /// Exactly so many bytes, or what there is.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Vec<u8>> {
        while self.buffer.len() < count {
            if !self.more().await {
                return Err(std::mem::take(&mut self.buffer));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// A head, without its body.
    pub(crate) async fn head(&mut self) -> Option<Reply> {
        let head = self.until(b"\r\n\r\n").await.ok()?;
        let (line, fields) = parse_head(&head);
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
        // Whoever asks, and whatever becomes of it: no answer says what we are made of.
        assert!(!of_name(&fields, "server").contains(&"Pingora"), "{line}: {fields:?}");
        Some(Reply { status, fields, body: String::new(), whole: true })
    }

    /// One chunk of a body in chunks; empty at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Vec<u8>, Vec<u8>> {
        let line = self.until(b"\r\n").await?;
        let text = String::from_utf8_lossy(&line);
        let size = usize::from_str_radix(text.trim(), 16).unwrap_or_else(|_| panic!("not a size: {text:?}"));
        let mut data = self.exactly(size + 2).await?;
        data.truncate(size);
        Ok(data)
    }

    /// An answer with its body, or nothing when the connection ends before one.
    pub(crate) async fn try_reply(&mut self, bodiless: bool) -> Option<Reply> {
        let mut reply = self.head().await?;
        if bodiless || reply.status < 200 || matches!(reply.status, 204 | 304) {
            return Some(reply);
        }
        let chunked = reply.field("transfer-encoding").is_some();
        let length = reply.field("content-length").map(|length| length.parse().unwrap());
        let mut body = Vec::new();
        reply.whole = match (chunked, length) {
            (true, None) => loop {
                match self.chunk().await {
                    Ok(data) if data.is_empty() => break true,
                    Ok(data) => body.extend(data),
                    Err(data) => {
                        body.extend(data);
                        break false;
                    }
                }
            },
            (false, Some(length)) => {
                let got = self.exactly(length).await;
                let whole = got.is_ok();
                body = got.unwrap_or_else(|part| part);
                whole
            }
            (false, None) => {
                body = self.rest().await.into_bytes();
                true
            }
            (true, Some(_)) => panic!("two lengths: {reply:?}"),
        };
        reply.body = String::from_utf8_lossy(&body).into_owned();
        Some(reply)
    }

    /// An answer with its body.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> impl Future<Output = Reply> {
        let place = std::panic::Location::caller();
        async move {
            let reply = self.try_reply(false).await;
            reply.unwrap_or_else(|| panic!("{place}: the connection ended without an answer"))
        }
    }

    /// Sends and gives the answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request).await;
        self.reply().await
    }

    /// Fails unless the other side ends the connection and sends nothing more.
    #[track_caller]
    pub(crate) fn assert_ended(mut self, why: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let rest = self.rest().await;
            assert!(rest.is_empty(), "{place}: {why}: {rest:?}");
        }
    }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
