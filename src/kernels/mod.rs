//! Arithmetic of the training step over slices: products, attention, norms, activations, losses,
//! updates. Pure functions that know neither tensors nor models; each states formula and cost.
//!
//! Numbers are stored as [`element::Element`]s (f32, or bf16 where a step runs in mixed
//! precision) and computed in f32. Work is cut into blocks by shapes alone, so that results do
//! not depend on the number of threads.

pub mod attention;
pub mod cpu;
pub mod dropout;
pub mod element;
pub mod gemm;
pub mod simd;
