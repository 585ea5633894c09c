//! How a user names a tokenizer: `char`, `bpe-4096`, `gpt2`, or the path of a `tokenizer.json`.

use super::train::SMALLEST_BPE;
use crate::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What `--tokenizer` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerSpec {
    /// One token a character of the training documents.
    Char,
    /// A byte-level BPE of exactly this many ids, trained on the corpus.
    Bpe(usize),
    /// GPT-2's 50,257 ids.
    Gpt2,
    /// Any `tokenizer.json`, or a directory that holds one.
    File(PathBuf),
}

/// Beyond this a trained vocabulary has no use, and a typing error is likelier.
const LARGEST_BPE: usize = 1_000_000;

impl FromStr for TokenizerSpec {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        let looks_like_path = spec.contains(['/', '\\']) || spec.ends_with(".json");
        match spec {
            "char" => return Ok(TokenizerSpec::Char),
            "gpt2" => return Ok(TokenizerSpec::Gpt2),
            _ if looks_like_path => return Ok(TokenizerSpec::File(spec.into())),
            _ => {}
        }
        if let Some(size) = spec.strip_prefix("bpe-") {
            return match size.replace(['_', ','], "").parse::<usize>() {
                Ok(size) if (SMALLEST_BPE..=LARGEST_BPE).contains(&size) => {
                    Ok(TokenizerSpec::Bpe(size))
                }
                Ok(size) if size < SMALLEST_BPE => Err(Error::input(format!(
                    "tokenizer bpe-{size} is too small: 256 bytes and {} need at least \
                     bpe-{SMALLEST_BPE}",
                    super::EOT
                ))),
                _ => Err(Error::input(format!(
                    "tokenizer {spec:?} needs a vocabulary size from {SMALLEST_BPE} to \
                     {LARGEST_BPE}, such as bpe-4096"
                ))),
            };
        }
        if PathBuf::from(spec).exists() {
            return Ok(TokenizerSpec::File(spec.into()));
        }
        let nearest = ["char", "gpt2", "bpe-4096"]
            .into_iter()
            .max_by(|a, b| {
                let near = |name: &str| strsim::jaro_winkler(name, &spec.to_lowercase());
                near(a).total_cmp(&near(b))
            })
            .expect("three names");
        Err(Error::input(format!(
            "unknown tokenizer {spec:?}; did you mean {nearest}? Known: char, bpe-N (such as \
             bpe-4096), gpt2, or the path of a tokenizer.json"
        )))
    }
}

impl fmt::Display for TokenizerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenizerSpec::Char => write!(f, "char"),
            TokenizerSpec::Bpe(size) => write!(f, "bpe-{size}"),
            TokenizerSpec::Gpt2 => write!(f, "gpt2"),
            TokenizerSpec::File(path) => write!(f, "{}", path.display()),
        }
    }
}
