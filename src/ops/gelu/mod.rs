//! GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2), which is
//! GPT-2's: `y = x/2·(1 + tanh u)` with `u = √(2/π)·(x + 0.044715·x³)`.
//!
//! Since `(1 + tanh u)/2 = σ(2u)`, one exponential is enough and nothing cancels:
//! `y = x·s`, `dx = dy·(s + x·s·(1 − s)·2u′)` with `s = σ(2u)`.
//! Cost: one exponential an element each way; bound by memory.

pub mod composition;

use candle_core::{Result, Tensor};

/// `x` → same shape.
///
/// # Errors
/// Only the backend's.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    composition::gelu(x)
}
