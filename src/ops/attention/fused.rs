//! Attention as one node of candle's tape.

use crate::kernels::attention::{self, Dims, Gradients, Heads, HeadsMut};
use crate::kernels::dropout::Mask;
use crate::kernels::gemm::Precision;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Tensor};
use std::sync::OnceLock;

/// Arguments: q, k, v. They may be strided, but not within a head.
pub(super) struct Attention {
    mask: Option<Mask>,
    /// log Σⱼ exp(scoreₜⱼ) `[B, H, T]`, from which backward computes the weights again.
    log_sums: OnceLock<Vec<f32>>,
}

impl Attention {
    pub(super) fn new(mask: Option<Mask>) -> Self {
        Self {
            mask,
            log_sums: OnceLock::new(),
        }
    }
}

fn heads<'a>(data: &'a [f32], layout: &Layout) -> Heads<'a, f32> {
    let stride = layout.stride();
    Heads {
        data,
        batch_stride: stride[0],
        position_stride: stride[1],
        head_stride: stride[2],
    }
}

fn dims(q: &Layout, k: &Layout) -> Result<Dims> {
    let (batch, positions, heads, width) = q.shape().dims4()?;
    Ok(Dims {
        batch,
        positions,
        heads,
        kv_heads: k.dims()[2],
        width,
    })
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dims = dims(q_layout, k_layout)?;
        let mut o = vec![0.0; q_layout.shape().elem_count()];
        let mut log_sums = vec![0.0; dims.batch * dims.heads * dims.positions];
        attention::forward(
            Precision::F32,
            heads(bridge::strided(q, q_layout)?, q_layout),
            heads(bridge::strided(k, k_layout)?, k_layout),
            heads(bridge::strided(v, v_layout)?, v_layout),
            dims,
            self.mask,
            HeadsMut {
                data: &mut o,
                batch_stride: dims.positions * dims.heads * dims.width,
                position_stride: dims.heads * dims.width,
                head_stride: dims.width,
            },
            &mut log_sums,
        );
        self.log_sums
            .set(log_sums)
            .expect("a node runs forward once");
        bridge::result(o, q_layout.shape())
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        do_: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let do_ = bridge::unit_stride(do_)?;
        let dims = dims(q.layout(), k.layout())?;
        let Dims {
            batch,
            positions,
            heads: q_heads,
            kv_heads,
            width,
        } = dims;
        // Side by side in one buffer, as the kernel wants them.
        let all_heads = q_heads + 2 * kv_heads;
        let mut gradients = vec![0.0; batch * positions * all_heads * width];
        let log_sums = self.log_sums.get().expect("forward ran before backward");
        let mut deltas = vec![0.0; log_sums.len()];
        attention::backward(
            Precision::F32,
            heads(&bridge::floats(q)?, q.layout()),
            heads(&bridge::floats(k)?, k.layout()),
            heads(&bridge::floats(v)?, v.layout()),
            dims,
            self.mask,
            heads(&bridge::floats(o)?, o.layout()),
            log_sums,
            heads(&bridge::floats(&do_)?, do_.layout()),
            &mut deltas,
            Gradients {
                data: &mut gradients,
                q_offset: 0,
                k_offset: q_heads * width,
                v_offset: (q_heads + kv_heads) * width,
                batch_stride: positions * all_heads * width,
                position_stride: all_heads * width,
                head_stride: width,
            },
        );
        let shape = (batch, positions, all_heads, width);
        let gradients = Tensor::from_vec(gradients, shape, &Device::Cpu)?;
        let part = |first, count| gradients.narrow(2, first, count).map(Some);
        Ok((
            part(0, q_heads)?,
            part(q_heads, kv_heads)?,
            part(q_heads + kv_heads, kv_heads)?,
        ))
    }
}
