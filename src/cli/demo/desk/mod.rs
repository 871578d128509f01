//! "Acme Desk": the sample application behind the demo's gateway.
//!
//! It stands for the application that an operator already has, so it knows nothing of zonegate beyond what the
//! documentation tells a backend: identity headers come along, and the signed assertion can be verified with the
//! zone's published keys. It lives in the demo's process for convenience only and listens on a socket of its own.
//! Every page shows the request as it arrived, so that a newcomer sees what the gateway did to it.

mod page;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;

pub(crate) use verify::{Verdict, Verifier, ZoneKeys};

/// The sample application's state: how it verifies who is asking.
#[derive(Debug)]
pub(crate) struct Desk {
    verifier: Verifier,
}

/// A request as it arrived.
#[derive(Debug, Serialize)]
pub(crate) struct Received {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Every header in the order of arrival. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// What became of the assertion.
    pub assertion: Verdict,
    /// How many bytes of body came.
    pub body_bytes: u64,
}

impl Desk {
    /// The application, verifying with `verifier`.
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self { verifier }
    }

    async fn received(&self, head: &Parts, body_bytes: u64) -> Received {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Received {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            assertion: self.verifier.verify(&head.headers).await,
            body_bytes,
        }
    }
}

/// The application's routes.
pub(crate) fn router(desk: Desk) -> Router {
    let desk = Arc::new(desk);
    Router::new()
        .route("/", get(home))
        .route("/tickets", get(tickets).post(add_note))
        .route("/tickets/{number}", get(ticket))
        .route("/live", get(live))
        .route("/status", get(status))
        .route("/privacy", get(privacy))
        .route("/echo", any(echo))
        .route("/desk.css", get(|| asset("text/css; charset=utf-8", include_str!("desk.css"))))
        .route("/desk.js", get(|| asset("text/javascript; charset=utf-8", include_str!("desk.js"))))
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), programs_get_the_echo))
        .route("/events", get(events))
        .route("/socket", get(socket))
        .with_state(desk)
}

/// Answers every address with the echo when the client asks for JSON, so that any deep link can be tried from a
/// script.
async fn programs_get_the_echo(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let wants_json = |accept: &HeaderValue| accept.to_str().is_ok_and(|text| text.contains("application/json"));
    if request.headers().get_all(ACCEPT).iter().any(wants_json) {
        return echo(State(desk), request).await;
    }
    next.run(request).await
}

async fn echo(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match count(body).await {
        Ok(body_bytes) => private(axum::Json(desk.received(&head, body_bytes).await)),
        Err(error) => (StatusCode::BAD_REQUEST, format!("the body broke off: {error}\n")).into_response(),
    }
}

/// The body's length, without keeping it.
async fn count(body: Body) -> Result<u64, axum::Error> {
    let mut chunks = body.into_data_stream();
    let mut bytes = 0;
    while let Some(chunk) = chunks.next().await {
        bytes += chunk?.len() as u64;
    }
    Ok(bytes)
}

async fn home(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    private(Html(page::home(&received)))
}

async fn tickets(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    private(Html(page::tickets(&received, None)))
}

/// Takes the form of the ticket list: the text that was sent is shown again and kept nowhere.
async fn add_note(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, 64 << 10).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "a note has at most 64 KiB\n").into_response();
    };
    let received = desk.received(&head, bytes.len() as u64).await;
    let note = url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "note");
    private(Html(page::tickets(&received, note.map(|(_, text)| text.into_owned()).as_deref())))
}

async fn ticket(State(desk): State<Arc<Desk>>, Path(number): Path<String>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    match page::ticket(&received, &number) {
        Some(html) => private(Html(html)),
        None => (StatusCode::NOT_FOUND, private(Html(page::nothing_here(&received)))).into_response(),
    }
}

async fn live(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    private(Html(page::live(&received)))
}

async fn status(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    private(Html(page::status(&received)))
}

async fn privacy(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    private(Html(page::privacy(&received)))
}

async fn nothing_here(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let received = desk.received(&request.into_parts().0, 0).await;
    (StatusCode::NOT_FOUND, private(Html(page::nothing_here(&received)))).into_response()
}

/// A strict policy, which the gateway's menu works under. Forms lead to wherever somebody logs out: browsers apply
/// `form-action` to the redirect that answers a form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'self' https:";

/// An application's pages behind a log-in are nobody's to keep: without this, Back shows them after Log Out (R116).
fn private(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "private, max-age=300")], text)
}

/// One event a second, for ever: an event stream that only the gateway ends.
async fn events() -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>>> {
    let ticks = futures_util::stream::unfold(0_u64, |count| async move {
        if count > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Some((Ok(Event::default().event("tick").data(count.to_string())), count + 1))
    });
    Sse::new(ticks)
}

/// Sends back every message.
async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            let sent = match message {
                Message::Text(_) | Message::Binary(_) => socket.send(message).await,
                // The library answers pings and closes itself.
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
            };
            if sent.is_err() {
                return;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt as _;

    fn desk() -> Router {
        router(Desk::new(Verifier::new(reqwest_never(), vec![])))
    }

    /// A client for tests in which no request is made.
    fn reqwest_never() -> reqwest::Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        reqwest::Client::builder().tls_certs_only([]).build().unwrap()
    }

    async fn answer(request: Request) -> (StatusCode, String) {
        let response = desk().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_program_gets_the_echo_at_every_address() {
        let request = Request::post("/tickets/7?x=1").header(ACCEPT, "application/json").header("x-twice", "a");
        let (status, body) = answer(request.header("x-twice", "b").body("12345".into()).unwrap()).await;
        let echo: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, StatusCode::OK);
        assert_eq!(echo["method"], "POST");
        assert_eq!(echo["path"], "/tickets/7?x=1");
        assert_eq!(echo["body_bytes"], 5);
        assert_eq!(echo["headers"].as_array().unwrap().iter().filter(|h| h[0] == "x-twice").count(), 2);
        assert_eq!(echo["assertion"]["verified"], false);
    }

    #[tokio::test]
    async fn what_a_client_sends_cannot_become_markup() {
        let request = Request::get("/").header("x-odd", "<script>alert(1)</script>");
        let (_, body) = answer(request.body(Body::empty()).unwrap()).await;
        assert!(body.contains("x-odd") && !body.contains("<script>alert"), "{body}");
    }

    #[tokio::test]
    async fn a_note_is_shown_again_and_an_unknown_ticket_is_404() {
        let (status, body) = answer(Request::post("/tickets").body("note=a%26b".into()).unwrap()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("a&#38;b"), "{body}");
        let (status, _) = answer(Request::get("/tickets/nope").body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}
