//! A client is its connection's other end, or whom a trusted proxy names; a stranger names nobody (SEC-R65, H6).
#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use zonegate::base::Networks;
use zonegate::config::ForwardedField;
use zonegate::edge::client::address;

fuzz_target!(|values: Vec<Vec<u8>>| {
    let trusted = Networks::new(vec![Networks::range("10.0.0.0/8").unwrap()]);
    let stranger: IpAddr = "203.0.113.7".parse().unwrap();
    let proxy: IpAddr = "10.0.0.1".parse().unwrap();
    for (field, name) in [(ForwardedField::XForwardedFor, "x-forwarded-for"), (ForwardedField::Forwarded, "forwarded")] {
        let mut headers = HeaderMap::new();
        for value in &values {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        assert_eq!(address(stranger, &headers, &trusted, field), stranger);
        // What a client writes stands to the left of what the proxy adds, and changes nothing.
        let mut forged = HeaderMap::new();
        forged.append(HeaderName::from_static(name), HeaderValue::from_static("198.51.100.9, 10.0.0.2"));
        let last = match field {
            ForwardedField::XForwardedFor => "192.0.2.1",
            ForwardedField::Forwarded => "for=192.0.2.1",
        };
        for value in headers.get_all(name) {
            forged.append(HeaderName::from_static(name), value.clone());
        }
        forged.append(HeaderName::from_static(name), HeaderValue::from_static(last));
        assert_eq!(address(proxy, &forged, &trusted, field), "192.0.2.1".parse::<IpAddr>().unwrap());
    }
});
