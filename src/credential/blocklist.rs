//! Passwords that everybody tries first (SEC-R4).
//!
//! The list is the password frequency list of zxcvbn (MIT, Dropbox, Inc. and contributors), reduced to the entries
//! of eight characters or more, in lower case, sorted: shorter ones fail the length rule anyway.

use std::sync::LazyLock;

static COMMON: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Whether `folded`, in lower case, is on the list.
pub(super) fn contains(folded: &str) -> bool {
    COMMON.binary_search(&folded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_long_enough() {
        assert!(COMMON.is_sorted());
        assert!(COMMON.len() >= 3000, "SEC-R4 asks for the top 3000, got {}", COMMON.len());
    }
}
