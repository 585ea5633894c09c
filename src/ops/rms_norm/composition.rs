//! RMSNorm as candle operations.

use candle_core::{D, Result, Tensor};

/// See [`super::rms_norm`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let rms = (mean_square + eps)?.sqrt()?;
    x.broadcast_div(&rms)?.broadcast_mul(weight)
}
