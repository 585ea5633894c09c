//! Plain text: a file is a document, unless `<|endoftext|>` separates several in it.

use super::compressed::{open, read_error};
use super::{Flow, ReadOptions, Sink, Source, Stop};
use crate::error::Error;
use crate::text::tokenizer::EOT;
use std::io::Read;

const CHUNK: usize = 256 << 10;

pub(super) fn read(source: &Source, options: &ReadOptions, sink: &mut dyn Sink) -> Flow {
    let mut input = open(source, options)?;
    let mut documents = Documents {
        sink,
        pending: String::new(),
        after_separator: false,
    };
    // Bytes read and not yet known to be characters: at most the start of one, between chunks.
    let mut bytes = Vec::with_capacity(CHUNK + 4);
    let mut offset = 0u64;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = input.read(&mut chunk).map_err(|e| {
            let place = offset + bytes.len() as u64;
            Stop::from(read_error(source, e, format!("{place} bytes")))
        })?;
        bytes.extend_from_slice(&chunk[..n]);
        if offset == 0 && bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
            offset = 3;
        }
        let ended = n == 0;
        let mut from = 0;
        loop {
            let rest = &bytes[from..];
            let (valid, bad) = match std::str::from_utf8(rest) {
                Ok(text) => (text, None),
                Err(e) => {
                    let valid = std::str::from_utf8(&rest[..e.valid_up_to()]).expect("checked");
                    (valid, Some(e.error_len()))
                }
            };
            documents.pending.push_str(valid);
            from += valid.len();
            match bad {
                None => break,
                // An unfinished character may be completed by the next chunk.
                Some(None) if !ended => break,
                Some(length) if options.lossy => {
                    documents.pending.push(char::REPLACEMENT_CHARACTER);
                    from += length.unwrap_or(bytes.len() - from);
                }
                Some(_) => {
                    return Err(Error::input(format!(
                        "{} is not UTF-8 at byte {}; convert it, or give --lossy to replace \
                         such bytes by U+FFFD",
                        source.name,
                        offset + from as u64
                    ))
                    .into());
                }
            }
        }
        bytes.drain(..from);
        offset += from as u64;
        documents.pass_on(ended)?;
        if ended {
            return documents.sink.end_document();
        }
    }
}

/// Finds the separators in a stream of text.
struct Documents<'a> {
    sink: &'a mut dyn Sink,
    pending: String,
    /// A separator was just read: a line break right after it belongs to it.
    after_separator: bool,
}

impl Documents<'_> {
    fn pass_on(&mut self, ended: bool) -> Flow {
        let mut from = 0;
        loop {
            if self.after_separator {
                let rest = &self.pending[from..];
                if (rest.is_empty() || rest == "\r") && !ended {
                    break;
                }
                let line_break = ["\r\n", "\n"].iter().find(|b| rest.starts_with(**b));
                from += line_break.map_or(0, |b| b.len());
                self.after_separator = false;
            }
            let Some(at) = self.pending[from..].find(EOT) else {
                // The chunk may end inside a separator.
                let rest = &self.pending[from..];
                let kept = match ended {
                    true => 0,
                    false => (1..EOT.len())
                        .rev()
                        .find(|&n| rest.ends_with(&EOT[..n]))
                        .unwrap_or(0),
                };
                let upto = self.pending.len() - kept;
                self.sink.text(&self.pending[from..upto])?;
                from = upto;
                break;
            };
            self.sink.text(&self.pending[from..from + at])?;
            self.sink.end_document()?;
            from += at + EOT.len();
            self.after_separator = true;
        }
        self.pending.drain(..from);
        Ok(())
    }
}
