//! `zonegate tenant sso …`: a company's own identity provider, who must use it, and who of its people has which account.

mod links;
mod provider;

use std::path::PathBuf;

use super::CommandProblem;
use super::operator::Site;
use crate::base::{Hostname, Ttl, Username};
use crate::directory::{SsoScope, Tenant};
use crate::sso::{self, ClientAuthentication, Issuer, SigningAlgorithm, Subject, is_client_id, is_word};

/// What is done with a tenant's single sign-on.
#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Action {
    /// Show a tenant's provider, who must use it, and the addresses to register there
    Show(Tenanted),
    /// Say which provider a tenant has; what is not given stays as it is
    Set(Box<Set>),
    /// Set the client secret: asked for at the terminal, or the first line of standard input; never an argument
    Secret {
        #[command(flatten)]
        tenant: Tenanted,
        /// Read it from this file, which nobody but its owner and its group may read
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print an address at which the provider is tried in a browser; good for an hour, and it logs nobody in here
    Test(Tenanted),
    /// Have users log in at the provider, from their next log-in on; it must have been tried as it is configured
    Enable {
        #[command(flatten)]
        tenant: Tenanted,
        /// Who: selected, those who are linked to somebody at the provider, or all
        #[arg(long = "for", value_name = "WHO", value_parser = scope)]
        scope: SsoScope,
        /// The one administrator who logs in with password and code all the same, for when the provider is broken.
        /// Default: whoever it was
        #[arg(long, value_name = "USERNAME")]
        emergency_admin: Option<Username>,
    },
    /// Have everybody log in with password and code again; the provider's settings and the links stay
    Disable(Tenanted),
    /// Forget the provider and its secret, once nobody must use it; the links stay
    Remove(Tenanted),
    /// Say who a user is at the tenant's provider
    Link {
        /// Like alice@acme.example
        username: Username,
        /// The provider's own name for that person (sub), letter by letter
        #[arg(value_parser = subject)]
        subject: Subject,
    },
    /// Forget who a user is at a provider, and end the sessions that began there
    Unlink {
        /// Like alice@acme.example
        username: Username,
        /// At this one. Default: the tenant's provider
        #[arg(long, value_parser = issuer)]
        issuer: Option<Issuer>,
    },
    /// List who is who at the tenant's provider
    Links {
        #[command(flatten)]
        tenant: Tenanted,
        /// As a table for spreadsheets, which `import` reads
        #[arg(long)]
        csv: bool,
    },
    /// Link the users of a CSV file with the columns username and subject: all of them, or with any wrong line none
    Import {
        #[command(flatten)]
        tenant: Tenanted,
        /// The file
        file: PathBuf,
    },
}

/// Whose single sign-on.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Tenanted {
    /// The tenant's short name
    #[arg(value_name = "TENANT")]
    slug: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    tenant: Tenanted,
    /// Who the provider is: its issuer, or the address of its discovery document
    #[arg(long, value_name = "URL", value_parser = issuer)]
    issuer: Option<Issuer>,
    /// What the provider calls us
    #[arg(long, value_name = "ID", value_parser = client_id)]
    client_id: Option<String>,
    /// Read the client secret from this file, which nobody but its owner and its group may read
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// client_secret_basic, client_secret_post or private_key_jwt
    #[arg(long, value_name = "HOW", value_parser = authentication)]
    client_authentication: Option<ClientAuthentication>,
    /// What its tokens are signed with: RS256, PS256, ES256, ES384 or EdDSA
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    signing_algorithm: Option<SigningAlgorithm>,
    /// What is asked for besides openid, like profile; may be given several times, and '' clears the list
    #[arg(long = "scope", value_name = "SCOPE", value_parser = word)]
    scopes: Vec<Entry<String>>,
    /// The claim that carries the username at a first log-in, where everybody logs in at the provider
    #[arg(long, value_name = "CLAIM", value_parser = claim)]
    username_claim: Option<String>,
    /// A host besides the issuer's that the provider may name for its endpoints; several times; '' clears
    #[arg(long = "host", value_name = "HOST", value_parser = host)]
    hosts: Vec<Entry<Hostname>>,
    /// An authentication context, one of which must come back; several times; '' clears
    #[arg(long = "acr", value_name = "ACR", value_parser = word)]
    acr: Vec<Entry<String>>,
    /// A method that must have been used there, like mfa; several times, for all of them; '' clears
    #[arg(long = "amr", value_name = "AMR", value_parser = word)]
    amr: Vec<Entry<String>>,
    /// How long ago people may have shown the provider who they are, like 8h, or any
    #[arg(long, value_name = "TIME", value_parser = max_age)]
    max_age: Option<Entry<Ttl>>,
    /// Whether people whom the directory does not know are entered into it, at the lowest level
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provision: Option<bool>,
    /// Whether to log out here is to log out there as well
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    logout: Option<bool>,
}

/// A value, or the word that says that there is to be none.
#[derive(Clone, Debug)]
enum Entry<T> {
    None,
    Some(T),
}

impl<T: Clone> Entry<T> {
    fn value(&self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Some(value) => Some(value.clone()),
        }
    }
}

pub(super) use provider::{untested, users};

pub(super) async fn run(site: &Site, action: &Action) -> Result<(), CommandProblem> {
    match action {
        Action::Show(named) => provider::show(site, &tenant(site, named).await?).await,
        Action::Set(set) => provider::set(site, &tenant(site, &set.tenant).await?, set).await,
        Action::Secret { tenant: named, file } => {
            provider::secret(site, &tenant(site, named).await?, file.as_deref()).await
        }
        Action::Test(named) => provider::test(site, &tenant(site, named).await?).await,
        Action::Enable { tenant: named, scope, emergency_admin } => {
            provider::enable(site, &tenant(site, named).await?, *scope, emergency_admin.as_ref()).await
        }
        Action::Disable(named) => provider::disable(site, &tenant(site, named).await?).await,
        Action::Remove(named) => provider::remove(site, &tenant(site, named).await?).await,
        Action::Link { username, subject } => links::link(site, username, subject).await,
        Action::Unlink { username, issuer } => links::unlink(site, username, issuer.as_ref()).await,
        Action::Links { tenant: named, csv } => links::list(site, &tenant(site, named).await?, *csv).await,
        Action::Import { tenant: named, file } => links::import(site, &tenant(site, named).await?, file).await,
    }
}

async fn tenant(site: &Site, named: &Tenanted) -> Result<Tenant, CommandProblem> {
    super::tenant::find(site, &named.slug).await
}

fn scope(text: &str) -> Result<SsoScope, String> {
    SsoScope::from_name(text)
        .filter(|scope| *scope != SsoScope::Off)
        .ok_or_else(|| "is neither selected nor all (off is `zonegate tenant sso disable`)".into())
}

fn issuer(text: &str) -> Result<Issuer, String> {
    Issuer::parse(text).map_err(|problem| problem.to_string())
}

fn subject(text: &str) -> Result<Subject, String> {
    Subject::parse(text).ok_or_else(|| "is no subject: 1 to 255 printable ASCII characters".into())
}

fn client_id(text: &str) -> Result<String, String> {
    if is_client_id(text) { Ok(text.into()) } else { Err("is no client identifier: printable ASCII".into()) }
}

fn authentication(text: &str) -> Result<ClientAuthentication, String> {
    let names = || ClientAuthentication::ALL.map(ClientAuthentication::name).join(", ");
    ClientAuthentication::from_name(text).ok_or_else(|| format!("is none of {}", names()))
}

fn algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    let names = || SigningAlgorithm::ALL.map(SigningAlgorithm::name).join(", ");
    SigningAlgorithm::from_name(text).ok_or_else(|| format!("is none of {}", names()))
}

/// An entry of a list, or nothing, which clears it.
fn word(text: &str) -> Result<Entry<String>, String> {
    if text.is_empty() { Ok(Entry::None) } else { claim(text).map(Entry::Some) }
}

fn claim(text: &str) -> Result<String, String> {
    if is_word(text) { Ok(text.into()) } else { Err("is no word of printable ASCII".into()) }
}

fn host(text: &str) -> Result<Entry<Hostname>, String> {
    if text.is_empty() {
        return Ok(Entry::None);
    }
    text.parse().map(Entry::Some).map_err(|problem: crate::base::HostnameProblem| problem.to_string())
}

fn max_age(text: &str) -> Result<Entry<Ttl>, String> {
    if text == "any" {
        return Ok(Entry::None);
    }
    let age = sso::max_age(text).map(Entry::Some);
    age.ok_or_else(|| "is neither a length of time up to 720h, like 15m, nor any".into())
}
