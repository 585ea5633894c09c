//! GELU, element by element.

use crate::kernels::simd::{sigmoid, simd};
use rayon::prelude::*;

/// Elements a task.
const BLOCK: usize = 1 << 13;
/// 2·√(2/π): the sigmoid's argument is 2u.
const SLOPE: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

/// `y = x·σ(2u)`.
pub(super) fn forward(x: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .for_each(|(y, x)| forward_block(x, y));
}

simd! {
    fn forward_block<FMA>(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * sigmoid::<FMA>(SLOPE * x * (1.0 + CUBIC * x * x));
        }
    }
}

/// `dx = dy·(s + x·s·(1 − s)·2u′)`.
pub(super) fn backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    dx.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .zip(dy.par_chunks(BLOCK))
        .for_each(|((dx, x), dy)| backward_block(x, dy, dx));
}

simd! {
    fn backward_block<FMA>(x: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &x), dy) in dx.iter_mut().zip(x).zip(dy) {
            let s = sigmoid::<FMA>(SLOPE * x * (1.0 + CUBIC * x * x));
            let slope = SLOPE * (1.0 + 3.0 * CUBIC * x * x);
            *dx = dy * (s + x * s * (1.0 - s) * slope);
        }
    }
}
