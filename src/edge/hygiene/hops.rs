//! What of a request is for the next hop alone, which is us (RFC 9110 section 7.6.1): it ends here, and what the application
//! is told of its own connection is what we say.
//!
//! *Why not by pingora's policy for it?* That asks the map for thirteen names one after the other, and each of them is
//! hashed: twice what it costs to add the fields of our own. The application's head is gone through once anyway.

use http::header::{
    CONNECTION, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, StatusCode};

use super::Refused;
use crate::edge::fields::{Fields, Found};
use crate::edge::reasons::Reason;

/// How many names a `Connection` may have beyond [`USUAL`].
const NAMED_MAX: usize = 8;
/// What `Connection` says in nearly every request.
const USUAL: [&[u8]; 3] = [b"keep-alive", b"close", b"upgrade"];

/// Whether a field of this name ends with the connection that it came by.
pub fn is_for_one_hop(name: &HeaderName) -> bool {
    match *name {
        CONNECTION | PROXY_AUTHENTICATE | PROXY_AUTHORIZATION | TE | TRAILER | TRANSFER_ENCODING | UPGRADE => true,
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings"),
    }
}

/// `Connection` is a list of names, at most [`NAMED_MAX`] beyond [`USUAL`], and none of them is that of the host or of who
/// the client is: a sender that has these taken away wants to be somebody else.
pub(super) fn check_connection(fields: &Fields<'_>) -> Result<(), Refused> {
    let plain = match fields.options {
        Found::Nothing => true,
        Found::One(value) if is_usual(value.as_bytes()) => true,
        Found::One(_) | Found::Several(_) => {
            let mut named = 0;
            options(fields.all).all(|option| {
                named += usize::from(!is_usual(option));
                named <= NAMED_MAX && is_token(option) && !names_client(option)
            })
        }
    };
    if plain { Ok(()) } else { Err(Refused::new(StatusCode::BAD_REQUEST, Reason::Connection)) }
}

/// The fields that `Connection` names, which are for one hop too; without the usual options.
pub fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let others = options(fields).filter(|option| !is_usual(option));
    // What is no name names nothing; and without a host there is no request.
    others.filter_map(|option| HeaderName::from_bytes(option).ok()).filter(|name| *name != HOST).collect()
}

fn options(fields: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = fields.get_all(CONNECTION).into_iter();
    let all = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    all.map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

fn is_usual(option: &[u8]) -> bool {
    USUAL.iter().any(|usual| option.eq_ignore_ascii_case(usual))
}

/// Whether it is a token (RFC 9110 section 5.6.2).
fn is_token(option: &[u8]) -> bool {
    option.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn names_client(option: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"];
    NAMES.iter().any(|name| option.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    #[test]
    fn h4_what_a_connection_names_is_a_short_list_and_not_the_client() {
        let check = |values: &[&str], plain: bool, want: &[&str]| {
            let values: Vec<_> = values.iter().map(|value| ("connection", *value)).collect();
            let head = head(&values);
            assert_eq!(check_connection(&Fields::of(&head.headers)).is_ok(), plain, "{values:?}");
            assert_eq!(named_by_connection(&head.headers), want, "{values:?}");
        };
        check(&[], true, &[]);
        check(&["Keep-Alive"], true, &[]);
        check(&["keep-alive, Upgrade"], true, &[]);
        check(&["close,, ,X-One,", "x-Two"], true, &["x-one", "x-two"]);
        check(&["X-Forwarded-User"], true, &["x-forwarded-user"]);
        check(&["Host"], false, &[]);
        check(&["keep-alive", "X-FORWARDED-PROTO"], false, &["x-forwarded-proto"]);
        check(&["\"X-Forwarded-For\""], false, &[]);
        check(&[":authority"], false, &[]);
        check(&["x one"], false, &[]);
        check(&["close, close, close, close, close, close, close, close, close"], true, &[]);
        let many: Vec<_> = (0..=NAMED_MAX).map(|at| format!("x-{at}")).collect();
        let names: Vec<_> = many.iter().map(String::as_str).collect();
        check(&[&many[1..].join(",")], true, &names[1..]);
        check(&[&many.join(",")], false, &names);
    }
}
