//! Projection and cross-entropy as one node of candle's tape.

use crate::kernels::gemm::pack::packed_b_len;
use crate::kernels::gemm::{Matrix, Micro, PackedB, Precision, multiply, pack_b, product_into};
use crate::kernels::{loss, simd};
use crate::memory::Block;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// How many logits a chunk may hold: 16 MiB of them.
const CHUNK_LOGITS: usize = 1 << 22;
/// A chunk has at least so many rows, else the products lose their speed.
const MIN_CHUNK_ROWS: usize = 128;

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
        let chunk = (CHUNK_LOGITS / vocab).max(MIN_CHUNK_ROWS).min(rows);
        let mut logits = vec![0.0; chunk * vocab];
        let mut losses = vec![0.0; rows];
        let empty_unless = |wanted, len| if wanted { vec![0.0; len] } else { Vec::new() };
        let mut dh = empty_unless(self.wants_dh, h.len());
        let mut dweight = empty_unless(self.wants_dweight, weight.len());
        let per_row = (self.wants_dh || self.wants_dweight).then_some(1.0 / rows as f32);

        // Every chunk multiplies with the weight: packed once, for each direction.
        let weight_vd = Matrix::dense(weight, vocab, width);
        let weight_dv = weight_vd.t();
        let forward = packed(weight_dv);
        let forward = right_hand_side(&forward, weight_dv);
        let back = self.wants_dh.then(|| packed(weight_vd));
        let back = back.as_deref().map(|back| right_hand_side(back, weight_vd));
        // A chunk's logits become its losses, then its gradient in place, then its share of both
        // gradients, before the next chunk overwrites them.
        for start in (0..rows).step_by(chunk) {
            let rows = start..rows.min(start + chunk);
            let numbers = start * width..rows.end * width;
            let h_nd = Matrix::dense(&h[numbers.clone()], rows.len(), width);
            let logits = &mut logits[..rows.len() * vocab];
            product_into(Precision::F32, h_nd, forward, logits, false);
            let (targets, losses) = (&self.targets[rows.clone()], &mut losses[rows.clone()]);
            loss::cross_entropy(logits, targets, vocab, per_row, losses);
            let dlogits_nv = Matrix::dense(logits, rows.len(), vocab);
            if let Some(back) = back {
                product_into(Precision::F32, dlogits_nv, back, &mut dh[numbers], false);
            }
            if self.wants_dweight {
                let dlogits_vn = dlogits_nv.t();
                multiply(Precision::F32, dlogits_vn, h_nd, &mut dweight, start > 0);
            }
        }
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

/// A right-hand side, packed.
fn packed(b: Matrix<f32>) -> Block<u32> {
    let micro = Micro::of(Precision::F32);
    let mut packed = Block::zeroed(packed_b_len(micro, b.rows(), b.columns()));
    pack_b(Precision::F32, b, &mut packed, true);
    packed
}

/// What [`packed`] made of `b`.
fn right_hand_side<'a>(packed: &'a [u32], b: Matrix<f32>) -> PackedB<'a> {
    PackedB::new(packed, Micro::of(Precision::F32), b.rows(), b.columns())
}
