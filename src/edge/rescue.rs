//! The one place that turns a fault on the way upstream into a status. Nothing of our insides is in it.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

/// What the client is told, or `None` when there is nobody left to tell.
pub(super) fn status(error: &Error) -> Option<StatusCode> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "pingora's enums, not ours, and they grow")]
    match error.etype() {
        ErrorType::HTTPStatus(code) => {
            Some(StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        kind => match error.esource() {
            ErrorSource::Upstream => match kind {
                ErrorType::ConnectTimedout
                | ErrorType::ReadTimedout
                | ErrorType::WriteTimedout
                | ErrorType::TLSHandshakeTimedout => Some(StatusCode::GATEWAY_TIMEOUT),
                _ => Some(StatusCode::BAD_GATEWAY),
            },
            ErrorSource::Downstream => match kind {
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed => None,
                ErrorType::ReadTimedout => Some(StatusCode::REQUEST_TIMEOUT),
                _ => Some(StatusCode::BAD_REQUEST),
            },
            ErrorSource::Internal | ErrorSource::Unset => Some(StatusCode::INTERNAL_SERVER_ERROR),
        },
    }
}
