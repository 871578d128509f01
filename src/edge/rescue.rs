//! The one place that turns a fault on the way upstream into a status, and into a line of the log. Nothing of our insides is
//! in the one, and nothing of a head or a body in the other (K1, G9).
//!
//! *Why is pingora's own line not written?* It has the error's context in it, and the context of a head that could not be
//! read is that head.

use std::fmt;

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType, ImmutStr};

use super::reasons::Reason;
use super::seldom::Seldom;
use crate::base::RequestId;

/// No backend has an address: none of their names could be looked up yet.
pub(super) const NO_ADDRESS: ErrorType = ErrorType::Custom("NoAddress");
/// The request has taken longer in all than its zone allows.
pub(super) const TOO_LONG: ErrorType = ErrorType::Custom("TooLong");

/// The session of a request ended while it was under way, and with it the request.
const SESSION_ENDED: ErrorType = ErrorType::Custom("SessionEnded");

/// A stream that is nobody's has lost what it ended with.
const LET_GO: ErrorType = ErrorType::Custom("LetGo");

/// A kept connection was ended in the moment in which it was taken up again: nothing has been sent.
pub(super) const GIVEN_UP: ErrorType = ErrorType::Custom("GivenUp");

/// Nothing is wrong: the client has its answer, and the application's connection is given up.
pub(super) const ANSWERED: ErrorType = ErrorType::Custom("Answered");

/// What the client is told, and what the log calls it, which says whose fault it was; `None` when there is nobody left
/// to tell. `awaited`: no answer had begun, but perhaps interim ones.
pub(super) fn outcome(error: &Error, awaited: bool) -> Option<(StatusCode, Reason)> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "pingora's enums, not ours, and they grow")]
    match error.etype() {
        kind if *kind == ANSWERED => None,
        kind if *kind == NO_ADDRESS => Some((StatusCode::BAD_GATEWAY, Reason::UpstreamWithoutAddress)),
        // Nobody's fault. Whoever has seen a part of an answer sees it break off.
        kind if *kind == SESSION_ENDED => Some((StatusCode::UNAUTHORIZED, Reason::SessionEnded)),
        // On another connection there may be somebody who serves it.
        kind if *kind == LET_GO => Some((StatusCode::MISDIRECTED_REQUEST, Reason::Stopped)),
        kind if *kind == TOO_LONG => Some((StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamRequestTimeout)),
        ErrorType::HTTPStatus(code) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some((status, whose(status)))
        }
        kind => match error.esource() {
            ErrorSource::Upstream => Some(match kind {
                ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => {
                    (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamConnectTimeout)
                }
                ErrorType::ReadTimedout if awaited => {
                    (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamFirstByteTimeout)
                }
                ErrorType::ReadTimedout => (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamSilenceTimeout),
                ErrorType::WriteTimedout => (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamWriteTimeout),
                ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => {
                    (StatusCode::BAD_GATEWAY, Reason::UpstreamUnreachable)
                }
                ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
                    (StatusCode::BAD_GATEWAY, Reason::UpstreamUntrusted)
                }
                _ => (StatusCode::BAD_GATEWAY, Reason::UpstreamFault),
            }),
            ErrorSource::Downstream => match kind {
                ErrorType::WriteError
                | ErrorType::ReadError
                | ErrorType::ConnectionClosed
                | ErrorType::H2Error => None,
                ErrorType::ReadTimedout => Some((StatusCode::REQUEST_TIMEOUT, Reason::ClientFault)),
                _ => Some((StatusCode::BAD_REQUEST, Reason::ClientFault)),
            },
            ErrorSource::Internal | ErrorSource::Unset => {
                Some((StatusCode::INTERNAL_SERVER_ERROR, Reason::GatewayFault))
            }
        },
    }
}

/// Whose fault a status tells of.
fn whose(status: StatusCode) -> Reason {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Reason::BodyTooLarge,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Reason::UpstreamFault,
        status if status.is_client_error() => Reason::ClientFault,
        _ => Reason::GatewayFault,
    }
}

/// What ends a request with its session.
pub(super) fn session_ended() -> Box<Error> {
    Error::explain(SESSION_ENDED, "the session has ended")
}

/// What sends a request over another connection.
pub(super) fn given_up() -> Box<Error> {
    let mut error = Error::explain(GIVEN_UP, "a kept connection was given up").into_up();
    error.set_retry(true);
    error
}

/// What ends a stream that is nobody's with its zone, or with the process that carries it.
pub(super) fn let_go() -> Box<Error> {
    Error::explain(LET_GO, "the stream's zone or process is gone")
}

/// Tells the log of a request that failed and came to `outcome`. Of what is a client's own affair its line in the access log
/// says enough: strangers could fill the disk with it (D9). `faults` is for the same reason: anybody may ask for a public
/// path of an application that is down.
pub(super) fn tell(error: &Error, (status, reason): (StatusCode, Reason), request: RequestId, faults: &Seldom) {
    let (fault, reason) = (Known(error), reason.name());
    if status.is_client_error() {
        tracing::debug!(%request, reason, %fault, "a request was broken off");
    } else if let Some(unwritten) = faults.write() {
        let status = status.as_u16();
        tracing::error!(%request, status, reason, %fault, unwritten, "a request failed");
    }
}

/// What may be told of an error of pingora's: its kind, whose it is, and such words as stand in a program. All of it only
/// where no connection could be made, because then nobody has said anything yet that could be in it.
#[derive(Debug)]
pub(super) struct Known<'a>(pub(super) &'a Error);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        if is_before_any_word(error.etype()) {
            return write!(f, "{error}");
        }
        f.write_str(error.esource().as_str())?;
        let mut next = Some(error);
        while let Some(error) = next {
            write!(f, " {}", error.etype().as_str())?;
            match &error.context {
                Some(ImmutStr::Static(words)) => write!(f, " ({words})")?,
                // Put together, of whatever.
                Some(ImmutStr::Owned(_)) | None => {}
            }
            let cause = error.cause.as_deref();
            if let Some(system) = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
                write!(f, " cause: {}", system.kind())?;
            }
            next = cause.and_then(|cause| {
                let boxed = cause.downcast_ref::<Box<Error>>().map(|boxed| &**boxed);
                boxed.or_else(|| cause.downcast_ref::<Error>())
            });
        }
        Ok(())
    }
}

/// Whether an error is one of connecting.
fn is_before_any_word(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const CANARY: &str = "Set-Cookie: canary";

    #[test]
    fn k1_no_error_tells_the_log_what_stood_in_a_head() {
        let check = |error: &Error, want: &str| assert_eq!(Known(error).to_string(), want);
        let head =
            |cause: Box<Error>| Error::because(ErrorType::InvalidHTTPHeader, format!("buf: {CANARY}"), cause);
        let inner = Error::because(ErrorType::ReadError, "a word of ours", io::Error::other(CANARY));
        check(&head(inner).into_up(), "Upstream InvalidHTTPHeader ReadError (a word of ours) cause: other error");
        check(
            &Error::explain(ErrorType::InvalidHTTPHeader, CANARY.to_owned()).into_down(),
            "Downstream InvalidHTTPHeader",
        );
        let inner = Error::explain(ErrorType::H2Error, CANARY.to_owned()).into_up();
        check(&inner.more_context("reading"), "Upstream H2Error (reading) H2Error");
        let text: String = CANARY.into();
        check(&Error::because(ErrorType::HandshakeError, "h2", text).into_up(), "Upstream HandshakeError (h2)");
    }

    #[test]
    fn why_no_connection_could_be_made_is_told() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = Error::because(ErrorType::ConnectRefused, format!("to {}", "127.0.0.1:1"), refused).into_up();
        let told = Known(&error).to_string();
        assert!(told.contains("127.0.0.1:1") && told.contains("refused"), "{told}");
    }

    #[test]
    fn a_session_that_ends_is_nobodys_fault() {
        for awaited in [true, false] {
            assert_eq!(outcome(&session_ended(), awaited), Some((StatusCode::UNAUTHORIZED, Reason::SessionEnded)));
        }
    }
}
