//! JSON Lines: one object a line, such as our `metrics.jsonl`.
//!
//! Nested objects are flattened (`train/loss`); what is no number is passed over. A last line without an
//! end that does not parse was torn off by a kill and is left out.

use super::builder::Builder;
use super::json::Json;
use crate::curve::frame::Frame;
use crate::error::{Error, Result};

/// A longer line is no log of one step.
const LONGEST_LINE: usize = 16 << 20;

/// # Errors
/// A line that is no object.
pub(super) fn read(text: &str, file: &str) -> Result<Vec<Frame>> {
    let mut builder = Builder::default();
    let mut notes = Vec::new();
    let last = text.lines().count();
    for (number, line) in (1u32..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        if line.len() > LONGEST_LINE {
            return Err(Error::input(format!(
                "{file}, line {number} is longer than 16 MiB, too long for one step of a log"
            )));
        }
        match Json::parse(line) {
            Ok(Json::Map(pairs)) => {
                builder.row(number);
                builder.object(&pairs);
            }
            Ok(_) => {
                return Err(Error::input(format!(
                    "{file}, line {number} holds no object such as {{\"step\": 1, \"lr\": 1e-3, \"loss\": 3.2}}"
                )));
            }
            Err(_) if number as usize == last && !text.ends_with('\n') => {
                notes.push(format!("line {number}, the last, is torn off and left out"));
            }
            Err(e) => {
                return Err(Error::input(format!(
                    "{file}, line {number}, column {} is no JSON: {}",
                    e.column(),
                    super::json_fault(&e)
                )));
            }
        }
    }
    let mut frame = builder.frame(None, true);
    frame.notes = notes;
    Ok(vec![frame])
}
