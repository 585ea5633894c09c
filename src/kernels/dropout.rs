//! Dropout masks from a counter: a pure function of a key and an element's index in row-major
//! order, the same on any number of threads, so that backward computes them again instead of
//! keeping them. About ten integer operations an element.

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
pub struct Mask {
    low: u32,
    high: u32,
    /// An element is kept iff its hash is at least this: p·2³².
    threshold: u32,
    /// 1/(1 − p).
    scale: f32,
}

impl Mask {
    /// # Panics
    /// p is not in `[0, 1)`.
    pub fn new(dropout: Dropout) -> Self {
        let Dropout { p, key } = dropout;
        assert!((0.0..1.0).contains(&p), "p = {p}");
        // SplitMix64 (Steele, Lea and Flood 2014): neighbouring keys give unrelated masks.
        let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Self {
            low: z as u32,
            high: (z >> 32) as u32,
            threshold: (p * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - p)) as f32,
        }
    }

    /// The halves of the hashed key, the threshold and the scale, for kernels elsewhere.
    pub fn parts(self) -> (u32, u32, u32, f32) {
        (self.low, self.high, self.threshold, self.scale)
    }

    /// The factors of the elements from index `first` on.
    #[inline(always)]
    pub fn starting_at(self, first: u64) -> Factors {
        let high = (first >> 32) as u32;
        Factors {
            mask: self,
            first: first as u32,
            high: [mix(high ^ self.high), mix((high + 1) ^ self.high)],
        }
    }

    /// The factor of the i-th element of the run that [`Factors::parts`] describes: for loops
    /// over many runs at a time.
    #[inline(always)]
    pub fn factor(self, first: u32, high: [u32; 2], i: u32) -> f32 {
        let low = first.wrapping_add(i);
        // Selects, not branches or table look-ups: the loops around this must vectorise.
        let high = if low < first { high[1] } else { high[0] };
        let hash = mix(mix(low ^ self.low).wrapping_add(high));
        if hash >= self.threshold {
            self.scale
        } else {
            0.0
        }
    }
}

/// The factors of up to 2³² consecutive elements.
#[derive(Clone, Copy)]
pub struct Factors {
    mask: Mask,
    first: u32,
    /// The hashed upper half of an index, before and after the lower half overflows.
    high: [u32; 2],
}

impl Factors {
    /// What the i-th of these elements is multiplied with: 0, or 1/(1 − p).
    #[inline(always)]
    pub fn get(&self, i: u32) -> f32 {
        self.mask.factor(self.first, self.high, i)
    }

    /// The lower half of the first index and the hashed upper halves, for [`Mask::factor`].
    #[inline(always)]
    pub fn parts(&self) -> (u32, [u32; 2]) {
        (self.first, self.high)
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

#[cfg(test)]
mod tests {
    use super::*;

    const THIRD: Dropout = Dropout { p: 0.3, key: 7 };

    fn factors(dropout: Dropout, count: u64) -> Vec<f32> {
        let mask = Mask::new(dropout);
        (0..count).map(|i| mask.starting_at(i).get(0)).collect()
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
        let mask = Mask::new(Dropout { p: 0.5, key: 1 });
        let start = (1 << 32) - 50;
        let run = mask.starting_at(start);
        for i in 0..100 {
            assert_eq!(run.get(i), mask.starting_at(start + u64::from(i)).get(0));
        }
    }
}
