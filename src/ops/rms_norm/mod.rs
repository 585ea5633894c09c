//! RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4):
//! `y_i = x_i·r·w_i` with `r = 1/√(mean_i(x_i²) + ε)`.
//!
//! Backward, with `g_i = dy_i·w_i` and `x̂ = x·r`:
//! `dx_i = r·(g_i − x̂_i·mean_j(g_j·x̂_j))`, `dw_i = Σ_rows dy_i·x̂_i`.
//! Cost: about 4 FLOPs an element forward, 10 backward; bound by memory.

pub mod composition;
mod fused;

use super::{bridge, metal};
use candle_core::{D, Result, Tensor, bail};

/// `x [.., D]`, `weight [D]` → same shape as `x`.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if weight.dims() != [width] {
        bail!("rms_norm: weight {:?} is not [{width}]", weight.shape());
    }
    if metal::fits(&[x, weight]) {
        return metal::rms_norm(x, weight, eps);
    }
    if bridge::fits(&[x, weight]) {
        let fused = fused::RmsNorm::new(eps);
        return x.contiguous()?.apply_op2(&weight.contiguous()?, fused);
    }
    composition::rms_norm(x, weight, eps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    fn composed(t: &[Tensor]) -> Result<Tensor> {
        composition::rms_norm(&t[0], &t[1], 1e-5)
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        for shape in [[1, 1, 3], [1, 1, 40], [2, 67, 192], [3, 11, 33]] {
            let inputs = [random(shape.as_slice(), 1), random(shape[2], 2)];
            check(&inputs, |t| rms_norm(&t[0], &t[1], 1e-5), composed);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        finite_differences(&[random((3, 5), 1), random(5, 2)], composed);
    }

    #[test]
    fn a_weight_of_another_width_is_refused() {
        let error = rms_norm(&random((2, 4), 1), &random(5, 2), 1e-5).unwrap_err();
        assert!(error.to_string().contains("is not [4]"), "{error}");
    }
}
