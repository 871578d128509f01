//! The addresses of backends that are named, looked up again when the answer grows old.
//!
//! *Why hickory and not the system's resolver?* The system's tells no TTL, so one would have to be made up: too long,
//! and requests go where the application was; too short, and every zone asks all the time. The price: of the system's
//! ways only `/etc/resolv.conf` and `/etc/hosts` are known, no other sources of `nsswitch.conf`.
//!
//! Whatever fails, the last addresses stay: an application that runs must not be lost to a name server that does not.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;

use super::pool::Pool;

/// No answer is believed for less, whatever its TTL: a TTL of zero must not ask without end.
const KEPT_MIN: Duration = Duration::from_secs(1);
/// And none for more: an operator who moves the application waits no longer, whatever the TTL was.
const KEPT_MAX: Duration = Duration::from_secs(300);
/// The longest wait after a failure; the first is [`KEPT_MIN`], and each one is twice the last.
const FAILED_MAX: Duration = Duration::from_secs(30);

/// Asks name servers.
pub(super) struct Names(Result<TokioResolver, String>);

impl Names {
    /// `servers`: who is asked; none for the system's.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        let mut builder = match servers {
            [] => match TokioResolver::builder_tokio() {
                Ok(builder) => builder,
                Err(fault) => return Self(Err(format!("/etc/resolv.conf cannot be used: {fault}"))),
            },
            servers => {
                let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        // Not every network that has AAAA records has a way to them.
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        // A name that was not there a moment ago may belong to an application that has just started.
        options.negative_max_ttl = Some(KEPT_MIN);
        // It remembers what it was told: without an end of ours, we would be given the same answer for as long as its TTL
        // says, however often we ask.
        options.positive_max_ttl = Some(KEPT_MAX);
        Self(builder.build().map_err(|fault| fault.to_string()))
    }

    /// The addresses of a name, and until when they are to be believed.
    pub(super) async fn find(&self, host: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let resolver = self.0.as_ref().map_err(Clone::clone)?;
        let found = resolver.lookup_ip(host).await.map_err(|fault| fault.to_string())?;
        let mut addresses: Vec<_> = found.iter().collect();
        // Name servers shuffle their answers; the same set is no change.
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err("it has no address".into());
        }
        Ok((addresses, found.valid_until().saturating_duration_since(Instant::now())))
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    connections.iter_mut().for_each(|connection| connection.port = address.port());
    NameServerConfig::new(address.ip(), true, connections)
}

/// Looks a backend's name up once; how long the answer holds.
pub(super) async fn look_up(
    names: &Names,
    pool: &Pool,
    backend: usize,
    host: &str,
    port: u16,
) -> Result<Duration, String> {
    let (addresses, kept) = names.find(host).await?;
    let peers = addresses.iter().map(|address| PeerAddress::Inet(SocketAddr::new(*address, port))).collect();
    if pool.set_addresses(backend, peers) {
        tracing::info!(zone = %pool.zone.host, name = host, ?addresses, "the application's addresses");
    }
    Ok(kept.clamp(KEPT_MIN, KEPT_MAX))
}

/// Keeps a backend's addresses, for ever. `first`: what the look-up at the start said.
pub(super) async fn follow(
    names: Arc<Names>,
    pool: Arc<Pool>,
    (backend, host, port): (usize, Box<str>, u16),
    first: Result<Duration, String>,
) {
    let mut last = first;
    let mut failed = KEPT_MIN;
    loop {
        let wait = match &last {
            Ok(kept) => {
                failed = KEPT_MIN;
                *kept
            }
            Err(why) => {
                tracing::warn!(
                    zone = %pool.zone.host, name = &*host, why,
                    "an application's name cannot be looked up; the addresses that were known are kept"
                );
                let wait = failed;
                failed = (failed * 2).min(FAILED_MAX);
                wait
            }
        };
        tokio::time::sleep(wait).await;
        last = look_up(&names, &pool, backend, &host, port).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every question with one address and a TTL of a day.
    async fn answer(socket: tokio::net::UdpSocket) {
        let mut question = [0; 512];
        loop {
            let (_, from) = socket.recv_from(&mut question).await.unwrap();
            let name = question[12..].iter().position(|byte| *byte == 0).unwrap();
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend(&question[12..12 + name + 5]);
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(86_400_u32.to_be_bytes());
            answer.extend([0, 4, 192, 0, 2, 1]);
            socket.send_to(&answer, from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_application_that_moves_is_followed_whatever_the_ttl_was() {
        let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let names = Names::new(&[socket.local_addr().unwrap()]);
        let server = tokio::spawn(answer(socket));
        for asked in ["asked of the server", "remembered"] {
            let (addresses, kept) = names.find("app.example.").await.unwrap();
            assert_eq!(addresses, [IpAddr::from([192, 0, 2, 1])], "{asked}");
            assert!(kept <= KEPT_MAX, "{asked}: {kept:?}");
        }
        server.abort();
    }
}
