//! RMSNorm as one node of candle's tape.

use super::cpu;
use crate::ops::cpu::{bridge, sum_rows};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// Arguments: x, weight.
pub(super) struct RmsNorm {
    eps: f32,
    /// r of every row, kept for the backward pass.
    rstd: OnceLock<Vec<f32>>,
}

impl RmsNorm {
    pub(super) fn new(eps: f64) -> Self {
        Self {
            eps: eps as f32,
            rstd: OnceLock::new(),
        }
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = bridge::slice(x, x_layout)?;
        let weight = bridge::slice(weight, weight_layout)?;
        let mut y = vec![0.0; x.len()];
        let mut rstd = vec![0.0; x.len() / weight.len()];
        cpu::forward(x, weight, self.eps, &mut y, &mut rstd);
        self.rstd.set(rstd).expect("a node runs forward once");
        bridge::result(y, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (x_data, weight_data) = (bridge::floats(x)?, bridge::floats(weight)?);
        let rstd = self.rstd.get().expect("forward ran before backward");
        let width = weight_data.len();
        let mut dx = vec![0.0; x_data.len()];
        let mut partials = vec![0.0; cpu::blocks(rstd.len()) * width];
        let mut dweight = vec![0.0; width];
        cpu::backward(
            &x_data,
            &weight_data,
            rstd,
            &bridge::floats(&dy)?,
            &mut dx,
            &mut partials,
        );
        sum_rows(&partials, &mut dweight);
        Ok((
            Some(bridge::gradient(dx, x)?),
            Some(bridge::gradient(dweight, weight)?),
        ))
    }
}
