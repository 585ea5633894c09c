//! The character tokenizer: one id a Unicode character, for small models and quick experiments.

use std::collections::BTreeSet;

/// What an unseen character becomes, in the vocabulary of every character tokenizer.
pub(super) const UNKNOWN: char = '\u{FFFD}';

/// Characters in order of their code points (the replacement character among them), then
/// `<|endoftext|>`.
#[derive(Debug, PartialEq)]
pub(super) struct Chars {
    /// Sorted; the id of a character is its place.
    pub(super) chars: Vec<char>,
    ascii: [u32; 128],
    unknown: u32,
}

impl Chars {
    pub(super) fn new(seen: &BTreeSet<char>) -> Chars {
        let mut chars: Vec<char> = seen.iter().copied().collect();
        if let Err(at) = chars.binary_search(&UNKNOWN) {
            chars.insert(at, UNKNOWN);
        }
        let find = |c: char| chars.binary_search(&c).map(|id| id as u32);
        let unknown = find(UNKNOWN).expect("just inserted");
        let ascii = std::array::from_fn(|c| find(c as u8 as char).unwrap_or(unknown));
        Chars {
            chars,
            ascii,
            unknown,
        }
    }

    /// The id after the last character's.
    pub(super) fn eot(&self) -> u32 {
        self.chars.len() as u32
    }

    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        out.extend(text.chars().map(|c| match self.ascii.get(c as usize) {
            Some(&id) => id,
            None => match self.chars.binary_search(&c) {
                Ok(id) => id as u32,
                Err(_) => self.unknown,
            },
        }));
    }
}
