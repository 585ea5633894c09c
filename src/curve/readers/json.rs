//! JSON values as logs hold them: parsed into little memory, and with Python's `NaN` and `Infinity`.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A value. Numbers are all floating point; keys keep their order, and of equal ones all stay.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::curve) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    List(Vec<Json>),
    Map(Vec<(Box<str>, Json)>),
}

impl Json {
    /// The value of a key of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Map(pairs) => pairs
                .iter()
                .rev()
                .find(|(k, _)| &**k == key)
                .map(|(_, v)| v),
            _ => None,
        }
    }

    /// Parses one value and nothing behind it. `NaN`, `Infinity` and `-Infinity`, which are no JSON
    /// but which Python writes, become text of that name.
    pub fn parse(text: &str) -> serde_json::Result<Json> {
        let text = text.trim();
        serde_json::from_str(text).or_else(|error| match quoted_infinities(text) {
            Cow::Borrowed(_) => Err(error),
            Cow::Owned(mended) => serde_json::from_str(&mended),
        })
    }
}

/// The text with bare `NaN` and `Infinity` in quotes; borrowed where there are none.
fn quoted_infinities(text: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let (mut from, mut at, mut inside) = (0, 0, false);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if inside => at += 1,
            b'"' => inside = !inside,
            b'N' | b'I' | b'-' if !inside => {
                let words = ["NaN", "Infinity", "-Infinity"];
                if let Some(word) = words
                    .into_iter()
                    .find(|w| bytes[at..].starts_with(w.as_bytes()))
                {
                    mended.push_str(&text[from..at]);
                    mended.push('"');
                    mended.push_str(word);
                    mended.push('"');
                    at += word.len();
                    from = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[from..]);
    Cow::Owned(mended)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }
            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element()? {
                    list.push(value);
                }
                list.shrink_to_fit();
                Ok(Json::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                pairs.shrink_to_fit();
                Ok(Json::Map(pairs))
            }
        }
        from.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_numbers_are_read() {
        let json =
            Json::parse(r#" {"a": NaN, "b": [-Infinity, 1], "NaN\"": "Infinity"} "#).unwrap();
        assert_eq!(json.get("a"), Some(&Json::Text("NaN".into())));
        let b = Json::List(vec![Json::Text("-Infinity".into()), Json::Number(1.0)]);
        assert_eq!(json.get("b"), Some(&b));
        assert_eq!(json.get("NaN\""), Some(&Json::Text("Infinity".into())));
        assert!(Json::parse("{\"a\": NaNo}").is_err());
        assert!(Json::parse("{} {}").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(Json::parse(&"[".repeat(1 << 20)).is_err());
        assert!(Json::parse(&"{\"a\":".repeat(1 << 20)).is_err());
    }
}
