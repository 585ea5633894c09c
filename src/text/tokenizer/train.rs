//! Training a byte-level BPE vocabulary.
//!
//! Words are counted once, then the most frequent adjacent pair is merged until the vocabulary is
//! full (Sennrich et al. 2016, arXiv:1508.07909, algorithm 1). Ties go to the pair of smaller ids,
//! and words are sorted, so the result depends on the text alone: not on threads nor on hashing.

use super::EOT;
use super::bpe::ByteBpe;
use super::cache::Fast;
use super::pretokenize::Scanner;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

/// The smallest vocabulary: every byte and `<|endoftext|>`.
pub const SMALLEST_BPE: usize = 257;
/// Longer words (tables of digits, base64) are not language; they would only slow training down.
const LONGEST_WORD: usize = 256;

type Pair = (u32, u32);

/// How often each word occurs in `texts`, sorted by word. Each text is cut at its own borders.
pub(super) fn count_words<T: AsRef<str> + Sync>(texts: &[T]) -> Vec<(Box<[u8]>, u64)> {
    let scanner = Scanner::new();
    let counts = texts
        .par_iter()
        .fold(
            HashMap::<Box<[u8]>, u64, Fast>::default,
            |mut counts, text| {
                let text = text.as_ref();
                let mut start = 0;
                while start < text.len() {
                    let end = scanner.word_end(text, start);
                    let word = &text.as_bytes()[start..end];
                    if word.len() <= LONGEST_WORD {
                        match counts.get_mut(word) {
                            Some(count) => *count += 1,
                            None => drop(counts.insert(word.into(), 1)),
                        }
                    }
                    start = end;
                }
                counts
            },
        )
        .reduce(HashMap::default, |mut a, mut b| {
            if a.len() < b.len() {
                std::mem::swap(&mut a, &mut b);
            }
            for (word, count) in b {
                *a.entry(word).or_insert(0) += count;
            }
            a
        });
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_unstable();
    words
}

struct Word {
    ids: Vec<u32>,
    count: i64,
}

#[derive(Default)]
struct PairCounts {
    counts: HashMap<u64, i64, Fast>,
    /// Words in which the pair was seen; some may have lost it since.
    words: HashMap<u64, Vec<u32>, Fast>,
}

fn key((left, right): Pair) -> u64 {
    (left as u64) << 32 | right as u64
}

/// Trains a vocabulary of exactly `vocab_size` ids: 256 bytes, the merged tokens in the order of
/// their merges, and `<|endoftext|>` last.
///
/// # Errors
/// When the text has too few different pairs to fill the vocabulary.
pub(super) fn train(words: Vec<(Box<[u8]>, u64)>, vocab_size: usize) -> Result<ByteBpe> {
    let mut words: Vec<Word> = words
        .into_iter()
        .map(|(bytes, count)| Word {
            ids: bytes.iter().map(|&b| b as u32).collect(),
            count: count as i64,
        })
        .collect();
    let mut pairs = PairCounts::default();
    for (w, word) in words.iter().enumerate() {
        for pair in word.ids.windows(2) {
            let pair = key((pair[0], pair[1]));
            *pairs.counts.entry(pair).or_insert(0) += word.count;
            let seen = pairs.words.entry(pair).or_default();
            if seen.last() != Some(&(w as u32)) {
                seen.push(w as u32);
            }
        }
    }
    let unkey = |k: u64| -> Pair { ((k >> 32) as u32, k as u32) };
    let mut heap: BinaryHeap<(i64, Reverse<Pair>)> = pairs
        .counts
        .iter()
        .map(|(&k, &count)| (count, Reverse(unkey(k))))
        .collect();

    let mut tokens: Vec<Box<[u8]>> = (0..=255u8).map(|b| [b].into()).collect();
    let mut ids: HashMap<Box<[u8]>, u32> = HashMap::new();
    let mut merges = Vec::new();
    let mut merged_pairs: HashSet<u64, Fast> = HashSet::default();
    let mut changed: BTreeSet<Pair> = BTreeSet::new();
    while tokens.len() < vocab_size - 1 {
        let Some((count, Reverse(pair))) = heap.pop() else {
            return Err(Error::input(format!(
                "the corpus is too small for bpe-{vocab_size}: its words hold only {} different \
                 tokens; choose bpe-{} or smaller, or char",
                tokens.len(),
                (tokens.len() + 1).max(SMALLEST_BPE)
            )));
        };
        // Counts change under entries that wait in the heap: such an entry is put back.
        let now = pairs.counts.get(&key(pair)).copied().unwrap_or(0);
        if now != count {
            if now > 0 {
                heap.push((now, Reverse(pair)));
            }
            continue;
        }
        if count <= 0 {
            continue;
        }
        let merged = [&*tokens[pair.0 as usize], &*tokens[pair.1 as usize]].concat();
        // Two pairs may spell the same token ("ab"+"c", "a"+"bc"): the token keeps its first id.
        let id = *ids.entry(merged.clone().into()).or_insert_with(|| {
            tokens.push(merged.into());
            tokens.len() as u32 - 1
        });
        // A pair comes back when its right half is later spelled another way; it has its rank then.
        if merged_pairs.insert(key(pair)) {
            merges.push((pair.0, pair.1, id));
        }

        let mut holders = pairs.words.remove(&key(pair)).unwrap_or_default();
        holders.sort_unstable();
        holders.dedup();
        changed.clear();
        for w in holders {
            merge_in_word(
                &mut words[w as usize],
                w,
                pair,
                id,
                &mut pairs,
                &mut changed,
            );
        }
        pairs.counts.remove(&key(pair));
        for &pair in &changed {
            if let Some(&count) = pairs.counts.get(&key(pair)).filter(|c| **c > 0) {
                heap.push((count, Reverse(pair)));
            }
        }
    }
    let eot = tokens.len() as u32;
    tokens.push([].into());
    Ok(ByteBpe::new(tokens, merges, vec![(eot, EOT.to_owned())]).expect("every byte has a token"))
}

/// Replaces `pair` by `id` in one word and keeps the counts of all its pairs up to date.
fn merge_in_word(
    word: &mut Word,
    w: u32,
    pair: Pair,
    id: u32,
    pairs: &mut PairCounts,
    changed: &mut BTreeSet<Pair>,
) {
    if !word.ids.windows(2).any(|p| (p[0], p[1]) == pair) {
        return;
    }
    for p in word.ids.windows(2) {
        *pairs.counts.entry(key((p[0], p[1]))).or_insert(0) -= word.count;
    }
    let (mut from, mut to) = (0, 0);
    while from < word.ids.len() {
        if from + 1 < word.ids.len() && (word.ids[from], word.ids[from + 1]) == pair {
            word.ids[to] = id;
            from += 2;
        } else {
            word.ids[to] = word.ids[from];
            from += 1;
        }
        to += 1;
    }
    word.ids.truncate(to);
    for p in word.ids.windows(2) {
        let p = (p[0], p[1]);
        *pairs.counts.entry(key(p)).or_insert(0) += word.count;
        if p.0 == id || p.1 == id {
            let seen = pairs.words.entry(key(p)).or_default();
            if seen.last() != Some(&w) {
                seen.push(w);
            }
            changed.insert(p);
        }
    }
}
