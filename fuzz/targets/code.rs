//! A code is six digits, or none (P3).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::base::UnixTime;
use zonegate::credential::{TotpCode, TotpSecret, accept, current_code};
use zonegate::directory::TotpPeriod;

fuzz_target!(|text: &str| {
    let Ok(code) = text.parse::<TotpCode>() else { return };
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()), "{text:?}");
    let secret = TotpSecret::from_bytes(*b"12345678901234567890");
    let now = UnixTime::from_seconds(1_800_000_000);
    if let Some(step) = accept(&secret, TotpPeriod::Thirty, &code, None, now) {
        assert!((59_999_999..=60_000_001).contains(&step));
        let at = UnixTime::from_seconds(step * 30);
        assert_eq!(current_code(&secret, TotpPeriod::Thirty, at), digits);
        assert_eq!(accept(&secret, TotpPeriod::Thirty, &code, Some(step), now), None, "once");
    }
});
