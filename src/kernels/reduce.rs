//! Sums over rows, in a fixed order, and rows of elements as f32.

use super::element::Element;
use super::simd::simd;
use rayon::prelude::*;
use std::cell::RefCell;

/// Rows a task, where rows are added up: fixed, so that sums do not depend on the threads.
pub const ROWS: usize = 32;

/// Numbers a task, where each is on its own.
pub const NUMBERS: usize = 1 << 13;

thread_local! {
    static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Hands `x` as f32 to `use_it`: as it is, or widened into the thread's scratch.
pub fn widen<E: Element, R>(x: &[E], use_it: impl FnOnce(&[f32]) -> R) -> R {
    WIDE.with_borrow_mut(|wide| {
        if wide.len() < x.len() {
            wide.resize(x.len(), 0.0);
        }
        let wide = &mut wide[..x.len()];
        widen_into(x, wide);
        use_it(wide)
    })
}

simd! {
    fn widen_into<_FMA; E: Element>(x: &[E], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x.to_f32();
        }
    }
}

/// How many rows of partial sums a sum over `rows` rows makes.
pub fn blocks(rows: usize) -> usize {
    rows.div_ceil(ROWS)
}

/// One row of `partials [blocks(N), D]` a block of rows of `x [N, D]`: their sum.
pub fn block_sums<E: Element>(x: &[E], width: usize, partials: &mut [f32]) {
    partials
        .par_chunks_mut(width)
        .zip(x.par_chunks(ROWS * width))
        .for_each(|(partial, x)| block_sum(x, partial));
}

simd! {
    fn block_sum<_FMA; E: Element>(x: &[E], partial: &mut [f32]) {
        partial.fill(0.0);
        for x in x.chunks_exact(partial.len()) {
            for (sum, x) in partial.iter_mut().zip(x) {
                *sum += x.to_f32();
            }
        }
    }
}

/// The second stage of every sum over rows: adds `width` columns of `partials`, rows `stride`
/// apart, in row order into `out`, which is cleared first unless `add`.
pub fn sum_partials(partials: &[f32], stride: usize, out: &mut [f32], add: bool) {
    if !add {
        out.fill(0.0);
    }
    for row in partials.chunks(stride) {
        for (sum, &value) in out.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
