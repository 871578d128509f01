//! What a flow allows, and what it never does.

use proptest::prelude::*;

use super::*;
use crate::base::{MasterKey, SealKey, UserId, Username};
use crate::credential::TotpSecret;
use crate::directory::{TotpPeriod, UserKind};
use crate::session::Factor;

const START: u64 = 1_000_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(START + seconds)
}

fn key() -> SealKey {
    MasterKey::from_bytes([5; 32]).derive("flow v1")
}

fn host(text: &str) -> Hostname {
    text.parse().unwrap()
}

fn browser(byte: u8) -> Holder {
    Holder::Browser(TokenDigest::of(&[byte]))
}

fn alice() -> Username {
    "alice@acme.example".parse().unwrap()
}

fn claimant(kind: UserKind) -> Claimant {
    Claimant { user: UserId::from_bytes([2; 16]), username: alice(), epoch: 3, kind }
}

fn missing() -> Authenticator {
    Authenticator::Missing { secret: TotpSecret::from_bytes([9; 20]), period: TotpPeriod::Thirty }
}

fn flow() -> Flow {
    let id = FlowId::from_bytes([1; 16]);
    let return_to = "/tickets/7?view=full".parse().ok();
    Flow::begin(
        id,
        host("desk.example"),
        Binding::Browser(TokenDigest::of(&[1])),
        Class::Web,
        return_to,
        Entry::Usual,
        at(0),
    )
}

fn awaiting_code() -> Step {
    let step = AwaitPassword::new(alice());
    let after = step.password_was_right(claimant(UserKind::Regular), Authenticator::Enrolled, at(0));
    let AfterPassword::Code(step) = after else { panic!("{after:?}") };
    Step::Code(step)
}

fn open(text: &str, host_text: &str, holder: Holder, now: UnixTime) -> Result<Flow, FlowProblem> {
    Flow::open(text, &key(), Sender { host: &host(host_text), holder }, now)
}

#[test]
fn a_flow_comes_back_as_it_went() {
    let sealed = flow().at(awaiting_code()).seal(&key(), [1; 12]).unwrap();
    let opened = open(&sealed, "desk.example", browser(1), at(299)).unwrap();
    assert_eq!((opened.id, opened.class, opened.started_at), (flow().id, Class::Web, at(0)));
    assert_eq!(opened.return_to, flow().return_to);
    let Step::Code(step) = opened.step else { panic!("{:?}", opened.step) };
    assert_eq!(step.claimant(), &claimant(UserKind::Regular));
}

#[test]
fn w2_a_flow_opens_on_its_host_in_its_browser_and_in_time_only() {
    let sealed = flow().seal(&key(), [1; 12]).unwrap();
    let wish = || flow().wish();
    assert!(wish().return_to.is_some(), "what is left of it says where it was to lead (R43)");
    let check = |host, holder: Holder, now, want| {
        assert_eq!(open(&sealed, host, holder, now).map(|_| ()), want, "{host} {holder:?} {now}");
    };
    check("desk.example", browser(1), at(0), Ok(()));
    check("desk.example", browser(1), at(599), Ok(()));
    check("desk.example", browser(1), at(600), Err(FlowProblem::Expired(wish())));
    check("other.example", browser(1), at(1), Err(FlowProblem::OtherHost));
    check("desk.example", browser(2), at(1), Err(FlowProblem::OtherBrowser(wish())));
    check("desk.example", Holder::Native, at(1), Err(FlowProblem::OtherClient));
    // A clock set back must not make it live longer (F11).
    check("desk.example", browser(1), UnixTime::from_seconds(START - 1), Err(FlowProblem::Expired(wish())));
}

#[test]
fn a_browser_cannot_go_on_with_a_native_clients_flow() {
    let native = Flow { binding: Binding::Native("livemobile".into()), ..flow() }.seal(&key(), [1; 12]).unwrap();
    assert_eq!(open(&native, "desk.example", browser(1), at(1)).map(|_| ()), Err(FlowProblem::OtherClient));
    assert!(open(&native, "desk.example", Holder::Native, at(1)).is_ok());
}

#[test]
fn p5_a_right_password_is_worth_five_minutes() {
    let late = flow().at(awaiting_code());
    assert_eq!(late.deadline(), at(300));
    let sealed = late.seal(&key(), [1; 12]).unwrap();
    assert!(open(&sealed, "desk.example", browser(1), at(299)).is_ok());
    assert_eq!(
        open(&sealed, "desk.example", browser(1), at(300)).map(|_| ()),
        Err(FlowProblem::Expired(flow().wish()))
    );
}

#[test]
fn a_late_password_does_not_lengthen_the_flow() {
    let step = AwaitPassword::new(alice());
    let after = step.password_was_right(claimant(UserKind::Regular), Authenticator::Enrolled, at(599));
    let AfterPassword::Code(step) = after else { panic!("{after:?}") };
    assert_eq!(flow().at(Step::Code(step)).deadline(), at(600));
}

#[test]
fn r32_r70_who_must_show_what_after_the_password() {
    let check = |kind, authenticator, want: &str| {
        let got = match AwaitPassword::new(alice()).password_was_right(claimant(kind), authenticator, at(0)) {
            AfterPassword::Code(_) => "code",
            AfterPassword::Enrolment(_) => "enrolment",
            AfterPassword::Done(proven) => {
                assert_eq!(proven.factors(), [Factor::Password]);
                "done"
            }
        };
        assert_eq!(got, want, "{kind:?}");
    };
    for kind in [UserKind::Regular, UserKind::Contractor, UserKind::CoManaged] {
        check(kind, Authenticator::Enrolled, "code");
        check(kind, missing(), "enrolment");
    }
    check(UserKind::Dashboard, Authenticator::Enrolled, "code");
    check(UserKind::Dashboard, missing(), "done");
}

#[test]
fn r14_a_hand_over_is_accepted_by_its_host_for_a_minute() {
    let key = MasterKey::from_bytes([5; 32]).derive("handover v1");
    let sent =
        Handover::new(FlowId::from_bytes([4; 16]), host("de.example"), alice(), [192, 0, 2, 1].into(), at(0));
    let sealed = sent.seal(&key, [2; 12]).unwrap();
    assert!(!sealed.contains("alice"));
    let check = |text: &str, to: &str, now, want| assert_eq!(Handover::open(text, &key, &host(to), now), want);
    check(&sealed, "de.example", at(59), Ok(sent));
    check(&sealed, "de.example", at(60), Err(HandoverProblem::Expired));
    check(&sealed, "us.example", at(1), Err(HandoverProblem::OtherHost));
    check(&sealed[1..], "de.example", at(1), Err(HandoverProblem::Forged));
    check(&"A".repeat(1 << 20), "de.example", at(1), Err(HandoverProblem::Forged));
    let flow_key_is_another = Handover::open(&sealed, &self::key(), &host("de.example"), at(1));
    assert_eq!(flow_key_is_another, Err(HandoverProblem::Forged));
}

/// What can happen to a flow. What is impossible at a step leaves it where it is.
#[derive(Clone, Copy, Debug)]
enum Event {
    Username,
    PasswordRight { enrolled: bool },
    CodeAccepted,
    AuthenticatorKept,
    Continue,
    SlotChosen,
    Reload,
    Back(usize),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Username),
        any::<bool>().prop_map(|enrolled| Event::PasswordRight { enrolled }),
        Just(Event::CodeAccepted),
        Just(Event::AuthenticatorKept),
        Just(Event::Continue),
        Just(Event::SlotChosen),
        Just(Event::Reload),
        (0usize..8).prop_map(Event::Back),
    ]
}

/// A step, or the end of the flow.
enum Now {
    Step(Step),
    Proven(Proven),
}

fn happen(step: Step, event: Event, kind: UserKind) -> Now {
    use Event::*;
    let step = match (step, event) {
        (Step::Username, Username) => Step::Password(AwaitPassword::new(alice())),
        (Step::Password(step), PasswordRight { enrolled }) => {
            let authenticator = if enrolled { Authenticator::Enrolled } else { missing() };
            match step.password_was_right(claimant(kind), authenticator, at(1)) {
                AfterPassword::Code(step) => Step::Code(step),
                AfterPassword::Enrolment(step) => Step::Enrolment(step),
                AfterPassword::Done(proven) => return Now::Proven(proven),
            }
        }
        (Step::Code(step), CodeAccepted) => return Now::Proven(step.code_was_accepted(at(2))),
        (Step::Enrolment(step), AuthenticatorKept) => Step::Enrolled(step.authenticator_was_kept(at(2))),
        (Step::Enrolled(step), Continue) => return Now::Proven(step.was_read()),
        (Step::Slot(step), SlotChosen) => return Now::Proven(step.choice_was_made()),
        (step, _) => step,
    };
    Now::Step(step)
}

proptest! {
    /// Whatever is sent in whatever order, pages gone back to included, nobody is through without everything that
    /// their kind must show (R4, SEC-R24).
    #[test]
    fn r4_no_order_of_events_leads_past_a_factor(
        events in proptest::collection::vec(any_event(), 0..24),
        kind in proptest::sample::select(&UserKind::ALL[..4]),
    ) {
        // Every page that was ever shown may be posted again, with what had been proved when it was shown.
        let mut pages = vec![(Step::Username, false, false)];
        let (mut step, mut password, mut code) = pages[0].clone();
        for event in events {
            match event {
                Event::Back(page) => {
                    (step, password, code) = pages[page % pages.len()].clone();
                    continue;
                }
                Event::Reload => {
                    let sealed = flow().at(step).seal(&key(), [7; 12]).unwrap();
                    step = open(&sealed, "desk.example", browser(1), at(3)).unwrap().step;
                    continue;
                }
                Event::PasswordRight { .. } => password |= matches!(step, Step::Password(_)),
                Event::CodeAccepted => code |= matches!(step, Step::Code(_)),
                Event::AuthenticatorKept => code |= matches!(step, Step::Enrolment(_)),
                Event::Username | Event::Continue | Event::SlotChosen => {}
            }
            match happen(step, event, kind) {
                Now::Step(next) => step = next,
                Now::Proven(proven) => {
                    prop_assert!(password);
                    prop_assert!(code || !kind.needs_second_factor());
                    prop_assert_eq!(proven.factors().contains(&Factor::Totp), code);
                    step = Step::Slot(AwaitSlot::new(proven));
                }
            }
            pages.push((step.clone(), password, code));
        }
    }

    /// A flow that was cut, lengthened or changed anywhere opens nothing.
    #[test]
    fn a_flow_that_was_touched_never_opens(position in 0usize..4096, change in 1u8..=255, cut in any::<bool>()) {
        let sealed = flow().at(awaiting_code()).seal(&key(), [1; 12]).unwrap();
        let mut bytes = sealed.clone().into_bytes();
        let position = position % bytes.len();
        if cut {
            bytes.truncate(position);
        } else {
            bytes[position] ^= change;
        }
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        prop_assert_eq!(open(&text, "desk.example", browser(1), at(1)).map(|_| ()), Err(FlowProblem::Forged));
    }
}
