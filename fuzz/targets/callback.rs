//! An answer is a state with one code or one error of known name, and what is in it is visible ASCII (O3, O10).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::sso::{Answer, Callback};

fuzz_target!(|query: &str| {
    let Ok(callback) = Callback::read(query) else { return };
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    assert!(visible(&callback.state), "{query:?}");
    let count = |name: &str| url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name).count();
    assert_eq!(count("state"), 1, "{query:?}");
    assert_eq!(count("code") + count("error"), 1, "{query:?}");
    assert_eq!(count("iss"), usize::from(callback.iss.is_some()), "{query:?}");
    match callback.answer {
        Answer::Code(code) => assert!(visible(&code), "{query:?}"),
        Answer::Error(error) => {
            assert!(error.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        }
    }
});
