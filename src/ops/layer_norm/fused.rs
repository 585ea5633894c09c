//! LayerNorm as one node of candle's tape.

use crate::kernels::norm::{self, Norm};
use crate::kernels::reduce;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// Arguments: x, weight, bias.
pub(super) struct LayerNorm {
    eps: f32,
    /// Mean and r of every row, kept for the backward pass.
    stats: OnceLock<Vec<f32>>,
}

impl LayerNorm {
    pub(super) fn new(eps: f64) -> Self {
        Self {
            eps: eps as f32,
            stats: OnceLock::new(),
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
        let norm = Norm {
            gain: bridge::slice(weight, weight_layout)?,
            bias: Some(bridge::slice(bias, bias_layout)?),
            eps: self.eps,
        };
        let mut y = vec![0.0; x.len()];
        let mut stats = vec![0.0; norm::STATS * (x.len() / norm.gain.len())];
        norm::forward(norm, x, &mut y, &mut stats);
        self.stats.set(stats).expect("a node runs forward once");
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
        let bias_data = bridge::floats(bias)?;
        let norm = Norm {
            gain: &weight_data,
            bias: Some(&bias_data),
            eps: self.eps,
        };
        let stats = self.stats.get().expect("forward ran before backward");
        let (rows, width) = (stats.len() / norm::STATS, weight_data.len());
        let mut dx = vec![0.0; x_data.len()];
        let mut partials = vec![0.0; reduce::blocks(rows) * 2 * width];
        let dy = bridge::floats(&dy)?;
        norm::backward(norm, &x_data, stats, &dy, &mut dx, false, &mut partials);
        let mut dweight = vec![0.0; width];
        reduce::sum_partials(&partials, 2 * width, &mut dweight, false);
        let mut dbias = vec![0.0; width];
        reduce::sum_partials(&partials[width..], 2 * width, &mut dbias, false);
        Ok((
            Some(bridge::gradient(dx, x)?),
            Some(bridge::gradient(dweight, weight)?),
            Some(bridge::gradient(dbias, bias)?),
        ))
    }
}
