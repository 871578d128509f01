//! From columns to the types of the domain, defensively, and back.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::StoreFault;
use crate::base::{Ttl, UnixTime};
use crate::sso::Issuer;

/// A time as a column holds it.
pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.seconds()).unwrap_or(i64::MAX)
}

/// A time as a column holds it that may be unknown: zero, then.
pub(super) fn known_seconds(time: Option<UnixTime>) -> i64 {
    time.map_or(0, seconds)
}

/// What [`known_seconds`] wrote.
pub(super) fn if_known(time: UnixTime) -> Option<UnixTime> {
    (time.seconds() > 0).then_some(time)
}

/// A number as a column holds it.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whether a row was refused because another one has what may be there once.
pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Whether a row was refused because nothing is where something must be.
pub(super) fn is_null_violation(error: &sqlx::Error) -> bool {
    let kind = error.as_database_error().map(sqlx::error::DatabaseError::kind);
    kind.is_some_and(|kind| matches!(kind, sqlx::error::ErrorKind::NotNullViolation))
}

/// Whether a row was refused by what the tables say of themselves, with triggers: SQLite's code is SQLITE_CONSTRAINT.
pub(super) fn is_constraint(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 19)
}

/// SQLite's codes for a file whose content is not a database, or a broken one (SQLITE_NOTADB, SQLITE_CORRUPT).
pub(super) fn is_no_database(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 26 | 11))
}

/// Reads one row's columns; `what` names the table in a fault.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r> {
    pub(super) row: &'r SqliteRow,
    pub(super) what: &'static str,
}

impl Columns<'_> {
    pub(super) fn corrupt(&self) -> StoreFault {
        StoreFault::Corrupt(self.what)
    }

    pub(super) fn text(&self, column: &str) -> Result<String, StoreFault> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    pub(super) fn text_or_null(&self, column: &str) -> Result<Option<String>, StoreFault> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    /// A text that parses into a type of the domain.
    pub(super) fn parsed<T: std::str::FromStr>(&self, column: &str) -> Result<T, StoreFault> {
        self.text(column)?.parse().map_err(|_| self.corrupt())
    }

    pub(super) fn bytes(&self, column: &str) -> Result<Vec<u8>, StoreFault> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    pub(super) fn bytes_or_null(&self, column: &str) -> Result<Option<Vec<u8>>, StoreFault> {
        self.row.try_get(column).map_err(|_| self.corrupt())
    }

    pub(super) fn array<const N: usize>(&self, column: &str) -> Result<[u8; N], StoreFault> {
        self.bytes(column)?.try_into().map_err(|_| self.corrupt())
    }

    pub(super) fn array_or_null<const N: usize>(&self, column: &str) -> Result<Option<[u8; N]>, StoreFault> {
        let bytes = self.bytes_or_null(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| self.corrupt())).transpose()
    }

    pub(super) fn number(&self, column: &str) -> Result<u64, StoreFault> {
        let number: i64 = self.row.try_get(column).map_err(|_| self.corrupt())?;
        u64::try_from(number).map_err(|_| self.corrupt())
    }

    pub(super) fn number_or_null(&self, column: &str) -> Result<Option<u64>, StoreFault> {
        let number: Option<i64> = self.row.try_get(column).map_err(|_| self.corrupt())?;
        number.map(|number| u64::try_from(number).map_err(|_| self.corrupt())).transpose()
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, StoreFault> {
        match self.number(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt()),
        }
    }

    pub(super) fn time(&self, column: &str) -> Result<UnixTime, StoreFault> {
        self.number(column).map(UnixTime::from_seconds)
    }

    pub(super) fn time_or_null(&self, column: &str) -> Result<Option<UnixTime>, StoreFault> {
        Ok(self.number_or_null(column)?.map(UnixTime::from_seconds))
    }

    pub(super) fn ttl(&self, column: &str) -> Result<Ttl, StoreFault> {
        let seconds = u32::try_from(self.number(column)?).ok().and_then(Ttl::from_seconds);
        seconds.ok_or_else(|| self.corrupt())
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, StoreFault> {
        serde_json::from_str(&self.text(column)?).map_err(|_| self.corrupt())
    }

    /// An issuer, letter by letter as it was given.
    pub(super) fn issuer(&self, column: &str) -> Result<Issuer, StoreFault> {
        Issuer::parse(&self.text(column)?).map_err(|_| self.corrupt())
    }

    /// A text that names one of our enums' variants.
    pub(super) fn named<T>(&self, column: &str, from_name: impl Fn(&str) -> Option<T>) -> Result<T, StoreFault> {
        from_name(&self.text(column)?).ok_or_else(|| self.corrupt())
    }
}

/// JSON for a column; our own types always serialise.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreFault> {
    serde_json::to_string(value).map_err(|error| StoreFault::Unavailable(error.to_string()))
}
