//! Embedding: row `ids[b, t]` of a table.
//!
//! Cost: 4·N·D bytes read and written forward; backward adds N rows of gradient into a zeroed
//! V×D table.

pub mod composition;

use candle_core::{Result, Tensor};

/// `ids [B, T]` (u32), `table [V, D]` → `[B, T, D]`.
///
/// # Errors
/// When an id is not below V.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    composition::embedding(ids, table)
}
