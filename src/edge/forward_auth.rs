//! Forward-auth: a proxy that people have already asks about each request, and passes it on itself.
//!
//! It is the same gate, with the same facts, rules, sessions and log; only that a grant comes to an answer, whose fields
//! the proxy copies into the request, and not to an upstream's head. Our own pages are not here: the proxy passes what
//! is below `/.zonegate/` to the TLS listener, like any client.
//!
//! *Who may ask?* Whoever asks says which path and which method it asks about, so it must be the proxy and nobody else.
//! A secret field would do, but some proxies cannot send one, and the others would log it. So asking has a listener of its
//! own, where only the addresses in `trusted_proxies` are answered; on the other listeners there is no such page and the
//! fields mean nothing. A browser's request for this page, passed on by the proxy with the rest of `/.zonegate/`, ends
//! at one of those.
//!
//! *Whose fields?* Proxies pass on the fields that clients send, also those that another proxy would set (authentik
//! GHSA-5wcc-hf24-rf5h). So the address that the proxy asks at says which fields it sets, exactly those are read, and each
//! must be there once. Where one of them tells the host as the client has written it (ingress-nginx), the address also says
//! which host the proxy asks for: a client can name one host in its request line, by which the proxy finds the application,
//! and another in `Host`, by which we would find the rules.
//!
//! What cannot be answered is refused: no answer of ours but 200 lets a request pass.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use http::header::{CACHE_CONTROL, COOKIE, HOST, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::access_log::{self, AccessLog, Combined, Record};
use super::client;
use super::facts::{self, Cookie};
use super::fields::Fields;
use super::generation::InUse;
use super::handover::Turn;
use super::hygiene::{self, Refused};
use super::proxy::RequestIds;
use super::reasons::Reason;
use super::refusals::{self, Sent};
use super::seldom::Seldom;
use crate::assertion::{ASSERTION_HEADER, identity, identity_names, is_foreign_identity};
use crate::config::{AccessLines, Settings};
use crate::gate::{Asked, Bearer, Client, Decision, Facts, Forbidden, Grant, Way, decide};
use crate::portal::answer::{self, Answer};
use crate::portal::metrics::Finished;
use crate::portal::{Portal, Realm, Visit};
use crate::session::Session;
use crate::zone::{HostMatch, Zone, ZoneTable};

/// Where a proxy is to send the browser that cannot pass our own redirect on: nginx.
const WHERE: HeaderName = HeaderName::from_static("x-zonegate-location");
/// Why a request was not let through, for the same.
const WHY: HeaderName = HeaderName::from_static("x-zonegate-reason");

/// In which fields a proxy tells of the request, and what it can do with an answer.
#[derive(Clone, Copy, Debug)]
enum Dialect {
    /// `auth_request`: fields of the operator's making, and no answer but 2xx, 401 and 403.
    Nginx,
    /// `X-Forwarded-*`, and what is no 2xx goes to the client as it is. A field that Caddy was told to copy and that is not
    /// in the answer reaches the application as the text of a placeholder (2.6), or as the client sent it.
    Caddy,
    /// The same, but what is not there is taken out of the request.
    Traefik,
    /// The controller of Kubernetes: `auth_request` with fields of its own, of which one has the whole URL.
    IngressNginx,
}

impl Dialect {
    /// Whether the proxy passes a client's fields on that it was not told the whole names of.
    const fn passes_families_on(self) -> bool {
        match self {
            Self::Nginx | Self::IngressNginx => true,
            Self::Caddy | Self::Traefik => false,
        }
    }

    /// Host, method and target.
    const fn fields(self) -> [HeaderName; 3] {
        match self {
            Self::Nginx => {
                [HOST, HeaderName::from_static("x-original-method"), HeaderName::from_static("x-original-uri")]
            }
            Self::Caddy | Self::Traefik => [
                HeaderName::from_static("x-forwarded-host"),
                HeaderName::from_static("x-forwarded-method"),
                HeaderName::from_static("x-forwarded-uri"),
            ],
            Self::IngressNginx => [
                HeaderName::from_static("x-original-url"),
                HeaderName::from_static("x-original-method"),
                HeaderName::from_static("x-original-url"),
            ],
        }
    }
}

/// What answering takes.
pub(super) struct Responder {
    pub(super) in_use: InUse,
    pub(super) log: AccessLog,
    pub(super) turn: Turn,
    pub(super) ids: RequestIds,
    /// Questions that could not be read.
    pub(super) unread: Seldom,
}

/// A listener that hears only those who may ask.
struct Askers {
    listener: TcpListener,
    in_use: InUse,
    strangers: Seldom,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Asker(IpAddr);

impl Listener for Askers {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (socket, peer) = Listener::accept(&mut self.listener).await;
            if may_ask(&self.in_use.load().settings, peer.ip()) {
                return (socket, peer);
            }
            if let Some(unwritten) = self.strangers.write() {
                tracing::warn!(%peer, unwritten, "asked at listen.forward_auth, and is not in listen.trusted_proxies");
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Askers>> for Asker {
    fn connect_info(stream: IncomingStream<'_, Askers>) -> Self {
        Self(stream.remote_addr().ip())
    }
}

fn may_ask(settings: &Settings, peer: IpAddr) -> bool {
    settings.listeners.trusted_proxies.contains(peer)
}

/// Answers those who may ask, until another process has taken over. Then idle connections are closed: proxies ask again
/// on a new one, which no answer could tell a client to do.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    responder: Responder,
    mut handed_over: watch::Receiver<bool>,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let in_use = Arc::clone(&responder.in_use);
    let listener = Askers { listener: TcpListener::from_std(listener)?, in_use, strangers: Seldom::default() };
    let page = |dialect| {
        get(
            move |State(responder): State<Arc<Responder>>,
                  ConnectInfo(asker): ConnectInfo<Asker>,
                  headers: HeaderMap| async move {
                Ok::<_, Infallible>(responder.answer(dialect, None, asker, &headers).await)
            },
        )
    };
    let of_ingress_nginx = async |State(responder): State<Arc<Responder>>,
                                  ConnectInfo(asker): ConnectInfo<Asker>,
                                  Path(host): Path<String>,
                                  headers: HeaderMap| {
        responder.answer(Dialect::IngressNginx, Some(&host), asker, &headers).await
    };
    let router = Router::new()
        .route("/.zonegate/auth/nginx", page(Dialect::Nginx))
        .route("/.zonegate/auth/caddy", page(Dialect::Caddy))
        .route("/.zonegate/auth/traefik", page(Dialect::Traefik))
        .route("/.zonegate/auth/ingress-nginx/{host}", get(of_ingress_nginx))
        .fallback(async || StatusCode::NOT_FOUND.into_response())
        .with_state(Arc::new(responder));
    let until = async move {
        let _ = handed_over.wait_for(|done| *done).await;
    };
    let service = router.into_make_service_with_connect_info::<Asker>();
    axum::serve(listener, service).with_graceful_shutdown(until).await
}

/// The request that is asked about.
struct Question<'a> {
    authority: &'a str,
    /// The host that the proxy asks for, where the client has written the other.
    named: Option<&'a str>,
    method: Method,
    target: &'a [u8],
}

impl<'a> Question<'a> {
    /// The error is the name of the field that is not there once, or no method.
    fn read(dialect: Dialect, named: Option<&'a str>, headers: &'a HeaderMap) -> Result<Self, HeaderName> {
        let one = |name: HeaderName| {
            let mut fields = headers.get_all(&name).iter();
            match (fields.next().and_then(|field| field.to_str().ok()), fields.next()) {
                (Some(text), None) => Ok(text),
                (Some(_) | None, _) => Err(name),
            }
        };
        let [host, method_field, target] = dialect.fields();
        let method = one(method_field.clone())?.parse().map_err(|_| method_field)?;
        let (authority, target) = match dialect {
            Dialect::Nginx | Dialect::Caddy | Dialect::Traefik => (one(host)?, one(target)?),
            Dialect::IngressNginx => parts(one(host)?).ok_or(target)?,
        };
        Ok(Self { authority, named, method, target: target.as_bytes() })
    }

    /// What the host leads to, if it is the one that the proxy asks for.
    fn find<'z>(&self, zones: &'z ZoneTable) -> Result<HostMatch<'z>, Refused> {
        let find = |authority| Ok(facts::find_host(zones, hygiene::bare_host(authority)?));
        let found = find(self.authority)?;
        let Some(named) = self.named else { return Ok(found) };
        match (found, find(named)?) {
            (HostMatch::Zone(zone) | HostMatch::Alias(zone), HostMatch::Zone(other) | HostMatch::Alias(other))
                if zone.host == other.host =>
            {
                Ok(found)
            }
            (HostMatch::Zone(_) | HostMatch::Alias(_) | HostMatch::Universal | HostMatch::Unknown, _) => {
                Err(Refused { status: StatusCode::MISDIRECTED_REQUEST, reason: Reason::OtherHost, close: false })
            }
        }
    }
}

/// Authority and target of a URL as ingress-nginx puts it together, `$scheme://$http_host$request_uri`: nothing of it is
/// read in another way than it was written.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split_at_checked(rest.find('/')?)
}

/// What the log is told beside the answer.
struct Outcome {
    zone: Option<Arc<Zone>>,
    session: Option<Arc<Session>>,
    decision: &'static str,
    reason: Option<Reason>,
    rule: Option<Arc<str>>,
}

impl Responder {
    async fn answer(&self, dialect: Dialect, named: Option<&str>, asker: Asker, headers: &HeaderMap) -> Answer {
        let began = Instant::now();
        // One generation for the whole question (C2).
        let generation = self.in_use.load_full();
        let portal = &*generation.portal;
        if !may_ask(&portal.settings, asker.0) {
            // The connection is from before a reload.
            return answer::empty(StatusCode::FORBIDDEN);
        }
        let _under_way = portal.metrics.connections().request();
        let listeners = &portal.settings.listeners;
        let visit = Visit {
            realm: Realm::Universal,
            now: portal.clock.now(),
            address: client::address(asker.0, headers, &listeners.trusted_proxies, listeners.client_address),
            request: self.ids.next(),
            session: None,
            ended: None,
            left: None,
            unsure: false,
        };
        let question = match Question::read(dialect, named, headers) {
            Ok(question) => question,
            Err(field) => {
                // The operator's fault as a rule, and no request to log: what it would have been is what is missing. But
                // some proxies pass a method or a path on in which a client has put what is no text.
                if let Some(unwritten) = self.unread.write() {
                    tracing::error!(asker = %asker.0, %field, unwritten, "forward-auth request without exactly one such field");
                }
                return answer::empty(StatusCode::BAD_REQUEST);
            }
        };
        let mut outcome = Outcome { zone: None, session: None, decision: "refused", reason: None, rule: None };
        let answer = judge(portal, &self.turn, dialect, &question, headers, &visit, &mut outcome).await;
        let Outcome { zone, session, decision, reason, rule } = outcome;
        let reason = reason.map(Reason::name);
        let (took, status) = (began.elapsed(), answer.status().as_u16());
        let place = zone.as_deref().map(|zone| portal.metrics.enter(zone));
        let finished = Finished { decision, reason, status, took, bytes_in: 0, bytes_out: 0 };
        portal.metrics.request(place.as_ref(), finished);
        let combined = match portal.settings.log.access {
            AccessLines::Off => return answer,
            AccessLines::Json => None,
            AccessLines::Combined => Some(Combined::of(http::Version::HTTP_11, headers)),
        };
        self.log.write(Record {
            at: visit.now,
            request: visit.request,
            zone,
            session,
            address: Some(visit.address),
            method: access_log::method(&question.method),
            path: access_log::path(question.target),
            status,
            decision,
            reason,
            rule,
            took,
            bytes_in: 0,
            bytes_out: 0,
            combined,
        });
        answer
    }
}

async fn judge(
    portal: &Portal,
    turn: &Turn,
    dialect: Dialect,
    question: &Question<'_>,
    headers: &HeaderMap,
    visit: &Visit,
    outcome: &mut Outcome,
) -> Answer {
    let Question { method, target, .. } = question;
    let host = hygiene::check_target(method, target).and_then(|()| question.find(&portal.settings.zones));
    let host = match host {
        Ok(host) => host,
        Err(refused) => return refuse(portal, dialect, visit, headers, refused, outcome),
    };
    let visit = match host {
        HostMatch::Zone(zone) | HostMatch::Alias(zone) => {
            outcome.zone = Some(Arc::clone(zone));
            Visit { realm: Realm::Zone(Arc::clone(zone)), ..visit.clone() }
        }
        HostMatch::Universal | HostMatch::Unknown => visit.clone(),
    };
    if dialect.passes_families_on() && headers.keys().any(|name| is_foreign_identity(name.as_str())) {
        let refused = Refused { status: StatusCode::FORBIDDEN, reason: Reason::ForeignIdentity, close: false };
        return refuse(portal, dialect, &visit, headers, refused, outcome);
    }
    let asked = Asked::new(host, hygiene::place(target), method, target);
    outcome.rule = asked.rule().map(|rule| Arc::clone(&rule.name));
    let sessions = &portal.sessions;
    let cookie = if asked.wants_session() { Cookie::read(headers, sessions) } else { Cookie::Nothing };
    let facts = Facts {
        asked,
        way: Way::Asked,
        client: facts::client(method, &Fields::of(headers)),
        presented: cookie.presented(),
        store: sessions.health(),
    };
    let sent = Sent { method, target, headers };
    match decide(&facts, visit.now) {
        Decision::Forward(grant) => allow(portal, dialect, sent, &visit, &grant, outcome),
        Decision::Challenge(challenge) => {
            outcome.decision = "challenge";
            outcome.reason = Some(Reason::Challenge(challenge.reason));
            let visit = Visit { ended: facts::ended(&facts, challenge.zone, visit.now), ..visit };
            let origin = &challenge.zone.origin;
            match dialect {
                Dialect::Caddy | Dialect::Traefik => refusals::challenge(portal, &visit, sent, challenge, origin),
                Dialect::Nginx | Dialect::IngressNginx => {
                    let place = format!("{origin}{}", refusals::login(target, visit.ended));
                    let place = (challenge.client == Client::Navigation).then_some(place);
                    to_nginx(StatusCode::UNAUTHORIZED, challenge.reason.name(), place)
                }
            }
        }
        Decision::Canonical(zone) => {
            outcome.decision = "canonical";
            let place = format!("{}{}", zone.origin, String::from_utf8_lossy(target));
            match dialect {
                Dialect::Nginx | Dialect::IngressNginx => {
                    to_nginx(StatusCode::UNAUTHORIZED, "canonical", Some(place))
                }
                Dialect::Caddy | Dialect::Traefik => {
                    let mut answer = answer::see_other(&place);
                    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
                    portal.secure(answer)
                }
            }
        }
        Decision::Forbid(forbidden) => {
            outcome.reason = Some(Reason::ForbiddenByRule);
            outcome.rule = Some(Arc::clone(&forbidden.rule.name));
            outcome.session = forbidden.session.cloned();
            let visit = Visit { session: forbidden.session.cloned(), ..visit };
            let Some(_turn) = turn.take().await else {
                // Another process has taken over, and has the log.
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let refused = Refused { status, reason: Reason::HandedOver, close: true };
                return refuse(portal, dialect, &visit, headers, refused, outcome);
            };
            refusals::note_denial(portal, &visit, &forbidden.rule.name).await;
            match dialect {
                Dialect::Nginx | Dialect::IngressNginx => to_nginx(StatusCode::FORBIDDEN, Forbidden::REASON, None),
                Dialect::Caddy | Dialect::Traefik => portal.forbid(&visit, headers, Forbidden::REASON),
            }
        }
        // Our pages are asked for at our own listener, and no application has them (authentik GHSA-5wcc-hf24-rf5h).
        Decision::Portal(_) | Decision::Universal => {
            let refused = Refused { status: StatusCode::NOT_FOUND, reason: Reason::GatewayPath, close: false };
            refuse(portal, dialect, &visit, headers, refused, outcome)
        }
        Decision::Refuse(refusal) => {
            let refused = Refused { status: refusal.status(), reason: Reason::Refusal(refusal), close: false };
            refuse(portal, dialect, &visit, headers, refused, outcome)
        }
    }
}

/// The request may be passed on, with the fields of this answer in place of the client's.
fn allow(
    portal: &Portal,
    dialect: Dialect,
    sent: Sent<'_>,
    visit: &Visit,
    grant: &Grant,
    outcome: &mut Outcome,
) -> Answer {
    let Sent { method, target, headers } = sent;
    if !grant.zone().passes(method) {
        let refused = Refused { status: StatusCode::NOT_IMPLEMENTED, reason: Reason::Method, close: false };
        return refuse(portal, dialect, visit, headers, refused, outcome);
    }
    if asks_for_websocket(headers)
        && let Err(refused) = hygiene::check_websocket_origin(headers, grant.zone())
    {
        return refuse(portal, dialect, visit, headers, refused, outcome);
    }
    let mut answer = answer::empty(StatusCode::OK);
    let fields = answer.headers_mut();
    match grant.bearer() {
        Bearer::Nobody => {}
        Bearer::Person(session) => {
            outcome.session = Some(Arc::clone(session));
            let proof = portal.keys.assertion(session, grant.zone(), visit.now);
            let (Ok(assertion), Ok(described)) = (proof, identity(session, &grant.zone().headers)) else {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let refused = Refused { status, reason: Reason::GatewayFault, close: false };
                return refuse(portal, dialect, visit, headers, refused, outcome);
            };
            for (name, value) in &described.fields {
                fields.append(name, value.clone());
            }
            fields.append(ASSERTION_HEADER, assertion);
            if !grant.zone().is_background(target) {
                portal.sessions.touch(session, visit.now);
            }
        }
    }
    // The client's cookies without ours (SEC-R39).
    if let Some(cookies) = hygiene::foreign_cookies(headers) {
        fields.insert(COOKIE, cookies);
    }
    match dialect {
        Dialect::Nginx | Dialect::Traefik | Dialect::IngressNginx => {}
        Dialect::Caddy => {
            for name in identity_names(&grant.zone().headers).chain([ASSERTION_HEADER, COOKIE]) {
                fields.entry(name).or_insert(HeaderValue::from_static(""));
            }
        }
    }
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    outcome.decision = "forward";
    answer
}

fn refuse(
    portal: &Portal,
    dialect: Dialect,
    visit: &Visit,
    headers: &HeaderMap,
    refused: Refused,
    outcome: &mut Outcome,
) -> Answer {
    outcome.decision = "refused";
    outcome.reason = Some(refused.reason);
    match (dialect, refused.status) {
        (Dialect::Caddy | Dialect::Traefik, status) => portal.refuse(visit, headers, status),
        (Dialect::Nginx | Dialect::IngressNginx, status @ StatusCode::SERVICE_UNAVAILABLE) => {
            to_nginx(status, refused.reason.name(), None)
        }
        (Dialect::Nginx | Dialect::IngressNginx, _) => {
            to_nginx(StatusCode::FORBIDDEN, refused.reason.name(), None)
        }
    }
}

/// Whether a question is about a WebSocket. Proxies do not pass `Upgrade` on when they ask; what a browser sends with it
/// they do.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    Fields::of(headers).asks_for_websocket() || headers.contains_key("sec-websocket-key")
}

/// nginx takes a status and fields, and throws bodies away.
fn to_nginx(status: StatusCode, reason: &'static str, place: Option<String>) -> Answer {
    let mut answer = match place {
        Some(place) => answer::see_other(&place),
        None => answer::empty(status),
    };
    // Under a name that `auth_request_set` finds and no client is led by.
    if let Some(place) = answer.headers_mut().remove(LOCATION) {
        answer.headers_mut().insert(WHERE, place);
    }
    *answer.status_mut() = status;
    answer.headers_mut().insert(WHY, HeaderValue::from_static(reason));
    answer
}
