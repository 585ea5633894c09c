//! The pages of a column chunk: headers, levels, values.

use super::codec::unpack;
use super::encoding::{byte_stream_split, delta, hybrid, plain};
use super::footer::{Chunk, Leaf};
use super::thrift::{Cursor, Kind};
use super::{Fault, MOST_ROWS};

/// A page unpacked: writers cut at 1 MiB.
const LARGEST_PAGE: i64 = 64 << 20;
/// All pages of a file, unpacked, however often it names the same bytes.
pub(super) const MOST_UNPACKED: i64 = 1 << 30;

#[derive(Default)]
struct Header {
    kind: i64,
    unpacked: i64,
    packed: i64,
    values: i64,
    encoding: i64,
    /// Bytes of the two kinds of levels in front of a page of version 2.
    definition: i64,
    repetition: i64,
    /// Version 2 may leave single pages as they are.
    plain: bool,
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

impl Header {
    /// `PageHeader`.
    fn read(c: &mut Cursor) -> Option<Header> {
        let mut header = Header::default();
        c.fields(|c, id, kind| {
            match (id, kind) {
                (1, Kind::Int) => header.kind = c.int()?,
                (2, Kind::Int) => header.unpacked = c.int()?,
                (3, Kind::Int) => header.packed = c.int()?,
                // `DataPageHeader`, `DictionaryPageHeader`, `DataPageHeaderV2`
                (5 | 7, Kind::Struct) => header.inner(c, 2)?,
                (8, Kind::Struct) => header.inner(c, 4)?,
                _ => return Some(false),
            }
            Some(true)
        })?;
        Some(header)
    }

    fn inner(&mut self, c: &mut Cursor, encoding: i64) -> Option<()> {
        let is_v2 = encoding == 4;
        c.fields(|c, id, kind| {
            match (id, kind) {
                (1, Kind::Int) => self.values = c.int()?,
                (id, Kind::Int) if id == encoding => self.encoding = c.int()?,
                (5, Kind::Int) if is_v2 => self.definition = c.int()?,
                (6, Kind::Int) if is_v2 => self.repetition = c.int()?,
                (7, Kind::Bool(packed)) if is_v2 => self.plain = !packed,
                _ => return Some(false),
            }
            Some(true)
        })
    }
}

/// Hands the values of a chunk on, row by row, `None` for nulls. `budget` is what all pages may still
/// unpack to.
pub(super) fn chunk(
    bytes: &[u8],
    chunk: &Chunk,
    leaf: &Leaf,
    budget: &mut i64,
    each: &mut dyn FnMut(Option<f64>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let outside = || "its pages lie outside the file".to_string();
    let damaged = || "a page is damaged".to_string();
    let start = chunk
        .dictionary_page
        .filter(|d| *d > 0)
        .unwrap_or(chunk.data_page);
    let start = usize::try_from(start.min(chunk.data_page)).map_err(|_| outside())?;
    let length = usize::try_from(chunk.compressed).map_err(|_| outside())?;
    let end = start.checked_add(length).ok_or_else(outside)?;
    let mut c = Cursor(bytes.get(start..end).ok_or_else(outside)?);
    let mut dictionary = Vec::new();
    let mut left = chunk.values;
    while left > 0 {
        let header = Header::read(&mut c).ok_or_else(damaged)?;
        let page = usize::try_from(header.packed).ok().and_then(|n| c.take(n));
        let page = page.ok_or_else(outside)?;
        let values = usize::try_from(header.values).map_err(|_| damaged())?;
        if !(0..=LARGEST_PAGE).contains(&header.unpacked) || values as u64 > MOST_ROWS {
            return Err("a page claims impossible sizes".into());
        }
        *budget -= header.unpacked.max(header.packed);
        if *budget < 0 {
            return Err("its pages unpack to more than 1 GiB".into());
        }
        let unpacked = header.unpacked as usize;
        match header.kind {
            DICTIONARY => {
                let page = unpack(chunk.codec, page, unpacked)?;
                let number = leaf.number.ok_or_else(damaged)?;
                dictionary = plain(&page, number, values).ok_or_else(damaged)?;
                continue;
            }
            DATA => {
                let page = unpack(chunk.codec, page, unpacked)?;
                let mut c = Cursor(&page);
                let levels = match leaf.level {
                    0 => None,
                    _ => {
                        let length = c.take(4).ok_or_else(damaged)?;
                        let length =
                            u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
                        Some(c.take(length as usize).ok_or_else(damaged)?)
                    }
                };
                hand_on(levels, c.0, &header, values, leaf, &dictionary, each)?;
            }
            DATA_V2 => {
                let size = |n: i64| usize::try_from(n).ok();
                let mut c = Cursor(page);
                let levels = size(header.repetition).and_then(|n| c.take(n));
                let levels = levels
                    .and_then(|_| c.take(size(header.definition)?))
                    .ok_or_else(damaged)?;
                let before = page.len() - c.0.len();
                let rest = unpacked.checked_sub(before).ok_or_else(damaged)?;
                let page = match header.plain {
                    true => c.0.into(),
                    // A page of nulls alone has nothing to unpack.
                    false if rest == 0 => [].as_slice().into(),
                    false => unpack(chunk.codec, c.0, rest)?,
                };
                let levels = (leaf.level > 0).then_some(levels);
                hand_on(levels, &page, &header, values, leaf, &dictionary, each)?;
            }
            // Index pages, and whatever is to come.
            _ => continue,
        }
        left -= header.values.max(1);
    }
    Ok(())
}

fn hand_on(
    levels: Option<&[u8]>,
    bytes: &[u8],
    header: &Header,
    values: usize,
    leaf: &Leaf,
    dictionary: &[f64],
    each: &mut dyn FnMut(Option<f64>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let damaged = || "a page is damaged".to_string();
    let number = leaf.number.ok_or_else(damaged)?;
    let levels = match levels {
        Some(levels) => {
            let width = u32::BITS - leaf.level.leading_zeros();
            Some(hybrid(levels, width, values).ok_or_else(damaged)?)
        }
        None => None,
    };
    let there = levels
        .as_ref()
        .map_or(values, |l| l.iter().filter(|l| **l == leaf.level).count());
    let found = match header.encoding {
        0 => plain(bytes, number, there),
        2 | 8 => match bytes.split_first() {
            Some((&width, indices)) => hybrid(indices, width.into(), there).and_then(|indices| {
                indices
                    .iter()
                    .map(|&i| dictionary.get(i as usize).copied())
                    .collect()
            }),
            None => (there == 0).then(Vec::new),
        },
        5 => match there {
            0 => Some(Vec::new()),
            _ => delta(bytes, there),
        },
        9 => byte_stream_split(bytes, number, there),
        other => return Err(format!("its encoding {other} is not read")),
    };
    let mut found = found.ok_or_else(damaged)?.into_iter();
    match levels {
        None => found.try_for_each(|value| each(Some(value))),
        Some(levels) => levels
            .iter()
            .try_for_each(|&level| match level == leaf.level {
                true => each(found.next()),
                false => each(None),
            }),
    }
}
