//! RMSNorm over rows of f32.

use crate::kernels::simd::{simd, sum};
use rayon::prelude::*;

/// Rows a task.
const BLOCK: usize = 32;

/// How many rows of partial sums [`backward`] writes for `rows` rows.
pub(super) fn blocks(rows: usize) -> usize {
    rows.div_ceil(BLOCK)
}

/// `x [N, D]`, `weight [D]` → `y [N, D]`, `rstd [N]`.
pub(super) fn forward(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32], rstd: &mut [f32]) {
    let block = BLOCK * weight.len();
    y.par_chunks_mut(block)
        .zip(rstd.par_chunks_mut(BLOCK))
        .zip(x.par_chunks(block))
        .for_each(|((y, rstd), x)| forward_block(x, weight, eps, y, rstd));
}

simd! {
    fn forward_block<_FMA>(
        x: &[f32],
        weight: &[f32],
        eps: f32,
        y: &mut [f32],
        rstd: &mut [f32],
    ) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(rstd);
        for ((x, y), rstd) in rows {
            let mean_square = sum([x], |[x]| x * x) / width as f32;
            *rstd = 1.0 / (mean_square + eps).sqrt();
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = x * *rstd * w;
            }
        }
    }
}

/// Gradients: `dx [N, D]`, and one row of `partials [blocks(N), D]` a block of rows, whose sum
/// is the weight's gradient. `partials` comes in as zeros.
pub(super) fn backward(
    x: &[f32],
    weight: &[f32],
    rstd: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    partials: &mut [f32],
) {
    let block = BLOCK * weight.len();
    dx.par_chunks_mut(block)
        .zip(partials.par_chunks_mut(weight.len()))
        .zip(x.par_chunks(block))
        .zip(dy.par_chunks(block))
        .zip(rstd.par_chunks(BLOCK))
        .for_each(|((((dx, partial), x), dy), rstd)| {
            backward_block(x, weight, rstd, dy, dx, partial);
        });
}

simd! {
    fn backward_block<_FMA>(
        x: &[f32],
        weight: &[f32],
        rstd: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
    ) {
        let width = weight.len();
        let rows = x
            .chunks_exact(width)
            .zip(dy.chunks_exact(width))
            .zip(dx.chunks_exact_mut(width))
            .zip(rstd);
        for (((x, dy), dx), &r) in rows {
            let along = sum([dy, weight, x], |[dy, w, x]| dy * w * x) * r * r / width as f32;
            let row = dx.iter_mut().zip(x).zip(dy).zip(weight).zip(&mut *dweight);
            for ((((dx, x), dy), w), dw) in row {
                *dx = r * (dy * w - x * along);
                *dw += dy * (x * r);
            }
        }
    }
}
