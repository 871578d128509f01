//! The handshakes of WebSockets: which of them are passed on.
//!
//! One that is refused gets an answer, and the application never hears of it. What passes is checked again by nobody: from
//! the application's 101 on, bytes are carried as they come.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use pingora::http::RequestHeader;

use crate::edge::fields::Fields;
use crate::edge::hygiene::{self, Refused};
use crate::edge::reasons::Reason;
use crate::zone::Zone;

/// Whether a request is one.
pub(super) fn asks_for_websocket(head: &RequestHeader) -> bool {
    Fields::of(&head.headers).asks_for_websocket()
}

/// Checks that it comes from the zone's own pages or from a program, and that it is a GET without a body (RFC 6455 section
/// 4.1): nobody agrees on where one would end (M11).
pub(super) fn check(head: &RequestHeader, zone: &Zone) -> Result<(), Refused> {
    let fields = &head.headers;
    if zone.speaks_http2() {
        // There, a WebSocket would be another thing (RFC 8441), which pingora does not speak.
        return Err(Refused {
            status: StatusCode::NOT_IMPLEMENTED,
            reason: Reason::WebsocketOverHttp2,
            close: false,
        });
    }
    let has_body = fields.contains_key(TRANSFER_ENCODING)
        || fields.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if head.method != Method::GET || has_body {
        return Err(Refused { status: StatusCode::BAD_REQUEST, reason: Reason::WebsocketHandshake, close: true });
    }
    hygiene::check_websocket_origin(fields, zone)
}
