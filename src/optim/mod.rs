//! The optimiser: AdamW over flat parameters, and clipping by the global norm.

pub mod adamw;
pub mod clip;

pub use adamw::{AdamW, AdamWConfig};
pub use clip::clip_coefficient;
