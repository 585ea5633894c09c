//! Linear layer: `y = x·Wᵀ + b` (weights stored `[out, in]`, as `torch.nn.Linear` does) or
//! `y = x·W + b` (`[in, out]`, as GPT-2's `Conv1D` does).
//!
//! Cost for N rows: 2·N·in·out FLOPs forward, twice that backward.

pub mod composition;
mod fused;

pub use crate::kernels::WeightLayout;

use super::bridge;
use candle_core::{Result, Tensor, bail};

/// `x [.., in]`, `weight` as `layout` says, `bias [out]` → `[.., out]`.
///
/// # Errors
/// When the shapes do not fit each other.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: WeightLayout,
) -> Result<Tensor> {
    let (w0, w1) = weight.dims2()?;
    let (inputs, outputs) = match layout {
        WeightLayout::OutIn => (w1, w0),
        WeightLayout::InOut => (w0, w1),
    };
    if x.dims().last() != Some(&inputs) {
        bail!("linear: input {:?} does not end in {inputs}", x.shape());
    }
    if let Some(bias) = bias
        && bias.dims() != [outputs]
    {
        bail!("linear: bias {:?} is not [{outputs}]", bias.shape());
    }
    let fused = fused::Linear { layout };
    match bias {
        Some(bias) if bridge::fits(&[x, weight, bias]) => {
            let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
            return x.contiguous()?.apply_op3(&weight, &bias, fused);
        }
        None if bridge::fits(&[x, weight]) => {
            return x.contiguous()?.apply_op2(&weight.contiguous()?, fused);
        }
        _ => {}
    }
    composition::linear(x, weight, bias, layout)
}

#[cfg(test)]
mod tests {
    use super::WeightLayout::{InOut, OutIn};
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    #[test]
    fn fused_agrees_with_the_composition() {
        for (rows, inputs, outputs) in [(1, 1, 1), (1, 40, 24), (131, 33, 65), (300, 192, 256)] {
            for layout in [OutIn, InOut] {
                let shape = match layout {
                    OutIn => (outputs, inputs),
                    InOut => (inputs, outputs),
                };
                let inputs = [
                    random((1, rows, inputs), 1),
                    random(shape, 2),
                    random(outputs, 3),
                ];
                check(
                    &inputs[..2],
                    |t| linear(&t[0], &t[1], None, layout),
                    |t| composition::linear(&t[0], &t[1], None, layout),
                );
                check(
                    &inputs,
                    |t| linear(&t[0], &t[1], Some(&t[2]), layout),
                    |t| composition::linear(&t[0], &t[1], Some(&t[2]), layout),
                );
            }
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let inputs = [random((2, 3), 1), random((4, 3), 2), random(4, 3)];
        finite_differences(&inputs, |t| {
            composition::linear(&t[0], &t[1], Some(&t[2]), OutIn)
        });
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (x, weight) = (random((2, 3), 1), random((4, 3), 2));
        assert!(linear(&x, &weight, None, InOut).is_err());
        assert!(linear(&x, &weight, Some(&random(3, 3)), OutIn).is_err());
    }
}
