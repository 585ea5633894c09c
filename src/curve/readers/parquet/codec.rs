//! What pages are compressed with. Output grows with what is decoded, and never beyond what the page
//! claims.

use std::borrow::Cow;
use std::io::Read;

/// `bytes` of a page, unpacked to exactly `size`.
///
/// # Errors
/// A codec that is not read, or data that does not unpack to that size.
pub(super) fn unpack(codec: i64, bytes: &[u8], size: usize) -> Result<Cow<'_, [u8]>, String> {
    let damaged = || "a page does not unpack".to_string();
    let out = match codec {
        0 => Cow::Borrowed(bytes),
        1 => Cow::Owned(snappy(bytes, size).ok_or_else(damaged)?),
        2 => Cow::Owned(read(flate2::read::MultiGzDecoder::new(bytes), size).ok_or_else(damaged)?),
        6 => {
            let stream = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|_| damaged())?;
            Cow::Owned(read(stream, size).ok_or_else(damaged)?)
        }
        7 => Cow::Owned(lz4(bytes, size).ok_or_else(damaged)?),
        other => {
            let name = match other {
                3 => "LZO",
                4 => "brotli",
                5 => "the old form of LZ4",
                _ => "an unknown codec",
            };
            return Err(format!(
                "it is compressed with {name}, and only snappy, gzip, zstd and lz4 (raw) are read"
            ));
        }
    };
    match out.len() == size {
        true => Ok(out),
        false => Err("a page does not hold what it claims".into()),
    }
}

/// One byte more than `size` shows that there is more.
fn read(stream: impl Read, size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    stream.take(size as u64 + 1).read_to_end(&mut out).ok()?;
    Some(out)
}

/// Snappy's raw format: the size, then literals and copies.
fn snappy(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut c = super::thrift::Cursor(bytes);
    if c.varint()? != size as u64 {
        return None;
    }
    let mut out = Vec::new();
    while !c.0.is_empty() {
        let tag = c.byte()?;
        let upper = usize::from(tag >> 2);
        let wide = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
        match tag & 3 {
            0 => {
                let length = match upper {
                    0..60 => upper + 1,
                    _ => wide(c.take(upper - 59)?) + 1,
                };
                out.extend(c.take(length)?);
            }
            1 => {
                let offset = (upper >> 3) << 8 | usize::from(c.byte()?);
                copy(&mut out, offset, (upper & 7) + 4, size)?;
            }
            kind => {
                let offset = wide(c.take(if kind == 2 { 2 } else { 4 })?);
                copy(&mut out, offset, upper + 1, size)?;
            }
        }
        if out.len() > size {
            return None;
        }
    }
    Some(out)
}

/// One block of LZ4.
fn lz4(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut c = super::thrift::Cursor(bytes);
    let mut out = Vec::new();
    // A nibble of 15 goes on in bytes, the last of which is not 255.
    let length = |c: &mut super::thrift::Cursor, nibble: u8| {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = c.byte()?;
                length += usize::from(more);
                if more < 255 {
                    break;
                }
            }
        }
        Some(length)
    };
    while !c.0.is_empty() {
        let token = c.byte()?;
        let literals = length(&mut c, token >> 4)?;
        out.extend(c.take(literals)?);
        if out.len() > size {
            return None;
        }
        // The last sequence has no copy.
        if c.0.is_empty() {
            break;
        }
        let offset = c.take(2)?;
        let offset = usize::from(u16::from_le_bytes([offset[0], offset[1]]));
        let copied = length(&mut c, token & 15)? + 4;
        copy(&mut out, offset, copied, size)?;
    }
    Some(out)
}

/// Appends `length` bytes from `offset` before the end, which may overlap what is appended.
fn copy(out: &mut Vec<u8>, offset: usize, length: usize, most: usize) -> Option<()> {
    let start = out.len().checked_sub(offset).filter(|_| offset > 0)?;
    if out.len().checked_add(length)? > most {
        return None;
    }
    if length <= offset {
        out.extend_from_within(start..start + length);
        return Some(());
    }
    for at in start..start + length {
        out.push(out[at]);
    }
    Some(())
}
