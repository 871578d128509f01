//! `zonegate demo`: everything on loopback, in one command.
//!
//! It is the gateway that operators run, on a configuration file that it writes into its data folder, with a sample
//! application, a sample identity provider and a sample suite beside it in the same process. So every other command works
//! on it too, and what a newcomer sees is what they get.

mod announce;
mod certs;
mod code;
mod desk;
mod people;
mod place;
mod provider;
mod seed;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::base::{Hostname, MasterKey, UnixTime, Username};
use crate::config::{self, AccessLines, AdminListener, Problems, Settings};
use crate::edge::{Gateway, Inherited, ServeFault};
use crate::machine::Clock;
use crate::sso::Issuer;
use crate::store::{Account, Store, StoreFault};

use super::files::Disk;
use super::logging::{self, Security};
use announce::{Announcement, SampleUser, SuiteAddress, ZoneAddress};
use certs::{CertificateProblem, Leaf};
use desk::{Desk, Verifier, ZoneKeys};
use place::{Place, PlaceProblem, Wish};
use provider::Provider;
use seed::SeedProblem;

/// The configuration, with the default ports.
const CONFIGURATION: &str = include_str!("../../../config/demo.yaml");

/// The universal host in [`CONFIGURATION`].
const UNIVERSAL: &str = "login.localhost";

/// The file with the suite's secret that [`CONFIGURATION`] names.
const SUITE_SECRET: &str = "suite.secret";

/// Where the log goes when a person reads the terminal.
const LOG: &str = "demo.log";

/// `zonegate demo`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Keep the data in this folder [default: zonegate-demo below the user's data folder]
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<PathBuf>,
    /// The port to open in the browser; 0 takes free ones for everything
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    port: u16,
    /// The port of metrics and health
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// The port of the sample identity provider and the sample suite
    #[arg(long, value_name = "PORT")]
    provider_port: Option<u16>,
    /// Print addresses, users and secrets as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Show a user's current authentication code, as their phone would
    Code {
        /// Whose code, like alice@acme.example
        username: Username,
    },
}

/// What keeps the demo from running, as a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoProblem {
    /// The folder, its key or a port.
    #[error(transparent)]
    Place(#[from] PlaceProblem),
    /// The certificates.
    #[error("{problem}. Remove the demo's data and start anew: rm -r {folder}", folder = folder.display())]
    Certificates {
        /// What is wrong.
        problem: CertificateProblem,
        /// The data's folder.
        folder: PathBuf,
    },
    /// The store is damaged, or was made by another version or with another key.
    #[error("{problem}. Or remove the demo's data and start anew: rm -r {folder}", folder = folder.display())]
    Store {
        /// What is wrong.
        problem: StoreFault,
        /// The data's folder.
        folder: PathBuf,
    },
    /// The sample data.
    #[error("{0}. Remove the demo's data and start anew, or choose another folder with --data")]
    Seed(#[from] SeedProblem),
    /// No authentication code.
    #[error(transparent)]
    Code(#[from] code::CodeProblem),
    /// The environment overrides something that the demo does not fit.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// The gateway itself.
    #[error(transparent)]
    Gateway(#[from] ServeFault),
    /// The sample application.
    #[error("the sample application: {0}")]
    Application(String),
    /// The sample identity provider.
    #[error("the sample identity provider: {0}")]
    Provider(String),
    /// Standard output was closed.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// Does what the arguments ask for: runs the demo until Ctrl-C, or shows a code.
pub(crate) fn run(arguments: &Arguments) -> Result<(), DemoProblem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let now = Clock::new().now();
    if let Some(Action::Code { username }) = &arguments.action {
        let code = runtime.block_on(show_code(&folder(arguments)?, username, now))?;
        writeln!(std::io::stdout(), "{}", code.digits)?;
        return Ok(writeln!(std::io::stderr(), "for {} more seconds", code.seconds_left)?);
    }
    let prepared = prepare(arguments, now)?;
    let accounts = runtime.block_on(sample_data(&prepared, now))?;
    let address = prepared.upstream.local_addr()?;
    let announcement = announcement(&prepared, address, &accounts, arguments.data.as_deref());
    let http = client(&prepared)?;
    let desk = desk::router(desk(&prepared, http.clone()));
    let companies = sample_provider(&prepared, http.clone())?;
    let suite = sample_suite(&prepared, http)?;
    let Prepared { place, mut settings, upstream, provider, provider_leaf, .. } = prepared;
    if arguments.json {
        logging::start(&settings.log, Security::Shown);
    } else {
        // The page of text is for a person; a line for every request would push it off the screen.
        settings.log.access = AccessLines::Off;
        logging::start_in_file(&place.folder.join(LOG))?;
    }
    let gateway = Gateway::open(settings, Inherited::default(), None)?;
    let json = arguments.json;
    let announce = move || {
        // Whoever started the demo and does not listen has closed the pipe on purpose.
        let _ = if json { say_json(&announcement) } else { write!(std::io::stdout(), "{announcement}") };
    };
    upstream.set_nonblocking(true)?;
    let upstream = {
        let _on_runtime = runtime.enter();
        tokio::net::TcpListener::from_std(upstream)?
    };
    // Both end with the process: nothing of them is worth waiting for.
    runtime.spawn(async move { axum::serve(upstream, desk).await });
    runtime.spawn(async move {
        if let Err(fault) = provider::serve(companies, suite, provider, &provider_leaf).await {
            tracing::error!(%fault, "the sample identity providers do not answer");
        }
    });
    gateway.run(announce, std::future::pending(), None)?;
    runtime.shutdown_background();
    drop(place);
    Ok(())
}

fn say_json(announcement: &Announcement) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, announcement)?;
    writeln!(out)
}

/// A code from the demo's store, which may be running.
async fn show_code(folder: &Path, username: &Username, now: UnixTime) -> Result<code::FreshCode, DemoProblem> {
    place::must_be_a_demos(folder)?;
    let store = open(folder, &place::read_master_key(folder)?).await?;
    let code = code::code(&store, username, now).await;
    store.close().await;
    Ok(code?)
}

/// Creates what is missing of the sample data; gives everybody who is there.
async fn sample_data(prepared: &Prepared, now: UnixTime) -> Result<Vec<Account>, DemoProblem> {
    let settings = &prepared.settings;
    prepared.place.begins_sample_data()?;
    let store = open(&prepared.place.folder, &settings.master_key).await?;
    seed::seed(&store, &settings.master_key, settings.hashing.cost, &prepared.issuer, now).await?;
    let accounts = store.accounts(None).await.map_err(SeedProblem::from)?;
    store.close().await;
    prepared.place.has_sample_data()?;
    Ok(accounts)
}

async fn open(folder: &Path, master: &MasterKey) -> Result<Store, DemoProblem> {
    let opened = Store::open(&folder.join(place::STORE), master).await;
    opened.map_err(|problem| DemoProblem::Store { problem, folder: folder.into() })
}

/// Everything that is in place before the gateway starts.
struct Prepared {
    place: Place,
    ca_file: PathBuf,
    settings: Settings,
    upstream: std::net::TcpListener,
    provider: std::net::TcpListener,
    provider_leaf: Leaf,
    issuer: Issuer,
}

/// Folder, ports, key, certificates, configuration.
fn prepare(arguments: &Arguments, now: UnixTime) -> Result<Prepared, DemoProblem> {
    let place = Place::hold(&folder(arguments)?)?;
    let admin = arguments.admin_port.unwrap_or(if arguments.port == 0 { 0 } else { 9443 });
    let provider = arguments.provider_port.unwrap_or(if arguments.port == 0 { 0 } else { 8444 });
    let [https, admin, provider] = place::ports([
        Wish { port: arguments.port, option: "--port" },
        Wish { port: admin, option: "--admin-port" },
        Wish { port: provider, option: "--provider-port" },
    ])?;
    let upstream = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = provider;
    let issuer = format!("https://{}:{port}", provider::HOST);
    let issuer = Issuer::parse(&issuer).map_err(|problem| DemoProblem::Provider(problem.to_string()))?;
    let provider = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    place.master_key()?;
    let file = place.folder.join("zonegate.yaml");
    let text = configuration([https, admin, upstream.local_addr()?.port(), port]);
    let in_folder = |problem| DemoProblem::Certificates { problem, folder: place.folder.clone() };
    certs::write(&file, &text, 0o600).map_err(in_folder)?;
    let secret = format!("{}\n", people::SUITE_CLIENT.client_secret);
    certs::write(&place.folder.join(SUITE_SECRET), &secret, 0o600).map_err(in_folder)?;
    let authority = certs::prepare(&place.folder, &hosts()?, now).map_err(in_folder)?;
    let provider_leaf = authority.leaf(&host(provider::HOST)?, now).map_err(in_folder)?;
    let settings = config::load(&text, &file.to_string_lossy(), &Disk)?;
    Ok(Prepared { place, ca_file: authority.file, settings, upstream, provider, provider_leaf, issuer })
}

fn folder(arguments: &Arguments) -> Result<PathBuf, PlaceProblem> {
    match &arguments.data {
        Some(folder) => Ok(folder.clone()),
        None => place::default_folder(|name| std::env::var(name).ok()),
    }
}

/// The hosts that need a certificate: known before the configuration can be read, which wants the certificates.
fn hosts() -> Result<Vec<Hostname>, DemoProblem> {
    // Companies may share a zone.
    let names: BTreeSet<_> = people::COMPANIES.iter().map(|company| company.zone).chain([UNIVERSAL]).collect();
    names.into_iter().map(host).collect()
}

fn host(name: &'static str) -> Result<Hostname, DemoProblem> {
    name.parse().map_err(|_| DemoProblem::Seed(SeedProblem::Sample(name)))
}

/// What [`CONFIGURATION`] has in the place of ports: ours, the admin listener's, the application's, the providers'.
const PORTS: [&str; 4] = [":8443", ":9443", ":8480", ":8444"];

/// The configuration with the ports of this start in the place of the default ones.
fn configuration(ports: [u16; 4]) -> String {
    // In two steps: one may be another's default.
    let marked = |text: String, (at, default): (usize, &str)| text.replace(default, &format!(":<{at}>"));
    let text = PORTS.into_iter().enumerate().fold(CONFIGURATION.to_owned(), marked);
    let filled = |text: String, (at, port): (usize, u16)| text.replace(&format!(":<{at}>"), &format!(":{port}"));
    ports.into_iter().enumerate().fold(text, filled)
}

/// What is said once everything listens. Authenticators are as the store has them: people may have set one up.
fn announcement(
    prepared: &Prepared,
    upstream: SocketAddr,
    accounts: &[Account],
    data: Option<&Path>,
) -> Announcement {
    let settings = &prepared.settings;
    let address = |host: &Hostname| format!("https://{host}:{}/", settings.public_port);
    let users = people::PEOPLE.iter().filter_map(|person| {
        let company = person.company()?;
        let account = accounts.iter().find(|account| account.user.username.as_str() == person.username);
        let totp = account.and_then(|account| account.totp.as_ref());
        let zone = address(&company.zone.parse().ok()?);
        Some(SampleUser {
            username: person.username.into(),
            password: person.password.map(Into::into),
            sso: company.sso.and(person.subject).map(|_| format!("{zone}.zonegate/sso/{}", company.slug)),
            zone,
            totp_secret: totp.map(|totp| totp.secret.to_base32()),
            tenant: company.slug.into(),
            story: person.story,
        })
    });
    let zones = settings.zones.zones().iter();
    let admin = match &settings.listeners.admin {
        Some(AdminListener::Loopback(at)) => format!("http://{at}/"),
        Some(AdminListener::Unix(path)) => format!("unix:{}", path.display()),
        None => String::new(),
    };
    Announcement {
        zones: zones
            .map(|zone| ZoneAddress {
                host: zone.host.to_string(),
                url: address(&zone.host),
                story: format!("{}: {}", zone.name, zone.description),
            })
            .collect(),
        universal: settings.zones.universal().map(address).unwrap_or_default(),
        ca_file: prepared.ca_file.display().to_string(),
        upstream: format!("http://{upstream}/"),
        admin,
        users: users.collect(),
        provider: format!("{}/", prepared.issuer),
        suite: settings
            .suite
            .as_ref()
            .map(|suite| SuiteAddress { name: suite.name.clone(), url: suite.settings.issuer.to_string() }),
        data: prepared.place.folder.display().to_string(),
        log: prepared.place.folder.join(LOG).display().to_string(),
        client: people::COMPANIES.iter().find(|company| company.sso.is_none()).map(|company| company.client),
        example: example(data),
        fresh: prepared.place.fresh,
    }
}

/// How the person called us and with which data, for an example that they can paste.
fn example(data: Option<&Path>) -> String {
    let name = std::env::args().next().unwrap_or_default();
    // cargo starts us by our path below target/, and sets this; whoever starts that path themselves has it not set.
    let demo = if std::env::var_os("CARGO").is_some() {
        "cargo run --release -- demo".into()
    } else {
        format!("{name} demo")
    };
    match data {
        Some(folder) => format!("{demo} --data {} code", folder.display()),
        None => format!("{demo} code"),
    }
}

/// What the sample application and the sample provider reach the gateway by: its own addresses, on loopback.
fn client(prepared: &Prepared) -> Result<reqwest::Client, DemoProblem> {
    let wrong = |what: &dyn std::fmt::Display| DemoProblem::Application(what.to_string());
    // The process has one provider, whoever comes first; the gateway says the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let file = &prepared.ca_file;
    let pem = std::fs::read(file).map_err(|fault| wrong(&format_args!("{}: {fault}", file.display())))?;
    let authority = reqwest::Certificate::from_pem(&pem).map_err(|fault| wrong(&fault))?;
    let mut client = reqwest::Client::builder()
        .tls_certs_only([authority])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .https_only(true);
    for zone in prepared.settings.zones.zones() {
        // The system may not know the names below localhost (RFC 6761 only asks it to); port 0: the address's own.
        client = client.resolve(zone.host.as_str(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    }
    client.build().map_err(|fault| wrong(&fault))
}

/// The sample application, whose keys are the zones'.
fn desk(prepared: &Prepared, http: reqwest::Client) -> Desk {
    let zones = prepared.settings.zones.zones().iter();
    let keys = zones.map(|zone| ZoneKeys { origin: zone.origin.to_string(), audience: zone.audience.to_string() });
    Desk::new(Verifier::new(http, keys.collect()))
}

/// The sample identity provider, which knows the companies that log in there.
fn sample_provider(prepared: &Prepared, http: reqwest::Client) -> Result<Provider, DemoProblem> {
    let clients = people::COMPANIES.iter().filter_map(|company| {
        let zone = prepared.settings.zones.zones().iter().find(|zone| zone.host.as_str() == company.zone)?;
        Some(provider::Client::of_company(company, &zone.origin))
    });
    let made = Provider::of_companies(prepared.issuer.clone(), clients.collect(), http);
    made.map_err(|fault| DemoProblem::Provider(fault.to_string()))
}

/// The sample suite, whose people log in at every zone.
fn sample_suite(prepared: &Prepared, http: reqwest::Client) -> Result<Provider, DemoProblem> {
    let zones = prepared.settings.zones.zones().iter();
    let clients = zones.map(|zone| {
        let name = format!("{} {}", prepared.settings.brand.product, zone.name);
        provider::Client::of_suite(name, &zone.origin)
    });
    let wrong = |problem: &dyn std::fmt::Display| DemoProblem::Provider(problem.to_string());
    let issuer = format!("{}{}", prepared.issuer, provider::SUITE_PATH);
    let issuer = Issuer::parse(&issuer).map_err(|problem| wrong(&problem))?;
    Provider::of_suite(issuer, clients.collect(), http).map_err(|fault| wrong(&fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_be_what_another_one_is_by_default() {
        let text = configuration([8444, 8443, 9443, 8480]);
        for want in
            ["[127.0.0.1:8444]", "127.0.0.1:8443", "http://127.0.0.1:9443", "https://id.localhost:8480/one"]
        {
            assert!(text.contains(want), "{want} {text}");
        }
        assert!(!text.contains('<'), "{text}");
    }

    fn arguments(folder: &Path) -> Arguments {
        Arguments {
            action: None,
            data: Some(folder.into()),
            port: 0,
            admin_port: None,
            provider_port: None,
            json: false,
        }
    }

    #[test]
    fn the_first_and_the_second_start_find_a_configuration_that_holds() {
        let folder = tempfile::tempdir().unwrap();
        let now = UnixTime::from_seconds(1_790_000_000);
        for start in 0..2 {
            let prepared =
                prepare(&arguments(folder.path()), now).unwrap_or_else(|e| panic!("start {start}: {e}"));
            let mut wanted: Vec<_> = prepared.settings.zones.hosts().cloned().collect();
            let mut have = hosts().unwrap();
            wanted.sort();
            have.sort();
            assert_eq!(wanted, have, "every host has a certificate, and no other does");
            assert_eq!(prepared.settings.certificates.len(), have.len());
            let upstream = prepared.upstream.local_addr().unwrap();
            let zones = prepared.settings.zones.zones();
            assert!(zones.iter().all(|zone| zone.upstream == crate::zone::Upstream::at(upstream)));
            let suite = prepared.settings.suite.as_ref().unwrap();
            assert_eq!(suite.settings.issuer.as_str(), format!("{}{}", prepared.issuer, provider::SUITE_PATH));
            assert_eq!(suite.settings.client_id, people::SUITE_CLIENT.client_id);
            assert_eq!(suite.secret.as_ref().unwrap().reveal(), people::SUITE_CLIENT.client_secret);
            let port = prepared.settings.public_port;
            assert_eq!(
                suite.modules[0].url.as_str(),
                format!("https://desk.acme.localhost:{port}/.zonegate/suite")
            );
            let known = |id: &&str| suite.modules.iter().any(|module| module.id == **id);
            let people = people::PEOPLE.iter().chain([&people::NEWCOMER]).filter_map(|person| person.suite);
            assert!(people.into_iter().all(|at| at.modules.iter().all(known)));
            let said = announcement(&prepared, upstream, &[], None);
            assert_eq!(said.fresh, start == 0);
            assert!(said.users.iter().all(|user| said.zones.iter().any(|zone| zone.url == user.zone)));
            assert!(said.admin.starts_with("http://127.0.0.1:"), "{}", said.admin);
        }
    }
}
