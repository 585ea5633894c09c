//! From strided matrices to the panels that micro-kernels read.
//!
//! Where K is contiguous, eight rows at a time are transposed in registers (`transpose`, with AVX2;
//! number by number without); where the other dimension is, numbers are copied along it. A number
//! is read once and written once, which takes less than a cycle.

use super::prefetch::{LINE, prefetch};
use super::{Matrix, Micro, Precision};
use crate::kernels::element::{Bf16, Element};
use crate::kernels::simd::simd;
use rayon::prelude::*;
use std::any::TypeId;
use std::ops::Range;

/// A packed right-hand side, `[K, N]`: panels of `Micro::columns` columns, each
/// `[units][columns]`, the last one filled up with zeros.
#[derive(Clone, Copy)]
pub struct PackedB<'a> {
    pub(super) data: &'a [u32],
    pub(super) k: usize,
    pub(super) columns: usize,
    /// Columns of a panel, and its length.
    pub(super) width: usize,
    pub(super) panel: usize,
}

impl<'a> PackedB<'a> {
    /// What [`pack_b`] wrote for a `k × columns` matrix.
    pub fn new(data: &'a [u32], micro: &Micro, k: usize, columns: usize) -> Self {
        assert_eq!(data.len(), packed_b_len(micro, k, columns));
        PackedB {
            data,
            k,
            columns,
            width: micro.columns,
            panel: micro.columns * micro.units(k),
        }
    }

    /// Some of the columns, as a right-hand side of their own.
    ///
    /// # Panics
    /// The range is empty or begins or ends within a panel (of `Micro::columns` columns; it may
    /// end with the last column).
    pub fn columns(self, range: Range<usize>) -> Self {
        let Range { start, end } = range;
        assert!(start < end && end <= self.columns, "columns {start}..{end}");
        assert!(
            start.is_multiple_of(self.width)
                && (end.is_multiple_of(self.width) || end == self.columns),
            "columns {start}..{end} are not whole panels of {}",
            self.width
        );
        let panels = start / self.width..end.div_ceil(self.width);
        PackedB {
            data: &self.data[panels.start * self.panel..panels.end * self.panel],
            columns: end - start,
            ..self
        }
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

/// Packs a right-hand side, on all threads if `parallel`. `out` should begin with a cache line (64
/// bytes): otherwise loads straddle two, and products take a few percent longer (with AVX-512,
/// where every load does, more).
pub fn pack_b<E: Element>(precision: Precision, b: Matrix<E>, out: &mut [u32], parallel: bool) {
    pack_b_for(Micro::of(precision), b, out, parallel);
}

/// Packs a left-hand side into panels `[units][rows]`, on this thread.
pub fn pack_a<E: Element>(precision: Precision, a: Matrix<E>, out: &mut [u32]) {
    let micro = Micro::of(precision);
    panels(micro, a, micro.rows, out);
}

pub(super) fn pack_b_for<E: Element>(micro: &Micro, b: Matrix<E>, out: &mut [u32], parallel: bool) {
    assert_eq!(out.len(), packed_b_len(micro, b.rows, b.columns));
    let columns = STRIP.next_multiple_of(micro.columns);
    let pack = |(i, out): (usize, &mut [u32])| {
        let columns = i * columns..b.columns.min((i + 1) * columns);
        panels(micro, b.t().block(columns, 0..b.rows), micro.columns, out);
    };
    let chunk = columns * micro.units(b.rows);
    if parallel {
        out.par_chunks_mut(chunk).enumerate().for_each(pack);
    } else {
        out.chunks_mut(chunk).enumerate().for_each(pack);
    }
}

/// How units are made of stored numbers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Units {
    /// They are what is stored: an f32, or two bf16.
    Stored,
    /// bf16 → f32.
    Widened,
    /// f32 → bf16 → f32.
    Rounded,
    /// Two f32 → two bf16.
    Paired,
}

impl Units {
    fn of<E: Element>(micro: &Micro) -> Units {
        let stored_as_bf16 = TypeId::of::<E>() == TypeId::of::<Bf16>();
        assert!(stored_as_bf16 || TypeId::of::<E>() == TypeId::of::<f32>());
        match (stored_as_bf16, micro.paired, micro.rounds) {
            (true, true, _) | (false, false, false) => Units::Stored,
            (true, false, _) => Units::Widened,
            (false, true, _) => Units::Paired,
            (false, false, true) => Units::Rounded,
        }
    }
}

/// Numbers along a row that are copied at a time.
const STRIP: usize = 256;

/// Units along K that are packed at a time: what they touch stays in the first level of the cache.
const DEPTH: usize = 8;

/// All rows of `m [rows, K]` as panels `[units][width]`, zeros beyond the last row.
pub(super) fn panels<E: Element>(micro: &Micro, m: Matrix<E>, width: usize, out: &mut [u32]) {
    let panel = width * micro.units(m.columns);
    assert_eq!(out.len(), m.rows.div_ceil(width) * panel);
    let units = Units::of::<E>(micro);
    if m.column_stride == 1 {
        for (i, out) in out.chunks_exact_mut(panel).enumerate() {
            let rows = m.block(i * width..m.rows.min((i + 1) * width), 0..m.columns);
            #[cfg(target_arch = "x86_64")]
            let done = super::transpose::panel(units, rows, width, out);
            #[cfg(not(target_arch = "x86_64"))]
            let done = 0;
            one_by_one(micro, rows, width, done, out);
        }
    } else if m.row_stride == 1 {
        match width {
            4 => copied::<E, 4>(micro, units, m, out),
            6 => copied::<E, 6>(micro, units, m, out),
            8 => copied::<E, 8>(micro, units, m, out),
            12 => copied::<E, 12>(micro, units, m, out),
            16 => copied::<E, 16>(micro, units, m, out),
            32 => copied::<E, 32>(micro, units, m, out),
            _ => unreachable!("no micro-kernel is {width} wide"),
        }
    } else {
        for (i, out) in out.chunks_exact_mut(panel).enumerate() {
            let rows = m.block(i * width..m.rows.min((i + 1) * width), 0..m.columns);
            one_by_one(micro, rows, width, 0, out);
        }
    }
}

/// A panel from its unit `first` on, number by number.
fn one_by_one<E: Element>(
    micro: &Micro,
    m: Matrix<E>,
    width: usize,
    first: usize,
    out: &mut [u32],
) {
    let at = |i: usize, k: usize| -> f32 {
        if i < m.rows && k < m.columns {
            m.data[i * m.row_stride + k * m.column_stride].to_f32()
        } else {
            0.0
        }
    };
    for (unit, out) in out.chunks_exact_mut(width).enumerate().skip(first) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = if micro.paired {
                pair(at(i, 2 * unit), at(i, 2 * unit + 1))
            } else if micro.rounds {
                Bf16::from_f32(at(i, unit)).to_f32().to_bits()
            } else {
                at(i, unit).to_bits()
            };
        }
    }
}

#[inline(always)]
fn pair<E: Element>(low: E, high: E) -> u32 {
    let [low, high] = [low, high].map(|x| Bf16::from_f32(x.to_f32()).0);
    u32::from(low) | u32::from(high) << 16
}

/// Panels of a matrix whose rows are neighbours in memory (`row_stride` is 1).
fn copied<E: Element, const W: usize>(micro: &Micro, units: Units, m: Matrix<E>, out: &mut [u32]) {
    let (total, panel) = (micro.units(m.columns), W * micro.units(m.columns));
    let strip = STRIP / W * W;
    let mut lines = [[0u32; STRIP]; DEPTH];
    for (i, out) in out.chunks_mut(strip / W * panel).enumerate() {
        let rows = i * strip..m.rows.min((i + 1) * strip);
        let count = rows.len();
        let line = |k: usize| &m.data[rows.start + k * m.column_stride..][..count];
        for first in (0..total).step_by(DEPTH) {
            let depth = DEPTH.min(total - first);
            // Lines are short and far apart: the processor does not foresee the next ones.
            let ks = m.columns.div_ceil(total);
            for k in (first + DEPTH) * ks..m.columns.min((first + 2 * DEPTH) * ks) {
                for x in line(k).chunks(LINE * 4 / size_of::<E>()) {
                    prefetch(x.as_ptr());
                }
            }
            for (unit, out) in (first..).zip(&mut lines[..depth]) {
                let out = &mut out[..count];
                if !micro.paired {
                    match units {
                        Units::Rounded => round(line(unit), out),
                        _ => widen(line(unit), out),
                    }
                } else if 2 * unit + 1 < m.columns {
                    interleave(line(2 * unit), line(2 * unit + 1), out);
                } else {
                    interleave(line(2 * unit), &[E::default(); STRIP][..count], out);
                }
            }
            for (j, out) in out.chunks_exact_mut(panel).enumerate() {
                // Many short pieces are written, too, and a line must come before it is written.
                let next = out.as_ptr().wrapping_add((first + DEPTH) * W);
                for i in (0..DEPTH * W).step_by(LINE) {
                    prefetch(next.wrapping_add(i));
                }
                let out = out[first * W..][..depth * W].as_chunks_mut::<W>().0;
                let width = W.min(count - j * W);
                for (line, out) in lines.iter().zip(out) {
                    if width == W {
                        *out = *line[j * W..].first_chunk().expect("a whole panel");
                    } else {
                        out.fill(0);
                        out[..width].copy_from_slice(&line[j * W..][..width]);
                    }
                }
            }
        }
    }
}

simd! {
    /// f32 of any element.
    fn widen<_FMA; E: Element>(x: &[E], out: &mut [u32]) {
        for (&x, out) in x.iter().zip(out) {
            *out = x.to_f32().to_bits();
        }
    }
}

simd! {
    /// f32 rounded to bf16.
    fn round<_FMA; E: Element>(x: &[E], out: &mut [u32]) {
        for (&x, out) in x.iter().zip(out) {
            *out = Bf16::from_f32(x.to_f32()).to_f32().to_bits();
        }
    }
}

simd! {
    /// Pairs of bf16.
    fn interleave<_FMA; E: Element>(low: &[E], high: &[E], out: &mut [u32]) {
        for ((&low, &high), out) in low.iter().zip(high).zip(out) {
            *out = pair(low, high);
        }
    }
}
