//! One reader a format, chosen by what the file holds, never by its name.

pub(super) mod csv;

use super::frame::Frame;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A loss curve above this is something else.
const MOST_BYTES: u64 = 1 << 30;

/// The tables in what `path` names.
pub(super) fn frames(path: &Path) -> Result<Vec<Frame>> {
    let file = path.display().to_string();
    csv::read(&read_text(path)?, &file)
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
