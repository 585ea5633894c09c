//! Rotary positions.

use super::fresh;
use super::launch::{Argument::*, Launch, groups, launch, size};
use super::node::Node;
use candle_core::{Result, Tensor};

/// See [`crate::ops::rope()`]; cosines and sines are [at least T, hd/2].
pub(crate) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (cos, sin) = (cos.contiguous()?, sin.contiguous()?);
    let result = turned(&x.detach(), &cos, &sin, 1.0)?;
    let back = move |dy: &Tensor| Ok([Some(turned(dy, &cos, &sin, -1.0)?)]);
    let name = "rope";
    x.apply_op1(Node { name, result, back })
}

fn turned(x: &Tensor, cos: &Tensor, sin: &Tensor, sign: f32) -> Result<Tensor> {
    let (_, positions, heads, head_dim) = x.dims4()?;
    let pairs = x.elem_count() / 2;
    let y = fresh(x.shape(), x.device())?;
    let run = Launch {
        kernel: "rope",
        groups: groups(pairs),
        arguments: vec![
            Reads(x),
            Reads(cos),
            Reads(sin),
            sign.into(),
            Writes(&y),
            size(positions)?.into(),
            size(heads)?.into(),
            size(head_dim / 2)?.into(),
            size(pairs)?.into(),
        ],
    };
    launch(x.device(), &run)?;
    Ok(y)
}
