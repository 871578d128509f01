//! What the compiler does not hold: the direction of imports, and the absences that `ARCHITECTURE.md` promises.
//!
//! The checks read source text with comments and literals blanked, up to a file's own test module. Each one
//! is also tried on text that breaks it, so that a check that has gone blind fails here and not in a review.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in dependency order: each imports only those before it.
const ORDER: [&str; 19] = [
    // Pure: no clock, socket, file, randomness or lock; built alone with `--no-default-features`.
    "base",
    "zone",
    "directory",
    "credential",
    "session",
    "assertion",
    "gate",
    "sso",
    "login",
    "pages",
    "config",
    "telemetry",
    // Everything that does I/O.
    "machine",
    "store",
    "table",
    "idp",
    "portal",
    "edge",
    "cli",
];

/// How many of [`ORDER`] are pure.
const PURE: usize = 12;

/// Files over [`LINES_MAX`] lines of code, each with the reason why it is one file.
const LONG_FILES: [(&str, &str); 0] = [];

/// The most lines of code in a file, tests, comments and blank lines not counted.
const LINES_MAX: usize = 600;

struct Source {
    /// Relative to the package, with `/`.
    path: String,
    text: String,
    /// `text` with comments and literals blanked, cut before the file's own test module.
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let blanked = blank(text);
        let end = inline_tests(&blanked).unwrap_or(blanked.len());
        Self { path: path.into(), code: blanked[..end].into(), text: text.into() }
    }

    /// The top-level module that the file belongs to: `gate` for `src/gate/mod.rs`, `main` for `src/main.rs`.
    fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
    }

    /// A file of tests only: `tests.rs` or below a `tests` folder.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }
}

/// Where a file's own test module begins. A declaration, `mod tests;`, ends nothing.
fn inline_tests(code: &str) -> Option<usize> {
    const MARK: &str = "#[cfg(test)]\nmod ";
    let opens = |at: &usize| code[at + MARK.len()..].split('\n').next().is_some_and(|line| line.ends_with('{'));
    code.match_indices(MARK).map(|(at, _)| at).find(opens)
}

/// Blanks comments and the contents of string and character literals, keeping every line where it is.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut wipe = |from: usize, to: usize| {
        out[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let wordy = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let end = if rest.starts_with(b"//") {
            at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            at + find(rest, b"*/").map_or(rest.len(), |i| i + 2)
        } else if !wordy && let Some(length) = raw_string(rest) {
            at + length
        } else if rest[0] == b'"' {
            at + quoted(rest, b'"')
        } else if rest.starts_with(b"'\\") || (rest[0] == b'\'' && char_literal(rest)) {
            at + quoted(rest, b'\'')
        } else {
            at += 1;
            continue;
        };
        wipe(at, end);
        at = end;
    }
    String::from_utf8(out).unwrap()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` at the start, if there is one.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let start = usize::from(rest.starts_with(b"b"));
    let hashes = rest.get(start..)?.strip_prefix(b"r")?.iter().take_while(|b| **b == b'#').count();
    let open = start + 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    Some(find(&rest[open + 1..], &close).map_or(rest.len(), |i| open + 1 + i + close.len()))
}

/// The length of a literal that starts and ends with `quote`.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether `'` opens a character literal and not a lifetime.
fn char_literal(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]).into_owned();
    text.chars().nth(1) == Some('\'')
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(package().join(folder)) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let inner = format!("{folder}/{name}");
        if path.is_dir() {
            if name != "node_modules" && name != "artefacts" {
                files(&inner, out);
            }
        } else {
            out.push(inner.into());
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| files(folder, &mut paths));
    let rust = paths.iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    let read =
        |path: &PathBuf| Source::new(&path.to_string_lossy(), &fs::read_to_string(package().join(path)).unwrap());
    let sources: Vec<_> = rust.map(read).collect();
    assert!(!sources.is_empty(), "found no source below {folders:?}");
    sources
}

/// Runs `find` over each source and fails with every finding at once.
fn none(sources: &[Source], find: impl Fn(&Source) -> Vec<String>) {
    let findings: Vec<_> = sources
        .iter()
        .flat_map(|source| find(source).into_iter().map(move |what| format!("{}: {what}", source.path)))
        .collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// A source for trying a check on.
fn sample(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

// ── direction ──

/// The top-level modules that `code` names by `crate::x`, in `use` trees too, or by `zonegate::x`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "zonegate::"] {
        for (at, _) in code.match_indices(root) {
            let wordy = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            if wordy {
                continue;
            }
            found.extend(heads(&code[at + root.len()..]));
        }
    }
    found
}

/// The first segment of a path, or of each path in a braced group.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut depth = 1;
    let mut heads = Vec::new();
    let mut item = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            heads.push(word(item.trim()));
            item.clear();
        } else {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty() && head != "self");
    heads
}

fn upward_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    let named = imports(&source.code);
    // `lib` only lists the modules; `main` calls the command line and nothing else.
    let allowed: &[&str] = match module {
        "lib" => &[],
        "main" => &["cli"],
        _ => {
            let Some(place) = ORDER.iter().position(|name| *name == module) else {
                return vec![format!("module {module} has no place in ORDER")];
            };
            &ORDER[..=place]
        }
    };
    let wrong = named.into_iter().filter(|name| !allowed.contains(&name.as_str()));
    wrong.map(|name| format!("{module} must not import {name}: only {allowed:?}")).collect()
}

#[test]
fn a_module_imports_only_those_above_it() {
    none(&sources(&["src"]), upward_imports);
    let check = |path: &str, text: &str| !upward_imports(&sample(path, text)).is_empty();
    assert!(check("src/gate/mod.rs", "use crate::store::Store;"));
    assert!(check("src/gate/mod.rs", "use crate::{base::UnixTime, portal::{self, x}};"));
    assert!(check("src/base/mod.rs", "fn f() -> crate::zone::Zone {}"));
    assert!(check("src/main.rs", "zonegate::edge::serve();"));
    assert!(check("src/novel.rs", ""));
    assert!(!check(
        "src/gate/mod.rs",
        "use crate::{base::{a, b}, session};\n// crate::store\nlet x = \"crate::edge\";"
    ));
}

#[test]
fn the_modules_are_declared_in_reading_order_and_the_io_half_behind_its_feature() {
    let lib = fs::read_to_string(package().join("src/lib.rs")).unwrap();
    let mut last = None;
    let mut gated = false;
    for line in lib.lines() {
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            let place = ORDER.iter().position(|module| *module == name);
            let place = place.unwrap_or_else(|| panic!("src/lib.rs: {name} has no place in ORDER"));
            assert!(last < Some(place), "src/lib.rs: {name} stands below a module that may import it");
            assert_eq!(gated, place >= PURE, "src/lib.rs: feature `edge` and {name} do not go together");
            last = Some(place);
        }
        gated = line == "#[cfg(feature = \"edge\")]";
    }
}

// ── absences ──

/// Where `word` stands in the code, not as a part of a longer word.
fn lines_with(source: &Source, word: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (number, line) in source.code.lines().enumerate() {
        let hit = line.match_indices(word).any(|(at, _)| {
            let before = word.starts_with(is_word) && line[..at].ends_with(is_word);
            let after = word.ends_with(is_word) && line[at + word.len()..].starts_with(is_word);
            !before && !after
        });
        if hit {
            found.push(format!("line {}: {word}", number + 1));
        }
    }
    found
}

/// Findings of any of `words`, unless the file's path starts with one of `allowed`.
fn outside(source: &Source, allowed: &[&str], words: &[&str]) -> Vec<String> {
    if allowed.iter().any(|prefix| source.path.starts_with(prefix)) {
        return Vec::new();
    }
    words.iter().flat_map(|word| lines_with(source, word)).collect()
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    let check = |source: &Source| match source.text.starts_with("//! ") {
        true => Vec::new(),
        false => vec!["does not open with //!".into()],
    };
    none(&sources(&["src", "tests", "benches"]), check);
    assert_eq!(check(&sample("src/base/mod.rs", "// Not for rustdoc.\nuse x;")).len(), 1);
}

#[test]
fn only_the_edge_names_pingora() {
    let find = |source: &Source| outside(source, &["src/edge/", "benches/"], &["pingora"]);
    none(&sources(&["src", "tests", "benches"]), find);
    let lines = fs::read_to_string(package().join("src/main.rs")).unwrap();
    assert!(!lines.contains("pingora"));
    assert_eq!(find(&sample("src/portal/mod.rs", "use pingora::http;")).len(), 1);
}

#[test]
fn only_the_store_speaks_sql() {
    let find = |source: &Source| match source.is_test() {
        true => Vec::new(),
        false => outside(source, &["src/store/"], &["sqlx"]),
    };
    none(&sources(&["src"]), find);
    assert_eq!(find(&sample("src/table/mod.rs", "sqlx::query(text)")).len(), 1);
}

#[test]
fn nothing_is_matched_by_a_regex() {
    let find = |source: &Source| outside(source, &[], &["regex", "Regex"]);
    none(&sources(&["src"]), find);
    assert_eq!(find(&sample("src/zone/mod.rs", "use regex::Regex;")).len(), 2);
}

/// The clock's readings and the sources of randomness.
const CLOCK: [&str; 3] = ["SystemTime::now", "Timestamp::now", "Zoned::now"];
const RANDOM: [&str; 4] = ["SystemRandom", "rand::", "getrandom", "OsRng"];

/// Who else may: a signer, because ECDSA wants the generator itself and not bytes from it.
const READERS: [&str; 2] = ["src/machine/", "src/table/signer.rs"];

#[test]
fn only_the_machine_reads_the_civil_clock_and_draws_randomness() {
    let find = |source: &Source| match source.is_test() {
        true => Vec::new(),
        false => outside(source, &READERS, &[&CLOCK[..], &RANDOM[..]].concat()),
    };
    none(&sources(&["src"]), find);
    assert_eq!(find(&sample("src/table/mod.rs", "let now = SystemTime::now();\nrand::rng();")).len(), 2);
}

/// Who may read the monotonic clock, and why: durations in logs and metrics decide nothing.
const STOPWATCHES: [&str; 4] = ["src/machine/", "src/edge/", "src/portal/", "src/cli/"];

#[test]
fn the_monotonic_clock_is_read_only_where_durations_are_measured() {
    let find = |source: &Source| match source.is_test() {
        true => Vec::new(),
        false => outside(source, &STOPWATCHES, &["Instant::now"]),
    };
    none(&sources(&["src"]), find);
    assert_eq!(find(&sample("src/table/mod.rs", "let begun = Instant::now();")).len(), 1);
}

/// What would be I/O, a lock or a thread in the pure half.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net::TcpStream",
    "thread::spawn",
    "thread::scope",
    "std::process",
    "std::env",
    "tokio",
    "Mutex",
    "RwLock",
    "Instant::now",
];

#[test]
fn the_pure_half_does_no_io_and_holds_no_lock() {
    let find = |source: &Source| match ORDER[..PURE].contains(&source.module()) && !source.is_test() {
        true => outside(source, &[], &IMPURE),
        false => Vec::new(),
    };
    none(&sources(&["src"]), find);
    assert_eq!(find(&sample("src/config/mod.rs", "std::fs::read(p); let m: Mutex<()>;")).len(), 2);
}

#[test]
fn the_store_is_written_to_where_its_file_is_looked_for_and_failures_are_counted() {
    // `Store::begin`, `Store::execute` and the log-ins' `run_alone` do both; a query that is given the pool does neither.
    let find = |source: &Source| match source.is_test() {
        true => Vec::new(),
        false => outside(source, &[], &["execute(&self.write)", "execute(&store.write)"]),
    };
    none(&sources(&["src/store"]), find);
    assert_eq!(find(&sample("src/store/x.rs", "query\n    .execute(&self.write)\n    .await?;")).len(), 1);
}

#[test]
fn exceptions_to_a_lint_have_a_reason_and_in_src_end_with_it() {
    let find = |source: &Source| {
        // An `expect` is reported once its reason is gone; an `allow` stays for ever.
        let mut found = match source.path.starts_with("src/") {
            true => outside(source, &[], &["#[allow(", "#![allow("]),
            false => Vec::new(),
        };
        let starts = ["[expect(", "[allow("].iter().flat_map(|word| source.code.match_indices(word));
        let reasonless = starts.filter(|(at, _)| {
            let end = source.text[*at..].find(")]").map_or(source.text.len(), |length| at + length);
            !source.text[*at..end].contains("reason = ")
        });
        found.extend(reasonless.map(|(_, word)| format!("{word}…)] without a reason")));
        found
    };
    none(&sources(&["src", "tests", "benches"]), find);
    assert_eq!(
        find(&sample("src/base/mod.rs", "#[allow(dead_code, reason = \"x\")]\n#[expect(dead_code)]")).len(),
        2
    );
    assert_eq!(find(&sample("benches/x.rs", "#![allow(dead_code)]")).len(), 1);
}

#[test]
fn nothing_sleeps_to_wait_for_something_else() {
    let find = |source: &Source| outside(source, &[], &["thread::sleep"]);
    none(&sources(&["src", "tests", "benches"]), find);
    assert_eq!(find(&sample("tests/it/x.rs", "std::thread::sleep(d)")).len(), 1);
}

#[test]
fn no_file_grows_past_what_one_sitting_reads() {
    for (path, reason) in LONG_FILES {
        assert!(package().join(path).exists() && !reason.is_empty(), "stale exception for {path}");
    }
    let find = |source: &Source| {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        match lines > LINES_MAX && !excused && !source.is_test() {
            true => vec![format!("{lines} lines of code, over {LINES_MAX}")],
            false => Vec::new(),
        }
    };
    none(&sources(&["src"]), find);
    assert_eq!(find(&sample("src/base/mod.rs", &"x();\n".repeat(LINES_MAX + 1))).len(), 1);
}

// ── citations ──

/// What looks like a requirement's id in a comment and is something else.
const NO_IDS: [&str; 2] = ["S256", "E000"];

/// The ids that a source cites: in its comments, and in front of its tests' names.
fn cited(source: &Source) -> Vec<String> {
    let mut ids = Vec::new();
    for line in source.text.lines().map(str::trim_start) {
        if let Some(comment) = line.strip_prefix("//") {
            let words = comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
            ids.extend(words.map(|word| word.trim_matches('-')).filter(|word| is_id(word)).map(str::to_owned));
        }
        let named = line.trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ");
        let mut rest = named.unwrap_or_default();
        loop {
            let (secure, inner) = rest.strip_prefix("sec_").map_or(("", rest), |inner| ("SEC-", inner));
            let Some((word, after)) = inner.split_once('_') else { break };
            let id = format!("{secure}{}", word.to_ascii_uppercase());
            if !is_id(&id) {
                break;
            }
            ids.push(id);
            rest = after;
        }
    }
    ids.retain(|id| !NO_IDS.contains(&id.as_str()));
    ids
}

/// A letter and a number of at most three digits, or one of the two kinds that are written out.
fn is_id(word: &str) -> bool {
    let inner = word.strip_prefix("SEC-").filter(|inner| inner.starts_with('R')).unwrap_or(word);
    let number =
        inner.strip_prefix("DEV-").or_else(|| inner.strip_prefix(|c: char| "ACDEFGHKLMOPRSUVWX".contains(c)));
    number.is_some_and(|number| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn every_requirement_that_is_cited_is_in_the_key() {
    let key = fs::read_to_string(package().join("REQUIREMENTS.md")).unwrap();
    let known: Vec<_> = key.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    assert!(known.len() > 300, "{}", known.len());
    let find = |source: &Source| {
        let unknown = cited(source).into_iter().filter(|id| !known.contains(&id.as_str()));
        unknown.map(|id| format!("cites {id}, which REQUIREMENTS.md does not know")).collect()
    };
    none(&sources(&["src", "tests", "benches"]), find);
    let sample = sample("tests/it/x.rs", "// As R999 and SEC-R998 say.\nasync fn r82_x997_it_holds() {}");
    assert_eq!(find(&sample).len(), 3);
}

#[test]
fn blanking_hides_comments_and_literals_and_nothing_else() {
    let text = "a(\"//x\", 'y', '\\'', b'\"', r#\"k\"z\"#, &'a str); // c\n/* d\n */ let e = \"f\\\"g\"; h";
    let blanked = blank(text);
    assert_eq!(blanked.lines().count(), text.lines().count());
    let words: Vec<_> = blanked.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    assert_eq!(words, ["a", "b", "a", "str", "let", "e", "h"]);
}
