//! JSON as providers send it, read strictly.
//!
//! *Why not `serde_json::Value`?* It keeps the last of two members of one name, and another reader of the same token may
//! keep the first: who may choose one of them could say two things at once (RFC 7515 section 4 and RFC 7519 section 4
//! allow the refusal). Everything from a provider goes through here, so the rule holds for all of it.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::TokenProblem;
use crate::base::UnixTime;

/// A JSON object without repeated members, at any depth.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// Reads a whole text; `None` for anything but one object. Depth is bounded by the parser (128).
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        match serde_json::from_slice(bytes) {
            Ok(Once(Value::Object(members))) => Some(Self(members)),
            Ok(Once(_)) | Err(_) => None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a text if it is there. `null` is not: a claim without a value is to be left out (OpenID Connect
    /// Core 1.0 section 5.3.2), and to call it absent would be to guess.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, TokenProblem> {
        let text = self.get(name).map(|value| value.as_str().ok_or(TokenProblem::Malformed(name)));
        text.transpose()
    }

    /// A claim that is a point in time if it is there (RFC 7519 section 2, NumericDate: a fraction is allowed). What lies
    /// beyond all numbers of seconds becomes the last of them; nothing wraps around.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<UnixTime>, TokenProblem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let whole = value.as_u64();
        let seconds = whole.or_else(|| value.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64));
        seconds.map(|seconds| Some(UnixTime::from_seconds(seconds))).ok_or(TokenProblem::Malformed(name))
    }
}

/// A value in which no object has two members of one name.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Once(value))) = map.next_entry::<String, Once>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_whole_or_not_at_all() {
        let text = r#"{"a":[1,-2,1.5,"x",null,true,{"b":{}}],"":"é"}"#;
        let object = Object::read(text.as_bytes()).unwrap();
        assert_eq!(Value::Object(object.0), serde_json::from_str::<Value>(text).unwrap());
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "{}{}",
            "{",
            r#"{"a":1,}"#,
            "\u{feff}{}",
            r#"{"a":"\ud800"}"#,
            r#"{"a":1e999}"#,
            "{\"a\":\"\n\"}",
        ] {
            assert!(Object::read(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(Object::read(b"{\"a\":\"\xff\"}").is_none());
        assert!(Object::read(format!(r#"{{"a":{}}}"#, "[".repeat(100_000)).as_bytes()).is_none());
    }

    #[test]
    fn h8_a_member_that_stands_there_twice_is_refused_in_every_spelling_and_depth() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
        ] {
            assert!(Object::read(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(Object::read(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}],"A":1}"#).is_some());
    }

    #[test]
    fn a_time_is_a_number_that_never_wraps() {
        let check = |text: &str, want: Option<u64>| {
            let object = Object::read(format!(r#"{{"t":{text}}}"#).as_bytes()).unwrap();
            let want = want.map(|seconds| Some(UnixTime::from_seconds(seconds)));
            assert_eq!(object.time("t"), want.ok_or(TokenProblem::Malformed("t")), "{text}");
        };
        check("0", Some(0));
        check("1800000000", Some(1_800_000_000));
        check("1800000000.9", Some(1_800_000_000));
        check("1.8e9", Some(1_800_000_000));
        check("18446744073709551615", Some(u64::MAX));
        check("18446744073709551616", Some(u64::MAX));
        check("1e300", Some(u64::MAX));
        for bad in ["-1", "-0.5", "-1e300", "\"1800000000\"", "null", "true", "[1]", "{}"] {
            check(bad, None);
        }
        assert_eq!(Object::read(b"{}").unwrap().time("t"), Ok(None));
    }
}
