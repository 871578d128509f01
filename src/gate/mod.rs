//! The decision: may this request go upstream, and as whom?
//!
//! A pure, total function of facts that the edge has read. Trouble is an input like any other: an unreadable
//! cookie, a store that cannot be asked, an unknown host are rows of the table, so that failing closed is tested
//! and not hoped for. The forward path does not allocate.
//!
//! Why does `decide` return a `Grant` and not a yes? Because the edge can build an upstream request only from a
//! grant, and only this module can make one: a forgotten check does not compile.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::base::UnixTime;
use crate::session::{EndReason, Liveness, Session};
use crate::zone::{HostMatch, Need, Person, Rule, Ruling, Zone};

/// What the edge knows of a request before anything is decided.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What it asks for.
    pub asked: Asked<'a>,
    /// Who would pass it on.
    pub way: Way,
    /// What a refused client can make use of.
    pub client: Client,
    /// What came in our session cookie.
    pub presented: Presented<'a>,
    /// Whether endings of sessions are known to reach this process.
    pub store: StoreHealth,
}

/// What a request asks for, with what the zone's rules say of it: one value, so that no request is ever judged by the
/// rules of another zone or for another path.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    host: HostMatch<'a>,
    place: Place,
    ruling: Ruling<'a>,
}

impl<'a> Asked<'a> {
    /// `host`: what answers under the request's host. `target`: its raw path, with or without the query, in which nothing
    /// is ambiguous ([`crate::zone::Rules::ruling`]); `place`: whose path that is.
    pub fn new(host: HostMatch<'a>, place: Place, method: &Method, target: &[u8]) -> Self {
        let ruling = match host {
            HostMatch::Zone(zone) => zone.rules.ruling(method, target),
            HostMatch::Alias(_) | HostMatch::Universal | HostMatch::Unknown => Ruling::NONE,
        };
        Self { host, place, ruling }
    }

    /// Whether a session could make a difference. Where it could not, nobody looks for one: a public path costs what
    /// the bare proxy costs, and goes on while the store is lost.
    pub fn wants_session(&self) -> bool {
        match (self.place, self.ruling.need()) {
            (Place::Ours, _) => true,
            (Place::Application, Need::Public) => false,
            (Place::Application, Need::Optional | Need::SignedIn | Need::Deny | Need::Unreadable) => true,
        }
    }

    /// Whether the zone's requests are passed on by a proxy in front, and never by this gateway.
    pub fn is_for_askers_only(&self) -> bool {
        match self.host {
            HostMatch::Zone(zone) => !zone.ways.through(),
            HostMatch::Alias(_) | HostMatch::Universal | HostMatch::Unknown => false,
        }
    }

    /// The rule that decides, unless it refuses the person: that one is in [`Forbidden`].
    pub fn rule(&self) -> Option<&'a Rule> {
        match self.place {
            Place::Ours => None,
            Place::Application => self.ruling.rule(),
        }
    }
}

/// Who passes a request on when it is let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// This gateway.
    Through,
    /// Another proxy, which asks about each request first (forward-auth). It is decided like any other.
    Asked,
}

/// Whose path a request asks for, judged on the normalised path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Below `/.zonegate/` or one of our well-known addresses: never forwarded, in whatever spelling.
    Ours,
    /// Everything else.
    Application,
}

/// What a client can make use of when it is not let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Client {
    /// A browser that shows a page: GET or HEAD, asking for HTML, as a navigation.
    Navigation,
    /// A script, an application, a WebSocket: wants a status and JSON, never a redirect.
    Program,
}

/// What came in our session cookie.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// Not a token, or more than one.
    Unreadable,
    /// A token that opens no session.
    Unknown,
    /// A session that is or was ours.
    Session(&'a Arc<Session>),
}

/// Whether the store was heard of recently enough to trust that a session has not been ended elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreHealth {
    /// Heard of within the lease.
    Current,
    /// Not heard of: revocations may be missing.
    Stale,
}

/// Permission to forward one request. Only [`decide`] makes one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Grant {
    zone: Arc<Zone>,
    bearer: Bearer,
}

/// Whose request a grant is for.
///
/// *Why an enum and not an optional session?* So that whoever builds an upstream's head has to say what it is for nobody.
#[derive(Clone, Debug)]
pub enum Bearer {
    /// Nobody's, on a path that the zone's rules open: the application is told of nobody.
    Nobody,
    /// The person's of this live session.
    Person(Arc<Session>),
}

impl Grant {
    /// The zone whose application may be asked.
    pub fn zone(&self) -> &Arc<Zone> {
        &self.zone
    }

    /// Whose request it is.
    pub const fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    /// The session of the person whose request it is, if it is a person's.
    pub const fn session(&self) -> Option<&Arc<Session>> {
        match &self.bearer {
            Bearer::Nobody => None,
            Bearer::Person(session) => Some(session),
        }
    }
}

/// What happens to a request.
#[derive(Debug)]
pub enum Decision<'a> {
    /// It goes upstream.
    Forward(Grant),
    /// One of our own pages answers, on this zone's host.
    Portal(&'a Arc<Zone>),
    /// The universal host's pages answer, whatever the path: no application lives there.
    Universal,
    /// The client must log in first.
    Challenge(Challenge<'a>),
    /// The same address on the zone's canonical host.
    Canonical(&'a Arc<Zone>),
    /// A rule of the zone lets nobody through, or not this person. Logging in again would not help, so nobody is sent
    /// there: 403.
    Forbid(Forbidden<'a>),
    /// No.
    Refuse(Refusal),
}

/// What a rule does not let through.
#[derive(Clone, Copy, Debug)]
pub struct Forbidden<'a> {
    /// The zone whose rule it is.
    pub zone: &'a Arc<Zone>,
    /// Whom it does not let through, if that is somebody.
    pub session: Option<&'a Arc<Session>>,
    /// The rule.
    pub rule: &'a Rule,
}

impl Forbidden<'_> {
    /// The reason in JSON answers, logs and metrics.
    pub const REASON: &'static str = "forbidden_by_rule";
}

/// A request to log in.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The zone to log in to.
    pub zone: &'a Arc<Zone>,
    /// In which form the client is told.
    pub client: Client,
    /// Why the request was not let through.
    pub reason: ChallengeReason,
}

/// Why a request was not let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChallengeReason {
    /// No session cookie.
    NoSession,
    /// A cookie that is no token, or several.
    UnreadableCookie,
    /// A token that opens nothing, or nothing in this zone.
    UnknownSession,
    /// The session has ended, and the person is told why.
    Ended(EndReason),
}

impl ChallengeReason {
    /// Every reason.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_the_cookie = [Self::NoSession, Self::UnreadableCookie, Self::UnknownSession];
        of_the_cookie.into_iter().chain(EndReason::ALL.map(Self::Ended))
    }

    /// The name in JSON answers, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSession => "no_session",
            Self::UnreadableCookie => "unreadable_cookie",
            Self::UnknownSession => "unknown_session",
            Self::Ended(reason) => reason.name(),
        }
    }
}

/// Why a request is refused before any log-in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Nobody answers under this host: 421 (RFC 9110 section 15.5.20, R12).
    UnknownHost,
    /// Sessions cannot be trusted at the moment: 503 (G4).
    StoreUnavailable,
    /// The zone has rules, and applications would not agree on which path this is: 400 (M9).
    AmbiguousPath,
    /// The zone's application is not reached this way, by proxy or by question: 404.
    NotThisWay,
}

impl Refusal {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::UnknownHost, Self::StoreUnavailable, Self::AmbiguousPath, Self::NotThisWay];

    /// The name in JSON answers, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownHost => "unknown_host",
            Self::StoreUnavailable => "store_unavailable",
            Self::AmbiguousPath => "ambiguous_path",
            Self::NotThisWay => "not_this_way",
        }
    }

    /// What the client is told.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::AmbiguousPath => StatusCode::BAD_REQUEST,
            Self::NotThisWay => StatusCode::NOT_FOUND,
        }
    }
}

/// Decides over one request at `now`.
pub fn decide<'a>(facts: &Facts<'a>, now: UnixTime) -> Decision<'a> {
    let Asked { host, place, ruling } = facts.asked;
    let zone = match host {
        HostMatch::Zone(zone) => zone,
        HostMatch::Alias(zone) => return Decision::Canonical(zone),
        HostMatch::Universal => return Decision::Universal,
        HostMatch::Unknown => return Decision::Refuse(Refusal::UnknownHost),
    };
    match place {
        Place::Ours => return Decision::Portal(zone),
        Place::Application => {}
    }
    let served = match facts.way {
        Way::Through => zone.ways.through(),
        Way::Asked => zone.ways.asked(),
    };
    if !served {
        return Decision::Refuse(Refusal::NotThisWay);
    }
    let forward = |bearer| Decision::Forward(Grant { zone: Arc::clone(zone), bearer });
    let denied = |denied| match denied {
        Denied::Challenge(reason) => Decision::Challenge(Challenge { zone, client: facts.client, reason }),
        Denied::Refuse(refusal) => Decision::Refuse(refusal),
    };
    match ruling.need() {
        Need::Public => forward(Bearer::Nobody),
        Need::Optional => match principal(facts, zone, now) {
            Ok(session) => forward(Bearer::Person(Arc::clone(session))),
            Err(Denied::Challenge(_)) => forward(Bearer::Nobody),
            // *Why not as nobody's?* That would say "logged out" to somebody who may be logged in, and the application
            // would act on it. What must go on while the store is lost is for `public`.
            Err(unsure @ Denied::Refuse(_)) => denied(unsure),
        },
        Need::SignedIn => match principal(facts, zone, now) {
            Ok(session) => match ruling.refusing(person(session)) {
                None => forward(Bearer::Person(Arc::clone(session))),
                Some(rule) => Decision::Forbid(Forbidden { zone, session: Some(session), rule }),
            },
            Err(refused) => denied(refused),
        },
        Need::Deny => match ruling.rule() {
            Some(rule) => Decision::Forbid(Forbidden { zone, session: principal(facts, zone, now).ok(), rule }),
            // Only rules deny. Were there none, it would still not be let through.
            None => Decision::Refuse(Refusal::AmbiguousPath),
        },
        Need::Unreadable => Decision::Refuse(Refusal::AmbiguousPath),
    }
}

/// What rules may know of a person: as the session began.
fn person(session: &Session) -> Person<'_> {
    Person { groups: session.principal.groups(), kind: session.principal.kind().name() }
}

enum Denied {
    Challenge(ChallengeReason),
    Refuse(Refusal),
}

/// The live session of this zone that the request proves, if it proves one.
///
/// The portal asks the same question before it shows account pages; there is one answer to it.
fn principal<'a>(facts: &Facts<'a>, zone: &Arc<Zone>, now: UnixTime) -> Result<&'a Arc<Session>, Denied> {
    let session = match facts.presented {
        Presented::Nothing => return Err(Denied::Challenge(ChallengeReason::NoSession)),
        Presented::Unreadable => return Err(Denied::Challenge(ChallengeReason::UnreadableCookie)),
        Presented::Unknown => return Err(Denied::Challenge(ChallengeReason::UnknownSession)),
        Presented::Session(session) => session,
    };
    // A session of another zone is nothing here: not even the reason of its end is told.
    if session.terms.zone != zone.host {
        return Err(Denied::Challenge(ChallengeReason::UnknownSession));
    }
    match session.liveness(now) {
        Liveness::Ended(reason) => Err(Denied::Challenge(ChallengeReason::Ended(reason))),
        Liveness::Live => match facts.store {
            StoreHealth::Current => Ok(session),
            StoreHealth::Stale => Err(Denied::Refuse(Refusal::StoreUnavailable)),
        },
    }
}

/// Who is at one of our own pages.
#[derive(Clone, Copy, Debug)]
pub enum SignedIn<'a> {
    /// Nobody.
    Nobody,
    /// The person of this live session.
    Person(&'a Arc<Session>),
    /// A session that looks alive may have been ended elsewhere: neither in nor out can be said (G4).
    Unsure,
}

/// Who is at our own pages in `zone`.
pub fn signed_in<'a>(facts: &Facts<'a>, zone: &Arc<Zone>, now: UnixTime) -> SignedIn<'a> {
    match principal(facts, zone, now) {
        Ok(session) => SignedIn::Person(session),
        Err(Denied::Challenge(_)) => SignedIn::Nobody,
        Err(Denied::Refuse(_)) => SignedIn::Unsure,
    }
}

#[cfg(test)]
mod tests;
