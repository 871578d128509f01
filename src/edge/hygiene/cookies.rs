//! Our cookies are between us and the browser: none goes to an application, and none comes from one.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// What the names of our cookies begin with, in lower case.
const OURS: &[u8] = b"__host-zg_";
/// Where in [`OURS`] its rarest letter stands, the `z`.
const RARE: usize = 7;

/// Where the beginning of our names stands in these bytes, in any case. It is searched for by its rarest letter.
fn mentions(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |at: usize| {
        let from = at.checked_sub(RARE)?;
        bytes.get(from..from + OURS.len())?.eq_ignore_ascii_case(OURS).then_some(from)
    };
    memchr::memchr2_iter(b'z', b'Z', bytes).filter_map(begins)
}

/// Whether a cookie of this name is ours in some spelling: never sent to the application, never taken from it.
fn is_our_cookie(pair: &[u8]) -> bool {
    // A cookie without a name, `=__Host-zg_session=x`, comes back from some browsers as if it had ours.
    let start = pair.iter().position(|byte| !matches!(byte, b'=' | b' ' | b'\t')).unwrap_or(pair.len());
    let name = pair.get(start..).unwrap_or_default().split(|byte| *byte == b'=').next().unwrap_or_default();
    mentions(name).next().is_some()
}

/// The client's cookies without ours, over all fields, as one field (RFC 9113 section 8.2.3; SEC-R39). One field without
/// ours stays as it came.
pub fn foreign_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let fields = headers.get_all(COOKIE);
    let mut all = fields.iter();
    if let (Some(only), None) = (all.next(), all.next())
        && mentions(only.as_bytes()).next().is_none()
    {
        return Some(only.clone());
    }
    let mut joined = Vec::with_capacity(fields.iter().map(HeaderValue::len).sum());
    fields.iter().for_each(|field| join_foreign(field.as_bytes(), &mut joined));
    // Pieces of valid values, joined by valid bytes. Boxed, the bytes need no second allocation to be shared.
    let joined = bytes::Bytes::from(joined.into_boxed_slice());
    (!joined.is_empty()).then(|| HeaderValue::from_maybe_shared(joined).ok()).flatten()
}

/// Appends what is between the cookies of ours in a field.
fn join_foreign(field: &[u8], joined: &mut Vec<u8>) {
    let mut join = |piece: Option<&[u8]>| {
        let is_between = |byte: &u8| *byte == b';' || byte.is_ascii_whitespace();
        let piece = piece.unwrap_or_default();
        let start = piece.iter().position(|byte| !is_between(byte)).unwrap_or(piece.len());
        let end = piece.iter().rposition(|byte| !is_between(byte)).map_or(start, |last| last + 1);
        let piece = piece.get(start..end).unwrap_or_default();
        if !joined.is_empty() && !piece.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(piece);
    };
    // Before `done`, all is joined or left out; before `seen`, all mentions have been looked at.
    let (mut done, mut seen) = (0, 0);
    for mention in mentions(field) {
        if mention < seen {
            continue;
        }
        let (before, after) = field.split_at_checked(mention).unwrap_or_default();
        let start = memchr::memrchr(b';', before).map_or(0, |end| end + 1);
        seen = memchr::memchr(b';', after).map_or(field.len(), |end| mention + end);
        if field.get(start..seen).is_some_and(is_our_cookie) {
            join(field.get(done..start));
            done = seen;
        }
    }
    join(field.get(done..));
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
    use proptest::prelude::*;

    use super::super::tests::head;
    use super::*;
    use crate::portal::cookies;

    #[test]
    fn sec_r39_our_cookies_never_reach_the_application_and_the_rest_is_one_field() {
        let check = |fields: &[&str], want: Option<&str>| {
            let fields: Vec<_> = fields.iter().map(|value| ("cookie", *value)).collect();
            let got = foreign_cookies(&head(&fields).headers);
            assert_eq!(got.as_ref().map(|value| value.to_str().unwrap()), want, "{fields:?}");
        };
        check(&["a=b"], Some("a=b"));
        check(&["a=b;;c=zebra-zg_"], Some("a=b;;c=zebra-zg_"));
        check(&["a=b;;c=__Host-zg_", "d=z"], Some("a=b;;c=__Host-zg_; d=z"));
        check(&["__Host-zg_a=__Host-zg_b; __Host-zg_c=1;x=__Host-zg_;; ; __Host-zg_d; "], Some("x=__Host-zg_"));
        check(&["__Host-zg_a=1", " ; ", "x=1 "], Some("x=1"));
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
            assert_eq!(mentions(name.as_bytes()).count(), 1, "{name}");
        }
        for name in ["", "z", "host-zg_", "_host-zg_", "__host-zg", "__host_zg_", "__host-zz_"] {
            assert_eq!(mentions(name.as_bytes()).count(), 0, "{name}");
        }
    }

    proptest! {
        /// What is left is what would be left if each cookie were looked at, whatever stands between them.
        #[test]
        fn sec_r39_no_cookie_of_ours_is_left_and_all_others_are(
            fields in prop::collection::vec("((=|x|a=b|__Host-zg_|__HOST-ZG_a=|=__host-Zg_b=c|\"|; | ;|;){0,9})", 0..4),
        ) {
            let named: Vec<_> = fields.iter().map(|field| ("cookie", field.as_str())).collect();
            let headers = head(&named).headers.clone();
            let pairs = |headers: &HeaderMap| {
                let pairs: Vec<_> = cookies::pairs(&headers.get_all(COOKIE)).map(<[u8]>::to_vec).collect();
                pairs.into_iter().filter(|pair| !pair.is_empty()).collect::<Vec<_>>()
            };
            let want: Vec<_> = pairs(&headers).into_iter().filter(|pair| !is_our_cookie(pair)).collect();
            let mut left = HeaderMap::new();
            left.extend(foreign_cookies(&headers).map(|value| (COOKIE, value)));
            prop_assert_eq!(pairs(&left), want);
        }
    }
}
