//! Slots and lifetimes as tables and properties.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;
use crate::base::{Ttl, UnixTime};
use crate::directory::{Lifetimes, Slots};

fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

/// Sessions as a text: `w1 m2` holds web session 1 and mobile session 2.
fn held(text: &str) -> Vec<Held> {
    text.split_whitespace()
        .map(|word| {
            let class = if word.starts_with('w') { Class::Web } else { Class::Mobile };
            Held { id: id(word[1..].parse().unwrap()), class }
        })
        .collect()
}

fn check(class: Class, holding: &str, leaving: &[u8], want: Admission) {
    let leaving: Vec<_> = leaving.iter().copied().map(id).collect();
    assert_eq!(admit(class, held(holding), &leaving, Slots::default()), want, "{class:?} {holding} {leaving:?}");
}

#[test]
fn r81_three_desktops_and_r82_one_phone() {
    use Admission::{Admitted, Full};
    check(Class::Web, "", &[], Admitted);
    check(Class::Web, "w1 w2", &[], Admitted);
    check(Class::Web, "w1 w2 w3", &[], Full);
    check(Class::Mobile, "", &[], Admitted);
    check(Class::Mobile, "m1", &[], Full);
}

#[test]
fn r82_the_classes_do_not_take_each_others_slots() {
    use Admission::{Admitted, Full};
    check(Class::Mobile, "w1 w2 w3", &[], Admitted);
    check(Class::Web, "m1", &[], Admitted);
    check(Class::Web, "w1 w2 m3", &[], Admitted);
    check(Class::Web, "w1 w2 w3 m4", &[4], Full);
    check(Class::Mobile, "w1 m2", &[1], Full);
}

#[test]
fn r83_r88_a_session_that_leaves_frees_one_slot_and_only_while_it_is_held() {
    use Admission::{Admitted, Full};
    check(Class::Web, "w1 w2 w3", &[2], Admitted);
    check(Class::Web, "w1 w2 w3", &[2, 2], Admitted);
    check(Class::Web, "w1 w2 w3", &[9], Full);
    // The victim is gone already, and its slot with it: naming it once more frees nothing.
    check(Class::Web, "w1 w3 w4", &[2], Full);
    // Somebody was admitted on the same victim a moment ago and holds the slot: four, less one.
    check(Class::Web, "w1 w2 w3 w4", &[2], Full);
    check(Class::Web, "w1 w2 w3 w4", &[2, 2], Full);
    check(Class::Web, "w1 w2 w3 w4", &[2, 1], Admitted);
    check(Class::Mobile, "m1", &[1], Admitted);
}

fn any_class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Web), Just(Class::Mobile)]
}

#[derive(Clone, Debug)]
enum Step {
    /// A log-in of a class that lets the sessions at these places leave.
    LogIn(Class, Vec<prop::sample::Index>),
    LogOut(prop::sample::Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any_class(), prop::collection::vec(any::<prop::sample::Index>(), 0..3))
            .prop_map(|(class, leaving)| Step::LogIn(class, leaving)),
        1 => any::<prop::sample::Index>().prop_map(Step::LogOut),
    ]
}

proptest! {
    /// Whatever people do, no class ever holds more than its slots, and no session leaves that was not chosen.
    #[test]
    fn slots_never_exceed_the_limit(
        web in 1_u8..5, mobile in 1_u8..3, steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let slots = Slots { web: NonZeroU8::new(web).unwrap(), mobile: NonZeroU8::new(mobile).unwrap() };
        let mut holding: Vec<Held> = Vec::new();
        for (serial, step) in (0_u8..).zip(steps) {
            let before = holding.clone();
            match step {
                Step::LogIn(class, leaving) if !before.is_empty() || leaving.is_empty() => {
                    let leaving: Vec<_> = leaving.iter().map(|at| at.get(&before).id).collect();
                    let room = |held: &Held| held.class == class && !leaving.contains(&held.id);
                    let admitted = admit(class, before.iter().copied(), &leaving, slots) == Admission::Admitted;
                    let limit = usize::from(slots.of(class).get());
                    prop_assert_eq!(admitted, before.iter().filter(|held| room(held)).count() < limit);
                    if admitted {
                        holding.retain(|held| !leaving.contains(&held.id));
                        holding.push(Held { id: id(serial), class });
                    }
                }
                Step::LogIn(..) => {}
                Step::LogOut(at) if !before.is_empty() => {
                    let gone = at.get(&before).id;
                    holding.retain(|held| held.id != gone);
                }
                Step::LogOut(_) => {}
            }
            for class in [Class::Web, Class::Mobile] {
                let count = holding.iter().filter(|held| held.class == class).count();
                prop_assert!(count <= usize::from(slots.of(class).get()), "{class:?}: {count}");
            }
        }
    }

    /// What other classes hold changes nothing (R82), and neither does the order.
    #[test]
    fn the_classes_never_mix(
        class in any_class(), holding in prop::collection::vec(any_class(), 0..8), reversed in any::<bool>(),
    ) {
        let mut all: Vec<_> =
            (0_u8..).zip(holding).map(|(serial, class)| Held { id: id(serial), class }).collect();
        let alone: Vec<_> = all.iter().copied().filter(|held| held.class == class).collect();
        if reversed {
            all.reverse();
        }
        let slots = Slots::default();
        prop_assert_eq!(admit(class, all, &[], slots), admit(class, alone, &[], slots));
    }

    /// Activity never moves backwards, and is reported exactly when it moved.
    #[test]
    fn activity_never_moves_backwards(times in prop::collection::vec(0_u64..50, 1..20)) {
        let session = samples::session(&SessionRecord { last_seen: UnixTime::from_seconds(20), ..samples::record("a.example") });
        for time in times {
            let (before, at) = (session.last_seen(), UnixTime::from_seconds(time));
            prop_assert_eq!(session.touch(at), at > before);
            prop_assert_eq!(session.last_seen(), at.max(before));
        }
    }
}

#[test]
fn r89_eight_hours_after_the_last_activity_and_not_a_second_later() {
    let at = |hours: u64, seconds: i64| {
        UnixTime::from_seconds(
            samples::START.seconds().saturating_add(hours * 3600).saturating_add_signed(seconds),
        )
    };
    let session = samples::session(&samples::record("a.example"));
    assert_eq!(session.liveness(at(8, -60)), Liveness::Live);
    session.touch(at(8, -60));
    assert_eq!(session.liveness(at(8, 0)), Liveness::Live, "extended by the activity");
    assert_eq!(session.liveness(at(16, -61)), Liveness::Live);
    assert_eq!(session.liveness(at(16, -60)), Liveness::Ended(EndReason::Idle));
}

#[test]
fn s10_constant_activity_does_not_outlive_the_absolute_limit() {
    let lifetimes = Lifetimes { idle_max: Ttl::seconds_const(100), absolute_max: Ttl::seconds_const(250) };
    let session = samples::session(&SessionRecord { lifetimes, ..samples::record("a.example") });
    for second in (0..250).step_by(50) {
        let now = UnixTime::from_seconds(samples::START.seconds() + second);
        session.touch(now);
        assert_eq!(session.liveness(now), Liveness::Live, "second {second}");
    }
    let end = samples::START.plus(lifetimes.absolute_max);
    assert_eq!(session.liveness(end), Liveness::Ended(EndReason::Expired));
}

#[test]
fn the_first_reason_stays() {
    let session = samples::session(&samples::record("a.example"));
    assert!(session.end(EndReason::Displaced));
    assert!(!session.end(EndReason::LoggedOut));
    assert_eq!(session.liveness(samples::START), Liveness::Ended(EndReason::Displaced));
    let late = UnixTime::from_seconds(u64::MAX);
    assert_eq!(session.liveness(late), Liveness::Ended(EndReason::Displaced), "not idle: displaced");
}

#[test]
fn every_reason_survives_its_name_and_its_number() {
    for reason in EndReason::ALL {
        assert_eq!(EndReason::from_name(reason.name()), Some(reason));
        let session = samples::session(&samples::record("a.example"));
        session.end(reason);
        assert_eq!(session.end_reason(), Some(reason));
    }
}

#[test]
fn a_session_takes_no_more_memory_than_was_promised() {
    let counts = 2 * size_of::<usize>();
    assert!(size_of::<Session>() + counts <= 192, "{}", size_of::<Session>());
    assert!(size_of::<SharedPrincipal>() + counts <= 64, "{}", size_of::<SharedPrincipal>());
}

#[test]
fn a_session_that_nobody_uses_drops_what_was_made_for_requests_and_no_other() {
    let session = samples::session(&samples::record("a.example"));
    let at = |seconds| samples::START.plus_seconds(seconds);
    session.assertion.store(Some(Arc::new(CachedAssertion {
        value: http::HeaderValue::from_static("signed"),
        issuer: "https://a.example".into(),
        audience: "aud".into(),
        issued_at: at(0),
        refresh_at: at(42),
        expires_at: at(55),
        generation: 0,
        refreshing: false.into(),
    })));
    let headers = IdentityHeaders { preset: crate::zone::HeaderPreset::Default, fields: Vec::new() };
    session.identity.store(Some(Arc::new(headers)));
    session.shed(at(54));
    assert!(session.assertion.load().is_some() && session.identity.load().is_some());
    session.shed(at(55));
    assert!(session.assertion.load().is_none() && session.identity.load().is_none());
}

proptest! {
    /// What is kept in one piece comes out as it went in, whatever people are called.
    #[test]
    fn no_text_of_a_session_runs_into_another(
        username in ".*", email in proptest::option::of(".+"), display_name in ".*", label in "(.|\n)*",
    ) {
        let device = Device { label: label.clone(), address: "2001:db8::1".into() };
        let record = SessionRecord { device, ..samples::record("a.example") };
        let principal = Principal { username, email, display_name, ..samples::principal() };
        let session = samples::session_of(&record, &principal);
        let kept = &session.principal;
        prop_assert_eq!(kept.username(), &principal.username);
        prop_assert_eq!(kept.email(), principal.email.as_deref());
        prop_assert_eq!(kept.display_name(), &principal.display_name);
        prop_assert_eq!((session.device_label(), session.device_address()), (&*label, "2001:db8::1"));
    }

    /// Each factor once, in the order in which they were first shown, in memory and in the store.
    #[test]
    fn factors_are_kept_in_order(shown in prop::collection::vec(prop::sample::select(&Factor::ALL[..]), 0..9)) {
        let factors: Factors = shown.iter().copied().collect();
        let mut want = Vec::new();
        for factor in shown {
            if !want.contains(&factor) {
                want.push(factor);
            }
        }
        prop_assert_eq!(factors.iter().collect::<Vec<_>>(), want);
        let text = serde_json::to_string(&factors).unwrap();
        prop_assert_eq!(serde_json::from_str::<Factors>(&text).unwrap(), factors);
    }
}

#[test]
fn twenty_threads_end_a_session_once() {
    let session = samples::session(&samples::record("a.example"));
    let ended: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..20).map(|_| scope.spawn(|| usize::from(session.end(EndReason::Revoked)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(ended, 1);
}

#[test]
fn a_record_of_a_later_epoch_than_the_tables_is_alive_and_of_an_earlier_one_is_not() {
    let epoch = Arc::new(AtomicU64::new(6));
    let of_epoch = |n| {
        let record = SessionRecord { epoch: n, ..samples::record("a.example") };
        Session::new(&record, &samples::principal(), Arc::clone(&epoch)).liveness(samples::START)
    };
    assert_eq!(of_epoch(5), Liveness::Ended(EndReason::Revoked));
    assert_eq!(of_epoch(6), Liveness::Live);
    assert_eq!(of_epoch(7), Liveness::Live);
}
