//! Embedding: row `ids[b, t]` of a table.
//!
//! Cost: 4·N·D bytes read and written forward; backward adds N rows of gradient into a zeroed
//! V×D table.

pub mod composition;
mod fused;

use super::bridge;
use candle_core::{Result, Tensor, bail};

/// `ids [B, T]` (u32), `table [V, D]` → `[B, T, D]`.
///
/// # Errors
/// When an id is not below V.
pub fn embedding(ids: &Tensor, table: &Tensor) -> Result<Tensor> {
    let (vocab, _) = table.dims2()?;
    if bridge::fits(&[table]) && ids.elem_count() > 0 {
        let captured = ids.flatten_all()?.to_vec1::<u32>()?;
        if let Some(id) = captured.iter().find(|&&id| id as usize >= vocab) {
            bail!("embedding: token id {id}, but the table has {vocab} rows");
        }
        let fused = fused::Embedding::new(captured, ids.shape().clone());
        return table.contiguous()?.apply_op1(fused);
    }
    composition::embedding(ids, table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, random};
    use candle_core::Device;

    /// Some ids occur often, some never.
    fn ids(b: usize, t: usize, vocab: u32) -> Tensor {
        let ids: Vec<u32> = (0..(b * t) as u32)
            .map(|i| (i * i * 7 + 3) % vocab)
            .collect();
        Tensor::from_vec(ids, (b, t), &Device::Cpu).unwrap()
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        for (b, t, vocab, width) in [(1, 1, 1, 3), (2, 67, 200, 40), (3, 300, 65, 16)] {
            let ids = ids(b, t, vocab as u32);
            check(
                &[random((vocab, width), 1)],
                |x| embedding(&ids, &x[0]),
                |x| composition::embedding(&ids, &x[0]),
            );
        }
    }

    #[test]
    fn an_id_beyond_the_table_is_refused() {
        let ids = Tensor::new(&[[0u32, 5]], &Device::Cpu).unwrap();
        let error = embedding(&ids, &random((5, 2), 1)).unwrap_err();
        assert!(error.to_string().contains("token id 5"), "{error}");
    }
}
