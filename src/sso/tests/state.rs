//! The sealed state (O3): it opens where, for whom and while it was meant to, and nowhere else.

use proptest::prelude::*;

use super::super::*;
use super::provider::{NOW, settings};
use crate::base::{FlowId, Hostname, MasterKey, SealKey, TenantId, TokenDigest, UnixTime};
use crate::session::Class;

const TENANT: TenantId = TenantId::from_bytes([4; 16]);

pub(super) fn transaction() -> Transaction {
    Transaction {
        id: FlowId::from_bytes([1; 16]),
        audience: Audience::Tenant,
        tenant: Some(TENANT),
        host: host("desk.example"),
        issuer: settings().issuer,
        browser: TokenDigest::of(b"browser"),
        class: Class::Web,
        return_to: "/tickets/7?view=full".parse().ok(),
        username: "alice@acme.example".parse().ok(),
        purpose: Purpose::LogIn,
        anew: false,
        nonce: Nonce::from_bytes([5; 32]),
        verifier: Verifier::from_bytes([6; 32]),
        started_at: NOW,
    }
}

fn host(text: &str) -> Hostname {
    text.parse().unwrap()
}

fn key() -> SealKey {
    MasterKey::from_bytes([5; 32]).derive("sso v1")
}

/// Opens at the right place, altered.
fn open(text: &str, alter: impl FnOnce(&mut Place)) -> Result<Transaction, TransactionProblem> {
    let mut place = Place {
        host: host("desk.example"),
        browser: TokenDigest::of(b"browser"),
        callback: CallbackOf::Tenant(TENANT),
        key: key(),
        now: NOW.plus_seconds(30),
    };
    alter(&mut place);
    let arrival = Arrival { host: &place.host, browser: place.browser, callback: place.callback };
    Transaction::open(text, &place.key, &arrival, place.now)
}

struct Place {
    host: Hostname,
    browser: TokenDigest,
    callback: CallbackOf,
    key: SealKey,
    now: UnixTime,
}

#[test]
fn a_transaction_comes_back_as_it_went() {
    let sealed = transaction().seal(&key(), [1; 12]).unwrap();
    let opened = open(&sealed, |_| {}).unwrap();
    // The debug form shows all that is no secret; the secret is compared by itself.
    assert_eq!(format!("{opened:?}"), format!("{:?}", transaction()));
    assert_eq!(opened.verifier.reveal(), transaction().verifier.reveal());
    assert!(opened.browser.matches(&transaction().browser));
    assert_eq!(opened.deadline(), NOW.plus_seconds(600));
}

#[test]
fn o3_a_state_opens_at_its_place_only() {
    let sealed = transaction().seal(&key(), [1; 12]).unwrap();
    let check = |name: &str, alter: fn(&mut Place), want: Result<(), TransactionProblem>| {
        assert_eq!(open(&sealed, alter).map(drop), want, "{name}");
    };
    check("other host", |p| p.host = host("other.example"), Err(TransactionProblem::OtherHost));
    check("other browser", |p| p.browser = TokenDigest::of(b"b"), Err(TransactionProblem::OtherBrowser));
    check(
        "other tenant",
        |p| p.callback = CallbackOf::Tenant(TenantId::from_bytes([9; 16])),
        Err(TransactionProblem::OtherProvider),
    );
    check("the suite's callback", |p| p.callback = CallbackOf::Suite, Err(TransactionProblem::OtherProvider));
    check("at once", |p| p.now = NOW, Ok(()));
    check("9:59 later", |p| p.now = NOW.plus_seconds(599), Ok(()));
    check("10 min later", |p| p.now = NOW.plus_seconds(600), Err(TransactionProblem::Expired));
    check("11 min later", |p| p.now = NOW.plus_seconds(660), Err(TransactionProblem::Expired));
    check("at the end of time", |p| p.now = UnixTime::from_seconds(u64::MAX), Err(TransactionProblem::Expired));
    check(
        "after the clock was set back",
        |p| p.now = UnixTime::from_seconds(NOW.seconds() - 1),
        Err(TransactionProblem::Expired),
    );
    check(
        "other key",
        |p| p.key = MasterKey::from_bytes([6; 32]).derive("sso v1"),
        Err(TransactionProblem::Forged),
    );
    check(
        "a key for something else",
        |p| p.key = MasterKey::from_bytes([5; 32]).derive("flow v1"),
        Err(TransactionProblem::Forged),
    );
}

#[test]
fn the_suites_state_is_answered_at_the_suites_callback() {
    for tenant in [Some(TENANT), None] {
        let suite = Transaction { audience: Audience::Suite, tenant, ..transaction() };
        let sealed = suite.seal(&key(), [1; 12]).unwrap();
        assert!(open(&sealed, |place| place.callback = CallbackOf::Suite).is_ok());
        assert_eq!(open(&sealed, |_| {}).map(drop), Err(TransactionProblem::OtherProvider));
    }
    let nobodys = Transaction { tenant: None, ..transaction() };
    let sealed = nobodys.seal(&key(), [1; 12]).unwrap();
    assert_eq!(open(&sealed, |_| {}).map(drop), Err(TransactionProblem::OtherProvider));
}

#[test]
fn o3_every_flipped_bit_is_noticed() {
    let sealed = transaction().seal(&key(), [1; 12]).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut bytes = sealed.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(text) = String::from_utf8(bytes) {
            assert_eq!(open(&text, |_| {}).map(drop), Err(TransactionProblem::Forged), "bit {bit}");
        }
    }
    for length in 0..sealed.len() {
        assert_eq!(open(&sealed[..length], |_| {}).map(drop), Err(TransactionProblem::Forged));
    }
    assert_eq!(open(&format!("{sealed}="), |_| {}).map(drop), Err(TransactionProblem::Forged));
}

#[test]
fn what_was_sealed_for_something_else_is_no_transaction() {
    let plain = serde_json::to_vec(&transaction()).unwrap();
    let sealed = key().seal([1; 12], b"flow", &plain).unwrap();
    let text = super::provider::base64url(sealed);
    assert_eq!(open(&text, |_| {}).map(drop), Err(TransactionProblem::Forged));
}

#[test]
fn the_longest_transaction_can_be_carried() {
    let longest = Transaction {
        host: host(&vec!["a".repeat(61); 4].join(".")),
        issuer: Issuer::parse(&format!("https://a.example/{}", "a".repeat(494))).unwrap(),
        return_to: Some(format!("/{}", "\"".repeat(2047)).parse().unwrap()),
        username: Some(format!("{}@acme.example", "a".repeat(241)).parse().unwrap()),
        ..transaction()
    };
    let sealed = longest.seal(&key(), [1; 12]).unwrap();
    let got = open(&sealed, |place| place.host = longest.host.clone());
    assert!(got.is_ok(), "{} bytes", sealed.len());
    assert!(Callback::read(&format!("state={sealed}&code=c")).is_ok());
}

proptest! {
    /// Whoever asks, wherever and whenever: it opens for the one place that it was sealed for.
    #[test]
    fn o3_a_state_opens_for_one_place(
        host_ in prop::sample::select(vec!["desk.example", "www.desk.example", "other.example"]),
        browser in prop::sample::select(vec!["browser", "", "browser2"]),
        tenant in prop::sample::select(vec![None, Some(4), Some(5)]),
        late in prop_oneof![0_u64..1_300, Just(u64::MAX - 1_800_000_000)],
    ) {
        let sealed = transaction().seal(&key(), [1; 12]).unwrap();
        let opened = open(&sealed, |place| {
            place.host = host(host_);
            place.browser = TokenDigest::of(browser.as_bytes());
            place.callback = match tenant {
                Some(byte) => CallbackOf::Tenant(TenantId::from_bytes([byte; 16])),
                None => CallbackOf::Suite,
            };
            place.now = UnixTime::from_seconds((NOW.seconds() - 300).saturating_add(late));
        });
        let in_time = (300..900).contains(&late);
        let right = host_ == "desk.example" && browser == "browser" && tenant == Some(4) && in_time;
        prop_assert_eq!(opened.is_ok(), right);
    }

    /// No text that we did not seal opens.
    #[test]
    fn nothing_made_up_opens(text in "[A-Za-z0-9_-]{0,600}") {
        prop_assert_eq!(open(&text, |_| {}).map(drop), Err(TransactionProblem::Forged));
    }
}

#[test]
fn sec_r36_who_is_to_show_it_anew_has_not_shown_it_before() {
    let check = |anew, shown_at: Option<u64>, want| {
        let shown_at = shown_at.map(|before| UnixTime::from_seconds(NOW.seconds() - before));
        assert_eq!(Transaction { anew, ..transaction() }.accepts(shown_at), want, "{anew} {shown_at:?}");
    };
    check(false, Some(86_400), true);
    check(false, None, true);
    check(true, Some(0), true);
    check(true, Some(60), true);
    check(true, Some(61), false);
    check(true, Some(86_400), false);
    check(true, None, true);
}

#[test]
fn sec_r49_a_provider_that_does_not_say_when_it_asked_shows_nobody_unless_it_was_told_to_ask() {
    let shown = |anew, said| Transaction { anew, ..transaction() }.shown_at(said, NOW);
    let before = UnixTime::from_seconds(NOW.seconds() - 3600);
    assert_eq!((shown(false, Some(before)), shown(true, Some(before))), (Some(before), Some(before)));
    assert_eq!((shown(false, None), shown(true, None)), (None, Some(NOW)));
}
