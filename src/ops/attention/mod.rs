//! Causal scaled dot-product attention with grouped queries (Vaswani et al. 2017,
//! arXiv:1706.03762, eq. 1; Ainslie et al. 2023, arXiv:2305.13245): for query head `h`, with
//! key and value head `h / (H/KV)`,
//! `p_tj = softmax_{j ≤ t}(q_t·k_j/√hd)`, `o_t = Σ_{j ≤ t} p_tj·v_j`.
//!
//! Dropout, where asked for, acts on `p`; element (b, h, t, j) of the `[B, H, T, T]` weights has
//! index `((b·H + h)·T + t)·T + j`.
//!
//! Cost: 2·B·H·T²·hd FLOPs forward (the masked half is not counted), 5·B·H·T²·hd backward.

pub mod composition;

use super::dropout::{Dropout, Mask};
use candle_core::{Result, Tensor, bail};

/// `q [B, T, H, hd]`, `k` and `v` `[B, T, KV, hd]` → `[B, T, H, hd]`.
///
/// # Errors
/// When the shapes do not fit each other, or KV does not divide H.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    let (b, t, heads, head_dim) = q.dims4()?;
    let (_, _, kv_heads, _) = k.dims4()?;
    let kv_shape = [b, t, kv_heads, head_dim];
    if k.dims() != kv_shape || v.dims() != kv_shape {
        bail!(
            "attention: keys {:?} and values {:?} do not fit queries {:?}",
            k.shape(),
            v.shape(),
            q.shape()
        );
    }
    if kv_heads == 0 || heads % kv_heads != 0 {
        bail!("attention: {kv_heads} key heads do not divide {heads} query heads");
    }
    let mask = dropout
        .filter(|dropout| dropout.p != 0.0)
        .map(Mask::new)
        .transpose()?;
    composition::attention(q, k, v, mask)
}
