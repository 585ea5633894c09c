//! The linear layer as candle operations. The rows are flattened first, so that the weight's
//! gradient is one product and not a batch of them.

use super::WeightLayout;
use candle_core::{Result, Tensor};

/// See [`super::linear`].
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: WeightLayout,
) -> Result<Tensor> {
    let inputs = x.dim(candle_core::D::Minus1)?;
    let rows = x.elem_count() / inputs;
    let x_nd = x.reshape((rows, inputs))?;
    let y = match layout {
        WeightLayout::OutIn => x_nd.matmul(&weight.t()?)?,
        WeightLayout::InOut => x_nd.matmul(weight)?,
    };
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    let mut dims = x.dims().to_vec();
    *dims.last_mut().expect("a tensor with a last dimension") = y.dim(1)?;
    y.reshape(dims)
}
