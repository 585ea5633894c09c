//! GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2), which is
//! GPT-2's: `y = x/2·(1 + tanh u)` with `u = √(2/π)·(x + 0.044715·x³)`.
//!
//! Since `(1 + tanh u)/2 = σ(2u)`, one exponential is enough and nothing cancels:
//! `y = x·s`, `dx = dy·(s + x·s·(1 − s)·2u′)` with `s = σ(2u)`.
//! Cost: one exponential an element each way; bound by memory.

pub mod composition;
mod fused;

use super::bridge;
use candle_core::{Result, Tensor};

/// `x` → same shape.
///
/// # Errors
/// Only the backend's.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if bridge::fits(&[x]) {
        return x.contiguous()?.apply_op1(fused::Gelu);
    }
    composition::gelu(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    fn composed(t: &[Tensor]) -> Result<Tensor> {
        composition::gelu(&t[0])
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        for (shape, size) in [([1, 1], 1.0), ([3, 40], 3.0), ([129, 130], 12.0)] {
            let x = (random(shape.as_slice(), 1) * size).unwrap();
            check(&[x], |t| gelu(&t[0]), composed);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        finite_differences(&[(random((3, 5), 1) * 3.0).unwrap()], composed);
    }
}
