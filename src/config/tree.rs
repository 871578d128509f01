//! The configuration file as a tree that remembers its lines.
//!
//! Why not a struct with `Deserialize`? serde stops at the first thing that is wrong, and an operator who mends
//! one line at a time is not served. The tree is read whole; settings are then taken out of it one by one, every
//! problem is noted with its line, and what nobody took is an unknown key.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::DuplicateKeyPolicy;

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
    match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options) {
        Ok(root) => Ok(node(root)),
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

fn node(spanned: Spanned<Value>) -> Node {
    Node { line: spanned.referenced.line(), value: spanned.value }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(node(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = node(entries.next_value::<Spanned<Value>>()?);
            map.push((key.value, key.referenced.line(), value));
        }
        Ok(Value::Map(map))
    }
}
