//! The backends of one zone, and which of them a request goes to.
//!
//! *Why not the balancer that comes with pingora?* It has turns by weight, but no choice by load ("TODO: least conn"),
//! it knows health checks and not what requests met, and a choice allocates a set of those it has looked at. What is
//! left without these is a list and a counter, and they are here. A choice takes no lock and allocates nothing but the
//! peer that pingora wants boxed.
//!
//! *What if nobody is fit?* Then the one that is due first is tried, and those whose health checks fail come last. The
//! other answer, 502 at once, would spare a dead application a connection and a client some seconds; but health checks
//! are wrong in ways that requests are not (a path that moved, a firewall between), and a zone must not be dead because
//! somebody guessed so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::HttpPeer;

use super::silence::Silences;
use super::standing::{Fitness, Standing, now_ms};
use super::template::template;
use crate::portal::metrics::{BackendMetrics, UpstreamMetrics};
use crate::zone::{Balance, HealthCheck, Target, Upstream, Zone};

/// The backends of one zone.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) zone: Arc<Zone>,
    pub(super) upstream: Upstream,
    /// Connections are shared among peers of one group only.
    pub(super) group: u64,
    members: ArcSwap<Members>,
    /// Which turn is next.
    next: AtomicUsize,
    metrics: Vec<BackendMetrics>,
    silences: Arc<Silences>,
    /// Each backend's addresses. Held while members are made anew.
    addresses: Mutex<Vec<Vec<PeerAddress>>>,
    /// Its health checks do not count any more. Held while one is written down.
    retired: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Members {
    list: Vec<Arc<Member>>,
    /// Places in `list`, each as often as its weight says, spread evenly.
    turns: Vec<u16>,
}

/// One address of one backend.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) template: HttpPeer,
    pub(super) standing: Arc<Standing>,
    pub(super) metrics: BackendMetrics,
    /// Its backend's place in the configuration.
    pub(super) backend: usize,
    weight: u8,
}

/// Whom a request goes to.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) member: Arc<Member>,
    /// It was left alone, and this request finds out whether it is back.
    pub(super) trial: bool,
}

impl Pool {
    /// `before`: the zone's pool of an earlier configuration. What it knew of a backend that stays is kept.
    pub(super) fn new(
        zone: &Arc<Zone>,
        upstream: &Upstream,
        group: u64,
        metrics: &UpstreamMetrics,
        silences: &Arc<Silences>,
        before: Option<&Self>,
    ) -> Self {
        let backends = &upstream.backends;
        let pool = Self {
            zone: Arc::clone(zone),
            upstream: upstream.clone(),
            group,
            members: ArcSwap::default(),
            next: AtomicUsize::new(0),
            metrics: backends.iter().map(|backend| metrics.backend(&zone.host, &backend.target)).collect(),
            silences: Arc::clone(silences),
            addresses: Mutex::new(vec![Vec::new(); backends.len()]),
            retired: Mutex::new(false),
        };
        for (at, backend) in backends.iter().enumerate() {
            let known = before.and_then(|before| {
                let mut earlier = before.upstream.backends.iter();
                let place = earlier.position(|one| one.target == backend.target && one.tls == backend.tls)?;
                Some((before, place))
            });
            let Some((before, place)) = known else { continue };
            let addresses = before.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            let addresses = addresses.get(place).cloned().unwrap_or_default();
            let members = before.members.load();
            pool.set(at, addresses, |address| members.standing(place, address));
        }
        pool
    }

    /// A backend's addresses are these from now on; whether that is a change.
    pub(super) fn set_addresses(&self, backend: usize, addresses: Vec<PeerAddress>) -> bool {
        let members = self.members.load();
        self.set(backend, addresses, |address| members.standing(backend, address))
    }

    fn set(
        &self,
        backend: usize,
        new: Vec<PeerAddress>,
        known: impl Fn(&PeerAddress) -> Option<Arc<Standing>>,
    ) -> bool {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.members.load();
        match addresses.get_mut(backend) {
            Some(place) if *place != new => *place = new,
            Some(_) | None => return false,
        }
        let mut list = Vec::new();
        for (at, (configured, addresses)) in self.upstream.backends.iter().zip(&*addresses).enumerate() {
            let Some(metrics) = self.metrics.get(at) else { continue };
            for address in addresses {
                let known = if at == backend { known(address) } else { before.standing(at, address) };
                list.push(Arc::new(Member {
                    template: template(&self.upstream, configured, address.clone(), self.group, &self.silences),
                    standing: known.unwrap_or_default(),
                    metrics: metrics.clone(),
                    backend: at,
                    weight: configured.weight,
                }));
            }
        }
        let weight = |member: &Arc<Member>| match self.upstream.balance {
            Balance::RoundRobin => member.weight,
            // Everybody is looked at, once.
            Balance::LeastLoaded => 1,
        };
        let turns = turns(&list.iter().map(weight).collect::<Vec<_>>());
        self.members.store(Arc::new(Members { list, turns }));
        true
    }

    /// Everybody, for health checks.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.members.load().list.clone()
    }

    /// What a health check found of a member; whether that changed anything.
    pub(super) fn checked(&self, member: &Member, good: bool, check: &HealthCheck) -> bool {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        !*retired && member.standing.checked(good, check.fall, check.rise)
    }

    /// Another configuration is in use: from here on no health check of this one counts, also none that is under way. What is
    /// known of a backend is shared with the next one, and a last word would stand for ever where nobody asks any more.
    pub(super) fn retire(&self) {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Forgets what health checks have found, where there are none any more. Only once those of the previous configuration
    /// are retired.
    pub(super) fn forget_checks(&self) {
        if self.upstream.health.is_none() {
            self.members.load().list.iter().for_each(|member| member.standing.forget_checks());
        }
    }

    /// Each backend, and how many of its addresses are taken to be well.
    pub(super) fn well(&self) -> impl Iterator<Item = (&Target, usize)> {
        let members = self.members.load_full();
        self.upstream.backends.iter().enumerate().map(move |(at, backend)| {
            let well = members.list.iter().filter(|member| member.backend == at && member.standing.is_well());
            (&backend.target, well.count())
        })
    }

    /// Whether there is anybody but these.
    pub(super) fn has_other(&self, tried: &[Arc<Standing>]) -> bool {
        self.members.load().list.iter().any(|member| !is_among(tried, member))
    }

    /// Whom the next try of a request goes to, none of `tried`; `None` when there is nobody else.
    pub(super) fn choose(&self, tried: &[Arc<Standing>]) -> Option<Choice> {
        let members = self.members.load();
        if let ([member], []) = (&*members.list, tried) {
            return Some(Choice { member: Arc::clone(member), trial: false });
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut best: Option<&Arc<Member>> = None;
        let mut clock = None;
        for step in 0..members.turns.len() {
            let turn = start.wrapping_add(step).checked_rem(members.turns.len())?;
            let member = members.turns.get(turn).and_then(|place| members.list.get(usize::from(*place)))?;
            if is_among(tried, member) {
                continue;
            }
            match member.standing.fitness(|| *clock.get_or_insert_with(now_ms)) {
                Fitness::Trial => return Some(Choice { member: Arc::clone(member), trial: true }),
                Fitness::Out(_) | Fitness::Unwell => {}
                Fitness::Fit => match self.upstream.balance {
                    Balance::RoundRobin => return Some(Choice { member: Arc::clone(member), trial: false }),
                    Balance::LeastLoaded => {
                        if best.is_none_or(|best| member.is_less_loaded_than(best)) {
                            best = Some(member);
                        }
                    }
                },
            }
        }
        let due = || {
            let others = members.list.iter().filter(|member| !is_among(tried, member));
            others.min_by_key(|member| member.standing.badness())
        };
        best.or_else(due).map(|member| Choice { member: Arc::clone(member), trial: false })
    }
}

fn is_among(tried: &[Arc<Standing>], member: &Member) -> bool {
    tried.iter().any(|standing| Arc::ptr_eq(standing, &member.standing))
}

impl Members {
    fn standing(&self, backend: usize, address: &PeerAddress) -> Option<Arc<Standing>> {
        let same = |member: &&Arc<Member>| member.backend == backend && member.template._address == *address;
        self.list.iter().find(same).map(|member| Arc::clone(&member.standing))
    }
}

impl Member {
    /// By requests under way, this one included, for each unit of weight.
    fn is_less_loaded_than(&self, other: &Self) -> bool {
        let load = |member: &Self| u64::from(member.standing.in_flight.load(Ordering::Relaxed)) + 1;
        load(self) * u64::from(other.weight) < load(other) * u64::from(self.weight)
    }
}

/// Places 0, 1, … each as often as its weight, so that no place has its turns in a heap: after each step every place is
/// owed its weight, the one that is owed most has its turn, and pays the sum of all for it.
fn turns(weights: &[u8]) -> Vec<u16> {
    let divisor = weights.iter().fold(0, |divisor, weight| greatest_common_divisor(divisor, i64::from(*weight)));
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(*weight) / divisor.max(1)).collect();
    let sum: i64 = weights.iter().sum();
    let mut owed = vec![0; weights.len()];
    let mut turns = Vec::new();
    for _ in 0..sum {
        owed.iter_mut().zip(&weights).for_each(|(owed, weight)| *owed += weight);
        // The first of those that are owed most.
        let most = owed.iter().copied().max().unwrap_or_default();
        let Some(place) = owed.iter().position(|owed| *owed == most) else { break };
        if let Some(owed) = owed.get_mut(place) {
            *owed -= sum;
        }
        turns.extend(u16::try_from(place));
    }
    turns
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples;
    use crate::zone::Backend;

    /// A zone whose backends are the ports 1, 2, … of loopback.
    fn pool(balance: Balance, weights: &[u8], before: Option<&Pool>) -> Pool {
        let zone = samples::zone("a.example");
        let address = |at: usize| std::net::SocketAddr::from(([127, 0, 0, 1], u16::try_from(at + 1).unwrap()));
        let backend = |(at, weight): (usize, &u8)| Backend {
            target: Target::Address(address(at)),
            weight: *weight,
            tls: None,
        };
        let mut upstream = zone.upstream.clone();
        upstream.backends = weights.iter().enumerate().map(backend).collect();
        upstream.balance = balance;
        let pool = Pool::new(&Arc::new(zone), &upstream, 1, &UpstreamMetrics::default(), &Arc::default(), before);
        for at in 0..weights.len() {
            pool.set_addresses(at, vec![PeerAddress::Inet(address(at))]);
        }
        pool
    }

    fn chosen(pool: &Pool, tried: &[Arc<Standing>]) -> Option<usize> {
        pool.choose(tried).map(|choice| choice.member.backend)
    }

    #[test]
    fn turns_are_as_many_as_the_weight_and_spread_evenly() {
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[2, 2]), [0, 1], "weights that have a divisor need no more turns for it");
        assert_eq!(turns(&[7]), [0]);
        assert_eq!(turns(&[]), Vec::<u16>::new());
        let pool = pool(Balance::RoundRobin, &[3, 1], None);
        let first: Vec<_> = (0..8).filter_map(|_| chosen(&pool, &[])).collect();
        assert_eq!(first.iter().filter(|at| **at == 0).count(), 6, "{first:?}");
    }

    #[test]
    fn the_least_loaded_is_so_for_its_weight() {
        let pool = pool(Balance::LeastLoaded, &[2, 1], None);
        let mut carried = [0, 0];
        for _ in 0..9 {
            let choice = pool.choose(&[]).unwrap();
            choice.member.standing.in_flight.fetch_add(1, Ordering::Relaxed);
            carried[choice.member.backend] += 1;
        }
        assert_eq!(carried, [6, 3]);
    }

    #[test]
    fn who_is_out_is_left_alone_and_the_last_one_never_is() {
        for balance in [Balance::RoundRobin, Balance::LeastLoaded] {
            let pool = pool(balance, &[1, 1], None);
            let members = pool.members();
            members[0].standing.checked(false, 1, 1);
            assert!((0..4).all(|_| chosen(&pool, &[]) == Some(1)));
            members[1].standing.not_connected(now_ms(), false);
            assert_eq!(chosen(&pool, &[]), Some(1), "faults pass, and sooner than health checks");
            let tried = [Arc::clone(&members[1].standing)];
            assert_eq!(chosen(&pool, &tried), Some(0), "who was tried is not tried again");
            assert!(pool.has_other(&tried));
            let all = [Arc::clone(&members[1].standing), Arc::clone(&members[0].standing)];
            assert_eq!((chosen(&pool, &all), pool.has_other(&all)), (None, false));
        }
    }

    #[test]
    fn what_is_known_of_a_backend_outlives_a_change_of_the_configuration() {
        let before = pool(Balance::RoundRobin, &[1, 1], None);
        before.members()[1].standing.checked(false, 1, 1);
        let after = pool(Balance::LeastLoaded, &[1, 3, 1], Some(&before));
        let unwell: Vec<_> = after.members().iter().map(|member| !member.standing.is_well()).collect();
        assert_eq!(unwell, [false, true, false]);
        assert!(Arc::ptr_eq(&before.members()[0].standing, &after.members()[0].standing));
    }

    #[test]
    fn who_was_unwell_is_not_so_for_ever_when_nobody_checks_any_more() {
        let mut before = pool(Balance::RoundRobin, &[1, 1], None);
        let second = crate::base::Ttl::seconds_const(1);
        let check = HealthCheck { path: None, status: None, interval: second, timeout: second, fall: 1, rise: 1 };
        before.upstream.health = Some(check);
        before.members()[1].standing.checked(false, 1, 1);
        let well = |pool: &Pool| pool.members().iter().map(|member| member.standing.is_well()).collect::<Vec<_>>();
        before.forget_checks();
        assert_eq!(well(&before), [true, false], "while it is checked, the check decides");
        let check = before.upstream.health.clone().unwrap();
        let after = pool(Balance::RoundRobin, &[1, 1], Some(&before));
        after.members()[0].standing.not_connected(now_ms(), false);
        after.forget_checks();
        assert_eq!(well(&after), [false, true], "what requests met is not forgotten");
        // A check that was on its way when the next configuration came.
        before.retire();
        assert!(!before.checked(&before.members()[1], false, &check));
        assert_eq!(well(&after), [false, true], "nobody would ever take it back");
    }

    #[test]
    fn an_address_that_stays_keeps_what_is_known_of_it() {
        let pool = pool(Balance::RoundRobin, &[1], None);
        let address = |last: u8| PeerAddress::Inet(([127, 0, 0, last], 1).into());
        pool.set_addresses(0, vec![address(2), address(3)]);
        pool.members()[0].standing.checked(false, 1, 1);
        assert!(pool.set_addresses(0, vec![address(4), address(2)]));
        assert!(!pool.set_addresses(0, vec![address(4), address(2)]), "no change");
        let well: Vec<_> = pool.members().iter().map(|member| member.standing.is_well()).collect();
        assert_eq!(well, [true, false]);
    }
}
