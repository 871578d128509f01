//! What each rule is for, and what rules say when readers of the path would not agree.

use super::*;

fn rule(at: usize, path: PathPattern, methods: &[&str], allow: Allow) -> Rule {
    let methods = methods.iter().map(|method| method.parse().unwrap()).collect();
    Rule { name: format!("access[{at}]").into(), line: at as u64 + 1, path, methods, allow }
}

fn groups(names: &[&str]) -> Allow {
    let groups = names.iter().map(|name| (*name).to_owned()).collect();
    Allow::Members(Members { groups, kinds: vec![] })
}

/// Rules of one word for the path (`=/x` alone, `/x` and below), methods with commas, and what they allow.
fn rules(lines: &[&str]) -> Rules {
    let read = |(at, line): (usize, &&str)| {
        let mut words = line.split(' ');
        let path = words.next().unwrap();
        let pattern = match path.strip_prefix('=') {
            Some(path) => PathPattern::exact(path),
            None => PathPattern::below(path),
        };
        let (methods, allow) = match (words.next().unwrap(), words.next()) {
            (methods, Some(allow)) => (methods.split(',').collect(), allow),
            (allow, None) => (vec![], allow),
        };
        let allow = match allow {
            "public" => Allow::Public,
            "optional" => Allow::Optional,
            "signed_in" => Allow::SignedIn,
            "deny" => Allow::Deny,
            group => groups(&[group]),
        };
        rule(at, pattern.unwrap(), &methods, allow)
    };
    Rules::new(lines.iter().enumerate().map(read).collect())
}

/// What a request needs, and of which rule.
fn check(rules: &Rules, request: &str, want: &str) {
    let (method, path) = request.split_once(' ').unwrap();
    let ruling = rules.ruling(&method.parse().unwrap(), path.as_bytes());
    let name = ruling.rule().map_or("-", |rule| &rule.name);
    assert_eq!(format!("{:?} {name}", ruling.need()), want, "{request}");
}

#[test]
fn without_rules_a_session_is_needed() {
    check(&Rules::default(), "GET /", "SignedIn -");
    check(&Rules::default(), "GET /;x/", "SignedIn -");
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = rules(&[
        "=/health public",
        "/static/private staff",
        "/static GET public",
        "/ OPTIONS public",
        "/welcome optional",
        "/api GET,PUT signed_in",
        "/api writers",
        "/internal deny",
    ]);
    check(&rules, "GET /health", "Public access[0]");
    check(&rules, "GET /health?x=/static", "Public access[0]");
    check(&rules, "GET /healthy", "SignedIn -");
    check(&rules, "GET /health/x", "SignedIn -");
    check(&rules, "GET /static", "Public access[2]");
    check(&rules, "HEAD /static/app.css", "Public access[2]");
    check(&rules, "POST /static/app.css", "SignedIn -");
    check(&rules, "GET /static/private", "SignedIn access[1]");
    check(&rules, "GET /static/privates", "Public access[2]");
    check(&rules, "GET /?/static", "SignedIn -");
    check(&rules, "OPTIONS /anything", "Public access[3]");
    check(&rules, "GET /welcome/", "Optional access[4]");
    check(&rules, "PUT /api/x", "SignedIn access[5]");
    check(&rules, "DELETE /api/x", "SignedIn access[6]");
    check(&rules, "GET /internal", "Deny access[7]");
}

#[test]
fn m9_a_path_that_some_reader_takes_for_another_needs_what_both_need() {
    let rules = rules(&["=/admin staff", "/internal deny", "=/caf%c3%a9/%6dap staff", "/ public"]);
    for path in [
        "/admin",
        "/Admin",
        "/ADMIN",
        "/%61dmin",
        "/admin/",
        "/admin;x=y",
        "/admin%3bx",
        "/admin;x/y",
        "/admin%3fx/y",
        "/admin%23",
        "/admin.",
        "/admin%20",
        "/adm%C4%B1n",
        "/adm%C4%B0n",
        "/admin%CD%BEx",
        "/admin%EF%BC%9Bx/y",
        "/admin.json",
        "/Admin.%78ml/",
        "/index.php/admin",
        "/INDEX.%70hp;x/admin.json",
        "/%EF%BD%81dmin",
        "/caf%C3%A9/map",
        "/cafe%CC%81/map",
        "/CAF%C3%89/map",
    ] {
        check(
            &rules,
            &format!("GET {path}"),
            if path.starts_with("/c") || path.starts_with("/C") {
                "SignedIn access[2]"
            } else {
                "SignedIn access[0]"
            },
        );
    }
    for path in ["/internal/x", "/Internal/x", "/internal;v=1/x/y", "/internal;/"] {
        check(&rules, &format!("GET {path}"), "Deny access[1]");
    }
    for path in [
        "/admin/users",
        "/administrator",
        "/x/admin",
        "/x;/admin",
        "/adm",
        "/",
        "/admin.json/x",
        "/.php/admin",
        "/x.phtml/admin",
    ] {
        check(&rules, &format!("GET {path}"), "Public access[3]");
    }
    for path in
        ["/;x/admin", "/%20/admin", "/.../admin", "/%3fx/admin", "/x/;y", "/a%EF%BC%8Fb", "/%EF%BC%9Bx/admin"]
    {
        check(&rules, &format!("GET {path}"), "Unreadable -");
    }
}

#[test]
fn m9_a_script_has_what_stands_behind_its_name_and_may_be_asked_for_without_its_ending() {
    // What is opened by its whole name is met first where it stands first.
    let opened = rules(&["=/app/users.css public", "/app/users writers"]);
    check(&opened, "GET /app/users.css", "Public access[0]");
    let rules = rules(&["=/app/admin.php staff", "/app/users writers", "=/app/users.css public", "/ public"]);
    for path in ["/app/admin.php", "/app/admin.php/x/y", "/app/admin", "/app/admin.PHP", "/app/x.php/admin.php"] {
        check(&rules, &format!("GET {path}"), "SignedIn access[0]");
    }
    // What stands behind the name is the script's (`MultiViews`, RFC 3875 section 4.1.5), whichever of the two spells its ending.
    for path in ["/app/admin/x", "/app/Admin/x/y", "/app/admin.php;v=1/x"] {
        check(&rules, &format!("GET {path}"), "SignedIn access[0]");
    }
    for path in ["/app/users.php/7", "/app/users.PHP", "/app.php/users"] {
        check(&rules, &format!("GET {path}"), "SignedIn access[1]");
    }
    for path in ["/app/users.json", "/app/index.php/users/7", "/app/users/7.json"] {
        check(&rules, &format!("GET {path}"), "SignedIn access[1]");
    }
    for path in ["/app/admins", "/app/admin.php5", "/app/index.php", "/app.php"] {
        check(&rules, &format!("GET {path}"), "Public access[3]");
    }
}

#[test]
fn m9_nothing_is_opened_by_a_spelling() {
    let rules = rules(&["=/health public", "/static public", "/hello optional"]);
    for path in
        ["/Health", "/health/", "/health;x", "/STATIC/app.css", "/static;x/app.css", "/%73tatic/", "/Hello"]
    {
        check(&rules, &format!("GET {path}"), "SignedIn -");
    }
    check(&rules, "GET /static/app;v=2/x.css", "Public access[1]");
}

#[test]
fn whom_a_rule_lets_through() {
    let person = |groups: &[&str], kind| (groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>(), kind);
    let members = Members { groups: vec!["staff".into(), "it".into()], kinds: vec!["regular"] };
    let check = |(groups, kind): (Vec<String>, &'static str), want| {
        assert_eq!(members.include(Person { groups: &groups, kind }), want, "{groups:?} {kind}");
    };
    check(person(&["it"], "regular"), true);
    check(person(&["x", "staff"], "regular"), true);
    check(person(&["Staff"], "regular"), false);
    check(person(&[], "regular"), false);
    check(person(&["staff"], "contractor"), false);
    let rules = rules(&["/a staff", "/A it", "/ signed_in"]);
    let refused = |path: &str, groups: &[&str]| {
        let (groups, kind) = person(groups, "regular");
        let ruling = rules.ruling(&Method::GET, path.as_bytes());
        ruling.refusing(Person { groups: &groups, kind }).map(|rule| rule.line)
    };
    assert_eq!(refused("/a", &["staff"]), None);
    assert_eq!(refused("/a", &["it"]), Some(1));
    assert_eq!(refused("/A", &["it"]), Some(1), "it may mean /a");
    assert_eq!(refused("/A", &["staff"]), Some(2));
    assert_eq!(refused("/A", &["staff", "it"]), None);
}

#[test]
fn a_rule_that_is_never_reached_is_found_with_those_before_it() {
    let check = |lines: &[&str], want: &[u64]| {
        let rules = rules(lines);
        let by = rules.shadow(lines.len() - 1);
        assert_eq!(by.iter().map(|rule| rule.line).collect::<Vec<_>>(), want, "{lines:?}");
    };
    check(&["/a public", "/a/b deny"], &[1]);
    check(&["/a public", "=/a/ deny"], &[1]);
    check(&["/ public", "=/ deny"], &[1]);
    check(&["=/a public", "=/a deny"], &[1]);
    check(&["=/%61 public", "=/a deny"], &[1]);
    check(&["/a GET public", "/a/b HEAD deny"], &[1]);
    check(&["/a GET public", "/ POST deny", "/a GET,POST staff"], &[1, 2]);
    check(&["/a/b public", "/a deny"], &[]);
    check(&["=/a public", "/a deny"], &[]);
    check(&["/a GET public", "/a deny"], &[]);
    check(&["/a GET public", "/a GET,POST deny"], &[]);
    check(&["/a public", "/ab deny"], &[]);
}

#[test]
fn a_rules_path_is_one_that_everybody_reads_alike() {
    for path in [
        "",
        "a",
        "//",
        "/a//b",
        "/a/../b",
        "/a?x",
        "/a#b",
        "/a;x",
        "/a%3bx",
        "/a%3f",
        "/a%2fb",
        "/a%252f",
        "/a.",
        "/a%20",
        "/.zonegate/login",
        "/.zonegate/account",
        "/.zonegate/admin/sso",
        "/.well-known/zonegate/x",
        "/é",
        "/a b",
        "/*\\",
    ] {
        assert_eq!(PathPattern::below(path), Err(PatternProblem), "{path:?}");
    }
    for path in ["/", "/a", "/a/", "/a/b.css", "/.well-known/security.txt", "/caf%C3%A9", "/a%20b", "/x~y_z-1"] {
        assert!(PathPattern::exact(path).is_ok(), "{path:?}");
    }
}

#[test]
fn m9_a_sigma_at_the_end_of_a_name_is_the_same_before_a_format() {
    let rules = rules(&["/%CF%80%CF%8C%CF%81%CE%BF%CF%82 staff", "/ public"]);
    for path in [
        "/%CF%80%CF%8C%CF%81%CE%BF%CF%82",
        "/%CF%80%CF%8C%CF%81%CE%BF%CF%82.json",
        "/%CF%80%CF%8C%CF%81%CE%BF%CF%83",
    ] {
        check(&rules, &format!("GET {path}"), "SignedIn access[0]");
    }
}

proptest::proptest! {
    /// What is found out of a plain path in a few steps is what is found out of any.
    #[test]
    fn m9_a_plain_path_is_read_as_every_path_is(
        path in "(/(a|b|x|\\.|\\.php|\\.PHP|php|%2e|%70|;|#| |／|~|)(a|\\.php|\\.phP|\\.|)){0,4}",
    ) {
        let path = path.as_bytes();
        if is_plain(path) {
            proptest::prop_assert!(!hides_segments(path));
            proptest::prop_assert_eq!(script(path, is_plain_script), script(path, is_script));
        }
    }
}
