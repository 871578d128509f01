//! Our two cookies. The `__Host-` prefix makes browsers hold them to this host, over TLS, for all paths, with no
//! `Domain` (SEC-R37); neither carries anything but a random token.

use axum::http::header::{COOKIE, GetAll, HeaderMap, HeaderValue};

use crate::base::{BrowserToken, SessionToken};
use crate::directory::is_slug;

/// The session's cookie.
pub const SESSION: &str = "__Host-zg_session";
/// The cookie that binds flows and forms to a browser.
pub const BROWSER: &str = "__Host-zg_browser";

/// The cookie that says at which provider this browser logged in last. No secret, and it proves nothing.
pub const TENANT: &str = "__Host-zg_tenant";

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

/// The cookies of a request's `Cookie` fields: what stands between semicolons, without the space around it.
///
/// Who looks for our cookie and who keeps it from the application both read by this rule. Where they differed, a
/// session's token could reach the application.
pub fn pairs<'a>(fields: &GetAll<'a, HeaderValue>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    fields.iter().flat_map(|field| split(field.as_bytes())).map(<[u8]>::trim_ascii)
}

/// `slice::split`, which looks at each byte for itself: this costs a third, and every request reads its cookies twice.
fn split(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let text = rest?;
        let (pair, after) = text.split_at_checked(memchr::memchr(b';', text).unwrap_or(text.len()))?;
        rest = after.get(1..);
        Some(pair)
    })
}

/// The value of our cookie `name`, over all `Cookie` fields of the request.
pub fn sent<'a>(headers: &'a HeaderMap, name: &str) -> Sent<'a> {
    let value = |pair: &'a [u8]| {
        let (key, value) = pair.split_at_checked(name.len())?;
        (key == name.as_bytes()).then_some(value)?.strip_prefix(b"=")
    };
    pairs(&headers.get_all(COOKIE)).filter_map(value).fold(Sent::Nothing, |before, value| match before {
        Sent::Nothing => Sent::One(value),
        Sent::One(_) | Sent::Several => Sent::Several,
    })
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

/// Lets the browser remember its tenant for 90 days (D26).
pub fn set_tenant(slug: &str) -> HeaderValue {
    cookie(TENANT, &format!("{slug}; Max-Age=7776000"))
}

/// The tenant that the browser remembers, if it is a tenant's short name.
pub fn tenant(headers: &HeaderMap) -> Option<&str> {
    match sent(headers, TENANT) {
        Sent::One(value) => std::str::from_utf8(value).ok().filter(|slug| is_slug(slug)),
        Sent::Nothing | Sent::Several => None,
    }
}

/// Lets the browser forget it.
pub fn clear_tenant() -> HeaderValue {
    HeaderValue::from_static("__Host-zg_tenant=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However semicolons stand, cookies are what a plain split finds.
        #[test]
        fn cookies_are_what_stands_between_semicolons(field in "[a;= ]{0,40}") {
            let found: Vec<_> = split(field.as_bytes()).collect();
            let want: Vec<_> = field.as_bytes().split(|byte| *byte == b';').collect();
            prop_assert_eq!(found, want);
        }
    }

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
