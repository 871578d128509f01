//! Ids: 128 random bits, written as 32 lower-case hexadecimal digits.
//!
//! An id names a thing and proves nothing: a session's id may stand in a log, its token may not.

use std::fmt;
use std::str::FromStr;

use super::hex::hex_bytes;

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not an id (32 lower-case hexadecimal digits)")]
pub struct IdProblem;

fn parse_hex(text: &str) -> Result<[u8; 16], IdProblem> {
    // One spelling, so that who compares texts compares ids.
    let lower = !text.bytes().any(|digit| digit.is_ascii_uppercase());
    hex_bytes(text.as_bytes()).filter(|_| lower).ok_or(IdProblem)
}

fn hex_digits(bytes: [u8; 16]) -> [u8; 32] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    let mut out = [0; 32];
    let (pairs, _) = out.as_chunks_mut::<2>();
    for ([high, low], byte) in pairs.iter_mut().zip(bytes) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 0x0f));
    }
    out
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes that the caller drew from a secure source.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes, as the store keeps them.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The text, in ASCII. No allocation, and a tenth of what formatting costs.
            pub fn digits(&self) -> [u8; 32] {
                hex_digits(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdProblem;

            fn from_str(text: &str) -> Result<Self, IdProblem> {
                parse_hex(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// A customer company.
    TenantId
}
id! {
    /// A user's directory record: stable over renames, the assertion's `sub`.
    UserId
}
id! {
    /// A session's public name: in logs, the assertion's `sid`, the list of my sessions. Opens nothing.
    SessionId
}
id! {
    /// One log-in attempt of one browser tab.
    FlowId
}
id! {
    /// One request, as logs, `X-Request-Id` and error pages name it.
    RequestId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_and_nothing_else_parses() {
        let id = UserId::from_bytes(*b"\x00\x0f\xff3456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "0", "000FFF33343536373839616263646566", "zz0fff33343536373839616263646566"] {
            assert_eq!(text.parse::<UserId>(), Err(IdProblem), "{text:?}");
        }
    }
}
