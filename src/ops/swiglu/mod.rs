//! SwiGLU's gate (Shazeer 2020, arXiv:2002.05202, eq. 6 without its matrices):
//! `y = silu(gate)·up`, `silu(g) = g·σ(g)`.
//!
//! Backward: `dup = dy·silu(g)`, `dgate = dy·up·σ(g)·(1 + g·(1 − σ(g)))`.
//! Cost: one exponential an element each way; bound by memory.

pub mod composition;
mod fused;

use super::{bridge, metal};
use candle_core::{Result, Tensor, bail};

/// `gate` and `up` of one shape → that shape.
///
/// # Errors
/// When the shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        bail!("swiglu: gate {:?}, but up {:?}", gate.shape(), up.shape());
    }
    if metal::fits(&[gate, up]) {
        return metal::swiglu(gate, up);
    }
    if bridge::fits(&[gate, up]) {
        return gate
            .contiguous()?
            .apply_op2(&up.contiguous()?, fused::SwiGlu);
    }
    composition::swiglu(gate, up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    fn composed(t: &[Tensor]) -> Result<Tensor> {
        composition::swiglu(&t[0], &t[1])
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        for (shape, size) in [([1, 1], 1.0), ([3, 40], 4.0), ([129, 130], 30.0)] {
            let gate = (random(shape.as_slice(), 1) * size).unwrap();
            let inputs = [gate, random(shape.as_slice(), 2)];
            check(&inputs, |t| swiglu(&t[0], &t[1]), composed);
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        finite_differences(&[random((3, 5), 1), random((3, 5), 2)], composed);
    }
}
