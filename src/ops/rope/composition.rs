//! The rotation as candle operations.

use super::RopeTable;
use candle_core::{D, Result, Tensor};

/// See [`super::rope`].
pub fn rope(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    let (_, t, _, head_dim) = x.dims4()?;
    let half = head_dim / 2;
    let (cos, sin) = table.rows(t, x.dtype())?;
    let a = x.narrow(D::Minus1, 0, half)?;
    let b = x.narrow(D::Minus1, half, half)?;
    let rotated_a = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let rotated_b = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[rotated_a, rotated_b], D::Minus1)
}
