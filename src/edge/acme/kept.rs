//! The certificates that we got, as files beside the operator's: what is kept of them, and for how long.
//!
//! The key is written first, so that a pair is there whole or not at all.
//! *Why files, and not the store?* Operators see what is served, back it up and take it along; and a certificate is not
//! worth a second way of loading one.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::AcmeFault;
use crate::base::{Hostname, UnixTime};
use crate::config::{AcmeSettings, MANAGED, PemPair, Place};
use crate::edge::tls::{Validity, validity};

/// As much as a chain and its key will take, generously.
const PROBE_BYTES: usize = 64 * 1024;

/// Makes sure that what comes could be written.
pub(super) fn make_sure_of_room(acme: &AcmeSettings) -> Result<(), AcmeFault> {
    let probe = acme.folder.join("acme-probe");
    // An empty file, or a small one, is made on a full disk as well.
    write(&probe, &" ".repeat(PROBE_BYTES))?;
    let _ = fs::remove_file(&probe);
    Ok(())
}

/// Puts a pair that came at `now` into the folder, under the name of its first host.
pub(super) fn keep(
    acme: &AcmeSettings,
    first: &Hostname,
    now: UnixTime,
    key: &str,
    chain: &str,
) -> Result<(), AcmeFault> {
    let stem = format!("acme-{first}-{:012}", now.seconds());
    write(&acme.folder.join(format!("{stem}.key")), key)?;
    write(&acme.folder.join(format!("{stem}.pem")), chain)
}

/// Every pair of ours in the folder, the oldest first: also those that are not in use yet.
pub(super) fn kept_pairs(acme: &AcmeSettings) -> Vec<PemPair> {
    let Ok(entries) = fs::read_dir(&acme.folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut stems: Vec<_> = names
        .filter(|name| name.starts_with(MANAGED))
        .filter_map(|name| Some(name.strip_suffix(".pem")?.to_owned()))
        .collect();
    stems.sort_unstable();
    let pair = |stem: &String| {
        let (chain_file, key_file) =
            (acme.folder.join(format!("{stem}.pem")), acme.folder.join(format!("{stem}.key")));
        // One without a key is none: the key is written first.
        let (chain, key) = (fs::read(&chain_file).ok()?, fs::read(&key_file).ok()?);
        Some(PemPair { chain_file, key_file, chain, key, place: Place::default(), managed: true })
    };
    stems.iter().filter_map(pair).collect()
}

/// Removes what the newest pair for `host` has replaced. What cannot be removed is only clutter.
///
/// An older one stays while one of `hosts` lives on it: an alias that has become a zone of its own, and whose own order has
/// failed so far, would have no handshake any more.
pub(super) fn forget_older(acme: &AcmeSettings, hosts: &[Hostname], host: &Hostname) {
    let Ok(entries) = fs::read_dir(&acme.folder) else { return };
    let prefix = format!("acme-{host}-");
    let is_ours = |name: &str| name.strip_prefix(&prefix).is_some_and(is_serial);
    let whole = whole(acme);
    // One without a key replaces nothing.
    let Some(at) = whole.iter().rposition(|(name, _)| is_ours(name)) else { return };
    let Some((newest, _)) = whole.get(at) else { return };
    let is_replaced = |name: &str| {
        let name = name.strip_suffix(".key").map_or_else(|| name.to_owned(), |stem| format!("{stem}.pem"));
        match whole.iter().position(|(other, _)| *other == name) {
            Some(place) => place < at && !is_lived_on(&whole, place, hosts),
            None => name < *newest,
        }
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| is_ours(name) && is_replaced(name)) {
        let _ = fs::remove_file(acme.folder.join(name));
    }
}

/// What is kept, by the names of the certificates' files, each before those that are served in its place.
fn whole(acme: &AcmeSettings) -> Vec<(String, Validity)> {
    let named = |pair: &PemPair| Some((pair.chain_file.file_name()?.to_str()?.to_owned(), validity(pair)?));
    let mut whole: Vec<_> = kept_pairs(acme).iter().filter_map(named).collect();
    whole.sort_by_key(|(_, found)| found.from);
    whole
}

/// Whether the one at this place names a host that no newer one covers.
fn is_lived_on(whole: &[(String, Validity)], place: usize, hosts: &[Hostname]) -> bool {
    let Some((_, found)) = whole.get(place) else { return false };
    // They are in the order of their age: behind it stand the newer ones.
    let newer = |host: &Hostname| whole.iter().skip(place + 1).any(|(_, newer)| newer.covers(host.as_str()));
    hosts.iter().any(|host| found.covers(host.as_str()) && !newer(host))
}

/// What follows the host in a file's name: twelve digits and what sort of file it is. A host that ends in a number is
/// another host.
fn is_serial(rest: &str) -> bool {
    let digits = rest.strip_suffix(".pem").or_else(|| rest.strip_suffix(".key"));
    digits.is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), AcmeFault> {
    let mut half = path.as_os_str().to_owned();
    half.push(".new");
    let half = PathBuf::from(half);
    let written = || {
        let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&half)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)
    };
    written().map_err(|error| {
        // Half a file on a full disk would keep it full.
        let _ = fs::remove_file(&half);
        AcmeFault::File(path.to_owned(), error)
    })
}

#[cfg(test)]
mod tests {
    use super::super::is_covered;
    use super::*;

    fn keeping_in(folder: &Path) -> AcmeSettings {
        let directory = "https://ca.example/".into();
        AcmeSettings { directory, contact: None, roots: None, folder: folder.to_owned() }
    }

    #[test]
    fn what_cannot_be_written_whole_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("taken/within")).unwrap();
        assert!(write(&folder.path().join("taken"), "x").is_err(), "a folder is in the way");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_has_come_is_known_by_its_files_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let acme = keeping_in(folder.path());
        let hosts = ["a.example", "alias.a.example"].map(|host| host.parse::<Hostname>().unwrap());
        let made = rcgen::generate_simple_self_signed(hosts.each_ref().map(ToString::to_string).to_vec()).unwrap();
        let now = UnixTime::from_seconds(1_700_000_000);
        let stem = "acme-a.example-001700000000";
        write(&folder.path().join(format!("{stem}.pem")), &made.cert.pem()).unwrap();
        write(&folder.path().join("a.example.pem"), &made.cert.pem()).unwrap();
        assert!(kept_pairs(&acme).is_empty(), "a certificate without a key, and what is the operator's");
        write(&folder.path().join(format!("{stem}.key")), &made.signing_key.serialize_pem()).unwrap();
        let found = kept_pairs(&acme);
        assert!(is_covered(&found, &hosts, now), "{found:?}");
        let other = ["a.example", "b.example"].map(|host| host.parse::<Hostname>().unwrap());
        assert!(!is_covered(&found, &other, now), "another alias has come");
    }

    /// Puts a pair for these hosts there, valid from this year on.
    fn put(folder: &Path, stem: &str, hosts: &[&str], year: i32) {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        write(&folder.join(format!("{stem}.key")), &key.serialize_pem()).unwrap();
        write(&folder.join(format!("{stem}.pem")), &params.self_signed(&key).unwrap().pem()).unwrap();
    }

    fn left(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn of_several_only_the_newest_stays_and_nothing_of_others_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let acme = keeping_in(folder.path());
        let others = [
            "acme-a.example-2.org-000000000001.pem",
            "acme-a.example.org-000000000001.pem",
            "a.example.pem",
            "acme-account.json",
        ];
        for name in others {
            write(&folder.path().join(name), "x").unwrap();
        }
        for (at, year) in [(1, 2001), (2, 2002), (10, 2010)] {
            put(folder.path(), &format!("acme-a.example-{at:012}"), &["a.example"], year);
        }
        // Halves: one that was on its way when the process ended, and one that may be.
        write(&folder.path().join("acme-a.example-000000000003.key"), "x").unwrap();
        write(&folder.path().join("acme-a.example-000000000011.key"), "x").unwrap();
        let host: Hostname = "a.example".parse().unwrap();
        forget_older(&acme, std::slice::from_ref(&host), &host);
        let ours = ["000000000010.key", "000000000010.pem", "000000000011.key"]
            .map(|end| format!("acme-a.example-{end}"));
        let mut names: Vec<String> = others.map(str::to_owned).into_iter().chain(ours).collect();
        names.sort_unstable();
        assert_eq!(left(folder.path()), names);
    }

    #[test]
    fn a_pair_stays_while_a_host_lives_on_it_that_no_newer_one_covers() {
        let folder = tempfile::tempdir().unwrap();
        let acme = keeping_in(folder.path());
        let hosts = ["a.example", "b.example"].map(|host| host.parse::<Hostname>().unwrap());
        let [zone, split_off] = &hosts;
        put(folder.path(), "acme-a.example-000000000001", &["a.example", "b.example"], 2001);
        put(folder.path(), "acme-a.example-000000000002", &["a.example"], 2002);
        forget_older(&acme, &hosts, zone);
        assert_eq!(left(folder.path()).len(), 4, "b.example has no other");
        // Half of one is none.
        write(&folder.path().join("acme-b.example-000000000003.pem"), "x").unwrap();
        forget_older(&acme, &hosts, zone);
        assert_eq!(left(folder.path()).len(), 5);
        put(folder.path(), "acme-b.example-000000000003", &["b.example"], 2003);
        forget_older(&acme, &hosts, split_off);
        assert_eq!(left(folder.path()).len(), 6, "what another host is called by is not looked at");
        forget_older(&acme, &hosts, zone);
        let want = ["acme-a.example-000000000002", "acme-b.example-000000000003"];
        assert_eq!(left(folder.path()), want.map(|stem| [format!("{stem}.key"), format!("{stem}.pem")]).concat());

        // Nor does anybody live on what a host needs that is not ours any more.
        put(folder.path(), "acme-a.example-000000000001", &["a.example", "gone.example"], 2001);
        forget_older(&acme, &hosts, zone);
        assert_eq!(left(folder.path()).len(), 4);
    }
}
