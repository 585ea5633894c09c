//! Output projection and cross-entropy in one: with logits `z = h·Wᵀ`,
//! `loss = mean_n(log Σ_v exp(z_nv) − z_n,target(n))`, in nats a token.
//!
//! Together because the N×V logits are the largest tensor of a small model by far; the fused
//! path never holds more than a chunk of their rows.
//!
//! Backward: `dz = (softmax(z) − onehot)/N`, `dh = dz·W`, `dW = dzᵀ·h`.
//! Cost: 2·N·D·V FLOPs forward, twice that backward.

pub mod composition;

use candle_core::{Result, Tensor, bail};

/// `h [N, D]`, `weight [V, D]`, `targets [N]` (u32, each below V) → scalar mean loss in nats.
///
/// # Errors
/// When the shapes do not fit each other, or a target is not below V.
pub fn linear_cross_entropy(h: &Tensor, weight: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (rows, width) = h.dims2()?;
    let (_, weight_width) = weight.dims2()?;
    if width != weight_width || targets.dims() != [rows] {
        bail!(
            "linear_cross_entropy: h {:?}, weight {:?} and targets {:?} do not fit",
            h.shape(),
            weight.shape(),
            targets.shape()
        );
    }
    composition::linear_cross_entropy(h, weight, targets)
}
