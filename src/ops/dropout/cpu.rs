//! Dropout, element by element.

use super::Mask;
use crate::kernels::simd::simd;
use rayon::prelude::*;

/// Elements a task.
const BLOCK: usize = 1 << 13;

/// `y_i = x_i·factor(i)`.
pub(super) fn forward(x: &[f32], mask: Mask, y: &mut [f32]) {
    y.par_chunks_mut(BLOCK)
        .zip(x.par_chunks(BLOCK))
        .enumerate()
        .for_each(|(block, (y, x))| forward_block(x, mask, (block * BLOCK) as u64, y));
}

simd! {
    fn forward_block<_FMA>(x: &[f32], mask: Mask, first: u64, y: &mut [f32]) {
        let factors = mask.starting_at(first);
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = x * factors.get(i as u32);
        }
    }
}
