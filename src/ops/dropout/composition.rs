//! Dropout as a product with a mask made on the host.

use super::{Dropout, Mask};
use candle_core::{DType, Device, Result, Shape, Tensor};

/// See [`super::dropout()`].
pub fn dropout(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    x * factors(dropout, x.shape(), x.dtype(), x.device())?
}

/// The factors of all elements of a tensor of `shape`.
pub(crate) fn factors(
    dropout: Dropout,
    shape: &Shape,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let mask = Mask::new(dropout);
    let factors: Vec<f32> = (0..shape.elem_count() as u64)
        .map(|i| mask.starting_at(i).get(0))
        .collect();
    Tensor::from_vec(factors, shape, device)?.to_dtype(dtype)
}
