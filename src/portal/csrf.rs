//! Did this form come from our own page, in the browser we gave it to? (SEC-R83, W2, W4)
//!
//! Two questions, and both must be answered with yes. The browser itself says which origin sent the form; and the
//! form carries something that only this browser was given: the sealed flow at log-in, a keyed hash of the browser
//! cookie elsewhere.

use axum::http::HeaderMap;
use axum::http::header::ORIGIN;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::{BrowserToken, Hostname, MasterKey};

/// Whether the browser says that the form came from `origin`, which is `https://host[:port]`.
///
/// `Origin` and the fetch metadata must both say so, as far as they are there, and one of them must be: `null` and
/// anything else that differs is foreign, and so is what says two things. A client that sends neither is no browser
/// of this decade and gets no benefit of the doubt.
pub fn came_from(headers: &HeaderMap, origin: &str) -> bool {
    // A page sets neither field itself, so that they contradict each other only where something between does.
    let says = |name: &str, ours: &str| {
        let mut sent = headers.get_all(name).iter();
        match (sent.next(), sent.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.as_bytes() == ours.as_bytes()),
            (Some(_), Some(_)) => Some(false),
        }
    };
    match (says(ORIGIN.as_str(), origin), says("sec-fetch-site", "same-origin")) {
        (Some(origin), Some(site)) => origin && site,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => false,
    }
}

/// Makes and checks the tokens of forms outside the log-in flow.
#[derive(Clone, Debug)]
pub struct Csrf(aws_lc_rs::hmac::Key);

impl Csrf {
    /// With the installation's key.
    pub fn new(master: &MasterKey) -> Self {
        Self(master.derive_mac("csrf v1"))
    }

    /// For what comes back from a provider's log-out: what a provider is given must not be worth anything in a form.
    pub fn of_logouts(master: &MasterKey) -> Self {
        Self(master.derive_mac("logout state v1"))
    }

    /// The token for the forms of `host` in this browser.
    pub fn token(&self, host: &Hostname, browser: &BrowserToken) -> String {
        URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&self.0, &text(host, browser)))
    }

    /// Whether `token` is the one of `host` and this browser.
    pub fn holds(&self, token: &str, host: &Hostname, browser: &BrowserToken) -> bool {
        URL_SAFE_NO_PAD
            .decode(token)
            .is_ok_and(|tag| aws_lc_rs::hmac::verify(&self.0, &text(host, browser), &tag).is_ok())
    }
}

fn text(host: &Hostname, browser: &BrowserToken) -> Vec<u8> {
    [browser.digest().as_bytes().as_slice(), host.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://desk.localhost:8443";

    fn check(fields: &[(&'static str, &str)], want: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(came_from(&headers, OURS), want, "{fields:?}");
    }

    #[test]
    fn w2_only_our_own_origin_is_ours() {
        check(&[("origin", OURS)], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("origin", OURS), ("sec-fetch-site", "same-origin")], true);
        check(&[], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "null"), ("sec-fetch-site", "same-origin")], false);
        check(&[("origin", "https://desk.localhost")], false);
        check(&[("origin", "https://desk.localhost:8443.evil.example")], false);
        check(&[("origin", "http://desk.localhost:8443")], false);
        check(&[("origin", OURS), ("origin", "https://evil.example")], false);
        check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")], false);
        for site in ["cross-site", "same-site", "none", ""] {
            check(&[("sec-fetch-site", site)], false);
            check(&[("origin", OURS), ("sec-fetch-site", site)], false);
        }
    }

    #[test]
    fn w4_a_token_holds_for_its_host_and_browser_only() {
        let csrf = Csrf::new(&MasterKey::from_bytes([1; 32]));
        let (desk, other): (Hostname, Hostname) = ("desk.example".parse().unwrap(), "x.example".parse().unwrap());
        let (mine, theirs) = (BrowserToken::from_bytes([1; 32]), BrowserToken::from_bytes([2; 32]));
        let token = csrf.token(&desk, &mine);
        assert!(csrf.holds(&token, &desk, &mine));
        assert!(!csrf.holds(&token, &other, &mine));
        assert!(!csrf.holds(&token, &desk, &theirs));
        assert!(!csrf.holds(&token[1..], &desk, &mine));
        assert!(!csrf.holds("", &desk, &mine));
    }
}
