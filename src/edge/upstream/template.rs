//! What pingora is told of a backend's address, made once and copied for each request.

use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::ALPN;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, PeerOptions, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use super::connect::connect_ourselves;
use super::silence::Silences;
use crate::base::Ttl;
use crate::zone::{Backend, Upstream, UpstreamTls};

/// Requests that share one HTTP/2 connection at most; the application may allow fewer. pingora's own default is one.
const STREAMS_MAX: usize = 100;
/// How often an HTTP/2 connection is asked whether anybody is there. Long uploads have no other guard.
const PING_EVERY: Duration = Duration::from_secs(15);

/// `group`: connections are shared among peers of one group only. pingora's own key has no place for who is trusted,
/// so that two zones with one address and server name, each with an authority of its own, would share connections that
/// only one of them had verified (X6).
pub(super) fn template(
    upstream: &Upstream,
    backend: &Backend,
    address: PeerAddress,
    group: u64,
    silences: &Arc<Silences>,
) -> HttpPeer {
    let seconds = |ttl: Ttl| Duration::from_secs(u64::from(ttl.seconds()));
    let limits = &upstream.limits;
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(seconds(limits.connect_max));
    options.total_connection_timeout = Some(seconds(limits.connect_max));
    options.write_timeout = Some(seconds(limits.write_max));
    options.alpn = ALPN::H1;
    if upstream.protocol.is_http2() {
        options.read_timeout = Some(seconds(limits.within_request(limits.read_max)));
        options.idle_timeout = Some(seconds(limits.idle_max));
        options.set_http_version(2, 2);
        options.max_h2_streams = STREAMS_MAX;
        options.h2_ping_interval = Some(PING_EVERY);
    } else {
        // Silence is held by `silence`, and fields for one hop are left out by `head`: pingora is to do neither. (Towards HTTP/2
        // it leaves out what an HTTP/1 client's `Connection` names before our hook sees the head.)
        connect_ourselves(&mut options, silences, None);
        options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
    }
    if let Some(roots) = backend.tls.as_ref().and_then(|tls| tls.roots.as_ref()) {
        // pingora's parser panics on what is no certificate; without a root nothing is trusted, which is what is meant.
        let roots = roots.iter().filter(|der| parses(der)).cloned();
        options.ca = Some(roots.map(|der| WrappedX509::new(der, parse_x509)).collect());
    }
    let (scheme, server_name) = match &backend.tls {
        None => (Scheme::HTTP, String::new()),
        Some(tls) => (Scheme::HTTPS, tls.server_name.to_string()),
    };
    HttpPeer {
        _address: address,
        scheme,
        sni: server_name,
        proxy: None,
        client_cert_key: backend.tls.as_ref().and_then(identity).map(Into::into),
        group_key: group,
        options,
    }
}

fn parses(der: &[u8]) -> bool {
    x509_parser::parse_x509_certificate(der).is_ok()
}

/// The gateway's own certificate. One that is none has been refused at the start ([`super::check`]).
fn identity(tls: &UpstreamTls) -> Option<CertKey> {
    let client = tls.client.as_ref()?;
    let usable = !client.chain.is_empty() && client.chain.iter().all(|der| parses(der));
    usable.then(|| CertKey::new(client.chain.clone(), client.key.to_vec()))
}
