//! SwiGLU's gate as candle operations.

use candle_core::{Result, Tensor};

/// See [`super::swiglu`].
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}
