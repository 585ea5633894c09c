//! SwiGLU's gate.

use super::fresh;
use super::launch::{Argument::*, Launch, groups, launch, size};
use super::node::Node;
use candle_core::{Result, Tensor};

/// See [`crate::ops::swiglu()`].
pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (gate, up) = (gate.contiguous()?, up.contiguous()?);
    let (g, u) = (gate.detach(), up.detach());
    let (count, device) = (g.elem_count(), g.device().clone());
    let result = fresh(g.shape(), &device)?;
    let run = Launch {
        kernel: "swiglu",
        groups: groups(count),
        arguments: vec![Reads(&g), Reads(&u), Writes(&result), size(count)?.into()],
    };
    launch(&device, &run)?;
    let back = move |dy: &Tensor| {
        let (dgate, dup) = (fresh(g.shape(), &device)?, fresh(g.shape(), &device)?);
        let run = Launch {
            kernel: "swiglu_back",
            groups: groups(count),
            arguments: vec![
                Reads(&g),
                Reads(&u),
                Reads(dy),
                Writes(&dgate),
                Writes(&dup),
                size(count)?.into(),
            ],
        };
        launch(&device, &run)?;
        Ok([Some(dgate), Some(dup)])
    };
    let name = "swiglu";
    gate.apply_op2(&up, Node { name, result, back })
}
