//! One snapshot of everything that settings decide, as requests work with it.
//!
//! A request takes the generation that is in use when its head has arrived and keeps it to its end, so that no answer
//! mixes two configurations (C2); a WebSocket is one request, and keeps it for as long. That costs one reference count.
//! What must not begin anew with every reload (store, sessions, keys, counters, threads) is shared by all generations
//! and lives outside of them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::upstream::Peers;
use crate::config::Settings;
use crate::portal::Portal;

/// The generation in use.
pub(super) type InUse = Arc<ArcSwap<Generation>>;

/// What one configuration makes of a request. Never changed, only replaced.
#[derive(Debug)]
pub(super) struct Generation {
    /// Its place in the life of this process, from 1.
    pub(super) number: u64,
    pub(super) settings: Arc<Settings>,
    pub(super) portal: Arc<Portal>,
    pub(super) router: axum::Router,
    pub(super) peers: Peers,
}

impl Generation {
    pub(super) fn new(number: u64, portal: Portal, peers: Peers) -> Self {
        let portal = Arc::new(portal);
        let settings = Arc::clone(&portal.settings);
        portal.metrics.in_use(number, portal.clock.now());
        portal.metrics.upstreams().in_use(peers.told());
        Self { number, router: crate::portal::router(Arc::clone(&portal)), peers, settings, portal }
    }
}
