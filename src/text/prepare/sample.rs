//! What a tokenizer is made from: a bounded sample of the text for a BPE, all its characters for
//! a character vocabulary.

use std::collections::BTreeSet;

/// A BPE learns from at most this many bytes: enough for the frequencies of a hundred thousand
/// pairs to settle, and the largest thing that a preparation holds.
const BYTES: usize = 64 << 20;

/// A uniform sample of the pieces of a text of unknown length, all of it while it fits. Each piece
/// draws a number; when the sample outgrows its bound, the threshold halves and the pieces above
/// it go. It depends on the pieces and the seed alone.
pub(super) struct Sample {
    pieces: Vec<(u64, String)>,
    bytes: usize,
    bound: usize,
    threshold: u64,
    state: u64,
}

impl Sample {
    pub(super) fn new(seed: u64) -> Sample {
        Sample::bounded(seed, BYTES)
    }

    fn bounded(seed: u64, bound: usize) -> Sample {
        Sample {
            pieces: Vec::new(),
            bytes: 0,
            bound,
            threshold: u64::MAX,
            state: seed,
        }
    }

    pub(super) fn add(&mut self, text: String) {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if z > self.threshold {
            return;
        }
        self.bytes += text.len();
        self.pieces.push((z, text));
        while self.bytes > self.bound && self.pieces.len() > 1 {
            self.threshold /= 2;
            let threshold = self.threshold;
            self.pieces.retain(|&(z, _)| z <= threshold);
            self.bytes = self.pieces.iter().map(|(_, t)| t.len()).sum();
        }
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.pieces.into_iter().map(|(_, text)| text).collect()
    }
}

/// The characters seen so far: one bit each.
pub(super) struct CharacterSet(Vec<u64>);

impl CharacterSet {
    pub(super) fn new() -> CharacterSet {
        CharacterSet(vec![0; 0x110000 / 64])
    }

    pub(super) fn add(&mut self, text: &str) {
        for c in text.chars() {
            self.0[c as usize / 64] |= 1 << (c as u32 % 64);
        }
    }

    pub(super) fn into_set(self) -> BTreeSet<char> {
        let seen = |c: &char| self.0[*c as usize / 64] >> (*c as u32 % 64) & 1 == 1;
        ('\0'..=char::MAX).filter(seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_whole_while_it_fits_and_spread_when_it_does_not() {
        let text = |i: usize| format!("{i:010}");
        let mut all = Sample::bounded(1, 100_000);
        (0..10_000).for_each(|i| all.add(text(i)));
        assert_eq!(all.into_texts().len(), 10_000);

        let mut some = Sample::bounded(1, 10_000);
        (0..10_000).for_each(|i| some.add(text(i)));
        let texts = some.into_texts();
        assert!((400..=1000).contains(&texts.len()), "{}", texts.len());
        let late = texts.iter().filter(|t| t.as_str() >= "0000005000").count();
        assert!((0.35..0.65).contains(&(late as f64 / texts.len() as f64)));
    }

    #[test]
    fn characters() {
        let mut set = CharacterSet::new();
        set.add("aé漢\u{10FFFF}a\0");
        let expected: BTreeSet<char> = "aé漢\u{10FFFF}\0".chars().collect();
        assert_eq!(set.into_set(), expected);
    }
}
