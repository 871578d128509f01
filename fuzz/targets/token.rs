//! A token has one spelling, and only what was sealed here opens (S2, O3).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::base::{MasterKey, SessionToken, TokenDigest, UnixTime};
use zonegate::login::{Flow, Holder, Sender};

fuzz_target!(|bytes: &[u8]| {
    if let Some(token) = SessionToken::parse(bytes) {
        assert_eq!(token.reveal().as_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let key = MasterKey::from_bytes([7; 32]).derive("fuzz");
        let host = "desk.example".parse().unwrap();
        let sender = Sender { host: &host, holder: Holder::Browser(TokenDigest::of(b"x")) };
        assert!(Flow::open(text, &key, sender, UnixTime::from_seconds(1_800_000_000)).is_err());
    }
    let key = MasterKey::from_bytes([7; 32]).derive("fuzz");
    assert!(key.open(b"context", bytes).is_err());
});
