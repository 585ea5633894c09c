//! What happens to a tile of scores between its products. Tiles are rows of as many numbers as a
//! micro-tile has columns, and leave as the packed operand of the next product, in their own place.

use super::Dims;
use crate::kernels::dropout::{Factors, Mask};
use crate::kernels::element::{Bf16, Element};
use crate::kernels::gemm::Micro;
use crate::kernels::simd::{exp, madd, simd};

/// How packed operands hold numbers.
pub(super) trait Packing: 'static {
    /// Rounded to bf16.
    const ROUNDS: bool;
    /// Two rows a row of units.
    const PAIRED: bool;
}

/// f32 as it is.
pub(super) struct Plain;
/// Rounded to bf16, held as f32.
pub(super) struct Rounded;
/// Rounded to bf16, two k's a unit.
pub(super) struct Paired;

impl Packing for Plain {
    const ROUNDS: bool = false;
    const PAIRED: bool = false;
}

impl Packing for Rounded {
    const ROUNDS: bool = true;
    const PAIRED: bool = false;
}

impl Packing for Paired {
    const ROUNDS: bool = true;
    const PAIRED: bool = true;
}

/// Calls `$function::<P>` with the packing that a micro-kernel wants.
macro_rules! packed {
    ($micro:expr, $function:ident($($arg:expr),* $(,)?)) => {
        match ($micro.paired, $micro.rounds) {
            (true, _) => $function::<Paired>($($arg),*),
            (false, true) => $function::<Rounded>($($arg),*),
            (false, false) => $function::<Plain>($($arg),*),
        }
    };
}

/// Lanes worked on at a time: two 256-bit registers, so that chains of additions overlap.
const LANES: usize = 16;

/// Goes through `$width` lanes in blocks of a constant number, `$n`, starting at `$at`.
macro_rules! in_lanes {
    ($width:expr, |$at:ident, $n:ident| $body:expr) => {
        let mut $at = 0;
        while $at + LANES <= $width {
            const $n: usize = LANES;
            $body;
            $at += $n;
        }
        while $at + 4 <= $width {
            const $n: usize = 4;
            $body;
            $at += $n;
        }
        while $at < $width {
            const $n: usize = 1;
            $body;
            $at += $n;
        }
    };
}

/// Dropout of the weights of a block of queries.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    mask: Mask,
    /// The index of the weight of the first query and the first key.
    first: u64,
    /// From one query to the next.
    stride: u64,
}

impl Weights {
    /// From query `t` and key `key` on.
    pub(super) fn new(
        mask: Option<Mask>,
        dims: Dims,
        place: [usize; 2],
        t: usize,
        key: usize,
    ) -> Option<Self> {
        mask.map(|mask| Weights {
            mask,
            first: dims.first_weight(place, t) + key as u64,
            stride: dims.positions as u64,
        })
    }

    /// The factors of the i-th query.
    #[inline(always)]
    fn of(&self, i: usize) -> Factors {
        self.mask.starting_at(self.first + i as u64 * self.stride)
    }
}

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

/// What makes weights of a row of scores. (No closures here: they would not be compiled for the
/// instruction set that the loop around them is.)
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

/// bf16 pairs, `even` in the lower halves.
#[inline(always)]
fn pairs<const N: usize>(even: [f32; N], odd: [f32; N]) -> [u32; N] {
    let mut units = [0; N];
    for c in 0..N {
        let (low, high) = (Bf16::from_f32(even[c]).0, Bf16::from_f32(odd[c]).0);
        units[c] = u32::from(low) | u32::from(high) << 16;
    }
    units
}

/// Numbers as unpaired units.
#[inline(always)]
fn words<const N: usize, P: Packing>(row: [f32; N]) -> [u32; N] {
    let mut units = [0; N];
    for c in 0..N {
        let x = if P::ROUNDS {
            Bf16::from_f32(row[c]).to_f32()
        } else {
            row[c]
        };
        units[c] = x.to_bits();
    }
    units
}

#[inline(always)]
fn lanes<const N: usize, T: Copy>(x: &[T], at: usize) -> [T; N] {
    *x[at..].first_chunk().unwrap()
}

#[inline(always)]
fn put<const N: usize, T: Copy>(x: &mut [T], at: usize, row: [T; N]) {
    *x[at..].first_chunk_mut().unwrap() = row;
}

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
            weights.first += count as u64 * weights.stride;
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

simd! {
    /// Row r, lane c of `sums` times `factors[c]`.
    pub(super) fn scale_lanes<_FMA>(sums: &mut [f32], factors: &[f32]) {
        let width = factors.len();
        in_lanes!(width, |at, N| {
            let factors: [f32; N] = lanes(factors, at);
            for row in sums.chunks_exact_mut(width) {
                for (x, factor) in row[at..at + N].iter_mut().zip(factors) {
                    *x *= factor;
                }
            }
        });
    }
}

simd! {
    /// toᵢ = factor·fromᵢ.
    pub(super) fn store_row<_FMA; E: Element>(from: &[f32], factor: f32, to: &mut [E]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = E::from_f32(from * factor);
        }
    }
}

simd! {
    /// Σᵢ aᵢ·bᵢ, in an order that depends on the length alone.
    pub(super) fn dot<FMA; E: Element>(a: &[E], b: &[E]) -> f32 {
        let mut sums = [0.0f32; LANES];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for c in 0..LANES {
                sums[c] = madd::<FMA>(a[c].to_f32(), b[c].to_f32(), sums[c]);
            }
        }
        for (c, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
            sums[c] = madd::<FMA>(a.to_f32(), b.to_f32(), sums[c]);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for c in 0..width {
                sums[c] += sums[c + width];
            }
            width /= 2;
        }
        sums[0]
    }
}
