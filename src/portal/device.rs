//! What sort of device a log-in comes from: which slots its session takes (D14), and what its owner reads in the
//! list of sessions.
//!
//! A browser that lies about itself gets another slot and nothing more: three on desktops and tablets or one on
//! phones, of the same user. So a heuristic may decide here, and only here.

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;

use crate::session::Class;

/// What is read of a user agent: more says nothing, and a stranger chose its length.
const USER_AGENT_BYTES_MAX: usize = 512;

/// Which slots a browser's session takes: phones are mobile, everything else, tablets too, is web (D14, trap 25).
pub(super) fn class(headers: &HeaderMap) -> Class {
    let agent = user_agent(headers);
    let tablet = ["iPad", "Tablet", "Silk/"].iter().any(|mark| agent.contains(mark))
        || header(headers, "sec-ch-ua-form-factors").contains("\"Tablet\"");
    let phone = header(headers, "sec-ch-ua-mobile") == "?1"
        || ["iPhone", "iPod", "Windows Phone", "Opera Mini", "BlackBerry"].iter().any(|mark| agent.contains(mark))
        // Android says "Mobile" on phones only; so does Firefox there.
        || agent.contains("Android") && agent.contains("Mobile");
    if phone && !tablet { Class::Mobile } else { Class::Web }
}

/// What a person recognises the browser by: `Firefox on Windows`.
pub(super) fn label(headers: &HeaderMap) -> String {
    let agent = user_agent(headers);
    let first = |table: &[(&str, &'static str)]| {
        table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name)
    };
    // In this order, because the later ones' marks are in the earlier ones' texts.
    let browser = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("HeadlessChrome/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Macintosh", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Browser".to_owned(),
    }
}

fn user_agent(headers: &HeaderMap) -> &str {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.get(..USER_AGENT_BYTES_MAX).unwrap_or(agent)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(agent: &str, hints: &[(&'static str, &str)], want: (Class, &str)) {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, agent.parse().unwrap());
        for (name, value) in hints {
            headers.insert(*name, value.parse().unwrap());
        }
        assert_eq!((class(&headers), label(&headers).as_str()), want, "{agent}");
    }

    #[test]
    fn d14_phones_are_mobile() {
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/18.0 Mobile/15E148 Safari/604.1";
        let pixel = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
                     Mobile Safari/537.36";
        let firefox = "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0";
        check(iphone, &[], (Class::Mobile, "Safari on iPhone"));
        check(pixel, &[("sec-ch-ua-mobile", "?1")], (Class::Mobile, "Chrome on Android"));
        check(firefox, &[], (Class::Mobile, "Firefox on Android"));
    }

    #[test]
    fn trap_25_tablets_and_desktops_are_web() {
        let ipad = "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                    Version/16.0 Mobile/15E148 Safari/604.1";
        let tablet = "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/140.0.0.0 Safari/537.36";
        let firefox = "Mozilla/5.0 (Android 15; Tablet; rv:140.0) Gecko/140.0 Firefox/140.0";
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                    Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0";
        check(ipad, &[], (Class::Web, "Safari on iPad"));
        check(tablet, &[("sec-ch-ua-mobile", "?0")], (Class::Web, "Chrome on Android"));
        check(
            tablet,
            &[("sec-ch-ua-mobile", "?1"), ("sec-ch-ua-form-factors", "\"Tablet\"")],
            (Class::Web, "Chrome on Android"),
        );
        check(firefox, &[], (Class::Web, "Firefox on Android"));
        check(edge, &[("sec-ch-ua-mobile", "?0")], (Class::Web, "Edge on Windows"));
        check("curl/8.14.1", &[], (Class::Web, "Browser"));
    }
}
