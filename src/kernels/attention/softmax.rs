//! The running softmax of a tile of raw scores, which it turns, in their own place, into the packed
//! operand of the next product.

use super::lanes::{Packing, Weights, in_lanes, lanes, packed, pairs, put, words};
use crate::kernels::dropout::Mask;
use crate::kernels::gemm::Micro;
use crate::kernels::simd::{exp, madd, simd};

/// The running softmax of queries, a lane each.
pub(super) struct Running<'a> {
    /// The largest score so far, times the scale.
    pub(super) highest: &'a mut [f32],
    /// Σ e^(score − highest).
    pub(super) total: &'a mut [f32],
    /// What sums up to the last block must be multiplied with.
    pub(super) decay: &'a mut [f32],
    pub(super) dropout: Option<Weights>,
}

/// A block of scores seen from the running softmax: rows are keys.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) first_key: usize,
    pub(super) keys: usize,
    /// Lane c sees rows before c + `ahead`.
    pub(super) ahead: isize,
    pub(super) scale: f32,
}

/// Turns a block's raw scores, a lane a query, into e^(scale·score − highest), packed for a
/// product over keys; zero where a query does not see the key. Returns whether any lane's `decay` is
/// not 1; the first block (`first_key` 0) leaves it alone.
pub(super) fn softmax_block(
    micro: &Micro,
    scores: &mut [u32],
    block: Block,
    running: &mut Running,
) -> bool {
    assert!(scores.len() >= block.keys.next_multiple_of(2) * micro.columns);
    packed!(micro, softmax(scores, block, running))
}

simd! {
    fn softmax<FMA; P: Packing>(scores: &mut [u32], block: Block, running: &mut Running) -> bool {
        let width = running.highest.len();
        let mut decays = false;
        in_lanes!(width, |at, N| {
            decays |= softmax_lanes::<N, FMA, P>(scores, width, at, block, running);
        });
        decays
    }
}

#[inline(always)]
fn softmax_lanes<const N: usize, const FMA: bool, P: Packing>(
    scores: &mut [u32],
    width: usize,
    at: usize,
    block: Block,
    running: &mut Running,
) -> bool {
    let Block {
        first_key,
        keys,
        ahead,
        scale,
    } = block;
    // All lanes see the rows before `all`.
    let all = (at as isize + ahead).clamp(0, keys as isize) as usize;
    let mut limits = [0i32; N];
    for (c, limit) in limits.iter_mut().enumerate() {
        *limit = (at + c) as i32 + ahead as i32;
    }
    let old: [f32; N] = lanes(running.highest, at);
    let mut raw = [f32::NEG_INFINITY; N];
    for r in 0..all {
        let row: [u32; N] = lanes(scores, r * width + at);
        for c in 0..N {
            let x = f32::from_bits(row[c]);
            raw[c] = if x > raw[c] { x } else { raw[c] };
        }
    }
    for r in all..keys {
        let row: [u32; N] = lanes(scores, r * width + at);
        let mut seen = [f32::NEG_INFINITY; N];
        for c in 0..N {
            let x = f32::from_bits(row[c]);
            seen[c] = if (r as i32) < limits[c] { x } else { seen[c] };
        }
        for c in 0..N {
            raw[c] = if seen[c] > raw[c] { seen[c] } else { raw[c] };
        }
    }
    let first = first_key == 0;
    let mut shift = [0.0; N];
    for c in 0..N {
        let highest = raw[c] * scale;
        let old = if first { highest } else { old[c] };
        shift[c] = if highest > old { highest } else { old };
    }
    put(running.highest, at, shift);
    let mut total = [0.0; N];
    let mut decays = false;
    if !first {
        let mut decay = [0.0; N];
        let old_total: [f32; N] = lanes(running.total, at);
        for c in 0..N {
            decay[c] = exp::<FMA>(old[c] - shift[c]);
            total[c] = old_total[c] * decay[c];
        }
        put(running.decay, at, decay);
        // NaN decays too.
        decays = decay.iter().any(|&decay| decay != 1.0);
    }

    let mut row = WeightRow {
        first_key,
        all,
        limits,
        scale,
        shift,
        total,
        low: [0; N],
        high: [[0; N]; 2],
        mask: running.dropout.map(|weights| weights.mask),
    };
    match running.dropout {
        None => pack_rows::<N, FMA, false, P>(scores, width, at, keys, &mut row),
        Some(weights) => {
            for c in 0..N {
                let (low, high) = weights.of(at + c).parts();
                (row.low[c], row.high[0][c], row.high[1][c]) = (low, high[0], high[1]);
            }
            pack_rows::<N, FMA, true, P>(scores, width, at, keys, &mut row);
        }
    }
    put(running.total, at, row.total);
    decays
}

/// What makes weights of a row of scores.
struct WeightRow<const N: usize> {
    first_key: usize,
    /// All lanes see the rows before this.
    all: usize,
    /// Lane c sees the rows before `limits[c]`.
    limits: [i32; N],
    scale: f32,
    shift: [f32; N],
    total: [f32; N],
    /// Where the lanes' dropout factors start.
    low: [u32; N],
    high: [[u32; N]; 2],
    mask: Option<Mask>,
}

impl<const N: usize> WeightRow<N> {
    #[inline(always)]
    fn weights<const FMA: bool, const DROPS: bool>(&mut self, r: usize, row: [u32; N]) -> [f32; N] {
        let mut p = [0.0; N];
        for c in 0..N {
            p[c] = exp::<FMA>(madd::<FMA>(
                f32::from_bits(row[c]),
                self.scale,
                -self.shift[c],
            ));
        }
        if r >= self.all {
            for c in 0..N {
                p[c] = if (r as i32) < self.limits[c] {
                    p[c]
                } else {
                    0.0
                };
            }
        }
        for c in 0..N {
            self.total[c] += p[c];
        }
        if DROPS && let Some(mask) = self.mask {
            let key = (self.first_key + r) as u32;
            for c in 0..N {
                p[c] *= mask.factor(self.low[c], [self.high[0][c], self.high[1][c]], key);
            }
        }
        p
    }
}

/// Replaces `N` lanes of `rows` rows of scores by weights, packed along the rows.
#[inline(always)]
fn pack_rows<const N: usize, const FMA: bool, const DROPS: bool, P: Packing>(
    units: &mut [u32],
    width: usize,
    at: usize,
    rows: usize,
    row: &mut WeightRow<N>,
) {
    if P::PAIRED {
        for r in (0..rows).step_by(2) {
            let even = row.weights::<FMA, DROPS>(r, lanes(units, r * width + at));
            let odd = if r + 1 < rows {
                row.weights::<FMA, DROPS>(r + 1, lanes(units, (r + 1) * width + at))
            } else {
                [0.0; N]
            };
            put(units, r / 2 * width + at, pairs(even, odd));
        }
    } else {
        for r in 0..rows {
            let p = row.weights::<FMA, DROPS>(r, lanes(units, r * width + at));
            put(units, r * width + at, words::<N, P>(p));
        }
    }
}
