//! LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019) over rows:
//!
//! `y = (x − μ)·r·g + b` with `r = 1/√(mean((x − μ)²) + ε)`; RMSNorm has μ = 0 and no b.
//!
//! Rows come in as f32 (the residual stream) and leave as elements. Backward adds to the gradient
//! of the residual stream that is already there. Cost: forward about 8 FLOPs, backward about 14
//! FLOPs a number; bound by memory: forward reads 4 bytes and writes an element, backward reads 4
//! bytes and an element, and reads and writes 4 bytes.

use super::element::Element;
use super::reduce::{ROWS, widen};
use super::simd::{simd, sum};
use rayon::prelude::*;

/// Mean (0 in RMSNorm) and reciprocal deviation of a row.
pub const STATS: usize = 2;

/// The parameters of a norm; without a bias it is RMSNorm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    pub gain: &'a [f32],
    pub bias: Option<&'a [f32]>,
    pub eps: f32,
}

/// `x [N, D]` → `y [N, D]`, `stats [N, 2]`.
pub fn forward<E: Element>(norm: Norm, x: &[f32], y: &mut [E], stats: &mut [f32]) {
    let block = ROWS * norm.gain.len();
    y.par_chunks_mut(block)
        .zip(stats.par_chunks_mut(STATS * ROWS))
        .zip(x.par_chunks(block))
        .for_each(|((y, stats), x)| forward_block(norm, x, y, stats));
}

simd! {
    fn forward_block<_FMA; E: Element>(norm: Norm, x: &[f32], y: &mut [E], stats: &mut [f32]) {
        let width = norm.gain.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
        for ((x, y), stats) in rows.zip(stats.chunks_exact_mut(STATS)) {
            let mean = match norm.bias {
                Some(_) => sum([x], |[x]| x) / width as f32,
                None => 0.0,
            };
            let variance = sum([x], |[x]| (x - mean) * (x - mean)) / width as f32;
            let r = 1.0 / (variance + norm.eps).sqrt();
            match norm.bias {
                Some(bias) => {
                    for (((y, x), g), b) in y.iter_mut().zip(x).zip(norm.gain).zip(bias) {
                        *y = E::from_f32((x - mean) * r * g + b);
                    }
                }
                None => {
                    for ((y, x), g) in y.iter_mut().zip(x).zip(norm.gain) {
                        *y = E::from_f32(x * r * g);
                    }
                }
            }
            stats.copy_from_slice(&[mean, r]);
        }
    }
}

/// The gradient of `x` into `dx` (added to it if `add`), and one row of `partials
/// [ceil(N / ROWS), 2, D]` a block of rows, whose sum is the gradient of the gain, then of the bias.
#[allow(clippy::too_many_arguments)]
pub fn backward<E: Element>(
    norm: Norm,
    x: &[f32],
    stats: &[f32],
    dy: &[E],
    dx: &mut [f32],
    add: bool,
    partials: &mut [f32],
) {
    let block = ROWS * norm.gain.len();
    dx.par_chunks_mut(block)
        .zip(partials.par_chunks_mut(2 * norm.gain.len()))
        .zip(x.par_chunks(block))
        .zip(dy.par_chunks(block))
        .zip(stats.par_chunks(STATS * ROWS))
        .for_each(|((((dx, partial), x), dy), stats)| {
            widen(dy, |dy| {
                backward_block(norm, x, stats, dy, dx, add, partial)
            });
        });
}

simd! {
    fn backward_block<_FMA>(
        norm: Norm,
        x: &[f32],
        stats: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        add: bool,
        partial: &mut [f32],
    ) {
        let width = norm.gain.len();
        partial.fill(0.0);
        let (dgain, dbias) = partial.split_at_mut(width);
        let rows = x
            .chunks_exact(width)
            .zip(dy.chunks_exact(width))
            .zip(dx.chunks_exact_mut(width))
            .zip(stats.chunks_exact(STATS));
        for (((x, dy), dx), stats) in rows {
            let (mean, r) = (stats[0], stats[1]);
            let mean_g = match norm.bias {
                Some(_) => sum([dy, norm.gain], |[dy, g]| dy * g) / width as f32,
                None => 0.0,
            };
            let along = sum([dy, norm.gain, x], |[dy, g, x]| dy * g * (x - mean));
            let along = along * r / width as f32;
            if !add {
                dx.fill(0.0);
            }
            let row = dx.iter_mut().zip(x).zip(dy).zip(norm.gain).zip(&mut *dgain);
            for ((((dx, x), dy), g), dg) in row {
                let normalised = (x - mean) * r;
                *dx += r * (dy * g - mean_g - normalised * along);
                *dg += dy * normalised;
            }
            if norm.bias.is_some() {
                for (db, dy) in dbias.iter_mut().zip(dy) {
                    *db += dy;
                }
            }
        }
    }
}
