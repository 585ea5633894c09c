//! The embedding as one node of candle's tape.

use crate::kernels::table;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// Argument: the table. The ids have no gradient and are captured.
pub(super) struct Embedding {
    ids: Vec<u32>,
    ids_shape: Shape,
}

impl Embedding {
    /// `ids` must be below the table's row count.
    pub(super) fn new(ids: Vec<u32>, ids_shape: Shape) -> Self {
        Self { ids, ids_shape }
    }
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = layout.dims()[1];
        let rows = bridge::slice(table, layout)?;
        let mut out = vec![0.0; self.ids.len() * width];
        table::forward(&self.ids, rows, None, width, None, &mut out);
        let mut dims = self.ids_shape.dims().to_vec();
        dims.push(width);
        bridge::result(out, dims)
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (vocab, width) = table.dims2()?;
        let dy = dy.contiguous()?;
        let mut dtable = vec![0.0; vocab * width];
        let mut starts = vec![0; vocab + 1];
        let mut order = vec![0; self.ids.len()];
        table::bucket(&self.ids, &mut starts, &mut order);
        table::backward(&starts, &order, &bridge::floats(&dy)?, width, &mut dtable);
        Ok(Some(bridge::gradient(dtable, table)?))
    }
}
