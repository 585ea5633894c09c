//! LayerNorm (Ba, Kiros and Hinton 2016, arXiv:1607.06450, eq. 4):
//! `y_i = x̂_i·w_i + b_i` with `x̂ = (x − mean(x))·r`, `r = 1/√(var(x) + ε)`, `var` the biased one.
//!
//! Backward, with `g_i = dy_i·w_i`:
//! `dx_i = r·(g_i − mean(g) − x̂_i·mean_j(g_j·x̂_j))`, `dw_i = Σ_rows dy_i·x̂_i`,
//! `db_i = Σ_rows dy_i`.
//! Cost: about 7 FLOPs an element forward, 13 backward; bound by memory.

pub mod composition;
mod fused;

use super::{bridge, metal};
use candle_core::{D, Result, Tensor, bail};

/// `x [.., D]`, `weight [D]`, `bias [D]` → same shape as `x`.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    for (name, t) in [("weight", weight), ("bias", bias)] {
        if t.dims() != [width] {
            bail!("layer_norm: {name} {:?} is not [{width}]", t.shape());
        }
    }
    if metal::fits(&[x, weight, bias]) {
        return metal::layer_norm(x, weight, bias, eps);
    }
    if bridge::fits(&[x, weight, bias]) {
        let fused = fused::LayerNorm::new(eps);
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        return x.contiguous()?.apply_op3(&weight, &bias, fused);
    }
    composition::layer_norm(x, weight, bias, eps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    fn composed(t: &[Tensor]) -> Result<Tensor> {
        composition::layer_norm(&t[0], &t[1], &t[2], 1e-5)
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        for shape in [[1, 1, 40], [2, 67, 192], [3, 11, 33]] {
            let width = shape[2];
            let inputs = [
                random(shape.as_slice(), 1),
                random(width, 2),
                random(width, 3),
            ];
            check(&inputs, |t| layer_norm(&t[0], &t[1], &t[2], 1e-5), composed);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let inputs = [random((3, 5), 1), random(5, 2), random(5, 3)];
        finite_differences(&inputs, composed);
    }
}
