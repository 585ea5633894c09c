//! Dropout as one node of candle's tape.

use super::Mask;
use crate::kernels::finish;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// Its own backward: the gradient is masked and scaled as the argument was.
pub(super) struct Drop {
    pub(super) mask: Mask,
}

impl CustomOp1 for Drop {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = bridge::slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        finish::masked_all(x, self.mask, &mut y);
        bridge::result(y, layout.shape())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let again = Drop { mask: self.mask };
        Ok(Some(dy.contiguous()?.apply_op1_no_bwd(&again)?))
    }
}
