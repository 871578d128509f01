//! From a request's host to what answers there.

use std::sync::Arc;

use super::Zone;
use crate::base::{ByHost, Hostname};

/// Every hostname this gateway answers for.
#[derive(Debug, Default)]
pub struct ZoneTable {
    zones: Vec<Arc<Zone>>,
    universal: Option<Hostname>,
    by_host: ByHost<Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Zone(Arc<Zone>),
    Alias(Arc<Zone>),
    Universal,
}

/// What answers under a host.
#[derive(Clone, Copy, Debug)]
pub enum HostMatch<'a> {
    /// A zone's canonical host.
    Zone(&'a Arc<Zone>),
    /// Another name of that zone: redirect to the canonical one.
    Alias(&'a Arc<Zone>),
    /// The universal log-in host: usernames only, never a session (R14).
    Universal,
    /// Nobody: 421, never a default zone (R12).
    Unknown,
}

/// Two claims to one hostname.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("host {0} is claimed twice: each host may appear once, as a zone, an alias or the universal host")]
pub struct DuplicateHost(pub Hostname);

impl ZoneTable {
    /// Builds the table; `zones` keep their order, which is the hosting page's (R11).
    pub fn new(zones: Vec<Zone>, universal: Option<Hostname>) -> Result<Self, Vec<DuplicateHost>> {
        let zones: Vec<_> = zones.into_iter().map(Arc::new).collect();
        let claims = zones.iter().flat_map(|zone| {
            let aliases = zone.aliases.iter().map(|alias| (alias.clone(), Entry::Alias(Arc::clone(zone))));
            std::iter::once((zone.host.clone(), Entry::Zone(Arc::clone(zone)))).chain(aliases)
        });
        let claims = claims.chain(universal.iter().map(|host| (host.clone(), Entry::Universal)));
        let mut by_host = ByHost::default();
        let mut duplicates = Vec::new();
        for (host, entry) in claims {
            if by_host.insert(host.clone(), entry).is_some() {
                duplicates.push(DuplicateHost(host));
            }
        }
        if duplicates.is_empty() { Ok(Self { zones, universal, by_host }) } else { Err(duplicates) }
    }

    /// What answers under `host`: a bare name without port, lower case. Anything else is `Unknown`.
    pub fn find(&self, host: &str) -> HostMatch<'_> {
        match self.by_host.get(host) {
            Some(Entry::Zone(zone)) => HostMatch::Zone(zone),
            Some(Entry::Alias(zone)) => HostMatch::Alias(zone),
            Some(Entry::Universal) => HostMatch::Universal,
            None => HostMatch::Unknown,
        }
    }

    /// The zone of this canonical host.
    pub fn zone(&self, host: &Hostname) -> Option<&Arc<Zone>> {
        match self.by_host.get(host) {
            Some(Entry::Zone(zone)) => Some(zone),
            Some(Entry::Alias(_) | Entry::Universal) | None => None,
        }
    }

    /// All zones, in the order of the configuration.
    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    /// The universal log-in host.
    pub fn universal(&self) -> Option<&Hostname> {
        self.universal.as_ref()
    }

    /// Every hostname that a certificate is needed for.
    pub fn hosts(&self) -> impl Iterator<Item = &Hostname> {
        self.by_host.keys()
    }
}
