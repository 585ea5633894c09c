//! LayerNorm as one node of candle's tape.

use super::cpu;
use crate::ops::cpu::{bridge, sum_rows};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// Arguments: x, weight, bias.
pub(super) struct LayerNorm {
    eps: f32,
    /// (mean, r) of every row, kept for the backward pass.
    moments: OnceLock<Vec<[f32; 2]>>,
}

impl LayerNorm {
    pub(super) fn new(eps: f64) -> Self {
        Self {
            eps: eps as f32,
            moments: OnceLock::new(),
        }
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = bridge::slice(x, x_layout)?;
        let weight = bridge::slice(weight, weight_layout)?;
        let bias = bridge::slice(bias, bias_layout)?;
        let mut y = vec![0.0; x.len()];
        let mut moments = vec![[0.0; 2]; x.len() / weight.len()];
        cpu::forward(x, weight, bias, self.eps, &mut y, &mut moments);
        self.moments.set(moments).expect("a node runs forward once");
        bridge::result(y, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (x_data, weight_data) = (bridge::floats(x)?, bridge::floats(weight)?);
        let moments = self.moments.get().expect("forward ran before backward");
        let width = weight_data.len();
        let mut dx = vec![0.0; x_data.len()];
        let mut partials = vec![0.0; cpu::blocks(moments.len()) * 2 * width];
        let mut dweight_dbias = vec![0.0; 2 * width];
        cpu::backward(
            &x_data,
            &weight_data,
            moments,
            &bridge::floats(&dy)?,
            &mut dx,
            &mut partials,
        );
        sum_rows(&partials, &mut dweight_dbias);
        let dbias = dweight_dbias.split_off(width);
        Ok((
            Some(bridge::gradient(dx, x)?),
            Some(bridge::gradient(dweight_dbias, weight)?),
            Some(bridge::gradient(dbias, bias)?),
        ))
    }
}
