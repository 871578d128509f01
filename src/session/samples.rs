//! One zone, one person and one session, as the tests of several modules need them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Class, Device, Factor, Method, Principal, Session, SessionRecord};
use crate::base::{FlowId, SessionId, TenantId, TokenDigest, UnixTime, UserId};
use crate::directory::{Lifetimes, UserKind};
use crate::zone::{HeaderPreset, Language, Upstream, Zone};

/// When the sample session began.
pub(crate) const START: UnixTime = UnixTime::from_seconds(1_000_000);

/// A zone that answers under `host`.
pub(crate) fn zone(host: &str) -> Zone {
    Zone {
        host: host.parse().unwrap(),
        aliases: vec![],
        origin: format!("https://{host}").into(),
        authority: http::HeaderValue::try_from(host).unwrap(),
        name: host.into(),
        data_centre: String::new(),
        description: String::new(),
        language: Language::En,
        preselectable: true,
        upstream: Upstream::at(([127, 0, 0, 1], 1).into()),
        headers: HeaderPreset::Default,
        audience: format!("aud:{host}").into(),
        body_bytes_max: 1,
        more_methods: vec![],
        ways: Default::default(),
        rules: Default::default(),
        background_paths: vec![],
        client_certificates: None,
    }
}

/// A session of `host` that began at [`START`], of epoch 5.
pub(crate) fn record(host: &str) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_bytes([1; 16]),
        token: TokenDigest::of(b"token"),
        flow: FlowId::from_bytes([2; 16]),
        user: UserId::from_bytes([3; 16]),
        tenant: TenantId::from_bytes([4; 16]),
        zone: host.parse().unwrap(),
        epoch: 5,
        class: Class::Web,
        method: Method::Local,
        factors: [Factor::Password, Factor::Totp].into(),
        authenticated_at: Some(START),
        started_at: START,
        last_seen: START,
        lifetimes: Lifetimes::default(),
        device: Device::default(),
    }
}

/// Alice.
pub(crate) fn principal() -> Principal {
    Principal {
        username: "alice@acme.example".into(),
        email: Some("Alice.Ash@acme.example".into()),
        display_name: "Alice Ash".into(),
        groups: vec!["staff".into(), "on call".into()],
        tenant_slug: "acme".into(),
        kind: UserKind::Regular,
    }
}

/// Alice's session of `record`, live.
pub(crate) fn session(record: &SessionRecord) -> Arc<Session> {
    session_of(record, &principal())
}

/// The session of `record`, live.
pub(crate) fn session_of(record: &SessionRecord, principal: &Principal) -> Arc<Session> {
    Arc::new(Session::new(record, principal, Arc::new(AtomicU64::new(record.epoch))))
}
