//! SwiGLU's gate (Shazeer 2020, arXiv:2002.05202, eq. 6 without its matrices):
//! `y = silu(gate)·up`, `silu(g) = g·σ(g)`.
//!
//! Backward: `dup = dy·silu(g)`, `dgate = dy·up·σ(g)·(1 + g·(1 − σ(g)))`.
//! Cost: one exponential an element each way; bound by memory.

pub mod composition;

use candle_core::{Result, Tensor, bail};

/// `gate` and `up` of one shape → that shape.
///
/// # Errors
/// When the shapes differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        bail!("swiglu: gate {:?}, but up {:?}", gate.shape(), up.shape());
    }
    composition::swiglu(gate, up)
}
