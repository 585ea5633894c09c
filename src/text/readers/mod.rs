//! Corpus files to documents: one file a format, everything streamed.
//!
//! | format | a document is |
//! |---|---|
//! | `.txt` (and any other file named outright) | the file; `<|endoftext|>` in it, on a line of its own or not, separates documents |
//! | `.jsonl`, `.ndjson`, `.json` | the string in `--field` of the object on each line |
//! | `.parquet` | the string in column `--field` of each row |
//!
//! Text and JSON Lines may be compressed (`.gz`, `.zst`). Documents without any text are skipped
//! by whoever listens.

mod compressed;
#[cfg(feature = "hub")]
pub mod hub;
mod json_lines;
mod parquet;
mod sources;
mod text;

pub use sources::{Compression, Format, HubId, Input, Source, resolve};

use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Receives documents, part by part.
pub trait Sink {
    /// The next part of the current document.
    fn text(&mut self, part: &str) -> Flow;
    /// The current document is complete.
    fn end_document(&mut self) -> Flow;
}

/// Why reading ended before the files did.
pub enum Stop {
    /// The listener has what it wants.
    Enough,
    Failed(Error),
}

/// What reading comes to.
pub type Flow<T = ()> = std::result::Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// What all readers need to know.
#[derive(Clone)]
pub struct ReadOptions {
    /// The JSON key or Parquet column that holds the text.
    pub field: String,
    /// Replace bytes that are no UTF-8 by U+FFFD instead of refusing the file.
    pub lossy: bool,
    /// Counts bytes of the files on disk as they are consumed, for whoever shows progress.
    pub bytes_read: Arc<AtomicU64>,
}

/// Reads one file into `sink`.
///
/// # Errors
/// One sentence that names the file and the line, the byte or the column.
pub fn read(source: &Source, options: &ReadOptions, sink: &mut dyn Sink) -> Flow {
    match source.format {
        Format::Text => text::read(source, options, sink),
        Format::JsonLines => json_lines::read(source, options, sink),
        Format::Parquet => parquet::read(source, options, sink),
    }
}

/// The names in `present`, for a message about a field that is not among them.
fn list_names(present: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut list = present[..present.len().min(SHOWN)].join(", ");
    if present.len() > SHOWN {
        list += &format!(", and {} more", present.len() - SHOWN);
    }
    list
}

#[cfg(test)]
mod tests;
