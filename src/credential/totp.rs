//! Time-based codes (RFC 6238): six digits, SHA-1, steps of 30 or 60 seconds (D31).
//!
//! Why SHA-1? Authenticator apps silently ignore any other choice, and HMAC-SHA-1 is not touched by collisions.
//! Whether a right code was used before is the store's to say, in one conditional write; here it is only
//! arithmetic.

use std::fmt;

use base64::Engine as _;
use totp_rs::{Algorithm, Builder};
use zeroize::ZeroizeOnDrop;

use crate::base::{UnixTime, Username};
use crate::directory::TotpPeriod;

const DIGITS: u8 = 6;
/// Steps before and after the current one in which a code is accepted (R63, DEV-8).
const SKEW_STEPS: u16 = 1;

/// An authenticator's secret: 160 bits (RFC 4226 section 4).
#[derive(Clone, ZeroizeOnDrop)]
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// Wraps 20 bytes that the caller drew from a secure source or opened from the store.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be sealed.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The text that people type into an app: base32 (RFC 4648 section 6), 32 characters.
    pub fn to_base32(&self) -> String {
        totp_rs::Secret::from(self.0.to_vec()).to_base32()
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

/// A code as it was typed: six ASCII digits. Apps print `123 456`, so white space is dropped (D31).
#[derive(Clone, ZeroizeOnDrop)]
pub struct TotpCode(String);

/// A text that cannot be a code. Not a guess, so not counted (D5).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a code is six digits")]
pub struct CodeProblem;

impl std::str::FromStr for TotpCode {
    type Err = CodeProblem;

    fn from_str(text: &str) -> Result<Self, CodeProblem> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).take(usize::from(DIGITS) + 1).collect();
        if digits.len() == usize::from(DIGITS) && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(digits))
        } else {
            Err(CodeProblem)
        }
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode(..)")
    }
}

fn totp(secret: &TotpSecret, period: TotpPeriod) -> totp_rs::Totp {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_skew(SKEW_STEPS)
        .with_step_duration(u64::from(period.seconds()))
        .with_secret(secret.0.to_vec())
        .build_noncompliant()
}

/// The step that `code` is right for at `now`, if it is right and later than `last_step` (SEC-R20).
///
/// The comparison takes the same time wherever the codes differ (RUSTSEC-2022-0018 is fixed in this version).
pub fn accept(
    secret: &TotpSecret,
    period: TotpPeriod,
    code: &TotpCode,
    last_step: Option<u64>,
    now: UnixTime,
) -> Option<u64> {
    let step = totp(secret, period).check(&code.0, now.seconds())?;
    last_step.is_none_or(|last| step > last).then_some(step)
}

/// The code that an authenticator shows at `now`: for the demo and for tests.
pub fn current_code(secret: &TotpSecret, period: TotpPeriod, now: UnixTime) -> String {
    totp(secret, period).generate(now.seconds()).to_string()
}

/// What the QR code says: `otpauth://totp/Issuer:username?secret=…&issuer=…&period=…` (Key Uri Format).
pub fn otpauth_uri(issuer: &str, username: &Username, secret: &TotpSecret, period: TotpPeriod) -> String {
    let encode = |text: &str| text.bytes().fold(String::new(), percent_encode);
    let (issuer, account) = (encode(issuer), encode(username.as_str()));
    let (secret, period) = (secret.to_base32(), period.seconds());
    format!(
        "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={period}"
    )
}

fn percent_encode(mut out: String, byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
        _ => out.push_str(&format!("%{byte:02X}")),
    }
    out
}

/// Serialises as base64, for the sealed flow that carries a secret which is not validated yet.
impl serde::Serialize for TotpSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for TotpSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| serde::de::Error::custom("a secret has 20 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC: TotpSecret = TotpSecret::from_bytes(*b"12345678901234567890");

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn code(text: &str) -> TotpCode {
        text.parse().unwrap()
    }

    #[test]
    fn agrees_with_rfc_6238_appendix_b() {
        // The last six of the eight digits of the appendix.
        for (time, want) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
        {
            assert_eq!(current_code(&RFC, TotpPeriod::Thirty, at(time)), want);
        }
    }

    #[test]
    fn p3_one_step_before_and_after_is_accepted_and_no_more() {
        for period in [TotpPeriod::Thirty, TotpPeriod::Sixty] {
            let now = 1_000_000_020;
            for (steps, accepted) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
                let shown = now + steps * i64::from(period.seconds());
                let shown = current_code(&RFC, period, at(u64::try_from(shown).unwrap()));
                assert_eq!(
                    accept(&RFC, period, &code(&shown), None, at(now as u64)).is_some(),
                    accepted,
                    "{steps}"
                );
            }
        }
    }

    #[test]
    fn sec_r20_a_step_is_refused_once_it_or_a_later_one_was_used() {
        let now = at(1_000_000_020);
        let shown = code(&current_code(&RFC, TotpPeriod::Thirty, now));
        let step = accept(&RFC, TotpPeriod::Thirty, &shown, None, now).unwrap();
        assert_eq!(accept(&RFC, TotpPeriod::Thirty, &shown, Some(step), now), None);
        assert_eq!(accept(&RFC, TotpPeriod::Thirty, &shown, Some(step + 1), now), None);
        assert_eq!(accept(&RFC, TotpPeriod::Thirty, &shown, Some(step - 1), now), Some(step));
    }

    #[test]
    fn d31_white_space_is_dropped_and_anything_else_is_malformed() {
        for good in ["123456", "123 456", " 123456\n", "1 2 3 4 5 6"] {
            assert!(good.parse::<TotpCode>().is_ok(), "{good:?}");
        }
        for bad in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "-12345", &"1".repeat(1 << 20)] {
            assert!(bad.parse::<TotpCode>().is_err(), "{:?}", bad.chars().take(9).collect::<String>());
        }
    }

    #[test]
    fn the_qr_code_names_product_and_account() {
        let uri = otpauth_uri("Acme Desk", &"jörg@acme.example".parse().unwrap(), &RFC, TotpPeriod::Sixty);
        assert_eq!(
            uri,
            "otpauth://totp/Acme%20Desk:j%C3%B6rg%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
            &issuer=Acme%20Desk&algorithm=SHA1&digits=6&period=60"
        );
    }
}
