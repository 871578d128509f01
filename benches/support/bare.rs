//! The bare proxy: pingora with what any proxy needs and nothing of ours.

use std::net::SocketAddr;
use std::path::Path;

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

use super::{Certificate, free_port};

struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();
    fn new_ctx(&self) {}
    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

pub(crate) fn configure(role: &Path, upstream: SocketAddr, certificate: Option<&Certificate>) {
    let port = free_port();
    let tls =
        certificate.map(|certificate| format!("{}\n{}\n", certificate.chain.display(), certificate.key.display()));
    let lines = format!("{port}\n{upstream}\n{}", tls.unwrap_or_default());
    std::fs::write(role.join("bare.conf"), lines).expect("a file");
}

/// Serves until killed; prints the address first.
pub(crate) fn run(role: &Path) {
    let text = std::fs::read_to_string(role.join("bare.conf")).expect("the parent wrote it");
    let lines = text.lines().collect::<Vec<_>>();
    let [port, upstream, ref tls @ ..] = lines[..] else { panic!("two lines or four") };
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first provider");
    // A runtime of its own for the thread, as zonegate's threads have: pingora's other kind costs it a little more.
    let conf = ServerConf { threads: 1, work_stealing: false, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service =
        http_proxy_service(&server.configuration, Bare { upstream: upstream.parse().expect("an address") });
    let address = format!("127.0.0.1:{port}");
    if let [chain, key] = tls {
        let mut tls = TlsSettings::intermediate(chain, key).expect("a certificate");
        tls.enable_h2();
        service.add_tls_with_settings(&address, None, tls);
    } else {
        service.add_tcp(&address);
    }
    server.add_service(service);
    println!("127.0.0.1:{port}");
    server.run_forever();
}
