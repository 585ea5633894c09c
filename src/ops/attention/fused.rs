//! Attention as one node of candle's tape.

use super::cpu::{self, Dims, Heads};
use crate::kernels::dropout::Mask;
use crate::ops::cpu::bridge;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
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

fn heads<'a>(data: &'a [f32], layout: &Layout) -> Heads<'a> {
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
        cpu::forward(
            heads(bridge::strided(q, q_layout)?, q_layout),
            heads(bridge::strided(k, k_layout)?, k_layout),
            heads(bridge::strided(v, v_layout)?, v_layout),
            dims,
            self.mask,
            &mut o,
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
        let do_ = do_.contiguous()?;
        let mut dq = vec![0.0; q.elem_count()];
        let mut dk = vec![0.0; k.elem_count()];
        let mut dv = vec![0.0; v.elem_count()];
        cpu::backward(
            heads(&bridge::floats(q)?, q.layout()),
            heads(&bridge::floats(k)?, k.layout()),
            heads(&bridge::floats(v)?, v.layout()),
            &bridge::floats(o)?,
            &bridge::floats(&do_)?,
            self.log_sums.get().expect("forward ran before backward"),
            dims(q.layout(), k.layout())?,
            self.mask,
            cpu::Gradients {
                dq: &mut dq,
                dk: &mut dk,
                dv: &mut dv,
            },
        );
        Ok((
            Some(bridge::gradient(dq, q)?),
            Some(bridge::gradient(dk, k)?),
            Some(bridge::gradient(dv, v)?),
        ))
    }
}
