//! Whatever stands in a directory file, it is tenants or reasons.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::config::load_directory;
use zonegate::zone::ZoneTable;

fuzz_target!(|text: &str| {
    if let Err(problems) = load_directory(text, "directory.yaml", &ZoneTable::default()) {
        assert!(!problems.list.is_empty(), "refused without a reason");
        assert!(!problems.to_string().is_empty());
    }
});
