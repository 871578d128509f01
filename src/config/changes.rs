//! What differs between two snapshots: what an operator is told of a reload, and what a reload cannot do.
//!
//! Everything is taken apart by name, so that a setting which is new here does not compile until somebody has decided
//! what a reload does with it.

use std::fmt;

use super::listen::Listeners;
use super::settings::Settings;
use crate::base::Hostname;
use crate::zone::ZoneTable;

/// What differs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Keys that a running process cannot take over. With any of them nothing is taken over.
    pub needs_restart: Vec<&'static str>,
    /// Zones that are new.
    pub zones_added: Vec<Hostname>,
    /// Zones that are no longer served.
    pub zones_removed: Vec<Hostname>,
    /// Zones of which something is different.
    pub zones_changed: Vec<Hostname>,
    /// Sections of the file, beside the zones, in which something is different.
    pub sections: Vec<&'static str>,
}

impl Changes {
    /// What there is in `new` that was not so in `old`.
    pub fn between(old: &Settings, new: &Settings) -> Self {
        let Settings {
            listeners,
            public_port,
            zones,
            name_servers,
            certificates,
            acme,
            store_path,
            master_key,
            security,
            hashing,
            limits,
            assertion,
            native_clients,
            brand,
            log,
            sso,
            suite,
            traces,
            watch,
            threads,
        } = new;
        let Listeners {
            https,
            http,
            behind_tls,
            admin,
            status,
            forward_auth,
            proxy_protocol_from,
            trusted_proxies,
            client_address,
            tls_min,
        } = listeners;
        let trust = (proxy_protocol_from, trusted_proxies, client_address, tls_min);
        let was = &old.listeners;
        let old_trust = (&was.proxy_protocol_from, &was.trusted_proxies, &was.client_address, &was.tls_min);
        let needs_restart = [
            ("listen.https", *https != was.https),
            ("listen.http", *http != was.http),
            ("listen.behind_tls", *behind_tls != was.behind_tls),
            ("listen.admin", *admin != was.admin),
            ("listen.status", *status != was.status),
            ("listen.forward_auth", *forward_auth != was.forward_auth),
            ("listen.public_port", *public_port != old.public_port),
            ("store.path", *store_path != old.store_path),
            ("master_key", !master_key.is(&old.master_key)),
            ("traces.otlp", traces.otlp != old.traces.otlp),
            ("threads", *threads != old.threads),
        ];
        let pem = |pair: &super::PemPair| (pair.chain.clone(), pair.key.clone());
        let (pems, old_pems) = (certificates.iter().map(pem), old.certificates.iter().map(pem));
        let sections = [
            ("listen", trust != old_trust),
            ("name_servers", *name_servers != old.name_servers),
            ("universal_host", zones.universal() != old.zones.universal()),
            ("certificates", !pems.eq(old_pems)),
            ("acme", *acme != old.acme),
            ("security", *security != old.security),
            ("hashing", *hashing != old.hashing),
            ("limits", *limits != old.limits),
            ("assertion", *assertion != old.assertion),
            ("native_clients", *native_clients != old.native_clients),
            ("brand", *brand != old.brand),
            ("log", *log != old.log),
            ("sso", *sso != old.sso),
            ("suite", *suite != old.suite),
            ("traces", *traces != old.traces),
            ("reload", *watch != old.watch),
        ];
        Self {
            needs_restart: differing(needs_restart),
            zones_added: only_in(zones, &old.zones),
            zones_removed: only_in(&old.zones, zones),
            zones_changed: changed(&old.zones, zones),
            sections: differing(sections),
        }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn differing<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn only_in(these: &ZoneTable, those: &ZoneTable) -> Vec<Hostname> {
    let hosts = these.zones().iter().map(|zone| &zone.host);
    hosts.filter(|host| those.zone(host).is_none()).cloned().collect()
}

fn changed(old: &ZoneTable, new: &ZoneTable) -> Vec<Hostname> {
    let differs = |host: &Hostname| old.zone(host).is_some_and(|was| new.zone(host).is_some_and(|is| is != was));
    new.zones().iter().map(|zone| &zone.host).filter(|host| differs(host)).cloned().collect()
}

/// One line for each sort of change.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("Nothing differs from what was in use.");
        }
        let lines = [
            ("Zones added", list(&self.zones_added)),
            ("Zones removed, their sessions ended", list(&self.zones_removed)),
            ("Zones changed", list(&self.zones_changed)),
            ("Changed elsewhere", list(&self.sections)),
        ];
        let lines = lines.into_iter().filter(|(_, names)| !names.is_empty());
        let lines: Vec<_> = lines.map(|(what, names)| format!("{what}: {names}.")).collect();
        f.write_str(&lines.join("\n"))
    }
}

fn list(names: &[impl fmt::Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
