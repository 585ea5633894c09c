//! The rotation as one node of candle's tape.

use super::RopeTable;
use crate::kernels::rope;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// Rotates by the table's angles, or by their opposites. Its argument may be strided, but not
/// within a head.
pub(super) struct Rope {
    pub(super) table: RopeTable,
    pub(super) opposite: bool,
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, t, heads, head_dim) = layout.shape().dims4()?;
        let x = bridge::strided(x, layout)?;
        // The kernel turns in place: what it turns is a copy, without the gaps.
        let mut y = Vec::with_capacity(layout.shape().elem_count());
        let stride = layout.stride();
        for i in 0..b * t * heads {
            let (b, t, head) = (i / (t * heads), i / heads % t, i % heads);
            let start = b * stride[0] + t * stride[1] + head * stride[2];
            y.extend_from_slice(&x[start..start + head_dim]);
        }
        let angles = [&self.table.cos, &self.table.sin];
        let [cos, sin] = [bridge::floats(angles[0])?, bridge::floats(angles[1])?];
        let sign = if self.opposite { -1.0 } else { 1.0 };
        let (row, half) = (heads * head_dim, head_dim / 2);
        rope::rotate(&mut y, row, heads, t, [&cos, &sin], half, sign);
        bridge::result(y, layout.shape())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let back = Rope {
            table: self.table.clone(),
            opposite: !self.opposite,
        };
        Ok(Some(bridge::unit_stride(dy)?.apply_op1_no_bwd(&back)?))
    }
}
