//! JSON Lines: one object a line, its text in one field.

use super::compressed::{open, read_error};
use super::{Flow, ReadOptions, Sink, Source, Stop, list_names};
use crate::error::Error;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::io::{BufRead, BufReader};

/// Reads every line's field. A line is held whole, whatever its length.
pub(super) fn read(source: &Source, options: &ReadOptions, sink: &mut dyn Sink) -> Flow {
    let mut input = BufReader::with_capacity(256 << 10, open(source, options)?);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        let n = input.read_until(b'\n', &mut line).map_err(|e| {
            let place = format!("line {}", number.saturating_sub(1));
            Stop::from(read_error(source, e, place))
        })?;
        if n == 0 {
            break;
        }
        let text = match std::str::from_utf8(&line) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) if options.lossy => String::from_utf8_lossy(&line),
            Err(e) => {
                return Err(Error::input(format!(
                    "{} is not UTF-8 in line {number}, byte {} of the line; convert it, or give \
                     --lossy to replace such bytes by U+FFFD",
                    source.name,
                    e.valid_up_to()
                ))
                .into());
            }
        };
        let text = text.trim_start_matches('\u{FEFF}').trim();
        if text.is_empty() {
            continue;
        }
        if let Some(document) = field_of(text, options, source, number)? {
            sink.text(&document)?;
            sink.end_document()?;
        }
    }
    Ok(())
}

/// The text in the field of one line; `None` where it is null.
fn field_of(
    line: &str,
    options: &ReadOptions,
    source: &Source,
    number: u64,
) -> Result<Option<String>, Error> {
    let field = &options.field;
    let mut json = serde_json::Deserializer::from_str(line);
    let found = Field(field).deserialize(&mut json).and_then(|found| {
        json.end()?;
        Ok(found)
    });
    let kind = match found {
        Ok(Some(Value::String(text))) => return Ok(Some(text)),
        Ok(Some(Value::Null)) => return Ok(None),
        Ok(Some(Value::Bool(_))) => "a boolean",
        Ok(Some(Value::Number(_))) => "a number",
        Ok(Some(Value::Array(_))) => "an array",
        Ok(Some(Value::Object(_))) => "an object",
        Ok(None) => {
            let object: serde_json::Map<String, Value> =
                serde_json::from_str(line).unwrap_or_default();
            let present: Vec<String> = object.keys().cloned().collect();
            return Err(Error::input(format!(
                "{} has no field {field:?} in line {number}; its fields are {}; name the one \
                 that holds the text with --field",
                source.name,
                list_names(&present)
            )));
        }
        Err(e) => {
            let what = e.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            return Err(Error::input(format!(
                "{} holds no JSON object in line {number}, column {}: {what}; each line must be \
                 one object, such as {{\"{field}\": \"…\"}}",
                source.name,
                e.column()
            )));
        }
    };
    Err(Error::input(format!(
        "{} has {kind} in field {field:?} of line {number}, not text; name the field that holds \
         the text with --field",
        source.name
    )))
}

/// Picks one field out of an object and skips the rest without building it.
struct Field<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
