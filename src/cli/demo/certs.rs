//! The demo's certificates: an authority of its own, and one leaf for each host.
//!
//! The authority stays, because a person may have told their browser to trust it; so it is constrained to names
//! below `localhost` and vouches for nothing else (RFC 5280 section 4.2.1.10). Leaves are made anew at each start:
//! that takes a millisecond and saves asking when one runs out.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};

use crate::base::{Hostname, UnixTime};

/// Seconds in a day.
const DAY: u64 = 86_400;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateProblem {
    /// A file could not be read or written.
    #[error("{path}: {fault}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        fault: io::Error,
    },
    /// A key or certificate could not be made, or the kept key is damaged.
    #[error("certificate for {what}: {fault}")]
    Making {
        /// For whom.
        what: String,
        /// What the library said.
        fault: rcgen::Error,
    },
}

/// The demo's authority.
pub(crate) struct Authority {
    /// Its certificate's file, for those who want to trust it.
    pub file: PathBuf,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with the authority's behind it, and its private key; both in PEM.
pub(crate) struct Leaf {
    /// The certificates.
    pub chain: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new certificate for `host`.
    pub(crate) fn leaf(&self, host: &Hostname, now: UnixTime) -> Result<Leaf, CertificateProblem> {
        let making = |fault| CertificateProblem::Making { what: host.to_string(), fault };
        let pair = KeyPair::generate().map_err(making)?;
        let certificate =
            leaf(host, now).and_then(|params| params.signed_by(&pair, &self.issuer)).map_err(making)?;
        Ok(Leaf { chain: format!("{}{}", certificate.pem(), self.pem), key: pair.serialize_pem() })
    }
}

/// Makes leaves for `hosts` in `folder/certs`, where the gateway looks for certificates, under the authority that is
/// kept in `folder`; makes that too at the first start.
pub(crate) fn prepare(folder: &Path, hosts: &[Hostname], now: UnixTime) -> Result<Authority, CertificateProblem> {
    let making = |what: &str| {
        let what = what.to_owned();
        move |fault| CertificateProblem::Making { what, fault }
    };
    let (ca_file, ca_key) = (folder.join("ca.pem"), folder.join("ca.key"));
    let key = match fs::read_to_string(&ca_key) {
        Ok(pem) => KeyPair::from_pem(&pem).map_err(making("the authority"))?,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate().map_err(making("the authority"))?;
            let certificate = authority(now).and_then(|params| params.self_signed(&key));
            write(&ca_file, &certificate.map_err(making("the authority"))?.pem(), 0o644)?;
            write(&ca_key, &key.serialize_pem(), 0o600)?;
            key
        }
        Err(fault) => return Err(CertificateProblem::File { path: ca_key, fault }),
    };
    let pem =
        fs::read_to_string(&ca_file).map_err(|fault| CertificateProblem::File { path: ca_file.clone(), fault })?;
    let issuer = Issuer::new(authority(now).map_err(making("the authority"))?, key);
    let authority = Authority { file: ca_file, pem, issuer };
    let served = folder.join("certs");
    fs::create_dir_all(&served).map_err(|fault| CertificateProblem::File { path: served.clone(), fault })?;
    for host in hosts {
        let leaf = authority.leaf(host, now)?;
        write(&served.join(format!("{host}.pem")), &leaf.chain, 0o644)?;
        write(&served.join(format!("{host}.key")), &leaf.key, 0o600)?;
    }
    Ok(authority)
}

fn authority(now: UnixTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid(CertificateParams::new(vec![])?, now, 3650 * DAY);
    params.distinguished_name = named("zonegate demo authority (this computer only)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("localhost".into())],
        excluded_subtrees: vec![],
    });
    Ok(params)
}

fn leaf(host: &Hostname, now: UnixTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid(CertificateParams::new(vec![host.to_string()])?, now, 90 * DAY);
    params.distinguished_name = named(host.as_str());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// Valid from the day before `now`: clocks differ.
fn valid(mut params: CertificateParams, now: UnixTime, seconds: u64) -> CertificateParams {
    let day = |at: u64| {
        let stamp = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
        let date = jiff::tz::Offset::UTC.to_datetime(stamp.unwrap_or_default()).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(now.seconds().saturating_sub(DAY));
    params.not_after = day(now.seconds().saturating_add(seconds));
    params
}

/// Writes a whole file or none, with these permissions from its first byte on.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateProblem> {
    let fresh = path.with_extension("new");
    let written = match fs::remove_file(&fresh) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        Ok(()) | Err(_) => {
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh);
            file.and_then(|mut file| file.write_all(text.as_bytes())).and_then(|()| fs::rename(&fresh, path))
        }
    };
    written.map_err(|fault| CertificateProblem::File { path: path.into(), fault })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn hosts() -> Vec<Hostname> {
        ["desk.acme.localhost", "login.localhost"].map(|host| host.parse().unwrap()).to_vec()
    }

    #[test]
    fn a_second_start_keeps_the_authority_and_its_leaves_verify() {
        let folder = tempfile::tempdir().unwrap();
        let now = UnixTime::from_seconds(1_790_000_000);
        let first = prepare(folder.path(), &hosts(), now).unwrap().file;
        let ca = fs::read_to_string(&first).unwrap();
        let second = prepare(folder.path(), &hosts(), now).unwrap().file;
        assert_eq!(ca, fs::read_to_string(&second).unwrap());
        for host in hosts() {
            let chain = fs::read(folder.path().join(format!("certs/{host}.pem"))).unwrap();
            let pems: Vec<_> = x509_parser::pem::Pem::iter_from_buffer(&chain).map(Result::unwrap).collect();
            assert_eq!(pems.len(), 2, "the leaf and the authority");
            let (end, issuer) = (pems[0].parse_x509().unwrap(), pems[1].parse_x509().unwrap());
            assert_eq!(end.issuer(), issuer.subject());
            let names = end.subject_alternative_name().unwrap().unwrap();
            assert_eq!(format!("{}", names.value.general_names[0]), format!("DNSName({host})"));
        }
    }

    #[test]
    fn sec_r91_private_keys_are_readable_by_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path(), &hosts(), UnixTime::from_seconds(1_790_000_000)).unwrap();
        let keys = hosts().into_iter().map(|host| format!("certs/{host}.key")).chain(["ca.key".into()]);
        for key in keys.map(|key| folder.path().join(key)) {
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
        }
    }
}
