//! A username's canonical form is a username, and its own (D32).
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::base::Username;

fuzz_target!(|text: &str| {
    let Ok(name) = text.parse::<Username>() else { return };
    assert_eq!(name.as_str().parse::<Username>().as_ref(), Ok(&name), "{text:?}");
    assert!(name.as_str().matches('@').count() == 1 && name.as_str().len() <= 254, "{text:?} is {name}");
    assert!(!name.as_str().contains(|c: char| c.is_whitespace() || c.is_control()), "{text:?} is {name}");
    assert_eq!(name.as_str().rsplit('@').next(), Some(name.domain()));
});
