//! How many connections one source may hold.
//!
//! The map holds the sources that have connections now, so that it is as large as the number of connections and no
//! larger.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::base::Source;

/// The connections of every source that has one.
#[derive(Debug, Default)]
pub(in crate::edge) struct Sources(DashMap<Source, u32>);

/// A place that a connection takes until it is dropped.
#[derive(Debug)]
pub(in crate::edge) struct Place {
    source: Source,
    sources: Arc<Sources>,
}

impl Sources {
    /// A place for one more connection of `address`; `None` when it holds `most` already.
    pub(in crate::edge) fn enter(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Place> {
        let source = Source::of(address);
        match self.0.entry(source) {
            Entry::Vacant(vacant) => {
                vacant.insert(1);
            }
            Entry::Occupied(held) if *held.get() >= most => return None,
            Entry::Occupied(mut held) => *held.get_mut() += 1,
        }
        Some(Place { source, sources: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.sources.0.entry(self.source) {
            if *held.get() <= 1 {
                held.remove();
            } else {
                *held.get_mut() -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_holds_no_more_than_its_share_and_others_are_not_touched() {
        let sources = Arc::new(Sources::default());
        let enter = |address: &str| sources.enter(address.parse().unwrap(), 2);
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(first);
        assert!(enter("192.0.2.1").is_some());
        let _v6 = (enter("2001:db8::1").unwrap(), enter("2001:db8::ffff").unwrap());
        assert!(enter("2001:db8::2").is_none(), "one customer, one /64");
        assert!(enter("2001:db8:0:1::2").is_some());
    }

    #[test]
    fn d5_who_has_left_is_forgotten() {
        let sources = Arc::new(Sources::default());
        for last in 0..=255 {
            assert!(sources.enter(std::net::Ipv4Addr::new(192, 0, 2, last).into(), 1).is_some());
        }
        assert!(sources.0.is_empty());
    }
}
