//! No cookie of ours reaches the application, and every other does, in order (SEC-R39, H9).
#![no_main]

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use zonegate::edge::hygiene::{foreign_cookies, foreign_set_cookies, sets_our_cookie};
use zonegate::portal::cookies::{SESSION, Sent, sent};

/// A name that a browser or parser could take for ours: found another way than the code under test does.
fn could_be_ours(pair: &str) -> bool {
    let name = pair.trim_start_matches(['=', ' ', '\t']).split('=').next().unwrap_or_default();
    name.to_ascii_lowercase().contains("__host-zg_")
}

fuzz_target!(|fields: Vec<Vec<u8>>| {
    let mut headers = HeaderMap::new();
    for field in &fields {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(COOKIE, value.clone());
            headers.append(SET_COOKIE, value);
        }
    }
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let pairs = |value: &[u8]| -> Vec<String> {
        let pairs = value.split(|byte| *byte == b';').map(|pair| text(pair.trim_ascii()));
        pairs.filter(|pair| !pair.is_empty()).collect()
    };
    let want: Vec<String> = headers.get_all(COOKIE).iter().flat_map(|field| pairs(field.as_bytes()))
        .filter(|pair| !could_be_ours(pair)).collect();
    let got = foreign_cookies(&headers).map(|value| pairs(value.as_bytes())).unwrap_or_default();
    assert_eq!(got, want);
    if let Sent::One(value) = sent(&headers, SESSION) {
        assert!(!value.contains(&b';'));
    }
    let kept = foreign_set_cookies(&headers);
    assert!(kept.iter().all(|value| !could_be_ours(&text(value.as_bytes()))));
    assert_eq!(sets_our_cookie(&headers), kept.len() < headers.get_all(SET_COOKIE).iter().count());
});
