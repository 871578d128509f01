//! Other proxies before the same upstream, as their packages install them: TLS 1.3 or none, one worker, kept connections
//! on both sides, no log.
//!
//! nginx and HAProxy do not know who asks: `auth_request` asks a server that says yes, one of nginx's own or one in Go.
//! Apache with mod_auth_openidc and oauth2-proxy hold a session that began at an OpenID provider ([`super::provider`]),
//! in shared memory, in the cookie itself or in Redis. What an authoriser or Redis takes is counted with the proxy.

use std::path::Path;
use std::process::Command;

use std::net::SocketAddr;

use super::provider::{CLIENT, Provider, SECRET};
use super::{Certificate, HOST, free_port};

/// A proxy of somebody else's.
#[derive(Clone, Copy)]
pub(crate) struct Other {
    pub(crate) name: &'static str,
    /// Programs that must be installed.
    needs: &'static [&'static str],
    prepare: fn(&Files<'_>) -> Vec<Start>,
    /// Whether it forwards nothing without a session.
    pub(crate) wants_log_in: bool,
}

/// What a configuration names.
struct Files<'a> {
    role: &'a Path,
    port: u16,
    upstream: SocketAddr,
    /// None for plain HTTP.
    certificate: Option<&'a Certificate>,
    provider: &'a Provider,
}

impl Files<'_> {
    /// The scheme by which it is reached.
    const fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }
}

/// A program to start.
pub(crate) struct Start {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

impl Start {
    fn new(program: &str, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }
}

pub(crate) const OTHERS: [Other; 9] = [
    Other { name: "nginx", needs: &["nginx"], prepare: |files| vec![nginx(files, "", "")], wants_log_in: false },
    Other {
        name: "nginx, auth_request to nginx",
        needs: &["nginx"],
        prepare: nginx_asking_itself,
        wants_log_in: false,
    },
    Other {
        name: "nginx, auth_request to Go",
        needs: &["nginx", "go"],
        prepare: nginx_asking_go,
        wants_log_in: false,
    },
    Other { name: "HAProxy", needs: &["haproxy"], prepare: |files| vec![haproxy(files)], wants_log_in: false },
    Other {
        name: "Apache, OpenID, shared memory",
        needs: &["apache2"],
        prepare: |files| vec![apache(files, "OIDCCacheType shm\n OIDCSessionType server-cache")],
        wants_log_in: true,
    },
    Other {
        name: "Apache, OpenID, cookie",
        needs: &["apache2"],
        prepare: |files| vec![apache(files, "OIDCSessionType client-cookie")],
        wants_log_in: true,
    },
    Other {
        name: "Apache, OpenID, Redis",
        needs: &["apache2", "redis-server"],
        prepare: |files| {
            let (redis, address) = redis();
            vec![redis, apache(files, &format!("OIDCCacheType redis\n OIDCRedisCacheServer {address}"))]
        },
        wants_log_in: true,
    },
    Other {
        name: "oauth2-proxy, cookie",
        needs: &["oauth2-proxy"],
        prepare: |files| vec![oauth2_proxy(files, &[])],
        wants_log_in: true,
    },
    Other {
        name: "oauth2-proxy, Redis",
        needs: &["oauth2-proxy", "redis-server"],
        prepare: |files| {
            let (redis, address) = redis();
            let store = format!("--redis-connection-url=redis://{address}");
            vec![redis, oauth2_proxy(files, &["--session-store-type=redis", &store])]
        },
        wants_log_in: true,
    },
];

impl Other {
    pub(crate) fn is_installed(&self) -> bool {
        let found =
            |program| Command::new("which").arg(program).output().is_ok_and(|found| found.status.success());
        self.needs.iter().all(found)
    }

    /// Writes its configuration; what to start, the proxy last, and where that will listen.
    pub(crate) fn prepare(
        &self,
        role: &Path,
        upstream: SocketAddr,
        certificate: Option<&Certificate>,
        provider: &Provider,
    ) -> (Vec<Start>, SocketAddr) {
        let port = free_port();
        let start = (self.prepare)(&Files { role, port, upstream, certificate, provider });
        (start, ([127, 0, 0, 1], port).into())
    }
}

fn nginx_asking_itself(files: &Files<'_>) -> Vec<Start> {
    let authoriser = free_port();
    let server = format!(
        "server {{ listen 127.0.0.1:{authoriser}; keepalive_requests 1000000000; return 200; }}\n{}",
        asked(authoriser)
    );
    vec![nginx(files, &server, ASKS)]
}

fn nginx_asking_go(files: &Files<'_>) -> Vec<Start> {
    let authoriser = free_port();
    let (source, built) = (files.role.join("authoriser.go"), files.role.join("authoriser"));
    std::fs::write(&source, include_str!("authoriser.go")).expect("a file");
    let status = Command::new("go").args(["build", "-o"]).arg(&built).arg(&source).status().expect("go");
    assert!(status.success(), "the authoriser was not built: {status}");
    let start = Start::new(&built.display().to_string(), [format!("127.0.0.1:{authoriser}")]);
    vec![start, nginx(files, &asked(authoriser), ASKS)]
}

/// Where nginx finds who may go on.
fn asked(port: u16) -> String {
    format!("upstream authoriser {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}\n")
}

const ASKS: &str = "location = /authorise { internal; proxy_pass http://authoriser; proxy_pass_request_body off; \
     proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\"; }\n auth_request /authorise;";

fn nginx(files: &Files<'_>, servers: &str, asks: &str) -> Start {
    let Files { role, port, upstream, certificate, .. } = files;
    let tls = certificate.map(|Certificate { chain, key, .. }| {
        let (chain, key) = (chain.display(), key.display());
        format!(" ssl; ssl_protocols TLSv1.3; ssl_certificate {chain};\n ssl_certificate_key {key}")
    });
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {role}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {role}; proxy_temp_path {role}; fastcgi_temp_path {role};\n\
         uwsgi_temp_path {role}; scgi_temp_path {role}; keepalive_requests 1000000000; proxy_http_version 1.1;\n\
         upstream application {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n{servers}\
         server {{ listen 127.0.0.1:{port}{tls}; {asks}\n\
         location / {{ proxy_pass http://application; proxy_set_header Host $http_host; \
         proxy_set_header Connection \"\"; }} }} }}\n",
        role = role.display(),
        tls = tls.unwrap_or_default(),
    );
    Start::new("nginx", ["-e", "stderr", "-c", &written(files, &text)])
}

fn haproxy(files: &Files<'_>) -> Start {
    let Files { role, port, upstream, certificate, .. } = files;
    let tls = certificate.map(|Certificate { chain, key, .. }| {
        let both = [chain, key].map(|file| std::fs::read(file).expect("a file")).concat();
        let bundle = role.join("bundle.pem");
        std::fs::write(&bundle, both).expect("a file");
        format!(" ssl crt {} ssl-min-ver TLSv1.3", bundle.display())
    });
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1000\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
         frontend doors\n  bind 127.0.0.1:{port}{}\n  default_backend application\n\
         backend application\n  server one {upstream}\n",
        tls.unwrap_or_default(),
    );
    Start::new("haproxy", ["-db", "-q", "-f", &written(files, &text)])
}

/// In one process (`-X`), which has a thread for each connection.
fn apache(files: &Files<'_>, sessions: &str) -> Start {
    const MODULES: [&str; 9] = [
        "mpm_event",
        "authn_core",
        "authz_core",
        "authz_user",
        "auth_openidc",
        "socache_shmcb",
        "ssl",
        "proxy",
        "proxy_http",
    ];
    let Files { role, port, upstream, certificate, provider } = files;
    let scheme = files.scheme();
    let tls = certificate.map(|Certificate { chain, key, .. }| {
        let (chain, key) = (chain.display(), key.display());
        format!("SSLEngine on\nSSLProtocol TLSv1.3\nSSLCertificateFile {chain}\nSSLCertificateKeyFile {key}\n")
    });
    let module = |name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let text = format!(
        "{modules}ServerName {HOST}\nServerRoot {role}\nDefaultRuntimeDir {role}\nPidFile {role}/pid\n\
         ErrorLog {role}/error\nLogLevel warn\nUser www-data\nGroup www-data\nListen 127.0.0.1:{port}\n\
         StartServers 1\nServerLimit 1\nThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 64\n\
         KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n\
         {tls}OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration\nOIDCClientID {CLIENT}\n\
         OIDCClientSecret {SECRET}\nOIDCCryptoPassphrase {SECRET}\nOIDCScope \"openid email profile\"\n\
         OIDCRedirectURI {scheme}://{HOST}:{port}/callback\n {sessions}\n\
         <Location />\nAuthType openid-connect\nRequire valid-user\n</Location>\nProxyPass / http://{upstream}/\n",
        modules = MODULES.map(module).concat(),
        role = role.display(),
        tls = tls.unwrap_or_default(),
        issuer = provider.issuer,
    );
    Start::new("apache2", ["-X", "-f", &written(files, &text)])
}

fn oauth2_proxy(files: &Files<'_>, sessions: &[&str]) -> Start {
    let Files { port, upstream, certificate, provider, .. } = files;
    let address = format!("127.0.0.1:{port}");
    let listens = match certificate {
        None => {
            vec![format!("--http-address={address}"), "--https-address=".into(), "--cookie-secure=false".into()]
        }
        Some(Certificate { chain, key, .. }) => vec![
            "--http-address=".into(),
            format!("--https-address={address}"),
            format!("--tls-cert-file={}", chain.display()),
            format!("--tls-key-file={}", key.display()),
        ],
    };
    let arguments = [
        "--provider=oidc".to_owned(),
        format!("--oidc-issuer-url={}", provider.issuer),
        format!("--client-id={CLIENT}"),
        format!("--client-secret={SECRET}"),
        "--cookie-secret=0123456789abcdef0123456789abcdef".to_owned(),
        "--email-domain=*".to_owned(),
        "--skip-provider-button".to_owned(),
        format!("--redirect-url={}://{HOST}:{port}/oauth2/callback", files.scheme()),
        format!("--upstream=http://{upstream}"),
        "--request-logging=false".to_owned(),
        "--auth-logging=false".to_owned(),
    ];
    Start::new(
        "oauth2-proxy",
        arguments.into_iter().chain(listens).chain(sessions.iter().map(|&one| one.to_owned())),
    )
}

/// A Redis that keeps nothing on disk, and its address.
fn redis() -> (Start, String) {
    let port = free_port().to_string();
    let start =
        Start::new("redis-server", ["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
    (start, format!("127.0.0.1:{port}"))
}

/// Where the configuration now lies.
fn written(files: &Files<'_>, text: &str) -> String {
    let config = files.role.join("proxy.conf");
    std::fs::write(&config, text).expect("a file");
    config.display().to_string()
}
