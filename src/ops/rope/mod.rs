//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864, eq. 34) in the "half" layout of
//! Llama on Hugging Face: element `j` is paired with `j + hd/2`, and at position `t`
//! `(a, b) → (a·cos − b·sin, b·cos + a·sin)` for the angle `t·θ^(−2j/hd)`.
//!
//! Backward is the rotation by the opposite angle. Cost: 3 FLOPs an element; bound by memory.

pub mod composition;
mod fused;

use super::{bridge, metal};
use crate::kernels::rope::table;
use candle_core::{DType, Device, Result, Tensor, bail};

/// Cosines and sines of every position and pair, `[positions, hd/2]`.
#[derive(Clone, Debug)]
pub struct RopeTable {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTable {
    /// The table for `positions` positions, heads of `head_dim` elements and base `theta`
    /// (10,000 in the paper and in Llama 1 and 2), as f32 on `device`.
    ///
    /// The numbers are those of [`crate::kernels::rope::table`].
    ///
    /// # Errors
    /// When `head_dim` is odd or zero.
    pub fn new(positions: usize, head_dim: usize, theta: f64, device: &Device) -> Result<Self> {
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            bail!("rope: the head width must be even, not {head_dim}");
        }
        let half = head_dim / 2;
        let [cos, sin] = table(positions, head_dim, theta);
        Ok(Self {
            cos: Tensor::from_vec(cos, (positions, half), device)?,
            sin: Tensor::from_vec(sin, (positions, half), device)?,
        })
    }

    /// How many positions it covers.
    pub fn positions(&self) -> usize {
        self.cos.dims()[0]
    }

    /// Cosines and sines of the first `t` positions as `[1, t, 1, hd/2]`, in `dtype`.
    fn rows(&self, t: usize, dtype: DType) -> Result<(Tensor, Tensor)> {
        let shape = |table: &Tensor| {
            table
                .narrow(0, 0, t)?
                .unsqueeze(1)?
                .unsqueeze(0)?
                .to_dtype(dtype)
        };
        Ok((shape(&self.cos)?, shape(&self.sin)?))
    }
}

/// `x [B, T, H, hd]`, whose first position is position 0 → same shape.
///
/// # Errors
/// When T exceeds the table or the head width is not the table's.
pub fn rope(x: &Tensor, table: &RopeTable) -> Result<Tensor> {
    let (_, t, _, head_dim) = x.dims4()?;
    if t > table.positions() {
        bail!(
            "rope: {t} positions, but the table has {}",
            table.positions()
        );
    }
    if head_dim != 2 * table.cos.dims()[1] {
        bail!(
            "rope: heads of {head_dim}, but the table is for {}",
            2 * table.cos.dims()[1]
        );
    }
    if metal::fits(&[x, &table.cos, &table.sin]) {
        return metal::rope(x, &table.cos, &table.sin);
    }
    if bridge::fits(&[x, &table.cos, &table.sin]) {
        let fused = fused::Rope {
            table: table.clone(),
            opposite: false,
        };
        return bridge::unit_stride(x)?.apply_op1(fused);
    }
    composition::rope(x, table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, finite_differences, random};

    fn table(head_dim: usize) -> RopeTable {
        RopeTable::new(64, head_dim, 10_000.0, &Device::Cpu).unwrap()
    }

    #[test]
    fn fused_agrees_with_the_composition() {
        for shape in [[1, 1, 1, 2], [2, 35, 3, 40], [1, 64, 2, 6]] {
            let table = table(shape[3]);
            check(
                &[random(shape.as_slice(), 1)],
                |t| rope(&t[0], &table),
                |t| composition::rope(&t[0], &table),
            );
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let table = table(4);
        finite_differences(&[random((1, 3, 2, 4), 1)], |t| {
            composition::rope(&t[0], &table)
        });
    }

    #[test]
    fn scores_depend_on_the_distance_alone() {
        let table = table(8);
        let row = random((1, 1, 1, 8), 1);
        let x = row.repeat((1, 20, 1, 1)).unwrap();
        let x = rope(&x, &table)
            .unwrap()
            .squeeze(2)
            .unwrap()
            .squeeze(0)
            .unwrap();
        let scores: Vec<Vec<f32>> = x.matmul(&x.t().unwrap()).unwrap().to_vec2().unwrap();
        assert!((scores[3][1] - scores[19][17]).abs() < 1e-5);
        assert!((scores[3][1] - scores[3][2]).abs() > 1e-3);
    }

    #[test]
    fn more_positions_than_the_table_has_are_refused() {
        let error = rope(&random((1, 65, 1, 4), 1), &table(4)).unwrap_err();
        assert!(error.to_string().contains("65 positions"), "{error}");
        assert!(RopeTable::new(4, 5, 10_000.0, &Device::Cpu).is_err());
    }
}
