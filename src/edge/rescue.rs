//! The one place that turns a fault on the way upstream into a status. Nothing of our insides is in it.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

/// What the client is told, and what the log calls it, which says whose fault it was; `None` when there is nobody left
/// to tell.
pub(super) fn outcome(error: &Error) -> Option<(StatusCode, &'static str)> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "pingora's enums, not ours, and they grow")]
    match error.etype() {
        ErrorType::HTTPStatus(code) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some((status, whose(status)))
        }
        kind => match error.esource() {
            ErrorSource::Upstream => {
                let status = match kind {
                    ErrorType::ConnectTimedout
                    | ErrorType::ReadTimedout
                    | ErrorType::WriteTimedout
                    | ErrorType::TLSHandshakeTimedout => StatusCode::GATEWAY_TIMEOUT,
                    _ => StatusCode::BAD_GATEWAY,
                };
                Some((status, whose(status)))
            }
            ErrorSource::Downstream => match kind {
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed => None,
                ErrorType::ReadTimedout => Some((StatusCode::REQUEST_TIMEOUT, "client_fault")),
                _ => Some((StatusCode::BAD_REQUEST, "client_fault")),
            },
            ErrorSource::Internal | ErrorSource::Unset => {
                Some((StatusCode::INTERNAL_SERVER_ERROR, "gateway_fault"))
            }
        },
    }
}

/// Whose fault a status tells of.
fn whose(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => "upstream_fault",
        status if status.is_client_error() => "client_fault",
        _ => "gateway_fault",
    }
}
