//! Other proxies before the same upstream, as their packages install them: TLS 1.3, one worker, kept connections on
//! both sides, no log. None of them knows who asks; `auth_request` asks a server of nginx's own, which says yes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Certificate;

/// A proxy of somebody else's.
#[derive(Clone, Copy)]
pub(crate) struct Other {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    configure: fn(&Files<'_>) -> String,
    arguments: &'static [&'static str],
}

/// What a configuration names.
struct Files<'a> {
    role: &'a Path,
    port: u16,
    upstream: SocketAddr,
    certificate: &'a Certificate,
}

pub(crate) const OTHERS: [Other; 3] = [
    Other { name: "nginx", program: "nginx", configure: nginx, arguments: &["-e", "stderr", "-c"] },
    Other {
        name: "nginx, auth_request",
        program: "nginx",
        configure: nginx_asking,
        arguments: &["-e", "stderr", "-c"],
    },
    Other { name: "HAProxy", program: "haproxy", configure: haproxy, arguments: &["-db", "-q", "-f"] },
];

impl Other {
    /// Writes its configuration; what to start it with, and where it will listen.
    pub(crate) fn prepare(
        &self,
        role: &Path,
        upstream: SocketAddr,
        certificate: &Certificate,
    ) -> (Vec<PathBuf>, SocketAddr) {
        let port = free_port();
        let text = (self.configure)(&Files { role, port, upstream, certificate });
        let config = role.join("proxy.conf");
        std::fs::write(&config, text).expect("a file");
        let arguments = self.arguments.iter().map(PathBuf::from).chain([config]).collect();
        (arguments, ([127, 0, 0, 1], port).into())
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn nginx(files: &Files<'_>) -> String {
    nginx_with(files, "", "")
}

fn nginx_asking(files: &Files<'_>) -> String {
    let authoriser = free_port();
    let servers = format!(
        "upstream authoriser {{ server 127.0.0.1:{authoriser}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{authoriser}; keepalive_requests 1000000000; return 200; }}\n"
    );
    let asks = "location = /authorise { internal; proxy_pass http://authoriser; proxy_pass_request_body off; \
                proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\"; }\n auth_request /authorise;";
    nginx_with(files, &servers, asks)
}

fn nginx_with(Files { role, port, upstream, certificate }: &Files<'_>, servers: &str, asks: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; pid {role}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {role}; proxy_temp_path {role}; fastcgi_temp_path {role};\n\
         uwsgi_temp_path {role}; scgi_temp_path {role}; keepalive_requests 1000000000; proxy_http_version 1.1;\n\
         upstream application {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n{servers}\
         server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.3; ssl_certificate {chain};\n\
         ssl_certificate_key {key}; {asks}\n\
         location / {{ proxy_pass http://application; proxy_set_header Host $http_host; \
         proxy_set_header Connection \"\"; }} }} }}\n",
        role = role.display(),
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    )
}

fn haproxy(Files { role, port, upstream, certificate }: &Files<'_>) -> String {
    let both = [&certificate.chain, &certificate.key].map(|file| std::fs::read(file).expect("a file")).concat();
    let bundle = role.join("bundle.pem");
    std::fs::write(&bundle, both).expect("a file");
    format!(
        "global\n  nbthread 1\n  maxconn 1000\n\
         defaults\n  mode http\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
         frontend doors\n  bind 127.0.0.1:{port} ssl crt {} ssl-min-ver TLSv1.3\n  default_backend application\n\
         backend application\n  server one {upstream}\n",
        bundle.display(),
    )
}
