//! Parquet: every flat column of numbers, decoded here.
//!
//! A loss curve needs a small part of the format, and that part can be read without believing a single
//! declared length: the `parquet` crate, which reads corpora elsewhere in this house, hangs on
//! twenty-byte footers (it skips lists of booleans element by element without consuming a byte) and sets
//! aside what page headers claim.
//!
//! Read are pages of both versions; the encodings PLAIN, dictionary, RLE levels, DELTA_BINARY_PACKED and
//! BYTE_STREAM_SPLIT; uncompressed, snappy, gzip, zstd and lz4 (raw). Nested and repeated columns, and
//! columns of other types, are passed over.
//!
//! Source: the `parquet-format` documents of the Apache project (Thrift definitions, Encodings,
//! Compression).

mod codec;
mod encoding;
mod footer;
mod page;
mod thrift;

use crate::curve::columns::role_of;
use crate::curve::frame::{Column, Frame, MOST_CELLS, Places};
use crate::error::{Error, Result};
use footer::{Footer, Leaf};

/// Rows of one file.
const MOST_ROWS: u64 = 5_000_000;

/// Why a file, or a column of it, cannot be read.
type Fault = String;

const MAGIC: &[u8] = b"PAR1";

/// # Errors
/// A file that does not parse, or whose pages claim more than they hold.
pub(super) fn read(bytes: &[u8], file: &str) -> Result<Vec<Frame>> {
    match columns(bytes) {
        Ok(columns) => Ok(vec![Frame::new(None, columns, Places::Rows)]),
        Err(what) => Err(Error::input(format!(
            "{file} cannot be read as Parquet: {what}; write it again, or as CSV"
        ))),
    }
}

fn columns(bytes: &[u8]) -> std::result::Result<Vec<Column>, Fault> {
    let footer = footer_of(bytes).ok_or("its footer is missing or damaged")?;
    let rows = footer.groups.iter().map(|g| g.rows);
    let rows = rows.fold(0u64, u64::saturating_add);
    if rows > MOST_ROWS {
        return Err(format!("it has more than {MOST_ROWS} rows"));
    }
    // Columns that may matter by their names first; others while there is room.
    let mut wanted: Vec<(usize, &Leaf)> = footer.leaves.iter().enumerate().collect();
    wanted.retain(|(_, leaf)| leaf.number.is_some());
    wanted.sort_by_key(|(_, leaf)| role_of(&leaf.name).is_none());
    wanted.truncate((MOST_CELLS / rows.max(1) as usize).clamp(1, 10_000));
    wanted.sort_unstable_by_key(|(i, _)| *i);
    let mut budget = page::MOST_UNPACKED;
    let column = |(i, leaf): (usize, &Leaf)| {
        column(bytes, &footer, i, leaf, &mut budget)
            .map_err(|what| format!("column {}: {what}", leaf.name))
    };
    wanted.into_iter().map(column).collect()
}

/// The footer: `PAR1 … footer, its length (u32), PAR1`.
fn footer_of(bytes: &[u8]) -> Option<Footer> {
    let rest = bytes.strip_suffix(MAGIC)?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let start = rest.len().checked_sub(length)?;
    Footer::read(&rest[start..])
}

fn column(
    bytes: &[u8],
    footer: &Footer,
    i: usize,
    leaf: &Leaf,
    budget: &mut i64,
) -> std::result::Result<Column, Fault> {
    let mut column = Column::new(leaf.name.chars().take(200).collect::<String>());
    let mut row = 0u64;
    for group in &footer.groups {
        let chunk = group
            .chunks
            .get(i)
            .ok_or("a row group has no such column")?;
        let end = row + group.rows;
        page::chunk(bytes, chunk, leaf, budget, &mut |value| {
            // Levels beyond the rows that the group has are damage.
            if row >= end {
                return Err("its pages hold more rows than its groups".into());
            }
            if let Some(value) = value {
                column.cells.push((row as u32, value));
            }
            row += 1;
            Ok(())
        })?;
        if row < end {
            return Err("its pages end before its rows".into());
        }
    }
    Ok(column)
}

#[cfg(test)]
mod tests;
