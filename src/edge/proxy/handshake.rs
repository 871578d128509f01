//! The handshakes of WebSockets: which of them are passed on.
//!
//! One that is refused gets an answer, and the application never hears of it. What passes is checked again by nobody: from
//! the application's 101 on, bytes are carried as they come.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use pingora::http::RequestHeader;

use crate::edge::fields::Fields;
use crate::edge::hygiene::Refused;
use crate::zone::Zone;

/// Whether a request is one.
pub(super) fn asks_for_websocket(head: &RequestHeader) -> bool {
    Fields::of(&head.headers).asks_for_websocket()
}

/// A WebSocket that another site's page opens would ride on the session (SEC-R86); programs send no origin. And a
/// handshake is a GET without a body (RFC 6455 section 4.1): nobody agrees on where one would end (M11).
pub(super) fn check(head: &RequestHeader, zone: &Zone) -> Result<(), Refused> {
    let fields = &head.headers;
    if zone.speaks_http2() {
        // There, a WebSocket would be another thing (RFC 8441), which pingora does not speak.
        return Err(Refused { status: StatusCode::NOT_IMPLEMENTED, reason: "websocket_over_http2", close: false });
    }
    let has_body = fields.contains_key(TRANSFER_ENCODING)
        || fields.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if head.method != Method::GET || has_body {
        return Err(Refused { status: StatusCode::BAD_REQUEST, reason: "websocket_handshake", close: true });
    }
    let mut origins = fields.get_all(http::header::ORIGIN).iter();
    if origins.all(|origin| origin.as_bytes() == zone.origin.as_bytes()) {
        Ok(())
    } else {
        Err(Refused { status: StatusCode::FORBIDDEN, reason: "websocket_origin", close: false })
    }
}
