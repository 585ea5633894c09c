//! GELU as a candle operation (candle's `gelu` is the tanh form).

use candle_core::{Result, Tensor};

/// See [`super::gelu`].
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu()
}
