//! Backward: a task goes through all query heads of a key head, so that dK and dV have one writer.
//!
//! Scores are computed with a key a lane: weights p and their gradients ds then come out as the
//! packed right-hand sides of dvᵀ = doᵀ·p and dkᵀ = qᵀ·ds. Only dq = ds·k wants ds the other way,
//! as a left-hand side: it is copied there transposed while it is in the L1 cache. dq is complete
//! after one block of queries; dkᵀ and dvᵀ grow in the thread's scratch until the task ends.

use super::dscores::{Rows, score_gradients};
use super::heads::{Shared, SharedGradients};
use super::lanes::{Weights, dot, store_row};
use super::scratch::{floats, with_scratch};
use super::transpose::transpose;
use super::{Dims, Gradients, Heads};
use crate::kernels::dropout::Mask;
use crate::kernels::element::Element;
use crate::kernels::gemm::pack::{packed_a_len, packed_b_len};
use crate::kernels::gemm::{Micro, Precision, pack_a, pack_b};
use rayon::prelude::*;

/// Queries a block, before rounding up to whole micro-tiles. They are what dk and dv sum over at
/// a time.
const QUERIES: usize = 96;

/// Keys a block, before rounding up to whole micro-tiles. They are what dq sums over at a time.
const KEYS: usize = 128;

/// Gradients from those of the output, `do_`, the output `o` and the `log_sums` that
/// [`forward`](super::forward) left. `deltas [B, H, T]` becomes Σ o∘do of each row.
///
/// # Panics
/// Slices do not hold their shapes, gradients overlap, or KV does not divide H.
#[allow(clippy::too_many_arguments)]
pub fn backward<E: Element>(
    precision: Precision,
    q: Heads<E>,
    k: Heads<E>,
    v: Heads<E>,
    dims: Dims,
    mask: Option<Mask>,
    o: Heads<E>,
    log_sums: &[f32],
    do_: Heads<E>,
    deltas: &mut [f32],
    gradients: Gradients<E>,
) {
    if dims.is_empty() {
        return;
    }
    let len = dims.batch * dims.heads * dims.positions;
    assert!(log_sums.len() == len && deltas.len() == len);
    let micro = Micro::of(precision);
    let pass = Backward {
        precision,
        micro,
        dims,
        mask,
        q,
        k,
        v,
        o,
        do_,
        gradients: SharedGradients::new(gradients, dims),
    };
    let rows = dims.group() * dims.positions;
    deltas
        .par_chunks_exact_mut(rows)
        .zip(log_sums.par_chunks_exact(rows))
        .enumerate()
        .for_each(|(task, (deltas, log_sums))| {
            let (b, kv_head) = (task / dims.kv_heads, task % dims.kv_heads);
            pass.head(b, kv_head, log_sums, deltas);
        });
}

struct Backward<'a, E> {
    precision: Precision,
    micro: &'static Micro,
    dims: Dims,
    mask: Option<Mask>,
    q: Heads<'a, E>,
    k: Heads<'a, E>,
    v: Heads<'a, E>,
    o: Heads<'a, E>,
    do_: Heads<'a, E>,
    gradients: SharedGradients<E>,
}

/// What a task keeps of its key head.
struct Keys<'a> {
    /// Packed right-hand sides: kᵀ and vᵀ for scores, k for dq.
    k_t: &'a [u32],
    v_t: &'a [u32],
    k: &'a [u32],
    /// dkᵀ and dvᵀ so far: a `[width, lanes]` for each panel of keys.
    dk: &'a mut [u32],
    dv: &'a mut [u32],
}

/// The buffers of a block of queries.
struct Block<'a> {
    /// Packed left-hand sides: q and do for scores, their transposes for dk and dv.
    q: &'a mut [u32],
    do_: &'a mut [u32],
    q_t: &'a mut [u32],
    do_t: &'a mut [u32],
    /// Of one panel of keys: scores, then packed weights; gradients of weights, then packed ones of
    /// scores.
    scores: &'a mut [u32],
    dscores: &'a mut [u32],
    /// Of that panel, too: the gradients of scores as pairs of neighbouring keys.
    across: &'a mut [u32],
    /// The gradients of scores of a block of keys, as a packed left-hand side.
    left: &'a mut [u32],
    dq: &'a mut [u32],
}

impl<E: Element> Backward<'_, E> {
    /// Queries start a block, and their rows a sum, at multiples of this.
    fn step(&self) -> usize {
        self.micro.rows
            * if self.micro.rows.is_multiple_of(2) {
                1
            } else {
                2
            }
    }

    fn queries_a_block(&self) -> usize {
        QUERIES.next_multiple_of(self.step())
    }

    fn keys_a_block(&self) -> usize {
        KEYS.next_multiple_of(self.micro.columns)
    }

    /// Units between the tiles of `Block::left`; a transposed copy may write seven too many.
    fn left_stride(&self) -> usize {
        self.micro.units(self.keys_a_block()) * self.micro.rows + 16
    }

    fn head(&self, b: usize, kv_head: usize, log_sums: &[f32], deltas: &mut [f32]) {
        let Dims {
            positions, width, ..
        } = self.dims;
        let (micro, precision) = (self.micro, self.precision);
        let lanes = micro.columns;
        let queries = self.queries_a_block();
        let sums = positions.div_ceil(lanes) * self.sums_len();
        let lens = [
            packed_b_len(micro, width, positions),
            packed_b_len(micro, width, positions),
            packed_b_len(micro, positions, width),
            sums,
            sums,
            packed_a_len(micro, queries, width),
            packed_a_len(micro, queries, width),
            packed_a_len(micro, width, queries),
            packed_a_len(micro, width, queries),
            queries * lanes,
            queries * lanes,
            queries * lanes / 2,
            queries / micro.rows * self.left_stride(),
            queries * width.next_multiple_of(lanes),
            lanes * width.next_multiple_of(8) + 8,
        ];
        with_scratch(lens, |buffers| {
            let [k_t, v_t, k, dk, dv, q, do_, q_t, do_t, rest @ ..] = buffers;
            let [scores, dscores, across, left, dq, turned] = rest;
            let k_rows = self.k.rows(b, kv_head, 0..positions, width);
            let v_rows = self.v.rows(b, kv_head, 0..positions, width);
            pack_b(precision, k_rows.t(), k_t, false);
            pack_b(precision, v_rows.t(), v_t, false);
            pack_b(precision, k_rows, k, false);
            let mut keys = Keys {
                k_t,
                v_t,
                k,
                dk,
                dv,
            };
            let mut block = Block {
                q,
                do_,
                q_t,
                do_t,
                scores,
                dscores,
                across,
                left,
                dq,
            };
            let heads = deltas
                .chunks_exact_mut(positions)
                .zip(log_sums.chunks_exact(positions));
            for (i, (deltas, log_sums)) in heads.enumerate() {
                let head = kv_head * self.dims.group() + i;
                for first in (0..positions).step_by(queries) {
                    let rows = first..(first + queries).min(positions);
                    let (log_sums, deltas) = (&log_sums[rows.clone()], &mut deltas[rows]);
                    self.block(
                        [b, head],
                        first,
                        i == 0,
                        log_sums,
                        deltas,
                        &mut keys,
                        &mut block,
                    );
                }
            }
            let Keys { dk, dv, .. } = keys;
            self.store_keys(
                [b, kv_head],
                dk,
                turned,
                self.dims.scale(),
                &self.gradients.k,
            );
            self.store_keys([b, kv_head], dv, turned, 1.0, &self.gradients.v);
        });
    }

    /// Numbers of dkᵀ of one panel of keys.
    fn sums_len(&self) -> usize {
        self.dims.width.next_multiple_of(self.micro.rows) * self.micro.columns
    }

    /// All that a block of queries adds.
    #[allow(clippy::too_many_arguments)]
    fn block(
        &self,
        place: [usize; 2],
        first: usize,
        first_head: bool,
        log_sums: &[f32],
        deltas: &mut [f32],
        keys: &mut Keys,
        block: &mut Block,
    ) {
        let [b, head] = place;
        let Dims {
            positions, width, ..
        } = self.dims;
        let (micro, precision) = (self.micro, self.precision);
        let (rows, lanes) = (micro.rows, micro.columns);
        let count = log_sums.len();
        let end = first + count;
        for (t, delta) in (first..).zip(&mut *deltas) {
            *delta = dot(
                self.o.row(b, head, t, width),
                self.do_.row(b, head, t, width),
            );
        }
        let q = self.q.rows(b, head, first..end, width);
        let do_ = self.do_.rows(b, head, first..end, width);
        let len = packed_a_len(micro, count, width);
        pack_a(precision, q, &mut block.q[..len]);
        pack_a(precision, do_, &mut block.do_[..len]);
        let len = packed_a_len(micro, width, count);
        pack_a(precision, q.t(), &mut block.q_t[..len]);
        pack_a(precision, do_.t(), &mut block.do_t[..len]);

        let row_len = width.next_multiple_of(lanes);
        let units = micro.units(positions);
        for from in (0..end).step_by(self.keys_a_block()) {
            let to = (from + self.keys_a_block()).min(end);
            for key in (from..to).step_by(lanes) {
                let rows = Rows {
                    log_sums,
                    deltas,
                    dropout: Weights::new(self.mask, self.dims, place, first, key),
                    ahead: first as isize - key as isize,
                    scale: self.dims.scale(),
                };
                // The first block of queries that sees these keys overwrites.
                let add = !first_head || key < first;
                self.panel(rows, from, key, add, keys, block);
            }
            for column in (0..width).step_by(lanes) {
                for r in (0..count).step_by(rows) {
                    // Keys of this block that the tile's last query sees.
                    let seen = to.min(first + r + rows).saturating_sub(from);
                    if seen == 0 {
                        continue;
                    }
                    // SAFETY: `left` holds whole tiles of a block of keys, a panel of k `units` units of
                    // `lanes` of which the block's lie inside, and dq whole tiles.
                    unsafe {
                        let a = block.left.as_ptr().add(r / rows * self.left_stride());
                        let k = column * units + micro.units(from) * lanes;
                        let k = keys.k.as_ptr().add(k);
                        let dq = block.dq.as_mut_ptr().add(r * row_len + column).cast();
                        micro.run(micro.units(seen), a, k, dq, row_len, from > 0);
                    }
                }
            }
        }
        let dq = floats(block.dq);
        for (i, t) in (first..end).enumerate() {
            // SAFETY: this task alone has the query heads of its key head.
            let to = unsafe { self.gradients.q.row(b, head, t) };
            store_row(&dq[i * row_len..][..width], self.dims.scale(), to);
        }
    }

    /// What a block of queries adds to dk and dv of the panel of keys from `key` on; leaves the
    /// gradients of scores in `left`, at their place in the block of keys from `from` on.
    fn panel(
        &self,
        mut rows: Rows,
        from: usize,
        key: usize,
        add: bool,
        keys: &mut Keys,
        block: &mut Block,
    ) {
        let width = self.dims.width;
        let micro = self.micro;
        let lanes = micro.columns;
        let count = rows.log_sums.len();
        // Rows before `start` see none of these keys.
        let start = (-rows.ahead).max(0) as usize / self.step() * self.step();
        let a_row = micro.units(width);
        for r in (start..count).step_by(micro.rows) {
            // SAFETY: r is a whole micro-tile of the block's, `key` a whole panel of the keys',
            // and the tile has room.
            unsafe {
                let (q, do_) = (block.q.as_ptr(), block.do_.as_ptr());
                let (k, v) = (keys.k_t.as_ptr(), keys.v_t.as_ptr());
                let s = block.scores.as_mut_ptr().add(r * lanes).cast();
                let (q, k) = (q.add(r * a_row), k.add(key * a_row));
                micro.run(a_row, q, k, s, lanes, false);
                let dp = block.dscores.as_mut_ptr().add(r * lanes).cast();
                let (do_, v) = (do_.add(r * a_row), v.add(key * a_row));
                micro.run(a_row, do_, v, dp, lanes, false);
            }
        }
        rows.skip(start);
        let scores = &mut block.scores[start * lanes..];
        let dscores = &mut block.dscores[start * lanes..];
        score_gradients(micro, scores, dscores, block.across, &rows);

        let (across, stride) = if micro.paired {
            (&*block.across, lanes / 2)
        } else {
            (&*dscores, lanes)
        };
        for r in (start..count).step_by(micro.rows) {
            let to = r / micro.rows * self.left_stride() + micro.units(key - from) * micro.rows;
            let shape = [micro.rows, micro.units(lanes)];
            let across = &across[(r - start) * stride..];
            transpose(across, stride, shape, &mut block.left[to..], micro.rows);
        }

        // Rows before `start` are left out of the sums; `start` is even.
        let units = micro.units(count);
        let skipped = micro.units(start);
        let sums = key / lanes * self.sums_len();
        for i in (0..width).step_by(micro.rows) {
            let a = i * units + skipped * micro.rows;
            // SAFETY: panels of `units` units, of which the last `units − skipped` are used; the
            // sums have whole tiles.
            unsafe {
                let (do_, q) = (block.do_t.as_ptr().add(a), block.q_t.as_ptr().add(a));
                let dv = keys.dv.as_mut_ptr().add(sums + i * lanes).cast();
                micro.run(units - skipped, do_, scores.as_ptr(), dv, lanes, add);
                let dk = keys.dk.as_mut_ptr().add(sums + i * lanes).cast();
                micro.run(units - skipped, q, dscores.as_ptr(), dk, lanes, add);
            }
        }
    }

    /// Turns the panels of dkᵀ or dvᵀ into rows of their head.
    fn store_keys(
        &self,
        [b, head]: [usize; 2],
        sums: &[u32],
        turned: &mut [u32],
        factor: f32,
        to: &Shared<E>,
    ) {
        let Dims {
            positions, width, ..
        } = self.dims;
        let lanes = self.micro.columns;
        let row_len = width.next_multiple_of(8);
        let panels = sums.chunks_exact(self.sums_len());
        for (sums, first) in panels.zip((0..positions).step_by(lanes)) {
            transpose(sums, lanes, [width, lanes], turned, row_len);
            let turned = floats(turned);
            for t in first..(first + lanes).min(positions) {
                // SAFETY: this task alone has this key head.
                let to = unsafe { to.row(b, head, t) };
                store_row(&turned[(t - first) * row_len..][..width], factor, to);
            }
        }
    }
}
