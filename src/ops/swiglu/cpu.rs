//! SwiGLU's gate, element by element.

use crate::kernels::simd::{sigmoid, simd};
use rayon::prelude::*;

/// Elements a task.
const BLOCK: usize = 1 << 13;

/// `y = silu(gate)·up`.
pub(super) fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    y.par_chunks_mut(BLOCK)
        .zip(gate.par_chunks(BLOCK))
        .zip(up.par_chunks(BLOCK))
        .for_each(|((y, gate), up)| forward_block(gate, up, y));
}

simd! {
    fn forward_block<FMA>(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, g), up) in y.iter_mut().zip(gate).zip(up) {
            *y = g * sigmoid::<FMA>(*g) * up;
        }
    }
}

/// Gradients of both arguments.
pub(super) fn backward(gate: &[f32], up: &[f32], dy: &[f32], dgate: &mut [f32], dup: &mut [f32]) {
    dgate
        .par_chunks_mut(BLOCK)
        .zip(dup.par_chunks_mut(BLOCK))
        .zip(gate.par_chunks(BLOCK))
        .zip(up.par_chunks(BLOCK))
        .zip(dy.par_chunks(BLOCK))
        .for_each(|((((dgate, dup), gate), up), dy)| backward_block(gate, up, dy, dgate, dup));
}

simd! {
    fn backward_block<FMA>(
        gate: &[f32],
        up: &[f32],
        dy: &[f32],
        dgate: &mut [f32],
        dup: &mut [f32],
    ) {
        for ((((dgate, dup), g), up), dy) in dgate.iter_mut().zip(dup).zip(gate).zip(up).zip(dy) {
            let s = sigmoid::<FMA>(*g);
            *dup = dy * g * s;
            *dgate = dy * up * s * (1.0 + g * (1.0 - s));
        }
    }
}
