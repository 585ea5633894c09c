//! Byte-level byte-pair encoding: the merge table, and an encoder that remembers words.
//!
//! Sennrich, Haddow & Birch 2016 (arXiv:1508.07909) on bytes, as GPT-2 has it: a word starts as
//! its bytes; while some adjacent pair has a merge, the pair of lowest rank (the leftmost of equal
//! ones) becomes one token. The ids are those of the `tokenizers` library; the tests compare.

use super::cache::{Fast, WordCache};
use super::pretokenize::Scanner;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A byte-level BPE vocabulary: what each id stands for, and which pairs merge in which order.
#[derive(Debug, PartialEq)]
pub(super) struct ByteBpe {
    /// Bytes of every token by id; empty for special tokens.
    pub(super) tokens: Vec<Box<[u8]>>,
    /// Merges in order of rank: (left, right) → merged id.
    pub(super) merges: Vec<(u32, u32, u32)>,
    /// Special tokens: (id, text). They are never produced from text.
    pub(super) specials: Vec<(u32, String)>,
    byte_ids: [u32; 256],
    pairs: HashMap<u64, (u32, u32), Fast>,
}

fn key(left: u32, right: u32) -> u64 {
    (left as u64) << 32 | right as u64
}

impl ByteBpe {
    /// `None` when some byte has no token of its own: such a vocabulary cannot encode every text.
    pub(super) fn new(
        tokens: Vec<Box<[u8]>>,
        merges: Vec<(u32, u32, u32)>,
        specials: Vec<(u32, String)>,
    ) -> Option<ByteBpe> {
        let mut byte_ids = [u32::MAX; 256];
        for (id, token) in tokens.iter().enumerate() {
            if let [byte] = **token {
                byte_ids[byte as usize] = id as u32;
            }
        }
        if byte_ids.contains(&u32::MAX) {
            return None;
        }
        let mut pairs = HashMap::with_capacity_and_hasher(merges.len(), Fast::default());
        for (rank, &(left, right, id)) in merges.iter().enumerate() {
            pairs.insert(key(left, right), (rank as u32, id));
        }
        Some(ByteBpe {
            tokens,
            merges,
            specials,
            byte_ids,
            pairs,
        })
    }

    fn pair(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        self.pairs.get(&key(left, right)).copied()
    }

    /// Appends the ids of `text`. The cache must only ever have served this vocabulary.
    pub(super) fn encode(
        &self,
        scanner: Scanner,
        text: &str,
        cache: &mut WordCache,
        out: &mut Vec<u32>,
    ) {
        let mut start = 0;
        while start < text.len() {
            let end = scanner.word_end(text, start);
            cache.get_or_insert(&text.as_bytes()[start..end], out, |word, out| {
                self.merge(word, out)
            });
            start = end;
        }
    }

    /// Appends the ids of one word.
    pub(super) fn merge(&self, word: &[u8], out: &mut Vec<u32>) {
        let start = out.len();
        out.extend(word.iter().map(|&b| self.byte_ids[b as usize]));
        if word.len() <= 48 {
            self.merge_short(out, start);
        } else {
            self.merge_long(out, start);
        }
    }

    /// Looks at every pair again after each merge: quadratic, and fastest for real words.
    fn merge_short(&self, out: &mut Vec<u32>, start: usize) {
        loop {
            let best = out[start..]
                .windows(2)
                .enumerate()
                .filter_map(|(i, w)| self.pair(w[0], w[1]).map(|(rank, id)| (rank, i, id)))
                .min();
            let Some((_, i, id)) = best else { return };
            out[start + i] = id;
            out.remove(start + i + 1);
        }
    }

    /// A heap of candidate merges over a linked list: n log n, for words of any length.
    fn merge_long(&self, out: &mut Vec<u32>, start: usize) {
        const NONE: usize = usize::MAX;
        let mut ids: Vec<u32> = out.drain(start..).collect();
        let n = ids.len();
        let mut next: Vec<usize> = (1..=n).map(|i| if i < n { i } else { NONE }).collect();
        let mut previous: Vec<usize> = (0..n).map(|i| i.checked_sub(1).unwrap_or(NONE)).collect();
        let mut gone = vec![false; n];
        let mut heap: BinaryHeap<Reverse<(u32, usize)>> = (0..n - 1)
            .filter_map(|i| Some(Reverse((self.pair(ids[i], ids[i + 1])?.0, i))))
            .collect();
        while let Some(Reverse((rank, i))) = heap.pop() {
            let right = next[i];
            if gone[i] || right == NONE {
                continue;
            }
            // An entry is stale when its pair has changed since: a rank names exactly one pair.
            let Some((now, id)) = self.pair(ids[i], ids[right]) else {
                continue;
            };
            if now != rank {
                continue;
            }
            ids[i] = id;
            gone[right] = true;
            next[i] = next[right];
            if next[i] != NONE {
                previous[next[i]] = i;
                if let Some((rank, _)) = self.pair(id, ids[next[i]]) {
                    heap.push(Reverse((rank, i)));
                }
            }
            if previous[i] != NONE
                && let Some((rank, _)) = self.pair(ids[previous[i]], id)
            {
                heap.push(Reverse((rank, previous[i])));
            }
        }
        out.extend(
            ids.iter()
                .zip(&gone)
                .filter(|(_, gone)| !**gone)
                .map(|(id, _)| *id),
        );
    }
}
