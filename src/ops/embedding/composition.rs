//! The embedding as candle's `index_select`, whose gradient is an `index_add`.

use candle_core::{Result, Tensor};

/// See [`super::embedding`].
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let mut dims = ids.dims().to_vec();
    dims.push(table.dim(1)?);
    table.index_select(&ids.flatten_all()?, 0)?.reshape(dims)
}
