//! The configuration file as a tree that remembers its lines.
//!
//! Why not a struct with `Deserialize`? serde stops at the first thing that is wrong, and an operator who mends
//! one line at a time is not served. The tree is read whole; settings are then taken out of it one by one, every
//! problem is noted with its line, and what nobody took is an unknown key.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Spanned};

/// One value of the file, with the line it begins on (from 1; 0 for one that came from the environment).
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    /// A boolean, number or text, as it was written.
    Scalar(String),
    List(Vec<Node>),
    /// In the order of the file. A key that stands twice is here twice, for [`super::section`] to report.
    Map(Vec<(String, u64, Node)>),
}

impl Value {
    pub(super) const fn sort(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a section with keys",
        }
    }
}

/// Reads a whole file. The error is the parser's own sentence, with its line.
pub(super) fn parse(text: &str) -> Result<Node, (u64, String)> {
    if text.trim().is_empty() {
        return Ok(Node { line: 1, value: Value::Map(Vec::new()) });
    }
    // A twofold key is reported like everything else, not the end of the reading. `yes`, `on` and 007 are text, as
    // in YAML 1.2: a group of that name must not reach the application as `true` or `7`.
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // Nobody reads them, and the parser keeps no more than 96 lines of them: a file that explains itself was refused.
        emit_comments: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Read>>(text, options) {
        Ok(root) => Ok(node(root, text)),
        Err(error) => {
            let line = error.location().map_or(1, |location| location.line());
            Err((line, first_sentence(&error.without_snippet().to_string())))
        }
    }
}

/// What the parser says, without what it advises whoever calls it.
fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split("; use from_str").next().unwrap_or_default().to_owned()
}

fn node(spanned: Spanned<Read>, text: &str) -> Node {
    let Spanned { value, referenced, defined } = spanned;
    let value = match value {
        Read::Null => Value::Null,
        Read::Text(read) => Value::Scalar(read),
        // Whatever is read from text has a place in it; the parser's types do not say so.
        Read::Other(read) => Value::Scalar(written(defined, text).map_or(read, str::to_owned)),
        Read::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Read::Map(entries) => {
            let entry = |(key, value): (Spanned<String>, _)| (key.value, key.referenced.line(), node(value, text));
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { line: referenced.line(), value }
}

/// A scalar as the file has it. A subject of 21 digits is a number to YAML, and another one when it is written back.
fn written(defined: Location, text: &str) -> Option<&str> {
    let span = defined.span();
    let (from, bytes) = (usize::try_from(span.byte_offset()?).ok()?, usize::try_from(span.byte_len()?).ok()?);
    text.get(from..from.checked_add(bytes)?)
}

/// What the parser takes a value for.
enum Read {
    Null,
    Text(String),
    /// A boolean or a number, as the parser would write it.
    Other(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Read;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_none<E>(self) -> Result<Read, E> {
        Ok(Read::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read, E> {
        Ok(Read::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Read, E> {
        Ok(Read::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Read, E> {
        Ok(Read::Other(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Read, E> {
        Ok(Read::Other(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Read, E> {
        Ok(Read::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Read, E> {
        Ok(Read::Other(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Read, E> {
        Ok(Read::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Read::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Read, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Read::Map(map))
    }
}
