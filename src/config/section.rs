//! Taking settings out of the tree: each is looked up by key, parsed, and noted as known.

use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;

use super::problems::{Place, Problem};
use super::tree::{Node, Value};
use crate::base::Ttl;

/// Collects problems, and the keys that exist: what is documented must be what is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) known: RefCell<Vec<String>>,
    /// Keys that should be sections and are not: what is missing below them is not worth a line each.
    broken: RefCell<Vec<String>>,
    /// Keys that the environment gave, each with its variable.
    pub(super) overridden: RefCell<Vec<(String, String)>>,
}

impl Findings {
    pub(super) fn report(&self, line: u64, key: &str, text: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { line, key: key.to_owned(), text: text.into() });
    }

    /// What there is to tell, in the order of the file, each once.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let broken = self.broken.into_inner();
        let overridden = self.overridden.into_inner();
        let mut told: Vec<Problem> = Vec::new();
        for mut problem in self.problems.into_inner() {
            if broken.iter().any(|key| is_below(&problem.key, key)) {
                continue;
            }
            // The operator would look in the file for what the environment said.
            let related =
                |key: &str| key == problem.key || is_below(key, &problem.key) || is_below(&problem.key, key);
            if problem.line == 0
                && let Some((_, variable)) = overridden.iter().find(|(key, _)| related(key))
            {
                problem.text = format!("{} (the environment says so: {variable})", problem.text);
            }
            if !told.contains(&problem) {
                told.push(problem);
            }
        }
        told.sort_by_key(|problem| problem.line);
        told
    }
}

fn is_below(key: &str, section: &str) -> bool {
    match key.strip_prefix(section) {
        Some(rest) if section.is_empty() => !rest.is_empty(),
        Some(rest) => rest.starts_with(['.', '[']),
        None => false,
    }
}

/// A section of the file: a map, or nothing where the file leaves it out.
pub(super) struct Section<'a> {
    findings: &'a Findings,
    pub(super) path: String,
    pub(super) line: u64,
    entries: Vec<(&'a str, u64, &'a Node)>,
    taken: RefCell<Vec<String>>,
}

/// A single value of the file and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Scalar<'a> {
    pub(super) text: &'a str,
    pub(super) line: u64,
    pub(super) key: String,
}

/// What stands at a key that may be either.
pub(super) enum Either<'a> {
    Word(Scalar<'a>),
    Section(Section<'a>),
}

impl<'a> Section<'a> {
    pub(super) fn of(findings: &'a Findings, path: String, node: Option<&'a Node>) -> Self {
        let mut entries = Vec::new();
        let line = node.map_or(0, |node| node.line);
        match node.map(|node| &node.value) {
            None | Some(Value::Null) => {}
            Some(Value::Map(map)) => {
                entries.extend(map.iter().map(|(key, line, node)| (key.as_str(), *line, node)));
                report_twofold(findings, &path, map);
            }
            Some(other @ (Value::Scalar(_) | Value::List(_))) => {
                findings.report(
                    line,
                    &path,
                    format!("is {}, and must be a section with keys below it", other.sort()),
                );
                findings.broken.borrow_mut().push(path.clone());
            }
        }
        Self { findings, path, line, entries, taken: RefCell::default() }
    }

    pub(super) fn key(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Whether the file has this key, whatever is below it. Does not make it a known one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _, _)| *key == name)
    }

    /// Whether something stands behind this key.
    pub(super) fn says(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _, node)| *key == name && !matches!(node.value, Value::Null))
    }

    pub(super) fn report(&self, line: u64, name: &str, text: impl Into<String>) {
        self.findings.report(line, &self.key(name), text);
    }

    pub(super) fn report_at(&self, scalar: &Scalar<'_>, text: impl Into<String>) {
        self.findings.report(scalar.line, &scalar.key, text);
    }

    /// For what was found out of something further below, by its whole key.
    pub(super) fn report_key(&self, line: u64, key: &str, text: impl Into<String>) {
        self.findings.report(line, key, text);
    }

    /// For what was found out after its key was read.
    pub(super) fn report_in(&self, place: &Place, text: impl Into<String>) {
        self.findings.report(place.line, &place.key, text);
    }

    /// Whether the key is there, but of a sort that says nothing; that has been reported.
    pub(super) fn is_broken(&self, name: &str) -> bool {
        self.findings.broken.borrow().contains(&self.key(name))
    }

    /// A section that matters only when it is there.
    pub(super) fn section_if_map(&self, name: &str) -> Option<Self> {
        self.take(name).map(|(_, node)| Section::of(self.findings, self.key(name), Some(node)))
    }

    /// Looks a key up and notes that it exists.
    fn take(&self, name: &str) -> Option<(u64, &'a Node)> {
        self.taken.borrow_mut().push(name.to_owned());
        let key = self.key(name);
        let general: String = without_indices(&key);
        let mut known = self.findings.known.borrow_mut();
        if !known.contains(&general) {
            known.push(general);
        }
        self.entries.iter().find(|(key, _, _)| *key == name).map(|(_, line, node)| (*line, *node))
    }

    /// A key at which a word may stand, or a section.
    pub(super) fn word_or_section(&self, name: &str) -> Option<Either<'a>> {
        let (line, node) = self.take(name)?;
        match &node.value {
            Value::Null => None,
            Value::Scalar(text) => {
                Some(Either::Word(Scalar { text, line: node.line.max(line), key: self.key(name) }))
            }
            Value::List(_) | Value::Map(_) => {
                Some(Either::Section(Section::of(self.findings, self.key(name), Some(node))))
            }
        }
    }

    pub(super) fn section(&self, name: &str) -> Self {
        let node = self.take(name).map(|(_, node)| node);
        Section::of(self.findings, self.key(name), node)
    }

    /// A list of sections.
    pub(super) fn sections(&self, name: &str) -> Vec<Self> {
        let items = self.list(name);
        let each = items.into_iter().enumerate();
        each.map(|(at, node)| Section::of(self.findings, format!("{}[{at}]", self.key(name)), Some(node)))
            .collect()
    }

    fn list(&self, name: &str) -> Vec<&'a Node> {
        match self.take(name) {
            None => Vec::new(),
            Some((line, node)) => match &node.value {
                Value::Null => Vec::new(),
                Value::List(items) => items.iter().collect(),
                Value::Scalar(_) => vec![node],
                Value::Map(_) => {
                    self.report(
                        line,
                        name,
                        "is a section with keys, and must be a list (each item begins with '- ')",
                    );
                    self.findings.broken.borrow_mut().push(self.key(name));
                    Vec::new()
                }
            },
        }
    }

    /// A list of single values; one value alone is a list of one, and from the environment one with commas is a list
    /// of several.
    pub(super) fn scalars(&self, name: &str) -> Vec<Scalar<'a>> {
        let items = self.list(name).into_iter().enumerate();
        let scalar = |(at, node): (usize, &'a Node)| {
            let key = format!("{}[{at}]", self.key(name));
            match &node.value {
                Value::Scalar(text) if node.line == 0 => text
                    .split(',')
                    .map(str::trim)
                    .filter(|text| !text.is_empty())
                    .map(|text| Scalar { text, line: 0, key: key.clone() })
                    .collect(),
                Value::Scalar(text) => vec![Scalar { text, line: node.line, key }],
                other @ (Value::Null | Value::List(_) | Value::Map(_)) => {
                    self.findings.report(
                        node.line,
                        &key,
                        format!("is {}, and must be a single value", other.sort()),
                    );
                    Vec::new()
                }
            }
        };
        items.flat_map(scalar).collect()
    }

    /// A single value, if the file has it.
    pub(super) fn scalar(&self, name: &str) -> Option<Scalar<'a>> {
        let (line, node) = self.take(name)?;
        match &node.value {
            Value::Scalar(text) => Some(Scalar { text, line: node.line.max(line), key: self.key(name) }),
            Value::Null => None,
            other @ (Value::List(_) | Value::Map(_)) => {
                self.report(line, name, format!("is {}, and must be a single value", other.sort()));
                None
            }
        }
    }

    /// A value that parses, or the default where the file has none or a wrong one (which is reported).
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    pub(super) fn optional<T: FromStr<Err: Display>>(&self, name: &str) -> Option<T> {
        let scalar = self.scalar(name)?;
        self.parse(&scalar)
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&self, scalar: &Scalar<'_>) -> Option<T> {
        match scalar.text.parse() {
            Ok(value) => Some(value),
            Err(problem) => {
                self.findings.report(scalar.line, &scalar.key, format!("{:?} {problem}", scalar.text));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> u64 {
        let Some(scalar) = self.scalar(name) else { return default };
        match scalar.text.parse::<u64>() {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                let text =
                    format!("{:?} is not a whole number from {} to {}", scalar.text, bounds.start(), bounds.end());
                self.findings.report(scalar.line, &scalar.key, text);
                default
            }
        }
    }

    /// A whole number within bounds, where the file has one.
    pub(super) fn number_if_any(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.scalar(name)?;
        Some(self.number(name, *bounds.start(), bounds))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        let Some(scalar) = self.scalar(name) else { return default };
        match scalar.text {
            "true" | "True" | "TRUE" => true,
            "false" | "False" | "FALSE" => false,
            other => {
                self.findings.report(scalar.line, &scalar.key, format!("{other:?} is neither true nor false"));
                default
            }
        }
    }

    /// A length of time with its unit, within bounds.
    pub(super) fn duration(&self, name: &str, default: Ttl, bounds: std::ops::RangeInclusive<u32>) -> Ttl {
        let Some(scalar) = self.scalar(name) else { return default };
        let seconds = scalar.text.parse::<jiff::SignedDuration>().ok().filter(|d| d.subsec_nanos() == 0);
        let seconds = seconds.and_then(|d| u32::try_from(d.as_secs()).ok()).filter(|s| bounds.contains(s));
        seconds.and_then(Ttl::from_seconds).unwrap_or_else(|| {
            let text = format!(
                "{:?} is not a length of time from {} to {}, written like 90s, 15m or 8h",
                scalar.text,
                spell(*bounds.start()),
                spell(*bounds.end()),
            );
            self.findings.report(scalar.line, &scalar.key, text);
            default
        })
    }

    /// A size with its unit, in bytes, within bounds.
    pub(super) fn size(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> u64 {
        let Some(scalar) = self.scalar(name) else { return default };
        let bytes = scalar.text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
        bytes.filter(|bytes| bounds.contains(bytes)).unwrap_or_else(|| {
            let (low, high) = (spell_size(*bounds.start()), spell_size(*bounds.end()));
            let text =
                format!("{:?} is not a size from {low} to {high}, written like 16KiB or 10MiB", scalar.text);
            self.findings.report(scalar.line, &scalar.key, text);
            default
        })
    }

    /// The entries of a section whose keys are the operator's own.
    pub(super) fn entries(&self) -> Vec<Scalar<'a>> {
        let names: Vec<&'a str> = self.entries.iter().map(|(key, _, _)| *key).collect();
        names.into_iter().filter_map(|name| self.scalar_of_own_key(name)).collect()
    }

    fn scalar_of_own_key(&self, name: &'a str) -> Option<Scalar<'a>> {
        self.taken.borrow_mut().push(name.to_owned());
        let (_, line, node) = self.entries.iter().find(|(key, _, _)| *key == name)?;
        match &node.value {
            Value::Scalar(text) => Some(Scalar { text, line: *line, key: name.to_owned() }),
            other @ (Value::Null | Value::List(_) | Value::Map(_)) => {
                self.report(*line, name, format!("is {}, and must be a single value", other.sort()));
                None
            }
        }
    }

    /// Reports every key that nobody asked for, with the nearest one that exists.
    pub(super) fn finish(self) {
        let taken = self.taken.borrow();
        for (key, line, _) in &self.entries {
            if !taken.iter().any(|known| known == key) {
                let near = nearest(taken.iter().map(String::as_str), key);
                let text = match near {
                    Some(near) => format!("is not a key here; did you mean {near:?}?"),
                    None => format!("is not a key here; the keys are {}", taken.join(", ")),
                };
                self.report(*line, key, text);
            }
        }
    }
}

/// A key that stands twice: which of the two is meant nobody can know.
fn report_twofold(findings: &Findings, path: &str, map: &[(String, u64, Node)]) {
    for (at, (key, line, _)) in map.iter().enumerate() {
        if let Some((_, first, _)) = map.iter().take(at).find(|(earlier, _, _)| earlier == key) {
            findings.report(*line, &join(path, key), format!("stands on line {first} already: keep one of them"));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The name that was probably meant: about one edit in three characters away, so that `id` is never meant by `foo`.
pub(super) fn nearest<'n>(names: impl Iterator<Item = &'n str>, typed: &str) -> Option<&'n str> {
    let shorter = |name: &str| name.chars().count().min(typed.chars().count());
    let close = |name: &&str| distance(name, typed) <= shorter(name).div_ceil(3);
    names.filter(close).min_by_key(|name| distance(name, typed))
}

/// `zones[3].upstream` → `zones[].upstream`.
pub(super) fn without_indices(key: &str) -> String {
    let mut inside = false;
    key.chars()
        .filter(|c| {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ => return !inside,
            }
            true
        })
        .collect()
}

fn spell_size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

fn spell(seconds: u32) -> String {
    match seconds {
        s if s >= 3600 && s % 3600 == 0 => format!("{}h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Edits that turn one key into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let substituted = at(&row, j) + usize::from(ca != *cb);
            next.push(substituted.min(at(&row, j + 1) + 1).min(at(&next, j) + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
