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
mod fused;

use super::bridge;
use super::dropout::{self, Dropout};
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
    let mask = dropout.map(dropout::mask).transpose()?;
    if bridge::fits(&[q, k, v]) {
        let (k, v) = (bridge::unit_stride(k)?, bridge::unit_stride(v)?);
        return bridge::unit_stride(q)?.apply_op3(&k, &v, fused::Attention::new(mask));
    }
    composition::attention(q, k, v, dropout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    const DROPOUT: Dropout = Dropout { p: 0.25, key: 3 };

    fn inputs([b, t, heads, kv_heads, head_dim]: [usize; 5]) -> [Tensor; 3] {
        [
            (random((b, t, heads, head_dim), 1) * 3.0).unwrap(),
            random((b, t, kv_heads, head_dim), 2),
            random((b, t, kv_heads, head_dim), 3),
        ]
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        let shapes = [
            [2, 2, 1, 1, 3],
            [2, 67, 6, 2, 40],
            [1, 64, 2, 2, 16],
            [1, 150, 4, 1, 8],
        ];
        for shape in shapes {
            for dropout in [None, Some(DROPOUT)] {
                check(
                    &inputs(shape),
                    |t| attention(&t[0], &t[1], &t[2], dropout),
                    |t| composition::attention(&t[0], &t[1], &t[2], dropout),
                );
            }
        }
    }

    #[test]
    fn a_single_position_sees_itself() {
        let [q, k, v] = inputs([3, 1, 4, 2, 8]);
        let o = attention(&q, &k, &v, None).unwrap();
        let expected = v
            .repeat((1, 1, 1, 2))
            .unwrap()
            .reshape((3, 1, 4, 8))
            .unwrap();
        let difference = (o - expected).unwrap().abs().unwrap().max_all().unwrap();
        // Values are below 1. Their weight is e^x/e^x, where x need not be 0: the multiply-add that
        // takes the highest score away rounds the product less than the highest itself was.
        assert!(difference.to_scalar::<f32>().unwrap() <= 2.0 * f32::EPSILON);
    }

    #[test]
    fn the_future_is_not_seen() {
        let [q, k, v] = inputs([1, 70, 2, 1, 8]);
        let before = attention(&q, &k, &v, None).unwrap();
        let last = random((1, 1, 1, 8), 9);
        let v = Tensor::cat(&[v.narrow(1, 0, 69).unwrap(), last.clone()], 1).unwrap();
        let k = Tensor::cat(&[k.narrow(1, 0, 69).unwrap(), last], 1).unwrap();
        let after = attention(&q, &k, &v, None).unwrap();
        let of = |o: &Tensor, from, count| -> Vec<f32> {
            let o = o.narrow(1, from, count).unwrap();
            o.flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(of(&before, 0, 69), of(&after, 0, 69));
        assert_ne!(of(&before, 69, 1), of(&after, 69, 1));
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for dropout in [None, Some(DROPOUT)] {
            finite_differences(&inputs([1, 4, 2, 1, 2]), |t| {
                composition::attention(&t[0], &t[1], &t[2], dropout)
            });
        }
    }

    #[test]
    fn heads_that_do_not_divide_are_refused() {
        let [q, k, v] = inputs([1, 3, 4, 3, 2]);
        let error = attention(&q, &k, &v, None).unwrap_err();
        assert!(error.to_string().contains("do not divide"), "{error}");
    }
}
