//! The linear layer over rows of f32. The four products read the weight as it lies: no
//! transposed copies. Products make their own results, so as not to write zeros first. `dims` is
//! always `[inputs, outputs]`.

use super::WeightLayout;
use crate::ops::cpu::gemm::{Matrix, MatrixMut, Store, gemm, product};
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
) -> Vec<f32> {
    let [inputs, outputs] = dims;
    let rows = x.len() / inputs;
    let x = Matrix::dense(x, rows, inputs);
    let weight = in_out(weight, layout, dims);
    let Some(bias) = bias else {
        return product(x, weight);
    };
    let mut y = bias.repeat(rows);
    let y_no = MatrixMut::dense(&mut y, rows, outputs);
    gemm(y_no, Store::Add, 1.0, x, weight, true);
    y
}

/// `dx [N, in] = dy·Wᵀ`.
pub(super) fn input_gradient(
    dy: &[f32],
    weight: &[f32],
    layout: WeightLayout,
    dims: [usize; 2],
) -> Vec<f32> {
    let [_, outputs] = dims;
    let dy = Matrix::dense(dy, dy.len() / outputs, outputs);
    product(dy, in_out(weight, layout, dims).t())
}

/// `dW = dyᵀ·x`, or its transposed where the weight is stored so.
pub(super) fn weight_gradient(
    dy: &[f32],
    x: &[f32],
    layout: WeightLayout,
    [inputs, outputs]: [usize; 2],
) -> Vec<f32> {
    let rows = dy.len() / outputs;
    let dy = Matrix::dense(dy, rows, outputs);
    let x = Matrix::dense(x, rows, inputs);
    match layout {
        WeightLayout::OutIn => product(dy.t(), x),
        WeightLayout::InOut => product(x.t(), dy),
    }
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
