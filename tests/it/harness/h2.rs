//! A client's HTTP/2 connection.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::wire::within;

/// A connection that carries any number of requests.
pub(crate) struct H2(h2::client::SendRequest<Bytes>);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct H2Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl H2 {
    pub(crate) async fn new(socket: TlsStream<TcpStream>) -> Self {
        let (client, connection) = within(h2::client::handshake(socket)).await.unwrap();
        // Ends with the connection, and what went wrong is seen by whoever asks.
        tokio::spawn(async move { drop(connection.await) });
        Self(client)
    }

    /// Sends a request with a body and reads the answer.
    pub(crate) async fn ask(&mut self, request: Request<()>, body: &[u8]) -> Result<H2Reply, h2::Error> {
        let mut ready = within(self.0.clone().ready()).await?;
        let (answer, mut stream) = ready.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        read(within(answer).await?).await
    }

    /// Whether it takes further requests.
    pub(crate) async fn is_open(&self) -> bool {
        within(self.0.clone().ready()).await.is_ok()
    }

    /// Sends a head; body and answer are the caller's.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut ready = within(self.0.clone().ready()).await.unwrap();
        ready.send_request(request, false).unwrap()
    }
}

/// Reads an answer to its end.
pub(crate) async fn read(answer: http::Response<h2::RecvStream>) -> Result<H2Reply, h2::Error> {
    let (parts, mut stream) = answer.into_parts();
    assert!(parts.headers.get("server").is_none_or(|server| server != "Pingora"), "{parts:?}");
    let mut body = Vec::new();
    while let Some(piece) = within(stream.data()).await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let trailers = within(stream.trailers()).await?.unwrap_or_default();
    Ok(H2Reply { status: parts.status, headers: parts.headers, body, trailers })
}
