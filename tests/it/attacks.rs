//! Attacks by name, as people have published them, against every backend over HTTP/1.1 (H2, H4, H6, M1, M3, M9, M11).
//!
//! `parsing` goes through what a head can say, part by part; here stand whole requests that were made to be read in
//! two ways: what arrives at each backend is counted and compared, and the next request on the same connection, and
//! somebody else's, must still be only themselves.

use http::Request;

use crate::harness::{Bench, H2, Want, shown};
use Want::{Body, Dropped, Ended, Forwarded, Refused};

/// What is meant to become a request of its own. Without a session: it must not arrive in anybody's name.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-User: forged\r\n\r\n";

/// Each sort of protected field once.
const NAMES: [&str; 33] = [
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-Client-Cert",
    "X-Zonegate-Assertion",
    "X-Request-Id",
    "Remote-User",
    "X-Remote-User",
    "X-Auth-Request-User",
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Client-Cert",
    "X-SSL-Client-Verify",
    "X-SSL-Client-Cert",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "Via",
    "Proxy",
    "X-Host",
    "X-Envoy-Original-Path",
    "X-Accel-Mapping",
    "X-Sendfile-Type",
];

#[tokio::test]
async fn m3_thirty_six_ways_to_write_chunked_that_somebody_takes_for_something_else() {
    let mut bench = Bench::new().await;
    // Source: the mutations that smuggling tools go through (CL.TE, TE.CL, TE.TE). `~` is the field.
    for field in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\tchunked\x0b",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding:\x0cchunked",
        "Transfer-Encoding: chunked\x0c",
        " Transfer-Encoding: chunked",
        "X: X\nTransfer-Encoding: chunked",
        "X: X\rTransfer-Encoding: chunked",
        "X:\r\n Transfer-Encoding: chunked",
        "X: y\r\n\tTransfer-Encoding: chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\r\n\tchunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;",
        "Transfer-Encoding: chunked; a=b",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: cow, chunked",
        "Transfer-Encoding: chunked cow",
        "Transfer-Encoding: chu\tnked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding:\0chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer-Encoding: \u{ff}chunked",
        "Transfer-Encoding: chunked\u{ff}",
        "Transfer-Encoding\u{ff}: chunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer\u{2d}Encoding: ch\u{75}nked\r\nTransfer-encoding: identity",
        "tRANSFER-ENCODING: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding",
        "Transfer-Encoding chunked",
        "Content-Encoding: x\r\nTransfer-Encoding: chunked, x",
    ] {
        // The length says that everything is the body; the chunks say that it ends before. And the other way round.
        let long = format!("0\r\n\r\n{SMUGGLED}").len();
        for (length, body) in
            [(long, format!("0\r\n\r\n{SMUGGLED}")), (4, format!("5c\r\n{SMUGGLED}\r\n0\r\n\r\n"))]
        {
            for length in [format!("Content-Length: {length}\r\n"), String::new()] {
                let with = |first: &str, second: &str| {
                    format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\n{first}{second}\r\n{body}")
                };
                let field = format!("{field}\r\n");
                let request = with(&length, &field);
                bench.check_never(&request).await;
                bench.check_one(0, &with(&field, &length), Dropped).await;
                bench.check_silent(&request).await;
            }
        }
    }
    bench.finish();
}

#[tokio::test]
async fn m3_a_body_is_read_by_the_length_that_the_backend_is_told() {
    let mut bench = Bench::new().await;
    let get = "GET /smuggled HTTP/1.1";
    for (request, want) in [
        // CL.0: a body where an application expects none is its body, whatever it holds.
        (format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: {}\r\n\r\n{get}", get.len()), Body("POST /x", get)),
        (format!("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: {}\r\n\r\n{get}", get.len()), Body("GET /x", get)),
        (format!("DELETE /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: {}\r\n\r\n{get}", get.len()), Body("DELETE /x", get)),
        (format!("OPTIONS /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: {}\r\n\r\n{get}", get.len()), Body("OPTIONS /x", get)),
        // TE.0: the same in chunks.
        (
            format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{get}\r\n0\r\n\r\n", get.len()),
            Body("POST /x", get),
        ),
        (
            format!("OPTIONS /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{get}\r\n0\r\n\r\n", get.len()),
            Body("OPTIONS /x", get),
        ),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length: 0\r\n\r\n".into(), Body("POST /x", "")),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), Body("POST /x", "")),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n".into(), Body("POST /x", "")),
        // 0.CL: a length that only somebody reads.
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent_Length: 30\r\n\r\n".into(), Ended(400)),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent.Length: 30\r\n\r\n".into(), Ended(400)),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer_Encoding: chunked\r\n\r\n".into(), Ended(400)),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-Content-Length: 30\r\n\r\n".into(), Body("POST /x", "")),
        // Extensions and trailers are for the connection they are on.
        (
            "POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User\r\n\r\n2\r\nhi\r\n0\r\nX-Forwarded-User: forged\r\n\r\n".into(),
            Body("POST /x", "hi"),
        ),
        (
            "POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\nhi\r\n0;x\r\n\r\n".into(),
            Body("POST /x", "hi"),
        ),
        ("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\n\r\n0002\r\nhi\r\n000\r\n\r\n".into(), Body("POST /x", "hi")),
    ] {
        bench.check(&request, want).await;
        bench.check_silent(&request).await;
    }
    for value in
        ["+5", "-5", "05", "0x5", "5 ", " 5", "5;", "5,", ",5", "5e0", "5.", "1_0", "\u{b2}", "0 5", "\t5x"]
    {
        let request =
            format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nContent-Length:{value}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        // White space around a value is no part of it.
        if value.trim() == "5" {
            bench.check(&request.replace(SMUGGLED, ""), Body("POST /x", "0\r\n\r\n")).await;
        } else {
            bench.check(&request, Ended(400)).await;
            bench.check_silent(&request).await;
        }
    }
    bench.finish();
}

#[tokio::test]
async fn m1_lines_that_end_otherwise_are_one_request_or_none() {
    let mut bench = Bench::new().await;
    for request in [
        "GET /x HTTP/1.1\nHost: a.test\n@\n\n",
        "GET /x HTTP/1.1\r\nHost: a.test\n@\r\n\n",
        "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX: y\n\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX: y\r\rGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX: y\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /x HTTP/1.1\rHost: a.test\r@\r\r",
        "\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n",
        "\0GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX: y\r\n\0\r\n\r\n",
        "GET  /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTP/1.1 \r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX\r\n\r\n",
        "GET /x\r\n",
        "GET /x HTTP/0.9\r\n\r\n",
        "GET /x HTTP/01.1\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTP/1.01\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTP/3.0\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTP/2\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x HTTPS/1.1\r\nHost: a.test\r\n@\r\n\r\n",
        "GET /x\r\nHost: a.test\r\n@\r\n\r\n",
        "POST /x HTTP/1.0\r\nHost: a.test\r\n@\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /x HTTP/1.0\r\nHost: a.test\r\n@\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /x HTTP/1.0\r\nHost: a.test\r\n@\r\nConnection: keep-alive\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        bench.check_at_most(request, "/x").await;
        bench.check_silent(request).await;
    }
    // A space in the target is escaped before anybody is asked, and so it is decided about and forwarded.
    bench.check_at_most("GET /x  HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", "/x%20").await;
    bench.check_at_most("GET /x y HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", "/x%20y").await;
    bench.check("GET /.zonegate /x HTTP/1.1\r\nHost: a.test\r\n@\r\n\r\n", Refused(404)).await;
    bench.finish();
}

#[tokio::test]
async fn expectations_are_the_one_there_is_or_refused() {
    let mut bench = Bench::new().await;
    for value in [
        "200-ok",
        "100-continue, 200-ok",
        "x",
        "",
        "100-continue; a=b",
        "100-Continue\r\nExpect: 100-continue",
        "100-continue-now",
    ] {
        for body in ["Content-Length: 2\r\n\r\nhi", "\r\n"] {
            let request = format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nExpect: {value}\r\n{body}");
            bench.check(&request, Ended(417)).await;
            bench.check_silent(&request).await;
        }
    }
    // Over all backends the body arrives once, however its waiting is answered: the client sends it at once.
    for value in ["100-continue", "100-Continue"] {
        let request =
            format!("POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nExpect: {value}\r\nContent-Length: 2\r\n\r\nhi");
        bench.check(&request, Body("POST /x", "hi")).await;
    }
    bench.finish();
}

#[tokio::test]
async fn h2_h6_no_alias_of_a_protected_field_is_a_variable_of_cgi_or_wsgi() {
    let mut bench = Bench::new().await;
    for name in NAMES {
        let lower = name.to_ascii_lowercase();
        let spellings = [
            name.to_owned(),
            lower.replace('-', "_"),
            name.replace('-', "."),
            name.replace('-', "~"),
            name.replace('-', "+"),
            format!("{name}_"),
            format!("{name}-"),
            format!("{name}."),
            name.replacen('-', "_", 1),
        ];
        // All at once, around the session's cookie.
        let forged: String = spellings.iter().map(|spelled| format!("{spelled}: forged, forged\r\n")).collect();
        let request = format!("GET /x HTTP/1.1\r\nHost: a.test\r\n{forged}@\r\n{forged}\r\n");
        bench.check(&request, Forwarded("GET /x")).await;
        // What is no name is refused, and not repaired into one.
        for spelled in [
            format!("{name} "),
            format!("{name}\t"),
            format!(" {name}"),
            name.replace('-', " "),
            format!("{name}\0"),
            format!("\u{0}{name}"),
            name.replace('-', "\u{ad}"),
            format!("\u{ef}\u{bd}\u{98}{}", &name[1..]),
            format!("({name})"),
            format!("\"{name}\""),
        ] {
            let request = format!("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n{spelled}: forged\r\n\r\n");
            if spelled != name {
                bench.check_never(&request).await;
            }
        }
    }
    bench.finish();
}

#[tokio::test]
async fn h2_h6_nor_over_http_2() {
    let mut bench = Bench::new().await;
    for at in 0..bench.targets.len() {
        let (zone, token) = (bench.targets[at].zone, bench.targets[at].token.clone());
        let mut client = H2::new(bench.gateway.connect_h2(zone).await).await;
        for name in NAMES {
            let lower = name.to_ascii_lowercase();
            for spelled in [lower.clone(), lower.replace('-', "_"), lower.replace('-', "."), format!("{lower}~")] {
                let next = bench.next_sentinel();
                let request = Request::get(format!("https://{zone}{next}")).header(&spelled, "forged");
                let request =
                    request.header("cookie", format!("__Host-zg_session={token}")).header(&spelled, "forged");
                let told = match client.ask(request.body(()).unwrap(), b"").await {
                    Ok(reply) => {
                        let body = String::from_utf8_lossy(&reply.body).into_owned();
                        bench.judge_sentinel(at, &next, reply.status.as_u16(), &body)
                    }
                    Err(error) => Err(error.to_string()),
                };
                if let Err(got) = told {
                    bench.wrong.push(format!("{}: {spelled}: {got}", bench.targets[at].name));
                }
            }
        }
    }
    bench.finish();
}

#[tokio::test]
async fn h4_what_a_client_nominates_or_repeats_takes_nothing_of_ours() {
    let mut bench = Bench::new().await;
    let many: Vec<_> = (0..300).map(|at| format!("x-{at}")).collect();
    let many = many.join(", ");
    for nominated in [
        "X-Forwarded-User",
        "x-forwarded-user, close",
        "keep-alive, X-Zonegate-Assertion",
        "X-Request-Id",
        "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host",
        "\"X-Forwarded-User\"",
        "X-Forwarded-User;q=1",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "close, X_Forwarded_User",
        "TE, Trailer",
        &many,
    ] {
        let request = format!(
            "POST /x HTTP/1.1\r\nHost: a.test\r\n@\r\nConnection: {nominated}\r\nX-Forwarded-User: forged\r\nContent-Length: 2\r\n\r\nhi"
        );
        bench.check_at_most(&request, "/x").await;
    }
    // Hop-by-hop fields end here, also those that nobody nominated.
    for field in [
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "TE: gzip",
        "Trailer: X",
        "Proxy-Authorization: Basic eA==",
        "Upgrade: x",
    ] {
        let request = format!("GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\n{field}\r\n\r\n");
        let hop = field.split(':').next().unwrap_or_default();
        for received in bench.check_and_take(&request, Forwarded("GET /x")).await {
            let left = received.all(&hop.to_ascii_lowercase());
            if !left.is_empty() {
                bench.wrong.push(format!("{field} arrived: {}", shown(&[received])));
            }
        }
    }
    bench.finish();
}

#[tokio::test]
async fn m8_one_host_is_told_whatever_the_client_wrote() {
    let mut bench = Bench::new().await;
    for (head, want) in [
        (
            "GET /x HTTP/1.1\r\nHost: a.test\r\n@\r\nX-Forwarded-Host: forged\r\nX-Host: forged\r\n",
            Forwarded("GET /x"),
        ),
        ("GET https://a.test/x HTTP/1.1\r\nHost: a.test\r\n@\r\n", Refused(400)),
        ("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n@\r\n", Refused(400)),
        ("GET https://user:x%40a.test/x HTTP/1.1\r\nHost: a.test\r\n@\r\n", Dropped),
        ("GET https:///x HTTP/1.1\r\nHost: a.test\r\n@\r\n", Dropped),
        ("GET https:x HTTP/1.1\r\nHost: a.test\r\n@\r\n", Dropped),
        ("GET file:///etc/passwd HTTP/1.1\r\nHost: a.test\r\n@\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: a.test\r\nHost:\r\n@\r\n", Dropped),
        ("GET /x HTTP/1.1\r\nHost: forged\r\nhost: a.test\r\n@\r\n", Dropped),
        ("GET /x HTTP/1.1\r\n@\r\nHost : a.test\r\n", Dropped),
        ("GET /x HTTP/1.1\r\n@\r\nHost: a.test\0\r\n", Dropped),
        ("GET /x HTTP/1.1\r\n@\r\nHost: a.test\t\r\n", Forwarded("GET /x")),
        ("GET /x HTTP/1.1\r\n@\r\nHost: a.test:99999\r\n", Refused(400)),
    ] {
        bench.check(&format!("{head}\r\n"), want).await;
    }
    bench.finish();
}

#[test]
fn every_test_that_the_table_of_attacks_names_is_there() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let table = std::fs::read_to_string(tests.join("ATTACKS.md")).unwrap();
    let named: Vec<_> = table.split('`').filter_map(|word| word.split_once("::")).collect();
    assert!(named.len() > 20, "the table is read");
    for (module, name) in named {
        let text = std::fs::read_to_string(tests.join(format!("it/{module}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{module}::{name}");
    }
}
