//! Whatever stands in a directory file, it is tenants or reasons.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::config::{Surroundings, load_directory};
use zonegate::zone::ZoneTable;

/// Every file holds the same secret, so that what is behind one is reached.
struct Nowhere;

impl Surroundings for Nowhere {
    fn read(&self, _: &std::path::Path) -> Result<Vec<u8>, String> {
        Err("there are no files".into())
    }
    fn read_secret(&self, _: &std::path::Path) -> Result<Vec<u8>, String> {
        Ok(b"secret".to_vec())
    }
    fn list(&self, _: &std::path::Path) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn variables(&self, _: &str) -> Vec<(String, String)> {
        Vec::new()
    }
}

fuzz_target!(|text: &str| {
    if let Err(problems) = load_directory(text, "directory.yaml", &ZoneTable::default(), &Nowhere) {
        assert!(!problems.list.is_empty(), "refused without a reason");
        assert!(!problems.to_string().is_empty());
    }
});
