//! LayerNorm over rows of f32.

use crate::kernels::simd::{simd, sum};
use rayon::prelude::*;

/// Rows a task.
const BLOCK: usize = 32;

/// How many rows of partial sums [`backward`] writes for `rows` rows.
pub(super) fn blocks(rows: usize) -> usize {
    rows.div_ceil(BLOCK)
}

/// `x [N, D]`, `weight [D]`, `bias [D]` → `y [N, D]`, `moments [N]` (mean, r).
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    y: &mut [f32],
    moments: &mut [[f32; 2]],
) {
    let block = BLOCK * weight.len();
    y.par_chunks_mut(block)
        .zip(moments.par_chunks_mut(BLOCK))
        .zip(x.par_chunks(block))
        .for_each(|((y, moments), x)| forward_block(x, weight, bias, eps, y, moments));
}

simd! {
    fn forward_block<_FMA>(
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        y: &mut [f32],
        moments: &mut [[f32; 2]],
    ) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(moments);
        for ((x, y), moments) in rows {
            let mean = sum([x], |[x]| x) / width as f32;
            let variance = sum([x], |[x]| (x - mean) * (x - mean)) / width as f32;
            let r = 1.0 / (variance + eps).sqrt();
            for (((y, x), w), b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = (x - mean) * r * w + b;
            }
            *moments = [mean, r];
        }
    }
}

/// Gradients: `dx [N, D]`, and one row of `partials [blocks(N), 2·D]` a block of rows, whose
/// sum is the gradient of the weight, then that of the bias. `partials` comes in as zeros.
pub(super) fn backward(
    x: &[f32],
    weight: &[f32],
    moments: &[[f32; 2]],
    dy: &[f32],
    dx: &mut [f32],
    partials: &mut [f32],
) {
    let block = BLOCK * weight.len();
    dx.par_chunks_mut(block)
        .zip(partials.par_chunks_mut(2 * weight.len()))
        .zip(x.par_chunks(block))
        .zip(dy.par_chunks(block))
        .zip(moments.par_chunks(BLOCK))
        .for_each(|((((dx, partial), x), dy), moments)| {
            backward_block(x, weight, moments, dy, dx, partial);
        });
}

simd! {
    fn backward_block<_FMA>(
        x: &[f32],
        weight: &[f32],
        moments: &[[f32; 2]],
        dy: &[f32],
        dx: &mut [f32],
        partial: &mut [f32],
    ) {
        let width = weight.len();
        let (dweight, dbias) = partial.split_at_mut(width);
        let rows = x
            .chunks_exact(width)
            .zip(dy.chunks_exact(width))
            .zip(dx.chunks_exact_mut(width))
            .zip(moments);
        for (((x, dy), dx), &[mean, r]) in rows {
            let mean_g = sum([dy, weight], |[dy, w]| dy * w) / width as f32;
            let along = sum([dy, weight, x], |[dy, w, x]| dy * w * (x - mean)) * r / width as f32;
            let row = dx
                .iter_mut()
                .zip(x)
                .zip(dy)
                .zip(weight)
                .zip(&mut *dweight)
                .zip(&mut *dbias);
            for (((((dx, x), dy), w), dw), db) in row {
                let normalised = (x - mean) * r;
                *dx = r * (dy * w - mean_g - normalised * along);
                *dw += dy * normalised;
                *db += dy;
            }
        }
    }
}
