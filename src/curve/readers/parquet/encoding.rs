//! How values lie in a page.

use super::footer::Number;
use super::thrift::Cursor;

/// `count` values that lie one behind the other.
pub(super) fn plain(bytes: &[u8], number: Number, count: usize) -> Option<Vec<f64>> {
    let bytes = bytes.get(..count.checked_mul(number.size())?)?;
    Some(
        bytes
            .chunks_exact(number.size())
            .map(|b| value(b, number))
            .collect(),
    )
}

/// The first bytes of all values, then the second bytes, and so on.
pub(super) fn byte_stream_split(bytes: &[u8], number: Number, count: usize) -> Option<Vec<f64>> {
    let size = number.size();
    let bytes = bytes.get(..count.checked_mul(size)?)?;
    let one = |i: usize| {
        let mut b = [0; 8];
        (0..size).for_each(|k| b[k] = bytes[k * count + i]);
        value(&b[..size], number)
    };
    Some((0..count).map(one).collect())
}

fn value(bytes: &[u8], number: Number) -> f64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    match number {
        Number::Int32 => f64::from(bits as u32 as i32),
        Number::Int64 => bits as i64 as f64,
        Number::Float => f64::from(f32::from_bits(bits as u32)),
        Number::Double => f64::from_bits(bits),
    }
}

/// Levels and indices of a dictionary: runs of one value, and values packed into `width` bits.
/// `None` where there are fewer than `count`.
pub(super) fn hybrid(bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    if width > 32 {
        return None;
    }
    let mut c = Cursor(bytes);
    let mut out = Vec::new();
    while out.len() < count {
        let head = c.varint()?;
        let left = count - out.len();
        let many = usize::try_from(head >> 1).ok()?;
        if head & 1 == 0 {
            let run = c.take(width.div_ceil(8) as usize)?;
            let value = run.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b));
            if many == 0 {
                return None;
            }
            out.resize(out.len() + many.min(left), value);
        } else {
            // Some writers leave the unused end of the last group out.
            let packed = many.checked_mul(width as usize)?.min(c.0.len());
            let packed = c.take(packed)?;
            let mut bits = Bits::new(packed);
            // A width of 0 takes no bytes, and all its values are 0.
            let many = many.checked_mul(8)?.min(left);
            if many == 0 {
                return None;
            }
            for _ in 0..many {
                out.push(bits.take(width)? as u32);
            }
        }
    }
    Some(out)
}

/// DELTA_BINARY_PACKED: the first value, then blocks of miniblocks of differences, each miniblock with
/// its own width above the block's least difference.
pub(super) fn delta(bytes: &[u8], count: usize) -> Option<Vec<f64>> {
    let mut c = Cursor(bytes);
    let (block, minis) = (
        usize::try_from(c.varint()?).ok()?,
        usize::try_from(c.varint()?).ok()?,
    );
    let total = usize::try_from(c.varint()?).ok()?;
    let mut value = c.int()?;
    let a_mini = block.checked_div(minis)?;
    if total < count || a_mini == 0 || !a_mini.is_multiple_of(8) || block > 1 << 20 {
        return None;
    }
    let mut out = Vec::new();
    if count > 0 {
        out.push(value as f64);
    }
    while out.len() < count {
        let least = c.int()?;
        let widths = c.take(minis)?;
        for &width in widths {
            if out.len() >= count {
                break;
            }
            let width = u32::from(width);
            if width > 64 {
                return None;
            }
            let packed = (a_mini / 8 * width as usize).min(c.0.len());
            let packed = c.take(packed)?;
            let mut bits = Bits::new(packed);
            for _ in 0..a_mini.min(count - out.len()) {
                let step = bits.take(width)? as i64;
                value = value.wrapping_add(least).wrapping_add(step);
                out.push(value as f64);
            }
        }
    }
    Some(out)
}

/// Bits from the least of the first byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    /// At most 64.
    fn take(&mut self, width: u32) -> Option<u64> {
        let (mut value, mut have) = (0u64, 0);
        while have < width {
            let byte = *self.bytes.get(self.at / 8)?;
            let skip = (self.at % 8) as u32;
            let n = (8 - skip).min(width - have);
            let part = u64::from(byte >> skip) & ((1 << n) - 1);
            value |= part << have;
            have += n;
            self.at += n as usize;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_format() {
        // Encodings.md: 0 to 7 in three bits each.
        let packed = [0x03, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(hybrid(&packed, 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(hybrid(&[10, 7], 3, 5).unwrap(), [7; 5]);
        assert_eq!(hybrid(&[10, 7], 3, 6), None);
        assert_eq!(hybrid(&[3], 0, 8).unwrap(), [0; 8]);
        assert_eq!(hybrid(&[0, 7], 3, 1), None);
        // 7, 5, 3, 1, 2, 3, 4, 5 in one block of 128: least −2, widths 2.
        let mut bytes = vec![128, 1, 4, 8, 14, 3, 2, 0, 0, 0, 0b1100_0000, 0b0011_1111];
        bytes.extend([0; 6]);
        assert_eq!(
            delta(&bytes, 8).unwrap(),
            [7.0, 5.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        );
        assert_eq!(delta(&bytes, 9), None);
    }
}
