//! A request on its way through: pingora's hooks, each a few lines that call the rules.

mod answers;
mod arrival;
mod ending;
mod passage;
mod websocket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{HttpPeer, ProxyHttp, Session as Exchange};
use pingora::protocols::Digest;
use pingora::proxy::FailToProxy;
use pingora::{Error, ErrorSource, ErrorType, Result};

use self::answers::write;
use self::arrival::realm;
use self::ending::Cut;
pub(super) use self::passage::{Passage, RequestIds};
use super::access_log::AccessLog;
use super::acme::Challenges;
use super::client::{self, Scheme};
use super::facts::{self, Cookie, Wishes};
use super::fields::{AnswerFields, CLEAR_SITE_DATA, Fields};
use super::generation::InUse;
use super::handover::Turn;
use super::hygiene::{self, Refused};
use super::reasons::Reason;
use super::seldom::Seldom;
use super::streams::{OpenStream, Streams};
use super::traces::{self, Recorded, Spans};
use super::upstream::{self, Broken, Line, Listening, Mark, Provenance};
use super::{compress, rescue};
use crate::assertion::is_ours;
use crate::gate::{Asked, Bearer, Challenge, Decision, Facts, Forbidden, Grant, SignedIn, Way, decide, signed_in};
use crate::machine::Clock;
use crate::portal::{Realm, Visit};
use crate::session::{Ended, Liveness, Session};
use crate::table::{KeyRing, Sessions};
use crate::telemetry::TraceParent;

/// What all requests of a lane share.
pub(super) struct Edge {
    pub(super) in_use: InUse,
    pub(super) sessions: Arc<Sessions>,
    pub(super) keys: Arc<KeyRing>,
    pub(super) clock: Arc<Clock>,
    pub(super) streams: Arc<Streams>,
    pub(super) log: AccessLog,
    /// Where a collector is configured.
    pub(super) spans: Option<Arc<Spans>>,
    pub(super) turn: Turn,
    pub(super) challenges: Arc<Challenges>,
    pub(super) ids: RequestIds,
    /// The same on every lane.
    pub(super) mark: Mark,
    /// Requests of which a proxy did not say by what they had come.
    pub(super) unsaid: Seldom,
    /// Requests that failed.
    pub(super) faults: Seldom,
}

#[async_trait]
impl ProxyHttp for Edge {
    /// Boxed: pingora moves it, and its own futures with room for it, several times a request.
    type CTX = Box<Passage>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Passage::begin(self.in_use.load_full(), self.clock.now(), self.ids.next()))
    }

    /// Empty: the default puts a compression module on every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, exchange: &mut Exchange, passage: &mut Self::CTX) -> Result<bool> {
        let Some(origin) = passage.arrival.as_ref().map(|arrival| Arc::clone(&arrival.origin)) else {
            return Err(no_grant());
        };
        origin.busy();
        let listeners = &passage.generation.settings.listeners;
        let headers = &exchange.req_header().headers;
        let address = client::address(origin.peer, headers, &listeners.trusted_proxies, listeners.client_address);
        passage.address = Some(address);
        if self.spans.is_some() {
            let (settings, salt) = (&passage.generation.settings.traces, self.ids.salt());
            let trusted = listeners.trusted_proxies.contains(origin.peer);
            passage.trace = Recorded::begin(settings, headers, trusted, passage.request, salt);
        }
        let downstream = exchange.as_downstream_mut();
        match downstream.req_header().version {
            // An interim answer would be taken for the answer (RFC 9110 section 15.2).
            Version::HTTP_10 => downstream.set_ignore_info_resp(true),
            // The watch of the connection sees a client that takes nothing, but not one that gives a stream no window.
            Version::HTTP_2 => {
                downstream.set_write_timeout(Some(passage.generation.settings.limits.stall_max.into()));
            }
            _ => {}
        }
        let head = exchange.req_header();
        let raw = || exchange.as_downstream().to_h1_raw();
        let fields = match hygiene::check_head(head, raw, &passage.generation.settings.limits) {
            Ok(fields) => fields,
            Err(refused) => return Box::pin(self.refuse(exchange, passage, refused)).await,
        };
        let host = match hygiene::host(head, &fields) {
            Ok(host) => host,
            Err(refused) => return Box::pin(self.refuse(exchange, passage, refused)).await,
        };
        let host = Self::find(&passage.generation, &origin, host);
        match self.scheme(&passage.generation, &origin, &head.headers) {
            Ok(Scheme::Https) => {}
            Ok(Scheme::Http) => {
                let realm = realm(host);
                return Box::pin(self.to_https(exchange, passage, realm)).await;
            }
            Err(refused) => return Box::pin(self.refuse(exchange, passage, refused)).await,
        }
        let target = head.raw_path();
        let asked = Asked::new(host, hygiene::place(target), &head.method, target);
        passage.rule = asked.rule().map(|rule| Arc::clone(&rule.name));
        let cookie =
            if asked.wants_session() { Cookie::read(&head.headers, &self.sessions) } else { Cookie::Nothing };
        let client = facts::client(&head.method, &fields);
        let wishes = Wishes::of(&head.method, &fields);
        passage.says_trace = fields.traces.first().is_some();
        passage.has_been_here = self.mark.is_on(&fields);
        let (presented, store) = (cookie.presented(), self.sessions.health());
        let facts = Facts { asked, way: Way::Through, client, presented, store };
        let decision = decide(&facts, passage.now);
        traces::decided(passage.trace.as_deref_mut());
        // A cookie that says nothing here may be of a session that began in the process that has taken over.
        let settled = match &decision {
            Decision::Forward(grant) => grant.session().is_some() || matches!(cookie, Cookie::Nothing),
            Decision::Portal(_)
            | Decision::Universal
            | Decision::Challenge(_)
            | Decision::Canonical(_)
            | Decision::Forbid(_)
            | Decision::Refuse(_) => false,
        };
        if !settled
            && self.turn.is_over()
            && let Some(realm) = realm(host)
        {
            return Box::pin(self.ask_again(exchange, passage, realm)).await;
        }
        match decision {
            Decision::Forward(grant) => self.admit(exchange, passage, grant, wishes).await,
            Decision::Portal(zone) => {
                let (live, unsure) = match signed_in(&facts, zone, passage.now) {
                    SignedIn::Nobody => (None, false),
                    SignedIn::Person(session) => (Some(Arc::clone(session)), false),
                    SignedIn::Unsure => (None, true),
                };
                let ended = facts::ended(&facts, zone, passage.now);
                let left = ended.and_then(|_| facts::presented_for(&facts, zone)).cloned();
                let zone = Arc::clone(zone);
                passage.enter(&zone);
                passage.session.clone_from(&live);
                passage.decision = "portal";
                let visit = self.visit(passage, Realm::Zone(zone), live, ended);
                let visit = Visit { unsure, left, ..visit };
                Box::pin(self.serve(exchange, &passage.generation, visit)).await
            }
            Decision::Universal => {
                passage.decision = "portal";
                let visit = self.visit(passage, Realm::Universal, None, None);
                Box::pin(self.serve(exchange, &passage.generation, visit)).await
            }
            Decision::Challenge(Challenge { zone, client, reason }) => {
                let ended = facts::ended(&facts, zone, passage.now);
                let zone = Arc::clone(zone);
                Box::pin(self.challenge(exchange, passage, zone, client, (reason, ended))).await
            }
            Decision::Canonical(zone) => {
                passage.decision = "canonical";
                let target =
                    format!("{}{}", zone.origin, String::from_utf8_lossy(exchange.req_header().raw_path()));
                Box::pin(self.redirect(exchange, passage, &target)).await
            }
            Decision::Forbid(Forbidden { zone, session, rule }) => {
                let (zone, session, rule) = (Arc::clone(zone), session.cloned(), Arc::clone(&rule.name));
                Box::pin(self.forbid(exchange, passage, zone, session, rule)).await
            }
            Decision::Refuse(refusal) => {
                let refused = Refused { status: refusal.status(), reason: Reason::Refusal(refusal), close: false };
                Box::pin(self.refuse(exchange, passage, refused)).await
            }
        }
    }

    async fn upstream_peer(&self, exchange: &mut Exchange, passage: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        // Between two tries lie seconds, and a log-out may lie between them.
        self.still_lives(passage)?;
        let zone = passage.grant.as_ref().ok_or_else(no_grant)?.zone();
        if passage.attempts.has_begun() {
            // What has come of the body is sent again from its beginning.
            passage.body_bytes = 0;
            passage.body_began = Instant::now();
        }
        let may_be_long = zone.speaks_http2() && may_be_long(exchange);
        let peer = passage.attempts.next(&passage.generation.peers, zone, passage.stream.as_ref(), may_be_long);
        let mut peer = peer.ok_or_else(|| Error::explain(rescue::NO_ADDRESS, "no backend has an address"))?;
        if exchange.req_header().method == Method::HEAD && !zone.speaks_http2() {
            upstream::carries_one(&mut peer);
        }
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Exchange,
        _: &HttpPeer,
        passage: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(grant) = &passage.grant {
            passage.attempts.not_connected(&passage.generation.peers, grant.zone(), &mut error);
        }
        error
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Exchange,
        _reused: bool,
        _: &HttpPeer,
        _: std::os::fd::RawFd,
        digest: Option<&Digest>,
        passage: &mut Self::CTX,
    ) -> Result<()> {
        passage.goes_over(digest.and_then(Line::of))
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
        passage: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        if error.esource() == &ErrorSource::Upstream {
            // What pingora saw is a connection that ended, which is what we did to it.
            if let Err(ended) = self.still_lives(passage) {
                error = ended;
            } else if passage.listening.as_ref().is_some_and(Listening::was_cut) {
                error = passage::too_silent();
            }
        }
        passage.hangs_up();
        let downstream = exchange.as_downstream_mut();
        let sent = downstream.is_body_done();
        let whole = !downstream.retry_buffer_truncated();
        let unsent = error.etype() == &rescue::GIVEN_UP;
        let repeatable =
            whole && passage.answer_heads == 0 && (unsent || downstream.req_header().method.is_idempotent());
        if let Some(grant) = &passage.grant {
            let broken = Broken { reused, repeatable, sent };
            passage.attempts.broke_off(&passage.generation.peers, grant.zone(), broken, &mut error);
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        exchange: &mut Exchange,
        copy: &mut RequestHeader,
        passage: &mut Self::CTX,
    ) -> Result<()> {
        let grant = passage.grant.as_ref().ok_or_else(no_grant)?;
        if grant.zone().speaks_http2() && copy.version != Version::HTTP_2 {
            // pingora falls back when TLS has not agreed on HTTP/2; what was written for it must not go out as HTTP/1.
            return Err(Error::explain(ErrorType::InvalidH2, "the application speaks no HTTP/2").into_up());
        }
        let assertion = match grant.bearer() {
            Bearer::Nobody => None,
            Bearer::Person(session) => {
                let signed = self.keys.assertion(session, grant.zone(), passage.now).map_err(|fault| {
                    tracing::error!(%fault, "no assertion could be signed");
                    Error::explain(ErrorType::HTTPStatus(503), "no assertion")
                });
                Some(signed?)
            }
        };
        // Without an address there is nobody to vouch for; every connection of our listeners has one.
        let (Some(address), Some(arrival)) = (passage.address, &passage.arrival) else { return Err(no_grant()) };
        let origin = &arrival.origin;
        let address = origin.written(address)?;
        let client_certificate = origin.client_certificate();
        let (request, mark) = (passage.request, &self.mark);
        let provenance = Provenance { address, request, assertion, client_certificate, mark };
        upstream::head(copy, exchange.req_header().version, grant, provenance)?;
        let settings = &passage.generation.settings;
        let trusted = settings.listeners.trusted_proxies.contains(origin.peer);
        let fresh = || TraceParent::begin(passage.request, self.ids.salt(), false);
        let (policy, says) = (settings.traces.context, passage.says_trace);
        traces::carry(copy, policy, trusted, says, passage.trace.as_deref(), fresh)?;
        if let Some(trace) = &mut passage.trace {
            trace.asked = Some(Instant::now());
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        exchange: &mut Exchange,
        body: &mut Option<Bytes>,
        end: bool,
        passage: &mut Self::CTX,
    ) -> Result<()> {
        // An empty last piece, as HTTP/2 has them, is written by pingora 0.9.1 as a last chunk, and then the end as
        // another: five bytes that the application takes for the next request on a shared connection.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        passage.in_time()?;
        // An upload ends with its session, and over HTTP/2 a body may be one half of a conversation, and the other silent.
        self.still_lives(passage)?;
        passage.hears()?;
        passage.body_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        let limit = passage.grant.as_ref().map_or(0, |grant| grant.zone().body_bytes_max);
        if exchange.was_upgraded() {
            return Ok(());
        }
        if passage.body_bytes > limit {
            return Err(Error::explain(ErrorType::HTTPStatus(413), "the body is over the zone's limit"));
        }
        if !end && passage.is_too_slow() {
            return Err(Error::explain(ErrorType::HTTPStatus(408), "the body arrives too slowly"));
        }
        Ok(())
    }

    /// What pingora makes of a body without a length is one in chunks: only here is it as it came.
    async fn upstream_response_filter(
        &self,
        _: &mut Exchange,
        answer: &mut ResponseHeader,
        passage: &mut Self::CTX,
    ) -> Result<()> {
        let says = |name| answer.headers.contains_key(name);
        let speaks_http2 = passage.grant.as_ref().is_some_and(|grant| grant.zone().speaks_http2());
        passage.ends_with_connection = !speaks_http2 && !says(CONTENT_LENGTH) && !says(TRANSFER_ENCODING);
        Ok(())
    }

    async fn response_filter(
        &self,
        exchange: &mut Exchange,
        answer: &mut ResponseHeader,
        passage: &mut Self::CTX,
    ) -> Result<()> {
        passage.answer_heads = passage.answer_heads.saturating_add(1);
        let switched = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        passage.has_answered |= switched || !answer.status.is_informational();
        if let Some((_, cut)) = &mut passage.held {
            cut.status = answer.status.as_u16();
        }
        passage.hears()?;
        if passage.stream.is_some() && (switched || facts::is_event_stream(&answer.headers)) {
            passage.mark_endless();
        }
        if let Some(trace) = &mut passage.trace {
            trace.answered.get_or_insert_with(Instant::now);
        }
        let wanted = answer.status.is_informational() && websocket::asks_for_websocket(exchange.req_header());
        let fields = AnswerFields::of(&answer.headers);
        hygiene::check_answer(answer.status, &fields, wanted, passage.answer_heads)
            .map_err(|why| Error::explain(ErrorType::InvalidHTTPHeader, why).into_up())?;
        let one_length = hygiene::one_length(&fields);
        // After HEAD the connection is not used again whatever is said: see `upstream_peer`.
        let lies = exchange.req_header().method != Method::HEAD
            && hygiene::announces_what_cannot_be(answer.status, &fields);
        let AnswerFields { cookies, clearing, ours, .. } = fields;
        if let Some(grant) = &passage.grant
            && !(answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS)
        {
            passage.attempts.answered(grant.zone());
        }
        if exchange.req_header().version == Version::HTTP_10 {
            // Chunks would be taken for the body (RFC 9112 section 6.1): it ends with the connection.
            answer.remove_header(&TRANSFER_ENCODING);
        }
        if let Some(length) = one_length {
            answer.insert_header(CONTENT_LENGTH, length)?;
        }
        if cookies && hygiene::sets_our_cookie(&answer.headers) {
            let kept = hygiene::foreign_set_cookies(&answer.headers);
            answer.remove_header(&SET_COOKIE);
            for value in kept {
                answer.append_header(SET_COOKIE, value)?;
            }
        }
        if clearing {
            match hygiene::foreign_clearing(&answer.headers) {
                Some(kept) => answer.insert_header(CLEAR_SITE_DATA, kept)?,
                None => drop(answer.remove_header(&CLEAR_SITE_DATA)),
            }
        }
        if ours {
            let names: Vec<_> = answer.headers.keys().filter(|name| is_ours(name)).cloned().collect();
            for name in names {
                answer.remove_header(&name);
            }
        }
        if passage.compresses() {
            compress::apply(exchange, answer);
        }
        let speaks_http2 = passage.grant.as_ref().is_some_and(|grant| grant.zone().speaks_http2());
        if lies && !speaks_http2 { Err(Box::pin(answers::last(exchange, answer)).await?) } else { Ok(()) }
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Exchange,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        // What an application may not say in its head, it may not say behind its answer.
        let ours: Vec<_> = trailers.keys().filter(|name| is_ours(name) || **name == SET_COOKIE).cloned().collect();
        for name in ours {
            trailers.remove(name);
        }
        Ok(None)
    }

    fn response_body_filter(
        &self,
        _: &mut Exchange,
        _: &mut Option<Bytes>,
        end: bool,
        passage: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        passage.in_time()?;
        passage.hears_piece(end)?;
        // A long answer ends with its session, like a stream that is not silent.
        self.still_lives(passage).map(|()| None)
    }

    async fn fail_to_proxy(&self, exchange: &mut Exchange, error: &Error, passage: &mut Self::CTX) -> FailToProxy {
        let outcome = rescue::outcome(error, !passage.has_answered);
        if let Some((status, reason)) = outcome {
            rescue::tell(error, (status, reason), passage.request, &self.faults);
            passage.reason = Some(reason);
            // Behind an interim answer there is still one to give; behind a switch of protocols there is not.
            let interim = |head: &ResponseHeader| {
                head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
            };
            if exchange.response_written().is_none_or(interim) {
                exchange.as_downstream_mut().set_keepalive(None);
                let visit = self.visit(passage, self.realm(passage), None, None);
                let answer = passage.generation.portal.refuse(&visit, &exchange.req_header().headers, status);
                if let Err(fault) = write(exchange, answer).await {
                    tracing::debug!(%fault, "the client left before it was told");
                }
            } else {
                answers::break_off(exchange, error).await;
            }
        }
        FailToProxy { error_code: outcome.map_or(0, |(status, _)| status.as_u16()), can_reuse_downstream: false }
    }

    async fn logging(&self, exchange: &mut Exchange, _: Option<&Error>, passage: &mut Self::CTX) {
        self.tell_of_end(exchange, passage);
    }

    /// What pingora would write: [`rescue::tell`] has, without the contents.
    fn suppress_error_log(&self, _: &Exchange, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    /// The same for tries that are followed by others. They are counted, and a backend that is left alone is a line.
    fn suppress_proxy_warn_log(
        &self,
        _: &Exchange,
        _: &Self::CTX,
        _: &Error,
        _: pingora::proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// Never the query, whoever writes it.
    fn request_summary(&self, _: &Exchange, passage: &Self::CTX) -> String {
        passage.request.to_string()
    }
}

fn no_grant() -> Box<Error> {
    Error::explain(ErrorType::HTTPStatus(500), "a request without a grant has no way upstream")
}

/// Whether a request's body may be more than pingora keeps: then its answer may begin late.
fn may_be_long(exchange: &mut Exchange) -> bool {
    const SHORT_BYTES_MAX: u64 = 64 * 1024;
    if exchange.as_downstream_mut().is_body_empty() {
        return false;
    }
    let length = Fields::of(&exchange.req_header().headers).body_length();
    length.is_none_or(|length| length > SHORT_BYTES_MAX)
}

impl Edge {
    /// Fails once the session of a request that is under way has ended, or what a stream without one ends with.
    fn still_lives(&self, passage: &Passage) -> Result<()> {
        // What is nobody's has none.
        let session = passage.grant.as_ref().and_then(Grant::session);
        match session.map(|session| self.sessions.liveness(session, self.clock.now())) {
            Some(Liveness::Ended(_)) => Err(rescue::session_ended()),
            None if passage.stream.as_deref().is_some_and(OpenStream::was_let_go) => Err(rescue::let_go()),
            None | Some(Liveness::Live) => Ok(()),
        }
    }

    /// Lets a request go on to the application.
    async fn admit(
        &self,
        exchange: &mut Exchange,
        passage: &mut Passage,
        grant: Grant,
        wishes: Wishes,
    ) -> Result<bool> {
        passage.enter(grant.zone());
        passage.session = grant.session().cloned();
        passage.decision = "forward";
        let head = exchange.req_header();
        if grant.session().is_none() && passage.has_been_here {
            let refused = Refused { status: StatusCode::LOOP_DETECTED, reason: Reason::Loop, close: false };
            return Box::pin(self.refuse(exchange, passage, refused)).await;
        }
        if !grant.zone().passes(&head.method) {
            let refused = Refused { status: StatusCode::NOT_IMPLEMENTED, reason: Reason::Method, close: false };
            return Box::pin(self.refuse(exchange, passage, refused)).await;
        }
        if wishes.body_length.is_some_and(|length| length > grant.zone().body_bytes_max) {
            let refused =
                Refused { status: StatusCode::PAYLOAD_TOO_LARGE, reason: Reason::BodyTooLarge, close: true };
            return Box::pin(self.refuse(exchange, passage, refused)).await;
        }
        if wishes.stream
            && wishes.websocket
            && let Err(refused) = websocket::check(head, grant.zone())
        {
            return Box::pin(self.refuse(exchange, passage, refused)).await;
        }
        passage.keeps_time(&self.streams, &grant, wishes.stream);
        if let Some(session) = grant.session()
            && !grant.zone().is_background(exchange.req_header().raw_path())
        {
            self.sessions.touch(session, passage.now);
        }
        if grant.zone().speaks_http2()
            && passage.stream.is_none()
            && let (Some(session), Some(arrival)) = (grant.session(), &passage.arrival)
        {
            let head = exchange.req_header();
            let cut = Cut::of(self, passage, head);
            passage.held = Some((self.streams.hold(session, arrival), Box::new(cut)));
        }
        upstream::forget_case(exchange.req_header_mut());
        passage.grant = Some(grant);
        Ok(false)
    }

    fn realm(&self, passage: &Passage) -> Realm {
        passage.zone.as_ref().map_or(Realm::Universal, |zone| Realm::Zone(Arc::clone(zone)))
    }

    fn visit(
        &self,
        passage: &Passage,
        realm: Realm,
        session: Option<Arc<Session>>,
        ended: Option<Ended>,
    ) -> Visit {
        Visit {
            realm,
            now: passage.now,
            address: passage.address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            request: passage.request,
            session,
            ended,
            left: None,
            unsure: false,
        }
    }
}
