//! Projection and cross-entropy as candle operations; materialises the N×V logits.

use candle_core::{D, Result, Tensor};

/// See [`super::linear_cross_entropy`].
pub fn linear_cross_entropy(h: &Tensor, weight: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits_nv = h.matmul(&weight.t()?)?;
    // The maximum cancels: a constant as far as gradients are concerned.
    let highest = logits_nv.max_keepdim(D::Minus1)?.detach();
    let shifted_nv = logits_nv.broadcast_sub(&highest)?;
    let log_sum = shifted_nv.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let at_target = shifted_nv.gather(&targets.unsqueeze(1)?, D::Minus1)?;
    (log_sum - at_target)?.mean_all()
}
