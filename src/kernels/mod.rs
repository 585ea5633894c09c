//! Arithmetic of the training step over slices: products, attention, norms, activations, losses,
//! updates. Pure functions that know neither tensors nor models; each states formula and cost.
//!
//! Numbers are stored as [`element::Element`]s (f32, or bf16 where a step runs in mixed
//! precision) and computed in f32. Work is cut into blocks by shapes alone, so that results do
//! not depend on the number of threads.

pub mod activation;
pub mod attention;
pub mod cpu;
pub mod dropout;
pub mod element;
#[cfg(test)]
pub(crate) mod emulated;
pub mod finish;
pub mod gemm;
pub mod loss;
pub mod norm;
pub mod reduce;
pub mod rope;
pub mod shared;
pub mod simd;
pub mod table;
pub mod update;

use element::Element;
use gemm::Matrix;

/// How a weight matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, one row an output: `torch.nn.Linear`, Llama.
    OutIn,
    /// `[in, out]`, one row an input: GPT-2's `Conv1D`.
    InOut,
}

impl WeightLayout {
    /// A weight as the matrix `[in, out]`.
    pub fn in_out<E: Element>(self, weight: &[E], inputs: usize, outputs: usize) -> Matrix<'_, E> {
        match self {
            WeightLayout::OutIn => Matrix::dense(weight, outputs, inputs).t(),
            WeightLayout::InOut => Matrix::dense(weight, inputs, outputs),
        }
    }
}
