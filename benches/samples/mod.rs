//! Zones, people and sessions for the benches.

#![allow(dead_code, reason = "each bench is a crate of its own and uses a part of this")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use zonegate::base::{FlowId, SessionId, SessionToken, TenantId, UnixTime, UserId};
use zonegate::config::Limits;
use zonegate::directory::{Lifetimes, UserKind};
use zonegate::session::{Class, Device, Factor, Method, Principal, Session, SessionRecord};
use zonegate::zone::{HeaderPreset, Language, Upstream, Zone, ZoneTable};

/// When the sessions began; every bench decides a moment later.
pub(crate) const START: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// A zone that answers under `host`.
pub(crate) fn zone(host: &str) -> Zone {
    Zone {
        host: host.parse().unwrap(),
        aliases: vec![],
        authority: http::HeaderValue::from_static("desk.bench.example"),
        origin: format!("https://{host}").into(),
        name: host.into(),
        data_centre: String::new(),
        description: String::new(),
        language: Language::En,
        preselectable: true,
        upstream: Upstream::at(([127, 0, 0, 1], 1).into()),
        headers: HeaderPreset::Default,
        audience: host.into(),
        body_bytes_max: 1,
        more_methods: vec![],
        ways: Default::default(),
        rules: Default::default(),
        background_paths: vec![],
        client_certificates: None,
    }
}

/// `count` zones: `ww1.desk.example` and so on.
pub(crate) fn zones(count: u32) -> ZoneTable {
    let zones = (1..=count).map(|number| zone(&format!("ww{number}.desk.example"))).collect();
    ZoneTable::new(zones, Some("login.example".parse().unwrap())).unwrap()
}

/// The limits that hold when nothing is configured.
pub(crate) fn limits() -> Limits {
    Limits::default()
}

/// The token of session `serial`.
pub(crate) fn token(serial: u64) -> SessionToken {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&serial.to_le_bytes());
    SessionToken::from_bytes(bytes)
}

/// 16 bytes that differ for each `serial`.
pub(crate) fn id_bytes(serial: u64) -> [u8; 16] {
    (u128::from(serial) << 64 | 1).to_be_bytes()
}

/// What the store keeps of session `serial`.
pub(crate) fn record(host: &str, serial: u64) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_bytes(id_bytes(serial)),
        token: token(serial).digest(),
        flow: FlowId::from_bytes(id_bytes(serial)),
        user: UserId::from_bytes(id_bytes(serial)),
        tenant: TenantId::from_bytes([4; 16]),
        zone: host.parse().unwrap(),
        epoch: 0,
        class: Class::Web,
        method: Method::Local,
        factors: [Factor::Password, Factor::Totp].into(),
        authenticated_at: Some(START),
        started_at: START,
        last_seen: START,
        lifetimes: Lifetimes::default(),
        device: Device { label: "Firefox on Linux".into(), address: "192.0.2.1".into() },
    }
}

/// Somebody with the usual fields.
pub(crate) fn principal() -> Principal {
    Principal {
        username: "alice@acme.example".into(),
        email: Some("alice@acme.example".into()),
        display_name: "Alice Ash".into(),
        groups: vec!["staff".into(), "dispatch".into()],
        tenant_slug: "acme".into(),
        kind: UserKind::Regular,
    }
}

/// Session `serial`, live.
pub(crate) fn session(host: &str, serial: u64) -> Arc<Session> {
    Arc::new(Session::new(&record(host, serial), &principal(), Arc::new(AtomicU64::new(0))))
}
