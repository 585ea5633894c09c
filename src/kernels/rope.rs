//! Rotary positions (Su et al. 2021, arXiv:2104.09864, eq. 34) in Llama's half layout: element `j` of a
//! head is paired with `j + hd/2`, and at position `t` `(a, b) → (a·cos − b·sin, b·cos + a·sin)`
//! for the angle `t·θ^(−2j/hd)`. Backward is the rotation by the opposite angle.

use super::element::Element;
use super::reduce::ROWS;
use super::simd::simd;
use rayon::prelude::*;

/// Cosines and sines `[positions, hd/2]`.
///
/// Frequencies and angles are rounded to f32 where Hugging Face's Llama rounds them, so that
/// both rotate by the same angles.
pub fn table(positions: usize, head_dim: usize, theta: f64) -> [Vec<f32>; 2] {
    let half = head_dim / 2;
    let frequencies: Vec<f32> = (0..half)
        .map(|j| {
            let exponent = (2 * j) as f32 / head_dim as f32;
            1.0 / theta.powf(f64::from(exponent)) as f32
        })
        .collect();
    let angle = |i: usize| f64::from((i / half) as f32 * frequencies[i % half]);
    let of = |f: fn(f64) -> f64| (0..positions * half).map(|i| f(angle(i)) as f32).collect();
    [of(f64::cos), of(f64::sin)]
}

/// Turns the first `heads` heads of every row of `x [B·T, stride]` by its position (times `sign`),
/// in place.
pub fn rotate<E: Element>(
    x: &mut [E],
    stride: usize,
    heads: usize,
    positions: usize,
    [cos, sin]: [&[f32]; 2],
    half: usize,
    sign: f32,
) {
    x.par_chunks_mut(ROWS * stride)
        .enumerate()
        .for_each(|(block, rows)| {
            for (i, row) in rows.chunks_exact_mut(stride).enumerate() {
                let position = (block * ROWS + i) % positions;
                let angles = position * half..(position + 1) * half;
                rotate_row(
                    &mut row[..heads * 2 * half],
                    &cos[angles.clone()],
                    &sin[angles],
                    sign,
                );
            }
        });
}

simd! {
    fn rotate_row<_FMA; E: Element>(row: &mut [E], cos: &[f32], sin: &[f32], sign: f32) {
        for head in row.chunks_exact_mut(2 * cos.len()) {
            let (a, b) = head.split_at_mut(cos.len());
            for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let (x, y, sin) = (a.to_f32(), b.to_f32(), sin * sign);
                *a = E::from_f32(x * cos - y * sin);
                *b = E::from_f32(y * cos + x * sin);
            }
        }
    }
}
