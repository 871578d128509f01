//! Taking over a changed configuration while requests go on: the whole of it, or none and the reason.
//!
//! Everything that can go wrong goes wrong before the first thing that a request sees changes: reading, certificates, hashing, a new
//! signing key, and at last the ending of sessions whose zone is gone, which is committed to the store. What follows
//! are swaps of pointers. Requests that are under way end with the generation that they began with.
//!
//! *What if the process dies in the middle?* Then what is in the store is what counts: sessions of a removed zone have
//! ended or not, and the next start ends them before it listens.
//!
//! *Why are the files looked at every two seconds, and not watched by inotify?* A watch is on what a name meant when it
//! was set up. Certbot's `live/` links into `archive/`, Kubernetes swaps a link to a folder, editors rename, and a file
//! that was missing has to be waited for: each wants watches on every folder along the way, set up again after each
//! change, and network file systems tell of nothing. Asking what the names mean now costs a system call a file, needs no
//! library, and sees what reading would see.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::signal::unix::Signal;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;

use super::access_log::{Opened, Redirect};
use super::acme::Reloads;
use super::generation::{Generation, InUse};
use super::handover::Handover;
use super::tls::{CertificateProblem, Certificates};
use super::upstream::Peers;
use crate::config::{Changes, LogLevel, PemPair, Settings};
use crate::portal::{Control, Portal, Unchanged};

/// How often files are looked at; they must have stood still for as long before they are read.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where the configuration comes from, and what of it lies outside of the gateway.
pub trait Source: Send + Sync {
    /// Reads it anew. Everything that is wrong with it is the error, a line each. Blocks.
    fn read(&self) -> Result<Settings, String>;
    /// What the files that were read last look like by now; `None` while they look as they did then. Blocks.
    fn changed(&self) -> Option<u64>;
    /// Says so much from here on.
    fn set_log_level(&self, level: LogLevel);
}

/// Reloads, one at a time.
pub(super) struct Reloader {
    pub(super) in_use: InUse,
    pub(super) certificates: Arc<Certificates>,
    pub(super) redirect: Redirect,
    pub(super) source: Option<Arc<dyn Source>>,
    pub(super) turn: Mutex<()>,
    /// Held while an upgrade is tried.
    pub(super) upgrade: Mutex<()>,
    pub(super) handover: Arc<Handover>,
    /// Tells whoever gets certificates.
    pub(super) reloads: Arc<Reloads>,
}

/// What made us read the configuration again: the log's word for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trigger {
    Signal,
    File,
    Command,
    Certificates,
}

impl Trigger {
    const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::File => "file",
            Self::Command => "command",
            Self::Certificates => "certificates",
        }
    }
}

/// What was taken over.
struct Applied {
    generation: u64,
    changes: Changes,
    certificates: Vec<String>,
}

impl Reloader {
    /// Takes over certificates that we have got, `kept` among them: with the whole configuration, or, where that is refused,
    /// alone, under the one in use. Errors when it was refused: the old certificate must not run out meanwhile.
    pub(super) async fn take_certificates(
        self: Arc<Self>,
        kept: impl FnOnce() -> Vec<PemPair>,
    ) -> Result<String, Unchanged> {
        let outcome = Arc::clone(&self).reload(Trigger::Certificates).await;
        if outcome.is_err() {
            self.take_certificates_alone(kept()).await;
        }
        outcome
    }

    async fn take_certificates_alone(&self, kept: Vec<PemPair>) {
        let _turn = self.turn.lock().await;
        if self.handover.turn.is_over() {
            return;
        }
        let generation = self.in_use.load_full();
        let (settings, portal) = (&generation.settings, &generation.portal);
        let own = settings.certificates.iter().filter(|pair| !pair.managed).cloned();
        let pairs: Vec<_> = kept.into_iter().chain(own).collect();
        match self.certificates.prepare(settings, &pairs, portal.clock.now()) {
            Ok(prepared) => {
                let certificates = self.certificates.adopt(prepared).join("; ");
                portal.metrics.certificates(self.certificates.until());
                tracing::info!(certificates, "certificates are in use, under the configuration of before");
            }
            Err(problems) => {
                let problems = lines(&problems);
                tracing::error!(problems, "certificates that were issued are not in use");
            }
        }
    }

    /// Reloads whenever the process is told to.
    pub(super) async fn on_signal(self: Arc<Self>, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            // The outcome is in the log.
            let _ = Arc::clone(&self).reload(Trigger::Signal).await;
        }
    }

    /// Opens the access log anew whenever the process is told to: its file was renamed, to make room for a new one.
    pub(super) async fn on_rotation(self: Arc<Self>, mut rotated: Signal) {
        while rotated.recv().await.is_some() {
            // A reload beside it may name another file, and the one that was opened last would win.
            let _turn = self.turn.lock().await;
            let settings = Arc::clone(&self.in_use.load().settings);
            match open_log(settings).await {
                Ok(opened) => self.redirect.turn_to(opened),
                Err(problem) => tracing::error!(%problem, "the access log goes on where it was"),
            }
        }
    }

    /// Hands over to a new process whenever the process is told to.
    pub(super) async fn on_upgrade(self: Arc<Self>, mut signal: Signal) {
        while signal.recv().await.is_some() {
            // The outcome is in the log.
            let _ = Arc::clone(&self).hand_over().await;
        }
    }

    /// Starts the program anew and lets it take over. A task of its own, like a reload, and never beside one.
    async fn hand_over(self: Arc<Self>) -> Result<String, Unchanged> {
        if self.source.is_none() {
            return Err(Unchanged::Wrong(
                "this gateway was not started with `zonegate serve`: start it anew".into(),
            ));
        }
        let done = tokio::spawn(async move {
            let Ok(_upgrade) = self.upgrade.try_lock() else {
                // One that waited for its turn would try once more what has just failed, while everybody who would log in
                // waits, or be told of a success by a process that ends before it has said so.
                tracing::warn!("an upgrade was asked for while one is under way");
                return Err(Unchanged::Wrong("nothing has changed: an upgrade is under way already".into()));
            };
            let _turn = self.turn.lock().await;
            let outcome = self.handover.hand_over().await;
            if let Err(Unchanged::Wrong(why) | Unchanged::Failed(why)) = &outcome {
                tracing::error!(why, "no other process has taken over");
            }
            outcome
        });
        done.await.unwrap_or_else(|_| Err(Unchanged::Failed("interrupted: the gateway is stopping".into())))
    }

    /// Reloads when files have changed and have stood still since the last look: one that is half written is not read.
    /// A configuration that was refused is not tried again until something changes once more.
    pub(super) async fn on_change(self: Arc<Self>, source: Arc<dyn Source>) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            interval.tick().await;
            if self.handover.turn.is_over() {
                // The process that has taken over looks for itself.
                return;
            }
            if !self.in_use.load().settings.watch {
                last = None;
                continue;
            }
            let looking = Arc::clone(&source);
            // A look that panicked has seen nothing.
            let now = tokio::task::spawn_blocking(move || looking.changed()).await.unwrap_or_default();
            if now.is_some() && now == last {
                let _ = Arc::clone(&self).reload(Trigger::File).await;
            }
            last = now;
        }
    }

    /// Reads the configuration and takes it over, or says everything that is wrong with it.
    ///
    /// A task of its own: whoever asked may hang up, and half a reload must not be what is left.
    async fn reload(self: Arc<Self>, trigger: Trigger) -> Result<String, Unchanged> {
        let done = tokio::spawn(async move {
            let _turn = self.turn.lock().await;
            let outcome = self.take_over().await;
            let portal = Arc::clone(&self.in_use.load().portal);
            portal.metrics.reload(outcome.is_ok());
            tell(trigger, &outcome);
            if outcome.is_ok() {
                self.reloads.tell(trigger != Trigger::Certificates);
            }
            outcome.map(|applied| applied.to_string())
        });
        done.await.unwrap_or_else(|_| Err(Unchanged::Failed("interrupted: the gateway is stopping".into())))
    }

    async fn take_over(&self) -> Result<Applied, Unchanged> {
        let Some(source) = &self.source else {
            return Err(Unchanged::Wrong("this gateway was started without a configuration file".into()));
        };
        if self.handover.turn.is_over() {
            return Err(Unchanged::Wrong("another process has taken over: ask that one".into()));
        }
        let reading = Arc::clone(source);
        let read = tokio::task::spawn_blocking(move || reading.read()).await;
        let settings = Arc::new(read.map_err(failed)?.map_err(Unchanged::Wrong)?);
        let before = self.in_use.load_full();
        let changes = Changes::between(&before.settings, &settings);
        if !changes.needs_restart.is_empty() {
            return Err(Unchanged::Wrong(fixed(&changes)));
        }
        let Portal { verifier, sessions, keys, clock, .. } = &*before.portal;
        let now = clock.now();
        let certificates = self.certificates.prepare(&settings, &settings.certificates, now);
        let certificates = certificates.map_err(|list| Unchanged::Wrong(lines(&list)))?;
        let (portal, wanted) = (Arc::clone(&before.portal), Arc::clone(&settings));
        // May compute a password hash.
        let portal = tokio::task::spawn_blocking(move || portal.under(wanted)).await;
        let portal = portal.map_err(failed)?.map_err(failed)?;
        let log = open_log(Arc::clone(&settings)).await.map_err(Unchanged::Wrong)?;
        keys.prepare(settings.assertion, now).await.map_err(failed)?;
        verifier.resize(settings.hashing).map_err(failed)?;
        let peers = Peers::start(&settings, portal.metrics.upstreams(), Some(&before.peers)).await;
        if let Err(fault) = sessions.confine(&settings.zones, now).await {
            if let Err(fault) = verifier.resize(before.settings.hashing) {
                tracing::error!(%fault, "there are not as many hashing threads as before");
            }
            return Err(failed(fault));
        }
        // From here on nothing can fail.
        let certificates = self.certificates.adopt(certificates);
        portal.metrics.certificates(self.certificates.until());
        keys.adopt(settings.assertion);
        source.set_log_level(settings.log.level);
        self.redirect.turn_to(log);
        let generation = before.number.saturating_add(1);
        let after = Arc::new(Generation::new(generation, portal, peers));
        self.in_use.store(Arc::clone(&after));
        before.peers.retire();
        after.peers.forget_checks();
        Ok(Applied { generation, changes, certificates })
    }
}

/// What the access log is written into, opened now. Errors with what would be right.
async fn open_log(settings: Arc<Settings>) -> Result<Opened, String> {
    let file = settings.log.access_file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let opened = tokio::task::spawn_blocking(move || Opened::of(&settings.log)).await;
    opened.map_err(|fault| fault.to_string())?.map_err(|error| {
        format!(
            "log.access_file {file} cannot be written: {error}. Make its folder writable, or name another file"
        )
    })
}

fn failed(fault: impl std::fmt::Display) -> Unchanged {
    Unchanged::Failed(fault.to_string())
}

fn fixed(changes: &Changes) -> String {
    let line = |key: &&str| match *key {
        // A restart would refuse it as well.
        "master_key" => {
            "master_key is not what zonegate was started with, and the store cannot be read with another: \
                         take the change back"
                .to_owned()
        }
        key => format!(
            "{key} is not what zonegate was started with, and cannot change while it runs: restart it, or take the \
             change back"
        ),
    };
    changes.needs_restart.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn lines(problems: &[CertificateProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { generation, changes, certificates } = self;
        write!(f, "Configuration {generation} is in use.\n{changes}")?;
        certificates.iter().try_for_each(|certificate| write!(f, "\nCertificate for {certificate}."))
    }
}

/// One line, whatever the outcome.
fn tell(trigger: Trigger, outcome: &Result<Applied, Unchanged>) {
    let trigger = trigger.name();
    match outcome {
        Ok(Applied { generation, changes, certificates }) => {
            let hosts = |hosts: &[crate::base::Hostname]| {
                (!hosts.is_empty()).then(|| hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            };
            tracing::info!(
                trigger,
                generation,
                zones_added = hosts(&changes.zones_added),
                zones_removed = hosts(&changes.zones_removed),
                zones_changed = hosts(&changes.zones_changed),
                sections = (!changes.sections.is_empty()).then(|| changes.sections.join(", ")),
                certificates = (!certificates.is_empty()).then(|| certificates.join("; ")),
                "the configuration is in use"
            );
        }
        Err(Unchanged::Wrong(problems) | Unchanged::Failed(problems)) => {
            tracing::error!(trigger, problems, "the configuration was refused; the one before stays in use");
        }
    }
}

#[async_trait]
impl Control for Reloader {
    fn portal(&self) -> Arc<Portal> {
        Arc::clone(&self.in_use.load().portal)
    }

    fn is_stopping(&self) -> bool {
        self.handover.is_stopping()
    }

    async fn reload(self: Arc<Self>) -> Result<String, Unchanged> {
        Self::reload(self, Trigger::Command).await
    }

    async fn upgrade(self: Arc<Self>) -> Result<String, Unchanged> {
        self.hand_over().await
    }

    fn set_log_level(&self, level: LogLevel) -> Result<(), Unchanged> {
        let source = self.source.as_ref();
        let source =
            source.ok_or_else(|| Unchanged::Wrong("this gateway has no log whose level could be set".into()))?;
        source.set_log_level(level);
        tracing::warn!(level = level.name(), "the log's level was set, until the configuration is read again");
        Ok(())
    }
}
