//! AdamW's update.

use super::launch::{Argument::*, Launch, groups, launch, size};
use crate::kernels::update::Factors;
use candle_core::{Result, Tensor};

/// `Factors` in update.metal.
fn words(f: Factors) -> Vec<u32> {
    [
        f.beta1,
        f.rest1,
        f.beta2,
        f.rest2,
        f.clip,
        f.decay,
        f.step_size,
        f.inverse_root_correction,
        f.eps,
    ]
    .map(f32::to_bits)
    .to_vec()
}

/// Updates a parameter and its moments from its gradient, all of one shape and contiguous but for the gradient, in place: see
/// [`crate::kernels::update`].
///
/// # Errors
/// The device failed.
pub(crate) fn adamw(f: Factors, p: &Tensor, m: &Tensor, v: &Tensor, g: &Tensor) -> Result<()> {
    let (g, count) = (g.contiguous()?, p.elem_count());
    let run = Launch {
        kernel: "adamw",
        groups: groups(count),
        arguments: vec![
            Words(words(f)),
            Writes(p),
            Writes(m),
            Writes(v),
            Reads(&g),
            size(count)?.into(),
        ],
    };
    launch(p.device(), &run)
}
