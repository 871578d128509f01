//! What the program uses: every value parsed, bounded and defaulted.

use std::num::{NonZeroU8, NonZeroU32};
use std::path::{Path, PathBuf};

use super::Surroundings;
use super::acme::{self, AcmeSettings};
use super::listen::{self, AdminListener, Listeners};
use super::log::{self, LogSettings};
use super::problems::Place;
use super::section::{Scalar, Section, nearest};
use super::traces::{self, TraceSettings};
use super::{sso, suite, upstream, zones};
use crate::assertion::{
    AssertionSettings, KeyAlgorithm, LIFETIME_DEFAULT, LIFETIME_MAX, LIFETIME_MIN, OVERLAP_DEFAULT,
};
use crate::base::{Hostname, MasterKey, Ttl};
use crate::credential::HashCost;
use crate::directory::{Lifetimes, PasswordRules, SecurityDefaults, SecuritySettings, Slots, TotpPeriod};
use crate::pages::{Brand, Links, Logo, text_ids};
use crate::sso::{OutboundSettings, Suite};
use crate::zone::{Language, ZoneTable};

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

/// A certificate chain and its key, as files hold them.
#[derive(Clone)]
pub struct PemPair {
    /// The chain's file, for messages.
    pub chain_file: PathBuf,
    /// The key's file, for messages.
    pub key_file: PathBuf,
    /// The chain in PEM, the leaf first.
    pub chain: Vec<u8>,
    /// The private key in PEM.
    pub key: Vec<u8>,
    /// Where the configuration names it.
    pub place: Place,
    /// Whether zonegate has got it itself, and gets another one when it is of no use any more.
    pub managed: bool,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PemPair({})", self.chain_file.display())
    }
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

/// What is refused for its size or age.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// A request's head, in bytes: beyond it 431.
    pub head_bytes_max: usize,
    /// A request's header fields: beyond it 431.
    pub head_fields_max: usize,
    /// A form that is sent to our own pages, in bytes: beyond it 413.
    pub form_bytes_max: usize,
    /// How long a form may take to arrive.
    pub form_time_max: Ttl,
    /// How long a request's whole head may take, from its first byte on (D1).
    pub head_time_max: Ttl,
    /// How long a TLS handshake may take, and a PROXY header before it.
    pub handshake_max: Ttl,
    /// How long an idle connection is kept.
    pub keepalive_max: Ttl,
    /// How long a client may take nothing of what is written to it.
    pub stall_max: Ttl,
    /// The slowest that a request's body may arrive, in bytes a second over its whole time (D2).
    pub body_rate_min: u64,
    /// Connections at a time; 0 for as many as the process's file descriptors carry.
    pub connections_max: u32,
    /// Connections at a time of one source: an IPv4 address, or an IPv6 /64.
    pub connections_per_source: u32,
    /// Log-in attempts of one source in a minute (L3).
    pub logins_per_source: NonZeroU32,
    /// How long requests that are under way may go on after a stop was asked for.
    pub drain_max: Ttl,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 * 1024,
            head_fields_max: 100,
            head_time_max: Ttl::seconds_const(15),
            form_bytes_max: 16 * 1024,
            form_time_max: Ttl::seconds_const(10),
            handshake_max: Ttl::seconds_const(10),
            keepalive_max: Ttl::seconds_const(60),
            stall_max: Ttl::seconds_const(60),
            body_rate_min: 256,
            connections_max: 0,
            connections_per_source: 1000,
            logins_per_source: const { NonZeroU32::new(300).unwrap() },
            drain_max: Ttl::seconds_const(20),
        }
    }
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
        certificates(root.section("certificates"), has_acme, directory, outside);
    let acme = acme::read(root.section_if_map("acme"), &listeners, folder, directory, outside);
    let brand = brand(root.section("brand"), directory, outside);
    let security = security(root.section("security"));
    let hashing = hashing(root.section("hashing"));
    let limits = limits(root.section("limits"));
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

/// Pairs named in the file, and `NAME.crt`/`NAME.pem` beside `NAME.key` in the directory. The second list holds the
/// certificates whose key cannot be read.
/// Certificates, and the folder that most of them lie in.
struct Pairs {
    whole: Vec<PemPair>,
    keyless: Vec<PemPair>,
    folder: PathBuf,
}

fn certificates(section: Section<'_>, has_acme: bool, directory: &Path, outside: &dyn Surroundings) -> Pairs {
    let mut wanted: Vec<(PathBuf, PathBuf, Place, bool)> = Vec::new();
    let folder = section.scalar("directory");
    let folder_path = path(directory, folder.as_ref().map_or("certs", |scalar| scalar.text));
    let listed = outside.list(&folder_path);
    if let (Some(folder), Err(text)) = (&folder, &listed) {
        section.report_at(folder, text);
    }
    // Nobody asked for the directory that is looked into by default.
    let mut files = listed.unwrap_or_default();
    files.sort();
    let folder_place =
        Place { line: folder.as_ref().map_or(0, |folder| folder.line), key: section.key("directory") };
    for file in &files {
        let stem = file.strip_suffix(".crt").or_else(|| file.strip_suffix(".pem"));
        if let Some(key) = stem.map(|stem| format!("{stem}.key")).filter(|key| files.contains(key)) {
            let managed = has_acme && file.starts_with(acme::MANAGED);
            wanted.push((folder_path.join(file), folder_path.join(key), folder_place.clone(), managed));
        }
    }
    for pair in section.sections("files") {
        let (chain, key) = (pair.scalar("chain"), pair.scalar("key"));
        if chain.is_none() || key.is_none() {
            pair.report(
                pair.line,
                "chain",
                "and key must both be given: the PEM files of the certificate and its key",
            );
        }
        if let (Some(chain), Some(key)) = (chain, key) {
            wanted.push((
                path(directory, chain.text),
                path(directory, key.text),
                Place { line: chain.line, key: pair.path.clone() },
                false,
            ));
        }
        pair.finish();
    }
    let (mut pairs, mut keyless) = (Vec::new(), Vec::new());
    for (chain_file, key_file, place, managed) in wanted {
        let report = |text: String| section.report_in(&place, text);
        let chain = outside.read(&chain_file).map_err(report).ok();
        let key = outside.read_secret(&key_file).map_err(report).ok();
        let list = if key.is_some() { &mut pairs } else { &mut keyless };
        if let Some(chain) = chain {
            list.push(PemPair { chain_file, key_file, chain, key: key.unwrap_or_default(), place, managed });
        }
    }
    section.finish();
    Pairs { whole: pairs, keyless, folder: folder_path }
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
        queue_max: wide(section.number("queue_max", 64, 1..=4096)),
    };
    section.finish();
    settings
}

fn limits(section: Section<'_>) -> Limits {
    let wide = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let usual = Limits::default();
    let limits = Limits {
        head_bytes_max: wide(section.size("head", usual.head_bytes_max as u64, 4 * 1024..=256 * 1024)),
        head_fields_max: wide(section.number("head_fields", usual.head_fields_max as u64, 20..=256)),
        head_time_max: section.duration("head_time", usual.head_time_max, 1..=120),
        form_bytes_max: wide(section.size("form", usual.form_bytes_max as u64, 8 * 1024..=1024 * 1024)),
        form_time_max: section.duration("form_time", usual.form_time_max, 1..=120),
        handshake_max: section.duration("handshake", usual.handshake_max, 1..=60),
        keepalive_max: section.duration("keepalive", usual.keepalive_max, 1..=3600),
        stall_max: section.duration("stall", usual.stall_max, 1..=600),
        body_rate_min: section.size("body_rate", usual.body_rate_min, 1..=1024 * 1024),
        connections_max: narrow(section.number("connections", 0, 0..=10_000_000)),
        connections_per_source: narrow(section.number(
            "connections_per_source",
            u64::from(usual.connections_per_source),
            1..=10_000_000,
        )),
        logins_per_source: {
            let attempts =
                section.number("logins_per_source", usual.logins_per_source.get().into(), 1..=1_000_000);
            NonZeroU32::new(narrow(attempts)).unwrap_or(NonZeroU32::MIN)
        },
        drain_max: section.duration("drain", usual.drain_max, 1..=600),
    };
    section.finish();
    limits
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

fn brand(section: Section<'_>, directory: &Path, outside: &dyn Surroundings) -> Brand {
    let mut brand = Brand::default();
    if let Some(product) = section.scalar("product") {
        brand.product = product.text.to_owned();
    }
    brand.logo = section.scalar("logo").and_then(|scalar| logo(&section, &scalar, directory, outside));
    brand.accent = section.parsed("accent", brand.accent);
    brand.accent_dark = section.parsed("accent_dark", brand.accent_dark);
    if !brand.accent.readable_on_light() {
        let text = format!(
            "{} is too pale to read on white (WCAG 2.2 asks for 4.5 to 1): choose a darker colour",
            brand.accent
        );
        section.report(section.scalar("accent").map_or(0, |s| s.line), "accent", text);
    }
    if !brand.accent_dark.readable_on_dark() {
        let text = format!("{} is too dark to read on the dark theme: choose a paler colour", brand.accent_dark);
        section.report(section.scalar("accent_dark").map_or(0, |s| s.line), "accent_dark", text);
    }
    let links = section.section("links");
    brand.links =
        Links { status: link(&links, "status"), privacy: link(&links, "privacy"), help: link(&links, "help") };
    links.finish();
    let texts = section.section("texts");
    for language in Language::ALL {
        let of_language = texts.section(language.tag());
        for scalar in of_language.entries() {
            if text_ids().any(|id| id == scalar.key) {
                brand.texts.insert((language, scalar.key.clone()), scalar.text.to_owned());
            } else {
                let text = match nearest(text_ids(), &scalar.key) {
                    Some(near) => format!("is not the id of a text; did you mean {near:?}?"),
                    None => {
                        format!(
                            "is not the id of a text; the ids are {}",
                            text_ids().collect::<Vec<_>>().join(", ")
                        )
                    }
                };
                of_language.report(scalar.line, &scalar.key, text);
            }
        }
    }
    texts.finish();
    section.finish();
    brand
}

fn link(section: &Section<'_>, name: &str) -> Option<String> {
    web_address(section, &section.scalar(name)?).map(String::from)
}

/// Where people can be sent.
pub(super) fn web_address(section: &Section<'_>, scalar: &Scalar<'_>) -> Option<url::Url> {
    match url::Url::parse(scalar.text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => Some(url),
        Ok(_) | Err(_) => {
            section.report_at(
                scalar,
                format!("{:?} is not a web address, like https://status.example.com/", scalar.text),
            );
            None
        }
    }
}

fn logo(section: &Section<'_>, scalar: &Scalar<'_>, directory: &Path, outside: &dyn Surroundings) -> Option<Logo> {
    const LOGO_BYTES_MAX: usize = 256 * 1024;
    let content_type = match Path::new(scalar.text).extension().and_then(|e| e.to_str()) {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => {
            section.report_at(scalar, format!("{:?} is neither an .svg nor a .png file", scalar.text));
            return None;
        }
    };
    match outside.read(&path(directory, scalar.text)) {
        Ok(bytes) if bytes.len() <= LOGO_BYTES_MAX => Some(Logo { content_type, bytes }),
        Ok(_) => {
            section.report_at(scalar, "is larger than 256 KiB: every log-in page loads it");
            None
        }
        Err(text) => {
            section.report_at(scalar, text);
            None
        }
    }
}
