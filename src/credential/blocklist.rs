//! Passwords that everybody tries first (SEC-R4).
//!
//! The list is from the password frequency list of zxcvbn (MIT, Dropbox, Inc. and contributors), in lower case, sorted: its
//! first three thousand, and of the others those of eight characters or more. *Why the short ones?* A tenant may allow
//! passwords shorter than eight characters (D11), and those that everybody tries are mostly such.

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

    #[test]
    fn sec_r4_the_short_ones_are_on_it_for_who_allows_short_ones() {
        for password in ["1234", "12345", "123456", "qwerty", "dragon", "letmein", "monkey", "abc123"] {
            assert!(contains(password), "{password}");
        }
    }
}
