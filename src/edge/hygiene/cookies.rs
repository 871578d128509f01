//! Our cookies are between us and the browser: none goes to an application, and none comes from one.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::portal::cookies;

/// What the names of our cookies begin with, in lower case.
const OURS: &[u8] = b"__host-zg_";
/// The place in it of its rarest letter.
const RARE: usize = 7;

/// Whether some bytes have the beginning of our names in them, in any case. What has it seldom is looked at once.
fn mentions_ours(bytes: &[u8]) -> bool {
    let is_there = |at: usize| {
        let from = at.checked_sub(RARE)?;
        Some(bytes.get(from..from + OURS.len())?.eq_ignore_ascii_case(OURS))
    };
    memchr::memchr2_iter(b'z', b'Z', bytes).any(|at| is_there(at) == Some(true))
}

/// Whether a cookie of this name is ours in some spelling: never sent to the application, never taken from it.
fn is_our_cookie(pair: &[u8]) -> bool {
    // A cookie without a name, `=__Host-zg_session=x`, comes back from some browsers as if it had ours.
    let start = pair.iter().position(|byte| !matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(pair.len());
    let name = pair.get(start..).unwrap_or_default().split(|byte| *byte == b'=').next().unwrap_or_default();
    mentions_ours(name)
}

/// The client's cookies without ours, over all fields, as one field (RFC 9113 section 8.2.3; SEC-R39). One field without
/// ours stays as it came.
pub fn foreign_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields = headers.get_all(COOKIE);
    let mut all = fields.iter();
    if let (Some(only), None) = (all.next(), all.next())
        && !mentions_ours(only.as_bytes())
    {
        return Some(only.clone());
    }
    let mut joined = Vec::with_capacity(fields.iter().map(HeaderValue::len).sum());
    cookies::pairs(&fields).filter(|pair| !pair.is_empty() && !is_our_cookie(pair)).for_each(|pair| {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(pair);
    });
    // Pieces of valid values, joined by valid bytes. Boxed, the bytes need no second allocation to be shared.
    let joined = bytes::Bytes::from(joined.into_boxed_slice());
    (!joined.is_empty()).then(|| HeaderValue::from_maybe_shared(joined).ok()).flatten()
}

/// Whether the application tries to set a cookie of ours (H9).
pub fn sets_our_cookie(headers: &HeaderMap) -> bool {
    headers.get_all(SET_COOKIE).iter().any(|value| is_our_cookie(value.as_bytes()))
}

/// The cookies that the application may set.
pub fn foreign_set_cookies(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(SET_COOKIE).iter().filter(|value| !is_our_cookie(value.as_bytes())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    #[test]
    fn sec_r39_our_cookies_never_reach_the_application_and_the_rest_is_one_field() {
        let check = |fields: &[&str], want: Option<&str>| {
            let fields: Vec<_> = fields.iter().map(|value| ("cookie", *value)).collect();
            let got = foreign_cookies(&head(&fields).headers);
            assert_eq!(got.as_ref().map(|value| value.to_str().unwrap()), want, "{fields:?}");
        };
        check(&["a=b"], Some("a=b"));
        check(&["a=b;;c=zebra-zg_"], Some("a=b;;c=zebra-zg_"));
        check(&["a=b;;c=__Host-zg_", "d=z"], Some("a=b; c=__Host-zg_; d=z"));
        check(&["a=b; __Host-zg_session=x; c=d"], Some("a=b; c=d"));
        check(&["__Host-zg_session=x"], None);
        check(&["a=b", "__Host-zg_browser=x", "c=d"], Some("a=b; c=d"));
        check(&["__HOST-ZG_SESSION=x; a=b"], Some("a=b"));
        check(&["\"; __Host-zg_session=x; \"=y; a=b"], Some("\"; \"=y; a=b"));
        check(&["=__Host-zg_session=x; ==__Host-zg_browser=y; =a=b"], Some("=a=b"));
        check(&[], None);
    }

    #[test]
    fn our_names_are_found_wherever_they_begin() {
        assert_eq!(OURS.get(RARE), Some(&b'z'));
        for name in ["__Host-zg_session", "z__HOST-ZG_", "zzz__host-zg_z", "-zg___host-Zg_"] {
            assert!(mentions_ours(name.as_bytes()), "{name}");
        }
        for name in ["", "z", "host-zg_", "_host-zg_", "__host-zg", "__host_zg_", "__host-zz_"] {
            assert!(!mentions_ours(name.as_bytes()), "{name}");
        }
    }
}
