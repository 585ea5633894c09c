//! Dropout (Srivastava et al. 2014, JMLR 15, in its inverted form): each element is kept with
//! probability 1 − p and then scaled by 1/(1 − p).
//!
//! The mask is a pure function of a key and the element's index in row-major order, not a
//! stream, so it is the same on every device and any number of threads, and the backward pass
//! computes it again instead of keeping it. Cost: about ten integer operations an element.

pub use crate::kernels::dropout::Dropout;

pub mod composition;
mod fused;

use super::bridge;
use crate::kernels::dropout::Mask;
use candle_core::{Result, Tensor, bail};

/// `x` → same shape. With p = 0 it is `x` itself.
///
/// # Errors
/// When p is not in `[0, 1)`.
pub fn dropout(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    let mask = mask(dropout)?;
    if dropout.p == 0.0 {
        return Ok(x.clone());
    }
    if bridge::fits(&[x]) {
        return x.contiguous()?.apply_op1(fused::Drop { mask });
    }
    composition::dropout(x, dropout)
}

/// A mask, where p makes one.
pub(super) fn mask(dropout: Dropout) -> Result<Mask> {
    let p = dropout.p;
    if !(0.0..1.0).contains(&p) {
        bail!("dropout: p must be at least 0 and below 1, not {p}");
    }
    Ok(Mask::new(dropout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, random};

    const THIRD: Dropout = Dropout { p: 0.3, key: 7 };

    #[test]
    fn fused_agrees_with_the_composition() {
        for shape in [[1, 40], [129, 130]] {
            check(
                &[random(shape.as_slice(), 1)],
                |t| dropout(&t[0], THIRD),
                |t| composition::dropout(&t[0], THIRD),
            );
        }
    }

    #[test]
    fn p_of_zero_changes_nothing_and_p_of_one_is_refused() {
        let x = random((3, 4), 1);
        let y = dropout(&x, Dropout { p: 0.0, key: 1 }).unwrap();
        assert_eq!(x.to_vec2::<f32>().unwrap(), y.to_vec2::<f32>().unwrap());
        for p in [1.0, -0.1, f64::NAN] {
            assert!(dropout(&x, Dropout { p, key: 1 }).is_err());
        }
    }
}
