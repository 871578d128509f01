//! Our two cookies. The `__Host-` prefix makes browsers hold them to this host, over TLS, for all paths, with no
//! `Domain` (SEC-R37); neither carries anything but a random token.

use axum::http::header::{COOKIE, HeaderMap, HeaderValue};

use crate::base::{BrowserToken, SessionToken};

/// The session's cookie.
pub const SESSION: &str = "__Host-zg_session";
/// The cookie that binds flows and forms to a browser.
pub const BROWSER: &str = "__Host-zg_browser";

const ATTRIBUTES: &str = "; Path=/; Secure; HttpOnly; SameSite=Lax";

/// What a request carries under one of our names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// One value.
    One(&'a [u8]),
    /// Several: somebody else set one, so none is trusted.
    Several,
}

/// The value of our cookie `name`, over all `Cookie` fields of the request.
pub fn sent<'a>(headers: &'a HeaderMap, name: &str) -> Sent<'a> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let (key, value) = pair.trim_ascii().split_at_checked(name.len())?;
        (key == name.as_bytes()).then_some(value)?.strip_prefix(b"=")
    });
    match (values.next(), values.next()) {
        (None, _) => Sent::Nothing,
        (Some(value), None) => Sent::One(value),
        (Some(_), Some(_)) => Sent::Several,
    }
}

/// The browser's token, if it sent one that is one.
pub fn browser(headers: &HeaderMap) -> Option<BrowserToken> {
    match sent(headers, BROWSER) {
        Sent::One(value) => BrowserToken::parse(value),
        Sent::Nothing | Sent::Several => None,
    }
}

/// Gives the browser its session.
pub fn set_session(token: &SessionToken) -> HeaderValue {
    cookie(SESSION, &token.reveal())
}

/// Gives the browser the token its flows are bound to.
pub fn set_browser(token: &BrowserToken) -> HeaderValue {
    cookie(BROWSER, &token.reveal())
}

/// Takes the session from the browser.
pub fn clear_session() -> HeaderValue {
    HeaderValue::from_static("__Host-zg_session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

fn cookie(name: &str, value: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(format!("{name}={value}{ATTRIBUTES}"))
        .unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[&str], want: Sent<'_>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, field.parse().unwrap());
        }
        assert_eq!(sent(&headers, SESSION), want, "{fields:?}");
    }

    #[test]
    fn one_cookie_of_ours_is_read_and_two_are_trusted_as_little_as_none() {
        check(&[], Sent::Nothing);
        check(&["a=b; __Host-zg_session=x; c=d"], Sent::One(b"x"));
        check(&["a=b", "__Host-zg_session=x"], Sent::One(b"x"));
        check(&["__Host-zg_session=x;__Host-zg_session=y"], Sent::Several);
        check(&["__Host-zg_session=x", "__Host-zg_session=x"], Sent::Several);
        for foreign in ["__Host-zg_session2=x", "x__Host-zg_session=x", "__host-zg_session=x", "__Host-zg_session"]
        {
            check(&[foreign], Sent::Nothing);
        }
    }

    #[test]
    fn sec_r37_a_session_cookie_is_host_only_secure_and_not_persistent() {
        let set = set_session(&SessionToken::from_bytes([1; 32]));
        let set = set.to_str().unwrap();
        assert!(set.starts_with("__Host-zg_session=AQEB"));
        assert!(set.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{set}");
    }
}
