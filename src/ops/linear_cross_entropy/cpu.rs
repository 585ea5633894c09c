//! Projection and cross-entropy over chunks of rows: a chunk's logits become its losses, then
//! its gradient in place, then its share of both gradients, before the next chunk overwrites
//! them.

use crate::kernels::simd::{exp_in_place, max, scale_in_place};
use crate::ops::cpu::gemm::{Matrix, MatrixMut, Store, gemm};
use rayon::prelude::*;

/// How many logits a chunk may hold: 16 MiB of them.
const CHUNK_LOGITS: usize = 1 << 22;
/// A chunk has at least so many rows, else the products lose their speed.
const MIN_CHUNK_ROWS: usize = 128;

/// Rows a chunk.
pub(super) fn chunk_rows(rows: usize, vocab: usize) -> usize {
    (CHUNK_LOGITS / vocab).max(MIN_CHUNK_ROWS).min(rows)
}

/// `h [N, D]`, `weight [V, D]` and `targets [N]` → `losses [N]` in nats and, where wanted, the
/// gradients of their mean, `dh [N, D]` and `dweight [V, D]`. `logits` is scratch for
/// [`chunk_rows`]·V numbers.
#[allow(clippy::too_many_arguments)]
pub(super) fn forward(
    h: &[f32],
    weight: &[f32],
    width: usize,
    targets: &[u32],
    logits: &mut [f32],
    losses: &mut [f32],
    mut dh: Option<&mut [f32]>,
    mut dweight: Option<&mut [f32]>,
) {
    let vocab = weight.len() / width;
    let per_row = 1.0 / targets.len() as f32;
    let chunk = logits.len() / vocab;
    let weight_vd = Matrix::dense(weight, vocab, width);
    let mut store = Store::Overwrite;
    for start in (0..targets.len()).step_by(chunk) {
        let rows = chunk.min(targets.len() - start);
        let of_chunk = start * width..(start + rows) * width;
        let h_nd = Matrix::dense(&h[of_chunk.clone()], rows, width);
        let logits = &mut logits[..rows * vocab];
        let logits_nv = MatrixMut::dense(logits, rows, vocab);
        gemm(logits_nv, Store::Overwrite, 1.0, h_nd, weight_vd.t(), true);
        logits
            .par_chunks_mut(vocab)
            .zip(&mut losses[start..start + rows])
            .zip(&targets[start..start + rows])
            .for_each(|((logits, loss), &target)| {
                *loss = loss_row(logits, target as usize, per_row);
            });
        let dlogits_nv = Matrix::dense(logits, rows, vocab);
        if let Some(dh) = &mut dh {
            let dh_nd = MatrixMut::dense(&mut dh[of_chunk], rows, width);
            gemm(dh_nd, Store::Overwrite, 1.0, dlogits_nv, weight_vd, true);
        }
        if let Some(dweight) = &mut dweight {
            let dweight_vd = MatrixMut::dense(dweight, vocab, width);
            gemm(dweight_vd, store, 1.0, dlogits_nv.t(), h_nd, true);
            store = Store::Add;
        }
    }
}

/// The loss of one row of logits, which become `(softmax − onehot)·per_row`.
fn loss_row(logits: &mut [f32], target: usize, per_row: f32) -> f32 {
    let highest = max(logits);
    let at_target = logits[target] - highest;
    let total = exp_in_place(logits, 1.0, highest);
    scale_in_place(logits, per_row / total);
    logits[target] -= per_row;
    total.ln() - at_target
}
