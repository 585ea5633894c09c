//! A bounded memory of words already encoded: text repeats itself, merging does not have to.

use std::hash::{BuildHasherDefault, Hasher};

/// Hashing for keys that no adversary chooses (token pairs): one multiply.
pub(super) type Fast = BuildHasherDefault<FastHasher>;

#[derive(Default)]
pub(super) struct FastHasher(u64);

/// Folds the 128-bit product of two words: the mixing step of wyhash.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes) ^ self.0.rotate_left(5);
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = fold(self.0 ^ n ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[inline(always)]
fn hash(bytes: &[u8]) -> u64 {
    let mut h = bytes.len() as u64 ^ 0xa076_1d64_78bd_642f;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("8 bytes"));
        h = fold(h ^ word, 0xe703_7ed1_a0b4_28db);
    }
    let mut tail = 0u64;
    for (i, &b) in chunks.remainder().iter().enumerate() {
        tail |= (b as u64) << (8 * i);
    }
    fold(h ^ tail, 0x8ebc_6af0_9c88_c6e3)
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    /// Where the word's bytes start in `bytes`.
    word: u32,
    /// 0 marks an empty slot: no word is empty.
    word_len: u16,
    count: u16,
    /// The id itself when `count` is 1, otherwise where the ids start in `ids`.
    ids: u32,
}

/// Word → ids, open addressing, at most [`WordCache::WORDS`] words. When it is full it starts
/// again, so that it follows a corpus whose language changes. One for each thread.
pub(super) struct WordCache {
    slots: Vec<Slot>,
    bytes: Vec<u8>,
    ids: Vec<u32>,
    len: usize,
}

impl WordCache {
    /// About 4 MB when full: larger caches miss the processor's own.
    pub(super) const WORDS: usize = 1 << 16;
    const LONGEST: usize = 64;

    pub(super) fn new() -> Self {
        WordCache {
            slots: vec![Slot::default(); 1 << 10],
            bytes: Vec::new(),
            ids: Vec::new(),
            len: 0,
        }
    }

    /// Appends the ids of `word` to `out`, from memory or by `encode`.
    #[inline]
    pub(super) fn get_or_insert(
        &mut self,
        word: &[u8],
        out: &mut Vec<u32>,
        encode: impl FnOnce(&[u8], &mut Vec<u32>),
    ) {
        if word.len() > Self::LONGEST {
            return encode(word, out);
        }
        let hash = hash(word);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.word_len == 0 {
                break;
            }
            let start = slot.word as usize;
            if slot.hash == hash && self.bytes[start..start + slot.word_len as usize] == *word {
                if slot.count == 1 {
                    out.push(slot.ids);
                } else {
                    let ids = slot.ids as usize;
                    out.extend_from_slice(&self.ids[ids..ids + slot.count as usize]);
                }
                return;
            }
            at = (at + 1) & mask;
        }
        let before = out.len();
        encode(word, out);
        self.insert(hash, word, &out[before..]);
    }

    #[inline(never)]
    fn insert(&mut self, hash: u64, word: &[u8], ids: &[u32]) {
        if self.len >= Self::WORDS {
            *self = WordCache::new();
        } else if 2 * self.len >= self.slots.len() {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![Slot::default(); 2 * old.len()];
            for slot in old.into_iter().filter(|s| s.word_len > 0) {
                self.place(slot);
            }
        }
        let slot = Slot {
            hash,
            word: self.bytes.len() as u32,
            word_len: word.len() as u16,
            count: ids.len() as u16,
            ids: match ids {
                [id] => *id,
                _ => self.ids.len() as u32,
            },
        };
        self.bytes.extend_from_slice(word);
        if ids.len() != 1 {
            self.ids.extend_from_slice(ids);
        }
        self.place(slot);
        self.len += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].word_len > 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_through_growth_and_restart() {
        let mut cache = WordCache::new();
        let encode = |word: &[u8], out: &mut Vec<u32>| {
            out.extend(word.iter().map(|&b| b as u32).take(1 + word.len() % 3));
        };
        for i in (0..3 * WordCache::WORDS).chain(0..1000) {
            let word = i.to_string();
            let (mut got, mut want) = (vec![7], vec![7]);
            cache.get_or_insert(word.as_bytes(), &mut got, encode);
            encode(word.as_bytes(), &mut want);
            assert_eq!(got, want);
            cache.get_or_insert(word.as_bytes(), &mut got, |_, _| panic!("asked twice"));
        }
        assert!(cache.len <= WordCache::WORDS);
    }
}
