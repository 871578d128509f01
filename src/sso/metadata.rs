//! What a provider says of itself (OpenID Connect Discovery 1.0 section 3).
//!
//! It is fetched from an address that a tenant's administrator typed, and what it names we connect to or send browsers
//! to. So it names only hosts that the administrator allowed, by `https` (SEC-R54), and only under the issuer that was
//! configured (SEC-R42). What it says of its own abilities refuses a log-in early, where it could not succeed.

use serde_json::Value;
use url::Url;

use super::json::Object;
use super::{Issuer, PUBLISHED_BYTES_MAX, ProviderSettings};

/// The longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;

/// A provider's metadata, as far as we use them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metadata {
    /// The configured issuer, letter by letter.
    pub issuer: Issuer,
    /// Where browsers are sent.
    pub authorization_endpoint: Url,
    /// Where codes are redeemed.
    pub token_endpoint: Url,
    /// Where its keys are.
    pub jwks_uri: Url,
    /// Where more claims are.
    pub userinfo_endpoint: Option<Url>,
    /// Where browsers are sent to log out there too.
    pub end_session_endpoint: Option<Url>,
    /// Whether each answer names the issuer (RFC 9207): then one that does not is refused.
    pub iss_parameter: bool,
}

/// Why a provider's metadata are not accepted. For the administrator who tests, and for the log.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MetadataProblem {
    /// Longer than [`PUBLISHED_BYTES_MAX`].
    #[error("is longer than {PUBLISHED_BYTES_MAX} bytes")]
    TooLong,
    /// No JSON object, or one with a member twice.
    #[error("is no JSON object, or has a member twice")]
    NotMetadata,
    /// Another issuer's, or the same in another spelling.
    #[error("names another issuer than the configured one")]
    WrongIssuer,
    /// Something that we cannot do without.
    #[error("has no {0}")]
    Missing(&'static str),
    /// Of another type than the standard says.
    #[error("has an unreadable {0}")]
    Malformed(&'static str),
    /// An address that is not `https`, or that has a user or a fragment.
    #[error("has a {0} that is no plain https address")]
    NotHttps(&'static str),
    /// An address on a host that was not allowed.
    #[error("has its {member} at {host}, which is not among the allowed hosts")]
    ForeignHost {
        /// Which address.
        member: &'static str,
        /// Where it leads to, in the form that it is connected to.
        host: String,
    },
    /// It lists what it can do, and what is configured is not among it.
    #[error("does not list what is configured in its {0}")]
    NotOffered(&'static str),
}

impl Metadata {
    /// Reads what stands at [`Issuer::discovery_url`].
    pub fn read(bytes: &[u8], settings: &ProviderSettings) -> Result<Self, MetadataProblem> {
        if bytes.len() > PUBLISHED_BYTES_MAX {
            return Err(MetadataProblem::TooLong);
        }
        let object = Object::read(bytes).ok_or(MetadataProblem::NotMetadata)?;
        let issuer = object.get("issuer").ok_or(MetadataProblem::Missing("issuer"))?;
        if issuer.as_str() != Some(settings.issuer.as_str()) {
            return Err(MetadataProblem::WrongIssuer);
        }
        let source = Source { object: &object, settings };
        source.offers("response_types_supported", "code")?;
        source.offers("id_token_signing_alg_values_supported", settings.signing_algorithm.name())?;
        source.offers("token_endpoint_auth_methods_supported", settings.client_authentication.name())?;
        Ok(Self {
            issuer: settings.issuer.clone(),
            authorization_endpoint: source.required("authorization_endpoint")?,
            token_endpoint: source.required("token_endpoint")?,
            jwks_uri: source.required("jwks_uri")?,
            userinfo_endpoint: source.address("userinfo_endpoint")?,
            end_session_endpoint: source.address("end_session_endpoint")?,
            iss_parameter: source.flag("authorization_response_iss_parameter_supported")?,
        })
    }
}

/// A document, and whose it must be.
struct Source<'a> {
    object: &'a Object,
    settings: &'a ProviderSettings,
}

impl Source<'_> {
    fn required(&self, member: &'static str) -> Result<Url, MetadataProblem> {
        self.address(member)?.ok_or(MetadataProblem::Missing(member))
    }

    fn address(&self, member: &'static str) -> Result<Option<Url>, MetadataProblem> {
        let Some(value) = self.object.get(member) else { return Ok(None) };
        let text = value.as_str().ok_or(MetadataProblem::Malformed(member))?;
        // A URL parser drops tabs and line ends, and trims: what was written is what must be an address.
        let is_plain = text.len() <= ADDRESS_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let url = Url::parse(text).ok().filter(|_| is_plain).ok_or(MetadataProblem::Malformed(member))?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if url.scheme() != "https" || has_user || url.fragment().is_some() {
            return Err(MetadataProblem::NotHttps(member));
        }
        let host = url.host_str().unwrap_or_default();
        let is_allowed = host == self.settings.issuer.host()
            || self.settings.hosts.iter().any(|allowed| allowed.as_str() == host);
        match is_allowed {
            true => Ok(Some(url)),
            false => Err(MetadataProblem::ForeignHost { member, host: host.to_owned() }),
        }
    }

    /// Refuses a list without `want`. A provider that lists nothing is asked, and will say what it cannot do.
    fn offers(&self, member: &'static str, want: &str) -> Result<(), MetadataProblem> {
        let Some(value) = self.object.get(member) else { return Ok(()) };
        let offered = value.as_array().ok_or(MetadataProblem::Malformed(member))?;
        match offered.iter().any(|name| name == want) {
            true => Ok(()),
            false => Err(MetadataProblem::NotOffered(member)),
        }
    }

    fn flag(&self, member: &'static str) -> Result<bool, MetadataProblem> {
        match self.object.get(member) {
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(MetadataProblem::Malformed(member)),
            None => Ok(false),
        }
    }
}
