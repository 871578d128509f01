//! Whatever is written, reading it ends in settings or in reasons.

use proptest::prelude::*;

use super::*;
use crate::zone::ZoneTable;

/// A file that has everything, for making broken ones from.
const WHOLE: &str = include_str!("../../../config/zonegate.yaml");

proptest! {
    // A case reads a whole file several times: a second in all, unoptimised.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever stands in the file, it is read or refused with a reason.
    #[test]
    fn no_text_makes_reading_panic(
        cuts in proptest::collection::vec((0..WHOLE.len(), 0..40_usize, "[-:\\[\\]{}#'\"\n\t &*!|>%@`,a-z0-9\\PC]{0,12}"), 1..6),
    ) {
        let mut text = examples::uncommented(WHOLE).into_bytes();
        for (at, length, with) in cuts {
            let from = at.min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, with.into_bytes());
        }
        let text = String::from_utf8_lossy(&text);
        match load(&text, "/etc/zg/z.yaml", &Outside::new()) {
            Ok(_) => {}
            Err(problems) => prop_assert!(!problems.list.is_empty(), "refused without a reason:\n{text}"),
        }
        let zones = ZoneTable::default();
        if let Err(problems) = load_directory(&text, "d.yaml", &zones, &Outside::new()) {
            prop_assert!(!problems.list.is_empty(), "refused without a reason:\n{text}");
        }
    }

    /// The same for values that look right.
    #[test]
    fn no_value_makes_reading_panic(key in "[a-z_]{1,12}", value in "\\PC{0,24}") {
        for section in ["security", "limits", "hashing", "assertion", "listen", "brand", "log"] {
            let quoted = value.replace('\'', "''");
            for known in ["idle_max", "head", "memory", "lifetime", "https", "admin", "accent", key.as_str()] {
                told(&format!("{HEAD}{section}: {{ {known}: '{quoted}' }}\n"), &Outside::new());
            }
        }
        let outside = Outside::new().variable(&format!("ZONEGATE_{}", value.to_uppercase()), &value);
        told(HEAD, &outside);
    }
}
