//! One running gateway with certificates, zones and people of the tests' own: `zonegate serve` as a child process.
//!
//! The directory is made once by the commands that operators use, and copied for each gateway.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::backends::{BACKENDS, backends};
use super::upstream::Upstream;
use super::wire::{Wire, free_port, within};

/// A zone with the alias `alias.test`, which its certificate covers as well.
pub(crate) const A: &str = "a.test";
/// A zone of another tenant, with a certificate of its own.
pub(crate) const B: &str = "b.test";
/// The universal log-in host.
pub(crate) const LOGIN: &str = "login.test";
/// Two zones under one certificate.
pub(crate) const SHARED: [&str; 2] = ["one.shared.test", "two.shared.test"];
/// Somebody in [`A`] who needs no second factor.
pub(crate) const WALL: &str = "wall@acme.example";
/// The same in [`B`].
pub(crate) const HALL: &str = "hall@bolt.example";

const PASSWORD: &str = "Granite-Window-74";

const CERTIFICATES: [(&str, &[&str]); 4] =
    [("a", &[A, "alias.test"]), ("b", &[B]), ("login", &[LOGIN]), ("shared", &["*.shared.test"])];

const DIRECTORY: &str = "tenants:
  - slug: acme
    zone: a.test
    domains: [acme.example]
    users:
      - { username: wall@acme.example, name: Wall Screen, email: wall@acme.example, kind: dashboard, groups: [screens] }
  - slug: bolt
    zone: b.test
    domains: [bolt.example]
    users:
      - { username: hall@bolt.example, name: Hall Screen, email: hall@bolt.example, kind: dashboard, groups: [screens, doors] }
";

/// What a test wants differently.
#[derive(Clone, Copy)]
pub(crate) struct Wishes {
    /// The section `limits`.
    pub(crate) limits: &'static str,
    /// What every zone's `upstream` says beside its address.
    pub(crate) upstream: &'static str,
    /// What [`A`] says beside its host, indented by four.
    pub(crate) zone_a: &'static str,
    /// `http` or `https`: how the application is spoken to.
    pub(crate) scheme: &'static str,
    /// Whether the zones of the real backends lead to them, which starts them.
    pub(crate) backends: bool,
    /// What the section `listen` says beside its addresses.
    pub(crate) listen: &'static str,
    /// What the zone [`B`] says beside the rest, as lines of the file.
    pub(crate) zone_b: &'static str,
    /// The section `log`.
    pub(crate) log: &'static str,
    /// The sections `upstream` of [`A`] and [`B`], whole, in place of the usual; empty for the usual.
    pub(crate) upstreams: [&'static str; 2],
    /// Who is asked for names, as an item of the list `name_servers`.
    pub(crate) name_server: &'static str,
}

impl Wishes {
    /// Nothing out of the ordinary.
    pub(crate) const USUAL: Self = Self {
        limits: "head: 8KiB, head_fields: 40, form: 8KiB",
        upstream: "read_max: 20s",
        zone_a: "",
        scheme: "http",
        backends: false,
        listen: "",
        zone_b: "",
        log: "level: info, access: true",
        upstreams: ["", ""],
        name_server: "",
    };
}

impl Default for Wishes {
    fn default() -> Self {
        Self::USUAL
    }
}

/// A running gateway, killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    folder: tempfile::TempDir,
    https: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    roots: Arc<RootCertStore>,
}

/// The files that every gateway of this process starts with.
struct Seed(Vec<(String, Vec<u8>)>);

static SEED: OnceCell<Seed> = OnceCell::const_new();

fn configuration(ports: [u16; 3], upstream: SocketAddr, wishes: Wishes) -> String {
    let [https, http, admin] = ports;
    let Wishes {
        limits,
        zone_a,
        upstream: more,
        scheme,
        backends: real,
        listen,
        zone_b,
        upstreams: [a, b],
        name_server,
        log,
    } = wishes;
    let usual = |upstream: SocketAddr| format!("url: \"{scheme}://{upstream}\", connect_max: 1s, {more}");
    let zone_before = |upstream: &str, host: &str, more_of_zone: &str| {
        let body_max = if more_of_zone.contains("body_max") { "" } else { "    body_max: 64KiB\n" };
        format!("  - host: {host}\n{body_max}{more_of_zone}    upstream: {{ {upstream} }}\n")
    };
    let zone = |host: &str, own: &str, more_of_zone: &str| match own {
        "" => zone_before(&usual(upstream), host, more_of_zone),
        own => zone_before(own, host, more_of_zone),
    };
    let real = if real { backends() } else { &[] };
    let behind =
        |host: &str| real.iter().find(|backend| backend.zone == host).map_or(upstream, |real| real.address);
    let zones_of_backends: String =
        BACKENDS.iter().map(|(_, host)| zone_before(&usual(behind(host)), host, "")).collect();
    let zones = [
        zone(A, a, &format!("    aliases: [alias.test]\n    more_methods: [LOCK]\n{zone_a}")),
        zone(B, b, &format!("    headers: oauth2-proxy\n{zone_b}")),
        zone(SHARED[0], "", ""),
        zone(SHARED[1], "", ""),
        zones_of_backends,
    ];
    format!(
        "listen: {{ https: ['127.0.0.1:{https}'], http: ['127.0.0.1:{http}'], admin: '127.0.0.1:{admin}', {listen} }}
master_key: file:master.key
store: {{ path: zonegate.db }}
universal_host: {LOGIN}
name_servers: [{name_server}]
certificates: {{ directory: certs }}
hashing: {{ memory: 7MiB, passes: 1, threads: 1 }}
security: {{ web_sessions_max: 100, mobile_sessions_max: 100 }}
limits: {{ {limits} }}
log: {{ {log} }}
reload: {{ watch: false }}
zones:
{}",
        zones.concat()
    )
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

async fn command(folder: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zonegate"));
    command.args(arguments).arg("--config").arg(folder.join("zonegate.yaml"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}\n{said}", output.status);
    said
}

async fn seed() -> Seed {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("certs")).unwrap();
    for (name, hosts) in CERTIFICATES {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(hosts).unwrap();
        write(path, &format!("certs/{name}.pem"), made.cert.pem().as_bytes());
        write(path, &format!("certs/{name}.key"), made.signing_key.serialize_pem().as_bytes());
    }
    write(path, "master.key", b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
    let of_backends = BACKENDS.iter().map(|(name, zone)| {
        format!(
            "  - slug: {name}\n    zone: {zone}\n    domains: [{name}.example]\n    users:\n      - {{ username: {name}@{name}.example, name: {name}, email: {name}@{name}.example, kind: dashboard }}\n"
        )
    });
    write(path, "directory.yaml", of_backends.fold(DIRECTORY.to_owned(), |all, one| all + &one).as_bytes());
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    write(path, "zonegate.yaml", configuration([1, 2, 3], nowhere, Wishes::default()).as_bytes());
    let file = path.join("directory.yaml");
    command(path, &["apply", "--file", file.to_str().unwrap()], "").await;
    let of_backends = BACKENDS.iter().map(|(name, _)| format!("{name}@{name}.example"));
    for user in [WALL, HALL].map(str::to_owned).into_iter().chain(of_backends) {
        command(path, &["user", "set-password", &user], &format!("{PASSWORD}\n")).await;
    }
    let mut files = Vec::new();
    for sub in ["", "certs/"] {
        for entry in fs::read_dir(path.join(sub)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let name = format!("{sub}{}", entry.file_name().to_str().unwrap());
                files.push((name, fs::read(entry.path()).unwrap()));
            }
        }
    }
    Seed(files)
}

/// A program in a gateway's folder, which it is then started from.
const OWN_PROGRAM: &str = "zonegate";

/// `zonegate serve` in that folder, which says what it says in the file `log`.
fn spawn(folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let own = folder.join(OWN_PROGRAM);
    let program = if own.exists() { own } else { env!("CARGO_BIN_EXE_zonegate").into() };
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(folder.join("zonegate.yaml"));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap()
}

async fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let socket = socket.connect(to).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

impl Gateway {
    /// Starts in front of `upstream`.
    pub(crate) async fn start(upstream: &Upstream) -> Self {
        Self::start_with(upstream.address(), Wishes::default()).await
    }

    /// Starts with these sections `upstream` of [`A`] and [`B`]. In the others' there is nobody.
    pub(crate) async fn start_before(a: impl Into<String>, b: impl Into<String>) -> Self {
        let upstreams = [a.into().leak() as &str, b.into().leak()];
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        // Each thread keeps connections of its own; with one thread a test knows which of them a request is sent on.
        let one_thread = |text: &str| text.replacen("log: {", "threads: 1\nlog: {", 1);
        Self::start_edited(nowhere, Wishes { upstreams, ..Wishes::default() }, one_thread).await
    }

    /// Starts in front of whatever is at `upstream`, with the test's wishes.
    pub(crate) async fn start_with(upstream: SocketAddr, wishes: Wishes) -> Self {
        Self::start_edited(upstream, wishes, str::to_owned).await
    }

    /// The same, with a configuration that the test writes otherwise.
    pub(crate) async fn start_edited(upstream: SocketAddr, wishes: Wishes, edit: impl Fn(&str) -> String) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let Seed(files) = SEED.get_or_init(seed).await;
        // Another test may take a port between the question and the start.
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("certs")).unwrap();
            files.iter().for_each(|(name, bytes)| write(folder.path(), name, bytes));
            let ports = [(); 3].map(|()| free_port());
            let text = edit(&configuration(ports, upstream, wishes));
            write(folder.path(), "zonegate.yaml", text.as_bytes());
            if let Some(gateway) = Self::try_start(folder, ports).await {
                return gateway;
            }
        }
        panic!("no start in five tries");
    }

    async fn try_start(folder: tempfile::TempDir, ports: [u16; 3]) -> Option<Self> {
        let child = spawn(folder.path());
        let [https, http, admin] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut roots = RootCertStore::empty();
        for (name, _) in CERTIFICATES {
            let pem = folder.path().join(format!("certs/{name}.pem"));
            roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
        }
        let mut gateway = Self { child, folder, https, http, admin, roots: Arc::new(roots) };
        let ready = gateway.listens().await;
        let log = gateway.log();
        assert!(ready || log.contains("cannot be listened on"), "{log}");
        ready.then_some(gateway)
    }

    /// Waits until it listens; `false` when it has ended instead.
    async fn listens(&mut self) -> bool {
        let ready = async {
            let mut interval = tokio::time::interval(Duration::from_millis(20));
            loop {
                interval.tick().await;
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                if self.try_tls(Some(LOGIN), &[]).await.is_ok() && TcpStream::connect(self.http).await.is_ok() {
                    return true;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("the gateway listens")
    }

    /// Ends it as a power cut would, and starts it on what it left.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.child = spawn(self.folder.path());
        assert!(self.listens().await, "{}", self.log());
    }

    /// The same, once it has ended by itself.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.folder.path());
        assert!(self.listens().await, "{}", self.log());
    }

    /// How it has ended by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        within(self.child.wait()).await.unwrap()
    }

    /// Starts it from a program of its own, which the test may put another one in the place of.
    pub(crate) async fn restart_from_own_program(&mut self) {
        self.put_program_back();
        self.restart().await;
    }

    /// Puts the right program into that place.
    pub(crate) fn put_program_back(&self) {
        let script = "rm -f \"$2\"; ln \"$1\" \"$2\" 2>/dev/null || cp \"$1\" \"$2\"";
        self.place(script, &[env!("CARGO_BIN_EXE_zonegate")], "");
    }

    /// Puts a script into it, which an upgrade then starts.
    pub(crate) fn put_script(&self, text: &str) {
        self.place("cat > \"$1.new\" && chmod 755 \"$1.new\" && mv \"$1.new\" \"$1\"", &[], text);
    }

    /// By another process: what this one writes, a process that some other test starts may hold open for a moment, and
    /// then it cannot be started ("text file busy").
    fn place(&self, script: &str, arguments: &[&str], input: &str) {
        let mut command = std::process::Command::new("sh");
        command.args(["-ec", script, "place"]).args(arguments).arg(self.file(OWN_PROGRAM));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Tells its process something: `kill -s NAME`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
    }

    /// Where one of its files is.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Ends it, as a power cut would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Where its TLS listener is.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https
    }

    /// The number of its process.
    pub(crate) fn number(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Still there, and nothing panicked.
    pub(crate) fn assert_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the gateway has ended: {}", self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// A socket to the TLS listener, on which nothing has been said.
    pub(crate) async fn connect_socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.https).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// The same from another address of this machine.
    pub(crate) async fn connect_socket_from(&self, address: &str) -> TcpStream {
        connect_from(address, self.https).await
    }

    /// A socket to the plain listener.
    pub(crate) async fn connect_plain_socket(&self) -> TcpStream {
        TcpStream::connect(self.http).await.unwrap()
    }

    /// The same from another address of this machine.
    pub(crate) async fn connect_plain_socket_from(&self, address: &str) -> TcpStream {
        connect_from(address, self.http).await
    }

    /// Its certificates, in PEM.
    pub(crate) fn certificates(&self) -> Vec<Vec<u8>> {
        CERTIFICATES.iter().map(|(name, _)| fs::read(self.file(&format!("certs/{name}.pem"))).unwrap()).collect()
    }

    /// The hosts that its certificates name.
    pub(crate) fn hosts() -> Vec<String> {
        CERTIFICATES.iter().flat_map(|(_, hosts)| *hosts).map(|host| (*host).to_owned()).collect()
    }

    /// The authorities of the gateway's certificates.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// What its metrics say, a line each.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        reqwest::Client::new().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// How many requests it is answering.
    pub(crate) async fn under_way(&self) -> u64 {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("zonegate_requests_under_way "));
        line.expect("a gauge").parse().unwrap()
    }

    /// A TLS connection; an error is a handshake that was refused.
    pub(crate) async fn try_tls(
        &self,
        name: Option<&str>,
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let roots = Arc::clone(&self.roots);
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.enable_sni = name.is_some();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let socket = TcpStream::connect(self.https).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.unwrap_or(A).to_owned()).unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
    }

    /// A connection for HTTP/1.1.
    pub(crate) async fn connect(&self, name: &str) -> Wire {
        Wire::new(self.try_tls(Some(name), &[b"http/1.1"]).await.unwrap())
    }

    /// A connection for HTTP/2, as TLS left it.
    pub(crate) async fn connect_h2(&self, name: &str) -> TlsStream<TcpStream> {
        self.try_tls(Some(name), &[b"h2"]).await.unwrap()
    }

    /// A connection to the plain listener.
    pub(crate) async fn connect_plain(&self) -> Wire {
        Wire::new(TcpStream::connect(self.http).await.unwrap())
    }

    /// The authority of `host` as browsers write it.
    pub(crate) fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.https.port())
    }

    /// Logs in as a native client does and gives the session's token.
    pub(crate) async fn log_in(&self, zone: &str, username: &str) -> String {
        let body =
            serde_json::json!({ "client": "mobile", "username": username, "password": PASSWORD }).to_string();
        let mut wire = self.connect(zone).await;
        let length = body.len();
        wire.send(format!(
            "POST /.zonegate/api/login HTTP/1.1\r\nHost: {zone}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        let reply = wire.reply().await;
        let cookie = reply.field("set-cookie").unwrap_or_else(|| panic!("no session: {reply:?}"));
        let value = cookie.split(';').next().unwrap().strip_prefix("__Host-zg_session=").unwrap();
        value.to_owned()
    }

    /// Runs another command on this gateway's data.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        command(self.folder.path(), arguments, "").await
    }

    /// Replaces a text of its configuration, the way editors save.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.file("zonegate.yaml")).unwrap();
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        self.replace("zonegate.yaml", text.replacen(from, to, 1));
    }

    /// Puts another file in the place of one of its files, by rename.
    pub(crate) fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let staged = format!("{name}.new");
        write(self.folder.path(), &staged, content.as_ref());
        fs::rename(self.file(&staged), self.file(name)).unwrap();
    }

    /// Makes a certificate for these hosts in its folder of certificates, in the place of one of the same name, and
    /// trusts it.
    pub(crate) fn certify(&mut self, name: &str, hosts: &[&str]) {
        self.certify_until(name, hosts, 4096);
    }

    /// The same with one that ends with the year before this one.
    pub(crate) fn certify_until(&mut self, name: &str, hosts: &[&str], year: i32) {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        self.replace(&format!("certs/{name}.key"), key.serialize_pem());
        self.replace(&format!("certs/{name}.pem"), made.pem());
        let mut roots = RootCertStore::clone(&self.roots);
        roots.add(made.der().clone()).unwrap();
        self.roots = Arc::new(roots);
    }

    /// `zonegate reload`: the exit code, standard output and standard error.
    pub(crate) async fn reload(&self) -> (i32, String, String) {
        self.ask(&["reload"]).await
    }

    /// Runs another command that may be refused.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zonegate"));
        command.args(arguments).arg("--config").arg(self.file("zonegate.yaml")).stdin(Stdio::null());
        let output = within(command.output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Sends it SIGHUP.
    pub(crate) async fn hang_up(&self) {
        self.signal("HUP").await;
    }

    /// Where its admin listener is.
    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// One number of its metrics; 0 while there is none of that name.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = reqwest::get(self.admin("/metrics")).await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    /// Moves its clock forward.
    pub(crate) async fn advance(&self, seconds: u64) {
        let url = self.admin("/test/clock");
        let body = serde_json::json!({ "ahead_seconds": seconds });
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}
