//! Which documents are held out.
//!
//! Document i is held out when h(seed, i) < f, with h uniform on [0, 1): the choice of one
//! document depends on no other, so a corpus that grows at its end keeps its held-out documents.
//! If that leaves the first ⌈4/f⌉ documents (the *surveyed* ones) all on one side, the one among
//! them with the smallest (largest) h changes sides, so that both sides have a document wherever
//! there are two. A corpus of a single document is cut at the first white space after its
//! fraction 1−f.

use super::Corpus;
use super::pieces::Piece;
use crate::text::readers::{Flow, Sink, Stop};

/// Uniform on [0, 1) from two words (the finaliser of splitmix64 over their mix).
fn uniform(seed: u64, i: u64) -> f64 {
    let mut z = seed
        .wrapping_mul(0xd134_2543_de82_ef95)
        .wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

/// Looks at the first documents of a corpus.
pub(super) struct Survey {
    fraction: f64,
    seed: u64,
    documents: u64,
    first_bytes: u64,
}

impl Survey {
    pub(super) fn new(fraction: f64, seed: u64) -> Survey {
        Survey {
            fraction,
            seed,
            documents: 0,
            first_bytes: 0,
        }
    }

    pub(super) fn see(&mut self, piece: &Piece) -> Flow {
        if piece.document == 0 {
            self.first_bytes += piece.text.len() as u64;
        }
        self.documents += u64::from(piece.ends);
        match self.documents as f64 * self.fraction >= 4.0 {
            true => Err(Stop::Enough),
            false => Ok(()),
        }
    }

    /// `None` for a corpus without any document.
    pub(super) fn split(&self) -> Option<Split> {
        let (fraction, seed) = (self.fraction, self.seed);
        let mut split = Split {
            fraction,
            seed,
            moved: None,
            cut_at: None,
        };
        match self.documents {
            0 => return None,
            1 => split.cut_at = Some(((1.0 - fraction) * self.first_bytes as f64) as u64),
            n => {
                let held_out = (0..n).filter(|&i| split.is_val(i)).count() as u64;
                let by_hash = |a: &u64, b: &u64| uniform(seed, *a).total_cmp(&uniform(seed, *b));
                if held_out == 0 {
                    split.moved = (0..n).min_by(by_hash);
                } else if held_out == n {
                    split.moved = (0..n).max_by(by_hash);
                }
            }
        }
        Some(split)
    }
}

/// Decides for every document.
pub(super) struct Split {
    fraction: f64,
    seed: u64,
    /// The document that goes to the other side of where its hash would send it.
    moved: Option<u64>,
    /// The only document is cut in two after this many bytes: 0 is trained on, 1 held out.
    cut_at: Option<u64>,
}

impl Split {
    pub(super) fn is_val(&self, document: u64) -> bool {
        match self.cut_at {
            Some(_) => document == 1,
            None => {
                (uniform(self.seed, document) < self.fraction) != (self.moved == Some(document))
            }
        }
    }

    pub(super) fn is_by_position(&self) -> bool {
        self.cut_at.is_some()
    }

    /// Reads the corpus into `sink`, the only document in two where that is the split.
    pub(super) fn read(&self, corpus: &Corpus, sink: &mut dyn Sink) -> Flow {
        match self.cut_at {
            None => corpus.read(sink),
            Some(at) => corpus.read(&mut Halves {
                sink,
                at,
                left: Some(at),
                began: false,
            }),
        }
    }
}

/// Ends the document at the first white space after a position (or after 4,096 more bytes
/// without any), so that what follows is a document of its own.
struct Halves<'a> {
    sink: &'a mut dyn Sink,
    at: u64,
    /// Bytes before the position; `None` once the cut is made.
    left: Option<u64>,
    /// The document's text has begun: blank documents before it do not count.
    began: bool,
}

impl Sink for Halves<'_> {
    fn text(&mut self, part: &str) -> Flow {
        const PATIENCE: u64 = 4096;
        self.began = self.began || !part.trim_start().is_empty();
        let Some(left) = self.left else {
            return self.sink.text(part);
        };
        let cut = part.char_indices().find(|&(i, c)| {
            let i = i as u64;
            i >= left && (c.is_whitespace() || i >= left + PATIENCE)
        });
        let Some((i, c)) = cut else {
            self.left = Some(left.saturating_sub(part.len() as u64));
            return self.sink.text(part);
        };
        let i = i + c.len_utf8();
        self.sink.text(&part[..i])?;
        self.sink.end_document()?;
        self.left = None;
        self.sink.text(&part[i..])
    }

    fn end_document(&mut self) -> Flow {
        if !self.began {
            self.left = Some(self.at);
        }
        self.sink.end_document()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_of(n: u64, fraction: f64, seed: u64) -> Split {
        let mut survey = Survey::new(fraction, seed);
        for document in 0..n {
            let text = "x".repeat(10);
            let piece = Piece {
                text,
                document,
                ends: true,
            };
            if survey.see(&piece).is_err() {
                break;
            }
        }
        survey.split().unwrap()
    }

    #[test]
    fn both_sides_have_a_document_whenever_there_are_two() {
        for fraction in [0.5, 0.3, 0.05, 0.001] {
            for n in [2, 3, 5, 50, 500] {
                for seed in 0..50 {
                    let split = split_of(n, fraction, seed);
                    let held = (0..n).filter(|&i| split.is_val(i)).count() as u64;
                    assert!(
                        held >= 1 && held < n,
                        "{n} documents, {fraction}, seed {seed}: {held}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_share_is_the_fraction_and_the_seed_chooses() {
        let held = |seed| -> Vec<u64> {
            let split = split_of(100_000, 0.05, seed);
            (0..100_000).filter(|&i| split.is_val(i)).collect()
        };
        let (a, b) = (held(1), held(2));
        for held in [&a, &b] {
            // Five standard deviations of a binomial.
            assert!((held.len() as f64 - 5000.0).abs() < 350.0, "{}", held.len());
        }
        assert_eq!(a, held(1));
        assert!(a.iter().filter(|i| b.contains(i)).count() < 400);
    }
}
