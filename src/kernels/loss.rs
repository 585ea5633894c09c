//! Softmax and cross-entropy over rows of logits, in place.

use super::simd::{exp_in_place, max, scale_in_place};
use rayon::prelude::*;

/// `logits [N, V]` become the gradient `(softmax − onehot)·per_row`, and `losses [N]` the negative
/// log-probabilities of the targets. Without `per_row` only the losses are wanted, and what is left
/// of the logits means nothing.
pub fn cross_entropy(
    logits: &mut [f32],
    targets: &[u32],
    width: usize,
    per_row: Option<f32>,
    losses: &mut [f32],
) {
    logits
        .par_chunks_exact_mut(width)
        .zip(targets)
        .zip(losses)
        .with_min_len((1 << 13) / width + 1)
        .for_each(|((logits, &target), loss)| {
            let target = target as usize;
            let highest = max(logits);
            let at_target = logits[target] - highest;
            let total = exp_in_place(logits, 1.0, highest);
            if let Some(per_row) = per_row {
                scale_in_place(logits, per_row / total);
                logits[target] -= per_row;
            }
            *loss = total.ln() - at_target;
        });
}
