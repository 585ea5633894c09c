//! Text to token ids and back.
//!
//! Three vocabularies have a path of their own: characters ([`TokenizerSpec::Char`]), byte-level
//! BPE with GPT-2's pre-tokenization (trained here, GPT-2's own, and any `tokenizer.json` of that
//! shape). Every other `tokenizer.json` goes through Hugging Face's `tokenizers`. Whichever path
//! encodes, the ids are those that `tokenizers` gives, and [`Tokenizer::save`] writes a
//! `tokenizer.json` that it loads.
//!
//! No special token ever comes out of text: a document that spells `<|endoftext|>` is tokenized
//! as those thirteen characters.

mod any;
mod bpe;
mod cache;
mod chars;
mod gpt2;
mod json;
mod pretokenize;
mod spec;
#[cfg(test)]
mod tests;
mod train;

pub use spec::TokenizerSpec;
pub use train::SMALLEST_BPE;

use crate::error::{Error, Result};
use crate::files;
use any::Any;
use bpe::ByteBpe;
use cache::WordCache;
use chars::Chars;
use pretokenize::Scanner;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The token that ends a document.
pub const EOT: &str = "<|endoftext|>";

enum Kind {
    Chars(Box<Chars>),
    Bpe(Box<ByteBpe>),
    Any(Box<Any>),
}

/// A vocabulary and its rules; cheap to clone, shared between threads.
#[derive(Clone)]
pub struct Tokenizer {
    kind: Arc<Kind>,
    name: Arc<str>,
}

/// Where a long document may be cut so that its parts encode to the very ids of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts {
    /// Between any two characters.
    Anywhere,
    /// At word boundaries that no longer text can move; see [`Cuts::last`].
    AtWords,
    /// Nowhere that is known.
    Never,
}

impl Tokenizer {
    /// Loads `gpt2` or a `tokenizer.json`.
    ///
    /// # Errors
    /// For `char` and `bpe-N`, which only a corpus makes: prepare one with `lehr prepare`.
    pub fn load(spec: &str) -> Result<Self> {
        match spec.parse()? {
            TokenizerSpec::Gpt2 => Self::gpt2(),
            TokenizerSpec::File(path) => Self::from_file(&path),
            TokenizerSpec::Char | TokenizerSpec::Bpe(_) => Err(Error::input(format!(
                "tokenizer {spec} is made from a corpus: run lehr prepare, and name the \
                 tokenizer.json that it writes"
            ))),
        }
    }

    /// Reads any `tokenizer.json`, or the one in the directory `path`.
    pub fn from_file(path: &Path) -> Result<Self> {
        let file = match path.is_dir() {
            true => path.join("tokenizer.json"),
            false => path.to_path_buf(),
        };
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
        let bad = |what: String| {
            Error::input(format!(
                "{} is not a tokenizer.json that can be used: {what}",
                file.display()
            ))
        };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if let Some(chars) = json::read_chars(&value) {
            return Ok(Self::from_chars(chars));
        }
        if let Some(bpe) = json::read_bpe(&value) {
            return Ok(Self::from_bpe(bpe));
        }
        let any = Any::new(text, &file).map_err(bad)?;
        let name = file.display().to_string();
        Ok(Self::new(Kind::Any(Box::new(any)), name))
    }

    /// GPT-2's vocabulary, built from the ranks that `tiktoken-rs` ships: 50,257 ids,
    /// `<|endoftext|>` is 50256. (Ranks: OpenAI, MIT licence.)
    pub fn gpt2() -> Result<Self> {
        gpt2::vocabulary().map(Self::from_bpe)
    }

    /// One id for each of `seen`, one for every other character (U+FFFD), and `<|endoftext|>`.
    pub fn train_chars(seen: &BTreeSet<char>) -> Self {
        Self::from_chars(Chars::new(seen))
    }

    /// A byte-level BPE of exactly `vocab_size` ids from `texts`; the result depends on nothing
    /// else, whatever the number of threads. `texts` may be parts of documents if they were cut
    /// by [`Cuts::AtWords`].
    ///
    /// # Errors
    /// When the texts are too few to fill the vocabulary, or `vocab_size` is below 257.
    pub fn train_bpe<T: AsRef<str> + Sync>(texts: &[T], vocab_size: usize) -> Result<Self> {
        if vocab_size < SMALLEST_BPE {
            return format!("bpe-{vocab_size}")
                .parse::<TokenizerSpec>()
                .map(|_| unreachable!("the spec refuses vocabularies below {SMALLEST_BPE}"));
        }
        train::train(train::count_words(texts), vocab_size).map(Self::from_bpe)
    }

    fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Tokenizer {
            kind: Arc::new(kind),
            name: name.into(),
        }
    }

    fn from_chars(chars: Chars) -> Self {
        Self::new(Kind::Chars(Box::new(chars)), "char")
    }

    fn from_bpe(bpe: ByteBpe) -> Self {
        // The 50,257 of GPT-2 are known by their first and their last merge (" t", " gazed").
        let is_gpt2 = bpe.tokens.len() == 50_257
            && *bpe.tokens[256] == *b" t"
            && *bpe.tokens[50_255] == *b" gazed";
        let name = match is_gpt2 {
            true => "gpt2".to_owned(),
            false => format!("bpe-{}", bpe.tokens.len()),
        };
        Self::new(Kind::Bpe(Box::new(bpe)), name)
    }

    /// `char`, `bpe-4096`, `gpt2`, or the path that was loaded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        match &*self.kind {
            Kind::Chars(chars) => chars.chars.len() + 1,
            Kind::Bpe(bpe) => bpe.tokens.len(),
            Kind::Any(any) => any.vocab_size,
        }
    }

    /// The id that ends a document: `<|endoftext|>`, or for a foreign file the end-of-text token
    /// that its `tokenizer_config.json` or custom names.
    pub fn eot(&self) -> Option<u32> {
        match &*self.kind {
            Kind::Chars(chars) => Some(chars.eot()),
            Kind::Bpe(bpe) => {
                let id = |(id, _): &(u32, String)| *id;
                let eot = bpe.specials.iter().find(|(_, text)| text == EOT);
                eot.or(bpe.specials.last()).map(id)
            }
            Kind::Any(any) => any.eot,
        }
    }

    /// The ids of `text`: no special token is added or recognised.
    ///
    /// # Errors
    /// Only from a foreign `tokenizer.json` whose rules fail on the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encoder().encode_into(text, &mut ids)?;
        Ok(ids)
    }

    /// An encoder that remembers words: for one thread, and many texts.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder {
            tokenizer: self,
            scanner: Scanner::new(),
            cache: WordCache::new(),
        }
    }

    /// The text that `ids` stand for; bytes that are no UTF-8 become U+FFFD, special tokens
    /// appear as they are spelled.
    ///
    /// # Errors
    /// When an id lies outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab_size()) {
            return Err(Error::input(format!(
                "token id {id} lies outside the vocabulary of {} ({} ids)",
                self.name,
                self.vocab_size()
            )));
        }
        match &*self.kind {
            Kind::Chars(chars) => {
                let mut text = String::new();
                for &id in ids {
                    match chars.chars.get(id as usize) {
                        Some(&c) => text.push(c),
                        None => text.push_str(EOT),
                    }
                }
                Ok(text)
            }
            Kind::Bpe(bpe) => {
                let mut bytes = Vec::new();
                for &id in ids {
                    match bpe.specials.iter().find(|(special, _)| *special == id) {
                        Some((_, text)) => bytes.extend_from_slice(text.as_bytes()),
                        None => bytes.extend_from_slice(&bpe.tokens[id as usize]),
                    }
                }
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Kind::Any(any) => any.decode(ids),
        }
    }

    /// How many UTF-8 bytes of text each id stands for, 0 for special tokens: what turns nats a
    /// token into bits a byte. Length [`Self::vocab_size`]. Exact for characters and byte-level
    /// vocabularies; for other files it is what the token's own spelling says.
    pub fn token_bytes(&self) -> Vec<u32> {
        match &*self.kind {
            Kind::Chars(chars) => {
                let bytes = chars.chars.iter().map(|c| c.len_utf8() as u32);
                bytes.chain([0]).collect()
            }
            Kind::Bpe(bpe) => bpe.tokens.iter().map(|t| t.len() as u32).collect(),
            Kind::Any(any) => any.token_bytes(),
        }
    }

    /// Where documents may be cut for this vocabulary.
    pub fn cuts(&self) -> Cuts {
        match &*self.kind {
            Kind::Chars(_) => Cuts::Anywhere,
            Kind::Bpe(_) => Cuts::AtWords,
            Kind::Any(_) => Cuts::Never,
        }
    }

    /// Writes a `tokenizer.json` that Hugging Face's libraries load, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = match &*self.kind {
            Kind::Chars(chars) => format!("{:#}\n", json::write_chars(chars)),
            Kind::Bpe(bpe) => format!("{:#}\n", json::write_bpe(bpe)),
            Kind::Any(any) => any.source.clone(),
        };
        files::write(path, text.as_bytes())
    }
}

impl Cuts {
    /// The last byte of `text` before which it may be cut, if there is one.
    pub fn last(self, text: &str) -> Option<usize> {
        match self {
            Cuts::Anywhere => Some(text.len()).filter(|&n| n > 0),
            Cuts::AtWords => Scanner::new().last_safe_cut(text),
            Cuts::Never => None,
        }
    }
}

/// A tokenizer in use by one thread.
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    scanner: Scanner,
    cache: WordCache,
}

impl Encoder<'_> {
    /// Appends the ids of `text` to `out`, as [`Tokenizer::encode`] gives them.
    pub fn encode_into(&mut self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        match &*self.tokenizer.kind {
            Kind::Chars(chars) => chars.encode(text, out),
            Kind::Bpe(bpe) => bpe.encode(self.scanner, text, &mut self.cache, out),
            Kind::Any(any) => any.encode(text, out)?,
        }
        Ok(())
    }
}
