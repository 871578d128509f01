//! How a request has come, and whether it may come so.
//!
//! *Why is a proxy that ended TLS asked, and not taken at its listener's word?* Most listen on port 80 as well, and pass on what
//! comes there: a password typed into such a page has crossed the network in the clear.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::Edge;
use crate::edge::client::{self, Scheme};
use crate::edge::facts;
use crate::edge::generation::Generation;
use crate::edge::hygiene::Refused;
use crate::edge::listen::{Origin, Transport};
use crate::edge::reasons::Reason;
use crate::portal::Realm;
use crate::zone::HostMatch;

impl Edge {
    /// What a host leads to, if requests for it belong on this connection.
    pub(super) fn find<'g>(generation: &'g Generation, origin: &Origin, host: &str) -> HostMatch<'g> {
        let found = facts::find_host(&generation.settings.zones, host);
        let belongs = match &origin.way {
            Transport::Tls(tls) => tls.belongs(host, found),
            // Nobody has proved a certificate to us here.
            Transport::BehindTls => !requires_certificate(found),
            Transport::Plain => true,
        };
        if belongs { found } else { HostMatch::Unknown }
    }

    /// By what the client has sent a request, as far as that is known. The plain listener only redirects, whatever is said
    /// there.
    pub(super) fn scheme(
        &self,
        generation: &Generation,
        origin: &Origin,
        headers: &HeaderMap,
    ) -> Result<Scheme, Refused> {
        match &origin.way {
            Transport::Tls(_) => Ok(Scheme::Https),
            Transport::Plain => Ok(Scheme::Http),
            Transport::BehindTls => self.said(generation, origin, headers),
        }
    }

    /// What the proxy at the other end says.
    fn said(&self, generation: &Generation, origin: &Origin, headers: &HeaderMap) -> Result<Scheme, Refused> {
        let listeners = &generation.settings.listeners;
        // The connection may be from before a reload.
        if !listeners.trusted_proxies.contains(origin.peer) {
            return Err(Refused { status: StatusCode::FORBIDDEN, reason: Reason::Stranger, close: true });
        }
        client::scheme(headers, listeners.client_address).ok_or_else(|| {
            if let Some(unwritten) = self.unsaid.write() {
                let field = listeners.client_address.scheme_field();
                tracing::error!(proxy = %origin.peer, field, unwritten, "a proxy did not say whether its client came by TLS");
            }
            Refused { status: StatusCode::BAD_REQUEST, reason: Reason::NoScheme, close: false }
        })
    }
}

/// Whether nobody comes here without a client certificate.
fn requires_certificate(host: HostMatch<'_>) -> bool {
    match host {
        HostMatch::Zone(zone) | HostMatch::Alias(zone) => {
            zone.client_certificates.as_ref().is_some_and(|asked| asked.required)
        }
        HostMatch::Universal | HostMatch::Unknown => false,
    }
}

/// Whose pages a host has.
pub(super) fn realm(host: HostMatch<'_>) -> Option<Realm> {
    match host {
        HostMatch::Zone(zone) | HostMatch::Alias(zone) => Some(Realm::Zone(Arc::clone(zone))),
        HostMatch::Universal => Some(Realm::Universal),
        HostMatch::Unknown => None,
    }
}
