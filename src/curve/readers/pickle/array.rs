//! numpy's arrays: dtype, shape and bytes into numbers.

use super::Value;
use std::borrow::Cow;

/// The numbers that a block of a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Signed,
    Unsigned,
    Object,
    /// Dates, booleans, fixed-width text: no column that counts.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DType {
    pub kind: Kind,
    pub size: usize,
    pub big_endian: bool,
}

impl DType {
    /// From numpy's name, `f8`, and the byte order of its state, `<`, `>` or `|`.
    pub fn new(name: &str, order: &str) -> DType {
        let name = name.trim_start_matches(['<', '>', '|', '=']);
        let mut chars = name.chars();
        let (kind, size) = (chars.next(), chars.as_str().parse().unwrap_or(0));
        let kind = match (kind, size) {
            (Some('f'), 2 | 4 | 8) => Kind::Float,
            (Some('i'), 1 | 2 | 4 | 8) => Kind::Signed,
            (Some('u'), 1 | 2 | 4 | 8) => Kind::Unsigned,
            (Some('O'), _) => Kind::Object,
            _ => Kind::Other,
        };
        DType {
            kind,
            size,
            big_endian: order == ">",
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self.kind, Kind::Float | Kind::Signed | Kind::Unsigned)
    }
}

/// An array as the file gave it.
pub(super) struct Array<'a> {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Column-major.
    pub fortran: bool,
    pub data: Data<'a>,
}

pub(super) enum Data<'a> {
    Bytes(Cow<'a, [u8]>),
    Objects(Vec<Value<'a>>),
}

impl Array<'_> {
    /// Numbers in all, where the bytes hold as many.
    ///
    /// # Errors
    /// Fewer bytes than the shape says.
    pub fn len(&self) -> Result<usize, String> {
        let size = |n: usize, &d: &usize| n.checked_mul(d);
        let count = self.shape.iter().try_fold(1, size);
        let held = match &self.data {
            Data::Bytes(bytes) => bytes.len() / self.dtype.size.max(1),
            Data::Objects(values) => values.len(),
        };
        match count {
            Some(count) if count == held => Ok(count),
            _ => Err(format!(
                "an array of shape {:?} holds {held} values",
                self.shape
            )),
        }
    }

    /// The number at this place in memory; the dtype is one of numbers.
    pub fn number(&self, at: usize) -> f64 {
        let Data::Bytes(bytes) = &self.data else {
            return f64::NAN;
        };
        let size = self.dtype.size;
        let Some(item) = bytes.get(at * size..(at + 1) * size) else {
            return f64::NAN;
        };
        // Least byte first, as many as there are.
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(item);
        if self.dtype.big_endian {
            wide[..size].reverse();
        }
        let bits = u64::from_le_bytes(wide);
        match (self.dtype.kind, size) {
            (Kind::Float, 8) => f64::from_bits(bits),
            (Kind::Float, 4) => f64::from(f32::from_bits(bits as u32)),
            (Kind::Float, _) => half(bits as u16),
            (Kind::Signed, _) => {
                let unused = 64 - 8 * size as u32;
                ((bits << unused) as i64 >> unused) as f64
            }
            _ => bits as f64,
        }
    }
}

/// IEEE half precision.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str, order: &str, bytes: &[u8]) -> Vec<f64> {
        let dtype = DType::new(name, order);
        let count = bytes.len() / dtype.size;
        let array = Array {
            dtype,
            shape: vec![count],
            fortran: false,
            data: Data::Bytes(bytes.into()),
        };
        (0..array.len().unwrap()).map(|i| array.number(i)).collect()
    }

    #[test]
    fn numbers_of_every_kind() {
        assert_eq!(
            numbers("f2", "<", &[0, 0x3c, 0, 0xc0, 1, 0]),
            [1.0, -2.0, 2f64.powi(-24)]
        );
        assert_eq!(numbers("f4", ">", &1.5f32.to_be_bytes()), [1.5]);
        assert_eq!(numbers("f8", "<", &0.1f64.to_le_bytes()), [0.1]);
        assert_eq!(numbers("i1", "|", &[255, 127]), [-1.0, 127.0]);
        assert_eq!(numbers("u1", "|", &[255]), [255.0]);
        assert_eq!(numbers("i8", ">", &(-5i64).to_be_bytes()), [-5.0]);
        assert!(!DType::new("M8", "<").is_number() && !DType::new("", "<").is_number());
    }
}
