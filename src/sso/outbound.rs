//! How far we go to reach a provider: what an operator allows, for all tenants.

use std::time::Duration;

use crate::base::Networks;

/// How long one exchange with a provider takes at most, unless the operator says otherwise.
pub const OUTBOUND_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// What an operator says of the way to providers. Tenants' administrators name providers themselves, and must not make
/// of us a visitor of places that only we can reach (SEC-R54).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutboundSettings {
    /// Networks that are not public and that providers may be in all the same.
    pub networks: Networks,
    /// Whom to trust besides the system's authorities, in PEM.
    pub roots: Option<Vec<u8>>,
    /// How long one exchange takes at most, from the look-up of the name to the last byte.
    pub timeout: Duration,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self { networks: Networks::default(), roots: None, timeout: OUTBOUND_TIMEOUT_DEFAULT }
    }
}
