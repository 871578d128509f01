//! Credentials: what a password must be, how one is kept, and when a code is right.
//!
//! Arithmetic only. Where a hash is kept, how many attempts are left and what time it is are somebody else's; they
//! come in as arguments.

mod blocklist;
mod hash;
mod password;
mod totp;

pub use hash::{HashCost, HashProblem, PasswordHash, Pepper, hash_password, verify_password};
pub use password::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MAX, PasswordProblem, check_new_password, normalise};
pub use totp::{CodeProblem, TotpCode, TotpSecret, accept, current_code, otpauth_uri};
