//! How providers of single sign-on are reached. Which providers there are is the tenants' business, and in the store.

use std::path::Path;

use super::Surroundings;
use super::section::Section;
use super::{listen, upstream};
use crate::base::Ttl;
use crate::sso::OutboundSettings;

/// As long as [`crate::sso::OUTBOUND_TIMEOUT_DEFAULT`].
const TIMEOUT_DEFAULT: Ttl = Ttl::seconds_const(10);

pub(super) fn read(section: Section<'_>, directory: &Path, outside: &dyn Surroundings) -> OutboundSettings {
    let settings = OutboundSettings {
        networks: listen::networks(&section, "networks"),
        roots: section.scalar("ca_file").and_then(|scalar| upstream::pem(&section, &scalar, directory, outside)),
        timeout: section.duration("timeout", TIMEOUT_DEFAULT, 1..=20).into(),
    };
    section.finish();
    settings
}
