//! Which trace a request belongs to (W3C Trace Context, level 1): read from what a client says, and written for the
//! application.
//!
//! What does not parse is no trace: then a new one begins, as the standard has it.

use crate::base::RequestId;

/// The name of a span: 8 bytes, never all zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SpanName(u64);

/// A `traceparent`: the trace, the span above, and whether whoever is above keeps it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceParent {
    /// 16 bytes, never all zero.
    pub trace: u128,
    /// The span above.
    pub span: SpanName,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl SpanName {
    /// The 8 bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl TraceParent {
    /// Reads a `traceparent`: `00-TRACE-SPAN-FLAGS` in lower-case hex. Later versions may say more behind it.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(55)?;
        let mut parts = head.split(|byte| *byte == b'-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits).and_then(hex);
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let span = u64::try_from(span).ok()?;
        (fits && trace != 0 && span != 0).then_some(Self { trace, span: SpanName(span), sampled: flags & 1 == 1 })
    }

    /// A trace that begins with this request. `salt`: of this process, so that no two use the same names.
    ///
    /// The lower half is mixed, because whoever samples by ratio further down looks at its digits; the request's
    /// own count there would have all or none of them sampled.
    pub const fn begin(request: RequestId, salt: u64, sampled: bool) -> Self {
        let request = u128::from_be_bytes(*request.as_bytes());
        let above = request & !(u64::MAX as u128);
        let trace = above | mix(request as u64 ^ salt) as u128;
        let trace = if trace == 0 { 1 } else { trace };
        Self { trace, span: child(trace, 0), sampled }
    }

    /// The same trace under another span.
    #[must_use]
    pub const fn under(self, span: SpanName, sampled: bool) -> Self {
        Self { trace: self.trace, span, sampled }
    }
}

/// As it stands in the header.
impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span.0, u8::from(self.sampled))
    }
}

/// The names of a request's own spans: different for each `number` and for each request of the same trace.
pub const fn child(seed: u128, number: u64) -> SpanName {
    let name = mix(seed as u64 ^ (seed >> 64) as u64 ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    SpanName(if name == 0 { 1 } else { name })
}

/// Whether this request is among the `share` (of 2^64) that is recorded. No word of a client's has a say.
pub const fn is_sampled(request: RequestId, salt: u64, share: u64) -> bool {
    let request = u128::from_be_bytes(*request.as_bytes());
    share == u64::MAX || mix(!(request as u64) ^ salt) < share
}

/// Lower-case digits only: the standard has no others.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every number has another, and neighbours look unrelated.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(count: u64) -> RequestId {
        RequestId::from_bytes((0xabcd_0000_0000_0001_u128 << 64 | u128::from(count)).to_be_bytes())
    }

    #[test]
    fn what_the_standard_calls_valid_is_read_and_nothing_else() {
        let parsed = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parsed.to_string(), GOOD);
        assert!(parsed.sampled);
        let check = |text: &str, want: bool| {
            assert_eq!(TraceParent::parse(text.as_bytes()).is_some(), want, "{text}");
        };
        check(&GOOD.replace("-01", "-00"), true);
        check(&GOOD.replacen("00", "cc", 1), true);
        check(&format!("{}-more", GOOD.replacen("00", "cc", 1)), true);
        check(&format!("{}more", GOOD.replacen("00", "cc", 1)), false);
        check(&format!("{GOOD}-more"), false);
        check(&format!("{GOOD} "), false);
        check(&GOOD.replacen("00", "ff", 1), false);
        check(&GOOD.to_uppercase(), false);
        check(&GOOD[1..], false);
        check("", false);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01", false);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(read) = TraceParent::parse(&bytes) {
                prop_assert_eq!(TraceParent::parse(read.to_string().as_bytes()), Some(read));
            }
        }

        #[test]
        fn what_begins_here_is_valid(count in any::<u64>(), salt in any::<u64>()) {
            let begun = TraceParent::begin(request(count), salt, true);
            prop_assert_eq!(TraceParent::parse(begun.to_string().as_bytes()), Some(begun));
        }
    }

    #[test]
    fn each_request_has_a_trace_and_spans_of_its_own_and_the_share_that_was_asked_for_is_sampled() {
        let (mut traces, mut spans, mut sampled) = (HashSet::new(), HashSet::new(), 0);
        for count in 0..10_000 {
            let begun = TraceParent::begin(request(count), 7, true);
            traces.insert(begun.trace);
            spans.extend((0..4).map(|number| child(begun.trace, number).to_bytes()));
            sampled += u32::from(is_sampled(request(count), 7, u64::MAX / 10));
        }
        assert_eq!((traces.len(), spans.len()), (10_000, 40_000));
        assert!((900..1100).contains(&sampled), "{sampled}");
        assert!(is_sampled(request(1), 7, u64::MAX) && !is_sampled(request(1), 7, 0));
    }
}
