//! Answers of our own, written through pingora: the portal's pages, challenges, refusals and redirects.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::prelude::Session as Exchange;
use pingora::protocols::http::HttpTask;
use pingora::{Error, ErrorType, Result};
use tower::ServiceExt as _;

use super::{Edge, Passage};
use crate::edge::generation::Generation;
use crate::edge::hygiene::Refused;
use crate::edge::reasons::Reason;
use crate::edge::refusals::{self, Sent};
use crate::edge::rescue;
use crate::gate::{Challenge, ChallengeReason, Client, Forbidden, Refusal};
use crate::portal::answer::{self, Answer};
use crate::portal::{Realm, Visit};
use crate::session::{Ended, Session};
use crate::zone::Zone;

/// The largest answer of our own that is written back. Our pages are a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Edge {
    /// One of our own pages answers.
    pub(super) async fn serve(
        &self,
        exchange: &mut Exchange,
        generation: &Generation,
        visit: Visit,
    ) -> Result<bool> {
        let limits = &generation.settings.limits;
        let too_slow: Duration = limits.form_time_max.into();
        let Some(room) = generation.portal.room_for_form(&visit, exchange.req_header().uri.path()).await else {
            return self.refuse_form(exchange, generation, &visit, StatusCode::SERVICE_UNAVAILABLE).await;
        };
        let body = match tokio::time::timeout(too_slow, read_form(exchange, room.bytes_max)).await {
            Ok(Ok(Some(body))) => body,
            Ok(Ok(None)) => {
                return self.refuse_form(exchange, generation, &visit, StatusCode::PAYLOAD_TOO_LARGE).await;
            }
            Err(_) => return self.refuse_form(exchange, generation, &visit, StatusCode::REQUEST_TIMEOUT).await,
            Ok(Err(error)) => return Err(error),
        };
        // From here on the store may be written, by one process only.
        let Some(turn) = self.turn.take().await else {
            let target = again(exchange, &generation.portal.origin(&visit.realm));
            return self.send_away(exchange, generation, &target).await;
        };
        let head = exchange.req_header();
        let mut request = http::Request::new(Body::from(body));
        *request.method_mut() = head.method.clone();
        // The router sees path and query only: host and scheme were decided before.
        *request.uri_mut() = head
            .uri
            .path_and_query()
            .map_or_else(|| http::Uri::from_static("/"), |target| http::Uri::from(target.clone()));
        *request.headers_mut() = head.headers.clone();
        request.extensions_mut().insert(visit);
        let answer = match generation.router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        // A client that takes its time must not hold up an upgrade, and everybody with it, nor other tables.
        drop((turn, room));
        write(exchange, answer).await?;
        Ok(true)
    }

    /// Another process has taken over, and this connection is one of before: the same request on a new one reaches it.
    pub(super) async fn ask_again(
        &self,
        exchange: &mut Exchange,
        passage: &mut Passage,
        realm: Realm,
    ) -> Result<bool> {
        passage.decision = "handed_over";
        let target = again(exchange, &passage.generation.portal.origin(&realm));
        self.send_away(exchange, &passage.generation, &target).await
    }

    async fn send_away(&self, exchange: &mut Exchange, generation: &Generation, target: &str) -> Result<bool> {
        exchange.as_downstream_mut().set_keepalive(None);
        let mut answer = answer::see_other(target);
        // With its method and body, and not for ever.
        *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        write(exchange, generation.portal.secure(answer)).await?;
        Ok(true)
    }

    async fn refuse_form(
        &self,
        exchange: &mut Exchange,
        generation: &Generation,
        visit: &Visit,
        status: StatusCode,
    ) -> Result<bool> {
        exchange.as_downstream_mut().set_keepalive(None);
        let answer = generation.portal.refuse(visit, &exchange.req_header().headers, status);
        write(exchange, answer).await?;
        Ok(true)
    }

    /// The client must log in: people are taken there, programs are told.
    pub(super) async fn challenge(
        &self,
        exchange: &mut Exchange,
        passage: &mut Passage,
        zone: Arc<Zone>,
        client: Client,
        (reason, ended): (ChallengeReason, Option<Ended>),
    ) -> Result<bool> {
        passage.decision = "challenge";
        passage.reason = Some(Reason::Challenge(reason));
        passage.enter(&zone);
        let head = exchange.req_header();
        let sent = Sent { method: &head.method, target: head.raw_path(), headers: &head.headers };
        let visit = self.visit(passage, Realm::Zone(Arc::clone(&zone)), None, ended);
        let challenge = Challenge { zone: &zone, client, reason };
        let answer = refusals::challenge(&passage.generation.portal, &visit, sent, challenge, "");
        write(exchange, answer).await?;
        Ok(true)
    }

    /// A rule lets nobody through, or not this person. Nobody is led to the log-in, which would lead back here.
    pub(super) async fn forbid(
        &self,
        exchange: &mut Exchange,
        passage: &mut Passage,
        zone: Arc<Zone>,
        session: Option<Arc<Session>>,
        rule: Arc<str>,
    ) -> Result<bool> {
        passage.decision = "refused";
        passage.reason = Some(Reason::ForbiddenByRule);
        passage.enter(&zone);
        passage.session.clone_from(&session);
        let visit = self.visit(passage, Realm::Zone(zone), session, None);
        let Some(turn) = self.turn.take().await else {
            return self.ask_again(exchange, passage, visit.realm).await;
        };
        let portal = &passage.generation.portal;
        refusals::note_denial(portal, &visit, &rule).await;
        drop(turn);
        let answer = portal.forbid(&visit, &exchange.req_header().headers, Forbidden::REASON);
        passage.rule = Some(rule);
        write(exchange, answer).await?;
        Ok(true)
    }

    pub(super) async fn refuse(
        &self,
        exchange: &mut Exchange,
        passage: &mut Passage,
        refused: Refused,
    ) -> Result<bool> {
        passage.decision = "refused";
        passage.reason = Some(refused.reason);
        if refused.close {
            exchange.as_downstream_mut().set_keepalive(None);
        }
        let visit = self.visit(passage, self.realm(passage), None, None);
        let answer = passage.generation.portal.refuse(&visit, &exchange.req_header().headers, refused.status);
        write(exchange, answer).await?;
        Ok(true)
    }

    /// Everything on the plain listener goes to the same address under TLS.
    pub(super) async fn to_https(
        &self,
        exchange: &mut Exchange,
        passage: &mut Passage,
        realm: Option<Realm>,
    ) -> Result<bool> {
        let Some(realm) = realm else {
            let refused = Refused {
                status: StatusCode::MISDIRECTED_REQUEST,
                reason: Reason::Refusal(Refusal::UnknownHost),
                close: false,
            };
            return self.refuse(exchange, passage, refused).await;
        };
        if let Some(proof) = self.challenges.answer(exchange.req_header().raw_path()) {
            passage.decision = "acme";
            write(exchange, passage.generation.portal.secure(answer::text(StatusCode::OK, proof))).await?;
            return Ok(true);
        }
        passage.decision = "https";
        let origin = passage.generation.portal.origin(&realm);
        let target = format!("{origin}{}", String::from_utf8_lossy(exchange.req_header().raw_path()));
        self.redirect(exchange, passage, &target).await
    }

    pub(super) async fn redirect(&self, exchange: &mut Exchange, passage: &Passage, target: &str) -> Result<bool> {
        let mut answer = answer::see_other(target);
        // The method is kept: what was posted here must be posted there or not at all.
        *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
        write(exchange, passage.generation.portal.secure(answer)).await?;
        Ok(true)
    }
}

/// The address of a request itself.
fn again(exchange: &Exchange, origin: &str) -> String {
    format!("{origin}{}", String::from_utf8_lossy(exchange.req_header().raw_path()))
}

/// Reads a body of at most `most` bytes; `None` when there is more.
async fn read_form(exchange: &mut Exchange, most: usize) -> Result<Option<Bytes>> {
    let mut body = Vec::new();
    while let Some(piece) = exchange.as_downstream_mut().read_request_body().await.map_err(Error::into_down)? {
        if body.len() + piece.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body.into()))
}

/// Writes an answer of ours: head, then body, with its length.
pub(super) async fn write(exchange: &mut Exchange, answer: Answer) -> Result<()> {
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX)
        .await
        .map_err(|_| Error::explain(ErrorType::HTTPStatus(500), "an answer of our own is too large"))?;
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 1))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    if parts.status == StatusCode::NOT_MODIFIED {
        // It would be that of what is not sent (RFC 9110 section 8.6): a cache that believed 0 would keep an empty file.
        head.remove_header(&CONTENT_LENGTH);
    } else {
        head.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    let bodiless = body.is_empty() || exchange.req_header().method == Method::HEAD;
    if bodiless {
        return write_whole(exchange, head).await;
    }
    exchange.write_response_header(Box::new(head), false).await.map_err(Error::into_down)?;
    exchange.write_response_body(Some(body), true).await.map_err(Error::into_down)
}

/// Writes an answer that is a head and no more. Where something failed, nobody behind us ends it: over HTTP/2, where
/// `write_response_header` of pingora 0.9.1 leaves that to others, the client would see it reset.
async fn write_whole(exchange: &mut Exchange, head: ResponseHeader) -> Result<()> {
    let task = HttpTask::Header(Box::new(head), true);
    exchange.as_downstream_mut().response_duplex_vec(vec![task]).await.map(drop).map_err(Error::into_down)
}

/// Writes out what there is of an application's answer that breaks off. pingora gathers it, and drops what it has gathered
/// when the application's connection breaks first: the client would get nothing at all, and take it for a connection that
/// was stale, and its request for one to be sent again.
pub(super) async fn break_off(exchange: &mut Exchange, why: &Error) {
    let failed = || HttpTask::Failed(Error::explain(why.etype().clone(), "the answer broke off"));
    // Two, because pingora 0.9.1 writes nothing out for a single one. Given back is what was handed over, or that the client
    // has gone.
    let _ = exchange.as_downstream_mut().response_duplex_vec(vec![failed(), failed()]).await;
}

/// Writes out an application's answer that is a head and no more, and gives what lets pingora give its connection up: there
/// is no other way to say so once a request was sent.
///
/// pingora does not read a body where there is none. What of one comes after the connection was kept would be the beginning
/// of somebody else's answer (M7).
pub(super) async fn last(exchange: &mut Exchange, answer: &mut ResponseHeader) -> Result<Box<Error>> {
    // pingora lets go of the client's connection as well.
    exchange.as_downstream_mut().set_keepalive(None);
    answer.remove_header(&TRANSFER_ENCODING);
    if answer.status == StatusCode::NO_CONTENT {
        answer.remove_header(&CONTENT_LENGTH);
    }
    write_whole(exchange, answer.clone()).await?;
    Ok(Error::explain(rescue::ANSWERED, "the answer is whole, and its connection is not used again"))
}
