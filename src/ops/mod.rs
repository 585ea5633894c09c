//! Differentiable tensor operations: one folder an operation.
//!
//! Every folder holds `mod.rs` (what it computes, what it costs, which implementation serves
//! which input), `composition.rs` (the same thing out of candle's own differentiable
//! operations: it serves every device and dtype, and is the oracle of the tests), `cpu.rs`
//! (fused f32 kernels: they see slices and strides, never tensors) and `fused.rs` (the kernels
//! as one node of candle's tape, with what its backward needs from its forward).
//!
//! Why not candle's own fused operations: its `softmax_last_dim`, `rms_norm`, `layer_norm`
//! and `rope` have no backward, and say nothing about it.
//!
//! # Which path runs
//! The fused kernels take f32 tensors on the CPU; everything else takes the composition.
//! Both give the same numbers to about 1e-6 relative.
//!
//! # Determinism
//! Work is cut into blocks whose size depends on the shapes alone, and partial sums are added
//! in block order, so the bits do not depend on the number of threads. They may differ between
//! CPU generations (fused multiply-add, vector width), never on one machine.
//!
//! # Letters in shapes
//! `B` sequences, `T` positions, `N` = B·T rows, `D` model width, `H` query heads,
//! `KV` key and value heads, `hd` head width, `V` vocabulary.

pub mod attention;
#[cfg(test)]
mod check;
mod cpu;
pub mod dropout;
pub mod embedding;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod linear_cross_entropy;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;

pub use attention::attention;
pub use dropout::{Dropout, dropout};
pub use embedding::embedding;
pub use gelu::gelu;
pub use layer_norm::layer_norm;
pub use linear::{WeightLayout, linear};
pub use linear_cross_entropy::linear_cross_entropy;
pub use rms_norm::rms_norm;
pub use rope::{RopeTable, rope};
pub use swiglu::swiglu;
