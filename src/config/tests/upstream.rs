//! What is wrong, and what is right, about a zone's application.

use super::*;
use crate::zone::{Balance, Protocol, Target, Upstream};

/// The configuration that is right, with this for its upstream's keys, on line 3.
fn with(upstream: &str) -> String {
    HEAD.replace("url: \"http://127.0.0.1:1\"", upstream)
}

fn read_as(upstream: &str, outside: &Outside) -> Upstream {
    let settings =
        load(&with(upstream), "/etc/zg/z.yaml", outside).unwrap_or_else(|problems| panic!("{problems}"));
    settings.zones.zones()[0].upstream.clone()
}

/// A certificate and a key in form only: whether they belong together is found out where they are used.
fn identity() -> Outside {
    Outside::new()
        .file("/etc/zg/me.pem", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
        .file("/etc/zg/me.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
        .file("/etc/zg/open-to-all.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
}

#[test]
fn an_upstream_is_an_address_that_can_be_verified() {
    check(
        &with(""),
        &["3: zones[0].upstream.url is missing: the application's address, for example http://127.0.0.1:8080"],
    );
    check(
        &with("url: 127.0.0.1:8080"),
        &[
            "3: zones[0].upstream.url \"127.0.0.1:8080\" is not an address like http://127.0.0.1:8080 or https://app.internal:8443",
        ],
    );
    check(
        &with("url: \"ftp://app.internal\""),
        &["3: zones[0].upstream.url begins with \"ftp\", and must begin with http://, https:// or unix:"],
    );
    check(
        &with("url: \"http://app.internal:80/base?x#y\""),
        &[
            "3: zones[0].upstream.url \"http://app.internal:80/base?x#y\" is not an address like http://127.0.0.1:8080 or https://app.internal:8443: no path, query or fragment, and a port that is not 0",
        ],
    );
    check(
        &with("url: \"http://127.0.0.1:0\""),
        &[
            "3: zones[0].upstream.url \"http://127.0.0.1:0\" is not an address like http://127.0.0.1:8080 or https://app.internal:8443: no path, query or fragment, and a port that is not 0",
        ],
    );
    check(
        &with("url: \"https://10.0.0.1\""),
        &[
            "3: zones[0].upstream.url names an address, which no certificate is checked against: give server_name beside it",
        ],
    );
    check(&with("url: \"https://10.0.0.1\", server_name: app.internal"), &[]);
    check(
        &with("url: \"https://app.internal\", ca_file: absent.pem"),
        &["3: zones[0].upstream.ca_file /etc/zg/absent.pem cannot be read"],
    );
    check(
        &with("url: \"https://app.internal\", ca_file: master.key"),
        &["3: zones[0].upstream.ca_file holds no certificate in PEM form"],
    );
    check(
        &with("url: \"http://app.internal\", ca_file: master.key, server_name: x.example"),
        &[
            "3: zones[0].upstream.ca_file holds no certificate in PEM form",
            "3: zones[0].upstream.server_name is only for an upstream that begins with https: nothing is verified on plain HTTP",
            "3: zones[0].upstream.ca_file is only for an upstream that begins with https: nothing is verified on plain HTTP",
        ],
    );
    check(
        &with("url: \"http://app.internal\", host_header: \"a b\""),
        &[
            "3: zones[0].upstream.host_header \"a b\" is neither `zone` nor a host like app.internal or app.internal:8443",
        ],
    );
}

#[test]
fn a_name_needs_no_address_yet() {
    let upstream = read_as("url: \"http://Nowhere_1.example:81\"", &Outside::new());
    assert_eq!(upstream.backends[0].target, Target::Name { host: "nowhere_1.example".into(), port: 81 });
}

#[test]
fn several_backends_have_weights_and_stand_once_each() {
    let list = "balance: least_loaded, protocol: grpc, backends: [{ url: \"http://10.0.0.1:1\", weight: 3 }, { url: \"unix:run/a.sock\" }]";
    let upstream = read_as(list, &Outside::new());
    let backends: Vec<_> = upstream.backends.iter().map(|b| (b.target.to_string(), b.weight)).collect();
    assert_eq!(backends, [("10.0.0.1:1".into(), 3), ("unix:/etc/zg/run/a.sock".into(), 1)]);
    assert_eq!((upstream.balance, upstream.protocol), (Balance::LeastLoaded, Protocol::Grpc));
    check(
        &with(
            "backends: [{ url: \"http://10.0.0.1:1\" }, { url: \"http://10.0.0.1:1\", weight: 0 }, { weight: 2 }]",
        ),
        &[
            "3: zones[0].upstream.backends[1].weight \"0\" is not a whole number from 1 to 100",
            "3: zones[0].upstream.backends[1].url stands in the list already: raise its weight instead",
            "3: zones[0].upstream.backends[2].url is missing: each backend has one, like http://10.0.0.1:8080",
        ],
    );
    check(
        &with("url: \"http://10.0.0.1:1\", backends: [{ url: \"http://10.0.0.2:1\" }]"),
        &["3: zones[0].upstream.url and backends are given: put the address into the list as well"],
    );
    check(
        &with("url: \"http://10.0.0.1:1\", balance: fair, protocol: h3"),
        &[
            "3: zones[0].upstream.balance \"fair\" is none of round_robin, least_loaded",
            "3: zones[0].upstream.protocol \"h3\" is none of http1, http2, grpc",
        ],
    );
}

#[test]
fn a_socket_is_a_path_that_the_kernel_has_room_for() {
    check(
        &with("url: \"unix:\""),
        &["3: zones[0].upstream.url names no socket: give its path, like unix:/run/app/app.sock"],
    );
    check(
        &with(&format!("url: \"unix:/{}\"", "x".repeat(107))),
        &["3: zones[0].upstream.url is a path of 108 bytes, and a socket's has at most 107"],
    );
}

#[test]
fn a_health_check_asks_for_a_path_or_for_a_connection() {
    let health = |inner: &str| with(&format!("url: \"http://10.0.0.1:1\", health: {{ {inner} }}"));
    check(&health(""), &[]);
    check(&health("path: /healthz, status: 204, interval: 1s, timeout: 1s, fall: 1, rise: 1"), &[]);
    check(
        &health("path: healthz, status: 99, fall: 0"),
        &[
            "3: zones[0].upstream.health.path \"healthz\" is not a path, like /healthz",
            "3: zones[0].upstream.health.status \"99\" is not a whole number from 200 to 599",
            "3: zones[0].upstream.health.fall \"0\" is not a whole number from 1 to 100",
        ],
    );
    check(
        &health("status: 204"),
        &["3: zones[0].upstream.health.status is of no use without path: without one only a connection is made"],
    );
}

#[test]
fn x6_the_gateway_proves_itself_with_a_certificate_and_its_key_over_tls_only() {
    let tls = "url: \"https://app.internal\"";
    let upstream = read_as(&format!("{tls}, client_certificate: me.pem, client_key: me.key"), &identity());
    assert_eq!(format!("{:?}", upstream.backends[0].tls.as_ref().unwrap().client), "Some(ClientIdentity(..))");
    for (keys, want) in [
        ("client_certificate: me.pem", "client_certificate has no key: give client_key beside it"),
        ("client_key: me.key", "client_key is the key of nothing: give client_certificate beside it"),
        ("client_certificate: me.pem, client_key: me.pem", "client_key holds no private key in PEM form"),
        (
            "client_certificate: me.pem, client_key: open-to-all.key",
            "client_key /etc/zg/open-to-all.key may be read by other users",
        ),
    ] {
        let want = format!("3: zones[0].upstream.{want}");
        check_in(&identity(), &with(&format!("{tls}, {keys}")), &[want.as_str()]);
    }
    let plain = with("url: \"http://app.internal\", client_certificate: me.pem, client_key: me.key");
    let why = "is only for an upstream that begins with https: nothing is shown on plain HTTP";
    check_in(
        &identity(),
        &plain,
        &[
            format!("3: zones[0].upstream.client_certificate {why}").as_str(),
            format!("3: zones[0].upstream.client_key {why}").as_str(),
        ],
    );
}

#[test]
fn name_servers_are_addresses() {
    let settings =
        load(&format!("{HEAD}name_servers: [10.0.0.2, '[::1]:5353']\n"), "/etc/zg/z.yaml", &Outside::new());
    let servers: Vec<_> = settings.unwrap().name_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2:53", "[::1]:5353"]);
    check_added(
        "name_servers: [ns.example]\n",
        &["4: name_servers[0] \"ns.example\" is not an address, like 10.0.0.2 or 10.0.0.2:53"],
    );
}

#[test]
fn f12_the_wait_for_a_head_is_read_max_unless_it_is_said() {
    let read = |upstream: &str| {
        let limits = read_as(&format!("url: \"http://127.0.0.1:1\"{upstream}"), &Outside::new()).limits;
        (limits.first_byte_max.seconds(), limits.read_max.seconds())
    };
    assert_eq!(read(""), (60, 60));
    assert_eq!(read(", read_max: 7s"), (7, 7), "read_max alone is both");
    assert_eq!(read(", first_byte_max: 5s"), (5, 60));
    assert_eq!(read(", first_byte_max: 5m, read_max: 10s"), (300, 10));
    check(
        &with("url: \"http://127.0.0.1:1\", first_byte_max: 0s"),
        &[
            "3: zones[0].upstream.first_byte_max \"0s\" is not a length of time from 1s to 1h, written like 90s, 15m or 8h",
        ],
    );
    for protocol in ["http2", "grpc"] {
        check(
            &with(&format!("url: \"http://127.0.0.1:1\", protocol: {protocol}, first_byte_max: 5s")),
            &[
                "3: zones[0].upstream.first_byte_max is only for protocol http1: over HTTP/2 read_max holds for both",
            ],
        );
    }
}
