//! The rotation as one node of candle's tape.

use super::{RopeTable, cpu};
use crate::ops::cpu::bridge;
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
        let mut y = vec![0.0; layout.shape().elem_count()];
        cpu::rotate(
            bridge::strided(x, layout)?,
            layout.shape().dims4()?.into(),
            [layout.stride()[0], layout.stride()[1], layout.stride()[2]],
            &bridge::floats(&self.table.cos)?,
            &bridge::floats(&self.table.sin)?,
            if self.opposite { -1.0 } else { 1.0 },
            &mut y,
        );
        bridge::result(y, layout.shape())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let back = Rope {
            table: self.table.clone(),
            opposite: !self.opposite,
        };
        Ok(Some(dy.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}
