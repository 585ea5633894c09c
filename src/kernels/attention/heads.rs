//! Strided views of heads: what many tasks read, and what each writes its own part of.

use super::Dims;
use crate::kernels::element::Element;
use crate::kernels::gemm::Matrix;
use std::ops::Range;

/// `[B, T, heads, width]` with strides in elements; a head's numbers are consecutive.
#[derive(Clone, Copy)]
pub struct Heads<'a, E> {
    pub data: &'a [E],
    pub batch_stride: usize,
    pub position_stride: usize,
    pub head_stride: usize,
}

/// As [`Heads`], to be written. No two heads may overlap.
pub struct HeadsMut<'a, E> {
    pub data: &'a mut [E],
    pub batch_stride: usize,
    pub position_stride: usize,
    pub head_stride: usize,
}

/// The gradients of q, k and v, in one slice and with the same strides. Usually
/// `[B, T, (H + 2·KV)·width]`.
pub struct Gradients<'a, E> {
    pub data: &'a mut [E],
    pub q_offset: usize,
    pub k_offset: usize,
    pub v_offset: usize,
    pub batch_stride: usize,
    pub position_stride: usize,
    pub head_stride: usize,
}

impl<'a, E: Element> Heads<'a, E> {
    /// One head of one sequence at some positions, `[positions, width]`.
    pub(super) fn rows(
        &self,
        b: usize,
        head: usize,
        positions: Range<usize>,
        width: usize,
    ) -> Matrix<'a, E> {
        let start = b * self.batch_stride
            + head * self.head_stride
            + positions.start * self.position_stride;
        let data = &self.data[start..];
        Matrix::new(data, positions.len(), width, self.position_stride)
    }

    /// One head's numbers.
    pub(super) fn row(&self, b: usize, head: usize, position: usize, width: usize) -> &'a [E] {
        let start =
            b * self.batch_stride + head * self.head_stride + position * self.position_stride;
        &self.data[start..start + width]
    }
}

/// `[B, T, heads, width]` that many tasks write, each the heads that are its own.
pub(super) struct Shared<E> {
    data: *mut E,
    batch_stride: usize,
    position_stride: usize,
    head_stride: usize,
    /// B, T, heads, width.
    shape: [usize; 4],
}

// SAFETY: every use of the pointer goes through `row`, whose callers own disjoint heads.
unsafe impl<E: Send> Send for Shared<E> {}
// SAFETY: as above.
unsafe impl<E: Send> Sync for Shared<E> {}

impl<E> Shared<E> {
    /// # Panics
    /// The slice is too short, or heads overlap.
    pub(super) fn new(heads: HeadsMut<E>, shape: [usize; 4]) -> Self {
        let HeadsMut {
            data,
            batch_stride,
            position_stride,
            head_stride,
        } = heads;
        let shared = Shared {
            data: data.as_mut_ptr(),
            batch_stride,
            position_stride,
            head_stride,
            shape,
        };
        assert!(shared.span() <= data.len(), "the heads exceed their slice");
        shared.assert_disjoint();
        shared
    }

    /// One past the last element.
    fn span(&self) -> usize {
        let [b, t, heads, width] = self.shape;
        (b - 1) * self.batch_stride
            + (t - 1) * self.position_stride
            + (heads - 1) * self.head_stride
            + width
    }

    /// Sorted by stride, each axis must step over all that the axes before it cover.
    fn assert_disjoint(&self) {
        let [b, t, heads, width] = self.shape;
        let mut axes = [
            (self.batch_stride, b),
            (self.position_stride, t),
            (self.head_stride, heads),
        ];
        axes.sort_unstable();
        let mut covered = width;
        for (stride, len) in axes.into_iter().filter(|&(_, len)| len > 1) {
            assert!(stride >= covered, "heads to write overlap");
            covered += (len - 1) * stride;
        }
    }

    /// # Safety
    /// While the result is in use, nobody else may use this head of this position.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn row(&self, b: usize, head: usize, position: usize) -> &mut [E] {
        let [batch, positions, heads, width] = self.shape;
        assert!(b < batch && head < heads && position < positions);
        let start =
            b * self.batch_stride + position * self.position_stride + head * self.head_stride;
        // SAFETY: inside the slice, by `new` and the assertion; nobody else's, by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), width) }
    }
}

/// The three gradients, each to be written head by head.
pub(super) struct SharedGradients<E> {
    pub(super) q: Shared<E>,
    pub(super) k: Shared<E>,
    pub(super) v: Shared<E>,
}

impl<E> SharedGradients<E> {
    /// # Panics
    /// The slice is too short, or two heads overlap.
    pub(super) fn new(gradients: Gradients<E>, dims: Dims) -> Self {
        let Gradients {
            data,
            q_offset,
            k_offset,
            v_offset,
            batch_stride,
            position_stride,
            head_stride,
        } = gradients;
        let data_len = data.len();
        let data = data.as_mut_ptr();
        let view = |offset: usize, heads: usize| {
            let mut shared = Shared {
                data,
                batch_stride,
                position_stride,
                head_stride,
                shape: [dims.batch, dims.positions, heads, dims.width],
            };
            assert!(
                offset + shared.span() <= data_len,
                "gradients exceed their slice"
            );
            shared.assert_disjoint();
            // SAFETY: inside the slice, by the assertion.
            shared.data = unsafe { data.add(offset) };
            shared
        };
        let q = view(q_offset, dims.heads);
        let k = view(k_offset, dims.kv_heads);
        let v = view(v_offset, dims.kv_heads);
        // Apart as a whole, or side by side within each position.
        let parts = [(q_offset, &q), (k_offset, &k), (v_offset, &v)];
        let row = |i: usize| {
            let (start, part) = parts[i];
            start..start + (part.shape[2] - 1) * head_stride + dims.width
        };
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            let apart = |a: Range<usize>, b: Range<usize>| a.end <= b.start || b.end <= a.start;
            let whole = |i: usize| parts[i].0..parts[i].0 + parts[i].1.span();
            let (a, b) = (row(i), row(j));
            let both = a.end.max(b.end) - a.start.min(b.start);
            let rows = (dims.positions - 1) * position_stride + both;
            let beside = apart(a, b)
                && (dims.positions == 1 || both <= position_stride)
                && (dims.batch == 1 || rows <= batch_stride);
            assert!(apart(whole(i), whole(j)) || beside, "gradients overlap");
        }
        SharedGradients { q, k, v }
    }
}
