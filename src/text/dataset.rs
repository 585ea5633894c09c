//! A data set on disk: a directory of token shards and its index `dataset.json`; or nanoGPT's
//! `train.bin` and `val.bin`, as they are.

use super::shards::{SplitIndex, TokenWidth};
use super::store::{ShardFile, TokenStore};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::files;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the index. It is the last file written: a directory without it is no data set.
pub const INDEX_FILE: &str = "dataset.json";
/// The name of the tokenizer that made the tokens, beside the index.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// The format of the index that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The contents of `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetIndex {
    /// [`FORMAT`].
    pub format: u32,
    /// The tokenizer's name: "bpe-4096", "gpt2", "char", …
    pub tokenizer: String,
    pub vocab_size: usize,
    /// The id of the end-of-text token that closes each document.
    pub eot: Option<u32>,
    pub width: TokenWidth,
    pub train: SplitIndex,
    pub val: SplitIndex,
    /// Where the text came from and how it was split, in `prepare`'s own words; no part of the
    /// fingerprint.
    #[serde(default)]
    pub source: serde_json::Value,
}

impl DatasetIndex {
    /// Writes `dataset.json` into `dir`, whole or not at all. Every other file of the data set
    /// must be there already.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self).map_err(Error::backend)?;
        json.push(b'\n');
        files::write(&dir.join(INDEX_FILE), &json)
    }

    /// Reads `dir/dataset.json`.
    ///
    /// # Errors
    /// [`Error::Input`] for an index of another format or program, [`Error::Corrupt`] for one
    /// that contradicts itself.
    pub fn read(dir: &Path) -> Result<DatasetIndex> {
        let path = dir.join(INDEX_FILE);
        let json = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        let value: serde_json::Value = serde_json::from_slice(&json).map_err(|e| {
            Error::corrupt(
                &path,
                format!("it is not JSON ({e}); run `lehr prepare` again"),
            )
        })?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => {
                return Err(Error::input(format!(
                    "{} is an index of format {format} and this lehr reads format {FORMAT}; run \
                     `lehr prepare` again",
                    path.display()
                )));
            }
            None => {
                return Err(Error::input(format!(
                    "{} has no number \"format\", so it is not the index of a prepared data set; \
                     run `lehr prepare` into another directory",
                    path.display()
                )));
            }
        }
        let index: DatasetIndex = serde_json::from_value(value)
            .map_err(|e| Error::corrupt(&path, format!("{e}; run `lehr prepare` again")))?;
        for (name, split) in [("train", &index.train), ("val", &index.val)] {
            if split.shards.iter().map(|s| s.tokens).sum::<u64>() != split.tokens {
                return Err(Error::corrupt(
                    &path,
                    format!(
                        "the shards of \"{name}\" do not add up to its {} tokens",
                        split.tokens
                    ),
                ));
            }
            // The index names files beside it, nothing else on the machine.
            let strayed = (split.shards.iter())
                .find(|s| Path::new(&s.file).file_name() != Some(std::ffi::OsStr::new(&s.file)));
            if let Some(shard) = strayed {
                return Err(Error::corrupt(
                    &path,
                    format!("\"{}\" is not the name of a file beside it", shard.file),
                ));
            }
        }
        Ok(index)
    }
}

/// An open data set: two token streams, memory-mapped.
#[derive(Debug)]
pub struct Dataset {
    dir: PathBuf,
    /// `None` for nanoGPT's files, which have no index.
    index: Option<DatasetIndex>,
    train: Arc<TokenStore>,
    val: Arc<TokenStore>,
}

impl Dataset {
    /// Opens a directory that `lehr prepare` made, or one that holds nanoGPT's `train.bin` and
    /// `val.bin` (`u16`, little-endian; its `meta.pkl` is ignored). Sizes are always checked
    /// against the index, checksums only by [`Dataset::verify`].
    ///
    /// # Errors
    /// One sentence that names the file: no data set there, a missing, truncated or overlong
    /// shard, an odd number of bytes, an index of another format.
    pub fn open(dir: &Path) -> Result<Dataset> {
        if dir.join(INDEX_FILE).exists() {
            return Dataset::open_prepared(dir);
        }
        let (train, val) = (dir.join("train.bin"), dir.join("val.bin"));
        match (train.exists(), val.exists()) {
            (true, true) => Ok(Dataset {
                dir: dir.to_path_buf(),
                index: None,
                train: Arc::new(TokenStore::open(
                    TokenWidth::U16,
                    [ShardFile::unknown(train)],
                )?),
                val: Arc::new(TokenStore::open(
                    TokenWidth::U16,
                    [ShardFile::unknown(val)],
                )?),
            }),
            (true, false) => Err(Error::input(format!(
                "{} holds train.bin but no val.bin; put the held-out tokens beside it",
                dir.display()
            ))),
            (false, true) => Err(Error::input(format!(
                "{} holds val.bin but no train.bin; put the training tokens beside it",
                dir.display()
            ))),
            (false, false) if !dir.exists() => Err(Error::input(format!(
                "there is no data set {}; make it with `lehr prepare TEXT --out {}`",
                dir.display(),
                dir.display()
            ))),
            (false, false) => Err(Error::input(format!(
                "{} is not a data set: it holds neither {INDEX_FILE} nor train.bin and val.bin; \
                 make one with `lehr prepare TEXT --out DIR`",
                dir.display()
            ))),
        }
    }

    fn open_prepared(dir: &Path) -> Result<Dataset> {
        let index = DatasetIndex::read(dir)?;
        let open = |split: &SplitIndex| -> Result<Arc<TokenStore>> {
            let files = split.shards.iter().map(|s| ShardFile {
                path: dir.join(&s.file),
                tokens: Some(s.tokens),
            });
            Ok(Arc::new(TokenStore::open(index.width, files)?))
        };
        let (train, val) = (open(&index.train)?, open(&index.val)?);
        Ok(Dataset {
            dir: dir.to_path_buf(),
            index: Some(index),
            train,
            val,
        })
    }

    /// Compares every shard's checksum with the index; reads the whole data set, in parallel.
    /// nanoGPT's files carry no checksums, so nothing can be said of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the first shard whose contents changed since `prepare`.
    pub fn verify(&self) -> Result<()> {
        let Some(index) = &self.index else {
            return Ok(());
        };
        for (split, store) in [(&index.train, &self.train), (&index.val, &self.val)] {
            let shards: Vec<_> = split.shards.iter().zip(store.shards()).collect();
            let first_bad = shards.par_iter().find_first(|(index, shard)| {
                blake3::hash(shard.bytes()).to_hex().as_str() != index.blake3
            });
            if let Some((_, shard)) = first_bad {
                return Err(Error::corrupt(
                    shard.path(),
                    format!(
                        "its checksum is not the one in {INDEX_FILE}; restore it or run `lehr \
                         prepare` again"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Checks that every token can be looked up in a table of `vocab_size` rows. Reads every
    /// token once, at about the speed of memory (or of the disk, the first time).
    ///
    /// # Errors
    /// [`Error::Input`] naming the first shard and token that cannot.
    pub fn check_vocab(&self, vocab_size: usize) -> Result<()> {
        for shard in self.train.shards().iter().chain(self.val.shards()) {
            let max = shard.max_token();
            if max as usize >= vocab_size {
                return Err(Error::input(format!(
                    "{} holds token id {max} but the model's vocabulary has {vocab_size} ids; \
                         give the model a vocabulary of {} or more, or prepare the text with the \
                         model's tokenizer",
                    shard.path().display(),
                    u64::from(max) + 1
                )));
            }
        }
        Ok(())
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn train(&self) -> &Arc<TokenStore> {
        &self.train
    }

    /// The held-out split; it may be empty in a prepared data set.
    pub fn val(&self) -> &Arc<TokenStore> {
        &self.val
    }

    /// The index; `None` for nanoGPT's files.
    pub fn index(&self) -> Option<&DatasetIndex> {
        self.index.as_ref()
    }

    /// The vocabulary's size as the index has it; `None` for nanoGPT's files.
    pub fn vocab_size(&self) -> Option<usize> {
        self.index.as_ref().map(|index| index.vocab_size)
    }

    /// The tokenizer beside the tokens, if there is one.
    ///
    /// # Errors
    /// Those of [`Tokenizer::from_file`], and [`Error::Input`] when it is not the one that made
    /// the tokens: its vocabulary is of another size than the index says.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        let path = self.dir.join(TOKENIZER_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let tokenizer = Tokenizer::from_file(&path)?;
        let (has, says) = (tokenizer.vocab_size(), self.vocab_size());
        match says {
            Some(says) if says != has => Err(Error::input(format!(
                "{} has {has} tokens and the data beside it was made with {says}; restore the \
                 file or run `lehr prepare` again",
                path.display()
            ))),
            _ => Ok(Some(tokenizer)),
        }
    }

    /// A hash of what a run would read, in hex: `resume` compares it to refuse changed data.
    ///
    /// For a prepared data set it covers the width, the vocabulary and the shards' checksums, so
    /// it costs nothing. For nanoGPT's files it covers their sizes and contents: all of a file
    /// up to 64 MiB, and 64 evenly spread blocks of 1 MiB of a larger one.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        if let Some(index) = &self.index {
            let DatasetIndex {
                vocab_size,
                eot,
                width,
                train,
                val,
                ..
            } = index;
            let covered = serde_json::to_vec(&(FORMAT, vocab_size, eot, width, train, val));
            hasher.update(&covered.expect("numbers and strings always serialise"));
        } else {
            for store in [&self.train, &self.val] {
                for shard in store.shards() {
                    sample(shard.bytes(), &mut hasher);
                }
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn sample(bytes: &[u8], hasher: &mut blake3::Hasher) {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 64;
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    if bytes.len() <= BLOCK * BLOCKS {
        hasher.update(bytes);
        return;
    }
    let last = bytes.len() - BLOCK;
    for i in 0..BLOCKS {
        let start = (last as u128 * i as u128 / (BLOCKS as u128 - 1)) as usize;
        hasher.update(&bytes[start..start + BLOCK]);
    }
}
