//! TensorBoard's event files.
//!
//! A file is a chain of TFRecords: length (u64), masked CRC-32C of the length, that many bytes,
//! masked CRC-32C of them, all little-endian. Each holds an `Event` message with a step and scalars
//! by tag, either as `simple_value` (torch, tensorboardX) or as a tensor of one number (TensorFlow 2). Both
//! checksums are checked. A record that the file's end cuts off is what a run that still writes, or was
//! killed, leaves: it is passed over.

use super::builder::Builder;
use crate::curve::columns::{Role, role_of};
use crate::curve::frame::Frame;
use crate::error::{Error, Result};
use std::path::PathBuf;

const HEADER: usize = 12;
const FOOTER: usize = 4;

/// Whether the bytes begin with a record whose length stands its checksum, or with the name of the
/// format, which the first record of a writer holds.
pub(super) fn is_events(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return false;
    };
    let name = b"brain.Event:";
    let begin = &bytes[..bytes.len().min(64)];
    masked_crc(&header[..8]) == u32_at(header, 8) || begin.windows(name.len()).any(|w| w == name)
}

/// Files of one run, in order.
pub(super) fn read_files(paths: &[PathBuf]) -> Result<Vec<Frame>> {
    let mut builder = Builder::default();
    let mut notes = Vec::new();
    let mut total = 0;
    for path in paths {
        let bytes = super::read_file(path)?;
        total += bytes.len() as u64;
        let file = path.display().to_string();
        if total > super::MOST_BYTES {
            return Err(Error::input(format!(
                "the event files up to {file} are larger than 1 GiB together; give one of them"
            )));
        }
        // A writer that was killed at once leaves an empty file.
        if !bytes.is_empty() {
            events(&bytes, &file, &mut builder, &mut notes)?;
        }
    }
    frame(builder, notes).map(|f| vec![f])
}

/// # Errors
/// A checksum that does not fit or a message that does not parse, with its offset.
pub(super) fn read(bytes: &[u8], file: &str) -> Result<Vec<Frame>> {
    let mut builder = Builder::default();
    let mut notes = Vec::new();
    events(bytes, file, &mut builder, &mut notes)?;
    frame(builder, notes).map(|f| vec![f])
}

fn frame(builder: Builder, notes: Vec<String>) -> Result<Frame> {
    let mut frame = builder.frame(None, false);
    frame.notes = notes;
    Ok(frame)
}

fn events(bytes: &[u8], file: &str, builder: &mut Builder, notes: &mut Vec<String>) -> Result<()> {
    let damaged = |at: usize, what: &str| {
        Error::input(format!(
            "{file} is damaged at byte {at}: {what}; copy it again from where it was written"
        ))
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some(header) = rest.first_chunk::<HEADER>() else {
            break;
        };
        if masked_crc(&header[..8]) != u32_at(header, 8) {
            return Err(damaged(
                at,
                "the length of a record does not fit its checksum",
            ));
        }
        let length = u64::from_le_bytes(std::array::from_fn(|i| header[i]));
        let whole = usize::try_from(length)
            .ok()
            .and_then(|n| n.checked_add(HEADER + FOOTER));
        let Some(record) = whole.and_then(|n| rest.get(..n)) else {
            break;
        };
        let data = &record[HEADER..record.len() - FOOTER];
        if masked_crc(data) != u32_at(record, record.len() - FOOTER) {
            return Err(damaged(at, "a record does not fit its checksum"));
        }
        let row = u32::try_from(at).unwrap_or(u32::MAX);
        event(data, row, builder).ok_or_else(|| damaged(at, "a record is no event"))?;
        at += record.len();
    }
    if at < bytes.len() {
        notes.push(format!(
            "the last record, at byte {at}, is cut off and left out"
        ));
    }
    Ok(())
}

/// Takes the scalars of one event; `None` where it does not parse.
fn event(data: &[u8], at: u32, builder: &mut Builder) -> Option<()> {
    let mut step = 0;
    let mut summary = None;
    for field in Fields(data) {
        match field? {
            (2, Value::Varint(value)) => step = value as i64,
            (5, Value::Bytes(bytes)) => summary = Some(bytes),
            _ => {}
        }
    }
    let Some(summary) = summary else {
        return Some(());
    };
    let mut begun = false;
    for field in Fields(summary) {
        let (1, Value::Bytes(value)) = field? else {
            continue;
        };
        let Some((tag, number)) = scalar(value)? else {
            continue;
        };
        let tag = String::from_utf8_lossy(tag);
        // The step is the event's own.
        if matches!(role_of(&tag), None | Some((Role::Step, _))) {
            continue;
        }
        if !begun {
            builder.row(at);
            builder.number("global_step", step as f64);
            begun = true;
        }
        builder.number(&tag, number);
    }
    Some(())
}

/// Tag and value of a `Summary.Value`; `Some(None)` for images, texts and the like.
fn scalar(data: &[u8]) -> Option<Option<(&[u8], f64)>> {
    let (mut tag, mut number) = (&b""[..], None);
    for field in Fields(data) {
        match field? {
            (1, Value::Bytes(bytes)) => tag = bytes,
            (2, Value::Fixed32(bits)) => number = Some(f64::from(f32::from_bits(bits))),
            (8, Value::Bytes(tensor)) => number = tensor_scalar(tensor)?.or(number),
            _ => {}
        }
    }
    Some(number.map(|number| (tag, number)))
}

/// The one number of a `TensorProto`; `Some(None)` where it holds none, or several.
fn tensor_scalar(data: &[u8]) -> Option<Option<f64>> {
    const FLOAT: u64 = 1;
    const DOUBLE: u64 = 2;
    let (mut kind, mut content, mut floats, mut doubles) = (0, &b""[..], Vec::new(), Vec::new());
    for field in Fields(data) {
        match field? {
            (1, Value::Varint(value)) => kind = value,
            (4, Value::Bytes(bytes)) => content = bytes,
            (5, Value::Bytes(bytes)) => floats.extend_from_slice(bytes),
            (5, Value::Fixed32(bits)) => floats.extend_from_slice(&bits.to_le_bytes()),
            (6, Value::Bytes(bytes)) => doubles.extend_from_slice(bytes),
            (6, Value::Fixed64(bits)) => doubles.extend_from_slice(&bits.to_le_bytes()),
            _ => {}
        }
    }
    let bytes = match kind {
        FLOAT if !floats.is_empty() => &floats,
        DOUBLE if !doubles.is_empty() => &doubles,
        _ => content,
    };
    Some(match kind {
        FLOAT => bytes
            .try_into()
            .ok()
            .map(|b| f64::from(f32::from_le_bytes(b))),
        DOUBLE => bytes.try_into().ok().map(f64::from_le_bytes),
        _ => None,
    })
}

/// The fields of a protocol buffer message, number and value; `None` where it is malformed, which
/// ends the walk.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// TensorFlow's guard against checksums of data that holds checksums.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected, byte by byte.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ 0x82f6_3b78
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    let step = |crc: u32, &byte: &u8| TABLE[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

/// What a writer of such files does, for tests.
#[cfg(test)]
pub(in crate::curve) fn record(data: &[u8]) -> Vec<u8> {
    let mut out = (data.len() as u64).to_le_bytes().to_vec();
    let crc = masked_crc(&out);
    out.extend(crc.to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
