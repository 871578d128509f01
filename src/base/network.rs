//! Address ranges: whom a list of the operator's trusts, and whom limits are counted for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A list of address ranges, empty by default: nobody is trusted who was not named.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<IpNet>);

/// Something that is no address range.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is neither an address like 10.0.0.7 nor a range like 10.0.0.0/8 or fd00::/8")]
pub struct NetworkProblem(String);

impl Networks {
    /// The ranges, each as [`Self::range`] reads it.
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self(ranges)
    }

    /// One range: an address, or an address with the length of its prefix.
    pub fn range(text: &str) -> Result<IpNet, NetworkProblem> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map_err(|_| NetworkProblem(text.to_owned()))
    }

    /// Whether the list is empty, and nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is in one of the ranges. An IPv4 address is the same one in IPv6's clothes (`::ffff:a.b.c.d`),
    /// which is how a listener on `[::]` sees it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// Whom connections and log-ins are counted for: an IPv4 address, or the /64 that an IPv6 address is in, which is what
/// one customer gets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Source(IpAddr);

impl Source {
    /// The source that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self::prefix(address, 32, 64)
    }

    /// The neighbourhood that `address` belongs to: an IPv4 /16, or an IPv6 /32. There are not so many of them.
    pub fn wide(address: IpAddr) -> Self {
        Self::prefix(address, 16, 32)
    }

    fn prefix(address: IpAddr, v4_bits: u32, v6_bits: u32) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !u32::MAX.unbounded_shr(v4_bits)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::MAX.unbounded_shr(v6_bits)).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_addresses_in_both_clothes_and_no_others() {
        let ranges = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(|text| Networks::range(text).unwrap());
        let networks = Networks::new(ranges.to_vec());
        for (address, want) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), want, "{address}");
        }
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_source_is_what_one_customer_gets() {
        let same = |a: &str, b: &str| Source::of(a.parse().unwrap()) == Source::of(b.parse().unwrap());
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        let near = |a: &str, b: &str| Source::wide(a.parse().unwrap()) == Source::wide(b.parse().unwrap());
        assert!(near("192.0.2.1", "192.0.255.9"));
        assert!(!near("192.0.2.1", "192.1.2.1"));
        assert!(near("2001:db8::1", "2001:db8:ffff::1"));
    }

    #[test]
    fn what_is_no_range_is_told() {
        for text in ["", "10.0.0.0/33", "host.example", "10.0.0", "*"] {
            assert!(Networks::range(text).is_err(), "{text}");
        }
    }
}
