//! Attention over blocks of queries. A block's scores against all keys that any of its queries
//! sees stay in a thread's scratch; the masked triangle beyond them is never computed.
//!
//! Forward runs a task a (sequence, query head); backward a task a (sequence, key head), which
//! goes through all query heads of that key head, so that dK and dV have one writer.

use crate::kernels::dropout::Mask;
use crate::kernels::simd::{exp_in_place, max, scale_in_place, simd, sum};
use crate::ops::cpu::gemm::{Matrix, MatrixMut, Store, gemm};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Queries a block.
const BLOCK: usize = 64;

thread_local! {
    /// Scores of a block and, in backward, their gradients; grows to the longest sequence seen.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Sizes: B, T, H, KV and hd.
#[derive(Clone, Copy)]
pub(super) struct Dims {
    pub(super) batch: usize,
    pub(super) positions: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) width: usize,
}

impl Dims {
    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The blocks of queries.
    fn blocks(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.positions)
            .step_by(BLOCK)
            .map(move |start| start..(start + BLOCK).min(self.positions))
    }
}

/// `[B, T, heads, hd]` with strides; a head's numbers are consecutive.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    pub(super) data: &'a [f32],
    pub(super) batch_stride: usize,
    pub(super) position_stride: usize,
    pub(super) head_stride: usize,
}

impl<'a> Heads<'a> {
    /// `[B, T, heads, hd]` without gaps.
    fn dense(data: &'a [f32], heads: usize, dims: Dims) -> Self {
        Self {
            data,
            batch_stride: dims.positions * heads * dims.width,
            position_stride: heads * dims.width,
            head_stride: dims.width,
        }
    }

    /// One head of one sequence at some positions, `[positions, hd]`.
    fn rows(&self, b: usize, head: usize, positions: Range<usize>, width: usize) -> Matrix<'a> {
        let start = b * self.batch_stride
            + head * self.head_stride
            + positions.start * self.position_stride;
        Matrix::new(
            &self.data[start..],
            positions.len(),
            width,
            self.position_stride,
        )
    }
}

/// A dense `[B, T, heads, hd]` that many tasks write, each the heads that are its own.
#[derive(Clone, Copy)]
struct SharedHeads {
    data: *mut f32,
    heads: usize,
    dims: Dims,
}

// SAFETY: every use of the pointer goes through `rows`, whose callers own disjoint heads.
unsafe impl Send for SharedHeads {}
unsafe impl Sync for SharedHeads {}

impl SharedHeads {
    fn new(data: &mut [f32], heads: usize, dims: Dims) -> Self {
        assert_eq!(data.len(), dims.batch * dims.positions * heads * dims.width);
        Self {
            data: data.as_mut_ptr(),
            heads,
            dims,
        }
    }

    /// One head of one sequence at some positions, `[positions, hd]`.
    ///
    /// # Safety
    /// The slice must outlive the result, and no two results may share a head at a time.
    unsafe fn rows<'a>(&self, b: usize, head: usize, positions: Range<usize>) -> MatrixMut<'a> {
        let width = self.dims.width;
        assert!(b < self.dims.batch && head < self.heads && positions.end <= self.dims.positions);
        let row = (b * self.dims.positions + positions.start) * self.heads + head;
        // SAFETY: inside the slice, by the assertions here and in `new`.
        unsafe {
            MatrixMut::from_raw(
                self.data.add(row * width),
                positions.len(),
                width,
                self.heads * width,
            )
        }
    }
}

/// `o [B, T, H, hd]` and `log_sums [B, H, T]`.
pub(super) fn forward(
    q: Heads,
    k: Heads,
    v: Heads,
    dims: Dims,
    mask: Option<Mask>,
    o: &mut [f32],
    log_sums: &mut [f32],
) {
    let o = SharedHeads::new(o, dims.heads, dims);
    log_sums
        .par_chunks_mut(dims.positions)
        .enumerate()
        .for_each(|(task, log_sums)| {
            let (b, head) = (task / dims.heads, task % dims.heads);
            with_scratch(BLOCK * dims.positions, |scratch| {
                for block in dims.blocks() {
                    let log_sums = &mut log_sums[block.clone()];
                    // SAFETY: this task alone has head `head` of sequence `b`.
                    let o = unsafe { o.rows(b, head, block.clone()) };
                    forward_block(q, k, v, dims, mask, [b, head], block, scratch, o, log_sums);
                }
            });
        });
}

#[allow(clippy::too_many_arguments)]
fn forward_block(
    q: Heads,
    k: Heads,
    v: Heads,
    dims: Dims,
    mask: Option<Mask>,
    [b, head]: [usize; 2],
    block: Range<usize>,
    scratch: &mut [f32],
    o: MatrixMut,
    log_sums: &mut [f32],
) {
    let kv_head = head / (dims.heads / dims.kv_heads);
    let (rows, keys) = (block.len(), block.end);
    let q = q.rows(b, head, block.clone(), dims.width);
    let k = k.rows(b, kv_head, 0..keys, dims.width);
    let v = v.rows(b, kv_head, 0..keys, dims.width);
    let scale = dims.scale();
    let weights = &mut scratch[..rows * keys];
    let scores = MatrixMut::dense(weights, rows, keys);
    gemm(scores, Store::Overwrite, 1.0, q, k.t(), false);
    for ((row, log_sum), t) in weights.chunks_exact_mut(keys).zip(log_sums).zip(block) {
        let (seen, future) = row.split_at_mut(t + 1);
        let highest = scale * max(seen);
        let total = exp_in_place(seen, scale, highest);
        scale_in_place(seen, 1.0 / total);
        if let Some(mask) = mask {
            drop_row(seen, mask, first_index(dims, [b, head], t));
        }
        future.fill(0.0);
        *log_sum = highest + total.ln();
    }
    let weights = Matrix::dense(weights, rows, keys);
    gemm(o, Store::Overwrite, 1.0, weights, v, false);
}

/// The gradients to fill; they come in as zeros.
pub(super) struct Gradients<'a> {
    /// `[B, T, H, hd]`.
    pub(super) dq: &'a mut [f32],
    /// `[B, T, KV, hd]`.
    pub(super) dk: &'a mut [f32],
    /// `[B, T, KV, hd]`.
    pub(super) dv: &'a mut [f32],
}

/// Gradients from those of the output, `do_ [B, T, H, hd]`, the output `o` and the `log_sums`
/// that forward left.
#[allow(clippy::too_many_arguments)]
pub(super) fn backward(
    q: Heads,
    k: Heads,
    v: Heads,
    o: &[f32],
    do_: &[f32],
    log_sums: &[f32],
    dims: Dims,
    mask: Option<Mask>,
    gradients: Gradients,
) {
    let dq = SharedHeads::new(gradients.dq, dims.heads, dims);
    let dk = SharedHeads::new(gradients.dk, dims.kv_heads, dims);
    let dv = SharedHeads::new(gradients.dv, dims.kv_heads, dims);
    let group = dims.heads / dims.kv_heads;
    (0..dims.batch * dims.kv_heads)
        .into_par_iter()
        .for_each(|task| {
            let (b, kv_head) = (task / dims.kv_heads, task % dims.kv_heads);
            with_scratch(2 * BLOCK * dims.positions, |scratch| {
                for head in kv_head * group..(kv_head + 1) * group {
                    for block in dims.blocks() {
                        let seen = 0..block.end;
                        // SAFETY: this task alone has key head `kv_head` of sequence `b` and
                        // the query heads that share it.
                        let (dq, dk, dv) = unsafe {
                            (
                                dq.rows(b, head, block.clone()),
                                dk.rows(b, kv_head, seen.clone()),
                                dv.rows(b, kv_head, seen.clone()),
                            )
                        };
                        let log_sums = &log_sums[(b * dims.heads + head) * dims.positions..];
                        let place = Place {
                            b,
                            head,
                            kv_head,
                            block,
                        };
                        backward_block(
                            [q, k, v],
                            [o, do_],
                            log_sums,
                            dims,
                            mask,
                            place,
                            scratch,
                            [dq, dk, dv],
                        );
                    }
                }
            });
        });
}

/// Which block of queries of which head.
struct Place {
    b: usize,
    head: usize,
    kv_head: usize,
    block: Range<usize>,
}

#[allow(clippy::too_many_arguments)]
fn backward_block(
    [q, k, v]: [Heads; 3],
    [o, do_]: [&[f32]; 2],
    log_sums: &[f32],
    dims: Dims,
    mask: Option<Mask>,
    place: Place,
    scratch: &mut [f32],
    [dq, dk, dv]: [MatrixMut; 3],
) {
    let Place {
        b,
        head,
        kv_head,
        block,
    } = place;
    let (rows, keys, width) = (block.len(), block.end, dims.width);
    let scale = dims.scale();
    let q = q.rows(b, head, block.clone(), width);
    let k = k.rows(b, kv_head, 0..keys, width);
    let v = v.rows(b, kv_head, 0..keys, width);
    let do_block = Heads::dense(do_, dims.heads, dims).rows(b, head, block.clone(), width);
    let (weights, dscores) = scratch[..2 * rows * keys].split_at_mut(rows * keys);

    let scores = MatrixMut::dense(weights, rows, keys);
    gemm(scores, Store::Overwrite, 1.0, q, k.t(), false);
    let dweights = MatrixMut::dense(dscores, rows, keys);
    gemm(dweights, Store::Overwrite, 1.0, do_block, v.t(), false);
    let pairs = weights
        .chunks_exact_mut(keys)
        .zip(dscores.chunks_exact_mut(keys));
    for ((weights, dscores), t) in pairs.zip(block) {
        let (weights, future) = weights.split_at_mut(t + 1);
        future.fill(0.0);
        exp_in_place(weights, scale, log_sums[t]);
        let (dscores, future) = dscores.split_at_mut(t + 1);
        future.fill(0.0);
        // Σⱼ pⱼ·dpⱼ, by way of the output: dropout has already had its say there.
        let row = ((b * dims.positions + t) * dims.heads + head) * width;
        let row = row..row + width;
        let delta = sum([&o[row.clone()], &do_[row]], |[o, do_]| o * do_);
        match mask {
            None => dscore_row(weights, dscores, delta),
            Some(mask) => {
                let first = first_index(dims, [b, head], t);
                dscore_row_dropped(weights, dscores, delta, mask, first);
            }
        }
    }

    let weights = Matrix::dense(weights, rows, keys);
    let dscores = Matrix::dense(dscores, rows, keys);
    gemm(dv, Store::Add, 1.0, weights.t(), do_block, false);
    gemm(dk, Store::Add, scale, dscores.t(), q, false);
    gemm(dq, Store::Overwrite, scale, dscores, k, false);
}

simd! {
    /// `dscores` holds the weights' gradients dp and becomes `p·(dp − delta)`.
    fn dscore_row<_FMA>(weights: &[f32], dscores: &mut [f32], delta: f32) {
        for (p, d) in weights.iter().zip(dscores) {
            *d = p * (*d - delta);
        }
    }
}

simd! {
    /// As [`dscore_row`] where the weights were dropped; they are once more.
    fn dscore_row_dropped<_FMA>(
        weights: &mut [f32],
        dscores: &mut [f32],
        delta: f32,
        mask: Mask,
        first: u64,
    ) {
        let factors = mask.starting_at(first);
        for (j, (p, d)) in weights.iter_mut().zip(dscores).enumerate() {
            let factor = factors.get(j as u32);
            *d = *p * (*d * factor - delta);
            *p *= factor;
        }
    }
}

simd! {
    fn drop_row<_FMA>(weights: &mut [f32], mask: Mask, first: u64) {
        let factors = mask.starting_at(first);
        for (j, p) in weights.iter_mut().enumerate() {
            *p *= factors.get(j as u32);
        }
    }
}

/// The index, for dropout, of the weight of query `t` and key 0.
fn first_index(dims: Dims, [b, head]: [usize; 2], t: usize) -> u64 {
    (((b * dims.heads + head) * dims.positions + t) * dims.positions) as u64
}

/// Runs `f` with this thread's scratch of at least `len` numbers, whatever they are.
fn with_scratch(len: usize, f: impl FnOnce(&mut [f32])) {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        f(scratch);
    });
}
