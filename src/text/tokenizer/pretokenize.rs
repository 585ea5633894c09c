//! GPT-2's pre-tokenization: where a text may be cut into words before byte pairs are merged.
//!
//! The published pattern (Radford et al. 2019, `encoder.py`) is
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```
//!
//! Its look-ahead forces a backtracking regex engine, which costs more than all the merging after
//! it. [`word_end`] is the same pattern as a hand-written scanner. `\p{L}`, `\p{N}` and `\s` come
//! from `regex-syntax`, the tables of the engine inside the `tokenizers` library, so that the two
//! agree on every character whatever Unicode version the standard library has.

use std::sync::LazyLock;

/// The four character classes that the pattern distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Class {
    Letter,
    Number,
    Space,
    Other,
}

/// Class of every code point up to the end of the Basic Multilingual Plane, and ranges beyond.
struct Classes {
    plane0: Box<[Class]>,
    beyond: Vec<(u32, u32, Class)>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    let mut plane0 = vec![Class::Other; 0x10000].into_boxed_slice();
    let mut beyond = Vec::new();
    let patterns = [
        (r"\p{L}", Class::Letter),
        (r"\p{N}", Class::Number),
        (r"\s", Class::Space),
    ];
    for (pattern, class) in patterns {
        let hir = regex_syntax::parse(pattern).expect("a constant pattern");
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(set)) = hir.kind()
        else {
            unreachable!("{pattern} is a Unicode class");
        };
        for range in set.ranges() {
            let (first, last) = (range.start() as u32, range.end() as u32);
            for c in first..=last.min(0xFFFF) {
                plane0[c as usize] = class;
            }
            if last > 0xFFFF {
                beyond.push((first.max(0x10000), last, class));
            }
        }
    }
    beyond.sort_unstable_by_key(|&(first, _, _)| first);
    Classes { plane0, beyond }
});

impl Classes {
    fn of(&self, c: u32) -> Class {
        if let Some(&class) = self.plane0.get(c as usize) {
            return class;
        }
        let after = self.beyond.partition_point(|&(first, _, _)| first <= c);
        match after.checked_sub(1).map(|i| self.beyond[i]) {
            Some((_, last, class)) if c <= last => class,
            _ => Class::Other,
        }
    }
}

/// The scanner: holds the class table, so that the hot loop does not ask for its initialisation.
#[derive(Clone, Copy)]
pub(super) struct Scanner {
    classes: &'static Classes,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Scanner { classes: &CLASSES }
    }

    /// Class and length in bytes of the character that starts at byte `i` of `text`.
    #[inline(always)]
    fn at(&self, text: &str, i: usize) -> (Class, usize) {
        let byte = text.as_bytes()[i];
        if byte < 0x80 {
            return (self.classes.plane0[byte as usize], 1);
        }
        self.at_wide(text, i)
    }

    #[inline(never)]
    fn at_wide(&self, text: &str, i: usize) -> (Class, usize) {
        let c = text[i..].chars().next().expect("i lies inside the text");
        (self.classes.of(c as u32), c.len_utf8())
    }

    /// Where the word that starts at byte `start` ends. `start` must be a character boundary
    /// inside the text, and a word boundary (0, or an earlier result).
    #[inline]
    pub(super) fn word_end(&self, text: &str, start: usize) -> usize {
        let bytes = text.as_bytes();
        if bytes[start] == b'\'' {
            match bytes.get(start + 1) {
                Some(b's' | b't' | b'm' | b'd') => return start + 2,
                Some(b'r' | b'v') if bytes.get(start + 2) == Some(&b'e') => return start + 3,
                Some(b'l') if bytes.get(start + 2) == Some(&b'l') => return start + 3,
                _ => {}
            }
        }
        let (mut run, n) = self.at(text, start);
        let mut end = start + n;
        if bytes[start] == b' ' && end < bytes.len() {
            // " ?" of the pattern: one plain space belongs to the run that follows it.
            let (next, n) = self.at(text, end);
            if next != Class::Space {
                run = next;
                end += n;
            }
        }
        if run != Class::Space {
            while end < bytes.len() {
                let (class, n) = self.at(text, end);
                if class != run {
                    break;
                }
                end += n;
            }
            return end;
        }
        // \s+(?!\S): white space before a word leaves its last character to what follows.
        let mut last = start;
        while end < bytes.len() {
            let (class, n) = self.at(text, end);
            if class != Class::Space {
                return if last == start { end } else { last };
            }
            last = end;
            end += n;
        }
        end
    }

    /// The last place in `text` where every longer text with this prefix has a word boundary and
    /// the two halves encode independently, so that a document may be cut there without changing
    /// a single token. `None` when there is no such place.
    ///
    /// No word crosses from a letter or a number into another class, nor from other characters
    /// into white space or a number (only `'s` and its like lead from there into a letter); and
    /// the pattern's only look-ahead follows white space, which is never cut after.
    pub(super) fn last_safe_cut(&self, text: &str) -> Option<usize> {
        let mut chars = text.char_indices().rev();
        let (mut at, c) = chars.next()?;
        let mut next = self.classes.of(c as u32);
        for (i, c) in chars {
            let class = self.classes.of(c as u32);
            let safe = match class {
                Class::Space => false,
                Class::Other => matches!(next, Class::Space | Class::Number),
                _ => next != class,
            };
            if safe {
                return Some(at);
            }
            (at, next) = (i, class);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<&str> {
        let scanner = Scanner::new();
        let (mut words, mut start) = (Vec::new(), 0);
        while start < text.len() {
            let end = scanner.word_end(text, start);
            words.push(&text[start..end]);
            start = end;
        }
        words
    }

    /// The same split by the `tokenizers` library's own regex.
    fn reference(text: &str) -> Vec<String> {
        use tokenizers::pre_tokenizers::byte_level::ByteLevel;
        use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};
        let mut p = PreTokenizedString::from(text);
        ByteLevel::new(false, true, true)
            .pre_tokenize(&mut p)
            .unwrap();
        p.get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (a, b), _)| text[a..b].to_owned())
            .filter(|s| !s.is_empty())
            .collect()
    }

    pub(super) fn tricky() -> impl Strategy<Value = String> {
        let atoms = prop::sample::select(vec![
            " ",
            "  ",
            "\n",
            "\t",
            "\r\n",
            "\u{a0}",
            "\u{3000}",
            "'",
            "'s",
            "'ll",
            "'re",
            "'v",
            "a",
            "Z",
            "é",
            "漢",
            "ß",
            "7",
            "½",
            "Ⅳ",
            "٣",
            "_",
            "-",
            "…",
            "😀",
            "👩‍💻",
            "\u{301}",
            "\u{10400}",
            "𝟘",
            "\0",
            "<|endoftext|>",
        ]);
        prop_oneof![
            prop::collection::vec(atoms, 0..40).prop_map(|v| v.concat()),
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn splits_as_the_published_pattern_does(text in tricky()) {
            prop_assert_eq!(words(&text), reference(&text));
        }

        #[test]
        fn a_safe_cut_changes_no_word(head in tricky(), tail in tricky()) {
            if let Some(cut) = Scanner::new().last_safe_cut(&head) {
                let whole = head.clone() + &tail;
                let mut parts = words(&whole[..cut]);
                parts.extend(words(&whole[cut..]));
                prop_assert_eq!(parts, words(&whole));
            }
        }
    }

    #[test]
    fn every_code_point_has_the_engines_class() {
        // One text holding every character, each fenced so that its class decides the split.
        for block in (0..0x110000u32).collect::<Vec<_>>().chunks(0x4000) {
            let mut text = String::new();
            for c in block.iter().filter_map(|&c| char::from_u32(c)) {
                text.extend(['a', c, '1', c, '-']);
            }
            assert_eq!(words(&text), reference(&text), "near {:#x}", block[0]);
        }
    }

    #[test]
    fn known_sentences() {
        assert_eq!(
            words("Don't  stop, it's 1811!\n\nNo"),
            [
                "Don", "'t", " ", " stop", ",", " it", "'s", " 1811", "!", "\n", "\n", "No"
            ]
        );
        assert_eq!(words("end  "), ["end", "  "]);
    }
}
