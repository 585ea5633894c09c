//! Dropout (Srivastava et al. 2014, JMLR 15, in its inverted form): each element is kept with
//! probability 1 − p and then scaled by 1/(1 − p).
//!
//! The mask is a pure function of a key and the element's index in row-major order, not a
//! stream, so it is the same on every device and any number of threads, and the backward pass
//! computes it again instead of keeping it. Cost: about ten integer operations an element.

pub mod composition;
mod cpu;
mod fused;

use super::cpu::bridge;
use candle_core::{Result, Tensor, bail};

/// Which elements to drop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability that an element is dropped, in `[0, 1)`.
    pub p: f64,
    /// Names the mask. Give every place and every step another one.
    pub key: u64,
}

/// A [`Dropout`] made ready for the inner loops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    low: u32,
    high: u32,
    /// An element is kept iff its hash is at least this: p·2³².
    threshold: u32,
    /// 1/(1 − p).
    scale: f32,
}

impl Mask {
    pub(crate) fn new(dropout: Dropout) -> Result<Self> {
        let Dropout { p, key } = dropout;
        if !(0.0..1.0).contains(&p) {
            bail!("dropout: p must be at least 0 and below 1, not {p}");
        }
        // SplitMix64 (Steele, Lea and Flood 2014): neighbouring keys give unrelated masks.
        let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Ok(Self {
            low: z as u32,
            high: (z >> 32) as u32,
            threshold: (p * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - p)) as f32,
        })
    }

    /// The factors of the elements from index `first` on.
    #[inline(always)]
    pub(crate) fn starting_at(self, first: u64) -> Factors {
        let high = (first >> 32) as u32;
        Factors {
            mask: self,
            first: first as u32,
            high: [mix(high ^ self.high), mix((high + 1) ^ self.high)],
        }
    }
}

/// The factors of up to 2³² consecutive elements.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    mask: Mask,
    first: u32,
    /// The hashed upper half of an index, before and after the lower half overflows.
    high: [u32; 2],
}

impl Factors {
    /// What the i-th of these elements is multiplied with: 0, or 1/(1 − p).
    #[inline(always)]
    pub(crate) fn get(&self, i: u32) -> f32 {
        let low = self.first.wrapping_add(i);
        // Selects, not branches or table look-ups: the loops around this must vectorise.
        let high = if low < self.first {
            self.high[1]
        } else {
            self.high[0]
        };
        let hash = mix(mix(low ^ self.mask.low).wrapping_add(high));
        if hash >= self.mask.threshold {
            self.mask.scale
        } else {
            0.0
        }
    }
}

/// A bijection of 32 bits with full avalanche (Wellons 2018, "hash prospector", lowbias32).
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// `x` → same shape. With p = 0 it is `x` itself.
///
/// # Errors
/// When p is not in `[0, 1)`.
pub fn dropout(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    let mask = Mask::new(dropout)?;
    if dropout.p == 0.0 {
        return Ok(x.clone());
    }
    if bridge::fits(&[x]) {
        return x.contiguous()?.apply_op1(fused::Drop { mask });
    }
    composition::dropout(x, dropout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check::{check, random};

    const THIRD: Dropout = Dropout { p: 0.3, key: 7 };

    fn factors(dropout: Dropout, count: u64) -> Vec<f32> {
        let mask = Mask::new(dropout).unwrap();
        (0..count).map(|i| mask.starting_at(i).get(0)).collect()
    }

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
    fn the_share_dropped_is_p_and_the_mean_stays() {
        let factors = factors(THIRD, 1 << 20);
        let count = factors.len() as f64;
        let dropped = factors.iter().filter(|&&f| f == 0.0).count() as f64 / count;
        assert!((dropped - 0.3).abs() < 0.002, "{dropped}");
        let mean = factors.iter().map(|&f| f64::from(f)).sum::<f64>() / count;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
    }

    #[test]
    fn neighbouring_keys_and_elements_are_unrelated() {
        let same = |a: &[f32], b: &[f32]| {
            let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
            same as f64 / a.len() as f64
        };
        let half = |key| factors(Dropout { p: 0.5, key }, 1 << 18);
        let (a, b) = (half(7), half(8));
        assert!((same(&a, &b) - 0.5).abs() < 0.005);
        assert!((same(&a[1..], &a[..a.len() - 1]) - 0.5).abs() < 0.005);
        assert!((same(&a[256..], &a[..a.len() - 256]) - 0.5).abs() < 0.005);
    }

    #[test]
    fn a_run_of_factors_crosses_the_32nd_bit() {
        let mask = Mask::new(Dropout { p: 0.5, key: 1 }).unwrap();
        let start = (1 << 32) - 50;
        let run = mask.starting_at(start);
        for i in 0..100 {
            assert_eq!(run.get(i), mask.starting_at(start + u64::from(i)).get(0));
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
