//! What is configured of a provider, by an operator or by a tenant's administrator.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::ZeroizeOnDrop;

use crate::base::{Hostname, Ttl};

/// Whose provider it is, and so for whom its answers count.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// A tenant's own identity provider: single sign-on.
    Tenant,
    /// The vendor's suite log-in.
    Suite,
}

impl Audience {
    /// The name in files and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "sso",
            Self::Suite => "suite",
        }
    }

    /// The audience of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Tenant, Self::Suite].into_iter().find(|audience| audience.name() == name)
    }
}

/// An issuer identifier (OpenID Connect Discovery 1.0 section 3): an `https` URL without query or fragment, kept and
/// compared letter by letter.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Issuer(String);

/// Why a text is no issuer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IssuerProblem {
    /// Not a URL.
    #[error("is no URL, like https://login.example.com")]
    NotAUrl,
    /// Another scheme.
    #[error("must begin with https://")]
    NotHttps,
    /// More than a scheme, a host and a path.
    #[error("must have a host and a path at most: no user, query or fragment")]
    TooMuch,
    /// Longer than 512 bytes.
    #[error("is longer than {ISSUER_BYTES_MAX} bytes")]
    TooLong,
}

/// The longest issuer identifier, in bytes.
const ISSUER_BYTES_MAX: usize = 512;
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

impl Issuer {
    /// Reads an issuer, or the address of its discovery document, which administrators know as well.
    pub fn parse(text: &str) -> Result<Self, IssuerProblem> {
        // The document of `https://a.example/` stands where that of `https://a.example` does: whose address was given
        // names the one without the slash, and whose issuer has one must give the issuer.
        let text = text.strip_suffix(WELL_KNOWN).unwrap_or(text);
        if text.len() > ISSUER_BYTES_MAX {
            return Err(IssuerProblem::TooLong);
        }
        let url = Url::parse(text).map_err(|_| IssuerProblem::NotAUrl)?;
        if url.scheme() != "https" || !text.starts_with("https://") {
            return Err(IssuerProblem::NotHttps);
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.host_str().is_none() || url.query().is_some() || url.fragment().is_some() {
            return Err(IssuerProblem::TooMuch);
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was given: what `iss` is compared with.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its metadata stand (OpenID Connect Discovery 1.0 section 4.1).
    pub fn discovery_url(&self) -> String {
        format!("{}{WELL_KNOWN}", self.0.trim_end_matches('/'))
    }

    /// Its origin, as browsers write it.
    pub fn origin(&self) -> String {
        Url::parse(&self.0).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// The host that the issuer is at, as it is connected to.
    pub fn host(&self) -> String {
        let url = Url::parse(&self.0).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Issuer {
    type Error = IssuerProblem;

    fn try_from(text: String) -> Result<Self, IssuerProblem> {
        Self::parse(&text)
    }
}

impl From<Issuer> for String {
    fn from(issuer: Issuer) -> Self {
        issuer.0
    }
}

/// Who somebody is at their provider (`sub`): at most 255 ASCII characters, compared letter by letter (OpenID Connect
/// Core 1.0 section 2). With the issuer, and only with it, this names a person (SEC-R44).
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// Reads a subject; `None` when it is empty, too long, or not of printable ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        ((1..=255).contains(&text.len()) && printable).then(|| Self(text.to_owned()))
    }

    /// As the provider wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subject {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("is no subject: 1 to 255 printable ASCII characters")
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// How we prove to the provider's token endpoint who we are (OpenID Connect Core 1.0 section 9).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// The secret in the `Authorization` field.
    #[default]
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
    /// A JWT signed with a key of ours, whose public half the provider has (RFC 7523).
    PrivateKeyJwt,
}

impl ClientAuthentication {
    /// All of them, as lists offer them.
    pub const ALL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// Whether it takes a secret that both sides know.
    pub const fn needs_secret(self) -> bool {
        match self {
            Self::ClientSecretBasic | Self::ClientSecretPost => true,
            Self::PrivateKeyJwt => false,
        }
    }

    /// The standard's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// The way of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

/// The one algorithm that a provider's tokens are signed with (RFC 7518 section 3.1). Pinned: a token's own word for it
/// is compared and never followed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum SigningAlgorithm {
    /// What every provider offers.
    #[default]
    RS256,
    /// RSA, PSS padding.
    PS256,
    /// P-256.
    ES256,
    /// P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl SigningAlgorithm {
    /// All of them, as lists offer them.
    pub const ALL: [Self; 5] = [Self::RS256, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA];

    /// The standard's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// What we share with the provider. Sealed in the store, shown nowhere.
#[derive(Clone, ZeroizeOnDrop)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// Wraps what somebody typed; `None` when it is empty or longer than any provider's.
    pub fn parse(text: &str) -> Option<Self> {
        ((1..=2048).contains(&text.len()) && !text.contains(char::is_control)).then(|| Self(text.to_owned()))
    }

    /// For the one request that carries it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, without telling by the time where they differ.
    pub fn is(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), other.0.as_bytes()).into()
    }
}

impl PartialEq for ClientSecret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for ClientSecret {}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// A provider as it is configured, but for the secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// Who it is.
    pub issuer: Issuer,
    /// What it calls us.
    pub client_id: String,
    /// How we prove that to it.
    #[serde(default)]
    pub client_authentication: ClientAuthentication,
    /// What its tokens are signed with.
    #[serde(default)]
    pub signing_algorithm: SigningAlgorithm,
    /// What is asked for besides `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim that carries the username, where everybody of a tenant logs in at the provider. Read in the ID token,
    /// else in the user info.
    pub username_claim: String,
    /// Hosts besides the issuer's that its metadata may name (SEC-R54).
    #[serde(default)]
    pub hosts: Vec<Hostname>,
    /// One of these authentication contexts is asked for, and must come back (`acr`); empty: any will do.
    #[serde(default)]
    pub acr: Vec<String>,
    /// All of these must have been used (`amr`, RFC 8176); empty: any will do.
    #[serde(default)]
    pub amr: Vec<String>,
    /// How long ago the person may have shown the provider who they are; asked for as `max_age` and held against
    /// `auth_time`.
    #[serde(default)]
    pub max_age: Option<Ttl>,
    /// Whether a person whom the directory does not know is entered into it, at the lowest level (R102).
    #[serde(default)]
    pub provisioning: bool,
    /// Whether logging out here logs out there as well (R118).
    #[serde(default)]
    pub logout: bool,
}

/// The claim that carries the username unless another one is named: what a provider's people know themselves by.
pub const USERNAME_CLAIM_DEFAULT: &str = "preferred_username";

/// The longest client identifier, in bytes.
pub const CLIENT_ID_BYTES_MAX: usize = 512;

/// The most entries of a list of a provider's settings.
pub const LIST_MAX: usize = 16;

/// The longest `max_age` that can be asked for, in seconds.
pub const MAX_AGE_SECONDS_MAX: u32 = 30 * 86400;

/// Whether a text can be a client identifier: printable ASCII (RFC 6749 appendix A.1).
pub fn is_client_id(text: &str) -> bool {
    (1..=CLIENT_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Whether a text can stand in a list whose entries a space divides (a scope, RFC 6749 section 3.3, a value of `acr` or
/// `amr`), or name a claim.
pub fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=255).contains(&text.len()) && text.bytes().all(allowed)
}

/// A length of time as people write it, like `8h` or `15m`, if `max_age` may be it.
pub fn max_age(text: &str) -> Option<Ttl> {
    let time = text.parse::<jiff::SignedDuration>().ok()?;
    let seconds = u32::try_from(time.as_secs()).ok().filter(|seconds| *seconds <= MAX_AGE_SECONDS_MAX)?;
    Ttl::from_seconds(seconds)
}

impl ProviderSettings {
    /// The settings of a client at an issuer, with everything else as it is by default.
    pub fn new(issuer: Issuer, client_id: String) -> Self {
        Self {
            issuer,
            client_id,
            client_authentication: ClientAuthentication::default(),
            signing_algorithm: SigningAlgorithm::default(),
            scopes: Vec::new(),
            username_claim: USERNAME_CLAIM_DEFAULT.into(),
            hosts: Vec::new(),
            acr: Vec::new(),
            amr: Vec::new(),
            max_age: None,
            provisioning: false,
            logout: false,
        }
    }

    /// Whether a test of these settings says as much of the `others`. What happens after somebody is known is not what
    /// a test is for.
    pub fn are_tested_by(&self, others: &Self) -> bool {
        let Self { provisioning, logout, .. } = *others;
        Self { provisioning, logout, ..self.clone() } == *others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: Result<&str, IssuerProblem>) {
        assert_eq!(Issuer::parse(text).map(String::from), want.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn an_issuer_is_an_https_url_and_keeps_every_letter() {
        check("https://login.example", Ok("https://login.example"));
        check("https://login.example/", Ok("https://login.example/"));
        check("https://Login.example/Realms/A", Ok("https://Login.example/Realms/A"));
        check("https://a.example/r/.well-known/openid-configuration", Ok("https://a.example/r"));
        check("https://a.example:8443", Ok("https://a.example:8443"));
        check("http://login.example", Err(IssuerProblem::NotHttps));
        check("HTTPS://login.example", Err(IssuerProblem::NotHttps));
        check("login.example", Err(IssuerProblem::NotAUrl));
        check("https://", Err(IssuerProblem::NotAUrl));
        check("https://a.example?x", Err(IssuerProblem::TooMuch));
        check("https://a.example#x", Err(IssuerProblem::TooMuch));
        check("https://u@a.example", Err(IssuerProblem::TooMuch));
        check(&format!("https://a.example/{}", "a".repeat(512)), Err(IssuerProblem::TooLong));
    }

    #[test]
    fn metadata_stand_below_the_issuer() {
        for text in ["https://a.example", "https://a.example/"] {
            let want = "https://a.example/.well-known/openid-configuration";
            assert_eq!(Issuer::parse(text).unwrap().discovery_url(), want);
        }
    }

    #[test]
    fn a_subject_is_printable_and_short() {
        for text in ["a", "248289761001", "google|x y", &"a".repeat(255)] {
            assert_eq!(Subject::parse(text).map(String::from).as_deref(), Some(text));
        }
        for text in ["", "a\r\nb", "é", "a\0", &"a".repeat(256)] {
            assert_eq!(Subject::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_word_is_one_to_a_provider_too() {
        for text in ["email", "https://claims.example/name", "urn:mace:incommon:iap:silver", "a!b"] {
            assert!(is_word(text), "{text:?}");
        }
        for text in ["", "a b", "a\"b", "a\\b", "é", "a\n", &"a".repeat(256)] {
            assert!(!is_word(text), "{text:?}");
        }
        assert!(is_client_id("my client") && !is_client_id("") && !is_client_id("a\r\nb"));
    }

    #[test]
    fn d25_a_test_holds_for_what_it_went_through_and_no_more() {
        let tested = ProviderSettings::new(Issuer::parse("https://a.example").unwrap(), "zonegate".into());
        let check = |change: fn(&mut ProviderSettings), want: bool| {
            let mut changed = tested.clone();
            change(&mut changed);
            assert_eq!(changed.are_tested_by(&tested), want, "{changed:?}");
        };
        check(|_| {}, true);
        check(|settings| settings.provisioning = true, true);
        check(|settings| settings.logout = true, true);
        check(|settings| settings.issuer = Issuer::parse("https://b.example").unwrap(), false);
        check(|settings| settings.client_id.push('2'), false);
        check(|settings| settings.client_authentication = ClientAuthentication::PrivateKeyJwt, false);
        check(|settings| settings.signing_algorithm = SigningAlgorithm::ES256, false);
        check(|settings| settings.scopes.push("email".into()), false);
        check(|settings| settings.username_claim = "email".into(), false);
        check(|settings| settings.hosts.push("b.example".parse().unwrap()), false);
        check(|settings| settings.acr.push("1".into()), false);
        check(|settings| settings.amr.push("mfa".into()), false);
        check(|settings| settings.max_age = Some(Ttl::seconds_const(60)), false);
    }
}
