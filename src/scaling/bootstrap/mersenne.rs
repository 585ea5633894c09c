//! The Mersenne Twister (Matsumoto and Nishimura 1998) and NumPy's `RandomState(seed).choice` on it.
//!
//! Published bootstraps of scaling laws were drawn so; with the same draws an interval can be compared digit for digit instead
//! of within the scatter of its percentiles, which for 4000 draws is a few percent.

const N: usize = 624;
const M: usize = 397;

pub(super) struct Mersenne {
    state: [u32; N],
    next: usize,
}

impl Mersenne {
    /// Seeds as NumPy does below 2³²; the upper half of larger seeds is folded in.
    pub(super) fn new(seed: u64) -> Mersenne {
        let mut state = [0; N];
        state[0] = (seed ^ (seed >> 32)) as u32;
        for i in 1..N {
            let last: u32 = state[i - 1];
            let mixed = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30));
            state[i] = mixed.wrapping_add(i as u32);
        }
        Mersenne { state, next: N }
    }

    fn word(&mut self) -> u32 {
        if self.next == N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Uniform in `0..n`, by rejection under the next power of two.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let most = (n - 1) as u32;
        if most == 0 {
            return 0;
        }
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let value = self.word() & mask;
            if value <= most {
                return value as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_choices_are_those_of_numpy() {
        let mut rng = Mersenne::new(42);
        assert_eq!([rng.word(), rng.word()], [1_608_637_542, 3_421_126_067]);
        // numpy.random.RandomState(42).choice(240, 8)
        let mut rng = Mersenne::new(42);
        let drawn: Vec<usize> = (0..8).map(|_| rng.below(240)).collect();
        assert_eq!(drawn, CHOICE);
        assert_eq!(rng.below(1), 0);
    }

    const CHOICE: [usize; 8] = [102, 179, 92, 14, 106, 71, 188, 20];
}
