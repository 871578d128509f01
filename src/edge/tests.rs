//! A property over both halves of the path: what hygiene lets pass and the rules judge (M9).

use pingora::http::RequestHeader;
use proptest::prelude::*;

use super::hygiene;
use crate::gate::Place;
use crate::zone::{Allow, Members, Need, PathPattern, Person, Rule, Rules};

/// Words that paths and rules are made of: few, so that they meet, and with what readers disagree about.
const WORDS: [&str; 6] = ["a", "admin", "public", "b.css", "caf%C3%A9", ""];

fn any_rules() -> impl Strategy<Value = Vec<(String, bool, usize)>> {
    let path = proptest::collection::vec(0..WORDS.len() - 1, 0..3)
        .prop_map(|words| format!("/{}", words.iter().map(|at| WORDS[*at]).collect::<Vec<_>>().join("/")));
    proptest::collection::vec((path, any::<bool>(), 0..5_usize), 1..5)
}

/// A raw path: words in some spelling, with parameters and odd ends.
fn any_path() -> impl Strategy<Value = String> {
    let tail = prop_oneof![
        4 => Just(String::new()),
        1 => prop_oneof![
            Just(";x=y"), Just(";"), Just("%3b"), Just("%3Bx"), Just("%3f"), Just("%23y"), Just("."), Just("%20"), Just("..;"),
            Just("%2f"), Just("%5c"), Just("\\"), Just("%00"), Just("%2e"), Just("%252e"), Just(".."), Just("%c0%ae"),
        ].prop_map(str::to_owned),
    ];
    let segment = (0..WORDS.len(), any::<u8>(), any::<u8>(), tail).prop_map(|(word, capitals, escapes, tail)| {
        let spelled = WORDS[word].chars().enumerate().map(|(at, c)| {
            match (capitals >> (at % 8) & 1, escapes >> (at % 8) & 3) {
                (1, _) if c.is_ascii_lowercase() && !WORDS[word].contains('%') => {
                    c.to_ascii_uppercase().to_string()
                }
                (_, 3) if c.is_ascii_alphabetic() && !WORDS[word].contains('%') => format!("%{:02x}", c as u32),
                _ => c.to_string(),
            }
        });
        format!("{}{tail}", spelled.collect::<String>())
    });
    proptest::collection::vec(segment, 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

/// What one application does to a path before it looks for what is there: any of these, one after the other.
fn read(path: &str, steps: &[u8]) -> String {
    let mut path = path.to_owned();
    for step in steps {
        path = match step {
            0 => decode(&path),
            1 => path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/"),
            2 => path.split(';').next().unwrap().to_owned(),
            3 => path.split(['?', '#']).next().unwrap().to_owned(),
            4 => lower(&path),
            5 => path.split('/').map(|segment| segment.trim_end_matches(['.', ' '])).collect::<Vec<_>>().join("/"),
            6 => path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(&path).to_owned(),
            7 => path
                .split('/')
                .filter(|segment| !segment.is_empty())
                .fold(String::new(), |all, segment| all + "/" + segment),
            8 => resolve(&path),
            _ => path.replace('\\', "/"),
        };
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
    }
    path
}

/// In small letters, but for the digits of escapes: they are numbers to everybody.
fn lower(path: &str) -> String {
    let mut pieces = path.split('%');
    let first = pieces.next().unwrap().to_lowercase();
    pieces.fold(first, |all, piece| match piece.split_at_checked(2) {
        Some((digits, rest)) => format!("{all}%{digits}{}", rest.to_lowercase()),
        None => format!("{all}%{}", piece.to_lowercase()),
    })
}

fn decode(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &behind[2..];
            }
            (byte, _) => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn resolve(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    // Before the first slash stands nothing.
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// What the rule for a path asks for to an application that has read it: the first whose text it is.
fn of_reader<'a>(
    rules: &'a [(String, bool, usize)],
    read: &str,
    ignoring_case: bool,
) -> Option<&'a (String, bool, usize)> {
    let spell = |text: &str| if ignoring_case { text.to_lowercase() } else { text.to_owned() };
    let read = spell(read);
    rules.iter().find(|(path, below, _)| {
        [spell(path), spell(&decode(path))].into_iter().any(|path| {
            let path = if path.len() > 1 { path.trim_end_matches('/') } else { "" };
            let rest = read.strip_prefix(path);
            rest.is_some_and(|rest| {
                rest.is_empty() || rest == "/" && path.is_empty() || *below && rest.starts_with('/')
            })
        })
    })
}

fn allow(which: usize) -> Allow {
    let members = |group: &str| Allow::Members(Members { groups: vec![group.into()], kinds: vec![] });
    match which {
        0 => Allow::Public,
        1 => Allow::SignedIn,
        2 => members("staff"),
        3 => members("boss"),
        _ => Allow::Deny,
    }
}

/// Whether somebody in these groups, or nobody, is let through by what a rule allows.
fn lets(allow: Option<&Allow>, groups: Option<&[String]>) -> bool {
    match (allow.unwrap_or(&Allow::SignedIn), groups) {
        (Allow::Public | Allow::Optional, _) => true,
        (Allow::SignedIn, groups) => groups.is_some(),
        (Allow::Members(members), Some(groups)) => members.include(Person { groups, kind: "regular" }),
        (Allow::Members(_), None) | (Allow::Deny, _) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever an application makes of a path that is let in, the rule for that reading lets it in as well: no
    /// spelling moves a request from a closed rule to an open one.
    #[test]
    fn m9_no_reading_of_a_path_that_passes_would_have_been_refused(
        lines in any_rules(), raw in any_path(), steps in proptest::collection::vec(0..10_u8, 0..5),
        ignoring_case in any::<bool>(), who in 0..4_usize,
    ) {
        let head = RequestHeader::build("GET", raw.as_bytes(), None);
        let passes = head.is_ok_and(|head| hygiene::check_path(head.raw_path()).is_ok());
        if !passes || hygiene::place(raw.as_bytes()) == Place::Ours {
            return Ok(());
        }
        let rule = |(at, (path, below, which)): (usize, &(String, bool, usize))| Rule {
            name: at.to_string().into(),
            line: 0,
            path: if *below { PathPattern::below(path) } else { PathPattern::exact(path) }.unwrap(),
            methods: vec![],
            allow: allow(*which),
        };
        let rules = Rules::new(lines.iter().enumerate().map(rule).collect());
        let groups: Option<Vec<String>> = match who {
            0 => None,
            1 => Some(vec![]),
            2 => Some(vec!["staff".into()]),
            _ => Some(vec!["staff".into(), "boss".into()]),
        };
        let ruling = rules.ruling(&http::Method::GET, raw.as_bytes());
        let person = groups.as_deref().map(|groups| Person { groups, kind: "regular" });
        let ours = match (ruling.need(), person) {
            (Need::Public | Need::Optional, _) => true,
            (Need::SignedIn, Some(person)) => ruling.refusing(person).is_none(),
            (Need::SignedIn, None) | (Need::Deny | Need::Unreadable, _) => false,
        };
        let read = read(&raw, &steps);
        let theirs = of_reader(&lines, &read, ignoring_case).map(|(_, _, which)| allow(*which));
        prop_assert!(
            !ours || lets(theirs.as_ref(), groups.as_deref()),
            "{} is {} to {:?}: {:?}", raw, read, steps, theirs
        );
    }
}
