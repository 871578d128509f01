//! The claims of the upstream assertion (SEC-R62), and the header they are signed under.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize, Serializer};

use crate::base::{SessionId, Ttl, UnixTime, UserId};
use crate::directory::UserKind;
use crate::session::{Factor, Factors, Method, Session};
use crate::zone::Zone;

/// How long an assertion is good for unless the operator says otherwise.
pub const LIFETIME_DEFAULT: Ttl = Ttl::seconds_const(60);
/// The shortest lifetime: below it, more time would go into signing than into forwarding.
pub const LIFETIME_MIN: Ttl = Ttl::seconds_const(60);
/// The longest lifetime: this long a stolen assertion, or one of an ended session, is still believed.
pub const LIFETIME_MAX: Ttl = Ttl::seconds_const(300);

/// How long a key stays published after a rotation: long enough for a backend that reads the key set by hand.
pub const OVERLAP_DEFAULT: Ttl = Ttl::seconds_const(7 * 24 * 3600);

/// With which signature assertions are made. Asymmetric ones only: no backend holds what could forge one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4): what every JWT library verifies.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519 (RFC 8037): faster to sign, not known to every library.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl KeyAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Es256, Self::EdDsa];

    /// The name in `alg`, files and the store (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// What an operator decides about assertions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AssertionSettings {
    /// With which signature new keys sign.
    pub algorithm: KeyAlgorithm,
    /// How long an assertion is good for: [`LIFETIME_MIN`] to [`LIFETIME_MAX`].
    pub lifetime: Ttl,
    /// How long a key stays published after it has signed its last assertion (SEC-R64).
    pub overlap: Ttl,
}

impl Default for AssertionSettings {
    fn default() -> Self {
        Self { algorithm: KeyAlgorithm::Es256, lifetime: LIFETIME_DEFAULT, overlap: OVERLAP_DEFAULT }
    }
}

/// The protected header as JSON text. `kid` is a thumbprint in base64url: nothing in it needs escaping.
pub fn jose_header(algorithm: KeyAlgorithm, kid: &str) -> String {
    let mut header = String::with_capacity(96);
    // Writing to a String cannot fail.
    let _ = write!(header, r#"{{"alg":"{}","typ":"JWT","kid":"{kid}"}}"#, algorithm.name());
    header
}

/// The payload. Field order is the order on the wire.
#[derive(Debug, Serialize)]
pub struct Claims<'a> {
    /// The zone's address, as browsers see it.
    iss: &'a str,
    /// Which backend it is meant for; another zone's backend refuses it (SEC-R63).
    aud: &'a str,
    /// The stable user id.
    #[serde(serialize_with = "as_text")]
    sub: UserId,
    username: &'a str,
    /// The name people call the user by (OpenID Connect Core section 5.1).
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    groups: &'a [String],
    /// The tenant's slug.
    tenant: &'a str,
    /// The zone's host.
    zone: &'a str,
    kind: UserKind,
    method: Method,
    amr: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<UnixTime>,
    /// An id, not the token.
    #[serde(serialize_with = "as_text")]
    sid: SessionId,
    iat: UnixTime,
    nbf: UnixTime,
    exp: UnixTime,
    /// Unique to this assertion.
    jti: String,
}

impl<'a> Claims<'a> {
    /// The claims of a session in its zone, issued at `now` for `lifetime`.
    ///
    /// `jti`: 16 bytes that the caller drew from a secure source.
    pub fn new(zone: &'a Zone, session: &'a Session, now: UnixTime, lifetime: Ttl, jti: [u8; 16]) -> Self {
        let principal = &session.principal;
        Self {
            iss: &zone.origin,
            aud: &zone.audience,
            sub: session.user,
            username: principal.username(),
            name: principal.display_name(),
            email: principal.email(),
            groups: principal.groups(),
            tenant: &session.terms.tenant_slug,
            zone: zone.host.as_str(),
            kind: principal.kind(),
            method: session.method,
            amr: amr(session.factors),
            auth_time: session.authenticated_at(),
            sid: session.id,
            iat: now,
            nbf: now,
            exp: now.plus(lifetime),
            jti: format!("{:032x}", u128::from_be_bytes(jti)),
        }
    }
}

/// `amr` (RFC 8176): each method once, and `mfa` when there were two different ones.
fn amr(factors: Factors) -> Vec<&'static str> {
    let mut methods = Vec::with_capacity(Factor::ALL.len() + 1);
    for factor in factors.iter() {
        if !methods.contains(&factor.amr()) {
            methods.push(factor.amr());
        }
    }
    if methods.len() > 1 {
        methods.push("mfa");
    }
    methods
}

fn as_text<T: std::fmt::Display, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples;

    #[test]
    fn sec_r62_the_claims_are_exactly_the_documented_ones() {
        let (zone, session) = (samples::zone("a.example"), samples::session(&samples::record("a.example")));
        let now = UnixTime::from_seconds(1_000_060);
        let claims = Claims::new(&zone, &session, now, LIFETIME_DEFAULT, [0xab; 16]);
        let want = concat!(
            r#"{"iss":"https://a.example","aud":"aud:a.example","sub":"03030303030303030303030303030303","#,
            r#""username":"alice@acme.example","name":"Alice Ash","email":"Alice.Ash@acme.example","groups":["staff","on call"],"#,
            r#""tenant":"acme","zone":"a.example","kind":"regular","method":"local","amr":["pwd","otp","mfa"],"#,
            r#""auth_time":1000000,"sid":"01010101010101010101010101010101","#,
            r#""iat":1000060,"nbf":1000060,"exp":1000120,"jti":"abababababababababababababababab"}"#,
        );
        assert_eq!(serde_json::to_string(&claims).unwrap(), want);
    }

    #[test]
    fn a_claim_that_is_not_known_is_absent_and_one_factor_is_not_two() {
        let (zone, mut record, mut principal) =
            (samples::zone("a.example"), samples::record("a.example"), samples::principal());
        principal.email = None;
        record.factors = [Factor::Password, Factor::Password].into();
        let session = samples::session_of(&record, &principal);
        let claims = Claims::new(&zone, &session, record.started_at, LIFETIME_DEFAULT, [0; 16]);
        let json: serde_json::Value = serde_json::to_value(&claims).unwrap();
        assert!(json.get("email").is_none());
        assert_eq!(json["amr"], serde_json::json!(["pwd"]));
    }

    #[test]
    fn the_header_names_algorithm_type_and_key() {
        let header = jose_header(KeyAlgorithm::EdDsa, "Ab_-");
        assert_eq!(header, r#"{"alg":"EdDSA","typ":"JWT","kid":"Ab_-"}"#);
    }
}
