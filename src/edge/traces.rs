//! The trace that a request belongs to: told to the application, and to a collector where one is configured.
//!
//! *Why is a client's word for its trace passed on at all?* It names nothing but itself: an application that lets
//! browsers begin traces wants to go on with them, and forged ones are noise, not harm. Whoever records at cost sets
//! `traces.context: new`, and then only trusted proxies are believed. What a client says never decides whether
//! zonegate records: otherwise anybody could have everything recorded.
//!
//! Spans are made when the request is over, of those requests only that are recorded. *Why not as it goes?* What a
//! request carries along is then a few numbers, and a request that is not recorded carries nothing. The library's
//! processor takes finished spans through a bounded queue to a thread of its own; what does not fit, or what the
//! collector does not take, is lost and said by the library in the log. No request waits for it.

use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use pingora::http::RequestHeader;

use crate::base::RequestId;
use crate::config::{TraceContext, TraceSettings};
use crate::telemetry::{SpanName, TraceParent, child, is_sampled};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// How much of a path a span has, in bytes: thousands of spans may wait.
const PATH_BYTES_MAX: usize = 2048;
/// How long spans wait for others to be sent with.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long a stop waits for the last ones.
const LAST_MAX: Duration = Duration::from_secs(2);

/// The way to the collector.
#[derive(Debug)]
pub(super) struct Spans {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

/// What is noted of a request that is recorded, on its way.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The trace, and the span above it where somebody else has begun it.
    above: TraceParent,
    continues: bool,
    request: SpanName,
    upstream: SpanName,
    /// When it was decided what becomes of it, when the application was asked, and when its answer began.
    decided: Option<Instant>,
    pub(super) asked: Option<Instant>,
    pub(super) answered: Option<Instant>,
}

/// What a span says of its request, at its end.
pub(super) struct About<'a> {
    pub(super) id: RequestId,
    pub(super) method: &'a http::Method,
    pub(super) path: &'a [u8],
    pub(super) zone: Option<&'a str>,
    pub(super) address: Option<IpAddr>,
    pub(super) status: u16,
    pub(super) decision: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) began: Instant,
    /// The civil time now, at its end.
    pub(super) ended: SystemTime,
}

/// What a client says of its trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    Nothing,
    Trace(TraceParent),
    Nonsense,
}

impl Said {
    fn of(fields: &HeaderMap) -> Self {
        let mut values = fields.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => TraceParent::parse(value.as_bytes()).map_or(Self::Nonsense, Self::Trace),
            (Some(_), Some(_)) => Self::Nonsense,
        }
    }

    /// The trace to go on with.
    fn believed(self, policy: TraceContext, trusted: bool) -> Option<TraceParent> {
        match (self, policy) {
            (Self::Trace(trace), TraceContext::Pass) => Some(trace),
            (Self::Trace(trace), TraceContext::New) => Some(trace).filter(|_| trusted),
            (Self::Trace(_) | Self::Nothing | Self::Nonsense, _) => None,
        }
    }
}

/// It is decided what becomes of a request.
pub(super) fn decided(recorded: Option<&mut Recorded>) {
    if let Some(recorded) = recorded {
        recorded.decided = Some(Instant::now());
    }
}

impl Recorded {
    /// Whether this request is recorded, and as part of which trace. A trace that a trusted proxy records is recorded
    /// here as well.
    pub(super) fn begin(
        settings: &TraceSettings,
        fields: &HeaderMap,
        trusted: bool,
        request: RequestId,
        salt: u64,
    ) -> Option<Box<Self>> {
        let believed = Said::of(fields).believed(settings.context, trusted);
        let wanted = trusted && believed.is_some_and(|trace| trace.sampled);
        if !wanted && !is_sampled(request, salt, settings.sampled.0) {
            return None;
        }
        let own = TraceParent::begin(request, salt, true);
        Some(Box::new(Self {
            above: believed.unwrap_or(own),
            continues: believed.is_some(),
            request: child(own.trace, 1),
            upstream: child(own.trace, 2),
            decided: None,
            asked: None,
            answered: None,
        }))
    }
}

/// Tells the application which trace its request belongs to. `head`: what is sent to it, with the client's words in it;
/// `says`: whether there may be one about a trace among them.
///
/// A request that says nothing and is not recorded is left as it is, unless every one is to have a trace.
pub(super) fn carry(
    head: &mut RequestHeader,
    policy: TraceContext,
    trusted: bool,
    says: bool,
    recorded: Option<&Recorded>,
    fresh: impl FnOnce() -> TraceParent,
) -> pingora::Result<()> {
    let said = if says { Said::of(&head.headers) } else { Said::Nothing };
    let (told, continues) = match (policy, recorded) {
        (TraceContext::Off, _) | (TraceContext::Pass, None) if !says => return Ok(()),
        (TraceContext::Off, _) => (None, false),
        (TraceContext::Pass | TraceContext::New, Some(recorded)) => {
            (Some(recorded.above.under(recorded.upstream, true)), recorded.continues)
        }
        // A state of no trace.
        (TraceContext::Pass, None) if said == Said::Nothing => (None, false),
        (TraceContext::Pass | TraceContext::New, None) => match said.believed(policy, trusted) {
            Some(_) => return Ok(()),
            None => (Some(fresh()), false),
        },
    };
    head.remove_header(&TRACEPARENT);
    if !continues {
        head.remove_header(&TRACESTATE);
    }
    if let Some(told) = told {
        let value = HeaderValue::try_from(told.to_string());
        let value = value.map_err(|_| pingora::Error::new(pingora::ErrorType::InternalError))?;
        head.insert_header(TRACEPARENT, value)?;
    }
    Ok(())
}

impl Spans {
    /// Opens the way to the collector at `endpoint`. Nothing is sent yet, and nobody asks whether it is there: it may
    /// come later, and requests do not depend on it.
    ///
    /// Errors: the address is none, or an environment variable of OpenTelemetry's says something impossible.
    pub(super) fn to(endpoint: &str) -> Result<Self, String> {
        let exporter =
            SpanExporter::builder().with_http().with_endpoint(endpoint).with_protocol(Protocol::HttpBinary);
        let exporter = exporter.build().map_err(|error| error.to_string())?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(SEND_EVERY).build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let version = env!("CARGO_PKG_VERSION");
        let resource = Resource::builder().with_service_name("zonegate");
        processor.set_resource(&resource.with_attribute(KeyValue::new("service.version", version)).build());
        Ok(Self { processor, scope: InstrumentationScope::builder("zonegate").with_version(version).build() })
    }

    /// Sends what is known of a request that is over.
    pub(super) fn tell(&self, recorded: &Recorded, about: &About<'_>) {
        let took = about.began.elapsed();
        let began = about.ended.checked_sub(took).unwrap_or(about.ended);
        let at = |instant: Instant| began + instant.saturating_duration_since(about.began);
        let decided = recorded.decided.map_or(about.ended, at);
        let trace = recorded.above.trace;
        let failed = if about.status >= 500 { Status::error("") } else { Status::Unset };
        let status = KeyValue::new("http.response.status_code", i64::from(about.status));
        let part = |number, name, kind, (start_time, end_time), attributes, status| {
            let span =
                Part { trace, span: child_of(recorded, number), above: Some(recorded.request), remote: false };
            self.span(span, name, kind, (start_time, end_time), attributes, status)
        };
        self.processor.on_end(part(3, "decide", SpanKind::Internal, (began, decided), vec![], Status::Unset));
        if about.decision == "portal" {
            let when = (decided, about.ended);
            self.processor.on_end(part(4, "portal", SpanKind::Internal, when, vec![], failed.clone()));
        }
        if recorded.asked.is_some() {
            let first = recorded.answered.map(at).and_then(|at| at.duration_since(decided).ok());
            let first = first.map(|first| KeyValue::new("zonegate.upstream.head_seconds", first.as_secs_f64()));
            let told = std::iter::once(status.clone()).chain(first).collect();
            let when = (decided, about.ended);
            self.processor.on_end(part(2, "upstream", SpanKind::Client, when, told, failed.clone()));
        }
        let above = recorded.continues.then_some(recorded.above.span);
        let whole = Part { trace, span: recorded.request, above, remote: true };
        let when = (began, about.ended);
        let name = method(about.method).unwrap_or("HTTP");
        self.processor.on_end(self.span(whole, name, SpanKind::Server, when, attributes(about, status), failed));
    }

    fn span(
        &self,
        part: Part,
        name: impl Into<std::borrow::Cow<'static, str>>,
        span_kind: SpanKind,
        (start_time, end_time): (SystemTime, SystemTime),
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let id = |name: SpanName| SpanId::from_bytes(name.to_bytes());
        let trace = TraceId::from_bytes(part.trace.to_be_bytes());
        SpanData {
            span_context: SpanContext::new(
                trace,
                id(part.span),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: part.above.map_or(SpanId::INVALID, id),
            parent_span_is_remote: part.remote && part.above.is_some(),
            span_kind,
            name: name.into(),
            start_time,
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// Sends what has not been sent. Blocks, and not for ever.
    pub(super) fn finish(&self) {
        if let Err(fault) = self.processor.shutdown_with_timeout(LAST_MAX) {
            tracing::warn!(%fault, "the last spans were not sent");
        }
    }
}

/// Where a span stands.
#[derive(Clone, Copy)]
struct Part {
    trace: u128,
    span: SpanName,
    above: Option<SpanName>,
    remote: bool,
}

/// The names of a request's parts. The application was told that of the second.
fn child_of(recorded: &Recorded, number: u64) -> SpanName {
    match number {
        2 => recorded.upstream,
        other => child(u128::from(u64::from_be_bytes(recorded.request.to_bytes())), other),
    }
}

/// The method, if it is one of those that OpenTelemetry's conventions for HTTP know. A client's own can be as long as a head.
fn method(sent: &http::Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == sent.as_str())
}

/// As OpenTelemetry's conventions for HTTP name them. No query, no user: the request's id leads to both in the log.
fn attributes(about: &About<'_>, status: KeyValue) -> Vec<KeyValue> {
    let path = about.path.get(..PATH_BYTES_MAX).unwrap_or(about.path);
    let mut told = vec![
        KeyValue::new("http.request.method", method(about.method).unwrap_or("_OTHER")),
        KeyValue::new("url.path", String::from_utf8_lossy(path).into_owned()),
        KeyValue::new("url.scheme", "https"),
        KeyValue::new("zonegate.decision", about.decision),
        KeyValue::new("zonegate.request", about.id.to_string()),
        status,
    ];
    told.extend(about.zone.map(|zone| KeyValue::new("server.address", zone.to_owned())));
    told.extend(about.address.map(|address| KeyValue::new("client.address", address.to_string())));
    told.extend(about.reason.map(|reason| KeyValue::new("zonegate.reason", reason)));
    told
}
