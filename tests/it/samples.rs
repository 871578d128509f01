//! A zone and a session, as an application's neighbour would describe them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use zonegate::base::{FlowId, SessionId, TenantId, TokenDigest, UnixTime, UserId};
use zonegate::directory::{Lifetimes, UserKind};
use zonegate::session::{Class, Device, Factor, Method, Principal, Session, SessionRecord};
use zonegate::zone::{HeaderPreset, Language, Upstream, Zone};

pub(crate) const ISSUER: &str = "https://a.example";
pub(crate) const AUDIENCE: &str = "https://desk.a.example";

pub(crate) fn zone() -> Zone {
    Zone {
        host: "a.example".parse().unwrap(),
        aliases: vec![],
        authority: http::HeaderValue::from_static("desk.bench.example"),
        origin: ISSUER.into(),
        name: String::new(),
        data_centre: String::new(),
        description: String::new(),
        language: Language::En,
        preselectable: true,
        upstream: Upstream::at(([127, 0, 0, 1], 1).into()),
        headers: HeaderPreset::Default,
        audience: AUDIENCE.into(),
        body_bytes_max: 1,
        more_methods: vec![],
        ways: Default::default(),
        rules: Default::default(),
        background_paths: vec![],
        client_certificates: None,
    }
}

pub(crate) fn session(now: UnixTime) -> Session {
    let record = SessionRecord {
        id: SessionId::from_bytes([1; 16]),
        token: TokenDigest::of(b"token"),
        flow: FlowId::from_bytes([2; 16]),
        user: UserId::from_bytes([3; 16]),
        tenant: TenantId::from_bytes([4; 16]),
        zone: zone().host,
        epoch: 0,
        class: Class::Web,
        method: Method::Local,
        factors: [Factor::Password, Factor::Totp].into(),
        authenticated_at: Some(now),
        started_at: now,
        last_seen: now,
        lifetimes: Lifetimes::default(),
        device: Device::default(),
    };
    let principal = Principal {
        username: "jörg@acme.example".into(),
        email: None,
        display_name: "Jörg".into(),
        groups: vec!["staff, all".into()],
        tenant_slug: "acme".into(),
        kind: UserKind::Regular,
    };
    Session::new(&record, &principal, Arc::new(AtomicU64::new(0)))
}
