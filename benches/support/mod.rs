//! What the loopback bench needs: a certificate, an upstream, a bare proxy, a gateway with a session, and load.

pub(crate) mod arguments;
pub(crate) mod bare;
pub(crate) mod crowd;
pub(crate) mod elsewhere;
pub(crate) mod gateway;
pub(crate) mod load;
pub(crate) mod others;
pub(crate) mod provider;
pub(crate) mod upstream;

use std::path::{Path, PathBuf};

/// The host that both proxies answer for.
pub(crate) const HOST: &str = "desk.bench.localhost";

/// A self-signed certificate for [`HOST`], as files and as DER.
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) der: Vec<u8>,
}

pub(crate) fn certificate(directory: &Path) -> Certificate {
    use std::os::unix::fs::PermissionsExt as _;
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
    let (chain, key) = (directory.join("desk.crt"), directory.join("desk.key"));
    std::fs::write(&chain, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a private key file");
    Certificate { chain, key, der: made.cert.der().to_vec() }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}
