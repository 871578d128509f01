//! The one place that turns a fault on the way upstream into a status. Nothing of our insides is in it.

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

/// No backend has an address: none of their names could be looked up yet.
pub(super) const NO_ADDRESS: ErrorType = ErrorType::Custom("NoAddress");
/// The request has taken longer in all than its zone allows.
pub(super) const TOO_LONG: ErrorType = ErrorType::Custom("TooLong");

/// Nothing is wrong: the client has its answer, and the application's connection is given up.
pub(super) const ANSWERED: ErrorType = ErrorType::Custom("Answered");

/// What the client is told, and what the log calls it, which says whose fault it was; `None` when there is nobody left
/// to tell. `awaited`: no answer had begun, but perhaps interim ones.
pub(super) fn outcome(error: &Error, awaited: bool) -> Option<(StatusCode, &'static str)> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "pingora's enums, not ours, and they grow")]
    match error.etype() {
        kind if *kind == ANSWERED => None,
        kind if *kind == NO_ADDRESS => Some((StatusCode::BAD_GATEWAY, "upstream_without_address")),
        kind if *kind == TOO_LONG => Some((StatusCode::GATEWAY_TIMEOUT, "upstream_request_timeout")),
        ErrorType::HTTPStatus(code) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some((status, whose(status)))
        }
        kind => match error.esource() {
            ErrorSource::Upstream => Some(match kind {
                ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
                    (StatusCode::GATEWAY_TIMEOUT, "upstream_connect_timeout")
                }
                ErrorType::ReadTimedout if awaited => (StatusCode::GATEWAY_TIMEOUT, "upstream_first_byte_timeout"),
                ErrorType::ReadTimedout => (StatusCode::GATEWAY_TIMEOUT, "upstream_silence_timeout"),
                ErrorType::WriteTimedout => (StatusCode::GATEWAY_TIMEOUT, "upstream_write_timeout"),
                ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => {
                    (StatusCode::BAD_GATEWAY, "upstream_unreachable")
                }
                ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
                    (StatusCode::BAD_GATEWAY, "upstream_untrusted")
                }
                _ => (StatusCode::BAD_GATEWAY, "upstream_fault"),
            }),
            ErrorSource::Downstream => match kind {
                ErrorType::WriteError
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed
                | ErrorType::H2Error => None,
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
