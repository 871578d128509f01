//! What people are told of a log-in at a provider that came to nothing (P14): one of a few neutral sentences. Why it did, the
//! log is told.

/// Why there is no session, as far as people are told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Refusal {
    /// The provider did not confirm it (M19).
    #[default]
    NotConfirmed,
    /// The provider cannot be reached at the moment.
    Unreachable,
    /// It took too long, or was completed already.
    Expired,
    /// No account here is theirs whom the provider names (M19).
    NoAccount,
    /// The suite's account is not that of the username (M12).
    Mismatch,
    /// The company does not use the suite (M12).
    SuiteOff,
    /// The suite is not for accounts of this kind (M12).
    KindWithoutSuite,
    /// Only who manages the company at the suite can connect it.
    NotMaster,
    /// The account's own log-in is to be set up first (M11).
    NotSetUp,
    /// The account is locked (M3).
    Locked,
    /// Too many log-ins come from there (M25).
    TooOften,
}

/// Where another try begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Again {
    /// Where this one did.
    There,
    /// There, and the provider asks who it is: whoever it knows would be sent straight back.
    Anew,
    /// Nowhere: it would end as this one did, whoever comes from the provider.
    Nowhere,
}

impl Refusal {
    /// The id of the text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotConfirmed => "m19.refused",
            Self::Unreachable => "m19.unreachable",
            Self::Expired => "m19.expired",
            Self::NoAccount => "m19.account",
            Self::Mismatch => "m12.mismatch",
            Self::SuiteOff => "m12.off",
            Self::KindWithoutSuite => "m12.kind",
            Self::NotMaster => "m12.master",
            Self::NotSetUp => "m11",
            Self::Locked => "m3",
            Self::TooOften => "m25.often",
        }
    }

    /// Where whoever wanted to log in tries again.
    pub const fn again(self) -> Again {
        match self {
            // It is about who somebody is at the provider, and somebody else would get in.
            Self::NoAccount | Self::Mismatch => Again::Anew,
            // It is about the account here.
            Self::SuiteOff | Self::KindWithoutSuite | Self::NotSetUp | Self::Locked => Again::Nowhere,
            Self::NotConfirmed | Self::Unreachable | Self::Expired | Self::NotMaster | Self::TooOften => {
                Again::There
            }
        }
    }

    /// What the way to the log-in page is called: whoever is told to log in there is not somebody else.
    pub(super) const fn other_text(self) -> &'static str {
        match self {
            Self::NotSetUp | Self::KindWithoutSuite => "provider.error.local",
            Self::NotConfirmed
            | Self::Unreachable
            | Self::Expired
            | Self::NoAccount
            | Self::Mismatch
            | Self::SuiteOff
            | Self::NotMaster
            | Self::Locked
            | Self::TooOften => "provider.error.other",
        }
    }
}
