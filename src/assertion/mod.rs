//! What the application is told of a person: plain identity headers, and the claims of the signed assertion.
//!
//! The headers are for convenience, the assertion is for trust: a backend that verifies the assertion need not
//! trust the network between the gateway and itself. Both are made once per session and lifetime, never once per
//! request, from the same facts, so that they cannot disagree.

mod claims;
mod identity;
mod protected;

pub use claims::{
    AssertionSettings, Claims, KeyAlgorithm, LIFETIME_DEFAULT, LIFETIME_MAX, LIFETIME_MIN, OVERLAP_DEFAULT,
    jose_header,
};
pub use identity::{
    FIELD_BYTES_MAX, IdentityProblem, PRESET_HEADERS, check_identity, check_person, identity, identity_headers,
    identity_names,
};
pub use protected::{begins_folded, is_foreign_identity, is_ours, is_protected, is_same_folded};

/// The header that carries the signed assertion.
pub const ASSERTION_HEADER: http::HeaderName = http::HeaderName::from_static("x-zonegate-assertion");
