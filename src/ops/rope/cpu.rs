//! The rotation over heads of f32.

use crate::kernels::simd::simd;
use rayon::prelude::*;

/// Positions a task.
const BLOCK: usize = 16;

/// `x [B, T, H, hd]` with strides of B, T and H, `cos` and `sin` `[positions, hd/2]` →
/// contiguous `y`. The sines are multiplied with `sign`.
pub(super) fn rotate(
    x: &[f32],
    [_, t, heads, head_dim]: [usize; 4],
    [stride_b, stride_t, stride_h]: [usize; 3],
    cos: &[f32],
    sin: &[f32],
    sign: f32,
    y: &mut [f32],
) {
    let row = heads * head_dim;
    y.par_chunks_mut(BLOCK * row)
        .enumerate()
        .for_each(|(block, rows)| {
            for (i, y) in rows.chunks_exact_mut(row).enumerate() {
                let (batch, position) = ((block * BLOCK + i) / t, (block * BLOCK + i) % t);
                let x = &x[batch * stride_b + position * stride_t..];
                let angles = position * head_dim / 2..(position + 1) * head_dim / 2;
                rotate_position(x, stride_h, &cos[angles.clone()], &sin[angles], sign, y);
            }
        });
}

simd! {
    fn rotate_position<_FMA>(
        x: &[f32],
        stride_h: usize,
        cos: &[f32],
        sin: &[f32],
        sign: f32,
        y: &mut [f32],
    ) {
        let half = cos.len();
        for (h, y) in y.chunks_exact_mut(2 * half).enumerate() {
            let x = &x[h * stride_h..h * stride_h + 2 * half];
            let (a, b) = x.split_at(half);
            let (y_a, y_b) = y.split_at_mut(half);
            let pairs = a.iter().zip(b).zip(y_a).zip(y_b).zip(cos).zip(sin);
            for (((((a, b), y_a), y_b), cos), sin) in pairs {
                let sin = sin * sign;
                *y_a = a * cos - b * sin;
                *y_b = b * cos + a * sin;
            }
        }
    }
}
