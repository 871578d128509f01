//! Whatever stands in the configuration, it is settings or reasons.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zonegate::config::{Surroundings, load};

struct Nowhere;

impl Surroundings for Nowhere {
    fn read(&self, _: &std::path::Path) -> Result<Vec<u8>, String> {
        Err("there are no files".into())
    }
    fn read_secret(&self, _: &std::path::Path) -> Result<Vec<u8>, String> {
        Ok(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_vec())
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
    if let Err(problems) = load(text, "/etc/zonegate/zonegate.yaml", &Nowhere) {
        assert!(!problems.list.is_empty(), "refused without a reason");
        assert!(!problems.to_string().is_empty());
    }
});
