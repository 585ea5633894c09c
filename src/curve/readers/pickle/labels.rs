//! Labels of columns and rows: pandas' indexes, and the strings that they hold.

use super::array::Data;
use super::tables::{Found, Tables};
use super::{Class, Value};
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::Column;
use std::borrow::Cow;

impl<'a> Tables<'_, 'a> {
    /// The labels of the columns.
    pub(super) fn labels(&mut self, value: Value<'a>) -> Found<Vec<String>> {
        let bad = || "its column labels cannot be read".to_string();
        let Some((Class::NewIndex, [Value::Global(class), fields, ..], _)) = self.call(value)
        else {
            return Err(bad());
        };
        if *class == Class::RangeIndex {
            let stop = match self.get(*fields, "stop") {
                Some(Value::Int(stop)) if (0..10_000).contains(&stop) => stop,
                _ => return Err(bad()),
            };
            return Ok((0..stop).map(|i| i.to_string()).collect());
        }
        let data = self.get(*fields, "data").ok_or_else(bad)?;
        self.strings(data)?.ok_or_else(bad)
    }

    /// The row labels as a column: under their name, or as `step` where no column is one.
    pub(super) fn index(
        &mut self,
        value: Value<'a>,
        rows: usize,
        columns: &[Column],
    ) -> Found<Option<Column>> {
        let Some((Class::NewIndex, [Value::Global(class), fields, ..], _)) = self.call(value)
        else {
            return Ok(None);
        };
        let name = match self.get(*fields, "name") {
            Some(Value::Text(name)) => self.name(name)?,
            _ if columns
                .iter()
                .any(|c| matches!(role_of(&c.name), Some((Role::Step, _)))) =>
            {
                return Ok(None);
            }
            _ => "step".to_string(),
        };
        let mut column = Column::new(name);
        if *class == Class::RangeIndex {
            let field = |key| match self.get(*fields, key) {
                Some(Value::Int(value)) => value as f64,
                _ => f64::NAN,
            };
            let (start, step) = (field("start"), field("step"));
            self.charge(rows)?;
            column.cells = (0..rows)
                .map(|row| (row as u32, start + step * row as f64))
                .collect();
            return Ok(Some(column));
        }
        let data = self.get(*fields, "data");
        let Some(data) = data else { return Ok(None) };
        let Some(array) = self.array(data)?.filter(|a| a.dtype.is_number()) else {
            return Ok(None);
        };
        if array.len()? != rows {
            return Err(format!(
                "an index of {} labels stands beside {rows} rows",
                array.len()?
            ));
        }
        self.charge(rows)?;
        column.cells = (0..rows)
            .map(|row| (row as u32, array.number(row)))
            .collect();
        Ok(Some(column))
    }

    /// Labels: objects, a `StringArray` of them, Arrow's strings, or numbers.
    fn strings(&mut self, value: Value<'a>) -> Found<Option<Vec<String>>> {
        if let Some((Class::ArrowStringArray, _, Some(state))) = self.call(value) {
            return match self.get(state, "_pa_array") {
                Some(array) => self.arrow_strings(array),
                None => Ok(None),
            };
        }
        if let Some((Class::UnpickleBacked, _, Some(state))) = self.call(value) {
            // (dtype, values), in the order of the version.
            let parts = self.sequence(state).unwrap_or_default();
            let array = parts
                .iter()
                .take(4)
                .find(|v| matches!(self.call(**v), Some((Class::Reconstruct, ..))));
            return match array {
                Some(&array) => self.strings(array),
                None => Ok(None),
            };
        }
        let Some(array) = self.array(value)? else {
            return Ok(None);
        };
        let length = array.len()?;
        self.charge(length)?;
        let mut text = |i: usize| match &array.data {
            Data::Objects(values) => match values.get(i) {
                Some(Value::Text(text)) => self.name(text),
                Some(Value::Int(number)) => Ok(number.to_string()),
                _ => Ok(String::new()),
            },
            Data::Bytes(_) => Ok(array.number(i).to_string()),
        };
        (0..length).map(&mut text).collect::<Found<_>>().map(Some)
    }

    /// `_restore_array((type, length, nulls, offset, [valid, offsets, data], children, dictionary))`
    /// of `string` or `large_string`.
    fn arrow_strings(&mut self, value: Value<'a>) -> Found<Option<Vec<String>>> {
        let Some((Class::ArrowArray, [parts, ..], _)) = self.call(value) else {
            return Ok(None);
        };
        let parts = self.sequence(*parts);
        let Some(&[kind, Value::Int(length), _, Value::Int(offset), buffers, ..]) = parts else {
            return Ok(None);
        };
        let width = match self.call(kind) {
            Some((Class::ArrowType, [Value::Text("large_string")], _)) => 8,
            Some((Class::ArrowType, [Value::Text("string")], _)) => 4,
            _ => return Ok(None),
        };
        let Some(&[_, offsets, data]) = self.sequence(buffers) else {
            return Ok(None);
        };
        let (Some(offsets), Some(data)) = (self.buffer(offsets)?, self.buffer(data)?) else {
            return Ok(None);
        };
        let (Ok(length), Ok(first)) = (usize::try_from(length), usize::try_from(offset)) else {
            return Ok(None);
        };
        if length.saturating_add(first) >= offsets.len() / width {
            return Ok(None);
        }
        self.charge(length)?;
        let end = |i: usize| {
            let mut wide = [0; 8];
            wide[..width].copy_from_slice(&offsets[i * width..(i + 1) * width]);
            usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX)
        };
        let mut labels = Vec::new();
        for i in first..first + length {
            let Some(text) = data.get(end(i)..end(i + 1)) else {
                return Ok(None);
            };
            self.charge(text.len() / 8)?;
            labels.push(String::from_utf8_lossy(text).into_owned());
        }
        Ok(Some(labels))
    }

    /// `py_buffer(bytes)`.
    fn buffer(&mut self, value: Value<'a>) -> Found<Option<Cow<'a, [u8]>>> {
        match self.call(value) {
            Some((Class::ArrowBuffer, [bytes], _)) => self.bytes(*bytes),
            _ => Ok(None),
        }
    }
}
