//! Dropout (Srivastava et al. 2014, JMLR 15, in its inverted form): each element is kept with
//! probability 1 − p and then scaled by 1/(1 − p).
//!
//! The mask is a pure function of a key and the element's index in row-major order, not a
//! stream, so it is the same on every device and any number of threads, and the backward pass
//! computes it again instead of keeping it. Cost: about ten integer operations an element.

pub mod composition;

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
    pub(crate) scale: f32,
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

    /// What element `index` is multiplied with: 0, or 1/(1 − p).
    #[inline(always)]
    pub(crate) fn factor(&self, index: u64) -> f32 {
        let high = mix((index >> 32) as u32 ^ self.high);
        let hash = mix(mix(index as u32 ^ self.low).wrapping_add(high));
        // A select, not a branch: this loop must vectorise.
        if hash >= self.threshold {
            self.scale
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
    composition::dropout(x, mask)
}
