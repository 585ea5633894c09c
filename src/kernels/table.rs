//! Look-up tables: token embeddings and learned positions.

use super::dropout::Mask;
use super::reduce::ROWS;
use super::simd::simd;
use rayon::prelude::*;

/// `out[n] = table[ids[n]] + positions[n mod T]`, masked; no positions, nothing added.
pub fn forward(
    ids: &[u32],
    table: &[f32],
    positions: Option<&[f32]>,
    width: usize,
    mask: Option<Mask>,
    out: &mut [f32],
) {
    out.par_chunks_mut(ROWS * width)
        .zip(ids.par_chunks(ROWS))
        .enumerate()
        .for_each(|(block, (out, ids))| {
            for (i, (out, &id)) in out.chunks_exact_mut(width).zip(ids).enumerate() {
                let n = block * ROWS + i;
                let start = id as usize * width;
                out.copy_from_slice(&table[start..start + width]);
                if let Some(positions) = positions {
                    let start = n * width % positions.len();
                    for (out, p) in out.iter_mut().zip(&positions[start..start + width]) {
                        *out += p;
                    }
                }
                if let Some(mask) = mask {
                    drop_line(out, mask, (n * width) as u64);
                }
            }
        });
}

simd! {
    /// Multiplies consecutive numbers, the first of which has index `first`, with a mask.
    pub fn drop_line<_FMA>(x: &mut [f32], mask: Mask, first: u64) {
        let factors = mask.starting_at(first);
        for (i, x) in x.iter_mut().enumerate() {
            *x *= factors.get(i as u32);
        }
    }
}

/// Sorts positions by id, positions of one id in order: those of id `v` become
/// `order[starts[v]..starts[v + 1]]`. `starts` has V + 1 numbers.
pub fn bucket(ids: &[u32], starts: &mut [u32], order: &mut [u32]) {
    starts.fill(0);
    // Counted one place further on, so that filling turns starts of v into those of v + 1.
    for &id in ids {
        if let Some(count) = starts.get_mut(id as usize + 2) {
            *count += 1;
        }
    }
    for v in 1..starts.len() {
        starts[v] += starts[v - 1];
    }
    for (position, &id) in ids.iter().enumerate() {
        let next = &mut starts[id as usize + 1];
        order[*next as usize] = position as u32;
        *next += 1;
    }
}

/// `dtable[v] += Σ dy[n]` over the positions n of id v: each row of the table belongs to one
/// task, and its sum runs in the order of positions.
pub fn backward(starts: &[u32], order: &[u32], dy: &[f32], width: usize, dtable: &mut [f32]) {
    dtable
        .par_chunks_mut(ROWS * width)
        .enumerate()
        .for_each(|(block, rows)| {
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                let id = block * ROWS + i;
                for &position in &order[starts[id] as usize..starts[id + 1] as usize] {
                    let start = position as usize * width;
                    for (sum, dy) in row.iter_mut().zip(&dy[start..start + width]) {
                        *sum += dy;
                    }
                }
            }
        });
}

/// The gradient of learned positions `[T, D]`: sums over the batch of `dy [B, T, D]`, added to
/// what is there.
pub fn positions_backward(dy: &[f32], width: usize, dpositions: &mut [f32]) {
    let sequence = dpositions.len();
    dpositions
        .par_chunks_mut(ROWS * width)
        .enumerate()
        .for_each(|(block, rows)| {
            let start = block * ROWS * width;
            for dy in dy.chunks_exact(sequence) {
                for (sum, dy) in rows.iter_mut().zip(&dy[start..]) {
                    *sum += dy;
                }
            }
        });
}
