//! Matrix products over packed panels, in f32 or in bf16 with f32 sums.
//!
//! `C [M, N] = A [M, K] · B [K, N]`. B is packed once ([`pack_b`]) into panels as wide as the
//! micro-kernel's tile; each task packs the rows of A that it multiplies. Whatever follows a product
//! (bias, activation, residual, rounding, accumulation) is done by the caller's closure, tile by
//! tile, while the tile is in the cache.

pub mod micro;
pub mod pack;

mod dense;
mod driver;
mod plan;
mod portable;
mod prefetch;
mod scratch;
#[cfg(target_arch = "x86_64")]
mod transpose;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use dense::{multiply, product_into, product_lines};
pub use driver::{Tile, product, product_serial};
pub use micro::Micro;
pub use pack::{PackedB, pack_a, pack_b};

use super::element::Element;
use std::ops::Range;

/// What products are computed in. Sums are f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    F32,
    /// Operands rounded to bf16 (to the nearest), multiplied exactly.
    Bf16,
}

/// Whether this processor multiplies bf16 in hardware.
pub fn has_bf16() -> bool {
    Micro::of(Precision::Bf16).paired
}

/// A matrix to read: element (i, j) is at `i·row_stride + j·column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, E> {
    pub(super) data: &'a [E],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

impl<'a, E: Element> Matrix<'a, E> {
    /// Rows of `columns` numbers, each row `row_stride` after the one before.
    ///
    /// # Panics
    /// The slice does not hold the last element, or the matrix is empty.
    pub fn new(data: &'a [E], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(rows > 0 && columns > 0, "an empty matrix");
        assert!((rows - 1) * row_stride + columns <= data.len());
        Matrix {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// A matrix without gaps.
    pub fn dense(data: &'a [E], rows: usize, columns: usize) -> Self {
        Self::new(data, rows, columns, columns)
    }

    /// The same numbers seen as the transposed matrix.
    pub fn t(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Some of its rows and columns.
    pub(super) fn block(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        Matrix {
            data: &self.data[rows.start * self.row_stride + columns.start * self.column_stride..],
            rows: rows.len(),
            columns: columns.len(),
            ..self
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }
}

#[cfg(test)]
mod tests;
