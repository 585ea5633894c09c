//! Tiles of scores as rows of as many numbers as a micro-tile has columns, worked on in blocks of
//! neighbouring lanes, and how they become packed operands.
//!
//! No closures in these loops: they would not be compiled for the instruction set of the loop.

use super::Dims;
use crate::kernels::dropout::{Factors, Mask};
use crate::kernels::element::{Bf16, Element};
use crate::kernels::simd::{madd, simd};

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
            (true, _) => $function::<$crate::kernels::attention::lanes::Paired>($($arg),*),
            (false, true) => $function::<$crate::kernels::attention::lanes::Rounded>($($arg),*),
            (false, false) => $function::<$crate::kernels::attention::lanes::Plain>($($arg),*),
        }
    };
}

/// Lanes worked on at a time: two 256-bit registers, so that chains of additions overlap.
pub(super) const LANES: usize = 16;

/// Goes through `$width` lanes in blocks of a constant number, `$n`, starting at `$at`.
macro_rules! in_lanes {
    ($width:expr, |$at:ident, $n:ident| $body:expr) => {
        let mut $at = 0;
        while $at + $crate::kernels::attention::lanes::LANES <= $width {
            const $n: usize = $crate::kernels::attention::lanes::LANES;
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

pub(super) use {in_lanes, packed};

/// Dropout of the weights of a block of queries.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) mask: Mask,
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

    /// From `count` queries later on.
    pub(super) fn skip(&mut self, count: usize) {
        self.first += count as u64 * self.stride;
    }

    /// The factors of the i-th query.
    #[inline(always)]
    pub(super) fn of(&self, i: usize) -> Factors {
        self.mask.starting_at(self.first + i as u64 * self.stride)
    }
}

/// bf16 pairs, `even` in the lower halves.
#[inline(always)]
pub(super) fn pairs<const N: usize>(even: [f32; N], odd: [f32; N]) -> [u32; N] {
    let mut units = [0; N];
    for c in 0..N {
        let (low, high) = (Bf16::from_f32(even[c]).0, Bf16::from_f32(odd[c]).0);
        units[c] = u32::from(low) | u32::from(high) << 16;
    }
    units
}

/// Numbers as unpaired units.
#[inline(always)]
pub(super) fn words<const N: usize, P: Packing>(row: [f32; N]) -> [u32; N] {
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
pub(super) fn lanes<const N: usize, T: Copy>(x: &[T], at: usize) -> [T; N] {
    *x[at..].first_chunk().unwrap()
}

#[inline(always)]
pub(super) fn put<const N: usize, T: Copy>(x: &mut [T], at: usize, row: [T; N]) {
    *x[at..].first_chunk_mut().unwrap() = row;
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
