//! One reader a format, chosen by what the file holds, never by its name.
//!
//! | begins with | format |
//! |---|---|
//! | `PAR1` | Parquet |
//! | byte 128, then a protocol from 2 to 5 | pickle |
//! | a TFRecord whose length stands its checksum | TensorBoard events |
//! | `{` or `[` | JSON; JSON Lines where the first line is an object and others follow |
//! | a line that names columns, or holds nothing but numbers | CSV and its kin |
//! | text with steps and losses in its lines | a log as scripts print it |

mod builder;
pub(super) mod csv;
mod json;
mod json_document;
mod json_lines;
mod parquet;
mod pickle;
mod run_dir;
mod tensorboard;
mod text_log;

use super::frame::Frame;
use crate::error::{Error, Result};
use json::Json;
use std::fs::File;
use std::io::Read;
use std::path::Path;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writers;

/// A loss curve above this is something else.
const MOST_BYTES: u64 = 1 << 30;

/// The tables in what `path` names, a file or a directory.
pub(super) fn frames(path: &Path) -> Result<Vec<Frame>> {
    if path.is_dir() {
        return run_dir::read(path);
    }
    file(path)
}

fn file(path: &Path) -> Result<Vec<Frame>> {
    by_content(read_file(path)?, &path.display().to_string())
}

/// The tables in the contents of a file; `file` is its name, for messages.
pub(super) fn by_content(bytes: Vec<u8>, file: &str) -> Result<Vec<Frame>> {
    if bytes.starts_with(b"PAR1") {
        return parquet::read(&bytes, file);
    }
    if bytes.first() == Some(&pickle::PROTO) && bytes.get(1).is_some_and(|p| (2..=5).contains(p)) {
        return pickle::read(&bytes, file);
    }
    if tensorboard::is_events(&bytes) {
        return tensorboard::read(&bytes, file);
    }
    let packed = [
        (&b"\x1f\x8b"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"PK\x03\x04", "zip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
    ];
    if let Some((_, name)) = packed.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::input(format!(
            "{file} is compressed ({name}); unpack it first"
        )));
    }
    let text = text_of(bytes, file)?;
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let Some(first) = lines.next() else {
        return Err(Error::input(format!("{file} is empty")));
    };
    if first.starts_with(['{', '[']) {
        let one_a_line = first.starts_with('{') && first.ends_with('}') && lines.next().is_some();
        if one_a_line && matches!(Json::parse(first), Ok(Json::Map(_))) {
            return json_lines::read(&text, file);
        }
        // A log may begin its lines with [INFO].
        if first.starts_with('{') || !text_log::is_log(&text) {
            return json_document::read(&text, file);
        }
    }
    let header = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'));
    let header = header.unwrap_or(first);
    if csv::is_header(header) || csv::is_numbers(header) {
        return csv::read(&text, file);
    }
    if text_log::is_log(&text) {
        return Ok(text_log::read(&text));
    }
    // A table without the usual names can still be read with a map of its columns.
    if header.contains([',', '\t', ';']) {
        return csv::read(&text, file);
    }
    Err(Error::input(format!(
        "{file} is in no format that is known here: CSV, JSON, JSON Lines, TensorBoard events, Parquet, \
         pickled pandas tables, or a log with lines such as 'step 100: loss 3.2'"
    )))
}

/// The bytes of a file, up to [`MOST_BYTES`].
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", path, e))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::input(format!(
            "{} is larger than 1 GiB, too large for a loss curve; \
             take step, learning rate and loss out of it, for example into a CSV",
            path.display()
        )));
    }
    Ok(bytes)
}

/// A file of text, without a byte-order mark.
pub(super) fn read_text(path: &Path) -> Result<String> {
    text_of(read_file(path)?, &path.display().to_string())
}

fn text_of(bytes: Vec<u8>, file: &str) -> Result<String> {
    match String::from_utf8(bytes) {
        Ok(text) => match text.strip_prefix('\u{feff}') {
            Some(rest) => Ok(rest.to_string()),
            None => Ok(text),
        },
        Err(e) => Err(Error::input(format!(
            "{file} is not UTF-8 text at byte {}; save it as UTF-8",
            e.utf8_error().valid_up_to()
        ))),
    }
}

/// What serde_json says, without the place that it puts behind it.
fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}
