//! What the environment overrides, and what it only seems to.

use super::*;
use crate::zone::Upstream;

fn check_variable(name: &str, value: &str, want: &[&str]) {
    check_in(&Outside::new().variable(name, value), HEAD, want);
}

#[test]
fn the_environment_overrides_the_file() {
    let outside = Outside::new()
        .variable("ZONEGATE_LISTEN__HTTP", "127.0.0.1:80, [::1]:80")
        .variable("ZONEGATE_ZONES__0__UPSTREAM__URL", "http://10.0.0.1:8080")
        .variable("ZONEGATE_UNIVERSAL_HOST", "www.example")
        .variable("ZONEGATE_THREADS", "3")
        .variable("ZONEGATE_MASTER_KEY", "env:ZONEGATE_SECRET_KEY")
        .variable("ZONEGATE_SECRET_KEY", MASTER_KEY)
        // Put there by container platforms and by our own tools.
        .variable("ZONEGATE_PORT_443_TCP_ADDR", "10.0.0.1")
        .variable("ZONEGATE_CONFIG", "z.yaml")
        .variable("ZONEGATE_LOG__LEVEL", "");
    let text = format!("{HEAD}log: {{ level: debug }}\n");
    let settings = load(&text, "/etc/zg/z.yaml", &outside).unwrap();
    assert_eq!(settings.listeners.http.len(), 2);
    assert_eq!(settings.zones.zones()[0].upstream, Upstream::at(([10, 0, 0, 1], 8080).into()));
    assert_eq!(settings.zones.universal().unwrap().as_str(), "www.example");
    assert_eq!(settings.threads, 3);
    assert_eq!(settings.log.level, LogLevel::Info, "an empty variable takes the file's value away");
}

#[test]
fn what_the_environment_says_wrong_is_told_with_the_variable() {
    check_variable(
        "ZONEGATE_LIMITS__HAED",
        "1",
        &[
            "limits.haed is not a key here; did you mean \"head\"? (the environment says so: ZONEGATE_LIMITS__HAED)",
        ],
    );
    check_variable(
        "ZONEGATE_LIMIT__HEAD",
        "1",
        &["limit is not a key here; did you mean \"limits\"? (the environment says so: ZONEGATE_LIMIT__HEAD)"],
    );
    check_variable(
        "ZONEGATE_LIMITS__HEAD",
        "1",
        &[
            "limits.head \"1\" is not a size from 4KiB to 256KiB, written like 16KiB or 10MiB (the environment says so: ZONEGATE_LIMITS__HEAD)",
        ],
    );
    check_variable(
        "ZONEGATE_LIMITS_HEAD",
        "1",
        &["ZONEGATE_LIMITS_HEAD is read by nobody; did you mean ZONEGATE_LIMITS__HEAD?"],
    );
    check_variable(
        "ZONEGATE_MASTERKEY",
        "x",
        &["ZONEGATE_MASTERKEY is read by nobody; did you mean ZONEGATE_MASTER_KEY?"],
    );
    check_variable(
        "ZONEGATE_ZONES__1__HOST",
        "b.example",
        &["ZONEGATE_ZONES__1__HOST names item \"1\" of zones, which has 1, counted from 0"],
    );
    check_variable(
        "ZONEGATE_STORE__PATH__X",
        "1",
        &["ZONEGATE_STORE__PATH__X overrides a key below store.path, which has no keys"],
    );
    check_variable(
        "ZONEGATE_LISTEN__HTTP",
        "127.0.0.1:80,nowhere",
        &[
            "listen.http[0] \"nowhere\" is not an address with a port, like 0.0.0.0:443 or [::]:443 (the environment says so: ZONEGATE_LISTEN__HTTP)",
        ],
    );
    check_variable(
        "ZONEGATE___",
        "1",
        &[
            "is not a key here; the keys are listen, master_key, store, certificates, acme, brand, security, hashing, limits, assertion, native_clients, log, sso, suite, traces, reload, name_servers, threads, universal_host, zones (the environment says so: ZONEGATE___)",
        ],
    );
}
