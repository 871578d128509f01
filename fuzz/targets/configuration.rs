//! Whatever stands in the configuration, it is settings or reasons.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::config::{Surroundings, load};

struct Nowhere;
SURROUNDINGS

fuzz_target!(|text: &str| {
    if let Err(problems) = load(text, "/etc/zonegate/zonegate.yaml", &Nowhere) {
        assert!(!problems.list.is_empty(), "refused without a reason");
        assert!(!problems.to_string().is_empty());
    }
});
