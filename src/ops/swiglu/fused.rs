//! SwiGLU's gate as one node of candle's tape.

use crate::kernels::activation;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// Arguments: gate, up. Keeps nothing: backward computes σ(gate) again.
pub(super) struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let gate = bridge::slice(gate, gate_layout)?;
        let up = bridge::slice(up, up_layout)?;
        let mut y = vec![0.0; gate.len()];
        activation::swiglu_split(gate, up, &mut y);
        bridge::result(y, gate_layout.shape())
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (gate_data, up_data) = (bridge::floats(gate)?, bridge::floats(up)?);
        let mut dgate = vec![0.0; gate_data.len()];
        let mut dup = vec![0.0; gate_data.len()];
        let dy = bridge::floats(&dy)?;
        activation::swiglu_split_back(&dy, &gate_data, &up_data, &mut dgate, &mut dup);
        Ok((
            Some(bridge::gradient(dgate, gate)?),
            Some(bridge::gradient(dup, up)?),
        ))
    }
}
