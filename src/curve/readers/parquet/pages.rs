//! The page headers of a column chunk, walked before the decoder believes them.
//!
//! A header is a Thrift struct in the compact protocol; of it count the sizes of the page and the number
//! of its values. The decoder sets aside what a header says a page holds when unpacked.

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use std::io::Read;

/// A page unpacked: writers cut at 1 MiB.
const LARGEST_PAGE: i64 = 64 << 20;
/// All pages of a chunk, unpacked.
const LARGEST_CHUNK: i64 = 1 << 30;
const MOST_VALUES: i64 = 5_000_000;
/// Structs within structs.
const DEPTH: usize = 8;

/// # Errors
/// Sizes that lie outside the file, or beyond what a curve needs.
pub(super) fn check(bytes: &[u8], chunk: &ColumnChunkMetaData) -> Result<(), &'static str> {
    let outside = "its pages lie outside the file";
    let start = match chunk.dictionary_page_offset() {
        Some(offset) if offset > 0 => offset.min(chunk.data_page_offset()),
        _ => chunk.data_page_offset(),
    };
    let start = usize::try_from(start).map_err(|_| outside)?;
    let length = usize::try_from(chunk.compressed_size()).map_err(|_| outside)?;
    let end = start.checked_add(length).ok_or(outside)?;
    let mut rest = bytes.get(start..end).ok_or(outside)?;
    if !(0..=MOST_VALUES).contains(&chunk.num_values()) {
        return Err("it claims too many values");
    }
    let (mut unpacked, mut values) = (0, 0);
    while !rest.is_empty() && values < chunk.num_values() {
        let header = Header::read(&mut rest).ok_or("a page header does not parse")?;
        let packed = usize::try_from(header.packed).map_err(|_| outside)?;
        let (page, behind) = rest.split_at_checked(packed).ok_or(outside)?;
        rest = behind;
        unpacked += header.unpacked;
        let levels = header.levels.0.checked_add(header.levels.1);
        let sound = (0..=LARGEST_PAGE).contains(&header.unpacked)
            && unpacked <= LARGEST_CHUNK
            && (0..=MOST_VALUES).contains(&header.values)
            && header.levels.0 >= 0
            && header.levels.1 >= 0
            && levels.is_some_and(|l| l <= header.unpacked && l <= header.packed);
        if !sound {
            return Err("a page claims impossible sizes");
        }
        if matches!(chunk.compression(), Compression::GZIP(_)) {
            let from = levels.unwrap_or(0) as usize;
            let mut text = MultiGzDecoder::new(&page[from..]).take(header.unpacked as u64 + 1);
            let held = std::io::copy(&mut text, &mut std::io::sink()).unwrap_or(0);
            if held > header.unpacked as u64 {
                return Err("a page unpacks to more than it claims");
            }
        }
        if !header.is_dictionary {
            values += header.values;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Header {
    is_dictionary: bool,
    unpacked: i64,
    packed: i64,
    values: i64,
    /// Bytes of the two kinds of levels in front of a page of version 2.
    levels: (i64, i64),
}

impl Header {
    fn read(bytes: &mut &[u8]) -> Option<Header> {
        let mut header = Header::default();
        let mut id = 0;
        while let Some(kind) = field(bytes, &mut id)? {
            match (id, kind) {
                (1, I32) => header.is_dictionary = integer(bytes)? == 2,
                (2, I32) => header.unpacked = integer(bytes)?,
                (3, I32) => header.packed = integer(bytes)?,
                // The headers of data pages, dictionaries, and data pages of version 2.
                (5 | 7 | 8, STRUCT) => header.inner(bytes, id)?,
                _ => skip(bytes, kind, DEPTH)?,
            }
        }
        Some(header)
    }

    fn inner(&mut self, bytes: &mut &[u8], page: i64) -> Option<()> {
        let mut id = 0;
        while let Some(kind) = field(bytes, &mut id)? {
            match (page, id, kind) {
                (_, 1, I32) => self.values = integer(bytes)?,
                (8, 5, I32) => self.levels.0 = integer(bytes)?,
                (8, 6, I32) => self.levels.1 = integer(bytes)?,
                _ => skip(bytes, kind, DEPTH)?,
            }
        }
        Some(())
    }
}

const I32: u8 = 5;
const STRUCT: u8 = 12;

/// The kind of the next field, its number into `id`; `Some(None)` at the end of the struct.
fn field(bytes: &mut &[u8], id: &mut i64) -> Option<Option<u8>> {
    let head = byte(bytes)?;
    if head == 0 {
        return Some(None);
    }
    match head >> 4 {
        0 => *id = integer(bytes)?,
        delta => *id = id.checked_add(i64::from(delta))?,
    }
    Some(Some(head & 15))
}

fn skip(bytes: &mut &[u8], kind: u8, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match kind {
        // Booleans stand in the field's head.
        1 | 2 => {}
        3 => drop(byte(bytes)?),
        4..=6 => drop(varint(bytes)?),
        7 => drop(take(bytes, 8)?),
        8 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            take(bytes, length)?;
        }
        9 | 10 => {
            let head = byte(bytes)?;
            let length = match head >> 4 {
                15 => varint(bytes)?,
                short => u64::from(short),
            };
            for _ in 0..length {
                match head & 15 {
                    // In a list a boolean has a byte of its own.
                    1 | 2 => drop(byte(bytes)?),
                    kind => skip(bytes, kind, depth)?,
                }
            }
        }
        STRUCT => {
            let mut id = 0;
            while let Some(kind) = field(bytes, &mut id)? {
                skip(bytes, kind, depth)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        value |= u64::from(next & 0x7f) << shift;
        if next < 0x80 {
            return Some(value);
        }
    }
    None
}

/// A whole number, zigzag.
fn integer(bytes: &mut &[u8]) -> Option<i64> {
    let value = varint(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}
