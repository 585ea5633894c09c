//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864, eq. 34) in the "half" layout of
//! Llama on Hugging Face: element `j` is paired with `j + hd/2`, and at position `t`
//! `(a, b) → (a·cos − b·sin, b·cos + a·sin)` for the angle `t·θ^(−2j/hd)`.
//!
//! Backward is the rotation by the opposite angle. Cost: 3 FLOPs an element; bound by memory.

pub mod composition;

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
    /// Frequencies and angles are rounded to f32 where Hugging Face's Llama rounds them, so that
    /// both rotate by the same angles.
    ///
    /// # Errors
    /// When `head_dim` is odd or zero.
    pub fn new(positions: usize, head_dim: usize, theta: f64, device: &Device) -> Result<Self> {
        if head_dim == 0 || head_dim % 2 != 0 {
            bail!("rope: the head width must be even, not {head_dim}");
        }
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|j| {
                let exponent = (2 * j) as f32 / head_dim as f32;
                1.0 / theta.powf(f64::from(exponent)) as f32
            })
            .collect();
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        for t in 0..positions {
            for &frequency in &frequencies {
                let angle = f64::from(t as f32 * frequency);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
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
    composition::rope(x, table)
}
