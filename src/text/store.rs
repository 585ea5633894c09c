//! One split's token stream: memory-mapped shards, read as if they were one file.

use super::shards::TokenWidth;
use crate::error::{Error, Result};
use memmap2::{Mmap, MmapMut};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A shard to open.
pub struct ShardFile {
    pub path: PathBuf,
    /// How many tokens it must hold; `None`: as many as are there.
    pub tokens: Option<u64>,
}

impl ShardFile {
    /// A shard of which no index says how long it is.
    pub fn unknown(path: PathBuf) -> ShardFile {
        ShardFile { path, tokens: None }
    }
}

/// A token stream over memory-mapped shards. Reading copies out of the page cache; nothing is
/// held in memory that the system cannot take back.
#[derive(Debug)]
pub struct TokenStore {
    shards: Vec<Shard>,
    len: u64,
}

/// One memory-mapped shard.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    map: Mmap,
    width: TokenWidth,
    /// The stream position of its first token.
    start: u64,
}

impl TokenStore {
    /// Maps `files` end to end.
    ///
    /// # Errors
    /// One sentence naming the file that is missing, empty, cut inside a token, or of another
    /// size than its index says.
    pub fn open(
        width: TokenWidth,
        files: impl IntoIterator<Item = ShardFile>,
    ) -> Result<TokenStore> {
        let mut store = TokenStore {
            shards: Vec::new(),
            len: 0,
        };
        for file in files {
            let shard = Shard::open(file, width, store.len)?;
            store.len += shard.len();
            store.shards.push(shard);
        }
        Ok(store)
    }

    /// A store of ids that lie in memory, for text tokenised on the spot.
    ///
    /// # Errors
    /// [`Error::Backend`] when the system gives no memory.
    pub fn from_ids(ids: &[u32]) -> Result<TokenStore> {
        let mut map = MmapMut::map_anon(4 * ids.len().max(1)).map_err(Error::backend)?;
        for (slot, id) in map.chunks_exact_mut(4).zip(ids) {
            slot.copy_from_slice(&id.to_le_bytes());
        }
        let shard = Shard {
            path: PathBuf::from("(memory)"),
            map: map.make_read_only().map_err(Error::backend)?,
            width: TokenWidth::U32,
            start: 0,
        };
        Ok(TokenStore {
            shards: vec![shard],
            len: ids.len() as u64,
        })
    }

    /// Tokens in the stream.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The shards in the order of the stream.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Copies the tokens from `start` on into `out`, across shard borders.
    ///
    /// # Panics
    /// When the stream ends before `start + out.len()`.
    pub fn read(&self, start: u64, out: &mut [u32]) {
        assert!(
            start <= self.len && out.len() as u64 <= self.len - start,
            "tokens {start} to {} of a stream of {}",
            start + out.len() as u64,
            self.len
        );
        let first = self.shards.partition_point(|s| s.start + s.len() <= start);
        let (mut at, mut rest) = (start, out);
        for shard in &self.shards[first..] {
            if rest.is_empty() {
                return;
            }
            let skip = at - shard.start;
            let take = (shard.len() - skip).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(take);
            shard.copy(skip as usize, now);
            at += take as u64;
            rest = later;
        }
    }

    /// The largest token id in the stream, 0 if it is empty; reads all of it.
    pub fn max_token(&self) -> u32 {
        self.shards.iter().map(Shard::max_token).max().unwrap_or(0)
    }
}

impl Shard {
    fn open(file: ShardFile, width: TokenWidth, start: u64) -> Result<Shard> {
        let ShardFile { path, tokens } = file;
        let handle = File::open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::input(format!(
                "the shard {} is missing; restore it or run `lehr prepare` again",
                path.display()
            )),
            _ => Error::io("read", &path, e),
        })?;
        let metadata = handle.metadata().map_err(|e| Error::io("read", &path, e))?;
        let (bytes, per_token) = (metadata.len(), width.bytes() as u64);
        if let Some(tokens) = tokens
            && tokens.checked_mul(per_token) != Some(bytes)
        {
            return Err(Error::corrupt(
                &path,
                format!(
                    "it has {bytes} bytes and its index says {tokens} tokens of {per_token} \
                     bytes; restore it or run `lehr prepare` again"
                ),
            ));
        }
        if bytes % per_token != 0 {
            return Err(Error::corrupt(
                &path,
                format!(
                    "its {bytes} bytes are no whole number of {per_token}-byte tokens; write it \
                     again"
                ),
            ));
        }
        if bytes == 0 {
            return Err(Error::corrupt(&path, "it holds no tokens; write it again"));
        }
        // SAFETY: the map is only ever read. Should another program shorten the file meanwhile,
        // a read of the lost part ends this process with SIGBUS; shards are replaced by renaming
        // (see [`crate::files`]), which leaves an open map as it was.
        let map = unsafe { Mmap::map(&handle) }.map_err(|e| Error::io("map", &path, e))?;
        Ok(Shard {
            path,
            map,
            width,
            start,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's contents.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn len(&self) -> u64 {
        (self.map.len() / self.width.bytes()) as u64
    }

    /// Copies the tokens from `skip` on, counted from the shard's own first.
    fn copy(&self, skip: usize, out: &mut [u32]) {
        let width = self.width.bytes();
        let bytes = &self.map[skip * width..(skip + out.len()) * width];
        match self.width {
            TokenWidth::U16 => {
                for (token, b) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *token = u16::from_le_bytes(*b).into();
                }
            }
            TokenWidth::U32 => {
                for (token, b) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *token = u32::from_le_bytes(*b);
                }
            }
        }
    }

    /// The largest token id in the shard.
    pub fn max_token(&self) -> u32 {
        let max = match self.width {
            TokenWidth::U16 => {
                let ids = self.map.as_chunks::<2>().0.iter();
                ids.map(|b| u16::from_le_bytes(*b)).max().map(u32::from)
            }
            TokenWidth::U32 => {
                let ids = self.map.as_chunks::<4>().0.iter();
                ids.map(|b| u32::from_le_bytes(*b)).max()
            }
        };
        max.expect("a shard is never empty")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A store of `tokens`, written as `u32` in shards of `per_shard`.
    fn sharded(tokens: &[u32], width: TokenWidth, per_shard: usize) -> TokenStore {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<ShardFile> = tokens
            .chunks(per_shard)
            .enumerate()
            .map(|(i, chunk)| {
                let path = dir.path().join(format!("{i}.bin"));
                let bytes: Vec<u8> = match width {
                    TokenWidth::U16 => chunk
                        .iter()
                        .flat_map(|&t| u16::try_from(t).unwrap().to_le_bytes())
                        .collect(),
                    TokenWidth::U32 => chunk.iter().flat_map(|t| t.to_le_bytes()).collect(),
                };
                std::fs::write(&path, bytes).unwrap();
                ShardFile {
                    path,
                    tokens: Some(chunk.len() as u64),
                }
            })
            .collect();
        // The maps outlive the directory's entries.
        TokenStore::open(width, files).unwrap()
    }

    /// A store of `tokens` for the tests of other rooms.
    pub(in crate::text) fn store_of(tokens: &[u32]) -> TokenStore {
        sharded(tokens, TokenWidth::U32, 100)
    }

    proptest! {
        #[test]
        fn reads_across_shard_borders(
            tokens in prop::collection::vec(0u32..65536, 1..200),
            per_shard in 1usize..30,
            wide: bool,
            from: prop::sample::Index,
            to: prop::sample::Index,
        ) {
            let width = if wide { TokenWidth::U32 } else { TokenWidth::U16 };
            let store = sharded(&tokens, width, per_shard);
            prop_assert_eq!(store.len(), tokens.len() as u64);
            prop_assert_eq!(store.max_token(), *tokens.iter().max().unwrap());
            let (a, b) = (from.index(tokens.len() + 1), to.index(tokens.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let mut out = vec![0; b - a];
            store.read(a as u64, &mut out);
            prop_assert_eq!(&out[..], &tokens[a..b]);
        }
    }

    #[test]
    fn wide_ids_survive() {
        let store = store_of(&[7, 1 << 20, u32::MAX]);
        let mut out = [0; 2];
        store.read(1, &mut out);
        assert_eq!(out, [1 << 20, u32::MAX]);
        assert_eq!(store.max_token(), u32::MAX);
    }

    #[test]
    #[should_panic(expected = "tokens 2 to 4 of a stream of 3")]
    fn does_not_read_beyond_the_end() {
        store_of(&[1, 2, 3]).read(2, &mut [0; 2]);
    }
}
