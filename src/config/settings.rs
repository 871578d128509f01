//! What the program uses: every value parsed, bounded and defaulted.

use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use super::Surroundings;
use super::acme::{self, AcmeSettings};
use super::certificates::{self, Pairs, PemPair};
use super::limits::{self, Limits};
use super::listen::{self, AdminListener, Listeners};
use super::log::{self, LogSettings};
use super::problems::Place;
use super::section::{Scalar, Section};
use super::traces::{self, TraceSettings};
use super::{brand, sso, suite, upstream, zones};
use crate::assertion::{
    AssertionSettings, KeyAlgorithm, LIFETIME_DEFAULT, LIFETIME_MAX, LIFETIME_MIN, OVERLAP_DEFAULT,
};
use crate::base::{Hostname, MasterKey};
use crate::credential::HashCost;
use crate::directory::{Lifetimes, PasswordRules, SecurityDefaults, SecuritySettings, Slots, TotpPeriod};
use crate::pages::Brand;
use crate::sso::{OutboundSettings, Suite};
use crate::zone::ZoneTable;

/// The single values at the top of the file: what an environment variable without `__` may name.
pub(super) const TOP_LEVEL: [&str; 4] = ["master_key", "name_servers", "threads", "universal_host"];

/// One immutable snapshot of everything an operator decides.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listeners: Listeners,
    /// The port that browsers use, which addresses carry unless it is 443.
    pub public_port: u16,
    /// Every hostname that is answered for.
    pub zones: ZoneTable,
    /// Who is asked for the addresses of upstream names; none for the system's servers.
    pub name_servers: Vec<std::net::SocketAddr>,
    /// Certificates and keys, as files hold them.
    pub certificates: Vec<PemPair>,
    /// Where certificates come from that no file holds.
    pub acme: Option<AcmeSettings>,
    /// The store's file.
    pub store_path: PathBuf,
    /// The installation's one secret.
    pub master_key: MasterKey,
    /// What holds for tenants that set nothing else.
    pub security: SecurityDefaults,
    /// What a password hash costs, and how many wait.
    pub hashing: HashingSettings,
    /// What is refused for its size or age.
    pub limits: Limits,
    /// How the identity is signed.
    pub assertion: AssertionSettings,
    /// Programs that may log in at `api/login`.
    pub native_clients: Vec<NativeClient>,
    /// The pages' face.
    pub brand: Brand,
    /// What is logged.
    pub log: LogSettings,
    /// How providers of single sign-on are reached.
    pub sso: OutboundSettings,
    /// The vendor's suite log-in, where there is one.
    pub suite: Option<Suite>,
    /// What becomes of traces.
    pub traces: TraceSettings,
    /// Whether files that change are read anew without being told.
    pub watch: bool,
    /// Threads that carry requests; one a core by default.
    pub threads: usize,
}

/// What a password hash costs, and how many wait for one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashingSettings {
    /// Memory, passes, lanes.
    pub cost: HashCost,
    /// Threads that hash; each uses the memory above.
    pub threads: usize,
    /// How many may wait; more are answered 503 (D4).
    pub queue_max: usize,
}

/// A program that may log in at `api/login`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NativeClient {
    /// What it calls itself in the request.
    pub id: String,
    /// What people see in their list of sessions.
    pub label: String,
}

/// What could be taken out of the file.
#[derive(Default)]
pub(super) struct Found {
    /// `None` only with a problem reported.
    pub(super) settings: Option<Settings>,
    pub(super) admin: Option<AdminListener>,
    pub(super) hosts: Vec<(Hostname, Place)>,
    pub(super) hosts_are_all: bool,
    pub(super) acme: bool,
    pub(super) certificates: Vec<PemPair>,
    pub(super) keyless: Vec<PemPair>,
}

/// Takes everything out of the file.
pub(super) fn read(root: Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Found {
    let (listeners, public_port) = listen::read(root.section("listen"), directory);
    let admin = listeners.admin.clone();
    let master_key = master_key(&root, directory, outside);
    let store_path = store(root.section("store"), directory);
    let has_acme = root.has("acme");
    let Pairs { whole: certificates, keyless, folder } =
        certificates::read(root.section("certificates"), has_acme, directory, outside);
    let acme = acme::read(root.section_if_map("acme"), &listeners, folder, directory, outside);
    let brand = brand::read(root.section("brand"), directory, outside);
    let security = security(root.section("security"));
    let hashing = hashing(root.section("hashing"));
    let limits = limits::read(root.section("limits"));
    let assertion = assertion(root.section("assertion"));
    let native_clients = native_clients(&root);
    let log = log::read(root.section("log"), directory);
    let sso = sso::read(root.section("sso"), directory, outside);
    let suite = suite::read(root.section_if_map("suite"), (directory, outside));
    let traces = traces::read(root.section("traces"));
    let watch = watch(root.section("reload"));
    let name_servers = upstream::name_servers(&root);
    let threads = root.number("threads", 0, 0..=1024);
    let zones::Read { table, hosts, hosts_are_all } =
        zones::read(&root, &listeners, public_port, directory, outside);
    root.finish();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = (table, store_path, master_key);
    let settings = if let (Some(zones), Some(store_path), Some(master_key)) = parts {
        Some(Settings {
            listeners,
            public_port,
            zones,
            name_servers,
            certificates: certificates.clone(),
            acme,
            store_path,
            master_key,
            security,
            hashing: HashingSettings {
                // What a request needs at once must not wait for a hash to leave the caches of the last core.
                threads: if hashing.threads == 0 { cores.saturating_sub(1).max(1) } else { hashing.threads },
                ..hashing
            },
            limits,
            assertion,
            native_clients,
            brand,
            log,
            sso,
            suite,
            traces,
            watch,
            threads: usize::try_from(threads).ok().filter(|threads| *threads > 0).unwrap_or(cores),
        })
    } else {
        None
    };
    Found { settings, admin, hosts, hosts_are_all, acme: has_acme, certificates, keyless }
}

/// A path of the file, relative to the file itself.
pub(super) fn path(directory: &Path, text: &str) -> PathBuf {
    directory.join(text)
}

/// The text behind `file:PATH` or `env:NAME`.
pub(super) fn secret(
    section: &Section<'_>,
    scalar: &Scalar<'_>,
    directory: &Path,
    outside: &dyn Surroundings,
) -> Option<String> {
    let found = if let Some(file) = scalar.text.strip_prefix("file:") {
        let bytes = outside.read_secret(&path(directory, file));
        bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{file} is not text")))
    } else if let Some(name) = scalar.text.strip_prefix("env:") {
        outside.variable(name).ok_or_else(|| format!("names the environment variable {name}, which is not set"))
    } else {
        Err("must be a reference, file:PATH or env:NAME: secrets never stand in this file".into())
    };
    found.map_err(|text| section.report_at(scalar, text)).ok()
}

fn master_key(root: &Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Option<MasterKey> {
    let Some(scalar) = root.scalar("master_key") else {
        root.report(
            0,
            "master_key",
            "is missing: make one with `openssl rand -base64 32 > master.key && chmod 600 master.key` and give \
             file:master.key",
        );
        return None;
    };
    let text = secret(root, &scalar, directory, outside)?;
    MasterKey::parse(&text).map_err(|problem| root.report_at(&scalar, problem.to_string())).ok()
}

fn store(section: Section<'_>, directory: &Path) -> Option<PathBuf> {
    let scalar = section.scalar("path");
    if scalar.is_none() {
        section.report(
            section.line,
            "path",
            "is missing: name the file that holds the directory, for example zonegate.db",
        );
    }
    let found = scalar.map(|scalar| path(directory, scalar.text));
    section.finish();
    found
}

fn security(section: Section<'_>) -> SecurityDefaults {
    let fallback = SecuritySettings::default();
    let small = |name: &str, default: NonZeroU8, most: u64| {
        let number = section.number(name, u64::from(default.get()), 1..=most);
        u8::try_from(number).ok().and_then(NonZeroU8::new).unwrap_or(default)
    };
    let attempts_max = small("attempts_max", fallback.attempts_max, 100);
    let password = password(section.section("password"), fallback.password);
    let period = section.scalar("totp_period");
    let totp_period = match period.as_ref().map(|scalar| scalar.text) {
        None | Some("30s") => TotpPeriod::Thirty,
        Some("60s") => TotpPeriod::Sixty,
        Some(other) => {
            section.report(
                period.map_or(0, |s| s.line),
                "totp_period",
                format!("{other:?} is neither 30s nor 60s"),
            );
            TotpPeriod::Thirty
        }
    };
    let slots = Slots {
        web: small("web_sessions_max", fallback.slots.web, 100),
        mobile: small("mobile_sessions_max", fallback.slots.mobile, 100),
    };
    let lifetimes = Lifetimes {
        idle_max: section.duration("idle_max", fallback.lifetimes.idle_max, 60..=30 * 86400),
        absolute_max: section.duration("absolute_max", fallback.lifetimes.absolute_max, 60..=30 * 86400),
    };
    section.finish();
    SecuritySettings { attempts_max, password, totp_period, slots, lifetimes }
}

fn password(section: Section<'_>, fallback: PasswordRules) -> PasswordRules {
    let byte = |name: &str, default: u8, bounds| u8::try_from(section.number(name, u64::from(default), bounds));
    let rules = PasswordRules {
        strong: section.flag("strong", fallback.strong),
        length_min: byte("length_min", fallback.length_min, 1..=64).unwrap_or(fallback.length_min),
        history: byte("history", fallback.history, 0..=24).unwrap_or(fallback.history),
    };
    section.finish();
    rules
}

fn hashing(section: Section<'_>) -> HashingSettings {
    let fallback = HashCost::default();
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let wide = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    // The lower bounds are OWASP's floor; a test build asks for less through code, never through this file.
    let memory =
        section.size("memory", u64::from(fallback.memory_kib) * 1024, 7 * 1024 * 1024..=1024 * 1024 * 1024);
    let settings = HashingSettings {
        cost: HashCost {
            memory_kib: narrow(memory / 1024),
            passes: narrow(section.number("passes", u64::from(fallback.passes), 1..=16)),
            lanes: narrow(section.number("lanes", u64::from(fallback.lanes), 1..=8)),
        },
        threads: wide(section.number("threads", 0, 0..=64)),
        queue_max: wide(section.number("queue_max", 256, 1..=4096)),
    };
    section.finish();
    settings
}

fn assertion(section: Section<'_>) -> AssertionSettings {
    let scalar = section.scalar("algorithm");
    let algorithm = match scalar.as_ref() {
        None => KeyAlgorithm::default(),
        Some(scalar) => KeyAlgorithm::from_name(scalar.text).unwrap_or_else(|| {
            section.report_at(scalar, format!("{:?} is neither ES256 nor EdDSA", scalar.text));
            KeyAlgorithm::default()
        }),
    };
    let settings = AssertionSettings {
        algorithm,
        lifetime: section.duration("lifetime", LIFETIME_DEFAULT, LIFETIME_MIN.seconds()..=LIFETIME_MAX.seconds()),
        overlap: section.duration("key_overlap", OVERLAP_DEFAULT, 3600..=90 * 86400),
    };
    section.finish();
    settings
}

fn native_clients(root: &Section<'_>) -> Vec<NativeClient> {
    let given = root.sections("native_clients");
    if given.is_empty() {
        let client = |id: &str, label: &str| NativeClient { id: id.into(), label: label.into() };
        return vec![client("mobile", "Mobile app"), client("outlook", "Outlook add-in")];
    }
    let mut clients: Vec<NativeClient> = Vec::new();
    for section in given {
        let (id, label) = (section.scalar("id"), section.scalar("label"));
        match id {
            None => section.report(section.line, "id", "is missing: the name the program gives when it logs in"),
            Some(id) if clients.iter().any(|client| client.id == id.text) => {
                section.report_at(&id, format!("{:?} is another client's already", id.text));
            }
            Some(id) => clients.push(NativeClient {
                label: label.map_or_else(|| id.text.to_owned(), |label| label.text.to_owned()),
                id: id.text.to_owned(),
            }),
        }
        section.finish();
    }
    clients
}

fn watch(section: Section<'_>) -> bool {
    let watch = section.flag("watch", true);
    section.finish();
    watch
}
