//! An application that writes down every byte it receives, and answers what the test tells it, wrong things too.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::wire::{Wire, find, of_name, parse_head, within};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Which connection it came on, counted from 0.
    pub(crate) connection: usize,
    /// The request line.
    pub(crate) line: String,
    /// Names as they were written, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The body, without chunk sizes.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        of_name(&self.fields, name)
    }
}

/// What the application does with a request.
#[derive(Clone)]
pub(crate) enum Play {
    /// Reads the body, answers with these bytes, and goes on with the connection.
    Say(Vec<u8>),
    /// The same, and closes.
    SayAndClose(Vec<u8>),
    /// Resets the connection after these bytes.
    SayAndReset(Vec<u8>),
    /// Says this, and then everything it hears.
    Echo(Vec<u8>),
    /// Hands the connection to the test, the body not read: see [`Upstream::taken`].
    Take,
}

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<Received>>,
    /// What came and was no request.
    garbage: Mutex<Vec<Vec<u8>>>,
    plays: Mutex<HashMap<String, Play>>,
    connections: AtomicUsize,
}

/// A listening application.
pub(crate) struct Upstream {
    address: SocketAddr,
    log: Arc<Log>,
    taken: mpsc::UnboundedReceiver<(Received, Wire)>,
}

/// `ok` with its length.
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

impl Upstream {
    /// Listens, and answers `ok` to everything.
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    /// The same at an address of the test's choice.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (give, taken) = mpsc::unbounded_channel();
        let log_of_tasks = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = log_of_tasks.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(converse(socket, number, Arc::clone(&log_of_tasks), give.clone()));
            }
        });
        Self { address, log, taken }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says what is done with requests for this path.
    pub(crate) fn on(&self, path: &str, play: Play) {
        self.log.plays.lock().unwrap().insert(path.into(), play);
    }

    /// Answers requests for this path with these bytes.
    pub(crate) fn say(&self, path: &str, answer: impl AsRef<[u8]>) {
        self.on(path, Play::Say(answer.as_ref().to_vec()));
    }

    /// The next request that was to be taken, and its connection.
    pub(crate) async fn taken(&mut self) -> (Received, Wire) {
        within(self.taken.recv()).await.unwrap()
    }

    /// The requests since the last look.
    pub(crate) fn received(&self) -> Vec<Received> {
        let garbage = std::mem::take(&mut *self.log.garbage.lock().unwrap());
        let garbage: Vec<_> = garbage.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        assert!(garbage.is_empty(), "the application received what is no request: {garbage:?}");
        std::mem::take(&mut *self.log.requests.lock().unwrap())
    }

    /// The only request since the last look.
    #[track_caller]
    pub(crate) fn only(&self) -> Received {
        let mut all = self.received();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// Fails if anything has arrived since the last look.
    #[track_caller]
    pub(crate) fn assert_silent(&self, why: &str) {
        let all = self.received();
        assert!(all.is_empty(), "{why}: the application received {all:#?}");
    }

    /// How many connections were ever made.
    pub(crate) fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut socket: TcpStream,
    connection: usize,
    log: Arc<Log>,
    give: mpsc::UnboundedSender<(Received, Wire)>,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = head_end(&mut socket, &mut buffer).await else {
            if !buffer.is_empty() {
                log.garbage.lock().unwrap().push(buffer);
            }
            return;
        };
        let head: Vec<_> = buffer.drain(..end).collect();
        let (line, fields) = parse_head(&head);
        let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
        let play = log.plays.lock().unwrap().get(&path).cloned().unwrap_or_else(|| Play::Say(OK.to_vec()));
        let mut received = Received { connection, line, fields, body: Vec::new() };
        if let Play::Take = play {
            log.requests.lock().unwrap().push(received.clone());
            let _ = give.send((received, Wire::with(socket, buffer)));
            return;
        }
        let whole = body(&mut socket, &mut buffer, &mut received).await;
        let is_head = received.line.starts_with("HEAD ");
        if !whole {
            // A body that was cut off is what a careful application throws away.
            return;
        }
        log.requests.lock().unwrap().push(received);
        let (answer, goes_on) = match play {
            Play::Say(answer) => (answer, true),
            Play::SayAndClose(answer) => (answer, false),
            Play::SayAndReset(answer) => {
                let _ = socket.write_all(&answer).await;
                let _ = socket.set_zero_linger();
                return;
            }
            Play::Echo(answer) => {
                let _ = socket.write_all(&answer).await;
                let (mut from, mut to) = socket.split();
                let _ = to.write_all(&buffer).await;
                let _ = tokio::io::copy(&mut from, &mut to).await;
                return;
            }
            Play::Take => unreachable!(),
        };
        let answer = if is_head && answer == OK { &answer[..answer.len() - 2] } else { &answer[..] };
        if socket.write_all(answer).await.is_err() || !goes_on {
            return;
        }
    }
}

/// Where the head in the buffer ends, once it is all there.
async fn head_end(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            return Some(at + 4);
        }
        more(socket, buffer).await?;
    }
}

async fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    let count = socket.read(&mut piece).await.ok().filter(|count| *count > 0)?;
    buffer.extend_from_slice(&piece[..count]);
    Some(())
}

/// Reads the body by the length that the head gives; whether it came whole.
async fn body(socket: &mut TcpStream, buffer: &mut Vec<u8>, received: &mut Received) -> bool {
    if !received.all("transfer-encoding").is_empty() {
        loop {
            let Some(size) = line(socket, buffer).await else { return false };
            let Ok(size) = usize::from_str_radix(size.trim(), 16) else { return false };
            if !exactly(socket, buffer, size, &mut received.body).await || line(socket, buffer).await.is_none() {
                return false;
            }
            if size == 0 {
                return true;
            }
        }
    }
    let length = received.all("content-length").first().map_or(0, |length| length.parse().unwrap());
    exactly(socket, buffer, length, &mut received.body).await
}

async fn line(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = find(buffer, b"\r\n") {
            let line: Vec<_> = buffer.drain(..at + 2).collect();
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
        more(socket, buffer).await?;
    }
}

async fn exactly(socket: &mut TcpStream, buffer: &mut Vec<u8>, count: usize, into: &mut Vec<u8>) -> bool {
    while buffer.len() < count {
        if more(socket, buffer).await.is_none() {
            into.append(buffer);
            return false;
        }
    }
    into.extend(buffer.drain(..count));
    true
}
