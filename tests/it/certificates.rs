//! Certificates that the gateway gets itself: from pebble, the test server of Let's Encrypt's makers, with names that a
//! little name server of the same package leads to this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::harness::{free_port, within};

const HOST: &str = "new.test";
const ALIAS: &str = "alias.new.test";
const LOGIN: &str = "login.new.test";
const DAYS: u64 = 90;

/// A program that ends with the test.
fn run(program: &str, folder: &Path, arguments: &[&str]) -> Child {
    let log =
        std::fs::File::create(folder.join(format!("{}.log", Path::new(program).display()).replace('/', "_")));
    let log = log.unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.current_dir(folder).env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "1");
    // A proof of before would do for every second order, and no renewal could be held up.
    command.env("PEBBLE_AUTHZREUSE", "0");
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; on Debian it is in the package pebble"))
}

fn here(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let mut interval = tokio::time::interval(Duration::from_millis(50));
    let wait = async {
        loop {
            if let Some(found) = found().await {
                return found;
            }
            interval.tick().await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(60), wait).await {
        Ok(found) => found,
        Err(_) => panic!("{what} does not come"),
    }
}

/// The leaf that is shown for `name`.
async fn shown(https: SocketAddr, name: &'static str, roots: &Arc<RootCertStore>) -> Option<Vec<u8>> {
    let config = ClientConfig::builder().with_root_certificates(Arc::clone(roots)).with_no_client_auth();
    let socket = TcpStream::connect(https).await.ok()?;
    let connect = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), socket);
    let stream = within(connect).await.ok()?;
    Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec())
}

/// An authority, the names that it looks up, and a gateway that begins with no certificate at all.
///
/// The gateway reaches the authority over a way that can be closed; the authority reaches the gateway over one that closes
/// the first when it is told to. So an order is under way for as long as a test wants it to be.
struct World {
    folder: tempfile::TempDir,
    https: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    roots: Arc<RootCertStore>,
    /// Whether the way to the authority is open.
    open: watch::Sender<bool>,
    /// Whether it closes when the authority looks for a proof.
    closes: watch::Sender<bool>,
    client: reqwest::Client,
    _programs: [Child; 3],
}

/// Passes on what comes to `listener`, `before` each connection, and only while `open`.
fn way(listener: TcpListener, to: SocketAddr, open: watch::Receiver<bool>, before: impl Fn() + Send + 'static) {
    async fn pass(
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        mut open: watch::Receiver<bool>,
    ) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut piece = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            if open.wait_for(|open| *open).await.is_err() || to.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    }
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            before();
            let open = open.clone();
            tokio::spawn(async move {
                let Ok(other) = TcpStream::connect(to).await else { return };
                let ((from, into), (back, onto)) = (socket.into_split(), other.into_split());
                tokio::spawn(pass(from, onto, open.clone()));
                pass(back, into, open).await;
            });
        }
    });
}

impl World {
    async fn start(watch_files: bool) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let [https, http, admin, acme, manage, names, names_manage] = [(); 7].map(|()| free_port());
        let ways = [TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0))];
        let [to_authority, to_gateway] = ways;
        let (to_authority, to_gateway) = (to_authority.await.unwrap(), to_gateway.await.unwrap());
        let [acme_way, http_way] = [&to_authority, &to_gateway].map(|way| way.local_addr().unwrap().port());

        // The authority, its own certificate, and the names.
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(path.join("pebble.pem"), own.cert.pem()).unwrap();
        std::fs::write(path.join("pebble.key"), own.signing_key.serialize_pem()).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": here(acme), "managementListenAddress": here(manage),
            "certificate": "pebble.pem", "privateKey": "pebble.key", "httpPort": http_way, "tlsPort": 1,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": DAYS * 86400,
        } });
        std::fs::write(path.join("pebble.json"), config.to_string()).unwrap();
        let (dns, manage_names) = (here(names).to_string(), here(names_manage).to_string());
        let arguments = [
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-dns01",
            &dns,
            "-management",
            &manage_names,
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ];
        let names = run("pebble-challtestsrv", path, &arguments);
        // The authority asks the names once, and what fails is tried again after minutes.
        until("the name server", async || TcpStream::connect(here(names_manage)).await.ok()).await;
        let pebble = run("pebble", path, &["-config", "pebble.json", "-strict", "-dnsserver", &dns]);
        let trusting = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(own.cert.pem().as_bytes()).unwrap()])
            .build()
            .unwrap();
        let root = until("pebble's root", async || {
            let answer = trusting.get(format!("https://localhost:{manage}/roots/0")).send().await.ok()?;
            answer.text().await.ok()
        })
        .await;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();

        let (open, closes) = (watch::Sender::new(true), watch::Sender::new(false));
        way(to_authority, here(acme), open.subscribe(), || ());
        let (closing, armed) = (open.clone(), closes.clone());
        way(to_gateway, here(http), watch::Sender::new(true).subscribe(), move || {
            if armed.send_replace(false) {
                closing.send_replace(false);
            }
        });

        std::fs::create_dir(path.join("certs")).unwrap();
        std::fs::write(path.join("master.key"), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").unwrap();
        let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        std::fs::set_permissions(path.join("master.key"), private).unwrap();
        let text = format!(
            "listen: {{ https: ['{}'], http: ['{}'], admin: '{}' }}
master_key: file:master.key
store: {{ path: zonegate.db }}
universal_host: {LOGIN}
certificates: {{ directory: certs }}
acme: {{ directory: 'https://localhost:{acme_way}/dir', contact: a@example.com, ca_file: pebble.pem }}
reload: {{ watch: {watch_files} }}
zones:
  - {{ host: {HOST}, aliases: [{ALIAS}], upstream: {{ url: 'http://127.0.0.1:9' }} }}
",
            here(https),
            here(http),
            here(admin)
        );
        std::fs::write(path.join("zonegate.yaml"), text).unwrap();
        let gateway = run(env!("CARGO_BIN_EXE_zonegate"), path, &["serve", "--config", "zonegate.yaml"]);
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let [https, http, admin] = [https, http, admin].map(here);
        let roots = Arc::new(roots);
        let _programs = [names, pebble, gateway];
        Self { folder, https, http, admin, roots, open, closes, client, _programs }
    }

    fn log(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = entries.filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// The leaf that is shown for this name, once there is one.
    async fn gets(&self, name: &'static str) -> Vec<u8> {
        until(name, async || {
            self.nothing_failed();
            shown(self.https, name, &self.roots).await
        })
        .await
    }

    /// What fails is tried again after minutes: nothing comes of waiting for it.
    fn nothing_failed(&self) {
        assert!(!self.log().contains("no certificate was issued"), "{}", self.log());
    }

    async fn logged(&self, what: &str, times: usize) {
        until(what, async || (self.log().matches(what).count() >= times).then_some(())).await;
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.folder.path().join("zonegate.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(self.folder.path().join("new.yaml"), text.replacen(from, to, 1)).unwrap();
        std::fs::rename(self.folder.path().join("new.yaml"), file).unwrap();
    }

    async fn reload(&self) -> (u16, String) {
        let reload = self.client.post(format!("http://{}/reload", self.admin)).header("x-zonegate-command", "1");
        let answer = reload.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn advance(&self, days: u64) {
        let clock = serde_json::json!({ "ahead_seconds": days * 86400 });
        let moved =
            self.client.post(format!("http://{}/test/clock", self.admin)).json(&clock).send().await.unwrap();
        assert!(moved.status().is_success());
    }

    /// What monitoring is told of the end of a host's certificate.
    async fn expiry(&self, host: &str) -> Option<f64> {
        let answer = self.client.get(format!("http://{}/metrics", self.admin)).send().await.unwrap();
        let series = format!("zonegate_certificate_expiry_timestamp_seconds{{name=\"{host}\"}} ");
        answer.text().await.unwrap().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
    }

    /// What the gateway keeps for a zone.
    fn files(&self, host: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("certs")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&format!("acme-{host}-"))).collect()
    }

    /// The next order stays under way once the authority looks for its proof.
    fn hold_next_order(&self) {
        self.closes.send_replace(true);
    }

    async fn order_is_under_way(&self) {
        until("an order", async || {
            self.nothing_failed();
            (!*self.open.borrow()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_host_without_a_certificate_gets_one_and_it_is_renewed() {
    let world = World::start(true).await;
    let mut first = Vec::new();
    for name in [HOST, ALIAS, LOGIN] {
        first.push(world.gets(name).await);
    }
    assert_eq!(first[0], first[1], "a zone and its alias share one");
    assert_ne!(first[0], first[2]);
    for entry in std::fs::read_dir(world.folder.path().join("certs")).unwrap().map(Result::unwrap) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
    // What is no challenge of ours is redirected, like everything else there.
    let url = format!("http://{}/.well-known/acme-challenge/unknown", world.http);
    assert_eq!(world.client.get(url).header("host", HOST).send().await.unwrap().status(), 308);

    // Two thirds of its life later.
    world.advance(DAYS / 3 * 2 + 1).await;
    assert_eq!(world.reload().await.0, 200);
    let renewed = until("another certificate", async || {
        shown(world.https, HOST, &world.roots).await.filter(|leaf| *leaf != first[0])
    })
    .await;
    assert_ne!(renewed, first[0]);
    // The old pair goes once the new one is in use.
    until("one pair for the zone", async || (world.files(HOST).len() == 2).then_some(())).await;
}

#[tokio::test]
async fn x7_a_reload_that_is_refused_during_a_renewal_loses_neither_the_renewal_nor_what_was_in_use() {
    let world = World::start(false).await;
    let (first, login) = (world.gets(HOST).await, world.gets(LOGIN).await);
    world.advance(DAYS / 3 * 2 + 1).await;
    world.hold_next_order();
    assert_eq!(world.reload().await.0, 200);
    world.order_is_under_way().await;
    // Somebody is in the middle of a change.
    world.edit("aliases", "alises");
    let (status, told) = world.reload().await;
    assert_eq!(status, 422, "{told}");
    assert!(told.contains("alises"), "{told}");
    assert_eq!(shown(world.https, HOST, &world.roots).await, Some(first.clone()), "what was in use is");
    assert_eq!(shown(world.https, ALIAS, &world.roots).await, Some(first.clone()));
    world.open.send_replace(true);
    // The renewal counts although the file is still wrong: the old certificate would run out while nobody mends it.
    let renewed = until("the renewed certificate", async || {
        shown(world.https, HOST, &world.roots).await.filter(|leaf| *leaf != first)
    })
    .await;
    until("the other one", async || shown(world.https, LOGIN, &world.roots).await.filter(|leaf| *leaf != login))
        .await;
    assert_eq!(world.reload().await.0, 422, "it is wrong as ever");
    assert_eq!(shown(world.https, ALIAS, &world.roots).await.as_ref(), Some(&renewed));
    world.edit("alises", "aliases");
    let (status, told) = world.reload().await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(shown(world.https, HOST, &world.roots).await.as_ref(), Some(&renewed));
    // Two for each, and the authority was not asked for more.
    assert_eq!(world.log().matches("a certificate was issued").count(), 4, "{}", world.log());
    assert!(!world.log().contains("panicked"), "{}", world.log());
}

#[tokio::test]
async fn a_zone_that_is_taken_out_while_its_order_is_under_way_leaves_nothing_behind() {
    const GONE: &str = "gone.test";
    let world = World::start(false).await;
    let first = world.gets(HOST).await;
    world.gets(LOGIN).await;
    let zone = format!("  - {{ host: {GONE}, upstream: {{ url: 'http://127.0.0.1:9' }} }}\n");
    world.hold_next_order();
    world.edit("zones:\n", &format!("zones:\n{zone}"));
    assert_eq!(world.reload().await.0, 200);
    world.order_is_under_way().await;
    assert_eq!(world.expiry(GONE).await, Some(0.0), "it has none yet");
    assert!(world.expiry(HOST).await.unwrap() > 0.0);
    world.edit(&zone, "");
    let (status, told) = world.reload().await;
    assert_eq!(status, 200, "{told}");
    world.open.send_replace(true);
    world.logged("a certificate was issued and is not kept", 1).await;
    assert_eq!(world.files(GONE), Vec::<String>::new());
    assert_eq!(shown(world.https, GONE, &world.roots).await, None, "nobody answers for it");
    assert_eq!(shown(world.https, HOST, &world.roots).await, Some(first));
    // And who comes back gets one.
    world.edit("zones:\n", &format!("zones:\n{zone}"));
    assert_eq!(world.reload().await.0, 200);
    world.gets(GONE).await;
    assert_eq!(world.files(GONE).len(), 2);
    assert!(world.expiry(GONE).await.unwrap() > 0.0);
    assert!(!world.log().contains("panicked"), "{}", world.log());
}

#[tokio::test]
async fn an_alias_that_the_operators_certificate_does_not_cover_gets_one() {
    const OWN: &str = "own.test";
    const BARE: &str = "www.own.test";
    let world = World::start(false).await;
    world.gets(HOST).await;
    let made = rcgen::generate_simple_self_signed(vec![OWN.to_owned()]).unwrap();
    let key = world.folder.path().join("certs/own.key");
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&key, private).unwrap();
    std::fs::write(world.folder.path().join("certs/own.pem"), made.cert.pem()).unwrap();
    let zone = format!("  - {{ host: {OWN}, aliases: [{BARE}], upstream: {{ url: 'http://127.0.0.1:9' }} }}\n");
    world.edit("zones:\n", &format!("zones:\n{zone}"));
    assert_eq!(world.reload().await.0, 200);
    world.gets(BARE).await;
    assert_eq!((world.files(BARE).len(), world.files(OWN).len()), (2, 0));
}
