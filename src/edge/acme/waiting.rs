//! Which hosts wait for their next try, and for how long.
//!
//! After each failure in a row the wait grows, because an authority that is asked too often refuses everything for a week.
//! Whoever has mended what was wrong and reloads waits no longer than [`HURRY_SECONDS`]: a reload lets everybody try at
//! once, but never more often than that, whoever reloads how often, and what is tried in vain waits as long as ever.

use std::collections::HashMap;

use crate::base::{Hostname, UnixTime};

/// After a failure, the shortest and the longest wait for the next try, in seconds.
const RETRY_SECONDS: (u64, u64) = (300, 24 * 3600);
/// The shortest time between two reloads that let everybody try at once, in seconds: four tries an hour, where Let's
/// Encrypt takes five in vain.
const HURRY_SECONDS: u64 = 900;

/// When a group of hosts may be tried again, and how often it has failed in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    not_before: UnixTime,
}

/// The groups of hosts that failed, each by its first host.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    failed: HashMap<Hostname, Failures>,
    /// Somebody has reloaded since everybody could try at once.
    asked: bool,
    no_hurry_before: UnixTime,
}

impl Waiting {
    /// Whether this one is to wait at `now`.
    pub(super) fn is_early(&self, first: &Hostname, now: UnixTime) -> bool {
        self.failed.get(first).is_some_and(|failed| now < failed.not_before)
    }

    /// It has failed once more. When it may be tried again.
    pub(super) fn fail(&mut self, first: Hostname, now: UnixTime) -> UnixTime {
        let failed = self.failed.entry(first).or_default();
        let (least, most) = RETRY_SECONDS;
        let wait = least.saturating_mul(1 << failed.count.min(20)).min(most);
        *failed = Failures { count: failed.count.saturating_add(1), not_before: now.plus_seconds(wait) };
        failed.not_before
    }

    /// It has what it waited for.
    pub(super) fn succeed(&mut self, first: &Hostname) {
        self.failed.remove(first);
    }

    /// Forgets all but these, which the configuration in use has.
    pub(super) fn keep_only(&mut self, wanted: &[Hostname]) {
        self.failed.retain(|first, _| wanted.contains(first));
    }

    /// Somebody has reloaded.
    pub(super) const fn ask(&mut self) {
        self.asked = true;
    }

    /// Lets everybody try at once where somebody has reloaded, if that is not too soon; then it is put off.
    pub(super) fn hurry(&mut self, now: UnixTime) {
        if !self.asked || now < self.no_hurry_before {
            return;
        }
        self.asked = false;
        if self.failed.is_empty() {
            return;
        }
        self.no_hurry_before = now.plus_seconds(HURRY_SECONDS);
        self.failed.values_mut().for_each(|failed| failed.not_before = now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_000_000 + seconds)
    }

    fn host(name: &str) -> Hostname {
        name.parse().unwrap()
    }

    #[test]
    fn tries_come_later_and_later() {
        let mut waiting = Waiting::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(waiting.fail(host("a.example"), at(0)).seconds_since(at(0)));
        }
        assert_eq!(waits[..4], [300, 600, 1200, 2400]);
        assert_eq!(waits[11], 24 * 3600);
        assert!(waiting.is_early(&host("a.example"), at(24 * 3600 - 1)));
        assert!(!waiting.is_early(&host("a.example"), at(24 * 3600)));
        waiting.succeed(&host("a.example"));
        assert_eq!(waiting.fail(host("a.example"), at(0)), at(300), "it begins anew");
    }

    #[test]
    fn d5_hosts_that_are_gone_are_forgotten() {
        let mut waiting = Waiting::default();
        for number in 0..100 {
            waiting.fail(host(&format!("h{number}.example")), at(0));
        }
        waiting.keep_only(&[host("h7.example"), host("new.example")]);
        assert_eq!(waiting.failed.len(), 1);
        assert!(waiting.is_early(&host("h7.example"), at(1)));
    }

    #[test]
    fn a_reload_lets_everybody_try_at_once_and_many_reloads_do_not_let_them_try_more_often() {
        let mut waiting = Waiting::default();
        let a = host("a.example");
        for _ in 0..12 {
            waiting.fail(a.clone(), at(0));
        }
        waiting.hurry(at(1));
        assert!(waiting.is_early(&a, at(1)), "nobody has reloaded");
        let mut tries = Vec::new();
        for second in 2..3602 {
            waiting.ask();
            waiting.hurry(at(second));
            if !waiting.is_early(&a, at(second)) {
                tries.push(second);
                waiting.fail(a.clone(), at(second));
            }
        }
        assert_eq!(tries, [2, 902, 1802, 2702]);
        // The last reload was too soon, and is not forgotten.
        waiting.hurry(at(3602));
        assert!(!waiting.is_early(&a, at(3602)));
    }
}
