//! The linear layer over rows of f32. The four products read the weight as it lies: no
//! transposed copies. `dims` is always `[inputs, outputs]`.

use super::WeightLayout;
use crate::ops::cpu::gemm::{Matrix, MatrixMut, Store, gemm};
use rayon::prelude::*;

/// Rows a task, where rows are added up.
const BLOCK: usize = 64;

/// How many rows of partial sums [`bias_gradient`] writes for `rows` rows.
pub(super) fn blocks(rows: usize) -> usize {
    rows.div_ceil(BLOCK)
}

/// The weight as an `[in, out]` matrix.
fn in_out(weight: &[f32], layout: WeightLayout, [inputs, outputs]: [usize; 2]) -> Matrix<'_> {
    match layout {
        WeightLayout::OutIn => Matrix::dense(weight, outputs, inputs).t(),
        WeightLayout::InOut => Matrix::dense(weight, inputs, outputs),
    }
}

/// `y [N, out] = x [N, in]·W + b`.
pub(super) fn forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    layout: WeightLayout,
    dims: [usize; 2],
    y: &mut [f32],
) {
    let [inputs, outputs] = dims;
    let rows = x.len() / inputs;
    let mut store = Store::Overwrite;
    if let Some(bias) = bias {
        y.par_chunks_mut(BLOCK * outputs).for_each(|y| {
            for y in y.chunks_exact_mut(outputs) {
                y.copy_from_slice(bias);
            }
        });
        store = Store::Add;
    }
    gemm(
        MatrixMut::dense(y, rows, outputs),
        store,
        1.0,
        Matrix::dense(x, rows, inputs),
        in_out(weight, layout, dims),
        true,
    );
}

/// `dx [N, in] = dy·Wᵀ`.
pub(super) fn input_gradient(
    dy: &[f32],
    weight: &[f32],
    layout: WeightLayout,
    dims: [usize; 2],
    dx: &mut [f32],
) {
    let [inputs, outputs] = dims;
    let rows = dy.len() / outputs;
    gemm(
        MatrixMut::dense(dx, rows, inputs),
        Store::Overwrite,
        1.0,
        Matrix::dense(dy, rows, outputs),
        in_out(weight, layout, dims).t(),
        true,
    );
}

/// `dW = dyᵀ·x`, or its transposed where the weight is stored so.
pub(super) fn weight_gradient(
    dy: &[f32],
    x: &[f32],
    layout: WeightLayout,
    [inputs, outputs]: [usize; 2],
    dweight: &mut [f32],
) {
    let rows = dy.len() / outputs;
    let dy = Matrix::dense(dy, rows, outputs);
    let x = Matrix::dense(x, rows, inputs);
    let (out, a, b) = match layout {
        WeightLayout::OutIn => (MatrixMut::dense(dweight, outputs, inputs), dy.t(), x),
        WeightLayout::InOut => (MatrixMut::dense(dweight, inputs, outputs), x.t(), dy),
    };
    gemm(out, Store::Overwrite, 1.0, a, b, true);
}

/// One row of `partials [blocks(N), out]` a block of rows, whose sum is the bias's gradient.
/// `partials` comes in as zeros.
pub(super) fn bias_gradient(dy: &[f32], outputs: usize, partials: &mut [f32]) {
    partials
        .par_chunks_mut(outputs)
        .zip(dy.par_chunks(BLOCK * outputs))
        .for_each(|(partial, dy)| {
            for dy in dy.chunks_exact(outputs) {
                for (sum, dy) in partial.iter_mut().zip(dy) {
                    *sum += dy;
                }
            }
        });
}
