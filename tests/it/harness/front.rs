//! The proxies that people have already, with the snippets that they copy: nginx, Caddy or Traefik in front, asking the
//! gateway.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

use super::gateway::{A, Gateway, Wishes};
use super::upstream::Upstream;
use super::wire::{Wire, within};

const NGINX: &str = include_str!("../../../config/examples/forward-auth/nginx.conf");
const CADDY: &str = include_str!("../../../config/examples/forward-auth/Caddyfile");
const INGRESS_NGINX: &str = include_str!("../../../config/examples/forward-auth/ingress-nginx.yaml");
const TRAEFIK: &str = include_str!("../../../config/examples/forward-auth/traefik.yaml");

/// A proxy in front of an application, and the gateway that it asks. Killed when dropped.
pub(crate) struct Front {
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    /// Where the gateway is asked.
    pub(crate) asked_at: SocketAddr,
    address: SocketAddr,
    folder: tempfile::TempDir,
    _proxy: Child,
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// nginx with these servers.
fn nginx_in(folder: &Path, servers: &str) -> Command {
    let base = folder.display();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {base}/pid;\nerror_log {base}/error.log;\nevents {{}}\nhttp {{\n\
         access_log off;\nclient_body_temp_path {base}/body;\nproxy_temp_path {base}/proxy;\n\
         fastcgi_temp_path {base}/f;\nuwsgi_temp_path {base}/u;\nscgi_temp_path {base}/s;\n{servers}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

async fn connect(gateway: &Gateway, to: SocketAddr) -> std::io::Result<Wire> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(gateway.file("certs/a.pem")).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = TcpStream::connect(to).await?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Wire::new(within(connector.connect(ServerName::try_from(A).unwrap(), socket)).await?))
}

impl Front {
    /// nginx, with `access` as the rules of [`A`].
    pub(crate) async fn nginx(access: &str) -> Self {
        Self::start(access, |folder, snippet| nginx_in(folder, &snippet(NGINX))).await
    }

    /// nginx as the controller of Kubernetes sets it up for the Ingress of the example: with the lines of its template that
    /// make something of the annotations. A server of another zone stands beside it.
    pub(crate) async fn ingress_nginx(access: &str) -> Self {
        let annotation = |name: &str| {
            let line = INGRESS_NGINX.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("the example has no {name}")).to_owned()
        };
        let [url, sign_in, fields] = ["auth-url", "auth-signin", "auth-response-headers"]
            .map(|name| annotation(&format!("nginx.ingress.kubernetes.io/{name}")));
        let url = url.replace("zonegate.zonegate.svc.cluster.local:9480", "127.0.0.1:9480");
        let sign_in = sign_in.replace("$escaped_request_uri", "$request_uri");
        let taken: String = fields
            .split(',')
            .enumerate()
            .map(|(at, name)| {
                let variable = name.to_ascii_lowercase().replace('-', "_");
                format!(
                    "auth_request_set $authHeader{at} $upstream_http_{variable};\nproxy_set_header '{name}' $authHeader{at};\n"
                )
            })
            .collect();
        let server = |host: &str, public: &str| {
            format!(
                "server {{\nlisten 443 ssl;\nserver_name {host};\nssl_certificate /etc/ssl/desk.example.com.pem;\n\
                 ssl_certificate_key /etc/ssl/desk.example.com.key;\n\
                 location = /_external-auth {{\ninternal;\nproxy_pass_request_body off;\nproxy_set_header Content-Length \"\";\n\
                 proxy_set_header X-Forwarded-Proto \"\";\nproxy_set_header Host zonegate.zonegate.svc.cluster.local;\n\
                 proxy_set_header X-Original-URL $scheme://$http_host$request_uri;\n\
                 proxy_set_header X-Original-Method $request_method;\nproxy_set_header X-Sent-From nginx-ingress-controller;\n\
                 proxy_set_header X-Real-IP $remote_addr;\nproxy_set_header X-Forwarded-For $remote_addr;\n\
                 proxy_set_header X-Auth-Request-Redirect $request_uri;\nset $target {};\nproxy_pass $target;\n}}\n\
                 location @signin {{\nreturn 302 {};\n}}\n{public}\
                 location / {{\nauth_request /_external-auth;\n{taken}error_page 401 = @signin;\n\
                 proxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-For $remote_addr;\n\
                 proxy_set_header X-Real-IP $remote_addr;\nproxy_set_header X-Forwarded-Host $http_host;\n\
                 proxy_set_header X-Forwarded-Proto $scheme;\nproxy_set_header X-Scheme $scheme;\n\
                 proxy_pass http://127.0.0.1:8080;\n}}\n}}\n",
                url.replace("desk.example.com", host),
                sign_in
            )
        };
        let own = "location /.zonegate/ {\nproxy_pass https://127.0.0.1:8443;\nproxy_ssl_server_name on;\n\
                   proxy_ssl_name desk.example.com;\nproxy_set_header Host desk.example.com;\n}\n";
        let servers = server("desk.example.com", own) + &server("b.test", "");
        Self::start(access, |folder, snippet| nginx_in(folder, &snippet(&servers))).await
    }

    /// Caddy, with the same.
    pub(crate) async fn caddy(access: &str) -> Self {
        Self::start(access, |folder, snippet| {
            let text = snippet(CADDY);
            fs::write(folder.join("Caddyfile"), text).unwrap();
            let mut command = Command::new("caddy");
            command.arg("run").arg("--adapter").arg("caddyfile").arg("--config").arg(folder.join("Caddyfile"));
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command
        })
        .await
    }

    /// Traefik, with the same.
    pub(crate) async fn traefik(access: &str) -> Self {
        Self::start(access, |folder, snippet| {
            let certificates = "tls: { certificates: [{ certFile: /etc/ssl/desk.example.com.pem, keyFile: \
                                /etc/ssl/desk.example.com.key }] }";
            let dynamic = folder.join("dynamic.yaml");
            fs::write(&dynamic, snippet(&format!("{TRAEFIK}\n{certificates}\n"))).unwrap();
            let text = format!(
                "entryPoints: {{ websecure: {{ address: '{}' }} }}\nproviders: {{ file: {{ filename: '{}' }} }}\n\
                 global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\n",
                snippet("listen 443 ssl").split(' ').nth(1).unwrap(),
                dynamic.display()
            );
            let fixed = folder.join("traefik.yaml");
            fs::write(&fixed, text).unwrap();
            let mut command = Command::new("traefik");
            command.arg(format!("--configFile={}", fixed.display()));
            command
        })
        .await
    }

    async fn start(access: &str, proxy: impl Fn(&Path, &dyn Fn(&str) -> String) -> Command) -> Self {
        let upstream = Upstream::start().await;
        let (address, asked_at) = (free(), free());
        let wishes = Wishes {
            listen: leak(format!(
                "public_port: {}, forward_auth: '{asked_at}', trusted_proxies: [127.0.0.1]",
                address.port()
            )),
            zone_a: leak(format!("    forward_auth: true\n    access:\n{access}")),
            ..Wishes::default()
        };
        let gateway = Gateway::start_with(upstream.address(), wishes).await;
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (gateway.file("certs/a.pem"), gateway.file("certs/a.key"));
        // The snippet as it is, with the test's host, files and ports in place of the example's.
        let snippet = |text: &str| {
            let replaced = [
                ("/etc/ssl/desk.example.com.pem", certificate.to_str().unwrap().to_owned()),
                ("/etc/ssl/desk.example.com.key", key.to_str().unwrap().to_owned()),
                ("listen 443 ssl", format!("listen {address} ssl")),
                (
                    "\ndesk.example.com {\n",
                    format!(
                        "{{\n\tadmin off\n\tauto_https off\n}}\nhttps://{A}:{} {{\n\tbind 127.0.0.1\n\ttls {} {}\n",
                        address.port(),
                        certificate.display(),
                        key.display()
                    ),
                ),
                ("desk.example.com", A.to_owned()),
                ("127.0.0.1:8443", gateway.https().to_string()),
                ("127.0.0.1:9480", asked_at.to_string()),
                ("127.0.0.1:8080", upstream.address().to_string()),
            ];
            replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        let mut command = proxy(folder.path(), &snippet);
        let log = File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        let program = command.as_std().get_program().to_owned();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program:?}: {error}. ./test installs it"));
        within(async {
            let mut interval = tokio::time::interval(Duration::from_millis(20));
            // One that reads its certificates after it listens ends handshakes until then.
            while connect(&gateway, address).await.is_err() {
                let log = || fs::read_to_string(folder.path().join("log")).unwrap();
                assert!(child.try_wait().unwrap().is_none(), "{program:?} has ended: {}", log());
                interval.tick().await;
            }
        })
        .await;
        Self { gateway, upstream, asked_at, address, folder, _proxy: child }
    }

    /// A browser's connection to the proxy.
    pub(crate) async fn connect(&self) -> Wire {
        connect(&self.gateway, self.address).await.unwrap()
    }

    /// What browsers call the zone.
    pub(crate) fn origin(&self) -> String {
        format!("https://{A}:{}", self.address.port())
    }

    /// What the proxy has said.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log") + &read("error.log")
    }
}
