//! Log-ins that are turned away, because there are too many of them.

use axum::http::{HeaderValue, StatusCode};

/// Why a log-in was turned away before anything was held against anything. No attempt was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shed {
    /// More than one source may try in a minute (D7, L3).
    Source,
    /// More than one account may have waiting.
    Account,
    /// More than the hashing pool takes.
    Queue,
}

impl Shed {
    /// The name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Account => "account",
            Self::Queue => "queue",
        }
    }

    /// Whose doing it is: who asks too often is told so (D7), and only where the machine has too much to do is it ours.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Source | Self::Account => StatusCode::TOO_MANY_REQUESTS,
            Self::Queue => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The id of the text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Source | Self::Account => "m25.often",
            Self::Queue => "m25",
        }
    }

    /// In how many seconds another try may be worth it.
    pub const fn retry_after(self) -> HeaderValue {
        match self {
            Self::Source => HeaderValue::from_static("10"),
            Self::Account | Self::Queue => HeaderValue::from_static("2"),
        }
    }
}
