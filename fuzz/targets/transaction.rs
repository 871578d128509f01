//! Only a state that was sealed here opens; and one that was, altered, does not (O3).
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use zonegate::base::{FlowId, Hostname, MasterKey, SealKey, TenantId, TokenDigest, UnixTime};
use zonegate::session::Class;
use zonegate::sso::{Arrival, Audience, CallbackOf, Issuer, Nonce, Purpose, Transaction, Verifier};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const TENANT: TenantId = TenantId::from_bytes([4; 16]);

static KEY: LazyLock<SealKey> = LazyLock::new(|| MasterKey::from_bytes([7; 32]).derive("fuzz"));
static HOST: LazyLock<Hostname> = LazyLock::new(|| "desk.example".parse().unwrap());
static SEALED: LazyLock<String> = LazyLock::new(|| {
    let transaction = Transaction {
        id: FlowId::from_bytes([1; 16]),
        audience: Audience::Tenant,
        tenant: Some(TENANT),
        host: HOST.clone(),
        issuer: Issuer::parse("https://a.example").unwrap(),
        browser: TokenDigest::of(b"x"),
        class: Class::Web,
        return_to: None,
        username: None,
        purpose: Purpose::LogIn,
        anew: false,
        nonce: Nonce::from_bytes([5; 32]),
        verifier: Verifier::from_bytes([6; 32]),
        started_at: NOW,
    };
    transaction.seal(&KEY, [1; 12]).unwrap()
});

fn opens(text: &str) -> bool {
    let arrival = Arrival { host: &HOST, browser: TokenDigest::of(b"x"), callback: CallbackOf::Tenant(TENANT) };
    Transaction::open(text, &KEY, &arrival, NOW).is_ok()
}

fuzz_target!(|input: (&str, u16, u8)| {
    let (text, at, byte) = input;
    assert_eq!(opens(text), text == *SEALED);
    let mut altered = SEALED.clone().into_bytes();
    let at = usize::from(at) % altered.len();
    altered[at] = byte;
    if let Ok(altered) = String::from_utf8(altered) {
        assert_eq!(opens(&altered), altered == *SEALED);
    }
});
