//! Output projection and cross-entropy in one: with logits `z = h·Wᵀ`,
//! `loss = mean_n(log Σ_v exp(z_nv) − z_n,target(n))`, in nats a token.
//!
//! Together because the N×V logits are the largest tensor of a small model by far; the fused
//! path never holds more than a chunk of their rows.
//!
//! Backward: `dz = (softmax(z) − onehot)/N`, `dh = dz·W`, `dW = dzᵀ·h`.
//! Cost: 2·N·D·V FLOPs forward, twice that backward.

pub mod composition;
mod fused;

use super::{bridge, metal};
use candle_core::{DType, Result, Tensor, bail};

/// `h [N, D]`, `weight [V, D]`, `targets [N]` (u32, each below V) → scalar mean loss in nats.
///
/// # Errors
/// When the shapes do not fit each other, or a target is not below V; on Metal, where looking at the targets would mean
/// waiting for the device, the loss of such a target is not a number.
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
    if metal::fits(&[h, weight]) && targets.dtype() == DType::U32 {
        return metal::linear_cross_entropy(h, weight, targets);
    }
    if bridge::fits(&[h, weight]) {
        let (vocab, _) = weight.dims2()?;
        let captured = targets.to_vec1::<u32>()?;
        if let Some(target) = captured.iter().find(|&&target| target as usize >= vocab) {
            bail!("linear_cross_entropy: target {target}, but the vocabulary has {vocab}");
        }
        let fused = fused::LinearCrossEntropy::new(captured, h, weight);
        return h.contiguous()?.apply_op2(&weight.contiguous()?, fused);
    }
    composition::linear_cross_entropy(h, weight, targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};
    use candle_core::Device;

    fn targets(rows: usize, vocab: usize) -> Tensor {
        let ids: Vec<u32> = (0..rows)
            .map(|i| (i * i * 5 + 1) % vocab)
            .map(|i| i as u32)
            .collect();
        Tensor::from_vec(ids, rows, &Device::Cpu).unwrap()
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        // The last two take more than one chunk of rows.
        for (rows, width, vocab) in [(1, 3, 2), (67, 40, 65), (150, 4, 40_000), (700, 8, 9_001)] {
            let targets = targets(rows, vocab);
            let h = (random((rows, width), 1) * 4.0).unwrap();
            check(
                &[h, random((vocab, width), 2)],
                |t| linear_cross_entropy(&t[0], &t[1], &targets),
                |t| composition::linear_cross_entropy(&t[0], &t[1], &targets),
            );
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let targets = targets(3, 7);
        finite_differences(&[random((3, 5), 1), random((7, 5), 2)], |t| {
            composition::linear_cross_entropy(&t[0], &t[1], &targets)
        });
    }

    #[test]
    fn without_gradients_the_loss_is_the_same() {
        let (h, weight, targets) = (random((67, 40), 1), random((65, 40), 2), targets(67, 65));
        let alone = linear_cross_entropy(&h, &weight, &targets).unwrap();
        let var = candle_core::Var::from_tensor(&weight).unwrap();
        let tracked = linear_cross_entropy(&h, var.as_tensor(), &targets).unwrap();
        assert_eq!(
            alone.to_scalar::<f32>().unwrap(),
            tracked.to_scalar::<f32>().unwrap()
        );
        // Only one of two arguments has a gradient here.
        let gradients = tracked.backward().unwrap();
        assert!(gradients.get(var.as_tensor()).is_some() && gradients.get(&h).is_none());
    }

    #[test]
    fn a_diverged_model_has_a_loss_that_is_not_a_number() {
        let weight = random((65, 40), 2);
        let h = (random((3, 40), 1) * f64::NAN).unwrap();
        let loss = linear_cross_entropy(&h, &weight, &targets(3, 65)).unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_nan());
    }

    #[test]
    fn a_target_beyond_the_vocabulary_is_refused() {
        let targets = Tensor::new(&[7u32], &Device::Cpu).unwrap();
        let error =
            linear_cross_entropy(&random((1, 3), 1), &random((7, 3), 2), &targets).unwrap_err();
        assert!(error.to_string().contains("target 7"), "{error}");
    }
}
