//! The way upstream: the backends of each zone, which of them a request goes to, and the head that it receives.
//!
//! `head` builds what is sent, from a grant. `pool` chooses, from what `standing` knows of each address; `attempts` is
//! one request's tries and what they teach. `connect` makes connections, and `silence` ends those on which nothing is
//! heard. Beside the requests, `names` looks names up and `health` asks who is well.
//!
//! All of it but `silence` belongs to one configuration: `Peers` owns the tasks and ends them with itself. Connections
//! outlive configurations, so that what watches them is handed on, and run by `serve`. What is known of a
//! backend that a new configuration leaves as it was goes over to that one's.

mod attempts;
mod connect;
mod head;
mod health;
mod names;
mod pool;
mod silence;
mod standing;
mod template;

pub(super) use attempts::{Attempts, Broken};
pub use head::{Mark, Provenance, head};
pub(super) use head::{forget_case, written};
pub(super) use silence::{Line, Listening, Patience, Silences, TooSilent};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use pingora::connectors::http::Connector;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::HttpPeer;
use tokio::task::JoinHandle;

use super::streams::OpenStream;
use super::tls::CertificateProblem;
use crate::base::{ByHost, Hostname};
use crate::config::{Place, Settings};
use crate::portal::metrics::{Backends, UpstreamMetrics};
use crate::zone::{Target, Upstream, Zone, ZoneTable};
use connect::connect_ourselves;
use names::Names;
use pool::Pool;

/// How long a start waits for names. What has no address by then gets one when it has one.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(2);

/// The backends of all zones of one configuration, and the tasks that keep them.
#[derive(Debug)]
pub(super) struct Peers {
    by_zone: ByHost<Arc<Pool>>,
    /// Of all configurations: connections outlive them.
    silences: Arc<Silences>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Peers {
    /// Ends health checks and name look-ups, which the peers of the next configuration take over. Requests under way, and
    /// open WebSockets, go on with these peers.
    pub(super) fn retire(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        // One that runs at this moment goes on to where it waits next.
        self.by_zone.values().for_each(|pool| pool.retire());
    }

    /// What looks after all connections, and must run.
    pub(super) fn silences(&self) -> Arc<Silences> {
        Arc::clone(&self.silences)
    }

    /// For monitoring, while this is the configuration in use.
    pub(super) fn told(&self) -> Arc<dyn Backends> {
        Arc::new(Told(self.by_zone.values().cloned().collect()))
    }

    /// Forgets what the health checks of the previous configuration have found, where this one has none. To be called once
    /// the previous peers are retired.
    pub(super) fn forget_checks(&self) {
        self.by_zone.values().for_each(|pool| pool.forget_checks());
    }

    /// Looks names up once, and starts what keeps them and who asks after health, on the runtime that this runs on.
    /// `before`: those of the configuration that this one replaces.
    pub(super) async fn start(settings: &Settings, metrics: &UpstreamMetrics, before: Option<&Self>) -> Self {
        let mut peers = Self::of(settings.zones.zones(), metrics, before);
        peers.follow_names(&settings.name_servers).await;
        peers.watch_health();
        peers
    }

    /// Those that have an address of their own, and those that were looked up before.
    fn of(zones: &[Arc<Zone>], metrics: &UpstreamMetrics, before: Option<&Self>) -> Self {
        let silences = before.map_or_else(Arc::default, |before| Arc::clone(&before.silences));
        let pool = |zone: &Arc<Zone>| (zone.host.clone(), Arc::new(pool(zone, metrics, &silences, before)));
        Self { by_zone: zones.iter().map(pool).collect(), silences, tasks: Vec::new() }
    }

    fn watch_health(&mut self) {
        let mut connector = None;
        for pool in self.by_zone.values() {
            if let Some(check) = pool.upstream.health.clone() {
                let connector = connector.get_or_insert_with(|| Arc::new(Connector::new(None)));
                self.tasks.push(tokio::spawn(health::watch(Arc::clone(connector), Arc::clone(pool), check)));
            }
        }
    }

    async fn follow_names(&mut self, servers: &[std::net::SocketAddr]) {
        let named = self.by_zone.values().flat_map(|pool| {
            let backends = pool.upstream.backends.iter().enumerate();
            backends.filter_map(|(at, backend)| match &backend.target {
                Target::Name { host, port } => Some((Arc::clone(pool), (at, host.clone(), *port))),
                Target::Address(_) | Target::Socket(_) => None,
            })
        });
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return;
        }
        let names = Arc::new(Names::new(servers));
        let looks = named.iter().map(|(pool, (at, host, port))| {
            let look = names::look_up(&names, pool, *at, host, *port);
            async move {
                tokio::time::timeout(FIRST_LOOK_MAX, look)
                    .await
                    .unwrap_or_else(|_| Err("no answer in time".into()))
            }
        });
        let first = join_all(looks).await;
        for ((pool, name), first) in named.into_iter().zip(first) {
            self.tasks.push(tokio::spawn(names::follow(Arc::clone(&names), pool, name, first)));
        }
    }

    fn pool(&self, zone: &Zone) -> Option<&Arc<Pool>> {
        self.by_zone.get(&zone.host)
    }
}

/// The backends as monitoring is told of them.
#[derive(Debug)]
struct Told(Vec<Arc<Pool>>);

impl Backends for Told {
    fn well(&self) -> Vec<(Hostname, Target, usize)> {
        let of = |pool: &Arc<Pool>| {
            let zone = &pool.zone.host;
            pool.well().map(|(target, count)| (zone.clone(), target.clone(), count)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }
}

fn pool(zone: &Arc<Zone>, metrics: &UpstreamMetrics, silences: &Arc<Silences>, before: Option<&Peers>) -> Pool {
    let upstream = &zone.upstream;
    let before = before.and_then(|before| before.pool(zone));
    let trust = |upstream: &Upstream| (upstream.backends.clone(), upstream.protocol);
    let same = before.filter(|before| trust(&before.upstream) == trust(upstream));
    let group = same.map_or_else(fresh_group, |same| same.group);
    let pool = Pool::new(zone, upstream, group, metrics, silences, before.map(|before| &**before));
    for (at, backend) in upstream.backends.iter().enumerate() {
        let address = match &backend.target {
            Target::Address(address) => Some(PeerAddress::Inet(*address)),
            Target::Socket(path) => match std::os::unix::net::SocketAddr::from_pathname(path) {
                Ok(address) => Some(PeerAddress::Unix(address)),
                // Its length was looked at when the configuration was read.
                Err(fault) => {
                    tracing::error!(zone = %zone.host, path = %path.display(), %fault, "no path for a socket");
                    None
                }
            },
            Target::Name { .. } => None,
        };
        if let Some(address) = address {
            pool.set_addresses(at, vec![address]);
        }
    }
    pool
}

/// A key that no other connection of this process has or had.
///
/// The pool of connections is shared by address and server name, outlives every configuration and knows nothing of
/// trust: under a common key a zone would be given a connection that was verified against another zone's roots, or
/// against those that a reload has taken away.
fn fresh_group() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes `peer` one whose connection carries this request and no other.
///
/// An application may send a body where there is none, in answer to `HEAD`: pingora does not read it, and what of it comes
/// after the connection was kept would be the beginning of somebody else's answer (M7).
pub(in crate::edge) fn carries_one(peer: &mut HttpPeer) {
    peer.group_key = fresh_group();
    peer.options.idle_timeout = Some(Duration::from_secs(1));
}

/// Makes `peer` one whose connection belongs to this stream alone, and can be cut.
fn hold_for_stream(peer: &mut HttpPeer, stream: &Arc<OpenStream>, silences: &Arc<Silences>) {
    peer.group_key = fresh_group();
    connect_ourselves(&mut peer.options, silences, Some(stream));
    peer.options.max_h2_streams = 1;
    // Silence is what streams are made of.
    peer.options.read_timeout = None;
    peer.options.idle_timeout = Some(Duration::from_secs(1));
}

/// What is wrong with the gateway's own certificates towards applications. pingora would find out with the first
/// connection.
pub fn check(zones: &ZoneTable) -> Vec<CertificateProblem> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut problems = Vec::new();
    for zone in zones.zones() {
        let client = zone.upstream.backends.iter().find_map(|backend| backend.tls.as_ref()?.client.as_ref());
        let Some(client) = client else { continue };
        let chain = client.chain.iter().map(|der| der.clone().into()).collect();
        let why = match rustls::pki_types::PrivateKeyDer::try_from(client.key.to_vec()) {
            Err(why) => Some(format!("client_key is no private key: {why}")),
            Ok(key) => match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
                Ok(_) => None,
                Err(why) => Some(format!("client_certificate and client_key cannot be used together: {why}")),
            },
        };
        let place = Place { line: 0, key: "zones".into() };
        problems
            .extend(why.map(|why| CertificateProblem { place, text: format!("{}: upstream: {why}", zone.host) }));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Ttl;
    use crate::session::samples;
    use crate::zone::{HealthCheck, UpstreamTls};

    fn zone(change: impl Fn(&mut Zone)) -> Arc<Zone> {
        let mut zone = samples::zone("a.example");
        change(&mut zone);
        Arc::new(zone)
    }

    fn trusting(root: u8) -> impl Fn(&mut Zone) {
        move |zone| {
            let roots = Some(Arc::new(vec![vec![root]]));
            let tls = UpstreamTls { server_name: "app.example".parse().unwrap(), roots, client: None };
            zone.upstream.backends[0].tls = Some(tls);
        }
    }

    #[test]
    fn x6_connections_outlive_a_reload_only_where_trust_is_the_same() {
        let metrics = UpstreamMetrics::default();
        let group = |peers: &Peers| peers.by_zone.values().next().unwrap().group;
        let first = Peers::of(&[zone(trusting(1))], &metrics, None);
        let limits = |zone: &mut Zone| {
            trusting(1)(zone);
            zone.upstream.limits.connect_max = Ttl::seconds_const(7);
        };
        let same = Peers::of(&[zone(limits)], &metrics, Some(&first));
        assert_eq!(group(&same), group(&first));
        let other = Peers::of(&[zone(trusting(2))], &metrics, Some(&same));
        assert_ne!(group(&other), group(&same));
        let back = Peers::of(&[zone(trusting(1))], &metrics, Some(&other));
        assert!(![group(&first), group(&other)].contains(&group(&back)), "a number never comes again");
    }

    #[tokio::test]
    async fn health_checks_end_with_their_configuration() {
        let second = Ttl::seconds_const(1);
        let check = HealthCheck { path: None, status: None, interval: second, timeout: second, fall: 1, rise: 1 };
        let checked = zone(|zone| zone.upstream.health = Some(check.clone()));
        let mut peers = Peers::of(&[checked], &UpstreamMetrics::default(), None);
        peers.watch_health();
        let pool = Arc::downgrade(peers.by_zone.values().next().unwrap());
        let holders = async |most: usize| {
            let fewer = async {
                while pool.strong_count() > most {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(5), fewer).await.unwrap();
        };
        assert_eq!(pool.strong_count(), 2, "the check is one of them");
        // A WebSocket may keep the configuration for hours.
        peers.retire();
        holders(1).await;
        drop(peers);
        holders(0).await;
    }
}
