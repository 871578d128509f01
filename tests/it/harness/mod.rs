//! Drives the built program as the outside sees it: `zonegate demo` as a child process, a browser's worth of HTTP
//! towards it, and an authenticator app.

mod authority;
mod backends;
mod bench;
mod demo;
mod front;
mod gateway;
mod h2;
mod upstream;
mod visitor;
mod wire;

pub(crate) use authority::{Authority, Leaf, acceptor, tls_before};
pub(crate) use bench::{Bench, Want, shown};
pub(crate) use demo::{Demo, SampleUser};
pub(crate) use front::Front;
pub(crate) use gateway::{A, B, Gateway, HALL, LOGIN, SHARED, WALL, Wishes};
pub(crate) use h2::{H2, read};
pub(crate) use upstream::{OK, Play, Received, Upstream};
pub(crate) use visitor::{Answer, Login, Visitor};
pub(crate) use wire::{Reply, Wire, free_port, within};

/// What an authenticator app shows for `secret` (base32) in this step: RFC 6238 with SHA-1 and six digits.
/// Written out here, so that the library under test is not its own judge.
pub(crate) fn code(secret: &str, step: u64) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &from_base32(secret));
    let tag = aws_lc_rs::hmac::sign(&key, &step.to_be_bytes());
    let offset = usize::from(tag.as_ref()[19] & 15);
    let word: [u8; 4] = tag.as_ref()[offset..offset + 4].try_into().unwrap();
    format!("{:06}", (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000)
}

fn from_base32(text: &str) -> Vec<u8> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut out = Vec::new();
    for letter in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|b| *b == letter).unwrap();
        bits = bits << 5 | u32::try_from(value).unwrap();
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    out
}

#[test]
fn the_authenticator_agrees_with_rfc_6238() {
    // Appendix B, the secret "12345678901234567890": the last six of the eight digits.
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    for (time, want) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
        assert_eq!(code(secret, time / 30), want, "{time}");
    }
}
