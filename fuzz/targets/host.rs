//! A host has one canonical form, and what is in a `Host` field is one plain name or refused (M8).
#![no_main]

use libfuzzer_sys::fuzz_target;
use pingora::http::RequestHeader;
use zonegate::base::Hostname;
use zonegate::edge::fields::Fields;
use zonegate::edge::hygiene::host;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<Hostname>() {
        assert_eq!(name.as_str().parse::<Hostname>().as_ref(), Ok(&name));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        assert!(name.as_str().bytes().all(plain), "{text:?} is {name}");
        // A browser that is sent there arrives there.
        let url = url::Url::parse(&format!("https://{name}/")).unwrap();
        assert_eq!(url.host_str(), Some(name.as_str()), "{text:?}");
    }
    let mut head = RequestHeader::build("GET", b"/", None).unwrap();
    if head.append_header("Host", text).is_err() {
        return;
    }
    if let Ok(name) = host(&head, &Fields::of(&head.headers)) {
        assert!(text.starts_with(name), "{text:?} is {name:?}");
        assert!(!name.bytes().any(|b| b <= b' ' || matches!(b, b'@' | b'/' | b'?' | b'#' | b',' | b'\\')), "{name:?}");
    }
});
