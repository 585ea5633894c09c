//! RMSNorm and LayerNorm.

use super::fresh;
use super::launch::{Argument::*, Launch, THREADS, launch, size};
use super::node::Node;
use crate::kernels::norm::STATS;
use crate::kernels::reduce;
use candle_core::{D, Result, Tensor};

/// Threads that run together, as SIMD in device.metal.
const SIMD: usize = 32;

/// Its arguments, contiguous and without histories; without a bias it is RMSNorm.
pub(super) struct Norm {
    pub x: Tensor,
    pub gain: Tensor,
    pub bias: Option<Tensor>,
    pub eps: f32,
}

/// See [`crate::ops::rms_norm()`].
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let norm = Norm {
        x: x.detach(),
        gain: weight.detach(),
        bias: None,
        eps: eps as f32,
    };
    let (result, stats) = norm.forward()?;
    let back = move |dy: &Tensor| {
        let (dx, dgain, _) = norm.backward(&stats, dy)?;
        Ok([Some(dx), Some(dgain)])
    };
    let name = "rms_norm";
    x.apply_op2(&weight, Node { name, result, back })
}

/// See [`crate::ops::layer_norm()`].
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let norm = Norm {
        x: x.detach(),
        gain: weight.detach(),
        bias: Some(bias.detach()),
        eps: eps as f32,
    };
    let (result, stats) = norm.forward()?;
    let back = move |dy: &Tensor| {
        let (dx, dgain, dbias) = norm.backward(&stats, dy)?;
        Ok([Some(dx), Some(dgain), dbias])
    };
    let name = "layer_norm";
    x.apply_op3(&weight, &bias, Node { name, result, back })
}

impl Norm {
    /// Rows and their width.
    fn dims(&self) -> Result<(usize, usize)> {
        let width = self.x.dim(D::Minus1)?;
        Ok((self.x.elem_count() / width, width))
    }

    /// y, and the mean and r of every row, which the backward pass wants.
    pub(super) fn forward(&self) -> Result<(Tensor, Tensor)> {
        let ((rows, width), device) = (self.dims()?, self.x.device());
        let y = fresh(self.x.shape(), device)?;
        let stats = fresh((rows, STATS), device)?;
        let run = Launch {
            kernel: "norm_forward",
            groups: rows.div_ceil(THREADS / SIMD),
            arguments: vec![
                Reads(&self.gain),
                // Not the gain: candle would lock that twice.
                Reads(self.bias.as_ref().unwrap_or(&self.x)),
                self.bias.is_some().into(),
                self.eps.into(),
                Reads(&self.x),
                Writes(&y),
                Writes(&stats),
                size(rows)?.into(),
                size(width)?.into(),
            ],
        };
        launch(device, &run)?;
        Ok((y, stats))
    }

    /// The gradients of x, the gain, and the bias.
    pub(super) fn backward(
        &self,
        stats: &Tensor,
        dy: &Tensor,
    ) -> Result<(Tensor, Tensor, Option<Tensor>)> {
        let ((rows, width), device) = (self.dims()?, self.x.device());
        let (blocks, parts) = (reduce::blocks(rows), 1 + usize::from(self.bias.is_some()));
        let dx = fresh(self.x.shape(), device)?;
        let partials = fresh((blocks, parts * width), device)?;
        let run = Launch {
            kernel: "norm_back",
            groups: blocks,
            arguments: vec![
                Reads(&self.gain),
                self.bias.is_some().into(),
                Reads(&self.x),
                Reads(stats),
                Reads(dy),
                Writes(&dx),
                Writes(&partials),
                size(rows)?.into(),
                size(width)?.into(),
            ],
        };
        launch(device, &run)?;
        let sums = fresh((parts, width), device)?;
        let run = Launch {
            kernel: "sum_partials",
            groups: (parts * width).div_ceil(SIMD),
            arguments: vec![
                Reads(&partials),
                size(blocks)?.into(),
                size(parts * width)?.into(),
                Writes(&sums),
            ],
        };
        launch(device, &run)?;
        let dbias = self.bias.as_ref().map(|_| sums.get(1)).transpose()?;
        Ok((dx, sums.get(0)?, dbias))
    }
}
