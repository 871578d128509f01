//! Where providers may be. Administrators of tenants name them, and what their metadata name comes from outside: neither
//! may send us to places that only we can reach (SEC-R54).
//!
//! Two questions, both asked each time: is the host one that was configured, and is the address one of the public
//! internet's. The second is asked of the addresses that are then connected to, in the resolver: between a check of a name
//! and its use there is no second look-up that could be answered differently. An address in a URL needs no resolver, so
//! it is looked at before.
//!
//! *Why not only block what is known to be dangerous?* In IPv6 what is not given out yet, or leads into IPv4 by another
//! form (mapped, 6to4, Teredo, NAT64), is more than what is public: there the list says what is allowed. An operator
//! behind NAT64 names `64:ff9b::/96`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::base::Networks;
use crate::sso::ProviderSettings;

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(a: u16, b: u16, c: u16, bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), bits)
}

/// What is not public of IPv4 (the IANA registry of special-purpose addresses), and one address that looks as if it were.
const NOT_PUBLIC_V4: [Ipv4Net; 17] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    // Link-local: the clouds' metadata are at 169.254.169.254.
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
    // Azure's own services for a machine, inside every one of its networks.
    v4(168, 63, 129, 16, 32),
];

/// What is given out of IPv6.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// And what is not public of that: protocols (Teredo among them), documentation, 6to4.
const NOT_PUBLIC_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 0, 23), v6(0x2001, 0xdb8, 0, 32), v6(0x2002, 0, 0, 16), v6(0x3fff, 0, 0, 20)];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !NOT_PUBLIC_V4.iter().any(|range| range.contains(&v4)),
        IpAddr::V6(v6) => PUBLIC_V6.contains(&v6) && !NOT_PUBLIC_V6.iter().any(|range| range.contains(&v6)),
    }
}

/// Says where we go.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    networks: Networks,
}

/// Where we do not go, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Forbidden {
    /// Not an address of the web's that can be trusted with a secret.
    #[error("the address is none that begins with https://, or has a user in it")]
    NotHttps,
    /// Neither the issuer's host nor a listed one.
    #[error("the host {0} is neither the issuer's nor listed")]
    Host(String),
    /// All addresses of the host are in networks that are not public.
    #[error("the host {0} is in a network that is not public")]
    Network(String),
}

impl Guard {
    /// `networks`: which are allowed besides the public ones.
    pub(super) fn new(networks: Networks) -> Self {
        Self { networks }
    }

    /// Whether we connect to this address.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.networks.contains(address)
    }

    /// Looks at a URL of a provider's: one that was configured, or one that its metadata name.
    pub(super) fn check(&self, url: &Url, settings: &ProviderSettings) -> Result<(), Forbidden> {
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::NotHttps);
        }
        let host = url.host_str().unwrap_or_default();
        let listed = settings.hosts.iter().any(|listed| listed.as_str() == host);
        if host != settings.issuer.host() && !listed {
            return Err(Forbidden::Host(host.to_owned()));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) | None => None,
        };
        match literal {
            Some(address) if !self.allows(address) => Err(Forbidden::Network(host.to_owned())),
            Some(_) | None => Ok(()),
        }
    }
}

/// Gives of a name's addresses those that we go to.
pub(super) struct GuardedNames {
    guard: Guard,
    names: Arc<dyn Resolve>,
}

impl GuardedNames {
    pub(super) fn new(guard: Guard, names: Arc<dyn Resolve>) -> Self {
        Self { guard, names }
    }
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let found = self.names.resolve(name);
        let guard = self.guard.clone();
        Box::pin(async move {
            let allowed: Vec<_> = found.await?.filter(|address| guard.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(Forbidden::Network(host).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The system's name servers and `/etc/hosts`, asked without a thread for each question. When the system says nothing of
/// its name servers, each question fails: whoever has no provider needs none.
pub(super) struct SystemNames(Result<TokioResolver, String>);

impl SystemNames {
    pub(super) fn new() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            // Not every network that has AAAA records has a way to them.
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
            builder.build()
        });
        Self(resolver.map_err(|fault| format!("the system's name servers cannot be used: {fault}")))
    }
}

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver?.lookup_ip(name.as_str()).await?;
            // The port is the URL's.
            let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        Guard::new(Networks::new(networks.iter().map(|text| Networks::range(text).unwrap()).collect()))
    }

    #[test]
    fn o6_addresses_that_are_not_public_are_refused_in_every_form() {
        let guard = guard(&[]);
        for (address, want) in [
            // Public.
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("100.63.255.255", true),
            ("100.128.0.0", true),
            ("169.253.255.255", true),
            ("198.17.255.255", true),
            ("223.255.255.255", true),
            ("2001:4860:4860::8888", true),
            ("2606:4700::1111", true),
            ("2a00:1450:4001::1", true),
            // This machine, and "this network", which some systems take for it.
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("::", false),
            ("::1", false),
            // Private.
            ("10.0.0.1", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("fec0::1", false),
            // Link-local, and what clouds tell their machines.
            ("169.254.0.1", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("febf::1", false),
            // Nobody's: documentation, benchmarks, protocols, multicast, reserved.
            ("192.0.2.1", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("192.88.99.1", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2001:db8::1", false),
            ("3fff::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("4000::1", false),
            // Other forms of IPv4, whatever is in them.
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:8.8.8.8", false),
            ("::127.0.0.1", false),
            ("::8.8.8.8", false),
            ("::ffff:0:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::808:808", false),
            ("64:ff9b:1::a00:1", false),
            ("2002:a00:1::", false),
            ("2002:808:808::", false),
            ("2001:0:a00:1::", false),
        ] {
            assert_eq!(guard.allows(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn a_network_that_an_operator_names_is_allowed_and_no_other() {
        let guard = guard(&["10.1.0.0/16", "64:ff9b::/96"]);
        for (address, want) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", false),
            ("64:ff9b::808:808", true),
            ("8.8.8.8", true),
        ] {
            assert_eq!(guard.allows(address.parse().unwrap()), want, "{address}");
        }
    }

    fn settings(issuer: &str, hosts: &[&str]) -> ProviderSettings {
        let value =
            serde_json::json!({ "issuer": issuer, "client_id": "us", "username_claim": "email", "hosts": hosts });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_configured_hosts_are_asked_and_only_by_https() {
        let guard = guard(&["192.168.7.0/24"]);
        let ours = settings("https://login.example/realm", &["keys.example"]);
        let check = |settings: &ProviderSettings, url: &str| guard.check(&Url::parse(url).unwrap(), settings);
        let host = |host: &str| Err(Forbidden::Host(host.into()));
        for (url, want) in [
            ("https://login.example/x", Ok(())),
            ("https://LOGIN.example:8443/x?y", Ok(())),
            ("https://keys.example/jwks", Ok(())),
            ("http://login.example/x", Err(Forbidden::NotHttps)),
            ("ftp://login.example/x", Err(Forbidden::NotHttps)),
            ("https://u@login.example/x", Err(Forbidden::NotHttps)),
            ("https://:p@login.example/x", Err(Forbidden::NotHttps)),
            ("https://login.example@evil.example/", Err(Forbidden::NotHttps)),
            ("https://login.example.evil.example/", host("login.example.evil.example")),
            ("https://sub.keys.example/", host("sub.keys.example")),
            ("https://login.example./", host("login.example.")),
            ("https://127.0.0.1/", host("127.0.0.1")),
        ] {
            assert_eq!(check(&ours, url), want, "{url}");
        }
    }

    #[test]
    fn o6_an_address_in_place_of_a_name_is_looked_at_in_every_spelling() {
        let guard = guard(&["192.168.7.0/24"]);
        for (issuer, allowed) in [
            ("https://192.168.7.9", true),
            ("https://127.0.0.1:8443", false),
            ("https://2130706433", false),
            ("https://0x7f.1", false),
            ("https://0177.0.0.1", false),
            ("https://[::1]", false),
            ("https://[::ffff:7f00:1]", false),
            ("https://[::ffff:192.168.7.9]", true),
            ("https://169.254.169.254", false),
            ("https://8.8.8.8", true),
        ] {
            let outcome = guard.check(&Url::parse(issuer).unwrap(), &settings(issuer, &[]));
            let forbidden = matches!(outcome, Err(Forbidden::Network(_)));
            assert_eq!((outcome.is_ok(), forbidden), (allowed, !allowed), "{issuer}: {outcome:?}");
        }
    }

    /// Says of every name the same.
    struct Says(&'static [&'static str]);

    impl Resolve for Says {
        fn resolve(&self, _: Name) -> Resolving {
            let addresses: Vec<_> = self.0.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect();
            Box::pin(async move { Ok(Box::new(addresses.into_iter()) as Addrs) })
        }
    }

    #[tokio::test]
    async fn o6_of_a_names_addresses_only_the_allowed_are_connected_to() {
        for (said, want) in [
            (&["8.8.8.8"][..], &["8.8.8.8"][..]),
            (&["10.0.0.1", "8.8.8.8", "::1"], &["8.8.8.8"]),
            (&["127.0.0.1"], &[]),
            (&["::ffff:169.254.169.254", "64:ff9b::7f00:1"], &[]),
            (&[], &[]),
        ] {
            let names = GuardedNames::new(guard(&[]), Arc::new(Says(said)));
            match names.resolve("a.example".parse().unwrap()).await {
                Ok(found) => {
                    let found: Vec<_> = found.map(|address| address.ip().to_string()).collect();
                    assert_eq!(found, want, "{said:?}");
                }
                Err(fault) => {
                    assert!(want.is_empty(), "{said:?}: {fault}");
                    assert_eq!(fault.downcast_ref(), Some(&Forbidden::Network("a.example".into())));
                }
            }
        }
    }

    #[tokio::test]
    async fn o6_a_name_that_is_this_machine_leads_nowhere() {
        let names = SystemNames::new();
        let names = GuardedNames::new(guard(&[]), Arc::new(names));
        let fault = names.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert_eq!(fault.downcast_ref(), Some(&Forbidden::Network("localhost".into())));
    }
}
