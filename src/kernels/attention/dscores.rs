//! Gradients of a tile of scores, and its weights again, turned in their own place into packed
//! operands of the next products.

use super::lanes::{Packing, Weights, in_lanes, lanes, packed, pairs, put, words};
use crate::kernels::element::{Bf16, Element};
use crate::kernels::gemm::Micro;
use crate::kernels::simd::{exp, madd, simd};

/// What backward knows of the queries of a tile's rows.
pub(super) struct Rows<'a> {
    pub(super) log_sums: &'a [f32],
    pub(super) deltas: &'a [f32],
    pub(super) dropout: Option<Weights>,
    /// Row r sees lanes up to r + `ahead`, that one too.
    pub(super) ahead: isize,
    pub(super) scale: f32,
}

impl Rows<'_> {
    /// Leaves the first rows out.
    pub(super) fn skip(&mut self, count: usize) {
        self.log_sums = &self.log_sums[count..];
        self.deltas = &self.deltas[count..];
        self.ahead += count as isize;
        if let Some(weights) = &mut self.dropout {
            weights.skip(count);
        }
    }
}

/// From raw scores, p = e^(scale·score − log sum), and from the weights' gradients dp,
/// ds = p·(dp − delta); zero where a query does not see the key. With a dropout factor f:
/// ds = p·(f·dp − delta), and f·p in place of p. Both are packed for a product over queries, and
/// ds also row by row into `across`, for a product over keys (unpaired, it is not: there the
/// packed rows serve).
pub(super) fn score_gradients(
    micro: &Micro,
    scores: &mut [u32],
    gradients: &mut [u32],
    across: &mut [u32],
    rows: &Rows,
) {
    let count = rows.log_sums.len();
    assert!(count == rows.deltas.len());
    assert!(scores.len().min(gradients.len()) >= count.next_multiple_of(2) * micro.columns);
    let width = micro.columns;
    assert!(!micro.paired || width.is_multiple_of(4) && across.len() >= count * width / 2);
    packed!(micro, dscores(scores, gradients, across, width, rows));
}

simd! {
    fn dscores<FMA; P: Packing>(
        scores: &mut [u32],
        gradients: &mut [u32],
        across: &mut [u32],
        width: usize,
        rows: &Rows,
    ) {
        in_lanes!(width, |at, N| {
            dscores_lanes::<N, FMA, P>(scores, gradients, across, width, at, rows);
        });
    }
}

#[inline(always)]
fn dscores_lanes<const N: usize, const FMA: bool, P: Packing>(
    scores: &mut [u32],
    gradients: &mut [u32],
    across: &mut [u32],
    width: usize,
    at: usize,
    rows: &Rows,
) {
    macro_rules! row {
        ($r:expr) => {{
            let place = ($r) * width + at;
            dscores_row::<N, FMA>(lanes(scores, place), lanes(gradients, place), at, $r, rows)
        }};
    }
    let count = rows.log_sums.len();
    if P::PAIRED {
        for r in (0..count).step_by(2) {
            let (p, ds) = row!(r);
            put_halves(across, r * width / 2 + at / 2, ds);
            let (q, dt) = if r + 1 < count {
                let (q, dt) = row!(r + 1);
                put_halves(across, (r + 1) * width / 2 + at / 2, dt);
                (q, dt)
            } else {
                ([0.0; N], [0.0; N])
            };
            put(scores, r / 2 * width + at, pairs(p, q));
            put(gradients, r / 2 * width + at, pairs(ds, dt));
        }
    } else {
        for r in 0..count {
            let (p, ds) = row!(r);
            put(scores, r * width + at, words::<N, P>(p));
            put(gradients, r * width + at, words::<N, P>(ds));
        }
    }
}

/// Weights, dropped, and gradients of scores, of one row.
#[inline(always)]
fn dscores_row<const N: usize, const FMA: bool>(
    s: [u32; N],
    dp: [u32; N],
    at: usize,
    r: usize,
    rows: &Rows,
) -> ([f32; N], [f32; N]) {
    let (log_sum, delta) = (rows.log_sums[r], rows.deltas[r]);
    let mut p = [0.0; N];
    let mut ds = [0.0; N];
    for c in 0..N {
        p[c] = exp::<FMA>(madd::<FMA>(f32::from_bits(s[c]), rows.scale, -log_sum));
    }
    match &rows.dropout {
        None => {
            for c in 0..N {
                ds[c] = p[c] * (f32::from_bits(dp[c]) - delta);
            }
        }
        Some(weights) => {
            let factors = weights.of(r);
            for c in 0..N {
                let factor = factors.get((at + c) as u32);
                ds[c] = p[c] * (f32::from_bits(dp[c]) * factor - delta);
                p[c] *= factor;
            }
        }
    }
    // The last lane that the row sees; most rows see all.
    let last = r as isize + rows.ahead;
    if last < (at + N - 1) as isize {
        let last = last as i32;
        for c in 0..N {
            let seen = (at + c) as i32 <= last;
            p[c] = if seen { p[c] } else { 0.0 };
            ds[c] = if seen { ds[c] } else { 0.0 };
        }
    }
    (p, ds)
}

/// Neighbours as bf16 pairs, from unit `at` on.
#[inline(always)]
fn put_halves<const N: usize>(units: &mut [u32], at: usize, row: [f32; N]) {
    for (i, unit) in units[at..at + N / 2].iter_mut().enumerate() {
        let (low, high) = (
            Bf16::from_f32(row[2 * i]).0,
            Bf16::from_f32(row[2 * i + 1]).0,
        );
        *unit = u32::from(low) | u32::from(high) << 16;
    }
}
