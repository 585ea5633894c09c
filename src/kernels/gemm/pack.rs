//! From strided matrices to the panels that micro-kernels read.

use super::{Matrix, Micro, Precision};
use crate::kernels::element::{Bf16, Element};
use rayon::prelude::*;

/// A packed right-hand side, `[K, N]`: panels of `Micro::columns` columns, each
/// `[units][columns]`, the last one filled up with zeros.
#[derive(Clone, Copy)]
pub struct PackedB<'a> {
    pub(super) data: &'a [u32],
    pub(super) k: usize,
    pub(super) columns: usize,
}

impl<'a> PackedB<'a> {
    /// What [`pack_b`] wrote for a `k × columns` matrix.
    pub fn new(data: &'a [u32], micro: &Micro, k: usize, columns: usize) -> Self {
        assert_eq!(data.len(), packed_b_len(micro, k, columns));
        PackedB { data, k, columns }
    }
}

/// Units that a packed `k × columns` right-hand side takes.
pub fn packed_b_len(micro: &Micro, k: usize, columns: usize) -> usize {
    columns.next_multiple_of(micro.columns) * micro.units(k)
}

/// Units that a packed `rows × k` left-hand side takes.
pub fn packed_a_len(micro: &Micro, rows: usize, k: usize) -> usize {
    rows.next_multiple_of(micro.rows) * micro.units(k)
}

/// Packs a right-hand side, on all threads if `parallel`.
pub fn pack_b<E: Element>(precision: Precision, b: Matrix<E>, out: &mut [u32], parallel: bool) {
    let micro = Micro::of(precision);
    assert_eq!(out.len(), packed_b_len(micro, b.rows, b.columns));
    let panel = micro.columns * micro.units(b.rows);
    let pack = |(i, out): (usize, &mut [u32])| {
        panel_of(micro, b.t(), i * micro.columns, micro.columns, out);
    };
    if parallel {
        out.par_chunks_mut(panel).enumerate().for_each(pack);
    } else {
        out.chunks_mut(panel).enumerate().for_each(pack);
    }
}

/// Packs a left-hand side into panels `[units][rows]`, on this thread.
pub fn pack_a<E: Element>(precision: Precision, a: Matrix<E>, out: &mut [u32]) {
    let micro = Micro::of(precision);
    assert_eq!(out.len(), packed_a_len(micro, a.rows, a.columns));
    let panel = micro.rows * micro.units(a.columns);
    for (i, out) in out.chunks_mut(panel).enumerate() {
        panel_of(micro, a, i * micro.rows, micro.rows, out);
    }
}

/// One panel: rows `first..first + width` of `m [rows, K]`, zeros beyond the last.
fn panel_of<E: Element>(micro: &Micro, m: Matrix<E>, first: usize, width: usize, out: &mut [u32]) {
    let at = |i: usize, k: usize| -> f32 {
        if first + i < m.rows && k < m.columns {
            m.data[(first + i) * m.row_stride + k * m.column_stride].to_f32()
        } else {
            0.0
        }
    };
    for (unit, out) in out.chunks_exact_mut(width).enumerate() {
        for (i, out) in out.iter_mut().enumerate() {
            *out = if micro.paired {
                let [low, high] = [2 * unit, 2 * unit + 1].map(|k| Bf16::from_f32(at(i, k)).0);
                u32::from(low) | u32::from(high) << 16
            } else if micro.rounds {
                Bf16::from_f32(at(i, unit)).to_f32().to_bits()
            } else {
                at(i, unit).to_bits()
            };
        }
    }
}
