//! Rows out of a table, and their gradients back into it.

use rayon::prelude::*;

/// Rows of the table a task.
const BLOCK: usize = 64;

/// `out[n] = table[ids[n]]`: copies alone, too little work to wake other threads for.
pub(super) fn forward(ids: &[u32], table: &[f32], width: usize, out: &mut [f32]) {
    for (out, &id) in out.chunks_exact_mut(width).zip(ids) {
        let start = id as usize * width;
        out.copy_from_slice(&table[start..start + width]);
    }
}

/// Sorts positions by id, positions of one id in order: those of id `v` become
/// `order[starts[v]..starts[v + 1]]`. `starts` has V + 1 zeros on entry.
pub(super) fn bucket(ids: &[u32], starts: &mut [usize], order: &mut [usize]) {
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
        order[*next] = position;
        *next += 1;
    }
}

/// `dtable[v] += Σ dy[n]` over the positions n of id v: each row of the table belongs to one
/// task, and its sum runs in the order of positions.
pub(super) fn backward(
    starts: &[usize],
    order: &[usize],
    dy: &[f32],
    width: usize,
    dtable: &mut [f32],
) {
    dtable
        .par_chunks_mut(BLOCK * width)
        .enumerate()
        .for_each(|(block, rows)| {
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                let id = block * BLOCK + i;
                for &position in &order[starts[id]..starts[id + 1]] {
                    let dy = &dy[position * width..(position + 1) * width];
                    for (sum, dy) in row.iter_mut().zip(dy) {
                        *sum += dy;
                    }
                }
            }
        });
}
