//! Forward: a task goes through query panels of the heads that share a key head.
//!
//! Scores are computed transposed, sᵀ = k·qᵀ, with a query a lane: maxima and sums then need no
//! step across lanes, and the weights come out as the packed right-hand side of oᵀ = vᵀ·pᵀ.

use super::heads::Shared;
use super::lanes::{Weights, scale_lanes, store_row};
use super::scratch::{floats, with_scratch};
use super::softmax::{Block, Running, softmax_block};
use super::transpose::transpose;
use super::{Dims, Heads, HeadsMut};
use crate::kernels::dropout::Mask;
use crate::kernels::element::Element;
use crate::kernels::gemm::pack::{packed_a_len, packed_b_len};
use crate::kernels::gemm::{Micro, Precision, pack_a, pack_b};
use rayon::prelude::*;

/// Keys a block, before rounding up to whole micro-tiles: their scores stay in the L1 cache.
const KEYS: usize = 192;

/// Work is cut into at least this many tasks, if it is large enough.
const TASKS: usize = 32;

/// `o [B, T, H, width]` and the logarithms of the rows' sums, `log_sums [B, H, T]`. Dropout acts on
/// the weights, indexed as a dense `[B, H, T, T]`.
///
/// # Panics
/// Slices do not hold their shapes, heads of `o` overlap, or KV does not divide H.
#[allow(clippy::too_many_arguments)]
pub fn forward<E: Element>(
    precision: Precision,
    q: Heads<E>,
    k: Heads<E>,
    v: Heads<E>,
    dims: Dims,
    mask: Option<Mask>,
    o: HeadsMut<E>,
    log_sums: &mut [f32],
) {
    if dims.is_empty() {
        return;
    }
    let Dims {
        batch,
        positions,
        heads,
        kv_heads,
        width,
    } = dims;
    let micro = Micro::of(precision);
    assert_eq!(log_sums.len(), batch * heads * positions);
    let log_sums = HeadsMut {
        data: log_sums,
        batch_stride: heads * positions,
        position_stride: 1,
        head_stride: positions,
    };
    let pass = Forward {
        precision,
        micro,
        dims,
        mask,
        q,
        k,
        v,
        o: Shared::new(o, [batch, positions, heads, width]),
        log_sums: Shared::new(log_sums, [batch, positions, heads, 1]),
    };
    // Each task packs the keys of its head: no more tasks a head than needed.
    let panels = positions.div_ceil(micro.columns);
    let parts = TASKS.div_ceil(batch * kv_heads).min(panels);
    (0..batch * kv_heads * parts)
        .into_par_iter()
        .for_each(|task| {
            let (head, part) = (task / parts, task % parts);
            pass.head(head / kv_heads, head % kv_heads, part, parts);
        });
}

struct Forward<'a, E> {
    precision: Precision,
    micro: &'static Micro,
    dims: Dims,
    mask: Option<Mask>,
    q: Heads<'a, E>,
    k: Heads<'a, E>,
    v: Heads<'a, E>,
    o: Shared<E>,
    log_sums: Shared<f32>,
}

/// The buffers of a query panel.
struct Panel<'a> {
    /// qᵀ, packed.
    q: &'a mut [u32],
    /// Raw scores, then packed weights.
    scores: &'a mut [u32],
    /// oᵀ.
    sums: &'a mut [u32],
    /// o.
    rows: &'a mut [u32],
    lanes: &'a mut [u32],
}

impl<E: Element> Forward<'_, E> {
    fn keys_a_block(&self) -> usize {
        KEYS.next_multiple_of(2 * self.micro.rows)
    }

    /// Numbers of a row of o in the scratch.
    fn row_len(&self) -> usize {
        self.dims.width.next_multiple_of(8)
    }

    /// Every `parts`-th query panel from `part` on, of all query heads of a key head.
    fn head(&self, b: usize, kv_head: usize, part: usize, parts: usize) {
        let Dims {
            positions, width, ..
        } = self.dims;
        let micro = self.micro;
        let lanes = micro.columns;
        let lens = [
            packed_a_len(micro, positions, width),
            packed_a_len(micro, width, positions),
            packed_b_len(micro, width, lanes),
            self.keys_a_block() * lanes,
            width.next_multiple_of(micro.rows) * lanes,
            self.row_len() * lanes + 8,
            3 * lanes,
        ];
        with_scratch(lens, |[k, v, q, scores, sums, rows, state]| {
            let keys = self.k.rows(b, kv_head, 0..positions, width);
            pack_a(self.precision, keys, k);
            let values = self.v.rows(b, kv_head, 0..positions, width);
            pack_a(self.precision, values.t(), v);
            let mut panel = Panel {
                q,
                scores,
                sums,
                rows,
                lanes: state,
            };
            let group = self.dims.group();
            for head in kv_head * group..(kv_head + 1) * group {
                for first in (part * lanes..positions).step_by(parts * lanes) {
                    self.panel([b, head], first, k, v, &mut panel);
                }
            }
        });
    }

    fn panel(&self, place: [usize; 2], first: usize, k: &[u32], v: &[u32], panel: &mut Panel) {
        let [b, head] = place;
        let Dims {
            positions, width, ..
        } = self.dims;
        let micro = self.micro;
        let lanes = micro.columns;
        let end = (first + lanes).min(positions);
        let queries = self.q.rows(b, head, first..end, width);
        pack_b(self.precision, queries.t(), panel.q, false);

        let (highest, rest) = floats(panel.lanes).split_at_mut(lanes);
        let (total, decay) = rest.split_at_mut(lanes);
        let mut running = Running {
            highest,
            total,
            decay,
            dropout: Weights::new(self.mask, self.dims, place, first, 0),
        };
        let units_a_row = micro.units(width);
        let units = micro.units(positions);
        for from in (0..end).step_by(self.keys_a_block()) {
            let keys = self.keys_a_block().min(end - from);
            for r in (0..keys).step_by(micro.rows) {
                // SAFETY: `from` and `r` are whole micro-tiles, and the panels of k reach beyond
                // every key; the scores have room for a block of whole tiles.
                unsafe {
                    let k = k.as_ptr().add((from + r) * units_a_row);
                    let scores = panel.scores.as_mut_ptr().add(r * lanes).cast();
                    micro.run(units_a_row, k, panel.q.as_ptr(), scores, lanes, false);
                }
            }
            let block = Block {
                first_key: from,
                keys,
                ahead: first as isize + 1 - from as isize,
                scale: self.dims.scale(),
            };
            let decays = softmax_block(micro, panel.scores, block, &mut running);
            if from > 0 && decays {
                scale_lanes(floats(panel.sums), running.decay);
            }
            for i in (0..width).step_by(micro.rows) {
                // SAFETY: a panel of v has `units` units of `rows`, of which the block's lie
                // inside; the sums have whole tiles.
                unsafe {
                    let v = v.as_ptr().add(i * units + micro.units(from) * micro.rows);
                    let sums = panel.sums.as_mut_ptr().add(i * lanes).cast();
                    let p = panel.scores.as_ptr();
                    micro.run(micro.units(keys), v, p, sums, lanes, from > 0);
                }
            }
        }

        let row_len = self.row_len();
        transpose(panel.sums, lanes, [width, lanes], panel.rows, row_len);
        let rows = floats(panel.rows);
        for (i, t) in (first..end).enumerate() {
            // SAFETY: this task alone has these positions of this head.
            let (o, log_sum) = unsafe { (self.o.row(b, head, t), self.log_sums.row(b, head, t)) };
            store_row(&rows[i * row_len..][..width], 1.0 / running.total[i], o);
            log_sum[0] = running.highest[i] + running.total[i].ln();
        }
    }
}
