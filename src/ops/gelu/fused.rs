//! GELU as one node of candle's tape.

use crate::kernels::activation;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// Keeps nothing: backward computes the exponential again.
pub(super) struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = bridge::slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        activation::gelu(x, &mut y);
        bridge::result(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let x_data = bridge::floats(x)?;
        let mut dx = vec![0.0; x_data.len()];
        activation::gelu_back(&x_data, &bridge::floats(&dy)?, &mut dx);
        Ok(Some(bridge::gradient(dx, x)?))
    }
}
