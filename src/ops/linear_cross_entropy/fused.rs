//! Projection and cross-entropy as one node of candle's tape.

use super::cpu;
use crate::kernels::simd;
use crate::ops::cpu::bridge;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// Arguments: h, weight. The targets have no gradient and are captured.
///
/// The gradients are computed in the forward pass, while a chunk of logits is at hand, for a
/// loss whose own gradient is one; backward scales them.
pub(super) struct LinearCrossEntropy {
    targets: Vec<u32>,
    wants_dh: bool,
    wants_dweight: bool,
    gradients: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl LinearCrossEntropy {
    /// `targets` must be below the weight's row count.
    pub(super) fn new(targets: Vec<u32>, h: &Tensor, weight: &Tensor) -> Self {
        Self {
            targets,
            wants_dh: h.track_op(),
            wants_dweight: weight.track_op(),
            gradients: OnceLock::new(),
        }
    }
}

impl CustomOp2 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear_cross_entropy"
    }

    fn cpu_fwd(
        &self,
        h: &CpuStorage,
        h_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (vocab, width) = weight_layout.shape().dims2()?;
        let h = bridge::slice(h, h_layout)?;
        let weight = bridge::slice(weight, weight_layout)?;
        let rows = self.targets.len();
        let mut logits = vec![0.0; cpu::chunk_rows(rows, vocab) * vocab];
        let mut losses = vec![0.0; rows];
        let empty_unless = |wanted, len| if wanted { vec![0.0; len] } else { Vec::new() };
        let mut dh = empty_unless(self.wants_dh, h.len());
        let mut dweight = empty_unless(self.wants_dweight, weight.len());
        cpu::forward(
            h,
            weight,
            width,
            &self.targets,
            &mut logits,
            &mut losses,
            self.wants_dh.then_some(&mut dh[..]),
            self.wants_dweight.then_some(&mut dweight[..]),
        );
        self.gradients
            .set((dh, dweight))
            .expect("a node runs forward once");
        let total: f64 = losses.iter().copied().map(f64::from).sum();
        bridge::result(vec![(total / rows as f64) as f32], ())
    }

    fn bwd(
        &self,
        h: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dloss: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = dloss.to_scalar::<f32>()?;
        let (dh, dweight) = self.gradients.get().expect("forward ran before backward");
        let scaled = |gradient: &Vec<f32>, like: &Tensor| -> Result<Tensor> {
            let mut gradient = gradient.clone();
            if factor != 1.0 {
                simd::scale_in_place(&mut gradient, factor);
            }
            bridge::gradient(gradient, like)
        };
        Ok((
            self.wants_dh.then(|| scaled(dh, h)).transpose()?,
            self.wants_dweight
                .then(|| scaled(dweight, weight))
                .transpose()?,
        ))
    }
}
