//! The way upstream: the application's address, and the head it receives.
//!
//! The head is built new, with capacity, from the client's fields that may pass and from the grant. Why not remove
//! and insert in pingora's copy? A copy keeps every header in two maps (values, and names with their case), and
//! each insertion regrows both; a new head has one map of the right size. And what is not copied cannot slip
//! through: the list of what passes is what is left after `is_protected`, not what somebody remembered to remove.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::header::{COOKIE, HOST};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::{HttpPeer, PeerOptions, Scheme};
use pingora::utils::tls::{WrappedX509, parse_x509};

use super::hygiene;
use super::streams::{self, OpenStream};
use crate::assertion::{ASSERTION_HEADER, is_protected};
use crate::base::{Hostname, RequestId, Ttl};
use crate::gate::Grant;
use crate::zone::{HostHeader, Upstream, Zone, ZoneTable};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
/// How long a stream's connection may take to be made; every template says so itself.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// The fields that the gateway adds, at most: room for them is made at once.
const OWN_FIELDS: usize = 12;

/// What a zone's requests are sent with: everything but the address is the same for all of them.
#[derive(Debug)]
pub(super) struct Peers {
    by_zone: std::collections::HashMap<Hostname, ZonePeers>,
    next_stream: AtomicU64,
}

#[derive(Debug)]
struct ZonePeers {
    templates: Vec<HttpPeer>,
    next: AtomicUsize,
}

impl Peers {
    pub(super) fn of(zones: &ZoneTable) -> Self {
        let peers = zones.zones().iter().enumerate().map(|(at, zone)| {
            // Pools are shared by address and server name; a key of its own keeps zones with other trust apart.
            let group = at as u64 + 1;
            let templates =
                zone.upstream.addresses.iter().map(|address| template(&zone.upstream, *address, group));
            (zone.host.clone(), ZonePeers { templates: templates.collect(), next: AtomicUsize::new(0) })
        });
        // Streams never share a connection: their keys begin where zones' cannot be.
        Self { by_zone: peers.collect(), next_stream: AtomicU64::new(1 << 32) }
    }

    /// The peer for one request; `None` only for a zone that is not of this snapshot.
    pub(super) fn pick(&self, zone: &Zone) -> Option<Box<HttpPeer>> {
        let peers = self.by_zone.get(&zone.host)?;
        let at = match peers.templates.len() {
            1 => 0,
            count => peers.next.fetch_add(1, Ordering::Relaxed).checked_rem(count)?,
        };
        peers.templates.get(at).cloned().map(Box::new)
    }

    /// Makes `peer` one whose connection belongs to this stream alone, and can be cut.
    pub(super) fn hold_for_stream(&self, peer: &mut HttpPeer, stream: &Arc<OpenStream>) {
        peer.group_key = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let connect_max = peer.options.connection_timeout.unwrap_or(CONNECT_MAX);
        peer.options.custom_l4 = Some(streams::connector(stream, connect_max));
        peer.options.alpn = ALPN::H1;
        // Silence is what streams are made of.
        peer.options.read_timeout = None;
        peer.options.idle_timeout = Some(Duration::from_secs(1));
    }
}

fn template(upstream: &Upstream, address: std::net::SocketAddr, group_key: u64) -> HttpPeer {
    let (scheme, server_name) = match &upstream.tls {
        None => (Scheme::HTTP, String::new()),
        Some(tls) => (Scheme::HTTPS, tls.server_name.to_string()),
    };
    let seconds = |ttl: Ttl| Some(Duration::from_secs(u64::from(ttl.seconds())));
    let mut options = PeerOptions::new();
    options.connection_timeout = seconds(upstream.connect_max);
    options.total_connection_timeout = seconds(upstream.connect_max);
    options.read_timeout = seconds(upstream.read_max);
    options.write_timeout = seconds(upstream.write_max);
    options.idle_timeout = seconds(upstream.idle_max);
    options.alpn = ALPN::H1;
    if let Some(roots) = upstream.tls.as_ref().and_then(|tls| tls.roots.as_ref()) {
        // pingora's parser panics on what is no certificate; without a root nothing is trusted, which is what is meant.
        let parses = |der: &&Vec<u8>| x509_parser::parse_x509_certificate(der).is_ok();
        let roots = roots.iter().filter(parses).cloned();
        options.ca = Some(roots.map(|der| WrappedX509::new(der, parse_x509)).collect());
    }
    HttpPeer {
        _address: PeerAddress::Inet(address),
        scheme,
        sni: server_name,
        proxy: None,
        client_cert_key: None,
        group_key,
        options,
    }
}

/// What the gateway says of a request, beside who it is.
pub(super) struct Provenance {
    pub(super) address: IpAddr,
    pub(super) request: RequestId,
    pub(super) assertion: HeaderValue,
}

/// The head that the application receives. `copy`: pingora's, after its handling of hop-by-hop fields, so that a
/// client's `Connection: X-Forwarded-User` can remove nothing of ours (H4).
pub(super) fn head(copy: &RequestHeader, grant: &Grant, provenance: Provenance) -> pingora::Result<RequestHeader> {
    let (zone, session) = (grant.zone(), grant.session());
    let capacity = copy.headers.len() + OWN_FIELDS;
    let mut head = RequestHeader::build_no_case(copy.method.clone(), copy.raw_path(), Some(capacity))?;
    head.set_version(copy.version);
    if let Some(end) = copy.send_end_stream() {
        head.set_send_end_stream(end);
    }
    head.append_header(HOST, host(zone))?;
    for (name, value) in &copy.headers {
        if name != HOST && name != COOKIE && !is_protected(name.as_str(), &zone.headers) {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    if let Some(cookies) = hygiene::foreign_cookies(&copy.headers) {
        head.append_header(COOKIE, cookies)?;
    }
    head.append_header(X_FORWARDED_FOR, address(provenance.address)?)?;
    head.append_header(X_FORWARDED_PROTO, HTTPS)?;
    head.append_header(X_FORWARDED_HOST, zone.authority.clone())?;
    head.append_header(X_REQUEST_ID, id(provenance.request)?)?;
    for (name, value) in &session.identity {
        head.append_header(name.clone(), value.clone())?;
    }
    head.append_header(ASSERTION_HEADER, provenance.assertion)?;
    Ok(head)
}

fn host(zone: &Zone) -> HeaderValue {
    match &zone.upstream.host_header {
        HostHeader::Zone => zone.authority.clone(),
        // Checked when the configuration was read; were it none, the zone's own is never wrong.
        HostHeader::Fixed(host) => HeaderValue::try_from(host).unwrap_or_else(|_| zone.authority.clone()),
    }
}

fn address(address: IpAddr) -> pingora::Result<HeaderValue> {
    let text = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    value(text.to_string())
}

fn id(request: RequestId) -> pingora::Result<HeaderValue> {
    value(request.to_string())
}

fn value(text: String) -> pingora::Result<HeaderValue> {
    HeaderValue::try_from(text)
        .map_err(|_| pingora::Error::explain(pingora::ErrorType::InternalError, "a header value of our own"))
}
