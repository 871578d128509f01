//! The trace that a request belongs to: what the application is told of it, and what a collector receives.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::harness::{A, Gateway, Play, Received, Upstream, WALL, Wishes};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const STATE: &str = "vendor=opaque";

/// What clients say, by name.
fn said() -> BTreeMap<&'static str, String> {
    let parent = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    let state = format!("tracestate: {STATE}\r\n");
    BTreeMap::from([
        ("nothing", String::new()),
        ("a trace", format!("{parent}{state}")),
        ("nonsense", format!("traceparent: 00-{TRACE}-{SPAN}\r\n{state}")),
        ("two", format!("{parent}{parent}{state}")),
        ("a state alone", state),
    ])
}

struct Bench {
    upstream: Upstream,
    gateway: Gateway,
    cookie: String,
}

impl Bench {
    async fn new(traces: &str, listen: &'static str) -> Self {
        let upstream = Upstream::start().await;
        let wishes = Wishes { listen, ..Wishes::default() };
        let edit = |text: &str| format!("{text}traces: {{ {traces} }}\n");
        let gateway = Gateway::start_edited(upstream.address(), wishes, edit).await;
        let cookie = format!("Cookie: __Host-zg_session={}\r\n", gateway.log_in(A, WALL).await);
        upstream.received();
        Self { upstream, gateway, cookie }
    }

    /// What the application is told when a client says `fields`.
    async fn told(&self, fields: &str) -> Received {
        let request = format!("GET /x?canary-query-5523 HTTP/1.1\r\nHost: {A}\r\n{}{fields}\r\n", self.cookie);
        assert_eq!(self.gateway.connect(A).await.ask(request).await.status, 200);
        self.upstream.received().pop().unwrap()
    }
}

/// The parts of the one `traceparent` that arrived.
fn parts(received: &Received) -> Option<Vec<String>> {
    let values = received.all("traceparent");
    assert!(values.len() <= 1, "{values:?}");
    values.first().map(|value| value.split('-').map(str::to_owned).collect())
}

#[tokio::test]
async fn what_a_client_says_of_its_trace_is_passed_on_replaced_or_taken_away() {
    let trusted = "trusted_proxies: [127.0.0.1]";
    for (policy, listen, passed) in [
        ("context: pass", "", true),
        ("context: new", "", false),
        ("context: new", trusted, true),
        ("context: off", trusted, false),
    ] {
        let bench = Bench::new(policy, listen).await;
        for (name, fields) in said() {
            let received = bench.told(&fields).await;
            let (told, state) = (parts(&received), received.all("tracestate"));
            let why = format!("{policy} {listen}, {name}: {told:?} {state:?}");
            match (policy, name) {
                ("context: off", _) | ("context: pass", "nothing" | "a state alone") => {
                    assert_eq!((told, state.len()), (None, 0), "{why}");
                }
                (_, "a trace") if passed => {
                    assert_eq!(told.unwrap(), ["00", TRACE, SPAN, "01"], "{why}");
                    assert_eq!(state, [STATE], "{why}");
                }
                _ => {
                    let told = told.unwrap_or_else(|| panic!("{why}"));
                    assert_eq!((told[1].len(), told[2].len(), told[3].as_str()), (32, 16, "00"), "{why}");
                    assert!(told[1] != TRACE && told[1].contains(|c| c != '0') && state.is_empty(), "{why}");
                }
            }
        }
    }
}

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let keeping = collector.clone();
        let take = move |body: axum::body::Bytes| {
            let sent = ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf");
            for of_resource in sent.resource_spans {
                let named = of_resource.resource.unwrap().attributes;
                assert!(named.iter().any(|attribute| attribute.key == "service.name"), "{named:?}");
                let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                keeping.0.lock().unwrap().extend(spans);
            }
            async {}
        };
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    /// The spans of one trace by name, once there are as many.
    async fn spans(&self, trace: &str, count: usize) -> BTreeMap<String, Span> {
        let mut interval = tokio::time::interval(Duration::from_millis(50));
        crate::harness::within(async {
            loop {
                interval.tick().await;
                let all = self.0.lock().unwrap().clone();
                let these: Vec<_> = all.into_iter().filter(|span| hex(&span.trace_id) == trace).collect();
                if these.len() >= count {
                    return these.into_iter().map(|span| (span.name.clone(), span)).collect();
                }
            }
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_collector_is_told_of_a_request_in_the_trace_that_the_application_was_told() {
    let (collector, address) = Collector::start().await;
    let traces = format!("otlp: 'http://{address}', sampled: 100%");
    let mut bench = Bench::new(&traces, "").await;

    let told = parts(&bench.told("").await).unwrap();
    let spans = collector.spans(&told[1], 3).await;
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["GET", "decide", "upstream"]);
    let (whole, upstream) = (&spans["GET"], &spans["upstream"]);
    assert_eq!(
        (hex(&upstream.span_id), told[3].as_str()),
        (told[2].clone(), "01"),
        "the application's spans hang below it"
    );
    assert!(whole.parent_span_id.is_empty());
    for part in [upstream, &spans["decide"]] {
        assert_eq!(part.parent_span_id, whole.span_id);
        assert!(whole.start_time_unix_nano <= part.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= whole.end_time_unix_nano);
    }
    let text = format!("{whole:?}");
    for known in ["/x", A, "forward", "http.response.status_code"] {
        assert!(text.contains(known), "{known}: {text}");
    }

    // A trace of the client's goes on, whatever the client says of recording it.
    let fields = format!("traceparent: 00-{TRACE}-{SPAN}-00\r\n");
    let told = parts(&bench.told(&fields).await).unwrap();
    assert_eq!((told[1].as_str(), told[3].as_str()), (TRACE, "01"));
    let spans = collector.spans(TRACE, 3).await;
    assert_eq!(hex(&spans["GET"].parent_span_id), SPAN);
    assert_eq!(hex(&spans["upstream"].span_id), told[2]);

    // K1: the log-in was told of as well, and nothing of it but that it was.
    let everything = format!("{:?}", collector.0.lock().unwrap());
    assert!(everything.contains("/.zonegate/api/login") && everything.contains("portal"), "{everything}");
    let token = bench.cookie.split('=').nth(1).unwrap().trim();
    for secret in ["canary-query-5523", "Granite-Window-74", token, WALL] {
        assert!(!everything.contains(secret), "{secret}");
    }
    bench.gateway.assert_well();
}

#[tokio::test]
async fn each_span_is_as_long_as_its_part_took_and_has_a_name_that_we_know() {
    const PAUSE: Duration = Duration::from_millis(1500);
    let (collector, address) = Collector::start().await;
    let mut bench = Bench::new(&format!("otlp: 'http://{address}', sampled: 100%"), "").await;
    bench.upstream.on("/slow", Play::Take);
    let mut wire = bench.gateway.connect(A).await;
    wire.send(format!("GET /slow HTTP/1.1\r\nHost: {A}\r\n{}\r\n", bench.cookie)).await;
    let (received, mut application) = bench.upstream.taken().await;
    tokio::time::sleep(PAUSE).await;
    application.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(wire.reply().await.status, 200);
    let spans = collector.spans(&parts(&received).unwrap()[1], 3).await;
    let took = |name: &str| {
        let span = &spans[name];
        Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano)
    };
    assert!(took("decide") < PAUSE / 3, "{:?}", took("decide"));
    assert!(took("upstream") >= PAUSE && took("GET") >= took("upstream"), "{:?}", took("upstream"));
    assert!(spans["upstream"].start_time_unix_nano >= spans["decide"].end_time_unix_nano);

    let method = "M".repeat(3000);
    let request = format!("{method} /{} HTTP/1.1\r\nHost: {A}\r\n{}\r\n", "p".repeat(3000), bench.cookie);
    assert_eq!(bench.gateway.connect(A).await.ask(request).await.status, 501);
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let text = crate::harness::within(async {
        loop {
            interval.tick().await;
            let all = collector.0.lock().unwrap().clone();
            if let Some(span) = all.iter().find(|span| span.name == "HTTP") {
                return format!("{span:?}");
            }
        }
    })
    .await;
    assert!(text.contains("_OTHER") && !text.contains("MMMM") && text.len() < 5000, "{text}");
}

#[tokio::test]
async fn nobody_can_have_requests_recorded_and_a_collector_that_is_not_there_holds_up_none() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bench = Bench::new(&format!("otlp: 'http://{gone}', sampled: 0%"), "").await;
    let fields = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    assert_eq!(parts(&bench.told(&fields).await).unwrap(), ["00", TRACE, SPAN, "01"], "as it came");
    bench.gateway.assert_well();

    let mut bench = Bench::new(&format!("otlp: 'http://{gone}', sampled: 100%"), "").await;
    for _ in 0..10 {
        bench.told("").await;
    }
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    crate::harness::within(async {
        while !bench.gateway.log().contains("BatchSpanProcessor") {
            interval.tick().await;
        }
    })
    .await;
    bench.gateway.assert_well();
}
