//! Differentiable tensor operations for candle's tape: one folder an operation.
//!
//! Training does not go through here but on Metal: [`crate::engine`] has its backward pass written
//! out. These are for whatever wants tensors: sampling, models that others write, and the oracle
//! that the engine is tested against. Both do their arithmetic in [`crate::kernels`].
//!
//! Every folder holds `mod.rs` (what it computes, what it costs, which implementation serves
//! which input), `composition.rs` (the same thing out of candle's own differentiable
//! operations: it serves every device and dtype, and is the oracle of the tests) and `fused.rs`
//! (kernels in f32 as one node of candle's tape, with what its backward needs from its forward).
//! `bridge` leads from tensors to the slices that kernels see, and back. `metal` has the fused operations of Apple's GPUs, all
//! of them together.
//!
//! Why not candle's own fused operations: its `softmax_last_dim`, `rms_norm`, `layer_norm`
//! and `rope` have no backward, and say nothing about it.
//!
//! # Which path runs
//! The nodes take f32 tensors on the CPU, and on Metal those of norms, rotary positions, SwiGLU and
//! the loss; everything else takes the composition. All give the same numbers to about 1e-6 relative.
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
mod bridge;
#[cfg(test)]
mod check;
pub mod dropout;
pub mod embedding;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod linear_cross_entropy;
pub(crate) mod metal;
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
