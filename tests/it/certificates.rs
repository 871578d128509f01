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
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

use crate::harness::within;

const HOST: &str = "new.test";
const ALIAS: &str = "alias.new.test";
const LOGIN: &str = "login.new.test";

/// A program that ends with the test.
fn run(program: &str, folder: &Path, arguments: &[&str]) -> Child {
    let log =
        std::fs::File::create(folder.join(format!("{}.log", Path::new(program).display()).replace('/', "_")));
    let log = log.unwrap();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.current_dir(folder).env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "5");
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; on Debian it is in the package pebble"))
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
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

#[tokio::test]
async fn a_host_without_a_certificate_gets_one_and_it_is_renewed() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let [https, http, admin, acme, manage, names, names_manage] = free_ports();

    // The authority, its own certificate, and the names.
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(path.join("pebble.pem"), own.cert.pem()).unwrap();
    std::fs::write(path.join("pebble.key"), own.signing_key.serialize_pem()).unwrap();
    let days = 90;
    let config = serde_json::json!({ "pebble": {
        "listenAddress": here(acme), "managementListenAddress": here(manage),
        "certificate": "pebble.pem", "privateKey": "pebble.key", "httpPort": http, "tlsPort": 1,
        "ocspResponderURL": "", "externalAccountBindingRequired": false,
        "certificateValidityPeriod": days * 86400,
    } });
    std::fs::write(path.join("pebble.json"), config.to_string()).unwrap();
    let dns = here(names).to_string();
    let _names = run(
        "pebble-challtestsrv",
        path,
        &[
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-dns01",
            &dns,
            "-management",
            &here(names_manage).to_string(),
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ],
    );
    // The authority asks the names once, and what fails is tried again after minutes.
    until("the name server", async || TcpStream::connect(here(names_manage)).await.ok()).await;
    let _pebble = run("pebble", path, &["-config", "pebble.json", "-strict", "-dnsserver", &dns]);
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
    let roots = Arc::new(roots);

    // The gateway, with no certificate at all.
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
acme: {{ directory: 'https://localhost:{acme}/dir', contact: a@example.com, ca_file: pebble.pem }}
zones:
  - {{ host: {HOST}, aliases: [{ALIAS}], upstream: {{ url: 'http://127.0.0.1:9' }} }}
",
        here(https),
        here(http),
        here(admin)
    );
    std::fs::write(path.join("zonegate.yaml"), text).unwrap();
    let _gateway = run(env!("CARGO_BIN_EXE_zonegate"), path, &["serve", "--config", "zonegate.yaml"]);
    let mut first = Vec::new();
    let log = || {
        std::fs::read_dir(path).unwrap().filter_map(|entry| {
            let entry = entry.unwrap().path();
            entry.extension().is_some_and(|end| end == "log").then(|| std::fs::read_to_string(entry).unwrap())
        })
    };
    for name in [HOST, ALIAS, LOGIN] {
        first.push(
            until(name, async || {
                let refused = log().any(|text| text.contains("no certificate was issued"));
                assert!(!refused, "{}", log().collect::<String>());
                shown(here(https), name, &roots).await
            })
            .await,
        );
    }
    assert_eq!(first[0], first[1], "a zone and its alias share one");
    assert_ne!(first[0], first[2]);
    for entry in std::fs::read_dir(path.join("certs")).unwrap().map(Result::unwrap) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
    // What is no challenge of ours is redirected, like everything else there.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("http://{}/.well-known/acme-challenge/unknown", here(http));
    assert_eq!(client.get(url).header("host", HOST).send().await.unwrap().status(), 308);

    // Two thirds of its life later.
    let clock = serde_json::json!({ "ahead_seconds": (days / 3 * 2 + 1) * 86400 });
    let moved = client.post(format!("http://{}/test/clock", here(admin))).json(&clock).send().await.unwrap();
    assert!(moved.status().is_success());
    let looked = client.post(format!("http://{}/reload", here(admin))).header("x-zonegate-command", "1");
    assert!(looked.send().await.unwrap().status().is_success());
    let renewed = until("another certificate", async || {
        shown(here(https), HOST, &roots).await.filter(|leaf| *leaf != first[0])
    })
    .await;
    assert_ne!(renewed, first[0]);
    // The old pair goes once the new one is in use.
    until("one pair for the zone", async || {
        let names = std::fs::read_dir(path.join("certs")).unwrap().map(|entry| entry.unwrap().file_name());
        let of_zone = names.filter(|name| name.to_str().unwrap().starts_with(&format!("acme-{HOST}-")));
        (of_zone.count() == 2).then_some(())
    })
    .await;
}
