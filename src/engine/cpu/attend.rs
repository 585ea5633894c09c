//! Attention on rows of queries, keys and values.

use super::{Batch, Run, mask};
use crate::engine::program::{Buf, Op};
use crate::kernels::attention::{self, Dims, Gradients, Heads, HeadsMut};
use crate::kernels::element::Element;

impl Run<'_> {
    pub(super) fn attend<E: Element>(&self, op: &Op, batch: &Batch) {
        let (arena, s) = (self.arena, &self.program.sizes);
        let dims = Dims {
            batch: s.batch,
            positions: s.positions,
            heads: s.heads,
            kv_heads: s.kv_heads,
            width: s.head_dim,
        };
        let (k_offset, v_offset) = (s.heads * s.head_dim, (s.heads + s.kv_heads) * s.head_dim);
        let parts = |qkv: Buf| {
            let data = arena.read::<E>(qkv);
            [0, k_offset, v_offset]
                .map(|offset| heads(&data[offset..], s.positions, s.qkv(), s.head_dim))
        };
        let row = s.heads * s.head_dim;
        let dense = |buf: Buf| heads(arena.read::<E>(buf), s.positions, row, s.head_dim);
        match *op {
            Op::Attention {
                qkv,
                out,
                log_sums,
                site,
            } => {
                let [q, k, v] = parts(qkv);
                let o = HeadsMut {
                    data: arena.write::<E>(out),
                    batch_stride: s.positions * row,
                    position_stride: row,
                    head_stride: s.head_dim,
                };
                let (mask, log_sums) = (mask(batch, site), arena.write(log_sums));
                attention::forward(self.precision, q, k, v, dims, mask, o, log_sums);
            }
            Op::AttentionBack {
                qkv,
                out,
                log_sums,
                dout,
                deltas,
                dqkv,
                site,
            } => {
                let [q, k, v] = parts(qkv);
                let gradients = Gradients {
                    data: arena.write::<E>(dqkv),
                    q_offset: 0,
                    k_offset,
                    v_offset,
                    batch_stride: q.batch_stride,
                    position_stride: q.position_stride,
                    head_stride: q.head_stride,
                };
                let (o, do_, deltas) = (dense(out), dense(dout), arena.write(deltas));
                let (mask, log_sums) = (mask(batch, site), arena.read(log_sums));
                attention::backward(
                    self.precision,
                    q,
                    k,
                    v,
                    dims,
                    mask,
                    o,
                    log_sums,
                    do_,
                    deltas,
                    gradients,
                );
            }
            _ => unreachable!("not attention"),
        }
    }
}

/// Heads in rows of `row` numbers a token.
fn heads<E>(data: &[E], positions: usize, row: usize, width: usize) -> Heads<'_, E> {
    Heads {
        data,
        batch_stride: positions * row,
        position_stride: row,
        head_stride: width,
    }
}
