//! Token shards: plain little-endian `u16` or `u32`, nothing else in the file, so that
//! `numpy.memmap` and nanoGPT read them as they are. Counts and checksums stand in the index
//! ([`super::dataset`]).

use crate::error::{Error, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How many bytes hold one token id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenWidth {
    U16,
    U32,
}

impl TokenWidth {
    /// The narrowest width that holds every id below `vocab_size`.
    pub fn for_vocab(vocab_size: usize) -> TokenWidth {
        if vocab_size <= 1 << 16 {
            TokenWidth::U16
        } else {
            TokenWidth::U32
        }
    }

    /// Bytes a token.
    pub fn bytes(self) -> usize {
        match self {
            TokenWidth::U16 => 2,
            TokenWidth::U32 => 4,
        }
    }

    /// The largest id that fits.
    pub fn max_id(self) -> u32 {
        match self {
            TokenWidth::U16 => u16::MAX.into(),
            TokenWidth::U32 => u32::MAX,
        }
    }
}

/// What the index says about one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardIndex {
    /// File name within the data set's directory.
    pub file: String,
    pub tokens: u64,
    /// BLAKE3 of the file, in hex.
    pub blake3: String,
}

/// What the index says about one split; its token stream is its shards end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitIndex {
    pub shards: Vec<ShardIndex>,
    /// Tokens in all shards, end-of-text tokens among them.
    pub tokens: u64,
    pub documents: u64,
    /// UTF-8 bytes of the text that the tokens stand for; end-of-text tokens count as none.
    pub bytes: u64,
}

/// Writes one split's documents end to end into shards `SPLIT-00000.bin`, `SPLIT-00001.bin`, …
///
/// Each shard is written aside and renamed once it is full and synced. They become a data set
/// only when the index is written; a writer that is dropped before [`ShardWriter::finish`]
/// removes everything that it wrote.
pub struct ShardWriter {
    dir: PathBuf,
    split: String,
    width: TokenWidth,
    tokens_per_shard: u64,
    open: Option<OpenShard>,
    index: SplitIndex,
    finished: bool,
}

struct OpenShard {
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    tokens: u64,
    /// Encoded tokens that are not in the file yet.
    buffer: Vec<u8>,
}

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 20;

impl ShardWriter {
    /// Starts the split `split` ("train" or "val") in `dir`, which is created if need be.
    ///
    /// # Errors
    /// [`Error::Input`] when `tokens_per_shard` is 0, [`Error::Io`] when `dir` cannot be made.
    pub fn create(
        dir: &Path,
        split: &str,
        width: TokenWidth,
        tokens_per_shard: u64,
    ) -> Result<ShardWriter> {
        if tokens_per_shard == 0 {
            return Err(Error::input(
                "a shard cannot hold 0 tokens; give --tokens-per-shard 1 or more",
            ));
        }
        fs::create_dir_all(dir).map_err(|e| Error::io("create the directory", dir, e))?;
        Ok(ShardWriter {
            dir: dir.to_path_buf(),
            split: split.to_string(),
            width,
            tokens_per_shard,
            open: None,
            index: SplitIndex::default(),
            finished: false,
        })
    }

    /// Appends a document: its `tokens` (the end-of-text token already among them), which stand
    /// for `text_bytes` bytes of UTF-8. A document may span shards.
    ///
    /// # Errors
    /// [`Error::Input`] for a token that does not fit the width, [`Error::Io`] naming the shard
    /// when it cannot be written.
    pub fn write_document(&mut self, tokens: &[u32], text_bytes: u64) -> Result<()> {
        self.write_part(tokens, text_bytes)?;
        self.end_document();
        Ok(())
    }

    /// Counts the parts written since the last document as one document.
    pub fn end_document(&mut self) {
        self.index.documents += 1;
    }

    /// Appends a part of a document too long to be held whole; [`Self::end_document`] follows the
    /// last part. Errors as [`Self::write_document`] has them.
    pub fn write_part(&mut self, tokens: &[u32], text_bytes: u64) -> Result<()> {
        if let Some(&token) = tokens.iter().find(|&&t| t > self.width.max_id()) {
            return Err(Error::input(format!(
                "token id {token} does not fit the {}-byte shards of {}; the tokenizer gives ids \
                 beyond its own vocabulary size",
                self.width.bytes(),
                self.dir.display()
            )));
        }
        let mut rest = tokens;
        while !rest.is_empty() {
            let room = match &self.open {
                Some(shard) => self.tokens_per_shard - shard.tokens,
                None => {
                    self.open = Some(self.next_shard()?);
                    self.tokens_per_shard
                }
            };
            let take = usize::try_from(room).map_or(rest.len(), |room| room.min(rest.len()));
            let (now, later) = rest.split_at(take);
            let shard = self.open.as_mut().expect("opened above");
            shard.append(now, self.width)?;
            if shard.tokens == self.tokens_per_shard {
                self.close_shard()?;
            }
            rest = later;
        }
        self.index.tokens += tokens.len() as u64;
        self.index.bytes += text_bytes;
        Ok(())
    }

    /// Flushes and syncs the last shard and hands back what the index has to say of the split.
    pub fn finish(mut self) -> Result<SplitIndex> {
        self.close_shard()?;
        self.finished = true;
        Ok(std::mem::take(&mut self.index))
    }

    fn next_shard(&self) -> Result<OpenShard> {
        let file = format!("{}-{:05}.bin", self.split, self.index.shards.len());
        let path = self.dir.join(file);
        let file = File::create(files::aside(&path)).map_err(|e| Error::io("create", &path, e))?;
        Ok(OpenShard {
            path,
            file,
            hasher: blake3::Hasher::new(),
            tokens: 0,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    fn close_shard(&mut self) -> Result<()> {
        let Some(shard) = &mut self.open else {
            return Ok(());
        };
        shard.flush()?;
        shard
            .file
            .sync_all()
            .map_err(|e| Error::io("write", &shard.path, e))?;
        files::rename(&files::aside(&shard.path), &shard.path)?;
        let name = shard.path.file_name().expect("a shard has a name");
        self.index.shards.push(ShardIndex {
            file: name.to_string_lossy().into_owned(),
            tokens: shard.tokens,
            blake3: shard.hasher.finalize().to_hex().to_string(),
        });
        self.open = None;
        Ok(())
    }
}

impl Drop for ShardWriter {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Some(shard) = self.open.take() {
            let _ = fs::remove_file(files::aside(&shard.path));
        }
        for shard in &self.index.shards {
            let _ = fs::remove_file(self.dir.join(&shard.file));
        }
    }
}

impl OpenShard {
    fn append(&mut self, tokens: &[u32], width: TokenWidth) -> Result<()> {
        for chunk in tokens.chunks(BUFFER / width.bytes()) {
            match width {
                TokenWidth::U16 => {
                    (self.buffer).extend(chunk.iter().flat_map(|&t| (t as u16).to_le_bytes()));
                }
                TokenWidth::U32 => {
                    (self.buffer).extend(chunk.iter().flat_map(|&t| t.to_le_bytes()));
                }
            }
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        self.tokens += tokens.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        self.file
            .write_all(&self.buffer)
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn widths() {
        assert_eq!(TokenWidth::for_vocab(50257), TokenWidth::U16);
        assert_eq!(TokenWidth::for_vocab(65536), TokenWidth::U16);
        assert_eq!(TokenWidth::for_vocab(65537), TokenWidth::U32);
    }

    #[test]
    fn documents_span_shards() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(dir.path(), "train", TokenWidth::U16, 4).unwrap();
        writer.write_document(&[1, 2, 3], 5).unwrap();
        writer.write_part(&[4, 5, 6], 4).unwrap();
        writer.write_part(&[7, 8, 0x102], 5).unwrap();
        writer.end_document();
        writer.write_document(&[], 0).unwrap();
        let index = writer.finish().unwrap();
        assert_eq!((index.tokens, index.documents, index.bytes), (9, 3, 14));
        let tokens: Vec<u64> = index.shards.iter().map(|s| s.tokens).collect();
        assert_eq!(tokens, [4, 4, 1]);
        assert_eq!(
            names(dir.path()),
            ["train-00000.bin", "train-00001.bin", "train-00002.bin"]
        );
        let first = fs::read(dir.path().join("train-00000.bin")).unwrap();
        assert_eq!(first, [1, 0, 2, 0, 3, 0, 4, 0]);
        assert_eq!(
            index.shards[0].blake3,
            blake3::hash(&first).to_hex().as_str()
        );
        assert_eq!(
            fs::read(dir.path().join("train-00002.bin")).unwrap(),
            [2, 1]
        );
    }

    #[test]
    fn long_documents_pass_the_buffer() {
        let dir = tempfile::tempdir().unwrap();
        let tokens: Vec<u32> = (0..700_000).map(|i| i * 6000).collect();
        let mut writer = ShardWriter::create(dir.path(), "val", TokenWidth::U32, u64::MAX).unwrap();
        writer.write_document(&tokens, 1).unwrap();
        let index = writer.finish().unwrap();
        let bytes = fs::read(dir.path().join("val-00000.bin")).unwrap();
        let read: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert!(read == tokens);
        assert_eq!(
            index.shards[0].blake3,
            blake3::hash(&bytes).to_hex().as_str()
        );
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(dir.path(), "train", TokenWidth::U16, 9).unwrap();
        let message = writer.write_document(&[65536], 1).unwrap_err().to_string();
        assert!(message.contains("65536"), "{message}");
        assert!(ShardWriter::create(dir.path(), "train", TokenWidth::U16, 0).is_err());
    }

    #[test]
    fn an_abandoned_writer_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ShardWriter::create(dir.path(), "train", TokenWidth::U16, 4).unwrap();
        writer.write_document(&[1, 2, 3, 4, 5], 5).unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(writer);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_named_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tmp = dir.path().join("train-00000.bin.tmp");
        std::os::unix::fs::symlink("/dev/full", tmp).unwrap();
        let mut writer = ShardWriter::create(dir.path(), "train", TokenWidth::U16, 9).unwrap();
        writer.write_document(&[1], 1).unwrap();
        let message = writer.finish().unwrap_err().to_string();
        assert!(
            message.contains("train-00000.bin") && message.contains("free some space"),
            "{message}"
        );
        assert!(names(dir.path()).is_empty());
    }
}
