//! Attention as candle operations; materialises the `[B, H, T, T]` weights.

use crate::ops::dropout::{Dropout, composition::factors};
use candle_core::{D, Result, Tensor};

/// See [`super::attention()`].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    let (_, t, heads, head_dim) = q.dims4()?;
    let q_bhtd = q.transpose(1, 2)?.contiguous()?;
    let k_bhtd = heads_of_queries(k, heads)?;
    let v_bhtd = heads_of_queries(v, heads)?;
    let scores_bhtt = (q_bhtd.matmul(&k_bhtd.t()?)? * (head_dim as f64).powf(-0.5))?;
    let future: Vec<f32> = (0..t * t)
        .map(|i| {
            if i % t > i / t {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        })
        .collect();
    let future = Tensor::from_vec(future, (t, t), q.device())?.to_dtype(q.dtype())?;
    let scores_bhtt = scores_bhtt.broadcast_add(&future)?;
    // The maximum cancels: a constant as far as gradients are concerned.
    let highest = scores_bhtt.max_keepdim(D::Minus1)?.detach();
    let exp_bhtt = scores_bhtt.broadcast_sub(&highest)?.exp()?;
    let mut weights_bhtt = exp_bhtt.broadcast_div(&exp_bhtt.sum_keepdim(D::Minus1)?)?;
    if let Some(dropout) = dropout {
        let factors = factors(dropout, weights_bhtt.shape(), q.dtype(), q.device())?;
        weights_bhtt = (weights_bhtt * factors)?;
    }
    weights_bhtt.matmul(&v_bhtd)?.transpose(1, 2)?.contiguous()
}

/// `[B, T, KV, hd]` → `[B, H, T, hd]`, each head repeated for the queries that share it.
fn heads_of_queries(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, t, kv_heads, head_dim) = x.dims4()?;
    x.transpose(1, 2)?
        .unsqueeze(2)?
        .broadcast_as((b, kv_heads, heads / kv_heads, t, head_dim))?
        .contiguous()?
        .reshape((b, heads, t, head_dim))
}
