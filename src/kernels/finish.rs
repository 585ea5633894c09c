//! What is done with a finished line of a product: bias, rounding, residual, accumulation.

use super::dropout::Mask;
use super::element::Element;
use super::reduce::NUMBERS;
use super::simd::simd;
use rayon::prelude::*;

simd! {
    /// `out = line`.
    pub fn store<_FMA; E: Element>(line: &[f32], out: &mut [E]) {
        for (out, x) in out.iter_mut().zip(line) {
            *out = E::from_f32(*x);
        }
    }
}

simd! {
    /// `out = line + bias`.
    pub fn store_biased<_FMA; E: Element>(line: &[f32], bias: &[f32], out: &mut [E]) {
        for ((out, x), b) in out.iter_mut().zip(line).zip(bias) {
            *out = E::from_f32(x + b);
        }
    }
}

simd! {
    /// `out += line`.
    pub fn add<_FMA>(line: &[f32], out: &mut [f32]) {
        for (out, x) in out.iter_mut().zip(line) {
            *out += x;
        }
    }
}

simd! {
    /// `out = residual + line`.
    pub fn add_residual<_FMA>(line: &[f32], residual: &[f32], out: &mut [f32]) {
        for ((out, r), x) in out.iter_mut().zip(residual).zip(line) {
            *out = r + x;
        }
    }
}

simd! {
    /// `out = x` through a mask, whose index at the first number is `first`.
    pub fn masked<_FMA; E: Element>(x: &[f32], mask: Mask, first: u64, out: &mut [E]) {
        let factors = mask.starting_at(first);
        for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = E::from_f32(x * factors.get(i as u32));
        }
    }
}

/// As [`masked`], on all threads, over numbers of which the first has index 0.
pub fn masked_all<E: Element>(x: &[f32], mask: Mask, out: &mut [E]) {
    out.par_chunks_mut(NUMBERS)
        .zip(x.par_chunks(NUMBERS))
        .enumerate()
        .for_each(|(i, (out, x))| masked(x, mask, (i * NUMBERS) as u64, out));
}
