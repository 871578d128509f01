//! `zonegate demo code alice@acme.example`: the demo's people carry no phone, so this is their authenticator app.
//!
//! It reads the secret from the demo's store, also one that was set up by QR code. A code is accepted once: when the
//! current one was used, the next is shown, which the gateway takes already (one step of skew, R63).

use crate::base::{UnixTime, Username};
use crate::credential::current_code;
use crate::store::{Store, StoreFault, TotpEnrolment};

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeProblem {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Nobody of that name.
    #[error("the demo knows no {0}. Start it to see its users: zonegate demo")]
    Nobody(Username),
    /// No authenticator.
    #[error("{0} has not set up an authenticator: log in once and scan the QR code")]
    NotEnrolled(Username),
    /// No password either.
    #[error(
        "{0} has no password here, and no code: they log in at the sample identity provider or the sample suite"
    )]
    Elsewhere(Username),
    /// Both codes that are accepted now were used.
    #[error("both codes that are accepted now were used: wait {0} seconds for the next")]
    Wait(u64),
}

/// A code that is accepted now, and for how many seconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FreshCode {
    /// Six digits.
    pub digits: String,
    /// How long the authenticator would show it, from now on.
    pub seconds_left: u64,
}

/// A code for `username` that is accepted now.
pub(crate) async fn code(store: &Store, username: &Username, now: UnixTime) -> Result<FreshCode, CodeProblem> {
    let account = store.account(username).await?.ok_or_else(|| CodeProblem::Nobody(username.clone()))?;
    match account.totp {
        Some(totp) => fresh(&totp, now),
        None if account.password.is_none() => Err(CodeProblem::Elsewhere(username.clone())),
        None => Err(CodeProblem::NotEnrolled(username.clone())),
    }
}

fn fresh(totp: &TotpEnrolment, now: UnixTime) -> Result<FreshCode, CodeProblem> {
    let period = u64::from(totp.period.seconds());
    let current = now.seconds() / period;
    let step = current.max(totp.last_step.saturating_add(1));
    let starts = step.saturating_mul(period);
    if step > current + 1 {
        return Err(CodeProblem::Wait(starts.saturating_sub(period).saturating_sub(now.seconds())));
    }
    let digits = current_code(&totp.secret, totp.period, UnixTime::from_seconds(starts));
    Ok(FreshCode { digits, seconds_left: (starts + period).saturating_sub(now.seconds()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{TotpSecret, accept};
    use crate::directory::TotpPeriod;

    fn enrolment(last_step: u64) -> TotpEnrolment {
        TotpEnrolment {
            secret: TotpSecret::from_bytes(*b"zonegate demo: alice"),
            period: TotpPeriod::Thirty,
            last_step,
            enrolled_at: UnixTime::from_seconds(0),
        }
    }

    #[test]
    fn the_code_shown_is_accepted_even_when_the_current_one_was_used() {
        let now = UnixTime::from_seconds(3_000_010);
        for last in [0, 100_000] {
            let totp = enrolment(last);
            let fresh = fresh(&totp, now).unwrap();
            let typed = fresh.digits.parse().unwrap();
            let step = accept(&totp.secret, totp.period, &typed, Some(last), now);
            assert_eq!(step, Some(if last == 0 { 100_000 } else { 100_001 }));
        }
    }

    #[test]
    fn when_both_were_used_it_says_how_long_to_wait() {
        let now = UnixTime::from_seconds(3_000_010);
        assert!(matches!(fresh(&enrolment(100_001), now), Err(CodeProblem::Wait(20))));
    }
}
