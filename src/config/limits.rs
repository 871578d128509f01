//! What is refused for its size or age.
//!
//! Every limit has a default that holds for an ordinary site, and bounds: one that is too wide would be none, and one that is
//! too narrow would refuse everybody. What is out of them is a problem of the file like any other: nothing starts with it, and
//! a reload changes nothing.

use std::num::NonZeroU32;

use super::section::Section;
use crate::base::Ttl;

/// What is refused for its size or age.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// A request's head, in bytes: beyond it 431.
    pub head_bytes_max: usize,
    /// A request's header fields: beyond it 431.
    pub head_fields_max: usize,
    /// A form that is sent to our own pages, in bytes: beyond it 413.
    pub form_bytes_max: usize,
    /// How long a form may take to arrive.
    pub form_time_max: Ttl,
    /// How long a request's whole head may take, from its first byte on (D1).
    pub head_time_max: Ttl,
    /// How long a TLS handshake may take, and a PROXY header before it.
    pub handshake_max: Ttl,
    /// How long an idle connection is kept.
    pub keepalive_max: Ttl,
    /// How long a client may take nothing of what is written to it.
    pub stall_max: Ttl,
    /// The slowest that a request's body may arrive, in bytes a second over its whole time (D2).
    pub body_rate_min: u64,
    /// Connections at a time; 0 for as many as the process's file descriptors carry.
    pub connections_max: u32,
    /// Connections at a time of one source: an IPv4 address, or an IPv6 /64.
    pub connections_per_source: u32,
    /// Log-in attempts of one source in a minute (L3).
    pub logins_per_source: NonZeroU32,
    /// How long requests that are under way may go on after a stop was asked for.
    pub drain_max: Ttl,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 * 1024,
            head_fields_max: 100,
            head_time_max: Ttl::seconds_const(15),
            form_bytes_max: 16 * 1024,
            form_time_max: Ttl::seconds_const(10),
            handshake_max: Ttl::seconds_const(10),
            keepalive_max: Ttl::seconds_const(60),
            stall_max: Ttl::seconds_const(60),
            body_rate_min: 256,
            connections_max: 0,
            connections_per_source: 1000,
            logins_per_source: const { NonZeroU32::new(300).unwrap() },
            drain_max: Ttl::seconds_const(20),
        }
    }
}

pub(super) fn read(section: Section<'_>) -> Limits {
    let wide = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let usual = Limits::default();
    let limits = Limits {
        head_bytes_max: wide(section.size("head", usual.head_bytes_max as u64, 4 * 1024..=256 * 1024)),
        head_fields_max: wide(section.number("head_fields", usual.head_fields_max as u64, 20..=256)),
        head_time_max: section.duration("head_time", usual.head_time_max, 1..=120),
        form_bytes_max: wide(section.size("form", usual.form_bytes_max as u64, 8 * 1024..=1024 * 1024)),
        form_time_max: section.duration("form_time", usual.form_time_max, 1..=120),
        handshake_max: section.duration("handshake", usual.handshake_max, 1..=60),
        keepalive_max: section.duration("keepalive", usual.keepalive_max, 1..=3600),
        stall_max: section.duration("stall", usual.stall_max, 1..=600),
        body_rate_min: section.size("body_rate", usual.body_rate_min, 1..=1024 * 1024),
        connections_max: narrow(section.number("connections", 0, 0..=10_000_000)),
        connections_per_source: narrow(section.number(
            "connections_per_source",
            u64::from(usual.connections_per_source),
            1..=10_000_000,
        )),
        logins_per_source: {
            let attempts =
                section.number("logins_per_source", usual.logins_per_source.get().into(), 1..=1_000_000);
            NonZeroU32::new(narrow(attempts)).unwrap_or(NonZeroU32::MIN)
        },
        drain_max: section.duration("drain", usual.drain_max, 1..=600),
    };
    section.finish();
    limits
}
