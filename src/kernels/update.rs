//! AdamW (Loshchilov and Hutter 2019, algorithm 2) with clipping, in one pass:
//!
//! ```text
//! g ← clip·g
//! m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
//! p ← (1 − ηλ) p − step_size · m / (√v / root_correction + ε)
//! ```
//!
//! Cost: 12 FLOPs a parameter; reads 16 bytes and writes 12 of each, so memory decides.

use super::simd::{madd, simd};
use rayon::prelude::*;

/// Numbers a task, of the update and of the norm: fixed, so that sums do not depend on threads.
pub const BLOCK: usize = 1 << 14;

/// Bytes that an update moves, a parameter.
pub const TRAFFIC: f64 = 28.0;

/// What an update multiplies with.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    pub beta1: f32,
    /// 1 − β₁, rounded once.
    pub rest1: f32,
    pub beta2: f32,
    /// 1 − β₂, rounded once.
    pub rest2: f32,
    pub clip: f32,
    /// 1 − ηλ where the parameter decays, else 1.
    pub decay: f32,
    /// η/(1 − β₁ᵏ).
    pub step_size: f32,
    /// 1/√(1 − β₂ᵏ).
    pub inverse_root_correction: f32,
    pub eps: f32,
}

simd! {
    /// Updates consecutive parameters, on this thread.
    pub fn adamw<FMA>(f: Factors, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = f.clip * g;
            *m = madd::<FMA>(f.beta1, *m, f.rest1 * g);
            *v = madd::<FMA>(f.beta2, *v, f.rest2 * (g * g));
            let root = madd::<FMA>(v.sqrt(), f.inverse_root_correction, f.eps);
            *p = madd::<FMA>(f.decay, *p, -f.step_size * (*m / root));
        }
    }
}

/// Σ g², in f64, blocks in order; `partials` holds one number a block of [`BLOCK`].
pub fn squared_norm(g: &[f32], partials: &mut [f64]) -> f64 {
    partials
        .par_iter_mut()
        .zip(g.par_chunks(BLOCK))
        .for_each(|(partial, g)| *partial = squares(g));
    partials.iter().sum()
}

simd! {
    fn squares<_FMA>(g: &[f32]) -> f64 {
        let mut lanes = [0.0f64; 16];
        let (whole, rest) = g.as_chunks::<16>();
        for g in whole {
            for (lane, &g) in lanes.iter_mut().zip(g) {
                *lane += f64::from(g) * f64::from(g);
            }
        }
        for (lane, &g) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(g) * f64::from(g);
        }
        lanes.iter().sum()
    }
}
