//! `zonegate check`: everything that is wrong with the configuration and its certificates, at once.

use std::collections::HashSet;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::base::{Hostname, UnixTime};
use crate::config::{PemPair, Problem, Problems, Settings};
use crate::machine::Clock;

use super::operator::Configuration;
use super::{CommandProblem, say};

/// Certificates that end sooner than this are worth a word.
const SOON_SECONDS: u64 = 14 * 86_400;

pub(super) fn run(configuration: &Configuration) -> Result<(), CommandProblem> {
    let settings = configuration.load()?;
    let now = Clock::new().now();
    certificates(&settings, &configuration.name(), now)?;
    let zones = settings.zones.zones().len();
    let plural = if zones == 1 { "zone" } else { "zones" };
    say(format_args!(
        "{}: good. {zones} {plural}, {} certificates.",
        configuration.name(),
        settings.certificates.len()
    ))?;
    for pair in &settings.certificates {
        if let Ok(leaf) = Leaf::read(pair)
            && leaf.not_after <= now.seconds() + SOON_SECONDS
        {
            say(format_args!(
                "{} ends on {}.",
                pair.chain_file.display(),
                UnixTime::from_seconds(leaf.not_after)
            ))?;
        }
    }
    Ok(())
}

/// Whether every certificate can be served and every host has one.
pub(super) fn certificates(settings: &Settings, file: &str, now: UnixTime) -> Result<(), Problems> {
    let mut list = Vec::new();
    let mut report = |text: String| list.push(Problem { line: 0, key: "certificates".into(), text });
    let mut covered = Vec::new();
    for pair in &settings.certificates {
        match Leaf::read(pair) {
            Ok(leaf) => {
                let chain = pair.chain_file.display();
                if leaf.not_after <= now.seconds() {
                    report(format!("{chain} ended on {}: renew it", UnixTime::from_seconds(leaf.not_after)));
                } else if leaf.not_before > now.seconds() {
                    let from = UnixTime::from_seconds(leaf.not_before);
                    report(format!("{chain} begins on {from}: is this computer's clock right?"));
                }
                covered.extend(leaf.names);
            }
            Err(text) => report(text),
        }
    }
    let hosts: HashSet<_> = settings.zones.hosts().collect();
    let mut bare: Vec<_> =
        hosts.into_iter().filter(|host| !covered.iter().any(|name| covers(name, host))).collect();
    bare.sort();
    for host in bare {
        report(format!(
            "cover no host {host}: give a certificate for it, or for the names one level below its domain"
        ));
    }
    if list.is_empty() { Ok(()) } else { Err(Problems { file: file.into(), list }) }
}

/// What a certificate says that matters here.
struct Leaf {
    names: Vec<String>,
    not_before: u64,
    not_after: u64,
}

impl Leaf {
    fn read(pair: &PemPair) -> Result<Self, String> {
        let (chain_file, key_file) = (pair.chain_file.display(), pair.key_file.display());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pair.chain).collect();
        let chain = chain.map_err(|fault| format!("{chain_file} is not PEM: {fault}"))?;
        let first = chain.first().ok_or_else(|| format!("{chain_file} holds no certificate in PEM form"))?.clone();
        let key = PrivateKeyDer::from_pem_slice(&pair.key)
            .map_err(|fault| format!("{key_file} holds no private key in PEM form: {fault}"))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|fault| format!("{key_file} holds a key that cannot be used: {fault}"))?;
        CertifiedKey::new(chain, key).keys_match().map_err(|_| {
            format!("{key_file} is not the key of {chain_file}: give the pair that belongs together")
        })?;
        let (_, leaf) =
            X509Certificate::from_der(&first).map_err(|fault| format!("{chain_file} cannot be read: {fault}"))?;
        let names = leaf.subject_alternative_name().ok().flatten();
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        let dns = names.iter().filter_map(|name| {
            if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
        });
        let seconds = |at: i64| u64::try_from(at).unwrap_or_default();
        Ok(Self {
            names: dns.collect(),
            not_before: seconds(leaf.validity().not_before.timestamp()),
            not_after: seconds(leaf.validity().not_after.timestamp()),
        })
    }
}

/// Whether a certificate's name stands for `host`: itself, or `*` for exactly one label (RFC 9525 section 6.3).
fn covers(name: &str, host: &Hostname) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.as_str().split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => host.as_str() == name,
    }
}
