//! Linear layer: `y = x·Wᵀ + b` (weights stored `[out, in]`, as `torch.nn.Linear` does) or
//! `y = x·W + b` (`[in, out]`, as GPT-2's `Conv1D` does).
//!
//! Cost for N rows: 2·N·in·out FLOPs forward, twice that backward.

pub mod composition;

use candle_core::{Result, Tensor, bail};

/// How a weight matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// `[out, in]`, one row an output: `torch.nn.Linear`, Llama.
    OutIn,
    /// `[in, out]`, one row an input: GPT-2's `Conv1D`.
    InOut,
}

/// `x [.., in]`, `weight` as `layout` says, `bias [out]` → `[.., out]`.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: WeightLayout,
) -> Result<Tensor> {
    let (w0, w1) = weight.dims2()?;
    let (inputs, outputs) = match layout {
        WeightLayout::OutIn => (w1, w0),
        WeightLayout::InOut => (w0, w1),
    };
    if x.dims().last() != Some(&inputs) {
        bail!("linear: input {:?} does not end in {inputs}", x.shape());
    }
    if let Some(bias) = bias
        && bias.dims() != [outputs]
    {
        bail!("linear: bias {:?} is not [{outputs}]", bias.shape());
    }
    composition::linear(x, weight, bias, layout)
}
