//! What a new password must be (R44, R46, D10, D11; SEC-R1 to R4). Every path that sets one asks here (R47).

use unicode_normalization::UnicodeNormalization as _;

use super::blocklist;
use crate::base::Username;
use crate::directory::PasswordRules;

/// The longest password, in Unicode scalar values after NFC (R44).
pub const PASSWORD_CHARS_MAX: usize = 64;
/// The same in bytes: what is longer is refused, or at log-in simply wrong, before it is looked at.
pub const PASSWORD_BYTES_MAX: usize = 4 * PASSWORD_CHARS_MAX;
/// The shortest strong password (D11).
const STRONG_CHARS_MIN: usize = 12;

/// Why a new password is refused. Each has its own text (M9).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordProblem {
    /// Over 64 characters (R44).
    #[error("use at most 64 characters")]
    TooLong,
    /// Under the minimum, which is given.
    #[error("use at least {0} characters")]
    TooShort(usize),
    /// White space or a single quote, whether or not strong passwords are required (R46).
    #[error("spaces and single quotes are not allowed")]
    SpaceOrQuote,
    /// A control character, which nobody can type again.
    #[error("control characters are not allowed")]
    Control,
    /// Not strong, where that is required (D11).
    #[error("use at least one special character, and two of upper case, lower case and digit")]
    NotStrong,
    /// On the list of common passwords (SEC-R4).
    #[error("this password is too common")]
    Common,
    /// Made of the username (SEC-R4).
    #[error("do not use your username in the password")]
    ContainsUsername,
    /// One of as many as are remembered, the current one included (R45).
    #[error("choose a password that is {}", match .history {
        1 => "not the one you have".to_owned(),
        history => format!("none of your last {history}"),
    })]
    Reused {
        /// How many that is.
        history: u8,
    },
}

/// The form in which passwords are hashed: NFC, so that the same characters typed on two keyboards are the same.
pub fn normalise(password: &str) -> String {
    password.nfc().collect()
}

/// Everything that is wrong with a new password, as it was typed; nothing is trimmed or cut (R46).
///
/// Whether it was used before ([`PasswordProblem::Reused`]) needs the stored hashes and is found by the caller.
pub fn check_new_password(rules: &PasswordRules, username: &Username, password: &str) -> Vec<PasswordProblem> {
    let password = normalise(password);
    let length = password.chars().count();
    let minimum = usize::from(rules.length_min).max(if rules.strong { STRONG_CHARS_MIN } else { 1 });
    let folded = password.to_lowercase();
    let local = username.as_str().split('@').next().unwrap_or_default();
    let findings = [
        (length > PASSWORD_CHARS_MAX, PasswordProblem::TooLong),
        (length < minimum, PasswordProblem::TooShort(minimum)),
        (password.contains(|c: char| c.is_whitespace() || c == '\''), PasswordProblem::SpaceOrQuote),
        (password.contains(|c: char| c.is_control() && !c.is_whitespace()), PasswordProblem::Control),
        (rules.strong && !is_strong(&password), PasswordProblem::NotStrong),
        (blocklist::contains(&folded), PasswordProblem::Common),
        (local.chars().count() >= 4 && folded.contains(local), PasswordProblem::ContainsUsername),
    ];
    findings.into_iter().filter_map(|(found, problem)| found.then_some(problem)).collect()
}

/// One special character, and two of upper case, lower case, digit (D11).
fn is_strong(password: &str) -> bool {
    let has = |class: fn(char) -> bool| password.chars().any(class);
    let groups = [has(char::is_uppercase), has(char::is_lowercase), has(char::is_numeric)];
    has(|c| !c.is_alphanumeric()) && groups.into_iter().filter(|present| *present).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use PasswordProblem::*;

    use crate::directory::UserKind;

    fn check(strong: bool, password: &str, want: &[PasswordProblem]) {
        let rules = PasswordRules { strong, length_min: 8, history: 5 };
        let got = check_new_password(&rules, &"alice@acme.example".parse().unwrap(), password);
        assert_eq!(got, want, "{password:?} strong={strong}");
    }

    #[test]
    fn r44_sixty_four_characters_are_accepted_and_sixty_five_refused() {
        let base = "kX9!".repeat(16);
        check(true, &base, &[]);
        check(true, &format!("{base}a"), &[TooLong]);
        // 64 characters of four bytes each, and 64 that are 128 before NFC.
        check(false, &"𝄞𝄢".repeat(32), &[]);
        check(false, &"o\u{308}e\u{301}".repeat(32), &[]);
    }

    #[test]
    fn r46_spaces_and_single_quotes_are_refused_whether_strong_or_not() {
        for password in [" kX9!kX9!kX9!", "kX9!kX 9!kX9!", "kX9!kX9!kX9! ", "kX9!kX9!'kX9!", "kX9!kX9\u{a0}!kX9!"]
        {
            check(true, password, &[SpaceOrQuote]);
            check(false, password, &[SpaceOrQuote]);
        }
        check(false, "kX9!kX9\u{0}!kX9!", &[Control]);
        check(false, "kX9!\u{2019}kX9!", &[]);
    }

    #[test]
    fn d11_strong_passwords_have_twelve_characters_a_special_one_and_two_groups() {
        check(true, "kX9!kX9!kX9", &[TooShort(12)]);
        check(true, "kX9kX9kX9kX9", &[NotStrong]);
        check(true, "!!!!!!kkkkkk", &[NotStrong]);
        check(true, "!!!!!!kkkkk9", &[]);
        check(false, "kqzvwxj", &[TooShort(8)]);
        check(false, "kqzvwxjy", &[]);
    }

    #[test]
    fn sec_r1_a_password_that_is_all_somebody_shows_is_longer() {
        let rules = PasswordRules { strong: false, length_min: 8, history: 5 };
        let check =
            |kind| check_new_password(&rules.of_kind(kind), &"a@acme.example".parse().unwrap(), "kqzvwxjykqzvwx");
        assert_eq!(check(UserKind::Regular), []);
        assert_eq!(check(UserKind::Dashboard), [TooShort(15)]);
    }

    #[test]
    fn r45_who_is_refused_an_earlier_password_is_told_how_many_count() {
        let told = |history| Reused { history }.to_string();
        assert_eq!(told(5), "choose a password that is none of your last 5");
        assert_eq!(told(1), "choose a password that is not the one you have");
    }

    #[test]
    fn sec_r4_common_passwords_and_the_username_are_refused() {
        check(false, "password", &[Common]);
        check(false, "PassWord", &[Common]);
        check(false, "1234567890", &[Common]);
        let short = PasswordRules { strong: false, length_min: 6, history: 5 };
        let check_short = |password| check_new_password(&short, &"alice@acme.example".parse().unwrap(), password);
        assert_eq!(check_short("Qwerty"), [Common], "where a tenant allows six characters (D11)");
        assert_eq!(check_short("kqzvwx"), []);
        check(false, "xAlice2026x", &[ContainsUsername]);
    }
}
